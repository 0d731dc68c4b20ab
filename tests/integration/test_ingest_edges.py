"""Ingest files at their edges: renames that a crash cuts short, files without a name, bombs, many names, large files, a database that is
away. Each is compared with SQL, or with a plain directory to which the same was done."""
import errno
import json
import os
import threading
import time
import zlib

import pytest
from kit import append, get, put, refused, rss_kib, run, until
from mountkit import clean_env, rowfs_binary, sanitizer_env

COLUMNS = ["exchange", "symbol", "timestamp", "local_timestamp", "ask_amount", "ask_price", "bid_price", "bid_amount"]
HEAD = (",".join(COLUMNS) + "\r\n").encode()
NAME = "collector/BTCUSDT_orderbook_20250920_100000.csv"


def lines(start, n):
    return "".join(f"ex,S,{i},{i + 1},5000.0,{i % 97}.5,,\r\n" for i in range(start, start + n)).encode()


def fsync_again(fd):
    """Until the database is back: EIO, and then it succeeds."""
    def synced():
        try:
            os.fsync(fd)
            return True
        except OSError as e:
            assert e.errno == errno.EIO
            return False
    until(synced, "fsync succeeds again")


def stamps(pg):
    """The rows, by the one field that tells them apart."""
    return [r[0] for r in pg.sql("select timestamp from orderbook_data order by timestamp, id")]


def kill_and_mount_again(mount):
    mount.kill()
    mount.process.wait()
    run("umount", "-l", mount.path, ok=False)
    mount.start()


class Held:
    """A lock on TABLE held by another session while the block runs; waited() is true once a backend of rowfs waits for it."""

    def __init__(self, pg, table, mode="exclusive"):
        self.pg, self.what = pg, f"lock table {table} in {mode} mode"

    def __enter__(self):
        self.conn = self.pg.connect()
        self.conn.cursor().execute(self.what)
        return self

    def wait(self):
        until(lambda: self.pg.backends("wait_event_type = 'Lock'"), "rowfs waits for the lock")

    def __exit__(self, *_):
        self.conn.close()


def in_thread(action):
    """Runs ACTION in a thread; the caught OSError, if any, is in .error after join()."""
    class Runner(threading.Thread):
        error = None

        def run(self):
            try:
                action()
            except OSError as e:
                self.error = e
    runner = Runner()
    runner.start()
    return runner


# -- names ---------------------------------------------------------------------------------------------------------


ROTATION = {"routes": [{"path": "/c/r.csv", "file": True, "ingest": "orderbook_data", "columns": COLUMNS},
                       {"path": "/c/r.csv.{n}", "file": True, "ingest": "orderbook_data", "columns": COLUMNS, "format": "csv",
                        "replace": "keep"}]}
ROTATE = """
import logging, logging.handlers, sys
handler = logging.handlers.RotatingFileHandler(sys.argv[1] + "/r.csv", maxBytes=2000, backupCount=3)
handler.setFormatter(logging.Formatter("%(message)s"))
for i in range(400):
    handler.emit(logging.LogRecord("r", logging.INFO, "", 0, f"ex,S,{i},{i + 1},5000.0,{i % 97}.5,,", (), None))
handler.close()
"""


def test_a_rotating_log_handler(make_mount, pg, tmp_path):
    """Twenty rotations, the oldest files removed: the bytes as in a plain directory, and each line once in the table."""
    mount = make_mount(layout=ROTATION)
    for top in (mount / "c", tmp_path):
        run("/usr/bin/python3", "-c", ROTATE, top)
    assert mount.ls("c") == sorted(os.listdir(tmp_path)) == ["r.csv", "r.csv.1", "r.csv.2", "r.csv.3"]
    for name in os.listdir(tmp_path):
        assert mount.bytes(f"c/{name}") == get(tmp_path / name), name
    assert stamps(pg) == list(range(400))
    assert pg.sql("select count(*), count(*) filter (where dir = '') from rowfs.file") == [(4, 0)]


