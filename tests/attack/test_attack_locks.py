"""Any role that may connect to the database can take advisory locks under any number. Nobody waits for them, and they hide nothing."""
import contextlib
import os
import re
import threading

import psycopg2
import pytest

from coherencekit import coherence
from kit import ROOT, forget_packs, get, put, run, sqitch, until
from mountkit import at_once, clean_env, rowfs_binary
from shop import LAYOUT, SQL, Shop

LIVES, LISTENS = 1919316737, 1919316738


@pytest.fixture
def stranger(pg):
    """lock(how, first, second): as a role that may only connect. Locks that have to be waited for are asked for by sessions of their own."""
    pg.server.admin("create role stranger login")
    opened = []

    def connect():
        opened.append(psycopg2.connect(re.sub(r"user=\w+", "user=stranger", pg.conninfo)))
        opened[-1].autocommit = True
        return opened[-1].cursor()

    def ask(cur, how, numbers):
        with contextlib.suppress(psycopg2.Error):
            cur.execute(f"select {how}(%s, %s)", numbers)

    def lock(how, *numbers, wait=True):
        cur = connect()
        if wait:
            ask(cur, how, numbers)
            return
        pid = cur.connection.info.backend_pid
        threading.Thread(target=ask, args=(cur, how, numbers), daemon=True).start()
        until(lambda: pg.admin("select 1 from pg_locks where pid = %s and not granted", pid), "it waits")
    yield lock
    pg.server.admin("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'stranger'")
    for conn in opened:
        conn.close()
    pg.server.admin("drop role stranger")


def keys(pg):
    """What pg_locks shows of mounts to anybody."""
    return [r[0] for r in pg.admin("select distinct objid::int from pg_locks where locktype = 'advisory' and classid = %s and mode = 'ShareLock'", LIVES)]


def test_no_session_of_a_mount_waits(shop_pg, make_mount, stranger):
    """He queues for the locks that a mount has: its next session must come all the same, and another mount must know all of them."""
    a = Shop(make_mount(layout=LAYOUT, options={"min_connections": 1}), shop_pg)
    (key,) = keys(shop_pg)
    for first in (LIVES, LISTENS):
        stranger("pg_advisory_lock", first, key, wait=False)
    with contextlib.closing(shop_pg.connect()) as holder, holder.cursor() as cur:
        cur.execute("lock table items")  # a look-up has its session to itself
        with contextlib.ExitStack() as waiting:
            thread = threading.Thread(target=a.m.ls, args=("items",))
            thread.start()
            waiting.callback(thread.join, 30)
            waiting.callback(holder.rollback)
            until(lambda: shop_pg.admin("select 1 from pg_locks where locktype = 'relation' and not granted"), "the look-up waits")
            assert a.m.ls("flat") == []
    a.add("bolt", note="one")
    for pid in shop_pg.listeners():
        a.m.expect("listening for changes")
        shop_pg.admin("select pg_terminate_backend(%s)", pid)
    until(lambda: coherence(a.m)["listening"] and coherence(a.m)["losses"] == 1, "it listens again")
    b = Shop(make_mount(layout=LAYOUT), shop_pg)
    path = b.m.at("items/bolt/note.txt")
    assert get(path) == b"one"
    put(a.m.at("items/bolt/note.txt"), "two")
    until(lambda: get(path) == b"two", "the change is told")
    lost = coherence(b.m)["peers_lost"]
    at_once(a.m)
    until(lambda: coherence(b.m)["peers_lost"] > lost and coherence(b.m)["peers"] == 0, "it is missed")


def test_who_holds_the_locks_of_a_mount_that_is_gone_does_not_hide_that(shop_pg, make_mount, stranger):
    a, b = (Shop(make_mount(layout=LAYOUT), shop_pg) for _ in range(2))
    until(lambda: coherence(b.m)["peers"] == 1, "they know of each other")
    for key in keys(shop_pg):
        for first in (LIVES, LISTENS):
            stranger("pg_advisory_lock_shared", first, key)
    assert coherence(b.m)["peers"] == 1
    at_once(a.m)
    until(lambda: coherence(b.m)["peers_lost"] >= 1 and coherence(b.m)["peers"] == 0, "it is missed")


def test_who_takes_locks_in_advance_is_no_mount(shop_pg, make_mount, stranger):
    for first in (LIVES, LISTENS):
        stranger("pg_advisory_lock_shared", first, 5)
    a = make_mount(layout=LAYOUT)
    assert coherence(a)["peers"] == 0


