"""Bad input: each has its errno and its sentence, and nothing of it is lost. The list is the issue's."""
import errno
import json
import os

import pytest

from kit import append, get, put, refused
from shop import LAYOUT

UUID = "3e7a1fd2-93a5-4c1c-8d3c-0d4b0f6f0b11"

BAD_DOCUMENTS = [
    ("broken", '{"qty": 3', errno.EINVAL, []), ("trailing comma", '{"qty": 3,}', errno.EINVAL, []), ("two", '{"qty": 3}{"qty": 4}', errno.EINVAL, []),
    ("garbage after", '{"qty": 3} x', errno.EINVAL, []), ("single quotes", "{'qty': 3}", errno.EINVAL, []), ("NaN", '{"ratio": NaN}', errno.EINVAL, []),
    ("array", "[1]", errno.EINVAL, ["object"]), ("number", "3", errno.EINVAL, ["object"]), ("string", '"x"', errno.EINVAL, ["object"]),
    ("null", "null", errno.EINVAL, ["object"]), ("spaces", "  \n", errno.EINVAL, []), ("words", "hello", errno.EINVAL, []),
    ("unknown key", '{"qty": 3, "colour": "red"}', errno.EINVAL, ["colour"]),
    ("unknown keys", '{"a1": 3, "b2": "red"}', errno.EINVAL, ["a1", "b2"]), ("case", '{"Qty": 3}', errno.EINVAL, ["Qty"]),
    ("duplicate", '{"qty": 3, "qty": 4}', errno.EINVAL, ["qty"]), ("duplicate escaped", '{"qty": 3, "\\u0071ty": 4}', errno.EINVAL, ["qty"]),
    ("wrong type", '{"qty": "many"}', errno.EINVAL, ["many"]), ("array for int", '{"qty": [1]}', errno.EINVAL, []),
    ("fraction", '{"qty": 1.5}', errno.EINVAL, []), ("int overflow", '{"qty": 2147483648}', errno.EINVAL, ["2147483648"]),
    ("bigint overflow", '{"big": 9223372036854775808}', errno.EINVAL, ["9223372036854775808"]),
    ("numeric overflow", '{"price": 1000000000000}', errno.EINVAL, ["overflow"]), ("date", '{"born": "2023-02-29"}', errno.EINVAL, ["2023-02-29"]),
    ("timestamp", '{"seen": "yesterdayish"}', errno.EINVAL, []), ("enum", '{"mood": "angry"}', errno.EINVAL, ["angry"]),
    ("bool", '{"active": "maybe"}', errno.EINVAL, ["maybe"]), ("too long", '{"code": "abcdef"}', errno.EFBIG, ["too long"]),
    ("check", '{"qty": -1}', errno.EINVAL, ["qty_check"]), ("unique", '{"code": "nut"}', errno.EEXIST, ["code", "nut"]),
    ("not null", '{"qty": null}', errno.EINVAL, ["qty"]), ("nul escaped", '{"note": "a\\u0000b"}', errno.EINVAL, []),
    ("nul byte", b'{"note": "a\0b"}', errno.EINVAL, []), ("invalid utf-8", b'{"note": "\xff\xfe"}', errno.EINVAL, []),
    ("overlong utf-8", b'{"note": "\xc0\xaf"}', errno.EINVAL, []), ("utf-16 half", '{"note": "\\ud800"}', errno.EINVAL, []),
    ("surrogate bytes", b'{"note": "\xed\xa0\x80"}', errno.EINVAL, []), ("deep", '{"meta": ' + "[" * 100_000 + "]" * 100_000 + "}", (errno.EINVAL, errno.EFBIG), []),
    ("trigger", '{"note": "fail please"}', errno.EINVAL, ["the trigger refused it", "something else"]),
]


