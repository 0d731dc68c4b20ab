"""Lines on their way to the database: what becomes of each, whatever happens to the file, the server or the network meanwhile."""
import contextlib
import errno
import gzip
import itertools
import json
import os
import socket
import subprocess
import threading
import time

import pytest

from ingestkit import HEAD, put
from ingestkit import lines as ingest_lines
from kit import get, refused, until
from shop import LAYOUT as SHOP


def lines_of(low, high, text="x"):
    return "".join(f"s,{n},,{text}\n" for n in range(low, high)).encode()


def ingest_line(i):
    return ingest_lines(i, 1).decode()


LONG = "a text that is as long as the lines of market data are so that batches follow each other " * 2


def numbers(pg):
    return [n for n, in pg.sql("select n from log order by id")]


def test_a_refused_line_of_a_file_that_was_cut(make_mount, shop_pg):
    """The line is told of after its handle is closed: what it belongs to must still be there."""
    m = make_mount(layout=SHOP)
    for last in (b"", lines_of(7, 8)):
        fd = os.open(m.at("log.csv"), os.O_WRONLY | os.O_APPEND)
        os.write(fd, lines_of(1, 3) + b"s,-1,,refused\n")
        os.ftruncate(fd, 0)
        os.write(fd, last)
        os.close(fd)
    until(lambda: numbers(shop_pg)[-1:] == [7], "the last line is a row")
    with open(m.at("log.csv"), "ab") as f:  # a batch behind all those
        f.write(lines_of(8, 9))
    assert numbers(shop_pg)[-1] == 8


# -- what the database does with a line -----------------------------------------------------------


def text_of(m):
    """What rejected/ has, as one text."""
    return b"".join(m.rejected().values()).decode()


@contextlib.contextmanager
def writers(path, n):
    """N open handles of PATH, whose lines go into one batch."""
    fds = [os.open(path, os.O_WRONLY | os.O_APPEND) for _ in range(n)]
    yield fds
    for fd in fds:
        os.close(fd)


def synced(fd):
    """The errno that fsync says; 0 for none."""
    try:
        os.fsync(fd)
    except OSError as e:
        return e.errno
    return 0


SKIPPING = """
create function skip_some() returns trigger language plpgsql as $$
begin
    if new.text like 'skip%' then return null; end if;
    return new;
end $$;
create trigger skip_some before insert on log for each row execute function skip_some();
"""


@pytest.mark.parametrize("late", [False, True], ids=["known at mount", "made later"])
@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_a_trigger_that_skips_rows(make_mount, shop_pg, name, late):
    """What it skips is no row, and no failure either: for its own writer, and for those that share its batch."""
    if not late:
        shop_pg.sql(SKIPPING)
    m = make_mount(layout=SHOP)
    if late:
        shop_pg.sql(SKIPPING)
    line = "s,{0},,{1}\n" if name == "log.csv" else '{{"n":{0},"text":"{1}"}}\n'
    for many in (4, 400):  # as one statement, by COPY
        shop_pg.sql("delete from log")
        with writers(m.at(name), 2) as (a, b):
            os.write(a, "".join(line.format(n, "skip" if n % 3 == 0 else "x") for n in range(many)).encode())
            os.write(b, "".join(line.format(n, "x") for n in range(1000, 1000 + many)).encode())
            assert (synced(a), synced(b)) == (0, 0)
            os.write(a, line.format(5000, "skip").encode())  # nothing of a batch is left
            assert synced(a) == 0
        assert sorted(numbers(shop_pg)) == [n for n in range(many) if n % 3] + list(range(1000, 1000 + many))
    assert m.rejected() == {} and m.errors() == []


SLOTS = {"routes": [
    {"path": "/slot/{slot.file}.csv", "rows": "slot", "columns": ["id", "text"], "order": ["id"]},
    {"path": "/slot/{slot.file}.json", "rows": "slot", "by": "id", "columns": ["id", "text"]},
    {"path": "/list/{slot.file}.json", "rows": "slot", "as": "array", "columns": ["id", "text"], "order": ["id"]},
]}


