"""Tables that others inherit from: a key does not hold for the rows of those, and neither does a row's place. SQL is the second source."""
import errno
import os
import random
from collections import Counter

import pytest

from kit import append, rm, until

TABLES = """
create table logs (at int, note text);
create table logs_old (extra text) inherits (logs);
create table logs_older () inherits (logs_old);
insert into logs select g, 'own' || g from generate_series(1, 300) g;
insert into logs_old select g, 'old' || g, 'x' from generate_series(1, 300) g;
insert into logs_older select g, 'older' || g from generate_series(1, 300) g;
create table things (name text primary key, kind text not null default 'k', v int);
create table things_more (extra text) inherits (things);
insert into things select 't' || g, 'k' || g % 2, g from generate_series(1, 60) g;
insert into things_more select 't' || g, 'k' || g % 2, -g, 'x' from generate_series(40, 90) g"""
LAYOUT = {"routes": [{"path": "/logs.csv", "rows": "logs", "columns": ["at", "note"]},
                     {"path": "/logs.json", "rows": "logs", "as": "array"},
                     {"path": "/all.csv", "rows": "things", "columns": ["name", "v"], "order": ["kind"]},
                     {"path": "/kinds/{things.kind}.jsonl", "rows": "things"},
                     {"path": "/things/{things.name}/thing.json", "row": "things"},
                     {"path": "/things/{things.name}/v", "column": "things.v"}]}


@pytest.fixture
def heirs(pg, make_mount):
    pg.sql(TABLES)
    pg.m = make_mount(layout=LAYOUT, options={"fetch_size": 10, "read_cache": 0})
    return pg


def lines(pg, query):
    return Counter(line for (line,) in pg.sql(query))


def same(pg):
    """What is read, as a whole and in pieces, and what stat says."""
    for path, query in (("logs.csv", "select concat_ws(',', at, note) from logs"), ("all.csv", "select name || ',' || coalesce(v::text, '') from things")):
        body = pg.m.bytes(path)
        assert Counter(body.decode().splitlines()[1:]) == lines(pg, query), path
        assert os.stat(pg.m.at(path)).st_size == len(body), path
        fd = os.open(pg.m.at(path), os.O_RDONLY)
        rng = random.Random(5)
        for _ in range(12):
            at = rng.randrange(len(body))
            assert os.pread(fd, 300, at) == body[at:at + 300], (path, at)
        os.close(fd)
    assert Counter(r["note"] for r in pg.m.json("logs.json")) == lines(pg, "select note from logs")
    assert pg.m.ls("kinds") == sorted({f"{k}.jsonl" for (k,) in pg.sql("select kind from things")})
    for (kind, rows) in pg.sql("select kind, count(*) from things group by 1"):
        body = pg.m.bytes(f"kinds/{kind}.jsonl")
        assert (body.count(b"\n"), len(body)) == (rows, os.stat(pg.m.at(f"kinds/{kind}.jsonl")).st_size)


def test_no_row_is_skipped_and_counts_are_true(heirs):
    assert heirs.m.status()["summary"] == {"logs": "kept", "things": "kept"}
    same(heirs)
    for change in ("insert into logs_old values (7, 'new', 'y')", "update logs set note = note || '!' where at % 7 = 0",
                   "delete from logs_older where at < 100", "update things set kind = 'k9' where v % 5 = 0", "truncate only logs_old",
                   "delete from only things where v < 10", "truncate things_more"):
        heirs.sql(change)
        until(lambda: len(heirs.m.bytes("logs.csv")) == os.stat(heirs.m.at("logs.csv")).st_size, change)
        same(heirs)


def test_a_rewrite_is_refused_and_deletes_nothing(heirs):
    m, before = heirs.m, heirs.sql("select tableoid, * from logs order by 1, 2, 3")
    for path in ("logs.csv", "all.csv", "kinds/k1.jsonl"):
        m.refuses(lambda path=path: m.write(path, m.bytes(path)), errno.EPERM, "inherit", path=path)
        m.refuses(lambda path=path: os.truncate(m.at(path), 0), errno.EPERM, "inherit", path=path)
        m.refuses(lambda path=path: os.unlink(m.at(path)), errno.EPERM, "inherit", path=path)
        m.write("new", b"x")
        m.refuses(lambda path=path: os.rename(m.at("new"), m.at(path)), errno.EPERM, "inherit")
    m.refuses(lambda: m.write("logs.json", m.bytes("logs.json")), errno.EPERM, "inherit")
    assert heirs.sql("select tableoid, * from logs order by 1, 2, 3") == before
    append(m.at("logs.csv"), b"1000,appended\n")
    assert heirs.sql("select at from only logs where note = 'appended'") == [(1000,)]
    same(heirs)


def test_documents_are_the_tables_own_rows(heirs):
    m, theirs = heirs.m, heirs.sql("select * from things_more order by name")
    assert m.ls("things") == sorted(n for (n,) in heirs.sql("select name from only things"))
    assert m.json("things/t50/thing.json")["v"] == 50 and m.read("things/t50/v") == "50\n"
    m.write("things/t50/v", "51\n")
    m.write("things/t51/thing.json", {"v": 52})
    os.unlink(m.at("things/t52/v"))
    os.rename(m.at("things/t53"), m.at("things/moved"))
    rm(m.at("things/t54/thing.json"))
    assert heirs.sql("select name, v from only things where name in ('t50', 't51', 't52', 't53', 'moved', 't54') order by 1") == [
        ("moved", 53), ("t50", 51), ("t51", 52), ("t52", None)]
    assert heirs.sql("select * from things_more order by name") == theirs
    assert not m.exists("things/t54/thing.json")
    same(heirs)
