"""What the tests of packs share: a database with every pack in it, mounted with the layout of one of them."""
import contextlib
import json
import os
import re

import psycopg2
import pytest

import mountkit
from kit import ROOT, run, sqitch


class Packed:
    """.pg, the database; .m, the mount; .layout, the layout as it is in the project."""

    def __init__(self, pg, mount, pack):
        self.pg, self.m, self.pack = pg, mount, pack
        self.layout = layout(pack)

    def again(self):
        """Unmounts and mounts: what is there then outlives a mount."""
        self.m.umount()
        self.m.start()


def layout(pack):
    return json.loads((ROOT / "schema" / pack / "layout.json").read_text(encoding="utf-8"))


@contextlib.contextmanager
def packed(server, packs_template, pack):
    if not mountkit.rowfs_binary().exists() or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("nothing can be mounted")
    pg = server.create_database(f"pack_{pack}", packs_template.name)
    try:
        mount = mountkit.Mount(pg.conninfo, layout=ROOT / "schema" / pack / "layout.json")
        try:
            yield Packed(pg, mount, pack)
            mount.umount()
        finally:
            mount.destroy()
    finally:
        pg.drop()


def dump(pg):
    """The definitions of everything in PG but the schema rowfs, where sqitch keeps its registry."""
    env = {**os.environ, "PATH": f"{pg.server.bin}:{os.environ['PATH']}"}
    text = run("pg_dump", "-s", "-N", "rowfs", "-d", pg.conninfo, env=env).stdout
    return re.sub(r"^\\(un)?restrict .*$", "", text, flags=re.M)


def deploys_and_reverts(pg, pack, schemas):
    """In a database with rowfs's own schema and nothing else: deploy, verify and revert; afterwards
    it is defined as it was before."""
    sqitch(pg, "deploy")
    before = dump(pg)
    assert sqitch(pg, "deploy", project=f"schema/{pack}").stderr == ""
    assert dump(pg) != before and pg.sql("select extname from pg_extension") == [("plpgsql",)]
    assert pg.sql("select identity from rowfs.object where not made or differs is not null") == []
    assert differing(pg, pack) == []
    functions_mean_what_they_say(pg, schemas)
    verify_misses_nothing(pg, pack, schemas)
    sqitch(pg, "revert", "-y", project=f"schema/{pack}")
    assert dump(pg) == before and pg.sql("select * from rowfs.object") == []


DIFFERING = "select identity, unnest(differs) from rowfs.differences(%s)"


def differing(pg, pack):
    """(identity, sentence) for all that rowfs.differences() lists."""
    return pg.sql(DIFFERING, pack)


@contextlib.contextmanager
def adopted(pg, pack, statements, differs):
    """Deploys the pack where other scripts have run STATEMENTS. Nothing that is there changes, and
    DIFFERS, {identity: {what a sentence says before its statement}}, is listed, and said. When the
    block ends, the pack is reverted, and the database is defined as it was before."""
    sqitch(pg, "deploy")
    pg.sql("; ".join(statements))
    before = dump(pg)
    there = set(before.splitlines())
    said = sqitch(pg, "deploy", project=f"schema/{pack}").stderr
    listed = differing(pg, pack)
    found = {(name, sentence.split(": ALTER")[0]) for name, sentence in listed}
    wanted = {(name, sentence) for name, sentences in differs.items() for sentence in sentences}
    assert found == wanted, f"listed, too: {found - wanted}; not listed: {wanted - found}"
    assert [s for name, s in listed if f"{name} {s}" not in said] == []
    # what the database was defined by is there unchanged: the pack has only added to it
    assert there - set(dump(pg).splitlines()) == set()
    sqitch(pg, "verify", project=f"schema/{pack}")
    yield
    sqitch(pg, "revert", "-y", project=f"schema/{pack}")
    assert dump(pg) == before and pg.sql("select * from rowfs.object") == []


@contextlib.contextmanager
def mended(pg, pack):
    """Runs the statements that the list of differences names, in a transaction that is rolled back
    at the end of the block. (cursor, what is listed still)"""
    with contextlib.closing(pg.connect()) as conn, conn.cursor() as cur:
        for _, sentence in differing(pg, pack):
            statement = re.search(": (ALTER TABLE .*)", sentence)
            if statement:
                cur.execute(statement[1])
        cur.execute(DIFFERING, (pack,))
        yield cur, cur.fetchall()
        conn.rollback()


