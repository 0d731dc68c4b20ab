"""Two mounts and plain SQL agree: coherence=notify, which is the default. Expectations come from SQL; every body says which version it is and how
long, so that a mixture of two is told from either."""
import contextlib
import os
import random
import socket
import threading
import time

import mountkit
import pytest

from kit import get, put, scratch, until
from shop import LAYOUT, Shop

SOON = 0.1  # seconds within which everybody agrees
HOUR = 3600


def coherence(mount):
    return mount.json(".rowfs/status.json")["coherence"]


def counter(mount, name):
    return mount.json(".rowfs/status.json")["counters"][name]


def text(n):
    """A note that says its number and its length, of a length that goes up and down."""
    size = random.Random(n).choice((12, 40, 300, 5000, 9000, 20000))
    return f"{n:010d}:{chr(97 + n % 26) * size}:{size}"


def number(body):
    """The number in BODY; fails if it is no whole text()."""
    n = int(body[:10])
    assert body == text(n).encode(), f"a mixture: {body[:30]} ... {body[-30:]}, {len(body)} bytes"
    return n


class Readers:
    """Threads that never stop reading PATHS; each body must be whole, and none older than one seen before."""

    def __init__(self, paths, threads=2):
        self.paths, self.wrong, self.reads, self.over = list(paths), [], 0, False
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(threads)]

    def run(self, seed):
        seen, rng = {}, random.Random(seed)
        try:
            while not self.over:
                path = rng.choice(self.paths)
                with open(path, "rb") as f:
                    size, body = os.fstat(f.fileno()).st_size, f.read()
                assert size == len(body), f"{path}: st_size {size}, {len(body)} bytes"
                n = number(body)
                assert n >= seen.get(path, 0), f"{path}: {n} after {seen[path]}"
                seen[path] = n
                self.reads += 1
        except BaseException as e:  # noqa: BLE001
            self.wrong.append(e)

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *exc):
        self.over = True
        for t in self.threads:
            t.join(30)
        if exc[0] is None:
            assert not self.wrong, self.wrong[0]
            assert self.reads > 0


def delay(condition, what, timeout=5.0):
    """Seconds until CONDITION is true."""
    start = time.monotonic()
    until(condition, what, timeout=timeout, pause=0.0002)
    return time.monotonic() - start


