"""Many rows as one JSON document: read whole, rewritten atomically (SEMANTICS.md, "Table documents")."""
import errno
import json
import os
import tempfile
import threading

import pytest

from kit import refused, rm
from shop import Shop

SQL = """
create table settings (
    id serial primary key, name text not null unique, value jsonb, price numeric(20,8), note text, raw json,
    tags text[], updated_at timestamptz not null default '2020-01-01Z', extra jsonb, twice integer generated always as (id * 2) stored);
create table used (id serial primary key, setting integer not null references settings);
create table touched (n serial primary key, op text, name text);
create function touch() returns trigger language plpgsql as $$ begin
    insert into touched (op, name) values (tg_op, coalesce(new.name, old.name));
    if tg_op = 'UPDATE' then new.updated_at := '2030-01-01Z'; end if;
    return coalesce(new, old); end $$;
create trigger settings_touch before insert or update or delete on settings for each row execute function touch();
create table owner (name text primary key);
create table note (id serial primary key, owner text not null references owner on delete cascade on update cascade,
                   text text not null default 'empty', pinned boolean);
create table loose (a integer, b text);
create table ident (id integer generated always as identity primary key, text text);
create table slot (kind text, n integer, text text, primary key (kind, n));
"""

COLUMNS = ["value", "price", "note", "raw", "tags"]
LAYOUT = {"routes": [
    {"path": "/settings.json", "rows": "settings", "as": "object", "by": "name", "columns": ["name", *COLUMNS]},
    {"path": "/list.json", "rows": "settings", "as": "array", "columns": ["id", "name", "value", "note"], "order": ["name"]},
    {"path": "/over.json", "rows": "settings", "by": "name", "overflow": "extra", "columns": ["name", "note", "extra"]},
    {"path": "/fixed.json", "rows": "settings", "by": "name", "truncate": "refuse", "remove": "refuse"},
    {"path": "/owner/{owner.name}/owner.json", "row": "owner"},
    {"path": "/owner/{owner.name}/notes.json", "rows": "note", "as": "array", "order": ["id"]},
    {"path": "/notes/{owner.name}.json", "rows": "note", "as": "array", "columns": ["id", "text"]},
    {"path": "/kinds/{kind}.json", "rows": "slot", "by": "n"},
    {"path": "/loose.json", "rows": "loose", "as": "array", "order": ["a"]},
    {"path": "/ident.json", "rows": "ident", "as": "array"},
]}


@pytest.fixture
def box(pg, make_mount):
    pg.sql(SQL)
    return Shop(make_mount(layout=LAYOUT, options={"coherence": "ttl=0"}), pg)


def fill(box):
    box.sql("""insert into settings (name, value, price, note, raw, tags) values
        ('dark', '{"on": true, "list": [1, {"a": "x\\ny"}]}', 12345678901.00000001, 'Grüße', '{ "b":1,  "a":2 }', '{a,"b c"}'),
        ('size', '12', null, null, null, null), ('zoom', null, 1.5, E'two\\nlines', '[1,\n2]', '{}')""")
    box.sql("delete from touched")


def rows(box, columns="name, value::text, price::text, note, raw::text, tags::text", table="settings", order="1"):
    return box.sql(f"select {columns} from {table} order by {order}")


def expected(box):
    """What Python's json makes of the rows that SQL tells."""
    out = {}
    for name, value, price, note, raw, tags in box.sql(
            "select name, value::text, price, note, raw::text, to_json(tags)::text from settings order by id"):
        out[name] = {"value": json.loads(value or "null"), "price": None if price is None else price, "note": note,
                     "raw": json.loads(raw or "null"), "tags": json.loads(tags or "null")}
    return out


# -- reading ----------------------------------------------------------------------------------------------------------------------

def test_empty_is_an_empty_list_or_object(box):
    assert box.m.read("settings.json") == "{}\n"
    assert box.m.read("list.json") == "[]\n"
    assert sorted(set(box.m.ls()) & {"settings.json", "list.json"}) == ["list.json", "settings.json"]


def test_object_as_python_would_print_it(box):
    fill(box)
    from decimal import Decimal
    text = box.m.read("settings.json")
    got = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    want = expected(box)
    assert list(got) == list(want) == ["dark", "size", "zoom"]
    assert got == want
    assert os.stat(box.m.at("settings.json")).st_size == len(text.encode())


