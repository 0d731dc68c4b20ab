"""The schema changes under a mount: a second later each file is what the rows are now, and what does not fit any more says so."""
import contextlib
import csv
import errno
import io
import json
import os
import signal
import threading

import pytest

import kit
import mountkit
from kit import refused, until

pytestmark = pytest.mark.bare

TABLES = """
create type mood as enum ('sad', 'fine');
create domain code as text check (value <> '');
create table notes (id int primary key, title text, size int, mood mood, code code, extra text);
create table logs (id bigserial primary key, at text, line text);
create table other (id int primary key, word text);
create table parted (id int, day int, primary key (id, day)) partition by list (day);
create table parted_1 partition of parted for values in (1);
create table parted_2 (id int, day int, primary key (id, day));
create table parted_3 partition of parted for values in (3);
create table books (id int primary key, title text);
create view titles as select id, title from books;
create function answer() returns table (a text) language sql stable as $$ select title from books where id = 1 $$;
insert into notes values (1, 'one', 10, 'sad', 'x', 'e1'), (2, 'two', 20, 'fine', 'y', 'e2');
insert into logs (at, line) values ('t1', 'first'), ('t2', 'second');
insert into other values (7, 'seven');
insert into books values (1, 'red'), (2, 'black');
insert into parted values (1, 1), (2, 1), (4, 3);
insert into parted_2 values (3, 2);
"""

LAYOUT = {"tables": {"titles": {"key": ["id"]}}, "routes": [
    {"path": "/notes/{notes.id}/note.json", "row": "notes"},
    {"path": "/notes/{notes.id}/title.txt", "column": "notes.title"},
    {"path": "/notes/{notes.id}/word.json", "row": "notes", "columns": ["id", "size"]},
    {"path": "/logs.csv", "rows": "logs"},
    {"path": "/lines.csv", "rows": "logs", "columns": ["line"]},
    {"path": "/other.csv", "rows": "other"},
    {"path": "/other/{other.id}.json", "row": "other"},
    {"path": "/other/{other.id}.txt", "column": "other.word"},
    {"path": "/parted.csv", "rows": "parted"},
    {"path": "/titles.csv", "rows": "titles"},
    {"path": "/answer.txt", "query": "answer"}]}


# -- the second source ------------------------------------------------------------------------------------------------


def table(pg, name, order):
    """What a CSV file of the table says, read by psycopg2; None: there is no such table."""
    if pg.one("select to_regclass(%s)", name) is None:
        return None
    columns = [c for (c,) in pg.sql("select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped "
                                    "order by attnum", name)]
    rows = pg.sql(f"select {', '.join(f'x.{c}::text' for c in columns)} from {name} x order by {order}")
    return [columns] + [["" if v is None else v for v in row] for row in rows]


def expected(pg):
    """{path: what it says}, from the rows as they are now."""
    out = {}
    for path, name, order in (("logs.csv", "logs", "id"), ("other.csv", "other", "id"), ("parted.csv", "parted", "id, day"),
                              ("titles.csv", "titles", "id")):
        out[path] = table(pg, name, order)
    rows = pg.sql("select id, to_jsonb(n) from notes n order by id") if pg.one("select to_regclass('notes')") else []
    for number, row in rows:
        out[f"notes/{number}/note.json"] = row
    for number, row in pg.sql("select id, to_jsonb(o) from other o") if pg.one("select to_regclass('other')") else []:
        out[f"other/{number}.json"] = row
    return out


def shown(m, path):
    text = m.read(path)
    return json.loads(text) if path.endswith(".json") else list(csv.reader(io.StringIO(text)))


def compare(pg, m, but=()):
    for path, says in expected(pg).items():
        if says is not None and path not in but:
            assert shown(m, path) == says, path


def schema(m):
    return m.status()["schema"]


@contextlib.contextmanager
def followed(m):
    """What is done inside is a change of the schema: waits until it is served. The mount has a second; a loaded machine gets more."""
    before = schema(m)["reloads"]
    yield
    until(lambda: schema(m)["reloads"] > before, "the change is seen")


@pytest.fixture
def ddl(pg, make_mount):
    pg.sql(TABLES)
    m = make_mount(layout=LAYOUT)
    compare(pg, m)
    yield pg, m


# -- what still fits --------------------------------------------------------------------------------------------------

