"""Packs in databases that have tables already: what is made, taken as it is, listed, and left when the pack is removed."""
import contextlib
import re
import shutil
from pathlib import Path

import psycopg2
import pytest

import kit
from kit import PACKS, ROOT, deploy, dump, forget_packs, run, sqitch
from mountkit import clean_env, rowfs_binary

DATA = Path(__file__).parent / "data"
VOICE, BOOK = (f"schema/{pack}" for pack in PACKS)


@pytest.fixture(scope="module")
def core_template(server):
    database = server.create_database("core_tmpl")
    sqitch(database, "deploy")
    database.close()
    yield database
    database.drop()


@pytest.fixture
def pg(server, core_template):
    """A database with rowfs's own schema and nothing else."""
    database = server.create_database("adopt", core_template.name)
    yield database
    database.drop()


def make_other(pg, schema="public"):
    """What other programs' scripts have made, in SCHEMA."""
    pg.sql('create extension if not exists "uuid-ossp" schema public')
    pg.sql(f"create schema if not exists {schema}; set search_path = {schema}, public")
    pg.sql((DATA / "other-scripts.sql").read_text(encoding="utf-8"))
    pg.close()


@pytest.fixture
def other(pg):
    make_other(pg)
    return pg


def script(pg, what, project, ok=True, user="keeper", **env):
    """Runs a pack's script as sqitch would, in a fifth of the time."""
    (path,) = (ROOT / project / what).iterdir()
    return run(pg.server.bin / "psql", "-qXAt", "-v", "ON_ERROR_STOP=1", "-f", path, pg.server.conninfo(pg.name, user), ok=ok, env=env)


def objects(pg, pack="voice-assistant"):
    """{identity: (made, what differs)}"""
    return {identity: (made, differs) for identity, made, differs in pg.sql(
        "select identity, made, differs from rowfs.object where pack = %s order by n", pack)}


def differing(pg, pack="voice-assistant"):
    """{identity: what differs now}"""
    return dict(pg.sql("select identity, differs from rowfs.differences(%s)", pack))


def in_pack(pg, pack, anchor, *statements):
    """Deploys a pack of these statements, in one transaction."""
    with contextlib.closing(pg.connect()) as conn, conn, conn.cursor() as cur:
        cur.execute("select rowfs.pack_begin(%s, %s)", (pack, anchor))
        for statement in statements:
            cur.execute("select rowfs.make(%s, 'it works')", (statement,))
        cur.execute("select rowfs.pack_end()")


# -- what is made, taken and listed -----------------------------------------------------------------------------------


def test_an_empty_database(pg):
    before = dump(pg)
    for pack in PACKS:
        assert sqitch(pg, "deploy", project=f"schema/{pack}").stderr == ""
        assert set(objects(pg, pack).values()) == {(True, None)}
        assert differing(pg, pack) == {}
        sqitch(pg, "verify", project=f"schema/{pack}")
    # all that is in the schema is noted, but for what belongs to a noted object
    assert {name for (name,) in pg.sql(
        "select (pg_identify_object(c, o, 0)).identity from (select 'pg_class'::regclass c, oid o, relnamespace n from pg_class"
        " where relkind in ('r', 'v', 'i') and not exists (select from pg_constraint where conindid = pg_class.oid) union all"
        " select 'pg_proc'::regclass, oid, pronamespace from pg_proc p where not exists (select from pg_depend d"
        " where d.objid = p.oid and d.deptype = 'e') union all select 'pg_trigger'::regclass, t.oid, relnamespace from pg_trigger t"
        " join pg_class r on r.oid = tgrelid where not tgisinternal) x where n = 'public'::regnamespace")} | {'"uuid-ossp"'} == {
            *objects(pg), *objects(pg, "orderbook")}
    assert pg.one("select count(*) from pg_namespace where nspname like '%%scratch%%'") == 0
    for pack in reversed(PACKS):
        sqitch(pg, "revert", "-y", project=f"schema/{pack}")
    assert dump(pg) == before and pg.sql("select * from rowfs.object") == []


# What the packs have changed since the single project; rowfs init --upgrade replaces it.
RENEWED = {"public.users_with_active_memory(integer)": ["is another one"]}


