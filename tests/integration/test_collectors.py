"""Many collectors at once: each line that was acknowledged is a row, exactly once, and readers meanwhile see whole lines, once.

The collectors are tests/writers/numbered.py: numbered lines, an acknowledgement after each fsync, their content a function of the number."""
import collections
import contextlib
import itertools
import os
import signal
import subprocess

import pytest

import numbered
from kit import ROOT, get, until
from market import DAY

PROGRAM = ROOT / "tests/writers/numbered.py"
EXCHANGE = "numbered"


class Numbered:
    """A running collector (or reader) and what it was told."""

    def __init__(self, tmp_path, kind, path, *words, writer=1, symbol="ONE", seed=0, exchange=EXCHANGE):
        self.kind, self.path, self.writer, self.symbol, self.exchange = kind, path, writer, symbol, exchange
        self.acks = tmp_path / f"acks-{exchange}-{symbol}-{writer}"
        self.errors = tmp_path / f"errors-{exchange}-{symbol}-{writer}"
        self.argv = ["/usr/bin/python3", PROGRAM, kind, path, "--writer", writer, "--symbol", symbol, "--exchange", exchange, "--acks", self.acks,
                     "--seed", seed, *words]
        self.process = None

    def start(self):
        with open(self.errors, "ab") as err:
            self.process = subprocess.Popen([str(a) for a in self.argv], stdin=subprocess.DEVNULL, stdout=err, stderr=err)
        return self

    def acked(self):
        """The last number that was acknowledged."""
        text = self.acks.read_text() if self.acks.exists() else ""
        whole = text[:text.rfind("\n") + 1].split()
        return int(whole[-1]) if whole else 0

    def running(self):
        return self.process is not None and self.process.poll() is None

    def story(self):
        return self.errors.read_text()[-2000:]

    def wait(self, timeout=100):
        return self.process.wait(timeout)

    def end(self):
        """Asks it to stop; it must be content."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        assert self.wait() == 0, self.story()

    def kill(self):
        if self.running():
            self.process.kill()
        if self.process is not None:
            self.process.wait()


@contextlib.contextmanager
def all_of(processes):
    """None is left running, whatever happens."""
    try:
        yield processes
    finally:
        for p in processes:
            p.kill()


def rows_path(mount, symbol="ONE"):
    return mount / f"orderbook/{EXCHANGE}/{symbol}/{DAY}.csv"


def judge_rows(pg, c, exactly=None):
    """The rows of collector C by SQL: a beginning of what it sends, with all that was acknowledged, none twice, all right."""
    n, different, low, high, right = pg.sql(numbered.check_sql(c.exchange, c.symbol, c.writer))[0]
    assert n >= c.acked(), f"writer {c.writer} of {c.symbol}: {c.acked()} lines were acknowledged, {n} are there"
    assert n == different, f"writer {c.writer} of {c.symbol}: {n - different} rows are there twice"
    assert n == 0 or (low == 0 and high == n - 1), f"writer {c.writer} of {c.symbol}: rows {low} to {high} are {n}"
    assert right, f"writer {c.writer} of {c.symbol}: a row has other values than its line"
    if exactly is not None:
        assert n == exactly, f"writer {c.writer} of {c.symbol}: {exactly} lines were sent, {n} are there"
    return n


def judge_file(pg, path, symbol="ONE"):
    """The rows file: its size is what can be read, its lines are the table's, in order."""
    data = get(path)
    assert os.stat(path).st_size == len(data)
    assert data.startswith(numbered.HEADER) and data.endswith(b"\n")
    want = [tuple(r) for r in pg.sql(f"select local_timestamp / {numbered.SCALE}, local_timestamp %% {numbered.SCALE} from orderbook_data "
                                     "where exchange = %s and symbol = %s order by timestamp, id", EXCHANGE, symbol)]
    assert [numbered.split(line) for line in data.splitlines(keepends=True)[1:]] == want


