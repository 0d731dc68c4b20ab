"""Tables with rules: what is written works as far as the rule lets it, and an error names the rule."""
import errno
import os

import pytest

from kit import append, put, refused, rm

SQL = """
create table noted (id int primary key, name text, v text);
create table notes (id int, what text);
create rule note_new as on insert to noted do also insert into notes values (new.id, 'new');
create rule note_change as on update to noted do also insert into notes values (new.id, 'change');
create rule note_end as on delete to noted do also insert into notes values (old.id, 'end');
create table closed (id int primary key, name text, v text);
create rule to_notes as on insert to closed do instead insert into notes values (new.id, 'closed');
create rule kept as on update to closed do instead nothing;
create rule not_gone as on delete to closed do instead nothing;
"""
LAYOUT = {"routes": [
    *(r for t in ("noted", "closed") for r in (
        {"path": f"/{t}/{{{t}.id}}/row.json", "row": t}, {"path": f"/{t}.d/{{{t}.id}}.json", "row": t},
        {"path": f"/{t}.csv", "rows": t}, {"path": f"/{t}.jsonl", "rows": t}, {"path": f"/{t}.json", "rows": t, "as": "array"},
        {"path": f"/{t}.lines.csv", "rows": t, "columns": ["name", "v"]}))
]}


@pytest.fixture
def files(pg, make_mount):
    pg.sql(SQL)
    return make_mount(layout=LAYOUT)


def test_rules_that_do_something_else_too(files, pg):
    """Each kind of write works."""
    os.mkdir(files / "noted/1")
    put(files / "noted.d/2.json", '{"v": "b"}')
    put(files / "noted.d/2.json", '{"v": "c"}')
    os.rename(files / "noted/1", files / "noted/3")
    append(files / "noted.csv", "4,n,d\n")
    append(files / "noted.jsonl", '{"id": 5}\n')
    assert pg.sql("select id, v from noted order by 1") == [(2, "c"), (3, None), (4, "d"), (5, None)]
    put(files / "noted.csv", "id,name,v\n2,n,x\n4,n,d\n6,m,y\n")
    assert pg.sql("select id, v from noted order by 1") == [(2, "x"), (4, "d"), (6, "y")]
    put(files / "noted.json", '[{"id": 2, "v": "z"}, {"id": 4}, {"id": 7, "name": "q"}]')
    assert pg.sql("select id, v from noted order by 1") == [(2, "z"), (4, "d"), (7, None)]
    put(files / "noted.lines.csv", "name,v\nn,changed\nn,d\nq,\n")
    assert pg.sql("select id, v from noted order by 1") == [(2, "changed"), (4, "d"), (7, None)]
    rm(files / "noted.d/7.json")
    assert pg.one("select count(*) from noted") == 2 and pg.one("select count(*) from notes") > 0
    assert files.errors() == []


def test_rules_that_do_something_else_instead(files, pg):
    """What makes, moves or removes a name says so, and names the rule."""
    pg.sql("alter table closed disable rule to_notes; insert into closed values (1, 'n', 'a'); alter table closed enable rule to_notes")
    before = pg.sql("table closed")
    for number, what in [(errno.EPERM, lambda: os.mkdir(files / "closed/5")),
                         (errno.EPERM, lambda: os.rename(files / "closed/1", files / "closed/6")),
                         (errno.EPERM, lambda: rm(files / "closed.d/1.json")),
                         (errno.EPERM, lambda: put(files / "closed.lines.csv", "name,v\nn,new\n"))]:
        told = len(files.errors())
        with refused(number):
            what()
        assert any(r in files.errors()[told]["message"] for r in ("to_notes", "kept", "not_gone"))
        assert pg.sql("table closed") == before
