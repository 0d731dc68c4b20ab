"""Someone who may use the mount, and wants to keep others from it."""
import contextlib
import json
import mmap
import os
import signal
import subprocess
import sys
import time

import pytest

from kit import run, until
from mountkit import is_mounted
from shop import LAYOUT

# A process makes an item and then, exclusively, its document, by a path that stands in memory of its own. While the daemon is stopped
# behind the kernel's look-up, that memory becomes a page of a file of another file system, which answers nobody any more.
HANG = """
import ctypes, mmap, os, sys, threading
top, dead, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype, libc.mmap.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
PAGE = mmap.PAGESIZE
file = os.open(dead, os.O_RDONLY)
pages, go = [], threading.Barrier(n + 1)

def attack(i):
    os.mkdir(f"{top}/items/x{i}")
    page = libc.mmap(None, PAGE, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    path = f"{top}/items/x{i}/item.json".encode() + bytes(1)
    ctypes.memmove(page, path, len(path))
    pages.append(page)
    go.wait()  # all items are made: the daemon may be stopped
    go.wait()
    libc.open(ctypes.c_void_p(page), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)

threads = [threading.Thread(target=attack, args=(i,), daemon=True) for i in range(n)]
for t in threads:
    t.start()
go.wait()
print("made", flush=True)
sys.stdin.readline()  # it is stopped
go.wait()
print("asked", flush=True)
sys.stdin.readline()  # all of them wait for their look-up
for i, page in enumerate(pages):
    libc.mmap(page, PAGE, mmap.PROT_READ, mmap.MAP_SHARED | 0x10, file, i * PAGE)  # MAP_FIXED
print("mapped", flush=True)
sys.stdin.readline()
os._exit(0)
"""
ATTACKERS = 20  # more than a mount has threads


def waiting(process):
    """How many of its threads wait for an answer of the daemon's."""
    wchans = [open(f"/proc/{process.pid}/task/{t}/wchan").read() for t in os.listdir(f"/proc/{process.pid}/task")]
    return sum("fuse" in w or "request_wait" in w for w in wchans)


