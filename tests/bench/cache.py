"""The part of the benchmark that is about caches and large directories: how near reading comes to a file system that has nothing behind it,
and how few queries it takes.

tests/bench/run has one Cache for the whole of it and calls once() in each interleaved round. The database is deployed and the mount is coherent by
notices."""
import contextlib
import json
import os
import statistics
import subprocess
import time
from pathlib import Path

import kit
import mountkit
import spent

FILES, SIZE, TTL, MANY = 100_000, 150, 3600, 1_000_000
CROWD, CROWD_FIRST = 16, 10_000  # how many work at once, and the first file of the first of them
NAMES_CHANGED, CHANGES_A_SECOND, WATCHERS = 1000, 1000, 2
BODY = '{"n": 1}'
LAYOUT = {"routes": [{"path": "/docs/{docs.name}.json", "column": "docs.doc"},
                     {"path": "/records/{records.name}.json", "row": "records"},
                     {"path": "/many/{many.name}.json", "column": "many.doc"},
                     {"path": "/long.csv", "rows": "long", "columns": ["a", "b", "c"], "order": ["id"]}]}
FILL = ("insert into {0} select lpad(g::text, {1}, '0'), jsonb_build_object('n', g, 'text', repeat('x', 100)) "
        "from generate_series(0, {2}) g")

# name: (figure, against, "time" or "speed" of ours over theirs, wanted)
ROWS = {
    "warm1": ("warm open+read+close, 1 reader", "null", "time", 1.15),
    "warm16": ("warm open+read+close, 16 readers", "null", "time", 1.15),
    "stat": ("warm stat", "ext4", "time", 1.5),
    "cold1": ("cold open+read+close", "null + libpq select", "time", 1.3),
    "cold16": ("cold, 16 readers in one directory", "16 libpq clients", "speed", 0.5),
    "lsl": ("cold ls -l of 100 000 rows", "libpq, the same rows", "time", 1.8),
    "lsl_program": ("cold ls -lU itself", "libpq, the same rows", "time", None),
    "find": ("cold find -newer of 100 000 rows", "libpq, the same rows", "time", 1.8),
    "du": ("cold du of 100 000 rows", "libpq, the same rows", "time", 1.8),
    "lsf": ("cold ls -f of 100 000", "libpq, the keys", "time", 5.0),
    "grep": ("grep -r of 100 000 after ls -l", "null", "time", 1.3),
    "again": ("second ls -l of 100 000", "the first", "time", 0.3),
    "again_program": ("second ls -lU itself", "the first", "time", None),
    "sequential": ("warm read of a rows file, 1 KB a row", "ext4", "speed", 0.8),
    "rewrite1": ("rewrite of a column, 1 writer", "libpq UPDATE", "speed", 0.6),
    "rewrite16": ("rewrite of a column, 16 writers", "libpq UPDATE", "speed", 0.65),
    "mount": ("mount to the first answer", None, "ms", 150),
}
COUNTS = ["queries", "memory"]  # rows that are not timed
NAMES = [*ROWS, "delay", *COUNTS]


def line(figure, value, unit, target, met, against=None, ratio=None):
    return {"figure": figure, "value": value, "unit": unit, "against": against, "ratio": ratio, "target": target, "met": met}


