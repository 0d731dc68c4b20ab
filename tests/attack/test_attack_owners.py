"""A role that may create something in the schema rowfs, or was there before rowfs: nothing of his is used, and no trigger calls it."""
import contextlib
import re

import psycopg2
import pytest

import mountkit
from kit import forget_packs, run, sqitch, until
from mountkit import clean_env, install, rowfs_binary
from shop import LAYOUT, SQL

SAID = "create function {} returns {} language plpgsql as $$ begin insert into public.secrets values (current_user, session_user); {} end $$"


@pytest.fixture
def mallory(pg):
    """run(statement): as a role that may connect, and create something in the schema rowfs."""
    pg.server.admin("create role mallory login")
    pg.sql(SQL)
    pg.sql("create table secrets (who text, for_whom text); grant insert on secrets to public")
    pg.admin("grant usage, create on schema rowfs to mallory")
    conn = psycopg2.connect(re.sub(r"user=\w+", "user=mallory", pg.conninfo))
    conn.autocommit = True

    def do(statement):
        with conn.cursor() as cur:
            cur.execute(statement)
    do.conninfo = re.sub(r"user=\w+", "user=mallory", pg.conninfo)
    yield do
    conn.close()
    pg.close()
    pg.admin("drop owned by mallory cascade")
    pg.server.admin("drop role mallory")


def refused(pg, *words, conninfo=None):
    """A mount of the shop does not begin; its sentence has WORDS."""
    m = mountkit.Mount(conninfo or pg.conninfo, layout=LAYOUT, start=False)
    try:
        m.spawn()
        assert m.process.wait(30) == 1
        for word in words:
            assert word in m.output(), m.output()
    finally:
        m.destroy()


def change_all(pg):
    for change in ("insert into items (name, note) values ('bolt', 'n')", "update items set note = 'm'", "insert into items (name) select 'x' || g from "
                   "generate_series(1, 5) g", "delete from items", "truncate items cascade", "insert into log (n) values (1)", "update log set n = 2",
                   "delete from log"):
        pg.sql(change)


@pytest.mark.parametrize("kind", ["watch", "notice"])
def test_a_trigger_function_that_was_there_before(pg, mallory, make_mount, kind):
    """Its owner could change it after rowfs has made triggers that call it. One that looks like rowfs's own is no better."""
    oid = pg.one("select 'log'::regclass::oid")
    mallory(SAID.format(f"rowfs.{kind}_{oid}()", "trigger", "return null;"))
    mallory(f"grant execute on function rowfs.{kind}_{oid}() to public")
    pg.sql("create table other (n int); grant trigger on other to mallory")
    mallory(f"create trigger t after insert on other execute function rowfs.{kind}_{oid}()")
    pg.admin("revoke create on schema rowfs from mallory")
    m = make_mount(layout=LAYOUT)
    assert m.status()["coherence"]["mode"] == "notify" and m.status()["summary"]["log"] == "kept"
    assert pg.sql("select proowner::regrole::text, prosecdef from pg_proc where proname = %s", f"{kind}_{oid}") == [("keeper", True)]
    with pytest.raises(psycopg2.Error):
        mallory(SAID.format(f"rowfs.{kind}_{oid}()", "trigger", "return null;").replace("create", "create or replace", 1))
    change_all(pg)
    pg.sql("insert into other values (1)")
    assert pg.sql("select * from secrets where who <> 'mallory'") == pg.sql("select * from secrets") == []


@pytest.mark.bare
def test_a_function_that_has_changed_hands_is_made_anew(pg, mallory, make_mount):
    pg.admin("revoke create on schema rowfs from mallory")
    m = make_mount(layout=LAYOUT)
    m.umount()
    pg.admin("do $$ declare f regprocedure; begin for f in select oid from pg_proc where proname ~ '^(watch|notice)_[0-9]+$' and pronamespace = "
             "'rowfs'::regnamespace loop execute format('alter function %s owner to mallory', f); end loop; end $$")
    install(pg.conninfo, m.layout)
    m.start()
    assert m.status()["coherence"]["mode"] == "notify"
    assert pg.sql("select distinct proowner::regrole::text from pg_proc where proname ~ '^(watch|notice)_[0-9]+$'") == [("keeper",)]


@pytest.mark.parametrize("what, kind", [("function rowfs.is_true(integer) returns boolean language sql return true", "FUNCTION"),
                                        ("table rowfs.partitioned (n int)", "TABLE"), ("type rowfs.t as enum ('a')", "TYPE"),
                                        ("operator rowfs.~~~ (function = textregexeq, leftarg = text, rightarg = text)", "OPERATOR")])
def test_something_of_another_role_in_the_schema(pg, mallory, make_mount, what, kind):
    """A mount and a check say what it is, and do not go on."""
    mallory(f"create {what}")
    pg.admin("revoke create on schema rowfs from mallory")
    refused(pg, "belongs to mallory", f"DROP {kind}")
    with contextlib.suppress(psycopg2.Error):
        pg.admin("drop owned by mallory cascade")
    make_mount(layout=LAYOUT)


def test_another_role_that_may_create_in_the_schema(pg, mallory, make_mount):
    refused(pg, "mallory may create", "REVOKE CREATE ON SCHEMA rowfs FROM mallory")
    pg.admin("revoke create on schema rowfs from mallory; grant create on schema rowfs to public")
    refused(pg, "REVOKE CREATE ON SCHEMA rowfs FROM PUBLIC")
    pg.admin("revoke create on schema rowfs from public")
    make_mount(layout=LAYOUT)


