"""A plain file that several handles have open is one file: its size and its bytes are the same for all of them."""
import mmap
import os
import random
import shutil
import sqlite3
import subprocess
import sys

import pytest

from kit import put, run, scratch

STEPS = 400
SEEDS = (1, 2)
NAMES = ("a", "b", "c")
LONGEST = 20_000


class Tree:
    """One of the two directories that get the same calls, with the descriptors that are open in it."""

    def __init__(self, top):
        self.top, self.fds = str(top), {}

    def at(self, name):
        return os.path.join(self.top, name)

    def do(self, call):
        """Runs CALL, a tuple, and returns what a program sees of it."""
        try:
            return getattr(self, "do_" + call[0])(*call[1:])
        except OSError as e:
            return e.errno

    def do_open(self, slot, name, flags):
        self.fds[slot] = os.open(self.at(name), flags, 0o644)
        return self.do_fstat(slot)

    def do_close(self, slot):
        os.close(self.fds.pop(slot))

    def do_pwrite(self, slot, data, offset):
        return os.pwrite(self.fds[slot], data, offset), self.do_fstat(slot)

    def do_write(self, slot, data):
        return os.write(self.fds[slot], data), self.do_fstat(slot)

    def do_pread(self, slot, size, offset):
        return os.pread(self.fds[slot], size, offset)

    def do_seek_end(self, slot):
        return os.lseek(self.fds[slot], 0, os.SEEK_END)

    def do_fstat(self, slot):
        return os.fstat(self.fds[slot]).st_size

    def do_ftruncate(self, slot, size):
        return os.ftruncate(self.fds[slot], size), self.do_fstat(slot)

    def do_map(self, slot, data, where):
        """Changes bytes that are there, through a mapping."""
        size = os.fstat(self.fds[slot]).st_size
        if size == 0:
            return None
        with mmap.mmap(self.fds[slot], size) as m:
            at = where % size
            n = min(len(data), size - at)
            m[at:at + n] = data[:n]
            m.flush()
        return n

    def do_stat(self, name):
        return os.stat(self.at(name)).st_size

    def do_truncate(self, name, size):
        return os.truncate(self.at(name), size), self.do_stat(name)

    def do_read(self, name):
        with open(self.at(name), "rb") as f:
            return f.read()

    def do_unlink(self, name):
        os.unlink(self.at(name))

    def do_rename(self, name, to):
        os.rename(self.at(name), self.at(to))

    def do_listing(self):
        return sorted((e.name, e.stat().st_size) for e in os.scandir(self.top))

    def end(self):
        for fd in self.fds.values():
            os.close(fd)
        return {name: self.do(("read", name)) for name in NAMES}


def draw(rng, model):
    """A call that may be made; the first tree says what is open."""
    data = rng.randbytes(rng.choice((1, 3, 100, 5000)))
    slots = sorted(model.fds)
    free = [s for s in range(6) if s not in slots]
    if free and (not slots or rng.random() < 0.15):
        mode = rng.choice((os.O_RDWR, os.O_RDWR, os.O_WRONLY, os.O_RDONLY))
        more = rng.choice((os.O_CREAT, os.O_CREAT, os.O_CREAT | os.O_APPEND, os.O_CREAT | os.O_TRUNC, 0))
        return ("open", free[0], rng.choice(NAMES), mode | (more if mode != os.O_RDONLY else 0))
    name, slot, at = rng.choice(NAMES), rng.choice(slots), rng.randrange(LONGEST)
    return rng.choice((
        ("pwrite", slot, data, at), ("pwrite", slot, data, at), ("write", slot, data), ("write", slot, data),
        ("pread", slot, 6000, at), ("pread", slot, LONGEST * 2, 0), ("seek_end", slot), ("fstat", slot), ("map", slot, data, at),
        ("ftruncate", slot, at), ("stat", name), ("stat", name), ("truncate", name, at), ("read", name), ("listing",),
        rng.choice((("unlink", name), ("rename", name, rng.choice(NAMES)), ("close", slot)))))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_calls_as_on_a_disk(shop, seed):
    rng, plain = random.Random(seed), scratch("plain")
    os.mkdir(shop.m.at("work"))
    disk, mount, done = Tree(plain), Tree(shop.m.at("work")), []
    try:
        for _ in range(STEPS):
            call = draw(rng, disk)
            done.append(call)
            want, got = disk.do(call), mount.do(call)
            assert got == want, f"seed {seed}, call {len(done)}: " + "\n".join(str(c)[:120] for c in done[-12:])
        assert mount.end() == disk.end()
    finally:
        shutil.rmtree(plain)


def test_an_unlinked_file_has_one_size_for_all_who_have_it_open(shop):
    path = shop.m.at("gone")
    put(path, b"0123456789")
    fds = [os.open(path, os.O_RDWR), os.open(path, os.O_RDWR), os.open(path, os.O_RDONLY)]
    os.unlink(path)
    os.pwrite(fds[0], b"x" * 90, 10)
    assert [os.fstat(fd).st_size for fd in fds] == [100] * 3
    os.close(fds.pop(0))
    assert [os.fstat(fd).st_size for fd in fds] == [100] * 2
    os.ftruncate(fds[0], 5)
    os.close(fds.pop(0))
    assert os.fstat(fds[0]).st_size == 5 and os.pread(fds[0], 100, 0) == b"01234"
    os.close(fds[0])


