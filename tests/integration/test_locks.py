"""flock(2) and fcntl(2) on every kind of file (SEMANTICS 15.3): they exclude, whatever versions of a document the processes have open; who gets
a lock reads what was written under it. The second source is a plain directory that gets the same calls."""
import contextlib
import errno
import fcntl
import json
import os
import random
import signal
import subprocess
import sys

import pytest

from kit import get, put, refused, run, until

pytestmark = pytest.mark.threads
PROCESSES, ADDS = 4, 8

# What programs do: the file is opened first, then locked, read, written and unlocked. argv: file, how, how often, key.
COUNTER = """
import fcntl, json, os, sys
path, how, times, key = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
lock = fcntl.lockf if "lockf" in how else fcntl.flock
kept = []
for _ in range(times):
    if "writer" in how:                     # one open file for everything
        f = open(path, "r+", encoding="utf-8")
        lock(f, fcntl.LOCK_EX)
        doc = json.load(f)
        doc[key] = str(int(doc[key]) + 1)
        f.seek(0)
        f.truncate()
        json.dump(doc, f)
        f.flush()
        if "keep" in how:                   # unlocked now, and closed when the program ends
            lock(f, fcntl.LOCK_UN)
            kept.append(f)
        else:
            f.close()
    else:                                   # the lock is a reader's; the file is written through another one
        with open(path, encoding="utf-8") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            text = os.read(f.fileno(), os.fstat(f.fileno()).st_size)
            assert not os.read(f.fileno(), 10), "longer than fstat says"
            doc = json.loads(text)
            doc[key] = str(int(doc[key]) + 1)
            with open(path, "w", encoding="utf-8") as g:
                json.dump(doc, g)
"""


def count_together(path, how, key):
    """PROCESSES programs that add to the number in PATH."""
    programs = [subprocess.Popen([sys.executable, "-c", COUNTER, str(path), how, str(ADDS), key], stderr=subprocess.PIPE)
                for _ in range(PROCESSES)]
    for p in programs:
        stderr = p.communicate(timeout=120)[1]
        assert p.returncode == 0, stderr.decode()


@pytest.mark.parametrize("how", ["flock-writer", "lockf-writer", "flock-writer-keep", "lockf-writer-keep", "flock-reader"])
@pytest.mark.parametrize("kind", ["row", "column"])
def test_nothing_that_was_added_under_a_lock_is_lost(shop, tmp_path, how, kind):
    """Each adds to what the one before has written; and so on a plain directory."""
    shop.sql("insert into items (name, qty, meta) values ('bolt', 0, '{\"n\": \"0\"}')")
    shop.sql("insert into flat values (1, '0')")
    path, key, answer = {"column": ("items/bolt/meta.json", "n", "select meta->>'n' from items"),
                         "row": ("flat/1.json", "title", "select title from flat")}[kind]
    plain = tmp_path / "plain.json"
    put(plain, json.dumps({key: "0"}))
    count_together(plain, how, key)
    assert json.loads(get(plain))[key] == str(PROCESSES * ADDS)
    count_together(shop.m / path, how, key)
    assert shop.one(answer) == str(PROCESSES * ADDS)
    assert not shop.m.errors()


def test_a_rows_file_that_is_changed_under_a_lock(shop, tmp_path):
    """The same in a file of lines, which each program writes anew as a whole."""
    script = """
import fcntl, os, sys
for _ in range(int(sys.argv[2])):
    with open(sys.argv[1], "r+", encoding="utf-8") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        head, *lines = f.read().splitlines()
        lines = [lines[0].rsplit(",", 1)[0] + "," + str(int(lines[0].rsplit(",", 1)[1]) + 1), *lines[1:]]
        f.seek(0)
        f.truncate()
        f.write("\\n".join([head, *lines]) + "\\n")
        f.flush()
        fcntl.flock(f, fcntl.LOCK_UN)
"""
    text = "src,n,amount,text\na,1,,0\nb,2,,x\n"
    for path in (tmp_path / "log.csv", shop.m / "log.csv"):
        put(path, text)
        programs = [subprocess.Popen([sys.executable, "-c", script, str(path), str(ADDS)]) for _ in range(PROCESSES)]
        assert [p.wait(120) for p in programs] == [0] * PROCESSES
    assert get(shop.m / "log.csv") == get(tmp_path / "log.csv")
    assert shop.sql("select src, text from log order by id") == [("a", str(PROCESSES * ADDS)), ("b", "x")]


