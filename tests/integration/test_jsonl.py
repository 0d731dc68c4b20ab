"""JSON Lines: lines that nobody waits for are committed by the clock, and files that are named after a row of another table."""
import errno
import json
import os
import subprocess
import sys
import threading

import pytest

import shop as shop_kit
from kit import append, get, refused, rm, until

FAST = {"flush_interval": "0.2"}


def line(n, **more):
    return json.dumps({"n": n, **more}).encode() + b"\n"


def numbers(pg):
    return [r[0] for r in pg.sql("select n from log order by id")]


class Open:
    """A descriptor that stays open."""

    def __init__(self, path, flags=os.O_APPEND):
        self.fd = os.open(path, os.O_WRONLY | flags)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.fd >= 0:
            self.close()

    def write(self, data):
        assert os.write(self.fd, data) == len(data)

    def close(self):
        fd, self.fd = self.fd, -1
        os.close(fd)


@pytest.fixture
def fast(shop_pg, make_mount):
    return shop_kit.Shop(make_mount(layout=shop_kit.LAYOUT, options={"coherence": "ttl=0", **FAST}), shop_pg)


# -- by the clock -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name, body", [("log.jsonl", line(1)), ("log.csv", b"a,1,,\n")])
def test_a_writer_that_does_nothing_more(fast, name, body):
    with Open(fast.m.at(name)) as file:
        file.write(body)
        until(lambda: numbers(fast.pg) == [1], "the line is a row", timeout=5)
        assert get(fast.m.at(name)).count(b"\n") == (1 if name == "log.jsonl" else 2)
        os.fsync(file.fd)
    assert numbers(fast.pg) == [1]


def test_the_default_interval(shop):
    with Open(shop.m.at("log.jsonl")) as file:
        file.write(line(1))
        until(lambda: numbers(shop.pg) == [1], "the line is a row", timeout=5)


def test_half_a_line_waits_for_its_end(fast):
    with Open(fast.m.at("log.jsonl")) as file, Open(fast.m.at("log.jsonl")) as witness:
        file.write(line(1) + line(2)[:4])
        until(lambda: numbers(fast.pg) == [1], "the whole line is a row")
        witness.write(line(3))
        until(lambda: numbers(fast.pg) == [1, 3], "the clock has come by")
        file.write(line(2)[4:])
        until(lambda: numbers(fast.pg) == [1, 3, 2], "the other is one, too")
        file.write(line(4)[:-1])  # an object without its newline
    until(lambda: numbers(fast.pg) == [1, 3, 2, 4], "close makes it a line")


def test_an_object_without_its_newline_is_no_row_at_fsync(shop):
    """1.1, 4.7: it counts when its newline has come, or when its writer closes the file by its own will; fsync is none of these."""
    def fsynced(code):
        code = f"import os, signal; F = os.open({str(shop.m.at('log.jsonl'))!r}, os.O_WRONLY | os.O_APPEND)\n" \
               f"os.write(F, {line(1) + line(2)[:-1]!r}); os.fsync(F)\n{code}"
        subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
        return numbers(shop)
    with Open(shop.m.at("log.jsonl")) as f:
        f.write(line(1) + line(2)[:-1])
        os.fsync(f.fd)
        assert numbers(shop) == [1]
        f.write(b"\n" + line(3))
        os.fsync(f.fd)
        assert numbers(shop) == [1, 2, 3]
    assert fsynced("os.kill(os.getpid(), signal.SIGKILL)") == [1, 2, 3, 1]
    until(lambda: shop.m.kept() == [line(2)[:-1]], "the rest of a killed writer is told")
    assert fsynced("os.close(F)") == [1, 2, 3, 1, 1, 2]


@pytest.mark.parametrize("flags", [os.O_APPEND, os.O_TRUNC])
def test_a_blank_line_says_nothing(shop, flags):
    append(shop.m.at("log.jsonl"), line(1))
    with Open(shop.m.at("log.jsonl"), flags) as file:
        file.write(b"\n" + line(2) + b"\n\r\n" + line(3) + b"\n")
        os.fsync(file.fd)
        assert numbers(shop.pg) == ([1, 2, 3] if flags == os.O_APPEND else [2, 3])
    assert shop.m.errors() == []


def test_what_is_written_anew_is_not_committed_by_halves(fast):
    """The clock leaves alone what replaces the rows."""
    fast.sql("insert into log (n) values (1), (2)")
    with Open(fast.m.at("log.jsonl"), os.O_TRUNC) as file:
        file.write(line(7))
        fast.sql("insert into boxes (id, label) values (1, 'box')")
        with Open(fast.m.at("boxes/1/lids.jsonl")) as witness:
            for n in (1, 2):
                witness.write(line(n))
                until(lambda: fast.one("select count(*) from lid") == n, "the clock has come by")  # noqa: B023
        assert numbers(fast.pg) == [1, 2]
        file.write(line(8))
    assert numbers(fast.pg) == [7, 8]


