"""Processor time: what a piece of work costs all who take part in it, which other programs on the machine change little."""
import os
import resource
import time

wanted = False  # seconds of the processor are wanted in place of those on the clock


def _of(pid):
    """Seconds of a process, with its threads that have ended: by the clock that clock_getcpuclockid(3) would name."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0  # it has ended


def _below(pid):
    """Seconds of the children of a process, with those that have ended."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        ended = sum(map(int, f.read().rpartition(")")[2].split()[13:15])) / os.sysconf("SC_CLK_TCK")
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return ended + sum(map(_of, map(int, f.read().split())))


def now(where):
    """Seconds so far of the programs that have been waited for, and of the daemons and the server that WHERE has (`mounts`, `server`)."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    daemons = sum(_of(m.process.pid) for m in where.mounts if m.process is not None)
    return ended.ru_utime + ended.ru_stime + daemons + _below(where.server.process.pid)


def measured(where, run):
    """Calls RUN; returns (its value, seconds of the processor if they are wanted, else None)."""
    start = now(where) if wanted else None
    value = run()
    return value, now(where) - start if wanted else None
