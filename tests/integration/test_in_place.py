"""Files that are saved in place: opened without O_TRUNC, written over, cut. What the same calls make of a plain file is what must come out."""
import errno
import json
import os

import pytest
from tinydb import Query, TinyDB

from kit import refused

SQL = """
create table docs (name text primary key, meta jsonb, _default jsonb);
create table tabs (name text primary key, t text);
create table people (id bigserial primary key, name text not null, age integer);
insert into docs values ('a', '{}', '{}');
"""
LAYOUT = {"routes": [
    {"path": "/docs/{docs.name}/doc.json", "row": "docs", "columns": ["_default"]},
    {"path": "/docs/{docs.name}/meta.json", "column": "docs.meta"},
    {"path": "/tabs.json", "rows": "tabs", "by": "name"},
    {"path": "/people.json", "rows": "people", "as": "array", "order": ["id"]},
]}


@pytest.fixture
def docs(pg, make_mount):
    pg.sql(SQL)
    return make_mount(layout=LAYOUT)


def use_tinydb(path):
    """Grows and shrinks by turns, in one open file and in several."""
    with TinyDB(path) as db:
        db.insert_multiple({"t": f"entry {i}", "n": i} for i in range(20))
        db.remove(Query().n > 3)
        db.insert({"t": "more", "n": 99})
        db.update({"t": "x"}, Query().n == 0)
    with TinyDB(path, sort_keys=True, indent=1) as db:
        db.remove(Query().n != 2)


def use_store(path, wrap=True):
    """A JSON store that makes sure: it writes over what was there, syncs, and only then cuts the file to its new length."""
    with open(path, "r+", encoding="utf-8") as f:
        for n in (20, 3, 900, 1):
            f.seek(0)
            entries = {str(i): {"t": f"entry {i}"} for i in range(n)}
            json.dump({"_default": entries} if wrap else entries, f)
            f.flush()
            os.fsync(f.fileno())
            f.truncate()


def extend(path, back, text, truncate=False):
    """Puts TEXT over the last BACK bytes."""
    with open(path, "rb+") as f:
        f.seek(-back, os.SEEK_END)
        if truncate:
            f.truncate()
        f.write(text)


def use_store_of_rows(path):
    use_store(path, wrap=False)


STORES = [
    (use_tinydb, "docs/a/meta.json", "select meta from docs"),
    (use_tinydb, "docs/a/doc.json", "select jsonb_build_object('_default', _default) from docs"),
    (use_store, "docs/a/doc.json", "select jsonb_build_object('_default', _default) from docs"),
    (use_store_of_rows, "docs/a/meta.json", "select meta from docs"),
    (use_store_of_rows, "tabs.json", "select jsonb_object_agg(name, jsonb_build_object('t', t)) from tabs")]


def test_a_json_store_that_shrinks(docs, pg, tmp_path):
    path = tmp_path / "db.json"
    for use, name, sql in STORES:
        path.write_text("{}")
        use(path)
        want = json.loads(path.read_text())
        docs.write("docs/a/meta.json", "{}")
        docs.write("docs/a/doc.json", '{"_default": {}}')
        use(docs.at(name))
        assert docs.errors() == []
        assert (name, pg.one(sql), docs.json(name)) == (name, want, want)


def test_a_shorter_text_that_is_not_cut_is_refused(docs, pg):
    """Without an fsync in between there is no telling a program that forgets to cut from one that will; and what is cut elsewhere is judged as
    it stands."""
    before = pg.one("select meta from docs")
    docs.write("docs/a/meta.json", json.dumps({"old": "x" * 100}))
    for cut in (None, 7):
        fd = os.open(docs.at("docs/a/meta.json"), os.O_RDWR)
        os.write(fd, b'{"new": 1}')
        if cut:
            os.ftruncate(fd, cut)
        with refused(errno.EINVAL):
            os.close(fd)
        assert pg.one("select meta from docs") == {"old": "x" * 100} != before
    fd = os.open(docs.at("docs/a/meta.json"), os.O_RDWR)
    os.write(fd, b'{"new": 1}')
    os.fsync(fd)
    assert pg.one("select meta from docs") == {"new": 1}
    os.ftruncate(fd, 20)  # some of the old text is left
    with refused(errno.EINVAL):
        os.close(fd)
    assert pg.one("select meta from docs") == {"new": 1}


