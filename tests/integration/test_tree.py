"""The tree and its names: what the database has is what is listed."""
import datetime
import errno
import os
import stat

import pytest

from kit import get, put, refused, run
from shop import LAYOUT, Shop

HOSTILE = [
    "plain", "with space", " leading", "trailing ", "quote'", 'double"', "semi;colon", "per%cent", "per%25cent", "%41", "sl/ash", "new\nline",
    "tab\tkey", "back\\slash", ".", "..", "...", ".hidden", "~", "-rf", "*", "?", "$HOME", "`id`", "a,b", "{}", "naïve", "日本語", "кириллица",
    "Ελληνικά", "عربي", "é", "é", "\u200bzero", "🙂", "'; drop table items; --", "x' or '1'='1", "$1", "\x01\x1f\x7f", "%", "%%", "%~a",
    "a" * 255, "é" * 127, "item.json", "NULL", "null", "CON",
]


def names(count):
    return [f"n{i:05d}" for i in range(count)]


def test_root_lists_the_layout(shop):
    assert set(shop.m.ls()) - {".rowfs"} == {"items", "flat", "pairs", "boxes", "log.csv", "log.jsonl", "book", "days", "names.jsonl",
                                             "names.csv", "names.json", "slow", "sum"}


def test_default_root(mount):
    assert set(mount.ls()) - {".rowfs"} == {"users", "sessions", "memory", "orderbook", "collector"}


def test_listing_is_sql(shop):
    assert shop.m.ls("items") == []
    shop.sql("insert into items (name) select 'n' || g from generate_series(1, 2500) g")
    assert shop.m.ls("items") == sorted(r[0] for r in shop.sql("select name from items"))
    shop.sql("insert into pairs values ('x', 1), ('x', 2), ('y', 3), ('z w', -4)")
    assert shop.m.ls("pairs") == ["x", "y", "z w"]
    assert shop.m.ls("pairs/x") == ["1.json", "2.json"]
    assert shop.m.ls("pairs/z w") == ["-4.json"]
    with refused(errno.ENOENT):
        os.listdir(shop.m.at("pairs/none"))


def test_listing_of_a_row(shop):
    shop.add("bolt", note=None, code="c1", price=1, born="2024-02-29", blob=b"x")
    shop.sql("insert into parts (id, item, label) values ('00000000-0000-0000-0000-00000000000a', 'bolt', 'l')")
    want = {"item.json", "qty", "price", "active", "mood", "code", "born", "meta.json", "blob.bin", "summary.json", "parts.jsonl",
            "parts.csv", "parts"}
    assert set(shop.m.ls("items/bolt")) == want  # note is NULL: no file
    assert shop.m.ls("items/bolt/parts") == ["00000000-0000-0000-0000-00000000000a.json"]
    shop.sql("update items set note = '' where name = 'bolt'")
    second = Shop(shop.m, shop.pg)
    assert second.m.exists("items/bolt/item.json")


@pytest.mark.parametrize("key", HOSTILE, ids=[f"k{i}" for i in range(len(HOSTILE))])
def test_key_encoding_round_trip(shop, key):
    """By SQL in, by listing out and back; and by mkdir in, by SQL out: the same name both ways."""
    shop.sql("insert into items (name, qty) values (%s, 7)", key)
    (name,) = os.listdir(shop.m.at("items"))
    assert len(os.fsencode(name)) <= 255
    assert "/" not in name and name not in (".", "..") and not any(ord(c) < 32 or ord(c) == 127 for c in name)
    assert shop.m.read(f"items/{name}/qty") == "7\n"
    put(shop.m.at(f"items/{name}/qty"), "8\n")
    assert shop.one("select qty from items where name = %s", key) == 8
    shop.m.at(f"items/{name}").rmdir()
    assert shop.sql("select 1 from items") == []
    shop.m.mkdir(f"items/{name}")
    assert shop.sql("select name from items") == [(key,)]


def test_letters_of_any_script_are_themselves(shop):
    for key in ("日本語", "кириллица", "a b", "🙂", "quote'", "-rf", ".hidden"):
        shop.add(key)
    assert shop.m.ls("items") == sorted(["日本語", "кириллица", "a b", "🙂", "quote'", "-rf", ".hidden"])
    shop.add("a/b%c\n")
    assert "a%2Fb%c%0A" in shop.m.ls("items")


