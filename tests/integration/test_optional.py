"""Layouts of which a database has only a part: what is missing is left out and said, if the layout is optional."""
import errno
import json
import re

import pytest

import kit
from kit import ROOT, refused, run, until
from mountkit import clean_env, is_mounted, rowfs_binary

LAYOUTS = {name: json.loads((ROOT / "schema" / name / "layout.json").read_text(encoding="utf-8")) for name in ("voice-assistant", "orderbook")}
BUILT_IN = [route["path"] for layout in LAYOUTS.values() for route in layout["routes"]]
SENTENCE = re.compile(r"^rowfs: (?:(?:table or view|view or function|table|function) (\S+) does not exist"
                      r"|column \"(.+?)\" does not exist in (\S+)); left out: (.*)$")


def check(layout, conninfo, tmp_path, ok=True):
    """What `rowfs check` says of a layout (None: the built-in one)."""
    path = tmp_path / "layout.json"
    if layout is None:
        whole = {"optional": True}
        for part in LAYOUTS.values():
            for word in ("tables", "routes", "timers"):
                value = part.get(word, type(next(iter(LAYOUTS.values()))[word])())
                whole[word] = {**whole.get(word, {}), **value} if isinstance(value, dict) else whole.get(word, []) + value
        layout = whole
    path.write_text(json.dumps(layout), encoding="utf-8")
    return run(rowfs_binary(), "check", path, conninfo, ok=ok, env=clean_env())


def said(text):
    """{what is missing: [what is left out]} of the sentences in TEXT; nothing else may be there."""
    found = {}
    for line in text.splitlines():
        match = SENTENCE.match(line)
        assert match, line
        relation, column, of, left = match.groups()
        name = f"{of}.{column}" if column else relation
        assert name not in found, f"{name} is told twice:\n{text}"
        found[name] = left.split(", ")
    return found


def below(paths, prefixes):
    return {path for path in paths if any(path == p or path.startswith(p + "/") for p in prefixes)}


def routes_left(done):
    return int(re.search(r"the layout fits: (\d+) routes", done.stdout)[1])


@pytest.fixture
def bare(server, empty_pg):
    """A database with rowfs's own schema, without a pack."""
    kit.sqitch(empty_pg, "deploy")
    return empty_pg


def pack(pg, name):
    kit.sqitch(pg, "deploy", project=f"schema/{name}")


# -- the built-in layout ----------------------------------------------------------------------------------------------


def test_an_empty_database_is_refused(bare, tmp_path):
    mountpoint = tmp_path / "m"
    mountpoint.mkdir()
    done = run(rowfs_binary(), "mount", "-o", f"state_dir={tmp_path / 'state'}", bare.conninfo, mountpoint, ok=False, env=clean_env())
    assert done.returncode == 1 and not is_mounted(mountpoint)
    for word in ("users", "sessions", "orderbook_data", "get_memory_stats", "no route is left"):
        assert word in done.stderr, done.stderr
    checked = check(None, bare.conninfo, tmp_path, ok=False)
    assert checked.returncode == 1 and "no route is left" in checked.stderr


def test_without_the_order_book(bare, tmp_path, make_mount):
    pack(bare, "voice-assistant")
    done = check(None, bare.conninfo, tmp_path)
    assert said(done.stderr) == {"orderbook_data": ["/orderbook", "/collector"]}
    assert routes_left(done) == len(LAYOUTS["voice-assistant"]["routes"])
    m = make_mount(conninfo=bare.conninfo)
    assert said("\n".join(line for line in m.output().splitlines() if "left out" in line)) == said(done.stderr)
    assert sorted(set(m.ls("")) - {".rowfs"}) == ["memory", "sessions", "users"]
    m.mkdir("users/u1")
    assert bare.sql("select hardware_id_hash from users") == [("u1",)]
    (left_out,) = m.json(".rowfs/status.json")["left_out"]
    assert said("rowfs: " + left_out) == said(done.stderr)
    # the layout is shown as it was read
    assert BUILT_IN == [route["path"] for route in m.json(".rowfs/layout.json")["routes"]]


