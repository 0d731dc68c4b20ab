"""Someone who may use the mount, and tries to take more of the machine than its limits allow."""
import contextlib
import errno
import os
import time

import pytest

from kit import append, get, put, refused, until
from shop import LAYOUT as SHOP

SQL = "create table line (id bigserial primary key, n integer, body text); create table text (name text primary key, body text)"
LAYOUT = {"routes": [
    {"path": "/in/{f}.csv", "file": True, "ingest": "line", "columns": ["n", "body"]},
    {"path": "/text/{text.name}.txt", "column": "text.body"},
    {"path": "/lines.csv", "rows": "line", "columns": ["n", "body"], "order": ["id"]},
]}
KIB, MIB, TIB = 1 << 10, 1 << 20, 1 << 40


@contextlib.contextmanager
def opened(path, flags=os.O_RDWR):
    fd = os.open(path, flags)
    try:
        yield fd
    finally:
        with contextlib.suppress(OSError):
            os.close(fd)


def write_all(fd, data):
    """write() may take a part, and say only for the rest that there is no room."""
    while data:
        data = data[os.write(fd, data):]


def lines(size, n=0):
    """A CSV text of about SIZE bytes."""
    return b"".join(b"%d,%s\n" % (n + i, b"x" * 90) for i in range(size // 98))


@pytest.fixture
def mount_with(pg, make_mount):
    pg.sql(SQL)
    return lambda **options: make_mount(layout=LAYOUT, options=options)


def counter(m, name):
    return m.status()["counters"][name]


# -- the disk of state_dir ---------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["unlink", "rename"])
def test_a_removed_plain_file_counts_until_it_is_closed(shop_pg, make_mount, how):
    m = make_mount(layout=SHOP, options={"plain_max": "1M"})
    put(m.at("other"), b"o")
    with opened(m.at("held"), os.O_RDWR | os.O_CREAT) as fd, opened(m.at("held")) as second:
        os.write(fd, b"h" * 600_000)
        if how == "unlink":
            os.unlink(m.at("held"))
        else:
            os.rename(m.at("other"), m.at("held"))
        os.write(fd, b"h" * 300_000)
        assert 900_000 <= counter(m, "plain_bytes") <= 900_001
        with refused(errno.ENOSPC):
            write_all(fd, b"h" * 300_000)
        size = os.fstat(fd).st_size
        with refused(errno.ENOSPC):
            put(m.at("new"), b"n" * 500_000)
        assert "plain_max" in m.sentence()
        assert os.statvfs(m.path).f_bavail * 4096 < 200_000
        os.close(second)
        assert counter(m, "plain_bytes") >= 900_000
        assert size >= 900_000 and os.pread(fd, 2_000_000, 0) == b"h" * size
        os.ftruncate(fd, 100_000)
        put(m.at("new"), b"n" * 500_000)
        os.unlink(m.at("new"))
    until(lambda: counter(m, "plain_bytes") <= 1, "the room is back")
    assert counter(m, "disk_bytes") == counter(m, "plain_bytes")
    put(m.at("new"), b"n" * 900_000)


def test_a_truncation_without_room_says_why(shop_pg, make_mount):
    m = make_mount(layout=SHOP, options={"disk_max": "1M"})
    put(m.at("f"), b"f")
    with refused(errno.ENOSPC):
        os.truncate(m.at("f"), TIB)
    assert "plain_max" in m.sentence()
    with refused(errno.ENOSPC):
        os.truncate(m.at("f"), 2 * MIB)
    assert "disk_max" in m.sentence()
    assert m.read("f") == "f"


def test_copies_of_ingest_files_have_a_limit(mount_with, pg):
    """A file that is changed in its middle is copied first: without room for that, nothing changes."""
    m = mount_with(disk_max="3M", read_cache=0)
    text = {name: lines(2 * MIB, i * 1_000_000) for i, name in enumerate("ab")}
    for name, body in text.items():
        put(m.at(f"in/{name}.csv"), body)
    with opened(m.at("in/a.csv")) as a, opened(m.at("in/b.csv")) as b:
        os.pwrite(a, b"7", 0)
        assert counter(m, "disk_bytes") == len(text["a"])
        with refused(errno.ENOSPC):
            os.pwrite(b, b"7", 0)
        assert "disk_max" in m.sentence()
        with refused(errno.ENOSPC):
            put(m.at("plain"), b"p" * 2 * MIB)
        assert "disk_max" in m.sentence()
        os.unlink(m.at("plain"))
        os.fsync(b)
        assert os.pread(b, 100, 0) == text["b"][:100]
        os.close(a)
        assert counter(m, "disk_bytes") == 0
        os.pwrite(b, b"7", 0)
    for name, body in text.items():
        assert get(m.at(f"in/{name}.csv")) == b"7" + body[1:]
    assert pg.one("select count(*) from line where n between 0 and 7000000")
    assert counter(m, "disk_bytes") == 0


def test_a_copy_grows_within_the_limit(mount_with):
    m = mount_with(disk_max="1M")
    body = lines(200 * KIB)
    put(m.at("in/a.csv"), body)
    with opened(m.at("in/a.csv")) as fd:
        os.pwrite(fd, b"7", 0)
        with refused(errno.ENOSPC):
            for i in range(20):
                os.pwrite(fd, lines(100 * KIB), os.fstat(fd).st_size)
        taken = os.fstat(fd).st_size
        assert taken > 900 * KIB
        os.fsync(fd)  # what was taken before stays
    assert os.stat(m.at("in/a.csv")).st_size == taken
    assert get(m.at("in/a.csv"))[:len(body)] == b"7" + body[1:]


def test_renaming_an_ingest_file_needs_room(mount_with, pg):
    m = mount_with(disk_max="1M")
    body = lines(2 * MIB)
    put(m.at("in/a.csv"), body)
    with refused(errno.ENOSPC):
        os.rename(m.at("in/a.csv"), m.at("plain"))
    assert "disk_max" in m.sentence()
    assert get(m.at("in/a.csv")) == body and not m.exists("plain")
    assert counter(m, "disk_bytes") == 0


def test_large_documents_that_are_open_have_a_limit(mount_with, pg):
    m = mount_with(disk_max="5M")
    for name in "abc":
        pg.sql("insert into text values (%s, repeat('x', 2000000))", name)
    with opened(m.at("text/a.txt"), os.O_RDONLY), opened(m.at("text/b.txt"), os.O_RDONLY) as b:
        assert counter(m, "disk_bytes") == 4_000_000
        with refused(errno.ENOSPC):
            os.open(m.at("text/c.txt"), os.O_RDONLY)
        assert "disk_max" in m.sentence()
        os.close(b)
        until(lambda: counter(m, "disk_bytes") == 2_000_000, "the room is back")
        assert get(m.at("text/c.txt")) == b"x" * 2_000_000


def test_holes_in_an_ingest_file_are_bounded(mount_with):
    """Twenty files of 1 TiB that cost nobody a byte."""
    m = mount_with()
    body = lines(10 * KIB)
    names = [f"in/{i}.csv" for i in range(20)]
    for name in names:
        put(m.at(name), body)
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        fds = [stack.enter_context(opened(m.at(name))) for name in names]
        for fd in fds:
            with refused(errno.EFBIG):
                os.ftruncate(fd, TIB)
            with refused(errno.EFBIG):
                os.pwrite(fd, b"1,x\n", TIB)
        assert "max_document" in m.sentence()
        for name in names:
            with refused(errno.EFBIG):
                os.truncate(m.at(name), TIB)
    assert time.monotonic() - began < 20
    for name in names:
        assert get(m.at(name)) == body
    with opened(m.at("in/0.csv")) as fd:
        os.ftruncate(fd, len(body) + 2 * MIB)
        os.ftruncate(fd, len(body))
    assert get(m.at("in/0.csv")) == body
    append(m.at("in/0.csv"), b"5,y\n")
    assert get(m.at("in/0.csv")) == body + b"5,y\n"


# -- memory ------------------------------------------------------------------------------------------


def fill(path, data, piece=100_000):
    """Opens PATH and writes DATA as far as it is taken. Returns the descriptor and what was taken."""
    fd, taken = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 0
    try:
        while taken < len(data):
            taken += os.write(fd, data[taken:taken + piece])
    except OSError as e:
        assert e.errno == errno.ENOMEM
    return fd, data[:taken]


KINDS = {  # name of the file, and its text
    "column": ("text/{i}.txt", lambda i, size: b"x" * size),
    "rows anew": ("n/{i}.csv", lambda i, size: b"n,body\n" + b"".join(b"%d,%s\n" % (i, b"y" * 90) for _ in range(size // 96))),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_has_a_limit_in_all(pg, make_mount, kind):
    """24 documents of 1 MiB. What fits is committed; what does not is refused by write(), and what was taken of it is kept."""
    pg.sql(SQL)
    layout = {"routes": [*LAYOUT["routes"], {"path": "/n/{line.n}.csv", "rows": "line", "columns": ["n", "body"], "order": ["id"]}]}
    m = make_mount(layout=layout, options={"memory_max": "8M", "read_cache": 0})
    name, text = KINDS[kind]
    for i in range(24):
        if kind == "column":
            pg.sql("insert into text values (%s, 'old')", str(i))
        else:
            pg.sql("insert into line (n, body) values (%s, 'old')", i)
    old = {i: get(m.at(name.format(i=i))) for i in range(24)}
    texts = {i: text(i, MIB) for i in range(24)}
    open_files = {i: fill(m.at(name.format(i=i)), texts[i]) for i in range(24)}
    whole = [i for i, (_, taken) in open_files.items() if taken == texts[i]]
    assert 3 <= len(whole) <= 8
    assert "memory_max" in m.sentence()
    assert 4 * MIB < counter(m, "memory_bytes") <= 8 * MIB == counter(m, "memory_bytes_max")
    for i, (fd, _) in open_files.items():
        if i in whole:
            os.fsync(fd)
            os.close(fd)
        else:
            with refused(errno.ENOMEM):
                os.close(fd)
    until(lambda: counter(m, "memory_bytes") == 0, "it is free again")
    for i in range(24):
        assert get(m.at(name.format(i=i))) == (texts[i] if i in whole else old[i])
    kept = sorted(len(body) for body in m.rejected().values())
    assert kept == sorted(len(taken) for i, (_, taken) in open_files.items() if i not in whole and taken)
    put(m.at(name.format(i=23)), texts[23])
    assert get(m.at(name.format(i=23))) == texts[23]


def test_appended_lines_without_their_end(mount_with, pg):
    """Pieces of lines in many open files: what is behind the last newline waits in memory."""
    m = mount_with(memory_max="4M")
    fds = [os.open(m.at("lines.csv"), os.O_WRONLY | os.O_APPEND) for _ in range(20)]
    taken = 0
    for i, fd in enumerate(fds):
        try:
            os.write(fd, b"%d,whole\n%d," % (i, i))
            for _ in range(10):
                taken += os.write(fd, b"z" * 100_000)
        except OSError as e:
            assert e.errno == errno.ENOMEM
    assert taken < 4 * MIB and counter(m, "memory_bytes") <= 4 * MIB
    assert "memory_max" in m.sentence()
    for fd in fds:
        with contextlib.suppress(OSError):
            os.fsync(fd)
        with contextlib.suppress(OSError):
            os.close(fd)
    whole = {n for n, in pg.sql("select n from line where body = 'whole'")}
    assert whole and whole <= set(range(20))
    until(lambda: counter(m, "memory_bytes") == 0, "it is free again")
    append(m.at("lines.csv"), b"77,after\n")
    assert pg.one("select n from line where body = 'after'") == 77


def test_ingest_files_that_wait_for_the_database(mount_with, pg):
    """What cannot be committed waits in memory, and more than fits there is refused."""
    m = mount_with(memory_max="2M", flush_interval=60)
    fds = [os.open(m.at(f"in/{i}.csv"), os.O_WRONLY | os.O_CREAT) for i in range(20)]
    full, texts = 0, [b""] * 20
    for i, fd in enumerate(fds):
        body = lines(300 * KIB, i * 10_000)
        try:
            while len(texts[i]) < len(body):
                at = len(texts[i])
                texts[i] = body[:at + os.write(fd, body[at:at + 65_536])]
        except OSError as e:
            assert e.errno == errno.ENOMEM
            full += 1
    assert full > 0 and counter(m, "memory_bytes") <= 2 * MIB
    assert "memory_max" in m.sentence()
    for fd in fds:
        os.fsync(fd)
        os.close(fd)
    for i, body in enumerate(texts):
        assert get(m.at(f"in/{i}.csv")) == body
    until(lambda: counter(m, "memory_bytes") == 0, "it is free again")


def test_documents_that_are_open_to_read(mount_with, pg):
    m = mount_with(memory_max="2M", cache=1)
    for i in range(12):
        pg.sql("insert into text values (%s, repeat('x', 500000))", str(i))
    fds, full = [], 0
    for i in range(12):
        try:
            fds.append(os.open(m.at(f"text/{i}.txt"), os.O_RDONLY))
        except OSError as e:
            assert e.errno == errno.ENOMEM
            full += 1
    assert len(fds) == 4 and full == 8
    assert "memory_max" in m.sentence()
    assert [len(os.pread(fd, 1_000_000, 0)) for fd in fds] == [500_000] * 4
    for fd in fds:
        os.close(fd)
    until(lambda: counter(m, "memory_bytes") == 0, "it is free again")
    assert len(get(m.at("text/11.txt"))) == 500_000
