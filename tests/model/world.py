"""A world: a database with tables that misbehave as asked, mounted, with processes that use it. And the server that many worlds share.

What is asked is a dict: trigger, policy, reader (booleans), isolation (None, or where and what: "database serializable", "option repeatable read"), encoding,
and options (those of the mount)."""
import contextlib
import itertools
import json
import os
import re
import selectors
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

import psycopg2  # noqa: E402

import kit  # noqa: E402
import mountkit  # noqa: E402

PLAIN_WORLD = {"trigger": False, "policy": False, "isolation": None, "encoding": "UTF8", "options": {}}
FLUSH_INTERVAL = 0.15  # seconds
PATIENCE = 60  # seconds: a call that takes longer hangs
READ_ALL_THE_TIME = ["log.csv", "log.jsonl", "list.json", "settings.json"]
LINES = ["lines", "jlines", "glines", "klines", "inlines", "gzlines"]

FUNCTION = """
create function misbehave() returns trigger language plpgsql as $$
declare what text := substring(new.{column} from ' ([a-z]+)$');
begin
    if what = 'skip' then return null; end if;
    if what = 'change' then new.{column} := new.{column} || 'd'; end if;
    if what = 'raise' then raise exception 'the trigger refused %', new.{column}; end if;
    if what = 'custom' then raise exception 'with a code of its own' using errcode = 'RW001'; end if;
    if what = 'priv' then raise exception 'may not' using errcode = '42501'; end if;
    if what = 'nofun' then perform there_is_no_such_function(1); end if;
    return new;
end $$;
"""
TABLES = """
create table parents (name text primary key, title text not null default 'none', qty integer not null default 0 check (qty >= 0),
                      note text, meta jsonb default '{}');
create table list (id integer primary key, title text);
create table settings (name text primary key, v integer not null, memo text);
""" + "".join(f"create table {t} (id bigserial primary key, w integer not null, n bigint not null, memo text check (memo !~ ' check$'){more});\n"
              for t, more in [("lines", ""), ("jlines", ""), ("glines", ", g text not null"), ("inlines", ""), ("gzlines", ""),
                              ("klines", ", parent text not null references parents on delete cascade on update cascade")])
COLUMNS = ["w", "n", "memo"]
LAYOUT = {"routes": [
    {"path": "/p/{parents.name}/row.json", "row": "parents", "columns": ["name", "title", "qty"]},
    {"path": "/p/{parents.name}/note.txt", "column": "parents.note"},
    {"path": "/p/{parents.name}/meta.json", "column": "parents.meta"},
    {"path": "/p/{parents.name}/kids.csv", "rows": "klines", "columns": COLUMNS, "order": ["id"]},
    {"path": "/p/{parents.name}/kids.jsonl", "rows": "klines", "columns": COLUMNS, "order": ["id"]},
    {"path": "/log.csv", "rows": "lines", "columns": COLUMNS, "order": ["id"]},
    {"path": "/log.jsonl", "rows": "jlines", "columns": COLUMNS, "order": ["id"]},
    {"path": "/g/{g}.csv", "rows": "glines", "columns": COLUMNS, "order": ["id"]},
    {"path": "/list.json", "rows": "list", "as": "array", "order": ["id"]},
    {"path": "/settings.json", "rows": "settings", "as": "object", "by": "name"},
    {"path": "/in/{x}.csv", "file": True, "ingest": "inlines", "columns": COLUMNS},
    {"path": "/in/{x}.csv.{k}", "file": True, "ingest": "inlines", "columns": COLUMNS, "format": "csv", "replace": "keep"},
    {"path": "/in/{x}.jsonl", "file": True, "ingest": "inlines", "columns": COLUMNS},
    {"path": "/gz/{x}.csv.gz", "file": True, "ingest": "gzlines", "columns": COLUMNS},
]}


class Found(Exception):
    """A fault. WHAT names its kind in few words (shrinking keeps it), the rest says what was seen."""

    def __init__(self, what, seen):
        super().__init__(f"{what}: {seen}")
        self.what, self.seen = what, seen


