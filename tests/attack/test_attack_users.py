"""Someone who may use the mount, and wants to keep others from it."""
import mmap
import os
import signal
import subprocess
import sys

import pytest

from kit import until
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
