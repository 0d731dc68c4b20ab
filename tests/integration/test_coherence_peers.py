"""Mounts that are gone: the others must not go on with what they remember. Expectations come from SQL."""
import contextlib
import json
import os
import random
import threading
import time

import mountkit
import pytest
from coherencekit import GATE, coherence, counter, delay, waits
from kit import get, put, until
from mountkit import at_once
from shop import LAYOUT, Shop

MISSED = 1.0  # seconds within which a mount is missed by the others, SEMANTICS 14.9; twice that where the machine may be busy


@contextlib.contextmanager
def no_notices(pg):
    """Nobody's NOTIFY gets through: somebody who notifies waits, in his commit, for a standby that is not there."""
    server = pg.server
    for setting, value in (("synchronous_commit", "local"), ("synchronous_standby_names", "nobody")):
        server.admin(f"alter system set {setting} = '{value}'")
    server.admin("select pg_reload_conf()")
    with contextlib.closing(pg.connect()) as conn:
        until(lambda: pg.one("show synchronous_standby_names") == "nobody", "the setting")
        conn.autocommit = True
        cur = conn.cursor()
        cur.execute("set synchronous_commit = on")
        thread = threading.Thread(target=cur.execute, args=("create table holder (); notify holder",))
        thread.start()
        try:
            until(lambda: server.admin("select 1 from pg_stat_activity where wait_event = 'SyncRep'"), "the lock is held")
            yield
        finally:
            for name in ("synchronous_commit", "synchronous_standby_names"):
                server.admin(f"alter system reset {name}")
            server.admin("select pg_reload_conf()")
            thread.join(30)
            assert not thread.is_alive()


def notice_waits(pg):
    """True if somebody wants to notify and cannot."""
    return pg.admin("select 1 from pg_locks where locktype = 'object' and classid = 'pg_database'::regclass and objid = 0 and not granted")


def sessions(pg):
    """The backends of each mount, by its lock."""
    return dict(pg.admin("select objid, array_agg(distinct pid) from pg_locks where locktype = 'advisory' and classid between 1919316737 "
                         "and 1919316738 and database = (select oid from pg_database where datname = current_database()) group by 1"))


def test_mounts_know_of_each_other(shop_pg, make_mount):
    mounts = []
    for n in range(3):
        mounts.append(make_mount(layout=LAYOUT))
        until(lambda: all(coherence(m)["peers"] == n for m in mounts), f"each knows of {n} others")  # noqa: B023
    seen = sessions(shop_pg)
    assert len(seen) == 3 and sum(len(pids) for pids in seen.values()) == len(shop_pg.backends())
    mounts[0].umount()
    until(lambda: all(coherence(m)["peers"] == 1 for m in mounts[1:]), "one is gone")
    at_once(mounts[1])
    until(lambda: coherence(mounts[2])["peers"] == 0, "both are gone")


def test_who_ends_well_is_not_missed(two):
    """It has told all: what others remember stays."""
    a, b = two
    a.add("bolt", note="one")
    path = b.m.at("items/bolt/note.txt")
    until(lambda: os.path.exists(path), "the row")
    put(a.m.at("items/bolt/note.txt"), "two")
    a.m.umount()
    delay(lambda: get(path) == b"two", "the last change")
    until(lambda: coherence(b.m)["peers"] == 0, "it is gone")
    assert coherence(b.m)["peers_lost"] == 0
    before = counter(b.m, "lookups_total")
    for _ in range(50):
        assert get(path) == b"two"
    assert counter(b.m, "lookups_total") - before < 20


