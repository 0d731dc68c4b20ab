"""Directories of very many rows: listed in pages, with offsets that stay good. Expectations come from SQL. --long: a million rows."""
import ctypes
import os
import random
import struct

import pytest

from kit import get, rss_kib, run, until
from mountkit import rowfs_binary

LAYOUT = {"routes": [{"path": "/docs/{docs.name}.json", "column": "docs.doc"},
                     {"path": "/notes/{notes.id}.txt", "column": "notes.text"},
                     {"path": "/rows/{notes.id}/{notes.text}.json", "row": "notes"}]}
SYS_GETDENTS64 = 217
libc = ctypes.CDLL(None, use_errno=True)


class Dir:
    """A directory by plain system calls: entries with their offsets, SIZE bytes at a time."""

    def __init__(self, path, size=4096, flags=0):
        self.fd, self.buffer = os.open(path, os.O_RDONLY | os.O_DIRECTORY | flags), ctypes.create_string_buffer(size)

    def read(self):
        """(name, offset of the entry behind it) of what one call returns; [] at the end."""
        n = libc.syscall(SYS_GETDENTS64, self.fd, self.buffer, len(self.buffer))
        if n < 0:
            raise OSError(ctypes.get_errno(), "getdents64")
        found, at = [], 0
        while at < n:
            _, off, length = struct.unpack_from("<QqH", self.buffer, at)
            name = ctypes.string_at(ctypes.addressof(self.buffer) + at + 19).decode()
            found.append((name, off))
            at += length
        return found

    def rest(self):
        out = []
        while entries := self.read():
            out += entries
        return [e for e in out if e[0] not in (".", "..")]

    def seek(self, offset):
        os.lseek(self.fd, offset, os.SEEK_SET)
        return self

    def close(self):
        os.close(self.fd)


def names(entries):
    return [name for name, _ in entries]


def is_sanitized():
    return b"__asan_init" in rowfs_binary().read_bytes()


class Big:
    def __init__(self, pg, mount, n):
        self.pg, self.m, self.n, self.path = pg, mount, n, str(mount / "docs")

    def wanted(self, where="true"):
        return [f"{r[0]}.json" for r in self.pg.sql(f"select name from docs where {where} order by name collate \"C\"")]

    def queries(self, *argv):
        with self.pg.queries() as seen:
            done = run(*argv, timeout=600, ok=False)
        return done.stdout, seen.total


@pytest.fixture
def big(pg, make_mount, request, long):
    """A directory of 20 000 documents, or what the test's parameter says; a million with --long."""
    n = 1_000_000 if long else 20_000
    pg.sql("create table docs (name text primary key, doc jsonb)")
    pg.sql("create table notes (id integer primary key, text text)")
    pg.sql("insert into docs select lpad((g * 7)::text, 8, '0'), jsonb_build_object('n', g, 'text', repeat('x', g %% 200)) "
           "from generate_series(1, %s) g", n)
    pg.admin("analyze docs")
    mount = make_mount(layout=LAYOUT, options=getattr(request, "param", {}))
    if long:
        mount._watch.cancel()  # it may take longer than a mount that hangs
    return Big(pg, mount, n)


def test_names_alone(big):
    """`ls -f` asks for names only, keeps no node of them, and takes little memory."""
    before = big.m.json(".rowfs/status.json")["counters"]["nodes"]
    out, queries = big.queries("ls", "-f", big.path)
    assert sorted(out.split())[2:] == big.wanted()  # . and .. come first
    assert queries <= big.n // 1000 + 5
    assert big.m.json(".rowfs/status.json")["counters"]["nodes"] < before + 500
    assert is_sanitized() or rss_kib(big.m.process.pid) < 64 * 1024


def test_attributes(big):
    """`ls -l` of N rows takes about N/1000 queries; the sizes are true; a second one takes none."""
    out, queries = big.queries("ls", "-lU", big.path)
    sizes = {line.split()[-1]: int(line.split()[4]) for line in out.splitlines()[1:]}
    assert sizes == {f"{name}.json": size for name, size in big.pg.sql(
        "select name, octet_length(coalesce(jsonb_pretty(doc), 'null')) + 1 from docs")}
    assert queries <= big.n // 1000 + 10
    again, queries = big.queries("ls", "-lU", big.path)
    assert again == out
    assert queries == 0 or big.n > 100_000
    assert is_sanitized() or rss_kib(big.m.process.pid) < 256 * 1024


@pytest.mark.parametrize("words", [("find", "-newer", "/proc/self/exe"), ("du", "-a")], ids=["find", "du"])
def test_walkers(big, words):
    out, queries = big.queries(words[0], *(words[1:] if words[0] == "du" else ()), big.path, *(words[1:] if words[0] == "find" else ()))
    assert len(out.splitlines()) in (big.n + 1, 0 if words[0] == "find" else -1)
    assert queries <= big.n // 1000 + 10


def test_small_bodies_come_along(big):
    """`grep -r` after `ls -l` needs no query, as far as the bodies are within -o cache."""
    big.queries("ls", "-lU", big.path)
    out, queries = big.queries("grep", "-rl", '"n": 777,', big.path)
    assert out.split() == [f"{big.path}/{777 * 7:08d}.json"]
    assert queries == 0 or big.n > 100_000


