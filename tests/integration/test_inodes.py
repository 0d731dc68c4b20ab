"""Inode numbers: small enough for every program, one for each file, and another one for a file that takes a name over."""
import os
import subprocess

import pytest
import shop as shop_kit

from ingestkit import layout as ingest_layout
from ingestkit import lines
from kit import append, put

NODE_SAFE = 2**53  # JavaScript's Number.MAX_SAFE_INTEGER is one less


NAMES = ["t.txt", "c/t.tmp", "c/t.csv"]  # a plain file, one beside a route, an ingest file


@pytest.fixture
def mount(make_mount, pg):
    pg.one("select 1")
    return make_mount(layout=ingest_layout())


def ino(path):
    """As stat says it, and the same by an open file and by a listing."""
    number = os.stat(path).st_ino
    fd = os.open(path, os.O_RDONLY)
    try:
        assert os.fstat(fd).st_ino == number
    finally:
        os.close(fd)
    assert {e.name: e.inode() for e in os.scandir(path.parent)}[path.name] == number
    return number


def test_all_fit_into_53_bits_and_differ(shop_pg, make_mount):
    shop_pg.sql("insert into items (name) select 'n' || g from generate_series(1, 20) g")
    m = make_mount(layout=shop_kit.LAYOUT)
    m.write("plain.txt", "x")
    m.mkdir("plain.d")
    os.symlink("plain.txt", m / "plain.link")
    found = {str(p): p.lstat().st_ino for p in m.path.rglob("*")}
    assert len(found) > 100
    assert [p for p, n in found.items() if not 1 < n < NODE_SAFE] == []
    assert len(set(found.values())) == len(found)
    assert os.stat(m.path).st_ino == 1


def test_ingest_and_plain_numbers_fit(mount):
    for name in NAMES:
        put(mount / name, lines(0, 1))
    numbers = [ino(mount / name) for name in NAMES]
    assert all(1 < n < NODE_SAFE for n in numbers) and len(set(numbers)) == len(NAMES)


def test_a_file_that_is_made_anew_has_a_new_number(mount):
    """Again and again at the same name: a disk gives the number of a removed file to the next one."""
    for name in NAMES:
        path, seen = mount / name, []
        for i in range(8):
            put(path, lines(i, 1))
            seen.append(ino(path))
            os.unlink(path)
        assert len(set(seen)) == len(seen)


def test_rotated_by_rename_and_by_copy(mount, tmp_path):
    """The same as on a disk: a rename takes the number along, O_TRUNC and appending keep it, what is renamed onto the name brings its own."""
    for path in (*[mount / name for name in NAMES], tmp_path / "t.csv"):
        put(path, lines(0, 1))
        first = ino(path)
        append(path, lines(1, 1))
        put(path, lines(2, 1))
        os.truncate(path, 0)
        assert ino(path) == first
        rotated = path.with_name(path.name + ".1")
        os.rename(path, rotated)
        put(path, lines(3, 1))
        second = ino(path)
        assert ino(rotated) == first != second
        new = path.with_name(path.name + ".2")
        put(new, lines(4, 1))
        third = ino(new)
        os.rename(new, path)
        assert ino(path) == third and len({first, second, third}) == 3


def test_who_has_a_removed_file_open_keeps_its_number(mount):
    for name in NAMES:
        path = mount / name
        put(path, lines(0, 1))
        number = ino(path)
        fd = os.open(path, os.O_RDONLY)
        os.unlink(path)
        put(path, lines(1, 1))
        assert os.fstat(fd).st_ino == number != ino(path)
        os.close(fd)


def test_tail_follows_a_file_that_is_removed_and_made_anew(mount):
    """The new file is longer than the old one: only the number tells it."""
    for name in ("t.txt", "c/t.csv"):
        path = mount / name
        put(path, lines(0, 1))
        tail = subprocess.Popen(["tail", "-n", "+1", "-F", "-s", "0.05", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            assert tail.stdout.readline() == lines(0, 1)
            os.unlink(path)
            put(path, lines(1, 3))
            assert [tail.stdout.readline() for _ in range(3)] == lines(1, 3).splitlines(keepends=True)
        finally:
            tail.kill()
            tail.wait()


def test_ingest_numbers_are_the_same_at_every_mount(make_mount, mount):
    put(mount / "c/t.csv", lines(0, 1))
    other = make_mount(layout=ingest_layout())
    assert ino(other / "c/t.csv") == ino(mount / "c/t.csv")
