"""Documents that are renamed away, names that are hidden by it, and what a change that has not ended means for other names."""
import errno
import json
import os
import shlex
import time

import pytest

from kit import refused, run
from shop import LAYOUT

TABLE = {"routes": [*LAYOUT["routes"], {"path": "/settings.json", "rows": "pairs", "as": "array"}]}


def test_a_failed_rmdir_or_mkdir_brings_no_hidden_name_back(shop, tmp_path):
    shop.add("bolt")
    (tmp_path / "items/bolt").mkdir(parents=True)
    (tmp_path / "items/bolt/item.json").write_text("{}")
    for top in (tmp_path, shop.m.path):
        os.rename(top / "items/bolt/item.json", top / "items/bolt/item.json~")
        with refused(errno.ENOTEMPTY):
            os.rmdir(top / "items/bolt")
        with refused(errno.EEXIST):
            os.mkdir(top / "items/bolt")
        assert not os.path.exists(top / "items/bolt/item.json"), top
        assert "item.json" not in os.listdir(top / "items/bolt"), top
        with refused(errno.ENOENT):
            os.open(top / "items/bolt/item.json", os.O_RDONLY)




def test_half_a_line_does_not_delay_other_files(shop):
    shop.add("bolt")
    shop.m.write("flat/1.json", {"title": "x"})

    def look(i):
        fd = os.open(shop.m.at("log.csv"), os.O_WRONLY | os.O_APPEND)
        try:
            os.write(fd, b"a,%d,," % i)
            os.close(os.dup(fd))  # leaves it open what the line will be
            start = time.monotonic()
            assert shop.m.exists("flat/1.json") and shop.m.exists("items/bolt") and not shop.m.exists(f"flat/{i + 9}.json")
            return time.monotonic() - start
        finally:
            os.close(fd)
    assert min(look(i) for i in range(5)) < 0.09  # a look-up of the same name waits for 0.1 s
    start = time.monotonic()
    fd = os.open(shop.m.at("log.csv"), os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"a,9,,")
    os.close(fd)
    assert shop.m.read("log.csv").endswith("a,9,,\n"), "the file itself is looked up when its line is there"
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("name, query", [("settings.json", "select * from pairs"), ("flat/1.json", "select * from flat"),
                                         ("items/bolt/note.txt", "select note from items where note is not null")])
def test_a_document_that_is_moved_to_another_directory_is_moved(shop_pg, make_mount, name, query):
    """Sorting results into folders: mv copies and removes, so the rows are gone for good. The plain copy would not outlive the mount,
    which a rename could not tell."""
    shop_pg.sql("insert into pairs values ('a', 1, 'x'); insert into flat values (1, 't'); insert into items (name, note) values ('bolt', 'n')")
    m = make_mount(layout=TABLE)
    m.mkdir("sorted")
    body, rows = m.bytes(name), shop_pg.sql(query)
    to = f"sorted/{os.path.basename(name)}"
    with refused(errno.EXDEV):
        os.rename(m.at(name), m.at(to))
    assert m.bytes(name) == body and shop_pg.sql(query) == rows and not m.exists(to)
    run("mv", m.at(name), m.at(to))
    assert m.bytes(to) == body and shop_pg.sql(query) == []
    # and back: an empty table reads as an empty list
    assert not m.exists(name) or m.bytes(name).split() == [b"[]"]
    if name != "items/bolt/note.txt":
        run("cp", m.at(to), m.at(name))
        assert shop_pg.sql(query) == rows


def test_a_backup_beside_a_table_document_keeps_its_rows(shop_pg, make_mount):
    shop_pg.sql("insert into pairs values ('a', 1, 'x')")
    m = make_mount(layout=TABLE)
    body = m.bytes("settings.json")
    os.rename(m.at("settings.json"), m.at("settings.json~"))
    assert shop_pg.sql("select * from pairs") == [("a", 1, "x")] and not m.exists("settings.json")
    m.write("settings.json", body.replace(b'"x"', b'"y"'))
    assert m.bytes("settings.json~") == body and shop_pg.sql("select * from pairs") == [("a", 1, "y")]


def test_a_backup_replaces_an_older_one_at_once(shop):
    """Readers of the older backup meet the one or the other, and a program that has it open keeps it."""
    shop.m.write("flat/1.json", {"title": "new"})
    shop.m.write("flat/1.json~", "old")
    fd = os.open(shop.m.at("flat/1.json~"), os.O_RDONLY)
    os.rename(shop.m.at("flat/1.json"), shop.m.at("flat/1.json~"))
    assert os.pread(fd, 100, 0) == b"old"
    os.close(fd)
    assert shop.m.json("flat/1.json~")["title"] == "new" and shop.m.ls("flat") == ["1.json~"]


