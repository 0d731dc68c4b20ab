"""A row has one name, and a name leads to one row: layouts in which keys and other names can be mistaken for each other, with generated keys, against SQL."""
import errno
import json
import os
import random
import uuid
from collections import Counter

import psycopg2
import pytest

from kit import get, put, refused, sh

SQL = """create table a (k text primary key, v text);
create table b (x text, y text, v text, primary key (x, y));
create table n (id integer primary key, v text);
create table u (id uuid primary key, v text);
create table d (day date, n int, primary key (day, n));
create table m (mood text primary key);
create type feeling as enum ('good', 'so-so');
create table e (f feeling primary key, v text);
create table s (code varchar(5) primary key, v text)"""
# directory: tables and their routes; `name(values)` is no business of the test, what is listed is
LAYOUT = {"routes": [
    {"path": "/own/{a.k}.json", "row": "a"},
    {"path": "/own/{a.k}.meta.json", "row": "a"},
    {"path": "/own/{n.id}.json.d/n.json", "row": "n"},
    {"path": "/own/all.json", "rows": "n", "as": "array"},
    {"path": "/dirs/{a.k}/a.json", "row": "a"},
    {"path": "/dirs/{a.k}.json", "row": "a"},
    {"path": "/dirs/x-{b.x}-{b.y}.json", "row": "b"},
    {"path": "/dirs/x.json", "rows": "n", "as": "array"},
    {"path": "/two/{x}-{y}.json", "row": "b"},
    {"path": "/two/{x}--{y}", "column": "b.v"},
    {"path": "/{a.k}.txt", "column": "a.v"},
    {"path": "/{a.k}/v", "column": "a.v"},
    {"path": "/num/{n.id}.json", "row": "n"},
    {"path": "/num/{u.id}", "column": "u.v"},
    {"path": "/day/{day}.csv", "rows": "d", "keys": {"day": {"column": "day", "format": "%Y-%m-%d"}}},
    {"path": "/uuid/{u.id}.json", "row": "u"},
    {"path": "/feel/{e.f}.json", "row": "e"},
    {"path": "/code/{s.code}.json", "row": "s"},
]}
PIECES = ["a", "x", ".json", ".meta", ".meta.json", ".txt", "-", "--", "%", "~", "%~", ".", "..", "\n", "\t", "\x7f", "/", "é", "λ", " ", "1", "7",
          "%2E", "2E", "all", "x.json", ".rowfs", "own", "q", "'", '"', "\\", "json", ".json.d", "x-"]


def keys(rng, n):
    found = {"", ".", "..", "a", "a.json", "a.meta", "a.meta.json", "a.json.json", "q\nq", "all", "all.json", ".rowfs", "own", "x-1-2", "x",
             "q%0Aq", "%", "%25", "%%", "%41", "%4", "%zz", "a%", "%2f", "1.json.d", "7", "x" * 300, "x" * 100, "é" * 120, "a" * 251 + ".meta"}
    while len(found) < n:
        found.add("".join(rng.choice(PIECES) for _ in range(rng.randint(1, 4))))
    return sorted(found)


@pytest.fixture
def named(pg, make_mount, seed):
    rng = random.Random(seed)
    pg.sql(SQL)
    for k in keys(rng, 60):
        pg.sql("insert into a values (%s, %s)", k, "value of " + k)
    some = keys(rng, 50)
    for _ in range(40):
        x, y = rng.choice(some), rng.choice(some)
        pg.sql("insert into b values (%s, %s, %s) on conflict do nothing", x[:60], y[:60], json.dumps([x[:60], y[:60]]))
    pg.sql("insert into n select g, 'n' from generate_series(1, 12) g")
    return make_mount(layout=LAYOUT, options={"coherence": "ttl=0"}), pg, rng