def judge_stream(pg, c, path):
    """An ingest file: its bytes are a beginning of what was sent, with all that was acknowledged, and its lines are the rows."""
    data = get(path)
    assert os.stat(path).st_size == len(data)
    assert len(data) >= c.acked(), f"{path}: {c.acked()} bytes were acknowledged, {len(data)} are there"
    assert data == numbered.stream_prefix(c.kind, c.exchange, c.symbol, c.writer, len(data)), f"{path}: other bytes than were sent"
    numbers = numbered.lines_in(c.kind, data)
    assert numbers == list(range(len(numbers)))
    n = judge_rows(pg, Unacked(c))
    assert n == len(numbers), f"{path}: {len(numbers)} lines, {n} rows"


class Unacked:
    """A collector whose acknowledgements are bytes, seen as one of rows."""

    def __init__(self, c):
        self.exchange, self.symbol, self.writer = c.exchange, c.symbol, c.writer

    def acked(self):
        return 0


def run_for(seconds, collectors, each=1):
    """Lets them all work that long, and until each has got an acknowledgement; none may fail meanwhile."""
    def content():
        for c in collectors:
            assert c.running(), f"writer {c.writer} of {c.symbol} ended: {c.story()}"
        return all(c.acked() >= each for c in collectors)
    until(content, "each collector is acknowledged", timeout=60)
    with contextlib.suppress(subprocess.TimeoutExpired):
        collectors[0].process.wait(seconds)
    assert content()


def finish(collectors):
    for c in collectors:
        c.process.send_signal(signal.SIGTERM)
    for c in collectors:
        assert c.wait() == 0, f"writer {c.writer} of {c.symbol}: {c.story()}"


def work_for(seconds, collectors):
    """Starts them, lets them work that long, and ends them."""
    with all_of(collectors):
        for c in collectors:
            c.start()
        run_for(seconds, collectors)
        finish(collectors)


def work_to_the_end(collectors):
    """Starts them and waits until each has sent all that it was told to."""
    with all_of(collectors):
        for c in collectors:
            c.start()
        for c in collectors:
            assert c.wait() == 0, f"writer {c.writer} of {c.symbol}: {c.story()}"


# -- rows files -------------------------------------------------------------------------------------------------------


def test_fifty_symbols(mount, pg, tmp_path, seed, long):
    symbols = [f"S{i:02}USDT" for i in range(50)]
    collectors = [Numbered(tmp_path, "rows", rows_path(mount, s), "--sync", 50, "--pause", 0.02, *(["--cut"] if i % 2 else []), symbol=s, seed=seed)
                  for i, s in enumerate(symbols)]
    work_for(60 if long else 4, collectors)
    for c in collectors:
        judge_rows(pg, c, exactly=c.acked())
    for c in collectors[::7]:
        judge_file(pg, c.path, c.symbol)
    assert mount.ls(f"orderbook/{EXCHANGE}") == symbols


@pytest.mark.parametrize("sync", [1, 30])
def test_eight_writers_on_one_file(mount, pg, tmp_path, seed, sync, long):
    """Readers that read it meanwhile: a half line, a torn one or one that comes twice ends them with a word about it."""
    path, lines = rows_path(mount), (20 if long else 1) * (60 if sync == 1 else 800)
    collectors = [Numbered(tmp_path, "rows", path, "--sync", sync, "--shared", "--lines", lines, *(["--cut"] if w % 2 else []), writer=w, seed=seed)
                  for w in range(1, 9)]
    first = Numbered(tmp_path, "rows", path, "--lines", 1, writer=99)  # so that the file is there
    assert first.start().wait() == 0, first.story()
    # Lines of others that sort before what was read already are not seen; those of writer 99 alone are all.
    readers = [Numbered(tmp_path, "follow", path, "--last", "99=0", writer=100 + i) for i in range(2)]
    with all_of(collectors + readers):
        for c in collectors:
            c.start()
        for i in itertools.count():
            if i % 2 == 0 or not any(r.running() for r in readers):
                for r in readers:
                    if not r.running():
                        assert r.process is None or r.process.returncode == 0, r.story()
                        r.start()
            if not any(c.running() for c in collectors):
                break
            for c in collectors:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    c.process.wait(0.05)
        for c in collectors:
            assert c.wait() == 0, c.story()
        for r in readers:
            assert r.wait() == 0, r.story()
    for c in collectors:
        judge_rows(pg, c, exactly=lines)
    judge_file(pg, path)


