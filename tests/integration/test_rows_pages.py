"""Rows files that were read as a whole: kept as they were read, and read by the kernel alone. What a file must hold is said by SQL."""
import contextlib
import errno
import json
import mmap
import os
import subprocess
import threading
import time

import pytest

from kit import IS_ROOT, append, get, put, run, until

SCHEMA = """
create table lines (id bigint primary key, grp text not null, at bigint not null, text text);
create index on lines (grp, at, id);
create view seen as select id, grp, at, text from lines;
"""
LAYOUT = {
    "tables": {"seen": {"key": ["id"]}},
    "routes": [
        {"path": "/lines/{grp}.csv", "rows": "lines", "order": ["at", "id"]},
        {"path": "/lines/{grp}.jsonl", "rows": "lines", "order": ["at", "id"]},
        {"path": "/ids/{grp}.csv", "rows": "lines", "order": ["at", "id"], "columns": ["at", "text"]},
        {"path": "/seen.jsonl", "rows": "seen", "order": ["at"]},
    ],
}
MANY, FEW = 30000, 700  # lines: of a file in state_dir, and of one in memory; one page holds FEW


class Lines:
    def __init__(self, mount, pg):
        self.m, self.pg, self.sql, self.one = mount, pg, pg.sql, pg.one

    def fill(self, n, first=1, grp="g"):
        self.sql("insert into lines select i, %s, i * 10, 'line ' || i || repeat('x', (i %% 37)::int) from generate_series(%s::bigint, %s::bigint) i",
                 grp, first, first + n - 1)

    def csv(self, grp="g", where="true"):
        rows = self.sql(f"select id || ',' || grp || ',' || at || ',' || case text when '' then '\"\"' else coalesce(text, '') end "
                        f"from lines where grp = %s and {where} order by at, id", grp)
        return "".join(["id,grp,at,text\n", *(r[0] + "\n" for r in rows)]).encode()

    def path(self, grp="g"):
        return self.m.at(f"lines/{grp}.csv")

    def shows(self, grp="g"):
        """Who opens the file soon has what SQL says, and so has everybody after him."""
        want = self.csv(grp)
        until(lambda: get(self.path(grp)) == want, "the file is what SQL says", timeout=5)
        for _ in range(3):
            assert get(self.path(grp)) == want

    def begun(self):
        """What a long file that is kept says, and a descriptor by which its first 1000 bytes were read."""
        self.fill(MANY)
        old = self.kept()
        reader = os.open(self.path(), os.O_RDONLY)
        assert os.read(reader, 1000) == old[:1000]
        return old, reader

    def kept(self, path=None):
        """What the file says once no query is needed any more: all that was changed before has been told."""
        def for_nothing():
            with self.pg.queries() as seen:
                data = get(path or self.path())
            return [data] if seen.total == 0 else None
        return until(for_nothing, "the file is kept")[0]

    def taken(self):
        """Bytes of the files without a name that the mount has."""
        fds = f"/proc/{self.m.process.pid}/fd"
        return sum(os.stat(f"{fds}/{fd}").st_size for fd in os.listdir(fds) if os.readlink(f"{fds}/{fd}").endswith(" (deleted)"))

    def counter(self, name):
        return self.m.status()["counters"][name]

    def reads(self, act):
        """How many READs reach rowfs while ACT runs."""
        self.counter("reads_total")
        before = self.counter("reads_total")
        own = self.counter("reads_total") - before
        before = self.counter("reads_total")
        act()
        return self.counter("reads_total") - before - own


@pytest.fixture
def lines(pg, make_mount):
    pg.sql(SCHEMA)
    return Lines(make_mount(layout=LAYOUT), pg)


def kernel_reads():
    """True where FUSE_PASSTHROUGH is to be had."""
    major, minor = (int(x) for x in os.uname().release.split(".")[:2])
    return IS_ROOT and (major, minor) >= (6, 9)


def rest_of(fd, size=50000):
    return b"".join(iter(lambda: os.read(fd, size), b""))


