"""A role that may create something in a schema on the search path makes operators and functions that fit better than PostgreSQL's own, which take
varchar as text and bigint as numeric. None of them may run as the mount's role. User triggers look names up as they always did."""
import contextlib
import errno
import os
import re
import time

import psycopg2
import pytest

import kit
import mountkit
from ingestkit import lines
from kit import ROOT, append, get, put, rm, run, sqitch
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


def test_packs(armed):
    """What is deployed, compared and removed is looked up by nobody's operators. (Statements of packs are the packs' own.)"""
    pg = armed
    with contextlib.closing(pg.connect()) as conn, conn, conn.cursor() as cur:
        cur.execute("select rowfs.pack_begin('pots', 'pots')")
        for statement in ("create table pots (code varchar(20) primary key, n bigint not null default 3)",
                          "create table lids (code varchar(20) references pots on delete cascade)",
                          "create index lids_code on lids (code)", "create view all_pots as table pots",
                          "create function pots_move() returns trigger language plpgsql as 'begin return new; end'",
                          "create trigger pots_move before update on pots for each row execute function pots_move()"):
            cur.execute("select rowfs.make(%s, 'pots')", (statement,))
        cur.execute("select rowfs.make_extension('uuid-ossp')")
        cur.execute("select rowfs.pack_end()")
    pg.sql("insert into pots values ('a')")
    pg.sql("create or replace function pots_move() returns trigger language plpgsql as 'begin return old; end'")
    assert pg.sql("select identity from rowfs.differences('pots')") == [("public.pots_move()",)]
    pg.sql("select rowfs.replace('pots', 'pots_move')")
    assert pg.sql("select rowfs.differences('pots')") == pg.sql("select rowfs.differences('voice-assistant')") == []
    assert pg.sql("select * from rowfs.pack_rows('pots')") == [("public.pots", 1)]
    pg.sql("select rowfs.pack_verify('pots')")
    pg.sql("select rowfs.pack_remove('pots')")
    assert pg.sql("select pg_catalog.to_regclass('pots'), pg_catalog.to_regclass('all_pots')") == [(None, None)]
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


# -- partitions ---------------------------------------------------------------------------------------------------------------------

def test_partitions(armed):
    """Functions of schema/partitioned. A user's trigger finds what it names by the path of whoever calls."""
    pg = armed
    pg.sql("create domain instant as bigint")
    with contextlib.closing(psycopg2.connect(re.sub(r"user=\w+", "user=mallory", pg.conninfo))) as conn, conn, conn.cursor() as cur:
        for name in (">=", "<", "/"):
            for right in ("int4", "int8", "numeric"):
                cur.execute(f"create or replace function public.at_{right}(a instant, b {right}) returns bool {BODY.replace('%', 'instant')}; "
                            f"create operator public.{name} (function = public.at_{right}, leftarg = instant, rightarg = {right})")
    sqitch(pg, "deploy", project="schema/partitioned")
    pg.sql("create table ticks (at instant primary key, what varchar(9)); create table gone (at bigint); "
           "create function note() returns trigger language plpgsql as 'begin insert into gone values (old.at); return old; end'; "
           "create trigger note after delete on ticks for each row execute function note()")
    year = 31_556_952_000  # in milliseconds
    now = int(time.time() * 1000)
    pg.sql("insert into ticks values (%s), (%s), (%s), (1)", now, now - year, now - 3 * year)
    assert pg.one("select rowfs.partition_table('ticks', 'at', 1000, 'month', '2 years')::text") == "ticks"
    assert pg.one("select count(*) from ticks_default") == 1
    pg.sql("insert into ticks values (%s)", now + 2 * year)  # no partition yet
    assert pg.one("select count(*) from ticks_default") == 2 and pg.sql("select * from gone") == []
    assert pg.one("select rowfs.make_partitions('ticks', '25 months')") > 20
    # the row has moved, which its table's trigger was told; the row of 1970 stays
    assert pg.sql("select at from ticks_default") == [(1,)] and pg.sql("select at from gone") == [(now + 2 * year,)]
    assert pg.one("select rowfs.drop_partitions('ticks')") == 1
    assert sorted(pg.sql("select at from gone")) == [(1,), (now + 2 * year,)]
    assert pg.one("select rowfs.unpartition_table('ticks', '{at}')::text") == "ticks"
    assert sorted(pg.sql("select at from ticks")) == [(now - year,), (now,), (now + 2 * year,)]
    assert pg.one("show search_path") == '"$user", public'
    sqitch(pg, "verify", project="schema/partitioned")
    sqitch(pg, "revert", "-y", project="schema/partitioned")
    assert hijacked(pg) == []
    left = pg.sql("set search_path = pg_catalog; select proname from pg_proc where pronamespace = 'rowfs'::regnamespace and proname ~ 'partition'")
    assert left == []


