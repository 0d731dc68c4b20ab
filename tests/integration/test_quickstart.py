"""mount-helpers/private-postgres and mount-helpers/quickstart, as a user runs them."""
import contextlib
import os
import re
import shutil
import signal
from pathlib import Path

import psycopg2
import pytest

from kit import IS_ROOT, ROOT, run, scratch, sh, until
from mountkit import is_mounted, lazy_umount, rowfs_binary, sanitizer_env

PRIVATE, QUICKSTART = ROOT / "mount-helpers/private-postgres", ROOT / "mount-helpers/quickstart"


def query(conninfo, sql):
    conn = psycopg2.connect(conninfo.strip())
    try:
        with conn.cursor() as cur:
            cur.execute(sql)
            return cur.fetchall()
    finally:
        conn.close()


def private(*words, ok=True):
    return run(PRIVATE, *words, ok=ok, timeout=120)


@pytest.fixture
def place():
    """A scratch directory that the server's user can reach; whatever server is left in it is stopped."""
    top = scratch("qs")
    top.chmod(0o755)
    yield top
    for data in top.glob("**/data/PG_VERSION"):
        private("stop", data.parents[1], ok=False)
        socket = Path((data.parents[1] / "socket").read_text().strip())
        if not socket.is_relative_to(top):
            shutil.rmtree(socket, ignore_errors=True)
    shutil.rmtree(top)


# -- private-postgres -------------------------------------------------------------------------------------------------


def pid_of(directory):
    return int(re.search(r"pid (\d+)", private("status", directory).stdout)[1])


@pytest.mark.parametrize("name", ["pg", "with space", "it's \"$(touch pwned)\" `x`; a,b\\c", "x" * 120])
def test_start_stop_start(place, name):
    where = place / name
    assert private("status", where, ok=False).returncode == 3
    conninfo = private("start", where).stdout
    assert query(conninfo, "select current_user, current_database(), current_setting('data_checksums'),"
                           " current_setting('listen_addresses'), current_setting('lc_collate'), current_setting('server_encoding')") == [
        ("rowfs", "rowfs", "on", "", "C.UTF-8", "UTF8")]
    assert query(conninfo, "select count(*) > 0 from pg_stat_statements") == [(True,)]
    assert query(conninfo, "select rolsuper from pg_roles where rolname = current_user") == [(False,)]
    conn = psycopg2.connect(conninfo)
    conn.cursor().execute("create table t as select 7 as n")
    conn.commit()
    conn.close()
    pid = pid_of(where)
    assert private("start", where).stdout == conninfo and pid_of(where) == pid
    private("stop", where)
    assert private("status", where, ok=False).returncode == 3
    private("stop", where)
    conninfo = private("start", where).stdout
    assert query(conninfo, "select n, tableoid::regclass::text from public.t") == [(7, "t")]
    assert private("conninfo", where).stdout == conninfo
    assert not list(ROOT.glob("pwned")) and not os.path.exists("pwned")


def test_after_a_crash(place):
    where = place / "pg"
    private("start", where)
    os.kill(pid_of(where), signal.SIGKILL)
    until(lambda: private("status", where, ok=False).returncode == 3, "the server is dead")
    assert query(private("start", where).stdout, "select 1") == [(1,)]


def test_a_pid_that_is_somebody_elses(place):
    where = place / "pg"
    private("start", where)
    private("stop", where)
    (where / "data/postmaster.pid").write_text(f"{os.getpid()}\n")
    assert private("status", where, ok=False).returncode == 3
    assert query(private("start", where).stdout, "select 1") == [(1,)]


def test_two_at_once(place):
    where = place / "pg"
    sh('"$P" start "$W" & first=$!; "$P" start "$W"; wait $first', P=PRIVATE, W=where, timeout=180)
    assert query(private("conninfo", where).stdout, "select 1") == [(1,)]


def test_a_directory_with_other_things_is_left_alone(place):
    (place / "mine").write_text("x")
    before = os.stat(place)
    done = private("start", place, ok=False)
    assert done.returncode == 1 and "other things" in done.stderr
    assert (os.stat(place).st_mode, os.stat(place).st_uid) == (before.st_mode, before.st_uid)


@pytest.mark.root
def test_nobody_else_may_connect(place):
    conninfo = private("start", place / "pg").stdout.strip()
    done = run("setpriv", "--reuid=nobody", "--clear-groups", "psql", conninfo, "-c", "select 1", ok=False, cwd="/")
    assert done.returncode != 0