def test_what_the_single_project_made_is_taken(pg):
    pg.sql((DATA / "single-project.sql").read_text(encoding="utf-8"))
    pg.sql("insert into users (hardware_id_hash) values ('u1')")
    before = dump(pg)
    for pack in PACKS:
        script(pg, "deploy", project=f"schema/{pack}")
        assert {made for made, _ in objects(pg, pack).values()} == {False}
        assert {name: differs for name, (_, differs) in objects(pg, pack).items() if differs} == (RENEWED if pack == "voice-assistant" else {})
    assert dump(pg) == before
    for pack in PACKS:
        script(pg, "revert", project=f"schema/{pack}")
    assert dump(pg) == before and pg.one("select count(*) from users") == 1


ALTER = "ALTER TABLE public."
LISTED = {
    "public.sessions": [
        f"has the default 'open'::character varying for the column status: {ALTER}sessions ALTER COLUMN status "
        "SET DEFAULT 'active'::character varying",
        f"has the column device, which every new row must say: {ALTER}sessions ALTER COLUMN device DROP NOT NULL",
        "has no CHECK (((status)::text = ANY (ARRAY['active'::text, 'ended'::text, 'timeout'::text]))): "
        f"{ALTER}sessions ADD CHECK (((status)::text = ANY (ARRAY['active'::text, 'ended'::text, 'timeout'::text])))",
        f"has no FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE: {ALTER}sessions ADD FOREIGN KEY (user_id) "
        "REFERENCES public.users(id) ON DELETE CASCADE"],
    "public.idx_sessions_status": ["is another one: CREATE INDEX ON public.sessions USING btree (status, start_time)"],
    "public.commands": [
        f"lets the column prompt be NULL: {ALTER}commands ALTER COLUMN prompt SET NOT NULL",
        f"has no default for the column language: {ALTER}commands ALTER COLUMN language SET DEFAULT 'en'::character varying"],
    "public.performance_metrics": [
        f"has no column created_at: {ALTER}performance_metrics ADD COLUMN created_at timestamp with time zone DEFAULT now()",
        f"has the column metric_value as json, not jsonb: {ALTER}performance_metrics ALTER COLUMN metric_value TYPE jsonb"],
    "public.idx_performance_metrics_metric_value": [
        'is not there: data type json has no default operator class for access method "gin"'],
    "public.update_updated_at_column()": ["is another one"],
    "public.cleanup_expired_short_term_memory(integer)": ["returns void, not integer"],
    "public.users_memory_view": [
        "has other columns: hardware_id_hash character varying(64), short_size integer, long_size integer, memory_updated_at "
        "timestamp with time zone (the pack's: id uuid, hardware_id_hash character varying(64), short_term_memory text, "
        "long_term_memory text, memory_updated_at timestamp with time zone, created_at timestamp with time zone, updated_at "
        "timestamp with time zone)"],
    "public.memory_cleanups": ["is no table but a view of that name"],
    "memory_cleanups_run on public.memory_cleanups": ['is not there: "memory_cleanups" is a view'],
    "public.memory_cleanup_run()": ['is not there: column "hours_old" of relation "memory_cleanups" does not exist'],
}
TAKEN = {'"uuid-ossp"', "public.users", "public.users_metadata_gin", "touch_users on public.users",
         "update_sessions_updated_at on public.sessions", *LISTED}


def test_what_other_scripts_made(other):
    before = dump(other)
    said = script(other, "deploy", project=VOICE).stderr
    found = objects(other)
    assert {name: differs for name, (_, differs) in found.items() if differs} == LISTED
    assert {name for name, (made, _) in found.items() if not made} == TAKEN
    assert {"public.get_memory_stats()", "memory_moves on public.users", "public.llm_answers", "public.screenshots"} <= {
        name for name, (made, _) in found.items() if made}
    for name, sentences in LISTED.items():
        assert all(f"{name} {sentence}" in said for sentence in sentences)
    assert "Therefore not certain: updated_at moves when a row changes, and only then" in said
    # later, from what is kept: the same, without the error that there was
    assert differing(other) == {name: [re.sub("^is not there: .*", "is not there", s) for s in sentences]
                                for name, sentences in LISTED.items()}
    script(other, "verify", project=VOICE)
    script(other, "deploy", project=BOOK)
    assert set(objects(other, "orderbook").values()) == {(True, None)}
    # what was taken works as it did, what was made works beside it
    assert other.one("select length(short_term_memory) from users where hardware_id_hash = 'u1'") == 20000
    assert other.sql("select total_users, users_with_memory, avg_short_memory_size from get_memory_stats()") == [(2, 1, 10000)]
    with pytest.raises(psycopg2.errors.StringDataRightTruncation):
        other.sql("update users set long_term_memory = repeat('y', 10241)")
    for pack in PACKS:
        script(other, "revert", project=f"schema/{pack}")
    assert dump(other) == before and other.one("select count(*) from users") == 2


