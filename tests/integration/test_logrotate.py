"""logrotate as it is, on rows files, ingest files and plain files."""
import errno
import os
import shutil
import signal
import threading

import pytest

from kit import refused, run, until
from mountkit import is_mounted

SQL = "create table bars (id bigserial primary key, sym text not null, n bigint not null, memo text)"
COLUMNS = ["sym", "n", "memo"]
HEADER = "sym,n,memo\n"

LOGROTATE = shutil.which("logrotate", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def layout(**words):
    return {"routes": [
        {"path": "/bars.csv", "rows": "bars", "columns": COLUMNS, "order": ["id"], **words},
        {"path": "/in/bars.csv", "file": True, "ingest": "bars", "columns": COLUMNS},
        {"path": "/in/bars.csv.{n}", "file": True, "ingest": "bars", "columns": COLUMNS, "format": "csv", "replace": "keep"}]}


@pytest.fixture
def rotate(tmp_path):
    """rotate(path, words): one forced run, with a state of its own."""
    def once(path, *words, ok=True):
        conf = tmp_path / "conf"
        conf.write_text(f"{path} {{\n  rotate 5\n  su root root\n  missingok\n" + "".join(f"  {w}\n" for w in words) + "}\n")
        conf.chmod(0o644)
        return run(LOGROTATE, "-f", "-s", tmp_path / "state", conf, ok=ok)
    return once


def numbers(pg):
    return [n for (n,) in pg.sql("select n from bars order by id")]


def rotate_three_times(path, rotate, *words):
    """A log that gets two lines before each rotation; its writer has it open by append."""
    for k in range(3):
        with open(path, "a", encoding="utf-8") as f:
            f.write(f"A,{2 * k},x\nA,{2 * k + 1},y\n")
        rotate(path, *words)
    with open(path, "a", encoding="utf-8") as f:
        f.write("A,6,z\n")


def read_all(path):
    """Every file of the log, gunzipped; headers, which only rows files have, left out."""
    out = {}
    for p in sorted(path.parent.glob(path.name + "*")):
        text = run("gunzip", "-c", p).stdout if p.name.endswith(".gz") else p.read_text()
        out[p.name] = text.removeprefix(HEADER)
    return out


@pytest.mark.parametrize("words", [("copytruncate",), ("copytruncate", "compress"), ("create 0644 root root", "compress")])
def test_rows_and_plain_files(make_mount, pg, tmp_path, rotate, words):
    """As on a disk: the lines are in the rotated files. The rows of the log are those that came since."""
    pg.sql(SQL)
    mount = make_mount(layout=layout())
    disk = tmp_path / "disk"
    disk.mkdir()
    for path in (disk / "bars.csv", mount.at("plain.log"), mount.at("bars.csv")):
        path.touch()
        rotate_three_times(path, rotate, *words)
    want = read_all(disk / "bars.csv")
    assert len(want) == 4 and want["bars.csv"] == "A,6,z\n"
    assert list(read_all(mount.at("plain.log")).values()) == list(want.values())
    assert read_all(mount.at("bars.csv")) == want
    assert numbers(pg) == [6]
    assert mount.errors() == []


def test_only_a_rotation_moves_lines(make_mount, pg):
    """An editor that renames a file to its backup does not mean to delete rows: EXDEV, and `mv` copies and removes."""
    pg.sql(SQL)
    mount = make_mount(layout=layout())
    mount.append("bars.csv", "A,1,x\nA,2,y\n")
    mount.write("bars.csv.9", "mine\n")
    os.mkdir(mount.at("old"))
    for name in ("bars.csv~", "bars.csv.bak", ".bars.csv.1", "old/bars.csv.1", "bars.csv.9"):
        with refused(errno.EXDEV):
            os.rename(mount.at("bars.csv"), mount.at(name))
    assert mount.read("bars.csv") == HEADER + "A,1,x\nA,2,y\n" and numbers(pg) == [1, 2]
    assert mount.read("bars.csv.9") == "mine\n"
    os.rename(mount.at("bars.csv"), mount.at("bars.csv-20251129"))
    assert mount.read("bars.csv-20251129") == HEADER + "A,1,x\nA,2,y\n" and numbers(pg) == []
    assert mount.read("bars.csv") == HEADER


def test_a_rotation_that_is_refused_moves_no_line(make_mount, pg):
    """A foreign key forbids it; and what can be known before is told before an older file has moved."""
    pg.sql(SQL + "; create table notes (bar bigint references bars on delete restrict)")
    mount = make_mount(layout=layout(), options={"plain_max": "64K"})
    mount.append("bars.csv", "A,1,x\nA,2,y\n")
    pg.sql("insert into notes select id from bars where n = 2")
    with refused(errno.ENOTEMPTY):
        os.rename(mount.at("bars.csv"), mount.at("bars.csv.1"))
    assert numbers(pg) == [1, 2] and not mount.exists("bars.csv.1")
    pg.sql("delete from notes")
    mount.write("bars.csv.1", "older\n")
    mount.append("bars.csv", "".join(f"A,{n},{'x' * 100}\n" for n in range(3, 1000)))
    with refused(errno.ENOSPC):
        os.rename(mount.at("bars.csv.1"), mount.at("bars.csv.2"))
    with refused(errno.ENOSPC):
        os.rename(mount.at("bars.csv"), mount.at("bars.csv.3"))
    assert mount.read("bars.csv.1") == "older\n" and len(numbers(pg)) == 999
    assert sorted(n for n in os.listdir(mount.path) if n.startswith((".rowfs-", "bars"))) == ["bars.csv", "bars.csv.1"]


def test_rotations_beside_writers_lose_and_double_nothing(make_mount, pg):
    """One writer has the log open all the time, one opens it for each line, SQL inserts, too; each line is in one file, once."""
    pg.sql(SQL)
    mount = make_mount(layout=layout())
    mount.append("bars.csv", "A,0,x\n")
    log, stop = mount.at("bars.csv"), threading.Event()
    sent = [[0], [], []]

    def held():
        with open(log, "a", encoding="utf-8") as f:
            while not stop.is_set():
                f.write(f"A,{1000000 + len(sent[1])},held\n")
                f.flush()
                os.fsync(f.fileno())
                sent[1].append(1000000 + len(sent[1]))

    def anew():
        while not stop.is_set():
            mount.append("bars.csv", f"A,{2000000 + len(sent[2])},anew\n")
            sent[2].append(2000000 + len(sent[2]))

    threads = [threading.Thread(target=t) for t in (held, anew)]
    for t in threads:
        t.start()
    try:
        for k in range(30):
            until(lambda k=k: len(sent[1]) + len(sent[2]) > 5 * k, "lines are written")
            pg.sql(f"insert into bars (sym, n) values ('A', {3000000 + k})")
            sent[0].append(3000000 + k)
            for old in range(k, 0, -1):
                os.rename(f"{log}.{old}", f"{log}.{old + 1}")
            os.rename(log, f"{log}.1")
            os.close(os.open(log, os.O_RDWR | os.O_CREAT | os.O_EXCL))
    finally:
        stop.set()
        for t in threads:
            t.join()
    files = [mount.read(p.name) for p in mount.path.glob("bars.csv*")]
    lines = [line for text in files for line in text.removeprefix(HEADER).splitlines()]
    assert len(files) == 31
    assert sorted(int(line.split(",")[1]) for line in lines) == sorted(sum(sent, []))
    assert mount.errors() == []


@pytest.mark.parametrize("words", [("create 0644 root root",), ("copytruncate",)])
def test_ingest_files(make_mount, pg, tmp_path, rotate, words):
    """Rotated names are on a route of their own. The bytes are where a disk has them; with `create` each row stays one row."""
    pg.sql(SQL)
    mount = make_mount(layout=layout())
    disk = tmp_path / "disk"
    disk.mkdir()
    for path in (disk / "bars.csv", mount.at("in/bars.csv")):
        path.touch()
        rotate_three_times(path, rotate, *words)
    assert read_all(mount.at("in/bars.csv")) == read_all(disk / "bars.csv")
    assert sorted(numbers(pg)) == list(range(7))
    assert mount.errors() == []


@pytest.mark.parametrize("words", [("create 0644 root root",), ("copytruncate",)])
@pytest.mark.parametrize("keeps", [{"truncate": "refuse"}, {"remove": "refuse"}, {"truncate": "refuse", "remove": "refuse"}])
def test_a_log_whose_lines_the_layout_keeps(make_mount, pg, rotate, words, keeps):
    """The rotation fails before the older files have moved, and no row is gone."""
    pg.sql(SQL)
    mount = make_mount(layout=layout(**keeps))
    mount.append("bars.csv", "A,1,x\nA,2,y\n")
    for k in (1, 2):
        mount.write(f"bars.csv.{k}", f"older {k}\n")
    done = rotate(mount.at("bars.csv"), *words, ok=False)
    assert done.returncode != 0 and "Operation not permitted" in done.stderr
    assert {k: mount.read(f"bars.csv.{k}") for k in (1, 2)} == {1: "older 1\n", 2: "older 2\n"}
    assert mount.read("bars.csv") == HEADER + "A,1,x\nA,2,y\n" and numbers(pg) == [1, 2]
    mount.write("bars.csv.9", "mine\n")
    run("mv", mount.at("bars.csv.9"), mount.at("other"))  # any other name is free
    assert mount.read("other") == "mine\n"


# -- a rotation that is killed -----------------------------------------------------------------------------------------------------

# where it waits, so that it can be killed there: it has read the lines and deletes the rows; its COMMIT is under way
WAITS = {
    "deletes": ("select 1 from bars where n = 500 for update", "wait_event_type = 'Lock'"),
    "commits": ("select pg_advisory_lock(78)", "wait_event = 'advisory'"),
}
GATE = """
create function gate() returns trigger language plpgsql as $$ begin perform pg_advisory_xact_lock(78); return null; end $$;
create constraint trigger gate after delete on bars deferrable initially deferred for each row when (old.n = 500) execute function gate();
"""


def next_mount(mount):
    """kill -9, and another daemon in its place."""
    mount.kill_and_spawn()
    until(lambda: is_mounted(mount.path) and (mount.path / ".rowfs/status.json").exists(), "the next mount serves")


@pytest.mark.parametrize("where", WAITS)
@pytest.mark.parametrize("goes_on", [False, True], ids=["rolled back", "goes on"])
def test_a_rotation_that_is_killed(make_mount, pg, where, goes_on):
    """All lines are where they were, or all have moved; GOES_ON: the server ends the statement before it sees that the daemon is dead."""
    pg.sql(SQL + ";" + GATE)
    # with the check, the server rolls back what it does for a daemon that is dead
    mount = make_mount(layout=layout(), conninfo=f"{pg.conninfo} options='-c client_connection_check_interval={'1h' if goes_on else '50ms'}'")
    mount.expect(r".*")
    text = "".join(f"A,{n},{'x' * 50}\n" for n in range(1000))
    mount.append("bars.csv", text)
    mount.write("bars.csv.2", "older\n")
    lock, backend = WAITS[where]
    other = pg.connect()
    other.cursor().execute(lock)
    mover = threading.Thread(target=run, args=("mv", "-T", mount.at("bars.csv"), mount.at("bars.csv.1")), kwargs={"ok": False})
    mover.start()
    until(lambda: pg.backends(backend), "the rotation waits")
    before = pg.backends(backend)
    if goes_on:
        mount.kill(signal.SIGSTOP)
        other.close()
        until(lambda: not set(before) & set(pg.backends(backend)), "the server goes on")
    next_mount(mount)
    other.close()
    mover.join(20)
    until(lambda: not set(before) & set(pg.backends()), "what was under way has ended")
    moved = numbers(pg) == []
    assert moved or numbers(pg) == list(range(1000))
    assert mount.read("bars.csv") == HEADER + ("" if moved else text)
    assert sorted(n for n in os.listdir(mount.path) if "bars" in n or "rotated" in n) == ["bars.csv", *(["bars.csv.1"] if moved else []), "bars.csv.2"]
    if moved:
        assert mount.read("bars.csv.1") == HEADER + text
    assert mount.read("bars.csv.2") == "older\n"
    # and it can be done again
    if not moved:
        os.rename(mount.at("bars.csv"), mount.at("bars.csv.1"))
        assert mount.read("bars.csv.1") == HEADER + text and numbers(pg) == []
