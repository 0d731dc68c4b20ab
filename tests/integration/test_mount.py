"""Mounting and unmounting."""
import errno
import os
import re
import shlex
import signal
import subprocess

import pytest

from kit import IS_ROOT, ROOT, get, put, refused, run, until
from mountkit import clean_env, is_mounted, lazy_umount, rowfs_binary, sanitizer_env
from shop import LAYOUT


@pytest.fixture
def by_hand(pg, tmp_path, fuse):
    """by_hand(*words): runs `rowfs mount WORDS… conninfo DIR` without -f and returns (CompletedProcess, DIR)."""
    place = tmp_path / "m"
    place.mkdir()

    def go(*words, conninfo=None, at=place):
        done = run(rowfs_binary(), "mount", "-o", f"state_dir={tmp_path / 'state'}", *words, conninfo or pg.conninfo, at, ok=False, env=clean_env(),
                   timeout=60)
        return done, at
    yield go
    while is_mounted(place):
        lazy_umount(place)


def unmounted(place):
    run(*(["umount"] if IS_ROOT else ["fusermount3", "-u"]), place)
    until(lambda: not is_mounted(place), "unmounted")


def daemons(place):
    out = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.fsencode(place) in get(f"/proc/{pid}/cmdline") and b"rowfs" in os.path.basename(get(f"/proc/{pid}/cmdline").split(b"\0")[0]):
                out.append(int(pid))
        except OSError:
            pass
    return out


def test_it_answers_when_it_returns(by_hand):
    done, place = by_hand()
    assert done.returncode == 0, done
    assert os.listdir(place / "users") == []  # at once
    assert b"ok" in get(place / ".rowfs/health")
    assert daemons(place)
    unmounted(place)
    until(lambda: not daemons(place), "the daemon ends")


def test_it_says_why_and_returns_non_zero(by_hand, pg, tmp_path):
    for conninfo, word in ((f"host={pg.server.dir} dbname=no_such_db user=keeper", "no_such_db"), ("host=/nonexistent dbname=x", "/nonexistent"),
                           (f"host={pg.server.dir} dbname={pg.name} user=no_such_user", "no_such_user"), ("host=", ""), ("nonsense here", "")):
        done, place = by_hand("-o", "retry_attempts=0,connection_timeout=2", conninfo=conninfo)
        assert done.returncode != 0 and word in done.stderr and done.stderr.strip(), done
        assert "Sanitizer" not in done.stderr
        assert not is_mounted(place)
    for at in (tmp_path / "missing", __file__):
        done, _ = by_hand(at=at)
        assert done.returncode != 0 and str(at) in done.stderr, done


def test_a_database_without_the_schema(by_hand, empty_pg):
    """The default layout's tables are missing: all of them are named."""
    done, place = by_hand(conninfo=empty_pg.conninfo)
    assert done.returncode == 1 and not is_mounted(place)
    for table in ("users", "sessions", "commands", "orderbook_data"):
        assert table in done.stderr


def test_mounting_twice_on_one_place_is_refused(by_hand):
    assert by_hand()[0].returncode == 0
    done, place = by_hand()
    assert done.returncode != 0 and str(place) in done.stderr
    assert os.listdir(place / "users") == []  # the first is unharmed
    unmounted(place)
    assert not is_mounted(place)
    assert by_hand()[0].returncode == 0  # and it can be mounted again
    unmounted(place)


def test_a_stale_mount_is_told_or_replaced(by_hand):
    _, place = by_hand()
    for pid in daemons(place):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not daemons(place), "killed")
    done, place = by_hand()
    if done.returncode == 0:
        assert os.listdir(place / "users") == []
    else:
        assert str(place) in done.stderr
        lazy_umount(place)
        assert by_hand()[0].returncode == 0
    unmounted(place)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_unmounts_cleanly(mount, signum):
    mount.mkdir("users/h")
    mount.kill(signum)
    assert mount.wait(20) == 0
    assert not is_mounted(mount.path)
    mount.check_output()
    mount.process = None


def test_a_signal_commits_what_was_written(shop):
    shop.add("bolt", qty=3)
    fd = os.open(shop.m.at("log.csv"), os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"a,1,,\n")
    shop.m.kill(signal.SIGTERM)
    shop.m.wait(20)
    with refused(errno.ENOTCONN, errno.ECONNABORTED, errno.EIO):
        os.fsync(fd)
    try:
        os.close(fd)
    except OSError:
        pass
    assert shop.sql("select n from log") == [(1,)]
    shop.m.process = None


def test_umount_of_a_busy_mount(shop):
    """umount says EBUSY while a file is open; the mount goes on; umount -l lets the daemon end when the file is closed."""
    shop.add("bolt", note="n" * 100_000)
    fd = os.open(shop.m.at("items/bolt/note.txt"), os.O_RDONLY)
    done = run(*(["umount"] if IS_ROOT else ["fusermount3", "-u"]), shop.m.path, ok=False)
    assert done.returncode != 0
    assert shop.m.ls("items") == ["bolt"]
    os.close(fd)