def test_a_chain_of_renames_over_the_oldest(make_mount, pg, tmp_path):
    """As logrotate does it: the oldest is renamed over. `"replace": "keep"` keeps its rows."""
    mount = make_mount(layout=ROTATION)
    for top in (mount / "c", tmp_path):
        for i in range(5):
            for k in (1, 0):
                old = top / ("r.csv" if k == 0 else f"r.csv.{k}")
                if old.exists():
                    os.rename(old, top / f"r.csv.{k + 1}")
            put(top / "r.csv", lines(i * 10, 10))
    run("diff", "-r", mount / "c", tmp_path)
    assert stamps(pg) == list(range(50))


def test_a_file_that_is_renamed_while_it_is_written(make_mount, pg, tmp_path):
    """A log is rotated under its writer's feet: what he writes goes to the file, whatever it is called."""
    mount = make_mount(layout=ROTATION)
    for top in (mount / "c", tmp_path):
        with open(top / "r.csv", "ab", buffering=0) as log:
            log.write(lines(0, 5) + lines(5, 1)[:9])
            os.rename(top / "r.csv", top / "r.csv.1")
            log.write(lines(5, 1)[9:] + lines(6, 4))
            put(top / "r.csv", lines(10, 10))
            log.write(lines(20, 10))
    run("diff", "-r", mount / "c", tmp_path)
    assert stamps(pg) == list(range(30))


def test_to_a_route_that_reads_the_lines_in_another_way(make_mount, pg):
    """Seconds there, microseconds here: the rows are made anew, not carried along."""
    seconds = {"timestamp": {"column": "timestamp", "from": "s", "to": "us"}}
    mount = make_mount(layout={"routes": [
        {"path": "/c/{n}.csv", "file": True, "ingest": "orderbook_data", "columns": COLUMNS},
        {"path": "/c/{n}.sec", "file": True, "ingest": "orderbook_data", "columns": COLUMNS, "format": "csv", "fields": seconds}]})
    put(mount / "c/a.csv", HEAD + lines(5, 3))
    os.rename(mount / "c/a.csv", mount / "c/a.sec")
    assert stamps(pg) == [5000000, 6000000, 7000000]
    os.rename(mount / "c/a.sec", mount / "c/b.csv")
    assert stamps(pg) == [5, 6, 7] and mount.ls("c") == ["b.csv"]


def test_a_temporary_name_over_a_file_that_is_there(mount, pg, tmp_path):
    """os.replace(): the old rows go with the old bytes, in one step, and only theirs."""
    put(mount / "collector/ETHUSDT_orderbook_1.csv", HEAD + lines(1000, 3))
    for top in (mount.path, tmp_path):
        (top / "collector").mkdir(exist_ok=True)
        put(top / NAME, HEAD + lines(0, 500))
        put(top / f"{NAME}.tmp", HEAD + lines(300, 400))
        os.replace(top / f"{NAME}.tmp", top / NAME)
        assert sorted(n for n in os.listdir(top / "collector") if n.startswith("BTC")) == [os.path.basename(NAME)]
    assert mount.bytes(NAME) == get(tmp_path / NAME)
    assert stamps(pg) == [*range(300, 700), 1000, 1001, 1002]


def test_to_a_plain_name_and_back(mount, pg):
    """The rows of a file stay when it goes to a plain name; back on the route they are replaced by nothing: it is a new file."""
    body = HEAD + lines(0, 2000)
    put(mount / NAME, body)
    os.chmod(mount / NAME, 0o640)
    os.utime(mount / NAME, (1e9, 1e9))
    put(mount / "collector/kept.bin", b"the old one, which is longer" * 10000)
    os.rename(mount / NAME, mount / "collector/kept.bin")
    assert mount.bytes("collector/kept.bin") == body and mount.ls("collector") == ["kept.bin"]
    seen = os.stat(mount / "collector/kept.bin")
    assert (seen.st_mode & 0o777, seen.st_mtime) == (0o640, 1e9)
    pg.sql("truncate orderbook_data")
    os.rename(mount / "collector/kept.bin", mount / NAME)
    assert mount.bytes(NAME) == body and mount.ls("collector") == [os.path.basename(NAME)]
    assert stamps(pg) == list(range(2000))
    assert pg.one("select count(*) from rowfs.file") == 1


