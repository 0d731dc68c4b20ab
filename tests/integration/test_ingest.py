"""Ingest files: the bytes are compared with a plain directory, the rows with a parse of the same bytes by Python."""
import contextlib
import csv
import errno
import gzip
import io
import json
import os
import random
import re
import threading
import zlib

import pytest
from kit import run, until
from mountkit import clean_env, rowfs_binary

HEADER = ["exchange", "symbol", "timestamp", "local_timestamp", "ask_amount", "ask_price", "bid_price", "bid_amount"]
NAME = "BTCUSDT_orderbook_20250920_100000.csv"


def record(i, symbol="BTCUSDT"):
    """A row as the collector's csv.DictWriter puts it: repr(float), empty sides."""
    side = ["", ""] if i % 7 == 0 else [repr(100000.1 + i), repr(0.5 + i % 3)]
    return ["binance-futures", symbol, str(1758365391602000 + i), str(1758365391602900 + i), repr(5000.0), repr(115659.8 + i), *side]


def lines(start, n, end="\r\n"):
    return "".join(",".join(record(i)) + end for i in range(start, start + n)).encode()


HEAD = (",".join(HEADER) + "\r\n").encode()


def number(text):
    return None if text == "" else float(text)


def parse(body):
    """The rows that BODY means."""
    rows = []
    for row in csv.reader(io.StringIO(body.decode(), newline="")):
        if row == HEADER:
            continue
        rows.append((row[0], row[1], int(row[2]), int(row[3]), *[number(f) for f in row[4:]]))
    return sorted(rows, key=repr)


def rows(pg):
    got = pg.sql(f"select {', '.join(HEADER)} from orderbook_data")
    return sorted(((*r[:4], *[None if v is None else float(v) for v in r[4:]]) for r in got), key=repr)


def put(path, data, flags=os.O_WRONLY | os.O_CREAT | os.O_TRUNC, cut=8192):
    fd = os.open(path, flags, 0o644)
    try:
        for at in range(0, len(data), cut):
            assert os.write(fd, data[at:at + cut]) == len(data[at:at + cut])
    finally:
        os.close(fd)


def check(mount, pg, name, body, text=None):
    path = mount.at(f"collector/{name}")
    assert path.read_bytes() == body
    assert path.stat().st_size == len(body)
    assert rows(pg) == parse(body if text is None else text)


@pytest.mark.parametrize("cut", [1, 7, 8192, 1 << 20])
def test_csv_of_any_cut(mount, pg, cut):
    body = HEAD + lines(0, 20 if cut < 8 else 9000)
    put(mount.at(f"collector/{NAME}"), body, cut=cut)
    check(mount, pg, NAME, body)
    assert mount.ls("collector") == [NAME]


