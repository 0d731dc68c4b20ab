"""The database goes away and comes back: waited out within the retry budget, an error beyond it, and never a remount."""
import errno
import json
import os
import threading
import time

import pytest

from kit import append, get, put, refused, until
from shop import LAYOUT, Shop

PATIENT = {"retry_attempts": 20, "retry_delay": "0.2", "retry_backoff": "1.0"}
IMPATIENT = {"retry_attempts": 1, "retry_delay": "0.1", "retry_backoff": "1.0", "connection_timeout": 2}


def in_background(action):
    """Starts ACTION in a thread; .result() gives its value or raises its error."""
    class Later(threading.Thread):
        value = error = None

        def run(self):
            try:
                self.value = action()
            except BaseException as e:  # pylint: disable=broad-except
                self.error = e

        def result(self, timeout=60):
            self.join(timeout)
            assert not self.is_alive(), "still waiting"
            if self.error:
                raise self.error
            return self.value
    later = Later(daemon=True)
    later.start()
    return later


def patient(make_mount, pg, **options):
    mount = make_mount(layout=LAYOUT, options={**PATIENT, **options})
    mount.expect(r"rowfs error .*")
    shop = Shop(mount, pg)
    shop.add("bolt", qty=3, note="n")
    shop.add("nut", qty=4)
    assert shop.m.read("items/bolt/qty") == "3\n"
    return shop


def test_restart_between_two_requests(shop_pg, make_mount, server):
    shop = patient(make_mount, shop_pg)
    for mode in ("fast", "immediate"):
        server.restart(mode)
        assert shop.m.read("items/nut/qty") == "4\n"
        put(shop.m.at("items/bolt/qty"), "5\n")
        assert shop.item("qty") == 5
        append(shop.m.at("log.csv"), "a,1,,\n")
    assert shop.one("select count(*) from log") == 2


def test_reads_and_writes_wait_for_the_database(shop_pg, make_mount, server):
    shop = patient(make_mount, shop_pg)
    server.stop("fast")
    waiting = [in_background(lambda: get(shop.m.at("items/nut/qty"))), in_background(lambda: sorted(os.listdir(shop.m.at("items")))),
               in_background(lambda: put(shop.m.at("items/bolt/qty"), "6\n")),
               in_background(lambda: put(shop.m.at("flat/1.json"), '{"title": "one"}')),
               in_background(lambda: append(shop.m.at("log.jsonl"), '{"n": 1}\n')), in_background(lambda: os.mkdir(shop.m.at("items/new")))]
    for w in waiting:
        w.join(0.2)
        assert w.is_alive(), f"did not wait: {w.value} {w.error}"
    server.start()
    results = [w.result() for w in waiting]
    assert results[0] == b"4\n" and set(results[1]) >= {"bolt", "nut"}
    assert shop.sql("select name, qty from items order by 1") == [("bolt", 6), ("new", 0), ("nut", 4)]
    assert shop.sql("select id, title from flat") == [(1, "one")]
    assert shop.sql("select n from log") == [(1,)]


def test_a_crash_of_the_server(shop_pg, make_mount, server):
    shop = patient(make_mount, shop_pg)
    server.kill9()
    read = in_background(lambda: get(shop.m.at("items/nut/qty")))
    server.start()
    assert read.result() == b"4\n"
    shop.m.write("items/bolt/item.json", {"qty": 9})
    assert shop.item("qty") == 9


def test_beyond_the_budget_it_is_eio_and_not_remembered(shop_pg, make_mount, server):
    m = make_mount(layout=LAYOUT, options=IMPATIENT)
    m.expect(r"rowfs error .*")
    shop_pg.sql("insert into items (name, qty) values ('bolt', 3), ('nut', 4)")
    server.stop("immediate")
    for action in (lambda: get(m.at("items/bolt/qty")), lambda: os.listdir(m.at("flat")), lambda: os.stat(m.at("items/none")),
                   lambda: os.mkdir(m.at("items/new"))):
        with refused(errno.EIO):
            action()
    assert "items" in m.sentence()
    assert m.ls(".rowfs")  # what needs no database answers
    put(m.at("plainfile"), "x")
    assert m.read("plainfile") == "x"
    server.start()
    assert m.read("items/bolt/qty") == "3\n"
    assert m.ls("flat") == []
    assert not m.exists("items/none")
    m.mkdir("items/new")