def spellings(name, rng):
    """Other ways to write NAME."""
    raw = os.fsencode(name)
    yield from (name.replace(f"%{c:02X}", chr(c)) for c in (10, 9, 127, 0x25, 0x2e, 0x7e) if f"%{c:02X}" in name)
    at = rng.randrange(len(raw))
    yield os.fsdecode(raw[:at] + b"%%%02X" % raw[at] + raw[at + 1:])
    yield os.fsdecode(raw[:at] + b"%%%02x" % raw[at] + raw[at + 1:])
    yield name.upper()
    yield name.replace("%", "%25", 1)
    if "%~" not in name:
        yield "%~1" + name[name.find("."):] if "." in name else "%~1"


def test_every_row_has_one_name_and_every_name_one_row(named):
    m, pg, rng = named
    a = [k for k, in pg.sql("select k from a")]
    b = pg.sql("select x, y from b")
    n = [i for i, in pg.sql("select id from n")]

    def names(directory, of):
        """name → key of the row that it leads to, for the names that OF(name) reads a key from."""
        out = {}
        listed = os.listdir(m.at(directory))
        assert len(set(listed)) == len(listed), "a name is listed twice"
        for name in listed:
            path = m.at(directory) / name
            key = of(path, name)
            if key is not None:
                out[name] = key
        for name in out:
            for other in spellings(name, rng):
                if other not in (*listed, ".", "..") and 0 < len(os.fsencode(other)) <= 255 and "/" not in other:
                    assert not os.path.lexists(m.at(directory) / other), f"{other!r} leads somewhere beside {name!r}"
        return out

    def rows_of(got, wanted):
        have, want = Counter(map(str, got.values())), Counter(map(str, wanted))
        assert have == want, f"missing {want - have}, too many {have - want}"

    def json_key(*columns, kind=os.path.isfile, file=None):
        def read(path, name):
            if not kind(path) or file and not os.path.exists(path / file):
                return None
            row = json.loads(get(path / file if file else path))
            if isinstance(row, list) or not all(c in row for c in columns):
                return None
            return row[columns[0]] if len(columns) == 1 else tuple(row[c] for c in columns)
        return read

    # two routes of one table in one directory: each row twice, under one name of each
    both = names("own", json_key("k"))
    rows_of(both, a + a)
    rows_of(names("own", json_key("id", kind=os.path.isdir, file="n.json")), n)
    rows_of(names("dirs", json_key("k", kind=os.path.isdir, file="a.json")), a)
    rows_of(names("dirs", json_key("k")), a)
    fits = [r for r in b if r in set(names("dirs", json_key("x", "y")).values())]
    rows_of(names("two", json_key("x", "y")), b)
    assert len(fits) == len(b)

    def text_key(suffix):
        def read(path, name):
            if not os.path.isfile(path):
                return None
            return get(path).decode()
        return read
    rows_of(names(".", text_key(".txt")), ["value of " + k for k in a])
    dirs = [name for name in os.listdir(m.path) if os.path.isdir(m.path / name) and name != ".rowfs" and os.path.exists(m.path / name / "v")]
    rows_of({d: get(m.path / d / "v").decode() for d in dirs}, ["value of " + k for k in a])
    for name, key in both.items():  # what is written to a name reaches that row alone
        if rng.random() < 0.2:
            before = dict(pg.sql("select k, v from a"))
            put(m.at("own") / name, json.dumps({"v": "new"}))
            assert dict(pg.sql("select k, v from a")) == {**before, key: "new"}, name


def texts(rng):
    """Names that a program might give a file beside routes, and keys in odd spellings."""
    some = ["", "0", "1", "-1", "007", "+7", " 7", "7 ", "-0", "2147483647", "2147483648", "99999999999999999999", "1e3", "1.0", ".tmp", "tmpx7Gq2", "~", "#1#",
            "2025-01-01", "2025-1-1", "2025-02-30", "2024-02-29", "2025-01-01.tmp", ".2025-01-01", "20250101", "0000-01-01", "9999-12-31",
            str(uuid.UUID(int=rng.getrandbits(128))), str(uuid.UUID(int=rng.getrandbits(128))).upper(), uuid.UUID(int=5).hex, "good", "GOOD", "so-so",
            "abcde", "abcdef", "ééééé", "1_000", ".", ".."]
    for _ in range(25):
        some.append("".join(rng.choice("0123456789-. abcdefé") for _ in range(rng.randint(1, 10))))
    return sorted(set(some) - {""})


