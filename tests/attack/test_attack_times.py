"""Times at the ends of what can be said, from the server and from programs: each file can be looked at, and shows the nearest that a mount
can say, the years 1677 to 2262."""
import datetime
import os

import pytest

SOONEST, LATEST = -(2**63 - 1) // 1000 * 1000 + 1000, (2**63 - 1) // 1000 * 1000  # whole microseconds
UTC = datetime.timezone.utc


def ns(*moment):
    return (datetime.datetime(*moment, tzinfo=UTC) - datetime.datetime(1970, 1, 1, tzinfo=UTC)) // datetime.timedelta(microseconds=1) * 1000


@pytest.mark.parametrize("said, shown", [
    ("2024-05-06 07:08:09.25+00", ns(2024, 5, 6, 7, 8, 9, 250000)), ("1969-12-31 23:59:59.25+00", -750_000_000),
    ("1800-01-01 00:00:00.000001+00", ns(1800, 1, 1, 0, 0, 0, 1)), ("2263-01-01+00", LATEST), ("9999-12-31+00", LATEST),
    ("294276-12-31+00", LATEST),
    ("1600-01-01+00", SOONEST), ("4714-11-24 00:00:00+00 BC", SOONEST), ("infinity", None), ("-infinity", None), (None, None)])
def test_a_time_of_the_server(shop, said, shown):
    """By a lookup, and by a listing. A time that is none is as if it was not there."""
    shop.pg.sql("insert into items (name, seen) values ('bolt', %s), ('nut', '2001-02-03+00')", said)
    assert sorted(os.listdir(shop.m / "items")) == ["bolt", "nut"]
    path = shop.m / "items/bolt/item.json"
    with os.scandir(path.parent) as entries:
        listed = [e.stat().st_mtime_ns for e in entries if e.name == path.name]
    assert listed == [os.stat(path).st_mtime_ns]
    assert listed == [shown] if shown is not None else listed[0] > ns(2024, 1, 1)


@pytest.mark.parametrize("said", ["infinity", "-infinity", "294276-12-31+00", "9999-12-31+00", "4714-11-24 00:00:00+00 BC"])
def test_a_time_of_an_ingest_file(mount, pg, said):
    name = mount / "collector/X_orderbook_1.csv"
    name.write_text("")
    pg.sql("update rowfs.file set changed = %s", said)
    pg.sql("select pg_notify('rowfs', '{}')")
    assert os.listdir(mount / "collector") == [name.name]
    assert abs(os.stat(name).st_mtime_ns) <= 2**63 - 1


@pytest.mark.parametrize("at", [2**62, 2**40, 10**10, -10**10, 0, -2**62])
def test_a_time_that_a_program_sets(mount, at):
    """utimensat() takes any number of seconds, on plain files and ingest files. What the disk, or the table, cannot say is not shown either,
    and the mount stays."""
    for name in ("plain", "collector/X_orderbook_1.csv"):
        (mount / name).write_text("")
        os.utime(mount / name, (0, at))
        assert abs(os.stat(mount / name).st_mtime_ns) <= 2**63
    assert mount.alive() and sorted(os.listdir(mount / "collector")) == ["X_orderbook_1.csv"]


def test_a_time_before_1970(mount):
    (mount / "plain").write_text("")
    os.utime(mount / "plain", ns=(0, -1_250_000_000))
    assert os.stat(mount / "plain").st_mtime_ns == -1_250_000_000


@pytest.mark.parametrize("kind, said", [("timestamptz", "294276-12-31+00"), ("timestamp", "294276-12-31"),
                                        ("date", "5874897-12-31"), ("date", "4713-01-01 BC")])
def test_a_time_of_a_rows_file(pg, make_mount, kind, said):
    """Rows that were there before the mount, and are counted by it; and with a summary of their time."""
    pg.sql(f"create table things (id bigserial primary key, name text not null, at {kind})")
    pg.sql("insert into things (name, at) values ('a', %s), ('b', '2001-02-03 00:00+00')", said)
    m = make_mount(layout={"tables": {"things": {"mtime": "at"}}, "routes": [{"path": "/{things.name}.jsonl", "rows": "things"},
                                                                                 {"path": "/one/{things.id}.json", "row": "things"}]})
    assert sorted(os.listdir(m.path)) == [".rowfs", "a.jsonl", "b.jsonl", "one"]
    assert sorted(os.listdir(m / "one")) == ["1.json", "2.json"]
    assert os.stat(m / "one/1.json").st_mtime_ns in (SOONEST, LATEST)
    assert os.stat(m / "a.jsonl").st_mtime_ns in (SOONEST, LATEST)
    assert os.stat(m / "b.jsonl").st_mtime_ns == ns(2001, 2, 3)
