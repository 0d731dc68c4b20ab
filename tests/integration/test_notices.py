"""What the triggers on a table tell of each statement: heard by LISTEN, compared with the rows before and after it. No mount is needed."""
import json
import random
import re
from collections import Counter

import psycopg2
import pytest

pytestmark = pytest.mark.bare
ANY = "any key"
KEYS = {"n": "names", "c": "contents"}


class Ear:
    """Listens on a connection of its own."""

    def __init__(self, pg):
        self.pg, self.conn = pg, pg.connect()
        self.conn.autocommit = True
        with self.conn.cursor() as cur:
            cur.execute(f"listen {pg.channel()}")

    def notices(self):
        """The payloads since the last call, all that were committed before it. A server has delivered them by the time that it has answered."""
        with self.conn.cursor() as cur:
            cur.execute("select")
        self.conn.poll()
        heard = [n.payload for n in self.conn.notifies]
        self.conn.notifies.clear()
        return heard

    def heard(self):
        """Of the only notice since then: {definition: {"names": {keys}, "contents": {keys}}, or ANY}. None if there was none."""
        payloads = self.notices()
        assert len(payloads) <= 1, payloads
        return read(payloads[0]) if payloads else None

    def tell(self, table, *definitions):
        """Makes DEFINITIONS (lists of keys: a column, or an object as in rowfs.notice), numbered from 1, and the triggers."""
        keys = [[k if isinstance(k, dict) else {"column": k} for k in d] for d in definitions]
        self.pg.sql("select rowfs.tell(%s::regclass, %s::jsonb)", table, json.dumps([{"id": i + 1, "keys": k} for i, k in enumerate(keys)]))
        return [read(n) for n in self.notices()]

    def close(self):
        self.conn.close()


def read(payload):
    notice = json.loads(payload)
    assert set(notice) == {"m", "n"}, payload
    told = {}
    for number, what in notice["n"].items():
        told[int(number)] = ANY if what is None else {KEYS[k]: {tuple(key) for key in keys} for k, keys in what.items()}
        for keys in (what or {}).values():
            assert keys and len(keys) == len({tuple(key) for key in keys}) <= 50, payload
    return told


@pytest.fixture
def ear(pg):
    ear = Ear(pg)
    yield ear
    ear.close()


def names(*keys):
    return {"names": {k if isinstance(k, tuple) else (k,) for k in keys}}


def contents(*keys):
    return {"contents": {k if isinstance(k, tuple) else (k,) for k in keys}}


@pytest.fixture
def items(pg, ear):
    pg.sql("create table items (id int primary key, name text, note text)")
    ear.tell("items", ["name"])
    pg.sql("insert into items select g, 'n' || g, 'one' from generate_series(1, 2000) g")
    ear.notices()
    return pg


# -- one row ----------------------------------------------------------------------------------------------------------


def test_one_row(items, ear):
    for statement, told in (("insert into items values (0, 'new', null)", names("new")),
                            ("update items set note = 'x' where id = 0", contents("new")),
                            ("update items set note = note where id = 0", contents("new")),
                            ("update items set name = 'newer' where id = 0", names("new", "newer")),
                            ("update items set id = -1 where id = 0", names("newer")),  # another row has the name now
                            ("update items set name = null where id = -1", names("newer", None)),
                            ("update items set note = 'y' where id = -1", contents(None)),
                            ("update items set name = '' where id = -1", names(None, "")),
                            ("delete from items where id = -1", names(""))):
        items.sql(statement)
        assert ear.heard() == {1: told}, statement


@pytest.mark.parametrize("name", ['"', "\\", "'", "a\nb\tc\x01", "é, ü", "😀", "%s %1$s", "null", "[]", "x" * 7000])
def test_names_of_all_kinds(items, ear, name):
    items.sql("insert into items values (0, %s)", name)
    assert ear.heard() == {1: names(name)}
    items.sql("update items set note = 'x' where id = 0")
    assert ear.heard() == {1: contents(name)}


def test_statements_without_rows(items, ear):
    items.sql("update items set note = 'x' where id < 0")
    items.sql("delete from items where id < 0")
    items.sql("insert into items select * from items where id < 0")
    items.sql("insert into items values (1, 'again') on conflict do nothing")
    assert ear.notices() == []
    items.sql("insert into items values (1, 'again') on conflict (id) do update set note = 'z'")
    assert ear.heard() == {1: contents("n1")}


