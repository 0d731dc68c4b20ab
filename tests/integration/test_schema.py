"""schema/: the tables are exactly those that other programs know, and what SQL promises to every writer."""
import statistics
import uuid
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import psycopg2.errors
import pytest

from kit import deploy, sqitch

UUID, STAMP, JSON, TEXT = "uuid", "timestamp with time zone", "jsonb", "text"
NEW_ID, NOW, EMPTY = "uuid_generate_v4()", "now()", "'{}'::jsonb"

# table: (column, type, NOT NULL, default), in order
COLUMNS = {
    "users": [
        ("id", UUID, True, NEW_ID), ("hardware_id_hash", "character varying(64)", True, None), ("created_at", STAMP, False, NOW),
        ("updated_at", STAMP, False, NOW), ("metadata", JSON, False, EMPTY), ("short_term_memory", TEXT, False, None),
        ("long_term_memory", TEXT, False, None), ("memory_updated_at", STAMP, False, NOW)],
    "sessions": [
        ("id", UUID, True, NEW_ID), ("user_id", UUID, True, None), ("start_time", STAMP, False, NOW), ("end_time", STAMP, False, None),
        ("metadata", JSON, False, EMPTY), ("status", "character varying(20)", False, "'active'::character varying"),
        ("created_at", STAMP, False, NOW), ("updated_at", STAMP, False, NOW)],
    "commands": [
        ("id", UUID, True, NEW_ID), ("session_id", UUID, True, None), ("prompt", TEXT, True, None),
        ("language", "character varying(10)", False, "'en'::character varying"), ("metadata", JSON, False, EMPTY),
        ("created_at", STAMP, False, NOW)],
    "llm_answers": [
        ("id", UUID, True, NEW_ID), ("command_id", UUID, True, None), ("prompt", TEXT, True, None), ("response", TEXT, True, None),
        ("model_info", JSON, False, EMPTY), ("performance_metrics", JSON, False, EMPTY), ("created_at", STAMP, False, NOW)],
    "screenshots": [
        ("id", UUID, True, NEW_ID), ("session_id", UUID, True, None), ("file_path", "character varying(500)", False, None),
        ("file_url", "character varying(1000)", False, None), ("metadata", JSON, False, EMPTY), ("created_at", STAMP, False, NOW)],
    "performance_metrics": [
        ("id", UUID, True, NEW_ID), ("session_id", UUID, True, None), ("metric_type", "character varying(50)", True, None),
        ("metric_value", JSON, True, None), ("created_at", STAMP, False, NOW)],
    "orderbook_data": [
        ("id", "bigint", True, "nextval('orderbook_data_id_seq'::regclass)"),
        ("exchange", "character varying(50)", True, "'binance-futures'::character varying"),
        ("symbol", "character varying(20)", True, None), ("timestamp", "bigint", True, None), ("local_timestamp", "bigint", True, None),
        ("ask_amount", "numeric(20,8)", False, None), ("ask_price", "numeric(20,8)", False, None),
        ("bid_price", "numeric(20,8)", False, None), ("bid_amount", "numeric(20,8)", False, None),
        ("created_at", "timestamp without time zone", False, "CURRENT_TIMESTAMP")],
}

# as text: another role's operator between values of varchar would fit better
STATUS = "CHECK (((status)::text = ANY (ARRAY['active'::text, 'ended'::text, 'timeout'::text])))"

CONSTRAINTS = {
    "users": {"PRIMARY KEY (id)", "UNIQUE (hardware_id_hash)", "CHECK (((hardware_id_hash)::text <> ''::text))"},
    "sessions": {"PRIMARY KEY (id)", "FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE", STATUS},
    "commands": {"PRIMARY KEY (id)", "FOREIGN KEY (session_id) REFERENCES sessions(id) ON DELETE CASCADE"},
    "llm_answers": {"PRIMARY KEY (id)", "FOREIGN KEY (command_id) REFERENCES commands(id) ON DELETE CASCADE"},
    "screenshots": {"PRIMARY KEY (id)", "FOREIGN KEY (session_id) REFERENCES sessions(id) ON DELETE CASCADE"},
    "performance_metrics": {"PRIMARY KEY (id)", "FOREIGN KEY (session_id) REFERENCES sessions(id) ON DELETE CASCADE"},
    "orderbook_data": {"PRIMARY KEY (id)"},
}