SAVE = r"""
import os, sys, tempfile, threading
path, data, before = sys.argv[1], sys.argv[2].encode(), sys.argv[3] == "sync"
fd, name = tempfile.mkstemp(suffix=".json", dir=os.path.dirname(path))
def make():
    os.write(fd, data)
    os.fsync(fd)
    if not before:
        os.close(fd)
thread = threading.Thread(target=make)  # as Node does: any thread of the process
thread.start()
thread.join()
os.replace(name, path)
if before:
    os.close(fd)
"""
NOTES = {"routes": [{"path": "/notes/{note.id}.json", "row": "note"}, {"path": "/notes/{note.id}/tags.jsonl", "rows": "tag"}]}


@pytest.fixture
def notes(pg, make_mount):
    pg.sql("""create table note (id text primary key, title text, extra text default 'default', n int default 7);
              create table tag (note text references note on delete cascade, tag text, primary key (note, tag));
              insert into note values ('a', 'old', 'kept', 1); insert into tag values ('a', 't')""")
    return make_mount(layout=NOTES), pg


@pytest.mark.parametrize("when", ["close", "sync"])
def test_a_document_that_was_just_made_replaces_the_row(notes, when):
    """mkstemp(suffix=".json") where the temporary name is a key, too: the columns that it leaves out, and what refers to the row, stay."""
    m, pg = notes
    for title in ("first", "second"):
        run("/usr/bin/python3", "-c", SAVE, m.at("notes/a.json"), f'{{"title": "{title}"}}', when)
        assert pg.sql("select * from note") == [("a", title, "kept", 1)] and pg.sql("select * from tag") == [("a", "t")]
        assert m.json("notes/a.json")["title"] == title and sorted(m.ls("notes")) == ["a", "a.json"]
    run("/usr/bin/python3", "-c", SAVE, m.at("notes/b.json"), '{"title": "new"}', when)
    assert pg.sql("select * from note order by id") == [("a", "second", "kept", 1), ("b", "new", "default", 7)]


def test_a_row_that_another_process_renames_replaces_none(notes):
    m, pg = notes
    m.write("notes/b.json", {"title": "b"})
    before = pg.sql("select * from note order by id")
    assert run("setsid", "-w", "mv", "-T", m.at("notes/b.json"), m.at("notes/a.json"), ok=False).returncode == 1  # of another session
    assert pg.sql("select * from note order by id") == before
    # and a row that was there before is none that was just made
    pg.sql("insert into note values ('c')")
    with refused(errno.EEXIST):
        os.rename(m.at("notes/c.json"), m.at("notes/a.json"))
    assert pg.one("select count(*) from note") == 3


def test_a_replacement_that_the_database_refuses_changes_nothing(notes):
    m, pg = notes
    pg.sql("create table other (note text references note); alter table note add check (id <> 'a' or title <> 'bad')")
    m.write("notes/t.json", {"title": "bad"})
    before = pg.sql("select * from note order by id")
    m.refuses(lambda: os.rename(m.at("notes/t.json"), m.at("notes/a.json")), errno.EINVAL, "check")
    assert pg.sql("select * from note order by id") == before


# -- a save by a shell: one program writes the temporary file, and another one renames it -----------------------------------------------

SHELL = {"tables": {"pair": {"key": ["k"]}}, "routes": [
    {"path": "/notes/{note.id}.json", "row": "note"},
    {"path": "/short/{note.id}.json", "row": "note", "columns": ["title", "extra"]},
    {"path": "/titles/{note.id}.txt", "column": "note.title"},
    {"path": "/notes/{note.id}/tags.jsonl", "rows": "tag", "columns": ["tag"]},
    {"path": "/tags/{note.id}.csv", "rows": "tag", "columns": ["tag"]},
    {"path": "/groups/{pair.g}.csv", "rows": "pair", "columns": ["k", "v"], "order": ["k"]},
    {"path": "/pair_notes.jsonl", "rows": "pair_note"},
    {"path": "/maps/{pair.g}.json", "rows": "pair", "by": "k", "columns": ["k", "v"]},
]}


@pytest.fixture
def shelves(pg, make_mount):
    pg.sql("""create table note (id text primary key, title text, extra text default 'default', n int default 7);
              create table tag (note text references note on delete cascade, tag text, primary key (note, tag));
              create table pair (g text, k text primary key, v text, hidden int default 7);
              create table pair_note (k text references pair on delete cascade, text text);
              insert into note values ('a', 'old', 'kept', 1), ('z', 'z', 'z', 1); insert into tag values ('a', 't');
              insert into pair values ('g', 'one', 'x', 1), ('g', 'two', 'y', 1), ('h', 'three', 'z', 1); insert into pair_note values ('one', 'n')""")
    return make_mount(layout=SHELL), pg


