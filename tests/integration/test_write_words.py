"""What a layout lets be changed: "write", "remove" and "truncate" of each kind. What may not be changed is the same afterwards, in SQL."""
import errno
import json
import os

import pytest

from kit import append, put, refused, rm, run, sh
from mountkit import clean_env, rowfs_binary

TABLES = """
create table plants (name text primary key, species text, pot int);
create table waterings (id bigserial primary key, plant text not null references plants on delete cascade on update cascade, litres int);
create table raw (id bigserial primary key, a text);
create view summary as select name from plants;
insert into plants values ('fig', 'ficus', 3), ('oak', 'quercus', null);
insert into waterings (plant, litres) select 'fig', g from generate_series(1, 5) g"""


def layout(write=None, **words):
    """The routes, each with the words of WORDS that are of its name."""
    routes = {"row": {"path": "/plants/{plants.name}/plant.json", "row": "plants"},
              "column": {"path": "/plants/{plants.name}/species.txt", "column": "plants.species"},
              "pot": {"path": "/plants/{plants.name}/pot", "column": "plants.pot"},
              "rows": {"path": "/plants/{plants.name}/waterings.csv", "rows": "waterings", "columns": ["litres"]},
              "table": {"path": "/table.json", "rows": "plants", "as": "array"},
              "query": {"path": "/summary.json", "query": "summary", "as": "array"},
              "ingest": {"path": "/in/{x}.csv", "file": True, "ingest": "raw", "columns": ["a"]}}
    for name, more in words.items():
        routes[name] |= more
    return {"routes": list(routes.values())} | ({"write": write} if write else {})


@pytest.fixture
def garden(pg, make_mount):
    pg.sql(TABLES)

    def mounted(**words):
        pg.m = make_mount(layout=layout(**words))
        return pg.m
    pg.mounted = mounted
    pg.all = lambda: [pg.sql(f"select * from {t} order by 1") for t in ("plants", "waterings", "raw")]
    return pg


def test_a_row_that_stays_keeps_its_columns(garden):
    m, before = garden.mounted(row={"remove": "refuse"}), garden.all()
    done = sh("rm -rf plants/fig", cwd=m.path, ok=False)
    assert "not permitted" in done.stderr
    assert garden.sql("select * from plants order by 1") == before[0]
    for name in ("species.txt", "pot", "plant.json"):
        m.refuses(lambda name=name: os.unlink(m.at(f"plants/fig/{name}")), errno.EPERM, '\\"remove\\": \\"refuse\\"', path=f"plants/fig/{name}")
    m.refuses(lambda: os.rmdir(m.at("plants/oak")), errno.EPERM, "refuse")
    m.write("plants/fig/species.txt", "f. carica")  # changing is not removing
    assert garden.sql("select species from plants where name = 'fig'") == [("f. carica",)]


def test_words_of_a_column(garden):
    m = garden.mounted(column={"remove": "refuse", "truncate": "refuse"})
    path = m.at("plants/fig/species.txt")
    m.write("other", "x")
    for change in (lambda: os.unlink(path), lambda: put(path, "x"), lambda: os.truncate(path, 2), lambda: os.rename(m.at("other"), path)):
        m.refuses(change, errno.EPERM, "refuse", path="plants/fig/species.txt")
    fd = os.open(path, os.O_RDWR)
    with refused(errno.EPERM):
        os.ftruncate(fd, 0)
    os.close(fd)
    append(path, b" carica")
    rm(m.at("plants/fig/pot"))
    assert garden.sql("select * from plants where name = 'fig'") == [("fig", "ficus carica", None)]