# besides those of the constraints
INDEXES = {
    "users": {"gin (metadata)", "btree (memory_updated_at)",
              "btree (hardware_id_hash) WHERE ((short_term_memory IS NOT NULL) OR (long_term_memory IS NOT NULL))"},
    "sessions": {"btree (user_id)", "btree (start_time)", "btree (status)", "gin (metadata)"},
    "commands": {"btree (session_id)", "btree (language)", "btree (created_at)", "gin (metadata)"},
    "llm_answers": {"btree (command_id)", "gin (model_info)", "gin (performance_metrics)"},
    "screenshots": {"btree (session_id)", "gin (metadata)"},
    "performance_metrics": {"btree (session_id)", "btree (metric_type)", "gin (metric_value)"},
    "orderbook_data": {'btree (symbol, "timestamp")', "btree (created_at)", "btree (symbol)",
                       'btree (exchange, symbol, "timestamp", id)'},  # the last is what serving as files adds
}


def refused(sqlstate):
    return pytest.raises(psycopg2.errors.lookup(sqlstate))


def add_user(pg, name="h", **columns):
    columns["hardware_id_hash"] = name
    return add(pg, "users", **columns)


def add(pg, table, **columns):
    """Inserts a row; returns its id."""
    names = ", ".join(columns)
    return pg.one(f"insert into {table} ({names}) values ({', '.join(['%s'] * len(columns))}) returning id", *columns.values())


def age_memory(pg, user, hours):
    pg.sql("update users set memory_updated_at = now() - make_interval(hours => %s) where id = %s", hours, user)


# -- the tables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", COLUMNS)
def test_columns(pg, table):
    found = pg.sql("select a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid)"
                   "  from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum"
                   " where a.attrelid = %s::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum", table)
    assert found == COLUMNS[table]


@pytest.mark.parametrize("table", CONSTRAINTS)
def test_constraints(pg, table):
    found = pg.sql("select pg_get_constraintdef(oid) from pg_constraint where conrelid = %s::regclass", table)
    assert sorted(r[0] for r in found) == sorted(CONSTRAINTS[table])


@pytest.mark.parametrize("table", INDEXES)
def test_indexes(pg, table):
    found = pg.sql("select split_part(pg_get_indexdef(indexrelid), ' USING ', 2) from pg_index i where indrelid = %s::regclass"
                   "   and not exists (select from pg_constraint c where c.conindid = i.indexrelid and c.conrelid = i.indrelid)", table)
    assert sorted(r[0] for r in found) == sorted(INDEXES[table])


@pytest.mark.bare
def test_tables_are_in_public_and_the_rest_in_rowfs(pg):
    where = dict(pg.sql("select relname, relnamespace::regnamespace::text from pg_class where relkind in ('r', 'v')"
                        "   and relnamespace::regnamespace::text in ('public', 'rowfs') and relname not like 'pg_stat_%'"))
    assert {name for name, schema in where.items() if schema == "public"} == {*COLUMNS, "users_memory_view", "memory_cleanups"}
    assert where["applied"] == "rowfs"
    strays = pg.sql("select proname from pg_proc where pronamespace = 'rowfs'::regnamespace and proname <> 'forget_applied'"
                    " and prorettype = 'trigger'::regtype")
    assert strays == []


