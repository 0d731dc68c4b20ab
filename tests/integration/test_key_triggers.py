"""A trigger that changes the key of a row: a name is made as it was said, or nothing is made."""
import errno
import os

import pytest

from kit import get, put, refused

SQL = """
create table low (name text primary key, v text, note text);
create table pairs (a text, b int, v text, primary key (a, b));
create table plain (name text primary key, v text);
create table parts (low text references low on update cascade on delete cascade, n int);
create function lower_key() returns trigger language plpgsql as $$ begin new.name = lower(new.name); return new; end $$;
create function lower_a() returns trigger language plpgsql as $$ begin new.a = lower(new.a); return new; end $$;
create trigger lw before insert or update on low for each row execute function lower_key();
create trigger lw before insert or update on pairs for each row execute function lower_a();
"""
LAYOUT = {"routes": [
    {"path": "/low/{low.name}/row.json", "row": "low"},
    {"path": "/low/{low.name}/note.txt", "column": "low.note"},
    {"path": "/flat/{low.name}.json", "row": "low"},
    {"path": "/pairs/{pairs.a}-{pairs.b}/row.json", "row": "pairs"},
    {"path": "/plain/{plain.name}/row.json", "row": "plain"},
]}


@pytest.fixture
def box(pg, make_mount):
    pg.sql(SQL)
    return make_mount(layout=LAYOUT)


def told(box, *words):
    message = box.errors()[-1]["message"]
    assert all(w in message for w in words), message


def test_directories(box, pg):
    with refused(errno.EINVAL):
        os.mkdir(box / "low/ANNA")
    told(box, "name", "anna", "nothing is changed")
    with refused(errno.EINVAL):
        os.mkdir(box / "pairs/X-1")
    told(box, "a = x")
    assert pg.sql("select * from low") == [] and pg.sql("select * from pairs") == [] and os.listdir(box / "low") == []
    os.mkdir(box / "low/berta")
    os.mkdir(box / "pairs/x-1")
    pg.sql("insert into parts values ('berta', 1)")
    for old, new in [("low/berta", "low/CARLA"), ("pairs/x-1", "pairs/Y-2"), ("flat/berta.json", "flat/Carla.json")]:
        with refused(errno.EINVAL):
            os.rename(box / old, box / new)
        assert (box / old).exists() and not (box / new).exists()
    assert pg.sql("select name from low") == [("berta",)] and pg.sql("select a, b from pairs") == [("x", 1)]
    os.rename(box / "low/berta", box / "low/carla")
    os.rename(box / "pairs/x-1", box / "pairs/y-2")
    assert pg.sql("select * from parts") == [("carla", 1)] and os.listdir(box / "pairs") == ["y-2"]


def test_documents(box, pg):
    """A new one is refused and kept; one that is there is changed, whatever else a trigger does."""
    with refused(errno.EINVAL):
        put(box / "flat/ANNA.json", '{"v": "x"}')
    told(box, "name", "anna")
    assert get(box / ".rowfs/rejected" / os.listdir(box / ".rowfs/rejected")[0]) == b'{"v": "x"}'
    assert pg.sql("select * from low") == []
    put(box / "flat/anna.json", '{"v": "x"}')
    put(box / "flat/anna.json", '{"v": "y"}')
    assert pg.sql("select name, v from low") == [("anna", "y")]


def test_a_save_by_a_temporary_file(box, pg):
    """Its name is no key that a row could have."""
    put(box / "flat/anna.json", '{"v": "x"}')
    fd = os.open(box / "flat/tmpXyZ.json", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.write(fd, b'{"v": "y"}')
    os.fsync(fd)
    os.close(fd)
    os.rename(box / "flat/tmpXyZ.json", box / "flat/anna.json")
    assert pg.sql("select name, v from low") == [("anna", "y")] and box.errors() == []


def test_a_trigger_that_comes_while_it_is_mounted(box, pg):
    os.mkdir(box / "plain/One")
    pg.sql("create trigger lw before insert or update on plain for each row execute function lower_key()")
    with refused(errno.EINVAL):
        os.mkdir(box / "plain/TWO")
    with refused(errno.EINVAL):
        os.rename(box / "plain/One", box / "plain/THREE")
    assert pg.sql("select name from plain") == [("One",)]
