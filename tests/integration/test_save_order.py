"""The order in which a save changes rows: what one SQL statement could do, a save does. A model in Python says whether the end state is a
legal one; then the save must succeed, and the table is what the file says. Otherwise nothing may be changed."""
import csv
import errno
import io
import json
import os
import random

import pytest

from kit import put, refused

SQL = """
create table list (id int primary key, title text not null, position int unique not null check (position > 0), hidden text default 'h');
create table items (list int references list on delete cascade, n int);
create table slugs (id int primary key, slug text unique not null, at timestamptz unique, u uuid unique not null, hidden text default 'h');
create table places (id int primary key, board int not null, spot smallint not null, gone bool not null default false, hidden text default 'h');
create unique index on places (board, spot) where not gone;
create table names (id int primary key, name varchar(8) not null, hidden text default 'h');
create unique index on names (lower(name));
create table late (id int primary key, rank int not null, hidden text default 'h', unique (rank) deferrable initially immediate);
create table rooms (id int primary key, span int4range not null, hidden text default 'h', exclude using gist (span with &&));
create table tree (id int primary key, up int references tree, name text unique, hidden text default 'h');
create table woods (id int primary key, up int references woods on delete cascade, name text unique not null, hidden text default 'h');
create table marks (wood int references woods on delete cascade);
create table owned (owner text, n int unique, hidden text default 'h');
create table owned_by (n int references owned (n));
create table loose (a text unique, b int);
create table loose_by (a text references loose (a));
create table base (id int primary key, name text unique, hidden text default 'h');
create view seen as select id, name from base;
create view made as select id, name, length(name) as len from base;
create function made_write() returns trigger language plpgsql as $$ begin
    if tg_op = 'INSERT' then insert into base (id, name) values (new.id, new.name); return new; end if;
    if tg_op = 'UPDATE' then update base set name = new.name where id = old.id; return new; end if;
    delete from base where id = old.id; return old; end $$;
create trigger made_write instead of insert or update or delete on made for each row execute function made_write();
"""
FILES = {"list": "id title position", "slugs": "id slug at u", "places": "id board spot gone", "names": "id name", "late": "id rank",
         "rooms": "id span", "tree": "id up name", "woods": "id up name", "seen": "id name", "made": "id name"}
LAYOUT = {"tables": {"seen": {"key": ["id"]}, "made": {"key": ["id"]}}, "routes": [
    *({"path": f"/{name}.{kind}", "rows": name, "columns": columns.split(), **({"as": "array"} if kind == "json" else {})}
      for name, columns in FILES.items() for kind in ("csv", "jsonl", "json")),
    {"path": "/owned.csv", "rows": "owned", "columns": ["owner", "n"]},
    {"path": "/loose.csv", "rows": "loose"}, {"path": "/loose.json", "rows": "loose", "as": "array"},
    {"path": "/branches.csv", "rows": "woods", "columns": ["up", "name"]},
    {"path": "/keyless.csv", "rows": "list", "columns": ["title", "position"]},
]}


@pytest.fixture
def files(pg, make_mount):
    pg.sql(SQL)
    return make_mount(layout=LAYOUT)


def write(files, name, kind, rows):
    """Writes ROWS (dicts) anew, as a program does."""
    columns = FILES.get(name.split(".")[0], "").split() or list(rows[0])
    if kind == "csv":
        out = io.StringIO()
        w = csv.writer(out, lineterminator="\n")
        w.writerow(columns)
        for r in rows:
            w.writerow(["" if r[c] is None else r[c] for c in columns])
        text = out.getvalue()
    elif kind == "jsonl":
        text = "".join(json.dumps(r) + "\n" for r in rows)
    else:
        text = json.dumps(rows)
    put(files / f"{name}.{kind}", text)


def state(pg, table):
    return pg.sql(f"select row_to_json(t)::text from {table} t order by 1")


KINDS = ["csv", "jsonl", "json"]


