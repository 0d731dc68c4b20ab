"""What may be remembered and for how long: coherence=ttl, with the default options."""
import os
import time

import pytest

from kit import append, get, put, until
from shop import LAYOUT, Shop


@pytest.fixture
def shop(shop_pg, make_mount):
    return Shop(make_mount(layout=LAYOUT), shop_pg)


def soon(condition, what):
    """True within the TTL (0.1 s) and some slack for a busy machine."""
    until(condition, what, timeout=2)


def test_sql_changes_are_seen_soon(shop):
    shop.add("bolt", qty=1, note="one")
    path = shop.m.at("items/bolt/note.txt")
    assert get(path) == b"one"
    assert shop.m.ls("items") == ["bolt"]
    for i in range(10):
        shop.sql("update items set note = %s", "x" * i + "!")
        soon(lambda: get(path) == b"x" * i + b"!", "the new text")  # noqa: B023
        soon(lambda: os.stat(path).st_size == i + 1, "the new size")  # noqa: B023
    assert not os.path.exists(shop.m.at("items/nut"))
    shop.add("nut")
    soon(lambda: os.path.exists(shop.m.at("items/nut")), "the new row")
    soon(lambda: shop.m.ls("items") == ["bolt", "nut"], "the new listing")
    shop.sql("delete from items where name = 'bolt'")
    soon(lambda: not os.path.exists(path), "the deleted row")
    shop.sql("update items set name = 'screw'")
    soon(lambda: shop.m.ls("items") == ["screw"], "the new key")


def test_growing_rows_are_followed(shop):
    shop.sql("insert into log (n, text) select g, 'old' from generate_series(1, 1000) g")
    path = shop.m.at("log.csv")
    fd = os.open(path, os.O_RDONLY)
    while os.read(fd, 65536):
        pass
    shop.sql("insert into log (n, text) values (1001, 'new')")
    found = []
    soon(lambda: found.append(os.read(fd, 65536)) or b"1001" in b"".join(found), "the appended line, by the open descriptor")
    os.close(fd)
    append(path, "x,1002,,also\n")
    assert get(path).endswith(b"x,1002,,also\n")


def test_tail_f(shop):
    import subprocess
    with subprocess.Popen(["tail", "-n", "0", "-s", "0.05", "-f", "---disable-inotify", str(shop.m / "log.csv")], stdout=subprocess.PIPE) as tail:
        os.set_blocking(tail.stdout.fileno(), False)
        time_is_up = time.monotonic() + 15
        seen, n = b"", 0
        while seen.count(b"\n") < 5 and time.monotonic() < time_is_up:
            append(shop.m.at("log.csv"), f"t,{n},,\n")
            n += 1
            until(lambda: True, "")
            seen += tail.stdout.read() or b""
        tail.kill()
    lines = seen.decode().splitlines()
    assert len(lines) >= 5
    numbers = [int(x.split(",")[1]) for x in lines]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))  # each once, in order, none torn


def test_own_changes_are_seen_at_once(shop):
    """Whatever is remembered, what this mount did itself shows in the next call."""
    for i in range(20):
        name = f"items/n{i}"
        assert not shop.m.exists(name)
        shop.m.mkdir(name)
        assert shop.m.exists(name) and f"n{i}" in shop.m.ls("items")
        assert shop.m.read(f"{name}/qty") == "0\n"
        put(shop.m.at(f"{name}/qty"), f"{i}\n")
        assert shop.m.read(f"{name}/qty") == f"{i}\n" and shop.m.json(f"{name}/item.json")["qty"] == i
        shop.m.write(f"{name}/item.json", {"qty": i + 1, "note": "x" * i})
        assert shop.m.read(f"{name}/qty") == f"{i + 1}\n"
        assert os.stat(shop.m.at(f"{name}/note.txt")).st_size == i
        os.rename(shop.m.at(name), shop.m.at(f"items/m{i}"))
        assert not shop.m.exists(name) and shop.m.exists(f"items/m{i}/item.json")
        append(shop.m.at(f"items/m{i}/parts.csv"), "a,1\n")
        assert shop.m.json(f"items/m{i}/summary.json")["parts"] == 1
        assert len(shop.m.ls(f"items/m{i}/parts")) == 1
        os.unlink(shop.m.at(f"items/m{i}/item.json"))
        assert not shop.m.exists(f"items/m{i}") and f"m{i}" not in shop.m.ls("items")


def test_a_sibling_route_of_the_same_row_follows(shop):
    """One row behind several files: rewriting one shows in the others at once."""
    shop.add("bolt", qty=1, note="n")
    for i in range(10):
        shop.m.json("items/bolt/item.json")
        shop.m.read("items/bolt/note.txt")
        put(shop.m.at("items/bolt/note.txt"), "y" * i)
        assert shop.m.json("items/bolt/item.json")["note"] == "y" * i
        shop.m.write("items/bolt/item.json", {"note": "z" * i})
        assert shop.m.read("items/bolt/note.txt") == "z" * i


def test_cached_reads_cost_no_query(shop_pg, make_mount):
    m = make_mount(layout=LAYOUT, options={"coherence": "ttl=60"})
    shop_pg.sql("insert into flat select g, 't' from generate_series(1, 100) g")
    paths = [m.at(f"flat/{i}.json") for i in range(1, 101)]
    for p in paths:
        get(p)
    with shop_pg.queries() as seen:
        for p in paths:
            get(p)
            os.stat(p)
    if seen.total > 100:
        pytest.fail(f"{seen.total} statements for 100 warm reads: {seen[:3]}")


def test_no_coherence_wanted(shop_pg, make_mount):
    m = make_mount(layout=LAYOUT, options={"coherence": "none"})
    m.mkdir("items/bolt")
    put(m.at("items/bolt/qty"), "5\n")
    assert m.read("items/bolt/qty") == "5\n"
