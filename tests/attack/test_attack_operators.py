"""A role that may create something in a schema on the search path makes operators and functions that fit better than PostgreSQL's own, which take
varchar as text and bigint as numeric. None of them may run as the mount's role. User triggers look names up as they always did."""
import contextlib
import errno
import os
import re

import psycopg2
import pytest

import kit
from ingestkit import lines
from kit import append, get, put, rm, run
from mountkit import clean_env, rowfs_binary
from shop import LAYOUT, SQL, Shop

TYPES = ("varchar bpchar text name \"char\" int2 int4 int8 numeric float8 bool uuid json jsonb bytea date timestamp timestamptz interval oid regclass "
         "xid tid int8range int8multirange text[] varchar[] int4[] int8[] xid[] mood short").split()
OPERATORS = "= <> < > <= >= || + - * / % ~ ~~ -> ->> @> <@ &&".split()
NARROW = "varchar text name int4 int8 numeric json jsonb timestamptz mood short text[]".split()
FUNCTIONS = """unnest count string_agg json_agg json_build_object row_to_json sum current_setting json_array_elements lower to_regclass quote_ident strpos
    replace md5 set_config array_agg upper octet_length max min substr format_type json_each_text concat_ws json_array_elements_text generate_series split_part
    jsonb_pretty to_json json_build_array starts_with to_timestamp nextval pg_get_serial_sequence int8range hashtextextended jsonb_build_object pg_notify
    convert_to json_typeof json_each trim_scale isfinite to_char array_to_string has_table_privilege has_schema_privilege jsonb_array_elements coalesce
    length now quote_literal format date_trunc abs""".split()
BODY = "language plpgsql as $$ begin raise warning 'hijacked by %'; return null; end $$"


def weapons(pg):
    """All operators that fit a pair of TYPES exactly where PostgreSQL has none, and functions of one and two arguments."""
    there = {(n, a, b) for n, a, b in pg.admin("select oprname::text, oprleft::regtype::text, oprright::regtype::text from pg_operator")}
    plain = dict(pg.admin("select t, t::regtype::text from unnest(%s::text[]) t", TYPES))
    out = []
    for i, a in enumerate(TYPES):
        for k, b in enumerate(TYPES):
            out.append(f"create function public.h{i}_{k}(a {a}, b {b}) returns bool " + BODY.replace("%", f"{plain[a]}, {plain[b]}"))
            out.append(f"create function public.g{i}_{k}(a {a}, b {b}) returns {a} " + BODY.replace("%", f"{plain[a]}, {plain[b]}"))
            for op in OPERATORS:
                if (op, plain[a], plain[b]) not in there:
                    kind = "g" if op in ("||", "+", "-", "*", "/", "%", "->") else "h"
                    out.append(f"create operator public.{op} (function = public.{kind}{i}_{k}, leftarg = {a}, rightarg = {b})")
    for name in FUNCTIONS:
        for signature in [(a,) for a in NARROW] + [(a, b) for a in NARROW for b in NARROW]:
            out.append(f"create function public.{name}({', '.join(signature)}) returns text " + BODY.replace("%", f"{name}({', '.join(signature)})"))
    return out


@pytest.fixture(scope="module")
def arsenal(server, template):
    """The shop's database after mallory has been there; tables are looked up through the same schema."""
    pg = server.create_database("arsenal", template.name)
    pg.sql(SQL)
    pg.sql("create domain short as varchar(20); create type hue as enum ('red', 'green'); "
           "create table things (code varchar(20) primary key, hue hue, short short, at bigint not null, tags text[] default '{}', doc jsonb);"
           "create table bits (code varchar(20) references things on delete cascade on update cascade, n smallint, text varchar(9), primary key (code, n));"
           "create table hues (hue hue primary key, short short unique, weight numeric)")
    server.admin("create role mallory login")
    pg.admin("grant create, usage on schema public to mallory")
    with contextlib.closing(psycopg2.connect(re.sub(r"user=\w+", "user=mallory", pg.conninfo))) as conn, conn.cursor() as cur:
        made = weapons(pg)
        for at in range(0, len(made), 300):
            cur.execute(";".join(made[at:at + 300]))
            conn.commit()
    pg.close()
    yield pg
    pg.drop()
    server.admin("drop role mallory")