FITTING = {
    "add column": "alter table notes add more text default 'new'",
    "add column to rows": "alter table logs add more text default 'new'",
    "drop a column that no route names": "alter table notes drop extra",
    "drop column of rows": "alter table logs drop at",
    "alter type": "alter table notes alter id type bigint, alter size type text using 'n' || size",
    "alter type of a key of rows": "alter table logs alter line type varchar(40)",
    "drop and create": "drop table other; create table other (id int primary key, word text, more int); insert into other values (8, 'eight', 1)",
    "rename and create": "alter table other rename to gone; create table other (word text, id int primary key); insert into other values ('nine', 9)",
    "rename a label": "alter type mood rename value 'sad' to 'low'",
    "drop partition": "drop table parted_1",
    "detach partition": "alter table parted detach partition parted_3",
    "attach partition": "alter table parted attach partition parted_2 for values in (2)",
    "another key": "alter table parted drop constraint parted_pkey; alter table parted add primary key (day, id)",
    "replace view": "create or replace view titles as select id, upper(title) as title from books",
    "trigger": "create function shout() returns trigger language plpgsql as $$ begin new.line := upper(new.line); return new; end $$;"
               "create trigger shout before insert on logs for each row execute function shout()",
    "rule": "create rule nothing as on update to logs do instead nothing",
    "policy": "alter table notes enable row level security; alter table notes force row level security;"
              "create policy few on notes using (id = 2)",
}


def test_each_kind_of_ddl_that_fits(ddl):
    """One mount, all of them behind each other."""
    pg, m = ddl
    for name, sql in FITTING.items():
        with followed(m):
            pg.sql(sql)
        compare(pg, m)
        assert schema(m)["does_not_fit"] == {}, name
    assert m.ls("notes") == ["2"]
    # what is written goes by the new schema, too
    m.append("lines.csv", "third\n")
    assert pg.sql("select line, more from logs order by id desc limit 1") == [("THIRD", "new")]
    with followed(m):
        pg.sql("drop policy few on notes; create policy few on notes using (id = 1)")
    assert m.ls("notes") == ["1"]


def test_a_function_is_replaced(ddl):
    pg, m = ddl
    assert m.read("answer.txt") == "red\n"
    with followed(m):
        pg.sql("create or replace function answer() returns table (a text) language sql stable as $$ select 'other' $$")
    assert m.read("answer.txt") == "other\n"


def test_rights(ddl):
    """What a role may not read any more is not read from memory, and comes back."""
    pg, m = ddl
    with followed(m):
        pg.admin("alter table other owner to postgres")
    assert refused(errno.EACCES, m.read, "other.csv")
    with followed(m):
        pg.admin("grant select, insert on other to keeper")
    compare(pg, m)
    with followed(m):
        pg.admin("revoke select on other from keeper")
    assert refused(errno.EACCES, m.read, "other/7.json")


# -- what does not ----------------------------------------------------------------------------------------------------

MISFITS = {
    # DDL: (the routes that do not fit, words of the sentence, what makes them fit again)
    "alter table other rename to away":
        ({"/other.csv", "/other/{other.id}.json", "/other/{other.id}.txt"}, ["other", "does not exist"], "alter table away rename to other"),
    "alter table notes rename title to heading":
        ({"/notes/{notes.id}/title.txt"}, ["title", "notes", "does not exist"], "alter table notes rename heading to title"),
    "alter table notes rename size to length":
        ({"/notes/{notes.id}/word.json"}, ["size", "does not exist"], "alter table notes rename length to size"),
    "alter table other drop constraint other_pkey":
        ({"/other/{other.id}.json", "/other/{other.id}.txt"}, ["do not determine one row"], "alter table other add primary key (id)"),
    "drop function answer()":
        ({"/answer.txt"}, ["answer", "does not exist"],
         "create function answer() returns table (a text) language sql stable as $$ select title from books where id = 1 $$"),
    "alter view titles rename to headings":
        ({"/titles.csv"}, ["titles", "does not exist"], "alter view headings rename to titles"),
}


PATHS = {"/other.csv": "other.csv", "/other/{other.id}.json": "other/7.json", "/other/{other.id}.txt": "other/7.txt",
         "/notes/{notes.id}/title.txt": "notes/1/title.txt",
         "/notes/{notes.id}/word.json": "notes/1/word.json", "/answer.txt": "answer.txt", "/titles.csv": "titles.csv"}


def test_what_does_not_fit_is_an_error_and_no_plain_file(ddl):
    """One mount, all of them behind each other; each fits again in the end."""
    pg, m = ddl
    m.expect("database has changed")
    inodes = {path: os.stat(m.at(path)).st_ino for path in PATHS.values()}
    for sql, (routes, words, back) in MISFITS.items():
        with followed(m):
            pg.sql(sql)
        assert set(schema(m)["does_not_fit"]) == routes
        gone = {PATHS[route] for route in routes}
        assert all(os.stat(m.at(path)).st_ino == ino for path, ino in inodes.items() if path not in gone)
        look_at_what_does_not_fit(pg, m, gone, words)
        with followed(m):
            pg.sql(back)
        assert schema(m)["does_not_fit"] == {} and m.read(".rowfs/health") == "ok\n"
        compare(pg, m)
    assert m.status()["counters"]["plain_bytes"] == 0


