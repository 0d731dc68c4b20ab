"""X and X.gz in one directory: the same text is rows once, whoever makes the second file, and however it ends."""
import contextlib
import gzip
import os
import shutil

import pytest
from ingestkit import kill_and_mount_again, layout, put, short_lines as lines, stamps
from kit import run, until

BIG = lines(0, 30000)


def ids(pg):
    return pg.sql("select id, timestamp from orderbook_data order by id")


def owners(pg):
    """The files that have rows."""
    return [r[0] for r in pg.sql("select distinct name from rowfs.file f join rowfs.file_rows r on r.file = f.id order by 1")]


def told(mount):
    return [e["message"] for e in mount.errors() if "another text" in e["message"]]


@pytest.mark.parametrize("words", [{}, {"remove": "rows"}, {"replace": "keep"}], ids=str)
def test_gzip_and_gunzip(make_mount, pg, tmp_path, words):
    """The programs as they are; the rows are not touched. Then rm does what the layout says."""
    mount = make_mount(layout=layout(**words))
    put(mount / "c/a.csv", BIG)
    before = ids(pg)
    for program, name in (("gzip", "a.csv"), ("gunzip", "a.csv.gz"), ("gzip", "a.csv")):
        run(program, mount / "c" / name)
        assert ids(pg) == before and len(mount.ls("c")) == 1, program
        assert owners(pg) == mount.ls("c") and not mount.errors()
    assert gzip.decompress(mount.bytes("c/a.csv.gz")) == BIG
    run("gunzip", mount / "c/a.csv.gz")
    assert mount.bytes("c/a.csv") == BIG
    put(mount / "c/a.csv", lines(30000, 1), os.O_WRONLY | os.O_APPEND)
    assert stamps(pg) == list(range(30001))
    run("rm", mount / "c/a.csv")
    assert len(stamps(pg)) == (0 if words.get("remove") == "rows" else 30001)


