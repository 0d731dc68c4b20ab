"""Nothing is installed unasked: a mount and a plain `rowfs check` change nothing in the schema of anybody's database, `--install` makes what it
says, and a trigger that fails is silent to the program whose statement it is. The second source is pg_dump -s, and SQL on the catalog."""
import json
import os

import psycopg2
import pytest

from kit import run, until
from mountkit import clean_env, install, rowfs_binary

TABLES = """
create table makers (id int primary key, name text unique not null);
create table parts (id bigserial primary key, maker int not null references makers on delete cascade, kind text not null, price numeric, spare text);
create index on parts (kind, id);
insert into makers values (1, 'acme'), (2, 'best');
insert into parts (maker, kind, price) select 1 + g % 2, 'k' || g % 3, g from generate_series(1, 30) g"""
LAYOUT = {"routes": [{"path": "/makers/{makers.name}/maker.json", "row": "makers"},
                     {"path": "/makers/{makers.name}/{parts.kind}.csv", "rows": "parts", "columns": ["kind", "price"]},
                     {"path": "/kinds/{parts.kind}.jsonl", "rows": "parts", "columns": ["id", "price", "spare"]}]}


def schema(pg):
    """The database as pg_dump -s shows it, without the random words of newer versions of it."""
    pg.close()
    dump = run("pg_dump", "-s", pg.server.conninfo(pg.name, "postgres")).stdout
    return [line for line in dump.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]


def check(pg, layout, *words, ok=True):
    return run(rowfs_binary(), "check", *words, layout, pg.conninfo, env=clean_env(), ok=ok)


def triggers(pg):
    return pg.sql("select t.tgrelid::regclass::text, t.tgname::text from pg_trigger t join pg_proc p on p.oid = t.tgfoid "
                  "where p.pronamespace = 'rowfs'::regnamespace order by 1, 2")


@pytest.fixture
def layout(tmp_path):
    path = tmp_path / "layout.json"
    path.write_text(json.dumps(LAYOUT))
    return path


@pytest.fixture
def parts(request, server):
    """TABLES in a database with the schema rowfs, or in one without."""
    pg = request.getfixturevalue(request.param)
    pg.sql(TABLES)
    return pg


with_and_without = pytest.mark.parametrize("parts", ["pg", "empty_pg"], indirect=True, ids=["core", "no core"])


@pytest.mark.bare
@with_and_without
@pytest.mark.parametrize("options", [{}, {"ro": True}, {"coherence": "ttl=0"}], ids=["rw", "ro", "ttl"])
def test_a_mount_changes_nothing_in_the_schema(parts, make_mount, layout, options):
    before = schema(parts)
    m = make_mount(layout=LAYOUT, options=options, conninfo=parts.conninfo, install=False)
    if "ro" not in options:
        m.append("makers/acme/k1.csv", "k1,17\n", sync=True)
    assert sorted(m.ls("kinds")) == ["k0.jsonl", "k1.jsonl", "k2.jsonl"]
    assert m.read("kinds/k0.jsonl") == "".join(
        t + "\n" for t, in parts.sql("select row_to_json(x)::text from (select id, price, spare from parts where kind = 'k0' order by id) x"))
    m.umount()
    assert schema(parts) == before


@pytest.mark.bare
@with_and_without
def test_check_changes_nothing(parts, layout):
    """Nor in the rows of the schema rowfs: not even of what it finds to be wrong."""
    before = schema(parts)
    out = check(parts, layout).stdout
    assert "the layout fits" in out and "not installed" in out and "triggers on" not in out
    assert schema(parts) == before


def test_check_says_what_differs_and_leaves_it(pg, layout):
    pg.sql(TABLES)
    install(pg.conninfo, layout)
    pg.admin("begin; set local session_replication_role = replica; delete from parts where kind = 'k0'; commit")
    tables = ("slice", "summary", "delta", "doubt", "notice")

    def kept():
        return [sorted(pg.sql(f"select t::text from rowfs.{t} t")) for t in tables]
    before, dump = kept(), schema(pg)
    out = check(pg, layout).stdout
    assert "the summary of parts was wrong for" in out and "--install" in out
    assert kept() == before and schema(pg) == dump
    out = install(pg.conninfo, layout)
    assert "counted anew" in out and "the summary of parts is kept" in out
    assert "wrong" not in check(pg, layout).stdout


