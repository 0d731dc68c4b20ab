"""Rows files whose lines do not show the key of their table, written anew or changed: rows, what the file does not show, and what refers to
them survive. A model in Python says which line has which row; what is read back is compared with what was written."""
import errno
import itertools
import json
import os
import random
import shutil
import threading
from pathlib import Path

import pytest

from kit import put, refused, run, sh, until

SQL = """
create table log (id bigserial primary key, sym text, n bigint check (n <> 13), memo text, hidden text default 'new');
create table log_marks (log bigint references log on delete cascade, text text);
create table samples (id bigserial primary key, at bigint not null, value text, hidden text default 'new');
create table samples_marks (samples bigint references samples on delete cascade, text text);
create table names (id bigserial primary key, name text not null unique, value text, hidden text default 'new');
create table names_marks (names bigint references names on delete cascade, text text);
create table lines (id bigserial primary key, sym text, n bigint, memo text);
create table ties (id bigserial primary key, at bigint not null, value text);
create table events (id uuid primary key default gen_random_uuid(), kind text, n numeric, hidden text default 'new');
create table events_marks (events uuid references events on delete cascade, text text);
create table loose (sym text, n bigint, hidden text default 'new');
create table bare (sym text, n bigint);
create table parts (id bigserial, sym text, n bigint, hidden text default 'new', primary key (sym, id)) partition by list (sym);
create table parts_a partition of parts for values in ('A');
create table parts_rest partition of parts default;
create table nodes (id bigserial primary key, up bigint references nodes on delete cascade, name text);
create table ranks (id bigserial primary key, place bigint unique, name text, hidden text default 'new');
create table rests (id bigserial primary key, name text, rest jsonb, hidden text default 'new');
create table owners (id bigint primary key);
create table things (id bigserial primary key, owner bigint not null references owners, n bigint, hidden text default 'new');
create view seen as select id, sym, n from log;
create view sums as select min(id) id, sym, count(*) n from log group by sym;
create function sums_write() returns trigger language plpgsql as $$ begin
    if tg_op <> 'INSERT' then delete from log where sym = old.sym; end if;
    if tg_op <> 'DELETE' then insert into log (sym, n) select new.sym, g from generate_series(20, 19 + new.n) g; end if;
    return coalesce(new, old); end $$;
create trigger sums_write instead of insert or update or delete on sums for each row execute function sums_write();
"""
LAYOUT = {"tables": {"seen": {"key": ["id"]}, "sums": {"key": ["id"]}}, "routes": [
    {"path": "/log.csv", "rows": "log", "columns": ["sym", "n", "memo"]},
    {"path": "/lines.csv", "rows": "lines", "columns": ["sym", "n", "memo"]},
    {"path": "/ties.csv", "rows": "ties", "columns": ["at", "value"], "order": ["at"]},
    {"path": "/log.json", "rows": "log", "as": "array", "columns": ["sym", "n", "memo"]},
    {"path": "/by/{log.sym}.json", "rows": "log", "as": "array", "columns": ["n", "memo"]},
    {"path": "/log.jsonl", "rows": "log", "columns": ["sym", "n", "memo"]},
    {"path": "/by/{log.sym}.csv", "rows": "log", "columns": ["sym", "n", "memo"]},
    {"path": "/samples.csv", "rows": "samples", "columns": ["at", "value"], "order": ["at"]},
    {"path": "/names.csv", "rows": "names", "columns": ["name", "value"], "order": ["name"]},
    {"path": "/events.jsonl", "rows": "events", "columns": ["kind", "n"]},
    {"path": "/loose.csv", "rows": "loose", "columns": ["sym", "n"]},
    {"path": "/bare.csv", "rows": "bare"},
    {"path": "/parts.csv", "rows": "parts", "columns": ["sym", "n"], "order": ["n"]},
    {"path": "/nodes.csv", "rows": "nodes", "columns": ["name"]},
    {"path": "/ranks.csv", "rows": "ranks", "columns": ["place", "name"]},
    {"path": "/rest.jsonl", "rows": "rests", "columns": ["name"], "overflow": "rest"},
    {"path": "/owners/{owners.id}/things.csv", "rows": "things", "columns": ["n"]},
    {"path": "/seen.csv", "rows": "seen", "columns": ["sym", "n"]},
    {"path": "/sums.csv", "rows": "sums", "columns": ["sym", "n"], "order": ["sym"]},
]}
HEADER = {"log.csv": "sym,n,memo\n", "samples.csv": "at,value\n", "names.csv": "name,value\n", "loose.csv": "sym,n\n"}


@pytest.fixture
def files(pg, make_mount):
    pg.sql(SQL)
    return make_mount(layout=LAYOUT)


