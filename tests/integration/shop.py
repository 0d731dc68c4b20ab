"""A small schema with a column of every kind, and a layout with a route of every kind, for the tests of the mount itself."""
from pathlib import Path

SQL = """
create type mood as enum ('good', 'so-so', 'bad');
create table items (
    name text primary key check (name <> ''),
    qty integer not null default 0 check (qty >= 0),
    price numeric(20,8),
    huge numeric,
    big bigint,
    ratio float8,
    active boolean default true,
    mood mood default 'good',
    code varchar(5) unique,
    note text,
    meta jsonb default '{}',
    blob bytea,
    born date,
    seen timestamptz,
    tags text[],
    twice integer generated always as (qty * 2) stored);
create table parts (
    id uuid primary key default gen_random_uuid(),
    item text not null references items on delete cascade on update cascade,
    label text not null,
    weight numeric(20,8));
create table flat (id integer primary key, title varchar(10) not null, extra jsonb);
create table pairs (a text, b integer, val text, primary key (a, b));
create table boxes (id integer primary key, label text not null, size integer default 1);
create table lid (box integer references boxes, n integer, text text, primary key (box, n));
create table log (id bigserial primary key, src text not null default 'x', n bigint not null check (n >= 0),
                  amount numeric(20,8), text text);
create table book (id bigserial primary key, exchange varchar(50) not null, symbol varchar(20) not null,
                   timestamp bigint not null, price numeric(20,8));
create index on book (exchange, symbol, timestamp, id);
create table days (day date primary key, text text);
create view item_summary as
    select i.name, i.qty, count(p.id) as parts, sum(p.weight) as weight from items i left join parts p on p.item = i.name
    group by i.name;
create view item_names as select name, qty from items;
create function slow_for(seconds float8) returns table (slept float8) language sql as
    $$ select seconds from (select pg_sleep(seconds)) s $$;
create function add_up(a integer, b integer) returns table (total integer) language sql stable as $$ select a + b $$;
create table audit (n serial primary key, op text);
create function fail_on_request() returns trigger language plpgsql as $$
begin
    if new.note = 'fail please' then
        raise exception 'the trigger refused it' using hint = 'write something else';
    end if;
    insert into audit (op) values (tg_op);
    return new;
end $$;
create trigger items_audit before insert or update on items for each row execute function fail_on_request();
"""

LAYOUT = {
    "tables": {"items": {"mtime": "seen"}},
    "routes": [
        {"path": "/items/{items.name}/item.json", "row": "items"},
        {"path": "/items/{items.name}/note.txt", "column": "items.note"},
        {"path": "/items/{items.name}/qty", "column": "items.qty"},
        {"path": "/items/{items.name}/price", "column": "items.price"},
        {"path": "/items/{items.name}/active", "column": "items.active"},
        {"path": "/items/{items.name}/mood", "column": "items.mood"},
        {"path": "/items/{items.name}/code", "column": "items.code"},
        {"path": "/items/{items.name}/born", "column": "items.born"},
        {"path": "/items/{items.name}/meta.json", "column": "items.meta"},
        {"path": "/items/{items.name}/blob.bin", "column": "items.blob"},
        {"path": "/items/{items.name}/summary.json", "query": "item_summary"},
        {"path": "/items/{items.name}/parts.jsonl", "rows": "parts", "order": ["label", "id"]},
        {"path": "/items/{items.name}/parts.csv", "rows": "parts", "columns": ["label", "weight"], "order": ["label", "id"]},
        {"path": "/items/{items.name}/parts/{parts.id}.json", "row": "parts"},
        {"path": "/flat/{flat.id}.json", "row": "flat", "overflow": "extra"},
        {"path": "/pairs/{a}/{b}.json", "row": "pairs"},
        {"path": "/boxes/{boxes.id}/box.json", "row": "boxes"},
        {"path": "/boxes/{boxes.id}/label", "column": "boxes.label"},
        {"path": "/boxes/{boxes.id}/lids.jsonl", "rows": "lid", "remove": "refuse", "truncate": "refuse"},
        {"path": "/log.csv", "rows": "log", "columns": ["src", "n", "amount", "text"], "order": ["id"]},
        {"path": "/log.jsonl", "rows": "log", "order": ["id"]},
        {"path": "/book/{exchange}/{symbol}/{day}.csv", "rows": "book",
         "keys": {"day": {"column": "timestamp", "unit": "us", "format": "%Y-%m-%d"}},
         "order": ["timestamp", "id"], "columns": ["exchange", "symbol", "timestamp", "price"]},
        {"path": "/days/{days.day}.txt", "column": "days.text"},
        {"path": "/names.jsonl", "query": "item_names"},
        {"path": "/names.csv", "query": "item_names"},
        {"path": "/names.json", "query": "item_names", "as": "array"},
        {"path": "/slow/{seconds}.json", "query": "slow_for"},
        {"path": "/sum/{a}+{b}.json", "query": "add_up"},
    ],
}


class Shop:
    """The mount and its database in one hand."""

    def __init__(self, mount, pg):
        self.m, self.pg = mount, pg
        self.sql, self.one = pg.sql, pg.one

    def add(self, name, **columns):
        """Inserts an item by SQL."""
        columns["name"] = name
        names = ", ".join(columns)
        self.sql(f"insert into items ({names}) values ({', '.join(['%s'] * len(columns))})", *columns.values())
        return Path(f"items/{name}")

    def item(self, column, name="bolt"):
        return self.one(f"select {column} from items where name = %s", name)


def without(*paths, **changes):
    """The layout with routes that end in PATHS left out, and route PATH's words changed: {'/log.csv': {...}}."""
    routes = [dict(r, **changes.get(r["path"], {})) for r in LAYOUT["routes"] if not r["path"].endswith(tuple(paths) or ("\0",))]
    return {**LAYOUT, "routes": routes}
