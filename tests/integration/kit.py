"""The kit of the integration tests: a private PostgreSQL and small helpers.

The mount itself is in mountkit.py. Nothing here sleeps to wait for something: until() polls a condition with a deadline."""
import contextlib
import errno
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg2
import psycopg2.extensions

ROOT = Path(__file__).resolve().parents[2]
IS_ROOT = os.geteuid() == 0
PREFIX = "rowfst-"  # every directory that the kit makes under /tmp


def until(condition, what, timeout=10.0, pause=0.01):
    """Polls CONDITION until it is true and returns its value; fails with WHAT after TIMEOUT seconds."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"after {timeout} s still not: {what}")
        time.sleep(pause)


def scratch(name="x"):
    """A new directory with a short path (a Unix socket's path holds 107 bytes), named after the process that owns it."""
    path = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-{name}-", dir="/tmp")
    return Path(path)


def run(*argv, ok=True, timeout=60, stdin=None, env=None, cwd=None):
    """Runs a program; with OK it must exit 0. Returns the CompletedProcess with text output. ENV is added to the environment, or
    is all of it if it has a PATH."""
    full = env if env and "PATH" in env else {**os.environ, "LC_ALL": "C.UTF-8", **(env or {})}
    done = subprocess.run([str(a) for a in argv], input=stdin, capture_output=True, timeout=timeout, env=full, cwd=cwd,
                          text=not isinstance(stdin, bytes), errors=None if isinstance(stdin, bytes) else "surrogateescape")
    if ok and done.returncode != 0:
        raise AssertionError(f"{argv}: exit {done.returncode}\nstdout: {done.stdout}\nstderr: {done.stderr}")
    return done


def sh(script, cwd=None, ok=True, timeout=60, **env):
    """Runs SCRIPT with bash -eu; keyword arguments become its environment."""
    return run("bash", "-euc", script, ok=ok, cwd=cwd, timeout=timeout, env={k: str(v) for k, v in env.items()})


def put(path, data, flags=os.O_TRUNC, chunk=None, sync=False, mode=0o644):
    """Writes DATA (bytes, str) to PATH by plain system calls, in writes of CHUNK bytes; raises the first OSError of open, write,
    fsync and close, as a careful program would see it."""
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogateescape")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | flags, mode)
    try:
        at = 0
        while at < len(data):
            at += os.write(fd, data[at:at + (chunk or len(data))])
        if sync:
            os.fsync(fd)
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(fd)
        raise
    os.close(fd)


def append(path, data, **kw):
    put(path, data, flags=os.O_APPEND, **kw)


def get(path):
    """All bytes of PATH by plain reads."""
    fd = os.open(path, os.O_RDONLY)
    try:
        parts = []
        while True:
            part = os.read(fd, 1 << 17)
            if not part:
                return b"".join(parts)
            parts.append(part)
    finally:
        os.close(fd)


def rm(path):
    """Removes PATH and has that committed, as a program that fsyncs the directory: otherwise SQL sees it only after some time."""
    fd = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.unlink(path)
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def refused(*numbers):
    """The block must raise OSError with one of NUMBERS. The caught error is in .error."""
    class Box:
        error = None
    box = Box()
    names = "/".join(errno.errorcode[n] for n in numbers)
    try:
        yield box
    except OSError as e:
        assert e.errno in numbers, f"expected {names}, got {errno.errorcode.get(e.errno, e.errno)}: {e}"
        box.error = e
    else:
        raise AssertionError(f"expected {names}, but it succeeded")


def rss_kib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


class Queries(list):
    """(statement, calls) pairs seen by the server; .total is the number of statements that are no session set-up."""
    SETUP = re.compile(r"\s*(set|reset|begin|start|commit|rollback|discard|deallocate|listen|unlisten|select rowfs\.fold|select x\.id from rowfs\.slice"
                       r"|with recursive greeting|with held|select k::pg_catalog\.text, pg_catalog\.pg_try_advisory_xact_lock|select pg_catalog\.set_config\(\$1, s\.proof)\b", re.I)

    @property
    def total(self):
        return sum(n for q, n in self if not self.SETUP.match(q))


class Postgres:
    """A PostgreSQL server of our own: a fresh initdb, a Unix socket only, everything in one directory under /tmp.
    Run by root, it runs as the user postgres. fsync is off: kill9() loses nothing by that, only a power cut would."""

    def __init__(self, settings=()):
        self.dir = scratch("pg")
        self.data, self.log = self.dir / "data", self.dir / "log"
        self.bin = self._find_bin()
        self.user = "postgres" if IS_ROOT else None
        if IS_ROOT:
            pw = pwd.getpwnam("postgres")
            os.chown(self.dir, pw.pw_uid, pw.pw_gid)
        self._as_owner(self.bin / "initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8",
                       "--no-sync")
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as conf:
            conf.write(f"listen_addresses = ''\nunix_socket_directories = '{self.dir}'\nfsync = off\nmax_connections = 100\n"
                       "shared_buffers = 64MB\nshared_preload_libraries = 'pg_stat_statements'\npg_stat_statements.track = top\n"
                       "log_line_prefix = '%m [%p] %d %a '\nautovacuum_naptime = 1h\ntimezone = 'Europe/Berlin'\n"
                       "log_checkpoints = off\n" + "".join(f"{s}\n" for s in settings))
        self.process = None
        self.start()
        self.admin("create role keeper login")
        self.admin("create extension pg_stat_statements")
        self._mark = 0

    @staticmethod
    def _find_bin():
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
        if found:
            return found[-1].parent
        assert shutil.which("initdb"), "no PostgreSQL server installed"
        return Path(shutil.which("initdb")).parent

    def _words(self, *argv):
        words = [str(a) for a in argv]
        if self.user:
            words = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--init-groups", "--", *words]
        return words

    def _as_owner(self, *argv):
        done = subprocess.run(self._words(*argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=120, check=False, cwd="/", env=dict(os.environ, LC_ALL="C.UTF-8"))
        assert done.returncode == 0, f"{argv}: exit {done.returncode}\n{done.stdout}"

    def conninfo(self, dbname, user="keeper"):
        return f"host={self.dir} dbname={dbname} user={user}"

    def start(self):
        """Starts the server as our own child (so that it is reaped whatever pid 1 does) and waits until it takes connections."""
        with open(self.log, "ab") as log:
            words = ["setpriv", "--pdeathsig", "QUIT", *self._words(self.bin / "postgres", "-D", self.data)[1 if IS_ROOT else 0:]]
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                                            env=dict(os.environ, LC_ALL="C.UTF-8"))

        def answers():
            assert self.process.poll() is None, f"PostgreSQL ended\n{self.log_tail()}"
            with contextlib.suppress(psycopg2.OperationalError):
                return self.admin("select true")
            return False
        until(answers, "PostgreSQL answers", timeout=60)

    def stop(self, mode="fast"):
        self.process.send_signal({"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode])
        self.process.wait(60)

    def restart(self, mode="fast"):
        self.stop(mode)
        self.start()

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill9(self):
        """Kills the postmaster and its children at once, as a crash would."""
        pid = self.process.pid
        children = [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        for p in [pid, *children]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(p, signal.SIGKILL)
        self.process.wait(60)

        def gone(p):
            try:
                return not Path(f"/proc/{p}/cmdline").read_bytes()  # a zombie has none
            except (FileNotFoundError, ProcessLookupError):
                return True
        until(lambda: all(gone(p) for p in children), "backends gone")

    def admin(self, query, *args, dbname="postgres"):
        """Runs QUERY as superuser, autocommitted; the rows as a list of tuples."""
        conn = psycopg2.connect(self.conninfo(dbname, "postgres"))
        try:
            conn.autocommit = True
            with conn.cursor() as cur:
                cur.execute(query, args or None)
                return cur.fetchall() if cur.description else []
        finally:
            conn.close()

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def log_tail(self, lines=40):
        return "\n".join(self.log_text().splitlines()[-lines:])

    def mark_log(self):
        self._mark = len(self.log_text())

    def log_contains(self, regex):
        return re.search(regex, self.log_text()[self._mark:]) is not None

    def create_database(self, name, template=None):
        self.admin(f'create database "{name}" owner keeper template "{template or "template0"}"')
        return Database(self, name)

    def destroy(self):
        if self.running():
            self.stop("immediate")
        shutil.rmtree(self.dir, ignore_errors=True)


class Database:
    """One database of the server, seen as the role keeper (its owner, no superuser): the second source of truth."""

    def __init__(self, server, name):
        self.server, self.name = server, name
        self.conninfo = server.conninfo(name)
        self._conn = None

    def sql(self, query, *args):
        """Runs QUERY (with %s for ARGS), autocommitted, on a connection that is kept; the rows as a list of tuples."""
        for attempt in (1, 2):
            try:
                if self._conn is None or self._conn.closed:
                    self._conn = psycopg2.connect(self.conninfo, application_name="test")
                    self._conn.autocommit = True
                with self._conn.cursor() as cur:
                    cur.execute(query, args or None)
                    return cur.fetchall() if cur.description else []
            except psycopg2.Error as e:
                if attempt == 2 or e.pgcode and not e.pgcode.startswith("57P"):
                    raise
                self.close()  # the server was restarted: once more on a new connection
        return []

    def one(self, query, *args):
        """The single value of the single row; None if there is no row."""
        rows = self.sql(query, *args)
        return rows[0][0] if rows else None

    def admin(self, query, *args):
        return self.server.admin(query, *args, dbname=self.name)

    def connect(self):
        """A connection of its own, not autocommitted: for locks and open transactions."""
        return psycopg2.connect(self.conninfo, application_name="test")

    @contextlib.contextmanager
    def queries(self):
        """Counts the statements that reach this database inside the block. sql() in the block counts too.
        A mount looks about once a second whether the schema has changed: that is not counted."""
        seen = Queries()
        self.server.admin("select pg_stat_statements_reset()")
        yield seen
        seen.extend(self.server.admin("select query, calls from pg_stat_statements s join pg_database d on d.oid = s.dbid "
                                      "where d.datname = %s and calls > 0 and query not like '-- One number of all that the catalog query%%' "
                                      "order by calls desc", self.name))

    def backends(self, more="true"):
        """pids of rowfs's own backends on this database; MORE is a condition on pg_stat_activity."""
        return [r[0] for r in self.server.admin(f"select pid from pg_stat_activity where datname = %s and usename = 'keeper' "
                                                f"and application_name <> 'test' and {more}", self.name)]

    def channel(self):
        """The channel that mounts and triggers tell each other by: a secret of theirs."""
        return self.one("select channel from rowfs.secret")

    def listeners(self):
        """pids of the backends on this database by which mounts listen."""
        return [r[0] for r in self.admin("select l.pid from pg_locks l join pg_database d on d.oid = l.database "
                                         "where d.datname = current_database() and l.locktype = 'advisory' and l.classid = 1919316738")]

    def close(self):
        if self._conn is not None:
            with contextlib.suppress(psycopg2.Error):
                self._conn.close()
        self._conn = None

    def drop(self):
        self.close()
        if self.server.running():
            self.server.admin(f'drop database if exists "{self.name}" with (force)')


def dump(pg):
    """What pg_dump -s says of a database, without the key that it makes up each time."""
    text = run("pg_dump", "-s", pg.server.conninfo(pg.name, "postgres")).stdout
    return re.sub(r"^\\(un)?restrict .*$", "", text, flags=re.M)


def sqitch(database, *words, timeout=120, project="schema/core", user="keeper", ok=True, **env):
    """Runs sqitch on rowfs's own schema, or on another project below schema/ (or anywhere), against DATABASE."""
    env = {"PGHOST": str(database.server.dir), "PGUSER": user, "PGDATABASE": database.name, "PGTZ": "UTC",
           "SQITCH_FULLNAME": "Test", "SQITCH_EMAIL": "test@example.org", "HOME": str(database.server.dir), **env}
    return run("sqitch", "--chdir", ROOT / project, *words, f"db:pg:{database.name}", env=env, timeout=timeout, ok=ok)


PACKS = ("voice-assistant", "orderbook")


def deploy(database):
    """Deploys rowfs's own schema, and the tables of the default layout."""
    for project in ("core", *PACKS):
        sqitch(database, "deploy", project=f"schema/{project}")


def forget_packs(database):
    """Leaves what packs have made, and forgets that it was them: as in a database that is older than packs are."""
    database.sql("delete from rowfs.object; delete from rowfs.dependencies d using rowfs.changes c where c.change_id = d.change_id"
                 " and project <> 'rowfs_core'; delete from rowfs.changes where project <> 'rowfs_core'")
