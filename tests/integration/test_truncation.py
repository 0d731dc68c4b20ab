"""Truncation: what was cut away stays away, and what was not cut stays. The same calls on a plain directory say what a file must have in it."""
import errno
import os
import re

import pytest

from ingestkit import HEAD, IMPATIENT, NAME, lines, parse, rows
from kit import refused, until
from test_ingest_sending import GATE

SQL = """
create table bars (id bigserial primary key, sym text not null, n bigint not null check (n >= 0), memo text);
create table notes (id bigserial primary key, n bigint not null check (n >= 0));
create table keys (k bigint primary key, n bigint);
create table bare (n bigint);
create table grouped (id bigserial primary key, g integer not null, sym text, n bigint, memo text);
"""
LAYOUT = {"routes": [
    {"path": "/bars.csv", "rows": "bars", "columns": ["sym", "n", "memo"], "order": ["id"]},
    {"path": "/notes.jsonl", "rows": "notes", "columns": ["n"], "order": ["id"]},
    {"path": "/g/{grouped.g}.csv", "rows": "grouped", "columns": ["sym", "n", "memo"], "order": ["id"]},
    {"path": "/keys.csv", "rows": "keys", "columns": ["k", "n"]},
    {"path": "/bare.csv", "rows": "bare", "columns": ["n"]},
    {"path": "/log.csv", "rows": "bars", "columns": ["sym", "n", "memo"], "order": ["id"], "truncate": "refuse"},
    {"path": "/in/bars.csv", "file": True, "ingest": "bars", "columns": ["sym", "n", "memo"]},
]}
LINES = {"bars.csv": "A,{},x\n", "notes.jsonl": '{{"n":{}}}\n', "in/bars.csv": "A,{},x\n"}


@pytest.fixture
def bars(pg, make_mount):
    pg.sql(SQL)
    return make_mount(layout=LAYOUT, options={"flush_interval": "0.2"})


@pytest.fixture
def plain(tmp_path):
    """A plain directory with the same names, to which the same calls are made."""
    (tmp_path / "in").mkdir()
    return tmp_path


def numbers(pg, name):
    table, order = {"notes.jsonl": ("notes", "id"), "keys.csv": ("keys", "k"), "bare.csv": ("bare", "ctid"), "g/1.csv": ("grouped", "id")}.get(name, ("bars", "id"))
    return [n for (n,) in pg.sql(f"select n from {table} order by {order}")]


def numbers_of(path):
    """The numbers of the lines of a plain file."""
    return [int(re.findall(r"\d+", line)[-1]) for line in path.read_text().splitlines()]


def committed_by_the_clock(pg, mount):
    """Waits until whatever was written before is committed, if it ever will be: the clock has come round for a line behind it."""
    fd = os.open(mount.at("log.csv"), os.O_WRONLY | os.O_APPEND)
    try:
        for n in (777, 778):  # the first may be taken along by a batch of the lines before
            os.write(fd, f"Z,{n},\n".encode())
            until(lambda: pg.one(f"select count(*) from bars where n = {n}") == 1, "the clock commits")
    finally:
        os.close(fd)
    pg.sql("delete from bars where sym = 'Z'")


def cut_through_the_same(path, line):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for n in (1, 2, 3):
        os.write(fd, line.format(n).encode())
    os.ftruncate(fd, 0)
    os.write(fd, line.format(4).encode())
    os.close(fd)