def test_a_rotated_log_is_compressed(make_mount, pg, tmp_path):
    """logrotate with `compress`: the old log's lines stay rows once, and belong to the compressed file."""
    if not shutil.which("logrotate"):
        pytest.skip("logrotate is not installed")
    mount = make_mount(layout=layout(replace="keep"))
    conf, state = tmp_path / "conf", tmp_path / "state"
    conf.write_text(f"{mount.path}/c/r.csv {{\n rotate 3\n compress\n nodateext\n create 0644 root root\n su root root\n}}\n")
    for i in range(3):
        put(mount / "c/r.csv", lines(i * 10, 10), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        run("logrotate", "-f", "-s", state, conf)
        assert stamps(pg) == list(range(i * 10 + 10))
    assert mount.ls("c") == ["r.csv", "r.csv.1.gz", "r.csv.2.gz", "r.csv.3.gz"] and owners(pg) == mount.ls("c")[1:]
    assert gzip.decompress(mount.bytes("c/r.csv.3.gz")) == lines(0, 10) and not mount.errors()


def test_a_tree_that_has_both(make_mount, pg, tmp_path):
    """Copied in any order; the file that comes last has the rows. One that is written beside it and renamed, too."""
    mount = make_mount(layout=layout())
    for name, body in (("a.csv", BIG), ("b.csv", lines(50000, 5)), ("c.csv", lines(60000, 5))):
        for end, data in (("", body), (".gz", gzip.compress(body))):
            put(tmp_path / f"{name}{end}", data)
    for name in ("a.csv", "a.csv.gz", "b.csv.gz", "b.csv", "c.csv"):
        shutil.copy2(tmp_path / name, mount / "c" / name)
    run("cp", tmp_path / "c.csv.gz", mount / "c/c.tmp")
    run("mv", mount / "c/c.tmp", mount / "c/c.csv.gz")
    assert stamps(pg) == [*range(30000), *range(50000, 50005), *range(60000, 60005)]
    assert owners(pg) == ["a.csv.gz", "b.csv", "c.csv.gz"] and not mount.errors()
    run("diff", "-r", tmp_path, mount / "c", "-x", "test_*")


def test_both_are_kept_and_one_is_changed(make_mount, pg):
    """gzip -k. Whichever is removed or written anew, the lines of the other one are rows, once."""
    mount = make_mount(layout=layout(remove="rows"))
    plain, packed = mount / "c/a.csv", mount / "c/a.csv.gz"

    def begin():
        for name in mount.ls("c"):
            os.unlink(mount / "c" / name)
        assert stamps(pg) == []
        put(plain, lines(0, 5))
        run("gzip", "-k", plain)
        assert stamps(pg) == [0, 1, 2, 3, 4] and owners(pg) == ["a.csv.gz"]
    begin()
    os.unlink(packed)
    assert stamps(pg) == [0, 1, 2, 3, 4] and owners(pg) == ["a.csv"]
    begin()
    os.unlink(plain)
    assert stamps(pg) == [0, 1, 2, 3, 4]
    begin()
    put(packed, gzip.compress(lines(10, 2)))
    assert stamps(pg) == [0, 1, 2, 3, 4, 10, 11] and len(told(mount)) == 1
    begin()
    put(plain, lines(10, 2))
    assert stamps(pg) == [0, 1, 2, 3, 4, 10, 11] and len(told(mount)) == 2
    begin()
    put(plain, lines(5, 2), os.O_WRONLY | os.O_APPEND)
    assert stamps(pg) == list(range(7)) and owners(pg) == ["a.csv", "a.csv.gz"]
    begin()
    run("gzip", "-kf", plain)  # once more
    assert stamps(pg) == [0, 1, 2, 3, 4] and owners(pg) == ["a.csv.gz"]


def test_another_text_is_told(make_mount, pg):
    """At once, behind what was committed already, and where the first is written meanwhile."""
    mount = make_mount(layout=layout())
    put(mount / "c/a.csv", lines(0, 3))
    put(mount / "c/a.csv.gz", gzip.compress(lines(10, 3)))
    assert stamps(pg) == [0, 1, 2, 10, 11, 12] and len(told(mount)) == 1 and "a.csv " in told(mount)[0]
    put(mount / "c/b.csv.gz", gzip.compress(lines(100, 5)))
    fd = os.open(mount / "c/b.csv", os.O_WRONLY | os.O_CREAT)
    os.write(fd, lines(100, 3))
    os.fsync(fd)
    assert stamps(pg)[6:] == list(range(100, 105))
    os.write(fd, lines(200, 2))
    os.close(fd)
    assert stamps(pg)[6:] == [100, 100, 101, 101, 102, 102, 103, 104, 200, 201] and len(told(mount)) == 2
    put(mount / "c/c.csv", lines(300, 2))
    fd = os.open(mount / "c/c.csv.gz", os.O_WRONLY | os.O_CREAT)
    packed = gzip.compress(lines(300, 4))
    os.write(fd, packed[:-9])
    put(mount / "c/c.csv", lines(302, 2), os.O_WRONLY | os.O_APPEND)
    os.write(fd, packed[-9:])
    os.close(fd)
    assert stamps(pg)[16:] == [300, 301, 302, 303] and owners(pg)[-1] == "c.csv.gz"


def test_half_a_copy_has_no_rows_of_its_own(make_mount, pg):
    """gzip is killed, then rowfs, then gzip is run again: each line is a row once all the time."""
    mount = make_mount(layout=layout())
    put(mount / "c/a.csv", BIG)
    before = ids(pg)
    half = gzip.compress(BIG)[:20000]
    fd = os.open(mount / "c/a.csv.gz", os.O_WRONLY | os.O_CREAT)
    os.write(fd, half)
    os.fsync(fd)
    assert ids(pg) == before
    kill_and_mount_again(mount)
    with contextlib.suppress(OSError):
        os.close(fd)
    assert ids(pg) == before and mount.bytes("c/a.csv.gz") == half
    put(mount / "c/a.csv.gz", half)
    assert ids(pg) == before and owners(pg) == ["a.csv"]
    run("gzip", "-f", mount / "c/a.csv")
    until(lambda: mount.ls("c") == ["a.csv.gz"], "the file is gone")
    assert ids(pg) == before and owners(pg) == ["a.csv.gz"]


def test_refused_lines_and_an_unfinished_one(make_mount, pg):
    """What was refused is not refused again. The last line has no newline: the compressed file has its row, and goes on with it."""
    mount = make_mount(layout=layout())
    with pytest.raises(OSError):
        put(mount / "c/a.csv", lines(0, 2) + b"no row\n" + lines(3, 1)[:-2])
    assert stamps(pg) == [0, 1, 3] and len(mount.errors()) == 1
    run("gzip", mount / "c/a.csv")
    run("gunzip", mount / "c/a.csv.gz")
    assert stamps(pg) == [0, 1, 3] and len(mount.errors()) == 1
    put(mount / "c/a.csv", b"\r\n" + lines(4, 1), os.O_WRONLY | os.O_APPEND)
    assert stamps(pg) == [0, 1, 3, 4]
