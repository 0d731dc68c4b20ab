"""What is written back as it was read is no change: no row version, no trigger, whatever the type and the kind of file.

The second source is SQL: the rows as text, with xmin and ctid, and a log that triggers of all kinds write."""
import errno
import os

import pytest

from shop import Shop

# type → values as SQL literals; each type has a column, in three rows: NULL, and two values (usual, then extreme)
TYPES = {
    "smallint": ("1", "-32768"), "integer": ("7", "-2147483648"), "bigint": ("9", "9223372036854775807"),
    "numeric": ("'1.50'", "'1000000000000000000000000000000000.00'"), "numeric(10,2)": ("1.5", "-99999999.99"),
    "real": ("1.5", "'3.4028235e38'"), "float8": ("0.1", "'1.7976931348623157e308'"), "money": ("'12.34'", "'-92233720368547758.08'"),
    "boolean": ("true", "false"), "text": ("'plain'", r"E'a,\"b\"\r\n\tc\\\\ \u00e9 \U0001F642 '''"), "varchar(12)": ("'a b '", "''"),
    "char(5)": ("'ab'", "''"), "bpchar": ("'ab  '", "' '"), "name": ("'n'", "'N n'"), '"char"': ("'c'", "'\"'"),
    "bytea": (r"'\x00ff5c'", r"'\x'"), "bit(3)": ("'101'", "'000'"), "varbit": ("'1'", "''"),
    "date": ("'2024-02-29'", "'infinity'"), "time": ("'01:02:03.5'", "'24:00:00'"), "timetz": ("'01:02:03+05:30'", "'23:59:59.999999-12'"),
    "timestamp": ("'2024-02-29 1:2:3.000004'", "'-infinity'"), "timestamptz": ("'2024-02-29 1:2:3+2'", "'0044-03-15 12:00 BC'"),
    "interval": ("'1 mon -3 days 04:05:06.7'", "'-178000000 years'"),
    "uuid": ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'00000000-0000-0000-0000-000000000000'"),
    "inet": ("'10.1.2.3/8'", "'::1'"), "cidr": ("'10.0.0.0/8'", "'::/0'"), "macaddr": ("'08:00:2b:01:02:03'", "'00:00:00:00:00:00'"),
    "xml": ("'<a b=\"c\">d</a>'", "'<a/>\n<!-- x -->'"), "tsvector": ("'a:1 b:2A'", "''"), "tsquery": ("'a & !b'", "''"),
    "point": ("'(1,2)'", "'(1e-300,NaN)'"), "box": ("'(3,4),(1,2)'", "'(0,0),(0,0)'"), "path": ("'[(0,0),(1,1)]'", "'((0,0))'"),
    "pg_lsn": ("'16/B374D848'", "'0/0'"), "oid": ("1", "4294967295"), "jsonpath": ("'$.a'", "'strict $[*]'"),
    "integer[]": ("'{1,NULL,3}'", "'{}'"), "text[]": ("'{\"a,b\",\"NULL\",\"\",NULL}'", "'{{a,b},{c,\"d\\\"\"}}'"),
    "bigint[]": ("'[0:1]={1,2}'", "'[2:2][-1:0]={{1,2}}'"), "numeric[]": ("'{1.0,1.00}'", "'{NaN}'"),
    "timestamptz[]": ("'{infinity,2024-01-01Z}'", "'{}'"), "jsonb[]": ("'{\"null\",NULL,\"{\\\"a\\\": [1.0]}\"}'", "'{}'"),
    "json": ("'{ \"b\": 1.0,  \"a\":[null, 1.00, 1e3] }'", "'null'"), "jsonb": ("'{\"a\": [1.0, 1.00, null], \"b\": {}}'", "'null'"),
    "int4range": ("'[1,5)'", "'empty'"), "tstzrange": ("'[2024-01-01,infinity)'", "'(,)'"), "int4multirange": ("'{[1,3),[5,9)}'", "'{}'"),
    "mood": ("'good'", "'so, so'"), "three": ("'abc'", "''"), "two_places": ("1.5", "0"), "pair": ("'(1,\"x y\")'", "'(,)'"),
    "pair[]": ("'{\"(1,x)\",\"(,)\"}'", "'{}'"), "j_object": ("'{\"a\": \"b\"}'", "'{}'"),
}
ONLY = os.environ.get("UNCHANGED_TYPES")  # for a look at some: a|b
if ONLY:
    TYPES = {t: v for t, v in TYPES.items() if t in ONLY.split("|")}