@pytest.mark.bare
def test_install_makes_what_it_says(pg, layout, make_mount):
    pg.sql(TABLES)
    out = install(pg.conninfo, layout)
    lines = [line for line in out.splitlines() if line.startswith("triggers on ")]
    said = dict(line[len("triggers on "):].split(": ", 1) for line in lines)
    assert {t for t, _ in triggers(pg)} == {table.removeprefix("public.") for table in said}
    for table, text in said.items():
        names = {n for t, n in triggers(pg) if t == table.removeprefix("public.")}
        assert ("rowfs_* keep the sizes of" in text) == ("rowfs_insert" in names), (text, names)
        assert ("tell_rowfs_* tell mounts" in text) == ("tell_rowfs_insert" in names), (text, names)
    parts = next(text for table, text in said.items() if "parts" in table)
    assert "/kinds/{parts.kind}.jsonl" in parts and "us to an INSERT" in out and "docs/PERFORMANCE.md" in out
    assert "installed on 2 tables" in out
    m = make_mount(layout=LAYOUT, install=False)
    assert m.status()["summary"] == {"parts": "kept"} and m.status()["coherence"]["mode"] == "notify"
    assert "installed" not in m.output()
    m.umount()
    before = schema(pg)
    again = install(pg.conninfo, layout)
    assert "nothing was to be installed" in again and schema(pg) == before
    assert [line for line in again.splitlines() if line.startswith("triggers on ")] == lines


@pytest.mark.bare
def test_what_is_missing_is_said_once(pg, make_mount):
    pg.sql(TABLES)
    m = make_mount(layout=LAYOUT, install=False)
    m.ls("kinds")
    said = [line for line in m.output().splitlines() if "rowfs init" in line]
    assert len(said) == 1 and m.output().count("0.1 s") == 1, m.output()
    for word in ("triggers are not installed on", "parts", "changes by others are seen after 0.1 s", "sizes of rows files are not kept",
                 f"rowfs init --follow {m.layout} "):
        assert word in said[0], said


@pytest.mark.bare
def test_what_is_missing_of_the_built_in_layout(pg, make_mount):
    m = make_mount(install=False)
    assert "rowfs init --follow default " in m.output()


def test_what_is_missing_without_the_schema(empty_pg, make_mount):
    empty_pg.sql(TABLES)
    m = make_mount(layout=LAYOUT, conninfo=empty_pg.conninfo, install=False)
    said = [line for line in m.output().splitlines() if "rowfs init" in line]
    assert len(said) == 1, m.output()
    for word in ("the schema rowfs is not installed", "appends are not exactly-once", "changes by others are seen after 0.1 s",
                 "sizes of rows files are not kept", "rowfs init "):
        assert word in said[0], said


def test_the_time_that_is_told_is_the_option(empty_pg, tmp_path):
    empty_pg.sql(TABLES)
    layout = tmp_path / "layout.json"
    layout.write_text(json.dumps(LAYOUT))
    said = run(rowfs_binary(), "check", "-o", "coherence=ttl=0.25", layout, empty_pg.conninfo).stderr
    assert "changes by others are seen after 0.25 s, " in said


def test_install_is_for_check(pg, tmp_path):
    done = run(rowfs_binary(), "mount", "--install", pg.conninfo, tmp_path, env=clean_env(), ok=False)
    assert done.returncode == 2 and "--install is for rowfs check" in done.stderr


# -- what becomes of what was installed --------------------------------------------------------------------------------


def test_a_trigger_that_was_dropped_is_not_made_again(pg, make_mount, layout):
    """Nor does a mount go by what it kept. It says what is missing."""
    pg.sql(TABLES)
    install(pg.conninfo, layout)
    pg.sql("drop trigger rowfs_insert on parts; drop trigger tell_rowfs_delete on makers")
    pg.sql("insert into parts (maker, kind, price) values (1, 'k0', 3)")
    before = schema(pg)
    m = make_mount(layout=LAYOUT, install=False)
    assert "not installed" in m.status()["summary"]["parts"] and "rowfs init --follow" in m.output()
    want = pg.one("select string_agg(row_to_json(x)::text || e'\\n', '' order by id) from (select id, price, spare from parts where kind = 'k0') x")
    assert m.read("kinds/k0.jsonl") == want
    m.umount()
    assert schema(pg) == before
    assert "installed on 2 tables" in install(pg.conninfo, layout)
    m = make_mount(layout=LAYOUT, install=False)
    assert m.status()["summary"] == {"parts": "kept"} and os.stat(m.at("kinds/k0.jsonl")).st_size == len(want)


def test_a_summary_in_doubt_is_counted_anew_by_a_mount(pg, make_mount, layout):
    """It was asked for, and no trigger is made for it."""
    pg.sql(TABLES)
    install(pg.conninfo, layout)
    pg.admin("begin; set local session_replication_role = replica; delete from parts where kind = 'k0'; commit")
    pg.sql("insert into rowfs.doubt (slice, why) select id, 'a test' from rowfs.slice where relation = 'public.parts'")
    before = schema(pg)
    m = make_mount(layout=LAYOUT, install=False)
    assert m.status()["summary"] == {"parts": "kept"} and m.ls("kinds") == ["k1.jsonl", "k2.jsonl"]
    m.umount()
    assert schema(pg) == before