@pytest.mark.parametrize("name", ["it's", 'a "b"', "semi;colon $(x) `y`", "né 日本", "comma,comma", "back\\slash", "new\nline", "-dash", "%41", "p=q"])
def test_hostile_mountpoints(pg, make_mount, tmp_path, name):
    place = tmp_path / name
    m = make_mount(mountpoint=place)
    m.mkdir("users/h")
    assert m.ls("users") == ["h"]
    assert pg.one("select count(*) from users") == 1
    m.umount()
    assert not is_mounted(place)


def test_mountpoint_given_relatively(pg, tmp_path, fuse):
    (tmp_path / "rel").mkdir()
    run(rowfs_binary(), "mount", "-o", f"state_dir={tmp_path / 'state'}", pg.conninfo, "rel", cwd=tmp_path, env=clean_env())
    assert os.listdir(tmp_path / "rel/users") == []
    unmounted(tmp_path / "rel")


def test_mount_lists_it_without_secrets(pg, make_mount):
    m = make_mount(conninfo=f"{pg.conninfo} password=sEcReT")
    line = next(x for x in get("/proc/self/mountinfo").decode().splitlines() if f" {m.path} " in x)
    assert "fuse.rowfs" in line and "sEcReT" not in line
    named = make_mount(options={"fsname": "my\\,db"})
    line = next(x for x in get("/proc/self/mountinfo").decode().splitlines() if f" {named.path} " in x)
    assert " my,db " in line


def test_statfs(mount):
    st = os.statvfs(mount.path)
    assert st.f_namemax == 255 and st.f_bsize > 0
    run("df", mount.path)