def ddl(world):
    """The statements that make the tables of WORLD."""
    out = [TABLES]
    if world["trigger"]:
        for column, tables in [("memo", LINES), ("title", ["parents", "list"])]:
            out.append(FUNCTION.format(column=column).replace("misbehave", f"misbehave_{column}"))
            out += [f"create trigger misbehaves before insert or update on {t} for each row execute function misbehave_{column}();" for t in tables]
    if world["policy"]:
        for t in LINES:
            out.append(f"alter table {t} enable row level security; alter table {t} force row level security; "
                       f"create policy everybody on {t} using (true) with check (coalesce(memo, '') !~ ' policy$');")
    return "\n".join(out)


class Server:
    """A PostgreSQL and, for each encoding, a database with the schema rowfs deployed, of which worlds are copies."""

    def __init__(self):
        self.pg, self.templates, self.numbers = kit.Postgres(), {}, itertools.count(1)

    def template(self, encoding):
        if encoding not in self.templates:
            name = f"template_{encoding.lower()}"
            locale = "" if encoding == "UTF8" else f" encoding '{encoding}' lc_collate 'C' lc_ctype 'C'"
            self.pg.admin(f"create database {name} owner keeper template template0{locale}")
            database = kit.Database(self.pg, name)
            kit.deploy(database)
            database.close()
            self.templates[encoding] = name
        return self.templates[encoding]

    def database(self, world):
        made = self.pg.create_database(f"w{next(self.numbers)}", self.template(world["encoding"]))
        made.sql(ddl(world))
        where, _, level = (world["isolation"] or "").partition(" ")
        if where == "database":
            self.pg.admin(f"alter database {made.name} set default_transaction_isolation = '{level}'")
        made.close()
        return made

    def destroy(self):
        self.pg.destroy()