def test_truncate_and_what_rowfs_tells_by_itself(items, ear):
    items.sql("truncate items")
    assert ear.heard() == {1: ANY}
    items.sql("select set_config('rowfs.daemon', proof, false), set_config('rowfs.proof', proof, false) from rowfs.secret; set rowfs.mount = 'me'; insert into items values (0, 'new'); reset rowfs.daemon; reset rowfs.mount")
    assert ear.notices() == []


def test_a_mount_gets_it_back(items, ear):
    """No notification, which would make all commits wait for each other: the keys come with the answer."""
    with items.connect() as conn, conn.cursor() as cur:
        cur.execute("select set_config('rowfs.proof', proof, false), set_config('rowfs.mount', %s, false) from rowfs.secret", ('me "and" me',))
        cur.execute("update items set note = 'x' where id = 1")
        cur.execute("update items set note = 'x' where id < 3")
        cur.execute("update items set note = 'x' where id < 0")
        said = [json.loads(re.fullmatch(r"INFO:  (.*)\n", line).group(1)) for line in conn.notices]
    assert [s["m"] for s in said] == ['me "and" me'] * 2
    assert read(json.dumps(said[0])) == {1: contents("n1")}
    assert read(json.dumps(said[1])) == {1: contents("n1", "n2")}
    assert ear.notices() == []


def test_composite_keys_and_foreign_keys(pg, ear):
    pg.sql("create table makers (id int primary key, country text, name text unique)")
    pg.sql("create table parts (maker int references makers, number int, price numeric, primary key (maker, number))")
    maker = {"way": [{"schema": "public", "table": "makers", "columns": ["maker"], "references": ["id"]}]}
    ear.tell("parts", [{**maker, "column": "country"}, {**maker, "column": "name"}, "number"])
    pg.sql("insert into makers values (1, 'fr', 'acme'), (2, 'fr', 'best'), (3, 'de', 'acme too')")
    for statement, told in (("insert into parts values (1, 7, 1.5)", names(("fr", "acme", "7"))),
                            ("update parts set price = 2", contents(("fr", "acme", "7"))),
                            ("update parts set number = 8", names(("fr", "acme", "7"), ("fr", "acme", "8"))),
                            ("update parts set maker = 2", names(("fr", "acme", "8"), ("fr", "best", "8"))),
                            ("delete from parts", names(("fr", "best", "8")))):
        pg.sql(statement)
        assert ear.heard() == {1: told}, statement


def test_a_row_that_moves_under_the_same_name(pg, ear):
    """The keys say the name, the foreign keys say where it belongs: both ways of them."""
    pg.sql("create table boxes (id int primary key, code text unique)")
    pg.sql("create table things (id int primary key, name text, box int references boxes)")
    pg.sql("create table labels (id int primary key, code text references boxes (code) on update cascade)")
    ear.tell("things", ["name"])
    pg.sql("insert into boxes values (1, 'a'), (2, 'b')")
    pg.sql("insert into things values (1, 'x', 1)")
    ear.notices()
    pg.sql("update things set box = 2")
    assert ear.heard() == {1: names("x")}
    pg.sql("update things set box = null")
    assert ear.heard() == {1: names("x")}
    pg.sql("update things set box = null")
    assert ear.heard() == {1: contents("x")}
    pg.sql("delete from rowfs.notice")
    ear.tell("boxes", ["id"])
    pg.sql("insert into labels values (1, 'a')")
    ear.notices()
    pg.sql("update boxes set code = 'z' where id = 1")
    assert ear.heard() == {1: names("1")}


@pytest.mark.parametrize("many", [False, True])
def test_without_a_primary_key(pg, ear, many):
    """All of the row says whether it is still the same. Columns that nothing compares (json, point) are no hindrance."""
    pg.sql("create table notes (name text, gone int, note json, place point)")
    pg.sql("alter table notes drop column gone")
    ear.tell("notes", ["name"])
    values = """('a', '{"x": 1}', '(1,1)')""" + (", ('b', null, null), ('b', null, null)" if many else "")
    keys = ["a", "b"] if many else ["a"]
    pg.sql(f"insert into notes values {values}")
    assert ear.heard() == {1: names(*keys)}
    pg.sql("update notes set name = name")
    assert ear.heard() == {1: contents(*keys)}
    pg.sql("""update notes set note = '{"x":1}'""")
    assert ear.heard() == {1: names(*keys)}
    pg.sql("delete from notes")
    assert ear.heard() == {1: names(*keys)}


