"""Programs that write to the tables by SQL are held up and broken by nobody who has no right on these tables: not by a role of a mount, and
not by what becomes of the schema rowfs. The second source is SQL on the rows."""
import os

import psycopg2
import pytest

from kit import get, until

TABLES = """
create table makers (id int primary key, name text unique not null);
create table parts (id bigserial primary key, maker int not null references makers, kind text not null, price numeric);
insert into makers values (1, 'acme'), (2, 'best');
insert into parts (maker, kind, price) select 1 + g % 2, 'k' || g % 3, g from generate_series(1, 30) g"""
LAYOUT = {"routes": [{"path": "/makers/{makers.name}/maker.json", "row": "makers"},
                     {"path": "/makers/{makers.name}/{parts.kind}.csv", "rows": "parts", "columns": ["kind", "price"]},
                     {"path": "/kinds/{parts.kind}.jsonl", "rows": "parts", "columns": ["id", "price"]}]}
STATEMENTS = ["insert into parts (maker, kind, price) values (1, 'new', 1)", "insert into parts (maker, kind, price) select 2, 'many', g from generate_series(1, 5) g",
              "update parts set price = 7 where id = 3", "update parts set price = price + 1", "delete from parts where id = 4", "delete from parts where id < 9",
              "truncate parts", "insert into parts (maker, kind, price) values (2, 'last', 2)"]


@pytest.fixture
def parts(pg, make_mount):
    pg.sql(TABLES)
    pg.admin("drop role if exists mallory")
    pg.admin("create role mallory login")
    pg.mount = make_mount(layout=LAYOUT)
    assert set(pg.mount.status()["summary"].values()) == {"kept"} and pg.mount.status()["coherence"]["mode"] == "notify"
    yield pg
    pg.mount.umount()
    pg.admin("drop owned by mallory cascade")
    pg.admin("drop role mallory")


def connect(pg, user):
    conn = psycopg2.connect(pg.server.conninfo(pg.name, user))
    with conn.cursor() as cur:
        cur.execute("set statement_timeout = '8s'")
    conn.commit()
    return conn


def write_all(pg):
    """The owner runs STATEMENTS. None may fail, and none wait as long as for a lock."""
    with connect(pg, "keeper") as conn, conn.cursor() as cur:
        for statement in STATEMENTS:
            cur.execute(statement)
            conn.commit()
    conn.close()


def sizes(pg):
    """The files of kinds/, and what the rows say that is in them."""
    told = {name: get(pg.mount.at(f"kinds/{name}")) for name in os.listdir(pg.mount.at("kinds"))}
    want = dict(pg.sql("select kind || '.jsonl', string_agg(row_to_json(r)::text || e'\\n', '' order by parts.id) from parts, "
                       "lateral (select id, price) r group by 1"))
    stats = {name: os.stat(pg.mount.at(f"kinds/{name}")).st_size for name in told}
    return told == {n: t.encode() for n, t in want.items()} and stats == {n: len(t) for n, t in want.items()}


def test_a_role_of_a_mount_locks_nothing_that_writers_need(parts):
    """LOCK TABLE on every table of the schema, in every mode that the documented grants allow."""
    parts.admin("select rowfs.allow('mallory')")
    tables = [name for name, in parts.sql("select oid::regclass::text from pg_class where relnamespace = 'rowfs'::regnamespace and relkind = 'r'")]
    assert len(tables) > 8
    for table in tables:
        with connect(parts, "mallory") as mallory, mallory.cursor() as cur:
            for mode in ("access exclusive", "share", "row exclusive", "access share"):
                try:
                    cur.execute(f"lock table {table} in {mode} mode nowait")
                    break
                except psycopg2.errors.InsufficientPrivilege:
                    mallory.rollback()
            write_all(parts)
            mallory.rollback()
        mallory.close()
    until(lambda: sizes(parts), "the files are as the rows")


def test_a_role_of_a_mount_locks_no_rows_that_writers_need(parts):
    parts.admin("select rowfs.allow('mallory')")
    for table in ("delta", "doubt", "summary", "slice", "notice"):
        with connect(parts, "mallory") as mallory, mallory.cursor() as cur:
            try:
                cur.execute(f"select * from rowfs.{table} for update")
            except psycopg2.errors.InsufficientPrivilege:
                mallory.rollback()
            write_all(parts)
            mallory.rollback()
        mallory.close()
    until(lambda: sizes(parts), "the files are as the rows")


def test_a_lock_on_the_parent_holds_up_no_writer_of_the_child(parts):
    """The trigger that tells looks the parent's name up; whoever may write to the parent may lock it."""
    parts.admin("grant select, update on makers to mallory")
    heard = connect(parts, "keeper")
    heard.autocommit = True
    heard.cursor().execute(f"listen {parts.channel()}; listen rowfs")
    with connect(parts, "mallory") as mallory, mallory.cursor() as cur:
        cur.execute("lock table makers in access exclusive mode")
        with connect(parts, "keeper") as conn, conn.cursor() as writer:
            for statement in ("update parts set price = 7 where id = 3", "update parts set price = 8", "delete from parts where id = 4"):
                writer.execute(statement)
                conn.commit()
        conn.close()
        heard.cursor().execute("select 1")
        assert len(heard.notifies) == 3
        mallory.rollback()
    mallory.close()
    heard.close()
    until(lambda: sizes(parts), "the files are as the rows")


@pytest.mark.parametrize("revoked", ["delta", "doubt", "delta, rowfs.doubt", "delta, rowfs.doubt, rowfs.summary, rowfs.slice, rowfs.notice", "functions", "schema"])
def test_rights_that_are_taken_away_break_no_statement(parts, revoked):
    """What is served stays true: mounts are told that anything may have changed, and sum the rows where counting was noted to have failed."""
    if revoked == "schema":
        parts.sql("revoke all on schema rowfs from keeper")
    elif revoked == "functions":
        parts.sql("revoke all on all functions in schema rowfs from public, keeper")
    else:
        parts.sql(f"revoke all on rowfs.{revoked} from keeper")
    write_all(parts)
    assert parts.sql("select kind, price from parts") == [("last", 2)]
    parts.admin("grant usage on schema rowfs to keeper; grant all on all tables in schema rowfs to keeper; "
                "grant execute on all functions in schema rowfs to keeper, public")
    until(lambda: parts.mount.ls("makers/best") == ["last.csv", "maker.json"] or revoked != "delta", "the change is seen")
    if revoked in ("delta", "doubt", "functions"):
        until(lambda: sizes(parts), "the files are as the rows")