@pytest.mark.parametrize("body, number, words", [b[1:] for b in BAD_DOCUMENTS], ids=[b[0] for b in BAD_DOCUMENTS])
def test_bad_document(shop, body, number, words):
    shop.add("bolt", qty=3, note="n", code="bolt")
    shop.add("nut", code="nut")
    before = shop.sql("select i::text from items i order by 1")
    shop.m.refuses(lambda: shop.m.write("items/bolt/item.json", body), number, *words, path="items/bolt/item.json", keeps=body)
    assert shop.sql("select i::text from items i order by 1") == before
    assert shop.m.json("items/bolt/item.json")["qty"] == 3  # the file shows the row, not what was refused
    shop.m.write("items/bolt/item.json", '{"qty": 4}')
    assert shop.item("qty") == 4


@pytest.mark.parametrize("body, number, words", [b[1:] for b in BAD_DOCUMENTS if b[0] in ("broken", "unknown key", "check", "unique", "nul byte")])
def test_bad_document_creates_nothing(shop, body, number, words):
    shop.add("nut", code="nut")
    shop.m.mkdir("boxes/1")
    count = shop.one("select count(*) from items")
    put(shop.m.at("tmp"), body)
    shop.m.mkdir("items/new")
    with refused(*([number] if isinstance(number, int) else number)):
        os.rename(shop.m.at("tmp"), shop.m.at("items/new/item.json"))
    os.rmdir(shop.m.at("items/new"))
    assert shop.one("select count(*) from items") == count
    shop.m.refuses(lambda: shop.m.write("flat/1.json", '{"extra": {}}'), errno.EINVAL, "title", keeps='{"extra": {}}')
    assert not shop.m.exists("flat/1.json") and shop.m.ls("flat") == []


def test_the_place_of_a_json_mistake_is_told(shop):
    shop.add("bolt")
    said = shop.m.refuses(lambda: shop.m.write("items/bolt/item.json", '{\n    "qty": 1,\n    "note": oops\n}\n'), errno.EINVAL)
    assert "line 3" in said or '"line": 3' in said or "oops" in said, said


def test_foreign_keys(shop):
    body = {"label": "x", "item": "none"}
    shop.m.umount()
    layout = {"routes": [{"path": "/parts/{parts.id}.json", "row": "parts"}, {"path": "/parts.jsonl", "rows": "parts"}]}
    (shop.m.dir / "layout.json").write_text(json.dumps(layout), encoding="utf-8")
    shop.m.start()
    shop.m.refuses(lambda: shop.m.write(f"parts/{UUID}.json", body), errno.ENOENT, "item", "none", path=f"parts/{UUID}.json", keeps='"none"')
    shop.m.refuses(lambda: append(shop.m.at("parts.jsonl"), json.dumps(body) + "\n"), (errno.ENOENT, errno.EINVAL), "item", keeps='"none"')
    shop.m.refuses(lambda: shop.m.write(f"parts/{UUID}.json", {"item": "x"}), errno.EINVAL, "label")
    assert shop.sql("select 1 from parts") == []


def test_delete_that_a_foreign_key_forbids(shop):
    shop.sql("insert into boxes values (1, 'l'); insert into lid values (1, 1)")
    for action in (lambda: os.unlink(shop.m.at("boxes/1/box.json")), lambda: os.rmdir(shop.m.at("boxes/1"))):
        with refused(errno.ENOTEMPTY, errno.EBUSY, errno.ENOENT, errno.EINVAL, errno.EPERM):
            action()
    assert shop.one("select count(*) from boxes") == 1
    assert shop.m.exists("boxes/1/box.json")


