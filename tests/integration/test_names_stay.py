"""A name that exists is never ENOENT, not for a moment: readers that never stop, in processes of their own, against writers that save
in every way. The model is a plain directory, which gets the same calls from the same readers and writers."""
import contextlib
import errno
import json
import os
import subprocess
import sys
import threading
import time

import pytest

READER = r"""
import os, sys, time
kind, paths, stop = sys.argv[1], sys.argv[3:], sys.argv[2]
print("ready", flush=True)
n, failed = 0, {}
while not os.path.exists(stop):
    for path in paths:
        n += 1
        try:
            if kind == "stat":
                os.stat(path)
            elif kind == "open":
                fd = os.open(path, os.O_RDONLY)
                try:
                    while os.read(fd, 65536):
                        pass
                    os.fstat(fd)
                finally:
                    os.close(fd)
            elif kind == "list":
                names = os.listdir(os.path.dirname(path))
                if os.path.basename(path) not in names:
                    raise OSError(0, "not listed")
                os.stat(path)
        except OSError as e:
            key = f"{kind} {os.path.basename(path)}: {e.strerror}"
            failed[key] = failed.get(key, 0) + 1
print(n, failed, flush=True)
sys.exit(1 if failed else 0)
"""


class Readers:
    """Processes that stat, open and read PATHS until they are told to stop."""

    def __init__(self, paths, tmp_path, kinds=("stat", "open", "open")):
        self.stop = tmp_path / f"stop-{time.monotonic_ns()}"
        self.all = [subprocess.Popen([sys.executable, "-c", READER, kind, str(self.stop), *map(str, paths)], stdout=subprocess.PIPE,
                                     text=True) for kind in kinds]
        for reader in self.all:
            assert reader.stdout.readline() == "ready\n"

    def end(self):
        self.stop.touch()
        said = [r.communicate(timeout=30)[0] for r in self.all]
        for path, reader in zip(said, self.all):
            assert reader.returncode == 0, f"a reader met a hole: {path}"


@contextlib.contextmanager
def reading(paths, tmp_path, **kw):
    readers = Readers(paths, tmp_path, **kw)
    try:
        yield
    except BaseException:
        readers.stop.touch()
        raise
    readers.end()


def for_a_while(action, seconds):
    end, n = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        action(n)
        n += 1
    return n


def write(path, data, flags=os.O_CREAT | os.O_TRUNC):
    fd = os.open(path, os.O_WRONLY | flags, 0o644)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def save_by_rename(path, data, temporary=None):
    temporary = temporary or f"{path}.tmp"
    write(temporary, data)
    os.replace(temporary, path)


def save_in_place(path, data):
    write(path, data)


