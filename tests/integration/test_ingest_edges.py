"""Ingest files at their edges: bombs, many files, large files, headers that cannot be used, a database that is away. Each is compared with SQL."""
import errno
import json
import os
import threading
import zlib

import pytest
from ingestkit import HEAD, IMPATIENT, PATH as NAME, fsync_again, short_lines as lines, stamps
from kit import append, put, refused, rss_kib, run, until
from mountkit import clean_env, rowfs_binary, sanitizer_env

# -- many, and large -------------------------------------------------------------------------------------------------


class Peak(threading.Thread):
    """The most memory (KiB) that the daemon had in the block, and before it."""

    def __init__(self, mount):
        super().__init__()
        self.pid, self.ended = mount.process.pid, threading.Event()
        self.before = self.most = rss_kib(self.pid)

    def run(self):
        while not self.ended.wait(0.01):
            self.most = max(self.most, rss_kib(self.pid))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()


def test_five_thousand_files_are_listed_by_pages(make_mount, pg):
    """`ls -l` asks for pages of names, and for no bytes."""
    pg.sql("insert into rowfs.file (dir, name, size, mode) select '/collector', 'S' || to_char(n, 'FM0000') || '_orderbook_1.csv', n, 384 "
           "from generate_series(1, 5000) n;"
           "insert into rowfs.chunk select id, 0, size, false, convert_to(repeat('x', size::int), 'UTF8') from rowfs.file")
    mount = make_mount(options={"fetch_size": 1000, "coherence": "ttl=60"})
    with pg.queries() as seen:
        entries = {e.name: e.stat() for e in os.scandir(mount / "collector")}
    assert {name: (st.st_size, st.st_mode & 0o777) for name, st in entries.items()} == {
        f"S{n:04}_orderbook_1.csv": (n, 0o600) for n in range(1, 5001)}
    assert seen.total <= 30, seen
    assert not [q for q, _ in seen if "chunk" in q]
    assert mount.bytes("collector/S0017_orderbook_1.csv") == b"x" * 17


# the sanitizer must not keep what was freed
LEAN = {"ASAN_OPTIONS": sanitizer_env()["ASAN_OPTIONS"] + ":quarantine_size_mb=1:thread_local_quarantine_size_kb=64"}


def test_memory_of_a_large_file_that_is_renamed(make_mount, pg, long):
    """It is read, compressed and parsed by pieces."""
    mount = make_mount(env=LEAN)
    size = (200 if long else 40) << 20
    piece = lines(0, 20000)
    temp = mount / "collector/large.tmp"
    with open(temp, "wb") as file:
        file.write(HEAD)
        for _ in range(size // len(piece)):
            file.write(piece)
    with Peak(mount) as peak:
        os.rename(temp, mount / NAME)
    assert pg.one("select count(*) from orderbook_data") == size // len(piece) * 20000
    assert os.stat(mount / NAME).st_size == len(HEAD) + size // len(piece) * len(piece)
    assert peak.most - peak.before < 32 << 10, (peak.before, peak.most)


def bomb(piece, times, level=9):
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(piece) for _ in range(times)), packer.flush()])


def test_a_bomb_of_zeros(make_mount, pg, long):
    """A megabyte that is a gigabyte of zeros: one line that is too long. It is told so, the next member's rows are taken, memory stays."""
    mount = make_mount(env=LEAN)
    body = bomb(b"\0" * (1 << 20), 1024 if long else 100) + bomb(b"\r\n" + lines(0, 5), 1)
    with Peak(mount) as peak:
        mount.refuses(lambda: put(mount / f"{NAME}.gz", body), errno.EINVAL, "longer than 1 MiB")
    assert mount.bytes(f"{NAME}.gz") == body and stamps(pg) == list(range(5))
    assert peak.most - peak.before < 32 << 10, (peak.before, peak.most)
    assert sum(map(len, mount.rejected().values())) < 8 << 20


