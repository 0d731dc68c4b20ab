#!/usr/bin/python3
"""Collectors whose lines are numbered, so that each line that is missing, doubled or torn is known, and a reader that follows them.

numbered.py rows|csv|gz PATH --writer W --acks FILE      appends to PATH until SIGTERM, or --lines N
numbered.py follow PATH --last W=N ...                   reads PATH as it grows, until it has seen line N of each writer W

`rows` asks a rows file for its own last line there and goes on behind it. `csv` and `gz` ask for the file's size and go on at that byte: what
they send is one sequence of bytes that follows from W alone. What is acknowledged (by fsync and close: a number of lines, or of
bytes) goes to FILE, a line each. Exit status 3: a call failed; its name and errno on standard error, FILE has the rest."""
import argparse
import errno
import itertools
import os
import random
import signal
import sys
import time
import zlib
from pathlib import Path

from market import FIELDS

HEADER = (",".join(FIELDS) + "\n").encode()
DAY_US = 1758326400000000  # the first microsecond of market.DAY
SCALE = 1_000_000_000      # local_timestamp is W * SCALE + the line's number
SYNC_FLUSH_EACH = 40       # lines of a gz stream


def line_of(exchange, symbol, writer, n):
    """Line N of WRITER, with its newline. Its last field is empty, so that no beginning of it is a whole line."""
    bid = "" if n % 3 == 0 else f"{writer}.25"
    return f"{exchange},{symbol},{DAY_US + n * 1000 + writer},{writer * SCALE + n},{n % 1000}.125,{n}.5,{bid},\n".encode()


def check_sql(exchange, symbol, writer):
    """What the server must say of one writer's rows: rows, different numbers, smallest, largest, have all the right content."""
    return f"""
        select count(*), count(distinct n), min(n), max(n),
            coalesce(bool_and(r.timestamp = {DAY_US} + n * 1000 + {writer} and ask_amount = n % 1000 + 0.125 and ask_price = n + 0.5
                and bid_price is not distinct from case when n % 3 <> 0 then {writer} + 0.25 end and bid_amount is null), true)
        from (select *, local_timestamp - {writer * SCALE} as n from orderbook_data
            where exchange = '{exchange}' and symbol = '{symbol}' and local_timestamp / {SCALE} = {writer}) r"""


def split(line):
    """(writer, number) of a line that is exactly what line_of() makes; ValueError if it is not."""
    words = line.decode("ascii").split(",")
    writer, n = divmod(int(words[3]), SCALE)
    want = line_of(words[0], words[1], writer, n)
    if line.rstrip(b"\n") != want.rstrip(b"\n"):
        raise ValueError(f"{line!r} is not {want!r}")
    return writer, n