# -- what is bound when it is made --------------------------------------------------------------------------------------------------

EXACT = [("=", "text", "text"), ("=", "oid", "oid"), ("=", "name", "text"), ("=", "oid", "regclass"), ("<>", "text", "text"), ("||", "text", "text"),
         ("=", "bool", "bool"), ("~", "text", "text"), ("=", "int8", "int8"), ("=", "varchar", "varchar"), ("*", "numeric", "int8")]
EXACT_FUNCTIONS = ["now() returns timestamptz", "gen_random_uuid() returns uuid", "current_setting(text) returns text", "octet_length(text) returns int4",
                   "to_regclass(text) returns regclass", "quote_ident(text) returns text"]


@pytest.fixture
def planted(server):
    """A database without rowfs, in which mallory has what fits exactly. With public before pg_catalog on the path, it comes first."""
    pg = server.create_database("planted")
    server.admin("create role planter login")
    pg.admin("grant create, usage on schema public to planter, keeper")
    with contextlib.closing(psycopg2.connect(re.sub(r"user=\w+", "user=planter", pg.conninfo))) as conn, conn, conn.cursor() as cur:
        for i, (name, a, b) in enumerate(EXACT):
            value = {"||": "text", "*": "numeric"}.get(name, "bool")
            cur.execute(f"create function public.own_{i}(a {a}, b {b}) returns {value} {BODY.replace('%', name)}; "
                        f"create operator public.{name} (function = public.own_{i}, leftarg = {a}, rightarg = {b})")
        for name in EXACT_FUNCTIONS:
            cur.execute(f"create function public.{name} {BODY.replace('%', name)}")
    server.mark_log()
    yield pg
    pg.drop()
    server.admin("drop role planter")


HOSTILE = "public, pg_catalog"


def scripts(project, kind):
    """The scripts that make something in the schema rowfs only, in the plan's order."""
    plan = (ROOT / project / "sqitch.plan").read_text()
    names = [line.split()[0] for line in plan.splitlines() if line and not line.startswith("%")]
    return [ROOT / project / kind / f"{name}.sql" for name in names if not re.match("voice_assistant|orderbook", name)]


def psql(pg, *paths):
    env = {"PGHOST": str(pg.server.dir), "PGUSER": "keeper", "PGDATABASE": pg.name, "PGOPTIONS": f"-c search_path={HOSTILE.replace(' ', '')}"}
    for path in paths:
        run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", path, env=env, timeout=60)


def foreign(pg):
    """What of the schema rowfs depends on what planter owns."""
    return pg.admin("select pg_describe_object(classid, objid, 0), pg_describe_object(refclassid, refobjid, 0) from pg_depend d where refobjid in ("
                    "select oid from pg_catalog.pg_operator where oprowner = 'planter'::regrole union select oid from pg_catalog.pg_proc "
                    "where proowner = 'planter'::regrole) and pg_describe_object(classid, objid, 0) ~ 'rowfs[.]'")


def test_a_deploy_under_a_hostile_path(planted):
    for project in ("schema/core", "schema/partitioned"):
        psql(planted, *scripts(project, "deploy"))
        psql(planted, *scripts(project, "verify"))
    assert foreign(planted) == [] and hijacked(planted) == []
    for project in ("schema/partitioned", "schema/core"):
        psql(planted, *reversed(scripts(project, "revert")))
    assert hijacked(planted) == []


def texts(pg):
    """Everything of the schema rowfs that is bound, as PostgreSQL shows it: who owns what it names does not matter."""
    return pg.admin("set search_path = pg_catalog; select oid::regprocedure::text, pg_get_functiondef(oid) from pg_proc where pronamespace = "
                    "'rowfs'::regnamespace union all select conrelid::regclass || conname, pg_get_constraintdef(oid) from pg_constraint "
                    "where connamespace = 'rowfs'::regnamespace union all select adrelid::regclass || ' ' || adnum, pg_get_expr(adbin, adrelid) "
                    "from pg_attrdef join pg_class c on c.oid = adrelid where c.relnamespace = 'rowfs'::regnamespace order by 1, 2")