def test_a_bad_line_is_told_later(fast):
    with Open(fast.m.at("log.jsonl")) as file:
        file.write(line(1) + line("x") + line(2) + b"{no json\n" + line(3))
        until(lambda: numbers(fast.pg) == [1, 2, 3], "the good lines are rows")
        with refused(errno.EINVAL):
            os.fsync(file.fd)
        os.fsync(file.fd)
    kept = [json.loads(x) for x in fast.m.rejected()["log.jsonl.rejected.jsonl"].splitlines()]
    assert sorted((k["line"], k["text"]) for k in kept) == [(2, '{"n": "x"}'), (4, "{no json")]


def test_closed_while_the_clock_comes_by(shop_pg, make_mount):
    """Handles that are made and freed all the time, at an interval as short as can be: each line is a row once."""
    mount = make_mount(layout=shop_kit.LAYOUT, options={"flush_interval": "0.001"})
    told = []

    def work(w):
        try:
            for i in range(60):
                with Open(mount.at("log.jsonl")) as file:
                    file.write(line(1000 * w + 2 * i)[:5])
                    file.write(line(1000 * w + 2 * i)[5:])
                    file.write(line(1000 * w + 2 * i + 1))
        except OSError as e:
            told.append(e)
    threads = [threading.Thread(target=work, args=(w,)) for w in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not told
    got = numbers(shop_pg)
    assert sorted(got) == [1000 * w + i for w in range(6) for i in range(120)]
    for w in range(6):
        assert [n for n in got if n // 1000 == w] == [1000 * w + i for i in range(120)]


def test_the_end_of_the_mount_while_lines_wait(shop_pg, make_mount):
    mount = make_mount(layout=shop_kit.LAYOUT, options={"flush_interval": "3600"})
    fd = os.open(mount.at("log.jsonl"), os.O_WRONLY | os.O_APPEND)
    os.write(fd, line(1))
    assert numbers(shop_pg) == []
    mount.process.terminate()
    assert mount.wait(20) == 0
    with refused(errno.ENOTCONN, errno.ECONNABORTED, errno.EIO):
        os.fsync(fd)
    with refused(errno.ENOTCONN, errno.ECONNABORTED, errno.EIO):
        os.close(fd)
    assert numbers(shop_pg) == [1]
    mount.process = None


# -- files named after a row ---------------------------------------------------------------------------

NAMED = {
    "routes": [
        {"path": "/items/{items.name}/item.json", "row": "items"},
        {"path": "/notes/{items.name}.jsonl", "rows": "parts", "columns": ["label"], "order": ["label", "id"]},
        {"path": "/sheets/{items.name}.csv", "rows": "parts", "columns": ["label", "weight"], "order": ["label", "id"]},
    ],
}


@pytest.mark.parametrize("name, one, two, extra", [
    ("notes/bolt.jsonl", b'{"label":"a"}\n', b'{"label":"b"}\n', b""),
    ("sheets/bolt.csv", b"a,1\n", b"b,2\n", b"label,weight\n"),
])
def test_a_file_named_after_a_row(shop_pg, make_mount, name, one, two, extra):
    shop_pg.sql("insert into items (name) values ('bolt'), ('nut')")
    mount = make_mount(layout=NAMED, options={"coherence": "ttl=0"})
    path = mount.at(name)
    ending = name[name.index("."):]

    def labels():
        return shop_pg.sql("select item, label from parts order by label")

    for n, body in enumerate((one, two), 1):
        append(path, body, sync=True)
        assert labels() == [("bolt", "a"), ("bolt", "b")][:n]
        assert get(path) == extra + (one + two if n == 2 else one)
        assert os.stat(path).st_size == len(get(path))
    shop_pg.sql("insert into parts (item, label, weight) values ('nut', 'c', 1)")
    assert get(mount.at(name.replace("bolt", "nut"))) == extra + one.replace(b"a", b"c").replace(b"lcbel", b"label")
    assert mount.ls(name.split("/")[0]) == ["bolt" + ending, "nut" + ending]
    assert not mount.exists(name.replace("bolt", "rivet"))
    with refused(errno.ENOENT, errno.EINVAL):
        append(mount.at(name.replace("bolt", "rivet")), one, sync=True)
    assert len(labels()) == 3
    rm(path)
    assert [r[1] for r in labels()] == ["c"]