def test_a_percent_sign_is_itself(shop):
    """Where it begins no escape; and it is one name for each key, whoever makes it."""
    names = {"a%b": "a%b", "100%": "100%", "%%": "%%", "%zz": "%zz", "%4": "%4", "50%-60%": "50%-60%", "%41": "%2541", "%": "%25",
             "%~x": "%25~x", "%25": "%2525"}
    for key, name in names.items():
        os.mkdir(shop.m.at(f"items/{name}"))
        assert shop.one("select count(*) from items where name = %s", key) == 1, key
    assert shop.m.ls("items") == sorted(names.values())
    for other in ("a%25b", "100%25", "%25%25", "%25zz", "a%62"):
        with refused(errno.ENOENT):
            os.stat(shop.m.at(f"items/{other}"))
        with refused(errno.EINVAL):
            os.mkdir(shop.m.at(f"items/{other}"))
    shop.sql("delete from items")
    for key in names:
        shop.add(key)
    assert shop.m.ls("items") == sorted(names.values())
    shop.sql("delete from items")


def test_names_that_encode_no_key(shop):
    shop.add("bolt")
    for name in ("b%6Flt", "b%6flt", "%zz", "%", "bolt%", "%2f"):
        with refused(errno.ENOENT):
            os.stat(shop.m.at(f"items/{name}"))
    with refused(errno.ENOENT):
        os.stat(os.fsencode(shop.m.at("items")) + b"/\xff\xfe")


def test_64_emoji_are_reached_by_id(shop):
    """64 characters are 256 bytes: too long for a name, so the name is %~ and the primary key's text."""
    shop.sql("create table toys (id integer primary key, label varchar(64) unique not null, n integer)")
    key = "🙂" * 64
    shop.sql("insert into toys values (41, %s, 5), (42, 'short', 6)", key)
    mount = shop.m
    mount.umount()
    layout = {"routes": [{"path": "/toys/{toys.label}/toy.json", "row": "toys"}, {"path": "/toys/{toys.label}/n", "column": "toys.n"}]}
    mount.argv[mount.argv.index("--layout") + 1] = str(mount.dir / "layout2.json")
    (mount.dir / "layout2.json").write_text(__import__("json").dumps(layout), encoding="utf-8")
    mount.start()
    assert mount.ls("toys") == ["%~41", "short"]
    assert mount.json("toys/%~41/toy.json") == {"id": 41, "label": key, "n": 5}
    put(mount.at("toys/%~41/n"), "9\n")
    assert shop.one("select n from toys where id = 41") == 9
    with refused(errno.ENOENT):
        os.stat(mount.at("toys/%~43"))
    os.rmdir(mount.at("toys/%~41"))
    assert shop.sql("select id from toys") == [(42,)]


def test_a_uuid_has_one_name(mount, pg):
    pg.sql("insert into users (hardware_id_hash) values ('h')")
    pg.sql("insert into sessions (id, user_id) select 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee', id from users")
    assert mount.ls("sessions") == ["aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"]
    assert mount.exists("sessions/aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee/session.json")
    for name in ("AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE", "{aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee}", "aaaaaaaabbbb4ccc8dddeeeeeeeeeeee", "no-uuid"):
        with refused(errno.ENOENT):
            os.stat(mount.at(f"sessions/{name}"))


def test_nested_keys_are_joined(mount, pg):
    for h in ("h1", "h2"):
        pg.sql("insert into users (hardware_id_hash) values (%s)", h)
        pg.sql("insert into sessions (user_id) select id from users where hardware_id_hash = %s", h)
    s1 = pg.one("select s.id::text from sessions s join users u on u.id = s.user_id where hardware_id_hash = 'h1'")
    s2 = pg.one("select s.id::text from sessions s join users u on u.id = s.user_id where hardware_id_hash = 'h2'")
    assert mount.ls("users/h1/sessions") == [s1]
    assert mount.ls("users/h2/sessions") == [s2]
    assert sorted(mount.ls("sessions")) == sorted([s1, s2])
    with refused(errno.ENOENT):
        get(mount.at(f"users/h1/sessions/{s2}/session.json"))
    assert mount.json(f"users/h1/sessions/{s1}/session.json")["id"] == s1


