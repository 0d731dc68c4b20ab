"""The crash loop: what was acknowledged is there, exactly once, whatever was killed at whatever moment.

Each round lets collectors append, kills one of: rowfs, one of PostgreSQL's backends, all of PostgreSQL, a collector. Then everything goes on as
it would: rowfs is mounted again, PostgreSQL recovers, a collector that ended asks the mount where it stands and goes on behind it. At the end of each
round all stop and are judged: rows files hold of each collector a beginning of its lines with all that was acknowledged, ingest files a
beginning of its bytes with all that was acknowledged, and their rows are the lines of these bytes.

The chances come from ROWFS_SEED, which is printed when a round fails. `--long` has 40 rounds for each test, more than a hundred kills."""
import contextlib
import errno
import os
import random
import re
import signal
import threading
import time
from collections import Counter

import pytest

from kit import IS_ROOT, append, get, run, until
from mountkit import is_mounted, lazy_umount
from shop import LAYOUT as SHOP, SQL as SHOP_SQL
from test_collectors import Numbered, all_of, ingest_path, judge_file, judge_rows, judge_stream, rows_path

OPTIONS = {"retry_attempts": 40, "retry_delay": "0.1", "retry_backoff": "1.0"}
KILLS = ["rowfs", "rowfs", "backend", "postgres", "immediate", "collector"]


class House:
    """The mount, its database and its collectors, through crashes."""

    def __init__(self, mount, pg, server, collectors, seed):
        self.mount, self.pg, self.server, self.collectors = mount, pg, server, collectors
        self.rng = random.Random(seed)
        self.floor = {}
        mount.expect(r".*")  # it is killed, its connections are cut, and a killed collector's last line is torn
        # The half lines that a killed collector leaves are refused. Nothing else may be:
        self.torn = 0

    def start(self):
        for c in self.collectors:
            if not c.running():
                c.start()

    def each_goes_on(self, who):
        """Until each of WHO has got one more acknowledgement than now."""
        self.floor = {c: c.acked() for c in who}

        def gone_on():
            for c in who:
                assert c.running(), f"writer {c.writer} of {c.symbol} ended: {c.story()}"
            return all(c.acked() > self.floor[c] for c in who)
        until(gone_on, "each collector is acknowledged", timeout=60)

    def kill(self, what):
        """At a moment that is left to chance; nothing waits for it."""
        time.sleep(self.rng.random() * 0.15)
        getattr(self, f"kill_{what}")()

    def kill_rowfs(self):
        self.mount.kill(signal.SIGKILL)
        self.mount.process.wait()
        for c in self.collectors:
            assert c.wait(30) == 3, f"writer {c.writer} of {c.symbol} was told nothing: {c.story()}"
        while is_mounted(self.mount.path):
            lazy_umount(self.mount.path)
        self.mount._watch.cancel()
        self.mount.start()

    def kill_backend(self):
        backends = self.pg.backends()
        for pid in self.rng.sample(backends, self.rng.randrange(1, len(backends) + 1)) if backends else []:
            if self.rng.random() < 0.5:
                self.server.admin("select pg_terminate_backend(%s)", pid)
        self.each_goes_on(self.collectors)

    def kill_postgres(self):
        self.server.kill9()
        self.server.start()
        self.each_goes_on(self.collectors)

    def kill_immediate(self):
        self.server.restart("immediate")
        self.each_goes_on(self.collectors)

    def kill_collector(self):
        c = self.rng.choice(self.collectors)
        c.kill()
        self.torn += 1
        self.each_goes_on([x for x in self.collectors if x is not c])

    def stop(self):
        """All stop where they are; those that run must be content."""
        running = [c for c in self.collectors if c.running()]
        for c in running:
            c.process.send_signal(signal.SIGTERM)
        for c in running:
            assert c.wait(60) == 0, f"writer {c.writer} of {c.symbol}: {c.story()}"

    def judge(self):
        for c in self.collectors:
            if c.kind == "rows":
                until(lambda: self.settled(c), "sizes settle", timeout=5)  # noqa: B023
                judge_rows(self.pg, c)
                judge_file(self.pg, c.path, c.symbol)
            else:
                judge_stream(self.pg, c, c.path)
        refused = sum(body.count(b"\n") for name, body in self.mount.rejected().items() if name.endswith(".rejected.jsonl"))
        assert refused <= self.torn, f"{refused} lines were refused, {self.torn} can have been torn: {self.mount.sentence()}"

    @staticmethod
    def settled(c):
        with open(c.path, "rb") as file:
            return len(file.read()) == os.stat(c.path).st_size

    def rounds(self, n):
        with all_of(self.collectors):
            for i in range(n):
                what = KILLS[i % len(KILLS)] if n <= len(KILLS) else self.rng.choice(KILLS)
                self.start()
                try:
                    self.each_goes_on(self.collectors)
                    self.kill(what)
                    self.stop()
                    self.judge()
                except BaseException:
                    print(f"round {i}: {what} was killed")
                    raise
        print(f"{n} kills, {sum(c.acked() for c in self.collectors)} lines (of streams: bytes) acknowledged, 0 lost, 0 doubled")