COLUMNS = {f"c{i:02}": t for i, t in enumerate(TYPES)}

SQL = f"""
create type mood as enum ('good', 'so, so');
create domain three as varchar(3);
create domain two_places as numeric(6,2);
create type pair as (a int, b text);
create domain j_object as jsonb check (jsonb_typeof(value) = 'object');
create table log (op text, what text);
create function log() returns trigger language plpgsql as $$ begin
    insert into log values (tg_op, tg_level || ' ' || tg_when); return coalesce(new, old); end $$;
create table wide (id integer primary key, kind text not null, hidden text default 'h', at timestamptz default '2020-01-01Z',
    {', '.join(f'{c} {t}' for c, t in COLUMNS.items())}, twice integer generated always as (id * 2) stored,
    serial integer generated always as identity);
create trigger log1 before insert or update or delete on wide for each row execute function log();
create trigger log2 after insert or update or delete on wide for each statement execute function log();
insert into wide (id, kind) values (1, 'k');
""" + "".join(f"insert into wide (id, kind, {', '.join(COLUMNS)}) values ({n + 2}, 'k', {', '.join(v[n] for v in TYPES.values())});\n"
              for n in range(2)) + "delete from log;"

SHOWN = ["id", *COLUMNS, "twice", "serial"]
LAYOUT = {"routes": [
    {"path": "/row/{wide.id}.json", "row": "wide"},
    *({"path": f"/col/{{wide.id}}/{c}", "column": f"wide.{c}"} for c in COLUMNS),
    {"path": "/array.json", "rows": "wide", "as": "array", "columns": SHOWN},
    {"path": "/object.json", "rows": "wide", "as": "object", "by": "id"},
    {"path": "/nokey.json", "rows": "wide", "as": "array", "columns": list(COLUMNS)},
    {"path": "/all.csv", "rows": "wide", "columns": SHOWN}, {"path": "/all.jsonl", "rows": "wide"},
    {"path": "/nokey.csv", "rows": "wide", "columns": list(COLUMNS)}, {"path": "/nokey.jsonl", "rows": "wide", "columns": list(COLUMNS)},
    {"path": "/kinds/{kind}.csv", "rows": "wide", "columns": ["id", *COLUMNS]},
]}


def emptied(path, text):
    """As cp, tee and a shell do."""
    with open(path, "wb") as f:
        f.write(text)


def renamed(path, text):
    """As sed -i, rsync and most editors do, with a temporary name that no route knows."""
    temporary = os.path.join(os.path.dirname(path), ".temporary~")
    with open(temporary, "wb") as f:
        f.write(text)
    os.rename(temporary, path)


def made_again(path, text):
    """As mv from another file system, tar and install do."""
    os.unlink(path)
    with open(path, "xb") as f:
        f.write(text)


def in_place(path, text):
    """As a program that writes over what is there."""
    with open(path, "r+b") as f:
        f.write(text)


WAYS = [emptied, renamed, made_again, in_place]


def state(box, table="wide"):
    return box.sql(f"select xmin::text, ctid::text, t.*::text from {table} t order by id"), box.sql("select op, what from log")


def differences(box, before, after):
    return [(b, a) for b, a in zip(before[0], after[0]) if a != b] + after[1] + ([] if len(before[0]) == len(after[0]) else ["rows"])