def test_each_statement_that_is_listed_mends_its_difference(other):
    script(other, "deploy", project=VOICE)
    statements = [s.split(": ", 1)[1] for sentences in LISTED.values() for s in sentences if ": ALTER TABLE" in s]
    assert len(statements) == 8
    for statement in statements:
        before = sum(differing(other).values(), [])
        other.sql(statement + " USING metric_value::jsonb" if statement.endswith("TYPE jsonb") else statement)
        after = sum(differing(other).values(), [])
        assert [s for s in before if s not in after] == [s for s in before if s.endswith(statement)] != []
    assert not {"public.sessions", "public.commands", "public.performance_metrics"} & differing(other).keys()


def test_differences_come_and_go(pg):
    """rowfs check says what has changed since; what is more is no difference."""
    script(pg, "deploy", project=VOICE)
    pg.sql("alter table users add nickname text, add n int not null default 0; create index more on users (n);"
           "create view mine as select * from users; alter table sessions add check (status <> 'x')")
    assert differing(pg) == {}
    pg.sql("alter table users drop column metadata cascade, alter column memory_updated_at drop default;"
           "alter table users disable trigger memory_moves; drop trigger session_ends on sessions")
    assert differing(pg) == {
        "public.users": [f"has no column metadata: {ALTER}users ADD COLUMN metadata jsonb DEFAULT '{{}}'::jsonb",
                         f"has no default for the column memory_updated_at: {ALTER}users ALTER COLUMN memory_updated_at "
                         "SET DEFAULT now()"],
        "public.idx_users_metadata": ["is not there"],
        "memory_moves on public.users": ["is disabled: ALTER TABLE public.users ENABLE TRIGGER memory_moves"],
        "session_ends on public.sessions": ["is not there"]}
    assert "session_ends on public.sessions" in script(pg, "verify", project=VOICE, ok=False).stdout + \
        script(pg, "verify", project=VOICE, ok=False).stderr
    with contextlib.closing(pg.connect()) as conn, conn.cursor() as cur:
        cur.execute("set transaction read only")  # it changes nothing
        cur.execute("select count(*) from rowfs.differences('voice-assistant')")
        assert cur.fetchone() == (4,)


def test_the_example_of_the_page(pg):
    """docs/PACKS.md, "Writing a pack"."""
    (script,) = re.findall(r"^```sql\n(.*?)^```", (ROOT / "docs/PACKS.md").read_text(encoding="utf-8"), re.M | re.S)
    before = dump(pg)
    pg.sql(script)
    assert set(objects(pg, "shop").values()) == {(True, None)} and len(objects(pg, "shop")) == 3
    assert pg.sql("select column_name::text from information_schema.columns where table_name = 'new_goods' order by 1") == [("code",), ("price",)]
    pg.sql("select rowfs.pack_verify('shop'), rowfs.pack_remove('shop')")
    assert dump(pg) == before


# -- where -------------------------------------------------------------------------------------------------------------


def test_tables_in_a_schema_that_is_not_on_the_search_path(pg):
    make_other(pg, "app")
    before = dump(pg)
    done = script(pg, "deploy", project=VOICE, ok=False)
    assert done.returncode != 0 and "the table users is in the schema app, which is not on the search path" in done.stderr
    assert "rowfs init -o schema_name=app" in done.stderr and "rowfs init -o schema_name=public" in done.stderr
    assert dump(pg) == before
    script(pg, "deploy", project=VOICE, PGOPTIONS="-c search_path=app")
    found = objects(pg)
    assert {re.sub(r"\bapp\.", "public.", name) for name in found} >= TAKEN
    assert found["app.users"] == (False, None) and found["app.get_memory_stats()"] == (True, None)
    pg.sql("select * from app.get_memory_stats(); update app.users set long_term_memory = 'x'")
    script(pg, "revert", project=VOICE)
    assert dump(pg) == before


def test_the_schema_that_has_the_tables_is_taken_wherever_it_is_on_the_path(pg):
    make_other(pg, "app")
    pg.sql("create schema first")
    script(pg, "deploy", project=VOICE, PGOPTIONS="-c search_path=first,app,public")
    assert objects(pg)["app.users"] == (False, None)
    assert pg.one("select count(*) from pg_class where relnamespace = 'first'::regnamespace") == 0


