"""Whose a row is that has an id which a file's row had: what is written anew or removed takes its own rows along, and nobody else's."""
import os

import pytest
from ingestkit import layout, put, short_lines as lines, stamps
from kit import ROOT, run

SEQUENCE = "pg_get_serial_sequence('orderbook_data', 'id')"
JSON_LAYOUT = {"routes": [{"path": "/c/{n}.jsonl", "file": True, "ingest": "orderbook_data"}]}


def others(pg, n, first=900):
    """Rows that another program inserts: told apart by their timestamps."""
    for i in range(n):
        pg.sql("insert into orderbook_data (exchange, symbol, timestamp, local_timestamp) values ('ex', 'OTHER', %s, 1)", first + i)


def told(mount):
    return [e["message"] for e in mount.errors() if "somebody else's" in e["message"]]


def remake(pg):
    ddl = run("pg_dump", "-s", "-O", "-t", "orderbook_data", pg.conninfo).stdout
    pg.sql("drop table orderbook_data")
    run("psql", "-Xq", "-v", "ON_ERROR_STOP=1", pg.conninfo, stdin=ddl)
    pg.sql("reset search_path")


RESTARTS = {
    "truncate": lambda pg: pg.sql("truncate orderbook_data restart identity"),
    "setval": lambda pg: pg.sql(f"delete from orderbook_data; select setval({SEQUENCE}, 1, false)"),
    "alter sequence": lambda pg: pg.sql("delete from orderbook_data; alter sequence orderbook_data_id_seq restart"),
    "drop and create": remake,
}


@pytest.mark.parametrize("n", [1, 5])
def test_ids_start_again(make_mount, pg, n):
    """The ids 1 to N are others' now, and the sequence is behind the file's ids, or beyond them."""
    mount = make_mount(layout=layout())
    for how, restart in RESTARTS.items():
        name = f"c/{how.replace(' ', '-')}.csv"
        put(mount / name, lines(0, 3))
        restart(pg)
        others(pg, n)
        put(mount / name, lines(10, 3))
        assert stamps(pg) == [10, 11, 12, *range(900, 900 + n)], how
        same = ", ".join(str(i + 1) for i in range(min(n, 3)))
        assert len(told(mount)) == 1 and f"somebody else's: id = {same}." in told(mount)[0], how
        assert mount.bytes(name) == lines(10, 3)
        RESTARTS["truncate"](pg)
        put(mount / ".rowfs/errors.jsonl", b"")


def test_each_way_to_take_rows_along(make_mount, pg):
    mount = make_mount(layout=layout(remove="rows"))

    def remove(name):
        os.unlink(name)
        return []

    def rename_over(name):
        put(mount / "c/new.csv", lines(10, 1))
        os.rename(mount / "c/new.csv", name)
        return [10]

    def remove_while_open(name):
        with open(name, "ab"):
            os.unlink(name)
        return []

    def go_on(name):
        put(name, b"\r\n" + lines(10, 1), os.O_WRONLY | os.O_APPEND)
        return [2, 10]  # the line that goes on becomes a row again

    for way in (remove, rename_over, remove_while_open, go_on):
        RESTARTS["truncate"](pg)
        name = mount / f"c/{way.__name__}.csv"
        put(name, lines(0, 3)[:-2 if way == go_on else None])
        RESTARTS["truncate"](pg)
        others(pg, 4)
        assert stamps(pg) == [900, 901, 902, 903] and not told(mount)
        assert [*way(name), 900, 901, 902, 903] == stamps(pg), way
        assert len(told(mount)) == 1, way
        put(mount / ".rowfs/errors.jsonl", b"")


def test_a_truncated_table_has_nothing_to_tell(make_mount, pg):
    mount = make_mount(layout=layout())
    put(mount / "c/a.csv", lines(0, 3))
    pg.sql("truncate orderbook_data")
    others(pg, 3)
    put(mount / "c/a.csv", lines(10, 3))
    assert stamps(pg) == [10, 11, 12, 900, 901, 902] and not told(mount)


REWRITES = {
    "vacuum full": "vacuum full orderbook_data",
    "cluster": "cluster orderbook_data using orderbook_data_pkey",
    "another column's type": "alter table orderbook_data alter created_at type timestamptz using now()",
    "a field's type": "alter table orderbook_data alter ask_amount type numeric(12, 4)",
    "another column": "update orderbook_data set created_at = now()",
    "sequence": "alter sequence orderbook_data_id_seq restart with 1000",
    "some rows": "update orderbook_data set symbol = 'NEW' where id = (select min(id) from orderbook_data)",
}


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_rows_that_are_still_the_files(make_mount, pg, form):
    """What changes no row, or not what the file says of it, or only some of its rows: they go as before."""
    mount = make_mount(layout=layout() if form == "csv" else JSON_LAYOUT)
    text = lines if form == "csv" else objects
    others(pg, 2)
    for how, change in REWRITES.items():
        put(mount / f"c/a.{form}", text(0, 300))
        pg.sql(change)
        put(mount / f"c/a.{form}", text(1000, 3))
        assert stamps(pg) == [900, 901, 1000, 1001, 1002] and not told(mount), how


def objects(start, n):
    return "".join(f'{{"symbol": "S", "timestamp": {i}, "local_timestamp": 1, "ask_price": {i}.5}}\n'
                   for i in range(start, start + n)).encode()


