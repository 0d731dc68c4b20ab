"""Unlink followed by create is a replacement: the row, its children and what the file does not show survive; rm deletes."""
import contextlib
import ctypes
import errno
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kit import append, get, put, refused, run, sh, until

S = "3e7a1fd2-93a5-4c1c-8d3c-0d4b0f6f0b11"
WINDOW = 0.05  # a removal is seen by SQL so many seconds after unlink has returned

SQL = """
create table things (name text primary key, title text not null default 't', hidden integer not null default 7, note text);
create table pieces (thing text not null references things on delete cascade on update cascade, n integer, label text,
                     primary key (thing, n));
create table lines (id integer primary key, label text check (label <> 'bad'), hidden integer not null default 7);
create table line_notes (line integer references lines on delete cascade, text text);
create table settings (key text primary key, value text check (value <> 'bad'), hidden integer not null default 7);
create table setting_notes (key text references settings on delete cascade, text text);
create table kept (name text primary key, title text);
create table keeper (name text references kept deferrable initially deferred);
"""
LAYOUT = {"routes": [
    {"path": "/things/{things.name}/thing.json", "row": "things", "columns": ["name", "title"]},
    {"path": "/things/{things.name}/note.txt", "column": "things.note"},
    {"path": "/things/{things.name}/pieces.jsonl", "rows": "pieces", "columns": ["n", "label"], "order": ["n"]},
    {"path": "/flat/{things.name}.json", "row": "things", "columns": ["name", "title"]},
    {"path": "/lines.csv", "rows": "lines", "columns": ["id", "label"], "order": ["id"]},
    {"path": "/settings.json", "rows": "settings", "by": "key", "columns": ["key", "value"]},
    {"path": "/kept/{kept.name}.json", "row": "kept"},
]}


@pytest.fixture
def box(pg, make_mount):
    pg.sql(SQL)
    pg.sql("insert into things (name, note) values ('a', 'na'), ('b', 'nb')")
    pg.sql("insert into pieces select t.name, g, 'p' from things t, generate_series(1, 3) g")
    pg.sql("insert into lines select g, 'l' || g, g from generate_series(1, 3) g; insert into line_notes select id, 'x' from lines")
    pg.sql("insert into settings select 'k' || g, 'v', g from generate_series(1, 3) g; insert into setting_notes select key, 'x' from settings")
    pg.sql("insert into kept values ('a', 't'), ('b', 't'); insert into keeper values ('a')")
    mount = make_mount(layout=LAYOUT)
    mount.pg = pg
    return mount


@pytest.fixture
def people(mount, pg):
    """A user with a session, and that with six commands; what the documents do not show is other than by default."""
    pg.sql("insert into users (hardware_id_hash, short_term_memory) values ('H', 'short'), ('G', 'short')")
    pg.sql("insert into sessions (id, user_id, status) select %s, id, 'ended' from users where hardware_id_hash = 'H'", S)
    pg.sql("insert into commands (session_id, prompt) select %s, 'p' || g from generate_series(1, 6) g", S)
    return mount


def seen_by_sql(pg, query, what):
    """Polls as long as the promise allows, and a little for a busy machine."""
    until(lambda: pg.one(query), what, timeout=WINDOW + 2, pause=0.002)


# -- programs, run as they are --------------------------------------------------------------------------------------------------------


def replace_with(program, source, target, tmp):
    """Has PROGRAM put the file SOURCE at TARGET; TMP is a directory on another file system."""
    if program == "mv":
        run("mv", "-f", source, target)
    elif program == "install":
        run("install", "-m", "644", source, target)
    elif program == "cp":
        run("cp", "--remove-destination", source, target)
    elif program == "tar":
        os.rename(source, tmp / target.name)
        run("tar", "-cf", tmp / "x.tar", "-C", tmp, target.name)
        run("tar", "-xf", tmp / "x.tar", "--no-same-owner", "-C", target.parent)
    elif program == "unzip":
        os.rename(source, tmp / target.name)
        run("zip", "-q", "-j", tmp / "x.zip", tmp / target.name)
        run("unzip", "-q", "-o", tmp / "x.zip", "-d", target.parent)
    elif program == "node":
        script = ("const fs = require('fs/promises');(async () => { const data = await fs.readFile(process.argv[1]);"
                  "await fs.unlink(process.argv[2]); await fs.writeFile(process.argv[2], data); })()")
        run("node", "-e", script, source, target)
    elif program == "git":
        work, repo = target.parent, tmp / "repo"
        git = ["git", "--git-dir", repo, "--work-tree", work, "-c", "user.name=t", "-c", "user.email=t@e", "-c", "core.fileMode=false"]
        run("git", "init", "-q", "--bare", repo)
        run("git", "--git-dir", repo, "config", "core.bare", "false")
        other = tmp / "other"
        other.mkdir()
        shutil.copy(source, other / target.name)
        run(*git[:4], other, *git[5:], "add", target.name)
        run(*git[:4], other, *git[5:], "commit", "-qm", "new")
        run(*git, "checkout", "-f", "HEAD", "--", target.name)
    assert target.exists()


