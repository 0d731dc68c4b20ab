"""Layouts: every mistake is told at once, with route, key and column; nothing is mounted then."""
import json

import pytest

from kit import ROOT, run
from mountkit import clean_env, is_mounted, rowfs_binary
from shop import LAYOUT, Shop


def rowfs(*argv, ok=True):
    return run(rowfs_binary(), *argv, ok=ok, env=clean_env(), timeout=60)


@pytest.fixture
def attempt(shop_pg, tmp_path):
    """attempt(layout): what mount and check say about it; both must exit 1, and nothing is mounted."""
    def go(layout):
        path = tmp_path / "layout.json"
        path.write_text(layout if isinstance(layout, str) else json.dumps(layout, ensure_ascii=False), encoding="utf-8")
        mountpoint = tmp_path / "m"
        mountpoint.mkdir(exist_ok=True)
        done = rowfs("mount", "--layout", path, "-o", f"state_dir={tmp_path / 'state'}", shop_pg.conninfo, mountpoint, ok=False)
        assert done.returncode == 1, done
        assert not is_mounted(mountpoint)
        checked = rowfs("check", path, shop_pg.conninfo, ok=False)
        assert checked.returncode == 1, checked
        assert "Sanitizer" not in done.stderr + checked.stderr
        return done.stderr, checked.stdout + checked.stderr
    return go


def routes(*list_of_routes, **more):
    return {"routes": list(list_of_routes), **more}


MISTAKES = [
    ("unknown table", {"path": "/x/{nope.id}.json", "row": "nope"}, ["/x/{nope.id}.json", "nope"]),
    ("unknown schema", {"path": "/x.jsonl", "rows": "none.items"}, ["/x.jsonl", "none.items"]),
    ("unknown column", {"path": "/x/{items.name}/c", "column": "items.colour"}, ["/x/{items.name}/c", "colour"]),
    ("unknown key column", {"path": "/x/{items.nome}/q", "column": "items.qty"}, ["/x/{items.nome}/q", "nome"]),
    ("key of no table on the path", {"path": "/x/{boxes.id}/q", "column": "items.qty"}, ["/x/{boxes.id}/q"]),
    ("a key that determines no row", {"path": "/x/{items.qty}.json", "row": "items"}, ["/x/{items.qty}.json", "items"]),
    ("no kind", {"path": "/x.json"}, ["/x.json"]),
    ("two kinds", {"path": "/x/{items.name}.json", "row": "items", "rows": "items"}, ["/x/{items.name}.json"]),
    ("unknown word", {"path": "/x.jsonl", "rows": "items", "colour": 1}, ["/x.jsonl", "colour"]),
    ("no slash", {"path": "x.jsonl", "rows": "items"}, ["x.jsonl"]),
    ("brace open", {"path": "/x/{items.name/q", "column": "items.qty"}, ["/x/{items.name/q"]),
    ("empty key", {"path": "/x/{}/q", "column": "items.qty"}, ["/x/{}/q"]),
    ("dot dot", {"path": "/x/../q.jsonl", "rows": "items"}, ["/x/../q.jsonl"]),
    ("empty component", {"path": "/x//q.jsonl", "rows": "items"}, ["/x//q.jsonl"]),
    ("adjacent keys", {"path": "/x/{a}{b}.json", "row": "pairs"}, ["/x/{a}{b}.json"]),
    ("rows in an unknown format", {"path": "/x.xml", "rows": "items"}, ["/x.xml"]),
    ("unknown order column", {"path": "/x.csv", "rows": "items", "order": ["nome"]}, ["/x.csv", "nome"]),
    ("unknown column in columns", {"path": "/x.csv", "rows": "items", "columns": ["name", "nome"]}, ["/x.csv", "nome"]),
    ("overflow is no json", {"path": "/x/{items.name}.json", "row": "items", "overflow": "note"}, ["/x/{items.name}.json", "note"]),
    ("overflow is no column", {"path": "/x/{items.name}.json", "row": "items", "overflow": "nome"}, ["/x/{items.name}.json", "nome"]),
    ("unknown mtime", {"path": "/x/{items.name}.json", "row": "items", "mtime": "nome"}, ["/x/{items.name}.json", "nome"]),
    ("mtime is no time", {"path": "/x/{items.name}.json", "row": "items", "mtime": "qty"}, ["/x/{items.name}.json", "qty"]),
    ("bucket of a text", {"path": "/x/{day}.csv", "rows": "items", "keys": {"day": {"column": "note", "format": "%Y"}}}, ["/x/{day}.csv", "note"]),
    ("bucket without a unit", {"path": "/x/{day}.csv", "rows": "book", "keys": {"day": {"column": "timestamp", "format": "%Y"}}},
     ["/x/{day}.csv", "unit"]),
    ("bad bucket format", {"path": "/x/{day}.csv", "rows": "book", "keys": {"day": {"column": "timestamp", "unit": "us", "format": "%q"}}},
     ["/x/{day}.csv", "format"]),
    ("bad unit", {"path": "/x/{day}.csv", "rows": "book", "keys": {"day": {"column": "timestamp", "unit": "y", "format": "%Y"}}},
     ["/x/{day}.csv", "unit"]),
    ("unknown query", {"path": "/x.json", "query": "no_such_function"}, ["/x.json", "no_such_function"]),
    ("missing argument", {"path": "/x/{a}.json", "query": "add_up"}, ["/x/{a}.json", "b"]),
    ("unknown parameter", {"path": "/x/{a}+{b}+{c}.json", "query": "add_up"}, ["/x/{a}+{b}+{c}.json", "c"]),
    ("unjoined tables", {"path": "/x/{boxes.id}/{items.name}.json", "row": "items"}, ["/x/{boxes.id}/{items.name}.json", "boxes", "items"]),
    ("truncate", {"path": "/x.csv", "rows": "items", "truncate": "maybe"}, ["/x.csv", "truncate"]),
    ("a word of the wrong type", {"path": "/x.csv", "rows": "items", "order": "name"}, ["/x.csv", "order"]),
    ("the control directory", {"path": "/.rowfs/x.jsonl", "rows": "items"}, ["/.rowfs"]),
]


