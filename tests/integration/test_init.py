"""rowfs init: the core and packs, deployed, upgraded and taken out again."""
import concurrent.futures
import lzma
import re
import shlex
import shutil
import subprocess

import pytest

import kit
from kit import ROOT, append, dump, get, run, sqitch, until
from mountkit import clean_env, rowfs_binary

CORE_CHANGES = [line.split()[0] for line in (ROOT / "schema/core/sqitch.plan").read_text().splitlines()
                if line and line[0] not in "%#@"]


def init(pg, *words, ok=True, user=None, timeout=120, **env):
    conninfo = pg.conninfo if user is None else pg.server.conninfo(pg.name, user)
    return run(rowfs_binary(), "init", *words, conninfo, ok=ok, env={**clean_env(), **env}, timeout=timeout)


def changes(pg):
    return [r[0] for r in pg.sql("select change from rowfs.changes where project = 'rowfs_core' order by committed_at")]


def schemas(pg):
    return {r[0] for r in pg.sql("select nspname from pg_namespace where nspname !~ '^(pg_|information_schema)'")}


def test_the_core_alone(empty_pg):
    pg = empty_pg
    before = dump(pg)
    init(pg)
    assert changes(pg) == CORE_CHANGES
    assert schemas(pg) == {"public", "rowfs"}
    assert pg.sql("select relname from pg_class where relnamespace = 'public'::regnamespace") == []
    assert pg.sql("select extname from pg_extension") == [("plpgsql",)]
    again = init(pg)
    assert "is there already" in again.stdout
    init(pg, "--remove")
    assert dump(pg) == before
    assert schemas(pg) == {"public"}


def test_status(empty_pg):
    pg = empty_pg
    assert "core: not deployed" in init(pg, "--status").stdout
    sqitch(pg, "deploy", "--to", CORE_CHANGES[3])
    done = init(pg, "--status", ok=False)
    assert done.returncode == 1 and f"core: older ({CORE_CHANGES[3]}; newest: {CORE_CHANGES[-1]})" in done.stdout
    init(pg, "--upgrade")
    done = init(pg, "--status")
    assert f"core: deployed ({CORE_CHANGES[-1]})" in done.stdout and "voice-assistant: not deployed" in done.stdout
    assert changes(pg) == CORE_CHANGES


def test_upgrade_of_nothing(empty_pg):
    done = init(empty_pg, "--upgrade", ok=False)
    assert done.returncode == 1 and "nothing to upgrade" in done.stderr
    assert schemas(empty_pg) == {"public"}


def test_packs_bring_what_they_need(empty_pg):
    pg = empty_pg
    before = dump(pg)
    init(pg, "partitioned")
    assert pg.one("select count(*) from pg_partitioned_table where partrelid = 'orderbook_data'::regclass") == 1
    done = init(pg, "--remove", "orderbook", ok=False)
    assert done.returncode == 1 and "partitioned needs orderbook" in done.stderr
    init(pg, "--remove", "partitioned")
    assert pg.one("select relkind from pg_class where relname = 'orderbook_data'") == "r"
    init(pg, "--remove")
    assert dump(pg) == before


def test_a_failure_leaves_the_database_as_it_was(empty_pg):
    pg = empty_pg
    pg.sql("create table orderbook_data (whatever int)")
    pg.sql("create view v as select * from orderbook_data")
    before = dump(pg)
    done = init(pg, "partitioned", ok=False)  # partitioned refuses a table that a view refers to
    assert done.returncode == 1 and "the database is as it was" in done.stderr, done.stderr
    assert dump(pg) == before


def test_a_schema_that_others_made(empty_pg):
    pg = empty_pg
    pg.sql("create schema rowfs; create table rowfs.mine (i int)")
    before = dump(pg)
    done = init(pg, ok=False)
    assert done.returncode == 1 and "mine" in done.stderr and "RENAME" in done.stderr
    assert dump(pg) == before
    pg.sql("drop table rowfs.mine")
    init(pg)
    assert changes(pg) == CORE_CHANGES


