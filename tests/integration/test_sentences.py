"""Sentences of docs/SEMANTICS.md on documents, names, copies and limits that no other test shows; each names its sentence."""
import contextlib
import ctypes
import errno
import fcntl
import json
import os
import subprocess
import sys

import pytest
import shop as shop_kit

from coherencekit import Notices
from kit import append, get, put, refused, run, sh, until
from shop import LAYOUT

RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
UUID = "3e7a1fd2-93a5-4c1c-8d3c-0d4b0f6f0b11"


def renameat2(old, new, flags):
    """renameat2(2), which Python does not have; raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(old))


def items(names):
    """A layout with one route of items' documents, with COLUMNS."""
    return {"routes": [{"path": "/items/{items.name}/item.json", "row": "items", "columns": names}]}


# -- 1: when something is committed -----------------------------------------------------------------------------------


def test_each_command_of_a_group_commits_its_part(shop, tmp_path):
    """1.6: (a; b) > FILE closes a duplicate twice: the first part replaces the lines, the second is appended."""
    shop.sql("insert into log (n) values (7)")
    script = "(/bin/echo src,n,amount,text; /bin/echo a,1,,; /bin/echo b,2,,) > log.csv"
    sh(script, cwd=shop.m.path)
    sh(script, cwd=tmp_path)
    assert get(shop.m / "log.csv") == (tmp_path / "log.csv").read_bytes()
    assert shop.sql("select src, n from log order by id") == [("a", 1), ("b", 2)]


# -- 2: row files -----------------------------------------------------------------------------------------------------


def test_columns_that_are_not_shown_can_be_written(shop_pg, make_mount):
    """2.5"""
    m = make_mount(layout=items(["name", "qty"]))
    shop_pg.sql("insert into items (name, qty, note) values ('bolt', 1, 'n')")
    assert m.json("items/bolt/item.json") == {"name": "bolt", "qty": 1}
    m.write("items/bolt/item.json", {"qty": 2})
    assert shop_pg.sql("select qty, note from items") == [(2, "n")]
    m.write("items/bolt/item.json", {"note": "m"})
    assert shop_pg.sql("select qty, note from items") == [(2, "m")]


def test_a_row_that_another_refers_to_is_not_made_through_it(shop_pg, make_mount):
    """2.3: the path goes from lid to the box that it refers to; the box is made elsewhere."""
    m = make_mount(layout={"routes": [{"path": "/lids/{lid.box}/{lid.n}/lid.json", "row": "lid"},
                                      {"path": "/lids/{lid.box}/{lid.n}/box.json", "row": "boxes"}]})
    shop_pg.sql("insert into boxes values (1, 'one'); insert into lid values (1, 1)")
    m.write("lids/1/1/box.json", {"label": "new"})
    assert shop_pg.sql("select id, label from boxes") == [(1, "new")]
    with refused(errno.ENOENT):
        put(m.at("lids/1/2/box.json"), json.dumps({"label": "two"}))
    assert shop_pg.sql("select id from boxes") == [(1,)] and shop_pg.sql("select n from lid") == [(1,)]


def test_a_row_deleted_while_its_document_is_written_comes_back(shop):
    """2.11"""
    shop.sql("insert into flat values (1, 'one')")
    fd = os.open(shop.m.at("flat/1.json"), os.O_WRONLY | os.O_TRUNC)
    shop.sql("delete from flat")
    os.write(fd, b'{"title": "two"}')
    os.close(fd)
    assert shop.sql("select id, title from flat") == [(1, "two")]


# -- 7: directories ---------------------------------------------------------------------------------------------------


def test_a_plain_file_keeps_its_row_from_rmdir(shop):
    """7.5"""
    shop.add("bolt")
    put(shop.m.at("items/bolt/notes~"), "x")
    with refused(errno.ENOTEMPTY):
        os.rmdir(shop.m.at("items/bolt"))
    assert shop.sql("select name from items") == [("bolt",)]
    os.unlink(shop.m.at("items/bolt/notes~"))
    os.rmdir(shop.m.at("items/bolt"))
    assert shop.sql("select name from items") == []


# -- 8: renames -------------------------------------------------------------------------------------------------------


def test_flags_of_renameat2(shop):
    """8.2: of rows, and of plain files beside them."""
    shop.sql("insert into flat values (1, 'one'), (2, 'two')")
    put(shop.m.at("tmp"), '{"title": "new"}')
    for old, new in (("flat/1.json", "flat/2.json"), ("tmp", "flat/2.json")):
        with refused(errno.EEXIST):
            renameat2(shop.m.at(old), shop.m.at(new), RENAME_NOREPLACE)
        with refused(errno.EINVAL):
            renameat2(shop.m.at(old), shop.m.at(new), RENAME_EXCHANGE)
    assert shop.sql("select id, title from flat order by id") == [(1, "one"), (2, "two")]
    renameat2(shop.m.at("flat/1.json"), shop.m.at("flat/3.json"), RENAME_NOREPLACE)
    assert shop.sql("select id, title from flat order by id") == [(2, "two"), (3, "one")]
    for old, new in ((".rowfs/status.json", "x"), ("tmp", ".rowfs/status.json")):
        with refused(errno.EPERM):
            os.rename(shop.m.at(old), shop.m.at(new))