def collectors_of(mount, tmp_path, kinds, sync, seed):
    out = []
    for w, kind in enumerate(kinds, 1):
        symbol = f"{kind.upper()}{w}"
        path = rows_path(mount, symbol) if kind == "rows" else ingest_path(mount, kind, symbol)
        out.append(Numbered(tmp_path, kind, path, "--sync", sync, "--pause", 0.002, *(["--cut"] if w % 2 else []), writer=w, symbol=symbol, seed=seed))
    return out


@pytest.mark.parametrize("kinds", [["rows"] * 4, ["csv"] * 3, ["gz"] * 3, ["rows", "csv", "gz"]], ids=["rows", "csv", "gz", "mixed"])
def test_killed_at_any_moment(kinds, make_mount, pg, server, tmp_path, seed, long):
    mount = make_mount(options=OPTIONS)
    sync = 20 if kinds[0] == "rows" else 2
    House(mount, pg, server, collectors_of(mount, tmp_path, kinds, sync, seed), seed).rounds(40 if long else 6)


def test_two_mounts_one_of_them_killed(make_mount, pg, server, tmp_path, seed, long):
    """Two mounts append to one rows file. One is killed; the other's collectors notice nothing."""
    mounts = [make_mount(options=OPTIONS), make_mount(options=OPTIONS)]
    ours, others = ([Numbered(tmp_path, "rows", rows_path(m), "--sync", 10, "--shared", "--pause", 0.01, writer=10 * i + w, seed=seed) for w in (1, 2)]
                    for i, m in enumerate(mounts))
    house = House(mounts[0], pg, server, ours, seed)
    with all_of(ours + others):
        for c in others:
            c.start()
        for _ in range(10 if long else 2):
            house.start()
            house.each_goes_on(ours)
            house.kill("rowfs")
            house.each_goes_on(others)
        for c in others:
            c.end()
    for c in ours + others:
        judge_rows(pg, c)
    until(lambda: house.settled(ours[0]), "sizes settle")
    judge_file(pg, rows_path(mounts[0]))


@pytest.mark.parametrize("kind, lines", [("rows", 1), ("rows", 60), ("csv", 60)])
def test_what_a_killed_mount_left_under_way(kind, lines, make_mount, pg, server, tmp_path):
    """A batch that waits for a lock when its daemon is killed: the next mount ends it, or waits for it, before a collector asks how far it got."""
    mount = make_mount()
    mount.expect(r".*")
    path = rows_path(mount, "LEFT") if kind == "rows" else ingest_path(mount, kind, "LEFT")
    first = Numbered(tmp_path, kind, path, "--lines", 1, symbol="LEFT")
    assert first.start().wait() == 0, first.story()
    c = Numbered(tmp_path, kind, path, "--lines", 200, "--sync", lines, symbol="LEFT", seed=1)
    lock = pg.connect()
    lock.cursor().execute("lock table orderbook_data in share mode")
    with all_of([c]):
        c.start()
        left = until(lambda: pg.backends("wait_event_type = 'Lock'"), "the batch waits for the lock")
        mount.kill(signal.SIGKILL)
        mount.process.wait()
        assert c.wait(30) == 3
        while is_mounted(mount.path):
            lazy_umount(mount.path)
        mount._watch.cancel()
        mount.spawn()  # it may have to wait for the batch that is left

        def ended_or_waited_for():
            return not set(left) & set(pg.backends("wait_event_type = 'Lock'")) or is_mounted(mount.path) or \
                pg.backends("wait_event_type = 'Lock' and query ilike 'delete from rowfs.stream%%'")
        until(ended_or_waited_for, "the next mount serves, or waits")
        if is_mounted(mount.path):
            c.start()  # it asks now: what is left under way must not be committed afterwards
            until(lambda: set(pg.backends("wait_event_type = 'Lock'")) - set(left) or not c.running(), "it waits for the lock")
        lock.rollback()
        lock.close()
        until(lambda: is_mounted(mount.path) and (mount.path / ".rowfs/status.json").exists(), "the next mount serves")
        if not c.running():
            c.start()
        assert c.wait(30) == 0, c.story()
    if kind == "rows":
        judge_rows(pg, c, exactly=200)
        judge_file(pg, path, "LEFT")
    else:
        judge_stream(pg, c, path)


