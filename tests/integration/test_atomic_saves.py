"""Saves by a temporary file and a rename, where the temporary name is a value of the key, too (SEMANTICS 8.6): every kind of file that has its
key in its own name, and every moment of the rename."""
import errno
import json
import os

import pytest

from kit import get, put, refused, run, until

SQL = """
create table note (id text primary key, title text, data jsonb, raw bytea, hidden integer not null default 7);
create table note_tag (note text references note on delete cascade, tag text);
create table line (file text, n integer, label text check (label <> 'bad'), hidden integer not null default 7, primary key (file, n));
create table line_mark (file text, n integer, foreign key (file, n) references line on delete cascade);
create table event (id bigserial primary key, file text not null, label text);
create table opt (file text, key text, value text check (value <> 'bad'), hidden integer not null default 7, primary key (file, key));
create table opt_mark (file text, key text, foreign key (file, key) references opt on delete cascade);
"""
ROWS = """
truncate note, line, event, opt cascade;
insert into note values ('a', 'old', '"old"', 'old', 1); insert into note_tag values ('a', 't');
insert into line values ('a', 1, 'old', 1), ('a', 2, 'old', 2), ('b', 1, 'other', 3); insert into line_mark values ('a', 1);
insert into event (file, label) values ('a', 'old'), ('a', 'old'), ('b', 'other');
insert into opt values ('a', 'x', 'old', 1), ('a', 'y', 'old', 2), ('b', 'x', 'other', 3); insert into opt_mark values ('a', 'x');
"""
LAYOUT = {"routes": [
    {"path": "/note/{note.id}.json", "row": "note", "columns": ["id", "title"]},
    {"path": "/title/{note.id}.txt", "column": "note.title"},
    {"path": "/data/{note.id}.json", "column": "note.data"},
    {"path": "/raw/{note.id}.bin", "column": "note.raw"},
    {"path": "/line/{line.file}.csv", "rows": "line", "columns": ["n", "label"], "order": ["n"]},
    {"path": "/event/{event.file}.jsonl", "rows": "event", "columns": ["label"], "order": ["id"]},
    {"path": "/opt/{opt.file}.json", "rows": "opt", "by": "key", "columns": ["key", "value"]},
]}

LINES = "select file, n, label, hidden from line order by 1, 2"
OPTS = "select file, key, value, hidden from opt order by 1, 2"
NOTE = "select id, title, data::text, encode(raw, 'escape'), hidden from note order by 1"
# (file, what is written, query, rows afterwards: what the file does not show stays, and what refers to the rows)
FILES = {
    "row": ("note/a.json", '{"title": "new"}', NOTE, [("a", "new", '"old"', "old", 1)]),
    "text": ("title/a.txt", "new", NOTE, [("a", "new", '"old"', "old", 1)]),
    "json": ("data/a.json", '{"k": 1}', NOTE, [("a", "old", '{"k": 1}', "old", 1)]),
    "bytes": ("raw/a.bin", "new", NOTE, [("a", "old", '"old"', "new", 1)]),
    "csv": ("line/a.csv", "n,label\n1,new\n3,new\n", LINES, [("a", 1, "new", 1), ("a", 3, "new", 7), ("b", 1, "other", 3)]),
    "jsonl": ("event/a.jsonl", '{"label":"new"}\n{"label":"newer"}\n', "select file, label from event order by file, label",
              [("a", "new"), ("a", "newer"), ("b", "other")]),
    "table": ("opt/a.json", '{"x": {"value": "new"}, "z": {"value": "new"}}', OPTS,
              [("a", "x", "new", 1), ("a", "z", "new", 7), ("b", "x", "other", 3)]),
}
CHILDREN = "select (select count(*) from note_tag), (select count(*) from line_mark), (select count(*) from opt_mark)"

SAVE = r"""
import os, sys, tempfile, threading
path, data, way = sys.argv[1], sys.argv[2].encode(), sys.argv[3]
fd, name = tempfile.mkstemp(suffix=os.path.splitext(path)[1], dir=os.path.dirname(path))
if way == "reopened":
    os.close(fd)
    fd = os.open(name, os.O_WRONLY | os.O_TRUNC)
errors = []
def write():
    os.write(fd, data[:len(data) // 2])
    os.write(fd, data[len(data) // 2:])
    if way != "unwritten":
        os.fsync(fd)
    if way not in ("unwritten", "synced"):
        os.close(fd)
def guarded():
    try:
        write()
    except OSError as e:
        errors.append(e)
thread = threading.Thread(target=guarded)  # as Node does: any thread of the process
thread.start()
thread.join()
if errors:
    raise errors[0]
if way == "unlinked":
    os.unlink(path)
os.replace(name, path)
if way in ("unwritten", "synced"):
    os.close(fd)
"""