@pytest.fixture
def helper(tmp_path):
    """mount.rowfs, found by mount(8) in /sbin, where a link to the built one stands for the test's time, and rowfs on PATH."""
    built = next((p for p in (rowfs_binary().parent / "mount-helpers/mount.rowfs", rowfs_binary().parent.parent / "mount-helpers/mount.rowfs",
                              ROOT / "build-test/mount-helpers/mount.rowfs") if p.exists()), None)
    if built is None:
        pytest.skip("mount.rowfs is not built")
    links = ("/sbin/mount.rowfs", "/sbin/mount.fuse.rowfs")
    for link in links:
        if os.path.lexists(link):
            pytest.skip(f"{link} exists already: not ours to replace")
    for link in links:
        os.symlink(built, link)
    (tmp_path / "bin").mkdir()
    os.symlink(rowfs_binary(), tmp_path / "bin/rowfs")
    yield {**{k: v for k, v in clean_env().items() if k != "PATH"}, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    for link in links:
        os.unlink(link)


@pytest.mark.root
def test_mount_t_rowfs(pg, tmp_path, helper):
    place = tmp_path / "a place"
    place.mkdir()
    run("mount", "-t", "rowfs", pg.conninfo, place, "-o", f"state_dir={tmp_path / 'state'},max_connections=3", env=helper)
    try:
        assert os.listdir(place / "users") == []
        assert b'"max_connections": 3' in get(place / ".rowfs/config.json")
    finally:
        run("umount", place)
    done = run("mount", "-t", "rowfs", "host=/nonexistent dbname=x", place, ok=False, env=helper)
    assert done.returncode not in (0, 1, 2) and "/nonexistent" in done.stderr


@pytest.mark.root
def test_an_fstab_line(pg, tmp_path, helper):
    place, fstab = tmp_path / "a place", tmp_path / "fstab"
    place.mkdir()
    spec = pg.conninfo.replace(" ", "\\040")
    fstab.write_text(f"{spec} {str(place).replace(' ', chr(92) + '040')} rowfs noauto,nofail,x-systemd.automount,_netdev,nosuid,nodev,"
                     f"state_dir={tmp_path / 'state'},allow_other,default_permissions 0 0\n")
    run("mount", "-T", fstab, place, env=helper)
    try:
        assert os.listdir(place / "users") == []
        options = next(x for x in get("/proc/self/mountinfo").decode().splitlines() if "a\\040place" in x)
        assert "nosuid" in options and "nodev" in options and "allow_other" in options
    finally:
        run("umount", place)


@pytest.mark.root
def test_the_helper_fakes_and_is_sloppy(pg, tmp_path, helper):
    place = tmp_path / "m"
    place.mkdir()
    run("mount", "-f", "-t", "rowfs", pg.conninfo, place, env=helper)
    assert not is_mounted(place)
    done = run("mount", "-t", "rowfs", "-o", "no_such_option", pg.conninfo, place, env=helper, ok=False)
    assert done.returncode == 1 and not is_mounted(place)
    run("mount", "-s", "-t", "rowfs", "-o", f"no_such_option,state_dir={tmp_path / 'state'}", pg.conninfo, place, env=helper)
    unmounted(place)


@pytest.mark.root
def test_remount(empty_pg, make_mount, tmp_path, helper):
    """Read-only and back, by the kernel: the daemon and what it has open go on."""
    empty_pg.sql("create table t (id integer primary key, text text); insert into t values (1, 'a')")
    layout = {"routes": [{"path": "/t/{id}.json", "row": "t"}, {"path": "/t.csv", "rows": "t"}]}
    m = make_mount(layout=layout, conninfo=empty_pg.conninfo, install=False)

    def remount(words, place=m.path, **kw):
        return run("mount", "-o", f"remount,{words}", place, env=helper, **kw)

    def options(place=m.path):
        return next(line.split()[5] for line in get("/proc/self/mountinfo").decode().splitlines() if f" {place} " in line).split(",")
    before = options()
    remount("ro")
    assert options() == ["ro", *before[1:]] and "nosuid" in before
    assert m.json("t/1.json") == {"id": 1, "text": "a"}
    for action in (lambda: m.write("t/1.json", {"text": "b"}), lambda: m.append("t.csv", "2,b\n"), lambda: m.write("plain", "x"),
                   lambda: os.unlink(m.at("t/1.json")), lambda: m.mkdir("new")):
        with refused(errno.EROFS):
            action()
    remount("rw,layout=of_fstab,noatime")  # words of fstab are the daemon's
    assert options() == before
    m.write("t/1.json", {"text": "b"})
    fd = os.open(m.at("t.csv"), os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"2,c\n")
    assert "open for writing" in remount("ro", ok=False).stderr and options() == before
    os.close(fd)
    remount("ro")
    assert empty_pg.sql("select * from t order by id") == [(1, "b"), (2, "c")]
    assert remount("ro", place=tmp_path, ok=False).returncode != 0
    only = make_mount(layout=layout, conninfo=empty_pg.conninfo, install=False, options={"ro": True})
    remount("rw", place=only.path)
    only.refuses(lambda: only.write("t/1.json", {"text": "d"}), errno.EROFS, "-o ro", path="t/1.json")
    with refused(errno.EROFS):
        only.write("plain", "x")


@pytest.mark.root
def test_another_user_sees_nothing_unless_allowed(pg, make_mount, tmp_path):
    os.chmod("/tmp", os.stat("/tmp").st_mode)  # the kit's directories are 0700: open the way to this mountpoint
    m = make_mount()
    os.chmod(m.dir, 0o755)
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    assert run(*as_nobody, "ls", m.path, ok=False).returncode != 0
    o = make_mount(options={"allow_other": True, "default_permissions": True, "umask": "022"})
    os.chmod(o.dir, 0o755)
    o.mkdir("users/h")
    assert run(*as_nobody, "ls", o / "users").stdout == "h\n"
    assert run(*as_nobody, "rmdir", o / "users/h", ok=False).returncode != 0


@pytest.mark.root
def test_as_an_ordinary_user(pg, tmp_path):
    """rowfs run by nobody: fusermount3 mounts for it; skipped where /dev/fuse is root's alone."""
    if os.stat("/dev/fuse").st_mode & 0o006 != 0o006:
        pytest.skip("/dev/fuse is not open to ordinary users here")
    place, state = tmp_path / "m", tmp_path / "state"
    for d in (place, state):
        d.mkdir()
        os.chown(d, 65534, 65534)
    for d in [tmp_path, *tmp_path.parents][:-1]:
        os.chmod(d, os.stat(d).st_mode | 0o011)
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    if run(*as_nobody, "test", "-x", rowfs_binary(), ok=False).returncode != 0:
        pytest.skip(f"nobody cannot run {rowfs_binary()}")
    pg.server.admin("select 1")
    run("chmod", "755", pg.server.dir)
    run(*as_nobody, rowfs_binary(), "mount", "-o", f"state_dir={state}", pg.conninfo, place, env=clean_env(HOME=str(tmp_path)))
    assert run(*as_nobody, "ls", place / "users").stdout == ""
    run(*as_nobody, "fusermount3", "-u", place)


def test_state_dir_that_cannot_be(pg, by_hand):
    done, place = by_hand("-o", "state_dir=/proc/nope")
    assert done.returncode != 0 and "/proc/nope" in done.stderr and not is_mounted(place)


def test_daemon_holds_no_terminal_and_no_descriptors(by_hand):
    """A pipe on stdout must not stay open after the mount returned (ssh and CI would hang)."""
    words = shlex.join([str(rowfs_binary())])
    assert words
    done, place = by_hand()
    assert done.returncode == 0
    for pid in daemons(place):
        for fd in ("0", "1", "2"):
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
            assert not re.match(r"pipe:|/dev/(pts|tty)", target), target
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
    unmounted(place)


def test_nothing_leaks_over_many_mounts(pg, make_mount):
    for _ in range(3):
        m = make_mount()
        m.mkdir("users/h")
        m.write("users/h/metadata.json", '{"a": 1}')
        os.rmdir(m.at("users/h"))
        m.umount()  # LeakSanitizer judges here
    assert subprocess.run(["true"], check=True, env=sanitizer_env()).returncode == 0
    assert not pg.backends()


def test_two_mounts_of_one_database(shop_pg, make_mount):
    one, two = make_mount(layout=LAYOUT), make_mount(layout=LAYOUT)
    one.mkdir("items/bolt")
    put(one.at("items/bolt/qty"), "5\n")
    until(lambda: two.exists("items/bolt") and two.read("items/bolt/qty") == "5\n", "the other mount sees it", timeout=3)