def slots(pg):
    return pg.sql("select file, id, text from slot order by id")


@pytest.mark.parametrize("name", ["slot/a.csv", "slot/a.json", "list/a.json"])
def test_a_replacement_of_which_a_trigger_skips_rows(make_mount, pg, name):
    """A trigger that skips a row, new or to be updated, does not refuse the others. A row of another file is not taken over all the same."""
    pg.sql("create table slot (file text not null, id integer primary key, text text)")
    pg.sql(SKIPPING.replace("insert on log", "insert or update on slot"))
    pg.sql("insert into slot values ('a', 1, 'old'), ('a', 2, 'old'), ('a', 3, 'gone'), ('b', 9, 'theirs')")
    m = make_mount(layout=SLOTS)

    def text(**by_id):
        rows = [(int(k[1:]), v) for k, v in by_id.items()]
        if name.endswith("csv"):
            return "id,text\n" + "".join(f"{i},{t}\n" for i, t in rows)
        if name.startswith("slot"):
            return json.dumps({str(i): {"text": t} for i, t in rows})
        return json.dumps([{"id": i, "text": t} for i, t in rows])

    m.write(name, text(_1="skip", _2="new", _4="skip too", _5="new"))
    assert slots(pg) == [("a", 1, "old"), ("a", 2, "new"), ("a", 5, "new"), ("b", 9, "theirs")]
    if name.endswith("csv"):  # in place: one line is changed, one is new
        with open(m.at(name), "r+", encoding="utf-8") as f:
            old = f.read()
            f.seek(0)
            f.write(old.replace("2,new", "2,now") + "6,skip\n")
        assert slots(pg) == [("a", 1, "old"), ("a", 2, "now"), ("a", 5, "new"), ("b", 9, "theirs")]
    assert m.errors() == []
    before = slots(pg)
    with refused(errno.EINVAL, errno.EEXIST):
        m.write(name, text(_1="skip", _9="mine"))
    assert slots(pg) == before


def test_lines_without_columns_cost_only_themselves(make_mount, shop_pg):
    m = make_mount(layout=SHOP)
    with writers(m.at("log.jsonl"), 1) as (fd,):
        os.write(fd, b'{"n":1}\n{}\n{"n":2}\n{}\n')
        assert synced(fd) == errno.EINVAL
    assert numbers(shop_pg) == [1, 2]
    assert text_of(m).count('"text":"{}"') == 2


RAISING = """
create function raise_some() returns trigger language plpgsql as $$
begin
    if new.text = 'MY001' then raise exception 'mine' using errcode = 'MY001'; end if;
    if new.text = '42501' then raise exception 'not for you' using errcode = '42501'; end if;
    if new.text = '42883' then perform no_such_function(new.n); end if;
    if new.text = '0A000' then raise exception 'not yet' using errcode = '0A000'; end if;
    if new.text = 'XX000' then raise exception 'odd' using errcode = 'XX000'; end if;
    return new;
end $$;
create trigger raise_some {when} insert on {table} for each row execute function raise_some();
"""
STATES = {"MY001": errno.EINVAL, "42501": errno.EACCES, "42883": errno.EIO, "0A000": errno.EOPNOTSUPP, "XX000": errno.EIO}


def test_a_bad_line_costs_only_itself_whatever_the_sqlstate(make_mount, shop_pg):
    shop_pg.sql(RAISING.format(when="before", table="log"))
    m = make_mount(layout=SHOP)
    for i, state in enumerate(STATES):
        shop_pg.sql("truncate log")
        if i == len(STATES) // 2:  # the server does not say for which line an AFTER trigger was called
            shop_pg.sql("drop trigger raise_some on log; create trigger raise_some after insert on log for each row execute function raise_some()")
        with writers(m.at("log.csv"), 4) as fds:
            for k, fd in enumerate(fds):
                os.write(fd, lines_of(100 * k, 100 * k + 30))
            os.write(fds[0], f"s,9999,,{state}\n".encode())
            for k, fd in enumerate(fds):
                os.write(fd, lines_of(100 * k + 30, 100 * k + 60))
            said = [synced(fd) for fd in fds]
        assert said == [STATES[state], 0, 0, 0], state
        assert sorted(numbers(shop_pg)) == [100 * k + n for k in range(4) for n in range(60)], state
        assert m.errors()[-1]["sqlstate"] == state
    assert text_of(m).count('"line":') == len(STATES)