def kill_in_rename(mount, held, old, new):
    """Kills the mount when a rename waits for what is HELD."""
    mover = in_thread(lambda: os.rename(old, new))
    held.wait()
    mount.kill()
    mount.process.wait()
    mover.join()
    assert mover.error is not None


def test_killed_on_the_way_to_a_plain_name(mount, pg):
    """Killed when the bytes are copied and the record is still there: both files are there, whole. Killed before: the file that is to
    be replaced has its old bytes."""
    body, old = HEAD + lines(0, 20000), b"old " * 1000
    put(mount / NAME, body)
    put(mount / "collector/kept.bin", old)
    for table, want in (("rowfs.chunk", old), ("rowfs.file", body)):
        with Held(pg, table, "access exclusive" if table == "rowfs.chunk" else "exclusive") as held:
            kill_and_mount_again(mount) if table == "rowfs.chunk" else None  # nothing of the bytes is known
            kill_in_rename(mount, held, mount / NAME, mount / "collector/kept.bin")
        run("umount", "-l", mount.path, ok=False)
        mount.start()
        assert mount.bytes(NAME) == body
        assert mount.bytes("collector/kept.bin") == want, table
        assert stamps(pg) == list(range(20000))
    os.rename(mount / NAME, mount / "collector/kept.bin")
    assert mount.bytes("collector/kept.bin") == body and not mount.exists(NAME)


def test_killed_on_the_way_from_a_plain_name(mount, pg):
    """The plain file stays till the bytes and the rows are committed; done again, each row is there once."""
    body = HEAD + lines(0, 5000)
    temp = mount / "collector/temp.bin"
    put(temp, body)
    with Held(pg, "orderbook_data") as held:
        kill_in_rename(mount, held, temp, mount / NAME)
    run("umount", "-l", mount.path, ok=False)
    mount.start()
    assert get(temp) == body and stamps(pg) == []
    os.rename(temp, mount / NAME)
    assert mount.bytes(NAME) == body and stamps(pg) == list(range(5000)) and not temp.exists()


def test_a_rename_that_the_server_refuses_leaves_no_name(mount, pg):
    pg.sql("alter table rowfs.chunk add check (at < 262144)")
    temp = mount / "collector/temp.bin"
    put(temp, HEAD + lines(0, 20000))
    mount.expect("rowfs error")
    with refused(errno.EINVAL):
        os.rename(temp, mount / NAME)
    assert mount.ls("collector") == ["temp.bin"] and get(temp) == HEAD + lines(0, 20000)
    assert stamps(pg) == []


# -- removed while open ---------------------------------------------------------------------------------------------


def files(pg):
    return pg.sql("select dir <> '', (select count(*) from rowfs.chunk where file = f.id) from rowfs.file f order by 1")


def test_what_a_killed_mount_had_open_is_removed_by_the_next(make_mount, pg):
    """A second mount that lives meanwhile keeps what it has open, and removes nothing that another has."""
    one, two = make_mount(), make_mount()
    for m, name in ((one, "A_orderbook_1.csv"), (two, "B_orderbook_1.csv")):
        put(m / "collector" / name, HEAD + lines(0, 3))
    a = os.open(one / "collector/A_orderbook_1.csv", os.O_RDONLY)
    b = os.open(two / "collector/B_orderbook_1.csv", os.O_RDONLY)
    os.unlink(one / "collector/A_orderbook_1.csv")
    os.unlink(two / "collector/B_orderbook_1.csv")
    assert files(pg) == [(False, 1), (False, 1)]
    kill_and_mount_again(one)
    until(lambda: files(pg) == [(False, 1)], "what the killed mount had open is gone")
    assert os.pread(b, 1 << 20, 0) == HEAD + lines(0, 3)
    os.close(a)
    os.close(b)
    until(lambda: files(pg) == [], "and the other with its last close")
    assert stamps(pg) == [0, 0, 1, 1, 2, 2]


