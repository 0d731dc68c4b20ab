"""A role with privileges on some columns: what its mount shows, which modes its files have, and what it may write.

Expected values come from SQL as the owner, or as the role itself."""
import errno
import json
import os
import stat

import psycopg2
import pytest

from kit import append, get, put, refused

SQL = """
create table staff (id integer primary key, name text not null unique, mail text, note text, data jsonb, salary integer default 100,
                    seen timestamptz, shout text generated always as (upper(name)) stored);
create table shift (id serial primary key, person integer not null references staff, day text, hours integer, pay integer default 7);
create table mail (id integer primary key, text text, secret text);
create table nokey (a integer, b text, secret text);
create table drop_box (id bigserial primary key, text text);
create table counter (id integer generated always as identity primary key, text text);
create view simple as select id, name, upper(mail) as loud, mail from staff;
create view sums as select count(*) as n, dept from (select 'x' as dept from staff) x group by dept;
create materialized view copied as select id, name from staff;
create unique index on copied (id);
"""

FILL = """
insert into staff (id, name, mail, note, data, salary) values
    (1, 'ann', 'a@x', 'first', '{"a": 1}', 5000), (2, 'bob', 'b@x', E'two\\nlines', null, 6000), (3, 'cyd', null, '', null, 7000);
insert into shift (person, day, hours) values (1, 'mon', 3), (1, 'tue', 4), (2, 'mon', 5);
insert into mail values (1, 'one', 's'), (2, 'two', 's');
insert into nokey values (1, 'x', 's');
insert into counter (text) values ('c');
refresh materialized view copied;
"""

GRANTS = """
grant select (id, name, mail, note, data, shout), update (mail, note, data), insert (id, name, mail) on staff to clerk;
grant select (id, person, day, hours), update (hours), insert (person, day, hours), delete on shift to clerk;
grant usage on shift_id_seq, drop_box_id_seq to clerk;
grant select (id), update (text) on mail to clerk;
grant select (a, b) on nokey to clerk;
grant insert on drop_box to clerk;
grant all on counter, simple, sums, copied to clerk;
"""

LAYOUT = {
    "tables": {"staff": {"mtime": "seen"}, "simple": {"key": ["id"]}, "sums": {"key": ["dept"]}, "copied": {"key": ["id"]}},
    "routes": [
        {"path": "/staff/{staff.name}/person.json", "row": "staff"},
        {"path": "/staff/{staff.name}/mail", "column": "staff.mail"},
        {"path": "/staff/{staff.name}/salary", "column": "staff.salary"},
        {"path": "/staff/{staff.name}/shout", "column": "staff.shout"},
        {"path": "/staff/{staff.name}/name", "column": "staff.name"},
        {"path": "/staff/{staff.name}/shifts.csv", "rows": "shift", "order": ["id"]},
        {"path": "/staff.json", "rows": "staff", "as": "array"},
        {"path": "/by_name.json", "rows": "staff", "as": "object", "by": "name", "columns": ["name", "mail", "note", "salary"]},
        {"path": "/staff.csv", "rows": "staff"},
        {"path": "/staff.jsonl", "rows": "staff"},
        {"path": "/mails/{id}.txt", "column": "mail.text"},
        {"path": "/nokey.csv", "rows": "nokey"},
        {"path": "/drop_box.csv", "rows": "drop_box"},
        {"path": "/counter/{id}/id", "column": "counter.id"},
        {"path": "/counter/{id}/text", "column": "counter.text"},
        {"path": "/simple/{id}.json", "row": "simple"},
        {"path": "/loud/{id}/loud", "column": "simple.loud"},
        {"path": "/loud/{id}/mail", "column": "simple.mail"},
        {"path": "/sums.json", "rows": "sums", "as": "array"},
        {"path": "/copied/{id}.json", "row": "copied"},
    ],
}
SHOWN = ("id", "name", "mail", "note", "data", "shout")


@pytest.fixture
def clerk(empty_pg, make_mount, server):
    """The mount of the role clerk; .pg is the owner's connection, .own a connection of the role."""
    pg = empty_pg
    pg.sql(SQL)
    pg.sql(FILL)
    pg.admin("drop role if exists clerk")
    pg.admin("create role clerk login")
    pg.sql(GRANTS)
    conninfo = server.conninfo(pg.name, "clerk")
    m = make_mount(layout=LAYOUT, conninfo=conninfo, install=False, options={"umask": "0"})
    m.pg, m.make_mount = pg, make_mount
    m.own = psycopg2.connect(conninfo)
    m.own.autocommit = True
    yield m
    m.own.close()
    m.umount()
    pg.close()
    pg.admin("drop owned by clerk")
    pg.admin("drop role clerk")