def test_mv_between_parents_copies_and_removes(shop):
    """8.3"""
    shop.add("bolt")
    shop.add("nut")
    shop.sql("insert into parts values (%s, 'bolt', 'thread', 1)", UUID)
    with refused(errno.EXDEV):
        os.rename(shop.m.at(f"items/bolt/parts/{UUID}.json"), shop.m.at(f"items/nut/parts/{UUID}.json"))
    assert shop.sql("select item, label from parts") == [("bolt", "thread")]


# -- 9: names ---------------------------------------------------------------------------------------------------------


def test_rows_that_have_no_name_are_not_in_the_tree(shop_pg, make_mount):
    """9.4: a NULL in a key of the path; a time outside the years 1 to 9999."""
    m = make_mount(layout={"routes": [
        {"path": "/codes/{items.code}/item.json", "row": "items"},
        {"path": "/book/{exchange}/{symbol}/{day}.csv", "rows": "book",
         "keys": {"day": {"column": "timestamp", "unit": "s", "format": "%Y-%m-%d"}}}]})
    shop_pg.sql("insert into items (name, code) values ('a', 'c1'), ('b', null)")
    shop_pg.sql("insert into book (exchange, symbol, timestamp) values ('x', 's', 0), ('x', 's', 253402300800), ('x', 's', -99999999999)")
    assert m.ls("codes") == ["c1"]
    assert m.ls("book/x/s") == ["1970-01-01.csv"]
    assert len(m.read("book/x/s/1970-01-01.csv").splitlines()) == 2


def test_a_literal_name_wins_over_a_key(shop_pg, make_mount):
    """9.5: the row is listed with its first byte encoded, and is reached by that name."""
    m = make_mount(layout={"routes": [{"path": "/items/{items.name}/qty", "column": "items.qty"},
                                      {"path": "/items/all.jsonl", "rows": "items", "columns": ["name", "qty"]}]})
    shop_pg.sql("insert into items (name, qty) values ('all.jsonl', 3), ('bolt', 4)")
    assert m.ls("items") == ["%61ll.jsonl", "all.jsonl", "bolt"]
    assert m.read("items/%61ll.jsonl/qty") == "3\n"
    assert len(m.read("items/all.jsonl").splitlines()) == 2


def test_inode_numbers_are_the_same_at_every_mount(shop_pg, make_mount):
    """9.7"""
    shop_pg.sql("insert into items (name) select 'n' || g from generate_series(1, 20) g")

    def numbers(m):
        return {str(path.relative_to(m.path)): path.stat().st_ino for path in m.path.rglob("*") if ".rowfs" not in path.parts}
    first = numbers(make_mount(layout=LAYOUT))
    assert len(set(first.values())) == len(first) > 100
    assert numbers(make_mount(layout=LAYOUT)) == first


# -- 13, 14: time limits, what is seen -------------------------------------------------------------------------------


def test_the_last_of_two_writers_wins(shop):
    """14.3: whole documents; a reader that is open keeps what it opened."""
    shop.sql("insert into flat values (1, 'old')")
    reader = os.open(shop.m.at("flat/1.json"), os.O_RDONLY)
    one, two = (os.open(shop.m.at("flat/1.json"), os.O_WRONLY | os.O_TRUNC) for _ in range(2))
    os.write(two, b'{"title": "two"}')
    os.write(one, b'{"title": "one"}')
    os.close(two)
    os.close(one)
    assert shop.sql("select title from flat") == [("one",)]
    assert json.loads(os.read(reader, 4096))["title"] == "old"
    os.close(reader)


def test_what_no_trigger_saw_is_told_by_notify_all(shop_pg, make_mount):
    """14.8: with the triggers off nothing is told; rowfs.notify_all() tells that the table has changed."""
    m = make_mount(layout=LAYOUT, options={"coherence": "notify"})
    notices = Notices(m)
    shop_pg.sql("insert into flat values (1, 'old')")
    notices.wait()
    assert m.json("flat/1.json")["title"] == "old"
    shop_pg.admin("set session_replication_role = replica; update flat set title = 'new'")
    with shop_pg.queries() as seen:
        assert m.json("flat/1.json")["title"] == "old"
    assert seen.total == 0, seen
    shop_pg.sql("select rowfs.notify_all('flat')")
    until(lambda: m.json("flat/1.json")["title"] == "new", "the file says what the row says", timeout=2)


# -- 15: different from an ordinary file system -----------------------------------------------------------------------