@pytest.fixture
def elsewhere():
    path = Path(f"/dev/shm/rowfst-{os.getpid()}-pairs")
    path.mkdir()
    yield path
    shutil.rmtree(path)


def fill(files, pg, n=10, lines=None):
    """Lines of the log, each with a hidden value and a mark of its own. Returns what rows_of() does."""
    lines = lines or [f"A,{100 + i},m{i}" for i in range(n)]
    files.write("log.csv", HEADER["log.csv"] + "".join(f"{line}\n" for line in lines))
    brand(pg, "log")
    return rows_of(files, pg, "log.csv")


def brand(pg, table):
    """What the file does not show is other than by default, and each row has a row that refers to it."""
    pg.sql(f"update {table} set hidden = 'h-' || id where hidden = 'new'")
    pg.sql(f"insert into {table}_marks select id, 'of ' || id from {table} t where not exists (select 1 from {table}_marks m where m.{table} = t.id)")


def rows_of(files, pg, name):
    """(line, id, hidden, marks) of each row, as SQL has them, in the order of the file; the lines are compared with the file."""
    table = name.split(".")[0]
    columns, order = {"log": (("sym", "n", "memo"), "t.id"), "samples": (("at", "value"), "at, t.id"), "names": (("name", "value"), "name, t.id"),
                      "events": (("kind", "n"), "t.id")}[table]
    shown = " || ',' || ".join(f"coalesce({c}::text, '')" for c in columns)
    rows = pg.sql(f"select {shown}, id::text, hidden, (select string_agg(text, '+') from {table}_marks where {table} = t.id) from {table} t order by {order}")
    if name.endswith(".csv"):
        assert files.read(name) == HEADER[name] + "".join(f"{line}\n" for line, *_ in rows)
    return rows


# -- how programs write -------------------------------------------------------------------------------------------------------------------


def by_cp(files, name, text, tmp):
    (tmp / "new").write_text(text)
    run("cp", tmp / "new", files.at(name))


def by_mv(files, name, text, tmp):
    (tmp / "new").write_text(text)
    run("mv", "-f", tmp / "new", files.at(name))


def by_install(files, name, text, tmp):
    (tmp / "new").write_text(text)
    run("install", "-m", "644", tmp / "new", files.at(name))


def by_tar(files, name, text, tmp):
    (tmp / name).write_text(text)
    run("tar", "-cf", tmp / "x.tar", "-C", tmp, name)
    run("tar", "-xf", tmp / "x.tar", "--no-same-owner", "-C", files.at("."))


def by_rename(files, name, text, tmp):
    """As sed -i and most editors save."""
    files.at("plain-name").write_text(text)
    os.rename(files.at("plain-name"), files.at(name))


def in_place(files, name, text, tmp):
    """No truncation; the text, and then the cut to its length."""
    fd = os.open(files.at(name), os.O_RDWR)
    os.write(fd, text.encode())
    os.ftruncate(fd, len(text.encode()))
    os.close(fd)


WAYS = [by_cp, by_mv, by_install, by_tar, by_rename, in_place]


@pytest.mark.parametrize("way", WAYS)
def test_rows_children_and_hidden_columns_survive(files, pg, elsewhere, way):
    """A line is changed, one is removed, one is added: the row of each other line is what it was."""
    before = fill(files, pg)
    lines = [line for line, *_ in before]
    text = HEADER["log.csv"] + "\n".join([*lines[:3], "A,900,changed", *lines[4:7], *lines[8:], "B,901,added"]) + "\n"
    way(files, "log.csv", text, elsewhere)
    assert files.read("log.csv") == text
    after = rows_of(files, pg, "log.csv")
    assert after[:3] + after[4:9] == before[:3] + before[4:7] + before[8:]
    assert after[3] == ("A,900,changed", *before[3][1:])
    assert after[9][0] == "B,901,added" and after[9][2:] == ("new", None)
    assert pg.one("select count(*) from log_marks") == 9
    assert files.errors() == []


def test_sed_i(files, pg):
    before = fill(files, pg)
    run("sed", "-i", "s/m4/other/;/m7/d", files.at("log.csv"))
    after = rows_of(files, pg, "log.csv")
    assert after == [(row[0].replace("m4", "other"), *row[1:]) for row in before if not row[0].endswith("m7")]


def test_a_file_that_stays_as_it_is_touches_nothing(files, pg, elsewhere):
    fill(files, pg)
    before = pg.sql("select xmin::text, ctid::text, * from log order by id")
    for way in WAYS:
        way(files, "log.csv", files.read("log.csv"), elsewhere)
    assert pg.sql("select xmin::text, ctid::text, * from log order by id") == before