PROGRAMS = ["mv", "install", "cp", "tar", "unzip", "git", "node"]


@pytest.fixture
def elsewhere():
    path = Path(f"/dev/shm/rowfst-{os.getpid()}")
    path.mkdir()
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_document_that_is_replaced_keeps_row_and_children(people, pg, elsewhere, program):
    before = pg.sql("select id::text, created_at::text from sessions")
    new = dict(people.json(f"users/H/sessions/{S}/session.json"), status="active")
    for name in ("created_at", "id", "user_id"):
        new.pop(name, None)
    (elsewhere / "s.json").write_text(json.dumps(new))
    replace_with(program, elsewhere / "s.json", people / f"users/H/sessions/{S}/session.json", elsewhere)
    assert pg.sql("select id::text, created_at::text from sessions") == before  # what the document leaves out
    assert pg.sql("select status, count(c.*) from sessions s join commands c on c.session_id = s.id group by 1") == [("active", 6)]
    user = people.json("users/H/user.json")
    (elsewhere / "u.json").write_text(json.dumps({k: v for k, v in user.items() if k in ("hardware_id_hash", "is_active")}))
    shutil.rmtree(elsewhere / "repo", ignore_errors=True)
    shutil.rmtree(elsewhere / "other", ignore_errors=True)
    replace_with(program, elsewhere / "u.json", people / "users/H/user.json", elsewhere)
    assert pg.sql("select short_term_memory, count(s.*) from users u join sessions s on s.user_id = u.id group by 1") == [("short", 1)]
    assert pg.one("select count(*) from commands") == 6
    assert people.errors() == []


@pytest.mark.parametrize("program", ["mv", "tar", "node"])
def test_every_kind_is_replaced(box, pg, elsewhere, program):
    for name, text in (("lines.csv", "id,label\n1,new\n2,l2\n4,l4\n"), ("settings.json", '{"k1": {"value": "new"}, "k2": {"value": "v"}}'),
                       ("things/a/note.txt", "new"), ("flat/b.json", '{"title": "new"}'),
                       ("things/a/pieces.jsonl", '{"n": 1, "label": "new"}\n')):
        (elsewhere / "new").write_text(text)
        replace_with(program, elsewhere / "new", box / name, elsewhere)
    assert pg.sql("select * from lines order by 1") == [(1, "new", 1), (2, "l2", 2), (4, "l4", 7)]  # hidden columns survive
    assert pg.sql("select line from line_notes order by 1") == [(1,), (2,)]  # rows that stay keep what refers to them
    assert pg.sql("select * from settings order by 1") == [("k1", "new", 1), ("k2", "v", 2)]
    assert pg.sql("select key from setting_notes order by 1") == [("k1",), ("k2",)]
    assert pg.sql("select * from things order by 1") == [("a", "t", 7, "new"), ("b", "new", 7, "nb")]
    assert pg.sql("select thing, n, label from pieces order by 1, 2") == [("a", 1, "new"), ("b", 1, "p"), ("b", 2, "p"), ("b", 3, "p")]
    assert box.errors() == []


@pytest.mark.parametrize("name, text, query", [
    ("things/a/thing.json", '{"title": null}', "select * from things order by 1"),
    ("things/a/thing.json", "no json", "select * from pieces order by 1, 2"),
    ("lines.csv", "id,label\n1,l1\n2,bad\n", "select * from lines order by 1"),
    ("settings.json", '{"k1": {"value": "bad"}}', "select * from settings order by 1"),
    ("settings.json", "{", "select * from setting_notes order by 1")])