def write_back(box, names, ways):
    """Each file of NAMES written back in each of WAYS; what came of it that should not."""
    wrong = []
    for name in names:
        path, text = box.m.at(name), box.m.bytes(name)
        for way in ways:
            before = state(box)
            try:
                way(path, text)
            except OSError as e:
                wrong.append((name, way.__name__, str(e), box.m.sentence()))
            if differences(box, before, state(box)):
                wrong.append((name, way.__name__, differences(box, before, state(box))))
                box.sql("delete from log")
            if box.m.bytes(name) != text:
                wrong.append((name, way.__name__, "reads", text, box.m.bytes(name)))
    return wrong


@pytest.fixture
def box(pg, make_mount):
    pg.sql(SQL)
    box = Shop(make_mount(layout=LAYOUT), pg)
    box.sql("delete from log")
    return box


def test_every_type_in_every_kind_of_file(box):
    files = [r["path"].lstrip("/") for r in LAYOUT["routes"] if "{" not in r["path"]]
    wrong = write_back(box, [*files, "row/1.json", "row/2.json", "row/3.json", "kinds/k.csv"], WAYS)
    columns = [f"col/{i}/{c}" for i in (1, 2, 3) for c in COLUMNS if box.m.exists(f"col/{i}/{c}")]
    wrong += write_back(box, columns, [emptied])
    assert not wrong, "\n".join(map(str, wrong))


# -- one column changed, the others as they were read -------------------------------------------------------------------------------

JSON_SQL = """
create table texts (id integer primary key, note text not null default 'old', raw json, b jsonb, l integer[], js json[],
    n numeric default 1.50);
insert into texts (id, raw, b, l, js) values
    (1, null, null, '{}', '{}'), (2, 'null', 'null', '[0:1]={1,2}', '{"null",null}'),
    (3, '{"a": "x\\u0000y",  "a": [1.0, 1e3]}', '{"a": [1.00]}', null, null), (4, '"\\u0000"', '"s"', '[2:2][0:0]={{7}}', '{1.0}'),
    (5, '[{"k":1,"k":2}]', '{}', '{NULL}', '{"{\\"a\\":1}"}');
create table log (what text);
create function log() returns trigger language plpgsql as $$ begin insert into log values (tg_argv[0]); return coalesce(new, old); end $$;
create trigger log1 after update of raw, b, l on texts for each row execute function log('raw');
create trigger log2 after update on texts for each row execute function log('row');
"""
JSON_LAYOUT = {"routes": [
    {"path": "/row/{texts.id}.json", "row": "texts"}, {"path": "/note/{texts.id}", "column": "texts.note"},
    {"path": "/raw/{texts.id}.json", "column": "texts.raw"}, {"path": "/b/{texts.id}.json", "column": "texts.b"},
    {"path": "/array.json", "rows": "texts", "as": "array"}, {"path": "/object.json", "rows": "texts", "by": "id"},
    {"path": "/nokey.json", "rows": "texts", "as": "array", "columns": ["note", "raw", "b", "l"]},
    {"path": "/nokey.jsonl", "rows": "texts", "columns": ["note", "raw", "b", "l"]},
    {"path": "/nokey.csv", "rows": "texts", "columns": ["note", "raw", "b", "l"]},
    {"path": "/numbers.csv", "rows": "texts", "columns": ["id", "note", "n"]},
    {"path": "/nokeynumbers.csv", "rows": "texts", "columns": ["note", "n"]},
    {"path": "/all.jsonl", "rows": "texts"}, {"path": "/all.csv", "rows": "texts", "columns": ["id", "note", "raw", "b", "l"]},
]}


@pytest.fixture
def texts(pg, make_mount):
    pg.sql(JSON_SQL)
    return Shop(make_mount(layout=JSON_LAYOUT), pg)


def kept(box):
    return box.sql("select id, raw::text, b::text, l::text, js::text, n::text from texts order by id")