def people(m):
    """All of the table, the hidden columns too, as the owner sees it."""
    return m.pg.sql("select id, name, mail, note, data::text, salary from staff order by id")


def mode(m, name):
    return stat.S_IMODE(os.stat(m.at(name)).st_mode)


def expected(m, where="true"):
    columns = ", ".join(SHOWN)
    return [json.loads(row) for (row,) in m.pg.sql(f"select row_to_json(x)::text from (select {columns} from staff where {where} order by id) x")]


def test_documents_have_the_columns_that_may_be_read(clerk):
    assert clerk.json("staff/ann/person.json") == expected(clerk, "id = 1")[0]
    assert list(clerk.json("staff/ann/person.json")) == list(SHOWN)
    assert clerk.json("staff.json") == expected(clerk)
    assert clerk.jsonl("staff.jsonl") == expected(clerk)
    assert clerk.read("staff.csv").splitlines()[0] == ",".join(SHOWN)
    assert list(clerk.json("by_name.json")["ann"]) == ["mail", "note"]
    assert clerk.read("staff/ann/shifts.csv") == "id,person,day,hours\n1,1,mon,3\n2,1,tue,4\n"
    assert sorted(clerk.ls("staff")) == ["ann", "bob", "cyd"]
    for name in ("staff.json", "by_name.json", "staff/bob/person.json", "staff/bob/mail"):
        assert os.stat(clerk.at(name)).st_size == len(get(clerk.at(name))), name


def test_a_row_is_written_with_the_columns_that_may_be_updated(clerk):
    text = clerk.read("staff/ann/person.json")
    clerk.write("staff/ann/person.json", text)  # as an editor saves it: what may not be updated is what it was
    before = people(clerk)
    clerk.write("staff/ann/person.json", text.replace("a@x", "new@x"))
    assert people(clerk) == [(1, "ann", "new@x", "first", '{"a": 1}', 5000), *before[1:]]
    for part in ({"mail": "m", "salary": 1}, {"name": "ann", "shout": "no matter", "note": "n", "id": 9}):
        said = clerk.refuses(lambda p=part: clerk.write("staff/ann/person.json", p), (errno.EACCES, errno.EINVAL), path="person.json")
        assert "update only: mail, note, data" in said
    assert people(clerk)[0] == (1, "ann", "new@x", "first", '{"a": 1}', 5000)
    clerk.write("staff/bob/person.json", {"note": "alone"})
    assert people(clerk)[1] == (2, "bob", "b@x", "alone", None, 6000)


def test_a_row_is_made_with_the_columns_that_may_be_inserted(clerk):
    os.mkdir(clerk.at("staff/dan"))
    clerk.write("staff/dan/person.json", {"id": 4, "mail": "d@x"})
    assert people(clerk)[3] == (4, "dan", "d@x", None, None, 100)
    os.mkdir(clerk.at("staff/eve"))
    said = clerk.refuses(lambda: clerk.write("staff/eve/person.json", {"id": 5, "salary": 1}), errno.EACCES, path="eve/person.json")
    assert "insert only: id, name, mail" in said and len(people(clerk)) == 4
    with refused(errno.EACCES):
        os.unlink(clerk.at("staff/dan/person.json"))


def test_a_right_that_is_given_later_counts_at_once(clerk):
    clerk.pg.sql("grant update (name, salary) on staff to clerk")
    clerk.write("staff/bob/person.json", {"note": "n", "salary": 9})
    assert people(clerk)[1] == (2, "bob", "b@x", "n", None, 9)
    changed = clerk.read("staff.json").replace('"cyd"', '"kim"')
    clerk.write("staff.json", changed)
    assert [row[1] for row in people(clerk)] == ["ann", "bob", "kim"]


def test_columns(clerk):
    assert clerk.read("staff/ann/mail") == "a@x"
    clerk.write("staff/ann/mail", "changed")
    append(clerk.at("staff/ann/mail"), " more")
    assert people(clerk)[0][2] == "changed more"
    assert sorted(clerk.ls("staff/ann")) == ["mail", "name", "person.json", "salary", "shifts.csv", "shout"]
    assert mode(clerk, "staff/ann/salary") == 0 and mode(clerk, "staff/ann/mail") == 0o666
    assert mode(clerk, "staff/ann/name") == 0o444 and mode(clerk, "staff/ann/shout") == 0o444
    for action in (lambda: clerk.read("staff/ann/salary"), lambda: clerk.write("staff/ann/salary", "1"),
                   lambda: clerk.write("staff/ann/name", "x")):
        with refused(errno.EACCES):
            action()
    assert people(clerk)[0] == (1, "ann", "changed more", "first", '{"a": 1}', 5000)