# -- quickstart -------------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(place):
    """quick(words…): quickstart for DIR place/mnt, its data below place, with the program under test."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("/dev/fuse is not there, or not ours to open")
    env = {"ROWFS_BIN": str(rowfs_binary()), "XDG_DATA_HOME": str(place / "xdg"), **sanitizer_env()}

    def call(*words, ok=True):
        return run(QUICKSTART, *words, ok=ok, timeout=300, env=env)
    yield call
    for directory in ("mnt", "m t'"):
        call("--stop", place / directory, ok=False)
        while is_mounted(place / directory):
            lazy_umount(place / directory)
    if IS_ROOT:
        for where in Path("/var/lib/rowfs/quickstart").glob("*.where"):
            if where.read_text().startswith(str(place)):
                where.unlink()


def test_quickstart(quick, place):
    mnt, data = place / "m t'", place / "data"
    done = quick("--data", data, mnt)
    assert is_mounted(mnt) and sorted(os.listdir(mnt)) == [".rowfs", "collector", "memory", "orderbook", "sessions", "users"]
    assert str(data) in done.stdout
    conninfo = quick("--conninfo", mnt).stdout
    (mnt / "users/anna").mkdir()
    assert query(conninfo, "select hardware_id_hash from users") == [("anna",)]

    again = quick(mnt)
    assert "mounted already" in again.stdout and str(data) in again.stdout

    quick("--demo", mnt)
    quick("--demo", mnt)
    assert query(conninfo, "select (select count(*) from users), (select count(*) from orderbook_data)") == [(6, 3600)]
    assert len((mnt / "orderbook/bybit/BTCUSDT/2025-09-20.csv").read_text().splitlines()) == 301

    assert "stay" in quick("--stop", mnt).stdout
    assert not is_mounted(mnt)
    with pytest.raises(psycopg2.OperationalError):
        query(conninfo, "select 1")
    quick("--stop", mnt)
    quick(mnt)
    assert (mnt / "users/anna").is_dir()


def test_what_it_says_to_try_works(quick, place):
    """The commands that it prints run as they stand, without and with the demo data."""
    for words in ((), ("--demo",)):
        done = quick(*words, "--data", place / "data", place / "mnt")
        commands = re.findall(r"^  (\S.*)$", done.stdout.split("Try:")[1], re.M)
        assert len(commands) > 5
        assert sh("\n".join(commands)).stderr == ""
        quick("--stop", place / "mnt")


def tour():
    """The tour of README.md: [[command, what it prints], ...]."""
    steps = []
    for line in (ROOT / "README.md").read_text(encoding="utf-8").split("## A tour")[1].split("\n## ")[0].splitlines():
        if line.startswith("    $ "):
            steps.append([line[6:], ""])
        elif line.startswith("    ") or steps and not line:
            steps[-1][1] += line[4:] + "\n"
    steps[-1][1] = steps[-1][1].rstrip("\n")
    return steps


def test_the_tour_of_the_readme(quick, place):
    """Each command prints what the page shows, in one shell, with `~/db` being the mount."""
    quick("--demo", "--data", place / "data", place / "db")
    steps = tour()
    assert len(steps) > 15
    script = "".join(f"{command}\necho '<end of step>'\n" for command, _ in steps)
    try:
        said = sh("exec 2>&1\nset +e\n" + script, HOME=place).stdout.split("<end of step>\n")
    finally:
        quick("--stop", place / "db")
    for (command, shown), printed in zip(steps, said, strict=False):  # a terminal's ls has columns
        assert printed.split() == shown.split(), command
    assert len(said) == len(steps) + 1


def test_refusals(quick, place):
    mnt = place / "mnt"
    mnt.mkdir()
    (mnt / "file").write_text("x")
    done = quick("--data", place / "data", mnt, ok=False)
    assert done.returncode == 1 and "not empty" in done.stderr
    assert not (place / "data").exists() and (mnt / "file").exists()
    for words in ((), ("--nonsense", mnt), (mnt, mnt), ("--data",)):
        assert quick(*words, ok=False).returncode != 0
    done = quick("--data", place / "other/in", place / "other", ok=False)
    assert done.returncode == 1 and "inside" in done.stderr
    assert quick("--conninfo", place / "never", ok=False).returncode == 1


def daemon_of(mnt):
    """The process that serves MNT: our program, with MNT as its last word. Exactly one."""
    found = []
    for proc in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (proc / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            if words[-1] == os.fsencode(mnt) and os.path.samefile(proc / "exe", rowfs_binary()):
                found.append(int(proc.name))
    (pid,) = found
    return pid


def test_a_dead_mount_is_mounted_again(quick, place):
    mnt = place / "mnt"
    quick("--data", place / "data", mnt)
    os.kill(daemon_of(mnt), signal.SIGKILL)
    quick(mnt)
    assert "users" in os.listdir(mnt)
