"""What stands in the tables of the schema rowfs never becomes SQL that runs with the rights of a table's owner."""
import contextlib
import json

import psycopg2
import pytest

from kit import sqitch, until
from mountkit import install

TABLES = """
create table makers (id int primary key, name text unique not null);
create table parts (id bigserial primary key, maker int not null references makers, kind text not null, at timestamptz, price numeric);
create table secrets (said text);
insert into makers values (1, 'acme');
insert into parts (maker, kind, at) select 1, 'k' || g % 3, '2024-01-01'::timestamptz + g * interval '1 h' from generate_series(1, 30) g"""
LAYOUT = {"routes": [{"path": "/makers/{makers.name}/maker.json", "row": "makers"},
                     {"path": "/makers/{makers.name}/{parts.kind}.csv", "rows": "parts", "columns": ["kind", "at", "price"]},
                     {"path": "/kinds/{parts.kind}/{day}.jsonl", "rows": "parts", "keys": {"day": {"column": "at", "format": "%Y-%m-%d"}}}]}
# what runs as whoever runs it, and is seen only if that is the owner
EVIL = "(select evil.run())"
SPELLINGS = [EVIL, f"kind || {EVIL}", f'"kind" || {EVIL}', f"kind\" || {EVIL} || r.\"kind", "x'; select evil.run(); --", f"%s{EVIL}", f"$f${EVIL}$f$"]


@pytest.fixture
def owned(pg):
    pg.sql(TABLES)
    pg.admin("drop role if exists mallory")
    pg.admin("create role mallory login")
    pg.admin("create schema evil authorization mallory")
    attacker = psycopg2.connect(pg.server.conninfo(pg.name, "mallory"))
    attacker.autocommit = True
    with attacker.cursor() as cur:
        cur.execute("""create function evil.run() returns text language plpgsql volatile as $$ begin
            insert into public.secrets values (current_user || ' ' || session_user); return 'x';
            exception when insufficient_privilege then return 'y'; end $$;
            grant usage on schema evil to public; grant execute on function evil.run() to public""")
    pg.attacker = attacker
    yield pg
    attacker.close()
    pg.close()
    pg.admin("drop owned by mallory cascade")
    pg.admin("drop role mallory")


def attack(pg, statement, *values):
    """The error of STATEMENT by the attacker, or None."""
    with pg.attacker.cursor() as cur:
        try:
            cur.execute(statement, values)
        except psycopg2.Error as e:
            return e
    return None


def use(pg, make_mount):
    """The owner checks, mounts and changes rows in all ways."""
    m = make_mount(layout=LAYOUT)
    install(pg.conninfo, m.layout, ok=False)
    for change in ("insert into parts (maker, kind, at) values (1, 'new', now())", "update parts set kind = 'k9' where id = 1",
                   "update parts set price = id", "delete from parts where id = 2", "update makers set name = 'best'", "truncate parts"):
        pg.sql(change)
    pg.sql("select rowfs.fold()")
    until(lambda: m.exists("makers/best/maker.json"), "the change is seen")
    m.umount()


def test_the_documented_grants_give_no_way_in(owned, make_mount):
    """Every table and every function, with SQL wherever a text goes."""
    pg = owned
    use(pg, make_mount)
    pg.admin("select rowfs.allow('mallory')")
    pg.sql("grant select, insert, update, delete on parts, makers to mallory")
    for table in ("slice", "notice"):
        for statement in ("update rowfs.{} set relation = relation", "delete from rowfs.{}", "insert into rowfs.{} select * from rowfs.{}", "truncate rowfs.{}"):
            assert isinstance(attack(pg, statement.replace("{}", table)), psycopg2.errors.InsufficientPrivilege), (table, statement)
    for text in SPELLINGS:
        key = {"column": text, "unit": text, "format": text, "way": [{"schema": text, "table": text, "columns": [text], "references": [text]}]}
        slices = [{"id": 5, "csv": True, "relation": "public.parts", "columns": [text], "keys": [text], "units": [text], "formats": [text],
                   "groups": [text], "facts": [text], "row_bytes": text, "file_bytes": text}]
        values = {"text": text, "text[]": [text], "jsonb": None, "regclass": "public.parts", "bigint": 5, "bigint[]": [5], "integer": 1, "integer[]": [1],
                  "boolean": True, "interval": "1 day", "regrole": "mallory", "uuid": None, '"char"': "b"}
        functions = pg.sql("select p.oid::regproc::text, array(select format_type(t, null) from unnest(p.proargtypes) t) from pg_proc p "
                           "where p.pronamespace = 'rowfs'::regnamespace and p.prorettype <> 'trigger'::regtype")
        assert len(functions) > 30
        for name, types in functions:
            for document in (json.dumps(slices), json.dumps([{"id": 6, "keys": [key]}]), json.dumps(key)):
                attack(pg, f"select {name}({', '.join('%s::' + t for t in types)})", *[document if t == "jsonb" else values.get(t) for t in types])
        for table, columns in (("summary", "slice, k1, k2, k3, k4, rows, bytes, changed"), ("delta", "slice, k1, k2, k3, k4, rows, bytes, changed")):
            assert attack(pg, f"insert into rowfs.{table} ({columns}) select id, %s, %s, %s, %s, 1, 1, now() from rowfs.slice", *[text] * 4) is None
        assert attack(pg, "insert into rowfs.doubt (slice, why) select id, %s from rowfs.slice", text) is None
        attack(pg, "insert into rowfs.file (dir, name, state) values ('/in', %s, to_jsonb(%s::text))", text, text)
    use(pg, make_mount)
    assert pg.sql("select * from secrets") == []


