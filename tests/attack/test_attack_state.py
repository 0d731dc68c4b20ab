"""Another account of the machine that can write to a part of the path of state_dir, or was there first: nothing of his choice is opened, filled or
emptied."""
import os
import stat
import subprocess

import pytest

import mountkit
from kit import scratch

STRANGER = 65534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="files of another account can only be made by root")


@pytest.fixture
def place():
    """A directory, safe as tmp_path's parents are not always, and in it somebody's: `victim` has what must not be touched."""
    top = scratch("state")
    os.chmod(top, 0o755)
    victim = top / "victim"
    for name in (".", "rejected", "plain", "rotations"):
        (victim / name).mkdir()
        (victim / name / "kept").write_text("kept")
    (victim / "streams").write_text("kept")
    yield top
    for path, _, names in os.walk(victim):
        for name in names:
            with open(os.path.join(path, name), encoding="ascii") as f:
                assert f.read() == "kept", f"{path}/{name} was changed"
    assert sorted(os.listdir(victim)) == ["kept", "plain", "rejected", "rotations", "streams"]
    assert os.listdir(victim / "plain") == os.listdir(victim / "rejected") == ["kept"]
    subprocess.run(["rm", "-rf", str(top)], check=True)


def refused(pg, state, *words):
    """A mount with the state_dir STATE does not begin; its sentence has WORDS."""
    m = mountkit.Mount(pg.conninfo, options={"state_dir": state}, start=False)
    try:
        m.spawn()
        assert m.process.wait(30) == 1
        said = m.stderr.read_text()
        for word in ("state directory", "state_dir=DIR", *words):
            assert word in said, said
    finally:
        m.destroy()


def served(pg, state):
    """A mount with the state_dir STATE begins, takes a plain file and ends."""
    m = mountkit.Mount(pg.conninfo, options={"state_dir": state}, start=False)
    try:
        m.start()
        (m.path / "plain").write_text("x")
        names = os.listdir(state)
        m.umount()
    finally:
        m.destroy()
    return names


def test_a_directory_of_somebody_else(pg, place):
    """The state directory, or one above it, belongs to another account."""
    for state in (place / "his", place / "his" / "below"):
        (place / "his").mkdir(exist_ok=True)
        state.mkdir(exist_ok=True)
        os.chown(place / "his", STRANGER, STRANGER)
        refused(pg, state, f"{place}/his: it belongs to another user")


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777])
def test_a_directory_that_others_may_write(pg, place, mode):
    """By anybody, by a group that is not the user's own; the sticky bit is enough above it, and not for itself."""
    state = place / "open"
    state.mkdir()
    os.chown(state, 0, STRANGER)
    os.chmod(state, mode)
    refused(pg, state, f"{place}/open: others may write to it")
    if mode & stat.S_ISVTX:
        assert served(pg, state / "below")
    else:
        refused(pg, state / "below", f"{place}/open: others may write to it")


def test_a_directory_of_the_users_own_group(pg, place):
    """As many systems make them (umask 002)."""
    state = place / "own"
    state.mkdir()
    os.chmod(state, 0o775)
    assert served(pg, state)


def test_a_link_that_a_stranger_made(pg, place):
    """In the place of the state directory, or above it."""
    (place / "tmp").mkdir()
    os.chmod(place / "tmp", 0o1777)
    os.symlink(place / "victim", place / "tmp/state")
    os.lchown(place / "tmp/state", STRANGER, STRANGER)
    for state in (place / "tmp/state", place / "tmp/state/below"):
        refused(pg, state, f"{place}/tmp/state: it belongs to another user")


def test_a_link_of_the_administrator(pg, place):
    """/var may lead to another disk: relative and absolute links, and links in them."""
    (place / "disk/var").mkdir(parents=True)
    os.symlink("disk", place / "one")
    os.symlink(place / "one/var", place / "two")
    assert served(pg, place / "two/state")
    assert (place / "disk/var/state").is_dir()
    os.symlink("loop", place / "loop")
    refused(pg, place / "loop/state", "Too many levels of symbolic links")


@pytest.mark.parametrize("name", ["plain", "rejected", "rotations", "streams"])
def test_links_within_the_state_directory(pg, place, name):
    """What a mount opens there is its own; it follows no link."""
    m = mountkit.Mount(pg.conninfo, options={"state_dir": place / "state"}, start=False)
    try:
        m.start()
        m.umount()
        mine, = os.listdir(place / "state")
        assert stat.S_IMODE(os.stat(place / "state" / mine).st_mode) == 0o700
        link = place / "state" / mine / name
        subprocess.run(["rm", "-rf", str(link)], check=True)
        os.symlink(place / "victim" / name, link)
        m.spawn()
        assert m.process.wait(30) == 1
        assert "state directory" in m.stderr.read_text()
    finally:
        m.destroy()


def test_nobody_s_home(pg, place):
    """Without a home directory nothing is put into /tmp: the mount says which option is needed."""
    m = mountkit.Mount(pg.conninfo, options={"state_dir": None}, start=False)
    socket = dict(word.split("=") for word in pg.conninfo.split())["host"]
    mode = stat.S_IMODE(os.stat(socket).st_mode)
    try:
        env = mountkit.clean_env()
        env.pop("HOME", None)
        os.chmod(m.dir, 0o755)
        os.chown(m.path, 12345, 12345)
        os.chmod(socket, 0o755)
        before = set(os.listdir("/tmp"))
        done = subprocess.run(["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", *m.argv], env=env, capture_output=True, text=True,
                              timeout=60, check=False)
        assert done.returncode == 1 and "(none)" in done.stderr and "state_dir=DIR" in done.stderr, done.stderr
        assert not [n for n in set(os.listdir("/tmp")) - before if n == "rowfs" or n.startswith(".local")]
    finally:
        os.chmod(socket, mode)
        m.destroy()