def test_half_deployed(empty_pg):
    """An init that was killed: the next one goes on."""
    pg = empty_pg
    sqitch(pg, "deploy", "--to", CORE_CHANGES[5])
    init(pg)
    assert changes(pg) == CORE_CHANGES
    init(pg, "--remove")
    assert schemas(pg) == {"public"}


def test_newer_than_the_program(empty_pg):
    pg = empty_pg
    init(pg)
    pg.sql("insert into rowfs.changes select repeat('a', 40), repeat('b', 40), 'rowfs_future', project, note, now() + '1 min', committer_name,"
           " committer_email, planned_at, planner_name, planner_email from rowfs.changes where change = %s", CORE_CHANGES[-1])
    for words in ([], ["--upgrade"], ["--remove"]):
        done = init(pg, *words, ok=False)
        assert done.returncode == 1 and "newer" in done.stderr, (words, done.stderr)
    assert "newer" in init(pg, "--status", ok=False).stdout


def test_the_schema_of_somebody_else(empty_pg):
    pg = empty_pg
    pg.admin("create role landlord login")
    try:
        pg.admin(f"grant create on database \"{pg.name}\" to landlord; grant create on schema public to landlord")
        init(pg, user="landlord")
        done = init(pg, ok=False)
        assert done.returncode == 1 and "belongs to landlord" in done.stderr
        pg.admin("grant landlord to keeper")
        init(pg, "--remove")  # as a member, in his name
        assert schemas(pg) == {"public"}
        init(pg, user="landlord")
        init(pg, "orderbook")
        assert pg.one("select pg_get_userbyid(relowner) from pg_class where oid = 'rowfs.object'::regclass") == "landlord"
    finally:
        pg.admin("drop owned by landlord cascade")
        pg.admin("drop role landlord")


def test_without_the_right_to_make_a_schema(empty_pg):
    pg = empty_pg
    pg.admin("create role guest login")
    try:
        done = init(pg, user="guest", ok=False)
        assert done.returncode == 1 and "GRANT CREATE ON DATABASE" in done.stderr
        assert schemas(pg) == {"public"}
    finally:
        pg.admin("drop role guest")


def test_two_at_once(empty_pg):
    pg = empty_pg
    with concurrent.futures.ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda _: init(pg, "orderbook", ok=False), range(2)))
    assert [d.returncode for d in done] == [0, 0], [d.stderr for d in done]
    assert changes(pg) == CORE_CHANGES
    assert pg.one("select count(*) from rowfs.changes where project = 'rowfs_orderbook'") == 1


def test_a_role_with_the_name_of_the_schema(empty_pg):
    """Its search path has the schema rowfs first, by "$user"."""
    pg = empty_pg
    pg.admin(f"create role rowfs login; grant create on database \"{pg.name}\" to rowfs")
    pg.admin("grant create on schema public to rowfs")
    try:
        before = dump(pg)
        init(pg, "orderbook", user="rowfs")
        assert pg.one("select relnamespace::regnamespace::text from pg_class where relname = 'orderbook_data'") == "public"
        run("psql", "-X", pg.server.conninfo(pg.name, "rowfs"), "-c", "create table of_his_own (i int)")
        assert pg.one("select relnamespace::regnamespace::text from pg_class where relname = 'of_his_own'") == "public"
        pg.admin("drop table of_his_own")
        init(pg, "--remove", user="rowfs")
        assert dump(pg) == before
        assert pg.admin("select count(*) from pg_db_role_setting where setrole = 'rowfs'::regrole") == [(0,)]
    finally:
        pg.admin("drop owned by rowfs cascade")
        pg.admin("drop role rowfs")


def test_remove_keeps_rows_unless_told(empty_pg):
    pg = empty_pg
    before = dump(pg)
    init(pg, "orderbook")
    pg.sql("insert into orderbook_data (symbol, timestamp, local_timestamp) values ('s', 1, 1)")
    done = init(pg, "--remove", ok=False)
    assert done.returncode == 1 and "orderbook_data" in done.stderr and "--with-data" in done.stderr
    assert pg.one("select count(*) from orderbook_data") == 1
    init(pg, "--remove", "--with-data")
    assert dump(pg) == before


