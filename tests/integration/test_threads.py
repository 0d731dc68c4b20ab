"""Many requests at once: a slow one blocks no other, and can be stopped."""
import errno
import os
import signal
import subprocess
import threading
import time

import pytest

from kit import append, get, put, refused, until
from shop import LAYOUT, Shop
from test_outage import in_background

pytestmark = pytest.mark.threads


def slow_backends(pg):
    return pg.backends("state = 'active' and query ilike '%%slow_for%%'")


def test_a_slow_query_blocks_no_other_file(shop):
    shop.add("bolt", qty=3)
    slow = [subprocess.Popen(["cat", str(shop.m / f"slow/{s}.json")], stderr=subprocess.DEVNULL) for s in ("100", "101", "102")]
    until(lambda: len(slow_backends(shop.pg)) >= 1, "the slow query runs")
    start = time.monotonic()
    assert shop.m.read("items/bolt/qty") == "3\n"
    assert shop.m.ls("items") == ["bolt"]
    put(shop.m.at("items/bolt/qty"), "4\n")
    append(shop.m.at("log.csv"), "a,1,,\n")
    shop.m.mkdir("items/nut")
    assert time.monotonic() - start < 5
    for pid in slow_backends(shop.pg):
        shop.pg.server.admin("select pg_cancel_backend(%s)", pid)
    # A cancel that nobody asked rowfs for is repeated once (it may have been meant for another query).
    until(lambda: [shop.pg.server.admin("select pg_cancel_backend(%s)", p) for p in slow_backends(shop.pg)] == [], "all cancelled", 30)
    assert all(s.wait(10) != 0 for s in slow)


def test_a_query_that_an_administrator_cancels(shop):
    """is an error for the program, no EINTR: nobody interrupted the program, and Python, for one, would ask again and again."""
    slow = in_background(lambda: get(shop.m.at("slow/100.json")))
    until(lambda: slow_backends(shop.pg), "the slow query runs")
    try:
        until(lambda: [shop.pg.server.admin("select pg_cancel_backend(%s)", p) for p in slow_backends(shop.pg)] == [] and not slow.is_alive(),
              "the reader is told", 15)
    except AssertionError:
        shop.m.process.kill()
        raise
    with refused(errno.EIO):
        slow.result()


def test_slow_look_ups_in_one_directory_run_in_parallel(shop):
    """The kernel sends look-ups of one directory in parallel only if it was told that it may."""
    start = time.monotonic()
    slow = [in_background(lambda: get(shop.m.at(f"slow/1.{i}.json"))) for i in range(1, 5)]  # noqa: B023
    for s in slow:
        s.result()
    assert time.monotonic() - start < 4.5  # one after the other: 5 s


