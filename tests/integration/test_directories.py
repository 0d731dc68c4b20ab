"""Directories of rows: mkdir, rmdir, rm -r, mv; and what is no directory."""
import errno
import os

import pytest
from kit import get, put, refused, rm, run, sh

UUID = "3e7a1fd2-93a5-4c1c-8d3c-0d4b0f6f0b11"


def test_mkdir_inserts_where_everything_else_has_a_default(shop):
    shop.m.mkdir("items/bolt")
    assert shop.sql("select name, qty, mood::text from items") == [("bolt", 0, "good")]
    assert "item.json" in shop.m.ls("items/bolt")
    with refused(errno.EEXIST):
        shop.m.mkdir("items/bolt")
    assert shop.one("select count(*) from items") == 1


def test_mkdir_of_what_sql_has_already(shop):
    shop.m.ls("items")
    shop.add("bolt")
    with refused(errno.EEXIST):
        shop.m.mkdir("items/bolt")


def test_mkdir_where_a_plain_file_keeps_the_directory(shop):
    """7.3: the row goes, the plain file and so its directory stay; the row comes again with its document."""
    shop.add("bolt")
    put(shop.m.at("items/bolt/notes~"), "x")
    rm(shop.m.at("items/bolt/item.json"))
    assert shop.sql("select 1 from items") == []
    with refused(errno.EEXIST):
        shop.m.mkdir("items/bolt")
    names = shop.m.ls("items/bolt")
    assert "notes~" in names and "item.json" not in names
    put(shop.m.at("items/bolt/item.json"), '{"qty": 7}')
    assert shop.sql("select name, qty from items") == [("bolt", 7)]
    rm(shop.m.at("items/bolt/item.json"))
    put(shop.m.at("items/bolt/note.txt"), "by a column")
    assert shop.sql("select name, note from items") == [("bolt", "by a column")]


def test_pending_directory(shop):
    """boxes.label has no default: the directory waits for the document, and the row appears with it."""
    shop.m.mkdir("boxes/7")
    assert shop.sql("select 1 from boxes") == []
    assert os.path.isdir(shop.m.at("boxes/7")) and "7" in shop.m.ls("boxes")
    shop.m.write("boxes/7/box.json", {"label": "big", "size": 3})
    assert shop.sql("select id, label, size from boxes") == [(7, "big", 3)]
    assert "box.json" in shop.m.ls("boxes/7") and shop.m.ls("boxes") == ["7"]
    shop.m.mkdir("boxes/8")
    put(shop.m.at("boxes/8/label"), "small")
    assert shop.sql("select label, size from boxes where id = 8") == [("small", 1)]


def test_pending_directory_goes_away(shop):
    shop.m.mkdir("boxes/7")
    with refused(errno.EEXIST):
        shop.m.mkdir("boxes/7")
    shop.m.at("boxes/7").rmdir()
    assert not shop.m.exists("boxes/7") and shop.m.ls("boxes") == []
    shop.m.mkdir("boxes/7")
    shop.m.refuses(lambda: shop.m.write("boxes/7/box.json", {"size": 3}), errno.EINVAL, "label", keeps='"size"')
    shop.m.write("boxes/7/box.json", {"label": "x"})
    assert shop.sql("select id from boxes") == [(7,)]


def test_mkdir_of_what_is_no_key(shop, mount):
    for name in ("boxes/x", "boxes/1.5", "boxes/99999999999"):
        with refused(errno.EINVAL):
            shop.m.mkdir(name)
    mount.mkdir("users/h")
    mount.refuses(lambda: mount.mkdir("users/h/sessions/not-a-uuid"), errno.EINVAL, path="users/h/sessions/not-a-uuid")
    with refused(errno.EINVAL):
        os.mkdir(os.fsencode(shop.m.at("items")) + b"/\xff\xfe")
    with refused(errno.EINVAL):
        shop.m.mkdir("items/%zz")


def test_mkdir_nested_takes_the_parent_from_the_path(mount, pg):
    mount.mkdir("users/h")
    mount.mkdir(f"users/h/sessions/{UUID}")
    assert pg.sql("select s.id::text, u.hardware_id_hash from sessions s join users u on u.id = s.user_id") == [(UUID, "h")]
    with refused(errno.ENOENT):
        mount.mkdir(f"users/nobody/sessions/{UUID[:-1]}2")
    with refused(errno.EEXIST):  # the id is taken, under another user
        mount.mkdir("users/g")
        mount.mkdir(f"users/g/sessions/{UUID}")
    assert pg.one("select count(*) from sessions") == 1