def test_a_schema_that_is_named_gets_tables_whoever_else_has_some(pg):
    make_other(pg, "app")
    pg.sql('create schema "wei""rd, one"')
    before = dump(pg)
    script(pg, "deploy", project=VOICE, PGOPTIONS=r'-c search_path="wei""rd,\ one"')
    found = objects(pg)
    assert found.pop('"uuid-ossp"') == (False, None)
    assert {name: said for name, said in found.items() if said != (True, None)} == {}
    assert '"wei""rd, one".users' in found and differing(pg) == {}
    script(pg, "revert", project=VOICE)
    assert dump(pg) == before


def test_no_schema(pg):
    done = script(pg, "deploy", project=VOICE, ok=False, PGOPTIONS="-c search_path=nowhere")
    assert "no schema of the search path exists" in done.stderr


def test_a_role_named_rowfs(pg):
    """The schema rowfs is the first of its search path."""
    pg.server.admin("drop role if exists rowfs")
    pg.server.admin("create role rowfs login in role keeper")
    try:
        pg.admin("grant create on schema public to rowfs; alter schema rowfs owner to rowfs; reassign owned by keeper to rowfs")
        script(pg, "deploy", project=VOICE, user="rowfs")
        assert pg.admin("select identity from rowfs.object where n = 2") == [("public.users",)]
    finally:
        pg.close()
        pg.admin("reassign owned by rowfs to keeper; drop owned by rowfs")
        pg.server.admin("drop role rowfs")


def test_what_is_missing_is_not_looked_for_in_the_schema_of_an_extension(pg):
    """uuid-ossp is in public, and so are somebody else's commands. None of them gets an index of ours."""
    pg.admin('create extension "uuid-ossp" schema public; create schema app; grant usage on schema app to keeper')
    pg.admin((DATA / "other-scripts.sql").read_text().replace("CREATE TABLE ", "CREATE TABLE app.").split("CREATE UNIQUE")[0]
             .replace("FUNCTION update", "FUNCTION app.update"))
    pg.admin("grant select on app.users to keeper")
    pg.sql("create table public.commands (session_id uuid, language text, created_at timestamptz, metadata jsonb)")
    before = dump(pg)
    script(pg, "deploy", project=VOICE, PGOPTIONS="-c search_path=app")
    found = objects(pg)
    assert found["app.commands"][1][0].startswith("is not there: ")
    assert found["app.idx_commands_session_id"] == (False, ["is not there: it needs the table app.commands"])
    script(pg, "revert", project=VOICE)
    assert dump(pg) == before


PARTS = ("create table depot.parts (id int primary key, tag text default 'depot.x' check (tag <> 'depot.y'))",
         "create table people.owners (id int primary key, part int references depot.parts)",
         "create view people.owned as select p.tag, o.id from depot.parts p join people.owners o on o.part = p.id",
         "create function depot.count() returns bigint language sql begin atomic select count(*) from people.owned; end",
         "create function people.say() returns trigger language plpgsql set search_path = people, pg_temp as "
         "$$ begin perform depot.count(); return new; end $$",
         "create trigger say before update on depot.parts for each row execute function people.say()",
         "create index by_tag on depot.parts (tag)")


@pytest.mark.parametrize("there", [0, 2, 7])
def test_a_pack_with_schemas_of_its_own(pg, there):
    """Of its objects as many as THERE says are there before."""
    if there:
        pg.sql("create schema depot; create schema people")
    for statement in PARTS[:there]:
        pg.sql(statement)
    before = dump(pg)
    with contextlib.closing(pg.connect()) as conn, conn, conn.cursor() as cur:
        cur.execute("set search_path = nowhere; select rowfs.pack_begin('depot'), rowfs.make_schema('depot'), rowfs.make_schema('people')")
        for statement in PARTS:
            cur.execute("select rowfs.make(%s)", (statement,))
        cur.execute("select rowfs.pack_end()")
    assert objects(pg, "depot") == {name: (n >= there if n >= 0 else not there, None) for n, name in enumerate([
        "depot", "people", "depot.parts", "people.owners", "people.owned", "depot.count()", "people.say()", "say on depot.parts",
        "depot.by_tag"], -2)}
    assert pg.one("select count(*) from pg_namespace where nspname ~ 'scratch'") == 0
    pg.sql("insert into depot.parts values (1)")
    pg.sql("update depot.parts set tag = 't'")
    pg.sql("select rowfs.pack_remove('depot')")
    assert dump(pg) == before