def test_import_refuses_what_is_left_out(bare, tmp_path, make_mount):
    """A file that would be no rows, but plain, is not counted as copied."""
    pack(bare, "voice-assistant")
    m = make_mount(conninfo=bare.conninfo)
    old = tmp_path / "old"
    (old / "orderbook/e/S").mkdir(parents=True)
    (old / "orderbook/e/S/2025-09-20.csv").write_text("e,S,1758326400000000,1,1,2,3,4\n")
    (old / "notes.txt").write_text("plain\n")
    done = run(rowfs_binary(), "import", old, m.path, ok=False, env=clean_env(XDG_STATE_HOME=str(tmp_path / "state")), timeout=60)
    assert done.returncode == 1
    assert "orderbook/e/S/2025-09-20.csv" in done.stdout + done.stderr and "left_out" in done.stdout + done.stderr
    assert (m / "notes.txt").read_text() == "plain\n" and not (m / "orderbook").exists()


def test_without_the_voice_assistant(bare, tmp_path, make_mount):
    pack(bare, "orderbook")
    done = check(None, bare.conninfo, tmp_path)
    told = said(done.stderr)
    named = {"users", "sessions", "memory_cleanups", "get_memory_stats", "users_with_active_memory", "memory_cleanup_run"}
    assert set(told) >= named
    voice = {route["path"] for route in LAYOUTS["voice-assistant"]["routes"]}
    assert below(BUILT_IN, [p for paths in told.values() for p in paths if p.startswith("/")]) == voice
    assert told["memory_cleanup_run"] == ["the timer that calls it"]
    assert routes_left(done) == len(LAYOUTS["orderbook"]["routes"])
    m = make_mount(conninfo=bare.conninfo)
    assert sorted(set(m.ls("")) - {".rowfs"}) == ["collector", "orderbook"]
    m.write("collector/A_orderbook_1.csv", "binance,A,1735689600000000,1735689600000000,1,2,3,4\n")
    until(lambda: bare.one("select count(*) from orderbook_data") == 1, "the line is a row")
    assert m.ls("orderbook/binance/A") == ["2025-01-01.csv"]


def test_without_a_function(pg, tmp_path, make_mount):
    pg.sql("drop function get_memory_stats()")
    told = said(check(None, pg.conninfo, tmp_path).stderr)
    assert told == {"get_memory_stats": ["/memory/statistics.json"]}
    m = make_mount()
    m.mkdir("users/u1")
    m.write("users/u1/memory/short.txt", "x\n")
    assert m.ls("memory") == ["active", "active.jsonl", "cleanup.jsonl", "u1"]


def test_without_a_column(pg, tmp_path, make_mount):
    pg.sql("alter table users drop column metadata cascade")
    told = said(check(None, pg.conninfo, tmp_path).stderr)
    assert told == {"users.metadata": ["/users/{users.hardware_id_hash}/metadata.json"]}
    m = make_mount()
    m.mkdir("users/u1")
    assert "metadata.json" not in m.ls("users/u1") and "user.json" in m.ls("users/u1")
    assert "metadata" not in m.json("users/u1/user.json")


def test_without_a_column_for_mtime(pg, tmp_path, make_mount):
    """Files are shown all the same, with another time."""
    pg.sql("drop trigger update_users_updated_at on users; alter table users drop column updated_at cascade")
    told = said(check(None, pg.conninfo, tmp_path).stderr)
    assert told == {"users.updated_at": ['"mtime" in "tables"']}
    m = make_mount()
    m.mkdir("users/u1")
    assert "updated_at" not in m.json("users/u1/user.json")


def test_a_view_with_other_columns(pg, tmp_path):
    pg.sql("drop function user_statistics; create view user_statistics as select id, 1 as n from users")
    told = said(check(None, pg.conninfo, tmp_path).stderr)
    assert told == {"user_statistics.hardware_id_hash": ["/users/{users.hardware_id_hash}/statistics.json"]}


def test_what_does_not_fit_otherwise_is_a_mistake(pg, tmp_path):
    pg.sql("drop function user_statistics; create function user_statistics(who text) returns bigint language sql return 1")
    done = check(None, pg.conninfo, tmp_path, ok=False)
    assert done.returncode == 1 and "hardware_id_hash" in done.stderr and "left out" not in done.stderr
    pg.sql("drop function user_statistics; alter table sessions drop constraint sessions_user_id_fkey")
    done = check(None, pg.conninfo, tmp_path, ok=False)
    assert done.returncode == 1 and "no foreign key" in done.stderr


# -- the word ---------------------------------------------------------------------------------------------------------

