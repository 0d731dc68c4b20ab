"""Slices: sizes, times and names of rows files come from the summary, whoever changes the rows. The second source is SQL on the rows themselves
(their bytes as the file shows them), and what cat reads."""
import errno
import json
import os
import random
import threading

import psycopg2
import pytest

from kit import append, forget_packs, get, refused, rm, run, sqitch, until
from mountkit import clean_env, install, rowfs_binary

DAY = 86400 * 1_000_000
TABLE = """
create table ticks (id bigserial primary key, exchange varchar(50) not null, symbol varchar(20) not null,
                    ts bigint not null, price numeric(20,8), note text);
create index on ticks (exchange, symbol, ts, id);
create table owners (id serial primary key, name text unique not null);
create table things (id serial primary key, owner integer references owners on delete cascade, at timestamptz, body jsonb, text text)"""
PARTITIONED = TABLE.replace("id bigserial primary key,", "id bigserial,").replace("note text);", """note text, primary key (id, ts))
    partition by range (ts);
create table ticks_a partition of ticks for values from (minvalue) to (86400000000);
create table ticks_b partition of ticks for values from (86400000000) to (maxvalue) partition by range (ts);
create table ticks_b1 partition of ticks_b for values from (86400000000) to (172800000000);
create table ticks_b2 partition of ticks_b default;""", 1)
LAYOUT = {"routes": [
    {"path": "/t/{exchange}/{symbol}/{day}.csv", "rows": "ticks", "order": ["ts", "id"],
     "keys": {"day": {"column": "ts", "unit": "us", "format": "%Y-%m-%d"}}, "columns": ["exchange", "symbol", "ts", "price", "note"]},
    {"path": "/all.csv", "rows": "ticks", "columns": ["ts", "price"]},
    {"path": "/owners/{owners.name}/owner.json", "row": "owners"},
    {"path": "/owners/{owners.name}/things.jsonl", "rows": "things"},
    {"path": "/owners/{owners.name}/things/{hour}.jsonl", "rows": "things",
     "keys": {"hour": {"column": "at", "format": "%Y-%m-%dT%H"}}}]}
TTL = {"coherence": "none"}


def insert(n, start=0, exchange="ex", symbol="SYM"):
    return ("insert into ticks (exchange, symbol, ts, price, note) select '%s' || g %% 2, '%s' || g %% 3, g * 7919 * 1000000::bigint, "
            "g * 1.25, case g %% 4 when 0 then null when 1 then '' when 2 then 'a, \"b\"' else 'é' || g end "
            "from generate_series(%d, %d) g" % (exchange, symbol, start, start + n - 1))


