"""Files that a program maps into its memory: what a map shows, beside readers whom the kernel serves by itself and beside changes; and who may
not write by one."""
import contextlib
import errno
import mmap
import os
import platform

import pytest

from ingestkit import COLUMNS, parse
from ingestkit import lines as ingest_lines
from ingestkit import rows as ingest_rows
from kit import append, get, put, until

N = 20000  # lines: many pages, and more than the kernel asks for at once
LAYOUT = {"tables": {"seen": {"key": ["id"]}}, "routes": [
    {"path": "/lines/{grp}.csv", "rows": "lines", "columns": ["id", "text"], "order": ["id"]},
    {"path": "/all.jsonl", "rows": "lines", "columns": ["id", "text"], "order": ["id"]},
    {"path": "/seen.csv", "rows": "seen", "columns": ["id", "text"], "order": ["id"]},  # a view: no summary, and nothing is told
    {"path": "/c/{n}.csv", "file": True, "ingest": "orderbook_data", "columns": COLUMNS}]}
ROWS = ["lines/g.csv", "all.jsonl", "seen.csv"]
direct = pytest.mark.skipif(tuple(map(int, platform.release().split(".")[:2])) < (6, 6), reason="the kernel maps no file that is opened with direct I/O")


@pytest.fixture
def mount(make_mount, pg):
    pg.sql("create table lines (id int primary key, grp text not null, text text not null); create view seen as select * from lines where id > 0")
    fill(pg, 1, N)
    m = make_mount(layout=LAYOUT)
    put(m / "c/t.csv", ingest_lines(0, 2000))
    return m


def fill(pg, first, n, text="old"):
    pg.sql("insert into lines select g, 'g', %s || g from generate_series(%s, %s) g", text, first, first + n - 1)


def csv(pg):
    return b"id,text\n" + "".join(f"{i},{text}\n" for i, text in pg.sql("select id, text from lines order by id")).encode()


@contextlib.contextmanager
def mapped(path, how=mmap.MAP_SHARED, flags=os.O_RDONLY):
    fd = os.open(path, flags)
    try:
        with mmap.mmap(fd, os.fstat(fd).st_size, how, mmap.PROT_READ) as m:
            yield m
    finally:
        os.close(fd)


@direct
def test_a_shared_map_shows_the_file(mount, pg):
    """With a summary, without one, and an ingest file; from its start and from its end; for a program that may write, too."""
    for name in [*ROWS, "c/t.csv"]:
        with mapped(mount / name) as m:
            tail = m[-100:]
            whole = m[:]
        assert whole == get(mount / name) and whole.endswith(tail), name
        with mapped(mount / name, flags=os.O_RDWR) as m:
            assert m[:] == whole, name
    assert mount.bytes("lines/g.csv") == csv(pg)


@direct
def test_maps_before_and_after_the_kernel_reads_by_itself(mount, pg):
    """The same file, mapped through direct I/O while it is read whole and kept; then through the kernel's own file; then both ways again."""
    path, want = mount / "lines/g.csv", csv(pg)
    with mapped(path) as first:
        assert first[:4096] == want[:4096]
        for _ in range(3):
            assert get(path) == want  # and it is kept from here on
        with mapped(path) as second:
            assert second[:] == want
        assert first[:] == want
    passing = os.open(path, os.O_RDONLY)
    assert os.pread(passing, len(want), 0) == want
    with mapped(path) as third:
        assert third[:] == want
        fill(pg, N + 1, 10)
        longer = csv(pg)
        until(lambda: get(path) == longer, "the new lines")
        with mapped(path) as fourth:
            assert fourth[:] == longer
        assert third[:] == want
    os.close(passing)
    pg.sql("update lines set text = 'new' || id")
    until(lambda: get(path) == csv(pg), "the new text")
    with mapped(path) as m:
        assert m[:] == csv(pg)