@pytest.mark.parametrize("n", [0, 1, FEW, MANY])
@pytest.mark.parametrize("ext", ["csv", "jsonl"])
def test_a_second_read_needs_no_query(lines, n, ext):
    lines.fill(n + 1)
    lines.sql("delete from lines where id = %s", n + 1)
    path = lines.m.at("seen.jsonl" if n == 0 else f"lines/g.{ext}")
    first = lines.kept(path)
    assert os.stat(path).st_size == len(first) and first.count(b"\n") == n + (ext == "csv" and n > 0)
    with lines.pg.queries() as seen:
        for _ in range(3):
            assert get(path) == first
    assert seen.total == 0, seen
    if n == MANY and kernel_reads():
        assert lines.reads(lambda: get(path)) == 0


def test_any_place_and_program(lines, tmp_path):
    lines.fill(MANY)
    whole = lines.kept()
    assert whole == lines.csv()
    plain = tmp_path / "g.csv"
    plain.write_bytes(whole)
    with lines.pg.queries() as seen:
        fd = os.open(lines.path(), os.O_RDONLY)
        for at, n in [(0, 10), (len(whole) - 5, 100), (len(whole), 10), (len(whole) + 9999, 10), (123456, 400000), (65535, 2), (1, len(whole))]:
            assert os.pread(fd, n, at) == whole[at:at + n]
        if kernel_reads():
            with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as mapped:
                assert mapped[:] == whole
        os.close(fd)
        for program in ("tail -n 3", "tail -c +100000", "head -n 2000", "wc -l", "md5sum -b", "tac", "grep -c 77", "dd bs=777 skip=100 count=900 status=none if="):
            words = [program[:-3], f"if={{}}"] if program.endswith("if=") else [program, "{}"]

            def out(path, words=words):
                argv = [*words[0].split(), words[1].format(path)]
                return run(*argv).stdout.replace(str(path), "")
            assert out(lines.path()) == out(plain), program
    assert seen.total == 0, seen


@pytest.mark.parametrize("n", [FEW, MANY])
def test_changes_in_the_middle_while_readers_never_stop(lines, n):
    """Each new reader has the new bytes soon; and nobody ever has anything but whole lines, of a small file one version."""
    lines.fill(n)
    versions, wrong, stop = [lines.csv()], [], threading.Event()

    def check(data):
        if n == FEW:
            return data in versions
        rows = [row.split(b",") for row in data.splitlines()]
        places = [(int(row[2]), int(row[0])) for row in rows[1:]]
        return data.endswith(b"\n") and places == sorted(set(places)) and all(len(row) == 4 for row in rows)

    def reader():
        while not stop.is_set():
            data = get(lines.path())
            if not check(data):
                wrong.append(data)
                return
    threads = [threading.Thread(target=reader) for _ in range(2)]
    for t in threads:
        t.start()
    for i in range(40 if n == FEW else 8):
        middle = n // 2 + i
        change = ("update lines set text = 'other' where id = %s", "delete from lines where id = %s",
                  "insert into lines select 100000 + id, grp, at + 1, 'between' from lines where id = %s",
                  "update lines set text = text || '+' where id >= %s")[i % 4]
        with lines.pg.connect() as conn, conn.cursor() as cursor:
            cursor.execute(change, (middle,))
            cursor.execute("select id || ',' || grp || ',' || at || ',' || text from lines where grp = 'g' order by at, id")
            versions.append("".join(["id,grp,at,text\n", *(r[0] + "\n" for r in cursor.fetchall())]).encode())
        lines.shows()
    stop.set()
    for t in threads:
        t.join()
    assert not wrong, [w[-300:] for w in wrong]


def test_half_way_when_the_file_changes(lines):
    """An open file goes on as what it was when it was opened; what is appended comes behind it."""
    lines.fill(MANY)
    old = lines.kept()
    fd, second = os.open(lines.path(), os.O_RDONLY), os.open(lines.path(), os.O_RDONLY)
    assert os.read(fd, 300000) == old[:300000]
    lines.sql("delete from lines where id % 100 = 7")
    lines.sql("update lines set text = 'longer than it was before and much longer' where id % 100 = 8")
    lines.sql("insert into lines select 500000 + id, grp, at + 1, 'between' from lines where id % 100 = 9")
    lines.fill(3, first=MANY + 1)
    lines.shows()
    added = lines.csv(where=f"id > {MANY} and id < 500000").split(b"\n", 1)[1]
    seen = old[:300000]

    def more():
        nonlocal seen
        seen += rest_of(fd)
        return len(seen) >= len(old) + len(added)
    until(more, "the added lines")
    assert seen == old + added
    assert os.pread(second, len(old), 0) == old
    os.close(fd)
    os.close(second)
    assert get(lines.path()) == lines.csv()