def test_remove_under_a_mount(empty_pg, make_mount):
    pg = empty_pg
    init(pg, "voice-assistant", "orderbook")
    m = make_mount(conninfo=pg.conninfo)
    done = init(pg, "--remove", ok=False)
    assert done.returncode == 1 and "unmount first" in done.stderr
    assert (m / "users").is_dir()
    m.umount()
    until(lambda: not pg.backends(), "the mount is gone")
    init(pg, "--remove")
    assert schemas(pg) == {"public"}


@pytest.fixture(scope="module")
def standby(server):
    """A copy of the server that follows it."""
    copy = kit.Postgres.__new__(kit.Postgres)
    copy.dir = kit.scratch("standby")
    copy.data, copy.log, copy.bin, copy.user = copy.dir / "data", copy.dir / "log", server.bin, server.user
    if copy.user:
        shutil.chown(copy.dir, copy.user, copy.user)
    copy._as_owner(copy.bin / "pg_basebackup", "-h", server.dir, "-U", "postgres", "-D", copy.data, "-R", "-X", "stream", "-c", "fast")
    with open(copy.data / "postgresql.conf", "a", encoding="utf-8") as conf:
        conf.write(f"unix_socket_directories = '{copy.dir}'\n")
    copy.start()
    yield copy
    copy.destroy()


def test_a_standby(standby):
    done = run(rowfs_binary(), "init", standby.conninfo("postgres"), ok=False, env=clean_env())
    assert done.returncode == 1 and "a standby" in done.stderr and "primary" in done.stderr
    done = run(rowfs_binary(), "init", "--status", standby.conninfo("postgres"), env=clean_env())
    assert "core: not deployed" in done.stdout


def test_through_a_pooler(empty_pg):
    """A pooler lends sessions: sqitch's lock and its settings would be in another one."""
    pg = empty_pg
    place = kit.scratch("pool")
    ini = place / "pgbouncer.ini"
    ini.write_text(f"[databases]\n* = host={pg.server.dir} user=keeper\n[pgbouncer]\nunix_socket_dir = {place}\nlisten_port = 6432\n"
                   f"auth_type = any\npool_mode = transaction\nlogfile = {place}/log\n")
    argv = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"] if kit.IS_ROOT else []
    if kit.IS_ROOT:
        for path in (place, ini):
            shutil.chown(path, "postgres", "postgres")
    pooler = subprocess.Popen([*argv, "/usr/sbin/pgbouncer", str(ini)], stdin=subprocess.DEVNULL, cwd="/")
    try:
        until(lambda: (place / ".s.PGSQL.6432").exists(), "the pooler listens")
        done = run(rowfs_binary(), "init", f"host={place} port=6432 dbname={pg.name} user=keeper", ok=False, env=clean_env())
        assert done.returncode == 1 and "pooler" in done.stderr, done.stderr
    finally:
        pooler.terminate()
        pooler.wait(30)
        shutil.rmtree(place, ignore_errors=True)
    assert schemas(pg) == {"public"}


def test_a_function_is_replaced_only_when_asked(empty_pg):
    pg = empty_pg
    pg.sql("create function update_updated_at_column() returns trigger language plpgsql as 'begin new.updated_at := now(); return new; end'")
    before = dump(pg)
    source = "select prosrc from pg_proc where proname = 'update_updated_at_column'"
    old = pg.one(source)
    said = init(pg, "voice-assistant").stdout
    assert "update_updated_at_column()" in said and "is another one" in said
    assert pg.one(source) == old
    done = init(pg, "--replace", "update_updated_at_column", "orderbook", ok=False)
    assert done.returncode == 1 and "orderbook is not deployed" in done.stderr
    init(pg, "--replace", "update_updated_at_column", "voice-assistant")
    assert pg.one(source) != old
    pg.sql("insert into users (hardware_id_hash, updated_at) values ('h', '2001-01-01'); update users set metadata = metadata")
    assert pg.one("select updated_at::date::text from users") == "2001-01-01"  # an update that changes nothing
    init(pg, "--remove", "--with-data")
    assert pg.one(source) == old and dump(pg) == before


