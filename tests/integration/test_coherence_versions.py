"""Two mounts and plain SQL agree on versions: handles that stay open, and changes in the middle of a look-up."""
import contextlib
import os
import threading

import pytest
from coherencekit import GATE, SOON, coherence, delay, number, text, waits
from kit import get, until


def test_open_handles_keep_their_version(two):
    a, b = two
    a.add("bolt", note=text(1))
    path = b.m.at("items/bolt/note.txt")
    until(lambda: os.path.exists(path), "the row")
    open_ones = []
    for n in range(2, 30):
        fd = os.open(path, os.O_RDONLY)
        open_ones.append((fd, n - 1, os.read(fd, 5)))
        a.sql("update items set note = %s", text(n))
        delay(lambda: number(get(path)) == n, f"version {n}")  # noqa: B023
        assert os.stat(path).st_size == len(text(n))
    for fd, n, start in open_ones:
        assert os.fstat(fd).st_size == len(text(n))
        assert (start + os.pread(fd, 1 << 20, 5)).decode() == text(n)
        os.close(fd)
    assert number(get(path)) == 29  # what old handles read does not come back


@pytest.mark.parametrize("case", ["change", "appear", "vanish"])
def test_a_change_in_the_middle_of_a_lookup(two, case):
    """A look-up's query sees the row as it was and is kept waiting; the change commits and is told; then the look-up ends. What it has found must
    not be remembered, or nothing would ever correct it."""
    a, b = two
    a.sql(GATE.replace("TABLE", "items"))
    a.sql("insert into items (name) values ('another')")
    a.pg.admin("analyze items")  # so small that an index is not used: the gate is met
    if case != "appear":
        a.sql("insert into items (name, note) values ('bolt', 'old text')")
    directory, path = b.m.at("items"), b.m.at("items/bolt")
    with contextlib.closing(a.pg.connect()) as holder, holder.cursor() as cur:
        for _ in range(3):
            b.m.exists("items/bolt/note.txt")
            heard = coherence(b.m)["heard"]
            # so that it has to be looked up again
            a.pg.admin("update items set seen = now()")
            if case == "appear":
                a.pg.admin("insert into items (name) values ('bolt')")
                a.pg.admin("delete from items where name = 'bolt'")
            until(lambda: coherence(b.m)["heard"] >= heard + (3 if case == "appear" else 1), "the notice")  # noqa: B023
            heard = coherence(b.m)["heard"]
            # what is open the kernel does not forget: then rowfs itself must not take it for what is there now
            held = [os.open(p, os.O_RDONLY) for p in (path, f"{path}/note.txt") if case != "appear"]
            if held:
                a.pg.admin("update items set seen = now()")
                until(lambda: coherence(b.m)["heard"] > heard, "the notice")  # noqa: B023
            heard = coherence(b.m)["heard"]
            cur.execute("select pg_advisory_lock(7)")
            met = threading.Event()

            def look(met=met):
                """Until it meets the gate: a moment after the notice was heard, the kernel may still know the name."""
                while not met.is_set():
                    os.path.exists(f"{path}/note.txt")
            slow = threading.Thread(target=look)
            slow.start()
            until(lambda: waits(a.pg), "the look-up waits")
            met.set()
            if case == "change":
                a.pg.admin("update items set note = note || '!'")
            elif case == "appear":
                a.pg.admin("insert into items (name, note) values ('bolt', 'new')")
            else:
                a.pg.admin("delete from items where name = 'bolt'")
            until(lambda: coherence(b.m)["heard"] > heard, "the notice")  # noqa: B023
            cur.execute("select pg_advisory_unlock(7)")
            slow.join(30)
            is_there = a.pg.admin("select note from items where name = 'bolt'")
            delay(lambda: os.path.exists(path) == bool(is_there), case)  # noqa: B023
            assert sorted(os.listdir(directory)) == ["another", *(["bolt"] if is_there else [])]
            if is_there:
                delay(lambda: b.m.read("items/bolt/note.txt") == is_there[0][0], "the new text")  # noqa: B023
            for fd in held:
                os.close(fd)
            if case == "appear":
                a.pg.admin("delete from items where name = 'bolt'")
            elif case == "vanish":
                a.pg.admin("insert into items (name, note) values ('bolt', 'old text')")


def test_a_change_in_the_middle_of_a_stat(two):
    """The same for the size of a file that is open, where the kernel has no name to forget."""
    a, b = two
    a.sql("insert into log (n, text) values (1, 'x')")
    a.sql("select rowfs.fold()")
    a.sql(GATE.replace("TABLE", "rowfs.summary"))
    fd = os.open(b.m.at("log.csv"), os.O_RDONLY)
    with contextlib.closing(a.pg.connect()) as holder, holder.cursor() as cur:
        for _ in range(3):
            heard = coherence(b.m)["heard"]
            a.pg.admin("insert into log (n, text) values (2, 'xyz')")
            until(lambda: coherence(b.m)["heard"] > heard, "the notice")  # noqa: B023
            heard = coherence(b.m)["heard"]
            cur.execute("select pg_advisory_lock(7)")
            slow = threading.Thread(target=lambda: os.fstat(fd))
            slow.start()
            until(lambda: waits(a.pg), "the stat waits")
            a.pg.admin("update log set text = text || 'abcdef'")
            until(lambda: coherence(b.m)["heard"] > heard, "the notice")  # noqa: B023
            cur.execute("select pg_advisory_unlock(7)")
            slow.join(30)
            size = len(get(a.m.at("log.csv")))
            delay(lambda: os.fstat(fd).st_size == size, f"{size} bytes")  # noqa: B023
    os.close(fd)


def test_a_slow_lookup_does_not_hold_up_the_news(two):
    """The kernel forgets a name under the lock of its directory, which a look-up that waits for its query holds."""
    a, b = two
    a.sql(GATE.replace("TABLE", "flat"))
    a.pg.admin("insert into flat values (1, 'old'), (2, 'old')")
    until(lambda: b.m.exists("flat/2.json"), "the rows")
    assert b.m.json("flat/1.json")["title"] == "old"
    a.pg.admin("alter policy gate on flat using (id = 1 or gate())")
    with contextlib.closing(a.pg.connect()) as holder, holder.cursor() as cur:
        cur.execute("select pg_advisory_lock(7)")
        heard = coherence(b.m)["heard"]
        a.pg.admin("update flat set title = 'newer' where id = 2")
        until(lambda: coherence(b.m)["heard"] > heard, "the notice")
        over = threading.Event()

        def look():  # the kernel may still know the name for a moment
            while not over.is_set():
                b.m.exists("flat/2.json")

        slow = threading.Thread(target=look)
        slow.start()
        until(lambda: waits(a.pg), "the look-up waits")
        for i in range(5):
            a.pg.admin(f"update flat set title = 'new{i}' where id = 1")
            took = delay(lambda: b.m.json("flat/1.json")["title"] == f"new{i}", "the news")  # noqa: B023
            assert took < 5 * SOON
        over.set()
        cur.execute("select pg_advisory_unlock(7)")
        slow.join(30)