@pytest.fixture
def armed(server, arsenal):
    pg = server.create_database("armed", arsenal.name)
    pg.admin('alter database armed set log_min_error_statement = warning')
    server.mark_log()
    yield pg
    pg.drop()


def hijacked(pg):
    text = pg.server.log_text()[pg.server._mark:]  # noqa: SLF001
    return [(m[1], text[m.end():m.end() + 1500].split("STATEMENT:")[1].split("\n")[0][:600]) for m in re.finditer(r"hijacked by (.*)", text)]


THINGS = {"routes": [
    {"path": "/things/{things.code}/thing.json", "row": "things"},
    {"path": "/things/{things.code}/short.txt", "column": "things.short"},
    {"path": "/things/{things.code}/bits.csv", "rows": "bits", "columns": ["n", "text"], "order": ["text", "n"]},
    {"path": "/things/{things.code}/bits/{bits.n}.json", "row": "bits"},
    {"path": "/things/{things.code}/bits.json", "rows": "bits", "as": "array", "columns": ["n", "text"]},
    {"path": "/hues/{hues.hue}.json", "row": "hues"},
    {"path": "/shorts/{hues.short}.txt", "column": "hues.weight"},
    {"path": "/days/{things.hue}/{day}.jsonl", "rows": "things", "columns": ["code", "at"], "order": ["code"],
     "keys": {"day": {"column": "at", "unit": "ns", "format": "%Y-%m-%d"}}}]}


def use_things(m):
    for code in ("a", "b"):
        m.mkdir(f"things/{code}")
        m.write(f"things/{code}/thing.json", {"at": 10**18, "tags": ["x"], "doc": {"a": 1}, "short": "s", "hue": "red"})
        m.write(f"things/{code}/short.txt", "t\n")
        m.write(f"things/{code}/bits.csv", "n,text\n1,one\n2,two\n")
        m.append(f"things/{code}/bits.csv", "3,three\n")
        m.write(f"things/{code}/bits.csv", "n,text\n1,one\n3,drei\n")
        assert m.ls(f"things/{code}/bits") == ["1.json", "3.json"]
        m.write(f"things/{code}/bits/1.json", {"text": "eins"})
        m.write(f"things/{code}/bits.json", [{"n": 1, "text": "uno"}, {"n": 4, "text": "vier"}])
    m.write("hues/red.json", {"short": "r", "weight": 1.5})
    m.write("hues/green.json", {"short": "g"})
    assert m.ls("hues") == ["green.json", "red.json"] and m.read("shorts/r.txt") == "1.5\n"
    assert m.ls("things") == ["a", "b"]
    assert m.ls("days/red") == ["2001-09-09.jsonl"]
    assert m.jsonl("days/red/2001-09-09.jsonl") == [{"code": c, "at": 10**18} for c in "ab"]
    m.append("days/red/2001-09-09.jsonl", '{"code": "c", "at": 1000000000000000001}\n')
    os.rename(m.at("things/b"), m.at("things/d"))
    rm(m.at("things/a/bits/1.json"))
    rm(m.at("things/a/thing.json"))
    assert m.ls("things") == ["c", "d"]


