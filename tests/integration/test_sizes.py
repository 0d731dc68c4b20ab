"""Sizes of rows files that no summary keeps: a listing and stat read no rows for them, and whoever opens the file is told its true size. The
second source is SQL on the rows, and the server's count of rows that were read."""
import mmap
import os

import pytest

from kit import get, run, until

SQL = """
create table makers (id int primary key, name text unique not null);
create table parts (id bigserial primary key, maker int not null references makers, kind text not null, price numeric);
create index on parts (kind, id);
create index on parts (maker, id);
insert into makers select g, 'm' || g from generate_series(1, 20) g;
insert into parts (maker, kind, price) select 1 + g % 20, 'k' || g % 50, g from generate_series(1, 20000) g;
create view cheap as select id, kind, price from parts where price < 5000"""
LAYOUT = {"tables": {"cheap": {"key": ["id"]}}, "routes": [{"path": "/makers/{makers.name}/maker.json", "row": "makers"},
                     {"path": "/makers/{makers.name}/parts.csv", "rows": "parts", "columns": ["kind", "price"]},
                     {"path": "/kinds/{parts.kind}.jsonl", "rows": "parts", "columns": ["id", "price"]},
                     {"path": "/all.csv", "rows": "parts", "columns": ["id", "kind", "price"]},
                     {"path": "/cheap/{cheap.kind}.jsonl", "rows": "cheap", "columns": ["id", "price"]}]}
FILES = ["makers/m3/parts.csv", "kinds/k7.jsonl", "all.csv", "cheap/k7.jsonl"]


@pytest.fixture(params=["core", "no core"])
def big(request):
    pg = request.getfixturevalue("pg" if request.param == "core" else "empty_pg")
    pg.sql(SQL)
    pg.sql("analyze")
    return pg


def read_rows(pg):
    """How many rows of parts were read from the table itself, by all sessions that have ended."""
    pg.close()
    until(lambda: not pg.admin("select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"),
          "all sessions have ended")
    return pg.admin("select seq_tup_read + idx_tup_fetch from pg_stat_user_tables where relname = 'parts'")[0][0]


def want(pg, path):
    what = {"makers/m3/parts.csv": ("E'kind,price\\n' || string_agg(kind || ',' || price || E'\\n', '' order by id)", "parts where maker = 3"),
            "kinds/k7.jsonl": ("string_agg(row_to_json(x)::text || E'\\n', '' order by id)", "(select id, price from parts where kind = 'k7') x"),
            "all.csv": ("E'id,kind,price\\n' || string_agg(id || ',' || kind || ',' || price || E'\\n', '' order by id)", "parts"),
            "cheap/k7.jsonl": ("string_agg(row_to_json(x)::text || E'\\n', '' order by id)", "(select id, price from cheap where kind = 'k7') x")}
    columns, source = what[path]
    return pg.one(f"select {columns} from {source}").encode()


@pytest.mark.parametrize("names, passes", [(["makers/m3", "."], 0), (["kinds"], 1)], ids=["of rows", "of values"])
def test_a_listing_reads_no_rows_for_sizes(big, make_mount, names, passes):
    """Where names are the values of a column, that column is read, once for all names."""
    big.sql("vacuum parts")
    before = read_rows(big)
    m = make_mount(layout=LAYOUT, conninfo=big.conninfo, install=False)
    for name in names:
        run("ls", "-l", m.at(name))
        for base, _, files in os.walk(m.at(name)) if passes else ():
            assert len(files) == 50 and {os.stat(os.path.join(base, f)).st_size for f in files} == {0}
    for path in FILES[:3]:
        assert os.stat(m.at(path)).st_size == 0
    m.umount()
    assert read_rows(big) - before < 2 * passes * 20000 + 1000


@pytest.mark.parametrize("path", FILES)
def test_who_opens_it_is_told_its_size(big, make_mount, path):
    text = want(big, path)
    m = make_mount(layout=LAYOUT, conninfo=big.conninfo, install=False)
    os.stat(m.at(path))
    fd = os.open(m.at(path), os.O_RDONLY)
    assert os.fstat(fd).st_size == os.lseek(fd, 0, os.SEEK_END) == len(text)
    assert os.stat(m.at(path)).st_size == len(text)  # while it is open
    os.close(fd)
    assert get(m.at(path)) == text


@pytest.mark.parametrize("path", FILES[:2])
def test_programs_see_all_of_it(big, make_mount, tmp_path, path):
    """Those that go by st_size among them."""
    text = want(big, path)
    m = make_mount(layout=LAYOUT, conninfo=big.conninfo, install=False)
    name = m.at(path)
    assert run("cat", name).stdout.encode() == text
    assert int(run("wc", "-c", name).stdout.split()[0]) == len(text)
    assert run("tail", "-c", "10", name).stdout.encode() == text[-10:]
    assert run("tail", "-n", "1", name).stdout.encode() == text.splitlines(True)[-1]
    run("cp", name, tmp_path / "cp")
    run("tar", "-C", m.path, "-cf", tmp_path / "t.tar", path)
    assert run("tar", "-xOf", tmp_path / "t.tar").stdout.encode() == text
    run("rsync", "-a", name, tmp_path / "rsync")
    assert get(tmp_path / "cp") == get(tmp_path / "rsync") == text
    with open(name, "rb") as f, mmap.mmap(f.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) as mapped:
        assert mapped[:] == text
    with open(name, "rb") as f, open(tmp_path / "sent", "wb") as to:
        assert os.sendfile(to.fileno(), f.fileno(), 0, os.fstat(f.fileno()).st_size) > 0


def test_what_is_written_goes_by_the_true_size(big, make_mount):
    m = make_mount(layout=LAYOUT, conninfo=big.conninfo, install=False)
    os.stat(m.at("makers/m3/parts.csv"))
    rows = big.one("select count(*) from parts where maker = 3")
    m.append("makers/m3/parts.csv", "k1,17\n", sync=True)
    assert big.one("select count(*) from parts where maker = 3") == rows + 1
    fd = os.open(m.at("makers/m4/parts.csv"), os.O_RDWR)
    end = os.lseek(fd, 0, os.SEEK_END)
    os.pwrite(fd, b"k1,18\n", end)
    os.fsync(fd)
    os.close(fd)
    assert big.one("select count(*) from parts where maker = 4") == rows + 1
    os.truncate(m.at("makers/m5/parts.csv"), len(b"kind,price\n"))
    assert until(lambda: big.one("select count(*) from parts where maker = 5") == 0, "the rows are gone")
