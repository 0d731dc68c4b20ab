"""What may be remembered and for how long: coherence=ttl, with the default options."""
import hashlib
import os
import re
import subprocess
import threading
import time

import pytest

from kit import append, get, put, rm, rss_kib, until
from mountkit import rowfs_binary
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
        rm(shop.m.at(f"items/m{i}/item.json"))
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


def test_an_emptied_column_is_empty_in_its_document(shop):
    """Close of an emptied file leaves open what its writer means, and its release comes a moment later: who reads another file of the row waits."""
    shop.add("bolt", note="n")
    for _ in range(150):
        shop.m.write("items/bolt/item.json", {"note": "n"})
        assert shop.m.read("items/bolt/note.txt") == "n"
        put(shop.m.at("items/bolt/note.txt"), "")
        assert shop.m.json("items/bolt/item.json")["note"] == ""


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


def test_a_cold_cat_is_one_query(shop_pg, make_mount):
    """Attributes and body come with the look-up: open, read and close need nothing more. Warm: nothing at all."""
    shop_pg.sql("insert into flat select g, 't' from generate_series(1, 10) g")
    m = make_mount(layout=LAYOUT)
    os.stat(m / "flat")
    for want in (1, 0, 0):
        with shop_pg.queries() as seen:
            assert get(m.at("flat/7.json")).startswith(b"{")
        assert seen.total == want, seen


def test_bodies_are_kept_within_their_memory(shop_pg, make_mount):
    """What does not fit into -o cache is asked for again; nothing else is lost by it."""
    shop_pg.sql("insert into items (name, note) select 'n' || g, repeat(chr(97 + g % 26), 50000) from generate_series(1, 100) g")
    m = make_mount(layout=LAYOUT, options={"cache": 1})
    for _ in range(2):
        for g in range(1, 101):
            assert get(m.at(f"items/n{g}/note.txt")) == chr(97 + g % 26).encode() * 50000


