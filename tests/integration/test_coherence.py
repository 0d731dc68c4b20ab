"""Two mounts and plain SQL agree: coherence=notify, which is the default. Expectations come from SQL; every body says which version it is and how
long, so that a mixture of two is told from either."""
import contextlib
import os
import subprocess
import time

from coherencekit import SOON, Readers, coherence, counter, delay, number, text, told
from kit import get, put, rm, until


def test_warm_reads_ask_nobody(two):
    """SEMANTICS 14.2: until something changes, neither a query nor a request is needed."""
    a = two[0]
    heard = coherence(a.m)["heard"]
    a.add("bolt", note=text(1))
    until(lambda: coherence(a.m)["heard"] > heard, "the notice of the row")
    paths = [a.m.at("items/bolt/note.txt"), a.m.at("items/bolt/item.json")]
    for p in paths:
        get(p)
    before = counter(a.m, "lookups_total")
    with a.pg.queries() as seen:
        for _ in range(100):
            for p in paths:
                get(p)
                os.stat(p)
    assert seen.total == 0, seen[:3]
    assert counter(a.m, "lookups_total") - before < 20  # those of status.json itself


def test_a_change_shows_everywhere_under_load(two):
    """Updates by SQL and by either mount, with readers that never stop, and the delay until all have seen it."""
    for i in range(8):
        two[0].add(f"i{i}", note=text(i))
    everywhere = [s.m.at(f"items/i{i}/note.txt") for s in two for i in range(8)]
    delays = []
    with Readers(everywhere):
        for n in range(100, 400):
            name, who = f"i{n % 8}", n % 3
            if who == 2:
                two[0].sql("update items set note = %s where name = %s", text(n), name)
            else:
                put(two[who].m.at(f"items/{name}/note.txt"), text(n))
                assert number(get(two[who].m.at(f"items/{name}/note.txt"))) == n  # one's own at once
            for s in two:
                path = s.m.at(f"items/{name}/note.txt")
                delays.append(delay(lambda: number(get(path)) == n, f"{path} is {n}"))  # noqa: B023
    p50, p99 = told(delays, "changes under load")
    assert p50 < SOON / 2 and p99 < 3 * SOON  # the machine may be busy with more than us


def test_none_is_lost_none_is_mixed(two, long):
    """As many updates as the server takes, documents that grow and shrink; in the end all is as SQL says."""
    rows, updates = 20, 100_000 if long else 10_000
    for s in two if long else ():
        s.m._watch.cancel()  # it may take longer than a mount that hangs
    for i in range(rows):
        two[0].add(f"i{i}", note=text(i))
    everywhere = [s.m.at(f"items/i{i}/note.txt") for s in two for i in range(rows)]
    until(lambda: all(coherence(s.m)["heard"] == rows for s in two), "all inserts are told")
    with Readers(everywhere, threads=3), contextlib.closing(two[0].pg.connect()) as conn:
        conn.autocommit = True
        with conn.cursor() as cur:
            for n in range(rows, rows + updates):
                cur.execute("update items set note = %s where name = %s", (text(n), f"i{n % rows}"))
        end = time.monotonic()
        for i in range(rows):
            last = two[0].item("note", f"i{i}")
            for s in two:
                path = s.m.at(f"items/i{i}/note.txt")
                until(lambda: get(path) == last.encode(), f"{path} is the last version", timeout=10)  # noqa: B023
                assert os.stat(path).st_size == len(last)
        assert all(coherence(s.m)["heard"] == rows + updates for s in two)
        print(f"\n{updates} updates; the last was seen {1e3 * (time.monotonic() - end):.1f} ms after it at most")


def test_rows_come_and_go(two):
    """Names that were asked for before they were there, and after they have gone."""
    delays = []
    for i in range(60):
        name = f"n{i}"
        for s in two:
            assert not s.m.exists(f"items/{name}") and not s.m.exists(f"items/{name}/item.json")
            assert name not in s.m.ls("items")
        before = counter(two[1].m, "lookups_total")
        for _ in range(20):
            assert not two[1].m.exists(f"items/{name}")
        assert counter(two[1].m, "lookups_total") - before < 10  # the kernel keeps that it is not there
        if i % 2:
            two[0].add(name, note="x")
        else:
            two[0].m.mkdir(f"items/{name}")
        for s in two:
            delays.append(delay(lambda: s.m.exists(f"items/{name}/item.json"), name))  # noqa: B023
            assert name in s.m.ls("items")
        two[0].sql("update items set name = %s where name = %s", name + "b", name)
        for s in two:
            delays.append(delay(lambda: s.m.exists(f"items/{name}b"), f"{name} renamed"))  # noqa: B023
            delays.append(delay(lambda: not s.m.exists(f"items/{name}"), f"{name} has another name"))  # noqa: B023
            delays.append(delay(lambda: s.m.ls("items") == [f"{name}b"], f"{name} is listed by its new name"))  # noqa: B023
        if i % 2:
            two[0].sql("delete from items")
        else:
            rm(two[0].m.at(f"items/{name}b/item.json"))
        for s in two:
            delays.append(delay(lambda: not s.m.exists(f"items/{name}b"), f"{name} gone"))  # noqa: B023
            assert s.m.ls("items") == []
    told(delays, "rows that come and go")


