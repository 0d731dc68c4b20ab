#!/usr/bin/env python3
"""What the triggers that rowfs installs add to a statement of one row: tests/bench/triggers.py [STATEMENTS]

A table with one rows file a key, and with a document a row, as in docs/LAYOUT.md. Each figure is the median of nine runs, and a run is
a loop in the server: what the client and the network take is in none of them. The bare table is measured before and after."""
import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
import kit  # noqa: E402
import mountkit  # noqa: E402

TABLE = """create table ticks (id bigserial primary key, exchange text not null, symbol text not null, ts bigint not null,
    price numeric, note text);
create index on ticks (exchange, symbol, ts, id)"""
LAYOUT = {"routes": [{"path": "/t/{exchange}/{symbol}.csv", "rows": "ticks", "columns": ["ts", "price", "note"]},
                     {"path": "/rows/{ticks.id}.json", "row": "ticks"}]}
INSERT = "insert into ticks (exchange, symbol, ts, price, note) values ('ex' || i % 2, 's' || i % 50, i, i * 1.25, 'note')"
UPDATE = "update ticks set price = price + 1 where id = i"
RUNS = 9


def measure(pg, n):
    """µs a statement."""
    out = {}
    for name, statement in (("INSERT", INSERT), ("UPDATE", UPDATE)):
        took = []
        for _ in range(RUNS):
            pg.sql("truncate ticks restart identity")
            if statement is UPDATE:
                pg.sql(f"do $$ begin for i in 1..{n} loop {INSERT}; end loop; end $$")
            start = time.perf_counter()
            pg.sql(f"do $$ begin for i in 1..{n} loop {statement}; end loop; end $$")
            took.append((time.perf_counter() - start) / n * 1e6)
        out[name] = statistics.median(took)
    return out


def main():
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    server = kit.Postgres()
    try:
        pg = server.create_database("cost")
        kit.deploy(pg)
        pg.sql(TABLE)
        layout = server.dir / "layout.json"
        layout.write_text(json.dumps(LAYOUT))
        rows = [("bare", measure(pg, n))]
        mountkit.install(pg.conninfo, layout)
        rows.append(("both", measure(pg, n)))
        pg.sql("select rowfs.untell('ticks')")
        rows.append(("rowfs_* (sizes)", measure(pg, n)))
        pg.sql("select rowfs.unwatch('ticks')")
        mountkit.install(pg.conninfo, layout)
        pg.sql("select rowfs.unwatch('ticks')")
        rows.append(("tell_rowfs_* (notices)", measure(pg, n)))
        pg.sql("select rowfs.untell('ticks')")
        rows.append(("bare, again", measure(pg, n)))
        for name, took in rows:
            print(f"{name:24}" + "".join(f"{what} {us:6.1f} us   " for what, us in took.items()))
    finally:
        server.destroy()


if __name__ == "__main__":
    main()
