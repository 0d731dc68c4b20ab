"""A session that says that it is a mount's: the triggers believe it only with the proof, which roles of mounts alone can read. What got by the
triggers all the same, `rowfs check` finds."""
import contextlib
import os

import psycopg2
import pytest

from kit import get, run, sqitch, until
from mountkit import clean_env, rowfs_binary

TABLES = """
create table ticks (id bigserial primary key, symbol text not null, price numeric);
insert into ticks (symbol, price) select 's' || g % 3, g from generate_series(1, 30) g"""
LAYOUT = {"routes": [{"path": "/t/{ticks.symbol}.csv", "rows": "ticks", "columns": ["symbol", "price"]}]}
OTHER = {"routes": [{"path": "/t/{ticks.symbol}.jsonl", "rows": "ticks", "columns": ["price"]}]}


@pytest.fixture
def ticks(pg):
    pg.sql(TABLES)
    pg.admin("drop role if exists mallory")
    pg.admin("create role mallory login")
    pg.admin("grant select, insert, update, delete on ticks to mallory; grant usage on sequence ticks_id_seq to mallory")
    yield pg
    pg.close()
    pg.admin("drop owned by mallory cascade")
    pg.admin("drop role mallory")


@contextlib.contextmanager
def as_mallory(pg):
    conn = psycopg2.connect(pg.server.conninfo(pg.name, "mallory"))
    conn.autocommit = True
    try:
        with conn.cursor() as cur:
            yield cur
    finally:
        conn.close()


def files(m):
    return {name: os.stat(m.at(f"t/{name}")).st_size for name in m.ls("t")}


def opened(m):
    """What who opens each file is told: without a summary nothing is known before."""
    def size(path):
        with open(path, "rb") as f:
            return os.fstat(f.fileno()).st_size
    return {name: size(m.at(f"t/{name}")) for name in m.ls("t")}


def expected(pg):
    return {name: len("symbol,price\n") + int(size) for name, size in pg.sql(
        "select symbol || '.csv', sum(octet_length(symbol || ',' || price) + 1) from ticks group by 1")}


def check(pg, m, user="keeper", words=()):
    return run(rowfs_binary(), "check", *words, m.dir / "layout.json", pg.server.conninfo(pg.name, user), env=clean_env()).stdout


@pytest.mark.parametrize("proof", ["1", "", "the hash", "its bytes"])
def test_a_session_that_is_no_mounts_hides_nothing(ticks, make_mount, proof):
    m = make_mount(layout=LAYOUT)
    assert files(m) == expected(ticks)
    known = {"the hash": ticks.one("select rowfs.proof_hash()"), "its bytes": "\\x" + ticks.one("select rowfs.proof_hash()")}
    with as_mallory(ticks) as cur:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cur.execute("select * from rowfs.secret")
        for name in ("daemon", "proof", "mount"):
            cur.execute(f"select set_config('rowfs.{name}', %s, false)", (known.get(proof, proof) if name != "mount" else "me",))
        cur.execute("insert into ticks (symbol, price) values ('new', 7), ('new', 8)")
        until(lambda: files(m) == expected(ticks), "the new file is there, with its size")
        assert get(m.at("t/new.csv")) == b"symbol,price\nnew,7\nnew,8\n"
        cur.execute("update ticks set price = 12345.5 where symbol = 's1' and id < 5")
        until(lambda: files(m) == expected(ticks), "the sizes follow")
        cur.execute("delete from ticks where symbol = 's2'")
        until(lambda: "s2.csv" not in m.ls("t") and files(m) == expected(ticks), "the file is gone")
    m.umount()
    assert "the summary of ticks is kept" in check(ticks, m)


def test_a_role_without_the_proof_mounts_all_the_same(ticks, make_mount):
    """Its rows are counted by the triggers, and it goes by time."""
    owner = make_mount(layout=LAYOUT)
    ticks.admin("select rowfs.allow('mallory')")
    ticks.sql("revoke select on rowfs.secret from mallory")
    m = make_mount(layout=LAYOUT, conninfo=ticks.server.conninfo(ticks.name, "mallory"))
    assert m.status()["coherence"]["mode"] == "ttl" and "rowfs.secret" in m.status()["coherence"]["why"]
    with open(m.at("t/s1.csv"), "a", encoding="utf-8") as f:
        f.write("s1,99\ns1,100\n")
    until(lambda: files(owner) == expected(ticks), "the sizes follow")
    assert "the summary of ticks is kept" in check(ticks, owner, "mallory")


def test_check_counts_anew_and_says_what_differed(ticks, make_mount):
    m = make_mount(layout=LAYOUT)
    make_mount(layout=OTHER).umount()
    assert check(ticks, m).splitlines()[:2] == ["the layout fits: 1 routes, 3 places", "the summary of ticks is kept"]
    ticks.admin("set session_replication_role = replica; insert into ticks (symbol, price) values ('hidden', 1), ('s1', 2)")
    assert files(m) != expected(ticks)
    ticks.sql("alter table ticks disable trigger user; insert into ticks (symbol, price) values ('hidden', 1); alter table ticks enable trigger user")
    assert "the summary of ticks was wrong for 2 files\n" in check(ticks, m) and files(m) != expected(ticks)
    said = check(ticks, m, words=["--install"])
    assert "the summary of ticks was wrong for 2 files: it was counted anew" in said and "the summary of ticks is kept" in said
    until(lambda: files(m) == expected(ticks), "the sizes are true")
    assert "wrong" not in check(ticks, m)


