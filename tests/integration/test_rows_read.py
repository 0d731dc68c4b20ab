"""Reading rows files: whole, from the end, in the middle, while they grow. What a file must hold is said by SQL: COPY of the same rows for
CSV, row_to_json for JSON Lines."""
import io
import os
import random
import subprocess
import threading
from pathlib import Path

import pytest

from kit import get, rss_kib, run, sh, until
from mountkit import sanitizer_env

KINDS = """
create type mood as enum ('good', 'so, so', 'ba"d');
create table kinds (
    id bigint primary key, t text, v varchar(20), c char(6), n numeric(20,8), m numeric, i integer, s smallint, f float8, r real,
    b boolean, e mood, d date, ts timestamp, tz timestamptz, u uuid, j json, jb jsonb, a text[], y bytea, iv interval, ip inet, o "char",
    mo money);
create table lines (id bigint primary key, grp text not null, at bigint not null, text text);
create index on lines (grp, at, id);
create table loose (a integer, b text, text text, unique (a, b));
create table bare (n integer, text text);
create view seen as select id, grp, at, text from lines;
"""
KINDS_COLUMNS = ["id", "t", "v", "c", "n", "m", "i", "s", "f", "r", "b", "e", "d", "ts", "tz", "u", "j", "jb", "a", "y", "iv", "ip", "o", "mo"]
LAYOUT = {
    "tables": {"seen": {"key": ["id"]}},
    "routes": [
        {"path": "/kinds.csv", "rows": "kinds"},
        {"path": "/kinds.jsonl", "rows": "kinds"},
        {"path": "/back.csv", "rows": "kinds", "order": ["b", "ts", "t"]},
        {"path": "/char.csv", "rows": "kinds", "order": ["c"], "columns": ["id", "c"]},
        {"path": "/lines/{grp}.csv", "rows": "lines", "order": ["at", "id"]},
        {"path": "/lines/{grp}.jsonl", "rows": "lines", "order": ["at", "id"]},
        {"path": "/loose.csv", "rows": "loose", "order": ["a", "b"]},
        {"path": "/bare.csv", "rows": "bare"},
        {"path": "/seen.jsonl", "rows": "seen", "order": ["at"]},
    ],
}
ODD = ["", "plain", "a,b", 'q"q', "two\nlines", "cr\rlf", "back\\slash", "\\.", "\\N", "tab\tin", " blank ", "ünï", "'", '"', "\\", "{}"]


def in_table(order):
    """ORDER's columns as the table's: the texts that are selected have the same names."""
    return ", ".join("t." + c.strip() for c in order.split(","))


class Kinds:
    def __init__(self, mount, pg):
        self.m, self.pg, self.sql, self.one = mount, pg, pg.sql, pg.one

    def csv(self, table, columns, order, where="true"):
        """The file that SQL makes: psql's COPY with a header."""
        out = []
        for c in columns:
            kind = self.one(f"select format_type(atttypid, null) from pg_attribute where attrelid = '{table}'::regclass and attname = %s", c)
            out.append(f'trim_scale("{c}") as "{c}"' if kind == "numeric" else f'"{c}"::text')
        with self.pg.connect() as conn, conn.cursor() as cursor:
            cursor.execute("set timezone = 'UTC'")
            data = io.StringIO()
            cursor.copy_expert(f"copy (select {', '.join(out)} from {table} t where {where} order by {in_table(order)}) to stdout (format csv, header)", data)
        return data.getvalue().encode()

    def jsonl(self, table, columns, order, where="true"):
        names = ", ".join(f'"{c}"' for c in columns)
        with self.pg.connect() as conn, conn.cursor() as cursor:
            cursor.execute("set timezone = 'UTC'")
            cursor.execute(f"select row_to_json(x)::text from (select {names} from {table} t where {where} order by {in_table(order)}) x")
            return "".join(row[0] + "\n" for row in cursor.fetchall()).encode()

    def fill(self, n, first=1, grp="g", text="'line ' || i || repeat('x', (i %% 37)::int)"):
        self.sql(f"insert into lines select i, %s, i * 10, {text} from generate_series(%s::bigint, %s::bigint) i", grp, first, first + n - 1)

    def fill_kinds(self, n):
        self.sql("""insert into kinds select i, (%s::text[])[1 + i %% 16], left((%s::text[])[1 + (i / 16) %% 16], 20),
            left((%s::text[])[1 + i %% 5], 6), (i %% 97) / 8.0, case when i %% 3 = 0 then 'NaN' else i * 1.10 end, i - 50, i %% 7, i / 3.0, i / 7.0,
            case i %% 3 when 0 then true when 1 then false end, (enum_range(null::mood))[1 + i %% 4], date '2024-02-28' + i::int %% 500,
            case when i %% 4 > 0 then timestamp '2024-01-01' + i * interval '1.5 s' end,
            timestamptz '2024-01-01 00:00+00' + i * interval '0.001 s', md5(i::text)::uuid, json_build_object('a', i),
            jsonb_build_object('b', (%s::text[])[1 + i %% 16]), array['a,b', null, i::text], decode(md5(i::text), 'hex'),
            i * interval '1 hour 1 s', inet '10.0.0.0' + i, case when i %% 2 = 0 then ',' else 'x' end, i * 1234.5
            from generate_series(1, %s) i""", ODD, ODD, ODD, ODD, n)


