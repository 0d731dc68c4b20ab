"""Faults that reviews found, each as the smallest thing that showed it."""
import errno
import json
import os

import pytest
from kit import append, get, put, refused
from shop import LAYOUT

ORDER = {"routes": [
    {"path": "/nk.csv", "rows": "nk", "order": ["ts"]},
    {"path": "/bx/{bx.id}/li.csv", "rows": "li", "columns": ["n", "t"], "order": ["n"]},
    {"path": "/day/{day}.jsonl", "rows": "lg", "keys": {"day": {"column": "at", "format": "%Y-%m-%d"}}},
    {"path": "/xy.jsonl", "rows": "xy"}, {"path": "/s1.csv", "rows": "s1"}]}
SQL = """create table nk (ts int not null, v int); insert into nk select g % 4, g from generate_series(1, 200) g;
create table bx (id int primary key); insert into bx values (1);
create table li (bx int references bx, n int, t text, primary key (bx, n)); insert into li values (1, 1, 'a'), (1, 2, 'b');
create table sc (bx int, n int, foreign key (bx, n) references li on delete cascade); insert into sc values (1, 1), (1, 2);
create table lg (id serial primary key, at timestamptz default now(), txt text); insert into lg (at, txt) values ('2024-02-29 10:00+00', 'x'), ('2024-03-01 10:00+00', 'y');
create table xy (x int, y int, id int generated always as identity primary key); insert into xy (x, y) values (1, 2), (3, 4);
create table s1 (v text); insert into s1 values ('a'), (null), ('b')"""


@pytest.fixture
def slices(empty_pg, make_mount):
    empty_pg.sql(SQL)
    return make_mount(layout=ORDER, conninfo=empty_pg.conninfo, options={"fetch_size": 10, "coherence": "ttl=0"}), empty_pg


def test_ties_of_an_order_without_a_key(slices):
    m, _ = slices
    body = m.read("nk.csv")
    assert len(body.splitlines()) == 201 and len(set(body.splitlines())) == 201 and os.stat(m.at("nk.csv")).st_size == len(body)


def test_writing_back_what_was_read_changes_nothing(slices):
    m, pg = slices
    for name, query in (("bx/1/li.csv", "select * from li order by 1, 2"), ("xy.jsonl", "select * from xy order by id"), ("s1.csv", "select v from s1 order by 1")):
        before = pg.sql(query)
        put(m.at(name), get(m.at(name)))
        assert pg.sql(query) == before, name
    assert pg.sql("select n from sc order by 1") == [(1,), (2,)]


def test_a_line_of_another_day_is_refused(slices):
    m, pg = slices
    before = pg.sql("select * from lg order by id")
    for line in ({"id": 2, "at": "2024-02-29T10:00:00Z"}, {"id": 2, "txt": "stolen"}):
        with refused(errno.EINVAL):
            put(m.at("day/2024-02-29.jsonl"), json.dumps(line) + "\n")
    with refused(errno.EINVAL):
        append(m.at("day/2024-02-29.jsonl"), '{"txt": "of which day?"}\n')
    assert pg.sql("select * from lg order by id") == before


def test_half_a_replacement_is_none(shop_pg, make_mount):
    m = make_mount(layout=LAYOUT, options={"max_document": "64K"})
    shop_pg.sql("insert into log (n) select generate_series(1, 50)")
    fd = os.open(m.at("log.jsonl"), os.O_WRONLY | os.O_TRUNC)
    with refused(errno.EFBIG):
        for i in range(20000):
            os.write(fd, b'{"n": %d, "text": "0123456789"}\n' % i)
    with refused(errno.EFBIG):
        os.close(fd)
    assert shop_pg.sql("select count(*), min(n), max(n) from log") == [(50, 1, 50)]