def test_a_refused_text_leaves_all_as_it_was(files, pg, elsewhere):
    before = fill(files, pg)
    lines = [line for line, *_ in before]
    for bad in ("A,13,check", "A,x,number", "A,1", "A,99999999999999999999,range"):
        text = HEADER["log.csv"] + "\n".join([*lines[1:5], bad, *lines[6:]]) + "\n"
        with refused(errno.EINVAL):
            put(files.at("log.csv"), text)
        assert rows_of(files, pg, "log.csv") == before


def test_nothing_is_left(files, pg):
    """All lines go, and come again: an empty file, one that has only a header, rm."""
    for empty in ("", HEADER["log.csv"]):
        fill(files, pg)
        files.write("log.csv", empty)
        until(lambda: pg.one("select count(*) from log") == 0, "no row")
        assert pg.one("select count(*) from log_marks") == 0


# -- order and equality -------------------------------------------------------------------------------------------------------------------


def test_a_new_line_among_old_ones_is_read_where_it_was_written(files, pg):
    """The order is that of a key that the file does not show, and a new row has the greatest. A row has nothing else: so the values move on, and
    all rows stay."""
    text = HEADER["log.csv"] + "A,1,a\nA,2,b\nA,3,c\n"
    files.write("lines.csv", text)
    ids = pg.sql("select id from lines order by id")
    text = HEADER["log.csv"] + "A,1,a\nB,1,added\nA,2,b\nA,3,c\n"
    files.write("lines.csv", text)
    assert files.read("lines.csv") == text
    assert pg.sql("select id from lines order by id")[:3] == ids


@pytest.mark.parametrize("way", WAYS)
def test_a_new_line_among_old_ones_moves_nothing_that_belongs_to_them(files, pg, elsewhere, way):
    """A row has more than its line shows: it stays that line's, and the new line is read where the order puts it."""
    before = fill(files, pg, 6)
    lines = [line for line, *_ in before]
    way(files, "log.csv", HEADER["log.csv"] + "\n".join([*lines[:2], "B,1,added", *lines[2:]]) + "\n", elsewhere)
    after = rows_of(files, pg, "log.csv")
    assert after[:6] == before
    assert after[6][0] == "B,1,added" and after[6][2:] == ("new", None)


def test_in_place_a_new_line_among_old_ones_touches_none(files, pg):
    """It is read where the order puts it, as if it had been appended."""
    before = fill(files, pg, 6)
    lines = [line for line, *_ in before]
    in_place(files, "log.csv", HEADER["log.csv"] + "\n".join(["B,1,first", *lines[:2], "B,2,added", *lines[2:4], "A,900,x", lines[5]]) + "\n", None)
    after = rows_of(files, pg, "log.csv")
    assert after[:6] == [*before[:4], ("A,900,x", *before[4][1:]), before[5]]
    assert [row[0] for row in after[6:]] == ["B,1,first", "B,2,added"]


def test_where_the_order_is_shown_a_new_line_moves_nothing(files, pg):
    files.write("samples.csv", HEADER["samples.csv"] + "10,a\n20,b\n30,c\n40,d\n")
    brand(pg, "samples")
    before = rows_of(files, pg, "samples.csv")
    files.write("samples.csv", HEADER["samples.csv"] + "5,new\n10,a\n20,B\n25,new\n30,c\n")
    after = rows_of(files, pg, "samples.csv")
    assert [after[1], after[4]] == [before[0], before[2]]
    assert after[2] == ("20,B", *before[1][1:])
    assert pg.one("select count(*) from samples_marks") == 3
    # lines that are written in another order are the same rows
    files.write("samples.csv", HEADER["samples.csv"] + "".join(f"{row[0]}\n" for row in reversed(after)))
    assert rows_of(files, pg, "samples.csv") == after


def test_ties_are_read_as_they_were_written(files, pg):
    """Lines that are equal in what the order shows stand in the order of their hidden keys."""
    files.write("ties.csv", "at,value\n1,a\n2,b\n2,c\n2,d\n3,e\n")
    before = dict(pg.sql("select value, id from ties"))
    text = "at,value\n1,a\n1,a2\n2,b\n2,new\n2,c\n3,e\n3,f\n"
    files.write("ties.csv", text)
    assert files.read("ties.csv") == text
    after = dict(pg.sql("select value, id from ties"))
    assert all(after[value] == before[value] for value in "abe")
    assert set(before.values()) <= set(after.values())


def test_a_line_that_shows_a_unique_value_is_that_row(files, pg):
    files.write("names.csv", HEADER["names.csv"] + "ann,1\nbob,2\ncyd,3\neve,4\n")
    brand(pg, "names")
    before = {row[0][:3]: row[1:] for row in rows_of(files, pg, "names.csv")}
    files.write("names.csv", HEADER["names.csv"] + "eve,4\nbob,20\nann,10\ndan,5\n")
    after = {row[0]: row[1:] for row in rows_of(files, pg, "names.csv")}
    assert (after["ann,10"], after["bob,20"], after["eve,4"]) == (before["ann"], before["bob"], before["eve"])


