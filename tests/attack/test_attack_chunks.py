"""Ingest files of tables that a role has no right on: it has the grants of OPERATIONS.md, and
rights on table a only. It does not see them, by SQL or through a mount of its own, and changes
nothing of them. Files belong to their table, by its name."""
import contextlib
import errno
import os

import psycopg2
import pytest

from ingestkit import put
from kit import get, rm, sqitch, until

TABLE = "create table {} (id bigserial primary key, n int, v text);"
TABLES = "create schema closed;" + "".join(TABLE.format(t) for t in ("a", "b", "closed.c"))


def route(path, table):
    return {"path": path, "file": True, "ingest": table, "columns": ["n", "v"]}


LAYOUT = {"routes": [route("/a/{name}.csv", "a"), route("/b/{name}.csv", "b"),
                     route("/c/{name}.csv", "closed.c"), route("/two/x{name}.csv", "a"),
                     route("/two/{name}.csv", "b")]}
OPEN = {"routes": [r for r in LAYOUT["routes"] if r["ingest"] != "closed.c"]}
ONLY_A = {"routes": [r for r in LAYOUT["routes"] if r["ingest"] == "a"]}
BODY = b"".join(b"%d,v%d\n" % (i, i) for i in range(3000))
TAKEN = "no right on"
EVERYTHING = "select f.id, f.dir, f.name, f.size, f.mode, f.state::text, f.op::text, c.at, " \
             "c.len, md5(c.data), r.ids::text from rowfs.file f " \
             "left join rowfs.chunk c on c.file = f.id " \
             "left join rowfs.file_rows r on r.file = f.id"
FILES = "select dir || '/' || name, relation from rowfs.file order by 1"
ALLOW = "select rowfs.allow('mallory'); " \
        "grant usage on all sequences in schema public to mallory"


def grants(pg, rights, *tables, role="mallory"):
    for table in tables:
        pg.sql(f"revoke all on {table} from {role}")
        if rights:
            pg.sql(f"grant {rights} on {table} to {role}")


@pytest.fixture
def two_roles(pg):
    """The tables; mallory with the documented grants, and all rights on table a."""
    with at_role(pg, "mallory"):
        pg.sql(TABLES)
        pg.sql(ALLOW)
        grants(pg, "select, insert, update, delete", "a")
        yield pg


@contextlib.contextmanager
def at_role(pg, role):
    pg.server.admin(f"create role {role} login")
    try:
        yield
    finally:
        pg.close()
        pg.admin(f"drop owned by {role} cascade")
        pg.server.admin(f"drop role {role}")


class As:
    """Statements of another role."""

    def __init__(self, pg, role="mallory"):
        self.conn = psycopg2.connect(pg.server.conninfo(pg.name, role), application_name="test")
        self.conn.autocommit = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.conn.close()

    def __call__(self, statement, *args):
        """Its rows, or how many it changed."""
        with self.conn.cursor() as cur:
            cur.execute(statement, args or None)
            return cur.fetchall() if cur.description else cur.rowcount

    def refused(self, statement, *args):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="row-level security"):
            self(statement, *args)


def others_mount(pg, make_mount, layout=OPEN):
    return make_mount(layout=layout, conninfo=pg.server.conninfo(pg.name, "mallory"))


def values(pg, table):
    return pg.sql(f"select n, v from {table} order by id")


def meant(body):
    return [(int(n), v) for n, v in (line.split(",") for line in body.decode().splitlines())]


def filled(pg, make_mount):
    """The owner's mount, with files of all tables."""
    m = make_mount(layout=LAYOUT)
    for name in ("a/1", "b/1", "b/2", "c/1", "two/x1", "two/y1"):
        put(m / f"{name}.csv", BODY)
    assert pg.sql(FILES) == [
        ("/a/1.csv", "public.a"), ("/b/1.csv", "public.b"), ("/b/2.csv", "public.b"),
        ("/c/1.csv", "closed.c"), ("/two/x1.csv", "public.a"), ("/two/y1.csv", "public.b")]
    return m