def told(delays, what):
    """Prints the distribution of DELAYS and returns (median, 99 %)."""
    d = sorted(delays)
    p50, p99 = d[len(d) // 2], d[min(len(d) - 1, len(d) * 99 // 100)]
    print(f"\n{what}: {len(d)} changes seen, p50 {p50 * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms, longest {d[-1] * 1e3:.2f} ms")
    return p50, p99


@pytest.fixture
def two(shop_pg, make_mount):
    mounts = [make_mount(layout=LAYOUT) for _ in range(2)]
    for m in mounts:
        assert coherence(m)["mode"] == "notify", coherence(m)
    return [Shop(m, shop_pg) for m in mounts]


# -- what is seen, and when ----------------------------------------------------------------------------------------------------


def test_warm_reads_ask_nobody(two):
    """SEMANTICS 14.2: until something changes, neither a query nor a request is needed."""
    a = two[0]
    heard = coherence(a.m)["heard"]
    a.add("bolt", note=text(1))
    until(lambda: coherence(a.m)["heard"] > heard, "the notice of the row")
    paths = [a.m.at("items/bolt/note.txt"), a.m.at("items/bolt/item.json")]
    for p in paths:
        get(p)
    before = counter(a.m, "lookups_total")
    with a.pg.queries() as seen:
        for _ in range(100):
            for p in paths:
                get(p)
                os.stat(p)
    assert seen.total == 0, seen[:3]
    assert counter(a.m, "lookups_total") - before < 20  # those of status.json itself


def test_a_change_shows_everywhere_under_load(two):
    """Updates by SQL and by either mount, with readers that never stop, and the delay until all have seen it."""
    for i in range(8):
        two[0].add(f"i{i}", note=text(i))
    everywhere = [s.m.at(f"items/i{i}/note.txt") for s in two for i in range(8)]
    delays = []
    with Readers(everywhere):
        for n in range(100, 400):
            name, who = f"i{n % 8}", n % 3
            if who == 2:
                two[0].sql("update items set note = %s where name = %s", text(n), name)
            else:
                put(two[who].m.at(f"items/{name}/note.txt"), text(n))
                assert number(get(two[who].m.at(f"items/{name}/note.txt"))) == n  # one's own at once
            for s in two:
                path = s.m.at(f"items/{name}/note.txt")
                delays.append(delay(lambda: number(get(path)) == n, f"{path} is {n}"))  # noqa: B023
    p50, p99 = told(delays, "changes under load")
    assert p50 < SOON / 2 and p99 < 3 * SOON  # the machine may be busy with more than us


def test_none_is_lost_none_is_mixed(two, long):
    """As many updates as the server takes, documents that grow and shrink; in the end all is as SQL says."""
    rows, updates = 20, 100_000 if long else 10_000
    for s in two if long else ():
        s.m._watch.cancel()  # it may take longer than a mount that hangs
    for i in range(rows):
        two[0].add(f"i{i}", note=text(i))
    everywhere = [s.m.at(f"items/i{i}/note.txt") for s in two for i in range(rows)]
    until(lambda: all(coherence(s.m)["heard"] == rows for s in two), "all inserts are told")
    with Readers(everywhere, threads=3), contextlib.closing(two[0].pg.connect()) as conn:
        conn.autocommit = True
        with conn.cursor() as cur:
            for n in range(rows, rows + updates):
                cur.execute("update items set note = %s where name = %s", (text(n), f"i{n % rows}"))
        end = time.monotonic()
        for i in range(rows):
            last = two[0].item("note", f"i{i}")
            for s in two:
                path = s.m.at(f"items/i{i}/note.txt")
                until(lambda: get(path) == last.encode(), f"{path} is the last version", timeout=10)  # noqa: B023
                assert os.stat(path).st_size == len(last)
        assert all(coherence(s.m)["heard"] == rows + updates for s in two)
        print(f"\n{updates} updates; the last was seen {1e3 * (time.monotonic() - end):.1f} ms after it at most")


def test_rows_come_and_go(two):
    """Names that were asked for before they were there, and after they have gone."""
    delays = []
    for i in range(60):
        name = f"n{i}"
        for s in two:
            assert not s.m.exists(f"items/{name}") and not s.m.exists(f"items/{name}/item.json")
            assert name not in s.m.ls("items")
        before = counter(two[1].m, "lookups_total")
        for _ in range(20):
            assert not two[1].m.exists(f"items/{name}")
        assert counter(two[1].m, "lookups_total") - before < 10  # the kernel keeps that it is not there
        if i % 2:
            two[0].add(name, note="x")
        else:
            two[0].m.mkdir(f"items/{name}")
        for s in two:
            delays.append(delay(lambda: s.m.exists(f"items/{name}/item.json"), name))  # noqa: B023
            assert name in s.m.ls("items")
        two[0].sql("update items set name = %s where name = %s", name + "b", name)
        for s in two:
            delays.append(delay(lambda: s.m.exists(f"items/{name}b"), f"{name} renamed"))  # noqa: B023
            delays.append(delay(lambda: not s.m.exists(f"items/{name}"), f"{name} has another name"))  # noqa: B023
            assert s.m.ls("items") == [f"{name}b"]
        if i % 2:
            two[0].sql("delete from items")
        else:
            os.unlink(two[0].m.at(f"items/{name}b/item.json"))
        for s in two:
            delays.append(delay(lambda: not s.m.exists(f"items/{name}b"), f"{name} gone"))  # noqa: B023
            assert s.m.ls("items") == []
    told(delays, "rows that come and go")


def test_keys_of_the_parents_lead_to_the_child(two):
    """A row below another: found by its own key and its parent's; and what becomes of it when the parent changes."""
    a, b = two
    a.add("bolt")
    ident = a.one("insert into parts (item, label) values ('bolt', 'head') returning id::text")
    path = f"items/bolt/parts/{ident}.json"
    for s in two:
        delay(lambda: s.m.exists(path), path, timeout=2)  # noqa: B023
        assert s.m.json(path)["label"] == "head"
    a.sql("update parts set label = 'thread'")
    delay(lambda: b.m.json(path)["label"] == "thread", "the child's change")
    a.add("nut")
    a.sql("update parts set item = 'nut'")
    delay(lambda: not b.m.exists(path) and b.m.exists(f"items/nut/parts/{ident}.json"), "another parent")
    a.sql("update items set name = 'nut2' where name = 'nut'")
    delay(lambda: not b.m.exists("items/nut") and b.m.exists(f"items/nut2/parts/{ident}.json"), "the parent's name")
    a.sql("delete from items where name = 'nut2'")
    delay(lambda: not b.m.exists(f"items/nut2/parts/{ident}.json"), "the parent is gone")


def test_another_row_with_the_name_of_the_one_before(pg, make_mount):
    """The parent's key on the path is not what the foreign key refers to: a child is found by a look into the parent."""
    pg.sql("create table people (id serial primary key, code text unique)")
    pg.sql("create table visits (id int primary key, person int references people on delete cascade, note text)")
    m = make_mount(layout={"routes": [{"path": "/{people.code}/visits/{visits.id}.txt", "column": "visits.note"}]})
    assert coherence(m)["mode"] == "notify" and not coherence(m)["by_time"]
    pg.sql("insert into people (code) values ('x'), ('y')")
    pg.sql("insert into visits values (1, 1, 'one')")
    delay(lambda: m.exists("x/visits/1.txt"), "the child")
    assert m.read("x/visits/1.txt") == "one" and not m.exists("y/visits/1.txt")
    pg.sql("update visits set note = 'two'")
    delay(lambda: m.read("x/visits/1.txt") == "two", "its change")
    pg.sql("update visits set person = 2")
    delay(lambda: not m.exists("x/visits/1.txt") and m.exists("y/visits/1.txt"), "another parent")
    held = [os.open(m.at(p), os.O_RDONLY) for p in ("y", "y/visits", "y/visits/1.txt")]
    pg.sql("begin; delete from people where code = 'y'; insert into people (code) values ('y'); commit")
    delay(lambda: not m.exists("y/visits/1.txt"), "the new parent has no child")
    assert m.exists("y") and m.ls("y/visits") == []
    for fd in held:
        os.close(fd)


def test_queries_of_views_follow_their_tables(two):
    for s in two:
        assert s.m.read("names.jsonl") == ""
    two[0].add("bolt", qty=3)
    for s in two:
        delay(lambda: '"bolt"' in s.m.read("names.jsonl"), "the view")  # noqa: B023
        assert s.m.json("items/bolt/summary.json")["parts"] == 0
    two[0].sql("insert into parts (item, label) values ('bolt', 'x')")
    for s in two:
        delay(lambda: s.m.json("items/bolt/summary.json")["parts"] == 1, "the other table of the view")  # noqa: B023


def test_lines_of_one_mount_grow_in_the_other(two):
    """Lines go by COPY, with the triggers off: the mount tells of them itself."""
    a, b = two
    path = b.m.at("log.csv")
    fd = os.open(path, os.O_RDONLY)
    assert not b.m.exists("book/kraken") and b.m.ls("book") == []
    delays = []
    for i in range(50):
        before = os.stat(path).st_size
        put(a.m.at("log.csv"), "".join(f"x,{n},,line\n" for n in range(1000 * i, 1000 * i + 40)), flags=os.O_APPEND, sync=True)
        size = os.stat(a.m.at("log.csv")).st_size
        assert size > before
        delays.append(delay(lambda: os.stat(path).st_size == size, "the new size"))  # noqa: B023
        assert os.fstat(fd).st_size == size
    os.close(fd)
    assert get(path) == get(a.m.at("log.csv"))
    day = 1_700_000_000_000_000  # 2023-11-14
    put(a.m.at("book/kraken/btc/2023-11-14.csv") if a.m.exists("book/kraken/btc") else a.m.at("book/start.csv"), "")
    a.sql("insert into book (exchange, symbol, timestamp, price) values ('kraken', 'btc', %s, 1)", day)
    delay(lambda: b.m.exists("book/kraken/btc/2023-11-14.csv") and b.m.ls("book/kraken/btc") == ["2023-11-14.csv"], "a new file")
    size = os.stat(b.m.at("book/kraken/btc/2023-11-14.csv")).st_size
    put(a.m.at("book/kraken/btc/2023-11-14.csv"), f"kraken,btc,{day + 1},2\n", flags=os.O_APPEND, sync=True)
    delay(lambda: os.stat(b.m.at("book/kraken/btc/2023-11-14.csv")).st_size > size, "an appended line")
    told(delays, "appended lines")


def test_many_rows_at_once(two):
    """Beyond some keys a notice names the whole table; TRUNCATE has no keys at all."""
    a = two[0]
    a.sql("insert into flat select g, 'old' from generate_series(1, 3000) g")
    names = [f"flat/{g}.json" for g in range(1, 3001, 100)]
    for s in two:
        until(lambda: s.m.exists(names[-1]), "the rows")  # noqa: B023
        assert all(s.m.json(n)["title"] == "old" for n in names)
    a.sql("update flat set title = 'new'")
    for s in two:
        delay(lambda: all(s.m.json(n)["title"] == "new" for n in names), "all of them")  # noqa: B023
    a.sql("truncate flat")
    for s in two:
        delay(lambda: not any(s.m.exists(n) for n in names) and s.m.ls("flat") == [], "none of them")  # noqa: B023


def test_a_transaction_is_seen_when_it_is_committed(two):
    a, b = two
    a.add("bolt", note="old")
    path = b.m.at("items/bolt/note.txt")
    until(lambda: os.path.exists(path), "the row")
    with contextlib.closing(a.pg.connect()) as conn, conn.cursor() as cur:
        cur.execute("update items set note = 'new'")
        assert get(path) == b"old"
        conn.commit()
        delay(lambda: get(path) == b"new", "the committed text")
        cur.execute("update items set note = 'never'")
        conn.rollback()
    assert get(path) == b"new"


# -- versions -----------------------------------------------------------------------------------------------------------------


def test_open_handles_keep_their_version(two):
    a, b = two
    a.add("bolt", note=text(1))
    path = b.m.at("items/bolt/note.txt")
    until(lambda: os.path.exists(path), "the row")
    open_ones = []
    for n in range(2, 30):
        fd = os.open(path, os.O_RDONLY)
        open_ones.append((fd, n - 1, os.read(fd, 5)))
        a.sql("update items set note = %s", text(n))
        delay(lambda: number(get(path)) == n, f"version {n}")  # noqa: B023
        assert os.stat(path).st_size == len(text(n))
    for fd, n, start in open_ones:
        assert os.fstat(fd).st_size == len(text(n))
        assert (start + os.pread(fd, 1 << 20, 5)).decode() == text(n)
        os.close(fd)
    assert number(get(path)) == 29  # what old handles read does not come back


# Who reads a row of TABLE as keeper waits while somebody holds the lock 7. It costs nothing, so that it is asked before all else.
GATE = """
create function gate() returns boolean language plpgsql cost 0.0000001 as $$
begin
    perform pg_advisory_xact_lock_shared(7);
    return true;
end $$;
alter table TABLE enable row level security;
alter table TABLE force row level security;
create policy gate on TABLE using (gate()) with check (true);
"""


def waits(pg):
    return pg.admin("select 1 from pg_locks where locktype = 'advisory' and not granted and objid = 7")


@pytest.mark.parametrize("case", ["change", "appear", "vanish"])
def test_a_change_in_the_middle_of_a_lookup(two, case):
    """A look-up's query sees the row as it was and is kept waiting; the change commits and is told; then the look-up ends. What it has found must
    not be remembered, or nothing would ever correct it."""
    a, b = two
    a.sql(GATE.replace("TABLE", "items"))
    a.sql("insert into items (name) values ('another')")
    a.pg.admin("analyze items")  # so small that an index is not used: the gate is met
    if case != "appear":
        a.sql("insert into items (name, note) values ('bolt', 'old text')")
    directory, path = b.m.at("items"), b.m.at("items/bolt")
    with contextlib.closing(a.pg.connect()) as holder, holder.cursor() as cur:
        for _ in range(3):
            b.m.exists("items/bolt/note.txt")
            heard = coherence(b.m)["heard"]
            # so that it has to be looked up again
            a.pg.admin("update items set seen = now()")
            if case == "appear":
                a.pg.admin("insert into items (name) values ('bolt')")
                a.pg.admin("delete from items where name = 'bolt'")
            until(lambda: coherence(b.m)["heard"] >= heard + (3 if case == "appear" else 1), "the notice")  # noqa: B023
            heard = coherence(b.m)["heard"]
            # what is open the kernel does not forget: then rowfs itself must not take it for what is there now
            held = [os.open(p, os.O_RDONLY) for p in (path, f"{path}/note.txt") if case != "appear"]
            if held:
                a.pg.admin("update items set seen = now()")
                until(lambda: coherence(b.m)["heard"] > heard, "the notice")  # noqa: B023
            heard = coherence(b.m)["heard"]
            cur.execute("select pg_advisory_lock(7)")
            slow = threading.Thread(target=lambda: os.path.exists(f"{path}/note.txt"))
            slow.start()
            until(lambda: waits(a.pg), "the look-up waits")
            if case == "change":
                a.pg.admin("update items set note = note || '!'")
            elif case == "appear":
                a.pg.admin("insert into items (name, note) values ('bolt', 'new')")
            else:
                a.pg.admin("delete from items where name = 'bolt'")
            until(lambda: coherence(b.m)["heard"] > heard, "the notice")  # noqa: B023
            cur.execute("select pg_advisory_unlock(7)")
            slow.join(30)
            is_there = a.pg.admin("select note from items where name = 'bolt'")
            delay(lambda: os.path.exists(path) == bool(is_there), case)  # noqa: B023
            assert sorted(os.listdir(directory)) == ["another", *(["bolt"] if is_there else [])]
            if is_there:
                delay(lambda: b.m.read("items/bolt/note.txt") == is_there[0][0], "the new text")  # noqa: B023
            for fd in held:
                os.close(fd)
            if case == "appear":
                a.pg.admin("delete from items where name = 'bolt'")
            elif case == "vanish":
                a.pg.admin("insert into items (name, note) values ('bolt', 'old text')")


def test_a_change_in_the_middle_of_a_stat(two):
    """The same for the size of a file that is open, where the kernel has no name to forget."""
    a, b = two
    a.sql("insert into log (n, text) values (1, 'x')")
    a.sql("select rowfs.fold()")
    a.sql(GATE.replace("TABLE", "rowfs.summary"))
    fd = os.open(b.m.at("log.csv"), os.O_RDONLY)
    with contextlib.closing(a.pg.connect()) as holder, holder.cursor() as cur:
        for _ in range(3):
            heard = coherence(b.m)["heard"]
            a.pg.admin("insert into log (n, text) values (2, 'xyz')")
            until(lambda: coherence(b.m)["heard"] > heard, "the notice")  # noqa: B023
            heard = coherence(b.m)["heard"]
            cur.execute("select pg_advisory_lock(7)")
            slow = threading.Thread(target=lambda: os.fstat(fd))
            slow.start()
            until(lambda: waits(a.pg), "the stat waits")
            a.pg.admin("update log set text = text || 'abcdef'")
            until(lambda: coherence(b.m)["heard"] > heard, "the notice")  # noqa: B023
            cur.execute("select pg_advisory_unlock(7)")
            slow.join(30)
            size = len(get(a.m.at("log.csv")))
            delay(lambda: os.fstat(fd).st_size == size, f"{size} bytes")  # noqa: B023
    os.close(fd)


def test_a_slow_lookup_does_not_hold_up_the_news(two):
    """The kernel forgets a name under the lock of its directory, which a look-up that waits for its query holds."""
    a, b = two
    a.sql(GATE.replace("TABLE", "flat"))
    a.pg.admin("insert into flat values (1, 'old'), (2, 'old')")
    until(lambda: b.m.exists("flat/2.json"), "the rows")
    assert b.m.json("flat/1.json")["title"] == "old"
    a.pg.admin("alter policy gate on flat using (id = 1 or gate())")
    with contextlib.closing(a.pg.connect()) as holder, holder.cursor() as cur:
        cur.execute("select pg_advisory_lock(7)")
        heard = coherence(b.m)["heard"]
        a.pg.admin("update flat set title = 'newer' where id = 2")
        until(lambda: coherence(b.m)["heard"] > heard, "the notice")
        over = threading.Event()

        def look():  # the kernel may still know the name for a moment
            while not over.is_set():
                b.m.exists("flat/2.json")

        slow = threading.Thread(target=look)
        slow.start()
        until(lambda: waits(a.pg), "the look-up waits")
        for i in range(5):
            a.pg.admin(f"update flat set title = 'new{i}' where id = 1")
            took = delay(lambda: b.m.json("flat/1.json")["title"] == f"new{i}", "the news")  # noqa: B023
            assert took < 5 * SOON
        over.set()
        cur.execute("select pg_advisory_unlock(7)")
        slow.join(30)


# -- where nothing can be heard ---------------------------------------------------------------------------------------------------


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
    assert "must be owner" in said["by_time"]["/theirs/{theirs.name}.txt"] or "permission" in said["by_time"]["/theirs/{theirs.name}.txt"]
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


def test_a_mount_that_was_killed_is_made_up_for(two):
    """What it had committed and not passed on yet, others find by its absence: then anything may have changed."""
    a, b = two
    assert coherence(a.m)["peers"] == coherence(b.m)["peers"] == 1
    a.m.kill()
    a.m.process.wait(30)
    mountkit.lazy_umount(a.m.path)
    until(lambda: coherence(b.m)["peers_lost"] >= 1 and coherence(b.m)["peers"] == 0, "the absence")
    lost = coherence(b.m)["peers_lost"]
    a.m.start()
    until(lambda: coherence(b.m)["peers"] == 1, "it is back")
    a.m.umount()
    until(lambda: coherence(b.m)["peers"] == 0, "it is gone")
    assert coherence(b.m)["peers_lost"] == lost  # it ended well