def test_equal_values_that_are_written_in_another_way(files, pg):
    """As json.dumps() and spreadsheets write: which columns come first, blanks, zeros. The same line is the same row."""
    files.write("events.jsonl", "".join(f'{{"kind":"k{i}","n":{i}.5}}\n' for i in range(6)))
    brand(pg, "events")
    before = rows_of(files, pg, "events.jsonl")
    lines = [json.loads(line) for line in files.read("events.jsonl").splitlines()]
    del lines[2]
    lines[3]["kind"] = "other"
    files.write("events.jsonl", "".join(json.dumps(dict(reversed(list(x.items())))) + "\n" for x in lines))
    after = rows_of(files, pg, "events.jsonl")
    assert after == [(row[0].replace("k4", "other"), *row[1:]) for row in before if not row[0].startswith("k2")]
    before = fill(files, pg, 5)
    files.write("log.csv", files.read("log.csv").replace("\n", "\r\n").replace("A,103,m3", '"A","103","m3"'))
    assert rows_of(files, pg, "log.csv") == before
    turned = [",".join(reversed(row[0].split(","))) for row in before]
    files.write("log.csv", "memo,n,sym\n" + "\n".join([turned[0], *turned[2:]]) + "\n")
    assert rows_of(files, pg, "log.csv") == [before[0], *before[2:]]


def test_random_ids(files, pg):
    """A new row may stand before all others, so that no order of values would be read back: lines keep their rows."""
    pg.sql("insert into events (id, kind, n) select (lpad(to_hex(g * 16 + 15), 2, '0') || '000000-0000-4000-8000-000000000000')::uuid, 'k' || g, g"
           " from generate_series(1, 9) g")
    brand(pg, "events")
    before = rows_of(files, pg, "events.jsonl")
    text = files.read("events.jsonl").splitlines(keepends=True)
    files.write("events.jsonl", "".join([*text[:4], '{"kind":"new","n":0}\n', *text[4:]]))
    after = rows_of(files, pg, "events.jsonl")
    assert [row for row in after if row[0] != "new,0"] == before and len(after) == 10
    files.write("events.jsonl", "".join([*text[:4], *text[5:]]))
    assert rows_of(files, pg, "events.jsonl")[-8:] == [*before[:4], *before[5:]]


def test_columns_that_a_text_leaves_out_keep_their_values(files, pg):
    before = fill(files, pg, 4)
    files.write("log.csv", "sym,n\nB,1\nB,2\nB,3\nB,4\nB,5\n")
    after = rows_of(files, pg, "log.csv")
    assert [row[0] for row in after] == ["B,1,m0", "B,2,m1", "B,3,m2", "B,4,m3", "B,5,"]
    assert [row[1:] for row in after[:4]] == [row[1:] for row in before]
    files.write("log.csv", "sym,n\nB,1\nB,30\nB,4\nB,5\n")  # lines are compared in the columns that they have
    assert rows_of(files, pg, "log.csv") == [after[0], ("B,30,m2", *after[2][1:]), after[3], after[4]]


def test_a_text_may_say_more_than_the_file_shows(files, pg):
    """JSON lines with a column that the file does not show, or with one that goes into the overflow column."""
    before = fill(files, pg, 3)
    lines = [json.loads(line) for line in files.read("log.jsonl").splitlines()]
    lines[1].update(hidden="said")
    files.write("log.jsonl", "".join(json.dumps(x) + "\n" for x in lines))
    assert rows_of(files, pg, "log.csv") == [before[0], (*before[1][:2], "said", before[1][3]), before[2]]
    files.write("rest.jsonl", '{"name":"a"}\n{"name":"b","x":1}\n')
    pg.sql("update rests set hidden = 'h'")
    files.write("rest.jsonl", '{"name":"a","y":2}\n{"name":"b","x":1}\n')
    assert pg.sql("select name, rest, hidden from rests order by id") == [("a", {"y": 2}, "h"), ("b", {"x": 1}, "h")]


def test_many_equal_lines(files, pg):
    before = fill(files, pg, lines=["A,1,x"] * 300 + ["B,2,y"] + ["A,1,x"] * 300)
    files.write("log.csv", HEADER["log.csv"] + "A,1,x\n" * 200 + "B,2,y\n" + "A,1,x\n" * 310)
    after = rows_of(files, pg, "log.csv")
    assert len(after) == 511 and {row[1:] for row in before if row[0][0] == "B"} == {row[1:] for row in after if row[0][0] == "B"}
    assert {row[1:] for row in after} < {row[1:] for row in before}


