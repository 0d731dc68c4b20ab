"""A mount of a standby server: it reads, shows that nothing can be written, and writes once the server is promoted."""
import errno
import os
import pwd
import stat

import pytest

import kit
from kit import IS_ROOT, refused, rm, until

SQL = """
create table t (id integer primary key, text text);
create table log (id bigserial primary key, n integer, text text);
insert into t values (1, 'a'), (2, 'b');
insert into log (n, text) values (1, 'x');
"""
LAYOUT = {"routes": [
    {"path": "/t/{id}.json", "row": "t"}, {"path": "/t/{id}/text", "column": "t.text"}, {"path": "/t.json", "rows": "t", "as": "array"},
    {"path": "/log.csv", "rows": "log", "columns": ["n", "text"]}, {"path": "/in/{n}.csv", "file": True, "ingest": "log", "columns": ["n", "text"]}]}


class Standby(kit.Postgres):
    """A copy of PRIMARY that follows it."""

    def __init__(self, primary):  # pylint: disable=super-init-not-called
        self.dir, self.bin, self.user = kit.scratch("std"), primary.bin, primary.user
        self.data, self.log, self.process, self._mark = self.dir / "data", self.dir / "log", None, 0
        if IS_ROOT:
            os.chown(self.dir, pwd.getpwnam(self.user).pw_uid, -1)
        self._as_owner(self.bin / "pg_basebackup", "-h", primary.dir, "-U", "postgres", "-D", self.data, "-R", "-X", "stream", "-c", "fast",
                       "--no-sync")
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as conf:
            conf.write(f"unix_socket_directories = '{self.dir}'\n")
        self.start()


@pytest.fixture
def standby(pg):
    pg.sql(SQL)
    server = Standby(pg.server)
    yield server
    server.destroy()


@pytest.mark.bare
def test_a_standby_is_read_only_until_it_is_promoted(pg, make_mount, standby):
    first = make_mount(layout=LAYOUT)  # of the primary, with the triggers
    first.write("in/1.csv", "2,y\n3,z\n")
    first.append("log.csv", "n,text\n4,w\n")
    want = {name: first.bytes(name) for name in ("t/1.json", "t/1/text", "t.json", "log.csv", "in/1.csv")}
    rows = pg.sql("select n, text from log order by id")
    until(lambda: standby.admin("select count(*) from log", dbname=pg.name)[0][0] == len(rows), "the standby has it all", 30)
    m = make_mount(layout=LAYOUT, conninfo=standby.conninfo(pg.name), install=False)
    assert {name: m.bytes(name) for name in want} == want
    for name in ("t/1.json", "t/1/text", "t.json", "log.csv"):
        assert stat.S_IMODE(os.stat(m.at(name)).st_mode) == 0o444, name
    coherence = m.status()["coherence"]
    assert coherence["mode"] == "ttl" and coherence["why"], coherence
    for action in (lambda: m.write("t/1.json", {"text": "n"}), lambda: m.write("t/1/text", "n"), lambda: m.write("t.json", "[]"),
                   lambda: m.append("log.csv", "n,text\n5,v\n"), lambda: m.write("log.csv", "n,text\n"), lambda: rm(m.at("t/1.json")),
                   lambda: m.append("in/1.csv", "6,u\n"), lambda: m.write("in/2.csv", "6,u\n")):
        with refused(errno.EROFS):
            action()
    assert "standby" in "".join(map(str, m.errors()))
    m.write("plain", "local")  # bytes on the local disk
    assert m.read("plain") == "local"
    pg.sql("update t set text = 'seen' where id = 1")
    until(lambda: m.read("t/1/text") == "seen", "a change of the primary is seen", 30)
    first.umount()
    standby.admin("select pg_promote()")
    until(lambda: standby.admin("select not pg_is_in_recovery()")[0][0], "the standby is promoted", 60)
    m.write("t/1/text", "written")
    m.append("log.csv", "n,text\n7,t\n")
    assert standby.admin("select text from t where id = 1", dbname=pg.name) == [("written",)]
    assert standby.admin("select n from log order by id desc limit 1", dbname=pg.name) == [(7,)]