class Cache:
    def __init__(self, programs, only, rows, updates, directory):
        self.programs, self.dir = programs, directory / "cache"
        self.only, self.counts = [n for n in [*ROWS, "delay"] if n in only], [n for n in COUNTS if n in only]
        self.results, self.failures, self.mounts, self.server = {}, {}, [], None
        self.rows, self.updates = rows, updates
        if not self.only and not self.counts:
            return
        self.dir.mkdir()
        self.server = kit.Postgres(settings=["fsync = on", "log_min_messages = fatal", "shared_buffers = 512MB", "max_wal_size = 4GB"])
        self.db = self.server.create_database("cache")
        kit.deploy(self.db)
        for table, width, last in (("docs", 5, FILES - 1), ("many", 8, MANY - 1 if "memory" in only else -1)):
            self.db.sql(f"create table {table} (name text primary key, doc jsonb)")
            self.db.sql(FILL.format(table, width, last))
        self.db.sql("create table records (name text primary key, n integer, price numeric(20,8), at timestamptz, ok boolean, note text, tags text[])")
        self.db.sql("insert into records select lpad(g::text, 5, '0'), g, g / 7.0, now(), g % 2 = 0, repeat('x', 60), array['a', 'b'] "
                    f"from generate_series(0, {FILES - 1}) g")
        self.db.sql("create table long (id bigint primary key, a text, b bigint, c numeric(20,8))")
        if "sequential" in only:  # 1 GB by default; in lines so long that making them does not take all the time
            self.db.sql("insert into long select g, repeat(md5(g::text), 30), 1758326400000000 + g, g / 8.0 from generate_series(1, %s) g", rows)
        self.db.admin("vacuum analyze")
        self.ext4 = Path(os.environ.get("ROWFS_BENCH_EXT4", "/var/tmp")) / f"rowfs-cache-{os.getpid()}"
        self.ext4.mkdir()

    def close(self):
        for m in self.mounts:
            m.destroy()
        if self.server is not None:
            subprocess.run(["rm", "-rf", str(self.ext4)], check=False)
            self.server.destroy()

    # -- running things ------------------------------------------------------------------------------------------------------

    def program(self, name, *words, pinned=True):
        argv = [*(["taskset", "-c", "0"] if pinned else []), str(self.programs / name), *map(str, words)]
        done, cost = spent.measured(self, lambda: subprocess.run(argv, capture_output=True, text=True, check=False))
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(argv[:6])}: {done.stderr.strip()[:200]}")
        n, seconds = done.stdout.split()
        return (cost or float(seconds)) / max(int(n), 1)

    def timed(self, argv):
        start = time.monotonic()
        done, cost = spent.measured(self, lambda: subprocess.run([str(a) for a in argv], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False))
        if done.returncode > 1:  # grep says 1 where it finds nothing
            raise RuntimeError(f"{argv}: {done.stderr.strip()[:200]}")
        return cost or time.monotonic() - start

    def drive(self, op, where, first=0, count=1000, rounds=1):
        """Seconds an operation, of one process beside the daemon."""
        return self.program("drive", "-r", rounds, op, where if op.startswith("ls") else f"{where}/", 5, ".json", first, count, BODY)

    def pg(self, op, first=0, count=1000):
        return self.program("pgraw", self.db.conninfo, op, first, count)

    def crowd(self, op, where, count, rounds=1):
        """Seconds an operation, of CROWD processes that work at the same time and have COUNT files each; not pinned."""
        return self.program("drive", "-p", CROWD, "-r", rounds, op, f"{where}/", 5, ".json", CROWD_FIRST, count, BODY, pinned=False)

    def pg_crowd(self, op, count):
        return self.program("pgraw", "-p", CROWD, self.db.conninfo, op, CROWD_FIRST, count, pinned=False)

    @contextlib.contextmanager
    def rowfs(self, pinned=True):
        m = mountkit.Mount(self.db.conninfo, layout=LAYOUT, start=False, log_level="error")
        m.argv = [*(["taskset", "-c", "0"] if pinned else []), *m.argv]
        self.mounts.append(m)
        m.start(timeout=900)  # the first one counts the rows of the long file
        try:
            coherence = json.loads((m / ".rowfs/status.json").read_text())["coherence"]
            if coherence["mode"] != "notify":
                raise RuntimeError(f"not coherent by notices: {coherence}")
            yield m
            m.umount()
        finally:
            m.destroy()
            self.mounts.remove(m)

    @contextlib.contextmanager
    def null(self, files=FILES, pinned=True):
        where = self.dir / "null"
        where.mkdir(exist_ok=True)
        argv = [*(["taskset", "-c", "0"] if pinned else []), str(self.programs / "nullfs"), str(where), str(files), str(SIZE), str(TTL)]
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as p:
            try:
                kit.until(lambda: mountkit.is_mounted(where), "nullfs is mounted")
                os.stat(where)
                yield where
            finally:
                mountkit.lazy_umount(where)
                p.terminate()

    # -- the rows: (seconds of ours, seconds of theirs) ------------------------------------------------------------------------

    # How many operations: as many as take half a second, so that beginning and ending do not matter.

    def do_warm1(self):
        def warm(where):
            self.drive("read", where)
            return self.drive("read", where, rounds=30)
        with self.null() as null:
            theirs = warm(null)
        with self.rowfs() as m:
            return warm(m / "docs"), theirs

    def do_warm16(self):
        def warm(where):
            self.crowd("read", where, 500)
            return self.crowd("read", where, 500, rounds=10)
        with self.null(pinned=False) as null:
            theirs = warm(null)
        with self.rowfs(pinned=False) as m:
            return warm(m / "docs"), theirs

    def do_stat(self):
        for i in range(1000):
            (self.ext4 / f"{i:05d}.json").write_text("x" * SIZE)
        with self.rowfs() as m:
            self.drive("stat", m / "docs")
            return self.drive("stat", m / "docs", rounds=500), self.drive("stat", self.ext4, rounds=500)

    def do_cold1(self):
        with self.null() as null:
            theirs = self.drive("read", null, 0, 5000) + self.pg("select", 0, 5000)
        with self.rowfs() as m:
            return self.drive("read", m / "docs", 0, 5000), theirs

    def do_cold16(self):
        theirs = self.pg_crowd("select", 1500)
        with self.rowfs(pinned=False) as m:
            return self.crowd("read", m / "docs", 1500), theirs

    # The program ls takes 2.5 us a file for itself, with an attribute that it asks for and with what it prints; libpq's rows are not
    # printed either. So the rows with a limit have a loop of the same calls, and those without one show the program.

    def do_lsl(self):
        with self.rowfs() as m:
            return self.drive("lsl", m / "records"), self.pg("records", 0, FILES)

    def ls(self, where):
        return self.timed(["taskset", "-c", "0", "ls", "-lU", where]) / FILES

    def do_lsl_program(self):
        with self.rowfs() as m:
            return self.ls(m / "records"), self.pg("records", 0, FILES)

    def do_lsf(self):
        with self.rowfs() as m:
            return self.drive("ls", m / "docs"), self.pg("keys", 0, FILES)

    def do_find(self):
        with self.rowfs() as m:
            return self.timed(["taskset", "-c", "0", "find", m / "records", "-newer", "/etc/passwd"]) / FILES, self.pg("records", 0, FILES)

    def do_du(self):
        with self.rowfs() as m:
            return self.timed(["taskset", "-c", "0", "du", m / "records"]) / FILES, self.pg("records", 0, FILES)

    def do_grep(self):
        def grep(where):
            self.drive("lsl", where)
            return self.timed(["taskset", "-c", "0", "grep", "-r", "nowhere", where]) / FILES
        with self.null() as null:
            theirs = grep(null)
        with self.rowfs() as m:
            return grep(m / "docs"), theirs

    def do_again(self):
        with self.rowfs() as m:
            first = self.drive("lsl", m / "docs")
            return self.drive("lsl", m / "docs"), first

    def do_again_program(self):
        with self.rowfs() as m:
            first = self.ls(m / "docs")
            return self.ls(m / "docs"), first

    def do_sequential(self):
        def read(path):
            return min(self.timed(["dd", f"if={path}", "of=/dev/null", "bs=1M", "status=none"]) for _ in range(3)) / self.rows
        with self.rowfs(pinned=False) as m:
            copy = self.ext4 / "long.csv"
            if not copy.exists():
                self.timed(["cp", m / "long.csv", copy])
            self.timed(["cmp", m / "long.csv", copy])
            return read(m / "long.csv"), read(copy)

    def do_rewrite1(self):
        with self.rowfs() as m:
            return self.drive("rewrite", m / "docs", 50_000, 1000), self.pg("update", 52_000, 1000)

    def do_rewrite16(self):
        theirs = self.pg_crowd("update", 200)
        with self.rowfs(pinned=False) as m:
            return self.crowd("rewrite", m / "docs", 200), theirs

    def do_mount(self):
        if "mount" not in self.results:
            with self.rowfs():
                pass  # the first mount installs its triggers
        m = mountkit.Mount(self.db.conninfo, layout=LAYOUT, start=False, log_level="error")
        self.mounts.append(m)
        start = time.monotonic()

        def begin():
            m.spawn()
            kit.until(lambda: mountkit.is_mounted(m.path) and (m.path / "docs").exists(), "the mount answers", pause=0.001)
        cost = spent.measured(self, begin)[1]
        seconds = cost or time.monotonic() - start
        m.umount()
        m.destroy()
        self.mounts.remove(m)
        return seconds, None

    def do_delay(self):
        """(median, 99 % of the delays in seconds; how many updates were lost or showed something else)"""
        with self.rowfs(pinned=False) as m:
            m._watch.cancel()  # it may take longer than a mount that hangs
            argv = [self.programs / "freshness", self.db.conninfo, m / "docs", 60_000, NAMES_CHANGED, self.updates, CHANGES_A_SECOND, WATCHERS]
            done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip()[-200:])
        n, seconds, p50, p99, longest, lost, wrong, reads = map(float, done.stdout.split())
        if n / seconds < 0.9 * CHANGES_A_SECOND:
            raise RuntimeError(f"the server took only {n / seconds:.0f} updates a second")
        return p50, p99, int(lost + wrong), longest, reads / seconds

    # -- rows that are counted ---------------------------------------------------------------------------------------------------

    def count_queries(self):
        docs = "docs"
        with self.rowfs(pinned=False) as m:
            os.stat(m / docs)
            with self.db.queries() as seen:
                self.drive("read", m / docs, 0, 1000)
            yield "queries: 1 000 cold reads", seen.total, "statements", 1000
        acts = (("queries: cold cat", 1, ("cat", "00007.json")), ("queries: warm cat", 0, ("cat", "00007.json")),
                ("queries: cold ls -l of 100 000", 110, ("ls", "-lU", "")), ("queries: second ls -l", 0, ("ls", "-lU", "")),
                ("queries: grep -r after ls -l", 0, ("grep", "-r", "nowhere", "")))
        fresh = (("queries: cold find -newer of 100 000", 110, ("find", "", "-newer", "/etc/passwd")), ("queries: cold du of 100 000", 110, ("du", "")),
                 ("queries: cold ls -f of 100 000", 110, ("ls", "-f", "")), ("queries: cold grep -r of 100 000", None, ("grep", "-r", "nowhere", "")))
        for group in (acts, *((f,) for f in fresh)):
            with self.rowfs(pinned=False) as m:
                os.stat(m / docs)
                for figure, target, words in group:
                    argv = [str(m / docs / w) if w == "" or w.endswith(".json") else w for w in words]
                    with self.db.queries() as seen:
                        self.timed(argv)
                    yield figure, seen.total, "statements", target

    def count_memory(self):
        for figure, words, target in (("memory: idle", ("stat",), 24), ("memory: ls -f of 1 000 000", ("ls", "-f"), 64),
                                      ("memory: ls -l of 1 000 000", ("ls", "-lU"), 256)):
            with self.rowfs(pinned=False) as m:
                self.timed([*words, m / ("many" if len(words) > 1 else "docs")])
                yield figure, round(kit.rss_kib(m.process.pid) / 1024, 1), "MiB", target

    # -- results -----------------------------------------------------------------------------------------------------------------

    def once(self, say):
        for name in self.only:
            try:
                found = getattr(self, f"do_{name}")()
            except (RuntimeError, AssertionError, OSError, subprocess.SubprocessError) as e:
                self.failures[name] = repr(e)[-200:]
                say(f"  {name}: {self.failures[name]}")
                continue
            self.results.setdefault(name, []).append(found)
            if name == "delay":
                p50, p99, lost, longest, reads = found
                say(f"  delay: p50 {p50 * 1e3:.2f}, p99 {p99 * 1e3:.2f}, longest {longest * 1e3:.2f} ms, {lost} lost, {reads:.0f} reads a second")
            else:
                say(f"  {name}: {found[0] * 1e6:.2f} us" + (f", {found[0] / found[1]:.2f} of the other" if found[1] else ""))

    def figures(self):
        for name in self.only:
            found = self.results.get(name)
            if not found:
                figure, against, _, target = ROWS.get(name, ("commit elsewhere, seen here", None, None, None))
                yield line(figure, "failed", "", target, False, against)
            elif name == "delay":
                yield from self.delays(found)
            else:
                yield self.timed_figure(name, found)
        for name in self.counts:
            for figure, value, unit, target in getattr(self, f"count_{name}")():
                yield line(figure, value, unit, target, None if target is None else value <= target)

    def timed_figure(self, name, pairs):
        figure, against, what, target = ROWS[name]
        ours = statistics.median(p[0] for p in pairs)
        if what == "ms":
            return line(figure, round(ours * 1000, 1), "ms", target, ours * 1000 <= target)
        ratio = statistics.median(p[0] / p[1] if what == "time" else p[1] / p[0] for p in pairs)
        met = None if target is None else ratio <= target if what == "time" else ratio >= target
        return line(figure, round(ours * 1e6, 2), "us", target, met, against, round(ratio, 2))

    def delays(self, found):
        """Medians over the runs; the lost ones of all runs together."""
        for figure, i, target in (("commit elsewhere, seen here: p50", 0, 2), ("commit elsewhere, seen here: p99", 1, 20)):
            ms = statistics.median(f[i] for f in found) * 1000
            yield line(figure, round(ms, 2), "ms", target, ms <= target)
        lost = sum(f[2] for f in found)
        yield line(f"lost or wrong of {len(found) * self.updates} updates", lost, "updates", 0, lost == 0)