def test_command_timeout(shop_pg, make_mount):
    m = make_mount(layout=LAYOUT, options={"command_timeout": 1})
    shop_pg.sql("insert into items (name, qty) values ('bolt', 3)")
    start = time.monotonic()
    m.refuses(lambda: get(m.at("slow/30.json")), errno.ETIMEDOUT, path="slow/30.json")
    assert time.monotonic() - start < 10
    until(lambda: not slow_backends(shop_pg), "the server stopped it too")
    lock = shop_pg.connect()
    with lock.cursor() as cur:
        cur.execute("select 1 from items for update")
    m.refuses(lambda: put(m.at("items/bolt/qty"), "4\n"), errno.ETIMEDOUT, path="items/bolt/qty", keeps="4\n")
    lock.rollback()
    put(m.at("items/bolt/qty"), "5\n")
    assert shop_pg.one("select qty from items") == 5
    lock.close()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_reader_cancels_its_query(shop, signum):
    reader = subprocess.Popen(["cat", str(shop.m / "slow/60.json")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: slow_backends(shop.pg), "the slow query runs")
    reader.send_signal(signum)
    start = time.monotonic()
    assert reader.wait(10) != 0
    until(lambda: not slow_backends(shop.pg), "the query is cancelled", timeout=5)
    assert time.monotonic() - start < 5
    shop.add("bolt", qty=3)
    for _ in range(20):  # no cancel hits a later query of the same connection
        assert shop.m.read("items/bolt/item.json")
        shop.m.ls("items")


def test_a_signal_to_a_writer_that_waits_for_a_lock(shop):
    shop.add("bolt", qty=3)
    lock = shop.pg.connect()
    with lock.cursor() as cur:
        cur.execute("select 1 from items for update")
    writer = subprocess.Popen(["bash", "-c", f"echo 4 > '{shop.m / 'items/bolt/qty'}'"], stderr=subprocess.DEVNULL)
    until(lambda: shop.pg.backends("wait_event_type = 'Lock'"), "the write waits for the lock")
    writer.send_signal(signal.SIGKILL)
    lock.rollback()
    writer.wait(20)
    lock.close()
    put(shop.m.at("items/bolt/qty"), "5\n")
    assert shop.item("qty") == 5


def test_unmount_with_a_slow_query_under_way(shop):
    slow = subprocess.Popen(["cat", str(shop.m / "slow/100.json")], stderr=subprocess.DEVNULL)
    until(lambda: slow_backends(shop.pg), "the slow query runs")
    shop.m.kill(signal.SIGTERM)
    shop.m.wait(20)
    assert slow.wait(10) != 0
    until(lambda: not slow_backends(shop.pg), "the query is cancelled", timeout=10)
    shop.m.process = None
    shop.m.check_output()


def test_parallel_writers_on_one_row(shop):
    """Whole documents and columns, from many threads: the row always is one of what was written, and no write fails."""
    shop.add("bolt", qty=0, note="0")
    path, failed = shop.m.at("items/bolt/item.json"), []

    def work(w):
        try:
            for i in range(20):
                v = w * 1000 + i
                if i % 3 == 0:
                    put(shop.m.at(f"items/bolt/tmp{w}"), f'{{"qty": {v}, "note": "{v}"}}')
                    os.replace(shop.m.at(f"items/bolt/tmp{w}"), path)
                else:
                    put(path, f'{{"qty": {v}, "note": "{v}"}}')
                shop.m.read("items/bolt/note.txt")
        except OSError as e:
            failed.append(e)
    threads = [threading.Thread(target=work, args=(w,)) for w in range(8)]
    for t in threads:
        t.start()
    while any(t.is_alive() for t in threads):
        qty, note = shop.sql("select qty, note from items")[0]
        assert str(qty) == note
    for t in threads:
        t.join()
    assert not failed, [str(e) for e in failed[:3]]
    qty, note = shop.sql("select qty, note from items")[0]
    assert str(qty) == note and qty % 1000 == 19
    assert shop.m.read("items/bolt/qty") == f"{qty}\n"


def test_parallel_writers_on_many_rows(shop):
    failed = []

    def work(w):
        try:
            for i in range(25):
                name = f"items/w{w}-{i}"
                os.mkdir(shop.m.at(name))
                shop.m.write(f"{name}/item.json", {"qty": i, "note": f"{w}"})
                append(shop.m.at(f"{name}/parts.csv"), f"part{i},1.5\n")
                shop.m.write(f"flat/{w * 100 + i}.json", {"title": f"t{i}"})
                if i % 5 == 4:
                    os.unlink(shop.m.at(f"flat/{w * 100 + i}.json"))
                assert shop.m.json(f"{name}/item.json")["qty"] == i
        except (OSError, AssertionError) as e:
            failed.append((w, e))
    threads = [threading.Thread(target=work, args=(w,)) for w in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed, [str(e) for e in failed[:3]]
    assert sorted(shop.sql("select name, qty, note from items")) == sorted((f"w{w}-{i}", i, f"{w}") for w in range(8) for i in range(25))
    assert shop.one("select count(*) from parts") == 200
    left = [(w * 100 + i,) for w in range(8) for i in range(25) if i % 5 != 4]
    until(lambda: shop.sql("select id from flat order by id") == left, "the rows that were removed are gone", timeout=2)


def test_creators_race_for_one_row(shop):
    """Many processes make the same directory at once: one succeeds, the others get EEXIST."""
    for n in range(10):
        def one():
            try:
                os.mkdir(shop.m.at(f"items/n{n}"))  # noqa: B023
                return 1
            except FileExistsError:
                return 0
        racers = [in_background(one) for _ in range(6)]
        assert sum(r.result() for r in racers) == 1
    assert shop.one("select count(*) from items") == 10


def test_listing_while_rows_come_and_go(shop):
    stop = threading.Event()
    shop.sql("insert into flat select g, 't' from generate_series(1, 3000) g")

    def churn():
        conn = shop.pg.connect()
        conn.autocommit = True
        with conn.cursor() as cur:
            i = 10_000
            while not stop.is_set():
                cur.execute("insert into flat values (%s, 'x')", (i,))
                cur.execute("delete from flat where id = %s", (i - 5,))
                i += 1
        conn.close()
    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(5):
            names = os.listdir(shop.m.at("flat"))
            assert len(names) == len(set(names))
            assert {f"{i}.json" for i in range(1, 3001)} <= set(names)
    finally:
        stop.set()
        thread.join()


def test_one_connection_serves_all(shop_pg, make_mount):
    """max_connections=1: slower, and no deadlock."""
    m = make_mount(layout=LAYOUT, options={"max_connections": 1, "min_connections": 0})
    shop = Shop(m, shop_pg)
    shop.add("bolt", qty=3)

    def work():
        for _ in range(10):
            shop.m.read("items/bolt/item.json")
            put(shop.m.at("items/bolt/qty"), "4\n")
            append(shop.m.at("items/bolt/parts.csv"), "p,1\n")
            shop.m.ls("items/bolt/parts")
    for t in [in_background(work) for _ in range(6)]:
        t.result()
    assert shop.one("select count(*) from parts") == 60