# -- the database is away --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("synced", [False, True])
def test_away_at_the_last_close(make_mount, pg, server, synced):
    """What fsync has acknowledged is there afterwards. What it has not says an errno, and is in rejected/ to the last byte."""
    mount = make_mount(options=IMPATIENT)
    mount.expect("rowfs error")
    first, second = HEAD + lines(0, 100), lines(100, 50)
    fd = os.open(mount / NAME, os.O_WRONLY | os.O_CREAT)
    os.write(fd, first)
    if synced:
        os.fsync(fd)
    os.write(fd, second)
    server.stop("immediate")
    with refused(errno.EIO):
        os.fsync(fd)
    with refused(errno.EIO):
        os.close(fd)
    until(lambda: mount.kept(), "what could not be committed is kept")
    assert b"".join(mount.kept()) == (second if synced else first + second)
    server.start()
    until(lambda: mount.exists(NAME), "the mount answers again")
    assert mount.bytes(NAME) == (first if synced else b"")
    assert stamps(pg) == list(range(100) if synced else [])
    append(mount / NAME, second if synced else first + second)
    assert mount.bytes(NAME) == first + second and stamps(pg) == list(range(150))


def test_away_between_write_and_fsync(make_mount, pg, server):
    """The bytes wait for the next try of the same open file: acknowledged then, they are there once."""
    mount = make_mount(options=IMPATIENT)
    mount.expect("rowfs error")
    fd = os.open(mount / NAME, os.O_WRONLY | os.O_CREAT)
    os.write(fd, HEAD + lines(0, 100))
    server.stop("immediate")
    with refused(errno.EIO):
        os.fsync(fd)
    server.start()
    fsync_again(fd)
    os.close(fd)
    assert mount.bytes(NAME) == HEAD + lines(0, 100) and stamps(pg) == list(range(100))


# -- what the layout may say ------------------------------------------------------------------------------------------


def test_a_table_with_another_key_is_refused_with_a_way_out(pg, tmp_path):
    """Rows are told to be a file's by ids from a sequence: what has none is refused at mount, and says what to do."""
    pg.sql("create table events (id uuid primary key default gen_random_uuid(), what text); create view seen as select * from events")
    for table in ("events", "seen"):
        layout = tmp_path / "layout.json"
        layout.write_text(json.dumps({"routes": [{"path": "/c/{n}.csv", "file": True, "ingest": table}]}))
        done = run(rowfs_binary(), "check", "--layout", layout, pg.conninfo, ok=False, env=clean_env())
        assert done.returncode == 1
        assert f"{table} must be a table whose primary key is one integer column with a sequence" in done.stderr
        assert "bigserial" in done.stderr and "\"rows\" route" in done.stderr, done.stderr


# -- a header that cannot be used ----------------------------------------------------------------------------------------


def test_unknown_names_in_a_header(mount, pg):
    """Read by the default order the fields would be another's: no line is taken. It is told with the name, the others in one line for
    all; the bytes are kept, also after a remount, and a header that can be used takes them."""
    swapped = "symbol,exchange,timestamp,local_timestamp,venue"
    data = "".join(f"S,ex,{i},{i},x\r\n" for i in range(5000))
    body = (swapped + "\r\n" + data).encode()
    mount.refuses(lambda: put(mount / NAME, body), errno.EINVAL, keeps=swapped)
    assert mount.bytes(NAME) == body and stamps(pg) == []
    said = [e["message"] for e in mount.errors()]
    assert said[0].startswith('the header names what is no field of the file: "venue" (no line of it'), said
    assert said[1].startswith("5000 lines from this one on are no rows: the header names") and len(said) == 2, said
    mount.umount()
    mount.start()
    mount.refuses(lambda: append(mount / NAME, lines(0, 3)), errno.EINVAL, "3 lines from this one on", "venue")
    assert mount.bytes(NAME) == body + lines(0, 3) and stamps(pg) == []
    put(mount / NAME, body.replace(b",venue\r\n", b"\r\n").replace(b",x\r\n", b"\r\n"))
    assert stamps(pg) == list(range(5000))
    assert pg.sql("select distinct symbol, exchange from orderbook_data") == [("S", "ex")]