def test_keys_of_the_parents_lead_to_the_child(two):
    """A row below another: found by its own key and its parent's; and what becomes of it when the parent changes."""
    a, b = two
    a.add("bolt")
    ident = a.one("insert into parts (item, label) values ('bolt', 'head') returning id::text")
    path = f"items/bolt/parts/{ident}.json"
    for s in two:
        delay(lambda: s.m.exists(path), path, timeout=2)  # noqa: B023
        assert s.m.json(path)["label"] == "head"
    a.sql("update parts set label = 'thread'")
    delay(lambda: b.m.json(path)["label"] == "thread", "the child's change")
    a.add("nut")
    a.sql("update parts set item = 'nut'")
    delay(lambda: not b.m.exists(path) and b.m.exists(f"items/nut/parts/{ident}.json"), "another parent")
    a.sql("update items set name = 'nut2' where name = 'nut'")
    delay(lambda: not b.m.exists("items/nut") and b.m.exists(f"items/nut2/parts/{ident}.json"), "the parent's name")
    a.sql("delete from items where name = 'nut2'")
    delay(lambda: not b.m.exists(f"items/nut2/parts/{ident}.json"), "the parent is gone")


def test_another_row_with_the_name_of_the_one_before(pg, make_mount):
    """The parent's key on the path is not what the foreign key refers to: a child is found by a look into the parent."""
    pg.sql("create table people (id serial primary key, code text unique)")
    pg.sql("create table visits (id int primary key, person int references people on delete cascade, note text)")
    m = make_mount(layout={"routes": [{"path": "/{people.code}/visits/{visits.id}.txt", "column": "visits.note"}]})
    assert coherence(m)["mode"] == "notify" and not coherence(m)["by_time"]
    pg.sql("insert into people (code) values ('x'), ('y')")
    pg.sql("insert into visits values (1, 1, 'one')")
    delay(lambda: m.exists("x/visits/1.txt"), "the child")
    assert m.read("x/visits/1.txt") == "one" and not m.exists("y/visits/1.txt")
    pg.sql("update visits set note = 'two'")
    delay(lambda: m.read("x/visits/1.txt") == "two", "its change")
    pg.sql("update visits set person = 2")
    delay(lambda: not m.exists("x/visits/1.txt") and m.exists("y/visits/1.txt"), "another parent")
    held = [os.open(m.at(p), os.O_RDONLY) for p in ("y", "y/visits", "y/visits/1.txt")]
    pg.sql("begin; delete from people where code = 'y'; insert into people (code) values ('y'); commit")
    delay(lambda: not m.exists("y/visits/1.txt"), "the new parent has no child")
    assert m.exists("y") and m.ls("y/visits") == []
    for fd in held:
        os.close(fd)


def test_queries_of_views_follow_their_tables(two):
    for s in two:
        assert s.m.read("names.jsonl") == ""
    two[0].add("bolt", qty=3)
    for s in two:
        delay(lambda: '"bolt"' in s.m.read("names.jsonl"), "the view")  # noqa: B023
        assert s.m.json("items/bolt/summary.json")["parts"] == 0
    two[0].sql("insert into parts (item, label) values ('bolt', 'x')")
    for s in two:
        delay(lambda: s.m.json("items/bolt/summary.json")["parts"] == 1, "the other table of the view")  # noqa: B023