def test_hostile_definitions_that_are_there_all_the_same(owned, make_mount):
    """An administrator has granted too much. Names that are no columns make no SQL, and spoil nothing but their own definition."""
    pg = owned
    use(pg, make_mount)
    pg.sql("insert into parts (maker, kind, at) values (1, 'k', '2024-01-01')")
    for i, text in enumerate(SPELLINGS):
        pg.sql("insert into rowfs.slice (id, relation, csv, columns, keys, units, formats) values (%s, 'public.parts', true, %s, %s, '{NULL}', '{NULL}'), "
               "(%s, 'public.parts', false, '{kind}', '{at}', '{NULL}', %s)", 100 + i, [text], [text], 200 + i, [text])
        for n, key in enumerate(({"column": text}, {"column": "at", "format": text}, {"column": "at", "unit": text, "format": "%Y"},
                                 {"column": "name", "way": [{"schema": text, "table": text, "columns": ["maker"], "references": ["id"]}]},
                                 {"column": "name", "way": [{"schema": "public", "table": "makers", "columns": [text], "references": ["id"]}]},
                                 {"column": "name", "way": [{"schema": "public", "table": "secrets", "columns": ["maker"], "references": ["said"]}]})):
            pg.sql("insert into rowfs.notice (id, relation, keys) values (%s, 'public.parts', %s)", 1000 + 10 * i + n, json.dumps([key]))
    use(pg, make_mount)
    assert pg.sql("select * from secrets") == []
    listener = pg.connect()
    listener.autocommit = True
    with contextlib.closing(listener), listener.cursor() as cur:
        cur.execute(f"listen {pg.channel()}")
        pg.sql("insert into parts (maker, kind, at) values (1, 'kk', '2024-02-02')")
        cur.execute("select")
        listener.poll()
        told = json.loads(listener.notifies[0].payload)["n"]
    assert all(what is None for number, what in told.items() if 1000 <= int(number) < 1100)
    assert any(what is not None for number, what in told.items())
    assert pg.sql("select distinct slice from rowfs.doubt where slice < 300 order by 1") == [(n + i,) for n in (100, 200) for i in range(len(SPELLINGS))]


def test_an_upgrade_with_hostile_rows(server, make_mount):
    """From the schema that held SQL, with the rights of those days, and a trigger that was made of it."""
    pg = server.create_database("old_rowfs")
    try:
        pg.admin('create extension "uuid-ossp"')
        sqitch(pg, "deploy", "--to", "rowfs_notify")
        pg.sql(TABLES)
        pg.admin("drop role if exists mallory")
        pg.admin("create role mallory login")
        pg.admin("grant usage on schema rowfs to mallory")
        pg.admin("grant select, insert, update, delete on all tables in schema rowfs to mallory")
        pg.admin("create function public.evil() returns text language sql volatile as "
                 "$$ insert into public.secrets values (current_user); select 'x'::text $$")
        old = "insert into rowfs.slice (id, relation, groups, facts, keys, row_bytes, file_bytes) values (1, 'public.parts', '{public.evil()}', " \
              "'{public.evil()}', '{g.g1::text}', '0', '1'); insert into rowfs.notice (id, relation, keys) values (2, 'public.parts', '{public.evil()}')"
        attacker = psycopg2.connect(pg.server.conninfo(pg.name, "mallory"))
        with contextlib.closing(attacker), attacker, attacker.cursor() as cur:
            cur.execute(old)
        pg.sql("select rowfs.watch('parts'), rowfs.tell('parts')")
        with contextlib.closing(pg.connect()) as mounted, mounted.cursor() as cur:
            cur.execute("select pg_advisory_lock_shared(1919316737, 1)")  # as a mount holds it
            with pytest.raises(AssertionError, match="unmount it first"):
                sqitch(pg, "deploy")
        sqitch(pg, "deploy")
        assert pg.sql("select count(*) from rowfs.slice") == pg.sql("select count(*) from rowfs.notice") == [(0,)]
        assert pg.sql("select tgname from pg_trigger where tgname ~ 'rowfs'") == []
        for table in ("slice", "notice"):
            assert pg.sql("select bool_or(has_table_privilege('mallory', %s, p)) from unnest('{insert,update,delete,truncate}'::text[]) p",
                          f"rowfs.{table}") == [(False,)]
            assert pg.sql("select has_table_privilege('mallory', %s, 'select')", f"rowfs.{table}") == [(True,)]
        pg.sql("truncate secrets")
        m = make_mount(conninfo=pg.conninfo, layout=LAYOUT)
        assert m.status()["summary"] == {"parts": "kept"} and m.status()["coherence"]["mode"] != "ttl"
        assert m.read("makers/acme/k1.csv").count("\n") == 11
        pg.sql("update parts set kind = 'k2' where kind = 'k1'")
        until(lambda: not m.exists("makers/acme/k1.csv"), "the change is seen")
        m.umount()
        assert pg.sql("select * from secrets") == []
        sqitch(pg, "revert", "-y", "--to", "rowfs_notify")
        sqitch(pg, "verify", "--to", "rowfs_notify")
        assert pg.one("select count(*) from information_schema.columns where table_schema = 'rowfs' and column_name = 'row_bytes'") == 1
        sqitch(pg, "deploy")
    finally:
        pg.close()
        pg.admin("drop owned by mallory")
        server.admin('drop database "old_rowfs" with (force)')
        server.admin("drop role mallory")