@pytest.fixture
def saves(pg, make_mount):
    pg.sql(SQL + ROWS)
    return make_mount(layout=LAYOUT), pg


@pytest.mark.parametrize("way", ["closed", "synced", "unwritten", "reopened", "unlinked"])
def test_a_file_saved_by_rename(saves, tmp_path, way):
    m, pg = saves
    for kind, (path, data, query, wanted) in FILES.items():
        pg.sql(ROWS)
        disk = tmp_path / os.path.basename(path)
        disk.write_text("old")
        for _ in range(2):
            for target in (disk, m.at(path)):
                run("/usr/bin/python3", "-c", SAVE, target, data, way)
            until(lambda q=query, w=wanted: pg.sql(q) == w, f"{kind}: the save is committed")
            assert pg.sql(CHILDREN) == [(1, 1, 1)], kind
            shown = get(m.at(path)).decode()
            if kind in ("row", "json", "table"):
                assert json.loads(shown).items() >= json.loads(disk.read_text()).items()
            else:
                assert shown == disk.read_text()
            assert [n for n in m.ls(os.path.dirname(path)) if n.startswith("tmp")] == [], kind
    assert m.errors() == []


@pytest.mark.parametrize("way", ["closed", "synced", "unwritten", "reopened"])
def test_a_new_file_saved_by_rename(saves, way):
    m, pg = saves
    for kind in ("row", "csv", "jsonl", "table"):
        path, data, query, _ = FILES[kind]
        pg.sql(ROWS)
        before = pg.sql(query)
        new = os.path.join(os.path.dirname(path), "new" + os.path.splitext(path)[1])
        run("/usr/bin/python3", "-c", SAVE, m.at(new), data, way)
        n = 1 if kind == "row" else 2
        until(lambda q=query, k=len(before) + n: len(pg.sql(q)) == k, f"{kind}: the save is committed")
        rows = pg.sql(query)
        assert [r for r in rows if r[0] != "new"] == before and [r[0] for r in rows].count("new") == n, kind
        assert [x for x in m.ls(os.path.dirname(path)) if x.startswith("tmp")] == [], kind
    assert m.errors() == []


@pytest.mark.parametrize("kind, bad", [("csv", "n,label\n1,bad\n"), ("table", '{"x": {"value": "bad"}}')])
def test_a_refused_text_replaces_nothing(saves, kind, bad):
    """The check forbids it under the temporary name already; renamed before it is committed, at the close."""
    m, pg = saves
    path, _, query, _ = FILES[kind]
    before = pg.sql(query)
    for way in ("closed", "unwritten"):
        assert run("/usr/bin/python3", "-c", SAVE, m.at(path), bad, way, ok=False).returncode != 0
        assert [r for r in pg.sql(query) if r[0] in "ab"] == before and pg.sql(CHILDREN) == [(1, 1, 1)]
    run("/usr/bin/python3", "-c", SAVE, m.at(path), bad.replace("bad", "good"), "closed")
    assert pg.sql(query) != before and "good" in m.read(path)


def test_only_its_own_session_replaces_lines(saves):
    m, pg = saves
    put(m.at("line/t.csv"), "n,label\n1,new\n")
    before = pg.sql(LINES)
    rename = ["/usr/bin/python3", "-c", "import os, sys; os.rename(*sys.argv[1:])", m.at("line/t.csv"), m.at("line/a.csv")]
    assert run("setsid", "-w", *rename, ok=False).returncode == 1
    with refused(errno.EXDEV):  # nor are lines that were there before just made
        os.rename(m.at("line/b.csv"), m.at("line/a.csv"))
    assert pg.sql(LINES) == before
    os.rename(m.at("line/t.csv"), m.at("line/a.csv"))
    assert m.read("line/a.csv") == "n,label\n1,new\n" and not m.exists("line/t.csv")


def test_a_text_that_is_not_all_of_the_file_replaces_nothing(saves):
    """Lines that somebody else has put into the temporary file must not be lost with it; nor may half a text replace a whole one."""
    m, pg = saves
    a = pg.sql(LINES)
    put(m.at("line/t.csv"), "n,label\n1,new\n")
    pg.sql("insert into line values ('t', 9, 'theirs')")
    with refused(errno.EXDEV):
        os.rename(m.at("line/t.csv"), m.at("line/a.csv"))
    put(m.at("line/u.csv"), "n,label\n1,new\n")
    fd = os.open(m.at("line/v.csv"), os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"n,label\n1,new\n2,ne")
    with refused(errno.EXDEV):
        os.rename(m.at("line/v.csv"), m.at("line/a.csv"))
    os.write(fd, b"w\n")
    os.rename(m.at("line/v.csv"), m.at("line/w.csv"))
    with refused(errno.ESTALE):
        os.write(fd, b"3,late\n")
    os.close(fd)
    assert pg.sql(LINES) == sorted(a + [("t", 1, "new", 7), ("t", 9, "theirs", 7), ("u", 1, "new", 7), ("w", 1, "new", 7), ("w", 2, "new", 7)])


