"""The names of ingest files: renames, also when a crash cuts them short, and files without a name. Each is compared with SQL, or with a plain
directory to which the same was done."""
import errno
import os
import time

import pytest
from ingestkit import COLUMNS, HEAD, PATH as NAME, Held, in_thread, kill_and_mount_again, short_lines as lines, stamps
from kit import get, put, refused, run, until

# -- names ---------------------------------------------------------------------------------------------------------


ROTATION = {"routes": [{"path": "/c/r.csv", "file": True, "ingest": "orderbook_data", "columns": COLUMNS},
                       {"path": "/c/r.csv.{n}", "file": True, "ingest": "orderbook_data", "columns": COLUMNS, "format": "csv",
                        "replace": "keep"}]}
ROTATE = """
import logging, logging.handlers, sys
handler = logging.handlers.RotatingFileHandler(sys.argv[1] + "/r.csv", maxBytes=2000, backupCount=3)
handler.setFormatter(logging.Formatter("%(message)s"))
for i in range(400):
    handler.emit(logging.LogRecord("r", logging.INFO, "", 0, f"ex,S,{i},{i + 1},5000.0,{i % 97}.5,,", (), None))
handler.close()
"""


def test_a_rotating_log_handler(make_mount, pg, tmp_path):
    """Twenty rotations, the oldest files removed: the bytes as in a plain directory, and each line once in the table."""
    mount = make_mount(layout=ROTATION)
    for top in (mount / "c", tmp_path):
        run("/usr/bin/python3", "-c", ROTATE, top)
    assert mount.ls("c") == sorted(os.listdir(tmp_path)) == ["r.csv", "r.csv.1", "r.csv.2", "r.csv.3"]
    for name in os.listdir(tmp_path):
        assert mount.bytes(f"c/{name}") == get(tmp_path / name), name
    assert stamps(pg) == list(range(400))
    assert pg.sql("select count(*), count(*) filter (where dir = '') from rowfs.file") == [(4, 0)]


def test_a_chain_of_renames_over_the_oldest(make_mount, pg, tmp_path):
    """As logrotate does it: the oldest is renamed over. `"replace": "keep"` keeps its rows."""
    mount = make_mount(layout=ROTATION)
    for top in (mount / "c", tmp_path):
        for i in range(5):
            for k in (1, 0):
                old = top / ("r.csv" if k == 0 else f"r.csv.{k}")
                if old.exists():
                    os.rename(old, top / f"r.csv.{k + 1}")
            put(top / "r.csv", lines(i * 10, 10))
    run("diff", "-r", mount / "c", tmp_path)
    assert stamps(pg) == list(range(50))


def test_a_file_that_is_renamed_while_it_is_written(make_mount, pg, tmp_path):
    """A log is rotated under its writer's feet: what he writes goes to the file, whatever it is called."""
    mount = make_mount(layout=ROTATION)
    for top in (mount / "c", tmp_path):
        with open(top / "r.csv", "ab", buffering=0) as log:
            log.write(lines(0, 5) + lines(5, 1)[:9])
            os.rename(top / "r.csv", top / "r.csv.1")
            log.write(lines(5, 1)[9:] + lines(6, 4))
            put(top / "r.csv", lines(10, 10))
            log.write(lines(20, 10))
    run("diff", "-r", mount / "c", tmp_path)
    assert stamps(pg) == list(range(30))


def test_to_a_route_that_reads_the_lines_in_another_way(make_mount, pg):
    """Seconds there, microseconds here: the rows are made anew, not carried along."""
    seconds = {"timestamp": {"column": "timestamp", "from": "s", "to": "us"}}
    mount = make_mount(layout={"routes": [
        {"path": "/c/{n}.csv", "file": True, "ingest": "orderbook_data", "columns": COLUMNS},
        {"path": "/c/{n}.sec", "file": True, "ingest": "orderbook_data", "columns": COLUMNS, "format": "csv", "fields": seconds}]})
    put(mount / "c/a.csv", HEAD + lines(5, 3))
    os.rename(mount / "c/a.csv", mount / "c/a.sec")
    assert stamps(pg) == [5000000, 6000000, 7000000]
    os.rename(mount / "c/a.sec", mount / "c/b.csv")
    assert stamps(pg) == [5, 6, 7] and mount.ls("c") == ["b.csv"]


def test_a_temporary_name_over_a_file_that_is_there(mount, pg, tmp_path):
    """os.replace(): the old rows go with the old bytes, in one step, and only theirs."""
    put(mount / "collector/ETHUSDT_orderbook_1.csv", HEAD + lines(1000, 3))
    for top in (mount.path, tmp_path):
        (top / "collector").mkdir(exist_ok=True)
        put(top / NAME, HEAD + lines(0, 500))
        put(top / f"{NAME}.tmp", HEAD + lines(300, 400))
        os.replace(top / f"{NAME}.tmp", top / NAME)
        assert sorted(n for n in os.listdir(top / "collector") if n.startswith("BTC")) == [os.path.basename(NAME)]
    assert mount.bytes(NAME) == get(tmp_path / NAME)
    assert stamps(pg) == [*range(300, 700), 1000, 1001, 1002]