# -- who ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def stranger(pg):
    pg.server.admin("drop role if exists stranger")
    pg.server.admin("create role stranger login")
    yield "stranger"
    pg.close()
    pg.admin("drop owned by stranger cascade")
    pg.server.admin("drop role stranger")


def test_tables_of_another_owner(other, stranger):
    for table in ("users", "sessions", "commands", "performance_metrics"):
        other.admin(f"alter table {table} owner to {stranger}; grant select, insert, update, delete, references on {table} to keeper")
    before = dump(other)
    script(other, "deploy", project=VOICE)
    found = objects(other)
    assert {name: found[name][1] for name in LISTED if name in found and "commands" in name and "idx" not in name} == {
        "public.commands": LISTED["public.commands"]}
    assert found["public.users"] == (False, None)
    assert found["memory_moves on public.users"] == (False, ["is not there: permission denied for table users"])
    assert found["public.idx_users_memory_updated_at"] == (False, ["is not there: must be owner of table users"])
    assert found["public.get_memory_stats()"] == (True, None) and found["public.screenshots"] == (True, None)
    script(other, "revert", project=VOICE)
    assert dump(other) == before


def test_a_role_without_create(pg, stranger):
    pg.admin("alter schema public owner to postgres; revoke create on schema public from public")
    pg.admin('create extension "uuid-ossp"')
    before = dump(pg)
    done = sqitch(pg, "deploy", project=VOICE, ok=False)
    assert done.returncode != 0 and "table public.users is not there: permission denied for schema public" in done.stderr
    assert dump(pg) == before and pg.sql("select * from rowfs.object") == []
    pg.admin((DATA / "single-project.sql").read_text() + "drop function memory_cleanup_run, get_memory_stats;")
    pg.admin("grant select on all tables in schema public to keeper")
    before = dump(pg)
    sqitch(pg, "deploy", project=VOICE)
    assert {name: said for name, (_, said) in objects(pg).items() if said} == {
        **RENEWED, **{f"public.{name}()": ["is not there: permission denied for schema public"]
                      for name in ("memory_cleanup_run", "get_memory_stats")}}
    assert not any(made for made, _ in objects(pg).values())
    sqitch(pg, "verify", project=VOICE)
    sqitch(pg, "revert", "-y", project=VOICE)
    assert dump(pg) == before


def test_a_role_that_may_make_no_schema(pg):
    pg.server.admin(f"alter database {pg.name} owner to postgres")
    before = dump(pg)
    done = script(pg, "deploy", project=BOOK, ok=False)
    assert "keeper may not make a schema in the database adopt" in done.stderr
    assert "GRANT CREATE ON DATABASE adopt TO keeper" in done.stderr
    assert dump(pg) == before


MOUNTS_WRITE = {"applied", "stream", "summary", "file", "chunk", "file_rows"}


def test_roles_of_mounts_write_nothing_that_is_noted_of_packs(pg, stranger):
    for project in (VOICE, BOOK):
        sqitch(pg, "deploy", project=project)
    sqitch(pg, "deploy", "--to", "partitions", project="schema/partitioned")
    pg.sql(f"select rowfs.allow('{stranger}')")
    found = {name: set(rights) for name, rights in pg.sql(
        "select relname::text, array(select p from unnest('{select,insert,update,delete,truncate,references,trigger}'::text[]) p"
        " where has_table_privilege(%s, c.oid, p)) from pg_class c where relnamespace = 'rowfs'::regnamespace and relkind = 'r'",
        stranger)}
    everything = {"insert", "update", "delete"}
    assert found == {name: {"select"} | (everything if name in MOUNTS_WRITE else {"insert"} if name in ("delta", "doubt") else set())
                     if name != "mutex" else set() for name in found}
    assert {"object", "changes", "dependencies", "events", "projects", "releases", "tags", "partitioned"} <= found.keys()


def test_the_upgrade_takes_back_rights_on_sqitchs_tables(server, stranger):
    old = server.create_database("old_rights")
    try:
        sqitch(old, "deploy", "--to", "rowfs_channel")
        old.sql(f"select rowfs.allow('{stranger}')")
        assert old.one(f"select has_table_privilege('{stranger}', 'rowfs.changes', 'insert')")
        sqitch(old, "deploy")
        for table in ("changes", "dependencies", "events", "projects", "releases", "tags", "object"):
            assert old.sql(f"select has_table_privilege('{stranger}', 'rowfs.{table}', p) from "
                           "unnest('{select,insert,update,delete,truncate}'::text[]) with ordinality x(p, n) order by n") == [
                               (True,), (False,), (False,), (False,), (False,)]
    finally:
        old.close()
        old.admin(f"drop owned by {stranger}")
        server.admin('drop database "old_rights" with (force)')


