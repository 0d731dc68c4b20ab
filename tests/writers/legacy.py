#!/usr/bin/python3
"""Writers of files as they are met in old programs, call by call.

legacy.py WRITER DIRECTORY [--seed N] [--count N] [--name NAME]      see --help

Each writes what SEED makes of it, the same bytes at each run, and tells on its standard output what the system answered (sizes, offsets,
errors), one JSON list a line: a program that runs on two file systems must say the same on both. Exit status 0; killed by SIGKILL where
the writer's name says so."""
import argparse
import contextlib
import csv
import errno
import fcntl
import gzip
import io
import itertools
import json
import logging
import logging.handlers
import os
import random
import signal
import struct
import sys
import tempfile
import termios
import time

from market import CLOCK, DAY, EXCHANGE, FIELDS, ISO, number_text, records

WRITERS = {}
FLUSH_EACH = 1000  # records


def writer(function):
    WRITERS[function.__name__.replace("_", "-")] = function
    return function


def say(*words):
    print(json.dumps(words), flush=True)


def errno_of(call, *args):
    try:
        call(*args)
    except OSError as e:
        return errno.errorcode[e.errno]
    return 0


def look(what, fd):
    """What a descriptor of a regular file answers."""
    st = os.fstat(fd)
    say(what, "size", st.st_size, "type", st.st_mode >> 12, "tty",
        errno_of(fcntl.ioctl, fd, termios.TCGETS, bytearray(64)), "at", os.lseek(fd, 0, os.SEEK_CUR))