def test_a_schema_of_another_role(pg, empty_pg, mallory, make_mount):
    """He was faster. His functions would run as the mount's role."""
    empty_pg.sql(SQL)
    empty_pg.sql("create table secrets (who text, for_whom text); grant insert on secrets to public")
    empty_pg.admin(f'grant create on database "{empty_pg.name}" to mallory')
    with contextlib.closing(psycopg2.connect(re.sub(r"user=\w+", "user=mallory", empty_pg.conninfo))) as conn, conn, conn.cursor() as cur:
        cur.execute("create schema rowfs; grant all on schema rowfs to public")
        for table in ("applied (op uuid primary key, at timestamptz)", "stream (stream uuid primary key, off bigint, touched timestamptz)"):
            cur.execute(f"create table rowfs.{table}; grant all on rowfs.{table.split()[0]} to public")
        cur.execute(SAID.format("rowfs.fold()", "bigint", "return 0;"))
    try:
        refused(empty_pg, "belongs to mallory", "ALTER SCHEMA rowfs OWNER TO", conninfo=empty_pg.conninfo)
        assert empty_pg.sql("select * from secrets") == []
        # who owns a table of the layout has triggers that run as the mount's role: he is trusted with that
        empty_pg.admin("revoke all on schema rowfs from public; alter table items owner to mallory; grant all on items to keeper")
        make_mount(layout=LAYOUT, conninfo=empty_pg.conninfo)
    finally:
        empty_pg.close()
        empty_pg.admin("reassign owned by mallory to postgres; drop owned by mallory")


@pytest.mark.bare
def test_the_upgrade_takes_away_what_was_given(pg, mallory, make_mount):
    """A table's owner had to have CREATE on the schema for its triggers. An upgrade revokes it, and drops what came of it."""
    forget_packs(pg)
    sqitch(pg, "revert", "-y", "--to", "rowfs_bounds")
    oid = pg.one("select 'items'::regclass::oid")
    mallory(SAID.format(f"rowfs.notice_{oid}()", "trigger", "return null;"))
    mallory(f"grant execute on function rowfs.notice_{oid}() to keeper")
    pg.sql(f"create trigger tell_rowfs_insert after insert on items execute function rowfs.notice_{oid}()")
    sqitch(pg, "deploy")
    assert pg.one("select has_schema_privilege('mallory', 'rowfs', 'create')") is False
    assert pg.one("select count(*) from pg_trigger where tgname ~ 'rowfs'") == 0
    m = make_mount(layout=LAYOUT)
    assert m.status()["coherence"]["mode"] == "notify"
    change_all(pg)
    assert pg.sql("select * from secrets") == []


def test_only_the_owner_of_the_schema_makes_triggers(pg, mallory, make_mount, server):
    """A table of somebody else: he cannot make them. The owner of the schema can, once he is a member of that role. No role has CREATE."""
    pg.admin("revoke create on schema rowfs from mallory; select rowfs.allow('mallory'); alter table flat owner to mallory; "
             "grant usage, create on schema public to mallory; grant select on all tables in schema public to mallory")
    layout = {"routes": [{"path": "/{flat.id}.json", "row": "flat"}]}
    m = make_mount(layout=layout, conninfo=mallory.conninfo)
    assert m.status()["coherence"]["mode"] == "ttl"
    m.umount()
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        mallory("select rowfs.make_triggers('notice', 'flat', 'begin return null; end')")
    m = make_mount(layout=layout)
    assert m.status()["coherence"]["mode"] == "ttl"
    m.umount()
    pg.admin("grant mallory to keeper")
    install(pg.conninfo, m.layout)
    m = make_mount(layout=layout)
    assert m.status()["coherence"]["mode"] == "notify"
    mallory("insert into flat values (7, 'seven')")
    until(lambda: m.exists("7.json"), "the row")
    m.umount()
    m = make_mount(layout=layout, conninfo=mallory.conninfo)  # the triggers are there: his own mounts have them, too
    assert m.status()["coherence"]["mode"] == "notify"
    m.umount()
    pg.admin("revoke mallory from keeper; alter table flat owner to keeper")


def test_a_superuser_s_schema_does_not_run_triggers_as_superuser(pg, mallory, make_mount, server):
    pg.admin("revoke create on schema rowfs from mallory; alter schema rowfs owner to postgres; alter table flat owner to mallory")
    for kind, catalog, condition in (("table", "regclass::text from pg_class", "relnamespace = 'rowfs'::regnamespace and relkind = 'r'"),
                                     ("type", "regtype::text from pg_type", "typnamespace = 'rowfs'::regnamespace and typname = 'expressions'"),
                                     ("function", "regprocedure::text from pg_proc", "pronamespace = 'rowfs'::regnamespace")):
        for (name,) in pg.admin(f"select oid::{catalog} where {condition}"):
            pg.admin(f"alter {kind} {name} owner to postgres")
    pg.admin("select rowfs.allow('mallory')")
    layout = {"routes": [{"path": "/{flat.id}.json", "row": "flat"}]}
    m = make_mount(layout=layout, conninfo=server.conninfo(pg.name, "postgres"))
    assert m.status()["coherence"]["mode"] == "notify"
    assert pg.one("select proowner::regrole::text from pg_proc where proname = 'notice_' || 'flat'::regclass::oid") == "mallory"
    mallory("insert into flat values (7, 'seven')")
    until(lambda: m.exists("7.json"), "the row")
    m.umount()
    pg.admin("alter table flat owner to keeper")