def test_check_by_another_role_puts_in_doubt_what_differs(ticks, make_mount):
    """It may not count anew; but nothing wrong is shown from then on."""
    m = make_mount(layout=LAYOUT)
    ticks.admin("select rowfs.allow('mallory')")
    ticks.admin("set session_replication_role = replica; insert into ticks (symbol, price) values ('hidden', 1)")
    said = check(ticks, m, "mallory", ["--install"])
    assert "the summary of ticks was wrong for 1 files\n" in said and "sizes are asked for" in said
    until(lambda: opened(m) == expected(ticks), "the sizes are true")
    assert "the summary of ticks is kept" in check(ticks, m, words=["--install"])


def test_a_lost_right_is_noted_by_a_mount(ticks, make_mount):
    """Nobody counts while the owner of the triggers has no right to; a mount of another role says so in rowfs.doubt."""
    make_mount(layout=LAYOUT).umount()
    ticks.admin("select rowfs.allow('mallory')")
    m = make_mount(layout=LAYOUT, conninfo=ticks.server.conninfo(ticks.name, "mallory"))
    assert set(m.status()["summary"].values()) == {"kept"}
    ticks.sql("revoke all on rowfs.delta, rowfs.doubt from keeper")
    ticks.sql("insert into ticks (symbol, price) values ('uncounted', 1)")
    until(lambda: ticks.admin("select 1 from rowfs.doubt where why like '%%lost a right%%'"), "it is noted")
    ticks.admin("grant all on rowfs.delta, rowfs.doubt to keeper")
    until(lambda: opened(m) == expected(ticks), "the sizes are true")
    assert "the summary of ticks is kept" in check(ticks, m, words=["--install"])


def test_an_upgrade_keeps_what_is_counted(server, make_mount):
    """From the schema before: triggers that believe anybody, and rights with which tables could be locked."""
    pg = server.create_database("older_rowfs")
    try:
        pg.admin('create extension "uuid-ossp"')
        sqitch(pg, "deploy", "--to", "rowfs_bounds")
        pg.sql(TABLES)
        for role in ("mallory", "reader"):
            pg.admin(f"drop role if exists {role}")
            pg.admin(f"create role {role} login")
        pg.sql("select rowfs.allow('mallory')")
        pg.sql("grant usage on schema rowfs to reader; grant select on all tables in schema rowfs to reader")
        pg.sql("""begin; select rowfs.install('ticks', '{5}', '[{"id": 5, "csv": true, "columns": ["price"], "keys": ["symbol"],
                  "units": [null], "formats": [null]}]'); select rowfs.build(5, 'ticks', 'NULL::timestamptz', 0, 100); select rowfs.built('{5}');
                  select rowfs.tell('ticks', '[{"id": 6, "keys": [{"column": "symbol"}]}]'); commit""")
        with contextlib.closing(pg.connect()) as mounted, mounted.cursor() as cur:
            cur.execute("select pg_advisory_lock_shared(1919316737, 1)")  # as a mount holds it
            with pytest.raises(AssertionError, match="unmount it first"):
                sqitch(pg, "deploy")
        sqitch(pg, "deploy")
        assert pg.one("select rowfs.is_watched('ticks') and rowfs.tells('ticks') and rowfs.is_true(5)")
        assert pg.one("select to_regprocedure('rowfs.is_told(regclass)') is null and to_regprocedure('rowfs.takes_rows_as_sent(regclass)') is null"), \
            "an older mount finds its triggers"
        pg.sql("set rowfs.daemon = '1'; insert into ticks (symbol, price) values ('s1', 2); reset rowfs.daemon")
        assert pg.one("select rowfs.differing(5)") == 0
        for role in ("mallory", "reader"):
            assert pg.one(f"select has_table_privilege('{role}', 'rowfs.secret', 'select') and not has_table_privilege('{role}', 'rowfs.secret', "
                          "'insert, update, delete')")
            assert not pg.one(f"select has_table_privilege('{role}', 'rowfs.delta', 'update, delete, truncate, trigger')")
        m = make_mount(conninfo=pg.conninfo, layout=LAYOUT)
        assert files(m) == expected(pg) and m.status()["coherence"]["mode"] == "notify"
        m.umount()
        sqitch(pg, "revert", "-y", "--to", "rowfs_bounds")
        sqitch(pg, "verify", "--to", "rowfs_bounds")
        assert pg.one("select rowfs.is_watched('ticks') and rowfs.is_told('ticks')")
        sqitch(pg, "deploy")
        assert pg.one("select rowfs.is_watched('ticks') and rowfs.tells('ticks') and rowfs.differing(5) = 0")
    finally:
        pg.close()
        pg.admin("drop owned by mallory; drop owned by reader")
        server.admin('drop database "older_rowfs" with (force)')
        server.admin("drop role mallory")
        server.admin("drop role reader")