def test_appending_to_what_is_no_text(shop):
    shop.add("bolt", qty=3)
    with refused(errno.EINVAL):  # "3\\n5" is no number, and 5 is not what was asked for
        append(shop.m.at("items/bolt/qty"), "5")
    assert shop.item("qty") == 3
    put(shop.m.at("items/bolt/meta.json"), '{"a": 1}')
    with refused(errno.EINVAL):
        append(shop.m.at("items/bolt/meta.json"), '{"b": 2}')
    assert shop.m.json("items/bolt/meta.json") == {"a": 1}


def test_no_path_leads_out_through_a_link(shop, tmp_path):
    victim = tmp_path / "secret"
    victim.write_text("s")
    victim.chmod(0o600)
    fd = os.open(shop.m.at("f"), os.O_WRONLY | os.O_CREAT)
    os.unlink(shop.m.at("f"))
    os.symlink(victim, shop.m.at("f"))
    os.fchmod(fd, 0o666)
    os.close(fd)
    assert victim.stat().st_mode & 0o777 == 0o600
    os.symlink(tmp_path, shop.m.at("items/foo"))
    shop.add("foo")
    for action in (lambda: put(shop.m.at("items/foo/x"), "x"), lambda: os.mkdir(shop.m.at("items/foo/y"))):
        try:
            action()
        except OSError:
            pass
    assert sorted(p.name for p in tmp_path.iterdir() if p.name in ("x", "y")) == []


def test_the_account_of_plain_files_stays_right(shop):
    for change in (lambda fd: os.ftruncate(fd, 0), lambda fd: os.write(fd, b"y" * 5000)):
        fd = os.open(shop.m.at("t"), os.O_RDWR | os.O_CREAT)
        os.write(fd, b"x" * 100000)
        os.unlink(shop.m.at("t"))
        change(fd)
        os.close(fd)
        assert json.loads(get(shop.m.at(".rowfs/status.json")))["counters"]["plain_bytes"] == 0


def test_deep_paths(shop):
    path = shop.m.at("x")
    path.mkdir()
    fd = os.open(path, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("a", dir_fd=fd)
        deeper = os.open("a", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(fd)
    assert "a" not in shop.m.ls() and shop.m.ls("x") == ["a"]


def test_ftruncate_empties_what_was_just_appended(shop):
    fd = os.open(shop.m.at("log.csv"), os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"a,1,,\n")
    os.fsync(fd)
    os.ftruncate(fd, 0)
    os.fsync(fd)
    os.close(fd)
    assert shop.sql("select 1 from log") == []


def test_a_hidden_document_is_not_listed(shop):
    shop.sql("insert into flat values (77, 't'), (78, 'u')")
    os.rename(shop.m.at("flat/77.json"), shop.m.at("flat/77.bak"))
    assert sorted(shop.m.ls("flat")) == ["77.bak", "78.json"] and shop.one("select count(*) from flat") == 2


def test_a_row_that_must_not_be_removed_stays(shop_pg, make_mount):
    shop_pg.sql("insert into items (name) values ('bolt')")
    m = make_mount(layout={"routes": [{"path": "/items/{items.name}/item.json", "row": "items", "remove": "refuse"}]})
    for action in (lambda: os.unlink(m.at("items/bolt/item.json")), lambda: os.rmdir(m.at("items/bolt"))):
        with refused(errno.EPERM):
            action()
    assert shop_pg.sql("select name from items") == [("bolt",)]


def test_a_path_with_very_many_tables(empty_pg, make_mount):
    empty_pg.sql("create table c0 (id int primary key);" + "".join(f"create table c{i} (id int primary key, p int references c{i - 1});" for i in range(1, 16)))
    path = "/" + "/".join(f"{{c{i}.id}}" for i in range(16)) + "/c.json"
    m = make_mount(layout={"routes": [{"path": path, "row": "c15"}]}, conninfo=empty_pg.conninfo)
    empty_pg.sql("insert into c0 values (1);" + "".join(f"insert into c{i} values (1, 1);" for i in range(1, 16)))
    assert m.json("/".join(["1"] * 16) + "/c.json") == {"id": 1, "p": 1}
