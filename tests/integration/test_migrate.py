"""enable_migrations: the mount deploys the schema itself."""
import mountkit
from kit import run


def test_the_schema_is_deployed_at_mount(server, make_mount):
    database = server.create_database("bare")
    try:
        database.admin('create extension "uuid-ossp"')
        for _ in range(2):  # the second time there is nothing to do
            m = make_mount(conninfo=database.conninfo, options={"enable_migrations": "true"})
            run("mkdir", "-p", m / "users/h1")
            assert database.sql("select hardware_id_hash from users") == [("h1",)]
            assert database.sql("select count(*) from rowfs.applied") == [(0,)]
            m.umount()
    finally:
        server.admin('drop database "bare" with (force)')


def test_a_schema_that_cannot_be_deployed_is_told(pg):
    m = mountkit.Mount(pg.conninfo + " application_name=x host=/nonexistent", start=False, options={"enable_migrations": "true"})
    done = run(*[w for w in m.argv if w != "-f"], ok=False)
    assert done.returncode == 1 and "enable_migrations: sqitch deploy failed" in done.stderr