def test_a_bad_line_of_json_costs_only_itself(make_mount, shop_pg):
    shop_pg.sql(RAISING.format(when="before", table="log"))
    m = make_mount(layout=SHOP)
    for state in STATES:
        shop_pg.sql("truncate log")
        lines = [f'{{"n":{n},"text":"{state if n in (40, 41, 77) else "x"}"}}\n' for n in range(120)]
        with writers(m.at("log.jsonl"), 1) as (fd,):
            os.write(fd, "".join(lines).encode())
            assert synced(fd) == STATES[state]
        assert numbers(shop_pg) == [n for n in range(120) if n not in (40, 41, 77)], state
        assert lines[77].strip() in [json.loads(x)["text"] for x in text_of(m).splitlines()]


def test_the_line_that_copy_means_is_found_among_records_of_many_lines(make_mount, shop_pg):
    """COPY counts the lines of a record, but not those of the first one."""
    m = make_mount(layout=SHOP)
    kinds = {"good": (1, "x"), "multi": (1, '"a\nb\r\nc"'), "bad": (-1, "x"), "bad multi": (-1, '"a\nb"')}
    number, want, lost = 0, [], []
    with writers(m.at("log.csv"), 1) as (fd,):
        for kind in itertools.product(kinds, repeat=3):
            data = []
            for sign, text in (kinds[k] for k in kind):
                number += 1
                data.append(f"s,{sign * number},,{text}\n")
                (want if sign > 0 else lost).append(number)
            os.write(fd, "".join(data).encode() + b"".join(b"s,%d,,x\n" % (10**6 + i) for i in range(40)))  # more than go by one INSERT
            assert synced(fd) == (errno.EINVAL if any("bad" in k for k in kind) else 0)
            assert [n for n in numbers(shop_pg) if n < 10**6] == want, kind
    assert [int(json.loads(x)["text"].split(",")[1]) for x in text_of(m).splitlines()] == [-n for n in lost]


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_a_row_that_the_policy_refuses_costs_only_itself(make_mount, shop_pg, name):
    shop_pg.sql("alter table log enable row level security; alter table log force row level security;"
                "create policy p on log using (true) with check (n <> 13)")
    m = make_mount(layout=SHOP)
    line = "s,{0},,x\n" if name == "log.csv" else '{{"n":{0},"text":"x"}}\n'
    with writers(m.at(name), 1) as (fd,):
        os.write(fd, "".join(line.format(n) for n in range(40)).encode())
        assert synced(fd) == errno.EACCES
    assert numbers(shop_pg) == [n for n in range(40) if n != 13]
    assert text_of(m).count('"line":') == 1


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_lines_are_only_reported_whatever_the_sqlstate(make_mount, shop_pg, name):
    """bad_lines=report: a line in rejected/ is told there, whichever errno it has; what is given up as a whole is an error."""
    shop_pg.sql(RAISING.format(when="before", table="log"))
    m = make_mount(layout=SHOP, options={"bad_lines": "report"})
    line = "s,{0},,{1}\n" if name == "log.csv" else '{{"n":{0},"text":"{1}"}}\n'
    for i, state in enumerate(STATES):
        with writers(m.at(name), 1) as (fd,):
            os.write(fd, "".join(line.format(10 * i + k, state if k == 1 else "x") for k in range(3)).encode())
            assert synced(fd) == 0, state
        assert m.errors()[-1]["sqlstate"] == state and getattr(errno, m.errors()[-1]["errno"]) == STATES[state]
    assert numbers(shop_pg) == [10 * i + k for i in range(len(STATES)) for k in (0, 2)]
    assert text_of(m).count('"line":') == len(STATES)
    shop_pg.sql("revoke insert on log from keeper")
    with writers(m.at(name), 1) as (fd,):
        os.write(fd, line.format(1, "x").encode())
        assert synced(fd) == errno.EACCES


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_what_no_line_is_free_of_is_told_once_and_soon(make_mount, shop_pg, name):
    m = make_mount(layout=SHOP)
    line = "s,{0},,x\n" if name == "log.csv" else '{{"n":{0},"text":"x"}}\n'
    shop_pg.sql("revoke insert on log from keeper")
    with writers(m.at(name), 1) as (fd,), shop_pg.queries() as seen:
        for low in range(0, 20000, 2000):
            os.write(fd, "".join(line.format(n) for n in range(low, low + 2000)).encode())
        assert synced(fd) == errno.EACCES
    assert seen.total < 500
    assert sum(n for q, n in seen if "SAVEPOINT" in q.upper()) < 500
    told = m.errors()
    assert sum(e["lines"] for e in told) == 20000 and len(told) <= 10
    assert text_of(m).count('"line":') == 20000
    shop_pg.sql("grant insert on log to keeper")
    with writers(m.at(name), 1) as (fd,):
        os.write(fd, line.format(1).encode())
        assert synced(fd) == 0
    assert numbers(shop_pg) == [1]