@pytest.mark.parametrize("way", [emptied, in_place], ids=lambda w: w.__name__)
def test_another_column_changes_and_these_stay(texts, way):
    """SQL NULL and the null of JSON, \\u0000, keys that stand twice, the scale of numbers, the bounds of arrays."""
    before = kept(texts)
    for name in (r["path"].lstrip("/") for r in JSON_LAYOUT["routes"] if "{" not in r["path"]):
        old = texts.sql("select xmin::text, ctid::text from texts where id = 1")
        head, tail = texts.m.bytes(name).split(b"old", 1)
        way(texts.m.at(name), head + b"old" + tail.replace(b"old", b"new"))
        assert texts.sql("select id, note from texts order by id") == [(1, "old"), (2, "new"), (3, "new"), (4, "new"), (5, "new")], name
        assert kept(texts) == before, name
        assert texts.sql("select xmin::text, ctid::text from texts where id = 1") == old, name
        texts.sql("update texts set note = 'old' where note <> 'old'; delete from log")


def test_of_a_row_only_what_differs_is_set(texts):
    before = kept(texts)
    for i in range(1, 6):
        text = texts.m.read(f"row/{i}.json")
        assert text.count('"old"') == 1
        texts.sql("delete from log")
        emptied(texts.m.at(f"row/{i}.json"), text.replace('"old"', '"new"').encode())
        assert texts.one("select note from texts where id = %s", i) == "new"
        assert texts.sql("select what from log") == [("row",)]  # no trigger of UPDATE OF raw, b, l
    assert kept(texts) == before


def test_which_null_it_is(texts):
    """What is new: null in JSON is SQL NULL; in a field of CSV or a column's file it is the null of JSON."""
    def nulls(i):
        return texts.sql("select coalesce(raw::text, 'SQL'), coalesce(b::text, 'SQL') from texts where id = %s", i)[0]
    texts.m.write("row/4.json", {"raw": None, "b": None})
    assert nulls(4) == ("SQL", "SQL")
    texts.m.append("all.jsonl", '{"id": 6, "raw": null, "b": null}\n{"id": 7, "raw": "null", "b": [null]}\n')
    assert (nulls(6), nulls(7)) == (("SQL", "SQL"), ('"null"', "[null]"))
    texts.m.append("all.csv", "8,x,null,,\n9,x,,null,\n")
    assert (nulls(8), nulls(9)) == (("null", "SQL"), ("SQL", "null"))
    texts.m.write("all.csv", texts.m.read("all.csv").replace("\n8,x,null,,", "\n8,x,,null,").replace("\n9,x", "\n9,y"))
    assert (nulls(8), nulls(9)) == (("SQL", "null"), ("SQL", "null"))
    for column in ("raw", "b"):
        assert texts.m.read(f"{column}/4.json") == texts.m.read(f"{column}/2.json") == "null\n"
        texts.m.write(f"{column}/4.json", "null\n")
        texts.m.write(f"{column}/2.json", "null\n")
        texts.m.write(f"{column}/3.json", "null\n")
    assert (nulls(4), nulls(2), nulls(3)) == (("SQL", "SQL"), ("null", "null"), ("null", "null"))


def test_what_jsonb_cannot_keep_is_refused(texts):
    """json keeps a text as it is; jsonb would settle it silently."""
    before = kept(texts)
    for text, word in (('{"b": {"k": 1, "k": 2}}', "twice"), ('{"raw": 1, "raw": 2}', "twice"), ('{"b": "\\u0000"}', "u0000"),
                       ('{"note": "\\u0000"}', "u0000")):
        texts.m.refuses(lambda t=text: texts.m.write("row/3.json", t), errno.EINVAL, word, path="/row/3.json", keeps=text)
    assert kept(texts) == before
    texts.m.write("row/3.json", '{"raw": {"k": "\\u0000", "k": 2}, "b": {"k": [1.50]}}')
    assert texts.sql("select raw::text, b::text from texts where id = 3") == [('{"k": "\\u0000", "k": 2}', '{"k": [1.50]}')]
