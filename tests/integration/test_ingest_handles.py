"""Ingest files with several open handles: what a close, a stat, a removal or a rename means for those who go on writing."""
import errno
import os
import subprocess
import sys

import pytest
from ingestkit import COLUMNS, HEAD, IMPATIENT, PATH as NAME, Held, fsync_again, in_thread, layout, short_lines as lines, stamps
from kit import append, get, put, refused, until

GZ = f"{NAME}.gz"


# -- half a line -----------------------------------------------------------------------------------------------------


def test_half_a_line_while_a_child_process_closes_its_copy(mount, pg):
    """A program starts others while it is in the middle of a line: nothing is refused, and the line is one row."""
    line = lines(7, 1)
    fd = os.open(mount / NAME, os.O_WRONLY | os.O_CREAT)
    os.write(fd, HEAD + lines(0, 2))
    for byte in line:
        os.write(fd, bytes([byte]))
        subprocess.run([sys.executable, "-c", ""], pass_fds=[fd], check=True)
    os.close(fd)
    assert mount.bytes(NAME) == HEAD + lines(0, 2) + line
    assert stamps(pg) == [0, 1, 7]
    assert mount.rejected() == {}


def test_half_a_line_at_the_last_close_says_so(mount, pg):
    """close says EINVAL and why; the half line is in rejected/ once, and taken when the rest of it comes."""
    line = lines(7, 1)
    mount.refuses(lambda: put(mount / NAME, HEAD + lines(0, 2) + line[:6]), errno.EINVAL, "the last line (4)", "if nothing follows",
                  path=NAME)
    until(lambda: mount.kept() == [line[:6]], "the half line is kept when nobody has the file open any more")
    append(mount / NAME, b"")
    assert mount.kept() == [line[:6]], "it is told once"
    append(mount / NAME, line[6:])
    assert stamps(pg) == [0, 1, 7] and mount.bytes(NAME) == HEAD + lines(0, 2) + line
    assert mount.kept() == [line[:6]]


