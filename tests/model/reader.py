#!/usr/bin/python3
"""A process that reads files of the mount and never stops: a name that exists is always found, and no reader sees half of anything.

reader.py MOUNT FILE... The names must exist all the time. It says what it has seen wrong, and ends then, or when its standard input does."""
import csv
import io
import json
import os
import select
import sys
import time


def check(name, data):
    """Raises ValueError if DATA is half of something. (A text that a writer of the same mount has under way is not shown to others.)"""
    text = data.decode()
    if name.endswith(".json"):
        json.loads(text)
        return
    if text and not text.endswith("\n"):
        raise ValueError("the last line is cut")
    if name.endswith(".jsonl"):
        for line in text.splitlines():
            json.loads(line)
        return
    for i, row in enumerate(csv.reader(io.StringIO(text, newline=""), strict=True)):
        if row != ["w", "n", "memo"] if i == 0 else len(row) != 3 or not (row[0] + row[1]).isdigit():
            raise ValueError(f"record {i} is {row}")


def slurp(path):
    fd, parts = os.open(path, os.O_RDONLY), []
    try:
        while part := os.read(fd, 1 << 17):
            parts.append(part)
    finally:
        os.close(fd)
    return b"".join(parts)


def look(top, name):
    """What is wrong with it now; "" if nothing. No process but the one that unlinked it may miss it, not for a moment (1.11, 8.4)."""
    path, data = os.path.join(top, name), b""
    try:
        for _ in range(3):
            os.stat(path)
        data = slurp(path)
        check(name, data)
    except OSError as e:
        return f"{name}: {e!r}"
    except ValueError as e:
        return f"{name}: {e}: {data[-300:]!r}"
    return ""


def main():
    top, names = sys.argv[1], sys.argv[2:]
    while not select.select([sys.stdin], [], [], 0.002)[0]:
        for name in names:
            if wrong := look(top, name):
                print(f"{time.monotonic():.3f} {wrong}", flush=True)
                return


if __name__ == "__main__":
    main()