def test_a_refused_replacement_leaves_the_old_rows(box, pg, elsewhere, name, text, query):
    before = pg.sql(query)
    (elsewhere / "new").write_text(text)
    done = run("mv", elsewhere / "new", box / name, ok=False)
    assert done.returncode != 0
    time.sleep(2 * WINDOW)  # nothing that is still open may delete them later
    assert pg.sql(query) == before
    assert box.errors()[-1]["path"] == "/" + name
    assert box.exists(name) and [text.encode()] == box.kept()


def test_created_and_not_written_is_as_truncated(box, pg):
    """As with O_TRUNC: an empty document is refused, and the row stays; a column becomes ''; a rows file has no lines."""
    before = pg.sql("select * from things order by 1"), pg.sql("select * from settings order by 1")
    for name in ("things/b/thing.json", "settings.json", "things/a/note.txt", "lines.csv"):
        os.unlink(box / name)
        os.close(os.open(box / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    until(lambda: pg.one("select note from things where name = 'a'") == "" and pg.one("select count(*) from lines") == 0, "emptied")
    assert pg.sql("select * from settings order by 1") == before[1]
    assert pg.sql("select name, title, hidden from things order by 1") == [r[:3] for r in before[0]]
    assert [e["path"] for e in box.errors()] == ["/things/b/thing.json", "/settings.json"]


def test_a_rename_onto_what_was_unlinked_replaces_it(box, pg):
    put(box / "things/a/new~", '{"title": "new"}')
    os.unlink(box / "things/a/thing.json")
    os.rename(box / "things/a/new~", box / "things/a/thing.json")
    assert pg.sql("select title, note from things where name = 'a'") == [("new", "na")]
    assert pg.one("select count(*) from pieces where thing = 'a'") == 3


# -- between the two -------------------------------------------------------------------------------------------------------------------


def test_the_name_is_gone_for_its_process_and_there_for_others(box, pg):
    """In one process, so fast that nothing is committed in between."""
    path = box / "flat/a.json"

    def attempt():
        begun = time.monotonic()
        os.unlink(path)
        with refused(errno.ENOENT):
            os.stat(path)
        with refused(errno.ENOENT):
            os.open(path, os.O_RDONLY)
        with refused(errno.ENOENT):
            os.unlink(path)
        put(path, '{"title": "again"}', flags=os.O_EXCL)
        return time.monotonic() - begun < 0.8 * WINDOW
    until(attempt, "an attempt that was fast enough", timeout=30)
    assert pg.sql("select name, title from things order by 1") == [("a", "again"), ("b", "t")]
    with refused(errno.EEXIST):
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)


def test_readers_never_miss_a_name_that_is_replaced(box, pg, elsewhere):
    """Other processes look at it without a pause: old or new, never ENOENT, never empty."""
    script = ("import os, sys, json\n"
              "n = 0\n"
              "while not os.path.exists(sys.argv[2]):\n"
              "    with open(sys.argv[1]) as f: assert json.load(f)['title'][0] in 'tv'\n"
              "    os.stat(sys.argv[1]); n += 1\n"
              "print(n)\n")
    readers = [subprocess.Popen([sys.executable, "-c", script, str(box / "flat/a.json"), str(elsewhere / "stop")],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for i in range(30):
        (elsewhere / "new").write_text(json.dumps({"title": f"v{i}"}))
        run("mv", elsewhere / "new", box / "flat/a.json")
    (elsewhere / "stop").touch()
    for reader in readers:
        out, err = reader.communicate(timeout=60)
        assert reader.returncode == 0, err
        assert int(out) > 0
    assert pg.sql("select title, note from things where name = 'a'") == [("v29", "na")]


OTHER = """
import os, sys
for line in sys.stdin:
    word, path = line.split()
    try:
        if word == "unlink":
            os.unlink(path)
        else:
            fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
            os.write(fd, b'{"title": "other"}')
            os.close(fd)
        print("done", flush=True)
    except FileNotFoundError:
        print("gone", flush=True)
"""


def test_another_process_that_writes_in_between(box, pg):
    """It replaces the file, too; and one that unlinks it once more is told that it is gone."""
    other = subprocess.Popen([sys.executable, "-c", OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    path = box / "flat/b.json"

    def ask(word):
        other.stdin.write(f"{word} {path}\n")
        other.stdin.flush()
        return other.stdout.readline().strip()

    def attempt():
        """True if nothing was committed in between."""
        begun = time.monotonic()
        os.unlink(path)
        said = ask("unlink"), ask("write")
        if time.monotonic() - begun < 0.8 * WINDOW:
            assert said == ("gone", "done")
            return True
        pg.sql("delete from things where name = 'b'; insert into things (name, note) values ('b', 'nb'); insert into pieces values ('b', 1, 'p')")
        return False
    until(attempt, "an attempt that was fast enough", timeout=30, pause=WINDOW)
    other.stdin.close()
    other.wait(20)
    time.sleep(2 * WINDOW)  # nothing that is still open may delete it later
    assert pg.sql("select title, note from things where name = 'b'") == [("other", "nb")]
    assert pg.one("select count(*) from pieces where thing = 'b'") >= 1


# -- rm ----------------------------------------------------------------------------------------------------------------------------------


def test_rm_is_seen_by_sql_within_fifty_milliseconds(box, pg):
    """By `rm`, whose end commits it, at once; and by a process that lives on, in time."""
    run("rm", box / "flat/a.json")
    assert not box.exists("flat/a.json") and not box.exists("things/a")  # whoever asks the mount sees it at once
    assert pg.sql("select name from things") == [("b",)]
    os.unlink(box / "lines.csv")
    begun = time.monotonic()
    until(lambda: pg.one("select count(*) from lines") == 0, "the lines are gone", pause=0.001)
    took = time.monotonic() - begun
    assert took < WINDOW + 0.5, took  # the machine may be busy; the mount's own limit is 45 ms
    assert pg.one("select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in transaction%%'") == 0


def test_a_foreign_key_is_reported_by_rm(box, pg):
    done = run("rm", box / "kept/a.json", ok=False)
    assert "Directory not empty" in done.stderr, done.stderr  # a deferred constraint, too
    os.unlink(box / "flat/a.json")
    with refused(errno.ENOTEMPTY):
        os.unlink(box / "kept/a.json")  # costs only itself
    os.unlink(box / "kept/b.json")
    seen_by_sql(pg, "select (select count(*) from kept) = 1 and (select count(*) from things) = 1", "the others went")
    assert pg.sql("select name from kept") == [("a",)]


def test_a_missing_privilege_is_reported_by_rm(box, pg):
    pg.sql("revoke delete on things from keeper; revoke update on things from keeper")
    before = pg.sql("select * from things order by 1")
    for name in ("flat/a.json", "things/b/note.txt"):
        done = run("rm", box / name, ok=False)
        assert done.returncode != 0 and "Permission denied" in done.stderr, done.stderr
        assert box.errors()[-1]["path"] == "/" + name
        assert box.exists(name)
    with refused(errno.EACCES):
        os.unlink(box / "flat/a.json")
    assert pg.sql("select * from things order by 1") == before
    pg.sql("grant delete, update on things to keeper")
    run("rm", box / "flat/a.json")
    assert not box.exists("flat/a.json") and pg.sql("select name from things") == [("b",)]


def test_a_refused_unlink_leaves_those_before_it_open(box, pg):
    """They are neither committed nor lost: what is made anew is replaced, the rest goes."""
    def attempt():
        begun = time.monotonic()
        os.unlink(box / "flat/a.json")
        for name in ("flat/b.json", "flat/c.json", "lines.csv"):
            with refused(errno.ENOTEMPTY):
                os.unlink(box / "kept/a.json")
            os.unlink(box / name)
        put(box / "flat/a.json", '{"title": "new"}', flags=os.O_EXCL)
        put(box / "flat/c.json", '{"title": "new"}', flags=os.O_EXCL)
        if time.monotonic() - begun < 0.8 * WINDOW:
            return True
        pg.sql("delete from things; insert into things (name, hidden, note) values ('a', 7, 'na'), ('b', 7, 'nb'), ('c', 7, 'nc')")
        pg.sql("insert into pieces select t.name, g, 'p' from things t, generate_series(1, 3) g")
        pg.sql("delete from lines; insert into lines select g, 'l', g from generate_series(1, 3) g")
        return False
    pg.sql("insert into things (name, note) values ('c', 'nc'); insert into pieces select 'c', g, 'p' from generate_series(1, 3) g")
    until(attempt, "an attempt that was fast enough", timeout=30, pause=2 * WINDOW)
    seen_by_sql(pg, "select count(*) = 0 from lines", "the lines went")
    assert pg.sql("select name, title, note from things order by 1") == [("a", "new", "na"), ("c", "new", "nc")]
    assert pg.sql("select thing, count(*) from pieces group by 1 order by 1") == [("a", 3), ("c", 3)]


def test_fsync_of_the_directory_commits(box, pg):
    fd = os.open(box / "flat", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.unlink("a.json", dir_fd=fd)
        os.fsync(fd)
        assert pg.sql("select name from things") == [("b",)]
    finally:
        os.close(fd)


def test_an_unmount_commits(box, pg):
    pid = os.fork()
    if pid == 0:
        os.unlink(box / "flat/a.json")
        os._exit(0)
    os.waitpid(pid, 0)
    os.unlink(box / "flat/b.json")
    box.umount()
    assert pg.sql("select 1 from things") == []


def test_rm_r_with_rows_that_refer(people, pg):
    pg.sql("insert into sessions (user_id) select id from users, generate_series(1, 20)")
    done = run("rm", "-r", people / "users/H", people / "users/G")
    assert done.stderr == ""
    assert not people.exists("users/H") and people.ls("users") == []
    assert pg.sql("select (select count(*) from users), (select count(*) from sessions), (select count(*) from commands)") == [(0, 0, 0)]
    run("rm", "-rf", people / "users/H")


def test_rm_of_many_takes_one_connection_and_one_statement_each(box, pg):
    n = 400
    pg.sql("insert into kept select 'k' || g, 't' from generate_series(1, %s) g", n)
    names = [str(box / f"kept/k{i}.json") for i in range(1, n + 1)]
    run("ls", "-f", box / "kept")  # its look-ups come as after a listing
    box.at(".rowfs/status.json").write_text("")
    stop, most = threading.Event(), []

    def watch():
        while not stop.is_set():
            most.append(pg.one("select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in transaction%%'"))
    watcher = threading.Thread(target=watch)
    watcher.start()
    run("rm", *names)
    stop.set()
    watcher.join()
    until(lambda: pg.one("select count(*) from kept") == 2, "all are gone", timeout=2)
    assert max(most) == 1  # what is held open from one unlink to the next
    deletes = pg.one("select sum(calls)::int from pg_stat_statements s join pg_database d on d.oid = s.dbid "
                     "where d.datname = current_database() and query like 'DELETE FROM \"public\".\"kept\"%%'")
    commits = pg.one("select sum(calls)::int from pg_stat_statements s join pg_database d on d.oid = s.dbid "
                     "where d.datname = current_database() and query ilike 'commit%%'")
    assert n <= deletes < 2 * n and commits < n / 2, (deletes, commits)
    every = pg.one("select sum(calls)::int from pg_stat_statements s join pg_database d on d.oid = s.dbid where d.datname = current_database() "
                   "and query ilike any (array['savepoint%%', 'select %%from%%kept%%'])")
    assert every < n / 2, every  # no savepoint each, and names are looked up by pages, as before


EXEC = """
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CLOEXEC)
os.write(fd, b"written before")
os.unlink(sys.argv[2])
os.execv("/bin/true", ["true"])
"""


def test_a_program_that_another_replaces_as_it_waits_for_its_removal(box, pg):
    """exec closes a column of the row that is being removed: that waits for the row, and the removal must not wait for exec."""
    begun = time.monotonic()
    for name in ("a", "b"):
        run(sys.executable, "-c", EXEC, box / f"things/{name}/note.txt", box / f"flat/{name}.json")
    assert time.monotonic() - begun < 10  # far below command_timeout
    assert pg.sql("select * from things") == []


# -- threads, locks, failures ----------------------------------------------------------------------------------------------------------------


def test_threads_of_one_process(box, pg):
    """Unlink and create from different threads, as node's pool does it, eight files at a time."""
    pg.sql("insert into things (name, note) select 't' || g, 'n' from generate_series(1, 40) g")
    pg.sql("insert into pieces select 't' || g, 1, 'p' from generate_series(1, 40) g")
    script = ("const fs = require('fs/promises'); const dir = process.argv[1];"
              "async function one(i) { const p = `${dir}/flat/t${i}.json`; await fs.unlink(p);"
              "  await fs.writeFile(p, JSON.stringify({title: 'new' + i}), {flag: 'wx'}); }"
              "(async () => { for (let i = 1; i <= 40; i += 4) await Promise.all([i, i + 1, i + 2, i + 3].map(one)); })()")
    run("node", "-e", script, box.path)
    assert pg.one("select count(*) from things where title = 'new' || substr(name, 2) and note = 'n'") == 40
    assert pg.one("select count(*) from pieces where thing like 't%%'") == 40


def test_a_lock_that_is_held(box, pg):
    """An unlink that waits for a lock does not keep those before it from being committed; it has its time when it has the lock."""
    other = pg.connect()
    cur = other.cursor()
    cur.execute("select 1 from things where name = 'b' for update")
    os.unlink(box / "lines.csv")
    waiter = threading.Thread(target=lambda: (os.unlink(box / "flat/b.json"), put(box / "flat/b.json", '{"title": "new"}', flags=os.O_EXCL)))
    waiter.start()
    until(lambda: pg.one("select count(*) from lines") == 0, "the first is committed")
    assert waiter.is_alive()
    other.rollback()
    other.close()
    waiter.join(20)
    assert pg.sql("select title, note from things where name = 'b'") == [("new", "nb")]


def test_a_kill_of_rowfs_in_between_leaves_the_old_state(box, pg):
    before = pg.sql("select * from things order by 1")
    os.unlink(box / "flat/a.json")
    box.kill()
    box.process.wait()
    until(lambda: not pg.server.admin("select 1 from pg_stat_activity where datname = %s and application_name <> 'test' and usename = 'keeper'",
                                      pg.name), "its sessions are gone")
    assert pg.sql("select * from things order by 1") in (before, before[1:])
    box.process = None


def test_a_connection_that_is_lost_before_the_commit(box, pg):
    os.unlink(box / "flat/a.json")
    pg.admin("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and state = 'idle in transaction'")
    seen_by_sql(pg, "select count(*) = 1 from things", "it is deleted all the same")
    assert box.errors() == []


def test_what_cannot_be_committed_any_more_is_told(box, pg):
    """The connection is lost, and meanwhile somebody has come to refer to the row."""
    other = pg.connect()
    other.autocommit = True
    cur = other.cursor()
    os.unlink(box / "kept/b.json")
    cur.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and state = 'idle in transaction'")
    lost = cur.rowcount
    with contextlib.suppress(Exception):
        cur.execute("insert into keeper values ('b')")
    other.close()
    time.sleep(2 * WINDOW)
    there = pg.one("select count(*) from kept where name = 'b'")
    if there:
        assert until(lambda: box.errors(), "told")[-1]["path"] == "/kept/b.json"
        assert box.exists("kept/b.json")
    else:
        assert lost in (0, 1) and pg.one("select count(*) from keeper where name = 'b'") == 0


def test_one_connection_in_all(pg, make_mount):
    """Where there is no connection to keep: it is not kept, and all goes as otherwise."""
    pg.sql(SQL)
    pg.sql("insert into things (name) values ('a')")
    mount = make_mount(layout=LAYOUT, options={"max_connections": 1, "min_connections": 1})
    pg.sql("insert into pieces values ('a', 1, 'p')")
    os.unlink(mount / "flat/a.json")
    put(mount / "flat/a.json", '{"title": "new"}', flags=os.O_EXCL)
    assert pg.sql("select title, n from things join pieces on thing = name") == [("new", 1)]
    os.unlink(mount / "flat/a.json")
    seen_by_sql(pg, "select count(*) = 0 from things", "it is deleted")


def test_many_processes_at_once(box, pg, elsewhere):
    """More than there are connections for: none loses a child."""
    pg.sql("insert into things (name, note) select 't' || g, 'n' from generate_series(1, 8) g")
    pg.sql("insert into pieces select 't' || g, 1, 'p' from generate_series(1, 8) g")
    for i in range(1, 9):
        (elsewhere / f"t{i}.json").write_text(json.dumps({"title": "new"}))
    sh("for i in 1 2 3 4 5 6 7 8; do (for k in 1 2 3; do cp --remove-destination t$i.json $TO/t$i.json || exit 1; done) & done; wait",
       cwd=elsewhere, TO=box / "flat")
    assert pg.one("select count(*) from pieces where thing like 't%%'") == 8
    assert pg.one("select count(*) from things where title = 'new' and note = 'n'") == 8