def test_keys_that_are_none(mount, shop):
    os.makedirs(shop.m.at("pairs/a"))
    for name in ("flat/x.json", "flat/1.5.json", "flat/.json", "pairs/a/b.json"):  # no whole numbers: plain files
        shop.m.write(name, "anything")
        assert shop.m.read(name) == "anything"
    assert shop.sql("select id from flat") == shop.sql("select b from pairs") == []
    for name in ("flat/99999999999.json", "flat/007.json"):  # out of range, and another spelling
        shop.m.refuses(lambda: shop.m.write(name, '{"title": "t"}'), errno.EINVAL, path=name)  # noqa: B023
        with refused(errno.ENOENT):
            os.stat(shop.m.at(name))
    mount.mkdir("users/h")
    mount.mkdir(f"users/h/sessions/{UUID}")
    with refused(errno.ENOENT):
        mount.write(f"users/h/sessions/{UUID}/commands/nope/command.json", '{"prompt": "p"}')
    for bad in (UUID.upper(), "{" + UUID + "}"):
        mount.refuses(lambda: mount.write(f"users/h/sessions/{UUID}/metrics/{bad}.json", "{}"), errno.EINVAL)  # noqa: B023
    mount.write(f"users/h/sessions/{UUID}/metrics/{UUID[:-1]}.json", "no uuid")
    put(os.fsencode(shop.m.at("flat")) + b"/\xff.json", "no number")
    with refused(errno.EINVAL):  # of a text key every name is a value, if it is UTF-8
        os.mkdir(os.fsencode(shop.m.at("items")) + b"/\xff")
    assert shop.sql("select 1 from flat union all select 1 from pairs") == []


def test_names_with_sql_in_them(shop):
    for name in ("'; drop table items; --", "x' or '1'='1", "$1", "\\'; select pg_sleep(100); --", "%27"):
        with refused(errno.ENOENT):
            get(shop.m.at(f"items/{name}/qty"))
        with refused(errno.ENOENT, errno.EINVAL):
            get(shop.m.at(f"sum/1+{name}.json"))
    shop.m.mkdir("items/'; drop table items; --")
    put(shop.m.at("items/'; drop table items; --/note.txt"), "'; drop table items; --")
    assert shop.sql("select name, note from items") == [("'; drop table items; --",) * 2]