def test_by_sql(two_roles, make_mount):
    """Mallory sees what belongs to a. What she does to the rest changes nothing, or is refused."""
    pg = two_roles
    m = filled(pg, make_mount)
    before = sorted(pg.sql(EVERYTHING), key=repr)
    own, other = (pg.one("select id from rowfs.file where dir = %s and name = '1.csv'", d)
                  for d in ("/a", "/b"))
    with As(pg) as mallory:
        assert sorted(mallory(EVERYTHING), key=repr) == \
            [r for r in before if r[1] == "/a" or r[2][0] == "x"]
        for table, key in (("file", "id"), ("chunk", "file"), ("file_rows", "file")):
            where = f"{key} = {other}"
            assert mallory(f"select * from rowfs.{table} where {where}") == []
            assert mallory(f"select * from rowfs.{table} where {where} for update") == []
            what = "file" if key == "file" else "size"
            assert mallory(f"update rowfs.{table} set {what} = {own} where {where}") == 0
            assert mallory(f"delete from rowfs.{table} where {where}") == 0
        mallory.refused("insert into rowfs.chunk values (%s, 1000000, 1, false, 'x')", other)
        mallory.refused("insert into rowfs.chunk values (%s, 0, 1, false, 'x') "
                        "on conflict (file, at) do update set data = 'y'", other)
        mallory.refused("insert into rowfs.file_rows (file, ids) values (%s, '{[1,9)}')", other)
        mallory.refused("update rowfs.chunk set file = %s, at = at + 1000000 where file = %s",
                        other, own)
        mallory.refused("update rowfs.file_rows set file = %s where file = %s", other, own)
        for table in ("'public.b'", "'closed.c'", "'public.none'", "'none.none'", "'a'", "null"):
            mallory.refused("insert into rowfs.file (dir, name, relation) "
                            f"values ('/b', 'new.csv', {table})")
            mallory.refused(f"update rowfs.file set relation = {table} where id = %s", own)
        assert mallory("insert into rowfs.file (dir, name, relation) "
                       "values ('/b', '1.csv', 'public.a') on conflict do nothing") == 0
    assert sorted(pg.sql(EVERYTHING), key=repr) == before
    assert get(m / "b/1.csv") == BODY


def test_through_a_mount_of_her_own(two_roles, make_mount):
    """Also with routes for tables that she has no right on. The owner's mount sees all files."""
    pg = two_roles
    m = filled(pg, make_mount)
    # she may not even use its schema
    pg.sql("update rowfs.file set dir = '/a', name = 'c.csv' where dir = '/c'")
    hers = others_mount(pg, make_mount)
    assert [sorted(hers.ls(d)) for d in ("a", "b", "two")] == [["1.csv"], [], ["x1.csv"]]
    for name in ("b/1.csv", "a/c.csv", "two/y1.csv"):
        for call in (os.stat, get, os.unlink, lambda p: os.rename(p, hers / "a/2.csv"),
                     lambda p: os.chmod(p, 0o600)):
            with pytest.raises(FileNotFoundError):
                call(hers / name)
    with open(hers / "a/1.csv", "ab") as f:
        f.write(b"7,more\n")
    put(hers / "a/new.csv", b"8,new\n")
    assert get(m / "a/1.csv") == get(hers / "a/1.csv") == BODY + b"7,more\n"
    os.rename(hers / "a/new.csv", hers / "two/xnew.csv")
    assert get(m / "two/xnew.csv") == b"8,new\n"
    rm(hers / "two/xnew.csv")
    put(m / "b/1.csv", b"9,again\n")
    assert values(pg, "b") == meant(BODY + BODY) + [(9, "again")]


def test_a_name_that_is_taken(two_roles, make_mount):
    """By a file that she cannot see. EACCES says so; what she has stays as it is."""
    pg = two_roles
    m = filled(pg, make_mount)
    # a directory whose files are of b for others
    layout = {"routes": [route("/b/{name}.csv", "a")]}
    hers = others_mount(pg, make_mount, layout)
    put(hers / "b/hers.csv", b"1,x\n")
    put(hers / "b/plain", b"2,y\n")
    hers.refuses(lambda: put(hers / "b/1.csv", b"no"), errno.EACCES, TAKEN, path="b/1.csv")
    hers.refuses(lambda: os.open(hers / "b/1.csv", os.O_WRONLY | os.O_CREAT | os.O_EXCL),
                 errno.EACCES, TAKEN, path="b/1.csv")
    hers.refuses(lambda: os.rename(hers / "b/hers.csv", hers / "b/1.csv"), errno.EACCES, TAKEN)
    hers.refuses(lambda: os.rename(hers / "b/plain", hers / "b/1.csv"), errno.EACCES, TAKEN)
    assert get(hers / "b/hers.csv") == b"1,x\n" and get(hers / "b/plain") == b"2,y\n"
    os.rename(hers / "b/hers.csv", hers / "b/3.csv")
    assert get(m / "b/1.csv") == BODY and get(m / "b/3.csv") == b"1,x\n"