def test_values_that_are_exchanged(files, pg):
    """Of each type, with each file; what the file does not show, and rows that go with a deleted one, stay."""
    pg.sql("insert into list values (1, 'a', 1, 'x'), (2, 'b', 2, 'y'), (3, 'c', 3, 'z'); insert into items values (1, 1), (2, 2), (3, 3);"
           "insert into slugs values (1, 'a', '2020-01-01Z', md5('1')::uuid, 'x'), (2, 'b', '2021-01-01Z', md5('2')::uuid, 'y');"
           "insert into places values (1, 1, 1, false, 'x'), (2, 2, 1, false, 'y'), (3, 2, 1, true, 'z');"
           "insert into names values (1, 'ab', 'x'), (2, 'CD', 'y'); insert into late values (1, 1, 'x'), (2, 2, 'y');"
           "insert into rooms values (1, '[1,5)', 'x'), (2, '[5,9)', 'y')")
    swaps = {"list": ["position"], "slugs": ["slug", "at", "u"], "places": ["board"], "names": ["name"], "late": ["rank"], "rooms": ["span"]}
    for kind in KINDS:
        for name, swapped in swaps.items():
            columns = FILES[name].split()
            shown = f"select {', '.join(f'{c}::text' for c in columns)} from {name} order by id"
            rows = [dict(zip(columns, r)) for r in pg.sql(shown)]
            for c in swapped:
                rows[0][c], rows[1][c] = rows[1][c], rows[0][c]
            hidden = pg.sql(f"select id, hidden from {name} order by id")
            write(files, name, kind, rows)
            assert [dict(zip(columns, r)) for r in pg.sql(shown)] == rows, (kind, name)
            assert pg.sql(f"select id, hidden from {name} order by id") == hidden
    assert pg.sql("select * from items order by 1") == [(1, 1), (2, 2), (3, 3)]
    assert files.errors() == []


def test_a_ring_and_a_row_of_them(files, pg):
    """Three that exchange; all that move on by one; one that goes, and one that comes."""
    pg.sql("insert into list select i, 't' || i, i from generate_series(1, 200) i")
    put(files / "list.csv", "id,title,position\n" + "".join(f"{i},t{i},{i % 200 + 1}\n" for i in range(1, 201)))
    assert pg.sql("select id, position from list order by 1") == [(i, i % 200 + 1) for i in range(1, 201)]
    put(files / "list.json", json.dumps([{"id": i, "title": "n", "position": i} for i in range(2, 202)]))
    assert pg.sql("select id, position from list order by 1") == [(i, i) for i in range(2, 202)]
    assert pg.one("select count(*) from list where hidden = 'h'") == 200


def test_a_value_that_another_row_keeps(files, pg):
    pg.sql("insert into list values (1, 'a', 1), (2, 'b', 2)")
    before = state(pg, "list")
    for kind in KINDS:
        with refused(errno.EEXIST):
            write(files, "list", kind, [{"id": 1, "title": "a", "position": 2}, {"id": 2, "title": "b", "position": 2}])
        assert state(pg, "list") == before


def test_lines_without_their_key(files, pg):
    """What the file does not show goes with the line's row, and so does what refers to it."""
    pg.sql("insert into list values (1, 'a', 1, 'x'), (2, 'b', 2, 'y'); insert into items values (1, 1), (2, 2)")
    put(files / "keyless.csv", "title,position\nb,1\na,2\n")
    assert pg.sql("select title, position from list order by 2") == [("b", 1), ("a", 2)]
    assert pg.one("select count(*) from items") == 2 and pg.one("select count(*) from list where hidden in ('x', 'y')") == 2


def test_lines_without_their_key_whose_parent_goes(files, pg):
    """The line's row stays: what the file does not show, and what refers to it."""
    pg.sql("insert into woods values (1, null, 'a', 'x'), (2, 1, 'b', 'y'), (3, 2, 'c', 'z'); insert into marks values (2), (3)")
    put(files / "branches.csv", "up,name\n,b\n2,c\n")
    assert pg.sql("select * from woods order by 1") == [(2, None, "b", "y"), (3, 2, "c", "z")]
    assert pg.sql("select * from marks order by 1") == [(2,), (3,)]


def test_a_trigger_that_skips_a_row_that_steps_aside(files, pg):
    pg.sql("insert into list values (1, 'a', 1), (2, 'b', 2);"
           "create function skip() returns trigger language plpgsql as $$ begin if new.id = 1 and new.position = 2 then return null; end if;"
           "return new; end $$; create trigger s before update on list for each row execute function skip()")
    before = state(pg, "list")
    for kind in KINDS:
        with refused(errno.EPERM, errno.EEXIST):
            write(files, "list", kind, [{"id": 1, "title": "a", "position": 2}, {"id": 2, "title": "b", "position": 1}])
        assert state(pg, "list") == before


