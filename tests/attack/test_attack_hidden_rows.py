"""Row-level security shows a role half of a table's rows. It has the grants of OPERATIONS.md, and a mount of its own: neither the mount nor the
tables of the schema rowfs tell it anything of the other half: no size, no name, no time, no number of rows."""
import json
import os

import pytest

from kit import get, until
from mountkit import install
from test_attack_chunks import ALLOW, As, at_role

TABLES = """
create table notes (id bigserial primary key, owner text not null default current_user, kind text not null,
                    place text not null default 'place0', body text,
                    at timestamptz not null default '2025-01-02 12:00+00');
create policy own on notes using (owner = current_user) with check (owner = current_user);
create table open_notes (id bigserial primary key, body text);
insert into notes (owner, kind, place, body) select case n % 2 when 0 then 'mallory' else 'keeper' end,
    case when n % 2 = 1 and n % 5 = 0 then 'secret' else 'kind' || n % 3 end, 'place' || n % 4, repeat('é', n) from generate_series(1, 60) n;
insert into open_notes (body) select 'é' || n from generate_series(1, 20) n;
"""
PROTECT = "alter table notes enable row level security"
LAYOUT = {"routes": [
    {"path": "/all.csv", "rows": "notes", "columns": ["kind", "body"]},
    {"path": "/all.jsonl", "rows": "notes", "columns": ["kind", "body"], "mtime": "at"},
    {"path": "/kinds/{kind}.csv", "rows": "notes", "columns": ["kind", "body"]},
    {"path": "/places/{place}/{kind}.csv", "rows": "notes", "columns": ["kind", "body"]},
    {"path": "/open.csv", "rows": "open_notes"}]}
KEPT = ("slice", "summary", "delta", "doubt")


@pytest.fixture
def protected(pg):
    with at_role(pg, "mallory"):
        pg.sql(TABLES)
        pg.sql(PROTECT)
        pg.sql(ALLOW)
        pg.sql("grant select, insert, update, delete on notes, open_notes to mallory")
        yield pg


def mount_of(pg, make_mount, role, **kw):
    return make_mount(layout=LAYOUT, conninfo=pg.server.conninfo(pg.name, role), install=False, **kw)


def prepare(pg, tmp_path):
    layout = tmp_path / "layout.json"
    layout.write_text(json.dumps(LAYOUT))
    install(pg.conninfo, layout)
    pg.sql("insert into open_notes (body) values ('last')")  # in rowfs.delta


def tree(m):
    """Names of all files below the mount's routes, with what a read finds in them."""
    found = {}
    for base, dirs, names in os.walk(m.path):
        dirs[:] = [d for d in dirs if d != ".rowfs"]
        for name in names:
            path = os.path.join(base, name)
            body = get(path)
            found[os.path.relpath(path, m.path)] = body
    return found


def expected(pg, role):
    """The same by SQL on the rows."""
    rows = pg.sql("select kind, place, body from notes where owner = %s order by id", role)
    line = lambda r: f"{r[0]},{r[2]}\n"  # noqa: E731
    head = "kind,body\n"
    out = {"all.csv": head + "".join(map(line, rows))}
    for r in rows:
        for path in (f"kinds/{r[0]}.csv", f"places/{r[1]}/{r[0]}.csv"):
            out[path] = out.get(path, head) + line(r)
    return {path: body.encode() for path, body in out.items()}


def shown(m, path):
    """What stat says without opening, and fstat."""
    st = os.stat(m.at(path))
    with open(m.at(path), "rb") as f:
        fst = os.fstat(f.fileno())
        body = f.read()
    assert fst.st_size == len(body), path
    assert st.st_size == len(body), path  # as of any small table: its rows are read
    return (st.st_size, fst.st_size, st.st_mtime_ns, body)


