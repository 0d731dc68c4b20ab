"""What the tests of coherence share: texts that tell which version they are, readers that never stop, and how long it took until everybody saw a
change."""
import os
import random
import threading
import time

from kit import until

SOON = 0.1  # seconds within which everybody agrees


def coherence(mount):
    return mount.json(".rowfs/status.json")["coherence"]


def counter(mount, name):
    return mount.json(".rowfs/status.json")["counters"][name]


class Notices:
    """What MOUNT hears from now on. A row that can be read is no sign that its notice has come: the first look asks the database, and a notice that
    comes later makes the next look ask again. So who wants to know what is remembered waits for the notice."""

    def __init__(self, mount):
        self.mount = mount
        self.before = coherence(mount)["heard"]

    def wait(self, count=1):
        """Until COUNT notices have come, and the kernel was told of all that they say."""
        def taken_in():
            said = coherence(self.mount)
            return said["heard"] >= self.before + count and said["waiting"] == 0
        until(taken_in, f"{count} notices are heard")
        self.before += count


def text(n):
    """A note that says its number and its length, of a length that goes up and down."""
    size = random.Random(n).choice((12, 40, 300, 5000, 9000, 20000))
    return f"{n:010d}:{chr(97 + n % 26) * size}:{size}"


def number(body):
    """The number in BODY; fails if it is no whole text()."""
    n = int(body[:10])
    assert body == text(n).encode(), f"a mixture: {body[:30]} ... {body[-30:]}, {len(body)} bytes"
    return n


class Readers:
    """Threads that never stop reading PATHS; each body must be whole, and none older than one seen before."""

    def __init__(self, paths, threads=2):
        self.paths, self.wrong, self.reads, self.over = list(paths), [], 0, False
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(threads)]

    def run(self, seed):
        seen, rng = {}, random.Random(seed)
        try:
            while not self.over:
                path = rng.choice(self.paths)
                with open(path, "rb") as f:
                    size, body = os.fstat(f.fileno()).st_size, f.read()
                assert size == len(body), f"{path}: st_size {size}, {len(body)} bytes"
                n = number(body)
                assert n >= seen.get(path, 0), f"{path}: {n} after {seen[path]}"
                seen[path] = n
                self.reads += 1
        except BaseException as e:  # noqa: BLE001
            self.wrong.append(e)

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *exc):
        self.over = True
        for t in self.threads:
            t.join(30)
        if exc[0] is None:
            assert not self.wrong, self.wrong[0]
            assert self.reads > 0


def delay(condition, what, timeout=5.0):
    """Seconds until CONDITION is true."""
    start = time.monotonic()
    until(condition, what, timeout=timeout, pause=0.0002)
    return time.monotonic() - start


def told(delays, what):
    """Prints the distribution of DELAYS and returns (median, 99 %)."""
    d = sorted(delays)
    p50, p99 = d[len(d) // 2], d[min(len(d) - 1, len(d) * 99 // 100)]
    print(f"\n{what}: {len(d)} changes seen, p50 {p50 * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms, longest {d[-1] * 1e3:.2f} ms")
    return p50, p99


# Who reads a row of TABLE as keeper waits while somebody holds the lock 7. It costs nothing, so that it is asked before all else.
GATE = """
create function gate() returns boolean language plpgsql cost 0.0000001 as $$
begin
    perform pg_advisory_xact_lock_shared(7);
    return true;
end $$;
alter table TABLE enable row level security;
alter table TABLE force row level security;
create policy gate on TABLE using (gate()) with check (true);
"""


def waits(pg, lock=7):
    return pg.admin("select 1 from pg_locks where locktype = 'advisory' and not granted and objid = %s", lock)