def test_bad_lines_of_an_ingest_file_cost_only_themselves(mount, pg):
    pg.sql(RAISING.format(when="before", table="orderbook_data").replace("new.text", "new.symbol").replace("new.n", "new.timestamp"))
    for suffix, name in enumerate(STATES):
        body = [ingest_line(i + 1000 * suffix) for i in range(300)]
        for i in (7, 8, 250):
            body[i] = body[i].replace("BTCUSDT", name)
        path = mount.at(f"collector/BTCUSDT_orderbook_20250920_10000{suffix}.csv")
        with refused(STATES[name]):
            put(path, HEAD + "".join(body).encode())
        want = sorted(1758365391602900 + i + 1000 * suffix for i in range(300) if i not in (7, 8, 250))
        got = pg.sql("select local_timestamp from orderbook_data where local_timestamp between %s and %s order by 1", want[0] - 1, want[-1] + 1)
        assert [t for t, in got] == want
        assert mount.errors()[-1]["sqlstate"] == name


# -- tables that COPY refuses ---------------------------------------------------------------------


WITHOUT_COPY = {
    "policy": "alter table orderbook_data enable row level security; alter table orderbook_data force row level security;"
              "create policy p on orderbook_data using (true) with check (symbol <> 'NONE')",
    "rule": "create table seen (t bigint);"
            "create rule r as on insert to orderbook_data do also insert into seen values (new.local_timestamp);"
            "alter table orderbook_data add check (symbol <> 'NONE')",
}


@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
@pytest.mark.parametrize("what", WITHOUT_COPY)
def test_an_ingest_file_of_a_table_that_copy_refuses(make_mount, pg, what, suffix):
    pg.sql(WITHOUT_COPY[what])
    m = make_mount()
    body = [ingest_line(i) for i in range(300)]
    body[7] = body[7].replace("BTCUSDT", "NONE")
    data = HEAD + "".join(body).encode()
    path = m.at(f"collector/BTCUSDT_orderbook_20250920_100000.{suffix}")
    with refused(errno.EACCES if what == "policy" else errno.EINVAL):
        put(path, gzip.compress(data) if suffix == "csv.gz" else data)
    want = [1758365391602900 + i for i in range(300) if i != 7]
    assert [t for t, in pg.sql("select local_timestamp from orderbook_data order by 1")] == want
    assert m.kept() == [body[7].rstrip("\r\n").encode()]
    if what == "rule":
        assert [t for t, in pg.sql("select t from seen order by 1")] == want
    put(path, gzip.compress(HEAD + body[3].encode()) if suffix == "csv.gz" else HEAD + body[3].encode())
    assert pg.sql("select local_timestamp from orderbook_data") == [(want[3],)]