@pytest.mark.parametrize("coherence", ["notify", "ttl=0"])
def test_no_operator_of_another_role_runs(armed, make_mount, coherence):
    pg = armed
    m = make_mount(layout=THINGS, conninfo=pg.conninfo, options={"coherence": coherence})
    use_things(m)
    pg.sql("select rowfs.fold()")
    assert m.ls("days/red") == ["2001-09-09.jsonl"]
    assert hijacked(pg) == []
    m.umount()
    shop = Shop(make_mount(layout=LAYOUT, conninfo=pg.conninfo, options={"coherence": coherence}), pg)
    shop.add("bolt", qty=3, note="n")
    m = shop.m
    for path, _, names in os.walk(m.path):
        for name in names:
            with contextlib.suppress(OSError):
                get(os.path.join(path, name))
    m.append("log.csv", "x,1,,one\n")
    m.write("items/bolt/item.json", {"qty": 4, "note": "m", "code": "c"})
    assert shop.item("note") == "m" and shop.item("qty") == 4
    assert pg.one("select count(*) from audit") > 0  # by a trigger that says "audit", and finds it as before
    m.umount()
    run(rowfs_binary(), "check", m.dir / "layout.json", pg.conninfo, env=clean_env(), timeout=60)
    assert hijacked(pg) == []


def test_ingest_files(armed, make_mount):
    pg = armed
    m = make_mount(conninfo=pg.conninfo)
    name = m / "collector/o_orderbook_1.csv"
    put(name, lines(0, 50))
    put(name, lines(0, 20))
    append(name, lines(20, 10))
    os.rename(name, m / "collector/p_orderbook_1.csv")
    assert get(m / "collector/p_orderbook_1.csv") == lines(0, 30)
    m.ls("orderbook")
    os.unlink(m / "collector/p_orderbook_1.csv")
    with kit.refused(errno.ENOENT):
        get(name)
    assert hijacked(pg) == []


def test_types_with_operators_of_their_own_keep_them(pg, make_mount):
    """citext in the schema public: equal is what its operator calls equal, in keys, joins, orders and pages."""
    pg.admin("create extension citext")
    pg.sql("create table cities (name citext primary key, mayor text); create table streets (city citext references cities on delete cascade, name citext,"
           " n int, primary key (city, name)); insert into cities select case when g % 2 = 0 then 'City' else 'cITY' end || lpad(g::text, 4, '0'), 'm' "
           "from generate_series(1, 3000) g; insert into streets select 'CITY0007', case when g % 2 = 0 then 'A' else 'a' end || lpad(g::text, 4, '0'), g "
           "from generate_series(1, 3000) g")
    m = make_mount(layout={"routes": [{"path": "/{cities.name}/city.json", "row": "cities"},
                                      {"path": "/{cities.name}/streets.csv", "rows": "streets", "columns": ["name", "n"], "order": ["name"]},
                                      {"path": "/{cities.name}/s/{streets.name}.json", "row": "streets"},
                                      {"path": "/all.csv", "rows": "cities", "columns": ["mayor", "name"], "order": ["name"]}]},
                   options={"coherence": "ttl=0"})
    names = [n for n, in pg.sql("select name::text from cities")]
    assert sorted(n for n in m.ls() if n not in ("all.csv", ".rowfs")) == sorted(names)
    assert m.json("cITY0007/city.json")["mayor"] == "m" and not m.exists("City0007/city.json")
    told = pg.sql("select s.name::text, n from streets s order by s.name")
    assert m.read("cITY0007/streets.csv").splitlines()[1:] == [f"{name},{n}" for name, n in told]
    assert sorted(m.ls("cITY0007/s")) == sorted(f"{name}.json" for name, _ in told)
    with open(m.at("all.csv"), "rb") as f:
        f.seek(-30, os.SEEK_END)
        assert f.read().decode().splitlines()[-1] == pg.one("select 'm,' || max(name) from cities")
    m.append("cITY0007/streets.csv", "b,1\n")
    assert pg.one("select city::text from streets where name = 'B'").lower() == "city0007"
    m.refuses(lambda: m.append("cITY0007/streets.csv", "B,1\n"), errno.EEXIST)
    m.write("cITY0007/s/b.json", {"n": 8})
    assert pg.one("select n from streets where name = 'B'") == 8
    rm(m.at("cITY0007/city.json"))
    assert pg.one("select count(*) from streets") == 0