# -- a model ------------------------------------------------------------------------------------------------------------------------------


class Model:
    """A file and, for each line, what its row must still have. Values are never used twice: which line is which is certain."""

    def __init__(self, files, pg, name, rnd, tmp):
        self.files, self.pg, self.name, self.rnd, self.tmp = files, pg, name, rnd, tmp
        self.numbers = itertools.count(1000)
        self.table = name.split(".")[0]
        self.by_value = name == "samples.csv"  # the file shows what its order is
        self.rows = []  # [text, identity or None], in the order of the file
        self.in_order = True  # that is the order in which they are read back

    def line(self):
        n = next(self.numbers)
        if self.by_value:
            return f"{self.rnd.randrange(10**9)},v{n}"
        return f"S{n % 3},{n},m{n}"

    def save(self, way):
        if self.by_value:
            self.rows.sort(key=lambda row: int(row[0].split(",")[0]))
        text = HEADER[self.name] + "".join(f"{line}\n" for line, _ in self.rows)
        way(self.files, self.name, text, self.tmp)
        self.check(text)

    def check(self, text):
        found = rows_of(self.files, self.pg, self.name)
        if self.in_order:
            assert self.files.read(self.name) == text
            assert [row[0] for row in found] == [line for line, _ in self.rows]
        assert sorted(self.files.read(self.name).splitlines()) == sorted(text.splitlines())
        have = {row[0]: row[1:] for row in found}
        for line, same in self.rows:
            assert same is None or have[line] == same, line
        assert self.pg.one(f"select count(*) from {self.table}_marks") == sum(row[3] is not None for row in found)
        brand(self.pg, self.table)
        self.rows = [[row[0], row[1:]] for row in rows_of(self.files, self.pg, self.name)]

    def change(self):
        """What sed, editors and scripts do: a few lines are changed, removed and added, here and there."""
        # where the order is not shown, lines in the middle move all behind them
        sort = self.rnd.choice(["change", "remove", "append", "all"] + ["insert"] * self.by_value)
        # of changed and added lines, those get the rows that have most in common with them, and the others are read behind them
        self.in_order = sort != "all" or self.by_value
        for _ in range(self.rnd.choice([1, 1, 2, 5])):
            at = self.rnd.randrange(len(self.rows)) if self.rows else 0
            if sort in ("change", "all") and self.rows:
                line = self.line()
                # one that is changed stays at its place, and which row it gets is only certain beside lines that stay
                self.rows[at] = [f"{self.rows[at][0].split(',')[0]},{line.split(',', 1)[1]}", None]
            if sort in ("remove", "all") and self.rows:
                del self.rows[self.rnd.randrange(len(self.rows))]
            if sort in ("append", "insert", "all"):
                self.rows.append([self.line(), None])


@pytest.mark.parametrize("name", ["log.csv", "samples.csv"])
def test_random_changes_against_a_model(files, pg, elsewhere, seed, long, name):
    rnd = random.Random(seed)
    model = Model(files, pg, name, rnd, elsewhere)
    for _ in range(rnd.choice([0, 1, 30])):
        model.rows.append([model.line(), None])
    for _ in range(400 if long else 40):
        model.save(rnd.choice(WAYS) if model.rows else by_cp)
        model.change()
    assert files.errors() == []


def test_random_texts_are_read_back(files, pg, elsewhere, seed, long):
    """Any text over any other, with equal lines, in any order."""
    rnd = random.Random(seed)
    for _ in range(300 if long else 40):
        lines = [f"A,{rnd.randrange(5)},x\n" for _ in range(rnd.randrange(12))]
        if lines and rnd.random() < .5:
            old = files.read("lines.csv").splitlines(keepends=True)[1:]
            lines = rnd.sample(old, rnd.randrange(len(old) + 1)) + lines[:2]
        text = HEADER["log.csv"] + "".join(lines)
        rnd.choice([by_cp, by_mv, by_rename])(files, "lines.csv", text, elsewhere)
        assert files.read("lines.csv") == text
    assert files.errors() == []


# -- other tables -------------------------------------------------------------------------------------------------------------------------


def test_a_table_without_a_key(files, pg):
    """A row is found by its place in the table, under a lock."""
    files.write("loose.csv", HEADER["loose.csv"] + "".join(f"A,{i}\n" for i in range(8)))
    pg.sql("update loose set hidden = 'h' || n")
    files.write("loose.csv", HEADER["loose.csv"] + "".join(f"A,{i}\n" for i in (0, 1, 2, 33, 4, 6, 7, 8)))
    assert sorted(pg.sql("select n, hidden from loose")) == [(0, "h0"), (1, "h1"), (2, "h2"), (4, "h4"), (6, "h6"), (7, "h7"), (8, "new"), (33, "h3")]
    files.write("bare.csv", "sym,n\nA,1\nA,2\nA,3\n")
    files.write("bare.csv", "sym,n\nA,1\nA,9\nA,3\n")
    assert files.read("bare.csv") == "sym,n\nA,1\nA,9\nA,3\n"