def test_signatures(pg):
    def signature(name):
        return pg.sql("select pg_get_function_arguments(oid), pg_get_function_result(oid) from pg_proc where proname = %s", name)
    assert signature("cleanup_expired_short_term_memory") == [("hours_old integer DEFAULT 24", "integer")]
    names = [d[0] for d in pg.sql("select json_object_keys(to_json(s)) from get_memory_stats() s")]
    assert names == ["total_users", "users_with_memory", "users_with_short_memory", "users_with_long_memory", "avg_short_memory_size",
                     "avg_long_memory_size", "oldest_memory_update", "newest_memory_update"]


# -- updated_at -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["users", "sessions"])
def test_updated_at_moves(pg, table):
    user = add_user(pg)
    row = user if table == "users" else add(pg, "sessions", user_id=user)
    before = pg.one(f"select updated_at from {table} where id = %s", row)
    pg.sql(f"update {table} set metadata = '{{\"a\": 1}}' where id = %s", row)
    moved = pg.one(f"select updated_at from {table} where id = %s", row)
    assert moved > before
    pg.sql(f"update {table} set metadata = metadata where id = %s", row)
    assert pg.one(f"select updated_at from {table} where id = %s", row) == moved, "a write that changes nothing changes no time"
    pg.sql(f"update {table} set metadata = '{{\"a\": 1.0}}' where id = %s", row)
    assert pg.one(f"select updated_at from {table} where id = %s", row) > moved, "1.0 is written otherwise than 1"
    pg.sql(f"update {table} set metadata = '{{}}', updated_at = '2001-01-01' where id = %s", row)
    assert pg.one(f"select updated_at from {table} where id = %s", row) > moved, "a stale document cannot turn it back"


def test_a_row_put_back_keeps_its_times(pg):
    user = add_user(pg)
    then = datetime(2020, 5, 17, 1, 2, 3, 456789, timezone.utc)
    pg.sql("update users set created_at = %s, updated_at = %s, short_term_memory = 's', memory_updated_at = %s where id = %s",
           then, then + timedelta(days=1), then + timedelta(days=2), user)
    assert pg.sql("select created_at, updated_at, memory_updated_at from users") == [
        (then, then + timedelta(days=1), then + timedelta(days=2))]
    session = add(pg, "sessions", user_id=user)
    pg.sql("update sessions set created_at = %s, updated_at = %s, status = 'ended', end_time = %s where id = %s",
           then, then + timedelta(days=1), then + timedelta(days=2), session)
    assert pg.sql("select updated_at, end_time from sessions") == [(then + timedelta(days=1), then + timedelta(days=2))]


# -- sessions that end ------------------------------------------------------------------------------------------------


def test_end_time_is_set_once(pg):
    session = add(pg, "sessions", user_id=add_user(pg))

    def end():
        return pg.one("select end_time from sessions where id = %s", session)
    pg.sql("update sessions set metadata = '{\"x\": 1}'")
    assert end() is None
    pg.sql("update sessions set status = 'ended'")
    first = end()
    assert first is not None and pg.one("select now() - %s < interval '1 minute'", first)
    pg.sql("update sessions set status = 'ended'")
    pg.sql("update sessions set status = 'ended', end_time = now()")  # as the module's own end_session does, twice
    pg.sql("update sessions set end_time = null")
    pg.sql("update sessions set metadata = '{}'")
    assert end() == first
    pg.sql("update sessions set status = 'active'")
    pg.sql("update sessions set status = 'ended'")
    assert end() == first


def test_end_time_given_is_kept(pg):
    user, then = add_user(pg), datetime(2024, 1, 1, tzinfo=timezone.utc)
    one = add(pg, "sessions", user_id=user, status="ended")
    assert pg.one("select end_time is not null from sessions where id = %s", one)
    two = add(pg, "sessions", user_id=user, status="ended", end_time=then)
    assert pg.one("select end_time from sessions where id = %s", two) == then
    three = add(pg, "sessions", user_id=user)
    pg.sql("update sessions set status = 'ended', end_time = %s where id = %s", then, three)
    assert pg.one("select end_time from sessions where id = %s", three) == then