def test_rows_that_say_something_else_stay_and_are_told(make_mount, pg):
    """Nobody knows whether they are the file's; nothing is lost, and it is said how to remove them."""
    mount = make_mount(layout=layout())
    put(mount / "c/a.csv", lines(0, 3))
    pg.sql("update orderbook_data set symbol = 'NEW'")
    put(mount / "c/a.csv", lines(10, 3))
    assert stamps(pg) == [0, 1, 2, 10, 11, 12]
    assert len(told(mount)) == 1
    pg.sql(told(mount)[0].split("file: ")[1])
    assert stamps(pg) == [10, 11, 12]


def test_a_bad_line_that_the_server_finds(make_mount, pg):
    """The rows around it came in parts of the transaction."""
    pg.sql("alter table orderbook_data add check (timestamp <> 3)")
    mount = make_mount(layout=layout())
    with pytest.raises(OSError):
        put(mount / "c/a.csv", lines(0, 6))
    pg.sql("update orderbook_data set ask_price = ask_price where id = 1")  # what has it no more is compared
    put(mount / "c/a.csv", lines(10, 1))
    assert stamps(pg) == [10] and not told(mount)


def test_a_restored_database(make_mount, pg, server, tmp_path):
    """The rows have the ids of the dump, and no transaction shows: they are compared. What others have inserted since stays."""
    both = {"routes": layout()["routes"] + JSON_LAYOUT["routes"]}
    mount = make_mount(layout=both)
    put(mount / "c/a.csv", lines(0, 400))
    put(mount / "c/a.jsonl", objects(400, 400))
    others(pg, 2)
    mount.umount()
    run("pg_dump", "-Fc", "-n", "public", "-n", "rowfs", "-f", tmp_path / "dump", pg.conninfo)
    other = server.create_database("restored")
    try:
        other.admin('drop schema public cascade; create schema public authorization keeper; create extension "uuid-ossp"')
        run("pg_restore", "--no-owner", "-d", other.conninfo, tmp_path / "dump", ok=False)  # the schema public is there
        restored = make_mount(conninfo=other.conninfo, layout=both)
        assert restored.bytes("c/a.csv") == lines(0, 400) and len(stamps(other)) == 802
        others(other, 1, 950)
        put(restored / "c/a.csv", lines(10, 5))
        put(restored / "c/a.jsonl", objects(20, 1))
        assert stamps(other) == [10, 11, 12, 13, 14, 20, 900, 901, 950] and not told(restored)
        restored.umount()
    finally:
        other.drop()


def test_a_file_whose_lines_another_file_has_brought_since(make_mount, pg):
    """The same lines with the same ids, but they came from another file."""
    mount = make_mount(layout=layout())
    put(mount / "c/a.csv", lines(0, 3))
    RESTARTS["truncate"](pg)
    put(mount / "c/b.csv", lines(0, 3))
    put(mount / "c/a.csv", lines(10, 1))
    assert stamps(pg) == [0, 1, 2, 10] and not told(mount)
    put(mount / "c/b.csv", lines(20, 1))
    assert stamps(pg) == [10, 20]


def test_a_partition_is_dropped(make_mount, pg):
    pg.sql("drop table orderbook_data cascade;"
           "create table orderbook_data (id bigserial, exchange text, symbol text, timestamp bigint, local_timestamp bigint, ask_amount numeric,"
           " ask_price numeric, bid_price numeric, bid_amount numeric, primary key (id, timestamp)) partition by range (timestamp);"
           "create table p0 partition of orderbook_data for values from (0) to (5); create table p1 partition of orderbook_data default")
    mount = make_mount(layout=layout())
    put(mount / "c/a.csv", lines(0, 10))
    pg.sql("drop table p0; create table p0 partition of orderbook_data for values from (0) to (5)")
    pg.sql(f"select setval({SEQUENCE}, 1, false)")
    pg.sql("insert into orderbook_data (timestamp) values (1), (2)")
    put(mount / "c/a.csv", lines(20, 2))
    assert stamps(pg) == [1, 2, 20, 21]


def script(pg, what):
    run("psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-f", ROOT / "schema/core" / what / "rowfs_files_proof.sql", pg.conninfo)


def test_a_schema_that_does_not_know_transactions_yet(make_mount, pg):
    """As an earlier release has deployed it: rows are compared with the lines. The upgrade keeps what is known."""
    script(pg, "revert")
    mount = make_mount(layout=layout())
    put(mount / "c/a.csv", lines(0, 300) + lines(300, 1)[:-2])
    put(mount / "c/b.csv", lines(1000, 3))
    put(mount / "c/a.csv", b"\r\n" + lines(301, 1), os.O_WRONLY | os.O_APPEND)
    assert stamps(pg) == [*range(302), 1000, 1001, 1002]
    put(mount / "c/a.csv", lines(10, 3))
    assert stamps(pg) == [10, 11, 12, 1000, 1001, 1002]
    mount.umount()
    script(pg, "deploy")
    mount = make_mount(layout=layout())
    put(mount / "c/a.csv", lines(20, 3))
    put(mount / "c/b.csv", lines(2000, 3))
    assert stamps(pg) == [20, 21, 22, 2000, 2001, 2002] and not told(mount)
    RESTARTS["truncate"](pg)
    others(pg, 9)
    put(mount / "c/b.csv", lines(2000, 3))
    assert stamps(pg) == [*range(900, 909), 2000, 2001, 2002]