@pytest.fixture
def kinds(pg, make_mount):
    pg.sql(KINDS)
    return Kinds(make_mount(layout=LAYOUT, options={"coherence": "ttl=0"}), pg)


@pytest.fixture
def lean(pg, make_mount):
    """What a sanitizer holds back of freed memory is not the program's."""
    pg.sql(KINDS)
    quarantine = sanitizer_env()["ASAN_OPTIONS"] + ":quarantine_size_mb=1"
    return Kinds(make_mount(layout=LAYOUT, options={"coherence": "ttl=0"}, env={"ASAN_OPTIONS": quarantine}), pg)


@pytest.fixture
def pages(pg, make_mount):
    """No connection is left for COPY: everything comes by pages."""
    pg.sql(KINDS)
    return Kinds(make_mount(layout=LAYOUT, options={"coherence": "ttl=0", "max_connections": 1, "min_connections": 1, "fetch_size": 100}), pg)


def copies(kinds):
    """pids of rowfs's connections that hold a COPY."""
    return kinds.pg.backends("query ilike 'copy%%' and state <> 'idle'")


def size(path):
    return os.stat(path).st_size


@pytest.mark.parametrize("n", [0, 1, 999, 1000, 1001, 5000])
def test_every_type_reads_as_sql_says(kinds, n):
    """Up to fetch_size lines come as a page, what is behind them by COPY: both write each type as SQL does."""
    kinds.fill_kinds(n)
    whole = kinds.csv("kinds", KINDS_COLUMNS, "id")
    assert kinds.m.bytes("kinds.csv") == whole
    assert size(kinds.m / "kinds.csv") == len(whole)
    lines = kinds.jsonl("kinds", KINDS_COLUMNS, "id")
    assert kinds.m.bytes("kinds.jsonl") == lines
    assert size(kinds.m / "kinds.jsonl") == len(lines)


def test_orders_that_are_null_odd_or_padded(kinds):
    kinds.fill_kinds(3500)
    assert kinds.m.bytes("back.csv") == kinds.csv("kinds", KINDS_COLUMNS, "b, ts, t, id")
    assert kinds.m.bytes("char.csv") == kinds.csv("kinds", ["id", "c"], "c, id")
    kinds.sql("""insert into loose select nullif(i %% 7, 0), nullif((%s::text[])[1 + i %% 16], 'plain'), i::text || '\\'
        from generate_series(1, 3000) i on conflict do nothing""", ODD)
    kinds.sql("insert into loose values (null, null, 'one'), (null, 'x', 'two'), (9, null, 'three')")
    assert kinds.m.bytes("loose.csv").splitlines()[0] == b"a,b,text"
    kinds.sql("insert into bare select i, repeat('b', i % 50) from generate_series(1, 4000) i")
    assert kinds.m.bytes("bare.csv") == kinds.csv("bare", ["n", "text"], "ctid")
    kinds.fill(3000)
    assert kinds.m.bytes("seen.jsonl") == kinds.jsonl("seen", ["id", "grp", "at", "text"], "at, id")


