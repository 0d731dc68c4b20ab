"""A row that a BEFORE trigger skips (RETURN NULL): what is written is no failure; a name that does not come or go is EPERM."""
import errno
import os

import pytest

from kit import get, put, refused, rm

SQL = """
create table things (name text primary key, title text not null default 't', note text, deleted boolean not null default false);
create table pieces (thing text not null references things on delete cascade, n integer, primary key (thing, n));
create function skip() returns trigger language plpgsql as $$ begin return null; end $$;
create function hide() returns trigger language plpgsql as $$ begin update things set deleted = true where name = old.name; return null; end $$;
create function touch() returns trigger language plpgsql as $$ begin update things set title = 'touched' where name = old.name; return null; end $$;
insert into things (name, note) values ('a', 'na'), ('b', 'nb');
insert into pieces values ('a', 1), ('b', 1);
create view shown as select name, title from things where not deleted;
"""
LAYOUT = {"tables": {"shown": {"key": ["name"]}}, "routes": [
    {"path": "/things/{things.name}/thing.json", "row": "things", "columns": ["name", "title"]},
    {"path": "/things/{things.name}/note.txt", "column": "things.note"},
    {"path": "/flat/{things.name}.json", "row": "things", "columns": ["name", "title"]},
    {"path": "/live/{shown.name}.json", "row": "shown"},
]}


@pytest.fixture
def box(pg, make_mount):
    pg.sql(SQL)
    return make_mount(layout=LAYOUT)


def skips(pg, what, function="skip"):
    pg.sql(f"create trigger skips before {what} on things for each row execute function {function}()")


def state(pg):
    return pg.sql("select name, title, note, deleted from things order by 1"), pg.sql("select * from pieces order by 1")


def test_a_new_document_that_is_skipped(box, pg):
    before = state(pg)
    skips(pg, "insert")
    put(box / "flat/c.json", '{"title": "new"}')
    assert not (box / "flat/c.json").exists()
    assert state(pg) == before and box.errors() == []


@pytest.mark.parametrize("what", ["update", "insert or update"])
def test_an_update_that_is_skipped(box, pg, what):
    before = state(pg)
    skips(pg, what)
    put(box / "flat/a.json", '{"title": "new"}')
    assert b'"t"' in get(box / "flat/a.json")
    assert state(pg) == before and box.errors() == []


def test_a_contradiction_is_told_all_the_same(box, pg):
    skips(pg, "insert or update")
    for name in "ac":
        with refused(errno.EINVAL):
            put(box / f"flat/{name}.json", '{"name": "other"}')


def test_a_row_that_a_policy_of_update_hides_is_no_success(box, pg):
    """The server affects no row then, either; it is not the database's owner who asks."""
    pg.sql("alter table things enable row level security; alter table things force row level security;"
           "create policy reads on things for select using (true); create policy inserts on things for insert with check (true)")
    pg.sql("do $$ begin execute format('alter role %I nobypassrls', current_user); exception when others then null; end $$")
    if pg.one("select rolsuper or rolbypassrls from pg_roles where rolname = current_user"):
        pytest.skip("the mount's role passes policies by")
    with refused(errno.EEXIST):
        put(box / "flat/a.json", '{"title": "new"}')


def test_a_column_that_is_skipped(box, pg):
    before = state(pg)
    skips(pg, "update")
    put(box / "things/a/note.txt", "new")
    assert get(box / "things/a/note.txt") == b"na"
    with open(box / "things/a/note.txt", "a") as f:
        f.write("more")
    assert get(box / "things/a/note.txt") == b"na"
    assert state(pg) == before and box.errors() == []
    with refused(errno.EPERM):
        os.unlink(box / "things/a/note.txt")
    assert "skipped" in box.errors()[-1]["message"]
    assert state(pg) == before


@pytest.mark.parametrize("path", ["flat/a.json", "things/a/thing.json"])
def test_a_removal_that_is_skipped(box, pg, path):
    before = state(pg)
    skips(pg, "delete")
    with refused(errno.EPERM):
        os.unlink(box / path)
    assert "skipped" in box.errors()[-1]["message"]
    assert (box / path).exists()
    assert state(pg) == before
    rm(box / "things/b/note.txt")
    assert pg.one("select note from things where name = 'b'") is None


def test_a_trigger_that_hides_instead_of_deleting(box, pg):
    skips(pg, "delete", "hide")
    rm(box / "live/a.json")
    assert not (box / "live/a.json").exists()
    assert pg.sql("select name, deleted from things order by 1") == [("a", True), ("b", False)]
    assert box.errors() == []


def test_a_removal_beside_one_that_is_skipped(box, pg):
    """It is not undone with the other; nor is what the trigger has done beside skipping left behind."""
    pg.sql("create trigger skips before delete on things for each row when (old.name = 'a') execute function touch()")
    os.unlink(box / "flat/b.json")
    with refused(errno.EPERM):
        os.unlink(box / "flat/a.json")
    rm(box / "things/a/note.txt")
    assert state(pg) == ([("a", "t", None, False)], [("a", 1)])


def test_mkdir_and_rename_that_are_skipped(box, pg):
    before = state(pg)
    skips(pg, "insert or update")
    with refused(errno.EPERM):
        os.mkdir(box / "things/c")
    with refused(errno.EPERM):
        os.rename(box / "flat/a.json", box / "flat/c.json")
    with refused(errno.EPERM):
        os.rename(box / "things/a", box / "things/c")
    assert sorted(os.listdir(box / "flat")) == ["a.json", "b.json"]
    assert state(pg) == before
    assert all("skipped" in e["message"] for e in box.errors())


def test_a_save_by_rename_that_is_skipped(box, pg):
    put(box / "flat/tmp.json", '{"title": "new"}')
    before = state(pg)
    skips(pg, "update")
    with refused(errno.EPERM):
        os.rename(box / "flat/tmp.json", box / "flat/a.json")
    assert state(pg) == before