@pytest.mark.parametrize("n", [FEW, MANY])
def test_a_change_while_a_file_is_read_for_the_first_time(lines, n):
    """What was read before the change must not be kept as what the file says."""
    lines.fill(n)
    os.stat(lines.path())
    fd = os.open(lines.path(), os.O_RDONLY)
    first = os.read(fd, 100)
    heard = lines.m.status()["coherence"]["heard"]
    lines.sql("update lines set text = 'new' where id = 1")
    until(lambda: lines.m.status()["coherence"]["heard"] > heard, "the change is told of")
    rest_of(fd)
    os.close(fd)
    assert first.startswith(b"id,grp,at,text\n1,g,10,line 1x")
    assert get(lines.path()) == lines.csv()


@pytest.mark.parametrize("n", [FEW, MANY])
def test_tail_f_of_a_kept_file(lines, tmp_path, n):
    """Appended by SQL and by this mount, each line is shown once and whole."""
    lines.fill(n)
    lines.kept()
    out = tmp_path / "out"
    with open(out, "wb") as f:
        tail = subprocess.Popen(["tail", "-f", "-s", "0.02", "-n", "+1", lines.path()], stdout=f)
    try:
        until(lambda: out.stat().st_size == len(lines.csv()), "tail has shown what was there")
        for i in range(1, 21):
            if i % 2 == 0:
                lines.fill(3, first=n + 10 * i)
            else:
                append(lines.path(), f"{n + 10 * i},g,{(n + 10 * i) * 10},by this mount\n")
        want = lines.csv()
        until(lambda: out.stat().st_size >= len(want), "tail has shown all", timeout=10)
        assert out.read_bytes() == want
    finally:
        tail.kill()
        tail.wait()
    lines.shows()


@pytest.mark.parametrize("n", [FEW, MANY])
def test_what_this_mount_writes_is_seen_at_once(lines, n):
    """By who opens the file, and by who has it open."""
    lines.fill(n)
    lines.kept()
    fd = os.open(lines.path(), os.O_RDONLY)
    seen = rest_of(fd)
    for i in range(10):
        at = n + 1 + i
        append(lines.path(), f"{at},g,{at * 10},mine\n")
        seen += rest_of(fd)
        assert seen == lines.csv(), i
        assert get(lines.path()) == seen and os.stat(lines.path()).st_size == len(seen)
    os.close(fd)
    put(lines.path(), "id,grp,at,text\n1,g,10,alone\n")
    assert get(lines.path()) == lines.csv() == b"id,grp,at,text\n1,g,10,alone\n"
    os.unlink(lines.path())
    assert not os.path.exists(lines.path())
    lines.fill(5)
    until(lambda: os.path.exists(lines.path()), "it is there again")
    lines.shows()


def test_a_writer_beside_readers_of_kept_files(lines):
    old, reader = lines.begun()
    writer = os.open(lines.path(), os.O_WRONLY | os.O_APPEND)
    for i in range(5):
        os.write(writer, f"{MANY + 1 + i},g,{(MANY + 1 + i) * 10},w\n".encode())
        os.fsync(writer)
        assert get(lines.path()) == lines.csv()
    assert old[:1000] + rest_of(reader) == lines.csv()
    os.close(writer)
    os.close(reader)
    lines.shows()