def bind_anew(pg, path):
    """As an older version's scripts did, under PATH: the texts mean what is first there."""
    pg.sql("set search_path = pg_catalog")
    made = [d for d, in pg.sql("select pg_get_functiondef(oid) from pg_proc where pronamespace = 'rowfs'::regnamespace and prosqlbody is not null "
                                "and proname <> 'bound_elsewhere'")]  # no older version has it
    made += [d for d, in pg.sql("select format('alter table %s alter %I set default %s', d.adrelid::regclass, a.attname, pg_get_expr(d.adbin, d.adrelid)) "
                                "from pg_attrdef d join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum "
                                "where d.adrelid::regclass::text ~ '^rowfs'")]
    made += [d for d, in pg.sql("select format('alter table %1$s drop constraint %2$I, add constraint %2$I %3$s', conrelid::regclass, conname, "
                                "pg_get_constraintdef(oid)) from pg_constraint where connamespace = 'rowfs'::regnamespace and contype = 'c'")]
    pg.sql(f"set search_path = {path}")
    for statement in made:
        pg.sql(statement)
    pg.sql("reset search_path")


def test_an_upgrade_of_what_is_bound_to_another_role(planted):
    pg = planted
    before = scripts("schema/core", "deploy")
    before = before[:[p.stem for p in before].index("rowfs_bound")]
    psql(pg, *before)
    bind_anew(pg, "pg_catalog")  # shown, read and shown again: aliases may differ once
    told = texts(pg)
    bind_anew(pg, HOSTILE)
    secret = pg.admin("select proof, channel from rowfs.secret")[0]
    pg.sql("create table things (id int primary key)")
    pg.server.mark_log()
    assert len(foreign(pg)) > 20 and {x.split(" ")[0] for x, _ in foreign(pg)} == {"function", "default", "constraint"}
    m = mountkit.Mount(pg.conninfo, layout={"routes": [{"path": "/{things.id}.json", "row": "things"}]}, start=False)
    try:
        m.spawn()
        assert m.process.wait(30) == 1 and re.search(r"(function|default value|constraint) .*rowfs.* uses (operator|function) .*planter", m.output())
    finally:
        m.destroy()
    pg.sql(f"set search_path = {HOSTILE}; create view rowfs.mine as select 'a'::text = 'b'::text; reset search_path")
    with pytest.raises(AssertionError, match=r"rule _RETURN on view rowfs.mine uses operator public.=\(text,text\) of another role"):
        psql(pg, ROOT / "schema/core/deploy/rowfs_bound.sql")
    pg.sql("drop view rowfs.mine")
    psql(pg, ROOT / "schema/core/deploy/rowfs_bound.sql", ROOT / "schema/core/verify/rowfs_bound.sql")
    assert foreign(pg) == []
    assert not {*secret} & {*pg.admin("select proof, channel from rowfs.secret")[0]}, "mallory's functions may have chosen it"
    assert [t for t in texts(pg) if "rebind" not in t[0] and "bound_elsewhere" not in t[0]] == told
    assert hijacked(pg) == []


def test_what_a_trusted_role_owns_may_be_used(planted):
    """Something of an extension, or of the schema's owner, is no attack."""
    pg = planted
    pg.admin('create extension "uuid-ossp"')
    psql(pg, *scripts("schema/core", "deploy"))
    pg.sql("set search_path = pg_catalog, public; create function public.mine() returns int language sql return 1; "
           "create table rowfs.kept (id uuid default uuid_generate_v4(), n int default public.mine()); reset search_path")
    assert pg.sql("select * from rowfs.bound_elsewhere()") == []
    psql(pg, ROOT / "schema/core/verify/rowfs_bound.sql")