def test_array_in_the_routes_order_and_indented_by_four(box):
    box.sql("insert into settings (name, value) values ('b', '{\"k\": [1]}'), ('a', '2')")
    want = [{"id": i, "name": n, "value": v, "note": None} for i, n, v in box.sql("select id, name, value from settings order by name")]
    assert box.m.read("list.json") == json.dumps(want, indent=4) + "\n"


def test_below_a_key_only_what_belongs_there(box):
    box.sql("insert into owner values ('ann'), ('bob'), ('eve')")
    box.sql("insert into note (owner, text) values ('ann', '1'), ('bob', '2'), ('ann', '3')")
    assert [n["text"] for n in box.m.json("owner/ann/notes.json")] == ["1", "3"]
    assert box.m.ls("notes") == ["ann.json", "bob.json", "eve.json"]
    assert [n["text"] for n in box.m.json("notes/bob.json")] == ["2"]
    assert box.m.json("notes/eve.json") == []
    assert not box.m.exists("notes/tom.json") and not box.m.exists("owner/tom")


def test_keys_of_the_rows_themselves_exist_while_they_have_rows(box):
    assert box.m.ls("kinds") == []
    box.sql("insert into slot values ('x', 1, 'one'), ('x', 2, 'two'), ('y', 1, 'other')")
    assert box.m.ls("kinds") == ["x.json", "y.json"]
    assert box.m.json("kinds/x.json") == {"1": {"kind": "x", "text": "one"}, "2": {"kind": "x", "text": "two"}}
    box.m.write("kinds/y.json", {})
    assert not box.m.exists("kinds/y.json")
    assert rows(box, "kind, n, text", "slot", "1, 2") == [("x", 1, "one"), ("x", 2, "two")]
    box.m.write("kinds/z.json", {"7": {"text": "new"}})
    assert box.sql("select kind, n, text from slot where kind = 'z'") == [("z", 7, "new")]


def test_an_open_document_is_a_snapshot(box):
    fill(box)
    with open(box.m.at("settings.json"), encoding="utf-8") as f:
        box.sql("delete from settings")
        assert len(json.load(f)) == 3
    assert box.m.json("settings.json") == {}


# -- writing ----------------------------------------------------------------------------------------------------------------------

def test_written_back_as_read_touches_nothing(box):
    fill(box)
    for name in ("settings.json", "list.json", "over.json"):
        before, text = rows(box, "*, xmin::text"), box.m.read(name)
        box.m.write(name, text)
        assert rows(box, "*, xmin::text") == before
        assert box.m.read(name) == text
    assert box.sql("select op, name from touched") == []


def test_updates_inserts_and_deletes_in_one(box):
    fill(box)
    ids = dict(box.sql("select name, id from settings"))
    doc = box.m.json("settings.json")
    del doc["size"], doc["dark"]["raw"], doc["dark"]["price"]  # as Python prints them, they are other texts
    doc["zoom"]["note"] = "changed"
    doc["new"] = {"value": [1, 2], "price": 0.1}
    box.m.write("settings.json", doc)
    assert sorted(box.sql("select op, name from touched")) == [("DELETE", "size"), ("INSERT", "new"), ("UPDATE", "zoom")]
    assert dict(box.sql("select name, id from settings where name <> 'new'")) == {n: ids[n] for n in ("dark", "zoom")}
    assert box.sql("select note, updated_at = '2030-01-01Z' from settings where name = 'zoom'") == [("changed", True)]
    assert box.sql("select updated_at = '2020-01-01Z' from settings where name = 'dark'") == [(True,)]
    assert box.sql("select value::text, price::text, note from settings where name = 'new'") == [("[1, 2]", "0.10000000", None)]


def test_what_is_left_out_keeps_its_value(box):
    fill(box)
    box.m.write("settings.json", {"dark": {"note": "x"}, "size": {}, "zoom": {"note": None}})
    assert box.sql("select name, price::text, note, tags::text from settings order by 1") == [
        ("dark", "12345678901.00000001", "x", '{a,"b c"}'), ("size", None, None, None), ("zoom", "1.50000000", None, "{}")]


def test_different_sets_of_keys_in_a_list(box):
    box.m.write("list.json", [{"name": "a"}, {"name": "b", "note": "n"}, {"note": "m", "name": "c", "value": 1}, {"value": 2, "name": "d"}])
    assert rows(box, "name, value::text, note") == [("a", None, None), ("b", None, "n"), ("c", "1", "m"), ("d", "2", None)]


