"""A database that is not in UTF-8: files are UTF-8 all the same, and their sizes are those of their bytes (SEMANTICS 14.4)."""
import itertools
import json
import os

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


@pytest.fixture(params=["with the schema rowfs", "without"])
def latin(server, request):
    name = f"latin{next(numbers)}"
    server.admin(f"create database {name} owner keeper template template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'")
    server.admin(f"alter database {name} set client_encoding = 'UTF8'")  # of this test's own connections
    database = kit.Database(server, name)
    if request.param != "without":
        kit.deploy(database)
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
        # a size that nobody keeps is asked for at open
        assert size == len(data) or (name.endswith((".csv", ".jsonl")) and "kept" not in m.status()["summary"].values()), name


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