def test_the_voice_assistant(server):
    """Its tables are in public, and so is what planter has made. It is deployed there, used, and was bound wrongly by an older version."""
    pg = server.create_database("assistant")
    server.admin("create role planter login")
    try:
        pg.admin('create extension "uuid-ossp"; grant create, usage on schema public to planter, keeper')
        with contextlib.closing(psycopg2.connect(re.sub(r"user=\w+", "user=planter", pg.conninfo))) as conn, conn, conn.cursor() as cur:
            for i, (name, kind) in enumerate([("=", "varchar"), ("<>", "varchar")]):
                cur.execute(f"create function public.own_{i}(a {kind}, b {kind}) returns bool {BODY.replace('%', name + kind)}; "
                            f"create operator public.{name} (function = public.own_{i}, leftarg = {kind}, rightarg = {kind})")
            cur.execute(f"create function public.own_oid(a oid, b regclass) returns bool {BODY.replace('%', 'oid')}; "
                        "create operator public.= (function = public.own_oid, leftarg = oid, rightarg = regclass);"
                        f"create function public.make_interval(hours int) returns interval {BODY.replace('%', 'make_interval')};"
                        f"create function public.format(text, text, int) returns text {BODY.replace('%', 'format')}")
        for project in ("core", "voice-assistant"):
            sqitch(pg, "deploy", project=f"schema/{project}")
        server.mark_log()
        with contextlib.closing(psycopg2.connect(re.sub(r"user=\w+", "user=planter", pg.conninfo))) as conn, conn, conn.cursor() as cur:
            # fits the rows of a table exactly; it can be made once the table is there
            cur.execute(f"create function public.own_row(a users, b users) returns bool {BODY.replace('%', 'row')}; "
                        "create operator public.*= (function = public.own_row, leftarg = users, rightarg = users)")
        pg.sql("insert into users (hardware_id_hash, short_term_memory) values ('h', 'm'); update users set metadata = '{}'; "
               "insert into sessions (user_id) select id from users; update sessions set status = 'ended'; update sessions set metadata = '{}'")
        assert pg.one("select end_time is not null from sessions") is True
        assert pg.sql("select total_sessions from user_statistics('h')") == [(1,)]
        pg.sql("insert into memory_cleanups (hours_old) values (1)")
        for wrong in ("insert into users (hardware_id_hash) values ('')", "update sessions set status = 'odd'"):
            with pytest.raises(psycopg2.errors.CheckViolation):
                pg.sql(wrong)
        with pytest.raises(psycopg2.errors.StringDataRightTruncation):
            pg.sql("update users set short_term_memory = repeat('x', 10241)")
        assert hijacked(pg) == []
    finally:
        pg.close()
        pg.drop()
        server.admin("drop role planter")


def test_partitions_that_an_older_version_made(planted):
    """Functions in PL/pgSQL without a search path, under the names that are called. Bound under a hostile path, the others."""
    pg = planted
    psql(pg, *[p for p in scripts("schema/core", "deploy") if p.stem != "rowfs_packs"], ROOT / "schema/partitioned/deploy/partitions.sql")
    wrappers = pg.sql("set search_path = pg_catalog; select oid::regprocedure::text, pg_get_function_arguments(oid), prorettype::regtype::text from pg_proc "
                      "where pronamespace = 'rowfs'::regnamespace and proname ~ 'partition|rebuild' and pg_get_functiondef(oid) like '%current_setting(''search_path%'")
    assert len(wrappers) == 6
    pg.sql("reset search_path")
    for name, arguments, result in wrappers:
        pg.sql(f"create or replace function {name.split('(')[0]}({arguments}) returns {result} language plpgsql set lock_timeout = '3s' "
               "as 'begin return 1 = 2; end'")
    pg.sql("create function rowfs.prepare_partitions(regclass, regclass, text, bigint, text, interval) returns void language sql as ''")
    bind_anew(pg, HOSTILE)
    psql(pg, *[ROOT / f"schema/partitioned/{kind}/partitions_path.sql" for kind in ("deploy", "verify", "deploy")])
    assert foreign(pg) == []
    assert pg.sql("select to_regprocedure('rowfs.prepare_partitions(regclass, regclass, text, bigint, text, interval)') is null") == [(True,)]
    pg.sql("create table ticks (at bigint primary key); insert into ticks values (1700000000000), (1)")
    pg.server.mark_log()
    pg.sql("select rowfs.partition_table('ticks', 'at', 1000, 'month', '1 year')")
    assert pg.one("select rowfs.make_partitions('ticks', '6 months')") == 3
    assert pg.one("select rowfs.drop_partitions()") > 0
    assert pg.sql("select * from ticks") == [] and hijacked(pg) == []