@pytest.mark.parametrize("words, sentence", [
    (["--status", "orderbook"], "are about all packs"),
    (["--with-data"], "goes with --remove"),
    (["--remove", "--follow=default"], "goes neither"),
    (["-o", "nonsense=1"], "nonsense"),
])
def test_mistakes_in_the_arguments(empty_pg, words, sentence):
    done = init(empty_pg, *words, ok=False)
    assert done.returncode == 2 and sentence in done.stderr
    assert schemas(empty_pg) == {"public"}


def test_help_names_the_packs():
    done = run(rowfs_binary(), "init", "--help", env=clean_env())
    for name in ("core", "voice-assistant", "orderbook", "partitioned"):
        assert name in done.stdout.split("Packs:")[1].split()


def test_mount_and_check_say_which_command_helps(empty_pg, make_mount, tmp_path):
    pg = empty_pg
    pg.sql("create table t (id int primary key, v text)")
    layout = tmp_path / "l.json"
    layout.write_text('{"routes": [{"path": "/{t.id}.json", "row": "t"}]}')

    def check():
        return run(rowfs_binary(), "check", layout, pg.conninfo, env=clean_env()).stderr
    said = check()
    assert "no schema rowfs" in said
    command = shlex.split(said[said.index("rowfs init"):])
    run(rowfs_binary(), *command[1:], env=clean_env())  # the command that it names is the one
    assert check() == ""
    init(pg, "--remove")
    sqitch(pg, "deploy", "--to", CORE_CHANGES[-2])
    assert "older" in check() and "rowfs init --upgrade" in check()
    init(pg, "--upgrade")
    assert check() == ""


# -- upgrades of what there was before -------------------------------------------------------------------

@pytest.fixture
def single(empty_pg, tmp_path):
    """A database with the single project of before (its registry in the schema sqitch), and with data: the demo of the voice assistant, a
    user made through a mount, lines of a rows file and of an ingest file in a partitioned table. pg_dump made it on the last commit
    that had that project."""
    sql = tmp_path / "single.sql"
    sql.write_bytes(lzma.decompress((ROOT / "tests/integration/data/single-project.sql.xz").read_bytes()))
    run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", sql, empty_pg.server.conninfo(empty_pg.name, "postgres"))
    return empty_pg


def rows_of(pg):
    tables = [r[0] for r in pg.sql("select oid::regclass::text from pg_class where relkind = 'r' and relnamespace in"
                                   " ('public'::regnamespace, 'rowfs'::regnamespace) and relname not in"
                                   " ('changes', 'dependencies', 'events', 'projects', 'releases', 'tags', 'object') order by 1")]
    rows = {t: pg.sql(f"select r::text from {t} r order by 1") for t in tables}
    rows["rowfs.file"] = pg.sql("select id, dir, name, size, mode, changed, state, op from rowfs.file order by 1")
    return rows


def test_a_single_project_is_upgraded(single, make_mount):
    pg = single
    before = rows_of(pg)
    done = init(pg, "--status", ok=False)
    assert done.returncode == 1 and "single project" in done.stdout and "--upgrade" in done.stdout
    done = init(pg, "--remove", ok=False)
    assert done.returncode == 1 and "--upgrade first" in done.stderr
    init(pg, "--upgrade")
    after = rows_of(pg)
    # what changes of the core since then do away with is made anew by the next install
    assert {t: r for t, r in after.items() if t in before and t.startswith(("users", "sess", "comm", "order", "rowfs.file", "rowfs.chunk"))} \
        == {t: r for t, r in before.items() if t.startswith(("users", "sess", "comm", "order", "rowfs.file", "rowfs.chunk"))}
    assert changes(pg) == CORE_CHANGES
    assert "sqitch" not in schemas(pg)
    assert pg.sql("select identity from rowfs.object where differs is not null") == []
    for project in ("core", "voice-assistant", "orderbook", "partitioned"):
        sqitch(pg, "verify", project=f"schema/{project}")
    m = make_mount(conninfo=pg.conninfo)
    assert get(m / "users/anna/memory/long.txt") == b"likes tea\n"
    assert get(m / "collector/BTCUSDT_orderbook_20250920.csv").count(b"\n") == 2
    append(m / "users/anna/memory/long.txt", "and coffee\n", sync=True)
    assert pg.one("select long_term_memory from users where hardware_id_hash = 'anna'") == "likes tea\nand coffee\n"