def test_a_document_beyond_the_limit(shop_pg, make_mount):
    m = make_mount(layout=LAYOUT, options={"max_document": "1M"})
    m.mkdir("items/bolt")
    m.write("items/bolt/note.txt", "x" * (1 << 20))
    for name in ("note.txt", "item.json", "blob.bin", "meta.json"):
        fd = os.open(m.at(f"items/bolt/{name}"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with refused(errno.EFBIG):
            for _ in range(100):
                os.write(fd, b"y" * 65536)
        with refused(errno.EFBIG, errno.EINVAL):
            os.close(fd)
            raise OSError(errno.EFBIG, "a close after a refused write may also succeed")
    assert m.bytes("items/bolt/note.txt") == b"x" * (1 << 20)
    with refused(errno.EFBIG):
        append(m.at("items/bolt/note.txt"), "z")
    with refused(errno.EFBIG):
        os.truncate(m.at("items/bolt/note.txt"), 10 << 20)
    assert shop_pg.one("select length(note) from items") == 1 << 20


def test_100_mb_document(shop):
    """Beyond the default of 16 MiB; refused early, and without taking the memory."""
    from kit import rss_kib
    shop.add("bolt", note="n")
    before = rss_kib(shop.m.process.pid)
    fd = os.open(shop.m.at("items/bolt/note.txt"), os.O_WRONLY | os.O_TRUNC)
    written = 0
    with refused(errno.EFBIG):
        while written < 100 << 20:
            written += os.write(fd, b"x" * (1 << 20))
    try:
        os.close(fd)
    except OSError as e:
        assert e.errno == errno.EFBIG
    assert written <= 17 << 20
    assert rss_kib(shop.m.process.pid) - before < 120_000
    assert "note.txt" in shop.m.sentence()
    assert shop.item("note") == "n"


def test_a_line_beyond_the_limit(shop_pg, make_mount):
    m = make_mount(layout=LAYOUT, options={"max_document": "1M"})
    with refused(errno.EFBIG, errno.EINVAL):
        append(m.at("log.csv"), "a,1,,ok\na,2,," + "x" * (3 << 20) + "\na,3,,ok\n", chunk=65536)
    assert (2,) not in shop_pg.sql("select n from log")
    append(m.at("log.csv"), "a,4,,ok\n")
    assert shop_pg.one("select count(*) from log where n = 4") == 1


def test_no_privilege(shop_pg, make_mount, server):
    shop_pg.sql("insert into items (name, qty) values ('bolt', 3)")
    shop_pg.admin("do $$ begin if not exists (select from pg_roles where rolname = 'reader') then create role reader login; end if; end $$")
    shop_pg.admin("grant select on all tables in schema public to reader")
    shop_pg.admin("grant usage on schema public, rowfs to reader")
    shop_pg.admin("grant select, insert on all tables in schema rowfs to reader")
    m = make_mount(layout=LAYOUT, conninfo=server.conninfo(shop_pg.name, "reader"))
    assert m.read("items/bolt/qty") == "3\n"
    m.refuses(lambda: m.write("items/bolt/qty", "4\n"), errno.EACCES, "permission denied", path="items/bolt/qty")
    for action in (lambda: m.mkdir("items/new"), lambda: os.rmdir(m.at("items/bolt")), lambda: append(m.at("log.csv"), "a,1,,\n"),
                   lambda: os.rename(m.at("items/bolt"), m.at("items/nut")), lambda: m.write("flat/1.json", '{"title": "t"}')):
        with refused(errno.EACCES):
            action()
    shop_pg.admin("drop owned by reader")


def test_no_privilege_on_rowfs_own_schema(shop_pg, make_mount, server):
    """A role that may not use schema rowfs mounts and reads all the same."""
    shop_pg.sql("insert into items (name, qty) values ('bolt', 3)")
    shop_pg.admin("create role stranger login")
    shop_pg.admin("grant select on all tables in schema public to stranger")
    try:
        m = make_mount(layout=LAYOUT, conninfo=server.conninfo(shop_pg.name, "stranger"))
        assert m.read("items/bolt/qty") == "3\n"
        m.umount()
    finally:
        shop_pg.admin("drop owned by stranger")
        shop_pg.admin("drop role stranger")


def test_read_only_database_and_mount(shop_pg, make_mount):
    shop_pg.sql("insert into items (name, qty) values ('bolt', 3)")
    m = make_mount(layout=LAYOUT, options={"ro": True})
    assert m.read("items/bolt/qty") == "3\n"
    for action in (lambda: m.write("items/bolt/qty", "4\n"), lambda: m.mkdir("items/x"), lambda: m.write("plain", "x"),
                   lambda: os.unlink(m.at("items/bolt/item.json"))):
        with refused(errno.EROFS):
            action()
    m.umount()
    shop_pg.admin(f'alter database "{shop_pg.name}" set default_transaction_read_only = on')
    m2 = make_mount(layout=LAYOUT)
    with refused(errno.EROFS):
        m2.write("items/bolt/qty", "4\n")


def test_catalog_that_changes_under_the_mount(shop):
    """A column or a table that goes away: an error with a sentence, never ENOENT; one that comes back works without a remount."""
    shop.add("bolt", qty=3, note="n")
    shop.sql("alter table items drop column note cascade")
    with refused(errno.EIO):
        get(shop.m.at("items/bolt/note.txt"))
    assert "note" in shop.m.sentence()
    shop.sql("alter table items add column note text default 'back'")
    assert shop.m.read("items/bolt/note.txt") == "back"
    shop.sql("alter table items alter column code type text")
    put(shop.m.at("items/bolt/code"), "longer than five\n")
    assert shop.item("code") == "longer than five"
    shop.sql("alter table items add column extra integer")
    assert shop.m.json("items/bolt/item.json")["name"] == "bolt"


def test_close_is_checked_twice_without_harm(shop):
    """dup, fork: the file is flushed at each close; the refused input is refused and kept once."""
    shop.add("bolt", qty=3)
    fd = os.open(shop.m.at("items/bolt/qty"), os.O_WRONLY | os.O_TRUNC)
    os.write(fd, b"x\n")
    second = os.dup(fd)
    with refused(errno.EINVAL):
        os.close(second)
    try:
        os.close(fd)
    except OSError as e:
        assert e.errno == errno.EINVAL
    assert len(shop.m.errors()) == 1 and len([b for b in shop.m.kept() if b == b"x\n"]) <= 1
    assert shop.item("qty") == 3