def shell(m, script, **kw):
    """SCRIPT, where each program is a process of its own."""
    return run("sh", "-e", "-c", script, cwd=m.path, **kw)


@pytest.mark.parametrize("directory", ["notes", "short"])
def test_a_shell_saves_a_document_by_a_temporary_file(shelves, directory):
    """The document shows its key, and so contradicts the temporary name, or does not."""
    m, pg = shelves
    for title in ("first", "second"):
        shell(m, f"""cd {directory}; jq '.title = "{title}"' a.json >t.json && mv t.json a.json""")
        assert pg.sql("select * from note order by id") == [("a", title, "kept", 1), ("z", "z", "z", 1)]
        assert pg.sql("select * from tag") == [("a", "t")]
        assert {n for n in m.ls(directory) if "." in n} == {"a.json", "z.json"} and not m.exists(f"{directory}/t.json")
    assert m.errors() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="a PID namespace needs root")
def test_a_shell_in_a_container_saves_by_a_temporary_file(shelves):
    """The session of what starts a program in a PID namespace is outside it, and shown as 0 there."""
    m, pg = shelves
    m.umount()
    argv = shlex.join(word for word in m.argv if word != "-f")
    run("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-e", "-c", f"""{argv}
        ps -o sid= -p $$ >session
        (cd {m.path}/short; jq '.title = "first"' a.json >t.json && mv t.json a.json)
        (cd {m.path}/maps; jq -n '{{four: {{v: "w"}}}}' >t.json && mv t.json h.json)
        umount {m.path}""", cwd=m.dir, env=m.env)
    assert (m.dir / "session").read_text().strip() == "0"
    assert pg.sql("select * from note order by id") == [("a", "first", "kept", 1), ("z", "z", "z", 1)]
    assert pg.sql("select * from pair where g <> 'g'") == [("h", "four", "w", 7)]


def test_a_shell_saves_a_column_by_a_temporary_file(shelves):
    m, pg = shelves
    shell(m, "cd titles; tr a-z A-Z <a.txt >t.txt && mv t.txt a.txt")
    assert pg.sql("select * from note order by id") == [("a", "OLD", "kept", 1), ("z", "z", "z", 1)]
    assert m.errors() == []


def test_a_shell_saves_rows_by_a_temporary_file(shelves):
    m, pg = shelves
    shell(m, "cd maps; jq -n '{four: {v: \"w\"}}' >t.json && mv t.json h.json")
    assert pg.sql("select * from pair where g <> 'g'") == [("h", "four", "w", 7)]
    shell(m, "cd groups; printf 'k,v\\nfive,u\\n' | cat >t.csv && mv t.csv h.csv")
    assert pg.sql("select * from pair where g <> 'g'") == [("h", "five", "u", 7)]
    assert pg.sql("select * from pair_note") == [("one", "n")] and m.errors() == []


def test_a_temporary_row_that_others_refer_to_is_none(shelves):
    """Of another process's row it is not certain that it is temporary; a row below it says that it is not."""
    m, pg = shelves
    shell(m, "cd short; jq -n '{title: \"new\"}' >t.json")
    pg.sql("insert into tag values ('t', 'below')")
    before = pg.sql("select * from note order by id"), pg.sql("select * from tag order by 1")
    assert shell(m, "cd short; mv t.json a.json", ok=False).returncode == 1
    assert (pg.sql("select * from note order by id"), pg.sql("select * from tag order by 1")) == before
    # and what a table may have that the layout does not know
    pg.sql("delete from tag where note = 't'; create table other (note text references note on delete cascade)")
    assert shell(m, "cd short; mv t.json a.json", ok=False).returncode == 1
    pg.sql("drop table other")
    shell(m, "cd short; mv t.json a.json")
    assert pg.sql("select title from note order by id") == [("new",), ("z",)]


def test_a_copy_under_another_key_is_refused_at_once(shelves):
    m, pg = shelves
    assert shell(m, "cp notes/a.json notes/b.json", ok=False).returncode == 1
    assert pg.one("select count(*) from note") == 2


def test_output_that_is_not_renamed_is_told(shelves):
    """It had no row to go to: nothing is lost, and errors.jsonl says so when the mount ends at the latest."""
    m, pg = shelves
    shell(m, "cd notes; jq . a.json >t.json")
    assert pg.one("select count(*) from note") == 2 and m.json("notes/t.json")["id"] == "a"
    m.umount()
    m.start()
    assert [json.loads(body)["id"] for name, body in m.rejected().items() if "t.json" in name] == ["a"]
