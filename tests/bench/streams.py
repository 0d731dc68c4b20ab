"""The part of the benchmark that is about streams of rows: appends, ingest files, reading and what others' inserts pay.

tests/bench/run has one Streams for the whole of it and calls once() in each interleaved round. All ratios are ours over theirs, in
time or in speed as the row says; sources are made by formula, so that every run writes the same lines."""
import asyncio
import contextlib
import gzip
import os
import statistics
import subprocess
import time
from decimal import Decimal

import asyncpg
import psycopg2

import kit
import mountkit
import spent

COLUMNS = "exchange, symbol, timestamp, local_timestamp, ask_amount, ask_price, bid_price, bid_amount"
HEADER = COLUMNS.replace(" ", "") + "\n"
COPY = f"copy orderbook_data ({COLUMNS}) from stdin (format csv)"
INSERT = f"insert into orderbook_data ({COLUMNS}) values ($1, $2, $3, $4, $5, $6, $7, $8)"
FIRST_US = 1758326400000000  # 2025-09-20; a microsecond a row, so that ten million rows are one day's
EXCHANGE, DAY, BATCH = "binance-futures", "2025-09-20", 5000
SELECT = (f"select {COLUMNS} from orderbook_data where exchange = '{EXCHANGE}' and symbol = 'BTCUSDT' and timestamp >= {FIRST_US} "
          f"and timestamp < {FIRST_US + 86400 * 10**6} order by timestamp, id")
WRITERS = 16

# name: (figure, against, "time" or "speed" of ours over theirs, wanted)
ROWS = {
    "append": ("append of CSV lines, fsync each 5 000", "libpq COPY of the same", "speed", 0.9),
    "ingest": ("the same into an ingest file", "libpq COPY of the same", "speed", 0.8),
    "gzip": ("the same as .csv.gz", "zcat | libpq COPY", "speed", 0.8),
    "bad": ("append with 1 bad line in 10", "clean", "speed", 0.95),
    "sync1": ("one line + fsync, 1 writer", "autocommit INSERT", "speed", 0.6),
    "sync16": ("one line + fsync, 16 writers", "autocommit INSERT", "speed", 0.65),
    "sync16_file": ("the same, all to one file", "autocommit INSERT", "speed", None),
    "small": ("80-byte writes, one core", "null", "time", 1.7),
    "read": ("cold read from start to end", "psql \\copy", "speed", 0.9),
    "tail": ("tail -n 1 of a long file", "1 000 times shorter", "time", 2.0),
    "tail_ms": ("the same, milliseconds", None, "ms", 5.0),
    "collectors": ("16 collectors at once", "one", "speed", 1.0),
    "others": ("COPY of 5 000 rows by others, triggers on", "triggers off", "time", 1.25),
    "many": ("append of CSV lines, fsync each 5 000", "executemany of 50, libpq", "speed", None),
    "many_python": ("append of CSV lines, fsync each 5 000", "executemany of 50, asyncpg", "speed", 5.0),
}
NAMES = [name for name in ROWS if name != "tail_ms"]


def make_lines(path, n, symbol="BTCUSDT", header=False, bad_every=0):
    with open(path, "w", encoding="utf-8") as f:
        if header:
            f.write(HEADER)
        for i in range(n):
            if bad_every and i % bad_every == bad_every - 1:
                f.write(f"{EXCHANGE},{symbol},not a number,{i},1,2,3,4\n")
            else:
                t = FIRST_US + i
                f.write(f"{EXCHANGE},{symbol},{t},{t + 350},{i % 997 / 8},{115000 + i % 8191 / 8},{114999 + i % 8191 / 8},{i % 499 / 4}\n")


