"""Makes a failing list of operations short: leaves out parts for as long as the same kind of fault is found, then simplifies what is left."""
import time


def shrink(ops, world, fails, seconds):
    """(OPS, WORLD) made smaller. fails(ops, world) is true if they still fail. Gives up after SECONDS with what it has."""
    end = time.monotonic() + seconds

    def still(o, w):
        return time.monotonic() < end and fails(o, w)
    ops = without_parts(ops, lambda o: still(o, world))
    world = simpler_world(world, lambda w: still(ops, w))
    ops = simpler_ops(ops, lambda o: still(o, world))
    return without_parts(ops, lambda o: still(o, world)), world


def without_parts(ops, fails):
    """Delta debugging: ever smaller parts are left out, from the end on."""
    size = max(1, len(ops) // 2)
    while True:
        at, smaller = len(ops), False
        while at > 0:
            shorter = ops[:max(0, at - size)] + ops[at:]
            if len(shorter) < len(ops) and fails(shorter):
                ops, smaller = shorter, True
            at -= size
        if size == 1 and not smaller:
            return ops
        size = max(1, size // 2) if size > 1 else size


def simpler_world(world, fails):
    for key, plain in (("encoding", "UTF8"), ("isolation", None), ("policy", False), ("reader", False), ("trigger", False)):
        if world.get(key, plain) != plain and fails({**world, key: plain}):
            world = {**world, key: plain}
    for name in list(world["options"]):
        fewer = {**world, "options": {k: v for k, v in world["options"].items() if k != name}}
        if fails(fewer):
            world = fewer
    return world


def simpler_ops(ops, fails):
    """Fewer lines, no odd pieces, good instead of special ones."""
    for i in range(len(ops)):
        for change in ({"pieces": None}, {"cut": None}, {"head": None}):
            key = next(iter(change))
            if ops[i].get(key):
                tried = [*ops[:i], {k: v for k, v in ops[i].items() if k != key}, *ops[i + 1:]]
                ops = tried if fails(tried) else ops
        if "lines" in ops[i]:
            ops = fewer_lines(ops, i, fails)
    return ops


def fewer_lines(ops, i, fails):
    def with_lines(lines):
        return [*ops[:i], {**ops[i], "lines": lines}, *ops[i + 1:]]
    if len(ops[i]["lines"]) > 1:
        ops = with_lines(without_parts(ops[i]["lines"], lambda x: fails(with_lines(x))))
    for j, (n, cls) in enumerate(ops[i]["lines"]):
        if cls != "good":
            plain = [*ops[i]["lines"][:j], [n, "good"], *ops[i]["lines"][j + 1:]]
            if fails(with_lines(plain)):
                ops = with_lines(plain)
    return ops