# -- what a lock does to what is read and written ----------------------------------------------------------------------


def test_a_reader_with_a_lock_reads_what_is_there_now(shop):
    """14.3: also where the kernel has the pages of the older version, and another reader has it open, too; fstat says its size."""
    shop.sql("insert into items (name, meta) values ('bolt', '{\"a\": 1}')")
    path = shop.m / "items/bolt/meta.json"
    longer = json.dumps({"text": "x" * 9000})
    with open(path, "rb", buffering=0) as one, open(path, "rb", buffering=0) as two:
        before = one.read()
        assert json.loads(before) == {"a": 1}
        for text in (longer, '{"b": 2}'):
            put(path, text)
            fcntl.flock(one, fcntl.LOCK_SH)
            fcntl.lockf(two, fcntl.LOCK_SH)
            now = get(path)
            assert json.loads(now) == json.loads(text)
            for f in (one, two):
                assert os.fstat(f.fileno()).st_size == len(now)
                f.seek(0)
                assert f.read() == now
            fcntl.flock(one, fcntl.LOCK_UN)
            fcntl.lockf(two, fcntl.LOCK_UN)


@pytest.mark.parametrize("mode", ["ttl=0", "ttl=30", "none", "notify"])
def test_who_gets_a_lock_reads_what_others_than_this_mount_have_changed(shop_pg, make_mount, request, mode):
    """By SQL, and what a view makes of it: from handles that read and that write, whatever is remembered."""
    layout = {"routes": [{"path": "/flat/{flat.id}.json", "row": "flat"}, {"path": "/titles/{flat.id}.txt", "column": "flat.title"},
                         {"path": "/items/{items.name}.json", "query": "item_summary"}]}
    m = make_mount(layout=layout, options={} if mode == "notify" else {"coherence": mode})
    shop_pg.sql("insert into flat values (1, 'n-0')")
    shop_pg.sql("insert into items (name, qty, note) values ('bolt', 100, 'x')")
    files = [(m / "flat/1.json", os.O_RDONLY), (m / "flat/1.json", os.O_RDWR), (m / "titles/1.txt", os.O_RDONLY), (m / "items/bolt.json", os.O_RDONLY)]
    fds = [os.open(*f) for f in files]
    request.addfinalizer(lambda: [os.close(fd) for fd in fds])
    for n in range(1, 4):
        for fd in fds:
            os.pread(fd, 10000, 0)
        shop_pg.sql("update flat set title = %s", f"n-{100 + n}")
        shop_pg.sql("update items set qty = %s", 100 + n)

        def all_new():
            for fd in fds:
                fcntl.flock(fd, fcntl.LOCK_SH)
                text = os.pread(fd, 10000, 1)  # not from the start: this alone is no reason to read anew
                size = os.fstat(fd).st_size
                fcntl.flock(fd, fcntl.LOCK_UN)
                if str(100 + n).encode() not in text or size != len(text) + 1:
                    assert mode == "notify", (fd, text, size)  # a notice takes a moment
                    return False
            return True
        until(all_new, "the change is read")


# Keeps the file open and reads it with a lock, once for each line of its input; says whether what it read has that line.
LOCKED_READER = """
import fcntl, os, sys
f = os.open(sys.argv[1], os.O_RDONLY)
print("open", flush=True)
for line in sys.stdin:
    os.pread(f, 10000, 0)
    fcntl.flock(f, fcntl.LOCK_SH)
    text = os.pread(f, 10000, 0)
    fcntl.flock(f, fcntl.LOCK_UN)
    print(text.count(line.strip().encode()), flush=True)
"""