def test_what_a_dead_machine_had_open_is_removed_after_a_week(make_mount, pg):
    for days in (6, 8):
        pg.sql("insert into rowfs.file (id, dir, name) overriding system value values (%s, '', %s)",
               days, f"{days} 1 {int(time.time()) - days * 86400} elsewhere")
    mount = make_mount()
    until(lambda: pg.sql("select id from rowfs.file") == [(6,)], "the older one is removed")
    assert mount.ls("collector") == []


def test_a_removal_that_fails_takes_nothing_along(mount, pg):
    """The file is open, rm fails: the bytes are there when it is closed."""
    put(mount / NAME, HEAD + lines(0, 3))
    pg.sql("create function no() returns trigger language plpgsql as $$ begin raise exception 'not now'; end $$;"
           "create trigger no before update or delete on rowfs.file for each row execute function no()")
    mount.expect("rowfs error")
    with open(mount / NAME, "rb") as file:
        with pytest.raises(OSError):
            os.unlink(mount / NAME)
        pg.sql("drop trigger no on rowfs.file")
        assert file.read() == HEAD + lines(0, 3)
    assert mount.bytes(NAME) == HEAD + lines(0, 3)
    assert files(pg) == [(True, 1)]


# -- many, and large -------------------------------------------------------------------------------------------------


class Peak(threading.Thread):
    """The most memory (KiB) that the daemon had in the block, and before it."""

    def __init__(self, mount):
        super().__init__()
        self.pid, self.ended = mount.process.pid, threading.Event()
        self.before = self.most = rss_kib(self.pid)

    def run(self):
        while not self.ended.wait(0.01):
            self.most = max(self.most, rss_kib(self.pid))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()


def test_five_thousand_files_are_listed_by_pages(make_mount, pg):
    """`ls -l` asks for pages of names, and for no bytes."""
    pg.sql("insert into rowfs.file (dir, name, size, mode) select '/collector', 'S' || to_char(n, 'FM0000') || '_orderbook_1.csv', n, 384 "
           "from generate_series(1, 5000) n;"
           "insert into rowfs.chunk select id, 0, size, false, convert_to(repeat('x', size::int), 'UTF8') from rowfs.file")
    mount = make_mount(options={"fetch_size": 1000, "coherence": "ttl=60"})
    with pg.queries() as seen:
        entries = {e.name: e.stat() for e in os.scandir(mount / "collector")}
    assert {name: (st.st_size, st.st_mode & 0o777) for name, st in entries.items()} == {
        f"S{n:04}_orderbook_1.csv": (n, 0o600) for n in range(1, 5001)}
    assert seen.total <= 30, seen
    assert not [q for q, _ in seen if "chunk" in q]
    assert mount.bytes("collector/S0017_orderbook_1.csv") == b"x" * 17


# the sanitizer must not keep what was freed
LEAN = {"ASAN_OPTIONS": sanitizer_env()["ASAN_OPTIONS"] + ":quarantine_size_mb=1:thread_local_quarantine_size_kb=64"}


