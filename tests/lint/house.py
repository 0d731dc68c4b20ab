"""The house: which rooms there are, and which arrows between files there may be.

An arrow runs from a file to what it includes, and to what it calls (the symbols that the objects of a build want and
define). A file is a .c with its .h. Arrows run down only: to the same room or to one below. Within a room no arrows make
a circle."""
import re
import subprocess
from collections import defaultdict

# Top first. What is in a folder that is not named belongs to the folder around it.
ROOMS = """
fs/start fs/kernel fs/admin fs/list fs/docs fs/rows fs/files fs/stream fs/names fs/open fs/cache fs/bytes fs/inodes fs/core fs/options
init
import
schema/snapshot schema/state schema/notice schema/count schema/statements schema/expr schema/layout schema
db
util/text
util
""".split()
FLOORS = ["fs", "init", "import", "schema", "db", "util"]


def room_of(unit):
    """The room of a file (its path without the suffix); None: it has none."""
    while "/" in unit:
        unit = unit.rpartition("/")[0]
        if unit in ROOMS:
            return unit
    return None


def units(root):
    """{file: its paths}"""
    found = defaultdict(list)
    for floor in FLOORS:
        for path in sorted((root / floor).rglob("*.[ch]")):
            found[str(path.relative_to(root).with_suffix(""))].append(path)
    return found


def includes(root):
    """(file, included file, "path:line") for each include of the project's own."""
    for unit, paths in units(root).items():
        for path in paths:
            for n, line in enumerate(path.read_text().splitlines(), 1):
                m = re.match(r'\s*#\s*include\s*"([^"]+)\.h"', line)
                if m and m[1] != unit:
                    yield unit, m[1], f"{path.relative_to(root)}:{n}"


def objects(root, build):
    """{object file: file} of what BUILD has made of the files that are there."""
    # meson writes the folders below the floor's as part of the name
    names = {}
    for unit in units(root):
        floor, _, rest = unit.partition("/")
        names[floor, rest.replace("/", "_") + ".c.o"] = unit
    found = {}
    for path in sorted(build.rglob("*.c.o")):
        unit = names.get((path.relative_to(build).parts[0], path.name))
        if unit:
            found[str(path)] = unit
    return found


def calls(root, build):
    """(file, called file, symbol)"""
    files = objects(root, build)
    out = subprocess.run(["nm", "-A", *files], stdout=subprocess.PIPE, text=True, check=True).stdout if files else ""
    defined, wanted = {}, []
    for line in out.splitlines():
        path, _, rest = line.rpartition(":")
        words = rest.split()
        if len(words) == 3 and words[1] in "TDBRVW":
            defined.setdefault(words[2], files[path])
        elif len(words) == 2 and words[0] == "U":
            wanted.append((files[path], words[1]))
    for unit, symbol in wanted:
        to = defined.get(symbol)
        if to and to != unit:
            yield unit, to, symbol


def circles(arrows):
    """Sets of files that reach each other (Tarjan), those of more than one, largest first. ARROWS: (from, to, ...)."""
    graph = defaultdict(set)
    for one in arrows:
        graph[one[0]].add(one[1])
    index, low, stack, found = {}, {}, [], []

    def visit(start):
        work = [(start, iter(sorted(graph[start])))]
        index[start] = low[start] = len(index)
        stack.append(start)
        while work:
            at, rest = work[-1]
            to = next(rest, None)
            if to is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[at])
                if low[at] == index[at]:
                    circle = set()
                    while at not in circle:
                        circle.add(stack.pop())
                    if len(circle) > 1:
                        found.append(circle)
            elif to not in index:
                index[to] = low[to] = len(index)
                stack.append(to)
                work.append((to, iter(sorted(graph[to]))))
            elif to in stack:
                low[at] = min(low[at], index[to])

    for one in sorted(graph):
        if one not in index:
            visit(one)
    return sorted(found, key=lambda c: (-len(c), sorted(c)))


def comment_lines(text):
    """For each line of C: the line, if a comment or a part of one is in it; else None."""
    lines = text.split("\n")
    has = [False] * len(lines)
    for m in re.finditer(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', text, re.S):
        if m[0].startswith("/"):
            first = text.count("\n", 0, m.start())
            for n in range(first, first + m[0].count("\n") + 1):
                has[n] = True
    return [line if is_comment else None for line, is_comment in zip(lines, has)]


def upward(unit, to):
    """True if an arrow from UNIT to TO runs up."""
    a, b = room_of(unit), room_of(to)
    return a is not None and b is not None and ROOMS.index(b) < ROOMS.index(a)


def mistakes(root, build):
    """One sentence for each."""
    known = units(root)
    for unit, paths in known.items():
        if room_of(unit) is None:
            yield f"{paths[0].relative_to(root)}: in no room: tests/lint/house.py has the list"
    included = list(includes(root))
    for unit, to, where in included:
        if upward(unit, to):
            yield f"{where}: {room_of(unit)}/ includes upwards: {to}.h"
    for circle in circles(included):
        yield f"{min(circle)}.h: a circle of includes: {', '.join(sorted(circle))}"
    if build is None:
        return
    called = list(calls(root, build))
    up = defaultdict(set)
    for unit, to, symbol in called:
        if upward(unit, to):
            up[unit, to].add(symbol)
    for (unit, to), symbols in sorted(up.items()):
        yield f"{unit}.c: {room_of(unit)}/ calls upwards, to {to}.c: {', '.join(sorted(symbols))}"
    for circle in circles(called):
        yield f"{min(circle)}.c: a circle of calls: {', '.join(sorted(circle))}"
