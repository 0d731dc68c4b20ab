"""One bad name hides no other (SEMANTICS 7.8, 5.1, 14.4): what cannot be had fails by itself, and is there to be removed or replaced."""
import errno
import json
import mmap
import os
import socket
import stat

import pytest

from kit import Database, get, refused, rm, run, sh, until

GOOD = "select json_agg(i order by name)::jsonb from items i"
SQL = """
create table items (name text primary key, qty int);
insert into items select 'i' || g, g from generate_series(1, 5) g;
create view shares as select name, 10 / (qty - 3) as share from items;
create function raises() returns text language plpgsql as $$ begin raise exception 'no such thing today'; end $$;
create function nothing() returns table (a int) language sql as 'select 1 where false';
create function about(name text) returns table (a int) language sql as 'select 1 where false';
create function counted(n int) returns table (line text) language sql as $$ select repeat('x', 99) || i from generate_series(1, n) i $$;
create sequence runs;
create view watched as select nextval('runs') as run, repeat('é', 1000) as text;
create view long as select repeat('é', 1500000) as text;
create view slow as select pg_sleep(100)::text as slept, 1 as n;
create materialized view later as select name, qty from items with no data;
create table number (n int primary key);
insert into number values (300);
create view lines as select line from number, counted(n);
"""
ADMIN = """
create extension postgres_fdw;
create server away foreign data wrapper postgres_fdw options (host '127.0.0.1', port '%d', dbname 'x', connect_timeout '2');
create user mapping for public server away options (user 'x', password 'x');
create foreign table far (name text, qty int) server away;
create table secret (id int primary key, word text);
insert into secret values (1, 'a');
grant usage on foreign server away to keeper;
grant select on far to keeper;
"""
LAYOUT = {"tables": {"shares": {"key": ["name"]}, "far": {"key": ["name"]}, "later": {"key": ["name"]}}, "routes": [
    {"path": "/share/{shares.name}.json", "row": "shares"},
    {"path": "/items.json", "rows": "items", "as": "array"}, {"path": "/items.jsonl", "rows": "items"}, {"path": "/items/{items.name}.json", "row": "items"},
    {"path": "/shares.json", "query": "shares", "as": "array"}, {"path": "/raises.txt", "query": "raises"}, {"path": "/nothing.json", "query": "nothing"},
    {"path": "/watched.txt", "query": "watched"}, {"path": "/long.jsonl", "query": "long"}, {"path": "/slow.json", "query": "slow"},
    {"path": "/lines.jsonl", "query": "lines"}, {"path": "/count/{n}.jsonl", "query": "counted"}, {"path": "/count/{n}/all.jsonl", "query": "counted"},
    {"path": "/later.json", "query": "later"}, {"path": "/later.jsonl", "rows": "later"}, {"path": "/later/{later.name}.jsonl", "rows": "later"},
    {"path": "/far.json", "query": "far", "as": "array"}, {"path": "/far.jsonl", "rows": "far"}, {"path": "/far/{far.name}.jsonl", "rows": "far"},
    {"path": "/each/{items.name}/about.json", "query": "about"}, {"path": "/each/{items.name}/item.json", "row": "items"},
    {"path": "/secret.jsonl", "rows": "secret"}, {"path": "/secret.json", "rows": "secret", "as": "array"}, {"path": "/secret/{secret.id}.json", "row": "secret"},
]}
LITERAL = sorted({route["path"].split("/")[1] for route in LAYOUT["routes"]} | {".rowfs"})


def lines_of(n):
    return "".join(json.dumps({"line": "x" * 99 + str(i)}, separators=(",", ":")) + "\n" for i in range(1, n + 1)).encode()