def test_memory_of_a_large_file_that_is_renamed(make_mount, pg, long):
    """It is read, compressed and parsed by pieces."""
    mount = make_mount(env=LEAN)
    size = (200 if long else 40) << 20
    piece = lines(0, 20000)
    temp = mount / "collector/large.tmp"
    with open(temp, "wb") as file:
        file.write(HEAD)
        for _ in range(size // len(piece)):
            file.write(piece)
    with Peak(mount) as peak:
        os.rename(temp, mount / NAME)
    assert pg.one("select count(*) from orderbook_data") == size // len(piece) * 20000
    assert os.stat(mount / NAME).st_size == len(HEAD) + size // len(piece) * len(piece)
    assert peak.most - peak.before < 32 << 10, (peak.before, peak.most)


def bomb(piece, times, level=9):
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(piece) for _ in range(times)), packer.flush()])


def test_a_bomb_of_zeros(make_mount, pg, long):
    """A megabyte that is a gigabyte of zeros: one line that is too long. It is told so, the next member's rows are taken, memory stays."""
    mount = make_mount(env=LEAN)
    body = bomb(b"\0" * (1 << 20), 1024 if long else 100) + bomb(b"\r\n" + lines(0, 5), 1)
    with Peak(mount) as peak:
        mount.refuses(lambda: put(mount / f"{NAME}.gz", body), errno.EINVAL, "longer than 1 MiB")
    assert mount.bytes(f"{NAME}.gz") == body and stamps(pg) == list(range(5))
    assert peak.most - peak.before < 32 << 10, (peak.before, peak.most)
    assert sum(map(len, mount.rejected().values())) < 8 << 20


# -- the database is away --------------------------------------------------------------------------------------------


IMPATIENT = {"retry_attempts": 1, "retry_delay": "0.1", "retry_backoff": "1.0", "connection_timeout": 2}


@pytest.mark.parametrize("synced", [False, True])
def test_away_at_the_last_close(make_mount, pg, server, synced):
    """What fsync has acknowledged is there afterwards. What it has not says an errno, and is in rejected/ to the last byte."""
    mount = make_mount(options=IMPATIENT)
    mount.expect("rowfs error")
    first, second = HEAD + lines(0, 100), lines(100, 50)
    fd = os.open(mount / NAME, os.O_WRONLY | os.O_CREAT)
    os.write(fd, first)
    if synced:
        os.fsync(fd)
    os.write(fd, second)
    server.stop("immediate")
    with refused(errno.EIO):
        os.fsync(fd)
    with refused(errno.EIO):
        os.close(fd)
    until(lambda: mount.kept(), "what could not be committed is kept")
    assert b"".join(mount.kept()) == (second if synced else first + second)
    server.start()
    until(lambda: mount.exists(NAME), "the mount answers again")
    assert mount.bytes(NAME) == (first if synced else b"")
    assert stamps(pg) == list(range(100) if synced else [])
    append(mount / NAME, second if synced else first + second)
    assert mount.bytes(NAME) == first + second and stamps(pg) == list(range(150))


def test_away_between_write_and_fsync(make_mount, pg, server):
    """The bytes wait for the next try of the same open file: acknowledged then, they are there once."""
    mount = make_mount(options=IMPATIENT)
    mount.expect("rowfs error")
    fd = os.open(mount / NAME, os.O_WRONLY | os.O_CREAT)
    os.write(fd, HEAD + lines(0, 100))
    server.stop("immediate")
    with refused(errno.EIO):
        os.fsync(fd)
    server.start()
    fsync_again(fd)
    os.close(fd)
    assert mount.bytes(NAME) == HEAD + lines(0, 100) and stamps(pg) == list(range(100))


# -- what the layout may say ------------------------------------------------------------------------------------------


def test_a_table_with_another_key_is_refused_with_a_way_out(pg, tmp_path):
    """Rows are told to be a file's by ids from a sequence: what has none is refused at mount, and says what to do."""
    pg.sql("create table events (id uuid primary key default gen_random_uuid(), what text); create view seen as select * from events")
    for table in ("events", "seen"):
        layout = tmp_path / "layout.json"
        layout.write_text(json.dumps({"routes": [{"path": "/c/{n}.csv", "file": True, "ingest": table}]}))
        done = run(rowfs_binary(), "check", "--layout", layout, pg.conninfo, ok=False, env=clean_env())
        assert done.returncode == 1
        assert f"{table} must be a table whose primary key is one integer column with a sequence" in done.stderr
        assert "bigserial" in done.stderr and "\"rows\" route" in done.stderr, done.stderr