@pytest.mark.parametrize("name", ["gr\xf6\xdfe".encode("latin-1"), b"\xb5", b"a\0b"])
def test_a_header_that_is_no_text_costs_no_bytes(mount, pg, name):
    """As spreadsheets write it, in another encoding. The bytes are kept, and so is the refusal, also after a remount."""
    body = b"exchange,symbol," + name + b",timestamp,local_timestamp\n" + b"ex,S,7,1,1\n"
    with refused(errno.EINVAL):
        put(mount / NAME, body)
    assert mount.bytes(NAME) == body and stamps(pg) == []
    assert "the header names what is no field of the file" in mount.errors()[0]["message"]
    mount.umount()
    mount.start()
    with refused(errno.EINVAL):
        append(mount / NAME, b"ex,S,7,2,2\n")
    assert mount.bytes(NAME) == body + b"ex,S,7,2,2\n" and stamps(pg) == []


def test_a_header_that_would_be_a_row_without_its_bytes(make_mount, pg):
    """After a remount the header is known as the database could keep it; with that text it would be a good row."""
    pg.sql("create table words (id bigserial primary key, a text, b text, c text, d text)")
    mount = make_mount(layout={"routes": [{"path": "/w/{x}.csv", "file": True, "ingest": "words"}]})
    with refused(errno.EINVAL):
        put(mount / "w/x.csv", b"b,\xe4,\xf6,\xfc\n1,2,3,4\n")
    mount.umount()
    mount.start()
    with refused(errno.EINVAL):
        append(mount / "w/x.csv", b"5,6,7,8\n")
    assert mount.bytes("w/x.csv") == b"b,\xe4,\xf6,\xfc\n1,2,3,4\n5,6,7,8\n" and pg.one("select count(*) from words") == 0


@pytest.mark.parametrize("first, said", [("exchange,symbol,symbol,timestamp,local_timestamp", "one column twice"),
                                         ("id,exchange,symbol,timestamp,local_timestamp", '"id"'),
                                         ("\ufeffticker,exchange,symbol,timestamp,local_timestamp,TIMESTAMP", '"ticker", "TIMESTAMP"')])
def test_headers_that_cannot_be_used(mount, pg, first, said):
    body = (first + "\n").encode() + lines(0, 2)
    with open(mount / NAME, "wb", buffering=0) as file:
        for at in range(0, len(body), 7):
            file.write(body[at:at + 7])
        with refused(errno.EINVAL):
            os.fsync(file.fileno())
    assert said in mount.errors()[0]["message"] and stamps(pg) == []
    assert sum("lines from this one on" in e["message"] for e in mount.errors()) == 1
    assert mount.bytes(NAME) == body


def test_a_first_line_that_has_a_name_among_its_values(mount, pg):
    """A row is a row, whatever it says."""
    put(mount / NAME, b"ex,symbol,1,1,,,,\r\n" + lines(2, 2))
    assert stamps(pg) == [1, 2, 3]


# -- too many bad lines --------------------------------------------------------------------------------------------------


def test_too_many_bad_lines_are_told_together(mount, pg):
    """A thousand of them each by itself, the others in one entry with their number and range; the good ones are rows."""
    bad = [b"bad %d" % i for i in range(3000)]
    body = HEAD + lines(0, 5) + b"\n".join(bad) + b"\n" + lines(5, 5)
    with open(mount / NAME, "wb", buffering=0) as file:
        file.write(body)
        with refused(errno.EINVAL):
            os.fsync(file.fileno())
    assert mount.bytes(NAME) == body and stamps(pg) == list(range(10))
    assert mount.kept() == bad[:1001]
    said = mount.errors()[-1]["message"]
    assert said.startswith("this line and 1999 more up to line 3006 are no rows"), said
    last = json.loads(list(mount.rejected().values())[0].decode().splitlines()[-1])
    assert last["line"] == 1 + 5 + 1001 and last["message"] == said
    # the same as one transaction of several pieces
    put(mount / "collector/x.tmp", body[:-len(lines(5, 5))] + b"worse\n" * 200_000 + lines(5, 5))
    os.rename(mount / "collector/x.tmp", mount / NAME)
    assert stamps(pg) == list(range(10))
    assert mount.kept()[1001:] == bad[:1001]
    assert mount.errors()[-1]["message"].startswith("this line and 201999 more up to line 203006 are no rows")