# -- kills while something else is wrong, too -------------------------------------------------------------

SKIP_TENTH = """
create function skip_tenth() returns trigger language plpgsql as $$ begin if new.n % 10 = 3 then return null; end if; return new; end $$;
create trigger skips before insert on log for each row execute function skip_tenth()"""


class Lines(threading.Thread):
    """Appends numbered lines to a rows file in groups, each with an fsync, until it is stopped or its mount is gone. A line with QUOTES in a hundred
    opens a quote that nothing closes. .acked: the lines for which fsync said 0; .said: the errors."""

    def __init__(self, path, first, rng, quotes=0):
        super().__init__(daemon=True)
        self.path, self.n, self.rng, self.quotes = path, first, rng, quotes
        self.acked, self.said, self.stop = set(), [], threading.Event()
        self.start()

    def line(self):
        self.n += 1
        quote = '"' if self.rng.random() * 100 < self.quotes else ""
        return f"w,{self.n},,{quote}t{self.n}\n".encode()

    def run(self):
        first, fd = self.n + 1, -1
        try:
            fd = os.open(self.path, os.O_WRONLY | os.O_APPEND)
            while not self.stop.is_set():
                os.write(fd, b"".join(self.line() for _ in range(self.rng.choice([1, 1, 3, 40, 400]))))
                try:
                    os.fsync(fd)
                    self.acked.update(range(first, self.n + 1))
                except OSError as e:
                    self.said.append(e.errno)
                    if e.errno != errno.EINVAL:
                        break
        except OSError as e:
            self.said.append(e.errno)
        finally:
            with contextlib.suppress(OSError):
                os.close(fd)


def marks(texts):
    """The numbers of the lines whose text is a part of TEXTS."""
    return {int(n) for text in texts for n in re.findall(r"\bt(\d+)\b", text)}


def judge_lines(pg, mount, acked, skipped):
    """(lost, doubled) of the lines that were acknowledged: each is a row, or a part of one, or kept as refused, or its trigger skips it."""
    rows = pg.sql("select n, coalesce(text, '') from log")
    have = Counter(n for n, _ in rows)
    there = set(have) | marks(text for _, text in rows) | marks(body.decode("utf-8", "replace") for body in mount.kept())
    return sorted(n for n in acked - there if not skipped(n)), sorted(n for n in have if have[n] > 1 or skipped(n))


@pytest.fixture
def small_disk(tmp_path):
    """A state directory on a disk that is full; .unlink() of what fills it makes room."""
    if not IS_ROOT:
        pytest.skip("needs root: a file system of its own")
    run("mount", "-t", "tmpfs", "-o", "size=2M,mode=700", "none", tmp_path)
    yield tmp_path
    lazy_umount(tmp_path)


def fill(directory):
    """Takes the rest of the disk, to the last byte."""
    with open(directory / "filler", "ab", buffering=0) as file, contextlib.suppress(OSError):
        for size in (4096, 1):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size):
                    pass