# -- again, halfway, together -------------------------------------------------------------------------------------------


def test_again(other):
    sqitch(other, "deploy", project=VOICE)
    rows, before = other.sql("select * from rowfs.object order by n"), dump(other)
    sqitch(other, "deploy", project=VOICE)
    assert other.sql("select * from rowfs.object order by n") == rows
    # by hand: what the pack has made is still its own
    run(other.server.bin / "psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-f", ROOT / VOICE / "deploy/voice_assistant.sql", other.conninfo)
    assert other.sql("select * from rowfs.object order by n") == rows and dump(other) == before


def test_a_pack_that_was_reverted_is_deployed_again(other):
    sqitch(other, "deploy", project=VOICE)
    rows = other.sql("select * from rowfs.object order by n")
    sqitch(other, "revert", "-y", project=VOICE)
    sqitch(other, "deploy", project=VOICE)
    # but for the ids in "wanted" there are none: the same
    assert other.sql("select * from rowfs.object order by n") == rows


@pytest.mark.parametrize("error", ["SELECT 1 / 0;", "SELECT rowfs.make('CREATE TABLE users (id int)');",
                                   "SELECT rowfs.make('SELECT 1');", "SELECT rowfs.make('CREATE INDEX ON mine (id)');",
                                   "SELECT rowfs.make('CREATE TABLE a (); CREATE TABLE b ()');"])
def test_a_failure_leaves_the_database_as_it_was(other, tmp_path, error):
    other.sql("create table mine (id int)")
    pack = tmp_path / "pack"
    shutil.copytree(ROOT / VOICE, pack)
    script = pack / "deploy/voice_assistant.sql"
    text = script.read_text(encoding="utf-8")
    script.write_text(text.replace("SELECT rowfs.pack_end();", f"{error}\nSELECT rowfs.pack_end();"), encoding="utf-8")
    before = dump(other)
    assert sqitch(other, "deploy", project=pack, ok=False).returncode != 0
    assert dump(other) == before and other.sql("select * from rowfs.object") == []


THINGS = "create table things (id serial primary key, name text)"


def test_two_packs_want_the_same_object(pg):
    before = dump(pg)
    in_pack(pg, "a", "things", THINGS, "create index by_name on things (name)")
    in_pack(pg, "b", "things", THINGS.replace(")", ", more text)"), "create view names as select name from things")
    assert objects(pg, "a") == {"public.things": (True, None), "public.by_name": (True, None)}
    assert objects(pg, "b") == {"public.things": (False, ["has no column more: ALTER TABLE public.things ADD COLUMN more text"]),
                                "public.names": (True, None)}
    pg.sql("insert into things (name) values ('n')")
    assert pg.sql("select * from rowfs.pack_rows('a')") == [("public.things", 1)] and pg.sql("select * from rowfs.pack_rows('b')") == []
    pg.sql("select rowfs.pack_remove('a')")
    assert pg.sql("select * from names") == [("n",)] and objects(pg, "a") == {}
    assert objects(pg, "b")["public.things"][0] and pg.sql("select * from rowfs.pack_rows('b')") == [("public.things", 1)]
    pg.sql("select rowfs.pack_remove('b')")
    assert dump(pg) == before


def test_what_others_use_is_not_dropped(pg):
    """The extension stays as long as somebody uses it. Anything else that is used makes the revert fail, as a whole."""
    script(pg, "deploy", project=VOICE)
    pg.sql("create view mine as select id from users_memory_view; create table ours (id uuid default uuid_generate_v4())")
    before = dump(pg)
    done = script(pg, "revert", project=VOICE, ok=False)
    assert done.returncode != 0 and "view public.mine depends on view public.users_memory_view" in done.stderr
    assert dump(pg) == before and len(objects(pg)) > 40
    pg.sql("drop view mine")
    script(pg, "revert", project=VOICE)
    assert pg.sql("select extname from pg_extension where extname = 'uuid-ossp'") != []
    assert pg.sql("select relname::text from pg_class where relnamespace = 'public'::regnamespace") == [("ours",)]


