"""What a record is: one rule for rows files, files of a parent row, ingest files and import. What the rows must be says a slow model."""
import errno
import os
import random

import pytest

from kit import append, put, refused, run, until
from mountkit import rowfs_binary

SQL = """
create table flat (id bigserial primary key, k text not null, a varchar(9) not null, b text, n integer);
create table parent (id integer primary key);
create table child (id bigserial primary key, parent integer not null references parent, a varchar(9) not null, b text, n integer);
create table taken (id bigserial primary key, a varchar(9) not null, b text, n integer);
create table note (id bigserial primary key, k text not null, text text);
create table note_taken (id bigserial primary key, text text);
insert into parent select generate_series(0, 99);
"""
COLUMNS = ["a", "b", "n"]
LAYOUT = {"routes": [
    {"path": "/flat/{k}.csv", "rows": "flat", "columns": COLUMNS, "order": ["id"], "truncate": "refuse"},
    {"path": "/new/{k}.csv", "rows": "flat", "columns": COLUMNS, "order": ["id"]},
    {"path": "/parent/{parent.id}/child.csv", "rows": "child", "columns": COLUMNS, "order": ["id"]},
    {"path": "/in/{name}.csv", "file": True, "ingest": "taken", "columns": COLUMNS},
    {"path": "/note/{k}.csv", "rows": "note", "columns": ["text"], "order": ["id"]},
    {"path": "/note-in/{name}.csv", "file": True, "ingest": "note_taken", "columns": ["text"]}]}

FLAT = "select a, b, n from flat order by id"
CHILD = "select a, b, n from child order by id"
TAKEN = "select a, b, n from taken order by id"


def ways(mount, number):
    """A new file of each kind, and what its table has."""
    for name, query in ((f"flat/{number}.csv", FLAT), (f"parent/{number}/child.csv", CHILD), (f"in/{number}.csv", TAKEN)):
        mount.at(name).parent.mkdir(parents=True, exist_ok=True)
        yield name, query


@pytest.fixture
def m(pg, make_mount):
    pg.sql(SQL)
    return make_mount(layout=LAYOUT)


# -- the model ------------------------------------------------------------------------------------------------------


def field(text, at):
    """One field of TEXT at AT: (value, quoted, where it ends); None if there is none."""
    if text[at:at + 1] != '"':
        end = at
        while end < len(text) and text[end] not in ',"\n':
            end += 1
        return None if text[end:end + 1] == '"' else (text[at:end], False, end)
    value, at = "", at + 1
    while True:
        end = text.find('"', at)
        if end < 0:
            return None
        value += text[at:end]
        if text[end + 1:end + 2] != '"':
            return value, True, end + 1
        value, at = value + '"', end + 2


def row_of(text):
    """The row that TEXT is as one record, without its line end; None: it is none."""
    fields, at = [], 0
    while True:
        one = field(text, at)
        if one is None:
            return None
        fields.append(one[:2])
        at = one[2]
        if at == len(text):
            break
        if text[at] != ",":
            return None
        at += 1
    if len(fields) != 3:
        return None
    a, b, n = (None if value == "" and not quoted else value for value, quoted in fields)
    if a is None or len(a) > 9 or (n is not None and not n.isdigit()):
        return None
    return a, b, None if n is None else int(n)


def is_open(text):
    """TEXT ends inside a quoted field that may be one of its columns."""
    at, index = 0, 0
    while True:
        one = field(text, at)
        if one is None:
            break
        at, index = one[2] + 1, index + 1
        if at > len(text) or text[at - 1] != ",":
            return False
    if text[at:at + 1] != '"' or index > 2:
        return False
    value = text[at + 1:].replace('""', "")
    return '"' not in value and not (index == 0 and len(text[at + 1:].replace('""', '"')) > 9) and not (index == 2 and "\n" in value)


def rows_of(text):
    """All rows of a file."""
    lines, out = text.split("\n"), []
    if lines[-1] == "":
        lines.pop()
    while lines:
        n = 1
        if '"' in lines[0]:
            # the shortest that is a row; if there is none, all that is left may be one that is open
            whole = next((k for k in range(1, len(lines) + 1) if row_of("\n".join(lines[:k])) is not None
                          and (k == 1 or is_open("\n".join(lines[:k - 1]) + "\n"))), None)
            if whole is not None:
                n = whole
            elif all(is_open("\n".join(lines[:k]) + "\n") for k in range(1, len(lines) + 1)) and not any(row_of(line) for line in lines[1:]):
                n = len(lines)
        row = row_of("\n".join(lines[:n]))
        if row is not None:
            out.append(row)
        lines = lines[n:]
    return out


