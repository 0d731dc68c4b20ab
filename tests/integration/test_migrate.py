"""enable_migrations: the mount does what rowfs init does, before it begins."""
import mountkit
from kit import run

LAYOUT = {"routes": [{"path": "/{things.id}.json", "row": "things"}]}


def test_the_core_is_deployed_at_mount(empty_pg, make_mount):
    pg = empty_pg
    pg.sql("create table things (id int primary key, name text); insert into things values (1, 'a')")
    for _ in range(2):  # the second time there is nothing to do
        m = make_mount(conninfo=pg.conninfo, layout=LAYOUT, options={"enable_migrations": "true"}, install=False)
        assert m.json("1.json") == {"id": 1, "name": "a"}
        assert pg.sql("select count(*) from rowfs.applied") == [(0,)]
        assert pg.sql("select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v')") == [("things",)]
        m.umount()


def test_a_schema_that_cannot_be_deployed_is_told(empty_pg, make_mount):
    pg = empty_pg
    pg.sql("create table things (id int primary key); create schema rowfs; create table rowfs.mine (i int)")
    m = mountkit.Mount(pg.conninfo, layout=LAYOUT, start=False, options={"enable_migrations": "true"})
    try:
        done = run(*[w for w in m.argv if w != "-f"], ok=False)
        assert done.returncode == 1 and "rowfs init: the schema rowfs has things that rowfs has not made (mine)" in done.stderr
        assert pg.sql("select relname from pg_class where relnamespace = 'rowfs'::regnamespace") == [("mine",)]
    finally:
        m.destroy()
