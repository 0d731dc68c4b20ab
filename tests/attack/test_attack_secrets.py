"""Where a password stands once a mount has it: not in its arguments, not in its environment, not in what its children get."""
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import mountkit
from kit import get, until
from mountkit import clean_env, rowfs_binary
from test_options import password_server  # noqa: F401 a fixture

SECRET = "sEcReT-pw"
WAYS = ["conninfo", "option", "PGPASSWORD", "DB_PASSWORD", "DATABASE_URL", "config", "service"]


def shown(pid):
    """What other programs of its user, and of everybody, see of it."""
    return get(f"/proc/{pid}/cmdline") + get(f"/proc/{pid}/environ")


def wanting(way, pg, tmp_path):
    """The conninfo, environment and options of a mount that gets the password by WAY; two variables have the same one, and count for
    nothing."""
    conninfo, options = pg.conninfo, {}
    env = {"PGPASSWORD": SECRET, "DB_PASSWORD": SECRET, "DATABASE_URL": f"postgresql://keeper:{SECRET}@nowhere/x", "KEEP": "me"}
    if way == "conninfo":
        conninfo += f" password={SECRET}"
    elif way == "option":
        options["password"] = SECRET
    elif way == "PGPASSWORD":
        del env["DB_PASSWORD"], env["DATABASE_URL"]
    elif way == "DB_PASSWORD":
        env["PGPASSWORD"] = "wrong"
    elif way == "DATABASE_URL":
        conninfo, env = "", {"DATABASE_URL": f"postgresql://keeper:{SECRET}@/{pg.name}?host={pg.server.dir}", "KEEP": "me"}
    elif way == "config":
        (tmp_path / "c.json").write_text(json.dumps({"host": "${MY_HOST}", "database": pg.name, "username": "keeper",
                                                     "password": "${MY_PASSWORD}${NOT_SET:-}"}))
        conninfo, options, env = "", {"config": tmp_path / "c.json"}, {"MY_PASSWORD": SECRET, "MY_HOST": str(pg.server.dir), "KEEP": "me"}
    else:  # the service's own comes before PGPASSWORD
        (tmp_path / "services").write_text(f"[mine]\nhost={pg.server.dir}\ndbname={pg.name}\nuser=keeper\npassword={SECRET}\n")
        conninfo, env = "service=mine", {"PGSERVICEFILE": str(tmp_path / "services"), "PGPASSWORD": "wrong", "KEEP": "me"}
    return conninfo, env, options


@pytest.mark.parametrize("way", WAYS)
def test_no_password_in_the_process_table(pg, make_mount, password_server, tmp_path, way):  # noqa: F811
    """Neither is one that a weaker source says; a connection that is made later has it all the same."""
    conninfo, env, options = wanting(way, pg, tmp_path)
    m = make_mount(conninfo=conninfo, env=env, options=options)
    everything = shown(m.process.pid)
    assert SECRET.encode() not in everything and b"wrong" not in everything
    assert b"KEEP=me" in everything
    pg.server.admin("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'keeper'")
    assert ".rowfs" in m.ls()
    m.mkdir("users/h")


def test_a_service_without_a_password(pg, make_mount, password_server, tmp_path):  # noqa: F811
    """PGPASSWORD counts then, whichever way the service is named."""
    (tmp_path / "services").write_text(f"[mine]\nhost={pg.server.dir}\ndbname={pg.name}\nuser=keeper\n")
    env = {"PGSERVICEFILE": str(tmp_path / "services"), "PGPASSWORD": SECRET}
    for conninfo, more in (("service=mine", {"PGSERVICE": "other"}), ("", {"PGSERVICE": "mine"})):
        m = make_mount(conninfo=conninfo, env={**env, **more})
        assert SECRET.encode() not in shown(m.process.pid)
        assert f"PGSERVICE={more['PGSERVICE']}".encode() in shown(m.process.pid)
        m.mkdir(f"users/{more['PGSERVICE']}")
        m.umount()


def test_what_a_child_gets(empty_pg, password_server, tmp_path):  # noqa: F811
    """sqitch needs the password, and has it in PGPASSWORD alone, which libpq reads."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sqitch").write_text(f'#!/bin/sh\ntr "\\0" "\\n" <"/proc/$$/environ" >{tmp_path}/environ\nexit 1\n')
    (tmp_path / "bin/sqitch").chmod(0o755)
    env = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "DB_PASSWORD": SECRET, "MY_URL": f"{empty_pg.conninfo} password={SECRET}"}
    (tmp_path / "c.json").write_text('{"connection_string": "${MY_URL}"}')
    m = mountkit.Mount("", start=False, env=env, options={"enable_migrations": "true", "config": tmp_path / "c.json"})
    try:
        m.spawn()
        assert m.process.wait(30) == 1
    finally:
        m.destroy()
    lines = (tmp_path / "environ").read_text().splitlines()
    assert [line for line in lines if SECRET in line] == [f"PGPASSWORD={SECRET}"]


def test_mount_rowfs_hides_what_it_was_given(tmp_path):
    """mount(8)'s helper waits until the mount is there; ps shows it to everybody meanwhile."""
    for directory in ("mount-helpers", "fs", "m"):
        (tmp_path / directory).mkdir()
    shutil.copy(Path(rowfs_binary()).parents[1] / "mount-helpers/mount.rowfs", tmp_path / "mount-helpers")
    (tmp_path / "fs/rowfs").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/given\nread line <{tmp_path}/go\n')
    (tmp_path / "fs/rowfs").chmod(0o755)
    os.mkfifo(tmp_path / "go")
    words = [f"host=h password={SECRET}", str(tmp_path / "m"), "-o", f"ro,password={SECRET}"]
    helper = subprocess.Popen([tmp_path / "mount-helpers/mount.rowfs", *words], env=clean_env())
    try:
        until(lambda: (tmp_path / "given").exists() and "password" in (tmp_path / "given").read_text(), "rowfs has its arguments")
        until(lambda: SECRET.encode() not in get(f"/proc/{helper.pid}/cmdline"), "the helper hides its own")
        assert str(tmp_path / "m").encode() in get(f"/proc/{helper.pid}/cmdline")
    finally:
        (tmp_path / "go").write_text("\n")
        assert helper.wait(30) == 0
    given = (tmp_path / "given").read_text().splitlines()
    assert words[0] in given and words[3] in given