def test_another_layouts_triggers_stay(pg, make_mount, layout, tmp_path):
    """However long ago they were asked for: no mount asks for them again."""
    pg.sql(TABLES)
    install(pg.conninfo, layout)
    pg.sql("update rowfs.slice set used = now() - interval '400 days'; update rowfs.notice set used = now() - interval '400 days'")
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"routes": [{"path": "/all/{maker}.csv", "rows": "parts", "columns": ["price"]}]}))
    assert "installed on 1 table" in install(pg.conninfo, other)
    m = make_mount(layout=LAYOUT, install=False)
    assert m.status()["summary"] == {"parts": "kept"} and "not installed" not in m.output()


# -- what breaks triggers ----------------------------------------------------------------------------------------------

DDL = {"drop column": "alter table parts drop column price", "rename column": "alter table parts rename column price to cost",
       "drop key": "alter table parts drop column kind cascade", "rename key": "alter table parts rename column kind to sort",
       "alter type": "alter table parts alter column kind type bytea using kind::bytea",
       "to json": "alter table parts alter column price type json using to_json(price)",
       "drop parent": "drop table makers cascade", "rename parent's key": "alter table makers rename column name to called",
       "drop parent's key": "alter table makers drop column name", "drop the foreign key": "alter table parts drop constraint parts_maker_fkey",
       "rename parent": "alter table makers rename to builders", "other schema": "create schema s; alter table makers set schema s",
       "drop primary key": "alter table parts drop column id", "rename table": "alter table parts rename to pieces",
       "functions": "drop function rowfs.notice_keys(text[], text[]) cascade"}
STATEMENTS = ["insert into TABLE select r.* from jsonb_populate_record(null::TABLE, (select to_jsonb(p) from TABLE p limit 1) - 'id' || '{\"id\": 900}') r",
              "update TABLE set spare = 'x' where ctid = (select min(ctid) from TABLE)", "update TABLE set spare = 'y'",
              "delete from TABLE where ctid = (select min(ctid) from TABLE)", "delete from TABLE where spare = 'z'",
              "insert into TABLE select * from TABLE where false", "truncate TABLE"]


@pytest.mark.parametrize("ddl", DDL)
def test_ddl_breaks_no_statement_and_is_silent(pg, make_mount, layout, ddl):
    """Not a word to the program that writes; what could not be counted or told is noted, and a mount that runs sees the rows as they are."""
    pg.sql(TABLES)
    install(pg.conninfo, layout)
    (pg.admin if ddl == "functions" else pg.sql)(DDL[ddl])
    table = "pieces" if ddl == "rename table" else "parts"
    with psycopg2.connect(pg.conninfo) as conn, conn.cursor() as cur:
        conn.autocommit = True
        for statement in STATEMENTS:
            if "id" in statement and ddl == "drop primary key" and "900" in statement:
                statement = statement.replace(" - 'id' || '{\"id\": 900}'", "")
            cur.execute(statement.replace("TABLE", table))
        assert conn.notices == []
    conn.close()


def test_what_a_trigger_could_not_do_is_noted(pg, make_mount, layout):
    pg.sql(TABLES)
    install(pg.conninfo, layout)
    m = make_mount(layout={"routes": [LAYOUT["routes"][0]]}, install=False)
    pg.sql("alter table parts drop column price")
    for i in range(3):
        pg.sql("insert into parts (maker, kind) values (1, 'k0')")
    noted = pg.sql("select d.why from rowfs.doubt d join rowfs.slice s on s.id = d.slice where s.relation = 'public.parts'")
    assert len(noted) == pg.one("select count(*) from rowfs.slice where relation = 'public.parts'") and all("price" in w for w, in noted)
    assert pg.server.log_contains("sizes of its files are not kept until rowfs check --install")
    m.umount()


def test_a_failing_notice_is_noted_shown_and_forgotten(pg, make_mount, layout):
    pg.sql(TABLES)
    install(pg.conninfo, layout)
    m = make_mount(layout=LAYOUT, install=False)
    assert m.read("makers/acme/maker.json") and m.status()["coherence"]["mode"] == "notify"
    pg.sql("alter table makers rename column name to called")
    heard = m.status()["coherence"]["heard"]
    pg.sql("insert into parts (maker, kind) values (1, 'k0')")
    assert pg.one("select count(*) from rowfs.doubt d join rowfs.notice n on n.id = d.slice") == 1
    pg.sql("insert into parts (maker, kind) values (1, 'k0')")
    assert pg.one("select count(*) from rowfs.doubt d join rowfs.notice n on n.id = d.slice") == 1
    pg.sql("alter table makers rename column called to name")
    until(lambda: m.status()["coherence"]["heard"] >= heard + 2, "it was told that anything may have changed")
    m.umount()
    out = check(pg, layout).stdout
    assert "a trigger on public.parts failed first at" in out and "name" in out
    assert "failed first" in install(pg.conninfo, layout) and "failed first" not in check(pg, layout).stdout