def test_killed_right_after_a_commit(two, long, seed):
    """At any moment, many times: what SQL says is what the other mount shows, and soon."""
    a, b = two
    rng = random.Random(seed)
    a.m.expect(r".*")
    a.add("bolt", note="start")
    path, delays = b.m.at("items/bolt/note.txt"), []
    until(lambda: os.path.exists(path), "the row")
    for n in range(200 if long else 12):
        until(lambda: coherence(b.m)["peers"] == 1, "the other is there")
        for i in range(rng.randrange(3)):
            put(a.m.at("items/bolt/note.txt"), f"{n} {i}")
        get(path)
        kill = threading.Timer(rng.random() * 0.01, a.m.kill)
        kill.start()
        with contextlib.suppress(OSError):
            for i in range(1000):
                put(a.m.at("items/bolt/note.txt"), f"{n} then {i}")
        died = time.monotonic()
        kill.join()
        a.m.wait()
        mountkit.lazy_umount(a.m.path)
        until(lambda: get(path).decode() == a.item("note"), "what SQL says", timeout=5)
        delays.append(time.monotonic() - died)
        a.m.start()
    print(f"\n{len(delays)} kills; the longest until the other mount was right: {1e3 * max(delays):.0f} ms")
    assert sorted(delays)[len(delays) // 2] < MISSED


@pytest.mark.parametrize("how", ["killed", "cut off"])
def test_what_was_never_told(shop_pg, make_mount, how):
    """The moment between commit and notice is made to last: no notice ever comes, and the other mount shows the change all the same."""
    a = Shop(make_mount(layout=LAYOUT), shop_pg)
    (own,) = sessions(shop_pg)
    b = Shop(make_mount(layout=LAYOUT), shop_pg)
    until(lambda: coherence(a.m)["peers"] == 1, "they know of each other")
    heard = coherence(b.m)["heard"]
    a.add("bolt", note="one")
    until(lambda: coherence(b.m)["heard"] > heard, "the notice of the row")
    path = b.m.at("items/bolt/note.txt")
    assert get(path) == b"one"
    a.m.expect(r".*")
    with no_notices(shop_pg):
        heard = coherence(b.m)["heard"]
        put(a.m.at("items/bolt/note.txt"), "two")
        until(lambda: notice_waits(shop_pg), "it wants to tell")
        assert a.item("note") == "two" and get(path) == b"one"
        if how == "killed":
            at_once(a.m)
        else:
            shop_pg.admin("alter role keeper connection limit 0")
            for pid in sessions(shop_pg)[own]:
                shop_pg.admin("select pg_terminate_backend(%s)", pid)
        try:
            took = delay(lambda: get(path) == b"two", "the change that nobody told of")
            assert took < 2 * MISSED
            assert coherence(b.m)["heard"] == heard and coherence(b.m)["peers_lost"] >= 1
        finally:
            shop_pg.admin("alter role keeper connection limit -1")
    if how == "cut off":
        put(a.m.at("items/bolt/note.txt"), "three")
        delay(lambda: get(path) == b"three", "it is back", timeout=10)


# Who commits a change of an item waits while somebody holds the lock 7.
LATE = """
create function late() returns trigger language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(7);
    return null;
end $$;
create constraint trigger late after update on items deferrable initially deferred for each row execute function late();
"""


def until_killed(path, data):
    with contextlib.suppress(OSError):
        put(path, data)


def test_what_a_dead_mount_had_begun_is_committed_later(shop_pg, make_mount):
    """Its commit waits in the server, and comes when the others have read anew what was there before."""
    shop_pg.admin(f'alter database "{shop_pg.name}" set client_connection_check_interval = \'1h\'')
    a, b = (Shop(make_mount(layout=LAYOUT), shop_pg) for _ in range(2))
    a.m.expect(r".*")
    a.pg.admin(LATE)
    a.pg.admin("insert into items (name, note) values ('bolt', 'one')")
    path = b.m.at("items/bolt/note.txt")
    until(lambda: os.path.exists(path), "the row")
    with contextlib.closing(a.pg.connect()) as holder, holder.cursor() as cur:
        cur.execute("select pg_advisory_lock(7)")
        writer = threading.Thread(target=until_killed, args=(a.m.at("items/bolt/note.txt"), "two"))
        writer.start()
        until(lambda: waits(a.pg), "the commit waits")
        at_once(a.m)
        writer.join(30)
        until(lambda: coherence(b.m)["peers_lost"] >= 1, "it is missed")
        assert waits(a.pg) and coherence(b.m)["peers"] == 1
        assert get(path) == b"one"
        cur.execute("select pg_advisory_unlock(7)")
    until(lambda: a.item("note") == "two", "the late commit")
    took = delay(lambda: get(path) == b"two", "what was committed late")
    assert took < 2 * MISSED
    until(lambda: coherence(b.m)["peers"] == 0, "nothing is left of it")


def test_a_busy_mount_tells_all_the_same(shop_pg, make_mount):
    """All its connections are taken, and more requests wait for one, when a change is committed."""
    a = Shop(make_mount(layout=LAYOUT, options={"max_connections": 2}), shop_pg)
    b = Shop(make_mount(layout=LAYOUT), shop_pg)
    shop_pg.sql(GATE.replace("TABLE", "flat"))
    shop_pg.admin(LATE.replace("(7)", "(8)"))
    shop_pg.admin("insert into flat select g, 'x' from generate_series(1, 10) g")
    shop_pg.admin("insert into items (name, note) values ('bolt', 'one')")
    paths = [s.m.at("items/bolt/note.txt") for s in (a, b)]
    until(lambda: all(os.path.exists(p) and get(p) == b"one" for p in paths), "the row")

    def waiting():
        return json.loads(get(a.m.at(".rowfs/status.json")))["counters"]["db_waiting"]

    threads = []

    def begin(action, *args):
        threads.append(threading.Thread(target=action, args=args))
        threads[-1].start()

    with contextlib.closing(shop_pg.connect()) as holder, holder.cursor() as cur:
        cur.execute("select pg_advisory_lock(7), pg_advisory_lock(8)")
        begin(os.path.exists, a.m.at("flat/1.json"))
        until(lambda: waits(shop_pg), "one connection is taken")
        begin(put, paths[0], "two")
        until(lambda: waits(shop_pg, 8), "the commit waits")
        for i in range(2, 8):
            begin(os.path.exists, a.m.at(f"flat/{i}.json"))
        until(lambda: waiting() >= 6, "others wait for a connection")
        cur.execute("select pg_advisory_unlock(8)")
        until(lambda: len(waits(shop_pg)) == 2, "the other connection is taken, too")
        assert a.item("note") == "two"
        delay(lambda: get(paths[1]) == b"two", "the change", timeout=2 * MISSED)
        assert len(waits(shop_pg)) == 2
        cur.execute("select pg_advisory_unlock(7)")
    for t in threads:
        t.join(30)


def test_a_mount_that_stands_alone_tells_nobody(shop_pg, make_mount):
    """And who comes later sees all that it has changed, and what it changes then."""
    a = Shop(make_mount(layout=LAYOUT), shop_pg)
    a.add("bolt", note="one")
    for i in range(20):
        put(a.m.at("items/bolt/note.txt"), f"alone {i}")
        put(a.m.at("log.csv"), f"x,{i},,line\n", flags=os.O_APPEND, sync=True)
    assert coherence(a.m)["sent"] == 0
    b = make_mount(layout=LAYOUT)
    assert b.read("items/bolt/note.txt") == "alone 19"
    for i in range(20):
        put(a.m.at("items/bolt/note.txt"), f"two {i}")
        delay(lambda: b.read("items/bolt/note.txt") == f"two {i}", "the change")  # noqa: B023
    assert coherence(a.m)["sent"] > 0


def test_a_listener_that_is_lost_for_a_moment_costs_no_change(two):
    a, b = two
    for s in two:
        s.m.expect(r"listening for changes")
    a.add("bolt", note="one")
    path = b.m.at("items/bolt/note.txt")
    until(lambda: os.path.exists(path), "the row")
    rng, over = random.Random(1), threading.Event()

    def lose():
        while not over.is_set():
            with contextlib.suppress(IndexError):
                a.pg.admin("select pg_terminate_backend(%s)", rng.choice(a.pg.listeners()))

    thread = threading.Thread(target=lose)
    thread.start()
    try:
        for i in range(60):
            put(a.m.at("items/bolt/note.txt"), f"{i}")
            delay(lambda: get(path) == f"{i}".encode(), "the change")  # noqa: B023
    finally:
        over.set()
        thread.join(30)
    until(lambda: all(coherence(s.m)["listening"] and coherence(s.m)["peers"] == 1 for s in two), "both are there", timeout=30)
    a.sql("update items set note = 'at last'")
    delay(lambda: get(path) == b"at last", "told again")