def test_rmdir(shop):
    shop.add("bolt")
    shop.add("nut")
    shop.sql("insert into parts (item, label) values ('nut', 'x')")
    shop.m.at("items/bolt").rmdir()
    assert shop.sql("select name from items") == [("nut",)]
    assert not shop.m.exists("items/bolt")
    with refused(errno.ENOTEMPTY):
        shop.m.at("items/nut").rmdir()
    with refused(errno.ENOENT):
        shop.m.at("items/bolt").rmdir()
    assert shop.sql("select name from items") == [("nut",)]


def test_rmdir_of_the_layout_is_refused(shop):
    for name in ("items", "flat", "book", ".rowfs"):
        with refused(errno.EBUSY, errno.ENOTEMPTY, errno.EPERM):
            shop.m.at(name).rmdir()
    shop.add("bolt")
    with refused(errno.EBUSY, errno.ENOTEMPTY):
        shop.m.at("items/bolt/parts").rmdir()


def test_rm_r_deletes_row_and_children(shop):
    shop.add("bolt", note="n", price=1, code="c", born="2024-01-01", blob=b"b")
    shop.add("nut")
    shop.sql("insert into parts (item, label) select 'bolt', 'l' || g from generate_series(1, 50) g")
    done = run("rm", "-r", shop.m / "items/bolt")
    assert done.stderr == ""
    assert shop.sql("select name from items") == [("nut",)]
    assert shop.sql("select 1 from parts") == []
    assert not shop.m.exists("items/bolt")
    shop.m.mkdir("items/bolt")  # and the name is free again
    assert shop.one("select note from items where name = 'bolt'") is None


def test_rm_rf_of_many(mount, pg):
    pg.sql("insert into users (hardware_id_hash) select 'h' || g from generate_series(1, 5) g")
    pg.sql("insert into sessions (user_id) select id from users, generate_series(1, 3)")
    pg.sql("insert into commands (session_id, prompt) select id, 'p' from sessions, generate_series(1, 3)")
    pg.sql("insert into llm_answers (command_id, prompt, response) select id, 'p', 'r' from commands")
    sh("rm -rf h1 h2 h3 h4", cwd=mount / "users")
    assert pg.sql("select hardware_id_hash from users") == [("h5",)]
    assert pg.one("select count(*) from llm_answers") == 9
    session = mount.ls("users/h5/sessions")[0]
    sh(f"rm -r {session}", cwd=mount / "users/h5/sessions")
    assert pg.one("select count(*) from sessions") == 2


BOOK = """insert into book (exchange, symbol, timestamp) select 'ex', s, 1709164800000000 + g * 86400000000::bigint
    from generate_series(1, 3) g, unnest(array['BTC', 'ETH']) s"""


@pytest.mark.parametrize("how", [["rm", "-r"], ["rm", "-rf"], ["/usr/bin/python3", "-c", "import shutil, sys; shutil.rmtree(sys.argv[1])"],
                                 ["find"]])
def test_rm_r_of_directories_that_group_rows(shop, how):
    """They go with their last file; what removes a tree removes them all the same, and is told of no failure."""
    shop.sql(BOOK)
    tail = ["-delete"] if how == ["find"] else []
    done = run(*how, shop.m / "book/ex/BTC", *tail)
    assert done.stderr == "" and shop.sql("select distinct symbol from book") == [("ETH",)]
    assert shop.m.ls("book/ex") == ["ETH"]
    done = run(*how, shop.m / "book/ex", *tail)
    assert done.stderr == "" and shop.sql("select * from book") == []
    assert shop.m.ls("book") == []


def test_rmdir_of_a_directory_that_groups_rows(shop):
    shop.sql(BOOK)
    for name in ("book/ex/BTC", "book/ex"):
        with refused(errno.ENOTEMPTY):
            shop.m.at(name).rmdir()
    shop.sql("delete from book")
    with refused(errno.ENOENT):
        os.stat(shop.m.at("book/ex"))
    assert shop.sql("select * from book") == []


def test_mv_changes_the_key(shop):
    shop.add("bolt", qty=3, note="n")
    shop.sql("insert into parts (item, label) values ('bolt', 'x')")
    os.rename(shop.m.at("items/bolt"), shop.m.at("items/screw"))
    assert shop.sql("select name, qty, note from items") == [("screw", 3, "n")]
    assert shop.sql("select item from parts") == [("screw",)]  # on update cascade
    assert shop.m.ls("items") == ["screw"] and shop.m.read("items/screw/qty") == "3\n"
    with refused(errno.ENOENT):
        get(shop.m.at("items/bolt/qty"))
    run("mv", shop.m / "items/screw", shop.m / "items/a b%2Fc")
    assert shop.sql("select name from items") == [("a b/c",)]


def test_mv_onto_an_existing_row(shop):
    shop.add("bolt", qty=3)
    shop.add("nut", qty=4)
    with refused(errno.EEXIST, errno.ENOTEMPTY):
        os.rename(shop.m.at("items/bolt"), shop.m.at("items/nut"))
    assert shop.sql("select name, qty from items order by 1") == [("bolt", 3), ("nut", 4)]


