"""The order book in partitions of time (OPERATIONS.md, "Partitions and retention"): what holds of the table holds of the partitioned one."""
import csv
import datetime
import io
import json
import os

import psycopg2
import pytest

from kit import get, rm, sqitch, until

UTC = datetime.timezone.utc
HEADER = "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount"
PROJECT = "schema/partitioned"


def micros(*date):
    return int(datetime.datetime(*date, tzinfo=UTC).timestamp()) * 1_000_000


def month_from_now(months):
    """The first day of the month so many months from now (negative: before)."""
    today = datetime.datetime.now(UTC)
    number = today.year * 12 + today.month - 1 + months
    return datetime.datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)


def partition(pg):
    sqitch(pg, "deploy", project=PROJECT)


def parts(pg):
    """name → rows, DEFAULT included."""
    return dict(pg.sql("select c.relname, (select count(*) from orderbook_data o where o.tableoid = c.oid) from pg_inherits i "
                       "join pg_class c on c.oid = i.inhrelid where i.inhparent = 'orderbook_data'::regclass order by 1"))


def name_of(day):
    return f"orderbook_data_{day:%Y%m%d}"


def line(symbol, timestamp, price="1.5", exchange="binance-futures"):
    return f"{exchange},{symbol},{timestamp},{timestamp + 5},209.89,{price},,"


def insert(pg, *timestamps, symbol="BTCUSDT"):
    for t in timestamps:
        pg.sql("insert into orderbook_data (symbol, timestamp, local_timestamp, ask_price) values (%s, %s, %s, 1.5)", symbol, t, t + 5)


def shape(pg):
    """Columns, constraints, indexes, triggers and privileges of the table, as they would be asked for."""
    return {
        "columns": pg.sql("""select attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid) from pg_attribute
            left join pg_attrdef on adrelid = attrelid and adnum = attnum
            where attrelid = 'orderbook_data'::regclass and attnum > 0 order by attnum"""),
        "indexes": sorted(d.replace(" ON ONLY ", " ON ") for d, in pg.sql(
            "select pg_get_indexdef(indexrelid) from pg_index where indrelid = 'orderbook_data'::regclass and not indisprimary")),
        "checks": pg.sql("select conname, pg_get_constraintdef(oid) from pg_constraint where conrelid = 'orderbook_data'::regclass"
                         " and contype = 'c' order by 1"),
        "triggers": pg.sql("select tgname, tgfoid::regproc::text from pg_trigger where tgrelid = 'orderbook_data'::regclass and not tgisinternal"
                           " and tgname not like 'rowfs%%' order by 1"),
        "acl": sorted(pg.sql("select grantee::text, privilege_type from aclexplode((select relacl from pg_class"
                             " where oid = 'orderbook_data'::regclass))")),
        "sequence": pg.sql("select pg_get_serial_sequence('orderbook_data', 'id')"),
    }


def key(pg):
    return [n for n, in pg.sql("""select a.attname from pg_index i, unnest(i.indkey) with ordinality k(num, n), pg_attribute a
        where i.indrelid = 'orderbook_data'::regclass and i.indisprimary and a.attrelid = i.indrelid and a.attnum = k.num order by k.n""")]


# -- to and fro ---------------------------------------------------------------------------------------------------------------------

@pytest.mark.bare  # the triggers are named after the table's oid, and count for the built-in layout
def test_an_existing_table_keeps_its_rows_and_everything_else(pg):
    pg.sql("alter table orderbook_data add constraint sane check (ask_price > 0)")
    pg.sql("create function say() returns trigger language plpgsql as 'begin return new; end'")
    pg.sql("create trigger said before insert on orderbook_data for each row execute function say()")
    pg.sql("grant select, insert on orderbook_data to public")
    odd = [0, -5, micros(1999, 12, 31), 10 ** 17]
    insert(pg, micros(2025, 9, 20), micros(2025, 9, 30), micros(2025, 10, 1), micros(2025, 10, 1) - 1, *odd)
    before, rows = shape(pg), pg.sql("select * from orderbook_data order by id")
    partition(pg)
    assert shape(pg) == before
    assert key(pg) == ["id", "timestamp"]
    assert pg.sql("select * from orderbook_data order by id") == rows
    got = parts(pg)
    assert (got["orderbook_data_20250901"], got["orderbook_data_20251001"], got["orderbook_data_default"]) == (3, 1, 4)
    assert {name_of(month_from_now(i)) for i in range(4)} <= set(got)
    insert(pg, micros(2025, 9, 21))
    assert pg.one("select max(id) from orderbook_data") == 9
    sqitch(pg, "verify", project=PROJECT)
    sqitch(pg, "revert", "-y", project=PROJECT)
    assert shape(pg) == before and key(pg) == ["id"] and pg.sql("select relkind from pg_class where relname = 'orderbook_data'") == [("r",)]
    assert pg.sql("select * from orderbook_data where id <= 8 order by id") == rows
    insert(pg, micros(2025, 9, 22))
    assert pg.one("select count(*) from orderbook_data") == 10


