"""The user postgres, whose server root starts with private-postgres: he chooses no file that root writes, reads or removes."""
import contextlib
import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest

from kit import ROOT, scratch

PRIVATE = ROOT / "mount-helpers/private-postgres"
SECRET = "root:the-secret:1"
STRANGER = 65534


def has_postgres():
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam("postgres"))
    return False


pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not has_postgres(),
                                reason="only for root the server is another account's, and that account is postgres")


def private(*words, ok=True, env=None):
    done = subprocess.run([PRIVATE, *words], capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **(env or {})})
    assert done.returncode == 0 or not ok, done.stderr
    assert SECRET not in done.stdout + done.stderr
    return done


def as_postgres(script, *words):
    """What SCRIPT does as the server's user."""
    return subprocess.run(["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "bash", "-c", script, "bash", *map(str, words)],
                          capture_output=True, text=True, check=False, timeout=30, cwd="/")


@pytest.fixture
def place():
    """A directory of root's with a file of root's, which must stay and not be shown."""
    top = scratch("private")
    os.chmod(top, 0o755)
    secret = top / "secret"
    secret.write_text(f"{SECRET}\n")
    os.chmod(secret, 0o600)
    yield top
    assert secret.read_text() == f"{SECRET}\n"
    assert (secret.stat().st_uid, secret.stat().st_mode & 0o777) == (0, 0o600)
    for data in top.glob("**/data/PG_VERSION"):
        with contextlib.suppress(AssertionError):
            private("stop", data.parents[1], ok=False)
    shutil.rmtree(top)


def older(place):
    """A directory as older versions made them: the user postgres owns it."""
    where = place / "pg"
    where.mkdir()
    where.chmod(0o700)
    shutil.chown(where, "postgres", "postgres")
    return where


OPENED = ("lock", "socket", "initdb.log", "server.log")


@pytest.mark.parametrize("plant", [os.symlink, os.link])
def test_links_in_a_directory_of_an_older_version(place, plant):
    """In the place of each file that root or the server opens there. Links without a name, too: not every system forbids them."""
    where = older(place)
    for name in OPENED:
        plant(place / "secret", where / name)
    private("status", where, ok=False)
    private("conninfo", where, ok=False)
    for name in OPENED:  # as it was, in case one of the two has put it right
        (where / name).unlink(missing_ok=True)
        plant(place / "secret", where / name)
    shutil.chown(where, "postgres", "postgres")
    done = private("start", where)
    assert f"host='{where}/run'" in done.stdout
    assert where.stat().st_uid == 0 and (where / "server.log").owner() == "postgres"
    assert not any((where / name).is_symlink() for name in OPENED)


@pytest.mark.parametrize("name", ["data", "data.new", "run"])
def test_a_link_for_a_directory(place, name):
    """Root would make directories, and give them away, where it points to."""
    where = older(place)
    (place / "victim").mkdir()
    (where / "initdb.log").touch()
    os.symlink(place / "victim", where / name)
    done = private("start", where, ok=False)
    assert done.returncode == 1 and f"{where}/{name} is a link" in done.stderr
    assert os.listdir(place / "victim") == [] and (place / "victim").owner() == "root"


def test_a_cluster_of_an_older_version(place):
    """It is used as it is: its data, its log and its socket."""
    where = place / "pg"
    private("start", where)
    private("stop", where)
    shutil.chown(where, "postgres", "postgres")
    (where / "server.log").write_text("kept\n")
    done = private("start", where)
    assert done.stdout == private("conninfo", where).stdout
    assert (where / "server.log").read_text().startswith("kept\n")
    private("stop", where)


def test_what_postgres_may_write(place):
    """His are the cluster, the socket's directory and the log; in the directory itself he makes, removes and renames nothing. In his own
    he can put links in the place of files: root does not follow them."""
    where = place / "pg"
    private("start", where)
    for script in ('>"$1/new"', 'rm -f "$1/socket"', 'mv "$1/run" "$1/gone"', '>>"$1/socket"', 'ls "$1"'):
        assert as_postgres(script, where).returncode != 0, script
    private("stop", where)
    for name in ("postmaster.pid", "rowfs.conf"):
        assert as_postgres('rm -f "$1/data/$2" && ln -s "$3" "$1/data/$2"', where, name, place / "secret").returncode == 0
    assert "pid" not in private("status", where, ok=False).stdout
    assert as_postgres('cd "$1/data" && mkfifo fifo && mv fifo postmaster.pid', where).returncode == 0
    assert private("status", where, ok=False).returncode == 3  # and it does not wait for a writer
    done = private("start", where, ok=False)
    assert done.returncode != 0 and "Permission denied" in done.stderr
    assert as_postgres('rm "$1/data/rowfs.conf"', where).returncode == 0
    private("start", where)
    private("stop", where)


@pytest.mark.parametrize("name", ["pg_hba.conf", "pg_ident.conf", "postgresql.conf"])
def test_links_while_the_cluster_is_made(place, name):
    """Between initdb and the files that private-postgres adds."""
    real = Path(subprocess.run(["bash", "-c", "ls -d /usr/lib/postgresql/*/bin | sort -rV | head -n 1"], capture_output=True, text=True,
                               check=True).stdout.strip())
    bin_dir = place / "bin"
    bin_dir.mkdir()
    for program in real.iterdir():
        os.symlink(program, bin_dir / program.name)
    (bin_dir / "initdb").unlink()
    (bin_dir / "initdb").write_text(f'#!/bin/sh\n{real}/initdb "$@" && rm data.new/{name} && ln -s {place}/secret data.new/{name}\n')
    (bin_dir / "initdb").chmod(0o755)
    done = private("start", place / "pg", ok=False, env={"PGBIN": str(bin_dir)})
    assert done.returncode != 0 and "Permission denied" in done.stderr, done.stderr


@pytest.mark.parametrize("owner, mode", [("postgres", 0o755), (STRANGER, 0o700), ("root", 0o777)])
def test_a_place_where_others_may_write(place, owner, mode):
    """Who may write above the directory can put another one in its place."""
    above = place / "above"
    above.mkdir()
    above.chmod(mode)
    shutil.chown(above, owner)
    done = private("start", above / "pg", ok=False)
    assert done.returncode == 1 and f"in the place of {above}/pg" in done.stderr, done.stderr
    assert os.listdir(above) == []


def test_a_directory_of_somebody_else(place):
    where = place / "pg"
    where.mkdir()
    os.chown(where, STRANGER, STRANGER)
    done = private("start", where, ok=False)
    assert done.returncode == 1 and "belongs to another user" in done.stderr
    assert where.stat().st_uid == STRANGER and os.listdir(where) == []


def test_the_socket_of_a_long_path_is_in_a_directory_of_roots(place):
    """Not in /tmp: after somebody has cleared it, anybody could listen there."""
    where = place / ("x" * 120)
    host = private("start", where).stdout.split("'")[1]
    try:
        assert Path(host).parent == Path("/run") and Path(host).owner() == "postgres"
    finally:
        private("stop", where)
        shutil.rmtree(host)