def test_an_upgraded_database_is_like_a_new_one(single, server):
    """But for what the packs have made, or found."""
    init(single, "--upgrade")
    fresh = server.create_database("fresh")
    try:
        init(fresh, "voice-assistant", "partitioned")
        assert dump_of_schema(single) == dump_of_schema(fresh)
    finally:
        fresh.drop()


def dump_of_schema(pg):
    """The schema rowfs, without triggers' functions, which an install makes; after a restore, since PostgreSQL shows some queries otherwise then."""
    copy = pg.server.create_database(f"{pg.name}_again")
    try:
        first = run("pg_dump", "-s", "-n", "rowfs", pg.server.conninfo(pg.name, "postgres")).stdout
        run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", pg.server.conninfo(copy.name, "postgres"), stdin=first)
        text = run("pg_dump", "-s", "-n", "rowfs", pg.server.conninfo(copy.name, "postgres")).stdout
    finally:
        copy.drop()
    text = text[:text.index("--\n-- PostgreSQL database dump complete")]
    parts = re.split(r"^--\n-- Name: ", text, flags=re.M)
    return sorted(p.strip() for p in parts[1:] if not re.match(r"(FUNCTION )?(watch|notice)_\d+\(", p))


@pytest.mark.parametrize("turns", [1, 2, 3, 4, 5, 6])
def test_an_upgrade_that_is_interrupted(single, tmp_path, turns):
    """Whatever it has done by then, the next one goes on: here sqitch is killed when it is called for the N-th time."""
    pg = single
    sqitch_path = shutil.which("sqitch")
    fake = tmp_path / "bin" / "sqitch"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\necho x >>{tmp_path}/calls\n[ $(wc -l <{tmp_path}/calls) -lt {turns} ] || kill -9 $PPID $$\n"
                    f"exec {sqitch_path} \"$@\"\n")
    fake.chmod(0o755)
    before = rows_of(pg)["users"]
    done = init(pg, "--upgrade", ok=False, PATH=f"{fake.parent}:{clean_env()['PATH']}")
    assert done.returncode == -9 or turns > len((tmp_path / "calls").read_text().splitlines())
    init(pg, "--upgrade")
    assert changes(pg) == CORE_CHANGES and "sqitch" not in schemas(pg)
    assert rows_of(pg)["users"] == before
    assert "older" not in init(pg, "--status").stdout


# -- what it would do --------------------------------------------------------------------------------------

def test_a_dry_run_says_the_same_and_changes_nothing(empty_pg):
    pg = empty_pg
    pg.sql((ROOT / "tests/integration/data/other-assistant.sql").read_text())
    before = dump(pg)
    would = init(pg, "--dry-run", "voice-assistant", "orderbook").stdout
    assert dump(pg) == before and schemas(pg) == {"public"}
    assert "nothing was changed" in would
    does = init(pg, "voice-assistant", "orderbook").stdout
    listed = {line for line in does.splitlines() if line.startswith("    ") and "objects" not in line}
    assert listed == {line for line in would.splitlines() if line.startswith("    ")}
    assert any("users_memory_view has other columns" in line for line in listed)
    made = dict(pg.sql("select pack, count(*) filter (where made) from rowfs.object group by pack"))
    for name in ("voice-assistant", "orderbook"):
        assert f"{name}: {made[name]} objects would be made" in would


def test_a_dry_run_that_would_fail(empty_pg):
    pg = empty_pg
    pg.sql("create view orderbook_data as select 1 as id")
    before = dump(pg)
    done = init(pg, "--dry-run", "partitioned", ok=False)
    assert done.returncode == 1 and "it would fail" in done.stderr and "orderbook_data" in done.stderr
    assert dump(pg) == before