def test_mv_to_another_parent(mount, pg):
    """A session moves to another user, or says EXDEV; it is never lost and never doubled."""
    pg.sql("insert into users (hardware_id_hash) values ('g'), ('h')")
    pg.sql("insert into sessions (id, user_id) select %s, id from users where hardware_id_hash = 'g'", UUID)
    try:
        os.rename(mount.at(f"users/g/sessions/{UUID}"), mount.at(f"users/h/sessions/{UUID}"))
        owner = "h"
    except OSError as e:
        assert e.errno == errno.EXDEV
        owner = "g"
    assert pg.sql("select s.id::text, u.hardware_id_hash from sessions s join users u on u.id = s.user_id") == [(UUID, owner)]


def test_odd_renames_of_directories(shop):
    shop.add("bolt")
    shop.m.mkdir("plain")
    for old, new in (("items/bolt", "elsewhere"), ("items/bolt", "plain/x"), ("plain", "items/new"), ("items/bolt", "boxes/1"),
                     ("items", "things"), ("items/bolt/parts", "items/bolt/pieces")):
        with refused(errno.EXDEV, errno.EBUSY, errno.EPERM):
            os.rename(shop.m.at(old), shop.m.at(new))
    assert shop.sql("select name from items") == [("bolt",)]
    assert shop.m.ls("plain") == []


def test_a_file_is_no_directory_and_the_reverse(shop):
    shop.add("bolt", qty=3, note="n")
    for action, number in [
            (lambda: get(shop.m.at("items")), errno.EISDIR), (lambda: get(shop.m.at("items/bolt")), errno.EISDIR),
            (lambda: put(shop.m.at("items/bolt"), "x"), errno.EISDIR), (lambda: put(shop.m.at("items/bolt/parts"), "x"), errno.EISDIR),
            (lambda: os.unlink(shop.m.at("items/bolt")), errno.EISDIR),
            (lambda: os.listdir(shop.m.at("items/bolt/qty")), errno.ENOTDIR), (lambda: get(shop.m.at("items/bolt/qty/x")), errno.ENOTDIR),
            (lambda: put(shop.m.at("log.csv/x"), "x"), errno.ENOTDIR), (lambda: os.rmdir(shop.m.at("items/bolt/qty")), errno.ENOTDIR),
            (lambda: os.rmdir(shop.m.at("names.jsonl")), errno.ENOTDIR)]:
        with refused(number):
            action()
    for name in ("items/bolt/qty", "items/bolt/item.json", "log.csv"):
        with refused(errno.EEXIST):
            shop.m.mkdir(name)
    for name in ("items/bolt/born", "flat/5.json", "items/bolt/code"):  # files of a route that are not there just now
        with refused(errno.EINVAL, errno.EEXIST, errno.ENOTDIR, errno.EPERM):
            shop.m.mkdir(name)
    for name in ("items/new", "boxes/9"):  # names of a route's directories: as files they are plain ones, and touch no row
        put(shop.m.at(name), "x")
        assert get(shop.m.at(name)) == b"x" and shop.sql("select 1 from boxes") == []
        os.unlink(shop.m.at(name))
    assert shop.sql("select name, qty from items") == [("bolt", 3)]


def test_group_directories_are_not_made_by_mkdir_alone(shop):
    """A directory that only groups rows appears with its rows; mkdir of it succeeds, as mkdir -p before a write needs it."""
    sh("mkdir -p book/ex/SYM; echo ex,SYM,1709164800000000,1.5 > book/ex/SYM/2024-02-29.csv", cwd=shop.m.path)
    assert shop.sql("select exchange, symbol, timestamp, price::text from book") == [("ex", "SYM", 1709164800000000, "1.50000000")]
    assert shop.m.ls("book/ex/SYM") == ["2024-02-29.csv"]
    shop.m.mkdir("pairs/x")
    shop.m.write("pairs/x/1.json", {"val": "v"})
    assert shop.sql("select a, b, val from pairs") == [("x", 1, "v")]


def test_a_process_whose_directory_went_away(shop):
    shop.add("bolt", qty=3)
    fd = os.open(shop.m.at("items/bolt"), os.O_RDONLY)
    try:
        assert "item.json" in [e.name for e in os.scandir(fd) if e.stat().st_size > 0]
        f = os.open("qty", os.O_RDONLY, dir_fd=fd)
        shop.sql("delete from items")
        assert os.read(f, 10) == b"3\n"  # an open document is a snapshot
        os.close(f)
        os.unlink("item.json", dir_fd=fd)  # unlink of what a listing named, inside a directory whose row is gone, succeeds
        with refused(errno.ENOENT):
            os.open("item.json", os.O_RDONLY, dir_fd=fd)
        with refused(errno.ENOENT):
            os.close(os.open("qty", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
    finally:
        os.close(fd)