def test_a_list_goes_by_the_key_and_its_order_numbers_the_new(box):
    box.m.write("ident.json", [{"text": t} for t in "zyxw"])
    got = box.m.json("ident.json")
    assert [r["text"] for r in got] == list("zyxw") and [r["id"] for r in got] == [1, 2, 3, 4]
    box.m.write("ident.json", [got[2], {"id": 1, "text": "changed"}, {"text": "new"}, {"id": 77, "text": "given"}])
    assert rows(box, "id, text", "ident") == [(1, "changed"), (3, "x"), (5, "new"), (77, "given")]


def test_without_a_key_the_rows_are_replaced(box):
    box.sql("insert into loose values (1, 'x'), (1, 'x')")
    assert box.m.json("loose.json") == [{"a": 1, "b": "x"}] * 2
    box.m.write("loose.json", [{"a": 2, "b": "y"}, {"a": 1}, {"a": 1}])
    assert rows(box, "a, b", "loose") == [(1, None), (1, None), (2, "y")]


def test_keys_of_the_path_are_filled_in_and_others_rows_stay(box):
    box.sql("insert into owner values ('ann'), ('bob')")
    box.sql("insert into note (owner, text) values ('bob', 'his')")
    box.m.write("owner/ann/notes.json", [{"text": "a"}, {"owner": "ann"}])
    assert rows(box, "owner, text", "note", "id") == [("bob", "his"), ("ann", "a"), ("ann", "empty")]
    box.m.write("owner/ann/notes.json", [])
    assert rows(box, "owner, text", "note", "id") == [("bob", "his")]


def test_overflow_takes_unknown_keys(box):
    box.m.write("over.json", {"a": {"note": "n", "colour": "red", "deep": {"x": [1]}}})
    assert box.sql("select note, extra from settings") == [("n", {"colour": "red", "deep": {"x": [1]}})]
    box.m.write("over.json", {"a": {"size": 3}})
    assert box.sql("select note, extra from settings") == [("n", {"colour": "red", "deep": {"x": [1]}, "size": 3})]


def test_a_unique_value_moves_from_a_row_that_goes_to_one_that_comes(box):
    box.m.write("list.json", [{"id": 1, "name": "a"}])
    box.m.write("list.json", [{"id": 2, "name": "a"}])
    assert rows(box, "id, name") == [(2, "a")]


def test_the_object_may_repeat_its_own_name(box):
    box.m.write("settings.json", {"a": {"name": "a", "note": "x"}, 'q"\n': {"name": 'q"\n'}})
    assert rows(box, "name, note") == [("a", "x"), ('q"\n', None)]
    box.m.write("kinds/k.json", {"1": {"n": 1}, "2": {"n": "2"}})
    assert rows(box, "kind, n", "slot") == [("k", 1), ("k", 2)]


# -- refusals: all of it or nothing -------------------------------------------------------------------------------------------------

REFUSED = [
    ("settings.json", {"a": {"nope": 1, "nada": 2}}, ["nope", "nada"]),
    ("settings.json", {"a": {"price": 1}, "b": {"price": "x"}}, ["numeric"]),
    ("settings.json", {"a": 1}, ["object"]),
    ("settings.json", [{"name": "a"}], ["object"]),
    ("settings.json", '{"a": {}, "a": {}}', ["the key", "twice"]),
    ("settings.json", '{"a": {"note": "1", "note": "2"}}', ["note", "twice"]),
    ("settings.json", {"a": {"name": "b"}}, ["a", "name"]),
    ("settings.json", '{"a": {}', ["JSON"]),
    ("settings.json", "", ["empty"]),
    ("settings.json", '{"a": {}} x', ["JSON"]),
    ("list.json", {"a": {}}, ["array"]),
    ("list.json", [1], ["object"]),
    ("list.json", [{"id": 5, "name": "a"}, {"id": 5, "name": "b"}], ["5", "twice"]),
    ("list.json", [{"id": 5, "name": "a"}, {"name": "b", "id": 5, "note": "n"}], ["5", "twice"]),
    ("list.json", [{"note": "no name"}], ["name"]),
    ("kinds/x.json", {"1": {}, "01": {}}, ["1", "twice"]),
    ("kinds/x.json", {"one": {}}, ["integer"]),
    ("kinds/x.json", {"1": {"kind": "y"}}, ["path"]),
    ("owner/ann/notes.json", [{"owner": "bob"}], ["path"]),
]