def test_a_refused_line_with_units_is_kept_as_it_was_written(make_mount, pg):
    pg.sql("alter table orderbook_data add check (symbol <> 'NONE')")
    m = make_mount(layout={"routes": [{"path": "/t/{day}.csv", "file": True, "ingest": "orderbook_data",
                                       "fields": {"ts": {"column": "timestamp", "from": "ms", "to": "us"}}}]})
    with refused(errno.EINVAL):
        put(m.at("t/1.csv"), b'ts,local_timestamp,symbol\n1,1,A\n2,2,"NONE"\n3,3,B\n')
    assert pg.sql("select timestamp, symbol from orderbook_data order by 1") == [(1000, "A"), (3000, "B")]
    assert m.kept() == [b'2,2,"NONE"']


def test_a_json_line_that_the_server_refuses_costs_only_itself(make_mount, pg):
    pg.sql("alter table orderbook_data add check (symbol <> 'NONE')")
    m = make_mount(layout={"routes": [{"path": "/t/{day}.jsonl", "file": True, "ingest": "orderbook_data"}]})
    body = [json.dumps({"timestamp": n, "local_timestamp": n, "symbol": "NONE" if n == 7 else "A"}).encode() for n in range(40)]
    with refused(errno.EINVAL):
        put(m.at("t/1.jsonl"), b"".join(x + b"\n" for x in body))
    assert [n for n, in pg.sql("select timestamp from orderbook_data order by 1")] == [n for n in range(40) if n != 7]
    assert m.kept() == [body[7]]


# -- isolation ------------------------------------------------------------------------------------


@pytest.mark.parametrize("where, level", [("option", "repeatable read"), ("database", "serializable")])
def test_a_large_append_at_any_isolation_level(make_mount, shop_pg, where, level):
    if where == "database":
        shop_pg.admin(f"alter database {shop_pg.name} set default_transaction_isolation = '{level}'")
    m = make_mount(layout=SHOP, options={"isolation_level": level} if where == "option" else {})
    with writers(m.at("log.csv"), 1) as (fd,):
        for low in range(0, 60000, 500):
            os.write(fd, lines_of(low, low + 500, LONG))
        assert synced(fd) == 0
    assert sorted(numbers(shop_pg)) == list(range(60000))
    assert m.errors() == []


# -- order ----------------------------------------------------------------------------------------


def test_lines_come_back_in_the_order_of_their_writer(make_mount, shop_pg):
    """In large and small pieces, around a refused line, and with lines that wait for the flush interval."""
    m = make_mount(layout=SHOP)
    fd = os.open(m.at("log.csv"), os.O_WRONLY | os.O_APPEND)
    data = lines_of(0, 60000, LONG)
    at = 0
    while at < len(data):
        at += os.write(fd, data[at:at + 65536])
    os.fsync(fd)
    assert get(m.at("log.csv")).split(b"\n", 1)[1] == data
    shop_pg.sql("truncate log")
    want = []
    for n in range(30000):
        bad = n % 4500 == 4499  # one between any two fsyncs but the first
        want += [] if bad else [n]
        os.write(fd, b"s,-1,,x\n" if bad else lines_of(n, n + 1))
        if n % 5000 == 0:
            assert synced(fd) == (errno.EINVAL if n else 0)
    assert synced(fd) == errno.EINVAL
    os.close(fd)
    assert numbers(shop_pg) == want


def test_ids_that_rowfs_draws_are_in_order(make_mount, shop_pg):
    m = make_mount(layout=SHOP)
    shop_pg.sql("insert into items (name) values ('i')")
    want = [f'{{"label":"same","weight":{n}}}\n' for n in range(1, 3001)]
    fd = os.open(m.at("items/i/parts.jsonl"), os.O_WRONLY | os.O_APPEND)
    for low in range(0, 3000, 100):
        os.write(fd, "".join(want[low:low + 100]).encode())
        if low % 700 == 0:
            os.fsync(fd)
    os.close(fd)
    assert [int(w) for w, in shop_pg.sql("select weight from parts order by label, id")] == list(range(1, 3001))


