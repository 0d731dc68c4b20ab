"""A program that goes on with the file that it has open, after a write or a commit of it was refused: what it has put right is committed, what it has
not is not, and the row keeps what it had meanwhile."""
import errno
import json
import os

import pytest

from kit import append, put, refused, until
from shop import LAYOUT

MOST = 4096
REFERRED_TO = (errno.EBUSY, errno.ENOTEMPTY, errno.EPERM, errno.ENOENT)
BAD, GOOD = b'{"title": ', b'{"title": "good"}'


@pytest.fixture
def title(shop_pg, make_mount):
    """(the path of a row's document, a function that says what the row has)"""
    m = make_mount(layout=LAYOUT, options={"max_document": MOST})
    shop_pg.sql("insert into flat values (1, 'old')")
    return m.at("flat/1.json"), lambda: shop_pg.one("select title from flat")


def fail(path):
    """The descriptor of a document whose text was not taken."""
    fd = os.open(path, os.O_RDWR | os.O_TRUNC)
    os.write(fd, BAD)
    with refused(errno.EINVAL):
        os.fsync(fd)
    return fd


def refuse(path):
    """The descriptor of a document of whose text a part could not be taken."""
    fd = os.open(path, os.O_RDWR | os.O_TRUNC)
    os.write(fd, GOOD)
    with refused(errno.EFBIG):
        os.pwrite(fd, b"x", MOST)
    return fd


def put_right(fd):
    os.pwrite(fd, GOOD, 0)
    os.ftruncate(fd, len(GOOD))
    os.fsync(fd)


@pytest.mark.parametrize("cut", [3, 0])
def test_what_was_refused_at_a_commit_is_put_right(title, cut):
    path, row = title
    fd = fail(path)
    assert row() == "old"
    os.ftruncate(fd, cut)
    put_right(fd)
    assert row() == "good"
    os.close(fd)


def test_what_was_refused_gives_way_to_what_another_program_saves(title):
    path, row = title
    fd = fail(path)
    put(path, b'{"title": "theirs"}')
    assert b"theirs" in os.pread(fd, MOST, 0)
    os.close(fd)
    assert row() == "theirs"


def test_half_a_text_is_not_committed_whatever_follows(title):
    """Behind a write that was refused: more writes, cuts and refusals."""
    path, row = title
    fd = refuse(path)
    os.write(fd, b" ")
    os.ftruncate(fd, 10)
    os.ftruncate(fd, 0)
    os.pwrite(fd, GOOD, 0)
    with refused(errno.EFBIG):
        os.pwrite(fd, b"x", MOST)
    with refused(errno.EFBIG):
        os.fsync(fd)
    assert row() == "old"
    put_right(fd)  # after it was told
    assert row() == "good"
    os.close(fd)


def test_a_write_that_does_not_fit_after_a_commit_that_failed(title):
    path, row = title
    fd = fail(path)
    with refused(errno.EFBIG):
        os.pwrite(fd, b"x", MOST)
    with refused(errno.EFBIG):
        os.fsync(fd)
    os.ftruncate(fd, 0)
    put_right(fd)
    os.close(fd)
    assert row() == "good"


@pytest.mark.parametrize("size", [0, 1])
def test_a_first_write_that_does_not_fit(title, size):
    """Into a document that was emptied at open, and one that was not: neither is committed."""
    path, row = title
    fd = os.open(path, os.O_RDWR | (0 if size else os.O_TRUNC))
    with refused(errno.EFBIG):
        os.pwrite(fd, b"x", MOST)
    with refused(errno.EFBIG):
        os.fsync(fd)
    os.close(fd)
    assert row() == "old" and json.loads(open(path, "rb").read())["title"] == "old"


def test_a_document_that_is_emptied_and_made_longer(shop, tmp_path):
    """Zero bytes, as on a plain directory."""
    shop.add("bolt", blob=b"old")
    for path in (tmp_path / "blob.bin", shop.m.at("items/bolt/blob.bin")):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.ftruncate(fd, 4)
        os.close(fd)
    until(lambda: bytes(shop.item("blob")) == (tmp_path / "blob.bin").read_bytes(), "four zero bytes")


@pytest.mark.parametrize("synced", [True, False])
def test_rows_that_may_not_go_stay_when_their_file_is_emptied(shop, synced):
    """Others refer to them. The program hears of it at fsync; without one it may be committed when it is closed already, which the log tells."""
    shop.sql("insert into log (src, n) values ('a', 1)")
    shop.sql("create table mentions (log bigint references log (id))")
    shop.sql("insert into mentions select id from log")
    fd = os.open(shop.m.at("log.csv"), os.O_WRONLY | os.O_TRUNC)
    if synced:
        with refused(*REFERRED_TO):
            os.fsync(fd)
    os.close(fd)
    append(shop.m.at("log.csv"), "b,2,,\n")
    shop.m.umount()
    assert shop.sql("select src, n from log order by n") == [("a", 1), ("b", 2)]


def test_rows_that_are_edited_and_then_emptied(shop):
    """The edit was of a text that is gone: what is written afterwards is all there is."""
    put(shop.m.at("log.csv"), "src,n,amount,text\na,1,,\nb,2,,\n")
    fd = os.open(shop.m.at("log.csv"), os.O_RDWR)
    os.pwrite(fd, b"c", len("src,n,amount,text\n"))
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"src,n,amount,text\nd,4,,\n", 0)
    os.fsync(fd)
    os.close(fd)
    assert shop.sql("select src, n from log") == [("d", 4)]