def stream(kind, exchange, symbol, writer):
    """The bytes that a csv or gz collector sends, in pieces, without end."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    for n in itertools.count():
        piece = (HEADER if n == 0 else b"") + line_of(exchange, symbol, writer, n)
        if kind == "gz":
            piece = packer.compress(piece)
            if (n + 1) % SYNC_FLUSH_EACH == 0:
                piece += packer.flush(zlib.Z_SYNC_FLUSH)
        yield piece


def stream_prefix(kind, exchange, symbol, writer, size):
    """The first SIZE bytes of it."""
    out = bytearray()
    for piece in stream(kind, exchange, symbol, writer):
        if len(out) >= size:
            return bytes(out[:size])
        out += piece
    return b""


def lines_in(kind, data):
    """The numbers of the whole lines in DATA, a beginning of a stream."""
    text = zlib.decompressobj(31).decompress(data) if kind == "gz" else data
    return [split(line)[1] for line in text[:text.rfind(b"\n") + 1].splitlines(keepends=True)[1:]]


class Collector:
    def __init__(self, args):
        self.args, self.rng = args, random.Random(f"{args.seed}/{args.writer}/{os.getpid() if args.seed is None else ''}")
        path = Path(args.path)
        self.symbol, self.exchange = args.symbol, args.exchange
        os.makedirs(path.parent, exist_ok=True)
        self.acks = os.open(args.acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.stop = False
        signal.signal(signal.SIGTERM, self.ask_to_stop)

    def ask_to_stop(self, *_):
        self.stop = True

    def acknowledge(self, n):
        os.write(self.acks, b"%d\n" % n)

    def own_last(self):
        """The number behind the last line of ours that the file shows."""
        try:
            fd = os.open(self.args.path, os.O_RDONLY)
        except FileNotFoundError:
            return 0
        text = b""
        try:
            if not self.args.shared:  # lines of others may come in between: then the whole file is read
                os.lseek(fd, max(0, os.fstat(fd).st_size - 4096), os.SEEK_SET)
            while part := os.read(fd, 65536):
                text += part
        finally:
            os.close(fd)
        numbers = [split(line) for line in text.splitlines(keepends=True)[1:] if line != HEADER]
        return max((n + 1 for w, n in numbers if w == self.args.writer), default=0)

    def pieces(self, data):
        """DATA cut at random places."""
        at = 0
        while at < len(data):
            step = self.rng.choice([1, 7, 80, 500, 4096, 8192]) if self.args.cut else len(data)
            yield data[at:at + step]
            at += step

    def write_all(self, fd, data):
        for piece in self.pieces(data):
            done = 0
            while done < len(piece):
                done += os.write(fd, piece[done:])

    def lines_of_rows(self):
        """(bytes, what is acknowledged once they are committed) for each group of lines."""
        n = self.own_last()
        while not self.stop and (self.args.lines is None or n < self.args.lines):
            group = self.rng.randrange(1, 2 * self.args.sync) if self.args.sync > 1 else 1
            if self.args.lines is not None:
                group = min(group, self.args.lines - n)
            yield b"".join(line_of(self.exchange, self.symbol, self.args.writer, i) for i in range(n, n + group)), n + group
            n += group

    def bytes_of_stream(self):
        try:
            size = os.stat(self.args.path).st_size
        except FileNotFoundError:
            size = 0
        at, out, n = 0, bytearray(), 0
        goal = self.rng.randrange(1, 200 * self.args.sync)
        for piece in stream(self.args.kind, self.exchange, self.symbol, self.args.writer):
            if self.stop or n == self.args.lines:
                break
            out += piece[max(0, size - at):] if at < size else piece
            at += len(piece)
            n += 1
            if len(out) >= goal:
                yield bytes(out), at
                out.clear()
                goal = self.rng.randrange(1, 200 * self.args.sync)
        if out:
            yield bytes(out), at

    def run(self):
        call = "ask"
        try:
            groups = self.lines_of_rows() if self.args.kind == "rows" else self.bytes_of_stream()
            first, acked = next(groups, (b"", None))
            call = "open"
            fd = os.open(self.args.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            for data, number in itertools.chain([(first, acked)] if acked is not None else [], groups):
                call = "write"
                self.write_all(fd, data)
                call = "fsync"
                os.fsync(fd)
                self.acknowledge(number)
                if self.args.pause:
                    time.sleep(self.args.pause)
            call = "close"
            os.close(fd)
        except OSError as e:
            print(f"{call}: {errno.errorcode.get(e.errno, e.errno)}", file=sys.stderr)
            return 3
        return 0


def follow(args):
    """Each line whole and right, none twice; with --complete, of each writer none left out and in order."""
    want = {int(w): int(n) for w, n in (pair.split("=") for pair in args.last)}
    seen, last, rest, header = set(), {}, b"", False
    deadline = time.monotonic() + args.timeout
    fd = os.open(args.path, os.O_RDONLY)
    while True:
        part = os.read(fd, random.choice([100, 4096, 8192, 65536]))
        if not part:
            if rest:
                return f"half a line at the end of the file: {rest[-200:]!r}"
            if all(last.get(w, -1) >= n for w, n in want.items()):
                print(len(seen))
                return 0
            if time.monotonic() > deadline:
                return f"waited {args.timeout} s for {want}, have {last}"
            time.sleep(0.01)
            continue
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            if not header:
                if line + b"\n" != HEADER:
                    return f"no header: {line!r}"
                header = True
                continue
            try:
                writer, n = split(line)
            except (ValueError, IndexError) as e:
                return f"torn: {e}"
            if (writer, n) in seen:
                return f"twice: {line!r}"
            seen.add((writer, n))
            if args.complete and n != last.get(writer, -1) + 1:
                return f"left out: {line!r} comes behind {last.get(writer)}"
            last[writer] = max(n, last.get(writer, -1))


def main():
    parser = argparse.ArgumentParser(description="Collectors whose lines are numbered, and a reader that follows them.")
    parser.add_argument("kind", choices=["rows", "csv", "gz", "follow"])
    parser.add_argument("path")
    parser.add_argument("--writer", type=int, default=1)
    parser.add_argument("--exchange", default="numbered")
    parser.add_argument("--symbol", default="ONE")
    parser.add_argument("--acks", default="/dev/null")
    parser.add_argument("--sync", type=int, default=20, help="lines between two fsyncs, about")
    parser.add_argument("--lines", type=int, help="stop after so many lines")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--cut", action="store_true", help="cut writes at random places")
    parser.add_argument("--shared", action="store_true", help="others append to the file, too")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between two groups")
    parser.add_argument("--last", nargs="*", default=[])
    parser.add_argument("--complete", action="store_true")
    parser.add_argument("--timeout", type=float, default=30.0)
    args = parser.parse_args()
    return follow(args) if args.kind == "follow" else Collector(args).run()


if __name__ == "__main__":
    sys.exit(main())