def some_text(rng):
    """Lines of which some are good, some go over several lines, and some have a quote too many or too few."""
    good = ["x", "abc", '"a,b"', '"a\nb"', '"two\nlines"', '"say ""so"""', '""']
    odd = ['"', 'x"', '"x', '"a\n', 'b"', '"y"z', "", '"\n"', '"longer than nine"']
    out = ""
    for i in range(rng.randint(1, 14)):
        fields = [rng.choice(good), rng.choice(good), str(i)]
        if rng.random() < 0.3:
            fields[rng.randrange(3)] = rng.choice(odd)
        out += ",".join(fields) + "\n"
    return out[:-1] if rng.random() < 0.2 else out


def write_cut(path, data, rng):
    """Writes DATA in random pieces. What is told of bad lines is not the question here."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    at = 0
    most = rng.choice([1, 5, 40, 4096]) if len(data) < 200 else 4096
    while at < len(data):
        at += os.write(fd, data[at:at + rng.randint(1, most)])
    try:
        os.close(fd)
    except OSError as e:
        assert e.errno in (errno.EINVAL, errno.EFBIG)


def test_random_records_in_any_cut_by_four_ways(m, pg, seed, tmp_path):
    """Rows files, files of a parent row, ingest files and import see the same records in the same bytes, and those that the model sees."""
    rng = random.Random(seed)
    texts = [some_text(rng) for _ in range(40)]
    want = {i: rows_of(text) for i, text in enumerate(texts)}
    (tmp_path / "flat").mkdir()
    for i, text in enumerate(texts):
        data = text.encode()
        known = pg.one("select coalesce(max(id), 0) from taken")
        for name in (f"flat/w{i}.csv", f"parent/{i}/child.csv", f"in/{i}.csv"):
            m.at(name).parent.mkdir(parents=True, exist_ok=True)
            write_cut(m.at(name), data, rng)
        query = "select a, b, n from taken where id > %s order by id"
        until(lambda: [tuple(r) for r in pg.sql(query, known)] == want[i],  # the last line may come after close
              f"in/{i}: {text!r}: {want[i]}, not {pg.sql(query, known)}", timeout=5)
        (tmp_path / f"flat/i{i}.csv").write_bytes(data)
    run(rowfs_binary(), "import", "--quiet", tmp_path, m.path, ok=False, timeout=120)

    def of(query, *args):
        return [tuple(r) for r in pg.sql(query, *args)]
    for i, rows in want.items():
        for key in (f"w{i}", f"i{i}"):
            until(lambda: of("select a, b, n from flat where k = %s order by id", key) == rows,
                  f"{key}: {texts[i]!r}: {rows}, not {of('select a, b, n from flat where k = %s order by id', key)}", timeout=5)
        until(lambda: of("select a, b, n from child where parent = %s order by id", i) == rows,
              f"child {i}: {texts[i]!r}: {rows}, not {of('select a, b, n from child where parent = %s order by id', i)}", timeout=5)


# -- a first record of two lines ---------------------------------------------------------------------------------------


def test_a_first_record_of_two_lines(m, pg):
    for number, header in enumerate([b"", b"a,b,n\n"], 1):
        for name, query in ways(m, number):
            append(m.at(name), header + b'V,"a\nb",1\nV,"c\r\nd",2\n', chunk=7, sync=True)
            assert pg.sql(query) == [("V", "a\nb", 1), ("V", "c\r\nd", 2)] * number


# -- a quote that does not end ------------------------------------------------------------------------------------------


def good_lines(n):
    return "".join(f"L{i},b,{i}\n" for i in range(n)).encode()


@pytest.mark.parametrize("how", [os.fsync, os.close])
def test_a_stray_quote_costs_its_line(m, pg, how):
    """A line behind it is a row by itself: fsync and close say EINVAL, and the others are committed. A kill loses none of them."""
    data = good_lines(1) + b'X,"open,1\n' + good_lines(998)
    want = [(f"L{i}", "b", i) for i in [0, *range(998)]]
    for number, (name, query) in enumerate(ways(m, 1), 1):
        fd = os.open(m.at(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for at in range(0, len(data), 4096):
            os.write(fd, data[at:at + 4096])
        with refused(errno.EINVAL):
            how(fd)
        assert pg.sql(query) == want
        assert m.kept() == [b'X,"open,1'] * number
        assert "quote" in m.sentence()
        if how == os.fsync:
            os.fsync(fd)  # told once
            os.close(fd)


def test_an_open_quote_is_named_and_committed_when_it_closes(m, pg):
    """No line behind it is a row: fsync says EINVAL with the line, each time, and drops nothing."""
    for name, query in ways(m, 1):
        fd = os.open(m.at(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(fd, b'A,"one\ntwo",1\nB,"first\nsecond\n')
        for _ in range(2):
            m.refuses(lambda: os.fsync(fd), errno.EINVAL, "line 3: a quoted field that began here is not closed yet")
            assert pg.sql(query) == [("A", "one\ntwo", 1)]
        os.write(fd, b'third",2\nC,c,3\n')
        os.fsync(fd)
        os.close(fd)
        assert pg.sql(query) == [("A", "one\ntwo", 1), ("B", "first\nsecond\nthird", 2), ("C", "c", 3)]
    assert m.kept() == []


def test_an_open_quote_in_a_file_of_one_column(m, pg):
    """Each line of it would be a row by itself: it is never judged. close says EINVAL; the last close keeps it in rejected/, in one piece."""
    for name, query in (("note/1.csv", "select text from note order by id"), ("note-in/1.csv", "select text from note_taken order by id")):
        m.at(name).parent.mkdir(parents=True, exist_ok=True)
        append(m.at(name), b'one\n"two\nlines"\n', sync=True)
        assert pg.sql(query) == [("one",), ("two\nlines",)]
        kept = m.kept()
        with refused(errno.EINVAL):
            append(m.at(name), b'"this\nnever\nends\n')
        assert any("a quoted field that began here is not closed yet" in e["message"] and name in e["path"] for e in m.errors())
        until(lambda: m.kept()[len(kept):] == [b'"this\nnever\nends'], "the piece is kept")
        assert pg.sql(query) == [("one",), ("two\nlines",)]


def test_a_replacement_waits_for_its_quote(m, pg):
    """What replaces the rows is one text: a sync in the middle of a record does not cut it."""
    os.makedirs(m / "new", exist_ok=True)
    put(m / "new/1.csv", b"OLD,b,1\n")
    fd = os.open(m / "new/1.csv", os.O_WRONLY | os.O_TRUNC)
    os.write(fd, b'a,b,n\nX,"one\n')
    m.refuses(lambda: os.fsync(fd), errno.EINVAL, "line 2: a quoted field that began here is not closed yet")
    os.write(fd, b"Y,y,2\n")
    m.refuses(lambda: os.fsync(fd), errno.EINVAL, "line 2: a quoted field")
    assert pg.sql(FLAT) == [("OLD", "b", 1)]
    os.write(fd, b'two",3\n')
    os.fsync(fd)
    assert pg.sql(FLAT) == [("X", "one\nY,y,2\ntwo", 3)]
    os.write(fd, b"Z,z,4\n")
    os.close(fd)
    assert pg.sql(FLAT) == [("X", "one\nY,y,2\ntwo", 3), ("Z", "z", 4)]


def test_half_a_line_at_the_fsync_of_a_replacement(m, pg):
    """It waits for its rest, as in a file that is appended to."""
    os.makedirs(m / "new", exist_ok=True)
    put(m / "new/1.csv", b"OLD,b,1\n")
    fd = os.open(m / "new/1.csv", os.O_WRONLY | os.O_TRUNC)
    os.write(fd, b"X,x,1\nY,y,2")
    os.fsync(fd)
    assert pg.sql(FLAT) == [("X", "x", 1)]
    os.write(fd, b"3\n")
    os.close(fd)
    assert pg.sql(FLAT) == [("X", "x", 1), ("Y", "y", 23)]


@pytest.mark.parametrize("n, ask", [(5_000, os.fsync), (120_000, None)], ids=["fsync", "nobody calls fsync"])
def test_a_stray_quote_in_a_long_ingest_file(m, pg, n, ask):
    """The lines behind it are rows at fsync, or after a MiB of them; at close none is missing, and the bad one is told once."""
    data = b'X,"open,1\n' + good_lines(n)
    path = m.at("in/1.csv")
    path.parent.mkdir(exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    for at in range(0, len(data), 1 << 16):
        os.write(fd, data[at:at + (1 << 16)])
    if ask is None:
        until(lambda: pg.one("select count(*) from taken") > n // 2, "lines are rows before the close")
    for call in filter(None, (ask, os.close)):
        if call is ask or ask is None:
            with refused(errno.EINVAL):
                call(fd)
        else:
            call(fd)
        assert pg.one("select count(*) from taken") == n
    assert m.kept() == [b'X,"open,1']
    assert m.bytes("in/1.csv") == data


# -- a byte order mark, and lines that are too long ----------------------------------------------------------------------


def test_a_byte_order_mark_before_a_header_in_another_order(m, pg):
    """The header counts: its columns are not mistaken for others."""
    for name, query in ways(m, 1):
        try:
            append(m.at(name), b"\xef\xbb\xbfb,a,n\nbee,A,1\n")
        except OSError as e:
            assert e.errno == errno.EINVAL and not name.startswith("in/")
        assert pg.sql(query) == [("A", "bee", 1)]


def test_a_line_that_is_too_long_in_any_cut(pg, make_mount):
    """It is refused whether its newline comes with it or later, and costs only itself."""
    pg.sql(SQL)
    mount = make_mount(layout=LAYOUT, options={"max_document": "2M"})
    text = b"A,a,1\nX," + b"x" * (2 << 20) + b",1\nB,b,2\n"
    for number, chunk in enumerate([1 << 21, 1 << 16], 1):
        for name, query in ways(mount, number):
            with refused(errno.EFBIG, errno.EINVAL):
                append(mount.at(name), text, chunk=chunk)
            assert pg.sql(query) == [("A", "a", 1), ("B", "b", 2)] * number