def cut_by_path(path, line):
    """As logrotate's copytruncate does while the writer goes on."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for n in (1, 2, 3):
        os.write(fd, line.format(n).encode())
    os.truncate(path, 0)
    os.write(fd, line.format(4).encode())
    os.close(fd)


def cut_through_another(path, line):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for n in (1, 2, 3):
        os.write(fd, line.format(n).encode())
    other = os.open(path, os.O_RDWR)
    os.ftruncate(other, 0)
    os.fsync(other)
    os.close(other)
    os.write(fd, line.format(4).encode())
    os.close(fd)


def cut_by_opening(path, line):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for n in (1, 2, 3):
        os.write(fd, line.format(n).encode())
    other = os.open(path, os.O_WRONLY | os.O_TRUNC)
    os.write(other, line.format(5).encode())
    os.close(other)
    os.write(fd, line.format(4).encode())
    os.close(fd)


def cut_in_half_a_line(path, line):
    text = line.format(3).encode()
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, line.format(1).encode() + text[:3])
    os.truncate(path, 0)
    os.write(fd, line.format(4).encode())
    os.close(fd)


CUTS = [cut_through_the_same, cut_by_path, cut_through_another, cut_by_opening, cut_in_half_a_line]


@pytest.mark.parametrize("cut", CUTS)
def test_what_was_cut_away_stays_away(bars, plain, pg, cut):
    for name, line in LINES.items():
        (plain / name).touch()
        for path in (plain / name, bars.at(name)):
            cut(path, line)
        committed_by_the_clock(pg, bars)
        assert (name, numbers(pg, name)) == (name, numbers_of(plain / name))
        pg.sql("delete from bars")
    assert bars.errors() == []


def test_a_refused_line_that_was_cut_away(bars, pg):
    """The line that the server refuses is among those that were cut: the mount lives, and close has nothing to say of the others."""
    fd = os.open(bars.at("bars.csv"), os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"A,1,x\nA,-2,refused\nA,3,x\n")
    os.ftruncate(fd, 0)
    os.write(fd, b"A,4,x\n")
    os.close(fd)
    committed_by_the_clock(pg, bars)
    assert numbers(pg, "bars.csv") == [4]
    assert bars.alive()


def test_another_header_behind_the_cut(bars, pg):
    """Fields are what the new header says. The first line gets the row that was cut, and what the text leaves out of it stays (4.11)."""
    fd = os.open(bars.at("bars.csv"), os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"memo,sym,n\nx,A,1\n")
    os.ftruncate(fd, 0)
    os.write(fd, b"n,sym\n2,B\n")
    os.fsync(fd)
    os.write(fd, b"3,C\n")
    os.close(fd)
    assert pg.sql("select sym, n, memo from bars order by n") == [("B", 2, "x"), ("C", 3, None)]


def test_what_is_cut_stays_if_the_new_text_is_refused(bars, pg):
    """Lines that another one has written and not synced are rows first, so that a refused replacement loses none of them."""
    fd = os.open(bars.at("bars.csv"), os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"A,1,x\nA,2,x\n")
    with refused(errno.EINVAL):
        bars.write("bars.csv", "A,3,x\nA,none,x\n")
    assert numbers(pg, "bars.csv") == [1, 2]
    os.close(fd)


def test_a_layout_that_refuses_truncation(bars, pg):
    fd = os.open(bars.at("log.csv"), os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"A,1,x\nA,2")
    for cut in (lambda: os.ftruncate(fd, 0), lambda: os.truncate(bars.at("log.csv"), 0), lambda: os.open(bars.at("log.csv"), os.O_WRONLY | os.O_TRUNC)):
        with refused(errno.EPERM):
            cut()
    os.write(fd, b",x\n")
    os.close(fd)
    assert numbers(pg, "bars.csv") == [1, 2]


def test_a_truncation_to_the_length_that_the_file_has(bars, pg):
    """As rsync --append and pre-allocating programs make it. Also where the bytes are not those that rowfs would show."""
    fd = os.open(bars.at("bars.csv"), os.O_RDWR)
    end = os.lseek(fd, 0, os.SEEK_END)
    text = b"A,1,x\r\nA,2,x\r\nA,3"
    os.write(fd, text)
    os.ftruncate(fd, end + len(text))
    os.write(fd, b",x\n")
    os.fsync(fd)
    os.ftruncate(fd, end + len(text) + 3)
    os.close(fd)
    assert numbers(pg, "bars.csv") == [1, 2, 3]
    os.truncate(bars.at("bars.csv"), bars.at("bars.csv").stat().st_size)
    assert numbers(pg, "bars.csv") == [1, 2, 3] and bars.errors() == []


def test_a_cut_of_what_may_be_committed(make_mount, pg):
    """The answer to the first commit is lost; it takes place while the file is cut."""
    conninfo = f"{pg.conninfo} options='-c client_connection_check_interval=1h'"
    mount = make_mount(conninfo=conninfo, options={**IMPATIENT, "transaction_timeout": 1, "flush_interval": "60"})
    mount.expect(r"rowfs error .*")
    pg.sql(GATE)
    gate = pg.connect()
    gate.cursor().execute("select pg_advisory_lock(77)")
    fd = os.open(mount.at(f"collector/{NAME}"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(fd, HEAD + lines(0, 1).replace(b"BTCUSDT", b"GATE"))
        with pytest.raises(OSError) as e:
            os.fsync(fd)
        assert e.value.errno in (errno.EIO, errno.ETIMEDOUT)
        gate.close()
        until(lambda: pg.one("select count(*) from orderbook_data") == 1, "it is committed after all")
        os.ftruncate(fd, 0)
        os.write(fd, HEAD + lines(1, 2))
        os.fsync(fd)
    finally:
        os.close(fd)
    assert mount.bytes(f"collector/{NAME}") == HEAD + lines(1, 2)
    assert rows(pg) == parse(lines(1, 2))


def test_a_truncation_by_path_that_fails_leaves_no_writer(bars, pg):
    """What its writer leaves as half a line at the last close goes to rejected/: also if a truncation by path had failed before."""
    path = bars.at("in/bars.csv")
    bars.write("in/bars.csv", "A,1,x\n")
    for _ in range(3):
        with pytest.raises(OSError):
            os.truncate(path, 1 << 62)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"A,2")
    with refused(errno.EINVAL):
        os.close(fd)
    until(lambda: bars.rejected() != {}, "the half line is kept in rejected/")


@pytest.mark.parametrize("how", ["by path", "by another open file"])
def test_a_text_that_was_to_replace_the_file_is_cut_away(bars, plain, pg, how):
    """Nothing of it was committed. Its program goes on behind it, as one that appends."""
    for top in (bars, plain):
        path = top.at("bars.csv") if top is bars else top / "bars.csv"
        path.write_text("A,1,x\nA,2,x\n")
        with open(path, "ab") as f:
            f.truncate(0)
            f.write(b"A,3,x\nA,4,x\n")
            f.flush()
            if how == "by path":
                os.truncate(path, 0)
            else:
                with open(path, "wb"):
                    pass
            if top is bars:
                until(lambda: numbers(pg, "bars.csv") == [], "the truncation is committed")
            f.write(b"A,5,x\n")
    assert numbers(pg, "bars.csv") == numbers_of(plain / "bars.csv") == [5]


@pytest.mark.parametrize("text", [b"", b"A,3,x\n"], ids=["emptied", "written anew"])
def test_a_second_cut_takes_what_others_have_appended_along(bars, plain, pg, text):
    """The first one, by the same open file, is not committed yet."""
    for top in (bars, plain):
        path = top.at("bars.csv") if top is bars else top / "bars.csv"
        path.write_text("A,1,x\n")
        with open(path, "ab") as other, open(path, "ab") as f:
            f.truncate(0)
            other.write(b"A,2,x\n")
            other.flush()
            f.write(text)
            f.flush()
            f.truncate(0)
            f.write(b"A,4,x\n")
            f.flush()
            os.fsync(f.fileno())
    assert numbers(pg, "bars.csv") == numbers_of(plain / "bars.csv") == [4]


@pytest.mark.parametrize("text", [False, True], ids=["emptied", "written anew"])
@pytest.mark.parametrize("how", ["opened", "cut"])
@pytest.mark.parametrize("name", ["bars.csv", "notes.jsonl", "keys.csv", "bare.csv"])
def test_what_others_write_behind_a_cut_stays(bars, plain, pg, name, how, text):
    """A program has cut the file, and closes it later; meanwhile another one appends, and syncs. While a transaction is under way that has begun
    before the rows came, and with rows that were frozen since."""
    line = {"notes.jsonl": '{{"n":{}}}\n', "keys.csv": "{0},{0}\n", "bare.csv": "{}\n"}.get(name, "A,{},x\n").format
    with pg.connect() as conn, conn.cursor() as cur:
        cur.execute("select pg_current_xact_id()")
        for top in (bars, plain):
            path = top.at(name) if top is bars else top / name
            path.write_text(line(1) + line(2))
            if top is bars:
                pg.sql("vacuum freeze")
            with open(path, "ab") as other:
                f = os.open(path, os.O_WRONLY | os.O_APPEND | (os.O_TRUNC if how == "opened" else 0))
                if how == "cut":
                    os.ftruncate(f, 0)
                other.write(line(3).encode())
                other.flush()
                os.fsync(other.fileno())
                with open(path, "ab") as third:
                    third.write(line(4).encode())
                if text:
                    os.write(f, line(5).encode())
                os.close(f)
                if top is bars:
                    until(lambda: 1 not in numbers(pg, name), "the cut is committed")
                other.write(line(6).encode())
    assert numbers_of(plain / name) == [3, 4, *[5] * text, 6]
    # a new text gets the rows that are there (4.11), and is read where they stand
    order = sorted if text else list
    assert order(numbers(pg, name)) == order(numbers_of(plain / name))
    assert bars.errors() == []


@pytest.mark.parametrize("name", ["g/1.csv", "bars.csv"])
def test_a_cut_of_a_file_that_has_only_a_writer(bars, plain, pg, name):
    """A file of a group that has no lines has no name, once its writer has synced: who opens it then makes it."""
    (plain / "g").mkdir()
    for top in (bars, plain):
        path = top.at(name) if top is bars else top / name
        fd = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.ftruncate(fd, 0)
        os.fsync(fd)
        os.write(fd, b"A,1,x\n")
        with open(path, "wb"):
            pass
        if top is bars:
            until(lambda: numbers(pg, name) == [], "the cut is committed")
        with open(path, "ab") as f:
            f.write(b"A,2,x\n")
        os.close(fd)
    assert numbers(pg, name) == numbers_of(plain / name) == [2]


def test_what_others_write_to_another_file_of_the_rows_behind_a_cut_stays(bars, pg):
    bars.write("bars.csv", "A,1,x\nA,2,x\n")
    with open(bars.at("bars.csv"), "wb"):
        with open(bars.at("log.csv"), "ab") as f:
            f.write(b"A,3,x\n")
    until(lambda: 1 not in numbers(pg, "bars.csv"), "the cut is committed")
    assert numbers(pg, "bars.csv") == [3]


def test_a_second_cut_by_a_program_whose_first_one_is_committed(bars, plain, pg):
    """For it the file still ends at 0; but another one has appended."""
    for top in (bars, plain):
        path = top.at("bars.csv") if top is bars else top / "bars.csv"
        path.write_text("A,1,x\n")
        with open(path, "ab") as other, open(path, "ab") as f:
            f.truncate(0)
            os.fsync(f.fileno())
            other.write(b"A,2,x\n")
            other.flush()
            f.truncate(0)
            other.write(b"A,3,x\n")
    assert numbers(pg, "bars.csv") == numbers_of(plain / "bars.csv") == [3]


@pytest.mark.parametrize("name", ["bars.csv", "notes.jsonl"])
@pytest.mark.parametrize("synced", [False, True])
def test_a_cut_to_where_an_appender_stands_is_none(bars, pg, plain, name, synced):
    """Another one has appended since the first has emptied the file: the first stands behind that line and its own."""
    for top in (plain, bars.path):
        one, two = (os.open(top / name, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644) for _ in range(2))
        os.write(one, LINES[name].format(1).encode())
        os.fsync(one)
        os.ftruncate(one, 0)
        os.write(two, LINES[name].format(2).encode())
        os.write(one, LINES[name].format(3).encode())
        if synced:
            os.fsync(one)
        os.ftruncate(one, os.lseek(one, 0, os.SEEK_CUR))
        os.write(one, LINES[name].format(4).encode())
        os.close(one)
        os.close(two)
    text = (plain / name).read_text()
    assert "".join(LINES[name].format(n) for n in (2, 3, 4)) == text
    assert sorted(numbers(pg, name)) == [2, 3, 4]
    assert not bars.errors()