def test_who_may_write_cannot_map_what_is_kept(lines):
    """Readers and writers by one descriptor get the file as ever: appended to, and not changed by a map."""
    old, reader = lines.begun()
    both = os.open(lines.path(), os.O_RDWR | os.O_APPEND)
    with contextlib.suppress(OSError), mmap.mmap(both, len(old), mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE) as mapped:
        assert mapped[:] == old
        mapped[:5] = b"XXXXX"
        with pytest.raises(OSError):
            mapped.flush()
        mapped.close()
    assert get(lines.path()) == old
    os.write(both, f"{MANY + 1},g,{(MANY + 1) * 10},b\n".encode())
    os.fsync(both)
    assert get(lines.path()) == lines.csv()
    assert old[:1000] + rest_of(reader) == lines.csv()
    os.close(both)
    os.close(reader)
    lines.shows()


@pytest.mark.parametrize("n", [FEW, MANY])
def test_who_has_it_open_is_told_of_its_size_beside_a_writer(lines, n):
    """An open to read and write gives the name another node: `tail -f` of the earlier one asks for its size, and must not be told the old one for ever."""
    lines.fill(n)
    old = lines.kept()
    reader = os.open(lines.path(), os.O_RDONLY)
    seen = rest_of(reader)
    assert seen == old and os.fstat(reader).st_size == len(old)
    both = os.open(lines.path(), os.O_RDWR | os.O_APPEND)
    assert os.fstat(reader).st_size == len(old)
    for i in range(3):
        lines.fill(1, first=n + 1 + i)
        until(lambda: os.fstat(reader).st_size == len(lines.csv()), "the reader is told the size")

        def more():
            nonlocal seen
            seen += rest_of(reader)
            return seen == lines.csv()
        until(more, "and reads it", timeout=5)
    os.close(both)
    os.close(reader)
    lines.shows()


def test_nobody_maps_what_is_old(lines):
    """While one has an earlier state open, who opens the file maps what it says now, or nothing."""
    old, reader = lines.begun()
    for i in range(3):
        lines.sql("delete from lines where id %% 10 = %s", i)
        lines.shows()
        want = lines.csv()
        for flags in (0, os.O_DIRECT):
            fd = os.open(lines.path(), os.O_RDONLY | flags)
            with contextlib.suppress(OSError), mmap.mmap(fd, len(want), mmap.MAP_SHARED, mmap.PROT_READ) as mapped:
                assert mapped[:] == want
            assert rest_of(fd) == want
            os.close(fd)
    assert os.pread(reader, len(old), 0) == old
    os.close(reader)


def test_other_files_of_the_same_rows(lines):
    lines.fill(MANY)
    for i in range(4):
        get(lines.m.at("lines/g.jsonl"))
        get(lines.m.at("ids/g.csv"))
        get(lines.m.at("seen.jsonl"))
        append(lines.path(), f"{MANY + 1 + i},g,{(MANY + 1 + i) * 10},w{i}\n")
        assert json.loads(get(lines.m.at("lines/g.jsonl")).splitlines()[-1])["text"] == f"w{i}"
        assert get(lines.m.at("ids/g.csv")).endswith(f",w{i}\n".encode())
        assert json.loads(get(lines.m.at("seen.jsonl")).splitlines()[-1])["text"] == f"w{i}"
        lines.sql("update lines set text = 'u' where id = %s", i + 1)
        until(lambda: json.loads(get(lines.m.at("seen.jsonl")).splitlines()[i])["text"] == "u", "by the view")  # noqa: B023
        until(lambda: get(lines.m.at("ids/g.csv")).splitlines()[i + 1].endswith(b",u"), "by the other file")  # noqa: B023


@contextlib.contextmanager
def deaf(lines):
    """Nothing is heard in the block: the connection that listens is ended, and no new one is let in."""
    def listening():
        return lines.m.status()["coherence"]["listening"]
    lines.pg.admin("alter role keeper connection limit 0")
    try:
        for pid in lines.pg.listeners():
            lines.pg.admin("select pg_terminate_backend(%s)", pid)
        until(lambda: not listening(), "the loss is known")
        yield
        assert not listening()
    finally:
        lines.pg.admin("alter role keeper connection limit -1")
    until(listening, "it listens again", timeout=30)