def test_write_none(garden):
    garden.mounted()
    garden.m.write("in/a.csv", "a\nb\n")
    garden.m.umount()
    m, before = garden.mounted(write="none"), garden.all()
    fig = "plants/fig"
    changes = [lambda p=p: put(m.at(p), "x") for p in (f"{fig}/plant.json", f"{fig}/species.txt", "table.json", "in/a.csv", "in/b.csv", f"{fig}/note", "note",
                                                       "summary.json", f"{fig}/waterings.csv")]
    changes += [lambda p=p: append(m.at(p), b"9\n") for p in (f"{fig}/waterings.csv", f"{fig}/species.txt", "in/a.csv")]
    changes += [lambda p=p: os.truncate(m.at(p), 0) for p in (f"{fig}/waterings.csv", f"{fig}/species.txt", "in/a.csv", "table.json")]
    changes += [lambda p=p: os.unlink(m.at(p)) for p in (f"{fig}/plant.json", f"{fig}/species.txt", f"{fig}/waterings.csv", "table.json", "in/a.csv")]
    changes += [lambda: os.mkdir(m.at("plants/new")), lambda: os.mkdir(m.at("dir")), lambda: os.rmdir(m.at("plants/oak")), lambda: os.symlink("x", m.at("link")),
                lambda: os.rename(m.at(fig), m.at("plants/figs")), lambda: os.rename(m.at(f"{fig}/species.txt"), m.at(f"{fig}/backup")),
                lambda: os.rename(m.at("in/a.csv"), m.at("in/b.csv"))]
    for i, change in enumerate(changes):
        with refused(errno.EROFS):
            change()
        assert m.errors(), i
    assert '\\"write\\": \\"none\\"' in m.sentence()
    assert garden.all() == before and m.read(f"{fig}/waterings.csv") == "litres\n1\n2\n3\n4\n5\n" and m.read("in/a.csv") == "a\nb\n"
    assert os.stat(m.at(f"{fig}/plant.json")).st_mode & 0o222 == 0


def test_write_rows(garden):
    m = garden.mounted(write={"/plants": "rows", "/table.json": "rows", "/in": "rows"}, ingest={"remove": "rows"})
    m.write("in/a.csv", "p\nq\n")
    before = garden.all()
    lines = m.at("plants/fig/waterings.csv")
    m.write("other", "litres\n1\n")
    for change in (lambda: put(lines, "litres\n1\n"), lambda: os.truncate(lines, 0), lambda: os.unlink(lines), lambda: os.rename(m.at("other"), lines),
                   lambda: put(m.at("table.json"), "[]"), lambda: os.unlink(m.at("table.json")), lambda: os.truncate(m.at("table.json"), 0),
                   lambda: put(m.at("in/a.csv"), "c\n"), lambda: os.truncate(m.at("in/a.csv"), 0), lambda: os.unlink(m.at("in/a.csv"))):
        m.refuses(change, errno.EPERM, '\\"write\\": \\"rows\\"')
    assert garden.all() == before
    append(lines, b"6\n")
    append(m.at("in/a.csv"), b"r\n")
    m.write("plants/fig/species.txt", "carica")
    m.write("plants/fig/plant.json", {"pot": 9})
    m.mkdir("plants/new")
    os.rename(m.at("plants/new"), m.at("plants/newer"))
    rm(m.at("plants/fig/species.txt"))
    rm(m.at("plants/oak/plant.json"))
    m.write("note", "plain")
    assert garden.sql("select * from plants order by 1") == [("fig", None, 9), ("newer", None, None)]
    assert garden.sql("select litres from waterings order by 1") == [(i,) for i in range(1, 7)]
    assert garden.sql("select a from raw order by id") == [("p",), ("q",), ("r",)]


def test_the_nearest_word_counts(garden):
    m = garden.mounted(write={"/": "none", "/plants": "rows", "/plants/{plants.name}/pot": "none"}, rows={"write": "all"})
    put(m.at("plants/fig/waterings.csv"), "litres\n7\n")
    assert garden.sql("select litres from waterings") == [(7,)]
    m.write("plants/fig/species.txt", "x")
    for path in ("plants/fig/pot", "table.json", "note"):
        with refused(errno.EROFS):
            put(m.at(path), "1")


@pytest.mark.parametrize("words, said", [
    ({"query": {"write": "rows"}}, "query"), ({"row": {"truncate": "refuse"}}, "truncate"), ({"ingest": {"truncate": "refuse"}}, "truncate"),
    ({"query": {"remove": "refuse"}}, "remove"), ({"write": "some"}, '"none", "rows" or "all"'), ({"rows": {"write": "x"}}, '"none", "rows" or "all"'),
    ({"write": {"/plant": "none"}}, "no route has this path"), ({"write": {"plants": "none"}}, "begins with /"), ({"write": []}, '"none", "rows" or "all"')])
def test_words_that_mean_nothing_are_mistakes(garden, tmp_path, words, said):

    path = tmp_path / "layout.json"
    made = layout(**{k: v for k, v in words.items() if k != "write"})
    path.write_text(json.dumps(made | ({"write": words["write"]} if "write" in words else {})))
    done = run(rowfs_binary(), "check", path, garden.conninfo, env=clean_env(), ok=False)
    assert done.returncode != 0 and said in done.stdout + done.stderr, done