def test_half_a_line_is_not_refused_while_another_writes(mount, pg):
    """Two handles: the first one's last close is not the file's."""
    line = lines(7, 1)
    one, two = (os.open(mount / NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for _ in range(2))
    os.write(one, HEAD + line[:6])
    with refused(errno.EINVAL):
        os.close(one)
    os.fsync(two)
    os.write(two, line[6:])
    os.close(two)
    assert stamps(pg) == [7] and mount.rejected() == {}


def test_half_a_line_behind_a_change_in_the_middle(mount, pg):
    """The same when the file is changed as a whole."""
    put(mount / NAME, HEAD + lines(10, 3))
    fd = os.open(mount / NAME, os.O_WRONLY)
    body = HEAD + lines(20, 3) + lines(7, 1)
    os.write(fd, body[:-9])
    with refused(errno.EINVAL):
        os.close(os.dup(fd))
    assert mount.rejected() == {}
    os.write(fd, body[-9:])
    os.close(fd)
    assert mount.bytes(NAME) == body and stamps(pg) == [7, 20, 21, 22] and mount.rejected() == {}


def test_half_a_line_is_only_reported_if_the_option_says_so(make_mount, pg):
    mount = make_mount(options={"bad_lines": "report"})
    put(mount / NAME, HEAD + lines(0, 1) + b"ex,S")
    until(lambda: mount.kept() == [b"ex,S"], "the half line is kept")
    assert stamps(pg) == [0]


# -- outages ---------------------------------------------------------------------------------------------------------


def test_one_of_two_is_closed_while_the_database_is_away(make_mount, pg, server):
    """It drops nothing: the other handle has it still to commit."""
    mount = make_mount(options=IMPATIENT)
    mount.expect("rowfs error")
    body = HEAD + lines(0, 100)
    one, two = (os.open(mount / NAME, os.O_RDWR | os.O_CREAT | os.O_APPEND) for _ in range(2))
    os.write(one, body)
    server.stop("immediate")
    with refused(errno.EIO):
        os.close(one)
    with refused(errno.EIO):
        os.fsync(two)
    server.start()
    fsync_again(two)
    os.close(two)
    assert mount.bytes(NAME) == body and stamps(pg) == list(range(100)) and mount.rejected() == {}


# -- a commit that waits ---------------------------------------------------------------------------------------------


def test_stat_and_ls_do_not_wait_for_a_commit(mount, pg):
    """A commit waits for another session's lock: the size is told all the same, with the bytes that wait."""
    body = HEAD + lines(0, 100)
    put(mount / NAME, body)
    more = body + lines(100, 50)
    fd = os.open(mount / NAME, os.O_WRONLY | os.O_APPEND)
    with Held(pg, "orderbook_data") as held:
        os.write(fd, more[len(body):])
        syncing = in_thread(lambda: os.fsync(fd))
        held.wait()
        seen = []
        looking = in_thread(lambda: seen.extend([os.stat(mount / NAME).st_size, mount.ls("collector"),
                                                 [e.stat().st_size for e in os.scandir(mount / "collector")]]))
        looking.join(10)
        waited = looking.is_alive()
        assert syncing.is_alive(), "the commit still waits"
    looking.join()
    syncing.join()
    os.close(fd)
    assert not waited and seen == [len(more), [os.path.basename(NAME)], [len(more)]]
    assert syncing.error is None and stamps(pg) == list(range(150))


# -- removed while it is written -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["unlink", "replace"])
def test_rows_that_come_after_the_removal_go_too(make_mount, pg, how):
    """`"remove": "rows"`, and a file that is replaced: what is still written to the old one leaves no row at its last close."""
    mount = make_mount(layout={"routes": [{"path": "/c/{n}.csv", "file": True, "ingest": "orderbook_data", "columns": COLUMNS,
                                           "remove": "rows"}]})
    put(mount / "c/other.csv", HEAD + lines(1000, 5))
    fd = os.open(mount / "c/a.csv", os.O_RDWR | os.O_CREAT)
    os.write(fd, HEAD + lines(0, 10))
    os.fsync(fd)
    if how == "unlink":
        os.unlink(mount / "c/a.csv")
    else:
        os.rename(mount / "c/other.csv", mount / "c/a.csv")
    assert stamps(pg) == list(range(1000, 1005))
    os.write(fd, lines(10, 10))
    os.fsync(fd)
    assert os.pread(fd, 1 << 16, 0) == HEAD + lines(0, 20)
    os.close(fd)
    until(lambda: pg.one("select count(*) from rowfs.file") == 1, "the record goes with the last handle")
    assert stamps(pg) == list(range(1000, 1005))


def test_a_change_in_the_middle_that_cannot_be_committed_is_kept(make_mount, pg, server):
    """The database is away at the last close: the whole changed file is in rejected/, and the committed one is as it was."""
    mount = make_mount(options=IMPATIENT)
    mount.expect("rowfs error")
    body, new = HEAD + lines(0, 50), HEAD + lines(50, 50)
    put(mount / NAME, body)
    fd = os.open(mount / NAME, os.O_RDWR)
    os.pwrite(fd, new, 0)
    server.stop("immediate")
    with refused(errno.EIO):
        os.close(fd)
    until(lambda: mount.kept(), "what could not be committed is kept")
    assert mount.kept() == [new]
    server.start()
    until(lambda: mount.exists(NAME), "the mount answers again")
    assert mount.bytes(NAME) == body and stamps(pg) == list(range(50))


# -- renamed while it is written -------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [0, os.O_APPEND])
def test_renamed_onto_a_route_while_its_writer_goes_on(mount, pg, tmp_path, flags):
    """A temporary name gets its last one before it is closed: what is written then belongs to the file, too, and makes rows."""
    for top in (mount.path, tmp_path):
        (top / "collector").mkdir(exist_ok=True)
        fd = os.open(top / "collector/a.tmp", os.O_RDWR | os.O_CREAT | os.O_TRUNC | flags)
        os.write(fd, HEAD + lines(0, 10))
        os.rename(top / "collector/a.tmp", top / NAME)
        os.write(fd, lines(10, 10))
        os.fsync(fd)
        assert os.pread(fd, 1 << 16, 0) == HEAD + lines(0, 20) and os.fstat(fd).st_size == len(HEAD + lines(0, 20))
        os.write(fd, lines(20, 1))
        os.close(fd)
    assert mount.bytes(NAME) == get(tmp_path / NAME) == HEAD + lines(0, 21)
    assert stamps(pg) == list(range(21))


def test_opened_while_its_writer_is_in_close(make_mount, pg):
    """stat and read show one file: a record that was asked for before a commit of this mount is not taken for the later one."""
    mount = make_mount(layout=layout())
    name = mount / "c/a.csv"
    put(name, lines(0, 1))
    wanted = name.read_bytes() + lines(1, 400)
    for _ in range(3):
        put(name, wanted[:len(lines(0, 1))])
        writer = os.open(name, os.O_WRONLY | os.O_APPEND)
        os.write(writer, lines(1, 400))
        with Held(pg, "rowfs.chunk") as held:
            closer = in_thread(lambda: os.close(writer))  # noqa: B023
            held.wait()
            sizes, since = [], pg.one("select clock_timestamp()::text")
            opener = in_thread(lambda: sizes.append(read_with_size(name)))  # noqa: B023
            until(lambda: has_asked(pg, since), "the opener has asked for the record")  # noqa: B023
        closer.join()
        opener.join()
        assert sizes == [(len(wanted), wanted)]


def read_with_size(name):
    fd = os.open(name, os.O_RDONLY)
    try:
        return os.fstat(fd).st_size, os.pread(fd, 1 << 20, 0)
    finally:
        os.close(fd)


def has_asked(pg, since):
    """A record was asked for, and the answer is there."""
    return pg.backends(f"state = 'idle' and query like '%%FROM rowfs.file WHERE dir%%' and query_start > '{since}'")


def test_a_rotated_file_keeps_its_inode(make_mount, pg, tmp_path):
    """As on a disk: mv keeps st_ino, a new file of the old name has another, a listing says the same, and `tail -F` goes over to it."""
    mount = make_mount(layout=layout())
    assert pg.one("select 1") == 1
    for top in (mount / "c", tmp_path):
        put(top / "r.csv", lines(0, 1))
        first = os.stat(top / "r.csv").st_ino
        os.rename(top / "r.csv", top / "r.csv.1")
        put(top / "r.csv", lines(1, 1))
        second = os.stat(top / "r.csv").st_ino
        assert os.stat(top / "r.csv.1").st_ino == first != second
        assert {e.name: e.inode() for e in os.scandir(top)} == {"r.csv": second, "r.csv.1": first}
        put(top / "r.csv", lines(2, 1))
        assert os.stat(top / "r.csv").st_ino == second, "written anew it is the same file"
    other = make_mount(layout=layout())
    assert [os.stat(m / "c" / n).st_ino for m in (mount, other) for n in ("r.csv", "r.csv.1")] == 2 * [
        os.stat(mount / "c/r.csv").st_ino, os.stat(mount / "c/r.csv.1").st_ino]
    tail = subprocess.Popen(["tail", "-n", "+1", "-F", "-s", "0.05", mount / "c/r.csv"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert tail.stdout.readline() == lines(2, 1)
        os.rename(mount / "c/r.csv", mount / "c/r.csv.2")
        put(mount / "c/r.csv", lines(3, 1) + lines(4, 1))
        assert [tail.stdout.readline() for _ in range(2)] == [lines(3, 1), lines(4, 1)]
    finally:
        tail.kill()
        tail.wait()


def test_a_plain_file_that_becomes_an_ingest_file_goes_on(make_mount, tmp_path):
    """Who has it open sees it under the new name, and its inode number is the one that a look-up shows."""
    mount = make_mount(layout=layout())
    fd = os.open(mount / "c/t.tmp", os.O_RDWR | os.O_CREAT)
    os.write(fd, lines(0, 2))
    os.rename(mount / "c/t.tmp", mount / "c/t.csv")
    assert os.stat(mount / "c/t.csv").st_ino == os.fstat(fd).st_ino
    os.write(fd, lines(2, 1))
    assert os.fstat(fd).st_size == os.stat(mount / "c/t.csv").st_size == len(lines(0, 3))
    os.close(fd)
    assert mount.bytes("c/t.csv") == lines(0, 3)


# -- another mount cuts the file ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", ["read", "fsync"])
@pytest.mark.parametrize("first", [HEAD + lines(0, 2), HEAD + lines(0, 2)[:-9]], ids=["lines", "half a line"])
def test_a_file_that_another_mount_cuts_while_it_is_written(make_mount, pg, ask, first):
    """This mount has bytes that wait, so it does not ask for the file's size: what it knows is not there any more."""
    one, two = make_mount(), make_mount()
    fd = os.open(one / NAME, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    os.write(fd, first)
    os.fsync(fd)
    os.write(fd, lines(7, 1))
    os.truncate(two / NAME, 0)
    until(lambda: pg.one("select count(*) from rowfs.chunk") == 0, "it is cut")
    if ask == "read":
        assert os.pread(fd, 1 << 16, 0) == lines(7, 1)
    os.fsync(fd)
    os.close(fd)
    assert two.bytes(NAME) == lines(7, 1) and stamps(pg) == [7]