def test_sixteen_files(mount, pg, tmp_path, seed, long):
    lines = 20000 if long else 1000
    collectors = [Numbered(tmp_path, "rows", rows_path(mount, f"W{w}"), "--sync", 25, "--lines", lines, "--cut", writer=w, symbol=f"W{w}", seed=seed)
                  for w in range(16)]
    work_to_the_end(collectors)
    for c in collectors:
        assert c.acked() == lines
        judge_rows(pg, c, exactly=lines)
        judge_file(pg, c.path, c.symbol)


def test_two_mounts_append_to_one_file(make_mount, pg, tmp_path, seed):
    mounts = [make_mount(), make_mount()]
    collectors = [Numbered(tmp_path, "rows", rows_path(mounts[w % 2]), "--sync", 20, "--shared", "--lines", 500, "--cut", writer=w, seed=seed)
                  for w in range(1, 5)]
    work_to_the_end(collectors)
    for c in collectors:
        judge_rows(pg, c, exactly=500)
    for m in mounts:
        until(lambda: os.stat(rows_path(m)).st_size == len(get(rows_path(m))), "the other mount's rows are seen", timeout=5)  # noqa: B023
        judge_file(pg, rows_path(m))


@pytest.mark.parametrize("sync", [1, 200])
def test_followed_while_it_grows(mount, pg, tmp_path, seed, sync):
    """One writer in order: who follows sees each line, in order, whole, once; tail -f too."""
    path, lines = rows_path(mount), 300 if sync == 1 else 5000
    first = Numbered(tmp_path, "rows", path, "--lines", 1, "--seed", seed)
    assert first.start().wait() == 0, first.story()
    reader = Numbered(tmp_path, "follow", path, "--complete", "--last", f"1={lines - 1}", writer=100)
    shown = tmp_path / "shown"
    with all_of([reader]), open(shown, "wb") as out, subprocess.Popen(["tail", "-n", "+1", "-s", "0.05", "-f", path], stdout=out) as tail:
        try:
            reader.start()
            c = Numbered(tmp_path, "rows", path, "--sync", sync, "--lines", lines, "--cut", seed=seed)
            assert c.start().wait() == 0, c.story()
            assert reader.wait(60) == 0, reader.story()
            until(lambda: shown.read_bytes().count(b"\n") > lines, "tail -f shows all", timeout=30)
        finally:
            tail.kill()
    judge_rows(pg, c, exactly=lines)
    judge_file(pg, path)
    assert shown.read_bytes() == get(path)


def test_sizes_seen_by_stat_are_true(mount, pg, tmp_path, seed):
    """While it grows, what stat says can be read, and ends with a line."""
    path = rows_path(mount)
    c = Numbered(tmp_path, "rows", path, "--sync", 5, "--lines", 1500, "--cut", seed=seed)
    seen = collections.Counter()
    with all_of([c]):
        c.start()
        until(path.exists, "the file is there")
        while c.running():
            fd = os.open(path, os.O_RDONLY)
            try:
                size = os.fstat(fd).st_size
                data = os.pread(fd, size, 0)
                while len(data) < size:
                    more = os.pread(fd, size - len(data), len(data))
                    assert more, f"stat said {size}, {len(data)} can be read"
                    data += more
                assert data.endswith(b"\n"), f"{size} is no line's end: {data[-100:]!r}"
                seen[size] += 1
            finally:
                os.close(fd)
        assert c.wait() == 0, c.story()
    assert len(seen) > 1
    judge_rows(pg, c, exactly=1500)