def test_a_timeout_sets_no_end_time(pg):
    session = add(pg, "sessions", user_id=add_user(pg))
    pg.sql("update sessions set status = 'timeout'")
    assert pg.one("select end_time from sessions where id = %s", session) is None
    pg.sql("update sessions set status = 'ended'")
    assert pg.one("select end_time from sessions where id = %s", session) is not None


# -- memory -----------------------------------------------------------------------------------------------------------


def test_memory_updated_at_moves_when_a_text_changes(pg):
    user = add_user(pg)

    def moved(change):
        age_memory(pg, user, 5)
        pg.sql(f"update users set {change}")
        return pg.one("select memory_updated_at > now() - interval '1 hour' from users")
    assert moved("short_term_memory = 's'")
    assert moved("long_term_memory = 'l'")
    assert moved("short_term_memory = null")
    assert moved("short_term_memory = '', long_term_memory = 'm'")
    assert not moved("metadata = '{\"a\": 1}'")
    assert not moved("long_term_memory = 'm'")
    assert pg.sql("select short_term_memory, long_term_memory from users") == [("", "m")]


def test_memory_updated_at_of_a_new_user(pg):
    then = datetime(2024, 1, 1, tzinfo=timezone.utc)
    add_user(pg, "a", short_term_memory="s", memory_updated_at=None)
    add_user(pg, "b", short_term_memory="s", memory_updated_at=then)
    add_user(pg, "c")
    assert pg.sql("select memory_updated_at = %s, memory_updated_at is null from users order by hardware_id_hash", then) == [
        (False, False), (True, False), (False, False)]


@pytest.mark.parametrize("column", ["short_term_memory", "long_term_memory"])
def test_memory_holds_10240_characters(pg, column):
    most = "🙂" * 10240
    user = add_user(pg, **{column: most})
    with refused("22001") as e:
        pg.sql(f"update users set {column} = %s", most + "x")
    assert "10241" in str(e.value) and column in str(e.value)
    with refused("22001"):
        add_user(pg, "other", **{column: most + "x"})
    assert pg.one(f"select length({column}) from users where id = %s", user) == 10240


def test_a_longer_memory_from_before_stays_writable(pg):
    pg.sql("alter table users disable trigger memory_moves")
    add_user(pg, short_term_memory="x" * 20000)
    pg.sql("alter table users enable trigger memory_moves")
    pg.sql("update users set metadata = '{\"a\": 1}', long_term_memory = 'l'")
    assert pg.one("select length(short_term_memory) from users") == 20000


def test_cleanup(pg):
    old, new, long = add_user(pg, "old", short_term_memory="s"), add_user(pg, "new", short_term_memory="s"), add_user(
        pg, "long", long_term_memory="l")
    for user, hours in ((old, 30), (new, 20), (long, 30)):
        age_memory(pg, user, hours)
    assert pg.one("select cleanup_expired_short_term_memory()") == 1
    assert pg.sql("select hardware_id_hash, short_term_memory, memory_updated_at > now() - interval '1 hour' from users order by 1") == [
        ("long", None, False), ("new", "s", False), ("old", None, True)]
    assert pg.one("select cleanup_expired_short_term_memory(19)") == 1
    assert pg.one("select cleanup_expired_short_term_memory(0)") == 0


def test_cleanup_by_inserting_a_row(pg):
    for name, hours in (("a", 30), ("b", 10)):
        age_memory(pg, add_user(pg, name, short_term_memory="s"), hours)
    pg.sql("insert into memory_cleanups default values")
    pg.sql("insert into memory_cleanups (hours_old) values (5)")
    pg.sql("insert into memory_cleanups (hours_old, cleaned, ran_at) values (0, 77, '2024-01-01')")
    assert pg.sql("select hours_old, cleaned from memory_cleanups order by id") == [(24, 1), (5, 1), (0, 77)]
    assert pg.one("select memory_cleanup_run()") == 0
    assert pg.sql("select hours_old, cleaned, ran_at > now() - interval '1 minute' from memory_cleanups order by id desc limit 1") == [
        (24, 0, True)]
    with refused("23514"):
        pg.sql("insert into memory_cleanups (hours_old) values (-1)")