def test_readers_of_a_file_that_is_saved_before_it_is_written(saves):
    """Until the close, readers find what is there; and a refused document leaves it."""
    m, pg = saves
    fd = os.open(m.at("note/t.json"), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.write(fd, b'{"title": "ne')
    os.rename(m.at("note/t.json"), m.at("note/a.json"))
    assert m.json("note/a.json")["title"] == "old" and m.ls("note") == ["a.json"]
    with refused(errno.EINVAL):
        os.close(fd)
    assert m.json("note/a.json")["title"] == "old" and pg.one("select count(*) from note") == 1
    fd = os.open(m.at("title/t.txt"), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.write(fd, b"new")
    os.rename(m.at("title/t.txt"), m.at("title/a.txt"))
    assert m.read("title/a.txt") == "old"
    os.close(fd)
    assert m.read("title/a.txt") == "new" and m.ls("title") == ["a.txt"]


SAVE_READ = """
import json, os, sys, tempfile
with open(sys.argv[1]) as f:
    value = json.load(f)
value["n"] += 1
for name in sys.argv[2:]:
    del value[name]
fd, name = tempfile.mkstemp(suffix=".json", dir=os.path.dirname(sys.argv[1]))
with os.fdopen(fd, "w") as f:
    json.dump(value, f)
    f.flush()
    os.fsync(fd)
os.replace(name, sys.argv[1])
"""


@pytest.mark.parametrize("left_out", [[], ["id"], ["code"], ["id", "code"]])
def test_a_document_that_is_read_changed_and_saved(pg, make_mount, tmp_path, left_out):
    """It says its key, and a value that can be there only once: both are those of the row that is to be replaced."""
    pg.sql("create table card (id text primary key, code text unique, n integer, hidden integer default 7); "
           "create table mark (card text references card on delete cascade);"
           "insert into card values ('a', 'A', 1, 1); insert into mark values ('a')")
    m = make_mount(layout={"routes": [{"path": "/card/{card.id}.json", "row": "card", "columns": ["id", "code", "n"]}]})
    (tmp_path / "a.json").write_text(m.read("card/a.json"))
    for path in (tmp_path / "a.json", m.at("card/a.json")):
        run("/usr/bin/python3", "-c", SAVE_READ, path, *left_out)
    want = json.loads((tmp_path / "a.json").read_text())
    assert m.json("card/a.json") == {"id": "a", "code": "A", **want} and m.ls("card") == ["a.json"]
    assert pg.sql("select * from card") == [("a", "A", 2, 1)] and pg.one("select count(*) from mark") == 1
    assert m.errors() == []


def test_a_document_that_says_another_row_is_told(saves):
    """Where it was not made as a temporary file at once; else when it was not renamed until the mount ends."""
    m, pg = saves
    m.refuses(lambda: put(m.at("note/b.json"), '{"id": "a"}'), errno.EINVAL, "contradicts")
    assert m.ls("note") == ["a.json"]
    fd = os.open(m.at("note/t.json"), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(fd, b'{"id": "a", "title": "new"}')
    os.close(fd)
    m.refuses(lambda: os.rename(m.at("note/t.json"), m.at("note/c.json")), errno.EINVAL, "contradicts")
    assert m.json("note/t.json")["title"] == "new" and pg.one("select title from note") == "old"
    m.umount()
    m.start()
    assert [json.loads(body)["title"] for name, body in m.rejected().items() if "t.json" in name] == ["new"]
    assert m.ls("note") == ["a.json"] and pg.one("select count(*) from note") == 1


def test_a_column_file_without_a_row_is_told(saves):
    """What is not renamed to a row's file waits, and is kept and told when the mount ends."""
    m, pg = saves
    put(m.at("title/none.txt"), "lost?", sync=True)
    assert m.read("title/none.txt") == "lost?" and sorted(m.ls("title")) == ["a.txt", "none.txt"]
    m.refuses(lambda: os.rename(m.at("title/none.txt"), m.at("title/nobody.txt")), errno.ENOENT, "does not exist")
    assert m.read("title/none.txt") == "lost?" and pg.one("select count(*) from note") == 1
    put(m.at("title/empty.txt"), "")
    os.rename(m.at("title/empty.txt"), m.at("title/a.txt"))
    assert m.read("title/a.txt") == "" and pg.one("select title from note") == ""
    m.umount()
    m.start()
    assert [body for name, body in m.rejected().items() if "none.txt" in name] == [b"lost?"]