def test_refused_tables_stay_as_they_are(pg):
    partition(pg)
    pg.sql("create table parent (id bigserial primary key, at bigint not null)")
    pg.sql("create table child (parent bigint references parent)")
    pg.sql("create table bare (at bigint)")
    pg.sql("create table ident (id bigint generated always as identity primary key, at bigint not null)")
    for table, word in (("parent", "foreign key"), ("bare", "primary key"), ("ident", "identity"), ("orderbook_data", "ordinary")):
        with pytest.raises(psycopg2.Error, match=word):
            pg.sql("select rowfs.partition_table(%s, 'at', 1)", table)
    assert pg.sql("select relkind from pg_class where relname in ('parent', 'bare', 'ident')") == [("r",)] * 3


# -- made ahead, dropped when old -----------------------------------------------------------------------------------------------------

def test_partitions_are_made_ahead_once(pg):
    partition(pg)
    assert pg.one("select rowfs.make_partitions()") == 0
    assert pg.one("select rowfs.make_partitions('orderbook_data', '5 months')") == 2
    assert name_of(month_from_now(5)) in parts(pg)
    assert pg.one("select rowfs.make_partitions(since => %s)", month_from_now(-2)) == 2
    assert set(parts(pg)) == {name_of(month_from_now(i)) for i in range(-2, 6)} | {"orderbook_data_default"}
    with pytest.raises(psycopg2.Error, match="is not in rowfs.partitioned"):
        pg.sql("select rowfs.make_partitions('users')")


def test_bounds_are_months_without_a_gap(pg):
    partition(pg)
    got = pg.sql("select part::text, lower, upper from rowfs.partitions_of('orderbook_data')")
    for (name, lower, upper), following in zip(got, got[1:] + [None]):
        first = datetime.datetime.fromtimestamp(lower / 1e6, UTC)
        assert (first.day, first.hour, name) == (1, 0, name_of(first))
        assert following is None or upper == following[1]


def test_no_timestamp_is_refused_and_rows_leave_default_when_they_can(pg):
    partition(pg)
    later = month_from_now(7)
    inside = int(later.timestamp()) * 1_000_000
    insert(pg, inside, inside + 1, micros(2019, 5, 5), 10 ** 17, -1)
    assert parts(pg)["orderbook_data_default"] == 5
    rows = pg.sql("select * from orderbook_data order by id")
    assert pg.one("select rowfs.make_partitions()") == 1  # 2019; the future waits until it is near, and the absurd for ever
    assert pg.one("select rowfs.make_partitions(ahead => '8 months')") == 5
    got = parts(pg)
    assert (got["orderbook_data_20190501"], got[name_of(later)], got["orderbook_data_default"]) == (1, 2, 2)
    assert pg.sql("select * from orderbook_data order by id") == rows


def test_retention(pg):
    insert(pg, micros(2024, 1, 1), micros(2024, 2, 1), -7)
    now = int(datetime.datetime.now(UTC).timestamp() * 1e6)
    insert(pg, now)
    partition(pg)
    assert pg.one("select rowfs.drop_partitions()") == 0  # nothing is dropped that nobody asked for
    assert pg.one("select count(*) from orderbook_data") == 4
    days = (datetime.datetime.now(UTC) - datetime.datetime(2024, 2, 15, tzinfo=UTC)).days
    assert pg.one("select rowfs.drop_partitions('orderbook_data', %s * interval '1 day')", days) == 1
    assert pg.sql("select timestamp from orderbook_data order by 1") == [(micros(2024, 2, 1),), (now,)]
    pg.sql("update rowfs.partitioned set keep = '1 year'")
    assert pg.one("select rowfs.drop_partitions()") == 1
    assert pg.sql("select timestamp from orderbook_data") == [(now,)]
    assert pg.one("select rowfs.drop_partitions()") == 0


def test_a_busy_table_is_left_alone(pg):
    """Whoever reads the table is not stopped, and does not stop the others for long."""
    insert(pg, micros(2024, 1, 1))
    partition(pg)
    with pg.connect() as other:
        other.cursor().execute("select * from orderbook_data")
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            pg.sql("select rowfs.drop_partitions('orderbook_data', '1 year')")
    other.close()
    assert pg.one("select rowfs.drop_partitions('orderbook_data', '1 year')") == 1