def test_while_nothing_is_heard(lines):
    """Without the connection that listens nothing that was kept is believed; an open file still goes on."""
    lines.fill(MANY)
    lines.m.expect(r"listening for changes|too many connections")
    lines.kept()
    fd = os.open(lines.path(), os.O_RDONLY)
    seen = rest_of(fd)
    with deaf(lines):
        lines.fill(1, first=MANY + 1)
        for _ in range(2):
            lines.sql("update lines set text = text || 'a' where id = 5")
            assert get(lines.path()) == lines.csv()

        def more():
            nonlocal seen
            seen += rest_of(fd)
            return seen.endswith(f"\n{MANY + 1},g,{(MANY + 1) * 10},line {MANY + 1}{'x' * ((MANY + 1) % 37)}\n".encode())
        until(more, "the line comes to the open file, too")
    os.close(fd)
    lines.shows()


@pytest.mark.parametrize("options", [{"coherence": "ttl=60"}, {"coherence": "none"}, {"read_cache": 0}])
def test_nothing_is_kept(pg, make_mount, options):
    """Where changes are not told, or no room is given."""
    pg.sql(SCHEMA)
    lines = Lines(make_mount(layout=LAYOUT, options=options), pg)
    lines.fill(MANY)
    for i in range(3):
        with pg.queries() as seen:
            get(lines.path())
        assert seen.total > 0
        lines.sql("update lines set text = 'changed' where id = %s", i + 1)
        assert get(lines.path()) == lines.csv() or "read_cache" in options
    lines.shows()


def test_no_more_room_than_given(pg, make_mount):
    """What does not fit is asked for again; nothing else is lost by it, and nothing is left in state_dir."""
    pg.sql(SCHEMA)
    lines = Lines(make_mount(layout=LAYOUT, options={"read_cache": "3M"}), pg)
    groups = ["a", "b", "c", "d"]
    for i, grp in enumerate(groups):
        lines.fill(25000, first=1 + i * 100000, grp=grp)
    lines.fill(100000, first=1000000, grp="large")
    want = {grp: lines.csv(grp) for grp in [*groups, "large"]}
    assert len(want["a"]) > 1 << 20 and len(want["large"]) > 3 << 20
    for _ in range(2):
        for grp, text in want.items():
            assert get(lines.path(grp)) == text
    lines.kept(lines.path("a"))
    for grp, kept in (("a", True), ("large", False)):
        with pg.queries() as seen:
            assert get(lines.path(grp)) == want[grp]
        assert (seen.total == 0) == kept, (grp, seen)
    assert 0 < lines.taken() <= 3 << 20


def test_many_files_that_are_only_partly_read(lines):
    """What was read of them waits in memory, but only 16 MiB of it."""
    files, size = 30, 900 << 10
    lines.sql("insert into lines select g * 10000 + i, 'g' || g, i, repeat('x', 1000) from generate_series(1, 1000) i, generate_series(1, %s) g", files)
    fds = [os.open(lines.path(f"g{i + 1}"), os.O_RDONLY) for i in range(files)]
    for fd in fds:
        for at in range(0, size, 100 << 10):
            assert len(os.pread(fd, 100 << 10, at)) == 100 << 10
    assert lines.taken() >= files * size - (16 << 20)
    for i, fd in enumerate(fds):
        assert rest_of(fd) == lines.csv(f"g{i + 1}")
        os.close(fd)


@pytest.mark.parametrize("kernel", [False, True])
def test_an_open_file_grows_beyond_the_room_given(pg, make_mount, kernel):
    pg.sql(SCHEMA)
    lines = Lines(make_mount(layout=LAYOUT, options={"read_cache": "2M"}), pg)
    lines.fill(MANY)
    lines.kept()
    fd = os.open(lines.path(), os.O_RDONLY | (0 if kernel else os.O_DIRECT))
    seen = rest_of(fd)
    lines.fill(2 * MANY, first=MANY + 1)
    want = lines.csv()
    assert len(want) > 3 << 20

    def more():
        nonlocal seen
        seen += rest_of(fd)
        return len(seen) >= len(want)
    until(more, "all lines come")
    assert seen == want
    os.close(fd)
    lines.shows()