def test_two_definitions(pg, ear):
    """One notice for both; what they have in common is worked out once."""
    pg.sql("create table items (id int primary key, name text, kind text)")

    def times():
        return pg.one("select prosrc from pg_proc where proname ~ '^notice_[0-9]+$'").count("r.name::text")
    ear.tell("items", ["name", "kind"])
    alone = times()
    ear.tell("items", ["name", "kind"], ["name"], [])
    assert times() == alone > 0
    pg.sql("insert into items values (1, 'a', 'k')")
    assert ear.heard() == {1: names(("a", "k")), 2: names("a"), 3: names(())}
    pg.sql("update items set kind = 'l'")
    assert ear.heard() == {1: names(("a", "k"), ("a", "l")), 2: contents("a"), 3: contents(())}
    pg.sql("insert into items values (2, 'b', 'k'), (3, 'c', 'k')")
    assert ear.heard() == {1: names(("b", "k"), ("c", "k")), 2: names("b", "c"), 3: names(())}
    pg.sql("update items set kind = 'l', name = name || '!' where id > 1")
    assert ear.heard() == {1: names(("b", "k"), ("c", "k"), ("b!", "l"), ("c!", "l")), 2: names("b", "c", "b!", "c!"), 3: contents(())}


def test_texts_do_not_depend_on_who_writes(pg, ear):
    pg.sql("create table runs (id int primary key, at timestamptz, note text)")
    ear.tell("runs", ["at"])
    pg.sql("set timezone = 'Asia/Tokyo'; set datestyle = 'SQL, DMY'; insert into runs values (1, '2024-03-01 09:00+09')")
    assert ear.heard() == {1: names("2024-03-01 00:00:00+00")}


def test_a_writer_without_rights_on_the_schema(pg, ear):
    pg.sql("create table items (id int primary key references items, name text)")
    ear.tell("items", [{"way": [{"schema": "public", "table": "items", "columns": ["id"], "references": ["id"]}], "column": "name"}])
    pg.sql("insert into items values (1, 'a')")
    ear.notices()
    pg.admin("create role stranger login")
    try:
        pg.admin("grant insert, update, delete on items to stranger")
        with psycopg2.connect(pg.server.conninfo(pg.name, "stranger")) as conn, conn.cursor() as cur:
            cur.execute("insert into items values (2, 'b')")
        conn.close()
        assert ear.heard() == {1: names("b")}
        with psycopg2.connect(pg.server.conninfo(pg.name, "stranger")) as conn, conn.cursor() as cur:
            cur.execute("insert into items values (3, 'c'), (4, 'd')")
        conn.close()
        assert ear.heard() == {1: names("c", "d")}
    finally:
        pg.admin("drop owned by stranger")
        pg.admin("drop role stranger")


# -- many rows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows,exact", [(2, True), (50, True), (51, False), (1000, False), (1001, False)])
def test_beyond_fifty_keys_it_is_any(items, ear, rows, exact):
    few = [f"n{i}" for i in range(1, rows + 1)]
    items.sql("update items set note = 'x' where id <= %s", rows)
    assert ear.heard() == {1: contents(*few) if exact else ANY}
    items.sql("update items set id = -id where id <= %s", rows)
    assert ear.heard() == {1: names(*few) if exact else ANY}
    items.sql("delete from items where id < 0")
    assert ear.heard() == {1: names(*few) if exact else ANY}
    items.sql("insert into items select g, 'n' || g from generate_series(1, %s) g", rows)
    assert ear.heard() == {1: names(*few) if exact else ANY}


@pytest.mark.parametrize("rows,exact", [(1000, True), (1001, False)])
def test_a_thousand_rows_with_few_keys(items, ear, rows, exact):
    told = {1: names("a", "b") if exact else ANY}
    items.sql("insert into items select g, case when g %% 2 = 0 then 'a' else 'b' end from generate_series(10001, 10000 + %s) g", rows)
    assert ear.heard() == told
    items.sql("update items set note = 'x' where id > 10000")
    assert ear.heard() == {1: contents("a", "b") if exact else ANY}
    items.sql("delete from items where id > 10000")
    assert ear.heard() == told