def test_functions_do_not_depend_on_the_search_path(pg):
    age_memory(pg, add_user(pg, short_term_memory="s"), 30)
    add_user(pg, "t")
    pg.sql("set search_path = pg_catalog")
    pg.sql("insert into public.memory_cleanups default values")
    pg.sql("update public.users set short_term_memory = 'x'")
    pg.sql("select * from public.user_statistics('h'), public.get_memory_stats()")
    pg.sql("reset search_path")
    assert pg.one("select cleaned from memory_cleanups") == 1


def test_memory_stats(pg):
    texts = [(None, None), ("", None), ("é" * 7, "x" * 100), (None, "l"), ("abc", "")]
    for i, (short, long) in enumerate(texts):
        add_user(pg, f"u{i}", short_term_memory=short, long_term_memory=long)
    (found,) = pg.sql("select total_users, users_with_memory, users_with_short_memory, users_with_long_memory,"
                      " avg_short_memory_size, avg_long_memory_size, oldest_memory_update, newest_memory_update from get_memory_stats()")
    stamps = [r[0] for r in pg.sql("select memory_updated_at from users")]
    assert found == (5, sum(s is not None or t is not None for s, t in texts), sum(s is not None for s, _ in texts),
                     sum(t is not None for _, t in texts), Decimal(sum(len(s or "") for s, _ in texts)) / 5,
                     Decimal(sum(len(t or "") for _, t in texts)) / 5, min(stamps), max(stamps))


def test_memory_stats_without_users(pg):
    assert pg.sql("select * from get_memory_stats()") == [(0, 0, 0, 0, None, None, None, None)]


def test_users_with_active_memory(pg):
    for i in range(5):
        age_memory(pg, add_user(pg, f"u{i}", **({"short_term_memory": "s"} if i % 2 else {"long_term_memory": "l"})), i)
    add_user(pg, "none")
    assert [r[0] for r in pg.sql("select hardware_id_hash from users_with_active_memory()")] == ["u0", "u1", "u2", "u3", "u4"]
    assert [r[0] for r in pg.sql('select hardware_id_hash from users_with_active_memory("limit" => 2)')] == ["u0", "u1"]
    assert pg.one("select count(*) from users_memory_view") == 5


# -- statistics and transcript ----------------------------------------------------------------------------------------


def populate(pg):
    """Users with every mixture of sessions, commands and screenshots; returns what the statistics must be."""
    want, start = {}, datetime(2025, 3, 1, tzinfo=timezone.utc)
    for u in range(4):
        user, commands, shots, lengths = add_user(pg, f"u{u}"), 0, 0, []
        for s in range(u):
            seconds = 100 * u + 7 * s
            ended = s != 1
            session = add(pg, "sessions", user_id=user, start_time=start, status="ended" if ended else "active",
                          end_time=start + timedelta(seconds=seconds, microseconds=u) if ended else None)
            lengths += [Decimal(seconds) + Decimal(u) / 1000000] if ended else []
            for c in range(s + 2):
                command = add(pg, "commands", session_id=session, prompt=f"p{c}")
                for _ in range(c):
                    add(pg, "llm_answers", command_id=command, prompt="p", response="r")
            for _ in range(3 * s):
                add(pg, "screenshots", session_id=session)
            commands, shots = commands + s + 2, shots + 3 * s
        want[f"u{u}"] = (u, commands, shots, statistics.mean(lengths) if lengths else None)
    return want


def test_user_statistics(pg):
    for name, want in populate(pg).items():
        (found,) = pg.sql("select total_sessions, total_commands, total_screenshots, avg_session_duration_seconds"
                          "  from user_statistics(%s)", name)
        assert found[:3] == want[:3]
        assert found[3] is want[3] or abs(found[3] - want[3]) < Decimal("1e-9")
    assert pg.sql("select * from user_statistics('nobody')") == []