class Worker:
    """A process that makes calls, see worker.py."""

    def __init__(self, mount, twin):
        self.process = subprocess.Popen([sys.executable, "-S", "-E", str(Path(__file__).with_name("worker.py")), str(mount), str(twin)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/")
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)

    def send(self, calls):
        self.process.stdin.write(json.dumps(calls).encode() + b"\n")
        self.process.stdin.flush()

    def answer(self, calls):
        if not self.selector.select(PATIENCE):
            raise Found("hang", f"no answer in {PATIENCE} s to {str(calls)[:300]}")
        return json.loads(self.process.stdout.readline())

    def call(self, *calls):
        """The answers, a list for each call that was made: [errno, value, ms] and, with a twin, [errno, value] of the twin's."""
        self.send(calls)
        return self.answer(calls)

    def kill(self):
        """kill -9; True once the process and so its descriptors are gone."""
        self.process.kill()
        self.reap()

    def reap(self):
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Found("hang", "a killed process does not end: its close is not answered") from None
        self.selector.close()
        self.process.stdin.close()
        self.process.stdout.close()


class Reader:
    """A process that reads and never stops, see reader.py."""

    def __init__(self, mount, names):
        self.process = subprocess.Popen([sys.executable, "-S", "-E", str(Path(__file__).with_name("reader.py")), str(mount), *names],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/")

    def end(self):
        """What it has seen wrong; "" if nothing."""
        self.process.stdin.close()
        try:
            said = self.process.stdout.read().decode()
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.stdout.close()
        return said


class World:
    """Use as a context: within it the mount is served and the processes run."""

    def __init__(self, server, world, processes=3):
        self.server, self.asked, self.n = server, world, processes

    def __enter__(self):
        self.database = self.server.database(self.asked)
        where, _, level = (self.asked["isolation"] or "").partition(" ")
        options = {"flush_interval": str(FLUSH_INTERVAL), "retry_attempts": 6, "retry_delay": "0.1", "retry_backoff": "1.0", **self.asked["options"]}
        if where == "option":
            options["isolation_level"] = level
        self.mount = mountkit.Mount(self.database.conninfo, layout=LAYOUT, options=options, start=False, log_level="warning")
        self.twin = self.mount.dir / "twin"
        self.twin.mkdir()
        self.conn = self.reader = None
        self.workers = []
        try:
            self.start_mount()
            self.start_reader()
            self.workers = [Worker(self.mount.path, self.twin) for _ in range(self.n)]
        except BaseException:
            self.__exit__()
            raise
        return self

    def start_reader(self):
        if self.asked.get("reader"):
            self.reader = Reader(self.mount.path, READ_ALL_THE_TIME)

    def end_reader(self, count=True):
        """Ends it. Fault if it has seen something wrong."""
        said = self.reader.end() if self.reader is not None else ""
        self.reader = None
        if said and count:
            raise Found("a reader saw half of something", said[-1500:])

    def start_mount(self):
        try:
            self.mount.start()
        except AssertionError as e:
            raise Found("mount", str(e)) from None

    def __exit__(self, *_):
        if self.reader is not None:
            self.end_reader(count=False)
        for w in self.workers:
            with contextlib.suppress(Exception):
                w.process.kill()
        self.mount.destroy()
        for w in self.workers:
            with contextlib.suppress(Exception):
                w.reap()
        if self.conn is not None:
            self.conn.close()
        with contextlib.suppress(psycopg2.Error):
            self.database.drop()

    def sql(self, query, *args):
        """Read committed, whatever the database's default is: what the judge reads makes no transaction of rowfs fail."""
        if self.conn is None:
            self.conn = psycopg2.connect(self.database.conninfo, application_name="model",
                                         options="-c default_transaction_isolation=read\\ committed -c client_encoding=UTF8")
            self.conn.autocommit = True
        with self.conn.cursor() as cur:
            cur.execute(query, args or None)
            return cur.fetchall() if cur.description else []

    def restart_worker(self, i):
        self.workers[i] = Worker(self.mount.path, self.twin)

    def crash(self):
        """kill -9 of rowfs, and mounted again. The workers' descriptors are dead: they end, too, and are started anew."""
        self.end_reader()
        self.mount.kill()
        self.mount.process.wait()
        for i, w in enumerate(self.workers):
            w.kill()
            self.workers[i] = None
        while mountkit.is_mounted(self.mount.path):
            mountkit.lazy_umount(self.mount.path)
        self.mount._watch.cancel()
        self.start_mount()
        self.start_reader()
        self.workers = [Worker(self.mount.path, self.twin) for _ in range(self.n)]

    def alive(self):
        """Fault if the daemon has ended or a sanitizer has spoken."""
        said = [x for x in self.mount.output().splitlines() if re.search(r"Sanitizer|runtime error|\bBUG\b", x)]
        if said:
            raise Found("sanitizer", "\n".join(self.mount.output().splitlines()[-60:]))
        if self.reader is not None and self.reader.process.poll() is not None:
            self.end_reader()
        if not self.mount.alive():
            raise Found("daemon ended", f"status {self.mount.process.poll()}\n{self.mount.output()[-3000:]}")

    def end(self):
        """Workers end by closing what they have open; a clean unmount, exit status 0."""
        self.end_reader()
        for i, w in enumerate(self.workers):
            w.process.stdin.close()
            try:
                w.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                raise Found("hang", f"process {i} does not end") from None
        try:
            kit.until(self.mount._try_umount, "umount", timeout=20)
            status = self.mount.wait(60)
        except AssertionError as e:
            raise Found("umount", str(e)) from None
        self.mount.expect(r".*")
        said = [x for x in self.mount.output().splitlines() if re.search(r"Sanitizer|runtime error|\bBUG\b", x)]
        if status != 0 or said:
            raise Found("sanitizer" if said else "exit status", f"status {status}\n{self.mount.output()[-6000:]}")

    def slurp(self, path):
        """(st_size, bytes, st_size) by plain calls of this process."""
        full = self.mount.path / path
        before = os.stat(full).st_size
        data = kit.get(full)
        return before, data, os.stat(full).st_size

    def rejected(self):
        """The texts in rejected/, as one bytes."""
        return b"\n".join(self.mount.kept())

    def forget_twin(self, name):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.twin / name)


def leave_nothing():
    """What a killed run left."""
    mountkit.clean_stale()


__all__ = ["Found", "Server", "World", "leave_nothing", "shutil"]