def size_when_open(path):
    """What fstat says: without a summary, nothing is known before."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.fstat(fd).st_size
    finally:
        os.close(fd)


def walk(m, top, size=lambda path: os.stat(path).st_size):
    """path → SIZE of every file below TOP."""
    out = {}
    for base, _, names in os.walk(m.at(top)):
        for name in names:
            path = os.path.join(base, name)
            out[os.path.relpath(path, m.path)] = size(path)
    return out


def expected(pg):
    """What the rows themselves say: path → size, for the files of ticks."""
    field = "case when note is null then '' when note = '' or note ~ '[\",\\r\\n]' then '\"' || replace(note, '\"', '\"\"') || '\"' else note end"
    header = len("exchange,symbol,ts,price,note\n")
    rows = pg.sql(f"""select 't/' || exchange || '/' || symbol || '/' ||
                      to_char(timestamp 'epoch' + ts * interval '1 microsecond', 'YYYY-MM-DD') || '.csv',
                      {header} + sum(octet_length(concat_ws(',', exchange, symbol, ts::text, coalesce(trim_scale(price)::text, ''), {field})) + 1)
                      from ticks group by 1""".replace("%", "%%"))
    return {path: int(size) for path, size in rows}


def all_true(pg, m):
    """Every name and size is what the rows say, and what is read has that size."""
    want = expected(pg)
    assert walk(m, "t") == want
    for path, size in random.Random(1).sample(sorted(want.items()), min(len(want), 5)):
        assert len(m.bytes(path)) == size, path
    assert os.stat(m.at("all.csv")).st_size == len(m.bytes("all.csv"))
    for (name,) in pg.sql("select name from owners"):
        path = f"owners/{name}/things.jsonl"
        assert os.stat(m.at(path)).st_size == len(m.bytes(path)), path
        hours = pg.sql("select to_char(at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24') || '.jsonl', count(*) from things t join owners o "
                       "on o.id = t.owner where o.name = %s and at is not null group by 1", name)
        listed = [n for n in m.ls(f"owners/{name}/things")]
        assert listed == sorted(n for n, _ in hours)
        for n, rows in hours:
            body = m.bytes(f"owners/{name}/things/{n}")
            assert (len(body), body.count(b"\n")) == (os.stat(m.at(f"owners/{name}/things/{n}")).st_size, rows)
    assert pg.sql("select * from rowfs.doubt") == []


@pytest.fixture(params=["plain", "partitioned"])
def table(request, pg):
    pg.sql(TABLE if request.param == "plain" else PARTITIONED)
    pg.sql("insert into owners (name) values ('ann'), ('Bob''s \"x\"'), ('é')")
    pg.partitioned = request.param == "partitioned"
    return pg


def test_a_table_that_was_there_before(table, make_mount):
    table.sql(insert(300))
    table.sql("insert into things (owner, at, text) values (1, '2024-02-29 23:59:59+00', 'x'), (1, null, 'y'), (2, '2024-03-01', 'z')")
    m = make_mount(layout=LAYOUT, options=TTL)
    assert m.status()["summary"] == {"ticks": "kept", "things": "kept"}
    all_true(table, m)


@pytest.mark.parametrize("mounted", [True, False])
def test_every_kind_of_change_by_others(table, make_mount, mounted):
    m = make_mount(layout=LAYOUT, options=TTL)
    changes = [
        insert(300),
        "update ticks set symbol = 'moved' where id % 7 = 0",                        # to other files
        f"update ticks set ts = ts + {DAY} where id % 5 = 0",                        # to other days and partitions
        "update ticks set price = price + 0.00000001 where id % 3 = 0",
        "update ticks set note = note where false",
        "delete from ticks where id % 11 = 0",
        insert(50, 1000, "it''s", "é"),
        insert(20, 5000, "", ""),                                                    # names that begin with nothing
        "insert into things (owner, at, body, text) select 1 + g % 3, '2024-01-01'::timestamptz + g * interval '1 min', "
        "'{\"a\": [1, 2]}', repeat('x', g) from generate_series(1, 200) g",
        "update things set owner = 2 where id % 4 = 0", "update things set at = null where id % 9 = 0",
        "delete from owners where name = 'ann'",                                     # cascades
        "insert into owners (id, name) values (2, 'x') on conflict (id) do update set name = 'renamed'",
        "insert into things (id, owner, text) select id, 3, 'upsert' from things on conflict (id) do update set text = excluded.text",
    ]
    if table.partitioned:
        changes += [insert(10, 1).replace("into ticks", "into ticks_a"), "update ticks_b1 set note = 'direct'",
                    "delete from ticks_b where id % 2 = 0", "truncate ticks_a", insert(30), "truncate ticks_b1, ticks_a"]
    changes += ["truncate ticks", insert(25), "truncate things"]
    if not mounted:
        m.umount()
    for i, change in enumerate(changes):
        table.sql(change)
        if mounted:
            all_true(table, m)
        if i % 3 == 2:
            table.sql("select rowfs.fold()")
            if mounted:
                all_true(table, m)
    if not mounted:
        all_true(table, make_mount(layout=LAYOUT, options=TTL))
    assert table.one("select count(*) from rowfs.slice where built and relation in ('public.ticks', 'public.things')") == 4
    table.sql("select rowfs.fold()")
    assert table.one("select count(*) from rowfs.summary where rows < 0 or bytes < 0") == 0


def test_one_row_at_a_time(table, make_mount):
    """What changes one row is counted in a way of its own."""
    m = make_mount(layout=LAYOUT, options=TTL)
    table.sql(insert(5, 1))
    for i, change in enumerate([
            insert(1, 9), "update ticks set symbol = 'moved' where id = 2", f"update ticks set ts = ts + {DAY} where id = 2",
            "update ticks set price = price * 1000 where id = 2", "update ticks set note = note where id = 2",
            "update ticks set note = 'longer by far' where id = 2", "update ticks set price = null where id = 2", "delete from ticks where id = 3",
            "delete from ticks where id = -1", "delete from ticks where id = 2",
            "insert into things (owner, at, body, text) values (1, '2024-01-01', '{}', 'one')",
            "update things set text = 'another' where id = 1", "update things set owner = 2 where id = 1", "update things set at = '2024-02-01' where id = 1",
            "update things set at = null where id = 1", "update things set owner = null where id = 1", "update things set owner = 3 where id = 1",
            "delete from owners where id = 3"]):
        table.sql(change)
        all_true(table, m)
        if i % 4 == 3:
            table.sql("select rowfs.fold()")
            all_true(table, m)
    table.sql("select rowfs.fold()")
    assert table.one("select sum(rows) from rowfs.summary s join rowfs.slice x on x.id = s.slice where x.relation = 'public.things'") is None
    assert table.one("select count(*) from rowfs.summary where rows < 0 or bytes < 0") == 0


def test_copy_and_rollback(table, make_mount):
    m = make_mount(layout=LAYOUT, options=TTL)
    table.sql(insert(100))
    before = walk(m, "t")
    with table.connect() as conn, conn.cursor() as cur:
        cur.execute(insert(50))
        cur.execute("savepoint s; truncate ticks; rollback to s; delete from ticks")
        conn.rollback()
    conn.close()
    assert walk(m, "t") == before
    all_true(table, m)
    run("psql", "-X", table.conninfo, "-c", "copy ticks (exchange, symbol, ts) from stdin csv", stdin="a,b,1\na,b,2\na,c,3\n")
    all_true(table, m)


def test_appends_through_the_mount(table, make_mount):
    m = make_mount(layout=LAYOUT, options=TTL)
    os.makedirs(m.at("t/ex/SYM"))
    path = m.at("t/ex/SYM/1970-01-01.csv")
    for i in range(5):
        append(path, "".join(f"ex,SYM,{i * 1000 + k},{k}.50,\"n, {k}\"\n" for k in range(50 * i + 1)))
        all_true(table, m)
    append(m.at("owners/é/things.jsonl"), '{"text": "é"}\n{"text": "y", "at": "2024-01-01T00:00:00Z"}\n')
    all_true(table, m)
    table.sql("update ticks set price = 100 where id % 2 = 0")
    rm(path)
    all_true(table, m)
    assert m.ls("t") == []


def test_writers_do_not_wait_for_each_other(table, make_mount):
    m = make_mount(layout=LAYOUT, options=TTL)
    table.sql(insert(10))
    held = table.connect()
    with held.cursor() as cur:  # a long transaction that has changed every file
        cur.execute(insert(10))
        cur.execute("update ticks set note = 'held' where id <= 5")
        before = expected(table)
        table.sql("set lock_timeout = '5s'")
        table.sql(insert(10, 20000))
        table.sql("select rowfs.fold()")
        os.makedirs(m.at("t/ex9/SYM"))
        append(m.at("t/ex9/SYM/1970-01-01.csv"), "ex9,SYM,1,1,\n")
        assert expected(table) != before
        all_true(table, m)
        held.commit()
    held.close()
    all_true(table, m)


def test_many_writers_at_once(table, make_mount):
    m = make_mount(layout=LAYOUT, options=TTL)
    errors = []

    def work(seed):
        rng = random.Random(seed)
        conn = psycopg2.connect(table.conninfo, application_name="test")
        try:
            for _ in range(15):
                with conn.cursor() as cur:
                    cur.execute(rng.choice([insert(rng.randrange(40), rng.randrange(100)),
                                            f"delete from ticks where id % 50 = {seed}",
                                            f"update ticks set symbol = 'S{rng.randrange(3)}' where id % 50 = {seed}", "select rowfs.fold()"]))
                rng.choice([conn.commit, conn.commit, conn.rollback])()
        except psycopg2.Error as e:
            errors.append(e)
        finally:
            conn.close()
    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors
    all_true(table, m)


def test_two_mounts_start_at_once(table, make_mount):
    table.sql(insert(2000))
    mounts = [None, None]

    def start(i):
        mounts[i] = make_mount(layout=LAYOUT, options=TTL)
    threads = [threading.Thread(target=start, args=(i,)) for i in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for m in mounts:
        assert m.status()["summary"] == {"ticks": "kept", "things": "kept"}
        all_true(table, m)


def test_another_layout_counts_too(table, make_mount):
    table.sql(insert(50))
    one = make_mount(layout=LAYOUT, options=TTL)
    two = make_mount(layout={"routes": [{"path": "/s/{symbol}.csv", "rows": "ticks", "columns": ["ts"]}]}, options=TTL)
    table.sql(insert(50, 100))
    all_true(table, one)
    want = {f"{s}.csv": int(n) for s, n in table.sql("select symbol, 3 + sum(octet_length(ts::text) + 1) from ticks group by 1")}
    assert {n: os.stat(two.at(f"s/{n}")).st_size for n in two.ls("s")} == want


def test_a_dropped_column_breaks_no_statement(table, make_mount):
    m = make_mount(layout=LAYOUT, options=TTL)
    table.sql(insert(50))
    table.sql("alter table ticks rename price to cost")
    table.sql(insert(50, 100).replace("price", "cost"))
    table.sql("alter table ticks rename cost to price")
    assert table.one("select count(distinct slice) from rowfs.doubt") == 2
    assert walk(m, "t", size_when_open) == expected(table)
    assert m.ls("t") == ["ex0", "ex1"]
    m.umount()
    m = make_mount(layout=LAYOUT, options=TTL)  # counted anew
    all_true(table, m)


def test_a_role_without_rights_still_writes(table, make_mount):
    m = make_mount(layout=LAYOUT, options=TTL)
    table.admin("drop role if exists guest")
    table.admin("create role guest login")
    table.sql("grant all on ticks to guest; grant usage on sequence ticks_id_seq to guest")
    guest = psycopg2.connect(table.server.conninfo(table.name, "guest"))
    with guest, guest.cursor() as cur:
        cur.execute(insert(10))
        cur.execute("delete from ticks where id = 1")
    guest.close()
    all_true(table, m)
    table.sql("grant select on owners, things to guest")
    other = make_mount(layout=LAYOUT, options=TTL, conninfo=table.server.conninfo(table.name, "guest"))
    assert "rowfs" in other.status()["summary"]["ticks"] or "permission" in other.status()["summary"]["ticks"]
    assert walk(other, "t", size_when_open) == expected(table)
    other.umount()
    table.sql("revoke all on ticks, owners, things from guest; revoke all on sequence ticks_id_seq from guest")


def test_without_the_schema_sizes_are_asked_at_open(table, make_mount):
    table.sql(insert(50))
    forget_packs(table)
    sqitch(table, "revert", "-y", "--to", "rowfs")
    m = make_mount(layout=LAYOUT, options=TTL)
    assert "the schema rowfs is not installed" in m.status()["summary"]["ticks"]
    assert walk(m, "t", size_when_open) == expected(table)


def test_sizes_of_small_tables(table, make_mount):
    """Without a summary, and without opening: of a table that takes at most 256 KiB on the server. A larger one is not read."""
    table.sql(insert(50))
    table.sql("insert into things (owner, at, text) values (1, '2024-02-29 23:59:59+00', 'é'), (1, null, 'y')")
    m = make_mount(layout=LAYOUT, options=TTL, install=False)
    assert "not installed" in m.status()["summary"]["ticks"]
    want = expected(table)
    for path, size in [*want.items(), ("all.csv", None), ("owners/ann/things.jsonl", None), ("owners/é/things.jsonl", 0)]:
        assert os.stat(m.at(path)).st_size == (len(m.bytes(path)) if size is None else size), path
    table.sql(insert(9000))
    assert table.one("select sum(pg_table_size(relid)) from pg_partition_tree('ticks')" if table.partitioned
                     else "select pg_table_size('ticks')") > 256 << 10
    path, size = next(p for p in expected(table).items() if p[0] not in want)
    assert os.stat(m.at(path)).st_size == 0 and size_when_open(m.at(path)) == size


def test_unwatch_and_revert(table, make_mount):
    table.sql(insert(50))
    m = make_mount(layout=LAYOUT, options=TTL)
    all_true(table, m)
    table.sql("select rowfs.unwatch('ticks')")
    assert table.one("select count(*) from pg_trigger where tgrelid = 'ticks'::regclass and tgname like 'rowfs%%'") == 0
    table.sql(insert(50, 100))
    assert walk(m, "t", size_when_open) == expected(table)
    m.umount()
    forget_packs(table)
    sqitch(table, "revert", "-y", "--to", "rowfs")
    assert table.one("select count(*) from pg_trigger where tgname like 'rowfs%%'") == 0
    table.sql("insert into things (text) values ('x')")


def test_read_only_installs_nothing(table, make_mount):
    table.sql(insert(50))
    m = make_mount(layout=LAYOUT, options={**TTL, "ro": True})
    assert "not installed" in m.status()["summary"]["ticks"]
    assert walk(m, "t", size_when_open) == expected(table)
    assert table.one("select count(*) from rowfs.slice where relation = 'public.ticks'") == 0


def test_check_installs(table, tmp_path):
    table.sql(insert(50))
    layout = tmp_path / "layout.json"
    layout.write_text(json.dumps(LAYOUT))
    out = install(table.conninfo, layout)
    assert "the summary of ticks is kept" in out and "the summary of things is kept" in out
    assert table.one("select sum(rows) from rowfs.summary s join rowfs.slice x on x.id = s.slice where x.relation = 'public.ticks'") == 100


def test_listing_and_stat_do_not_read_the_table(table, make_mount):
    """Nor does a mount whose files are counted already."""
    table.sql(insert(3000))
    options = {**TTL, "fetch_size": 50}
    make_mount(layout=LAYOUT, options=options).umount()  # they are counted before
    want = expected(table)

    def scans():
        """A backend reports what it has read as it ends: it is asked when all of them have."""
        table.close()
        until(lambda: not table.admin("select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"),
              "all sessions have ended")
        return table.admin("select sum(pg_stat_get_numscans(c.oid) + pg_stat_get_tuples_returned(c.oid)) from pg_class c "
                           "where relname ~ '^ticks'")[0][0]

    before = scans()
    assert before > 3000
    m = make_mount(layout=LAYOUT, options=options)
    assert walk(m, "t") == want
    m.umount()
    assert scans() == before


def test_time_of_the_last_change(table, make_mount):
    table.sql("insert into things (owner, at) values (1, '2020-01-01'), (1, '2021-01-01')")
    m = make_mount(layout={"tables": {"things": {"mtime": "at"}}, **LAYOUT}, options=TTL)
    path = m.at("owners/ann/things.jsonl")
    assert os.stat(path).st_mtime == table.one("select extract(epoch from timestamptz '2021-01-01')")
    low = table.one("select extract(epoch from clock_timestamp())")
    table.sql("update things set text = 'x' where id = 1")
    high = table.one("select extract(epoch from clock_timestamp())")
    assert float(low) - 0.001 <= os.stat(path).st_mtime <= float(high)


def test_new_and_dropped_partitions(pg, make_mount):
    pg.sql(PARTITIONED)
    pg.partitioned = True
    m = make_mount(layout=LAYOUT, options=TTL)
    pg.sql(insert(100))
    pg.sql("create table fresh (like ticks including all)")
    pg.sql(f"insert into fresh (id, exchange, symbol, ts) values (9001, 'f', 'g', -{DAY}), (9002, 'f', 'h', -{DAY})")
    pg.sql("begin; select rowfs.count_out('ticks_b1'); drop table ticks_b1; commit")
    all_true(pg, m)
    pg.sql("begin; select rowfs.count_out('ticks_a'); alter table ticks detach partition ticks_a; "
           f"alter table ticks attach partition fresh for values from (minvalue) to ({DAY}); "
           "select rowfs.count_in('fresh'), rowfs.watch('ticks'); commit")
    all_true(pg, m)
    pg.sql("insert into fresh (id, exchange, symbol, ts) values (9003, 'direct', 'x', 5)")
    all_true(pg, m)


def test_keys_beyond_one_page(table, make_mount):
    table.sql("insert into ticks (exchange, symbol, ts) select 'e' || g, 's' || h, 1 from generate_series(1, 120) g, generate_series(1, 3) h")
    m = make_mount(layout=LAYOUT, options={**TTL, "fetch_size": 7})
    assert m.ls("t") == sorted(f"e{g}" for g in range(1, 121))
    table.sql("delete from ticks where exchange like 'e1%%'")
    table.sql("insert into ticks (exchange, symbol, ts) select 'n' || g, 's', 1 from generate_series(1, 30) g")
    assert m.ls("t") == sorted({e for (e,) in table.sql("select exchange from ticks")})
    all_true(table, m)


def test_a_trigger_of_the_table_is_minded(table, make_mount):
    """A trigger may change what arrives: then the rows are counted as they are, not as they were sent."""
    table.sql("create function shout() returns trigger language plpgsql as $$ begin new.note := 'longer than it was'; return new; end $$")
    table.sql("create trigger shout before insert on ticks for each row execute function shout()")
    m = make_mount(layout=LAYOUT, options=TTL)
    os.makedirs(m.at("t/ex/SYM"))
    append(m.at("t/ex/SYM/1970-01-01.csv"), "ex,SYM,1,1,x\nex,SYM,2,2,y\n")
    all_true(table, m)
    assert b"longer than it was" in get(m.at("t/ex/SYM/1970-01-01.csv"))


@pytest.mark.parametrize("rows", [1, 2, 20])
def test_rows_that_leave_and_do_not_arrive(pg, make_mount, rows):
    """An UPDATE moves them to a partition whose trigger drops them: none, some or all."""
    pg.sql(PARTITIONED)
    pg.sql("create function drops() returns trigger language plpgsql as $$ begin return null; end $$")
    pg.sql("create trigger drops before insert on ticks_b1 for each row when (new.note = 'lost') execute function drops()")
    m = make_mount(layout=LAYOUT, options=TTL)
    for lost in {0, 1, rows - 1, rows}:
        pg.sql("delete from ticks")
        pg.sql("insert into ticks (exchange, symbol, ts, note) select 'ex', 's' || g %% 3, g, case when g <= %s then 'lost' else 'kept' end "
               "from generate_series(1, %s) g", lost, rows)
        all_true(pg, m)
        pg.sql(f"update ticks set ts = ts + {DAY}")
        assert pg.one("select count(*) from ticks") == rows - lost
        all_true(pg, m)


def test_a_trigger_that_comes_later_is_minded(table, make_mount):
    """A collector that has its file open goes on; sizes are the rows' again within seconds, and another mount counts anew."""
    table.sql("create function shout() returns trigger language plpgsql as $$ begin new.note := 'longer than it was'; return new; end $$")
    m = make_mount(layout=LAYOUT, options=TTL)
    os.makedirs(m.at("t/ex/SYM"))
    path = m.at("t/ex/SYM/1970-01-01.csv")
    with open(path, "ab", buffering=0) as f:
        f.write(b"ex,SYM,1,1,x\n")
        os.fsync(f.fileno())
        all_true(table, m)
        table.sql("create trigger shout before insert on ticks for each row execute function shout()")
        f.write(b"ex,SYM,2,2,y\n")
        os.fsync(f.fileno())
        until(lambda: table.one("select count(*) from rowfs.doubt") > 0, "the slices are in doubt")
        f.write(b"ex,SYM,3,3,z\n")
        os.fsync(f.fileno())
        assert walk(m, "t") == expected(table)
        assert get(path).count(b"longer than it was") == 2 and os.stat(path).st_size == len(get(path))
        second = make_mount(layout=LAYOUT, options=TTL)
        f.write(b"ex,SYM,4,4,z\n")
        os.fsync(f.fileno())
        append(second.at("t/ex/SYM/1970-01-01.csv"), "ex,SYM,5,5,z\n")
        all_true(table, second)