class Streams:
    def __init__(self, programs, only, rows, directory):
        self.programs, self.rows, self.dir = programs, rows, directory / "streams"
        self.only = [name for name in NAMES if name in only]
        self.results, self.failures, self.peak_kib, self.mounts, self.next_file = {}, {}, 0, [], 0
        self.server = None
        if not self.only:
            return
        self.dir.mkdir()
        self.server = kit.Postgres(settings=["fsync = on", "log_min_messages = fatal", "shared_buffers = 256MB", "max_wal_size = 4GB"])
        self.db = self.database("streams")
        self.make_sources()
        self.tail_ready = False

    def database(self, name):
        db = self.server.create_database(name)
        kit.deploy(db)
        return db

    def close(self):
        for m in self.mounts:
            m.destroy()
        if self.server is not None:
            self.server.destroy()

    def make_sources(self):
        self.clean, self.headed, self.bad = self.dir / "clean.csv", self.dir / "headed.csv", self.dir / "bad.csv"
        make_lines(self.clean, self.rows)
        make_lines(self.headed, self.rows, header=True)
        make_lines(self.bad, self.rows, bad_every=10)
        if "gzip" in self.only:
            with open(self.headed, "rb") as f, gzip.open(self.dir / "headed.csv.gz", "wb", 6) as z:
                while data := f.read(1 << 20):
                    z.write(data)
        if {"collectors", "sync1", "sync16", "sync16_file"} & set(self.only):
            for i in range(WRITERS):
                make_lines(self.dir / f"part{i}.csv", self.rows // WRITERS, f"SYM{i}")

    # -- running things ------------------------------------------------------------------------------------------------------

    def program(self, name, *words, pinned=False, stdin=None):
        argv = [*(["taskset", "-c", "0"] if pinned else []), str(self.programs / name), *map(str, words)]
        done, cost = spent.measured(self, lambda: subprocess.run(argv, capture_output=True, text=True, check=False, stdin=stdin))
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(argv[:6])}: {done.stderr.strip()}")
        n, seconds = done.stdout.split()
        return int(n), cost or float(seconds)

    def lines(self, *words, **kw):
        return self.program("lines", *words, **kw)

    def proof(self):
        """What a session says whose rows the triggers are not to count."""
        return self.db.one("select proof from rowfs.secret")

    def libpq(self, *words, triggers=False, **kw):
        """Without the triggers that a mount installs, unless they are what is measured."""
        conninfo = self.db.conninfo + ("" if triggers else f" options='-c rowfs.daemon={self.proof()}'")
        return self.program("pglines", conninfo, *words, **kw)

    @contextlib.contextmanager
    def rowfs(self, db=None, pinned=False):
        m = mountkit.Mount((db or self.db).conninfo, start=False, log_level="error")
        if pinned:
            m.argv = ["taskset", "-c", "0", *m.argv]
        self.mounts.append(m)
        m.start(timeout=900)
        m._watch.cancel()  # a benchmark may take longer than a test
        try:
            yield m
            if not m.alive():
                raise RuntimeError("the daemon is dead")
            with open(f"/proc/{m.process.pid}/status", encoding="ascii") as f:
                peak = next((int(line.split()[1]) for line in f if line.startswith("VmHWM")), 0)
            self.peak_kib = max(self.peak_kib, peak)
            m.umount()
        finally:
            m.destroy()
            self.mounts.remove(m)

    def book(self, m, symbol="BTCUSDT"):
        return m / f"orderbook/{EXCHANGE}/{symbol}/{DAY}.csv"

    def empty(self):
        self.db.sql("truncate orderbook_data")

    def expect(self, rows):
        got = self.db.one("select count(*) from orderbook_data")
        if got != rows:
            raise RuntimeError(f"{got} rows have come of {rows}")

    def make_day(self, m, symbol="BTCUSDT"):
        """Directories are values that rows have: one row makes them, and the file with them."""
        path = self.book(m, symbol)
        with contextlib.suppress(OSError):
            os.makedirs(path.parent, exist_ok=True)
        return path

    # -- the rows ------------------------------------------------------------------------------------------------------------
    # Each returns (seconds per line of ours, of theirs), except where the row says milliseconds.

    def copied(self):
        """libpq's time for the lines of `append`, which several rows are measured against."""
        self.empty()
        n, seconds = self.libpq("copy", COPY, self.clean, BATCH)
        self.expect(self.rows)
        return seconds / n

    def appended(self, source=None, rows=None):
        with self.rowfs() as m:
            self.empty()
            n, seconds = self.lines("append", BATCH, source or self.clean, self.make_day(m))
            self.expect(self.rows if rows is None else rows)
        return seconds / n

    def do_append(self):
        return self.appended(), self.copied()

    def ingested(self, source):
        with self.rowfs() as m:
            os.makedirs(m / "collector", exist_ok=True)
            self.empty()
            self.next_file += 1
            suffix = ".csv.gz" if source.suffix == ".gz" else ".csv"
            every = BATCH if suffix == ".csv" else 0
            path = m / f"collector/BTCUSDT_orderbook_20250920_{self.next_file:06d}{suffix}"
            seconds = self.lines("append", every, source, path)[1]
            self.expect(self.rows)
        return seconds / self.rows

    def do_ingest(self):
        return self.ingested(self.headed), self.copied()

    def do_gzip(self):
        ours = self.ingested(self.dir / "headed.csv.gz")
        self.empty()
        sql = COPY.replace("csv)", "csv, header)")
        with subprocess.Popen(["zcat", str(self.dir / "headed.csv.gz")], stdout=subprocess.PIPE) as zcat:
            seconds = self.libpq("copy", sql, "-", self.rows + 1, stdin=zcat.stdout)[1]
        self.expect(self.rows)
        return ours, seconds / self.rows

    def do_bad(self):
        return self.appended(self.bad, self.rows - self.rows // 10), self.appended()

    def synced(self, writers, files):
        count = max(self.rows // (500 if writers == 1 else 100) // writers, 50)
        with self.rowfs() as m:
            self.empty()
            pairs = [(self.dir / f"part{i % files}.csv", self.make_day(m, f"SYM{i % files}")) for i in range(writers)]
            n, seconds = self.lines("sync", count, *[w for pair in pairs for w in pair])
            self.expect(n)
        self.empty()
        n2, seconds2 = self.libpq("insert", INSERT, self.clean, writers, count)
        return seconds / n, seconds2 / n2

    def do_sync1(self):
        return self.synced(1, 1)

    def do_sync16(self):
        return self.synced(WRITERS, WRITERS)

    def do_sync16_file(self):
        return self.synced(WRITERS, 1)

    def do_small(self):
        count = max(self.rows // 10, 1000)
        null = self.dir / "null"
        null.mkdir(exist_ok=True)
        with subprocess.Popen(["taskset", "-c", "0", str(self.programs / "nullfs"), str(null), "10", "150", "60"], stdout=subprocess.PIPE) as p:
            try:
                kit.until(lambda: mountkit.is_mounted(null), "nullfs is mounted")
                n, theirs = self.lines("small", self.clean, null / "00000.json", count, pinned=True)
            finally:
                mountkit.lazy_umount(null)
                p.terminate()
        with self.rowfs(pinned=True) as m:
            self.empty()
            ours = self.lines("small", self.clean, self.make_day(m), count, pinned=True)[1]
            self.expect(count)
        return ours / n, theirs / n

    def do_read(self):
        self.empty()
        self.libpq("copy", COPY, self.clean, self.rows, triggers=True)
        self.db.sql("vacuum analyze orderbook_data")
        with self.rowfs() as m:
            n, ours = self.lines("read", self.book(m))
            if n != self.rows + 1:
                raise RuntimeError(f"{n} lines were read of {self.rows + 1}")
        start = time.monotonic()
        kit.run("psql", "-X", "-q", "-d", self.db.conninfo, "-c", f"\\copy ({SELECT}) to '{self.dir}/out' (format csv, header)", timeout=600)
        return ours / self.rows, (time.monotonic() - start) / self.rows

    def do_tail(self):
        """A database of its own: ten times as many rows as elsewhere, and a file a thousandth as long."""
        if not self.tail_ready:
            self.long = self.database("long")
            for symbol, n in (("BTCUSDT", 10 * self.rows), ("SHORT", self.rows // 100)):
                self.long.sql(f"insert into orderbook_data ({COLUMNS}) select '{EXCHANGE}', '{symbol}', {FIRST_US} + g, {FIRST_US} + g, "
                              f"g % 997 / 8.0, 115000, 114999, 1 from generate_series(1, {n}) g")
            self.long.sql("vacuum analyze orderbook_data")
            self.tail_ready = True
        with self.rowfs(self.long) as m:
            short, ours = self.book(m, "SHORT"), self.book(m)
            os.stat(short), os.stat(ours)
            theirs = self.lines("tail", short)[1]
            seconds = self.lines("tail", ours)[1]
        self.results.setdefault("tail_ms", []).append((seconds * 1000, 1))
        return seconds, theirs

    def do_collectors(self):
        with self.rowfs() as m:
            self.empty()
            pairs = [w for i in range(WRITERS) for w in (self.dir / f"part{i}.csv", self.make_day(m, f"SYM{i}"))]
            n, seconds = self.lines("append", BATCH, *pairs)
            self.expect(n)
        return seconds / n, self.appended()

    def do_others(self):
        """Needs the slices that a mount leaves behind; the mount itself is gone while it is measured."""
        with self.rowfs() as m:
            os.listdir(m / "orderbook")
        times = []
        for word in ("enable", "disable"):
            self.empty()
            self.db.sql(f"alter table orderbook_data {word} trigger user")
            times.append(self.libpq("copy", COPY, self.clean, BATCH, triggers=True)[1] / self.rows)
        self.db.sql("alter table orderbook_data enable trigger user")
        return times

    def do_many(self):
        ours, count = self.appended(), max(self.rows // 10, 1000)
        self.empty()
        n, seconds = self.libpq("many", INSERT, self.clean, count, 50)
        return ours, seconds / n

    def do_many_python(self):
        """The peer: a collector on asyncpg that has parsed its values already, and sends fifty rows at a time."""
        ours, count = self.appended(), max(self.rows // 20, 1000)
        self.empty()
        with open(self.clean, encoding="ascii") as f:
            lines = [next(f).rstrip("\n").split(",") for _ in range(count)]
        rows = [(*v[:2], int(v[2]), int(v[3]), *map(Decimal, v[4:])) for v in lines]
        return ours, asyncio.run(self.write_many(rows)) / count

    async def write_many(self, rows):
        """Seconds for ROWS; without rowfs's triggers."""
        where = psycopg2.extensions.parse_dsn(self.db.conninfo)
        conn = await asyncpg.connect(host=where["host"], user=where["user"], database=where["dbname"],
                                     server_settings={"rowfs.daemon": self.proof()})
        start = time.monotonic()
        for i in range(0, len(rows), 50):
            await conn.executemany(INSERT, rows[i:i + 50])
        seconds = time.monotonic() - start
        await conn.close()
        return seconds

    # -- rounds and results --------------------------------------------------------------------------------------------------

    def once(self, say):
        for name in self.only:
            try:
                pair = getattr(self, f"do_{name}")()
            except (RuntimeError, AssertionError, OSError, psycopg2.Error, subprocess.SubprocessError) as e:
                self.failures[name] = repr(e)[-200:]
                say(f"  {name}: {self.failures[name]}")
                continue
            self.results.setdefault(name, []).append(tuple(pair))
            say(f"  {name}: {pair[0] * 1e6:.2f} us a line, {pair[1] * 1e6:.2f} of the other")

    def figures(self):
        for name, (figure, against, what, target) in ROWS.items():
            pairs = self.results.get(name)
            if not pairs:
                if name in self.failures:
                    yield {"figure": figure, "value": "failed", "unit": "", "against": against, "ratio": None, "target": target, "met": False}
                continue
            ours = statistics.median(p[0] for p in pairs)
            if what == "ms":
                yield {"figure": figure, "value": round(ours, 2), "unit": "ms", "against": None, "ratio": None, "target": target, "met": ours <= target}
                continue
            theirs = statistics.median(p[1] for p in pairs)
            ratio = ours / theirs if what == "time" else theirs / ours
            met = None if target is None else ratio <= target if what == "time" else ratio >= target
            yield {"figure": figure, "value": round(ours * 1e6, 2), "unit": "us/line" if what == "speed" else "us", "against": against,
                   "ratio": round(ratio, 2), "target": target, "met": met}
        if self.peak_kib:
            peak = self.peak_kib / 1024
            yield {"figure": "largest daemon in all this", "value": round(peak, 1), "unit": "MiB", "against": None, "ratio": None, "target": 96, "met": peak < 96}