def test_locks_hold_between_processes(shop, tmp_path):
    """15.3: fcntl and flock, on a row and a plain file, as on a plain directory."""
    shop.sql("insert into flat values (1, 'one')")
    put(shop.m.at("plain"), "x")
    put(tmp_path / "plain", "x")
    script = ("import fcntl, sys\nf = open(sys.argv[1], 'r+')\n"
              "try: (fcntl.lockf if sys.argv[2] == 'lockf' else fcntl.flock)(f, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
              "except OSError: print('held')\nelse: print('free')\n")
    for path in (shop.m / "flat/1.json", shop.m / "plain", tmp_path / "plain"):
        for how in ("lockf", "flock"):
            with open(path, "r+", encoding="utf-8") as f:
                getattr(fcntl, how)(f, fcntl.LOCK_EX)
                said = run(sys.executable, "-c", script, path, how).stdout
            assert said == "held\n", (path, how)
            assert run(sys.executable, "-c", script, path, how).stdout == "free\n", (path, how)
    assert shop.sql("select title from flat") == [("one",)]


def test_what_there_is_not(shop):
    """15.4: extended attributes, hard links, devices, pipes."""
    shop.sql("insert into flat values (1, 'one')")
    put(shop.m.at("plain"), "x")
    for name in ("flat/1.json", "plain"):
        with refused(errno.EOPNOTSUPP):
            os.setxattr(shop.m.at(name), "user.a", b"1")
        with refused(errno.EOPNOTSUPP):
            os.getxattr(shop.m.at(name), "user.a")
        with refused(errno.EPERM):
            os.link(shop.m.at(name), shop.m.at("hard"))
    with refused(errno.ENOSYS, errno.EPERM):
        os.mkfifo(shop.m.at("pipe"))
    assert not shop.m.exists("hard") and not shop.m.exists("pipe")


def test_a_unique_value_is_at_one_place(shop):
    """15.6"""
    shop.m.write("flat/1.json", {"title": "one"})
    done = run("cp", shop.m / "flat/1.json", shop.m / "flat/2.json", ok=False)
    assert done.returncode != 0 and "flat/2.json" in done.stderr
    assert shop.sql("select id, title from flat") == [(1, "one")]
    assert any(b'"one"' in body for body in shop.m.kept())


def test_a_shared_map_says_that_it_cannot_be(shop_pg, make_mount, old_kernel):
    """15.2: before Linux 6.6, of a file that is written; private maps and plain files work."""
    shop = shop_kit.Shop(make_mount(layout=shop_kit.LAYOUT, env=old_kernel), shop_pg)
    shop.sql("insert into log (n) values (1)")
    put(shop.m.at("plain"), "plain")
    script = """
import mmap, os, sys
f = os.open(sys.argv[1], os.O_RDWR if sys.argv[2] == 'shared' else os.O_RDONLY)
try:
    m = mmap.mmap(f, 0, mmap.MAP_SHARED if sys.argv[2] == 'shared' else mmap.MAP_PRIVATE, mmap.PROT_READ)
except OSError as e:
    print(e.errno)
else:
    print(m[:].decode(), end='')
"""
    def mapped(name, how):
        return subprocess.run([sys.executable, "-c", script, shop.m / name, how], capture_output=True, text=True, check=True).stdout
    assert mapped("log.csv", "shared") == f"{errno.ENODEV}\n"
    assert mapped("log.csv", "private") == shop.m.read("log.csv")
    assert mapped("plain", "shared") == "plain"


# -- 16: limits -------------------------------------------------------------------------------------------------------


def test_limits_of_names_and_nesting(shop):
    """16: a name of 255 bytes; 512 levels of JSON."""
    long = "x" * 255
    shop.m.mkdir(f"items/{long}")
    assert shop.sql("select name from items") == [(long,)]
    with refused(errno.ENAMETOOLONG):
        shop.m.mkdir(f"items/{long}y")
    for levels, fits in ((511, True), (512, False)):  # and the document's own braces
        deep = "[" * levels + "]" * levels
        with contextlib.nullcontext() if fits else refused(errno.EINVAL):
            put(shop.m.at(f"items/{long}/item.json"), f'{{"meta": {deep}}}')
        assert shop.one("select meta::text from items") == "[" * 511 + "]" * 511


# -- 17: /.rowfs ------------------------------------------------------------------------------------------------------


def test_each_open_of_a_control_file_is_a_snapshot(shop):
    """17: what is counted meanwhile does not change what is being read."""
    fd = os.open(shop.m.at(".rowfs/status.json"), os.O_RDONLY)
    first = os.pread(fd, 1 << 16, 0)
    append(shop.m.at("log.csv"), "a,1,,\n")
    assert os.pread(fd, 1 << 16, 0) == first
    os.close(fd)
    assert shop.m.bytes(".rowfs/status.json") != first


def test_a_database_that_goes_away_is_told_by_dot_rowfs(shop_pg, make_mount, server):
    """12.5"""
    m = make_mount(layout=LAYOUT, options={"retry_attempts": 1, "retry_delay": "0.1"})
    m.expect(r"rowfs error .*")
    server.stop("immediate")
    try:
        assert json.loads(m.read(".rowfs/status.json"))["version"]
        assert m.read(".rowfs/health").strip() != "ok"
        assert {"errors.jsonl", "rejected", "layout.json"} <= set(m.ls(".rowfs"))
    finally:
        server.start()