def test_an_array_that_is_extended_over_its_end(docs, tmp_path):
    """The program has written [...] without a newline, or with one, and goes back over the bracket that it has written."""
    plain = tmp_path / "x.json"
    for name, first, new in (("people.json", [{"name": "a", "age": 1}, {"name": "b", "age": 2}], b'{"name": "new", "age": 5}'),
                             ("docs/a/meta.json", [1, [2]], b"[7]")):
        for back, truncate in ((1, False), (1, True), (2, False)):
            for path in (plain, docs.at(name)):
                path.write_text(json.dumps(first) + "\n" * (back - 1))
                for _ in range(3):
                    extend(path, back, b"," + new + b"]" + b"\n" * (back - 1), truncate)
            want = json.loads(plain.read_text())
            got = [{k: v for k, v in x.items() if k != "id"} if isinstance(x, dict) else x for x in docs.json(name)]
            assert len(want) == 5 and got == want
    assert docs.errors() == []


def test_rows_of_an_extended_array_keep_their_keys(docs, pg):
    docs.write("people.json", json.dumps([{"name": "a", "age": 1}, {"name": "b", "age": 2}]))
    before = pg.sql("select id, name, age from people order by id")
    extend(docs.at("people.json"), 1, b',{"name": "c", "age": 3}]')
    assert pg.sql("select id, name, age from people order by id") == [*before, (before[-1][0] + 1, "c", 3)]


def test_an_object_that_is_extended_over_its_end(docs, pg):
    docs.write("docs/a/meta.json", '{"a": {"x": 1}}')
    extend(docs.at("docs/a/meta.json"), 1, b', "b": 2}')
    assert pg.one("select meta from docs") == {"a": {"x": 1}, "b": 2}


def test_a_bracket_is_taken_away_only_before_a_newline_of_rowfs(docs, pg):
    """What is no document on a disk is none here: the program overwrites its own last bracket."""
    with open(docs.at("docs/a/meta.json"), "w", encoding="utf-8") as f:
        f.write('{"a":[1]}')
        f.flush()
        os.fsync(f.fileno())
        f.seek(8)
        f.write(",2]}")
        with refused(errno.EINVAL):
            f.flush()
            os.fsync(f.fileno())
        f.seek(0)
        f.write('{"a": [1, 2]}')
    assert pg.one("select meta from docs") == {"a": [1, 2]}


def add_one(path, before_reading, n):
    """As `fopen($f, 'c+')`, `flock`: opens the file, waits for its turn, and only then reads it and writes it anew."""
    with open(path, "r+", encoding="utf-8") as f:
        before_reading()
        value = json.load(f)
        value["n"] += n
        f.seek(0)
        f.truncate()
        json.dump(value, f)


@pytest.mark.parametrize("name", ["docs/a/meta.json", "tabs.json"])
def test_a_writer_that_waits_for_a_lock_reads_what_is_there_then(docs, pg, tmp_path, name):
    (tmp_path / "db.json").write_text('{"n": 0}')
    docs.write("docs/a/meta.json", '{"n": 0}')
    pg.sql("insert into tabs values ('n', '0')")

    def use(path, add):
        add(path, lambda: add(path, lambda: add(path, lambda: None, 1), 10), 100)

    def add_to_row(path, before_reading, n):
        with open(path, "r+", encoding="utf-8") as f:
            before_reading()
            value = json.load(f)
            value["n"]["t"] = str(int(value["n"]["t"]) + n)
            f.seek(0)
            f.truncate()
            json.dump(value, f)
    use(tmp_path / "db.json", add_one)
    assert json.loads((tmp_path / "db.json").read_text()) == {"n": 111}
    if name == "tabs.json":
        use(docs.at(name), add_to_row)
        assert pg.sql("select t from tabs") == [("111",)]
    else:
        use(docs.at(name), add_one)
        assert pg.one("select meta from docs") == {"n": 111}


def test_a_writer_with_changes_reads_its_own(docs, pg):
    """Also from the start, whatever another one has committed meanwhile; and a reader keeps what it has begun to read."""
    docs.write("docs/a/meta.json", '{"n": 0}')
    path = docs.at("docs/a/meta.json")
    old = path.read_bytes()
    with open(path, "rb+", buffering=0) as f, open(path, "rb+", buffering=0) as reader:
        begun = reader.read(4)
        f.truncate(0)
        f.write(b'{"mine": 1}')
        docs.write("docs/a/meta.json", '{"other": 1}')
        f.seek(0)
        assert f.read() == b'{"mine": 1}'
        assert begun + reader.read() == old
    assert pg.one("select meta from docs") == {"mine": 1}