@pytest.mark.parametrize("rows", [1, 2])
def test_a_notice_is_never_too_long(items, ear, rows):
    items.sql("insert into items select -g, repeat(g::text, 7990) from generate_series(1, %s) g", rows)
    assert ear.heard() == {1: ANY}
    items.sql("update items set note = 'x' where id < 0")
    assert ear.heard() == {1: ANY}


def test_names_and_contents_of_one_statement(items, ear):
    items.sql("update items set id = case when id = 1 then -1 else id end, note = 'x' where id <= 3")
    assert ear.heard() == {1: names("n1") | contents("n2", "n3")}
    items.sql("update items set name = case id when 10 then 'n11' when 11 then 'n10' else name end where id between 10 and 12")
    assert ear.heard() == {1: names("n10", "n11") | contents("n12")}


# -- any statement, against what is known from the rows ---------------------------------------------------------------


def versions(pg, table):
    """Each row version of TABLE: its keys by both definitions, and what identifies it."""
    rows = pg.sql(f"select (tableoid, ctid, xmin)::text, a, b, id, box from {table}")
    return {version: (((a, b), (b,)), (number, box)) for version, a, b, number, box in rows}


def expected(before, after):
    """What is to be told of the versions that went and came: {definition: ...}."""
    told = {}
    for d in (0, 1):
        gone, come = Counter(), Counter()
        for v in before.keys() - after.keys():
            gone[before[v][0][d], before[v][1]] += 1
        for v in after.keys() - before.keys():
            come[after[v][0][d], after[v][1]] += 1
        moved = {key for key, _ in (gone - come) + (come - gone)}
        same = {key for key, _ in gone + come} - moved
        told[d + 1] = ANY if max(len(moved), len(same)) > 50 else {k: v for k, v in (("names", moved), ("contents", same)) if v}
    return told


@pytest.mark.parametrize("kind", ["plain", "partitioned"])
def test_random_statements(pg, ear, seed, kind):
    """Few values, so that names change hands; NULLs; rows that move between partitions."""
    rng = random.Random(seed)
    pg.sql("create table boxes (id int primary key)")
    pg.sql("insert into boxes select generate_series(0, 3)")
    pg.sql("create table t (id int, a text, b text, box int references boxes, note text, primary key (id))"
           + (" partition by range (id)" if kind == "partitioned" else ""))
    if kind == "partitioned":
        pg.sql("create table t_low partition of t for values from (minvalue) to (40)")
        pg.sql("create table t_high (note text, id int not null, b text, box int, a text)")  # its columns in another order
        pg.sql("alter table t attach partition t_high for values from (40) to (maxvalue)")
    ear.tell("t", ["a", "b"], ["b"])
    text = "(array['x', 'y', '\"', null])[1 + (random() * 3)::int]"
    seen = Counter()
    pg.sql(f"select setseed({rng.random()})")
    for _ in range(200):
        start = rng.randrange(80)
        some = rng.choice([0, 0, 0, 1, 5, 60])
        those = f"id between {start} and {start + some}"
        statement = rng.choice([
            f"insert into t select g, {text}, {text}, 1 from generate_series({start}, {start + some}) g on conflict do nothing",
            f"update t set note = 'n' where {those}", f"update t set a = {text} where {those}", f"update t set b = {text} where {those}",
            f"update t set box = (random() * 3)::int where {those}",
            f"update t set id = (id + 80) % 160 where id % 80 between {start} and {start + some} and not exists (select from t o where o.id = (t.id + 80) % 160)",
            f"delete from t where {those}"])
        before = versions(pg, "t")
        pg.sql(statement)
        after = versions(pg, "t")
        heard, told = ear.heard(), expected(before, after) if before.keys() ^ after.keys() else None
        assert heard == told, statement
        seen[len(before.keys() - after.keys()), len(after.keys() - before.keys())] += 1
    assert seen[1, 1] and seen[0, 1] and seen[1, 0] and seen[0, 0] and max(seen) > (1, 1), seen