def test_input_refused_by_an_outage_is_kept(shop_pg, make_mount, server):
    m = make_mount(layout=LAYOUT, options=IMPATIENT)
    m.expect(r"rowfs error .*")
    shop_pg.sql("insert into items (name, qty) values ('bolt', 3)")
    m.read("items/bolt/qty")
    doc = os.open(m.at("items/bolt/item.json"), os.O_WRONLY | os.O_TRUNC)
    rows = os.open(m.at("log.csv"), os.O_WRONLY | os.O_APPEND)
    os.write(doc, b'{"qty": 77}')
    server.stop("immediate")
    with refused(errno.EIO):
        os.fsync(doc)
    with refused(errno.EIO):
        os.write(rows, b"a,88,,\n")
        os.fsync(rows)
    for fd in (doc, rows):
        try:
            os.close(fd)
        except OSError as e:
            assert e.errno == errno.EIO
    kept = b"".join(m.kept())
    assert b'{"qty": 77}' in kept and b"a,88,," in kept
    server.start()
    assert m.read("items/bolt/qty") in ("3\n", "77\n")


def test_a_killed_backend(shop_pg, make_mount, server):
    """pg_terminate_backend of every idle connection, again and again: no request notices."""
    shop = patient(make_mount, shop_pg)
    for i in range(10):
        for pid in shop.pg.backends():
            server.admin("select pg_terminate_backend(%s)", pid)
        put(shop.m.at("items/bolt/qty"), f"{i}\n")
        assert shop.item("qty") == i
        append(shop.m.at("log.csv"), f"a,{i},,\n")
    assert shop.sql("select n from log order by id") == [(i,) for i in range(10)]


def test_a_backend_terminated_in_mid_statement(shop_pg, make_mount, server):
    shop = patient(make_mount, shop_pg)
    lock = shop.pg.connect()
    with lock.cursor() as cur:
        cur.execute("lock table items in access exclusive mode")
    read = in_background(lambda: get(shop.m.at("items/nut/qty")))
    until(lambda: shop.pg.backends("wait_event_type = 'Lock'"), "the read waits for the lock")
    for pid in shop.pg.backends("wait_event_type = 'Lock'"):
        server.admin("select pg_terminate_backend(%s)", pid)
    until(lambda: shop.pg.backends("wait_event_type = 'Lock'"), "the read was sent again")
    lock.rollback()
    lock.close()
    assert read.result() == b"4\n"


def test_writes_terminated_in_mid_statement_happen_once(shop_pg, make_mount, server):
    """Appends whose backend is terminated while they wait for a lock: each row once, none twice, none lost."""
    shop = patient(make_mount, shop_pg)
    for i in range(5):
        lock = shop.pg.connect()
        with lock.cursor() as cur:
            cur.execute("lock table log in share row exclusive mode")
        write = in_background(lambda: append(shop.m.at("log.csv"), f"a,{i},,\n"))  # noqa: B023
        until(lambda: shop.pg.backends("wait_event_type = 'Lock'"), "the append waits for the lock")
        for pid in shop.pg.backends("wait_event_type = 'Lock'"):
            server.admin("select pg_terminate_backend(%s)", pid)
        lock.rollback()
        lock.close()
        write.result()
    assert shop.sql("select n from log order by n") == [(i,) for i in range(5)]


def test_a_stream_of_writes_over_restarts(shop_pg, make_mount, server):
    """A writer that never stops while the server is restarted and killed: what was answered with success is there, once."""
    shop = patient(make_mount, shop_pg)
    stop, done, failed = threading.Event(), [], []

    def writer():
        i = 0
        while not stop.is_set():
            try:
                append(shop.m.at("log.csv"), f"w,{i},,\n")
                done.append(i)
            except OSError as e:
                failed.append((i, e))
            i += 1
    thread = threading.Thread(target=writer)
    thread.start()
    for restart in (lambda: server.restart("fast"), lambda: server.restart("immediate"), lambda: (server.kill9(), server.start())):
        goal = len(done) + 20
        until(lambda: len(done) >= goal or failed, "the writer goes on", timeout=30)  # noqa: B023
        restart()
    goal = len(done) + 20
    until(lambda: len(done) >= goal or failed, "the writer goes on", timeout=30)
    stop.set()
    thread.join()
    assert not failed, failed[:3]
    assert [r[0] for r in shop.sql("select n from log order by n")] == done


