"""No memory: each line that write() has acknowledged is a row, or it is in rejected/ and fsync or close say so. AddressSanitizer refuses
allocations beyond a size, so buffers stop growing where they have in a process that is at its limit."""
import errno
import json
import os

import pytest

from kit import refused
from mountkit import rowfs_binary, sanitizer_env

SQL = """create table line (file text not null, n integer not null, body text, id bigserial primary key);
         create table parent (name text primary key); insert into parent values ('p');
         create table child (parent text references parent, n integer not null, body text, id bigserial primary key);"""
LAYOUT = {"routes": [
    {"path": "/line/{line.file}.csv", "rows": "line", "columns": ["n", "body"], "order": ["id"]},
    {"path": "/all.csv", "rows": "line", "columns": ["file", "n", "body"], "order": ["id"]},
    {"path": "/line/{line.file}.jsonl", "rows": "line", "columns": ["n", "body"], "order": ["id"]},
    {"path": "/p/{parent.name}/parent.json", "row": "parent"},
    {"path": "/p/{parent.name}/child.csv", "rows": "child", "columns": ["n", "body"], "order": ["id"]},
    {"path": "/in/{f}.csv", "file": True, "ingest": "line", "columns": ["file", "n", "body"]},
]}
TEXT = {
    "line/a.csv": "{n},{body}\n",
    "all.csv": "a,{n},{body}\n",
    "line/a.jsonl": '{{"n":{n},"body":"{body}"}}\n',
    "p/p/child.csv": "{n},{body}\n",
    "in/a.csv": "a,{n},{body}\n",
}
LIMIT_MB = 2


@pytest.fixture
def lean(pg, make_mount):
    """A mount that gets at most LIMIT_MB at a time."""
    if b"__asan_init" not in rowfs_binary().read_bytes():
        pytest.skip("needs a build with AddressSanitizer")
    pg.sql(SQL)
    env = {"ASAN_OPTIONS": sanitizer_env()["ASAN_OPTIONS"] + f":allocator_may_return_null=1:max_allocation_size_mb={LIMIT_MB}"}
    mount = make_mount(layout=LAYOUT, options={"batch_size": 100000, "flush_interval": 60, "max_document": "64M"}, env=env)
    mount.expect("AddressSanitizer|^ *#|HINT|^==|lines are not committed")
    return mount, pg


def write_all(path, data, piece=100_000):
    """What write() took, and whether anything that it, fsync or close said was an error."""
    taken, told = 0, []
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        while taken < len(data):
            taken += os.write(fd, data[taken:taken + piece])
    except OSError as e:
        told.append(e.errno)
    for end in (os.fsync, os.close):
        try:
            end(fd)
        except OSError as e:
            told.append(e.errno)
    return data[:taken], told


def numbers(pg, path):
    return [n for (n,) in pg.sql(f"select n from {'child' if 'child' in path else 'line'} order by id")]


def rejected_numbers(mount, path):
    """The n of each line that is kept, whether as a line or in a larger piece."""
    out = []
    for name, body in mount.rejected().items():
        texts = [json.loads(line)["text"] for line in body.splitlines()] if name.endswith(".rejected.jsonl") else body.decode().splitlines()
        for text in texts:
            if path.endswith("jsonl"):
                out += [json.loads(text)["n"]] if text.endswith("}") else []
            elif text.endswith("!"):
                out.append(int(text.split(",")[1 if path in ("all.csv", "in/a.csv") else 0]))
    return out


@pytest.mark.parametrize("path", TEXT)
@pytest.mark.parametrize("lines, length", [(900, 6000), (60, 100_000)])
def test_acknowledged_lines_are_rows_or_told(lean, path, lines, length):
    """More than fits into any buffer: a unit of 512 lines, a batch, what waits in an open file."""
    mount, pg = lean
    data = "".join(TEXT[path].format(n=n, body="x" * length + "!") for n in range(lines)).encode()
    taken, told = write_all(mount.at(path), data)
    whole = taken.count(b"\n")
    rows, kept = numbers(pg, path), rejected_numbers(mount, path)
    assert len(set(rows)) == len(rows) and not set(rows) & set(kept), "doubled"
    assert set(rows) | set(kept) >= set(range(whole)), "lost"
    assert told or (len(rows) == lines and not kept)
    if path in ("line/a.csv", "all.csv"):  # a batch that finds no more memory is committed
        assert rows == list(range(lines)) and not told


def test_a_line_without_memory_is_told(lean):
    """One line is longer than any buffer can be: those before it are rows, and those behind it are taken when it was given up."""
    mount, pg = lean
    fd = os.open(mount.at("line/a.csv"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, b"n,body\n1,a\n")
    with refused(errno.ENOMEM):
        os.write(fd, b"2,")
        for _ in range(50):
            os.write(fd, b"x" * 100_000)
    with refused(errno.ENOMEM):
        os.fsync(fd)
    os.write(fd, b"3,c\n")
    os.close(fd)
    assert numbers(pg, "line") == [1, 3]
    kept = [body for body in mount.rejected().values() if body.startswith(b"2,xxx")]
    assert len(kept) == 1