@pytest.mark.skipif(os.geteuid() != 0, reason="who waits for what can be seen by root only")
def test_memory_that_answers_nobody(shop, make_mount, pg):
    """The memory of a program is read for its intent: by one thread, while all others serve, and the mount ends in time."""
    m, dead = shop.m, make_mount(layout=LAYOUT)
    m.umount()
    # LeakSanitizer would stop that thread, and wait for it, at the end
    m.env = {**(m.env or os.environ), "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
    m.start()
    with open(dead.at("dead"), "wb") as f:
        f.truncate(mmap.PAGESIZE * ATTACKERS)  # never read: the kernel has no page of it
    process = subprocess.Popen([sys.executable, "-c", HANG, str(m.path), str(dead.at("dead")), str(ATTACKERS)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "made\n"
        os.kill(m.process.pid, signal.SIGSTOP)
        os.kill(dead.process.pid, signal.SIGSTOP)
        print("", file=process.stdin, flush=True)
        assert process.stdout.readline() == "asked\n"
        until(lambda: waiting(process) == ATTACKERS, "all of them wait")
        print("", file=process.stdin, flush=True)
        assert process.stdout.readline() == "mapped\n"
        os.kill(m.process.pid, signal.SIGCONT)
        shop.add("bolt")
        until(lambda: m.exists("items/bolt/item.json"), "others are served", timeout=10)
        os.kill(m.process.pid, signal.SIGTERM)
        until(lambda: not is_mounted(m.path), "the mount ends", timeout=30)
    finally:
        for daemon in (m, dead):  # only with an answer can the kernel end a process that waits for it
            os.kill(daemon.process.pid, signal.SIGCONT)
        process.kill()
        process.wait(60)
    m.umount()


ALL = 40  # programs that wait at once: more than a mount has threads


@contextlib.contextmanager
def programs_that_wait(shop, pg, script, mode="access exclusive"):
    """ALL shells that run SCRIPT with the number of an item, all of which wait for a lock in the database. Yields what ends that."""
    for i in range(ALL):
        shop.add(f"w{i}", note="old")
    locker = pg.connect()
    locker.cursor().execute(f"lock table items in {mode} mode")
    shells = [subprocess.Popen(["sh", "-c", script, "sh", str(shop.m.at(f"items/w{i}"))], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
              for i in range(ALL)]
    try:
        until(lambda: pg.one("select count(*) from pg_stat_activity where wait_event_type = 'Lock'") >= 5, "they wait")
        yield locker, shells
    finally:
        locker.close()
        for shell in shells:
            with contextlib.suppress(subprocess.TimeoutExpired):
                shell.wait(90)
            shell.kill()


@pytest.mark.parametrize("script", ['cat "$1/item.json"', 'echo new >"$1/note.txt"', 'rm "$1/note.txt"', 'ls "$1"'])
def test_the_status_is_told_while_all_others_wait(shop_pg, shop, script):
    """Two threads more than may wait serve /.rowfs. All that waited is done afterwards."""
    with programs_that_wait(shop, shop_pg, script) as (locker, shells):
        for _ in range(3):
            began = time.monotonic()
            status = json.loads(run("cat", shop.m.at(".rowfs/status.json"), timeout=20).stdout)
            run("cat", shop.m.at(".rowfs/errors.jsonl"), timeout=20)
            run("stat", shop.m.at(".rowfs/status.json"), shop.m.at(".rowfs"), timeout=20)
            assert time.monotonic() - began < 5
        assert status["connection"] == "up"
        assert all(shell.poll() is None for shell in shells)
        locker.rollback()
        assert [shell.wait(90) for shell in shells] == [0] * ALL
    want = {"new\n"} if "echo" in script else {None} if "rm" in script else {"old"}  # an rm shortly after it has returned
    until(lambda: {note for note, in shop_pg.sql("select note from items where name like 'w%%'")} == want, "all is done")


def test_one_thread_and_one_that_waits(shop_pg, make_mount):
    """threads=1: what waits for its turn is served in order, and interrupted if its program is."""
    m = make_mount(layout=LAYOUT, options={"threads": 1})
    shop_pg.sql("insert into items (name, note) values ('a', 'x'), ('b', 'y')")
    with contextlib.closing(shop_pg.connect()) as locker:
        locker.cursor().execute("lock table items in access exclusive mode")
        readers = [subprocess.Popen(["cat", str(m.at(f"items/{name}/note.txt"))], stdout=subprocess.PIPE) for name in "ab"]
        try:
            until(lambda: shop_pg.one("select count(*) from pg_stat_activity where wait_event_type = 'Lock'") == 1, "one waits")
            assert json.loads(run("cat", m.at(".rowfs/status.json"), timeout=20).stdout)["connection"] == "up"
            locker.rollback()
            assert [r.communicate(timeout=30)[0] for r in readers] == [b"x", b"y"]
        finally:
            locker.close()
            for r in readers:
                r.kill()
                r.wait(30)


def ends_in_time(m):
    """SIGTERM: the process ends, and nothing is mounted. Returns its exit status and what it said since."""
    before = len(m.output())
    began = time.monotonic()
    m.kill(signal.SIGTERM)
    status = m.wait(60)
    assert time.monotonic() - began < 30
    assert not is_mounted(m.path)
    return status, m.output()[before:]


def test_a_signal_ends_a_mount_whose_writers_all_wait(shop_pg, shop):
    """After 25 s nobody is waited for: the log says which files that concerns."""
    with programs_that_wait(shop, shop_pg, 'echo new >"$1/note.txt"', "exclusive") as (locker, shells):
        status, said = ends_in_time(shop.m)
        assert status == 1
        assert "has not ended for 25 s" in said and "/items/w" in said and "note.txt: a commit is under way" in said
        locker.rollback()
        for shell in shells:
            shell.wait(30)  # nobody waits for a mount that is gone
    shop.m.process = None


def test_a_signal_commits_what_does_not_wait(shop_pg, shop):
    """One writer waits for a lock for ever; what other files have got is committed all the same."""
    shop.add("stuck", note="old")
    log = os.open(shop.m.at("log.csv"), os.O_WRONLY | os.O_APPEND)
    flat = os.open(shop.m.at("flat/7.json"), os.O_WRONLY | os.O_CREAT)
    with contextlib.closing(shop_pg.connect()) as locker:
        locker.cursor().execute("lock table items in exclusive mode")  # who reads does not wait
        writer = subprocess.Popen(["sh", "-c", 'echo new >"$1"', "sh", str(shop.m.at("items/stuck/note.txt"))], stderr=subprocess.DEVNULL)
        try:
            until(lambda: shop_pg.one("select count(*) from pg_stat_activity where wait_event_type = 'Lock'") >= 1, "it waits")
            os.write(log, b"a,1,,\n")
            os.write(flat, b'{"title": "seven"}')
            status, said = ends_in_time(shop.m)
            assert status == 1 and "/items/stuck/note.txt: a commit is under way" in said
            assert "/log.csv" not in said and "/flat/7.json" not in said
            assert shop_pg.sql("select n from log") == [(1,)]
            assert shop_pg.sql("select title from flat where id = 7") == [("seven",)]
        finally:
            locker.rollback()
            writer.kill()
            writer.wait(30)
            for fd in (log, flat):
                with contextlib.suppress(OSError):
                    os.close(fd)
    shop.m.process = None


def test_a_signal_before_anything_is_mounted(shop_pg, make_mount):
    """The mount waits for a lock while it begins."""
    m = make_mount(layout=LAYOUT)
    m.umount()
    with contextlib.closing(shop_pg.connect()) as locker:
        locker.cursor().execute("lock table rowfs.slice in access exclusive mode")
        m.spawn()
        until(lambda: shop_pg.one("select count(*) from pg_stat_activity where wait_event_type = 'Lock'") >= 1, "it waits")
        status, said = ends_in_time(m)
        assert status == 1 and "before anything was mounted" in said
    m.process = None