def test_pages_alone_read_the_same(pages):
    pages.fill_kinds(1500)
    assert pages.m.bytes("kinds.csv") == pages.csv("kinds", KINDS_COLUMNS, "id")
    assert pages.m.bytes("back.csv") == pages.csv("kinds", KINDS_COLUMNS, "b, ts, t, id")
    assert pages.m.bytes("kinds.jsonl") == pages.jsonl("kinds", KINDS_COLUMNS, "id")
    assert run("tail", "-n", "3", pages.m / "kinds.jsonl").stdout.encode() == b"".join(
        pages.jsonl("kinds", KINDS_COLUMNS, "id").splitlines(True)[-3:])


def test_orders_seek_like_the_whole(kinds):
    """Any place of files whose order has NULLs and odd texts, from the end and in the middle."""
    kinds.fill_kinds(9000)
    for name, order in (("back.csv", "b, ts, t, id"), ("kinds.jsonl", "id")):
        whole = kinds.m.bytes(name)
        rng = random.Random(4)
        for _ in range(25):
            fd = os.open(kinds.m / name, os.O_RDONLY)
            at, n = rng.randrange(len(whole) + 10), rng.choice([1, 100, 5000, 200000])
            got = os.pread(fd, n, at)
            os.close(fd)
            assert got == whole[at:at + n], (name, at, n)


PROGRAMS = ["head -n 1", "head -n 1500", "head -c 100000", "tail -n 1", "tail -n 3", "tail -n 1500", "tail -n +70000", "tail -c 1", "tail -c 5000",
            "tail -c 3000000", "tail -c +2500001", "wc -c", "wc -l", "md5sum", "tac", "tail -n 100000"]


@pytest.mark.parametrize("ext", ["csv", "jsonl"])
def test_programs_read_as_from_a_plain_file(kinds, tmp_path, ext):
    kinds.fill(80000)
    make = kinds.csv if ext == "csv" else kinds.jsonl
    (tmp_path / f"g.{ext}").write_bytes(make("lines", ["id", "grp", "at", "text"], "at, id"))
    for program in PROGRAMS:
        want = sh(f"{program} <g.{ext}" if program == "md5sum" else f"{program} g.{ext}", cwd=tmp_path).stdout
        got = sh(f"{program} <g.{ext}" if program == "md5sum" else f"{program} g.{ext}", cwd=kinds.m / "lines").stdout
        assert got == want, program
    for bs, skip, count in [(1, 12345, 10), (512, 1000, 3), (4096, 200, 20), (65536, 20, 2), (1 << 20, 1, 1), (1 << 20, 2, 9), (777, 5000, 100)]:
        words = f"dd if=g.{ext} bs={bs} skip={skip} count={count} status=none | md5sum"
        assert sh(words, cwd=kinds.m / "lines").stdout == sh(words, cwd=tmp_path).stdout, words


@pytest.mark.parametrize("seed", range(3))
def test_preads_at_any_place_by_one_handle_and_many(kinds, seed):
    kinds.fill(60000)
    whole = kinds.csv("lines", ["id", "grp", "at", "text"], "at, id")
    rng = random.Random(seed)
    path = kinds.m / "lines/g.csv"
    fd = os.open(path, os.O_RDONLY)
    for step in range(120):
        at = rng.choice([rng.randrange(len(whole)), max(0, len(whole) - rng.randrange(20000)), rng.randrange(3000), len(whole), len(whole) + 7])
        n = rng.choice([1, 10, 4096, 50000, 1 << 20])
        if rng.random() < 0.2:
            other = os.open(path, os.O_RDONLY)
            assert os.pread(other, n, at) == whole[at:at + n], (seed, step, at, n)
            os.close(other)
        else:
            assert os.pread(fd, n, at) == whole[at:at + n], (seed, step, at, n)
    os.close(fd)