def test_rows_that_are_in_no_file(table, make_mount):
    """A time outside the years 1 to 9999 is in no day; whoever inserts it, it makes no name."""
    routes = [{"path": "/raw.csv", "rows": "ticks", "columns": ["exchange", "symbol", "ts"]}]
    m = make_mount(layout={"routes": LAYOUT["routes"] + routes}, options=TTL)
    far = 9_000_000_000_000_000_000
    append(m.at("raw.csv"), f"a,b,1\na,b,{far}\na,b,2\n")
    table.sql("insert into ticks (exchange, symbol, ts) values ('a', 'b', %s), ('only', 'far', %s)", -far, far)
    assert m.ls("t") == ["a"] and m.ls("t/a/b") == ["1970-01-01.csv"]
    assert len(m.bytes("t/a/b/1970-01-01.csv").splitlines()) == 3
    for path in ("t/a/b/1970-01-01.csv", "raw.csv", "all.csv"):
        assert os.stat(m.at(path)).st_size == len(m.bytes(path))


def test_notes_are_folded(table, make_mount):
    make_mount(layout=LAYOUT, options=TTL)
    table.sql(insert(10))
    until(lambda: table.one("select count(*) from rowfs.delta") == 0, "the notes are folded", timeout=15)
    assert table.one("select sum(rows) from rowfs.summary s join rowfs.slice x on x.id = s.slice where keys = '{}'") == 10


