"""The page docs/YOUR-DATABASE.md: what it says of a kind of database is so."""
import errno
import json
import os
import re
import stat

import pytest

from kit import ROOT, refused, rm, run, until
from mountkit import clean_env, rowfs_binary

SQL = """
create table base (id integer primary key, name text unique deferrable, part text, twice integer generated always as (id * 2) stored);
create unique index on base (name) where part is not null;
insert into base values (1, 'one', 'p');
create view simple as select id, name, upper(name) as loud from base;
create view made as select id, name || '!' as shown from base where id > 0 limit 100;
create view totals as select count(*) as n from base;
create function made_write() returns trigger language plpgsql as
    $$ begin update base set name = rtrim(new.shown, '!') where id = old.id; return new; end $$;
create trigger made_update instead of update on made for each row execute function made_write();
create materialized view old as select id, name from base with no data;
create table ruled (id serial primary key, text text);
create rule nothing as on insert to ruled where new.text = 'skip' do instead nothing;
create table secured (id integer primary key, text text);
insert into secured values (1, 'mine'), (2, 'theirs');
alter table secured enable row level security;
alter table secured force row level security;
create policy p on secured using (text <> 'theirs') with check (text <> 'theirs');
create table raising (id integer primary key, text text);
create function say() returns trigger language plpgsql as $$ begin raise exception 'not this one'; end $$;
create trigger raising before insert or update on raising for each row execute function say();
create table ids (id integer generated always as identity primary key, text text);
"""
LAYOUT = {
    "tables": {"simple": {"key": ["id"]}, "made": {"key": ["id"]}, "totals": {"key": ["n"]}, "old": {"key": ["id"]}},
    "routes": [
        {"path": "/base/{id}.json", "row": "base"}, {"path": "/twice/{id}", "column": "base.twice"},
        {"path": "/simple/{id}.json", "row": "simple"}, {"path": "/loud/{id}", "column": "simple.loud"},
        {"path": "/made/{id}.json", "row": "made"}, {"path": "/totals.json", "rows": "totals", "as": "array"},
        {"path": "/ruled.csv", "rows": "ruled"}, {"path": "/secured/{id}.json", "row": "secured"}, {"path": "/secured.csv", "rows": "secured"},
        {"path": "/raising/{id}.json", "row": "raising"}, {"path": "/ids/{id}.json", "row": "ids"},
    ],
}
PAGE = (ROOT / "docs/YOUR-DATABASE.md").read_text(encoding="utf-8")


@pytest.fixture
def files(empty_pg, make_mount):
    empty_pg.sql(SQL)
    m = make_mount(layout=LAYOUT, conninfo=empty_pg.conninfo, install=False, options={"umask": "0"})
    m.pg = empty_pg
    return m


def mode(m, name):
    return stat.S_IMODE(os.stat(m.at(name)).st_mode)


def test_views(files):
    files.write("simple/1.json", {"name": "new"})
    assert files.pg.one("select name from base") == "new"
    assert mode(files, "simple/1.json") == 0o666 and mode(files, "loud/1") == 0o444
    files.write("made/1.json", {"shown": "instead!"})
    assert files.pg.one("select name from base") == "instead" and mode(files, "made/1.json") == 0o666
    assert mode(files, "totals.json") == 0o444
    with refused(errno.EROFS):
        files.write("totals.json", [{"n": 7}])


def test_policies_triggers_and_rules(files):
    assert files.ls("secured") == ["1.json"] and files.read("secured.csv") == "id,text\n1,mine\n"
    with refused(errno.EACCES):
        files.write("secured/3.json", {"text": "theirs"})
    with refused(errno.ENOENT):
        rm(files.at("secured/2.json"))
    files.refuses(lambda: files.write("raising/1.json", {"text": "x"}), errno.EINVAL, "not this one", path="raising/1.json")
    files.append("ruled.csv", "text\nkeep\nskip\n")
    assert files.pg.sql("select text from ruled") == [("keep",)]


def test_generated_columns_and_identities(files):
    assert files.json("base/1.json")["twice"] == 2 and mode(files, "twice/1") == 0o444
    files.write("base/1.json", {"name": "x", "twice": 9})
    assert files.pg.sql("select name, twice from base") == [("x", 2)]
    with refused(errno.EINVAL):
        files.write("twice/1", "9")


def test_what_is_no_key(files, tmp_path):
    path = tmp_path / "layout.json"
    path.write_text(json.dumps({"routes": [{"path": "/x/{name}.json", "row": "base"}]}))
    done = run(rowfs_binary(), "check", path, files.pg.conninfo, ok=False, env=clean_env())
    assert done.returncode == 1 and "do not determine one row" in done.stderr


def test_ids_start_again(files):
    files.pg.sql("insert into ids (text) values ('old')")
    until(lambda: files.json("ids/1.json")["text"] == "old", "the row is seen")
    files.pg.sql("truncate ids restart identity; insert into ids (text) values ('new')")
    until(lambda: files.json("ids/1.json")["text"] == "new", "the row that has the id now is seen")


def test_another_encoding(server, make_mount):
    server.admin("drop database if exists latin")
    server.admin("create database latin owner keeper template template0 encoding 'LATIN1' locale 'C'")
    try:
        server.admin("create table t (id integer primary key, text text); alter table t owner to keeper", dbname="latin")
        m = make_mount(layout={"routes": [{"path": "/{id}.json", "row": "t"}]}, conninfo=server.conninfo("latin"), install=False)
        m.write("1.json", {"text": "Grüße"})
        assert m.json("1.json") == {"id": 1, "text": "Grüße"}
        m.refuses(lambda: m.write("2.json", '{"text": "漢"}'), errno.EINVAL, path="2.json", keeps="漢")
        m.umount()
    finally:
        server.admin("drop database if exists latin with (force)")


def test_each_subject_has_a_section():
    titles = re.findall(r"^## (.*)", PAGE, re.M)
    for word in ("Rights", "Encodings", "Row-level security", "Triggers", "Unique keys", "RESTART IDENTITY", "Inheritance", "Poolers", "Views",
                 "Materialized", "Foreign", "Standby", "Rules", "Types"):
        assert any(word in title for title in titles), word


def test_the_numbers_are_promises():
    text = (ROOT / "docs/SEMANTICS.md").read_text(encoding="utf-8")
    for chapter, n in re.findall(r"\((\d+)\.(\d+)\)", PAGE):
        body = re.search(rf"^## {chapter}\. .*?(?=^## )", text, re.M | re.S)[0]
        assert re.search(rf"^{n}\. ", body, re.M), f"{chapter}.{n}"