def test_rows_are_counted_before_they_are_lost(pg):
    script(pg, "deploy", project=VOICE)
    sqitch(pg, "deploy", project=BOOK)
    assert pg.sql("select * from rowfs.pack_rows('orderbook')") == []
    pg.sql("insert into orderbook_data (symbol, timestamp, local_timestamp) select 's', g, g from generate_series(1, 12000) g;"
           "insert into users (hardware_id_hash) values ('a'), ('b'); insert into memory_cleanups default values; analyze")
    assert pg.sql("select * from rowfs.pack_rows('voice-assistant')") == [("public.users", 2), ("public.memory_cleanups", 1)]
    assert pg.sql("select * from rowfs.pack_rows('orderbook')") == [("public.orderbook_data", 12000)]
    sqitch(pg, "deploy", project="schema/partitioned")
    assert differing(pg, "orderbook") == {}  # the key has the column of the partitions, too
    assert pg.sql("select * from rowfs.pack_rows('orderbook')") == [("public.orderbook_data", 12000)]


# -- replacing ---------------------------------------------------------------------------------------------------------


def moved(pg):
    """Whether updated_at moves on an UPDATE that changes nothing."""
    pg.sql("alter table users disable trigger touch_users; update users set updated_at = '2020-01-01'; alter table users enable "
           "trigger touch_users")
    pg.sql("update users set metadata = metadata")
    return pg.one("select bool_or(updated_at > '2020-01-01') from users")


def test_a_function_is_replaced_when_asked_and_given_back(other):
    before = dump(other)
    script(other, "deploy", project=VOICE)
    assert moved(other), "it is taken as it is"
    other.sql("select rowfs.replace('voice-assistant', 'update_updated_at_column')")
    assert not moved(other)
    assert "public.update_updated_at_column()" not in differing(other)
    assert objects(other)["public.update_updated_at_column()"] == (False, None)
    other.sql("select rowfs.replace('voice-assistant', 'public.update_updated_at_column()')")  # again: nothing
    script(other, "deploy", project=VOICE)
    assert not moved(other)
    script(other, "revert", project=VOICE)
    assert moved(other) and dump(other) == before


@pytest.mark.parametrize("name,why", [
    ("nothing", r"has 0 functions nothing(.|\n)*update_updated_at_column"),
    ("users", "has 0 functions users"),
    ("cleanup_expired_short_term_memory", "cannot change return type"),
])
def test_what_cannot_be_replaced(other, name, why):
    script(other, "deploy", project=VOICE)
    before = dump(other)
    with pytest.raises(psycopg2.Error, match=why):
        other.sql("select rowfs.replace('voice-assistant', %s)", name)
    assert dump(other) == before


# -- elsewhere ---------------------------------------------------------------------------------------------------------


def restore(pg, copy):
    """Fills the database COPY from a dump of PG."""
    text = run(pg.server.bin / "pg_dump", "-h", pg.server.dir, "-U", "postgres", pg.name).stdout
    run(pg.server.bin / "psql", "-qX", "-v", "ON_ERROR_STOP=1", pg.server.conninfo(copy.name, "postgres"), stdin=text)
    return copy


def test_a_copy_of_a_database_knows_what_its_packs_have_made(other, empty_pg):
    """Names, not oids."""
    sqitch(other, "deploy", project=VOICE)
    copy = restore(other, empty_pg)
    assert copy.sql("select * from rowfs.object order by n") == other.sql("select * from rowfs.object order by n")
    assert differing(copy) == differing(other)
    sqitch(copy, "revert", "-y", project=VOICE)
    assert copy.one("select to_regproc('get_memory_stats')") is None and copy.one("select count(*) from users") == 2


def test_tables_that_came_from_a_dump_are_the_same(pg, empty_pg):
    """PostgreSQL writes their constraints otherwise then."""
    pg.sql((DATA / "single-project.sql").read_text(encoding="utf-8"))
    pg.sql("drop schema rowfs cascade")
    deploy(restore(pg, empty_pg))
    for pack in PACKS:
        assert {name: differs for name, (_, differs) in objects(empty_pg, pack).items() if differs} == (RENEWED if pack == "voice-assistant" else {})


def test_core_goes_back_after_its_packs_only(pg):
    sqitch(pg, "deploy", project=BOOK)
    done = sqitch(pg, "revert", "-y", "--to", "rowfs_channel", ok=False)
    assert done.returncode != 0 and "rowfs_orderbook:orderbook" in done.stdout + done.stderr
    sqitch(pg, "revert", "-y", project=BOOK)
    before = dump(pg)
    sqitch(pg, "revert", "-y", "--to", "rowfs_channel")
    sqitch(pg, "deploy")
    assert dump(pg) == before