def test_threads_on_one_handle(kinds):
    kinds.fill(40000)
    whole = kinds.csv("lines", ["id", "grp", "at", "text"], "at, id")
    fd, wrong = os.open(kinds.m / "lines/g.csv", os.O_RDONLY), []

    def reader(seed):
        rng = random.Random(seed)
        for _ in range(30):
            at, n = rng.randrange(len(whole)), rng.choice([100, 8192, 300000])
            if os.pread(fd, n, at) != whole[at:at + n]:
                wrong.append((seed, at, n))
    threads = [threading.Thread(target=reader, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    os.close(fd)
    assert not wrong


def test_more_readers_than_connections(kinds):
    """Readers who pause hold their places; half of the pool's connections is all that they can hold."""
    kinds.fill(30000)
    whole = kinds.csv("lines", ["id", "grp", "at", "text"], "at, id")
    fds = [os.open(kinds.m / "lines/g.csv", os.O_RDONLY) for _ in range(25)]
    parts = [b""] * len(fds)
    while any(len(p) < len(whole) for p in parts):
        for i, fd in enumerate(fds):
            parts[i] += os.read(fd, 300000)
        assert len(copies(kinds)) <= 5
    assert all(p == whole for p in parts)
    for fd in fds:
        os.close(fd)


def test_a_reader_that_pauses_gives_its_connection_back(kinds):
    kinds.fill(200000)
    with open(kinds.m / "lines/g.csv", "rb", buffering=0) as f:
        first = f.read(1 << 20)
        assert copies(kinds)
        until(lambda: not copies(kinds), "the COPY is ended")
        rest = b"".join(iter(lambda: f.read(1 << 20), b""))
    assert first + rest == kinds.csv("lines", ["id", "grp", "at", "text"], "at, id")


def test_an_open_file_follows_what_is_appended(kinds):
    kinds.fill(5000)
    path = kinds.m / "lines/g.csv"
    with open(path, "rb", buffering=0) as f:
        seen = b"".join(iter(lambda: f.read(65536), b""))
        for i in range(20):
            kinds.fill(1 + i * 70, first=10000 + 2000 * i)
            seen += b"".join(iter(lambda: f.read(65536), b""))
        assert seen == kinds.csv("lines", ["id", "grp", "at", "text"], "at, id")
        kinds.sql("insert into lines values (1000000, 'g', 5, 'before what was read')")
        assert f.read(65536) == b""  # not seen until it is read anew ...
        kinds.fill(1, first=900000)
        assert f.read(65536) == kinds.csv("lines", ["id", "grp", "at", "text"], "at, id", "id = 900000").splitlines(True)[1]
    assert get(path) == kinds.csv("lines", ["id", "grp", "at", "text"], "at, id")  # ... but then


def test_tail_f_shows_each_line_once_and_whole(kinds, tmp_path):
    kinds.fill(3000)
    out = tmp_path / "out"
    with open(out, "wb") as f:
        tail = subprocess.Popen(["tail", "-f", "-s", "0.02", "-n", "+1", kinds.m / "lines/g.csv"], stdout=f)
    try:
        numbers, lock = iter(range(3001, 3301)), threading.Lock()

        def writer():
            with kinds.pg.connect() as conn, conn.cursor() as cursor:
                while True:
                    with lock:  # the order of commits is the order of lines
                        i = next(numbers, None)
                        if i is None:
                            return
                        cursor.execute("insert into lines select i, 'g', i * 10, repeat('y', (i %% 300)::int) from generate_series(%s, %s) i",
                                       (i * 10, i * 10 + i % 5))
                        conn.commit()
        threads = [threading.Thread(target=writer) for _ in range(3)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        whole = kinds.csv("lines", ["id", "grp", "at", "text"], "at, id")
        until(lambda: out.stat().st_size >= len(whole), "tail has shown all", timeout=20)
        assert out.read_bytes() == whole
    finally:
        tail.kill()
        tail.wait()


def test_rows_that_change_while_they_are_read(kinds):
    """Lines grow and shrink, and go, under a reader: it sees whole lines, none twice, in order."""
    kinds.fill(60000)
    with open(kinds.m / "lines/g.csv", "rb", buffering=0) as f:
        text = f.read(100000)
        kinds.sql("update lines set text = text || 'longer' where id % 3 = 0")
        kinds.sql("delete from lines where id % 7 = 0")
        kinds.sql("update lines set text = '' where id % 5 = 0")
        text += b"".join(iter(lambda: f.read(99999), b""))
    ids = []
    for line in text.decode().splitlines()[1:]:
        n, grp, at, rest = line.split(",", 3)
        assert grp == "g" and int(at) == int(n) * 10 and (rest == '""' or rest.startswith(f"line {n}")), line
        ids.append(int(n))
    assert ids == sorted(set(ids))
    assert get(kinds.m / "lines/g.csv") == kinds.csv("lines", ["id", "grp", "at", "text"], "at, id")


def test_a_reader_outlives_its_connection(kinds):
    kinds.fill(200000)
    with open(kinds.m / "lines/g.csv", "rb", buffering=0) as f:
        text = f.read(1 << 20)
        for pid in copies(kinds):
            kinds.pg.admin(f"select pg_terminate_backend({pid})")
        text += b"".join(iter(lambda: f.read(1 << 18), b""))
    assert text == kinds.csv("lines", ["id", "grp", "at", "text"], "at, id")


def test_lines_of_any_length(lean):
    """Pages end by bytes, too: lines of a megabyte do not come by the thousand."""
    before = rss_kib(lean.m.process.pid)
    lean.sql("insert into lines select i, 'big', i, repeat(chr(97 + i % 26), 1000000) from generate_series(1, 60) i")
    whole = lean.csv("lines", ["id", "grp", "at", "text"], "at, id", "grp = 'big'")
    assert lean.m.bytes("lines/big.csv") == whole
    fd = os.open(lean.m / "lines/big.csv", os.O_RDONLY)
    for at in (len(whole) - 10, len(whole) - 1500000, 30000000, 5):
        assert os.pread(fd, 100000, at) == whole[at:at + 100000]
    os.close(fd)
    assert rss_kib(lean.m.process.pid) - before < 40_000  # of 60 MB


def test_few_statements(kinds):
    """Whatever the file's size: a head is a page; a whole is a page, a COPY and a look at the end; a tail is one statement."""
    kinds.fill(150000)
    path = kinds.m / "lines/g.csv"
    os.stat(path)

    def read(at, n):
        with kinds.pg.queries() as seen:
            fd = os.open(path, os.O_RDONLY)
            os.pread(fd, n, at)
            os.close(fd)
        return [q for q, _ in seen if "lines" in q and "string_agg" not in q and ('ORDER BY t0."at"' in q)]
    end = size(path)
    assert len(read(0, 4096)) == 1
    assert len(read(end - 1000, 1000)) == 1
    assert len(read(end - 500000, 1000)) <= 3  # a page, and for short lines a walk back from it
    with kinds.pg.queries() as seen:
        get(path)
    pages = [(q, n) for q, n in seen if 'ORDER BY t0."at"' in q]
    assert sum(n for _, n in pages) <= 4, pages


def test_memory_is_flat(lean):
    lean.fill(20000)
    get(lean.m / "lines/g.csv")  # the threads that serve have their stacks
    pid = lean.m.process.pid

    def peak():
        text = Path(f"/proc/{pid}/status").read_text()
        return int(text.split("VmHWM:")[1].split()[0])
    before = peak()
    lean.fill(int(os.environ.get("ROWFS_READ_ROWS", "600000")), first=40000, grp="g")
    whole = size(lean.m / "lines/g.csv")
    total = 0
    with open(lean.m / "lines/g.csv", "rb", buffering=0) as f:
        while part := f.read(1 << 17):
            total += len(part)
        for at in range(0, whole, whole // 20):
            f.seek(at)
            f.read(4096)
    assert total == whole > 25_000_000
    assert peak() - before < 24_000 < whole // 1024