def test_keys_of_every_type(pg, make_mount):
    """Files by buckets of each unit, numbers at their edges and before 1970, and by keys of which equal ones have two texts."""
    units = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
    parts = {"second": "%Y%m%dT%H%M%S", "minute": "%Y%m%dT%H%M", "hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m", "year": "%Y"}
    pg.sql("create table marks (id serial primary key, t bigint, n numeric, d date, at timestamp, z timestamptz, c char(4))")
    sources = {unit: ("t", unit) for unit in units} | {"d": ("d", None), "at": ("at", None), "z": ("z", None)}
    pairs = [(name, part) for name in sources for part in parts if name != "d" or part in ("day", "month", "year")]
    layout = {"routes": [{"path": f"/{name}-{part}/{{key}}.csv", "rows": "marks", "columns": ["id", "n", "t"],
                          "keys": {"key": {"column": sources[name][0], "format": parts[part]} |
                                   ({"unit": sources[name][1]} if sources[name][1] else {})}} for name, part in pairs] +
              [{"path": f"/{column}/{{{column}}}.csv", "rows": "marks", "columns": ["id", column]} for column in "nc"]}
    pg.sql("insert into marks (t, n, c) values (-86400, 1, 'old')")  # counted when the mount comes, the others as they come
    m = make_mount(layout=layout, options=TTL)
    times = [0, 1, 999, 59, 60, 3599, 3600, 86399, 86400, 951_782_399, 951_782_400, 4_102_444_799]
    for per in units.values():
        pg.sql("insert into marks (t) select x from unnest(%s::bigint[]) x", [s * per + d for t in times for s in (t, -t) for d in (-1, 0, 1)])
    pg.sql("insert into marks (t) values (9000000000000000000), (-9000000000000000000), (null)")
    pg.sql("insert into marks (n, c) values (1.0, 'a'), (1.00, 'a '), (1, 'A'), (null, '')")
    for start in ("0002-01-01", "1969-12-31", "2024-02-29"):
        pg.sql("insert into marks (d, at, z) select x, x, x from generate_series(%s::timestamptz, %s::timestamptz + '2 days', '7 hours') x", start, start)
    pg.sql("update marks set t = t - 1 where id % 3 = 0")
    pg.sql("delete from marks where id % 5 = 0")

    def true(where):
        """name → (rows, bytes); the name is made by whole numbers alone, not as the daemon does."""
        return {name + ".csv": (rows, int(size) + len("id,n,t\n")) for name, rows, size in
                pg.sql(f"select {where}, count(*), sum(octet_length(concat_ws(',', id::text, coalesce(trim_scale(n)::text, ''), coalesce(t::text, ''))) + 1) "
                       "from marks group by 1") if name is not None}

    pattern = {"second": 'YYYYMMDD"T"HH24MISS', "minute": 'YYYYMMDD"T"HH24MI', "hour": 'YYYY-MM-DD"T"HH24', "day": "YYYY-MM-DD",
               "month": "YYYY-MM", "year": "YYYY"}
    for name, part in pairs:
        column, unit = sources[name]
        value = f"{column} at time zone 'UTC'" if column == "z" else column
        if unit is not None:
            seconds = f"(t / {units[unit]} - (t % {units[unit]} < 0)::int)"
            value = f"case when {seconds} between -62135596800 and 253402300799 then timestamp 'epoch' + {seconds} * interval '1 s' end"
        want = true(f"to_char(({value})::timestamp, '{pattern[part]}')")
        got = {n: (m.bytes(f"{name}-{part}/{n}").count(b"\n") - 1, os.stat(m.at(f"{name}-{part}/{n}")).st_size) for n in m.ls(f"{name}-{part}")}
        assert got == want, (name, part)
    for column in "nc":
        names = {n: sorted(m.bytes(f"{column}/{n}").decode().splitlines()[1:]) for n in m.ls(column)}
        assert all(os.stat(m.at(f"{column}/{n}")).st_size == len(m.bytes(f"{column}/{n}")) for n in names)
        ids = {n: sorted(int(x.split(",")[0]) for x in lines) for n, lines in names.items()}
        assert ids == {(t or "%") + ".csv": i for t, i in pg.sql(
            f"select {column}::text, array_agg(id order by id) from marks where {column} is not null group by 1")}
    assert pg.sql("select * from rowfs.doubt") == []