def test_unmount_while_the_database_is_away(shop_pg, make_mount, server):
    shop = patient(make_mount, shop_pg)
    server.stop("immediate")
    start = time.monotonic()
    shop.m.umount(timeout=20)
    assert time.monotonic() - start < 15
    server.start()


def test_pool_is_refilled_and_bounded(shop_pg, make_mount, server):
    shop = patient(make_mount, shop_pg, max_connections=3, coherence="none")  # each read asks the database
    most = 0
    threads = [in_background(lambda: [get(shop.m.at("items/bolt/item.json")) and os.listdir(shop.m.at("flat")) for _ in range(30)])
               for _ in range(12)]
    while True:
        alive = any(t.is_alive() for t in threads)
        most = max(most, len(shop.pg.backends()))
        if not alive:
            break
    for t in threads:
        t.result()
    assert 1 <= most <= 3
    server.restart("immediate")
    assert shop.m.read("items/nut/qty") == "4\n"
    assert 1 <= len(shop.pg.backends()) <= 3


def test_the_first_lines_come_in_an_outage(pg, make_mount, server):
    """Nothing of a file is known yet when the database goes away: lines are taken all the same, and are rows when it is back."""
    mount = make_mount(options=IMPATIENT)
    mount.expect(r"rowfs error .*")
    columns = "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount\n"
    path = mount.at("orderbook/binance-futures/OUT/2025-09-20.csv")
    path.parent.mkdir(parents=True)
    with open(path, "ab", buffering=0) as file:
        # no process may be started meanwhile: it would close its copy of the descriptor, and that commits
        server.admin(f'alter database "{pg.name}" allow_connections false')
        for pid in pg.backends():
            server.admin("select pg_terminate_backend(%s)", pid)
        until(lambda: not pg.backends(), "no connection is left")
        for i in range(12):
            line = f"binance-futures,OUT,{1758365391602000 + i},{i},1,2,3,4\n"
            assert file.write(((columns if i == 0 else "") + line).encode()) > 0
        server.admin(f'alter database "{pg.name}" allow_connections true')
        os.fsync(file.fileno())
    assert pg.sql("select local_timestamp from orderbook_data order by id") == [(i,) for i in range(12)]
    assert mount.rejected() == {}


def test_another_process_closes_its_copy_in_an_outage(shop_pg, make_mount, server):
    """Its close commits, and is told that this failed; the next fsync must not say that all is well."""
    for name, line in (("log.csv", b"a,1,,\n"), ("log.jsonl", b'{"n": 1}\n')):
        mount = make_mount(layout=LAYOUT, options=IMPATIENT)
        mount.expect(r"rowfs error .*")
        fd = os.open(mount.at(name), os.O_WRONLY | os.O_APPEND)
        assert os.write(fd, line) == len(line)
        server.stop()
        copy = os.dup(fd)
        with refused(errno.EIO):
            os.close(copy)
        server.start()
        with refused(errno.EIO):
            os.fsync(fd)
        os.fsync(fd)
        os.close(fd)
        assert any(line.strip() in body for body in mount.kept())


@pytest.mark.parametrize("name, lines", [
    ("log.csv", ["a,1,,", 'b,2,,"two\nlines"', "c,3,,"]),
    ("log.jsonl", ['{"n": 1}', '{"n": 2, "src": "b"}', '{"n": 3}']),
])
def test_lines_that_were_given_up_are_kept_one_by_one(shop_pg, make_mount, server, name, lines):
    """Each with its number, so that they can be brought in again; not as one piece."""
    mount = make_mount(layout=LAYOUT, options=IMPATIENT)
    mount.expect(r"rowfs error .*")
    fd = os.open(mount.at(name), os.O_WRONLY | os.O_APPEND)
    os.write(fd, "".join(f"{line}\n" for line in lines).encode())
    os.fsync(fd)
    first = "\n".join(lines).count("\n") + 2
    for k in range(2):
        server.stop()
        os.write(fd, "".join(f"{line}\r\n" for line in lines).encode())
        with refused(errno.EIO):
            os.fsync(fd)
        server.start()
        kept = [json.loads(entry) for entry in mount.rejected()[f"{name}.rejected.jsonl"].splitlines()][3 * k:]
        assert [e["text"].rstrip("\r") for e in kept] == lines
        numbers = [first + "\n".join(lines[:i] + [""]).count("\n") for i in range(3)]
        assert [e["line"] for e in kept] == numbers
        first = numbers[2] + 1
    os.close(fd)
    assert shop_pg.one("select count(*) from log") == 3