def test_triggers_are_made_and_sizes_are_folded(pg, make_mount, stranger):
    """With all locks taken that rowfs has ever asked for. A role of the mount cannot take those that it asks for now."""
    pg.sql(SQL)
    oids = dict(pg.admin("select relname, oid::int from pg_class where relnamespace in ('rowfs'::regnamespace, 'public'::regnamespace) and relkind = 'r'"))
    for own in ("slice", "notice", "delta"):
        for table in [0, *(oids[t] for t in ("items", "flat", "users", "orderbook_data") if t in oids)]:
            stranger("pg_advisory_lock", oids[own], table)
    pg.admin("select rowfs.allow('stranger')")
    for lock in ("select from rowfs.mutex for key share", "insert into rowfs.mutex values ('watch', 1)", "lock table rowfs.mutex in access share mode",
                 "select rowfs.lock_mutex('watch', 'pg_class')"):
        conn = psycopg2.connect(re.sub(r"user=\w+", "user=stranger", pg.conninfo))
        with contextlib.closing(conn), conn.cursor() as cur, pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cur.execute(lock)
    m = make_mount()
    status = m.status()
    assert status["summary"]["orderbook_data"] == "kept" and status["coherence"]["mode"] == "notify"
    pg.sql("insert into orderbook_data (exchange, symbol, timestamp, local_timestamp) values ('e', 's', 1, 1)")
    assert pg.one("select count(*) from rowfs.delta") > 0
    assert pg.one("select rowfs.fold()") > 0
    assert pg.one("select count(*) from rowfs.delta") == 0
    run(rowfs_binary(), "check", ROOT / "schema/orderbook/layout.json", pg.conninfo, env=clean_env(), timeout=60)
    pg.admin("drop owned by stranger")


@pytest.mark.parametrize("upgraded", [False, True])
def test_partitions_are_made_and_dropped(pg, stranger, upgraded):
    if upgraded:  # the functions as they were before this was mended
        forget_packs(pg)
        sqitch(pg, "revert", "-y", "--to", "rowfs_bounds")
    sqitch(pg, "deploy", "--to", "partitions", project="schema/partitioned")
    if upgraded:
        for fn in ("make_partitions", "drop_partitions"):
            pg.admin("do $do$ begin execute (select regexp_replace(regexp_replace(pg_get_functiondef(p.oid), '\\n *\\t* *ORDER BY x.relation LOOP', ' LOOP'), "
                     "E'\\t\\tIF has_table_privilege.*?END IF;\\n', '') from pg_proc p where proname = %s and prosqlbody is null); end $do$", fn)
            pg.admin("do $do$ begin execute (select regexp_replace(pg_get_functiondef(p.oid), E'BEGIN\\n', "
                     "E'BEGIN\\n\\tPERFORM pg_advisory_xact_lock(''rowfs.partitioned''::regclass::oid::int, 0);\\n') "
                     "from pg_proc p where proname = %s and prosqlbody is null); end $do$", fn)
        sqitch(pg, "deploy")
    stranger("pg_advisory_lock", pg.one("select 'rowfs.partitioned'::regclass::oid::int"), 0)
    pg.sql("create table ticks (at bigint primary key); insert into ticks values (1700000000000), (1)")
    pg.sql("select rowfs.partition_table('ticks', 'at', 1000, 'month', '1 year')")
    assert pg.one("select rowfs.make_partitions('ticks', '6 months')") == 3
    assert pg.one("select rowfs.drop_partitions()") > 0
    assert pg.sql("select * from ticks") == []
    with contextlib.closing(pg.connect()) as other, other.cursor() as cur:
        cur.execute("select rowfs.make_partitions('ticks', '7 months')")
        with pytest.raises(psycopg2.errors.LockNotAvailable):  # one at a time
            pg.sql("select rowfs.drop_partitions('ticks', '1 day')")


@pytest.mark.parametrize("before", ["rowfs_bounds", "rowfs_notify"])
def test_an_upgrade_is_held_up_by_mounts_only(pg, stranger, before):
    """It refuses while the database is mounted. A lock that any role can take says nothing about that."""
    forget_packs(pg)
    sqitch(pg, "revert", "-y", "--to", before)
    if before == "rowfs_notify":
        pg.sql("insert into rowfs.notice (id, relation, keys) values (1, 'public.parts', '{}')")
    stranger("pg_advisory_lock_shared", LIVES, 5)
    stranger("pg_advisory_lock", LIVES, 6)
    with contextlib.closing(pg.connect()) as mounted, mounted.cursor() as cur:
        cur.execute("select pg_advisory_lock_shared(%s, 7)", (LIVES,))
        with pytest.raises(AssertionError, match="unmount it first"):
            sqitch(pg, "deploy")
    sqitch(pg, "deploy")
    assert not pg.one("select rowfs.is_mounted()")