# -- the ledger -----------------------------------------------------------------------------------


def test_a_database_that_went_back_is_named(make_mount, shop_pg):
    m = make_mount(layout=SHOP)
    fd = os.open(m.at("log.csv"), os.O_WRONLY | os.O_APPEND)
    for n in range(3):
        os.write(fd, lines_of(n, n + 1))
        os.fsync(fd)
    shop_pg.sql("update rowfs.stream set off = off - 1 where off > 0")  # as a restore from an older copy leaves it
    os.write(fd, lines_of(3, 4))
    assert synced(fd) == errno.EIO
    assert "rolled back to an older copy" in m.sentence()
    os.write(fd, lines_of(4, 5))
    assert synced(fd) == 0
    os.close(fd)
    assert numbers(shop_pg) == [0, 1, 2, 4]


# -- the network and the disk ---------------------------------------------------------------------


class Swallowing:
    """A proxy by TCP in front of the server. Once `.quiet` is set it takes connections and bytes, and gives nothing back."""

    def __init__(self, server_dir):
        self.target = str(next(server_dir.glob(".s.PGSQL.*[0-9]")))
        self.quiet = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self.target)
                for a, b in ((client, server), (server, client)):
                    threading.Thread(target=self.pump, args=(a, b), daemon=True).start()

    def pump(self, a, b):
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                if not self.quiet.is_set():
                    b.sendall(data)
        if not self.quiet.is_set():
            with contextlib.suppress(OSError):
                b.shutdown(socket.SHUT_RDWR)


def test_one_call_has_one_budget_though_packets_are_dropped(make_mount, shop_pg, server):
    """About seven seconds of pauses, whatever does not answer: the statement, a new connection, the next batch."""
    proxy = Swallowing(server.dir)
    m = make_mount(layout=SHOP, conninfo=f"host=127.0.0.1 port={proxy.port} dbname={shop_pg.name} user=keeper sslmode=disable gssencmode=disable")
    m.expect(r"rowfs error .*")
    with writers(m.at("log.csv"), 1) as (fd,):
        os.write(fd, lines_of(0, 1))
        assert synced(fd) == 0
        proxy.quiet.set()
        os.write(fd, lines_of(1, 2))
        began = time.monotonic()
        assert synced(fd) == errno.EIO
        assert time.monotonic() - began < 20  # it was 60 for the statement alone
        began = time.monotonic()
        with refused(errno.EIO):
            get(m.at("log.jsonl"))
        assert time.monotonic() - began < 20
        proxy.quiet.clear()
        os.write(fd, lines_of(2, 3))
        until(lambda: synced(fd) == 0, "the database is back", timeout=30)
    assert numbers(shop_pg)[0] == 0 and numbers(shop_pg)[-1] == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a tmpfs, which only root may")
def test_a_full_state_dir(make_mount, shop_pg, tmp_path):
    """What needs no room there works; what does says why."""
    state = tmp_path / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "none", state], check=True)
    try:
        m = make_mount(layout=SHOP, options={"state_dir": str(state)})
        m.expect(r"rowfs error .*")
        (state / "filler").write_bytes(b"x" * sum(os.statvfs(state)[i] for i in (4,)) * os.statvfs(state).f_frsize)
        with writers(m.at("log.csv"), 1) as (fd,):
            os.write(fd, lines_of(0, 2))
            assert synced(fd) == 0
            os.write(fd, b"s,-1,,x\n" + lines_of(2, 3))
            assert synced(fd) == errno.EINVAL
        assert numbers(shop_pg) == [0, 1, 2]
        assert "the disk of state_dir is full" in m.sentence()
        assert m.rejected() == {}
        assert os.statvfs(m.path).f_bavail == 0
        with refused(errno.ENOSPC):
            put(m.at("plain.txt"), b"x" * 100000)
        assert "plain_max" not in m.sentence()
        m.umount()
    finally:
        subprocess.run(["umount", state], check=True)