def test_a_table_document_without_the_key(files, pg):
    """Objects of an array that the file shows without their key are paired in the same way."""
    things = [{"sym": "A", "n": i, "memo": f"m{i}"} for i in range(100, 108)]
    put(files.at("log.json"), json.dumps(things))
    brand(pg, "log")
    before = rows_of(files, pg, "log.csv")
    assert json.loads(files.read("log.json")) == things
    ids = pg.sql("select xmin::text, ctid::text from log order by id")
    put(files.at("log.json"), files.read("log.json"))
    assert pg.sql("select xmin::text, ctid::text from log order by id") == ids
    things[2]["memo"] = "other"
    del things[5], things[6]["memo"]
    put(files.at("log.json"), json.dumps([*things, {"sym": "B", "n": 1, "memo": None}], indent=2))
    after = rows_of(files, pg, "log.csv")
    assert after[:7] == [*before[:2], ("A,102,other", *before[2][1:]), *before[3:5], *before[6:8]]
    assert after[7][0] == "B,1," and after[7][2:] == ("new", None)
    for bad in ('[{"sym": "A", "n": 13}]', '[{"sym": "A", "nothing": 1}]', '[{"n": "x"}]', "[1]"):
        with refused(errno.EINVAL):
            put(files.at("log.json"), bad)
    with refused(errno.EINVAL):
        put(files.at("by/A.json"), '[{"n": 1}, {"sym": "B", "n": 2}]')
    assert rows_of(files, pg, "log.csv") == after
    put(files.at("log.json"), "[]")
    assert pg.one("select count(*) from log") == 0


def test_partitions(files, pg):
    files.write("parts.csv", "sym,n\n" + "".join(f"{'AB'[i % 2]},{i}\n" for i in range(8)))
    pg.sql("update parts set hidden = 'h' || n")
    text = "sym,n\n" + "".join(f"{'BA'[i % 2] if i == 3 else 'AB'[i % 2]},{i}\n" for i in (0, 1, 2, 3, 4, 6, 9))
    files.write("parts.csv", text)
    assert files.read("parts.csv") == text
    assert pg.sql("select n, hidden from parts where n <> 9 order by n") == [(n, f"h{n}") for n in (0, 1, 2, 3, 4, 6)]


def test_only_rows_of_the_file(files, pg):
    pg.sql("insert into owners values (1), (2)")
    for owner in (1, 2):
        put(files.at(f"owners/{owner}/things.csv"), "n\n1\n2\n3\n")
    pg.sql("update things set hidden = 'h-' || owner || n")
    put(files.at("owners/1/things.csv"), "n\n1\n3\n")
    assert pg.sql("select owner, n, hidden from things order by id") == [
        (1, 1, "h-11"), (1, 3, "h-13"), (2, 1, "h-21"), (2, 2, "h-22"), (2, 3, "h-23")]
    files.write("log.csv", HEADER["log.csv"] + "A,1,a\nB,2,b\nA,3,c\n")
    brand(pg, "log")
    put(files.at("by/A.csv"), HEADER["log.csv"] + "A,1,a\nA,4,new\n")
    with refused(errno.EINVAL):
        put(files.at("by/A.csv"), HEADER["log.csv"] + "A,1,a\nC,4,other file\n")
    assert [row[0] for row in rows_of(files, pg, "log.csv")] == ["A,1,a", "B,2,b", "A,4,new"]
    assert pg.one("select count(*) from log_marks") == 3


def test_rows_that_go_with_others(files, pg):
    """A row that refers to a removed one is deleted with it; its line, which is still there, is a row again."""
    pg.sql("insert into nodes values (1, null, 'root'), (2, 1, 'child'), (3, null, 'other'); select setval('nodes_id_seq', 10)")
    files.write("nodes.csv", "name\nchild\nother\n")
    assert sorted(files.read("nodes.csv").splitlines()[1:]) == ["child", "other"]
    assert pg.sql("select id, name from nodes where id < 10") == [(3, "other")]


def test_lines_that_exchange_unique_values(files, pg):
    """No order of updates goes: the changed lines are deleted and inserted, as all were before."""
    files.write("ranks.csv", "place,name\n1,a\n2,b\n3,c\n,d\n")
    pg.sql("update ranks set hidden = 'h'")
    for text in ("place,name\n2,a\n1,b\n3,c\n,d\n", "place,name\n3,c\n2,a\n1,b\n,e\n"):
        files.write("ranks.csv", text)
        assert sorted(files.read("ranks.csv").splitlines()) == sorted(text.splitlines())
    with refused(errno.EEXIST):
        put(files.at("ranks.csv"), "place,name\n1,a\n1,b\n")
    assert sorted(files.read("ranks.csv").splitlines()) == sorted(text.splitlines())