# -- mounted --------------------------------------------------------------------------------------------------------------------------

@pytest.fixture(params=["plain", "partitioned"])
def book(request, pg, make_mount):
    """The database and its mount; the table in one piece, or in partitions."""
    if request.param == "partitioned":
        partition(pg)
    pg.mount = make_mount(options={"coherence": "ttl=0"})
    return pg


def day_file(day, symbol="BTCUSDT"):
    return f"orderbook/binance-futures/{symbol}/{day}.csv"


def true_file(pg, day, symbol="BTCUSDT"):
    """What the file must hold, put together by Python from what SQL tells."""
    start = int(datetime.datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1_000_000
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADER.split(","))
    for row in pg.sql("""select exchange, symbol, timestamp::text, local_timestamp::text, trim_scale(ask_amount)::text, trim_scale(ask_price)::text,
            trim_scale(bid_price)::text, trim_scale(bid_amount)::text from orderbook_data
            where symbol = %s and timestamp >= %s and timestamp < %s order by orderbook_data.timestamp, id""",
                      symbol, start, start + 86_400_000_000):
        writer.writerow(["" if f is None else f for f in row])
    return out.getvalue().encode()


def same(pg, day, symbol="BTCUSDT"):
    path = pg.mount.at(day_file(day, symbol))
    body = get(path)
    assert body == true_file(pg, day, symbol)
    assert os.stat(path).st_size == len(body)
    return body


def test_append_and_read(book):
    t, path = micros(2025, 9, 20, 12), book.mount.at(day_file("2025-09-20"))
    os.makedirs(path.parent)
    path.write_text(HEADER + "\n" + "".join(line("BTCUSDT", t + i) + "\n" for i in range(2500)))
    with open(path, "a", encoding="utf-8") as f:
        f.write(line("BTCUSDT", t - 1, "115660.10") + "\n")
        f.flush()
        os.fsync(f.fileno())
    assert same(book, "2025-09-20").count(b"\n") == 2502
    assert book.mount.ls("orderbook/binance-futures/BTCUSDT") == ["2025-09-20.csv"]
    assert book.one("select count(*) from orderbook_data") == 2501


def test_listing_follows_sql(book):
    assert book.mount.ls("orderbook") == []
    insert(book, micros(2025, 9, 20), micros(2025, 10, 1))
    insert(book, micros(2031, 1, 1), symbol="ETHUSDT")
    assert book.mount.ls("orderbook/binance-futures") == ["BTCUSDT", "ETHUSDT"]
    assert book.mount.ls("orderbook/binance-futures/BTCUSDT") == ["2025-09-20.csv", "2025-10-01.csv"]
    same(book, "2031-01-01", "ETHUSDT")
    book.sql("update orderbook_data set timestamp = timestamp + 86400000000, ask_price = 77 where symbol = 'BTCUSDT'")
    assert book.mount.ls("orderbook/binance-futures/BTCUSDT") == ["2025-09-21.csv", "2025-10-02.csv"]
    same(book, "2025-09-21")
    book.sql("delete from orderbook_data where symbol = 'BTCUSDT'")
    assert book.mount.ls("orderbook/binance-futures") == ["ETHUSDT"]


def test_write_anew_and_remove(book):
    t, path = micros(2025, 9, 20), book.mount.at(day_file("2025-09-20"))
    insert(book, t, t + 1, micros(2025, 9, 21))
    path.write_text(HEADER + "\n" + line("BTCUSDT", t + 9) + "\n")
    same(book, "2025-09-20")
    assert book.sql("select timestamp from orderbook_data order by 1") == [(t + 9,), (micros(2025, 9, 21),)]
    rm(path)
    assert book.mount.ls("orderbook/binance-futures/BTCUSDT") == ["2025-09-21.csv"]


def test_a_bad_line_costs_only_itself(book):
    t, path = micros(2025, 9, 20), book.mount.at(day_file("2025-09-20"))
    os.makedirs(path.parent)

    def write():
        path.write_text("\n".join([HEADER, line("BTCUSDT", t), line("BTCUSDT", t, "x"), line("BTCUSDT", micros(2025, 9, 22)),
                                   line("BTCUSDT", t + 1)]) + "\n")
    book.mount.refuses(write, 22)
    assert book.sql("select timestamp from orderbook_data order by 1") == [(t,), (t + 1,)]
    assert len(book.mount.kept()) == 2
    same(book, "2025-09-20")