# -- a header that cannot be used ----------------------------------------------------------------------------------------


def test_unknown_names_in_a_header(mount, pg):
    """Read by the default order the fields would be another's: no line is taken. It is told with the name, the others in one line for
    all; the bytes are kept, also after a remount, and a header that can be used takes them."""
    swapped = "symbol,exchange,timestamp,local_timestamp,venue"
    data = "".join(f"S,ex,{i},{i},x\r\n" for i in range(5000))
    body = (swapped + "\r\n" + data).encode()
    mount.refuses(lambda: put(mount / NAME, body), errno.EINVAL, keeps=swapped)
    assert mount.bytes(NAME) == body and stamps(pg) == []
    said = [e["message"] for e in mount.errors()]
    assert said[0].startswith('the header names what is no field of the file: "venue" (no line of it'), said
    assert said[1].startswith("5000 lines from this one on are no rows: the header names") and len(said) == 2, said
    mount.umount()
    mount.start()
    mount.refuses(lambda: append(mount / NAME, lines(0, 3)), errno.EINVAL, "3 lines from this one on", "venue")
    assert mount.bytes(NAME) == body + lines(0, 3) and stamps(pg) == []
    put(mount / NAME, body.replace(b",venue\r\n", b"\r\n").replace(b",x\r\n", b"\r\n"))
    assert stamps(pg) == list(range(5000))
    assert pg.sql("select distinct symbol, exchange from orderbook_data") == [("S", "ex")]


@pytest.mark.parametrize("first, said", [("exchange,symbol,symbol,timestamp,local_timestamp", "one column twice"),
                                         ("id,exchange,symbol,timestamp,local_timestamp", '"id"'),
                                         ("\ufeffticker,exchange,symbol,timestamp,local_timestamp,TIMESTAMP", '"ticker", "TIMESTAMP"')])
def test_headers_that_cannot_be_used(mount, pg, first, said):
    body = (first + "\n").encode() + lines(0, 2)
    with open(mount / NAME, "wb", buffering=0) as file:
        for at in range(0, len(body), 7):
            file.write(body[at:at + 7])
        with refused(errno.EINVAL):
            os.fsync(file.fileno())
    assert said in mount.errors()[0]["message"] and stamps(pg) == []
    assert sum("lines from this one on" in e["message"] for e in mount.errors()) == 1
    assert mount.bytes(NAME) == body


def test_a_first_line_that_has_a_name_among_its_values(mount, pg):
    """A row is a row, whatever it says."""
    put(mount / NAME, b"ex,symbol,1,1,,,,\r\n" + lines(2, 2))
    assert stamps(pg) == [1, 2, 3]


# -- too many bad lines --------------------------------------------------------------------------------------------------


def test_too_many_bad_lines_are_told_together(mount, pg):
    """A thousand of them each by itself, the others in one entry with their number and range; the good ones are rows."""
    bad = [b"bad %d" % i for i in range(3000)]
    body = HEAD + lines(0, 5) + b"\n".join(bad) + b"\n" + lines(5, 5)
    with open(mount / NAME, "wb", buffering=0) as file:
        file.write(body)
        with refused(errno.EINVAL):
            os.fsync(file.fileno())
    assert mount.bytes(NAME) == body and stamps(pg) == list(range(10))
    assert mount.kept() == bad[:1001]
    said = mount.errors()[-1]["message"]
    assert said.startswith("this line and 1999 more up to line 3006 are no rows"), said
    last = json.loads(list(mount.rejected().values())[0].decode().splitlines()[-1])
    assert last["line"] == 1 + 5 + 1001 and last["message"] == said
    # the same as one transaction of several pieces
    put(mount / "collector/x.tmp", body[:-len(lines(5, 5))] + b"worse\n" * 200_000 + lines(5, 5))
    os.rename(mount / "collector/x.tmp", mount / NAME)
    assert stamps(pg) == list(range(10))
    assert mount.kept()[1001:] == bad[:1001]
    assert mount.errors()[-1]["message"].startswith("this line and 201999 more up to line 203006 are no rows")