@pytest.mark.parametrize("name, doc, words", REFUSED, ids=[f"{n}-{json.dumps(d)[:40]}" for n, d, _ in REFUSED])
def test_a_refused_document_changes_nothing(box, name, doc, words):
    fill(box)
    box.sql("insert into owner values ('ann'), ('bob')")
    box.sql("insert into note (owner) values ('ann')")
    box.sql("insert into slot values ('x', 9, 'old')")
    before = [rows(box, "*", t) for t in ("settings", "note", "slot")]
    text = doc if isinstance(doc, str) else json.dumps(doc)
    said = box.m.refuses(lambda: box.m.write(name, text), errno.EINVAL, *words, path=name, keeps=text or None) \
        if text else empty_is_refused(box, name)
    assert said
    assert [rows(box, "*", t) for t in ("settings", "note", "slot")] == before


def empty_is_refused(box, name):
    """A truncation is only told at the last close; fsync tells it at once."""
    def go():
        with open(box.m.at(name), "w", encoding="utf-8") as f:
            os.fsync(f.fileno())
    return box.m.refuses(go, errno.EINVAL, "empty")


def test_another_files_row_is_not_taken_over(box):
    box.sql("insert into owner values ('ann'), ('bob')")
    box.sql("insert into note (id, owner, text) values (5, 'bob', 'his')")
    box.m.refuses(lambda: box.m.write("owner/ann/notes.json", [{"id": 5, "text": "mine"}]), errno.EEXIST, "5")
    assert rows(box, "id, owner, text", "note") == [(5, "bob", "his")]


def test_rows_that_others_refer_to(box):
    fill(box)
    box.sql("insert into used (setting) select id from settings where name = 'dark'")
    doc = box.m.json("settings.json")
    doc["dark"]["note"] = "changed"
    del doc["size"]
    box.m.write("settings.json", doc)
    assert rows(box, "name, note") == [("dark", "changed"), ("zoom", "two\nlines")]
    box.m.refuses(lambda: box.m.write("settings.json", {"zoom": {"note": "new"}}), errno.ENOTEMPTY, "refer", "used")
    assert rows(box, "name, note") == [("dark", "changed"), ("zoom", "two\nlines")]
    with refused(errno.ENOTEMPTY):
        os.unlink(box.m.at("settings.json"))


def test_refuse_words_of_the_layout(box):
    fill(box)
    before = rows(box, "*")
    assert len(box.m.json("fixed.json")) == 3
    with refused(errno.EPERM):
        box.m.write("fixed.json", {})
    with refused(errno.EPERM):
        os.truncate(box.m.at("fixed.json"), 0)
    with refused(errno.EPERM):
        os.unlink(box.m.at("fixed.json"))
    box.m.write("fixed.json.tmp", "{}")
    with refused(errno.EPERM):
        os.replace(box.m.at("fixed.json.tmp"), box.m.at("fixed.json"))
    assert rows(box, "*") == before


def test_remove_deletes_the_rows_and_the_name_stays(box):
    fill(box)
    rm(box.m.at("list.json"))
    assert rows(box) == []
    assert box.m.json("list.json") == []
    os.unlink(box.m.at("list.json"))  # and once more: it has no rows


# -- programs -----------------------------------------------------------------------------------------------------------------------

def replace_by_rename(path, text):
    """As lowdb, write-file-atomic and python-atomicwrites do."""
    fd, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix="." + os.path.basename(path), suffix=".tmp")
    with os.fdopen(fd, "w", encoding="utf-8") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
    os.replace(temporary, path)


def test_lowdb_like_program(box):
    """Reads the whole, changes it in memory, writes a temporary file and renames it, again and again; the model is the same on a dict."""
    path, model = str(box.m.at("settings.json")), {}
    for i in range(30):
        with open(path, encoding="utf-8") as f:
            data = json.load(f)
        assert {k: (v["value"], v["note"]) for k, v in data.items()} == model
        name = f"key{i % 7}"
        if i % 5 == 4:
            data.pop(name, None)
            model.pop(name, None)
        else:
            data[name] = {"value": {"i": i}, "note": f"note {i}"}
            model[name] = ({"i": i}, f"note {i}")
        replace_by_rename(path, json.dumps(data, indent=2))
    assert {n: (v, t) for n, v, t in box.sql("select name, value, note from settings")} == model
    assert [n for n in box.m.ls() if n.endswith(".tmp")] == []