def test_a_reader_changes_no_bytes(two_roles, make_mount):
    """SELECT on the table shows its files."""
    pg = two_roles
    filled(pg, make_mount)
    grants(pg, "select", "b")
    before = sorted(pg.sql(EVERYTHING), key=repr)
    hers = others_mount(pg, make_mount)
    assert get(hers / "b/1.csv") == BODY and sorted(hers.ls("b")) == ["1.csv", "2.csv"]
    why = "neither INSERT nor DELETE on public.b"
    hers.refuses(lambda: put(hers / "b/new.csv", b""), errno.EACCES, why, path="b/new.csv")
    hers.refuses(lambda: os.chmod(hers / "b/1.csv", 0o600), errno.EACCES, why)
    hers.refuses(lambda: os.utime(hers / "b/1.csv", (1, 1)), errno.EACCES, why)
    hers.refuses(lambda: os.unlink(hers / "b/1.csv"), errno.EACCES, why)
    hers.refuses(lambda: os.rename(hers / "b/1.csv", hers / "b/9.csv"), errno.EACCES, why)
    hers.refuses(lambda: os.truncate(hers / "b/1.csv", 0), errno.EACCES, why)
    with As(pg) as mallory:
        assert mallory("update rowfs.file set relation = 'public.a'") == 2
        assert mallory("update rowfs.chunk set data = 'x', len = 1, zlib = false "
                       "where file = any (select id from rowfs.file where dir = '/b')") == 0
    assert sorted(pg.sql(EVERYTHING), key=repr) == before


def test_a_collector_that_may_only_insert(two_roles, make_mount):
    """It reads back what it has written, and rotates it."""
    pg = two_roles
    filled(pg, make_mount)
    grants(pg, "insert", "b")
    grants(pg, None, "a")
    layout = {"routes": [r for r in LAYOUT["routes"] if r["ingest"] == "b"]}
    hers = others_mount(pg, make_mount, layout)
    put(hers / "b/3.csv", b"1,x\n")
    with open(hers / "b/3.csv", "ab") as f:
        f.write(b"2,y\n")
    assert get(hers / "b/3.csv") == b"1,x\n2,y\n"
    os.rename(hers / "b/3.csv", hers / "b/4.csv")
    assert sorted(hers.ls("b")) == ["1.csv", "2.csv", "4.csv"]
    assert values(pg, "b")[-2:] == [(1, "x"), (2, "y")]
    rm(hers / "b/4.csv")