@pytest.mark.parametrize("route, words", [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_a_mistake_is_named(attempt, route, words):
    for text in attempt(routes(route)):
        for word in words:
            assert word in text, text


def test_all_mistakes_are_told_at_once(attempt):
    bad = [m[1] for m in MISTAKES if m[0] in ("unknown table", "unknown column", "unknown key column", "unknown order column", "unknown query",
                                              "rows in an unknown format", "no kind", "unknown word")]
    bad = [{**r, "path": r["path"].replace("/x", f"/x{i}")} for i, r in enumerate(bad)]
    for text in attempt(routes(LAYOUT["routes"][0], *bad)):
        for route in bad:
            assert route["path"] in text, f"{route['path']} is not named in:\n{text}"
        assert LAYOUT["routes"][0]["path"] not in text


@pytest.mark.parametrize("first, second", [
    ({"path": "/x.jsonl", "rows": "items"}, {"path": "/x.jsonl", "rows": "log"}),
    ({"path": "/x/{items.name}/a", "column": "items.qty"}, {"path": "/x/{items.name}/a", "column": "items.note"}),
    ({"path": "/x", "column": "items.qty"}, {"path": "/x/{items.name}/a", "column": "items.note"}),
    ({"path": "/x/{items.name}.json", "row": "items"}, {"path": "/x/{boxes.id}.json", "row": "boxes"})])
def test_two_routes_on_one_path(attempt, first, second):
    for text in attempt(routes(first, second)):
        assert first["path"] in text and second["path"] in text


def test_ambiguous_join(attempt, shop_pg, make_mount):
    shop_pg.sql("create table edges (id integer primary key, source integer references boxes, target integer references boxes)")
    route = {"path": "/boxes/{boxes.id}/out/{edges.id}.json", "row": "edges"}
    for text in attempt(routes(route)):
        assert "edges" in text and "boxes" in text and "parent" in text
    shop_pg.sql("insert into boxes values (1, 'a'), (2, 'b'); insert into edges values (7, 1, 2)")
    m = make_mount(layout=routes(route, tables={"edges": {"parent": {"boxes": "target"}}}))
    assert m.ls("boxes/1/out") == [] and m.ls("boxes/2/out") == ["7.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"routes": {}}', '{"routes": [3]}', '{"routes": [], "colour": 1}', '{"routes": []} x',
                                  '{"routes": [{"path": 3, "rows": "items"}]}', '{"tables": {"nope": {}}, "routes": []}',
                                  '{"timers": [{"call": "nope", "every": "cleanup_interval"}], "routes": []}',
                                  '{"timers": [{"call": "version", "every": "no_such_option"}], "routes": []}'])
def test_broken_layout_files(attempt, text):
    for said in attempt(text):
        assert said.strip()


def test_unreadable_layouts(shop_pg, tmp_path):
    mountpoint = tmp_path / "m"
    mountpoint.mkdir()
    for path in (tmp_path / "missing.json", tmp_path):
        done = rowfs("mount", "--layout", path, shop_pg.conninfo, mountpoint, ok=False)
        assert done.returncode == 1 and str(path) in done.stderr, done


def test_check_of_a_good_layout(shop_pg, tmp_path, pg):
    path = tmp_path / "layout.json"
    path.write_text(json.dumps(LAYOUT), encoding="utf-8")
    done = rowfs("check", path, shop_pg.conninfo)
    assert done.returncode == 0 and done.stderr == ""
    rowfs("check", ROOT / "schema/voice-assistant/layout.json", pg.conninfo)


def test_check_without_a_database(tmp_path):
    path = tmp_path / "layout.json"
    path.write_text(json.dumps(LAYOUT), encoding="utf-8")
    done = rowfs("check", path, "host=/nonexistent dbname=x connect_timeout=1", ok=False)
    assert done.returncode != 0 and "/nonexistent" in done.stderr


def test_odd_identifiers(pg, make_mount):
    """Mixed case, quotes, spaces, other scripts, reserved words: identifiers come from the catalog, quoted."""
    pg.sql('create schema "Odd ""Schema"""; create table "Odd ""Schema"""."Заказы Table" ("Ключ" text primary key, "select" integer, '
           '"a""b" text, "x y" date)')
    table = 'Odd "Schema".Заказы Table'
    m = make_mount(layout=routes({"path": "/t/{Ключ}/row.json", "row": table}, {"path": "/t/{Ключ}/n", "column": f"{table}.select"},
                                 {"path": "/t.csv", "rows": table}))
    m.mkdir("t/каша")
    m.write("t/каша/n", "5\n")
    assert m.json("t/каша/row.json") == {"Ключ": "каша", "select": 5, 'a"b': None, "x y": None}
    m.append("t.csv", "b,1,x,2024-01-01\n")
    assert m.read("t.csv").splitlines()[0] == 'Ключ,select,"a""b",x y'
    assert pg.one('select count(*) from "Odd ""Schema"""."Заказы Table"') == 2


def test_views_with_a_declared_key(shop_pg, make_mount):
    shop_pg.sql("create view small_items as select name, qty, note from items where qty < 10 with check option")
    m = make_mount(layout=routes({"path": "/small/{small_items.name}.json", "row": "small_items"},
                                 tables={"small_items": {"key": ["name"]}}))
    shop = Shop(m, shop_pg)
    shop.add("bolt", qty=3)
    shop.add("big", qty=30)
    assert m.ls("small") == ["bolt.json"]
    m.write("small/bolt.json", {"qty": 4})
    m.write("small/nut.json", {"qty": 5, "note": "n"})
    assert shop.sql("select name, qty from items order by 1") == [("big", 30), ("bolt", 4), ("nut", 5)]
    with pytest.raises(OSError):
        m.write("small/bolt.json", {"qty": 40})


def test_other_tables(pg, make_mount):
    """Composite keys, partitions, identity, domains, arrays, ranges, a table without a key."""
    pg.sql("create domain posint as integer check (value > 0); create table reading (place text, at date, n posint, span int4range, vals float8[], "
           "primary key (place, at)) partition by range (at); create table reading_a partition of reading for values from ('2024-01-01') to "
           "('2025-01-01'); create table ident (id integer generated always as identity primary key, t text); create table heap (a integer, b text)")
    m = make_mount(layout=routes({"path": "/reading/{place}/{at}.json", "row": "reading"}, {"path": "/ident.csv", "rows": "ident", "columns": ["t"]},
                                 {"path": "/ident/{ident.id}.json", "row": "ident"}, {"path": "/heap.jsonl", "rows": "heap"}))
    (m.at("reading/home")).mkdir()
    m.write("reading/home/2024-05-01.json", {"n": 5, "span": "[1,5)", "vals": [1.5, None]})
    assert pg.sql("select place, at::text, n, span::text, vals from reading") == [("home", "2024-05-01", 5, "[1,5)", [1.5, None])]
    assert m.json("reading/home/2024-05-01.json") == {"place": "home", "at": "2024-05-01", "n": 5, "span": "[1,5)", "vals": [1.5, None]}
    with pytest.raises(OSError):
        m.write("reading/home/2024-05-02.json", {"n": -5})
    with pytest.raises(OSError):
        m.write("reading/home/2026-05-02.json", {"n": 5})
    m.append("ident.csv", "x\ny\n")
    assert pg.sql("select id, t from ident order by id") == [(1, "x"), (2, "y")]
    m.write("ident/1.json", {"t": "z"})
    m.append("heap.jsonl", '{"a": 1}\n{"a": 1}\n')
    assert m.jsonl("heap.jsonl") == [{"a": 1, "b": None}] * 2