def test_a_bomb_of_blank_lines(make_mount, pg, long):
    """A few kilobytes that are millions of blank lines, each of them a bad one: memory stays, and the rows behind them come."""
    mount = make_mount(env=LEAN)
    body = bomb(b"\n" * (1 << 20), 64 if long else 4) + bomb(lines(0, 5), 1)
    with Peak(mount) as peak:
        mount.refuses(lambda: put(mount / f"{NAME}.gz", body), errno.EINVAL, "more up to line")
    assert mount.bytes(f"{NAME}.gz") == body and stamps(pg) == list(range(5))
    assert peak.most - peak.before < 48 << 10, (peak.before, peak.most)


# -- many chunks ----------------------------------------------------------------------------------------------------------


def test_a_file_of_many_small_chunks_is_read_by_few_statements(make_mount, pg):
    """As a program leaves it that calls fsync after each line: it is read by pieces, from anywhere, to the last byte."""
    mount = make_mount()
    body = HEAD + lines(0, 20_000)
    put(mount / NAME, body)
    file = pg.one("select id from rowfs.file")
    chunks, at = [], 0
    for line in body.splitlines(keepends=True):
        packed = zlib.compress(line * 9) if at % 7 == 0 else None  # some are stored compressed
        text = line * 9 if packed else line
        chunks.append((at, len(text), packed is not None, packed or text))
        at += len(text)
    body = b"".join(zlib.decompress(data) if packed else data for _, _, packed, data in chunks)
    with pg.connect() as conn:
        cursor = conn.cursor()
        cursor.execute("delete from rowfs.chunk")
        cursor.execute("insert into rowfs.chunk select %s, u.* from unnest(%s::bigint[], %s::int[], %s::bool[], %s::bytea[]) as u",
                       (file, *map(list, zip(*chunks))))
        cursor.execute("update rowfs.file set size = %s", (len(body),))
        conn.commit()
    mount.umount()
    mount.start()
    with pg.queries() as seen:
        assert mount.bytes(NAME) == body
    reads = sum(n for q, n in seen if "rowfs.chunk" in q)
    assert 0 < reads <= len(body) // (256 << 10) + 2, (reads, len(body))
    fd = os.open(mount / NAME, os.O_RDONLY)
    for at in (0, 1, 1000, 300_001, len(body) - 5):
        assert os.pread(fd, 5000, at) == body[at:at + 5000], at
    os.close(fd)


def test_a_chunk_that_is_missing_is_told(make_mount, pg):
    """Rows of rowfs.chunk that somebody has deleted: what is before them is read, and the rest says EIO and what to do."""
    mount = make_mount()
    pieces = [HEAD, lines(0, 10), lines(10, 10)]
    for piece in pieces:
        append(mount / NAME, piece)
    mount.umount()
    pg.sql(f"delete from rowfs.chunk where at = {len(HEAD)}")
    mount.start()
    fd = os.open(mount / NAME, os.O_RDONLY)
    assert os.pread(fd, len(HEAD), 0) == HEAD
    mount.refuses(lambda: os.pread(fd, 100, len(HEAD)), errno.EIO, f"the bytes from {len(HEAD)} on are missing", "restore them")
    assert os.pread(fd, len(pieces[2]), len(HEAD + pieces[1])) == pieces[2]
    os.close(fd)
