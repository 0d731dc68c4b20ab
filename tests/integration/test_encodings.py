"""A database that is not in UTF-8: files are UTF-8 all the same, and their sizes are those of their bytes (SEMANTICS 14.4)."""
import errno
import itertools
import json
import os
import subprocess

import pytest

import kit
from kit import get

numbers = itertools.count(1)
TABLES = """
create table things (name text primary key, title text, meta jsonb, blob bytea);
create table parts (id bigserial primary key, thing text references things, memo text);
create table marks (id bigserial primary key, place text, memo text);
create function shout(word text) returns table (said text) language sql stable as $$ select upper(word) || 'é' $$;
insert into things values ('é', 'façade', '{"ö": "ü"}', '\\x00ff');
insert into parts (thing, memo) select 'é', 'ñ' || n from generate_series(1, 50) n;
"""
LAYOUT = {"routes": [
    {"path": "/t/{things.name}/thing.json", "row": "things", "columns": ["name", "title"]},
    {"path": "/t/{things.name}/title.txt", "column": "things.title"},
    {"path": "/t/{things.name}/meta.json", "column": "things.meta"},
    {"path": "/t/{things.name}/blob", "column": "things.blob"},
    {"path": "/t/{things.name}/parts.csv", "rows": "parts", "columns": ["memo"], "order": ["id"]},
    {"path": "/t/{things.name}/parts.jsonl", "rows": "parts", "columns": ["memo"], "order": ["id"]},
    {"path": "/marks/{place}.csv", "rows": "marks", "columns": ["place", "memo"], "order": ["id"]},
    {"path": "/all.json", "rows": "things", "as": "array", "columns": ["name", "title"], "order": ["name"]},
    {"path": "/said/{word}.txt", "query": "shout"},
]}
FILES = ["t/é/thing.json", "t/é/title.txt", "t/é/meta.json", "t/é/blob", "t/é/parts.csv", "t/é/parts.jsonl", "marks/ö.csv", "all.json", "said/ß.txt"]


# What the encoding has no character for. SQL_ASCII is no encoding: bytes pass as they are.
FOREIGN = {"LATIN1": "漢", "WIN1252": "漢", "EUC_JP": "😀", "SQL_ASCII": None}


@pytest.fixture(params=["LATIN1", "LATIN1 without the schema", "WIN1252", "EUC_JP", "SQL_ASCII"])
def latin(server, request):
    name, (encoding, *without) = f"latin{next(numbers)}", request.param.split(" ", 1)
    server.admin(f"create database {name} owner keeper template template0 encoding '{encoding}' lc_collate 'C' lc_ctype 'C'")
    server.admin(f"alter database {name} set client_encoding = 'UTF8'")  # of this test's own connections
    database = kit.Database(server, name)
    database.foreign = FOREIGN[encoding]
    if not without:
        kit.sqitch(database, "deploy")
    database.sql(TABLES)
    yield database
    database.drop()


def sizes_are_true(m):
    for name in FILES:
        if not os.path.exists(m.at(name)):
            assert name == "marks/ö.csv"
            continue
        size = m.at(name).stat().st_size
        with open(m.at(name), "rb") as f:
            opened = os.fstat(f.fileno()).st_size
        data = get(m.at(name))
        assert opened == len(data) == m.at(name).stat().st_size, name
        assert size == len(data), name  # kept, or read from a table that is small
        if name.endswith((".csv", ".jsonl")):  # programs that go by the size
            assert subprocess.run(["tail", "-n", "1", m.at(name)], capture_output=True, check=True).stdout == b"".join(data.splitlines(True)[-1:])
            assert subprocess.run(f"tar cf - -C {m.path} {name} | tar xOf -", shell=True, capture_output=True, check=True).stdout == data


def rows_say(pg, m):
    """What SQL says of the rows, as text that the client gets in UTF-8."""
    memos = [memo for (memo,) in pg.sql("select memo from parts where thing = 'é' order by id")]
    assert get(m.at("t/é/parts.csv")).decode() == "".join(f"{memo}\n" for memo in ["memo", *memos])
    assert get(m.at("t/é/parts.jsonl")).decode() == "".join(f'{{"memo":"{memo}"}}\n' for memo in memos)


def test_sizes_are_those_of_the_bytes(make_mount, latin):
    m = make_mount(layout=LAYOUT, conninfo=latin.conninfo)
    sizes_are_true(m)
    m.at("t/é/title.txt").write_text("Ærøskøbing")
    m.at("t/é/thing.json").write_text(json.dumps({"title": "Ål"}, ensure_ascii=False))
    for name, line in [("t/é/parts.csv", "écrit\n"), ("t/é/parts.jsonl", '{"memo": "über"}\n'), ("marks/ö.csv", "ö,ñ\n")]:
        with open(m.at(name), "a", encoding="utf-8") as f:
            f.write(line)
    sizes_are_true(m)
    m.at("t/é/parts.csv").write_text("memo\nû\nâ\n", encoding="utf-8")
    latin.sql("insert into marks (place, memo) values ('ö', 'é'); update parts set memo = memo || 'ß' where memo = 'û'")
    kit.until(lambda: "ûß" in get(m.at("t/é/parts.csv")).decode() and b"\xc3\xa9" in get(m.at("marks/ö.csv")), "seen")
    sizes_are_true(m)
    rows_say(latin, m)
    # the last lines, and a place in the middle, are found by their offsets in what is read
    with open(m.at("t/é/parts.jsonl"), "rb") as f:
        data = f.read()
        for at in (len(data) - 1, len(data) // 2, 3):
            assert os.pread(f.fileno(), 1 << 20, at) == data[at:], at
    # a character that the database's encoding has not is refused, and nothing else is
    if latin.foreign:
        before = latin.sql("select * from things")
        for name, text in [("t/é/title.txt", latin.foreign), ("t/é/thing.json", json.dumps({"title": latin.foreign}, ensure_ascii=False))]:
            m.refuses(lambda: kit.put(m.at(name), text), errno.EINVAL, "encoding", path=name)  # noqa: B023
        m.refuses(lambda: kit.append(m.at("t/é/parts.csv"), f"bad {latin.foreign}\ngood é\n"), errno.EINVAL, "encoding", keeps=latin.foreign)
        assert latin.sql("select * from things") == before
        assert latin.one("select count(*) from parts where memo = 'good é'") == 1
    latin.sql("truncate parts")
    kit.until(lambda: get(m.at("t/é/parts.csv")) == b"memo\n", "it is empty")
    sizes_are_true(m)