@pytest.mark.parametrize("seed", range(3))
def test_random_trees(files, pg, seed):
    """Rows that refer to rows of their own table; a parent may go while its children move, or a new one come."""
    rng = random.Random(seed)
    pg.sql("insert into tree values (1, null, 'a'); insert into woods values (1, null, 'a')")
    for step in range(12):
        name, kind = rng.choice(["tree", "woods"]), rng.choice(KINDS)
        ids = [i for i, in pg.sql(f"select id from {name}")]
        new = rng.sample(range(1, 9), rng.randint(1, 7))
        names = rng.sample("abcdefgh", len(new))
        ups = [rng.choice([None, *new, *([rng.randint(1, 9)] if rng.random() < .15 else [])]) for _ in new]
        rows = [{"id": i, "up": u, "name": n} for i, u, n in zip(new, ups, names)]
        legal = all(u is None or u in new for u in ups)
        pg.sql(f"update {name} set hidden = 'of ' || id; delete from marks; insert into marks select id from woods")
        before = state(pg, name)
        try:
            write(files, name, kind, rows)
            done = True
        except OSError as e:
            done = False
            assert e.errno in (errno.ENOENT, errno.ENOTEMPTY), (seed, step, e)
        assert done == legal, (seed, step, name, kind, rows, before, files.errors()[-1:])
        if not done:
            assert state(pg, name) == before
            continue
        stay = [i for i in new if i in ids]
        found = pg.sql(f"select id, up, name from {name} order by id")
        assert found == sorted(((r["id"], r["up"], r["name"]) for r in rows), key=lambda r: r[0]), (seed, step, name, kind, rows, before)
        assert sorted(i for i, in pg.sql(f"select id from {name} where hidden = 'of ' || id")) == sorted(stay)
        if name == "woods":
            assert sorted(i for i, in pg.sql("select wood from marks")) == sorted(stay)


def test_what_others_refer_to(files, pg):
    """A removal that rows of others forbid is ENOTEMPTY, in all kinds of files; nothing is changed."""
    pg.sql("insert into tree values (1, null, 'a'), (2, null, 'b'); create table other (tree int references tree); insert into other values (1);"
           "insert into owned values ('a', 1, 'x'), ('b', 2, 'y'); insert into owned_by values (1);"
           "insert into loose values ('a', 1), ('b', 2), (null, 3), (null, 3); insert into loose_by values ('a')")
    for kind in KINDS:
        before = state(pg, "tree")
        with refused(errno.ENOTEMPTY):
            write(files, "tree", kind, [{"id": 2, "up": None, "name": "z"}])
        with refused(errno.ENOENT):
            write(files, "tree", kind, [{"id": 1, "up": None, "name": "a"}, {"id": 2, "up": 99, "name": "b"}])
        assert state(pg, "tree") == before
    for name, text in [("owned.csv", "owner,n\nb,2\n"), ("owned.csv", "owner,n\n"), ("loose.csv", "a,b\nb,2\n"), ("loose.json", "[]")]:
        with refused(errno.ENOTEMPTY):
            put(files / name, text)
    assert "tree" in files.errors()[0]["message"]
    # a row without a key that others refer to is changed where it is
    put(files / "owned.csv", "owner,n\nc,1\nb,2\n")
    assert sorted(pg.sql("select * from owned")) == [("b", 2, "y"), ("c", 1, "x")]
    put(files / "loose.csv", "a,b\na,5\n,3\nc,9\n")
    assert sorted(pg.sql("select coalesce(a, '-'), b from loose")) == [("-", 3), ("a", 5), ("c", 9)]
    put(files / "loose.json", json.dumps([{"a": "a", "b": 6}, {"a": "q", "b": 3}]))
    assert sorted(pg.sql("select a, b from loose")) == [("a", 6), ("q", 3)]


@pytest.mark.parametrize("name", ["seen", "made"])
def test_views(files, pg, name):
    """Also one that only an INSTEAD OF trigger can write to: no statement needs an index."""
    pg.sql("insert into base select i, 'n' || i, 'of ' || i from generate_series(1, 4) i")
    for kind, text in zip(KINDS, ("p", "q", "r")):
        write(files, name, kind, [{"id": 2, "name": text}, {"id": 3, "name": "n3"}, {"id": 9, "name": text + "9"}])
        assert pg.sql("select id, name, hidden from base order by 1") \
            == [(2, text, "of 2"), (3, "n3", "of 3"), (9, text + "9", "h")]
    with open(files / f"{name}.csv", "r+b") as f:
        body = f.read()
        f.seek(0)
        f.write(body.replace(b"r9", b"s9"))
    assert pg.one("select name from base where id = 9") == "s9"
    assert files.errors() == []


def test_rows_that_stay_are_not_touched(files, pg):
    pg.sql("insert into list values (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)")
    kept = pg.sql("select xmin::text from list where id = 3")
    for kind in KINDS:
        a, b = (1, 2) if kind == "jsonl" else (2, 1)
        write(files, "list", kind, [{"id": 1, "title": kind, "position": a}, {"id": 2, "title": "b", "position": b},
                                    {"id": 3, "title": "c", "position": 3}])
        assert pg.sql("select xmin::text from list where id = 3") == kept


def test_a_key_twice_in_lines(files, pg):
    pg.sql("insert into list values (1, 'a', 1)")
    for kind in KINDS:
        with refused(errno.EINVAL):
            write(files, "list", kind, [{"id": 7, "title": "a", "position": 1}, {"id": 7, "title": "b", "position": 2}])
        assert "twice" in files.errors()[-1]["message"]
    assert pg.sql("select id, title from list") == [(1, "a")]
    assert not os.listdir(files / ".rowfs/rejected") == []