def test_the_mount_shows_what_the_role_sees(protected, make_mount, tmp_path):
    prepare(protected, tmp_path)
    m = mount_of(protected, make_mount, "mallory")
    summary = m.status()["summary"]
    assert "row-level security" in summary["notes"] and summary["open_notes"] == "kept"
    want = expected(protected, "mallory")
    got = {path: body for path, body in tree(m).items() if path.endswith(".csv") and path != "open.csv"}
    assert got == want
    assert os.stat(m / "open.csv").st_size == len(get(m / "open.csv"))
    assert not os.path.exists(m / "kinds/secret.csv")
    assert [n for n in os.listdir(m / "kinds") if "secret" in n] == []
    before = {path: shown(m, path) for path in [*want, "all.jsonl"]}
    # somebody changes only what she does not see
    protected.sql("update notes set body = body || 'more', at = now() where owner <> 'mallory'")
    protected.sql("insert into notes (owner, kind, place, body) values ('keeper', 'secret2', 'nowhere', 'x')")
    protected.sql("insert into open_notes (body) values ('told')")
    until(lambda: b"told" in get(m / "open.csv"), "she is told of the next change")
    assert {path: shown(m, path) for path in before} == before
    assert not os.path.exists(m / "places/nowhere") and "nowhere" not in os.listdir(m / "places")
    # what she writes herself is there, and has its size
    with open(m / "all.csv", "a", encoding="utf-8") as f:
        f.write("kind1,mine\n")
    assert protected.sql("select owner, place from notes where body = 'mine'") == [("mallory", "place0")]
    assert shown(m, "all.csv")[3] == expected(protected, "mallory")["all.csv"]


def test_the_owner_that_is_under_the_policy_too(protected, make_mount, tmp_path):
    """FORCE ROW LEVEL SECURITY: keeper owns the schema rowfs, so no policy there stops him, and sees half of the rows."""
    prepare(protected, tmp_path)
    m = mount_of(protected, make_mount, "keeper", options={"coherence": "none"})
    size = len(get(m / "all.csv"))
    assert os.stat(m / "all.csv").st_size == size and m.status()["summary"]["notes"] == "kept"
    protected.sql("alter table notes force row level security")
    want = expected(protected, "keeper")
    for path, body in want.items():
        assert shown(m, path)[3] == body
    install(protected.conninfo, tmp_path / "layout.json", ok=False)  # it must not count half of the rows for everybody
    protected.sql("alter table notes no force row level security")
    assert protected.one("select rowfs.differing(id) from rowfs.slice where relation = 'public.notes' order by 1 desc limit 1") == 0


def test_a_policy_that_comes_while_it_is_mounted(protected, make_mount, tmp_path):
    protected.sql("alter table notes disable row level security")
    prepare(protected, tmp_path)
    m = mount_of(protected, make_mount, "mallory", options={"coherence": "none"})
    assert m.status()["summary"]["notes"] == "kept" and "secret.csv" in os.listdir(m / "kinds")
    protected.sql(PROTECT)
    want = expected(protected, "mallory")
    assert {p: b for p, b in tree(m).items() if p in want} == want
    assert sorted(os.listdir(m / "kinds")) == sorted({os.path.basename(p) for p in want if p.startswith("kinds/")})
    for path in want:
        shown(m, path)


def test_the_schema_tells_nothing(protected, make_mount, tmp_path):
    prepare(protected, tmp_path)
    protected.sql("update notes set body = body || '!'")  # something in rowfs.delta
    protected.sql("insert into rowfs.doubt (slice, why) select id, 'invalid value \"secret\"' from rowfs.slice")
    hidden = {r[0] for r in protected.sql("select id from rowfs.slice where relation = 'public.notes'")}
    kept = {r[0] for r in protected.sql("select id from rowfs.slice where relation = 'public.open_notes'")}
    assert hidden and kept
    with As(protected) as mallory:
        for table in KEPT:
            ids = {r[0] for r in mallory(f"select {'id' if table == 'slice' else 'slice'} from rowfs.{table}")}
            assert not ids & hidden, table
            assert ids == kept or table == "delta", table
        assert mallory("select rowfs.is_true(id) from unnest(%s) x(id)", list(hidden)) == [(False,)] * len(hidden)
        assert mallory("select rowfs.differing(id) from rowfs.slice where id = any (%s)", list(hidden)) == []
        # nor can she change it
        before = protected.sql("select slice, k1, k2, k3, k4, rows, bytes from rowfs.summary order by 1, 2, 3, 4, 5")
        assert mallory("update rowfs.summary set rows = 1 where k1 = 'secret'") == 0
        assert mallory("delete from rowfs.summary where slice = any (%s)", list(hidden)) == 0
        assert protected.sql("select slice, k1, k2, k3, k4, rows, bytes from rowfs.summary order by 1, 2, 3, 4, 5") == before
    protected.sql("grant select on notes to public; alter table notes disable row level security")
    with As(protected) as mallory:
        assert {r[0] for r in mallory("select id from rowfs.slice")} >= hidden | kept


def test_a_role_that_may_not_read_the_table(protected, tmp_path):
    prepare(protected, tmp_path)
    protected.sql("revoke all on open_notes from mallory")
    with As(protected) as mallory:
        for table in KEPT:
            assert mallory(f"select * from rowfs.{table}") == []