def test_look_ups_after_names(big):
    """`grep -r` by itself reads all names first: what it asks for then is fetched ahead."""
    out, queries = big.queries("grep", "-rl", '"n": 777,', big.path)
    assert out.split() == [f"{big.path}/{777 * 7:08d}.json"]
    assert queries < big.n / 20 or big.n > 100_000


@pytest.mark.parametrize("big", [{"coherence": "ttl=0"}, {}], indirect=True, ids=["uncached", "notify"])
@pytest.mark.parametrize("flags", [0, os.O_NOFOLLOW], ids=["plain", "nofollow"])
def test_half_removed_while_listing(big, flags):
    """No entry twice, and none missed that stayed."""
    d = Dir(big.path, flags=flags)
    seen = []
    for _ in range(7):
        seen += d.read()
    big.pg.sql("delete from docs where (doc->>'n')::int % 2 = 0")
    seen = [e for e in seen if e[0] not in (".", "..")] + d.rest()
    assert len(set(names(seen))) == len(seen)
    assert not set(big.wanted()) - set(names(seen))
    d.close()


def test_rm_while_listing(big):
    """The names are removed through the mount as they come, every second one."""
    big.pg.sql("insert into notes select g, 'x' from generate_series(1, 5000) g")
    path, seen, gone = str(big.m / "notes"), [], set()
    d = Dir(path)
    while entries := d.read():
        for i, (name, _) in enumerate(entries):
            if name in (".", ".."):
                continue
            seen.append(name)
            if i % 2 == 0:
                os.unlink(f"{path}/{name}")
                gone.add(name)
    d.close()
    assert len(set(seen)) == len(seen) == 5000
    assert set(os.listdir(path)) == set(seen) - gone
    until(lambda: set(seen) - gone == {f"{r[0]}.txt" for r in big.pg.sql("select id from notes where text is not null")}, "SQL says so, too", timeout=2)
    assert len(gone) > 2000


def test_growth_while_listing(big):
    """Rows that come meanwhile may be listed or not; the others are, once."""
    before = big.wanted()
    d = Dir(big.path)
    seen = []
    for i in range(40):
        entries = d.read()
        seen += entries
        name = entries[-1][0][:-5] if entries else "9"
        big.pg.sql("insert into docs select %s || g, '{}' from generate_series(1, 30) g on conflict do nothing", name)  # just ahead
        big.pg.sql("insert into docs values (%s, '{}') on conflict do nothing", f"0000000{i}x")  # behind
    seen = [e for e in seen if e[0] not in (".", "..")] + d.rest()
    assert len(set(names(seen))) == len(seen)
    assert not set(before) - set(names(seen))
    d.close()


@pytest.mark.parametrize("big", [{"coherence": "ttl=0"}, {"coherence": "ttl=0", "fetch_size": 50}], indirect=True, ids=["1000", "50"])
def test_offsets_stay_good(big):
    """seekdir: what follows an offset is the same by this handle or a fresh one, in any order, and after rows have gone and come."""
    d = Dir(big.path)
    entries = [e for e in d.rest()][:6000]
    everything = names(entries)
    rng = random.Random(1)
    for _ in range(40):
        i = rng.randrange(len(entries))
        which = Dir(big.path) if rng.random() < 0.5 else d
        follows = names(which.seek(entries[i][1]).read())
        assert follows == everything[i + 1:][:len(follows)] and follows
        if which is not d:
            which.close()
    gone = set(rng.sample(everything, 3000))
    big.pg.sql("delete from docs where name = any(%s)", [name[:-5] for name in gone])
    big.pg.sql("insert into docs select name || 'z', '{}' from docs where name < '00020000' and random() < 0.3")
    stayed = [name for name in everything if name not in gone]
    for _ in range(40):
        i = rng.randrange(len(entries) - 1000)
        follows = [n for n in names(d.seek(entries[i][1]).read()) if not n.endswith("z.json")]
        assert follows == [n for n in everything[i + 1:] if n not in gone][:len(follows)], entries[i]
    assert len(stayed) == 3000
    d.close()


def test_rewind_shows_what_is_there_now(big):
    d = Dir(big.path)
    d.read()
    big.pg.sql("insert into docs values ('00000000', '{}')")
    until(lambda: "00000000.json" in names(d.seek(0).read()), "the new row, after a rewind")
    d.close()


def test_forgetting_gives_memory_back(big):
    """Nodes go when the kernel forgets them."""
    big.queries("ls", "-lU", big.path)
    assert big.m.json(".rowfs/status.json")["counters"]["nodes"] > 15_000
    if os.geteuid() != 0:
        pytest.skip("only root can make the kernel forget")
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
        f.write("2")
    until(lambda: big.m.json(".rowfs/status.json")["counters"]["nodes"] < 1000, "the nodes have gone", timeout=30)
    assert get(f"{big.path}/{7:08d}.json").startswith(b"{")