def test_packs_that_were_forgotten_are_taken(empty_pg):
    deploy(empty_pg)
    forget_packs(empty_pg)
    before = dump(empty_pg)
    deploy(empty_pg)
    assert dump(empty_pg) == before and set(objects(empty_pg).values()) == {(False, None)}


# -- rowfs check ------------------------------------------------------------------------------------------------------


def check(pg, project=VOICE, user="keeper"):
    """What `rowfs check` of the pack's layout says of packs: (lines that name a pack, lines of objects), and what it says on stderr."""
    done = run(rowfs_binary(), "check", ROOT / project / "layout.json", pg.server.conninfo(pg.name, user), env=clean_env())
    lines = done.stdout.splitlines()
    return [line for line in lines if line.startswith("pack ")], [line.strip() for line in lines if line.startswith("    ")], done.stderr


def expected(pg, pack="voice-assistant"):
    return [f"{type_} {identity} {'; '.join(differs)}" + (f"; so this does not hold: {promise}" if promise else "")
            for type_, identity, differs, promise in pg.sql("select type, identity, differs, promise from rowfs.differences(%s) order by n", pack)]


def test_check_says_what_differs_now(other):
    sqitch(other, "deploy", project=VOICE)
    before, noted = dump(other), other.sql("select * from rowfs.object order by n")
    packs, lines, _ = check(other)
    told = expected(other)
    assert lines == told and len(told) > 5
    assert packs == [f"pack voice-assistant: {len(told)} objects are otherwise than it needs"]
    assert dump(other) == before and other.sql("select * from rowfs.object order by n") == noted
    # now, and not when it was deployed
    other.sql("alter table sessions alter column status set default 'active'; drop table performance_metrics")
    told = expected(other)
    packs, lines, stderr = check(other)
    assert lines == told and any(line.startswith("table public.performance_metrics is not there") for line in lines)
    assert not any("has the default 'open'" in line for line in lines)
    assert "table or view performance_metrics does not exist; left out: " in stderr


def test_check_says_nothing_where_nothing_differs(pg):
    for project in (VOICE, BOOK):
        sqitch(pg, "deploy", project=project)
    assert check(pg)[:2] == ([], [])
    pg.sql("drop index idx_orderbook_symbol")
    packs, lines, _ = check(pg)
    assert packs == ["pack orderbook: 1 object is otherwise than it needs"] and lines == expected(pg, "orderbook")


def test_check_of_a_role_that_may_not_read_what_is_noted(other):
    sqitch(other, "deploy", project=VOICE)
    other.admin("create role guest_of_packs login")
    try:
        other.admin("grant select on all tables in schema public to guest_of_packs")
        assert check(other, user="guest_of_packs")[:2] == ([], [])
        other.sql("select rowfs.allow('guest_of_packs')")
        assert check(other, user="guest_of_packs")[1] == expected(other)
    finally:
        other.admin("drop owned by guest_of_packs cascade")
        other.admin("drop role guest_of_packs")


# -- where the pack and other programs differ on purpose ---------------------------------------------------------------


def test_statistics_count_what_is_there(pg):
    """One join over commands and screenshots, as other programs have it, multiplies the one with the other."""
    sqitch(pg, "deploy", project=VOICE)
    pg.sql("with u as (insert into users (hardware_id_hash) values ('u1') returning id), s as (insert into sessions (user_id, start_time,"
           " end_time) select u.id, t.at, t.at + t.took * interval '1 s' from u, (values (timestamptz '2025-01-01', 10),"
           " ('2025-01-02', 40)) t(at, took) returning id, start_time), c as (insert into commands (session_id, prompt) select s.id, n::text"
           " from s, generate_series(1, 2) n where start_time = '2025-01-01') insert into screenshots (session_id, file_path)"
           " select s.id, n::text from s, generate_series(1, 2) n where start_time = '2025-01-01'")
    joined = pg.sql("select count(distinct s.id), count(c.id), count(p.id), avg(extract(epoch from s.end_time - s.start_time))::float8"
                    " from users u left join sessions s on s.user_id = u.id left join commands c on c.session_id = s.id"
                    " left join screenshots p on p.session_id = s.id where u.hardware_id_hash = 'u1'")
    assert joined == [(2, 4, 4, (4 * 10 + 40) / 5)]
    counted = [pg.one(f"select count(*) from {table}") for table in ("sessions", "commands", "screenshots")]
    assert pg.sql("select total_sessions, total_commands, total_screenshots, avg_session_duration_seconds::float8"
                  " from user_statistics('u1')") == [(*counted, (10 + 40) / 2)]