KEPT = {"path": "/items/{items.name}.json", "row": "items"}
GONE = [
    {"path": "/gone.jsonl", "rows": "nope"},
    {"path": "/items/{items.name}/gone/{nope.id}.json", "row": "nope"},
    {"path": "/over/{nope.id}/{items.name}.json", "row": "items"},
    {"path": "/gone/{items.name}/colour", "column": "items.colour"},
    {"path": "/gone.csv", "rows": "items", "columns": ["name", "colour"]},
    {"path": "/gone-order.csv", "rows": "items", "order": ["colour"]},
    {"path": "/gone-mtime.csv", "rows": "items", "mtime": "colour"},
    {"path": "/gone-overflow/{items.name}.json", "row": "items", "overflow": "colour"},
    {"path": "/gone-by.json", "rows": "items", "by": "colour"},
    {"path": "/gone/{items.colour}.csv", "rows": "items"},
    {"path": "/gone/{day}.csv", "rows": "items", "keys": {"day": {"column": "colour", "format": "%Y"}}},
    {"path": "/gone.json", "query": "no_such_function"},
    {"path": "/in/{n}.csv", "file": True, "ingest": "nope"},
    {"path": "/in/{n}.csv", "file": True, "ingest": "log", "columns": ["colour"]},
    {"path": "/in/{n}.jsonl", "file": True, "ingest": "log", "fields": {"a": "colour"}},
    {"path": "/in/{n}.jsonl", "file": True, "ingest": "log", "overflow": "colour"},
]


@pytest.mark.parametrize("route", GONE, ids=[f"{r['path']}-{n}" for n, r in enumerate(GONE)])
def test_a_route_says_it_for_itself(shop_pg, tmp_path, route):
    """With the word what is missing is left out; without it, it is a mistake."""
    done = check({"routes": [KEPT, {**route, "optional": True}]}, shop_pg.conninfo, tmp_path)
    (told,) = said(done.stderr).items()
    assert told[0] in ("nope", "items.colour", "log.colour", "no_such_function")
    assert len(told[1]) == 1 and below([route["path"]], told[1]) and not below([KEPT["path"]], told[1])
    assert routes_left(done) == 1
    for layout in ({"routes": [KEPT, route]}, {"optional": False, "routes": [KEPT, route]},
                   {"optional": True, "routes": [KEPT, {**route, "optional": False}]}):
        done = check(layout, shop_pg.conninfo, tmp_path, ok=False)
        assert done.returncode == 1 and f"route {route['path']}: " in done.stderr and "left out" not in done.stderr


def test_the_word_is_true_or_false(shop_pg, tmp_path):
    for layout in ({"optional": "yes", "routes": [KEPT]}, {"routes": [{**KEPT, "optional": 1}]}):
        done = check(layout, shop_pg.conninfo, tmp_path, ok=False)
        assert done.returncode == 1 and '"optional" must be true or false' in done.stderr


def test_a_typo_is_told(shop_pg, tmp_path):
    for text in (check({"routes": [KEPT, {"path": "/x.csv", "rows": "itmes"}]}, shop_pg.conninfo, tmp_path, ok=False).stderr,
                 check({"optional": True, "routes": [KEPT, {"path": "/x.csv", "rows": "itmes"}]}, shop_pg.conninfo, tmp_path).stderr):
        assert "itmes" in text and "/x.csv" in text
    # other mistakes are mistakes in an optional layout, too
    done = check({"optional": True, "routes": [KEPT, {"path": "/x.xml", "rows": "items"}]}, shop_pg.conninfo, tmp_path, ok=False)
    assert done.returncode == 1 and "/x.xml" in done.stderr


def test_what_tables_says_of_a_missing_table(shop_pg, tmp_path):
    tables = {"nope": {"mtime": "at", "key": ["id"], "parent": {"items": "item"}}}
    optional = {"path": "/gone.jsonl", "rows": "nope", "optional": True}
    assert said(check({"tables": tables, "routes": [KEPT, optional]}, shop_pg.conninfo, tmp_path).stderr) == {"nope": ["/gone.jsonl"]}
    done = check({"tables": tables, "routes": [KEPT]}, shop_pg.conninfo, tmp_path, ok=False)
    assert "table nope: does not exist" in done.stderr
    done = check({"optional": True, "tables": tables, "routes": [KEPT]}, shop_pg.conninfo, tmp_path)
    assert said(done.stderr) == {"nope": ['what "tables" says of it']}