def test_views(files, pg):
    """A view whose key the layout says. If its rows cannot be locked, the old ones go and the new ones come."""
    before = fill(files, pg, 5)
    assert files.read("seen.csv") == "sym,n\nA,100\nA,101\nA,102\nA,103\nA,104\n"
    run("sed", "-i", "s/101/901/;/103/d", files.at("seen.csv"))
    after = [(line.replace("101", "901"), *rest) for line, *rest in before if "103" not in line]
    assert rows_of(files, pg, "log.csv") == after
    assert files.read("sums.csv") == "sym,n\nA,4\n"
    put(files.at("sums.csv"), "sym,n\nA,2\nB,3\n")
    assert pg.sql("select sym, count(*) from log group by 1 order by 1") == [("A", 2), ("B", 3)]


@pytest.mark.parametrize("when", ["update", "insert or update"])
def test_a_trigger_that_skips_updates(files, pg, when):
    """It is no failure, as with an insert. The old line, which the text has no more, does not come back; the new one is inserted, if the
    trigger lets it."""
    before = fill(files, pg, 5)
    pg.sql("create function f() returns trigger language plpgsql as $$ begin if new.n = 901 then return null; end if; return new; end $$;"
           f"create trigger t before {when} on log for each row execute function f()")
    lines = [line for line, *_ in before]
    files.write("log.csv", HEADER["log.csv"] + "\n".join([lines[0], "A,900,x", "A,901,x", *lines[3:]]) + "\n")
    after = rows_of(files, pg, "log.csv")
    assert after[:4] == [before[0], ("A,900,x", *before[1][1:]), *before[3:]]
    assert [row[0] for row in after[4:]] == ["A,901,x"] * (when == "update")
    assert files.errors() == []


@pytest.mark.parametrize("what", ["changes", "moves"])
def test_triggers(files, pg, what):
    """What one changes is as it has changed it."""
    body = {"changes": "new.memo := 'by trigger'; return new;",
            "moves": "update log set hidden = 'touched' where id = new.id - 1; return new;"}[what]
    before = fill(files, pg, 5)
    pg.sql(f"create function f() returns trigger language plpgsql as $$ begin {body} end $$;"
           "create trigger t before update of n on log for each row execute function f()")
    lines = [line for line, *_ in before]
    files.write("log.csv", HEADER["log.csv"] + "\n".join([lines[0], "A,900,x", "A,901,x", *lines[3:]]) + "\n")
    want = {"changes": ["A,900,by trigger", "A,901,by trigger"], "moves": ["A,900,x", "A,901,x"]}[what]
    after = rows_of(files, pg, "log.csv")
    assert [row[0] for row in after] == [lines[0], *want, *lines[3:]] and [row[1] for row in after] == [row[1] for row in before]
    assert files.errors() == []


ROLE = "grant usage on schema public to writer; grant select, insert, delete on all tables in schema public to writer; " \
       "grant usage on all sequences in schema public to writer"


def test_a_role_that_may_not_update(pg, make_mount, server):
    """A changed line is a row less and a row more; lines that stay keep their rows all the same."""
    pg.sql(SQL)
    pg.admin("drop role if exists writer; create role writer login")
    try:
        pg.admin(ROLE)
        m = make_mount(layout=LAYOUT, conninfo=server.conninfo(pg.name, "writer"))
        before = fill(m, pg, 6)
        lines = [line for line, *_ in before]
        text = HEADER["log.csv"] + "\n".join([*lines[:2], *lines[3:5], "A,900,changed"]) + "\n"
        m.write("log.csv", text)
        assert m.read("log.csv") == text
        assert rows_of(m, pg, "log.csv")[:4] == [*before[:2], *before[3:5]]
        m.umount()
    finally:
        pg.admin("drop owned by writer cascade; drop role writer")


@pytest.mark.parametrize("policies", [
    "create policy p on log using (sym <> 'X') with check (true)",
    "create policy a on log for select using (true); create policy b on log for insert with check (true); create policy c on log for delete using (true)",
    "create policy a on log for select using (true); create policy b on log for insert with check (true); create policy c on log for delete using (true);"
    "create policy d on log for update using (n < 103)"])