def look_at_what_does_not_fit(pg, m, gone, words):
    for path in gone:
        m.refuses(lambda: os.stat(m.at(path)), errno.EIO, *words)
        m.refuses(lambda: m.read(path), errno.EIO, *words)
        m.refuses(lambda: m.write(path, "x"), errno.EIO, *words)
        m.refuses(lambda: os.mkdir(m.at(path)), errno.EIO, *words)
    health = m.read(".rowfs/health")
    assert health.startswith("degraded: ") and all(word in health for word in words)
    names = m.ls("")
    assert len(names) == len(set(names)) and {path.split("/")[0] for path in gone} <= set(names)
    # the rest of the directory goes on, and who copies the tree does not take what is gone for removed
    for path, says in expected(pg).items():
        if says is not None and path not in gone and not path.startswith("other/"):
            assert shown(m, path) == says, path
    copy = m.dir / "copy"
    for path in gone:
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_text("kept")
    done = kit.run("rsync", "-r", "--delete", "--exclude=.rowfs", f"{m.path}/", f"{copy}/", ok=False)
    assert done.returncode != 0
    assert all((copy / path).read_text() == "kept" for path in gone), done.stderr


def test_rowfs_own_schema_goes_and_comes_back(ddl):
    """sqitch revert, and deploy: the mount goes by time meanwhile, and listens again."""
    pg, m = ddl
    m.expect(".")
    kit.forget_packs(pg)  # whose changes want the core's
    with followed(m):
        kit.sqitch(pg, "revert")
    until(lambda: m.status()["coherence"]["mode"] == "ttl", "it goes by time")
    pg.sql("update notes set title = 'uno' where id = 1")
    until(lambda: m.read("notes/1/title.txt") == "uno", "seen by time")
    compare(pg, m)


def test_a_mount_that_hears_nothing_begins_to_listen(empty_pg, make_mount):
    pg = empty_pg
    pg.sql(TABLES)
    m = make_mount(conninfo=pg.conninfo, layout=LAYOUT, install=False)
    assert m.status()["coherence"]["mode"] == "ttl"
    with followed(m):
        kit.sqitch(pg, "deploy")
    with followed(m):
        mountkit.install(pg.conninfo, m.layout)
    until(lambda: m.status()["coherence"]["mode"] == "notify", "it listens")
    m.read("notes/1/title.txt")
    pg.sql("update notes set title = 'uno' where id = 1")
    until(lambda: m.read("notes/1/title.txt") == "uno", "told")
    m.write("notes/1/title.txt", "eins")
    assert m.read("notes/1/title.txt") == "eins" and pg.one("select title from notes where id = 1") == "eins"


# -- requests that meet it first --------------------------------------------------------------------------------------


def test_a_request_that_fails_reads_the_catalog_at_once(ddl):
    """The change is met before the second is over: the request waits for it, and is right."""
    pg, m = ddl
    for i in range(3):
        pg.sql(f"alter table notes drop column extra{i or ''}; alter table notes add extra{i + 1} text default 'e';"
               f"insert into notes (id, title) values ({10 + i}, 'new')")
        assert m.json(f"notes/{10 + i}/note.json") == pg.one("select to_jsonb(n) from notes n where id = %s", 10 + i)


def test_a_shell_in_a_directory_goes_on(ddl):
    """The working directory, and an open one, are those of the new schema."""
    pg, m = ddl
    fd = os.open(m.at("notes/1"), os.O_RDONLY | os.O_DIRECTORY)
    try:
        with followed(m):
            pg.sql("alter table notes add more text default 'new'")

        def opened(name):
            with open(name, encoding="utf-8", opener=lambda path, flags: os.open(path, flags, dir_fd=fd)) as f:
                return f.read()
        assert json.loads(opened("note.json"))["more"] == "new"
        assert sorted(os.listdir(fd)) == ["note.json", "title.txt", "word.json"]
        pg.sql("update notes set more = 'newer'")
        until(lambda: json.loads(opened("note.json"))["more"] == "newer", "told")
        with open("title.txt", "w", opener=lambda path, flags: os.open(path, flags, dir_fd=fd)) as f:
            f.write("by hand")
        assert pg.one("select title from notes where id = 1") == "by hand"
        with followed(m):
            pg.sql("alter table notes drop column extra")
        assert "extra" not in json.loads(opened("note.json"))
    finally:
        os.close(fd)