def free_port():
    """A port of this machine that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def bad(pg, make_mount, request):
    pg.sql(SQL)
    pg.admin(ADMIN % free_port())
    pg.m = make_mount(layout=LAYOUT, options=getattr(request, "param", None))
    return pg


def fails(action, number):
    with refused(number) as box:
        action()
    return box.error


@pytest.mark.parametrize("bad", [{"command_timeout": 3}], indirect=True)
def test_one_bad_name_hides_no_other(bad):
    m = bad.m
    assert m.ls() == LITERAL  # by the layout alone
    assert [line.split()[-1] for line in run("ls", "-lA", m.path, ok=False).stdout.splitlines()[1:]] == LITERAL
    assert m.json("items.json") == bad.one(GOOD)
    for name, number in [("shares.json", errno.EINVAL), ("raises.txt", errno.EINVAL), ("later.json", errno.EIO), ("later.jsonl", errno.EIO),
                         ("far.json", errno.EIO), ("far.jsonl", errno.EIO), ("secret.jsonl", errno.EACCES), ("secret.json", errno.EACCES),
                         ("slow.json", errno.ETIMEDOUT)]:
        said = m.refuses(lambda: get(m.at(name)), number, path=name)  # noqa: B023
        assert json.loads(said)["sqlstate"], name
    assert "no such thing today" in m.refuses(lambda: get(m.at("raises.txt")), errno.EINVAL)
    # names that are keys of what cannot be read: that directory alone, and the error is told
    for name, number in [("secret", errno.EACCES), ("later", errno.EIO), ("far", errno.EIO)]:
        fails(lambda: os.listdir(m.at(name)), number)  # noqa: B023
        m.write(f"{name}/plain", "kept")
        assert f"\n{name}:" not in run("ls", m.at(name), ok=False).stdout and "plain" in run("ls", m.at(name), ok=False).stdout
    assert m.ls("items") == m.ls("share") == [f"i{n}.json" for n in range(1, 6)]
    assert m.json("share/i4.json") == {"name": "i4", "share": 10}
    m.refuses(lambda: get(m.at("share/i3.json")), errno.EINVAL, "division by zero")


def test_a_listing_and_a_stat_run_no_query(bad):
    m = bad.m
    for _ in range(2):
        assert "watched.txt" in m.ls() and "watched.txt" in run("ls", "-l", m.path, ok=False).stdout
        st = os.lstat(m.at("watched.txt"))
        assert st.st_size == 0 and stat.S_ISREG(st.st_mode)
    assert not bad.one("select is_called from runs")
    with refused(errno.ENOENT):
        get(m.at("nothing.json"))
    with bad.queries() as asked:
        text = get(m.at("watched.txt"))
    assert asked.total == 1
    assert text == b"1\n" and bad.one("select last_value from runs") == 1


def test_a_query_that_has_no_row_goes_with_its_directory(bad):
    m = bad.m
    assert m.ls("each/i2") == ["about.json", "item.json"]
    with refused(errno.ENOENT):
        get(m.at("each/i2/about.json"))
    with refused(errno.EROFS):
        os.unlink(m.at("each/i2/about.json"))
    run("rm", "-r", m.at("each/i2"))
    assert bad.sql("select name from items order by name") == [(f"i{n}",) for n in (1, 3, 4, 5)]


def test_who_opens_it_sees_its_true_size(bad, tmp_path):
    m = bad.m
    long = (json.dumps({"text": "é" * 1500000}, ensure_ascii=False, separators=(",", ":")) + "\n").encode()
    for name, want in [("lines.jsonl", lines_of(300)), ("count/7/all.jsonl", lines_of(7)), ("long.jsonl", long)]:
        path = m.at(name)
        assert os.lstat(path).st_size == 0, name
        with open(path, "rb") as f:
            assert os.fstat(f.fileno()).st_size == os.stat(path).st_size == len(want), name
            assert f.read() == want and f.seek(0, os.SEEK_END) == len(want)
            with mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY) as map_:
                assert map_[:] == want
        sh('cp "$F" out && cmp out "$W"; tar cf - -C "$D" "$N" | tar xOf - | cmp - "$W"; rsync -a "$F" synced && cmp synced "$W"; '
           'test "$(wc -c <"$F")" = "$(wc -c <"$W")"; tail -c 20 "$F" | cmp - <(tail -c 20 "$W"); grep -qr . "$F"; '
           'head -c 5000000 "$F" | cmp - "$W"',
           cwd=tmp_path, F=path, D=path.parent, N=path.name, W=_file(tmp_path / "want", want))
        with open(path, "rb") as f:  # without a question for its size
            sent = b""
            r, w = os.pipe()
            while True:
                n = os.sendfile(w, f.fileno(), None, 60000)
                if n == 0:
                    break
                sent += os.read(r, n)
            os.close(r)
            os.close(w)
        assert sent == want, name
    # a parameter as the name: only the query knows which there are
    assert os.lstat(m.at("count/3.jsonl")).st_size == len(lines_of(3))
    with refused(errno.ENOENT):
        get(m.at("count/x/all.jsonl"))


def _file(path, data):
    path.write_bytes(data)
    return path


def test_each_who_has_it_open_has_his_result(bad):
    m, path = bad.m, bad.m.at("lines.jsonl")
    with open(path, "rb", buffering=0) as old:
        bad.sql("update number set n = 500")
        until(lambda: get(path) == lines_of(500), "the new result")
        with open(path, "rb", buffering=0) as new:
            assert [os.fstat(f.fileno()).st_size for f in (old, new)] == [len(lines_of(300)), len(lines_of(500))]
            assert new.read() == lines_of(500)
        assert old.read() == lines_of(300)
    bad.sql("update number set n = 1")
    until(lambda: get(path) == lines_of(1), "the last result")
    assert m.errors() == []


def test_a_value_that_can_hardly_be_rendered(pg, make_mount):
    """160 KB that make more than 2 GB of text, of which the server makes 1 GB before it gives up: so as few calls as can be."""
    pg.sql("create table docs (name text primary key, n int, meta jsonb)")
    m = make_mount(layout={"routes": [{"path": "/docs/{docs.name}.json", "row": "docs"}]})
    pg.sql("insert into docs select 'b', 1, ('[' || repeat('1e131071,', 20000) || '1]')::jsonb")
    pg.sql("insert into docs values ('a', 0, '1'), ('c', 9, '2')")
    assert m.ls("docs") == ["a.json", "b.json", "c.json"]
    assert os.lstat(m.at("docs/b.json")).st_size == 0
    m.refuses(lambda: get(m.at("docs/b.json")), errno.EFBIG, path="docs/b.json")
    m.write("docs/b.json", {"n": 5})  # what it leaves out stays
    assert pg.one("select n from docs where name = 'b' and meta->20000 = '1'") == 5
    rm(m.at("docs/b.json"))
    assert pg.sql("select name from docs order by 1") == [("a",), ("c",)]


def test_a_value_that_is_no_text(server, make_mount):
    server.admin("create database ascii owner keeper template template0 encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C'")
    db = Database(server, "ascii")
    db.sql("create table docs (name text primary key, text text)")
    db.sql("insert into docs values ('a', 'good'), ('b', convert_from('\\xff62', 'SQL_ASCII')), ('z', 'last')")
    m = make_mount(layout={"routes": [{"path": "/docs/{docs.name}.json", "row": "docs"}]}, conninfo=db.conninfo)
    assert m.ls("docs") == ["a.json", "b.json", "z.json"]
    assert m.json("docs/z.json") == {"name": "z", "text": "last"}
    m.refuses(lambda: get(m.at("docs/b.json")), errno.EINVAL, "UTF8", path="docs/b.json")
    assert os.lstat(m.at("docs/b.json")).st_size == 0
    os.rename(m.at("docs/b.json"), m.at("docs/c.json"))
    m.write("docs/c.json", {"text": "mended"})
    assert m.json("docs/c.json") == {"name": "c", "text": "mended"}
    db.sql("update docs set text = convert_from('\\xff62', 'SQL_ASCII') where name = 'z'")
    until(lambda: os.lstat(m.at("docs/z.json")).st_size == 0, "the value that is no text")
    rm(m.at("docs/z.json"))
    assert db.sql("select name from docs where name ~ '^[a-z]$' order by name") == [("a",), ("c",)]
    m.umount()
    db.drop()
