"""Where nothing can be told or heard, and the triggers that tell."""
import contextlib
import os
import socket
import threading

import pytest
from coherencekit import coherence, counter, delay
from kit import get, put, scratch, until
from mountkit import install
from shop import LAYOUT


def test_a_lost_listener_is_no_loss(two):
    """What is not heard is not remembered: until it listens again, each read asks the database."""
    a, b = two
    a.add("bolt", note="one")
    path = b.m.at("items/bolt/note.txt")
    until(lambda: os.path.exists(path), "the row")
    assert get(path) == b"one"
    b.m.expect(r"listening for changes")
    a.m.expect(r"listening for changes")
    a.pg.admin("alter role keeper connection limit 0")
    try:
        for pid in a.pg.listeners():
            a.pg.admin("select pg_terminate_backend(%s)", pid)
        until(lambda: not coherence(b.m)["listening"], "the loss is known")
        for i in range(20):
            a.pg.admin(f"update items set note = '{'x' * i}{i}'")
            assert get(path) == f"{'x' * i}{i}".encode()
            assert os.stat(path).st_size == len(f"{'x' * i}{i}")
        a.pg.admin("update items set note = 'unheard'")
    finally:
        a.pg.admin("alter role keeper connection limit -1")
    until(lambda: coherence(b.m)["listening"] and coherence(a.m)["listening"], "listening again", timeout=30)
    assert coherence(b.m)["losses"] >= 1
    assert get(path) == b"unheard"  # what was read during the loss is not trusted after it
    before = counter(b.m, "lookups_total")
    for _ in range(50):
        get(path)
    assert counter(b.m, "lookups_total") - before < 20
    a.sql("update items set note = 'at last'")
    delay(lambda: get(path) == b"at last", "told again")


def test_no_right_to_install_triggers(pg, make_mount):
    """A role that owns nothing: by time, and status.json says which and why."""
    pg.admin("create table items (name text primary key, note text)")
    pg.admin("insert into items values ('bolt', 'one')")
    pg.admin("grant select, insert, update, delete on items to keeper")
    m = make_mount(layout={"routes": [{"path": "/items/{items.name}/note.txt", "column": "items.note"}]})
    m.expect("changes by others")
    said = coherence(m)
    assert said["mode"] == "ttl" and said["ttl"] == 0.1, said
    assert "no table" in said["why"], said
    assert m.read("items/bolt/note.txt") == "one"
    pg.admin("update items set note = 'two'")
    until(lambda: m.read("items/bolt/note.txt") == "two", "seen by time", timeout=2)


def test_one_table_without_triggers(pg, make_mount):
    pg.admin("create table theirs (name text primary key, note text)")
    pg.sql("create table ours (name text primary key, note text)")
    pg.admin("grant select, insert, update, delete on theirs to keeper")
    pg.admin("insert into theirs values ('bolt', 'one')")
    m = make_mount(layout={"routes": [{"path": "/theirs/{theirs.name}.txt", "column": "theirs.note"},
                                      {"path": "/ours/{ours.name}.txt", "column": "ours.note"}]})
    said = coherence(m)
    assert said["mode"] == "notify" and list(said["by_time"]) == ["/theirs/{theirs.name}.txt"], said
    assert "not installed" in said["by_time"]["/theirs/{theirs.name}.txt"]
    why = next(line for line in install(pg.conninfo, m.layout).splitlines() if line.startswith("changes of public.theirs are not told: "))
    assert "must be owner" in why or "permission" in why
    assert m.read("theirs/bolt.txt") == "one"
    pg.admin("update theirs set note = 'two'")
    until(lambda: m.read("theirs/bolt.txt") == "two", "seen by time", timeout=2)


def test_a_database_without_the_schema(empty_pg, make_mount):
    empty_pg.sql("create table ours (name text primary key, note text)")
    m = make_mount(conninfo=empty_pg.conninfo, layout={"routes": [{"path": "/{ours.name}.txt", "column": "ours.note"}]})
    assert coherence(m)["mode"] == "ttl" and "rowfs.notice" in coherence(m)["why"]


class Deaf:
    """A proxy in front of the server that drops notifications, as a pooler does that hands a session on after each transaction."""

    def __init__(self, server_dir):
        self.dir = scratch("deaf")
        self.target = str(next(server_dir.glob(".s.PGSQL.*[0-9]")))
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(f"{self.dir}/{os.path.basename(self.target)}")
        os.chmod(f"{self.dir}/{os.path.basename(self.target)}", 0o777)
        self.dir.chmod(0o755)
        self.listener.listen(50)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self.target)
                threading.Thread(target=self.up, args=(client, server), daemon=True).start()
                threading.Thread(target=self.down, args=(client, server), daemon=True).start()

    @staticmethod
    def up(client, server):
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def down(client, server):
        with contextlib.suppress(OSError):
            buffer = b""
            while data := server.recv(65536):
                buffer += data
                while buffer[:1] == b"N" and len(buffer) == 1 or len(buffer) >= 5:
                    if len(buffer) == 1:  # "no" to TLS, before any message
                        client.sendall(buffer)
                        buffer = b""
                        break
                    end = 1 + int.from_bytes(buffer[1:5], "big")
                    if len(buffer) < end:
                        break
                    if buffer[:1] != b"A":
                        client.sendall(buffer[:end])
                    buffer = buffer[end:]
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.listener.close()