@contextlib.contextmanager
def programs(n, script, *argv):
    """N processes that run SCRIPT and have said a first line."""
    started = [subprocess.Popen([sys.executable, "-c", script, *map(str, argv)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
               for _ in range(n)]
    try:
        for p in started:
            assert p.stdout.readline()
        yield started
    finally:
        for p in started:
            p.kill()
            p.communicate(timeout=20)


def test_readers_that_get_a_lock_together_all_read_what_is_there_now(shop):
    """The first one has the pages of the old version forgotten for all; the others do not go on before that is done."""
    shop.sql("insert into flat values (1, 'one')")
    path = shop.m / "flat/1.json"
    for half in range(4):
        with programs(6, LOCKED_READER, path) as readers:
            for n in range(25):
                title = f"t{half}-{n:02}"
                put(path, json.dumps({"id": 1, "title": title}))
                for r in readers:
                    print(title, file=r.stdin, flush=True)
                assert [r.stdout.readline() for r in readers] == ["1\n"] * len(readers)


def test_those_who_ask_again_and_again_keep_nobody_from_reading_what_is_there_now(shop):
    """More processes than there are threads ask for a lock that a reader has (LOCK_NB); another file is read under a lock."""
    ask = """
import fcntl, os, sys
f = os.open(sys.argv[1], os.O_RDONLY)
print("open", flush=True)
while True:
    try:
        fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
"""
    shop.sql("insert into flat values (1, 'one'), (2, 'two')")
    path, other = shop.m / "flat/1.json", shop.m / "flat/2.json"
    with open(other, "rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with programs(20, ask, other):
            for half in range(20):
                with programs(1, LOCKED_READER, path) as (reader,):
                    for n in range(10):
                        title = f"t{half}-{n}"
                        put(path, json.dumps({"id": 1, "title": title}))
                        print(title, file=reader.stdin, flush=True)
                        assert reader.stdout.readline() == "1\n"


def test_a_large_document_is_read_anew_under_a_lock(shop):
    """Those that do not fit into memory, too."""
    shop.sql("insert into items (name, meta) values ('bolt', %s)", json.dumps({"text": "x" * 3000000}))
    path = shop.m / "items/bolt/meta.json"
    with open(path, "rb", buffering=0) as f:
        assert len(f.read(5000000)) > 3000000
        put(path, json.dumps({"yyyy": "y" * 2500000}))
        fcntl.flock(f, fcntl.LOCK_SH)
        now = get(path)
        assert os.fstat(f.fileno()).st_size == len(now)
        assert os.pread(f.fileno(), 5000000, 0) == now and b"x" not in now


def test_unlocking_commits(shop):
    """What stands in the file when the lock is given up is in the table, though the file stays open."""
    shop.sql("insert into flat values (1, 'old')")
    with open(shop.m / "flat/1.json", "r+", encoding="utf-8") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        f.write('{"id": 1, "title": "new"}')
        f.truncate()
        f.flush()
        fcntl.flock(f, fcntl.LOCK_UN)
        assert shop.sql("select title from flat") == [("new",)]


def test_half_a_document_waits_for_its_rest(shop):
    """A lock that is given up before the program has written its buffers commits and refuses nothing."""
    shop.sql("insert into flat values (1, 'old')")
    fd = os.open(shop.m / "flat/1.json", os.O_RDWR | os.O_TRUNC)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.write(fd, b'{"id": 1, "ti')
    fcntl.flock(fd, fcntl.LOCK_UN)
    assert shop.sql("select title from flat") == [("old",)]
    os.write(fd, b'tle": "new"}')
    os.close(fd)
    assert shop.sql("select title from flat") == [("new",)]
    assert not shop.m.errors() and not list(shop.m.kept())


def test_half_a_line_waits_for_its_rest(shop):
    """A quoted field that is open when the lock is given up is no error: neither then nor at close."""
    put(shop.m / "log.csv", "src,n,amount,text\n")
    fd = os.open(shop.m / "log.csv", os.O_WRONLY | os.O_APPEND)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.write(fd, b'a,1,,one\nb,2,,"two\n')
    fcntl.flock(fd, fcntl.LOCK_UN)
    assert shop.sql("select src, text from log") == [("a", "one")]
    os.write(fd, b'lines"\n')
    os.close(fd)
    assert shop.sql("select src, text from log order by n") == [("a", "one"), ("b", "two\nlines")]
    assert not shop.m.errors() and not list(shop.m.kept())


def test_an_emptied_file_waits_for_its_lines(shop):
    """Of a program that gives up its lock before it writes its buffer: its rows are not deleted before."""
    put(shop.m / "log.csv", "src,n,amount,text\na,1,,one\n")
    before = shop.sql("select id from log")
    fd = os.open(shop.m / "log.csv", os.O_WRONLY | os.O_TRUNC)
    fcntl.flock(fd, fcntl.LOCK_EX)
    fcntl.flock(fd, fcntl.LOCK_UN)
    assert shop.sql("select id from log") == before
    os.write(fd, b"src,n,amount,text\na,1,,one\nb,2,,two\n")
    os.close(fd)
    assert shop.sql("select src, text from log order by n") == [("a", "one"), ("b", "two")]
    assert not shop.m.errors()


def test_what_is_refused_when_a_lock_is_given_up_is_told_at_close(shop):
    """Unlocking succeeds; the next fsync or close says it, once; the bytes are in rejected/."""
    shop.sql("insert into flat values (1, 'old')")
    fd = os.open(shop.m / "flat/1.json", os.O_RDWR | os.O_TRUNC)
    other = os.open(shop.m / "flat/1.json", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.write(fd, b'{"id": 1, "title": "longer than ten characters"}')
    fcntl.flock(fd, fcntl.LOCK_UN)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)
    with refused(errno.EFBIG):
        os.fsync(fd)
    os.close(fd)
    assert shop.sql("select title from flat") == [("old",)]
    assert any(b"longer than ten" in body for body in shop.m.kept())
    assert len(shop.m.errors()) == 1


# -- locks as locks ------------------------------------------------------------------------------------------------------

# A process that does what it is told. One line is one call, one line its result.
WORKER = """
import fcntl, os, struct, sys
FORMAT = "hhqqi"
files = {}
path = sys.argv[1]
for line in sys.stdin:
    what, name, *args = line.split()
    try:
        if what == "open":
            files[name] = os.open(path, os.O_RDWR if args[0] == "rw" else os.O_RDONLY)
            said = "ok"
        elif what == "close":
            os.close(files.pop(name))
            said = "ok"
        elif what == "dup":
            files[args[0]] = os.dup(files[name])
            said = "ok"
        elif what == "flock":
            fcntl.flock(files[name], int(args[0]))
            said = "ok"
        else:
            command, kind, start, length = map(int, args)
            done = struct.unpack(FORMAT, fcntl.fcntl(files[name], command, struct.pack(FORMAT, kind, 0, start, length, 0)))
            said = "ok" if what == "set" else "free" if done[0] == fcntl.F_UNLCK else "taken"
    except OSError as e:
        said = str(e.errno)
    print(said, flush=True)
"""
OFD_GETLK, OFD_SETLK, OFD_SETLKW = 36, 37, 38


class Worker:
    def __init__(self, path):
        self.process = subprocess.Popen([sys.executable, "-c", WORKER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def begin(self, *words):
        print(*words, file=self.process.stdin, flush=True)

    def end(self):
        return self.process.stdout.readline().strip()

    def __call__(self, *words):
        self.begin(*words)
        return self.end()

    def stop(self):
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()

    def kill(self):
        self.process.kill()
        self.stop()


@pytest.fixture
def workers():
    """Makes processes that are told what to do with a file."""
    made = []

    def make(path, n=1):
        made.extend(Worker(path) for _ in range(n))
        return made[-n:]
    yield make
    for w in made:
        w.kill()


def calls(seed, steps):
    """Random calls of three processes: (worker, words)."""
    r = random.Random(seed)
    opened = {w: {} for w in range(3)}
    for step in range(steps):
        w = r.randrange(3)
        files = opened[w]
        if len(files) < 2 or (len(files) < 5 and r.random() < 0.1):
            name = f"f{step}"
            writers = sorted(f for f in files if files[f] == "rw")
            if writers and r.random() < 0.4:
                old = r.choice(writers)
                files[name] = files[old]
                yield w, ("dup", old, name)
            else:
                files[name] = "rw" if r.random() < 0.7 else "r"
                yield w, ("open", name, files[name])
            continue
        name = r.choice(sorted(files))
        what = r.random()
        if what < 0.1 and files[name] == "rw":  # of who only reads, rowfs is told the last close alone: see below
            del files[name]
            yield w, ("close", name)
        elif what < 0.35:
            yield w, ("flock", name, r.choice([fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_SH | fcntl.LOCK_NB, fcntl.LOCK_UN]))
        else:
            ofd = r.random() < 0.3
            test = r.random() < 0.25
            kind = r.choice([fcntl.F_RDLCK, fcntl.F_WRLCK] if test else [fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK])
            if kind == fcntl.F_WRLCK and files[name] == "r" and not test:
                kind = fcntl.F_RDLCK
            command = (OFD_GETLK if ofd else fcntl.F_GETLK) if test else (OFD_SETLK if ofd else fcntl.F_SETLK)
            start = r.randrange(8)
            yield w, ("test" if test else "set", name, command, kind, start, r.choice([1, 2, 3, 8, 0]))


@pytest.mark.parametrize("kind", ["row", "rows", "ingest", "plain", "column"])
def test_the_same_calls_have_the_same_results_as_on_a_plain_directory(shop_pg, make_mount, tmp_path, workers, kind):
    """Ranges that are cut, joined and changed; locks of processes, of open files, of flock; closes of copies."""
    layout = {"routes": [{"path": "/flat/{flat.id}.json", "row": "flat"}, {"path": "/titles/{flat.id}.txt", "column": "flat.title"},
                         {"path": "/log.csv", "rows": "log", "columns": ["src", "n"], "order": ["id"]},
                         {"path": "/in/{x}.csv", "file": True, "ingest": "log", "columns": ["src", "n"]}]}
    m = make_mount(layout=layout)
    shop_pg.sql("insert into flat values (1, 'one')")
    path = m / {"row": "flat/1.json", "column": "titles/1.txt", "rows": "log.csv", "ingest": "in/a.csv", "plain": "a.txt"}[kind]
    plain = tmp_path / "plain"
    put(plain, "x")
    if not path.exists() or kind == "rows":
        put(path, "src,n\na,1\n")
    here, there = workers(path, 3), workers(plain, 3)
    seed = random.randrange(10 ** 6)
    seen = set()
    for step, (w, words) in enumerate(calls(seed, 400)):
        ours, theirs = here[w](*words), there[w](*words)
        seen.add((words[0], theirs))
        assert ours == theirs, f"seed {seed}, step {step}, process {w}: {words}"
    assert {("set", "ok"), ("set", str(errno.EAGAIN)), ("flock", str(errno.EAGAIN)), ("test", "taken"), ("test", "free")} <= seen


def locked_document(shop):
    shop.sql("insert into flat values (1, 'one')")
    return shop.m / "flat/1.json"


def lock_words(how, wait=True):
    """How a worker locks all of its file f."""
    if how == "flock":
        return ("flock", "f", fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    command = {"posix": (fcntl.F_SETLK, fcntl.F_SETLKW), "ofd": (OFD_SETLK, OFD_SETLKW)}[how][wait]
    return ("set", "f", command, fcntl.F_WRLCK, 0, 0)


def unlock_words(how):
    return ("flock", "f", fcntl.LOCK_UN) if how == "flock" else ("set", "f", OFD_SETLK if how == "ofd" else fcntl.F_SETLK,
                                                                  fcntl.F_UNLCK, 0, 0)


@pytest.mark.parametrize("how", ["flock", "posix", "ofd"])
def test_more_processes_wait_than_there_are_threads(shop_pg, make_mount, workers, how):
    """They take none: other files are served meanwhile; each gets the lock once, in the order in which they came."""
    m = make_mount(options={"threads": 4}, layout={"routes": [{"path": "/flat/{flat.id}.json", "row": "flat"}]})
    shop_pg.sql("insert into flat values (1, 'one'), (2, 'two')")
    all_of_them = workers(m / "flat/1.json", 13)
    for w in all_of_them:
        assert w("open", "f", "rw") == "ok"
    first, *others = all_of_them
    assert first(*lock_words(how)) == "ok"
    for w in others:
        w.begin(*lock_words(how))
    assert m.json("flat/2.json")["title"] == "two"
    m.write("flat/2.json", {"id": 2, "title": "three"})
    holder = first
    for w in others:
        assert holder(*unlock_words(how)) == "ok"
        holder = next(iter(ready(others)))
        others = [o for o in others if o is not holder]
        assert holder.end() == "ok"
        if not others:
            break
    assert shop_pg.sql("select title from flat order by id") == [("one",), ("three",)]


def ready(workers_):
    """Those of WORKERS that have something to say; waits for the first."""
    import select
    outs = {w.process.stdout: w for w in workers_}
    some = select.select(list(outs), [], [], 20)[0]
    assert some, "nobody got the lock"
    return [outs[o] for o in some]


@pytest.mark.parametrize("how", ["flock", "posix", "ofd"])
@pytest.mark.parametrize("end", ["close", "kill"])
def test_a_lock_goes_with_its_holder(shop, workers, how, end):
    """At close, and when the process is killed; who waits gets it, and LOCK_NB right behind the close finds it free."""
    one, two = workers(locked_document(shop), 2)
    for w in (one, two):
        assert w("open", "f", "rw") == "ok"
    assert one(*lock_words(how)) == "ok"
    assert two(*lock_words(how, wait=False)) == str(errno.EAGAIN)
    if end == "kill":
        one.kill()
    else:
        assert one("close", "f") == "ok"
    assert two(*lock_words(how, wait=end == "kill")) == "ok"


@pytest.mark.parametrize("how", ["flock", "posix", "ofd"])
def test_who_waits_can_be_interrupted_or_killed(shop, workers, how):
    """A signal ends the wait; a killed process waits no more, and does not get the lock."""
    path = locked_document(shop)
    one, two = workers(path, 2)
    for w in (one, two):
        assert w("open", "f", "rw") == "ok"
    assert one(*lock_words(how)) == "ok"
    script = ("import fcntl, signal, sys\n"
              "class Rang(Exception): pass\n"
              "def ring(*_): raise Rang\n"
              "signal.signal(signal.SIGALRM, ring)\n"
              "f = open(sys.argv[1], 'r+')\n"
              "signal.setitimer(signal.ITIMER_REAL, 0.2)\n"
              "try: fcntl.flock(f, fcntl.LOCK_EX) if sys.argv[2] == 'flock' else fcntl.lockf(f, fcntl.LOCK_EX)\n"
              "except Rang: print('rang')\n")
    assert run(sys.executable, "-c", script, path, how).stdout == "rang\n"
    two.begin(*lock_words(how))
    until(lambda: waits(two), "it waits")
    two.kill()
    three, = workers(path)
    assert three("open", "f", "rw") == "ok"
    assert three(*lock_words(how, wait=False)) == str(errno.EAGAIN)
    assert one(*unlock_words(how)) == "ok"
    assert three(*lock_words(how, wait=False)) == "ok"


def waits(worker):
    """True if the process is in the kernel, in a wait that a signal ends."""
    with open(f"/proc/{worker.process.pid}/status", encoding="ascii") as f:
        status = f.read()
    with open(f"/proc/{worker.process.pid}/syscall", encoding="ascii") as f:
        call = f.read().split()[0]
    return "State:\tS" in status and call in ("72", "73")  # fcntl, flock on x86-64


def test_processes_that_wait_for_each_other(shop, workers):
    """EDEADLK, as on a plain file, and the first goes on when the second gives way."""
    one, two = workers(locked_document(shop), 2)
    for w, at in ((one, 0), (two, 1)):
        assert w("open", "f", "rw") == "ok"
        assert w("set", "f", fcntl.F_SETLK, fcntl.F_WRLCK, at, 1) == "ok"
    one.begin("set", "f", fcntl.F_SETLKW, fcntl.F_WRLCK, 1, 1)
    until(lambda: waits(one), "it waits")
    assert two("set", "f", fcntl.F_SETLKW, fcntl.F_WRLCK, 0, 1) == str(errno.EDEADLK)
    assert two("set", "f", fcntl.F_SETLK, fcntl.F_UNLCK, 0, 0) == "ok"
    assert one.end() == "ok"


def test_the_mount_ends_while_somebody_waits(shop, workers):
    """The daemon ends, with nothing leaked; who waited is told an error."""
    one, two = workers(locked_document(shop), 2)
    for w in (one, two):
        assert w("open", "f", "rw") == "ok"
    assert one(*lock_words("flock")) == "ok"
    two.begin(*lock_words("flock"))
    until(lambda: waits(two), "it waits")
    shop.m.process.send_signal(signal.SIGTERM)
    assert two.end() != "ok"
    assert shop.m.process.wait(30) == 0


def test_ranges_of_a_reader_last_until_its_file_is_closed(shop, workers):
    """The first close of a copy is not told to rowfs, and takes nothing away; the last one does."""
    one, two = workers(locked_document(shop), 2)
    assert one("open", "f", "r") == "ok" and one("dup", "f", "copy") == "ok" and two("open", "f", "rw") == "ok"
    assert one("set", "f", fcntl.F_SETLK, fcntl.F_RDLCK, 0, 0) == "ok"
    assert one("close", "copy") == "ok"
    assert two(*lock_words("posix", wait=False)) == str(errno.EAGAIN)
    assert one("close", "f") == "ok"
    assert two(*lock_words("posix", wait=False)) == "ok"


def test_locks_of_a_reader_last_until_it_is_closed(shop, workers):
    """flock(1) opens what it locks to read."""
    path = locked_document(shop)
    one, two = workers(path, 2)
    assert one("open", "f", "r") == "ok" and two("open", "f", "r") == "ok"
    assert one(*lock_words("flock")) == "ok"
    assert run("flock", "-n", path, "true", ok=False).returncode == 1
    assert two(*lock_words("flock", wait=False)) == str(errno.EAGAIN)
    assert one("close", "f") == "ok"
    assert two(*lock_words("flock", wait=False)) == "ok"
    two.stop()
    assert run("flock", "-n", path, "true").returncode == 0