def test_time_buckets(shop):
    utc = datetime.timezone.utc
    for when in ("2024-02-29 00:00:00.000000", "2024-02-29 23:59:59.999999", "2024-03-01 00:00:00.000000"):
        us = int(datetime.datetime.fromisoformat(when).replace(tzinfo=utc).timestamp() * 1_000_000 + 0.5)
        shop.sql("insert into book (exchange, symbol, timestamp, price) values ('ex', 'BTC/USD', %s, 1.5)", us)
    assert shop.m.ls("book") == ["ex"]
    assert shop.m.ls("book/ex") == ["BTC%2FUSD"]
    assert shop.m.ls("book/ex/BTC%2FUSD") == ["2024-02-29.csv", "2024-03-01.csv"]
    assert len(shop.m.read("book/ex/BTC%2FUSD/2024-02-29.csv").splitlines()) == 3
    for name in ("2024-02-30.csv", "2024-2-29.csv", "x.csv"):
        with refused(errno.ENOENT):
            os.stat(shop.m.at(f"book/ex/BTC%2FUSD/{name}"))


def test_modes_owner_times(shop):
    shop.add("bolt", seen="2024-05-06 07:08:09+00", note="x")
    st = os.stat(shop.m.at("items/bolt/item.json"))
    assert stat.S_ISREG(st.st_mode) and stat.S_IMODE(st.st_mode) == 0o644
    assert (st.st_uid, st.st_gid) == (os.getuid(), os.getgid())
    assert int(st.st_mtime) == 1714979289
    assert stat.S_IMODE(os.stat(shop.m.at("items/bolt")).st_mode) == 0o755
    assert stat.S_IMODE(os.stat(shop.m.at("names.jsonl")).st_mode) & 0o222 == 0  # a query is read-only
    assert os.stat(shop.m.at("items/bolt/item.json")).st_ino == st.st_ino
    assert len({os.stat(shop.m.at(f"items/bolt/{n}")).st_ino for n in shop.m.ls("items/bolt")}) == len(shop.m.ls("items/bolt"))


def test_stat_size_is_true(shop):
    shop.add("bolt", note="zwölf", price="1.50000000", blob=bytes(range(256)), code="ab", born="2024-01-01")
    shop.sql("insert into parts (item, label) select 'bolt', 'l' || g from generate_series(1, 100) g")
    shop.sql("insert into log (n, text) select g, 'zwölf ' || g from generate_series(1, 100) g")
    for base, _, files in os.walk(shop.m.path):
        if ".rowfs" in base:
            continue
        for name in files:
            full = os.path.join(base, name)
            assert os.stat(full).st_size == len(get(full)), full
    assert run("wc", "-c", shop.m / "log.csv").stdout.split()[0] == str(len(get(shop.m / "log.csv")))


def test_pages_of_a_large_directory(shop):
    shop.sql("insert into items (name) select 'n' || lpad(g::text, 5, '0') from generate_series(0, 9999) g")
    assert shop.m.ls("items") == names(10000)
    seen = []
    with os.scandir(shop.m / "items") as entries:  # a listing while rows come and go: nothing twice, nothing old lost
        for i, entry in enumerate(entries):
            seen.append(entry.name)
            if i == 1500:
                shop.sql("insert into items (name) select 'n' || lpad(g::text, 5, '0') || 'x' from generate_series(0, 99) g")
                shop.sql("delete from items where name between 'n09000' and 'n09099'")
    assert len(seen) == len(set(seen))
    assert set(names(9000)) <= set(seen)


def test_queries_per_operation(shop_pg, make_mount):
    """The issue's limits: a cold cat takes at most 2 queries, ls -l of 10 000 rows at most 20. With the default options."""
    shop = Shop(make_mount(layout=LAYOUT), shop_pg)
    shop.sql("insert into flat select g, 't' || g from generate_series(1, 10000) g")
    with shop.pg.queries() as seen:
        shop.m.read("flat/77.json")
    assert seen.total <= 2, seen
    with shop.pg.queries() as seen:
        out = run("ls", "-l", shop.m / "flat").stdout
    assert len(out.splitlines()) == 10001
    assert seen.total <= 20, seen


def test_layout_is_served_back(shop):
    assert shop.m.json(".rowfs/layout.json") == LAYOUT