def test_lines_of_one_mount_grow_in_the_other(two):
    """Lines go by COPY, with the triggers off: the mount tells of them itself."""
    a, b = two
    path = b.m.at("log.csv")
    fd = os.open(path, os.O_RDONLY)
    assert not b.m.exists("book/kraken") and b.m.ls("book") == []
    delays = []
    for i in range(50):
        before = os.stat(path).st_size
        put(a.m.at("log.csv"), "".join(f"x,{n},,line\n" for n in range(1000 * i, 1000 * i + 40)), flags=os.O_APPEND, sync=True)
        size = os.stat(a.m.at("log.csv")).st_size
        assert size > before
        delays.append(delay(lambda: os.stat(path).st_size == size, "the new size"))  # noqa: B023
        assert os.fstat(fd).st_size == size
    os.close(fd)
    assert get(path) == get(a.m.at("log.csv"))
    day = 1_700_000_000_000_000  # 2023-11-14
    put(a.m.at("book/kraken/btc/2023-11-14.csv") if a.m.exists("book/kraken/btc") else a.m.at("book/start.csv"), "")
    a.sql("insert into book (exchange, symbol, timestamp, price) values ('kraken', 'btc', %s, 1)", day)
    delay(lambda: b.m.exists("book/kraken/btc/2023-11-14.csv") and b.m.ls("book/kraken/btc") == ["2023-11-14.csv"], "a new file")
    size = os.stat(b.m.at("book/kraken/btc/2023-11-14.csv")).st_size
    delay(lambda: a.m.exists("book/kraken/btc/2023-11-14.csv"), "the new file, where somebody has looked for it before")
    put(a.m.at("book/kraken/btc/2023-11-14.csv"), f"kraken,btc,{day + 1},2\n", flags=os.O_APPEND, sync=True)
    delay(lambda: os.stat(b.m.at("book/kraken/btc/2023-11-14.csv")).st_size > size, "an appended line")
    told(delays, "appended lines")


def test_lines_come_back_to_a_file_that_was_emptied(two):
    """While somebody has it open, its name goes from the listing with its last line, and comes back with the next one."""
    a, b = two
    day = 86400 * 10**6
    a.sql("insert into book (exchange, symbol, timestamp, price) values ('kraken', 'btc', 0, 1), ('kraken', 'btc', %s, 1)", day)
    where, name = b.m.at("book/kraken/btc"), "1970-01-01.csv"
    until(lambda: os.path.exists(f"{where}/{name}"), "the file")
    fd = os.open(f"{where}/{name}", os.O_RDONLY)
    a.sql("delete from book where timestamp = 0")
    until(lambda: os.listdir(where) == ["1970-01-02.csv"], "it is not listed")
    put(a.m.at(f"book/kraken/btc/{name}"), "kraken,btc,1,2\n", flags=os.O_APPEND | os.O_CREAT, sync=True)
    delay(lambda: sorted(os.listdir(where)) == [name, "1970-01-02.csv"], "it is listed again")
    os.close(fd)


def test_a_working_directory_keeps_its_path(two):
    """Rows come and go below a directory that a shell is in: it goes on being there, and has its path."""
    a, b = two
    day = 86400 * 10**6
    insert = "insert into book (exchange, symbol, timestamp, price) values ('kraken', 'btc', %s, 1)"
    a.sql(insert, 0)
    where = b.m.at("book/kraken/btc")
    until(lambda: os.path.exists(where), "the directory")
    script = "while read -r; do readlink /proc/$$/cwd; ls | wc -l; done"
    with subprocess.Popen(["bash", "-c", script], cwd=where, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as shell:
        def tells():
            shell.stdin.write("\n")
            return shell.stdout.readline().rstrip("\n"), int(shell.stdout.readline())

        def shows(files):
            there, n = tells()
            assert there == os.path.realpath(where)
            return n == files
        for n in range(1, 6):
            a.sql(insert, n * day)
            until(lambda: shows(n + 1), f"{n + 1} files")  # noqa: B023
        a.sql("delete from book where timestamp > 0")
        until(lambda: shows(1), "one file")
        shell.stdin.close()


def test_many_rows_at_once(two):
    """Beyond some keys a notice names the whole table; TRUNCATE has no keys at all."""
    a = two[0]
    a.sql("insert into flat select g, 'old' from generate_series(1, 3000) g")
    names = [f"flat/{g}.json" for g in range(1, 3001, 100)]
    for s in two:
        until(lambda: s.m.exists(names[-1]), "the rows")  # noqa: B023
        assert all(s.m.json(n)["title"] == "old" for n in names)
    a.sql("update flat set title = 'new'")
    for s in two:
        delay(lambda: all(s.m.json(n)["title"] == "new" for n in names), "all of them")  # noqa: B023
    a.sql("truncate flat")
    for s in two:
        delay(lambda: not any(s.m.exists(n) for n in names) and s.m.ls("flat") == [], "none of them")  # noqa: B023


def test_a_transaction_is_seen_when_it_is_committed(two):
    a, b = two
    a.add("bolt", note="old")
    path = b.m.at("items/bolt/note.txt")
    until(lambda: os.path.exists(path), "the row")
    with contextlib.closing(a.pg.connect()) as conn, conn.cursor() as cur:
        cur.execute("update items set note = 'new'")
        assert get(path) == b"old"
        conn.commit()
        delay(lambda: get(path) == b"new", "the committed text")
        cur.execute("update items set note = 'never'")
        conn.rollback()
    assert get(path) == b"new"