def test_append_by_record(mount, pg, tmp_path):
    for base in (mount.at("collector"), tmp_path):
        put(base / NAME, HEAD)
        for i in range(60):
            fd = os.open(base / NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            size = os.fstat(fd).st_size
            assert os.lseek(fd, 0, os.SEEK_END) == size
            os.write(fd, lines(i, 1))
            assert os.fstat(fd).st_size == size + len(lines(i, 1))
            os.close(fd)
    check(mount, pg, NAME, (tmp_path / NAME).read_bytes())


def test_size_and_bytes_before_commit(mount, pg):
    path = mount.at(f"collector/{NAME}")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.write(fd, HEAD)
    assert os.fstat(fd).st_size == len(HEAD) == path.stat().st_size
    assert os.pread(fd, 1000, 0) == HEAD == path.read_bytes()
    os.write(fd, lines(0, 3))
    os.fsync(fd)
    assert rows(pg) == parse(lines(0, 3))
    os.close(fd)


def test_an_unfinished_line_counts_and_is_replaced_when_it_goes_on(mount, pg):
    body = HEAD + lines(0, 3)
    put(mount.at(f"collector/{NAME}"), body[:-4])
    assert len(rows(pg)) == 3
    put(mount.at(f"collector/{NAME}"), body[-4:] + lines(3, 1), os.O_WRONLY | os.O_APPEND)
    check(mount, pg, NAME, body + lines(3, 1))


def test_write_anew_replaces_the_rows_and_only_those(mount, pg):
    put(mount.at(f"collector/ETHUSDT_orderbook_1.csv"), HEAD + lines(500, 2))
    put(mount.at(f"collector/{NAME}"), HEAD + lines(0, 100))
    put(mount.at(f"collector/{NAME}"), HEAD + lines(50, 10))
    assert rows(pg) == parse(lines(500, 2) + lines(50, 10))
    assert mount.bytes(f"collector/{NAME}") == HEAD + lines(50, 10)


def test_restart_from_offset_0_leaves_a_stale_tail(mount, pg, tmp_path):
    for base in (mount.at("collector"), tmp_path):
        put(base / NAME, HEAD + lines(0, 100))
        put(base / NAME, HEAD + lines(200, 10), os.O_WRONLY | os.O_CREAT)
    check(mount, pg, NAME, (tmp_path / NAME).read_bytes())


def test_the_same_bytes_again_are_no_change(mount, pg):
    body = HEAD + lines(0, 100)
    put(mount.at(f"collector/{NAME}"), body)
    ids = pg.sql("select array_agg(id order by id) from orderbook_data")
    put(mount.at(f"collector/{NAME}"), body + lines(100, 1), os.O_WRONLY | os.O_CREAT)
    check(mount, pg, NAME, body + lines(100, 1))
    assert pg.sql("select array_agg(id order by id) from (select id from orderbook_data order by id limit 100) x") == ids


def test_truncate(mount, pg, tmp_path):
    for base in (mount.at("collector"), tmp_path):
        put(base / NAME, HEAD + lines(0, 10))
        os.truncate(base / NAME, len(HEAD + lines(0, 4)))
    check(mount, pg, NAME, (tmp_path / NAME).read_bytes())
    os.truncate(mount.at(f"collector/{NAME}"), 0)
    check(mount, pg, NAME, b"")


def test_remove_keeps_the_rows(mount, pg):
    put(mount.at(f"collector/{NAME}"), HEAD + lines(0, 10))
    with open(mount.at(f"collector/{NAME}"), "rb") as still_open:
        os.unlink(mount.at(f"collector/{NAME}"))
        assert mount.ls("collector") == []
        assert still_open.read() == HEAD + lines(0, 10)
    assert rows(pg) == parse(lines(0, 10))
    until(lambda: pg.sql("select count(*) from rowfs.file") == [(0,)], "the record goes with the last handle")


def layout(**words):
    return {"routes": [{"path": "/c/{n}.csv", "file": True, "ingest": "orderbook_data", "columns": HEADER, **words},
                       {"path": "/c/{n}.csv.{k}", "file": True, "ingest": "orderbook_data", "columns": HEADER, "format": "csv", **words}]}


def test_remove_and_replace_as_the_route_says(make_mount, pg):
    mount = make_mount(layout=layout(remove="rows", replace="keep"))
    put(mount.at("c/a.csv"), HEAD + lines(0, 10))
    put(mount.at("c/a.csv"), HEAD + lines(10, 10))
    assert rows(pg) == parse(lines(0, 20))
    os.unlink(mount.at("c/a.csv"))
    assert rows(pg) == parse(lines(0, 10))


def test_rename_onto_a_route_ingests(mount, pg):
    temp = mount.at(f"collector/{NAME}0123456789abcdef.unconfirmed")
    body = HEAD + lines(0, 9000)
    put(temp, body)
    assert rows(pg) == []
    os.rename(temp, mount.at(f"collector/{NAME}"))
    check(mount, pg, NAME, body)
    put(temp, HEAD + lines(0, 5))
    os.rename(temp, mount.at(f"collector/{NAME}"))
    check(mount, pg, NAME, HEAD + lines(0, 5))
    assert mount.ls("collector") == [NAME]


def test_rename_off_a_route_and_between_routes(mount, pg):
    body = HEAD + lines(0, 10)
    put(mount.at(f"collector/{NAME}"), body)
    other = "BTCUSDT_orderbook_2.csv"
    os.rename(mount.at(f"collector/{NAME}"), mount.at(f"collector/{other}"))
    check(mount, pg, other, body)
    os.rename(mount.at(f"collector/{other}"), mount.at("collector/kept.txt"))
    assert mount.bytes("collector/kept.txt") == body
    assert mount.ls("collector") == ["kept.txt"]
    assert rows(pg) == parse(body)


def test_a_chain_of_renames(make_mount, pg, tmp_path):
    mount = make_mount(layout=layout())
    for base in (mount.at("c"), tmp_path):
        for round in range(4):
            for k in (2, 1):
                if (base / f"r.csv.{k}").exists():
                    os.rename(base / f"r.csv.{k}", base / f"r.csv.{k + 1}")
            if (base / "r.csv").exists():
                os.rename(base / "r.csv", base / "r.csv.1")
            put(base / "r.csv", lines(round * 10, 10))
    assert mount.ls("c") == sorted(os.listdir(tmp_path))
    for name in os.listdir(tmp_path):
        assert mount.bytes(f"c/{name}") == (tmp_path / name).read_bytes()
    assert rows(pg) == parse(lines(0, 40))


def test_header_in_another_order_and_missing_columns(mount, pg):
    put(mount.at(f"collector/{NAME}"), b"symbol,timestamp,local_timestamp\nX,1,2\nY,3,4\n")
    assert pg.sql("select exchange, symbol, timestamp, local_timestamp from orderbook_data order by 2") == [
        ("binance-futures", "X", 1, 2), ("binance-futures", "Y", 3, 4)]


def test_bad_lines_cost_only_themselves(mount, pg):
    bad = [b"a,b,c\r\n", b"\\.\r\n", lines(900, 1).replace(b"5000.0", b"NaN"), lines(901, 1).replace(b"5000.0", b"x"),
           lines(902, 1).replace(b"BTC", b"\xff"), lines(903, 1).replace(b"BTC", b'B"TC'), lines(904, 1).replace(b"5000.0", b"1" * 20)]
    good = b"".join(lines(i, 1) for i in range(len(bad) + 1))
    body = HEAD + b"".join(lines(i, 1) + b for i, b in enumerate(bad)) + lines(len(bad), 1)
    path = mount.at(f"collector/{NAME}")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(fd, body)
    with pytest.raises(OSError) as e:
        os.fsync(fd)
    assert e.value.errno == errno.EINVAL
    os.close(fd)
    assert path.read_bytes() == body
    assert rows(pg) == parse(good)
    assert sorted(mount.kept()) == sorted(b.rstrip(b"\r\n") for b in bad)
    assert len(mount.errors()) >= len(bad)


def test_a_line_that_only_the_server_refuses(mount, pg):
    pg.sql("alter table orderbook_data add check (timestamp <> 1758365391602005)")
    with pytest.raises(OSError):
        put(mount.at(f"collector/{NAME}"), HEAD + lines(0, 10))
    assert rows(pg) == parse(lines(0, 5) + lines(6, 4))
    assert mount.bytes(f"collector/{NAME}") == HEAD + lines(0, 10)


def test_bad_lines_are_only_reported_if_the_option_says_so(make_mount, pg):
    mount = make_mount(options={"bad_lines": "report"})
    put(mount.at(f"collector/{NAME}"), HEAD + lines(0, 1) + b"bad\r\n" + lines(1, 1))
    assert rows(pg) == parse(lines(0, 2)) and mount.kept() == [b"bad"]


def test_two_mounts_append_to_one_file(make_mount, pg):
    one, two = make_mount(), make_mount()
    put(one.at(f"collector/{NAME}"), HEAD)
    for i in range(0, 40, 2):
        put(one.at(f"collector/{NAME}"), lines(i, 1), os.O_WRONLY | os.O_APPEND)
        put(two.at(f"collector/{NAME}"), lines(i + 1, 1), os.O_WRONLY | os.O_APPEND)
    assert one.bytes(f"collector/{NAME}") == two.bytes(f"collector/{NAME}") == HEAD + lines(0, 40)
    assert rows(pg) == parse(lines(0, 40))


def test_remount_goes_on(make_mount, pg):
    body = HEAD + lines(0, 10)
    mount = make_mount()
    put(mount.at(f"collector/{NAME}"), body[:-5])
    mount.umount()
    mount = make_mount()
    put(mount.at(f"collector/{NAME}"), body[-5:] + lines(10, 3), os.O_WRONLY | os.O_APPEND)
    check(mount, pg, NAME, body + lines(10, 3))


def test_kill_of_the_daemon_leaves_a_prefix(make_mount, pg):
    mount = make_mount()
    fd = os.open(mount.at(f"collector/{NAME}"), os.O_WRONLY | os.O_CREAT)
    body = HEAD + lines(0, 20000)
    for at in range(0, len(body) // 2, 8192):
        os.write(fd, body[at:at + 8192])
    mount.kill()
    mount.process.wait()
    with pytest.raises(OSError):
        os.write(fd, b"x")
    with contextlib.suppress(OSError):
        os.close(fd)
    mount.destroy()
    mount.process = None
    again = make_mount()
    kept = again.bytes(f"collector/{NAME}")
    assert body.startswith(kept) and len(kept) >= 256 << 10
    put(again.at(f"collector/{NAME}"), body[len(kept):], os.O_WRONLY | os.O_APPEND)
    check(again, pg, NAME, body)


def test_mode_and_time_are_kept(mount, pg):
    path = mount.at(f"collector/{NAME}")
    put(path, HEAD)
    os.chmod(path, 0o640)
    os.utime(path, ns=(10**18, 10**18))
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.stat().st_mtime_ns == 10**18


def test_many_names(mount, pg):
    names = [f"S{i:04}_orderbook_1.csv" for i in range(2300)]
    pg.sql("insert into rowfs.file (dir, name) select '/collector', format('S%s_orderbook_1.csv', lpad(i::text, 4, '0')) "
           "from generate_series(0, 2299) i")
    put(mount.at("collector/plain.txt"), b"x")
    assert mount.ls("collector") == sorted([*names, "plain.txt"])


# -- gzip ------------------------------------------------------------------------------------------------------------------


GZ = NAME + ".gz"


def test_gzip_with_flushes(mount, pg):
    text, body = HEAD, io.BytesIO()
    path = mount.at(f"collector/{GZ}")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    with gzip.GzipFile("x.csv", "wb", 9, body) as f:
        f.write(HEAD)
        for i in range(5):
            f.write(lines(i * 1000, 1000))
            f.flush()
            text += lines(i * 1000, 1000)
            done = os.lseek(fd, 0, os.SEEK_CUR)
            os.write(fd, body.getvalue()[done:])
            os.fsync(fd)
            assert len(rows(pg)) == (i + 1) * 1000
    os.write(fd, body.getvalue()[os.lseek(fd, 0, os.SEEK_CUR):])
    os.close(fd)
    check(mount, pg, GZ, body.getvalue(), text)


@pytest.mark.parametrize("remount", [False, True])
def test_many_members(make_mount, pg, remount):
    mount, body = make_mount(), b""
    for i in range(30):
        piece = gzip.compress((HEAD if i == 0 else b"") + lines(i, 1))
        put(mount.at(f"collector/{GZ}"), piece[:20], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        put(mount.at(f"collector/{GZ}"), piece[20:], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        body += piece
        if remount and i % 10 == 5:
            mount.umount()
            mount = make_mount()
    check(mount, pg, GZ, body, lines(0, 30))


def test_gzip_without_a_trailer_and_byte_by_byte(mount, pg):
    c = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = c.compress(HEAD + lines(0, 50)) + c.flush(zlib.Z_SYNC_FLUSH)
    put(mount.at(f"collector/{GZ}"), body, cut=1)
    check(mount, pg, GZ, body, lines(0, 50))


def test_a_damaged_member_costs_only_its_rest(mount, pg):
    bad = bytearray(gzip.compress(os.urandom(2000).hex().encode()))
    bad[200:240] = b"\xff" * 40
    body = gzip.compress(HEAD + lines(0, 10)) + bytes(bad) + gzip.compress(lines(10, 5)) + b"\0" * 100 + gzip.compress(b"")
    with pytest.raises(OSError) as e:
        put(mount.at(f"collector/{GZ}"), body)
    assert e.value.errno == errno.EINVAL
    check(mount, pg, GZ, body, lines(0, 15))
    assert "damaged gzip" in " ".join(str(e) for e in mount.errors())


# -- JSON Lines --------------------------------------------------------------------------------------------------------------


def test_json_lines_with_fields(make_mount, pg):
    pg.sql("create table ticks (id bigserial primary key, timestamp bigint, price numeric(20,8), symbol text default 'none', rest jsonb)")
    mount = make_mount(layout={"routes": [{
        "path": "/t/{day}.jsonl", "file": True, "ingest": "ticks", "overflow": "rest",
        "fields": {"t": {"column": "timestamp", "from": "s", "to": "ms"}, "px": "price"}}]})
    body = b'{"t": 1700000000.123, "px": 1.10}\n{"px": 12345678.12345678, "t": 1700000001, "symbol": "X", "odd": [1]}\n{"t": "x"}\n{"px": 3}'
    with pytest.raises(OSError):
        put(mount.at("t/1.jsonl"), body, cut=5)
    assert mount.bytes("t/1.jsonl") == body
    assert pg.sql("select timestamp, price::text, symbol, rest::text from ticks order by ticks.price") == [
        (1700000000123, "1.10000000", "none", None), (None, "3.00000000", "none", None),
        (1700000001000, "12345678.12345678", "X", '{"odd": [1]}')]
    assert mount.kept() == [b'{"t": "x"}']


def test_csv_with_units(make_mount, pg):
    mount = make_mount(layout={"routes": [{
        "path": "/t/{day}.csv", "file": True, "ingest": "orderbook_data",
        "fields": {"ts": {"column": "timestamp", "from": "ms", "to": "us"}, "lts": {"column": "local_timestamp", "from": "ns", "to": "us"}}}]})
    put(mount.at("t/1.csv"), b"ts,lts,symbol\n1700000000000.5,1700000000000000000,A\n")
    assert pg.sql("select timestamp, local_timestamp, symbol from orderbook_data") == [(1700000000000500, 1700000000000000, "A")]


def test_mistakes_are_told(pg, tmp_path):
    pg.sql("create table nokey (a int)")
    for words, said in [({"ingest": "nokey"}, "integer column"), ({"ingest": "nothing"}, "does not exist"), ({"path": "/{d}/{n}.csv"}, "literal"),
                        ({"fields": {"x": "y"}}, 'column "y"'), ({"path": "/c/{n}.dat"}, "format"), ({"overflow": "symbol"}, "jsonb")]:
        path = tmp_path / "layout.json"
        path.write_text(json.dumps({"routes": [{"path": "/c/{n}.csv", "file": True, "ingest": "orderbook_data", **words}]}))
        done = run(rowfs_binary(), "check", path, pg.conninfo, ok=False, env=clean_env())
        assert done.returncode == 1 and said in done.stderr, done.stderr


# -- what comes in while it is sent --------------------------------------------------------------------

IMPATIENT = {"retry_attempts": 1, "retry_delay": "0.1", "retry_backoff": "1.0", "connection_timeout": 2}
# A COMMIT that nobody can call back once it is there: it waits for who holds the advisory lock 77, though it is cancelled.
GATE = """
create function wait_at_gate() returns trigger language plpgsql as $$ begin
    loop
        begin perform pg_advisory_xact_lock_shared(77); return null; exception when query_canceled then null; end;
    end loop; end $$;
create constraint trigger gate after insert on orderbook_data deferrable initially deferred for each row
    when (new.symbol = 'GATE') execute function wait_at_gate()"""


def sizes(mount):
    """What stat says of each rows file of the orderbook, and what it really has."""
    files = list(mount.at("orderbook").rglob("*.csv"))
    return {p.name: p.stat().st_size for p in files}, {p.name: len(p.read_bytes()) for p in files}


def counted(pg, mount):
    """The sizes of the rows files are true."""
    stat, real = sizes(mount)
    assert stat == real and len(stat) > 0
    assert pg.sql("select * from rowfs.doubt") == []


def test_rows_are_counted_without_the_triggers(make_mount, pg):
    mount = make_mount(options={"coherence": "none"})
    pg.sql("create table seen (n bigint)")
    pg.sql("create function see() returns trigger language plpgsql as 'begin insert into public.seen values (new.rows); return null; end'")
    pg.sql("create trigger see after insert on rowfs.delta for each row execute function see()")
    put(mount.at(f"collector/{NAME}"), HEAD + lines(0, 3000))
    assert pg.sql("select * from seen") == []
    counted(pg, mount)
    put(mount.at(f"collector/{NAME}"), lines(3000, 1)[:-2], os.O_WRONLY | os.O_APPEND)
    put(mount.at(f"collector/{NAME}"), b"5\r\n" + lines(3001, 2000), os.O_WRONLY | os.O_APPEND)  # the row of the unfinished line is deleted
    assert sum(n for (n,) in pg.sql("select * from seen")) == 2001 - 1
    counted(pg, mount)
    put(mount.at(f"collector/{NAME}"), HEAD + lines(5000, 2000))  # and here all rows
    counted(pg, mount)
    assert rows(pg) == parse(lines(5000, 2000))


@pytest.mark.parametrize("path", ["ticks.csv", "in/a.csv"])
def test_a_line_that_only_the_server_can_count(make_mount, pg, path):
    """It comes when the lines before it are with the server already, uncounted by its triggers."""
    pg.sql("create table ticks (id bigserial primary key, ts bigint, price double precision)")
    mount = make_mount(layout={"routes": [{"path": "/ticks.csv", "rows": "ticks", "columns": ["ts", "price"]},
                                          {"path": "/in/{name}.csv", "file": True, "ingest": "ticks", "columns": ["ts", "price"]}]}, options={"batch_size": 1000000})
    for last in (b"7,\n", b"7,1.5\n"):
        body = b"".join(b"%d,\n" % i for i in range(40000)) + last
        pg.sql("truncate ticks")
        with contextlib.suppress(FileNotFoundError):
            if path != "ticks.csv":
                mount.at(path).unlink()
        put(mount.at(path), body, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        assert pg.one("select count(*) from ticks") == 40001
        assert mount.at("ticks.csv").stat().st_size == len(mount.bytes("ticks.csv"))


def test_rows_come_after_flush_interval(make_mount, pg):
    mount = make_mount(options={"flush_interval": "0.1"})
    fd = os.open(mount.at(f"collector/{NAME}"), os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.write(fd, HEAD + lines(0, 10) + b"half a li")
        until(lambda: pg.one("select count(*) from orderbook_data") == 10, "the rows are there, and nobody has asked for it")
        assert pg.one("select size from rowfs.file") == len(HEAD + lines(0, 10))
        os.fsync(fd)
        assert pg.one("select size from rowfs.file") == len(HEAD + lines(0, 10)) + 9
        os.ftruncate(fd, len(HEAD + lines(0, 10)))
    finally:
        os.close(fd)
    check(mount, pg, NAME, HEAD + lines(0, 10))


def append_in_pieces(path, body, seed, every):
    """Cut anywhere; fsync only at ends of lines."""
    rng = random.Random(seed)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        at = 0
        while at < len(body):
            end = body.find(b"\n", min(at + every, len(body) - 1)) + 1
            while at < end:
                n = min(rng.randrange(1, 6000), end - at)
                os.write(fd, body[at:at + n])
                at += n
            os.fsync(fd)
    finally:
        os.close(fd)


def whole_and_in_order(body, parts):
    """BODY is made of all the lines of each of PARTS, in their order."""
    got = body.splitlines(keepends=True)
    for part in parts:
        mine = set(part.splitlines(keepends=True))
        assert [line for line in got if line in mine] == part.splitlines(keepends=True)
    assert sum(len(part) for part in parts) == len(body)


def test_two_mounts_append_at_once_with_lines_cut_anywhere(make_mount, pg):
    mounts = [make_mount(options={"flush_interval": "0.02"}) for _ in range(2)]
    path = f"collector/{NAME}"
    put(mounts[0].at(path), HEAD)
    assert mounts[1].bytes(path) == HEAD
    parts = [lines(0, 20000), lines(20000, 20000)]
    writers = [threading.Thread(target=append_in_pieces, args=(m.at(path), part, i, 300000))
               for i, (m, part) in enumerate(zip(mounts, parts))]
    for w in writers:
        w.start()
    for w in writers:
        w.join()
    body = until(lambda: (b := mounts[0].bytes(path)) == mounts[1].bytes(path) and b, "both see the same")
    whole_and_in_order(body, [HEAD, *parts])
    assert rows(pg) == parse(body) and len(rows(pg)) == 40000
    assert mounts[0].kept() == mounts[1].kept() == []


def test_what_the_clock_commits_ends_behind_a_line(make_mount, pg):
    """Two mounts take turns, and each leaves off in the middle of a line, which nobody asks to be committed."""
    mounts = [make_mount(options={"flush_interval": "0.05"}) for _ in range(2)]
    path = f"collector/{NAME}"
    put(mounts[0].at(path), HEAD)
    parts = [lines(0, 30), lines(1000, 30)]
    ends = [[m.end() for m in re.finditer(b"\n", part)] for part in parts]
    fds = [os.open(m.at(path), os.O_WRONLY | os.O_APPEND) for m in mounts]
    sent, size = [0, 0], len(HEAD)
    try:
        for turn in range(20):
            me = turn % 2
            whole = ends[me][turn // 2 * 3 + 2]
            before = ends[me][turn // 2 * 3 - 1] if turn > 1 else 0
            stop = min(whole + 17, len(parts[me]))
            os.write(fds[me], parts[me][sent[me]:stop])
            sent[me], size = stop, size + whole - before
            until(lambda: pg.one("select size from rowfs.file") >= size, "whole lines are committed")
            assert pg.one("select size from rowfs.file") == size
    finally:
        for fd in fds:
            os.close(fd)
    body = mounts[0].bytes(path)
    assert body == mounts[1].bytes(path)
    whole_and_in_order(body, [HEAD, *parts])
    turns = [line.split(b",")[2] >= b"1758365391603000" for line in body.splitlines()[1:]]
    assert turns == [n // 3 % 2 == 1 for n in range(60)]
    assert rows(pg) == parse(body)


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "jsonl"])
def test_the_database_is_gone_at_fsync_and_comes_back(make_mount, pg, server, suffix):
    mount = make_mount(layout={"routes": [{"path": f"/in/{{name}}.{suffix}", "file": True, "ingest": "orderbook_data"}]}, options={**IMPATIENT, "flush_interval": "60"})
    mount.expect(r"rowfs error .*")
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    body = b""

    def more(start):
        nonlocal body
        new = HEAD if start == 0 and suffix != "jsonl" else b""
        new += lines(start, 1000) if suffix != "jsonl" else "".join(
            json.dumps({k: v or None for k, v in zip(HEADER, record(i))}) + "\n" for i in range(start, start + 1000)).encode()
        piece = packer.compress(new) + packer.flush(zlib.Z_SYNC_FLUSH) if suffix == "csv.gz" else new
        body += piece
        assert os.write(fd, piece) == len(piece)

    fd = os.open(mount.at(f"in/a.{suffix}"), os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        for start in range(0, 6000, 2000):
            more(start)
            server.stop("immediate")
            with pytest.raises(OSError) as e:
                os.fsync(fd)
            assert e.value.errno == errno.EIO
            more(start + 1000)
            server.start()
            os.fsync(fd)
            assert mount.bytes(f"in/a.{suffix}") == body
            assert rows(pg) == parse(lines(0, start + 2000))
    finally:
        os.close(fd)
    assert mount.bytes(f"in/a.{suffix}") == body and mount.kept() == []


@pytest.mark.parametrize("meanwhile", [False, True])
def test_a_commit_of_which_nothing_was_heard_is_not_made_twice(make_mount, pg, meanwhile):
    """Its connection is given up while it waits; it is made later, and another mount may append before the first one asks."""
    conninfo = f"{pg.conninfo} options='-c client_connection_check_interval=1h'"
    mount = make_mount(conninfo=conninfo, options={**IMPATIENT, "transaction_timeout": 1, "flush_interval": "60"})
    mount.expect(r"rowfs error .*")
    path, other = f"collector/{NAME}", make_mount()
    put(mount.at(path), HEAD)
    pg.sql(GATE)
    gate = pg.connect()
    gate.cursor().execute("select pg_advisory_lock(77)")
    late, last = lines(0, 1).replace(b"BTCUSDT", b"GATE"), lines(1, 1)
    fd = os.open(mount.at(path), os.O_WRONLY | os.O_APPEND)
    try:
        os.write(fd, late)
        with pytest.raises(OSError) as e:
            os.fsync(fd)
        assert e.value.errno in (errno.EIO, errno.ETIMEDOUT)
        assert pg.one("select count(*) from orderbook_data") == 0
        gate.close()
        until(lambda: pg.one("select count(*) from orderbook_data") == 1, "the commit is made")
        if meanwhile:
            put(other.at(path), last, os.O_WRONLY | os.O_APPEND)
        os.fsync(fd)
        if not meanwhile:
            os.write(fd, last)
    finally:
        os.close(fd)
    assert mount.bytes(path) == HEAD + late + last
    assert rows(pg) == parse(late + last)
    assert mount.kept() == []


def test_sixteen_files_at_once(make_mount, pg):
    mount = make_mount(options={"coherence": "none", "max_connections": 6})
    names = [f"SYM{k}_orderbook_20250920_100000.csv" for k in range(16)]
    bodies = [HEAD + b"".join(",".join(record(i, f"SYM{k}")).encode() + b"\r\n" for i in range(3000)) for k in range(16)]

    def write(k):
        put(mount.at(f"collector/{names[k]}"), b"")
        append_in_pieces(mount.at(f"collector/{names[k]}"), bodies[k], k, 100000)
    writers = [threading.Thread(target=write, args=(k,)) for k in range(16)]
    for w in writers:
        w.start()
    for w in writers:
        w.join()
    for k in range(16):
        assert mount.bytes(f"collector/{names[k]}") == bodies[k]
    assert rows(pg) == sorted((r for body in bodies for r in parse(body)), key=repr)
    assert len(pg.backends()) <= 6 + 3  # the pool's, and those that listen
    counted(pg, mount)