def test_an_append_asks_for_nothing_that_is_known(table, make_mount):
    """The ends of a file's day are asked for once, whoever appends to it; the line itself is one statement."""
    table.sql(f"insert into ticks (exchange, symbol, ts) select 'ex', s, {DAY} from unnest(array['A', 'B']) s")
    m = make_mount(layout=LAYOUT, options=TTL)
    with table.queries() as first:
        append(m.at("t/ex/A/1970-01-02.csv"), f"ex,A,{DAY + 1},1.5,x\n")
    with table.queries() as second:
        append(m.at("t/ex/B/1970-01-02.csv"), f"ex,B,{2 * DAY - 1},1.5,x\n")
    def asked(seen, text):
        return sum(n for q, n in seen if text in q)
    assert [asked(seen, "to_timestamp(b.t") for seen in (first, second)] == [1, 0]
    assert second.total == asked(second, "rowfs.summary s WHERE") + 1 and asked(second, "INSERT INTO") == 1  # look-ups, and the line
    with refused(errno.EINVAL):
        append(m.at("t/ex/B/1970-01-02.csv"), f"ex,B,{2 * DAY},1.5,x\n")
    all_true(table, m)


SHARED = """
create table plants (name text primary key, shelf integer);
create table waterings (id bigserial primary key, plant text not null references plants on update cascade, at timestamptz not null, litres numeric);
insert into plants values ('fig', 1), ('oak', 2);
insert into waterings (plant, at, litres) select case g % 3 when 0 then 'oak' else 'fig' end, '2024-01-01'::timestamptz + g * interval '7 h', g
  from generate_series(1, 40) g"""