def test_row_security(pg, make_mount, policies):
    """No row is doubled, whatever may be seen, updated and deleted."""
    pg.sql(SQL)
    m = make_mount(layout=LAYOUT)
    before = fill(m, pg, 6)
    pg.sql("alter table log enable row level security; alter table log force row level security;" + policies)
    lines = [line for line, *_ in before]
    text = HEADER["log.csv"] + "\n".join([lines[0], "A,900,changed", *lines[3:], "B,901,new"]) + "\n"
    m.write("log.csv", text)
    assert sorted(line for line, *_ in rows_of(m, pg, "log.csv")) == sorted(text.splitlines()[1:])
    assert before[0] in rows_of(m, pg, "log.csv") or "for select" in policies


# -- at the same time ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [None, "repeatable read", "serializable"])
def test_a_row_that_somebody_else_is_changing(pg, make_mount, level):
    """Its line is waited for, and replaced: the last writer wins, and nothing is doubled."""
    pg.sql(SQL)
    m = make_mount(layout=LAYOUT, options={"isolation_level": level} if level else None)
    before = fill(m, pg, 5)
    text = m.read("log.csv").replace("m3", "mine")
    other = pg.connect()
    other.cursor().execute("update log set memo = 'theirs' where n in (101, 103)")
    writer = threading.Thread(target=m.write, args=("log.csv", text))
    writer.start()
    until(lambda: pg.one("select count(*) from pg_locks where not granted") > 0, "the file waits for the row")
    other.commit()
    other.close()
    writer.join(20)
    assert m.read("log.csv") == text
    assert [row[1:] for row in rows_of(m, pg, "log.csv")] == [row[1:] for row in before]


def test_replacements_at_once(files, pg):
    """The text of the last one is there, each line once. (What another inserts meanwhile is not seen, as with any DELETE and INSERT.)"""
    fill(files, pg, 50)
    lines = files.read("log.csv").splitlines()[1:]
    texts = [HEADER["log.csv"] + "".join(f"{line}-{k}\n" for line in lines[k * 5:]) for k in range(4)]
    for _ in range(5):
        for k, text in enumerate(texts):
            files.at(f"plain{k}").write_text(text)
        threads = [threading.Thread(target=os.rename, args=(files.at(f"plain{k}"), files.at("log.csv"))) for k in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(30)
        found = files.read("log.csv").splitlines()
        assert len(found) == len(set(found)) and any(set(text.splitlines()) <= set(found) for text in texts)


# -- limits -------------------------------------------------------------------------------------------------------------------------------


def test_the_number_of_statements_does_not_grow(files, pg):
    totals = []
    for n in (30, 3000):
        before = fill(files, pg, n)
        lines = [line for line, *_ in before]
        changed = [f"{line}!" if i % 7 == 0 else line for i, line in enumerate(lines) if i % 5] + [f"C,{i + 10000},new" for i in range(n)]
        text = HEADER["log.csv"] + "\n".join(changed) + "\n"
        with pg.queries() as seen:
            files.write("log.csv", text)
        assert files.read("log.csv") == text
        writes = [q for q, _ in seen if q.split()[0].lower() in ("update", "insert", "delete") and '"log"' in q]
        assert sorted(q.split()[0].lower() for q in writes) == ["delete", "insert", "update"]
        totals.append(sum(n for q, n in seen if '"log"' in q and q in writes or "json_build_array" in q))
    assert totals[0] == totals[1] <= 5  # the rows, the lines that are not as they were, and one of each kind


def test_more_old_lines_than_can_be_held(pg, make_mount):
    """Beyond max_document the old rows go, and the new ones come."""
    pg.sql(SQL)
    m = make_mount(layout=LAYOUT, options={"max_document": 4096})
    for k in range(10):
        m.append("log.csv", "".join(f"A,{1000 * k + 100 + i},{'x' * 40}\n" for i in range(50)))
    pg.sql("update log set hidden = 'h'")
    text = HEADER["log.csv"] + "A,0,a\nA,1,b\n"
    m.write("log.csv", text)
    assert m.read("log.csv") == text


def test_a_temporary_file_of_a_text_key(files, pg):
    """It has rows of its own until it is renamed: 8.6 of SEMANTICS."""
    files.write("log.csv", HEADER["log.csv"] + "A,1,a\nA,2,b\nA,3,c\n")
    brand(pg, "log")
    before = rows_of(files, pg, "log.csv")
    script = ("import os, sys\nwith open('T.csv', 'w') as f:\n    f.write('n,memo\\n1,a\\n2,B\\n3,c\\n4,d\\n')\nos.rename('T.csv', 'A.csv')\n")
    run("/usr/bin/python3", "-c", script, cwd=files.at("by"))
    after = rows_of(files, pg, "log.csv")
    assert [row[0] for row in after] == ["A,1,a", "A,2,B", "A,3,c", "A,4,d"]
    assert [row[1:] for row in after[:3]] == [row[1:] for row in before]
    sh("! ls T.csv", cwd=files.at("by"))