@pytest.mark.skipif(not IS_ROOT, reason="mounts a small disk")
@pytest.mark.parametrize("kernel", [False, True])
def test_a_full_disk(pg, make_mount, tmp_path, kernel):
    """An open file waits for room, says so, and then goes on; nothing is lost and nothing else fails."""
    pg.sql(SCHEMA)
    run("mount", "-t", "tmpfs", "-o", "size=32M,mode=700", "none", tmp_path)
    try:
        lines = Lines(make_mount(layout=LAYOUT, options={"state_dir": tmp_path / "state"}), pg)
        lines.m.expect("no room below state_dir")
        lines.fill(MANY)
        old = lines.kept()
        fd = os.open(lines.path(), os.O_RDONLY | (0 if kernel else os.O_DIRECT))
        seen = rest_of(fd)
        (tmp_path / "large").write_bytes(bytes(29 << 20))
        lines.fill(2 * MANY, first=MANY + 1)
        want = lines.csv()

        def refused():
            nonlocal seen
            try:
                seen += rest_of(fd)
            except OSError as e:
                assert e.errno == errno.ENOSPC
                return True
            return kernel and "no room below state_dir" in lines.m.output()
        until(refused, "there is no room")
        assert len(old) <= len(seen) < len(want) and want.startswith(seen)
        assert get(lines.path()) == want
        os.unlink(tmp_path / "large")

        def more():
            nonlocal seen
            seen += rest_of(fd)
            return len(seen) >= len(want)
        until(more, "all lines come")
        assert seen == want
        os.close(fd)
        lines.shows()
        lines.m.umount()
    finally:
        run("umount", "-l", tmp_path)


@pytest.mark.skipif(not kernel_reads(), reason="rowfs is asked for each read")
def test_who_cannot_follow_does_not_ask_all_the_time(lines):
    """The kernel serves a reader whose lines cannot be asked for: twice a second is enough, and when they can, they come."""
    lines.fill(MANY)
    lines.kept()
    fd = os.open(lines.path(), os.O_RDONLY)
    seen = rest_of(fd)

    def failed():
        return lines.counter("db_query_errors_total")
    lines.sql("alter table lines rename column grp to other")
    lines.sql("insert into lines select i, 'g', i * 10, 'z' from generate_series(%s::bigint, %s::bigint) i", MANY + 1, MANY + 2)
    until(lambda: failed() > 0, "it was tried")
    before, start = failed(), time.monotonic()
    until(lambda: time.monotonic() > start + 1.5, "a while")
    assert failed() - before <= 6
    lines.sql("alter table lines rename column other to grp")

    def more():
        nonlocal seen
        seen += rest_of(fd)
        return seen == lines.csv()
    until(more, "the lines come")
    os.close(fd)


@pytest.mark.skipif(not kernel_reads(), reason="there is no thread that follows")
def test_the_mount_ends_while_a_query_hangs(lines):
    """The thread that follows for the kernel is interrupted."""
    lines.fill(MANY)
    lines.kept()
    fd = os.open(lines.path(), os.O_RDONLY)
    rest_of(fd)

    def waiting():
        return lines.one("select count(*) from pg_locks where relation = 'lines'::regclass and not granted")
    with lines.pg.connect() as writer, lines.pg.connect() as locker:
        writer.cursor().execute("insert into lines values (%s, 'g', 999999, 'z')", (MANY + 1,))
        thread = threading.Thread(target=lambda: locker.cursor().execute("lock table lines in access exclusive mode"))
        thread.start()
        until(lambda: waiting() == 1, "the lock is next")
        writer.commit()
        thread.join()
        until(lambda: waiting() == 1, "the query for the new line waits for it")
        os.close(fd)
        start = time.monotonic()
        lines.m.umount(timeout=60)
        assert time.monotonic() - start < 5


def test_more_files_than_are_kept(lines):
    lines.sql("insert into lines select i, 'g' || i, i, repeat('x', 100) from generate_series(1, 600) i")
    for _ in range(2):
        for i in range(1, 601):
            assert get(lines.path(f"g{i}")) == f"id,grp,at,text\n{i},g{i},{i},{'x' * 100}\n".encode()
    lines.sql("update lines set text = 'y'")
    until(lambda: get(lines.path("g600")).endswith(b",y\n"), "the change")
    for i in range(1, 601):
        assert get(lines.path(f"g{i}")) == f"id,grp,at,text\n{i},g{i},{i},y\n".encode()