@pytest.mark.parametrize("what", ["an open quote", "a trigger that skips", "a full state_dir", "serializable"])
def test_killed_while_something_is_wrong(what, make_mount, pg, request, seed, long):
    rng = random.Random(seed)
    pg.sql(SHOP_SQL)
    options = dict(OPTIONS)
    skipped = lambda n: False  # noqa: E731
    if what == "a trigger that skips":
        pg.sql(SKIP_TENTH)
        skipped = lambda n: n % 10 == 3  # noqa: E731
    if what == "serializable":
        options.update(isolation_level="serializable", batch_size=30)  # a long append is several transactions
    disk = request.getfixturevalue("small_disk") if what == "a full state_dir" else None
    if disk:
        options["state_dir"] = disk / "state"
    mount = make_mount(layout=SHOP, options=options)
    mount.expect(r".*")
    acked, kills, first = set(), 0, 0
    for _ in range(40 if long else 3):
        writer = Lines(mount.at("log.csv"), first, rng, quotes=3 if what == "an open quote" else 0)
        until(lambda: len(writer.acked) + len(writer.said) > 3 or not writer.is_alive(), "the writer was answered")  # noqa: B023
        if disk:
            fill(disk)
        time.sleep(rng.random() * 0.1)
        if disk and writer.said:
            assert set(writer.said) == {errno.ENOSPC} and "state_dir" in mount.sentence(), f"fsync said {writer.said}: {mount.sentence()}"
        elif what != "an open quote":
            assert not writer.said, f"fsync said {writer.said}: {mount.sentence()}"
        mount.kill(signal.SIGKILL)
        mount.process.wait()
        kills += 1
        writer.stop.set()
        writer.join(30)
        assert not writer.is_alive()
        while is_mounted(mount.path):
            lazy_umount(mount.path)
        mount._watch.cancel()
        if disk:
            (disk / "filler").unlink()
        mount.start()
        acked |= writer.acked
        first = writer.n
        lost, doubled = judge_lines(pg, mount, acked, skipped)
        assert not lost and not doubled, f"{what}: {len(lost)} lines lost {lost[:9]}, {len(doubled)} doubled {doubled[:9]}"
    print(f"{what}: {kills} kills, {len(acked)} lines acknowledged, 0 lost, 0 doubled")


# -- operations of one file ---------------------------------------------------------------------------

# A transaction that waits in its COMMIT, where nobody can call it back, for who holds the advisory lock 77.
GATE = """
create function wait_at_gate() returns trigger language plpgsql as $$ begin perform pg_advisory_xact_lock_shared(77); return null; end $$;
create constraint trigger gate after insert or update on {} deferrable initially deferred for each row execute function wait_at_gate()"""

# what: (layout, table, file, what is appended first, and then, how often the database has it)
APPENDED = {
    "jsonl": (SHOP, "log", "log.jsonl", b'{"n": 1}\n', b'{"n": 2, "text": "late"}\n', "select count(*) from log where text = 'late'"),
    "column": (SHOP, "items", "items/bolt/note.txt", b"first\n", b"late\n",
               "select (length(note) - length(replace(note, 'late', ''))) / 4 from items"),
    "ingest": (None, "orderbook_data", "collector/LATE_orderbook_20250920_100000.csv", b"exchange,symbol,timestamp,local_timestamp\nx,LATE,1,1\n",
               b"late,LATE,2,2\n", "select count(*) from orderbook_data where exchange = 'late'"),
}


class Appender(threading.Thread):
    """Appends once and fsyncs; .error is what it was told."""

    def __init__(self, path, data):
        super().__init__(daemon=True)
        self.path, self.data, self.error = path, data, None
        self.start()

    def run(self):
        try:
            append(self.path, self.data, sync=True)
        except OSError as e:
            self.error = e


def serves(mount):
    assert mount.alive(), mount.story()
    return is_mounted(mount.path) and (mount.path / ".rowfs/status.json").exists()