def test_a_collector_loses_and_doubles_nothing(ddl):
    """It never opens its file again while columns come and go."""
    pg, m = ddl
    pg.sql("delete from logs")
    n, stop = [0], threading.Event()

    def collect():
        with open(m.at("lines.csv"), "ab", buffering=0) as f:
            while not stop.is_set():
                f.write(b"%d\n" % n[0])
                n[0] += 1
                if n[0] % 50 == 0:
                    os.fsync(f.fileno())
    collector = threading.Thread(target=collect)
    collector.start()
    try:
        for i in range(4):
            with followed(m):
                pg.sql(f"alter table logs add extra{i} text")
    finally:
        stop.set()
        collector.join()
    assert pg.sql("select count(*), count(distinct line), max(line::int) from logs") == [(n[0], n[0], n[0] - 1)]
    assert m.rejected() == {}


def test_a_table_is_dropped_while_its_file_is_written(ddl):
    pg, m = ddl
    m.expect("does not exist|database has changed|not committed")
    with open(m.at("lines.csv"), "ab", buffering=0) as f:
        f.write(b"committed\n")
        os.fsync(f.fileno())
        with followed(m):
            pg.sql("alter table logs rename to away")
        f.write(b"too late\n")
        m.refuses(lambda: os.fsync(f.fileno()), errno.EIO, "logs")
        with contextlib.suppress(OSError):
            f.close()
    until(lambda: any(b"too late" in body for body in m.kept()) or pg.one("select true from away where line = 'too late'"), "kept")
    assert pg.one("select count(*) from away where line = 'committed'") == 1


# -- reloads ----------------------------------------------------------------------------------------------------------


def test_sighup_reads_the_layout_anew(ddl):
    pg, m = ddl
    route = {"path": "/more.csv", "rows": "other"}
    layout = dict(LAYOUT, routes=[*LAYOUT["routes"], route])
    m.layout.write_text(json.dumps(layout), encoding="utf-8")
    f = open(m.at("logs.csv"), encoding="utf-8")
    with followed(m):
        m.kill(signal.SIGHUP)
    assert shown(m, "more.csv") == table(pg, "other", "id")
    assert json.loads(m.read(".rowfs/layout.json")) == layout
    assert list(csv.reader(f)) == table(pg, "logs", "id")
    f.close()
    # a wrong one: the old one goes on, and the mistake is told
    m.expect("stays as it was|wrong")
    for wrong, word in (("{", "JSON"), (json.dumps({"routes": [{"path": "/x", "rows": "wrong"}]}), "wrong")):
        m.layout.write_text(wrong, encoding="utf-8")
        m.kill(signal.SIGHUP)
        until(lambda word=word: word in schema(m).get("trouble", ""), "the mistake is told")
        assert word in m.read(".rowfs/health") and word in m.output()
        assert shown(m, "more.csv") == table(pg, "other", "id")
    m.layout.unlink()
    m.kill(signal.SIGHUP)
    until(lambda: "No such file" in schema(m).get("trouble", ""), "the mistake is told")
    m.layout.write_text(json.dumps(LAYOUT), encoding="utf-8")
    with followed(m):
        m.kill(signal.SIGHUP)
    assert "trouble" not in schema(m) and not m.exists("more.csv") and m.read(".rowfs/health") == "ok\n"


def test_locks_and_loops(ddl):
    """DDL that holds its lock keeps nobody waiting but who reads that table; DDL in a loop leaves time for requests."""
    pg, m = ddl
    conn = pg.connect()
    with conn.cursor() as cur:
        cur.execute("alter table other add held text")
        looks = schema(m)["looks"]
        until(lambda: schema(m)["looks"] > looks + 1, "it looks all the same")
        with followed(m):
            pg.sql("alter table notes add more text default 'new'")
        assert m.json("notes/1/note.json")["more"] == "new"
    with followed(m):
        conn.commit()
    conn.close()
    compare(pg, m)
    before, stop = schema(m)["reloads"], threading.Event()

    def loop():
        with contextlib.closing(pg.connect()) as c, c.cursor() as cur:
            while not stop.is_set():
                cur.execute("alter table other add looped text")
                cur.execute("alter table other drop looped")
                c.commit()
    worker = threading.Thread(target=loop)
    worker.start()
    try:
        until(lambda: schema(m)["reloads"] >= before + 2, "it follows")
        for _ in range(50):
            assert shown(m, "logs.csv") == table(pg, "logs", "id")
    finally:
        stop.set()
        worker.join()


def test_an_idle_mount_asks_one_statement_a_second(ddl):
    pg, m = ddl
    looks = schema(m)["looks"]
    until(lambda: schema(m)["looks"] > looks, "a look")
    with pg.queries() as seen:
        looks = schema(m)["looks"]
        until(lambda: schema(m)["looks"] >= looks + 2, "two looks")
    asked = sum(calls for query, calls in seen if "hashtextextended" in query)
    assert 2 <= asked <= 4, seen
    assert schema(m)["reloads"] == 0