def test_a_bomb_of_blank_lines(make_mount, pg, long):
    """A few kilobytes that are millions of blank lines, each of them a bad one: memory stays, and the rows behind them come."""
    mount = make_mount(env=LEAN)
    body = bomb(b"\n" * (1 << 20), 64 if long else 4) + bomb(lines(0, 5), 1)
    with Peak(mount) as peak:
        mount.refuses(lambda: put(mount / f"{NAME}.gz", body), errno.EINVAL, "more up to line")
    assert mount.bytes(f"{NAME}.gz") == body and stamps(pg) == list(range(5))
    assert peak.most - peak.before < 48 << 10, (peak.before, peak.most)


# -- many chunks ----------------------------------------------------------------------------------------------------------


def test_a_file_of_many_small_chunks_is_read_by_few_statements(make_mount, pg):
    """As a program leaves it that calls fsync after each line: it is read by pieces, from anywhere, to the last byte."""
    mount = make_mount()
    body = HEAD + lines(0, 20_000)
    put(mount / NAME, body)
    file = pg.one("select id from rowfs.file")
    chunks, at = [], 0
    for line in body.splitlines(keepends=True):
        packed = zlib.compress(line * 9) if at % 7 == 0 else None  # some are stored compressed
        text = line * 9 if packed else line
        chunks.append((at, len(text), packed is not None, packed or text))
        at += len(text)
    body = b"".join(zlib.decompress(data) if packed else data for _, _, packed, data in chunks)
    with pg.connect() as conn:
        cursor = conn.cursor()
        cursor.execute("delete from rowfs.chunk")
        cursor.execute("insert into rowfs.chunk select %s, u.* from unnest(%s::bigint[], %s::int[], %s::bool[], %s::bytea[]) as u",
                       (file, *map(list, zip(*chunks))))
        cursor.execute("update rowfs.file set size = %s", (len(body),))
        conn.commit()
    mount.umount()
    mount.start()
    with pg.queries() as seen:
        assert mount.bytes(NAME) == body
    reads = sum(n for q, n in seen if "rowfs.chunk" in q)
    assert 0 < reads <= len(body) // (256 << 10) + 2, (reads, len(body))
    fd = os.open(mount / NAME, os.O_RDONLY)
    for at in (0, 1, 1000, 300_001, len(body) - 5):
        assert os.pread(fd, 5000, at) == body[at:at + 5000], at
    os.close(fd)


def test_a_chunk_that_is_missing_is_told(make_mount, pg):
    """Rows of rowfs.chunk that somebody has deleted: what is before them is read, and the rest says EIO and what to do."""
    mount = make_mount()
    pieces = [HEAD, lines(0, 10), lines(10, 10)]
    for piece in pieces:
        append(mount / NAME, piece)
    mount.umount()
    pg.sql(f"delete from rowfs.chunk where at = {len(HEAD)}")
    mount.start()
    fd = os.open(mount / NAME, os.O_RDONLY)
    assert os.pread(fd, len(HEAD), 0) == HEAD
    mount.refuses(lambda: os.pread(fd, 100, len(HEAD)), errno.EIO, f"the bytes from {len(HEAD)} on are missing", "restore them")
    assert os.pread(fd, len(pieces[2]), len(HEAD + pieces[1])) == pieces[2]
    os.close(fd)