# -- sizes stay true ---------------------------------------------------------------------------------------------------------------------

SLICES = [  # as a mount would give them: see rowfs.slice
    {"id": 1, "csv": True, "columns": ["id", "timestamp"], "keys": ["exchange", "symbol"], "units": [None, None], "formats": [None, None]},
    {"id": 2, "csv": True, "columns": ["ask_price"], "keys": ["symbol"], "units": [None], "formats": [None]},
]


def keep_summary(pg):
    """What a mount does for its rows files, by SQL."""
    ids = [s["id"] for s in SLICES]
    pg.sql("select rowfs.install('orderbook_data', %s::bigint[], %s::jsonb)", ids, json.dumps(SLICES))
    for part, pages in pg.sql("select part::text, pages from rowfs.parts('orderbook_data')"):
        for one in ids:
            pg.sql("select rowfs.build(%s, %s, null, 0, %s)", one, part, pages)
    pg.sql("select rowfs.built(%s::bigint[])", ids)


def counted(pg):
    """(rows, bytes) of each file: what the summary says, and what Python counts of the table's rows."""
    kept = {tuple(r[:3]): tuple(r[3:]) for r in pg.sql("""select slice, k1, k2, sum(rows)::bigint, sum(bytes)::bigint from
        (select slice, k1, k2, rows, bytes from rowfs.summary union all select slice, k1, k2, rows, bytes from rowfs.delta) u
        group by 1, 2, 3 having sum(rows) <> 0 or sum(bytes) <> 0""")}
    true = {}
    for exchange, symbol, number, t, price in pg.sql("select exchange, symbol, id, timestamp, trim_scale(ask_price)::text from orderbook_data"):
        for name, text in ((1, exchange, symbol), f"{number},{t}"), ((2, symbol, ""), price or ""):
            rows, size = true.get(name, (0, 0))
            true[name] = (rows + 1, size + len(text) + 1)
    return kept, true


@pytest.mark.bare  # the triggers are named after the table's oid, and count for the built-in layout
def test_the_summary_is_true_after_everything(pg):
    """Converted with a summary, written to in every way, partitions made, DEFAULT emptied, partitions dropped: the counts are the table's."""
    def check():
        kept, true = counted(pg)
        assert kept == true and kept
        assert pg.sql("select * from rowfs.doubt") == [] and pg.sql("select bool_and(built) from rowfs.slice") == [(True,)]
    insert(pg, micros(2024, 1, 1), micros(2024, 2, 2), micros(2025, 9, 20))
    keep_summary(pg)
    insert(pg, micros(2025, 9, 21), symbol="ETHUSDT")
    check()
    partition(pg)
    check()
    insert(pg, micros(2025, 9, 20, 1), micros(2019, 5, 5), 10 ** 16)
    pg.sql("insert into orderbook_data_20250901 (symbol, timestamp, local_timestamp) values ('DIRECT', %s, 1)", micros(2025, 9, 1))
    pg.sql("update orderbook_data set timestamp = %s where symbol = 'DIRECT'", micros(2024, 1, 9))
    check()
    assert pg.one("select rowfs.make_partitions()") == 1
    check()
    pg.sql("insert into orderbook_data_20190501 (symbol, timestamp, local_timestamp) values ('DIRECT', %s, 1)", micros(2019, 5, 9))
    check()
    insert(pg, -1)
    assert pg.one("select rowfs.drop_partitions('orderbook_data', now() - '2024-03-02Z')") == 3
    assert pg.one("select count(*) from orderbook_data where timestamp < %s", micros(2024, 3, 1)) == 0
    check()
    sqitch(pg, "revert", "-y", project=PROJECT)
    insert(pg, micros(2025, 9, 21))
    check()


def test_timers_of_a_layout(pg, make_mount):
    """The two functions are called by name, without arguments."""
    insert(pg, micros(2024, 1, 1))
    partition(pg)
    pg.sql("update rowfs.partitioned set keep = '1 year', ahead = '6 months'")
    make_mount(layout={"routes": [{"path": "/book.csv", "rows": "orderbook_data"}],
                       "timers": [{"call": "rowfs.make_partitions", "every": "cleanup_interval"},
                                  {"call": "rowfs.drop_partitions", "every": "cleanup_interval"}]},
               options={"enable_auto_cleanup": "true", "cleanup_interval": 1})
    until(lambda: name_of(month_from_now(6)) in parts(pg) and "orderbook_data_20240101" not in parts(pg), "the timers have run", 30)