def test_a_pooler_that_drops_notifications(shop_pg, make_mount, server):
    deaf = Deaf(server.dir)
    try:
        m = make_mount(conninfo=f"host={deaf.dir} dbname={shop_pg.name} user=keeper gssencmode=disable", layout=LAYOUT)
        m.expect("changes by others")
        assert coherence(m)["mode"] == "ttl" and "did not come back" in coherence(m)["why"], coherence(m)
        shop_pg.sql("insert into items (name, note) values ('bolt', 'one')")
        until(lambda: m.exists("items/bolt/note.txt"), "the row", timeout=2)
        assert m.read("items/bolt/note.txt") == "one"
        shop_pg.sql("update items set note = 'two'")
        until(lambda: m.read("items/bolt/note.txt") == "two", "seen by time", timeout=2)
        # and its own statements must not keep notices from others: no session of it is marked
        other = make_mount(layout=LAYOUT)
        put(m.at("items/bolt/note.txt"), "three")
        delay(lambda: other.read("items/bolt/note.txt") == "three", "the other mount is told")
        put(m.at("items/bolt/note.txt"), "four")
        delay(lambda: other.read("items/bolt/note.txt") == "four", "the other mount is told")
        m.umount()
    finally:
        deaf.close()


@pytest.mark.parametrize("how", ["ttl=0.2", "none"])
def test_not_wanted(shop_pg, make_mount, how):
    m = make_mount(layout=LAYOUT, options={"coherence": how})
    assert coherence(m)["mode"] == how.split("=", 1)[0]
    shop_pg.sql("insert into items (name, note) values ('bolt', 'one')")
    until(lambda: m.exists("items/bolt"), "the row", timeout=2)
    shop_pg.sql("update items set note = 'two'")
    until(lambda: m.read("items/bolt/note.txt") == "two", "seen by time", timeout=2)


def test_lines_of_a_mount_that_goes_by_time_are_told_to_others(pg, make_mount):
    """They go with the counting triggers off; and who does not pass them on himself has the others told by the server."""
    a, b = make_mount(options={"coherence": "ttl=0"}), make_mount()
    path, lines = "orderbook/kraken/BTC/2025-09-20.csv", 0
    os.makedirs(a.at("orderbook/kraken/BTC"))
    for several in (1, 5, 3000, 5, 3000):  # few go in one statement, many by COPY
        put(a.at(path), "".join(f"kraken,BTC,{1758365391602000 + lines + i},{i},1,2,3,4\n" for i in range(several)),
            flags=os.O_APPEND | os.O_CREAT, sync=True)
        lines += several
        assert pg.one("select count(*) from orderbook_data") == lines
        delay(lambda: b.exists(path) and os.stat(b.at(path)).st_size == os.stat(a.at(path)).st_size, f"{lines} lines")  # noqa: B023


# -- the triggers ---------------------------------------------------------------------------------------------------------------


def test_triggers_can_be_removed(two):
    a = two[0]
    tables = a.sql("select distinct relation from rowfs.notice order by 1")
    assert len(tables) > 5
    for (table,) in tables:
        a.sql("select rowfs.untell(%s::regclass)", table)
    assert a.sql("select tgname from pg_trigger where tgname like 'tell%%'") == []
    assert a.sql("select proname from pg_proc where proname ~ '^notice_[0-9]+$'") == []
    a.add("bolt")


def test_a_mistake_in_a_trigger_costs_no_statement(two):
    """A column that a key is made of is renamed: mounts forget all they know, statements go on."""
    a, b = two
    a.sql("insert into pairs values ('x', 1, 'one')")
    until(lambda: b.m.exists("pairs/x/1.json"), "the row")
    assert b.m.json("pairs/x/1.json")["val"] == "one"
    a.sql("alter table pairs rename column b to c")
    heard = coherence(b.m)["heard"]
    a.sql("insert into pairs values ('y', 2, 'two')")
    until(lambda: coherence(b.m)["heard"] > heard, "the notice")
    a.sql("alter table pairs rename column c to b")
    delay(lambda: b.m.exists("pairs/y/2.json"), "the row that was told of as a whole")


def test_partitions_tell_too(pg, make_mount):
    pg.sql("create table events (at date not null, id int not null, note text, primary key (at, id)) partition by range (at)")
    pg.sql("create table events_1 partition of events for values from ('2024-01-01') to ('2025-01-01')")
    m = make_mount(layout={"routes": [{"path": "/{at}/{id}.txt", "column": "events.note"}]})
    assert coherence(m)["mode"] == "notify"
    pg.sql("insert into events values ('2024-05-01', 1, 'one')")
    delay(lambda: m.exists("2024-05-01/1.txt"), "by the table")
    assert m.read("2024-05-01/1.txt") == "one"
    pg.sql("update events_1 set note = 'two'")
    delay(lambda: m.read("2024-05-01/1.txt") == "two", "by the partition")
    pg.sql("create table events_2 partition of events for values from ('2025-01-01') to ('2026-01-01')")
    pg.sql("select rowfs.tell('events')")
    assert not m.exists("2025-05-01/1.txt")
    pg.sql("insert into events_2 values ('2025-05-01', 1, 'three')")
    delay(lambda: m.exists("2025-05-01/1.txt"), "by a new partition")
    pg.sql("truncate events_2")
    delay(lambda: not m.exists("2025-05-01/1.txt"), "truncated")