def test_to_a_plain_name_and_back(mount, pg):
    """The rows of a file stay when it goes to a plain name; back on the route they are replaced by nothing: it is a new file."""
    body = HEAD + lines(0, 2000)
    put(mount / NAME, body)
    os.chmod(mount / NAME, 0o640)
    os.utime(mount / NAME, (1e9, 1e9))
    put(mount / "collector/kept.bin", b"the old one, which is longer" * 10000)
    os.rename(mount / NAME, mount / "collector/kept.bin")
    assert mount.bytes("collector/kept.bin") == body and mount.ls("collector") == ["kept.bin"]
    seen = os.stat(mount / "collector/kept.bin")
    assert (seen.st_mode & 0o777, seen.st_mtime) == (0o640, 1e9)
    pg.sql("truncate orderbook_data")
    os.rename(mount / "collector/kept.bin", mount / NAME)
    assert mount.bytes(NAME) == body and mount.ls("collector") == [os.path.basename(NAME)]
    assert stamps(pg) == list(range(2000))
    assert pg.one("select count(*) from rowfs.file") == 1


def kill_in_rename(mount, held, old, new):
    """Kills the mount when a rename waits for what is HELD."""
    mover = in_thread(lambda: os.rename(old, new))
    held.wait()
    mount.kill()
    mount.process.wait()
    mover.join()
    assert mover.error is not None


def test_killed_on_the_way_to_a_plain_name(mount, pg):
    """Killed when the bytes are copied and the record is still there: both files are there, whole. Killed before: the file that is to
    be replaced has its old bytes."""
    body, old = HEAD + lines(0, 20000), b"old " * 1000
    put(mount / NAME, body)
    put(mount / "collector/kept.bin", old)
    for table, want in (("rowfs.chunk", old), ("rowfs.file", body)):
        with Held(pg, table, "access exclusive" if table == "rowfs.chunk" else "exclusive") as held:
            kill_and_mount_again(mount) if table == "rowfs.chunk" else None  # nothing of the bytes is known
            kill_in_rename(mount, held, mount / NAME, mount / "collector/kept.bin")
        run("umount", "-l", mount.path, ok=False)
        mount.start()
        assert mount.bytes(NAME) == body
        assert mount.bytes("collector/kept.bin") == want, table
        assert stamps(pg) == list(range(20000))
    os.rename(mount / NAME, mount / "collector/kept.bin")
    assert mount.bytes("collector/kept.bin") == body and not mount.exists(NAME)


def test_killed_on_the_way_from_a_plain_name(mount, pg):
    """The plain file stays till the bytes and the rows are committed; done again, each row is there once."""
    body = HEAD + lines(0, 5000)
    temp = mount / "collector/temp.bin"
    put(temp, body)
    with Held(pg, "orderbook_data") as held:
        kill_in_rename(mount, held, temp, mount / NAME)
    run("umount", "-l", mount.path, ok=False)
    mount.start()
    assert get(temp) == body and stamps(pg) == []
    os.rename(temp, mount / NAME)
    assert mount.bytes(NAME) == body and stamps(pg) == list(range(5000)) and not temp.exists()


def test_a_rename_that_the_server_refuses_leaves_no_name(mount, pg):
    pg.sql("alter table rowfs.chunk add check (at < 262144)")
    temp = mount / "collector/temp.bin"
    put(temp, HEAD + lines(0, 20000))
    mount.expect("rowfs error")
    with refused(errno.EINVAL):
        os.rename(temp, mount / NAME)
    assert mount.ls("collector") == ["temp.bin"] and get(temp) == HEAD + lines(0, 20000)
    assert stamps(pg) == []


# -- removed while open ---------------------------------------------------------------------------------------------


def files(pg):
    return pg.sql("select dir <> '', (select count(*) from rowfs.chunk where file = f.id) from rowfs.file f order by 1")


def test_what_a_killed_mount_had_open_is_removed_by_the_next(make_mount, pg):
    """A second mount that lives meanwhile keeps what it has open, and removes nothing that another has."""
    one, two = make_mount(), make_mount()
    for m, name in ((one, "A_orderbook_1.csv"), (two, "B_orderbook_1.csv")):
        put(m / "collector" / name, HEAD + lines(0, 3))
    a = os.open(one / "collector/A_orderbook_1.csv", os.O_RDONLY)
    b = os.open(two / "collector/B_orderbook_1.csv", os.O_RDONLY)
    os.unlink(one / "collector/A_orderbook_1.csv")
    os.unlink(two / "collector/B_orderbook_1.csv")
    assert files(pg) == [(False, 1), (False, 1)]
    kill_and_mount_again(one)
    until(lambda: files(pg) == [(False, 1)], "what the killed mount had open is gone")
    assert os.pread(b, 1 << 20, 0) == HEAD + lines(0, 3)
    os.close(a)
    os.close(b)
    until(lambda: files(pg) == [], "and the other with its last close")
    assert stamps(pg) == [0, 0, 1, 1, 2, 2]


def test_what_a_dead_machine_had_open_is_removed_after_a_week(make_mount, pg):
    for days in (6, 8):
        pg.sql("insert into rowfs.file (id, dir, name) overriding system value values (%s, '', %s)",
               days, f"{days} 1 {int(time.time()) - days * 86400} elsewhere")
    mount = make_mount()
    until(lambda: pg.sql("select id from rowfs.file") == [(6,)], "the older one is removed")
    assert mount.ls("collector") == []


def test_a_removal_that_fails_takes_nothing_along(mount, pg):
    """The file is open, rm fails: the bytes are there when it is closed."""
    put(mount / NAME, HEAD + lines(0, 3))
    pg.sql("create function no() returns trigger language plpgsql as $$ begin raise exception 'not now'; end $$;"
           "create trigger no before update or delete on rowfs.file for each row execute function no()")
    mount.expect("rowfs error")
    with open(mount / NAME, "rb") as file:
        with pytest.raises(OSError):
            os.unlink(mount / NAME)
        pg.sql("drop trigger no on rowfs.file")
        assert file.read() == HEAD + lines(0, 3)
    assert mount.bytes(NAME) == HEAD + lines(0, 3)
    assert files(pg) == [(True, 1)]