def test_session_transcript(pg):
    user = add_user(pg)
    session, other = add(pg, "sessions", user_id=user), add(pg, "sessions", user_id=user)
    add(pg, "commands", session_id=other, prompt="not ours")
    start = datetime(2025, 3, 1, tzinfo=timezone.utc)
    ids = [add(pg, "commands", session_id=session, prompt=f"p{i}", created_at=start - timedelta(hours=i)) for i in range(3)]
    for i, response in ((1, "second"), (0, "first")):
        add(pg, "llm_answers", command_id=ids[2], prompt="p", response=response, model_info='{"m": 1}', performance_metrics='{"t": 2}',
            created_at=start + timedelta(hours=i))
    add(pg, "llm_answers", command_id=ids[0], prompt="p", response="only")
    found = pg.sql("select id, prompt, llm_response, model_info, performance_metrics from session_transcript(%s)", session)
    assert found == [(ids[2], "p2", "first", {"m": 1}, {"t": 2}), (ids[2], "p2", "second", {"m": 1}, {"t": 2}),
                     (ids[1], "p1", None, None, None), (ids[0], "p0", "only", {}, {})]


# -- rowfs's own, and the life of the schema --------------------------------------------------------------------------


def test_forget_applied(pg):
    for days in (0, 1, 8):
        pg.sql("insert into rowfs.applied values (%s, now() - make_interval(days => %s, hours => 1))", str(uuid.uuid4()), days)
    assert pg.one("select rowfs.forget_applied('7 days')") == 1
    assert pg.one("select rowfs.forget_applied()") == 1
    assert pg.one("select count(*) from rowfs.applied") == 1
    with refused("23505"):
        pg.sql("insert into rowfs.applied (op) select op from rowfs.applied")


def objects(pg):
    return sorted(pg.sql("select 'r', relname from pg_class where relnamespace::regnamespace::text in ('public', 'rowfs')"
                         " union all select 'p', oid::regprocedure::text from pg_proc p where pronamespace::regnamespace::text in"
                         " ('public', 'rowfs') and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')"
                         " union all select 't', tgname from pg_trigger where not tgisinternal"
                         " union all select 's', nspname from pg_namespace where nspname = 'rowfs'"))


PROJECTS = ["core", "voice-assistant", "orderbook"]
SQITCH_TABLES = {"changes", "dependencies", "events", "projects", "releases", "tags"}


def test_deploy_verify_revert(empty_pg):
    pg = empty_pg
    before = objects(pg)
    deploy(pg)
    for project in PROJECTS:
        sqitch(pg, "verify", project=f"schema/{project}")
    deployed = objects(pg)
    assert deployed != before
    deploy(pg)  # again: nothing to do
    for project in reversed(PROJECTS):
        sqitch(pg, "revert", "-y", project=f"schema/{project}")
    left = {name.split("_")[0] for kind, name in set(objects(pg)) - set(before)}
    assert left == {"rowfs", *SQITCH_TABLES}  # and their indexes
    deploy(pg)
    assert objects(pg) == deployed


def test_verify_notices_what_is_missing(empty_pg):
    deploy(empty_pg)
    empty_pg.sql("drop trigger memory_moves on users")
    with pytest.raises(AssertionError, match="memory_moves on public.users"):
        sqitch(empty_pg, "verify", project="schema/voice-assistant")


def test_order_of_a_day_is_an_index_range(pg):
    pg.sql("insert into orderbook_data (symbol, timestamp, local_timestamp)"
           " select 'S' || g % 50, g * 1000000::bigint, 0 from generate_series(1, 20000) g")
    pg.sql("analyze orderbook_data")
    plan = "\n".join(r[0] for r in pg.sql("explain select * from orderbook_data where exchange = 'binance-futures' and symbol = 'S7'"
                                          " and timestamp >= 0 and timestamp < 86400000000 order by timestamp, id limit 100"))
    assert "idx_orderbook_files" in plan and "Sort" not in plan