@direct
@pytest.mark.parametrize("how", [mmap.MAP_SHARED, mmap.MAP_PRIVATE])
def test_a_map_is_one_version(mount, pg, how):
    """Its pages come one by one, and the rows change in between; a map of a file that is opened later shows the later version, and does not
    change the first."""
    for name in ROWS:
        pg.sql("delete from lines")
        fill(pg, 1, N)
        old = csv(pg)
        until(lambda: get(mount / name).count(b"\n") >= N and b"new" not in get(mount / name), "old lines")  # noqa: B023
        want = get(mount / name)
        with mapped(mount / name, how) as one:
            assert one[len(want) // 2:][:10] == want[len(want) // 2:][:10]
            pg.sql("update lines set text = 'newer' || id where mod(id, 3) = 0; delete from lines where mod(id, 5) = 0")
            until(lambda: b"newer" in get(mount / name), "new lines")  # noqa: B023
            new = get(mount / name)
            with mapped(mount / name, how) as two:
                assert two[:] == new != want
                assert one[:] == want, name
                assert two[:] == new
            assert one[-10:] == want[-10:]
        assert csv(pg) != old


@direct
def test_lines_that_are_appended_are_in_the_next_map(mount, pg):
    for name, line in (("lines/g.csv", f"{N + 1},x\n"), ("c/t.csv", ingest_lines(2000, 1).decode())):
        before = get(mount / name)
        with mapped(mount / name) as m:
            assert m[:] == before
            append(mount / name, line, sync=True)
            assert m[:] == before
            with mapped(mount / name) as again:
                assert again[:] == before + line.encode()
            assert m[:] == before


@direct
def test_rows_are_not_written_by_a_map(mount, pg):
    """The kernel lets the program change its pages, and asks rowfs when it writes them: nothing is changed, it is told, and the change is seen by nobody."""
    path, want = mount / "lines/g.csv", csv(pg)
    fd = os.open(path, os.O_RDWR)
    m = mmap.mmap(fd, len(want), mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    m[20:30] = b"##########"
    with pytest.raises(OSError) as refused:
        m.flush()
    assert refused.value.errno in (errno.ENODEV, errno.EIO)
    until(lambda: m[:] == want, "the map shows the rows again")
    m[20:30] = b"##########"
    m.close()
    with pytest.raises(OSError):
        os.fsync(fd)
    os.close(fd)
    assert "write to it" in mount.sentence()
    assert csv(pg) == want == get(path)
    with mapped(path) as m:
        assert m[:] == want


@direct
def test_an_ingest_file_is_written_by_a_map(mount, pg, tmp_path):
    """As on a disk; and its rows are what its lines say then."""
    body, lines = get(mount / "c/t.csv"), []
    put(tmp_path / "t.csv", body)
    for path in (mount / "c/t.csv", tmp_path / "t.csv"):
        for append_flag in (0, os.O_APPEND):
            fd = os.open(path, os.O_RDWR | append_flag)
            with mmap.mmap(fd, len(body), mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE) as m:
                for at in (0, len(body) // 2, len(body) - 5):
                    at = m.find(b"5000.0", max(at - 200, 0))
                    m[at:at + 6] = b"6000.0" if append_flag else b"7000.0"
                m.flush()
            os.fsync(fd)
            os.close(fd)
        lines.append(get(path))
    assert lines[0] == lines[1] != body
    assert ingest_rows(pg) == parse(lines[0])


def test_an_old_kernel_says_that_it_cannot(make_mount, pg, old_kernel):
    """A shared map of a file that is opened with direct I/O; a private one works."""
    pg.sql("create table lines (id int primary key, grp text not null, text text not null); create view seen as select * from lines where id > 0")
    fill(pg, 1, 10)
    m = make_mount(layout=LAYOUT, env=old_kernel)
    for name in ROWS:
        with pytest.raises(OSError) as said, mapped(m / name):
            pass
        assert said.value.errno == errno.ENODEV
        with mapped(m / name, mmap.MAP_PRIVATE) as private:
            assert private[:] == get(m / name)