CASES = {"num/{}.json": "integer", "uuid/{}.json": "uuid", "feel/{}.json": "feeling", "day/{}.csv": "day", "code/{}.json": "code"}


def meaning(pg, kind, text):
    """key, spelling or plain, as SQL says."""
    if kind == "code":
        return "plain" if len(text) > 5 else "spelling" if text in (".", "..") else "key"  # a lone dot is written %2E
    try:
        if kind == "day":
            exact = pg.one("select to_char(to_date(%s, 'YYYY-MM-DD'), 'YYYY-MM-DD') = %s", text, text)
            return "key" if exact else "lenient"
        return "key" if pg.one(f"select %s::{kind}::text = %s", text, text) else "spelling"
    except psycopg2.Error as e:
        out_of_range = e.pgcode in ("22003", "22008")
        return "lenient" if kind == "day" else "spelling" if out_of_range else "plain"


def test_only_a_name_that_is_no_value_of_its_key_is_a_plain_file(named):
    m, pg, rng = named
    for pattern, kind in CASES.items():
        for text in texts(rng):
            path, means = m.at(pattern.format(text)), meaning(pg, kind, text)
            if os.path.lexists(path):
                continue
            try:
                fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            except OSError as e:
                assert e.errno == errno.EINVAL and means in ("spelling", "lenient"), (pattern, text, means, e)
                assert not os.path.lexists(path)
                continue
            # to_date() takes more than it writes: what is not a day in other digits is no value
            assert means in ("key", "plain", "lenient"), (pattern, text, means)
            if means == "key":
                os.close(fd)
                os.unlink(path)
                continue
            os.write(fd, b"no row")
            os.close(fd)
            assert get(path) == b"no row" and path.name in os.listdir(path.parent), (pattern, text)
            os.rename(path, m.at("elsewhere"))
            os.rename(m.at("elsewhere"), path)
            os.unlink(path)
    assert pg.sql("select * from e") == pg.sql("select * from d") == pg.sql("select * from s") == []
    with refused(errno.EINVAL):
        os.mkdir(m.at("own/tmp.json.d"))


ATOMIC = r"""
import os, sys, tempfile
path, data = sys.argv[1], sys.argv[2].encode()
fd, name = tempfile.mkstemp(suffix=os.path.splitext(path)[1], prefix=sys.argv[3], dir=os.path.dirname(path))
with os.fdopen(fd, "wb") as f:
    f.write(data)
    f.flush()
    os.fsync(f.fileno())
os.replace(name, path)
"""


@pytest.mark.parametrize("prefix", ["tmp", ".", ".2025-01-01."])
@pytest.mark.parametrize("path, data, query, wanted", [
    ("num/1.json", '{"v": "new"}', "select v from n where id = 1", [("new",)]),
    ("num/99.json", '{"v": "new"}', "select v from n where id = 99", [("new",)]),
    ("feel/good.json", '{"v": "new"}', "select v from e", [("new",)]),
    ("code/abc.json", '{"v": "new"}', "select code, v from s", [("abc", "new")]),
    ("day/2025-01-01.csv", "day,n\n2025-01-01,1\n2025-01-01,2\n", "select n from d order by 1", [(1,), (2,)]),
])
def test_an_atomic_save_with_a_temporary_name_beside_the_route(named, path, data, query, wanted, prefix):
    """mkstemp() with the file's own suffix, in the file's own directory."""
    m, pg, _ = named
    for _ in range(2):
        sh('/usr/bin/python3 -c "$CODE" "$FILE" "$DATA" "$PREFIX"', CODE=ATOMIC, FILE=m.at(path), DATA=data, PREFIX=prefix)
        assert pg.sql(query) == wanted
    assert [n for n in m.ls(os.path.dirname(path)) if "tmp" in n] == []