OF_PLANT = {"rows": "waterings", "columns": ["plant", "at", "litres"]}
BY_JOIN = [{"path": "/plants/{plants.name}/plant.json", "row": "plants"},
           {"path": "/plants/{plants.name}/waterings.csv", **OF_PLANT}]
BY_KEY = [{"path": "/by/{waterings.plant}/all.csv", **OF_PLANT}]


@pytest.mark.parametrize("routes", [BY_JOIN + BY_KEY, BY_KEY + BY_JOIN], ids=["join first", "key first"])
def test_two_routes_that_reach_one_table_in_two_ways(pg, make_mount, routes, tmp_path):
    """By the foreign key of the parent's row, and by a key of the table's own: they share a summary, and nothing else."""
    pg.sql(SHARED)
    layout = tmp_path / "layout.json"
    layout.write_text(json.dumps({"routes": routes}))
    assert run(rowfs_binary(), "check", layout, pg.conninfo, env=clean_env(), ok=False).returncode == 0
    m = make_mount(layout={"routes": routes})
    assert m.status()["summary"] == {"waterings": "kept"}
    for step in ("", "insert into waterings (plant, at, litres) values ('oak', now(), 99)", "update plants set name = 'elm' where name = 'oak'",
                 "delete from waterings where plant = 'fig'"):
        if step:
            pg.sql(step)
        for plant, rows in pg.sql("select p.name, count(w.id) from plants p left join waterings w on w.plant = p.name group by 1"):
            want = "".join(line + "\n" for (line,) in pg.sql(
                "select plant || ',' || to_char(at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') || "
                "coalesce(to_char(nullif(date_part('microseconds', at)::int %% 1000000, 0), '.000000'), '') || '+00,' || litres "
                "from waterings where plant = %s order by id", plant)) if step == "" else None
            paths = [f"plants/{plant}/waterings.csv"] + [f"by/{plant}/all.csv"] * (rows > 0)
            for path in paths:
                def holds(path=path, rows=rows, want=want):
                    body = m.bytes(path)
                    return os.stat(m.at(path)).st_size == len(body) and body.count(b"\n") == rows + 1 and \
                        (want is None or body.decode().split("\n", 1)[1] == want)
                until(holds, f"{path} has {rows} rows after {step!r}")
        until(lambda: m.ls("by") == sorted({p for (p,) in pg.sql("select plant from waterings")}), "the groups are listed")
    m.append("by/elm/all.csv", "elm,2024-05-05T00:00:00Z,5\n")
    until(lambda: m.bytes("plants/elm/waterings.csv").endswith(b"elm,2024-05-05 00:00:00+00,5\n"), "both see what one took")