def make_directory(path):
    """mkdir, and stat if it is there already."""
    try:
        os.mkdir(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise


def opened_at():
    return time.strftime("%Y%m%d_%H%M%S", time.localtime(CLOCK))


# -- the order-book collector ----------------------------------------------------------------------


class SymbolFile:
    """One symbol's file: a header, records, a flush for each thousand; numbers as repr(float), CR LF."""

    def __init__(self, directory, symbol, gz):
        self.name = f"{symbol}_orderbook_{opened_at()}.csv{'.gz' if gz else ''}"
        path = os.path.join(directory, self.name)
        if gz:
            self.file = gzip.open(path, "wt", compresslevel=9, newline="")
        else:
            self.file = open(path, "w", newline="")
        self.fd = self.file.buffer.fileobj.fileno() if gz else self.file.fileno()
        self.csv = csv.DictWriter(self.file, FIELDS)
        self.csv.writeheader()
        self.written = 0
        look(self.name, self.fd)

    def add(self, record):
        self.csv.writerow(record)
        self.written += 1
        if self.written % FLUSH_EACH == 0:
            self.file.flush()
            look(self.name, self.fd)

    def close(self):
        self.file.close()


def collect(args, gz=False, kill_after=None):
    make_directory(args.directory)
    log = logging.FileHandler(os.path.join(args.directory, "collector.log"))
    log.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    files, n = {}, 0
    for batch in itertools.zip_longest(*(records(args.seed, s, args.count or 2345) for s in ("BTCUSDT", "ETHUSDT", "1000PEPEUSDT"))):
        for record in filter(None, batch):
            symbol = record["symbol"]
            if symbol not in files:
                files[symbol] = SymbolFile(args.directory, symbol, gz)
                log.emit(logging.LogRecord("c", logging.INFO, "", 0, "opened %s", (files[symbol].name,), None))
            files[symbol].add(record)
            n += 1
            if n == kill_after:
                os.kill(os.getpid(), signal.SIGKILL)
    for file in files.values():
        file.close()
        say("closed", file.name, os.stat(os.path.join(args.directory, file.name)).st_size)
    log.emit(logging.LogRecord("c", logging.INFO, "", 0, "closed %d files", (len(files),), None))
    log.close()


@writer
def collector(args):
    collect(args)


@writer
def collector_gz(args):
    collect(args, gz=True)


@writer
def collector_killed(args):
    """SIGKILL while bytes are in its buffer and behind the last flush in the file."""
    collect(args, kill_after=3 * 2100 + random.Random(args.seed).randrange(600))


@writer
def collector_gz_killed(args):
    """A gzip file without its end: good up to the last flush."""
    collect(args, gz=True, kill_after=3 * 2100 + random.Random(args.seed).randrange(600))


@writer
def collector_in_one_file(args):
    """The same calls with one file, whose name is given: sequential writes from offset 0."""
    path = os.path.join(args.directory, args.name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", newline="") as file:
        out = csv.DictWriter(file, FIELDS)
        out.writeheader()
        for i, record in enumerate(records(args.seed, args.symbol, args.count or 2345), 1):
            out.writerow(record)
            if i % FLUSH_EACH == 0:
                file.flush()


# -- data sets -------------------------------------------------------------------------------------


def data_set(seed, symbol, n):
    text = io.StringIO()
    text.write(",".join(FIELDS) + "\n")
    for r in sorted(records(seed, symbol, n), key=lambda r: r["local_timestamp"]):
        text.write(",".join(number_text(r[f]) for f in FIELDS) + "\n")
    return gzip.compress(text.getvalue().encode(), mtime=int(CLOCK))


@writer
def downloader(args):
    """Arbitrary chunks into a name that is unconfirmed, renamed when whole, removed when not. An empty gzip file is legal."""
    rng = random.Random(args.seed)
    for symbol, body in (("BTCUSDT", data_set(args.seed, "BTCUSDT", args.count or 3000)), ("ETHUSDT", data_set(args.seed, "ETHUSDT", 500)),
                         ("EMPTYUSDT", gzip.compress(b"", mtime=0)), ("BROKENUSDT", None)):
        dest = os.path.join(args.directory, f"{EXCHANGE}_quotes_{DAY}_{symbol}.csv.gz")
        say("before", symbol, errno_of(os.stat, dest))
        make_directory(args.directory)
        temp = f"{dest}{rng.getrandbits(64):016x}.unconfirmed"
        fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        look(symbol, fd)
        data = body if body is not None else b"<html>502"
        while data:
            n = os.write(fd, data[:rng.choice([1, 10, 1000, 16384, 65536])])
            data = data[n:]
        look(symbol, fd)
        os.close(fd)
        if body is None:
            os.unlink(temp)
        else:
            os.rename(temp, dest)
        say(symbol, errno_of(os.stat, temp), errno_of(os.stat, dest), body and os.stat(dest).st_size)


def write_over(path, body, run):
    """Neither O_TRUNC nor O_APPEND: what is there stays behind what is written."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
    look("before", fd)
    for at in range(0, len(body), 8192):
        os.write(fd, body[at:at + 8192])
    look("after", fd)
    os.close(fd)
    say(run, os.stat(path).st_size)


@writer
def restarted(args):
    """The second run is shorter than the first: the end of that one stays."""
    make_directory(args.directory)
    path = os.path.join(args.directory, f"btcusdt_{DAY.replace('-', '')}.gz")
    for run, n in ((0, args.count or 2000), (1, 300)):
        out = io.BytesIO()
        with gzip.GzipFile(fileobj=out, mode="wb", mtime=run) as z:
            for r in records(args.seed + run, "BTCUSDT", n):
                z.write(f"{r['local_timestamp'] * 1000} {json.dumps(r)}\n".encode())
        write_over(path, out.getvalue(), run)


@writer
def stale_tail(args):
    """The same with lines of CSV, in a file whose name is given."""
    make_directory(args.directory)
    path = os.path.join(args.directory, args.name)
    for run, n in ((0, args.count or 700), (1, 150)):
        body = io.StringIO(newline="")
        out = csv.DictWriter(body, FIELDS)
        out.writeheader()
        out.writerows(records(args.seed + run, args.symbol, n))
        write_over(path, body.getvalue().encode(), run)


# -- one record, one open --------------------------------------------------------------------------


@writer
def per_record(args):
    make_directory(args.directory)
    for symbol in ("btcusdt", "ethusdt"):
        path = os.path.join(args.directory, f"{symbol}_{DAY.replace('-', '')}.dat")
        for r in records(args.seed, symbol, args.count or 150):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            size, end = os.fstat(fd).st_size, os.lseek(fd, 0, os.SEEK_END)
            line = f"{r['local_timestamp']} {json.dumps(r)}\n".encode()
            say("size", size, "end", end, "wrote", os.write(fd, line), "now", os.fstat(fd).st_size)
            os.close(fd)


@writer
def per_record_csv(args):
    """The same with lines of CSV and a name that is given."""
    path = os.path.join(args.directory, args.name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    for r in records(args.seed, args.symbol, args.count or 150):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        say("size is end", os.fstat(fd).st_size == os.lseek(fd, 0, os.SEEK_END))
        os.write(fd, (",".join(number_text(r[f]) for f in FIELDS) + "\n").encode())
        os.close(fd)


@writer
def capture(args):
    """A gzip member for each record; colons in the name."""
    make_directory(args.directory)
    path = os.path.join(args.directory, args.name or f"BTCUSDT_{ISO}.jsonl.gz")
    for r in records(args.seed, args.symbol, args.count or 200):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        member = gzip.compress((json.dumps(r) + "\n").encode(), mtime=0)
        os.write(fd, member[:10])
        os.write(fd, member[10:])
        os.close(fd)
        say(os.stat(path).st_size)


@writer
def frame(args):
    """DataFrame.to_csv(mode='a', header=not exists)."""
    path = os.path.join(args.directory, args.name or f"{EXCHANGE}_quotes_{DAY}_{args.symbol}.csv")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    all_records = list(records(args.seed, args.symbol, args.count or 400))
    for at in range(0, len(all_records), 97):
        exists = os.path.exists(path)
        say("exists", exists)
        with open(path, "a", encoding="utf-8", newline="") as file:
            say("at the end", file.tell() == os.fstat(file.fileno()).st_size, errno_of(fcntl.ioctl, file.fileno(), termios.TCGETS, bytearray(64)))
            out = csv.writer(file, lineterminator="\n")
            if not exists:
                out.writerow(FIELDS)
            for r in all_records[at:at + 97]:
                out.writerow([r[f] for f in FIELDS])


# -- lines -----------------------------------------------------------------------------------------


@writer
def synced_lines(args):
    """Line-buffered JSON Lines, fsync for each."""
    make_directory(args.directory)
    name = args.name or f"{EXCHANGE}_quotes_{DAY}_{args.symbol}.jsonl"
    with open(os.path.join(args.directory, name), "a", buffering=1, encoding="utf-8") as file:
        for r in records(args.seed, args.symbol, args.count or 100):
            file.write(json.dumps(r) + "\n")
            os.fsync(file.fileno())
            say(os.fstat(file.fileno()).st_size, file.tell())


@writer
def rotated(args):
    """RotatingFileHandler as a writer of CSV: two stats and a seek for each record, a chain of renames."""
    make_directory(args.directory)
    handler = logging.handlers.RotatingFileHandler(os.path.join(args.directory, args.name or "r.csv"), maxBytes=8000, backupCount=3)
    handler.setFormatter(logging.Formatter("%(message)s"))
    for r in records(args.seed, args.symbol, args.count or 500):
        handler.emit(logging.LogRecord("r", logging.INFO, "", 0, ",".join(number_text(r[f]) for f in FIELDS), (), None))
        say(handler.stream.tell())
    handler.close()


@writer
def events(args):
    """Collected, and written by one open for up to 256 lines."""
    make_directory(args.directory)
    rng, pending = random.Random(args.seed), []
    path = os.path.join(args.directory, args.name or "experience_events.jsonl")
    todo = [{"prompt": f"event {i} {'é' * rng.randrange(20)}", "language": rng.choice(["en", "ru"])} for i in range(args.count or 900)]
    while todo or pending:
        n = rng.randrange(1, 257)
        pending, todo = todo[:n], todo[n:]
        with open(path, "a", encoding="utf-8") as file:
            for event in pending:
                file.write(json.dumps(event, ensure_ascii=False) + "\n")
        pending = []


# -- whole files -----------------------------------------------------------------------------------


@writer
def snapshots(args):
    """Very many small files."""
    make_directory(args.directory)
    for i, r in enumerate(records(args.seed, "BTCUSDT", args.count or 300)):
        with open(os.path.join(args.directory, f"{EXCHANGE}_order_book_{r['timestamp'] + i}.json"), "w", encoding="utf-8") as file:
            json.dump({"bids": [[r["bid_price"], r["bid_amount"]]], "asks": [[r["ask_price"], r["ask_amount"]]]}, file)
    say(len(os.listdir(args.directory)))


@writer
def columnar(args):
    """Bytes of no format that we know, a footer at close, and a rename."""
    make_directory(args.directory)
    rng = random.Random(args.seed)
    path = os.path.join(args.directory, f"{EXCHANGE}_quotes_{DAY}.parquet")
    with open(path + ".tmp", "wb") as file:
        file.write(b"PAR1")
        groups = []
        for _ in range(args.count or 20):
            groups.append(file.tell())
            file.write(rng.randbytes(rng.randrange(1, 30000)))
        footer = struct.pack(f"<{len(groups)}Q", *groups)
        file.write(footer + struct.pack("<I", len(footer)) + b"PAR1")
        file.flush()
        look("footer", file.fileno())
    os.rename(path + ".tmp", path)
    say(os.stat(path).st_size)


@writer
def config(args):
    """Written beside, synced, and put in place."""
    make_directory(args.directory)
    for version in range(args.count or 10):
        fd, temp = tempfile.mkstemp(dir=args.directory, prefix=".x.json.")
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            json.dump({"version": version, "seed": args.seed}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temp, os.path.join(args.directory, "x.json"))
    say(os.listdir(args.directory))


@writer
def editor(args):
    """What vim and sed -i do to a file, without them."""
    make_directory(args.directory)
    path = os.path.join(args.directory, "notes.csv")
    with open(path, "w", encoding="utf-8") as file:
        file.write("a,b\n1,2\n")
    probe = os.path.join(args.directory, "4913")
    os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o100664))
    os.unlink(probe)
    os.rename(path, path + "~")
    with open(path, "w", encoding="utf-8") as file:
        file.write("a,b\n3,4\n")
        with contextlib.suppress(OSError):
            os.getxattr(file.fileno(), "system.posix_acl_access")
        os.fchmod(file.fileno(), 0o640)
        os.fsync(file.fileno())
    os.unlink(path + "~")
    temp = os.path.join(args.directory, "sedAbC123")
    fd = os.open(temp, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(fd, b"a,b\n5,6\n")
    os.fchmod(fd, 0o644)
    os.close(fd)
    os.rename(temp, path)
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    say(sorted(os.listdir(args.directory)), os.stat(path).st_size, int(os.stat(path).st_mtime))


def main():
    parser = argparse.ArgumentParser(description="Writers of files as they are met in old programs.")
    parser.add_argument("writer", choices=WRITERS)
    parser.add_argument("directory")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, help="records, or files")
    parser.add_argument("--name", help="the file's name below DIRECTORY, where the writer takes one")
    parser.add_argument("--symbol", default="BTCUSDT")
    args = parser.parse_args()
    time.time = lambda: CLOCK  # gzip puts the time into its header
    WRITERS[args.writer](args)


if __name__ == "__main__":
    sys.exit(main())
