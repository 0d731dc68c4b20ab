"""What the tests of ingest files share: files as collectors write them, what their rows must be, and ways to hold things up."""
import csv
import errno
import io
import os
import threading

from kit import run, until

COLUMNS = ["exchange", "symbol", "timestamp", "local_timestamp", "ask_amount", "ask_price", "bid_price", "bid_amount"]
HEAD = (",".join(COLUMNS) + "\r\n").encode()
NAME = "BTCUSDT_orderbook_20250920_100000.csv"
PATH = f"collector/{NAME}"
IMPATIENT = {"retry_attempts": 1, "retry_delay": "0.1", "retry_backoff": "1.0", "connection_timeout": 2}


def record(i, symbol="BTCUSDT"):
    """A row as the collector's csv.DictWriter puts it: repr(float), empty sides."""
    side = ["", ""] if i % 7 == 0 else [repr(100000.1 + i), repr(0.5 + i % 3)]
    return ["binance-futures", symbol, str(1758365391602000 + i), str(1758365391602900 + i), repr(5000.0), repr(115659.8 + i), *side]


def lines(start, n, end="\r\n"):
    return "".join(",".join(record(i)) + end for i in range(start, start + n)).encode()


def number(text):
    return None if text == "" else float(text)


def parse(body):
    """The rows that BODY means."""
    rows = []
    for row in csv.reader(io.StringIO(body.decode(), newline="")):
        if row == COLUMNS:
            continue
        rows.append((row[0], row[1], int(row[2]), int(row[3]), *[number(f) for f in row[4:]]))
    return sorted(rows, key=repr)


def rows(pg):
    got = pg.sql(f"select {', '.join(COLUMNS)} from orderbook_data")
    return sorted(((*r[:4], *[None if v is None else float(v) for v in r[4:]]) for r in got), key=repr)


def put(path, data, flags=os.O_WRONLY | os.O_CREAT | os.O_TRUNC, cut=8192):
    fd = os.open(path, flags, 0o644)
    try:
        for at in range(0, len(data), cut):
            assert os.write(fd, data[at:at + cut]) == len(data[at:at + cut])
    finally:
        os.close(fd)


def check(mount, pg, name, body, text=None):
    path = mount.at(f"collector/{name}")
    assert path.read_bytes() == body
    assert path.stat().st_size == len(body)
    assert rows(pg) == parse(body if text is None else text)


def layout(**words):
    return {"routes": [{"path": "/c/{n}.csv", "file": True, "ingest": "orderbook_data", "columns": COLUMNS, **words},
                       {"path": "/c/{n}.csv.{k}", "file": True, "ingest": "orderbook_data", "columns": COLUMNS, "format": "csv", **words}]}


def short_lines(start, n):
    """Lines that are told apart by their timestamps alone, see stamps()."""
    return "".join(f"ex,S,{i},{i + 1},5000.0,{i % 97}.5,,\r\n" for i in range(start, start + n)).encode()


def fsync_again(fd):
    """Until the database is back: EIO, and then it succeeds."""
    def synced():
        try:
            os.fsync(fd)
            return True
        except OSError as e:
            assert e.errno == errno.EIO
            return False
    until(synced, "fsync succeeds again")


def stamps(pg):
    """The rows, by the one field that tells them apart."""
    return [r[0] for r in pg.sql("select timestamp from orderbook_data order by timestamp, id")]


def kill_and_mount_again(mount):
    mount.kill()
    mount.process.wait()
    run("umount", "-l", mount.path, ok=False)
    mount.start()


class Held:
    """A lock on TABLE held by another session while the block runs; waited() is true once a backend of rowfs waits for it."""

    def __init__(self, pg, table, mode="exclusive"):
        self.pg, self.what = pg, f"lock table {table} in {mode} mode"

    def __enter__(self):
        self.conn = self.pg.connect()
        self.conn.cursor().execute(self.what)
        return self

    def wait(self):
        until(lambda: self.pg.backends("wait_event_type = 'Lock'"), "rowfs waits for the lock")

    def __exit__(self, *_):
        self.conn.close()


def in_thread(action):
    """Runs ACTION in a thread; the caught OSError, if any, is in .error after join()."""
    class Runner(threading.Thread):
        error = None

        def run(self):
            try:
                action()
            except OSError as e:
                self.error = e
    runner = Runner()
    runner.start()
    return runner
