"""How what is written to ingest files is sent: while it comes in, by the clock, by several at once, and when an answer is lost. The rows are
compared with a parse of the same bytes by Python."""
import contextlib
import errno
import json
import os
import random
import re
import threading
import zlib

import pytest
from ingestkit import COLUMNS, HEAD, IMPATIENT, NAME, check, lines, parse, put, record, rows
from kit import until

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
            json.dumps({k: v or None for k, v in zip(COLUMNS, record(i))}) + "\n" for i in range(start, start + 1000)).encode()
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