@pytest.mark.parametrize("word", [{"key": ["colour"]}, {"parent": {"boxes": "colour"}}])
def test_a_key_or_parent_that_is_missing(shop_pg, tmp_path, word):
    """The routes that go over the table are left out: without the word they could mean something else."""
    other = {"path": "/log.jsonl", "rows": "log"}
    layout = {"tables": {"items": word}, "routes": [KEPT, other]}
    assert check(layout, shop_pg.conninfo, tmp_path, ok=False).returncode == 1
    done = check({"optional": True, **layout}, shop_pg.conninfo, tmp_path)
    assert said(done.stderr) == {"items.colour": ["/items"]} and routes_left(done) == 1


def test_timers(shop_pg, tmp_path):
    layout = {"routes": [KEPT], "timers": [{"call": "nope", "every": "cleanup_interval"}]}
    assert "timer: nope" in check(layout, shop_pg.conninfo, tmp_path, ok=False).stderr
    assert said(check({"optional": True, **layout}, shop_pg.conninfo, tmp_path).stderr) == {"nope": ["the timer that calls it"]}
    layout["timers"][0]["call"] = "add_up"  # it is there, and wants arguments
    assert check({"optional": True, **layout}, shop_pg.conninfo, tmp_path, ok=False).returncode == 1


def test_rules_of_paths_that_are_left_out(shop_pg, tmp_path):
    layout = {"optional": True, "routes": [KEPT, {"path": "/a/{nope.id}/b.json", "row": "nope"}]}
    for path in ("/a", "/a/{nope.id}", "/a/{nope.id}/b.json"):
        done = check({**layout, "write": {path: "none"}}, shop_pg.conninfo, tmp_path)
        assert said(done.stderr) == {"nope": ["/a"]}
    for path in ("/b", "/a/{nope.id}/b"):
        assert f"write {path}" in check({**layout, "write": {path: "none"}}, shop_pg.conninfo, tmp_path, ok=False).stderr


def test_a_row_that_stays_stays_without_its_document(shop_pg, make_mount):
    """"remove": "refuse" of a row holds for its columns, although the row's own route is left out."""
    m = make_mount(layout={"optional": True, "routes": [
        {"path": "/items/{items.name}/item.json", "row": "items", "columns": ["name", "colour"], "remove": "refuse"},
        {"path": "/items/{items.name}/note.txt", "column": "items.note"}]})
    shop_pg.sql("insert into items (name, note) values ('bolt', 'n')")
    assert m.ls("items/bolt") == ["note.txt"]
    with refused(errno.EPERM):
        (m / "items/bolt/note.txt").unlink()
    assert shop_pg.one("select note from items") == "n"


def test_a_key_that_names_another_table(shop_pg, tmp_path):
    """A bucket's column may be of a table that the layout names nowhere else."""
    shop_pg.sql("create table dates (id integer primary key, at date not null); create table works (id integer primary key, day integer"
                " not null references dates)")
    keys = {"day": {"column": "dates.at", "format": "%Y"}}
    done = check({"routes": [{"path": "/{day}/{dates.id}/works.jsonl", "rows": "works", "keys": keys}]}, shop_pg.conninfo, tmp_path)
    assert done.stderr == ""
    done = check({"routes": [{"path": "/{day}/{works.id}.jsonl", "rows": "works", "keys": keys}]}, shop_pg.conninfo, tmp_path, ok=False)
    assert "does not exist" not in done.stderr and "do not determine one row of dates" in done.stderr


def test_what_the_role_may_not_see_is_not_there(bare, tmp_path):
    """Neither tables nor functions of a schema without USAGE; nothing fails because of them."""
    pack(bare, "orderbook")
    bare.sql("create schema vault; create table vault.items (id integer primary key); create function vault.one() returns integer return 1")
    layout = {"optional": True, "routes": [{"path": "/vault.jsonl", "rows": "vault.items"}, {"path": "/one.json", "query": "vault.one"},
                                           {"path": "/book.csv", "rows": "orderbook_data"}]}
    assert check(layout, bare.conninfo, tmp_path).stderr == ""
    bare.admin("create role blind login")
    try:
        bare.admin("grant select on all tables in schema public to blind")
        conninfo = bare.server.conninfo(bare.name, "blind")
        done = check(layout, conninfo, tmp_path)
        assert said(done.stderr) == {"vault.items": ["/vault.jsonl"], "vault.one": ["/one.json"]}
        assert set(said(check(LAYOUTS["orderbook"], conninfo, tmp_path).stderr)) == {"rowfs.forget_applied"}
    finally:
        bare.admin("drop owned by blind cascade")
        bare.admin("drop role blind")