def test_a_column_that_may_be_written_and_not_read(clerk):
    assert sorted(clerk.ls("mails")) == ["1.txt", "2.txt"]
    assert mode(clerk, "mails/1.txt") == 0o222
    with refused(errno.EACCES):
        clerk.read("mails/1.txt")
    put(clerk.at("mails/1.txt"), "written")
    assert clerk.pg.sql("select text, secret from mail order by id") == [("written", "s"), ("two", "s")]


def test_table_documents(clerk):
    before = people(clerk)
    text = clerk.read("staff.json")
    clerk.write("staff.json", text)
    assert people(clerk) == before
    clerk.write("staff.json", text.replace("b@x", "bob@x").replace("first", "1st"))
    assert people(clerk) == [(1, "ann", "a@x", "1st", '{"a": 1}', 5000), (2, "bob", "bob@x", "two\nlines", None, 6000), before[2]]
    now = people(clerk)
    rows = clerk.json("staff.json")
    for changed, words in (([{**rows[0], "name": "other"}, *rows[1:]], "update only: mail, note, data"),
                           (rows[1:], "permission denied"),
                           ([*rows, {"id": 9, "name": "n", "note": "not insertable"}], "insert only: id, name, mail")):
        clerk.refuses(lambda c=changed: clerk.write("staff.json", c), errno.EACCES, words, path="staff.json")
        assert people(clerk) == now
    clerk.write("staff.json", [*rows, {"id": 9, "name": "new", "mail": "n@x"}])
    assert people(clerk) == [*now, (9, "new", "n@x", None, None, 100)]
    clerk.write("by_name.json", {**clerk.json("by_name.json"), "cyd": {"mail": "c@x"}})
    assert people(clerk)[2][:3] == (3, "cyd", "c@x")


def test_rows_files(clerk):
    append(clerk.at("staff/bob/shifts.csv"), "day,hours\nwed,8\n")
    assert clerk.pg.sql("select person, day, hours, pay from shift where day = 'wed'") == [(2, "wed", 8, 7)]
    # an editor writes the file anew: hours may be updated
    text = clerk.read("staff/ann/shifts.csv")
    clerk.pg.sql("update shift set pay = 99 where person = 1")
    clerk.write("staff/ann/shifts.csv", text.replace("mon,3", "mon,30"))
    assert clerk.pg.sql("select id, day, hours, pay from shift where person = 1 order by id") == [(1, "mon", 30, 99), (2, "tue", 4, 99)]
    with refused(errno.EACCES):
        clerk.write("staff/ann/shifts.csv", text.replace("mon,3", "sun,30"))
    assert clerk.pg.sql("select id, day, hours, pay from shift where person = 1 order by id") == [(1, "mon", 30, 99), (2, "tue", 4, 99)]
    append(clerk.at("staff.csv"), "id,name,mail\n7,gil,g@x\n")
    assert people(clerk)[3] == (7, "gil", "g@x", None, None, 100)


def test_modes_show_what_the_grants_give(clerk):
    want = {"staff/ann/person.json": 0o666, "staff.json": 0o666, "staff.csv": 0o666, "nokey.csv": 0o444, "drop_box.csv": 0o222,
            "counter/1/id": 0o444, "counter/1/text": 0o666, "simple/1.json": 0o666, "loud/1/loud": 0o444, "loud/1/mail": 0o666,
            "sums.json": 0o444, "copied/1.json": 0o444}
    assert {name: mode(clerk, name) for name in want} == want
    append(clerk.at("drop_box.csv"), "text\nnew\n")
    assert clerk.pg.sql("select text from drop_box") == [("new",)]
    with refused(errno.EACCES):
        clerk.read("drop_box.csv")
    assert mode(clerk, "staff") == mode(clerk, "staff/ann") == 0o777  # plain files can be made there
    put(clerk.at("staff/ann/plain.txt"), "plain")


def test_a_key_that_may_not_be_read_is_told(clerk):
    """nokey has no key, and ctid may not be read; the other files are served all the same."""
    with refused(errno.EACCES):
        clerk.read("nokey.csv")
    clerk.pg.sql("grant select (text) on drop_box to clerk")  # a collector need not read the key of its table
    layout = {"routes": [{"path": "/mail/{text}.json", "row": "mail"}, {"path": "/x/{id}.txt", "column": "mail.text"},
                         {"path": "/in/{n}.csv", "file": True, "ingest": "drop_box", "columns": ["text"]}],
              "tables": {"mail": {"key": ["text"]}}}
    m = clerk.make_mount(layout=layout, conninfo=clerk.conninfo, install=False)
    assert any('"text" of mail' in said for said in m.status()["left_out"]), m.status()["left_out"]
    assert m.ls("x") == ["1.txt", "2.txt"] and "in" in m.ls()
    with refused(errno.EACCES):
        m.ls("mail")
