"""/.rowfs/health: ok, failing or degraded with a reason each, within two seconds whatever the server does; status.json says the same."""
import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from kit import put, until
from mountkit import clean_env

SOON = 2.0
TABLES = """
create table notes (id serial primary key, body text);
create table lines (id bigserial primary key, n int);
insert into notes (body) select 'x' from generate_series(1, 6);
"""
LAYOUT = {"routes": [
    {"path": "/notes/{id}.txt", "column": "notes.body"},
    {"path": "/notes.csv", "rows": "notes"},
    {"path": "/in/{name}.csv", "file": True, "ingest": "lines", "columns": ["n"]}]}


def health(m):
    """Its lines; it must answer soon. A mount that is asked by a program of its own cannot hold up the test."""
    began = time.monotonic()
    done = subprocess.run(["cat", m / ".rowfs/health"], capture_output=True, text=True, timeout=20, check=True, env=clean_env())
    took = time.monotonic() - began
    assert took < SOON, f"{took:.2f} s: {done.stdout}"
    return done.stdout.splitlines()


def says(m, *words):
    """A line of health, and status.json, say all of WORDS."""
    lines = health(m)
    found = [line for line in lines if all(w in line for w in words)]
    if not found:
        return False
    status = m.status()
    assert status["health"] == lines[0].split(":")[0]
    assert found[0].split(": ", 1)[1].split(" for ")[0] in "; ".join(status["health_reasons"])
    return True


def fails(m):
    """The database does not answer. Which of its waits ended first, the connecting or ours, may change from one look to the next."""
    return health(m)[0].startswith("failing: ") and m.status()["health"] == "failing" and m.status()["health_reasons"] != []


def is_ok(m):
    return health(m) == ["ok"] and m.status()["health"] == "ok" and m.status()["health_reasons"] == []


@pytest.fixture
def mount(pg, make_mount):
    pg.sql(TABLES)
    m = make_mount(layout=LAYOUT, options={"retry_attempts": 1, "retry_delay": "0.1", "max_connections": 2})
    until(lambda: is_ok(m), "it is ok")
    return m


@contextlib.contextmanager
def stopped(pids):
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def server_processes(server):
    top = server.process.pid
    children = Path(f"/proc/{top}/task/{top}/children").read_text().split()
    return [top, *map(int, children)]


def test_a_server_that_is_stopped(mount, pg, server):
    """SIGSTOP: connections are taken by the kernel, and nobody answers. Many may ask at once."""
    with stopped(server_processes(server)):
        took = []

        def ask():
            began = time.monotonic()
            (mount / ".rowfs/health").read_text()
            took.append(time.monotonic() - began)
        threads = [threading.Thread(target=ask) for _ in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert max(took) < SOON, took
        assert fails(mount)
    until(lambda: is_ok(mount), "ok again", timeout=20)
    mount.expect("canceling statement|did not answer|no answer|timeout|connection")


def test_locks_and_connections_that_are_all_in_use(mount, pg):
    lock = pg.connect()
    lock.cursor().execute("lock table notes in access exclusive mode")
    readers = [subprocess.Popen(["cat", mount / f"notes/{n}.txt"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for n in range(1, 7)]
    try:
        until(lambda: says(mount, "degraded:", "all 2 connections are in use"), "it says so")
    finally:
        lock.rollback()
        lock.close()
        for r in readers:
            r.wait(30)
    until(lambda: is_ok(mount), "ok again")


def test_routes_that_are_in_trouble(mount, pg):
    pg.sql("alter table notes rename to gone")
    assert says(mount, "degraded:", "notes is not there")
    pg.sql("alter table gone rename to notes")
    assert is_ok(mount)
    pg.sql("revoke select on notes from keeper")
    assert says(mount, "degraded:", "notes may not be read by this role")
    pg.sql("grant select on notes to keeper")
    assert is_ok(mount)


def test_bytes_that_could_not_be_committed(mount, pg):
    put(mount / "in/a.csv", "n\n1\n")
    fd = os.open(mount / "in/a.csv", os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"2\n")
    pg.sql("alter table rowfs.chunk rename to away")
    with pytest.raises(OSError):
        os.fsync(fd)
    assert says(mount, "degraded:", "1 ingest files have bytes that could not be committed")
    pg.sql("alter table rowfs.away rename to chunk")
    os.fsync(fd)
    os.close(fd)
    assert pg.sql("select n from lines order by n") == [(1,), (2,)]
    assert is_ok(mount)


def test_the_servers_disk_is_full(mount, pg):
    pg.sql("create function full_disk() returns trigger language plpgsql as "
           "$$ begin raise disk_full using message = 'could not extend file'; end $$; "
           "create trigger full_disk before update on notes for each row execute function full_disk()")
    with pytest.raises(OSError):
        put(mount / "notes/1.txt", "y")
    assert says(mount, "degraded:", "server's disk is full")


def test_the_session_that_listens_is_lost(mount, pg, server):
    assert is_ok(mount)
    mount.expect("connection|terminat")
    server.admin(f'alter database "{pg.name}" connection limit 0')  # but for superusers
    for pid in pg.listeners():
        server.admin(f"select pg_terminate_backend({pid})")
    until(lambda: says(mount, "degraded:", "hears of changes is lost"), "it says so")
    assert any(line.startswith("failing:") for line in health(mount))
    server.admin(f'alter database "{pg.name}" connection limit -1')
    until(lambda: is_ok(mount), "ok again", timeout=20)


@pytest.mark.root
def test_the_disk_of_state_dir(pg, make_mount, tmp_path):
    pg.sql(TABLES)
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", disk], check=True)
    try:
        m = make_mount(layout=LAYOUT, options={"state_dir": disk})
        until(lambda: is_ok(m), "it is ok")
        free = os.statvfs(disk)
        (disk / "fill").write_bytes(b"x" * (free.f_bavail * free.f_frsize * 97 // 100))
        assert says(m, "degraded:", "less than 5 %", "free")
        (disk / "fill").unlink()
        assert is_ok(m)
        m.umount()
    finally:
        subprocess.run(["umount", "-l", disk], check=False)


class Silent:
    """A TCP server in front of the database, which at a word sends nothing on any more, and takes further connections."""

    def __init__(self, path):
        self.path, self.silent = path, threading.Event()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.sockets = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.server.accept()
            except OSError:
                return
            self.sockets.append(near)
            if self.silent.is_set():
                continue
            far = socket.socket(socket.AF_UNIX)
            far.connect(self.path)
            self.sockets.append(far)
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self.copy, args=(a, b), daemon=True).start()

    def copy(self, a, b):
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                if not self.silent.is_set():
                    b.sendall(data)

    def close(self):
        self.server.close()
        for s in self.sockets:
            s.close()


def test_a_network_that_drops_all(pg, server, make_mount):
    pg.sql(TABLES)
    net = Silent(str(server.dir / ".s.PGSQL.5432"))
    try:
        m = make_mount(layout=LAYOUT, conninfo=f"host=127.0.0.1 port={net.port} dbname={pg.name} user=keeper sslmode=disable",
                       options={"retry_attempts": 0, "command_timeout": 5})
        m.expect(".")
        until(lambda: is_ok(m), "it is ok")
        net.silent.set()
        assert fails(m)
        assert fails(m)
    finally:
        net.close()
    until(lambda: any(line.startswith("failing:") for line in health(m)), "it is gone")