# -- ingest files -----------------------------------------------------------------------------------------------------


def ingest_path(mount, kind, symbol):
    return mount / f"collector/{symbol}_orderbook_20250920_104951.csv{'.gz' if kind == 'gz' else ''}"


@pytest.mark.parametrize("kind", ["csv", "gz"])
def test_many_ingest_files(kind, mount, pg, tmp_path, seed, long):
    collectors = [Numbered(tmp_path, kind, ingest_path(mount, kind, f"I{w}"), "--sync", 30, "--lines", 30000 if long else 3000, "--cut", writer=w,
                           symbol=f"I{w}", seed=seed) for w in range(12)]
    work_to_the_end(collectors)
    for c in collectors:
        assert os.stat(c.path).st_size == c.acked() > 0
        judge_stream(pg, c, c.path)


def test_both_sorts_at_once(mount, pg, tmp_path, seed, long):
    """Rows files and ingest files into one table at the same time."""
    kinds = ["rows", "csv", "gz"] * 5
    collectors = [Numbered(tmp_path, k, rows_path(mount, f"B{w}") if k == "rows" else ingest_path(mount, k, f"B{w}"), "--sync", 20, "--cut", writer=w,
                           symbol=f"B{w}", seed=seed) for w, k in enumerate(kinds)]
    work_for(60 if long else 3, collectors)
    for c in collectors:
        if c.kind == "rows":
            judge_rows(pg, c, exactly=c.acked())
            judge_file(pg, c.path, c.symbol)
        else:
            judge_stream(pg, c, c.path)


def test_two_mounts_append_records_to_one_ingest_file(make_mount, pg, tmp_path, seed):
    """O_APPEND from two machines: an append is an append; the file has each line once, and so has the table."""
    mounts = [make_mount(), make_mount()]
    paths = [ingest_path(m, "csv", "TWO") for m in mounts]
    first = os.open(paths[0], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(first, numbered.HEADER)
    os.close(first)
    until(paths[1].exists, "the other mount sees it")
    script = """import os, sys; sys.path.insert(0, sys.argv[1]); import numbered
path, w = sys.argv[2], int(sys.argv[3])
for n in range(150):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, numbered.line_of("numbered", "TWO", w, n))
    os.close(fd)"""
    writers = [subprocess.Popen(["/usr/bin/python3", "-c", script, str(PROGRAM.parent), str(p), str(w)]) for w, p in enumerate(paths, 1)]
    assert [w.wait(100) for w in writers] == [0, 0]
    for path in paths:
        until(lambda: os.stat(path).st_size == len(get(path)), "sizes settle", timeout=5)  # noqa: B023
        lines = [numbered.split(line) for line in get(path).splitlines(keepends=True)[1:]]
        assert sorted(lines) == [(w, n) for w in (1, 2) for n in range(150)]
    for w in (1, 2):
        judge_rows(pg, Numbered(tmp_path, "csv", paths[0], writer=w, symbol="TWO"), exactly=150)


def test_buffers_are_as_large_as_on_a_disk(mount, tmp_path):
    """Programs make their buffers by st_blksize: with a larger one readers would see lines later than on a disk."""
    os.makedirs(os.path.dirname(rows_path(mount)), exist_ok=True)
    os.makedirs(os.path.dirname(ingest_path(mount, "csv", "ONE")), exist_ok=True)
    want = os.stat(tmp_path).st_blksize
    assert want == 4096
    for path in (rows_path(mount), ingest_path(mount, "csv", "ONE"), mount / "plain"):
        with open(path, "ab") as f:
            assert os.fstat(f.fileno()).st_blksize == want, path