def test_two_writers_of_a_document_see_their_own_size(shop):
    """Each has the bytes that it will commit; the name shows those that were changed last."""
    shop.add("bolt")
    path = shop.m.at("items/bolt/item.json")
    one = os.open(path, os.O_RDWR)
    size = os.fstat(one).st_size
    os.write(one, b'{"name": "bolt", "price": 1}' + b" " * size)
    mine = size + len(b'{"name": "bolt", "price": 1}')
    two = os.open(path, os.O_RDWR)
    assert os.fstat(one).st_size == mine and os.lseek(one, 0, os.SEEK_END) == mine
    assert os.lseek(two, 0, os.SEEK_END) == size
    os.close(two)
    assert os.fstat(one).st_size == mine
    os.close(one)


@pytest.mark.parametrize("coherence", ["notify", "ttl=5", "none"])
def test_lseek_goes_by_the_bytes_of_its_own_file(pg, make_mount, coherence):
    """Random writes and cuts through two open files of one column; each has bytes of its own, as the model has."""
    pg.sql("create table t (name text primary key, note text); insert into t select 'a' || n, 'hello wor' from generate_series(1, 40) n")
    m = make_mount(layout={"routes": [{"path": "/{t.name}.txt", "column": "t.note"}]}, options={"coherence": coherence})
    for seed in range(1, 41):
        rng, log = random.Random(seed), []
        flags = [os.O_WRONLY | rng.choice([0, os.O_APPEND]) for _ in range(2)]
        fds, own = [os.open(m.at(f"a{seed}.txt"), f) for f in flags], [bytearray(b"hello wor") for _ in range(2)]
        for _ in range(rng.randrange(3, 20)):
            i, what, data = rng.randrange(2), rng.choice(["write", "cut", "flush", "fstat", "end", "end"]), b"abc" * rng.randrange(1, 4)
            at = len(own[i]) if flags[i] & os.O_APPEND else min(rng.choice([0, 3, 99]), len(own[i]))
            log.append((i, what, at))
            if what == "write":
                os.lseek(fds[i], at, os.SEEK_SET)
                os.write(fds[i], data)
                own[i][at:at + len(data)] = data
            elif what == "cut":
                os.ftruncate(fds[i], at)
                del own[i][at:]
            elif what == "flush":
                os.close(os.dup(fds[i]))
            elif what == "fstat":
                os.fstat(fds[i])
            else:
                assert os.lseek(fds[i], 0, os.SEEK_END) == len(own[i]), (seed, log)
        for fd in fds:
            os.close(fd)


# -- SQLite -------------------------------------------------------------------------------------------------------------

ADD = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
for i in range(int(sys.argv[3])):
    db.execute("INSERT INTO t (who, body) VALUES (?, ?)", (sys.argv[2], "x" * (i * 37 % 3000)))
db.close()
"""


def check(path, rows):
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert db.execute("SELECT who, count(*) FROM t GROUP BY who ORDER BY who").fetchall() == rows
    db.close()


@pytest.mark.parametrize("mode", ["delete", "truncate", "wal"])
def test_sqlite_with_two_connections(shop, mode):
    path = str(shop.m.at("app.db"))
    dbs = [sqlite3.connect(path, isolation_level=None, timeout=60) for _ in range(2)]
    assert dbs[0].execute(f"PRAGMA journal_mode={mode}").fetchone() == (mode,)
    dbs[0].execute("CREATE TABLE t (id INTEGER PRIMARY KEY, who TEXT, body TEXT)")
    for i in range(60):
        dbs[i % 2].execute("INSERT INTO t (who, body) VALUES (?, ?)", (str(i % 2), "x" * (i * 113 % 4000)))
        assert dbs[1 - i % 2].execute("SELECT count(*) FROM t").fetchone() == (i + 1,)
    for db in dbs:
        db.close()
    check(path, [("0", 30), ("1", 30)])


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_sqlite_with_several_processes(shop, mode):
    path = str(shop.m.at("app.db"))
    db = sqlite3.connect(path)
    assert db.execute(f"PRAGMA journal_mode={mode}").fetchone() == (mode,)
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, who TEXT, body TEXT)")
    db.close()
    writers = [subprocess.Popen([sys.executable, "-c", ADD, path, who, "40"]) for who in ("a", "b", "c")]
    assert [w.wait(60) for w in writers] == [0, 0, 0]
    check(path, [("a", 40), ("b", 40), ("c", 40)])
    # more pages after a VACUUM by one than another connection knew
    one = sqlite3.connect(path, isolation_level=None)
    one.execute("DELETE FROM t WHERE who = 'b'")
    run(sys.executable, "-c", "import sqlite3, sys; sqlite3.connect(sys.argv[1], isolation_level=None).execute('VACUUM')", path)
    one.execute("INSERT INTO t (who, body) VALUES ('d', ?)", ("y" * 50_000,))
    one.close()
    check(path, [("a", 40), ("c", 40), ("d", 1)])


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the program sqlite3 is not installed")
def test_the_sqlite_program(shop):
    path = shop.m.at("app.db")
    run("sqlite3", path, "PRAGMA journal_mode=wal; CREATE TABLE t (who TEXT); INSERT INTO t VALUES ('a')")
    db = sqlite3.connect(str(path), isolation_level=None)
    run("sqlite3", path, "INSERT INTO t SELECT 'b' FROM generate_series(1, 500)"
        if "generate_series" in run("sqlite3", path, "SELECT name FROM pragma_module_list").stdout
        else "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 500) INSERT INTO t SELECT 'b' FROM s")
    db.execute("INSERT INTO t VALUES ('c')")
    assert run("sqlite3", path, "PRAGMA integrity_check").stdout == "ok\n"
    db.close()
    check(str(path), [("a", 1), ("b", 500), ("c", 1)])