@pytest.mark.parametrize("what", APPENDED)
def test_a_commit_that_outlives_its_mount(what, make_mount, pg):
    """The server does not see that the daemon is dead, and its COMMIT is under way. Who appends what he does not find at the next
    mount does not append it twice."""
    layout, table, name, first, late, count = APPENDED[what]
    pg.sql(SHOP_SQL)
    pg.sql("insert into items (name) values ('bolt')")
    mount = make_mount(layout=layout, conninfo=f"{pg.conninfo} options='-c client_connection_check_interval=1h'")
    mount.expect(r".*")
    path = mount.at(name)
    append(path, first, sync=True)
    pg.sql(GATE.format(table))
    gate = pg.connect()
    gate.cursor().execute("select pg_advisory_lock(77)")
    killed = Appender(path, late)
    left = until(lambda: pg.backends("wait_event = 'advisory'"), "the commit waits")
    mount.kill_and_spawn()
    killed.join()
    assert killed.error is not None
    again = None

    def waits():
        return pg.backends("wait_event_type = 'Lock' and query ilike 'delete from rowfs.stream%%'")
    until(lambda: serves(mount) or waits(), "the next mount serves, or waits")
    if serves(mount) and b"late" not in get(path):
        again = Appender(path, late)
        until(lambda: len(pg.backends("wait_event_type = 'Lock'")) > len(left) or not again.is_alive(), "both wait")
    gate.close()
    until(lambda: serves(mount), "the next mount serves")
    if again is None and b"late" not in get(path):
        again = Appender(path, late)
    if again is not None:
        again.join()
        assert again.error is None
    assert pg.one(count) == 1
    assert get(path).count(b"late") == 1


@pytest.mark.parametrize("what", APPENDED)
def test_a_statement_of_a_dead_mount_ends_by_itself(what, make_mount, pg):
    """It waits for a lock when its daemon is killed: the server sees that nobody waits for it, and the next mount works while the lock lasts."""
    layout, table, name, first, late, count = APPENDED[what]
    pg.sql(SHOP_SQL)
    pg.sql("insert into items (name) values ('bolt')")
    mount = make_mount(layout=layout)
    mount.expect(r".*")
    path = mount.at(name)
    append(path, first, sync=True)
    lock = pg.connect()
    lock.cursor().execute(f"lock table {table} in share mode")
    killed = Appender(path, late)
    left = until(lambda: pg.backends("wait_event_type = 'Lock'"), "the statement waits")
    mount.kill_and_spawn()
    killed.join()
    assert killed.error is not None
    until(lambda: serves(mount), "the next mount serves")
    until(lambda: not set(left) & set(pg.backends()), "the dead mount's backend is gone")
    assert b"late" not in get(path)
    again = Appender(path, late)
    until(lambda: pg.backends("wait_event_type = 'Lock'"), "the statement waits again")
    lock.close()
    again.join()
    assert again.error is None and pg.one(count) == 1


# -- two daemons of one place ---------------------------------------------------------------------------


def test_one_daemon_serves_a_place(shop):
    """After umount -l the first one lives while a file is open: another one is refused meanwhile, or waits for its end."""
    mount, first = shop.m, shop.m.process
    fd = os.open(mount.at("log.csv"), os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"a,1,,\n")
    while is_mounted(mount.path):
        lazy_umount(mount.path)
    refused = run(*mount.argv, ok=False, env=mount.env)
    assert refused.returncode == 1
    assert f"process {first.pid} still serves" in refused.stderr and "close them" in refused.stderr
    mount._watch.cancel()
    mount.spawn()
    until(lambda: f"waiting for process {first.pid}" in mount.output(), "the second one waits")
    os.write(fd, b"b,2,,\n")
    assert first.poll() is None and not is_mounted(mount.path)
    os.close(fd)
    until(lambda: serves(mount), "the second one serves")
    assert first.wait(10) == 0
    assert shop.sql("select src, n from log order by id") == [("a", 1), ("b", 2)]
    assert get(mount.at("log.csv")).splitlines()[1:] == [b"a,1,,", b"b,2,,"]


def test_mounted_again_at_once(shop):
    """umount returns before the daemon has ended; who mounts at once is served by the next one, with an empty plain store."""
    mount = shop.m
    for i in range(5):
        mount.write("plain.txt", str(i))
        first = mount.process
        until(mount._try_umount, "umount")
        mount._watch.cancel()
        mount.start()
        assert first.wait(10) == 0
        assert not mount.exists("plain.txt")
        mount.append("log.csv", f"a,{i},,\n")
    assert shop.sql("select n from log order by id") == [(i,) for i in range(5)]