PARTS = """
with mine as (select n.oid from pg_namespace n where n.nspname = any(%(schemas)s)),
rel as (select c.oid, c.relkind from pg_class c where c.relnamespace in (select oid from mine))
select format('alter table %%s drop constraint %%I cascade', conrelid::regclass, conname) from pg_constraint
 where conrelid in (select oid from rel) and contype <> 't'
union all select format('drop index %%s', i.indexrelid::regclass) from pg_index i where i.indrelid in (select oid from rel)
   and not exists (select from pg_constraint k where k.conindid = i.indexrelid)
union all select format('drop %%s %%s cascade', case relkind when 'v' then 'view' else 'table' end, oid::regclass) from rel where relkind in ('r', 'v')
union all select format('alter table %%s drop column %%I cascade', a.attrelid::regclass, a.attname) from pg_attribute a
  join rel on rel.oid = a.attrelid where rel.relkind = 'r' and a.attnum > 0 and not a.attisdropped
union all select format('drop trigger %%I on %%s', tgname, tgrelid::regclass) from pg_trigger where tgrelid in (select oid from rel) and not tgisinternal
union all select format('drop function %%s cascade', p.oid::regprocedure) from pg_proc p where p.pronamespace in (select oid from mine)
"""


def verify_misses_nothing(pg, pack, schemas):
    """Takes away each table, column, constraint, index, view, trigger and function of the pack, and
    each of the rows that it has made, one at a time. Of objects and rows verify must say so; of
    columns and constraints, which a table may have otherwise, the list of differences."""
    (path,) = (ROOT / "schema" / pack / "verify").iterdir()
    script = re.sub(r"^(BEGIN|ROLLBACK);$", "", path.read_text(encoding="utf-8"), flags=re.M)
    with contextlib.closing(pg.connect()) as conn, conn.cursor() as cur:
        cur.execute(PARTS, {"schemas": list(schemas)})
        drops = [d for d, in cur.fetchall()]
        cur.execute("select identity from rowfs.object where pack = %s and type = 'table'", (pack,))
        for table, in cur.fetchall():
            cur.execute(f"select ctid::text from {table}")
            drops += [f"delete from {table} where ctid = '{row}'" for row, in cur.fetchall()]
        conn.rollback()
        assert len(drops) > 50 and any(d.startswith("delete") for d in drops)
        for drop in drops:
            cur.execute(drop)
            if re.match("alter table .* drop (column|constraint)", drop):
                cur.execute(DIFFERING, (pack,))
                assert cur.fetchall(), f"nothing is listed after {drop}"
            else:
                with pytest.raises(psycopg2.Error):
                    cur.execute(script)
                    pytest.fail(f"verify is content after {drop}")
            conn.rollback()
        cur.execute(script)  # and with everything there it is


def functions_mean_what_they_say(pg, schemas):
    """Each function is bound to what it uses, or has a search path of its own."""
    loose = pg.sql("select oid::regprocedure::text from pg_proc where pronamespace::regnamespace::text = any(%s) and prosqlbody is null"
                   " and not exists (select from unnest(proconfig) c where c like 'search_path=%%')", list(schemas))
    assert loose == []


def page(pack):
    return (ROOT / "docs/packs" / f"{pack}.md").read_text(encoding="utf-8")


def not_yet(pack):
    """The first cells of the page's list of what does not work yet."""
    rows = page(pack).split("## What does not work yet")[1].splitlines()
    return [r.split(" | ")[0].lstrip("| ") for r in rows if r.startswith("| ")][2:]


def examples(p):
    """Runs the page's ```sh blocks in one shell. Then each route is on the page, and each route that a listing leads to has a file with
    something in it."""
    text = page(p.pack)
    done = run("bash", "-euc", "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)), env={"MNT": str(p.m.path)})
    assert done.stderr == "" and done.stdout
    there = [os.path.relpath(os.path.join(base, name), p.m.path) for base, _, names in os.walk(p.m.path) for name in names]
    for route in p.layout["routes"]:
        assert f"`{route['path']}`" in text, f"{route['path']} is not on the page"
        keys = re.findall(r"\{([^}]+)\}", route["path"])
        if route.get("query") and any("." not in k for k in keys):
            continue  # its keys list nothing
        form = "".join("[^/]+" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{[^}]+\})", route["path"][1:]))
        found = [t for t in there if re.fullmatch(form, t)]
        assert found, f"no file for {route['path']}"
        assert any(p.m.bytes(f) for f in found), f"nothing in {found}"


def demo(p):
    """The demo data load, twice, and every file that is listed can be read."""
    run("psql", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-f", ROOT / "schema" / p.pack / "demo.sql", p.pg.conninfo,
        env={**os.environ, "PATH": f"{p.pg.server.bin}:{os.environ['PATH']}"})
    counts = {t: p.pg.one(f"select count(*) from {t}") for t, in p.pg.sql(
        "select oid::regclass::text from pg_class where relkind = 'r' and relnamespace::regnamespace::text not in ('pg_catalog', 'information_schema') order by 1")}
    run("psql", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-f", ROOT / "schema" / p.pack / "demo.sql", p.pg.conninfo,
        env={**os.environ, "PATH": f"{p.pg.server.bin}:{os.environ['PATH']}"})
    for table, count in counts.items():
        if not table.startswith("rowfs."):
            assert p.pg.one(f"select count(*) from {table}") == count, table
    read = 0
    for base, _, names in os.walk(p.m.path):
        for name in names:
            read += len(p.m.bytes(os.path.relpath(os.path.join(base, name), p.m.path))) > 0
    return read