def test_a_refused_rename_keeps_the_temporary_file(box):
    fill(box)
    before = rows(box, "*")
    box.m.write("db.tmp", '{"a": {"nope": 1}}')
    box.m.refuses(lambda: os.replace(box.m.at("db.tmp"), box.m.at("settings.json")), errno.EINVAL, "nope")
    assert box.m.read("db.tmp") == '{"a": {"nope": 1}}'
    assert rows(box, "*") == before


def test_an_editor_with_a_backup(box):
    """vim's way: the file is renamed to a backup, written anew, the backup removed."""
    box.m.write("list.json", [{"id": 1, "name": "a"}])
    os.rename(box.m.at("list.json"), box.m.at("list.json~"))
    assert not box.m.exists("list.json")
    box.m.write("list.json", [{"id": 1, "name": "b"}])
    os.unlink(box.m.at("list.json~"))
    assert rows(box, "id, name") == [(1, "b")]
    assert box.m.json("list.json")[0]["name"] == "b"


def test_readers_never_see_a_mixture(box):
    """One writer turns all rows from one value to the next; each reading shows one value only."""
    names, stop, seen = [f"k{i:03}" for i in range(200)], threading.Event(), set()
    box.m.write("settings.json", {n: {"note": "0"} for n in names})
    wrong = []

    def read():
        while not stop.is_set():
            doc = box.m.json("settings.json")
            notes = {v["note"] for v in doc.values()}
            seen.update(notes)
            if len(doc) != 200 or len(notes) != 1:
                wrong.append((len(doc), notes))
    threads = [threading.Thread(target=read) for _ in range(2)]
    for t in threads:
        t.start()
    for i in range(1, 16):
        box.m.write("settings.json", {n: {"note": str(i)} for n in names})
    stop.set()
    for t in threads:
        t.join()
    assert not wrong and len(seen) > 1


def test_two_writers_at_once_both_land_whole(box):
    """Each writes its own set of names; at the end one of the two sets is there, whole, and no writer failed."""
    failed = []

    def write(who):
        for i in range(15):
            try:
                box.m.write("settings.json", {f"shared{k}": {"note": who} for k in range(20)})
            except OSError as e:
                failed.append((who, i, e))
    threads = [threading.Thread(target=write, args=(w,)) for w in "ab"]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert failed == []
    assert len(rows(box)) == 20
    assert set(box.sql("select distinct note from settings")) in ({("a",)}, {("b",)})


def test_many_rows(box):
    doc = {f"name {i}": {"value": {"n": i}, "price": i / 8} for i in range(5000)}
    box.m.write("settings.json", doc)
    assert box.one("select count(*), sum(price) from settings") is not None
    assert box.sql("select count(*), sum(price) from settings") == [(5000, sum(i / 8 for i in range(5000)))]
    got = box.m.json("settings.json")
    assert {k: v["value"] for k, v in got.items()} == {k: v["value"] for k, v in doc.items()}


# -- layouts ------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("route, words", [
    ({"path": "/x.json", "rows": "settings"}, ["/x.json", "array", "by"]),
    ({"path": "/x.json", "rows": "settings", "as": "array", "by": "name"}, ["/x.json", "array", "by"]),
    ({"path": "/x.json", "rows": "settings", "by": "nome"}, ["/x.json", "nome"]),
    ({"path": "/x.json", "rows": "settings", "by": "note"}, ["/x.json", "note", "unique"]),
    ({"path": "/x.json", "rows": "slot", "by": "n"}, ["/x.json", "n", "unique"]),
], ids=["neither", "both", "no column", "not unique", "half a key"])
def test_mistakes_in_the_layout(pg, tmp_path, route, words):
    from kit import run
    from mountkit import clean_env, rowfs_binary
    pg.sql(SQL)
    path = tmp_path / "layout.json"
    path.write_text(json.dumps({"routes": [route]}), encoding="utf-8")
    done = run(rowfs_binary(), "check", path, pg.conninfo, ok=False, env=clean_env(), timeout=60)
    assert done.returncode == 1
    for word in words:
        assert word in done.stdout + done.stderr