@pytest.mark.parametrize("how", ["rewrite", "truncate", "rename", "shorter"])
@pytest.mark.parametrize("size", [3000, 400_000])
def test_a_reader_keeps_its_version(shop, how, size):
    """A file that is open when this mount writes it anew is read to its end as it was, and whoever opens it next sees the new one."""
    old, new = b"a" * size + b"end", b"b" * (size // 2 if how == "shorter" else size * 2)
    shop.add("bolt", note=old.decode())
    path = shop.m.at("items/bolt/note.txt")
    assert get(path) == old  # the kernel has its pages
    fd = os.open(path, os.O_RDONLY)
    assert os.read(fd, 10) == old[:10]
    if how == "truncate":
        os.truncate(path, 5)
        new = old[:5]
    elif how == "rename":
        put(path + b".new" if isinstance(path, bytes) else f"{path}.new", new)
        os.rename(f"{path}.new", path)
    else:
        put(path, new)
    assert get(path) == new and os.stat(path).st_size == len(new)
    rest = b""
    while piece := os.read(fd, 65536):
        rest += piece
    assert old[:10] + rest == old
    os.close(fd)
    assert shop.item("note") == new.decode() and get(path) == new


@pytest.mark.parametrize("size", [3000, 400_000])
def test_a_reader_beside_a_writer(shop, size):
    """What is written and not committed yet changes nothing for who has the file open."""
    old = b"a" * size + b"end"
    shop.add("bolt", note=old.decode())
    path = shop.m.at("items/bolt/note.txt")
    assert get(path) == old
    reader = os.open(path, os.O_RDONLY)
    assert os.read(reader, 10) == old[:10]
    writer = os.open(path, os.O_WRONLY | os.O_TRUNC)
    os.write(writer, b"b" * 100)
    rest = b""
    while piece := os.read(reader, 65536):
        rest += piece
    assert old[:10] + rest == old
    os.close(writer)
    assert os.pread(reader, len(old) + 1, 0) == old
    os.close(reader)
    assert get(path) == b"b" * 100


def test_a_reader_in_the_moment_of_truncation(shop):
    """The kernel empties the pages and the size of what a writer truncates: they must not be those that a reader is just reading."""
    path = shop.m.at("items/bolt/note.txt")
    shop.add("bolt", note="-")
    wrong = []

    def reader(fd, old, stop):
        while not stop.is_set():
            for at in range(0, len(old), 4096):
                if os.pread(fd, 4096, at) != old[at:at + 4096]:
                    wrong.append(at)
                    return
    for i in range(60):
        old = bytes([97 + i % 26]) * 40960
        put(path, old)
        assert get(path) == old  # the kernel has its pages
        fds, stop = [os.open(path, os.O_RDONLY) for _ in range(2)], threading.Event()
        threads = [threading.Thread(target=reader, args=(fd, old, stop)) for fd in fds]
        for t in threads:
            t.start()
        for _ in range(3):
            put(path, b"shorter")
        stop.set()
        for t in threads:
            t.join()
        for fd in fds:
            os.close(fd)
        assert not wrong, (i, wrong)


@pytest.mark.parametrize("options", [{}, {"coherence": "ttl=1"}])
def test_size_and_bytes_are_of_one_version(shop_pg, make_mount, options):
    """Also of a document that changes between its look-up and its open, and is too large to be kept."""
    shop = Shop(make_mount(layout=LAYOUT, options=options), shop_pg)
    shop.add("bolt", note="-" * 1200000)
    path = shop.m.at("items/bolt/note.txt")
    get(path)
    for i in range(30):
        shop.sql("update items set note = %s", chr(97 + i % 26) * (1200010 + 10 * i))
        with open(path, "rb", buffering=0) as f:
            size, data = os.fstat(f.fileno()).st_size, b"".join(iter(lambda f=f: f.read(1 << 20), b""))
        assert len(data) == size and data == data[:1] * size, (i, size, len(data))


def test_writers_beside_readers_that_never_stop(shop):
    """The writer gets its turn, whoever has the file open."""
    shop.add("bolt", note="x" * 5000)
    path = shop.m.at("items/bolt/note.txt")
    with subprocess.Popen(["bash", "-c", 'while [ -e "$0" ]; do exec 3<"$0" && read -r -n 10 <&3; done', str(path)], stderr=subprocess.DEVNULL) as reader:
        for i in range(50):
            put(path, str(i % 10) * (1000 + i * 100))
            assert get(path) == str(i % 10).encode() * (1000 + i * 100)
        reader.kill()


def test_large_body_in_pieces(shop_pg, make_mount):
    """A column of 64 MiB: the bytes are true, they are one version, and the daemon's memory stays small."""
    shop_pg.sql("insert into items (name, note) select 'big', string_agg(md5(g::text), '') from generate_series(1, 2097152) g")
    m = make_mount(layout=LAYOUT)
    path, before = m.at("items/big/note.txt"), rss_kib(m.process.pid)
    want = shop_pg.one("select encode(sha256(note::bytea), 'hex') from items")
    assert os.stat(path).st_size == 64 << 20
    fd, digest = os.open(path, os.O_RDONLY), hashlib.sha256()
    digest.update(os.read(fd, 1 << 20))
    shop_pg.sql("update items set note = 'short'")
    while piece := os.read(fd, 1 << 20):
        digest.update(piece)
    os.close(fd)
    assert digest.hexdigest() == want
    until(lambda: get(path) == b"short", "the new version")
    if b"__asan_init" not in rowfs_binary().read_bytes():
        assert rss_kib(m.process.pid) - before < 32 * 1024
    shop_pg.sql("update items set blob = decode(repeat('00ff', 1048576), 'hex')")
    assert get(m.at("items/big/blob.bin")) == b"\x00\xff" * 1048576


def test_a_long_query_beside_small_reads(shop_pg, make_mount):
    """One user's ten seconds do not hold up the others."""
    shop_pg.sql("insert into flat select g, 't' || g from generate_series(1, 1000) g")
    m = make_mount(layout=LAYOUT, options={"max_connections": 3})
    with subprocess.Popen(["cat", str(m / "slow/10.json")], stdout=subprocess.PIPE) as slow:
        until(lambda: shop_pg.backends("state = 'active' and query like '%%slow_for%%'"), "the long query runs")
        for i in range(1, 1001):
            assert f'"t{i}"'.encode() in get(m.at(f"flat/{i}.json"))
            if slow.poll() is not None:
                break
        assert i == 1000 and slow.poll() is None
        slow.kill()


def test_listings_that_the_kernel_keeps(shop_pg, make_mount):
    """Who lists all the time sees each change soon, whatever it met on the way; and when nothing changes, no query is needed."""
    m = make_mount(layout=LAYOUT)
    shop_pg.sql("insert into flat select g, 't' from generate_series(1, 300) g")
    path = m / "flat"
    with subprocess.Popen(["bash", "-c", 'while ls "$0" >/dev/null; do :; done', str(path)]) as lister:
        for i in range(1000, 1040):
            shop_pg.sql("insert into flat values (%s, 't')", i)
            until(lambda: f"{i}.json" in os.listdir(path), f"row {i} is listed", timeout=3)  # noqa: B023
            shop_pg.sql("delete from flat where id = %s", i)
            until(lambda: f"{i}.json" not in os.listdir(path), f"row {i} is not listed any more", timeout=3)  # noqa: B023
        lister.kill()
    assert len(os.listdir(path)) == 300
    # a listing that was broken off leaves the kernel's copy half full, and it begins no other: so on a mount where none was
    quiet = make_mount(layout=LAYOUT) / "flat"

    def costs_nothing():
        with shop_pg.queries() as seen:
            assert len(os.listdir(quiet)) == 300
        return seen.total == 0
    until(costs_nothing, "a listing without a query")


def test_a_warm_look_up_takes_at_most_four_locks(shop_pg, make_mount):
    """Two of the queue of requests, two of the nodes. A debug build counts the locks of each request and says so in its log."""
    m = make_mount(layout=LAYOUT, options={"coherence": "ttl=300"}, log_level="debug")
    Shop(m, shop_pg).add("bolt", qty=3)
    counts = lambda: [int(n) for n in re.findall(r"request 1: (\d+) locks", m.output())]  # noqa: E731 (1: FUSE_LOOKUP)
    paths = [m / "items/bolt/qty", m / "items/bolt/item.json"]
    for path in paths:
        os.stat(path)
    with shop_pg.queries() as seen:
        for _ in range(100):
            for path in paths:
                os.stat(path)
    assert seen.total == 0, seen
    warm = 100 * 2 * 2  # of the row's directory, and of the file in it
    # a request is counted when its thread takes the next one, so those before may be counted late: all are looked at, not the last
    until(lambda: sum(n <= 4 for n in counts()) >= warm, f"{warm} look-ups have taken at most four locks each")