@pytest.mark.parametrize("rows", [1, 2, 5, 60, 1001])
def test_rows_that_leave_and_do_not_arrive(pg, ear, rows):
    """An UPDATE moves them to a partition whose trigger drops them: none, some or all."""
    pg.sql("create table t (id int primary key, a text, b text, box int) partition by range (id)")
    pg.sql("create table t_low partition of t for values from (minvalue) to (10000)")
    pg.sql("create table t_high partition of t for values from (10000) to (maxvalue)")
    pg.sql("create function drops() returns trigger language plpgsql as $$ begin return null; end $$")
    pg.sql("create trigger drops before insert on t_high for each row when (new.a like 'lost%%') execute function drops()")
    ear.tell("t", ["a", "b"], ["b"])
    for lost in {1, rows - 1, rows} - {0}:
        for stay in (False, True):
            pg.sql("delete from t")
            pg.sql("insert into t select g, case when g <= %s then 'lost' else 'kept' end || g, 'b' || g %% 3 from generate_series(1, %s) g", lost, rows)
            ear.notices()
            before = versions(pg, "t")
            pg.sql(f"update t set id = id + case when a like 'kept%%' and {stay} then 0 else 10000 end")
            after = versions(pg, "t")
            assert len(before) - len(after) == lost
            told = expected(before, after)
            assert ear.heard() == ({1: ANY, 2: ANY} if rows > 1000 else told), (lost, stay)


# -- the triggers -----------------------------------------------------------------------------------------------------


def made(pg):
    """Every trigger and function of rowfs, as they were made."""
    return pg.sql("with p as (select oid, xmin from pg_proc where prorettype = 'trigger'::regtype and pronamespace = 'rowfs'::regnamespace)"
                  " select 't', oid, xmin::text from pg_trigger where tgfoid in (select oid from p)"
                  " union all select 'p', oid, xmin::text from p order by 1, 2")


def test_what_is_there_stays(items, ear):
    before = made(items)
    assert before and items.one("select rowfs.tells('items')")
    assert ear.tell("items", ["name"]) == []
    items.sql("select rowfs.tell('items')")
    assert made(items) == before


@pytest.mark.parametrize("harm", ["drop trigger tell_rowfs_delete on items", "alter table items disable trigger tell_rowfs_update",
                                  "alter table items enable replica trigger tell_rowfs_update",
                                  "create table other (name text primary key); alter table items add foreign key (name) references other not valid",
                                  "alter table items drop constraint items_pkey"])
def test_what_is_not_right_is_made_anew(items, ear, harm):
    """A key of the table that comes or goes says otherwise when a row is the same: the function is no longer the one."""
    items.sql(harm)
    assert not items.one("select rowfs.tells('items')")
    items.sql("select rowfs.tell('items')")
    assert items.one("select rowfs.tells('items')")
    assert ear.heard() == {1: ANY}  # what happened meanwhile was told to nobody
    items.sql("update items set note = 'x' where id = 1; delete from items where id = 2")
    assert [read(n) for n in ear.notices()] == [{1: contents("n1") if "pkey" not in harm else names("n1")}, {1: names("n2")}]


def test_a_partition_that_comes_later(pg, ear):
    pg.sql("create table t (id int primary key, name text) partition by range (id)")
    pg.sql("create table t1 partition of t for values from (0) to (10)")
    ear.tell("t", ["name"])
    first = {row[1] for row in made(pg)}
    pg.sql("create table t2 partition of t for values from (10) to (20)")
    assert not pg.one("select rowfs.tells('t')")
    pg.sql("select rowfs.tell('t2')")
    assert first < {row[1] for row in made(pg)}
    ear.notices()
    pg.sql("insert into t2 values (10, 'a')")
    assert ear.heard() == {1: names("a")}
    pg.sql("select rowfs.untell('t')")
    assert made(pg) == []


def test_counting_and_telling_are_kept_apart(items, ear):
    """Both kinds of trigger on a table: what removes one leaves the other."""
    slices = [{"id": 7, "csv": True, "columns": ["note"], "keys": ["name"], "units": [None], "formats": [None]}]
    items.sql("select rowfs.install('items', '{7}', %s::jsonb)", json.dumps(slices))
    assert items.one("select rowfs.is_watched('items') and rowfs.tells('items')")
    items.sql("select rowfs.untell('items')")
    assert items.one("select rowfs.is_watched('items') and not rowfs.tells('items')")
    ear.tell("items", ["name"])
    items.sql("select rowfs.unwatch('items')")
    assert items.one("select rowfs.tells('items') and not rowfs.is_watched('items')")
    items.sql("select rowfs.drop_triggers('items')")
    assert made(items) == []