@pytest.mark.parametrize("kept", ["select", None])
@pytest.mark.parametrize("more", [b"3,z\n", b"3,half", b""])
def test_rights_are_revoked_while_a_file_is_open(two_roles, make_mount, kept, more):
    """EACCES at fsync, whether lines are to become rows or not. What was written waits until the
    rights are back."""
    pg = two_roles
    hers = others_mount(pg, make_mount, ONLY_A)
    m = make_mount(layout=LAYOUT)
    fd = os.open(hers / "a/1.csv", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.write(fd, b"1,x\n2,y\n")
        os.fsync(fd)
        grants(pg, kept, "a")
        if more:
            os.write(fd, more)
            hers.refuses(lambda: os.fsync(fd), errno.EACCES, path="a/1.csv")
        else:
            hers.refuses(lambda: os.ftruncate(fd, 0) or os.fsync(fd), errno.EACCES, path="a/1.csv")
        assert get(m / "a/1.csv") == b"1,x\n2,y\n" and values(pg, "a") == meant(b"1,x\n2,y\n")
        grants(pg, "select, insert, update, delete", "a")
        os.fsync(fd)
    finally:
        os.close(fd)
    body = b"1,x\n2,y\n" + more if more else b""
    assert get(m / "a/1.csv") == body
    assert values(pg, "a") == meant(body)


def test_rights_are_revoked_and_the_file_is_closed(two_roles, make_mount):
    """What waited is in rejected/ then, as bytes."""
    pg = two_roles
    hers = others_mount(pg, make_mount, ONLY_A)
    fd = os.open(hers / "a/1.csv", os.O_WRONLY | os.O_CREAT, 0o644)
    os.write(fd, b"1,x\n")
    os.fsync(fd)
    grants(pg, None, "a")
    os.write(fd, b"2,y\n3,half")
    hers.refuses(lambda: os.close(fd), errno.EACCES, path="a/1.csv")
    until(lambda: b"".join(hers.kept()) == b"2,y\n3,half", "what waited is kept")
    grants(pg, "select, insert", "a")
    assert get(hers / "a/1.csv") == b"1,x\n" and values(pg, "a") == [(1, "x")]


def test_a_table_that_is_made_anew(two_roles, make_mount):
    """Its files are known by its name. Without it, only the owner of the schema sees them."""
    pg = two_roles
    filled(pg, make_mount).umount()
    with As(pg) as mallory:
        count = "select count(*) from rowfs.chunk c join rowfs.file f on f.id = c.file " \
                "where f.dir = '/a'"
        assert mallory(count) == pg.sql(count) != [(0,)]
        pg.sql("drop table a")
        assert mallory(count) == [(0,)] != pg.sql(count)
        pg.sql(TABLE.format("a"))
        assert mallory(count) == [(0,)]
        grants(pg, "select, insert, update, delete", "a")
        pg.sql("grant usage on all sequences in schema public to mallory")
        assert mallory(count) == pg.sql(count)
    hers = others_mount(pg, make_mount, ONLY_A)
    assert get(hers / "a/1.csv") == BODY
    with open(hers / "a/1.csv", "ab") as f:
        f.write(b"7,more\n")
    assert get(hers / "a/1.csv") == BODY + b"7,more\n" and values(pg, "a") == [(7, "more")]


def test_a_removed_file_that_names_another(two_roles, make_mount):
    """A mount that begins clears away what dead mounts have left: that file, and not the one that
    its name speaks of."""
    pg = two_roles
    m = filled(pg, make_mount)
    m.umount()
    other = pg.one("select id from rowfs.file where dir = '/b' and name = '1.csv'")
    with As(pg) as mallory:
        mallory("insert into rowfs.file (dir, name, relation) values ('', %s, 'public.a')",
                f"{other} 1 1 nowhere")
    m.start()
    assert get(m / "b/1.csv") == BODY
    assert pg.sql("select name from rowfs.file where dir = ''") == []


def test_an_upgrade(server, make_mount):
    """A database without the change is served as before it. Afterwards its files are everybody's,
    until a mount has begun that has a route for them and rights on the table."""
    pg = server.create_database("before_policies")
    try:
        with at_role(pg, "mallory"):
            pg.admin('create extension "uuid-ossp"')
            sqitch(pg, "deploy", "--to", "rowfs_channel")
            pg.sql(TABLES)
            pg.sql(ALLOW)
            grants(pg, "select, insert, update, delete", "a")
            m = make_mount(layout=LAYOUT, conninfo=pg.conninfo)
            hers = others_mount(pg, make_mount, ONLY_A)
            put(hers / "a/1.csv", BODY)
            for name in ("b/1.csv", "two/x1.csv", "two/y1.csv"):
                put(m / name, BODY)
            os.rename(m / "b/1.csv", m / "b/2.csv")
            os.chmod(hers / "a/1.csv", 0o600)
            assert get(hers / "a/1.csv") == BODY
            hers.umount()
            m.umount()
            with contextlib.closing(pg.connect()) as mounted, mounted.cursor() as cur:
                cur.execute("select pg_advisory_lock_shared(1919316737, 1)")  # as a mount holds it
                with pytest.raises(AssertionError, match="unmount it first"):
                    sqitch(pg, "deploy")
            sqitch(pg, "deploy")
            every = "select dir || '/' || name from rowfs.file order by 1"
            with As(pg) as mallory:
                assert mallory(every) == pg.sql(every)
                hers.start()
                assert mallory(every) == pg.sql(every)
                assert pg.sql(FILES.replace("order", "where relation is not null order")) == [
                    ("/a/1.csv", "public.a"), ("/two/x1.csv", "public.a")]
                m.start()
                assert mallory(every) == [("/a/1.csv",), ("/two/x1.csv",)]
            assert pg.sql(FILES) == [("/a/1.csv", "public.a"), ("/b/2.csv", "public.b"),
                                     ("/two/x1.csv", "public.a"), ("/two/y1.csv", "public.b")]
            assert get(hers / "a/1.csv") == get(m / "b/2.csv") == get(m / "two/y1.csv") == BODY
            hers.umount()
            m.umount()
            sqitch(pg, "verify")
            sqitch(pg, "revert", "-y", "--to", "rowfs_channel")
            sqitch(pg, "verify", "--to", "rowfs_channel")
            with As(pg) as mallory:
                assert mallory(every) == pg.sql(every)
            m.start()
            assert get(m / "b/2.csv") == BODY
            m.umount()
    finally:
        pg.drop()


def test_each_change_says_whose_it_is(two_roles, make_mount):
    """A file that was nobody's meanwhile."""
    pg = two_roles
    m = filled(pg, make_mount)
    changes = (lambda p: put(p, BODY),
               lambda p: put(p, b"1,x\n", flags=os.O_WRONLY | os.O_APPEND),
               lambda p: os.chmod(p, 0o600), lambda p: os.rename(p, m / "b/9.csv"))
    for change in changes:
        pg.sql("update rowfs.file set relation = null where dir = '/b'")
        change(m / "b/1.csv")
        assert pg.sql("select relation from rowfs.file where dir = '/b' "
                      "and name in ('1.csv', '9.csv')") == [("public.b",)]
