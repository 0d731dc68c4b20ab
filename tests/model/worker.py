#!/usr/bin/python3
"""One of the processes that use the mount: it makes plain system calls, and can be killed at any moment.

worker.py MOUNT TWIN. A command is a line of JSON on standard input: a list of calls, each [NAME, ARGUMENTS...]. The answer is one line: for each call
[errno, value, milliseconds since the command began]; after an error the rest is left out. Bytes are text in Latin-1. A path is a pair [below
MOUNT, below TWIN or null]: a call with a twin is made in the plain directory TWIN, too, and its result there follows."""
import json
import os
import signal
import sys
import time

FLAGS = {"read": os.O_RDONLY, "append": os.O_WRONLY | os.O_APPEND | os.O_CREAT, "trunc": os.O_RDWR | os.O_TRUNC | os.O_CREAT,
         "rw": os.O_RDWR | os.O_CREAT, "old": os.O_RDWR, "excl": os.O_RDWR | os.O_CREAT | os.O_EXCL, "end": os.O_WRONLY | os.O_CREAT}


class Side:
    """The calls on one of the two trees."""

    def __init__(self, top):
        self.top, self.fds = top, {}

    def at(self, path):
        return os.path.join(self.top, path)

    def open(self, key, path, how):
        self.fds[key] = fd = os.open(self.at(path), FLAGS[how], 0o644)
        if how == "end":
            os.lseek(fd, 0, os.SEEK_END)

    def dup(self, key, new):
        self.fds[new] = os.dup(self.fds[key])

    def flush(self, key):
        os.close(os.dup(self.fds[key]))

    def close(self, key):
        os.close(self.fds.pop(key))

    def write(self, key, data):
        data = data.encode("latin-1")
        while data:
            data = data[os.write(self.fds[key], data):]

    def pwrite(self, key, data, offset):
        os.pwrite(self.fds[key], data.encode("latin-1"), offset)

    def pread(self, key, size, offset):
        return os.pread(self.fds[key], size, offset).decode("latin-1")

    def size(self, key):
        return os.fstat(self.fds[key]).st_size

    def ftruncate(self, key, size):
        """To SIZE, or to where the file ends: as stat says it ("same"), or where the descriptor stands ("end")."""
        fd, at = self.fds[key], os.lseek(self.fds[key], 0, os.SEEK_CUR)
        ends = {"same": lambda: os.fstat(fd).st_size, "end": lambda: at}
        os.ftruncate(fd, ends.get(size, lambda: size)())
        os.lseek(fd, at, os.SEEK_SET)

    def seek(self, key, offset):
        os.lseek(self.fds[key], offset, os.SEEK_SET)

    def fsync(self, key):
        os.fsync(self.fds[key])

    def truncate(self, path, size):
        os.truncate(self.at(path), size)

    def unlink(self, path):
        os.unlink(self.at(path))

    def rename(self, a, b):
        os.rename(self.at(a), self.at(b))

    def mkdir(self, path):
        os.mkdir(self.at(path))

    def rmdir(self, path):
        os.rmdir(self.at(path))

    def slurp(self, path):
        """(st_size before, bytes, st_size after) of one open file."""
        fd = os.open(self.at(path), os.O_RDONLY)
        try:
            before, parts = os.stat(self.at(path)).st_size, []
            while part := os.read(fd, 1 << 17):
                parts.append(part)
            return [before, b"".join(parts).decode("latin-1"), os.stat(self.at(path)).st_size]
        finally:
            os.close(fd)


PATHS = {"open": [1], "truncate": [0], "unlink": [0], "rename": [0, 1], "mkdir": [0], "rmdir": [0], "slurp": [0]}


def twin_of(name, args, twin):
    """The arguments of the call in the plain directory; None if it has no twin."""
    args = list(args)
    if name in PATHS:
        if any(args[i][1] is None for i in PATHS[name]):
            return None
        for i in PATHS[name]:
            args[i] = args[i][1]
        return args
    return args if args[0] in twin.fds else None


def call(side, name, args):
    try:
        return [0, getattr(side, name)(*args)]
    except OSError as e:
        if name == "close":
            side.fds.pop(args[0], None)
        return [e.errno, None]


def main():
    mount, twin = Side(sys.argv[1]), Side(sys.argv[2])
    for line in sys.stdin:
        began, answers = time.monotonic(), []
        for name, *args in json.loads(line):
            if name == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            same = twin_of(name, args, twin)
            real = [a[0] if name in PATHS and i in PATHS[name] else a for i, a in enumerate(args)]
            got = call(mount, name, real)
            answer = [*got, (time.monotonic() - began) * 1000]
            if same is not None:
                answer += call(twin, name, same)
            answers.append(answer)
            if got[0]:
                break
        print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