def save_beside(path, data):
    """Writes a second descriptor of a file that is open."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, data, 0)
        os.fsync(fd)
    finally:
        os.close(fd)


SQL = """create table doc (id text primary key, body text, note text);
create table entry (day text, n int, v text, primary key (day, n));
create table setting (key text primary key, value jsonb);
create table seen (id bigserial primary key, source text, v text);
insert into doc values ('a', 'first', 'note');
insert into entry values ('d', 1, 'x'); insert into setting values ('k', '1');"""
LAYOUT = {"routes": [
    {"path": "/docs/{doc.id}.json", "row": "doc"},
    {"path": "/notes/{doc.id}/doc.json", "row": "doc"},
    {"path": "/notes/{doc.id}/note.txt", "column": "doc.note"},
    {"path": "/days/{entry.day}.csv", "rows": "entry", "columns": ["n", "v"]},
    {"path": "/lines/{entry.day}.jsonl", "rows": "entry"},
    {"path": "/settings.json", "rows": "setting", "by": "key"},
    {"path": "/in/{name}.csv", "file": True, "ingest": "seen", "columns": ["source", "v"], "remove": "rows"},
]}


def doc(n):
    return json.dumps({"id": "a", "body": f"body {n}"}).encode()


# name below the mount, content number N
FILES = {
    "row": ("docs/a.json", doc),
    "row, unchanged": ("docs/a.json", lambda n: doc(0)),
    "column": ("notes/a/note.txt", lambda n: b"note %d" % n),
    "column, unchanged": ("notes/a/note.txt", lambda n: b"note"),
    "rows": ("days/d.csv", lambda n: b"n,v\n1,%d\n" % n),
    "rows, unchanged": ("days/d.csv", lambda n: b"n,v\n1,x\n"),
    "jsonl": ("lines/d.jsonl", lambda n: b'{"n":1,"v":"%d"}\n' % n),
    "table": ("settings.json", lambda n: b'{"k": {"value": %d}}' % n),
    "plain": ("docs/notes", lambda n: b"plain %d" % n),
    "ingest": ("in/f.csv", lambda n: b"s,%d\n" % n),
}
SAVES = {"rename": save_by_rename, "in place": save_in_place, "fsync": save_beside}


@pytest.fixture(params=["notify", "ttl=1"])
def there(request, pg, make_mount):
    pg.sql(SQL)
    m = make_mount(layout=LAYOUT, options={"coherence": request.param})
    m.write("docs/notes", "plain")
    m.write("in/f.csv", "s,1\n")
    return m


def model(tmp_path):
    """The same names in a plain directory."""
    for name, _ in FILES.values():
        path = tmp_path / "plain" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"first")
    return tmp_path / "plain"


def test_a_file_that_is_saved(there, tmp_path):
    for top, seconds in ((model(tmp_path), 0.2), (there.path, 1)):
        paths = [top / name for name, _ in FILES.values()]
        for how, save in SAVES.items():
            def save_all(n):
                for name, content in FILES.values():
                    save(top / name, content(n))  # noqa: B023
            with reading(paths, tmp_path):
                assert for_a_while(save_all, seconds) > 0, how


def test_a_file_that_is_new(there, tmp_path):
    """Its name is there from open on: while it waits for its row, when the row takes its place, and afterwards."""
    for top in (model(tmp_path), there.path):
        def create(n):
            for name, data in ((f"docs/n{n}.json", b"{}"), (f"days/n{n}.csv", b"n,v\n1,x\n"), (f"in/n{n}.csv", b"s,1\n")):
                fd = os.open(top / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)  # noqa: B023
                with reading([top / name], tmp_path, kinds=("stat", "open")):  # noqa: B023
                    os.write(fd, data)
                    os.close(fd)
                    time.sleep(0.05)  # what readers meet when nothing is under way
        for n in range(2):
            create(n)
    assert there.json("docs/n1.json")["id"] == "n1"


def test_a_row_under_another_key(there):
    """The new name is there when rename has returned, and the name of all that shows the row; the old one is not."""
    chain = ["a", "b", "c", "a"]
    for pattern in ("docs/{}.json", "notes/{}"):
        for old, new in zip(chain, chain[1:]):
            there.bytes(f"docs/{old}.json")
            os.rename(there.at(pattern.format(old)), there.at(pattern.format(new)))
            assert there.json(f"docs/{new}.json")["id"] == there.json(f"notes/{new}/doc.json")["id"] == new
            assert there.read(f"notes/{new}/note.txt") == "note"
            assert not there.exists(f"docs/{old}.json") and not there.exists(f"notes/{old}/note.txt")


def collect(paths, stop, found, allowed=(errno.ENOENT,)):
    """Reads PATHS, which come and go, until STOP: every other error, and what was read."""
    while not stop.is_set():
        for path in paths:
            try:
                os.stat(path)
                fd = os.open(path, os.O_RDONLY)
                try:
                    found.add(os.read(fd, 4096))
                    os.fstat(fd)
                finally:
                    os.close(fd)
            except OSError as e:
                if e.errno not in allowed:
                    found.add(e)


def test_an_ingest_file_that_becomes_a_plain_one_and_back(there):
    """What a node is does not change under those who look at it."""
    names = [there.at(n) for n in ("in/f.csv", "in/f.done", "in/g.csv", "docs/f")]
    stop, found = threading.Event(), set()
    readers = [threading.Thread(target=collect, args=(names, stop, found)) for _ in range(4)]
    for r in readers:
        r.start()
    try:
        def around(_):
            for a, b in zip(names, names[1:] + names[:1]):
                os.rename(a, b)
        for_a_while(around, 1.5)
    finally:
        stop.set()
        for r in readers:
            r.join()
    assert found == {b"s,1\n"}
    assert there.read("in/f.csv") == "s,1\n"


def test_who_has_it_open_goes_on(there, pg):
    """with an ingest file that is renamed, twice and to a plain name and back."""
    fd = os.open(there.at("in/f.csv"), os.O_WRONLY | os.O_APPEND)
    for n, (a, b) in enumerate([("in/f.csv", "in/g.csv"), ("in/g.csv", "in/h.csv")]):
        os.rename(there.at(a), there.at(b))
        os.write(fd, b"s,%d\n" % n)
        os.fsync(fd)
        assert os.fstat(fd).st_size == os.stat(there.at(b)).st_size == len("s,1\n") * (n + 2)
    os.close(fd)
    assert there.read("in/h.csv") == "s,1\ns,0\ns,1\n"
    there.write("plain.tmp", "s,7\n")
    fd = os.open(there.at("plain.tmp"), os.O_WRONLY | os.O_APPEND)
    os.rename(there.at("plain.tmp"), there.at("in/p.csv"))
    os.rename(there.at("in/p.csv"), there.at("in/q.csv"))
    os.write(fd, b"s,8\n")
    os.close(fd)
    assert there.read("in/q.csv") == "s,7\ns,8\n"
    assert pg.one("select count(*) from seen where v in ('7', '8')") == 2


def test_a_backup_is_not_the_row(there, pg):
    """What is written to a document's backup does not reach the row that the document was of."""
    for name, query in (("docs/a.json", "select * from doc"), ("notes/a/note.txt", "select note from doc"),
                        ("settings.json", "select * from setting")):
        before, old = pg.sql(query), there.bytes(name)
        there.bytes(name)  # the kernel may keep it
        os.rename(there.at(name), there.at(f"{name}~"))
        there.append(f"{name}~", "more")
        assert pg.sql(query) == before, name
        assert there.bytes(f"{name}~") == old + b"more"
        os.truncate(there.at(f"{name}~"), 2)
        assert pg.sql(query) == before and there.bytes(f"{name}~") == old[:2]


def test_what_is_written_after_a_rename_onto_a_row(there, pg):
    """is told: the row has taken the content as it was."""
    fd = os.open(there.at("docs/a.tmp"), os.O_WRONLY | os.O_CREAT)
    os.write(fd, b'{"body": "second"}')
    os.rename(there.at("docs/a.tmp"), there.at("docs/a.json"))
    there.refuses(lambda: os.write(fd, b"}"), errno.ESTALE, "new name")
    os.close(fd)
    assert pg.one("select body from doc") == "second"
