"""logrotate as it is, on rows files, ingest files and plain files."""
import os
import shutil

import pytest

from kit import run

SQL = "create table bars (id bigserial primary key, sym text not null, n bigint not null, memo text)"
COLUMNS = ["sym", "n", "memo"]
HEADER = "sym,n,memo\n"

LOGROTATE = shutil.which("logrotate", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def layout(**words):
    return {"routes": [
        {"path": "/bars.csv", "rows": "bars", "columns": COLUMNS, "order": ["id"], **words},
        {"path": "/in/bars.csv", "file": True, "ingest": "bars", "columns": COLUMNS},
        {"path": "/in/bars.csv.{n}", "file": True, "ingest": "bars", "columns": COLUMNS, "format": "csv", "replace": "keep"}]}


@pytest.fixture
def rotate(tmp_path):
    """rotate(path, words): one forced run, with a state of its own."""
    def once(path, *words, ok=True):
        conf = tmp_path / "conf"
        conf.write_text(f"{path} {{\n  rotate 5\n  su root root\n  missingok\n" + "".join(f"  {w}\n" for w in words) + "}\n")
        conf.chmod(0o644)
        return run(LOGROTATE, "-f", "-s", tmp_path / "state", conf, ok=ok)
    return once


def numbers(pg):
    return [n for (n,) in pg.sql("select n from bars order by id")]


def rotate_three_times(path, rotate, *words):
    """A log that gets two lines before each rotation; its writer has it open by append."""
    for k in range(3):
        with open(path, "a", encoding="utf-8") as f:
            f.write(f"A,{2 * k},x\nA,{2 * k + 1},y\n")
        rotate(path, *words)
    with open(path, "a", encoding="utf-8") as f:
        f.write("A,6,z\n")


def read_all(path):
    """Every file of the log, gunzipped; headers, which only rows files have, left out."""
    out = {}
    for p in sorted(path.parent.glob(path.name + "*")):
        text = run("gunzip", "-c", p).stdout if p.name.endswith(".gz") else p.read_text()
        out[p.name] = text.removeprefix(HEADER)
    return out


@pytest.mark.parametrize("words", [("copytruncate",), ("copytruncate", "compress"), ("create 0644 root root", "compress")])
def test_rows_and_plain_files(make_mount, pg, tmp_path, rotate, words):
    """As on a disk: the lines are in the rotated files. With copytruncate the rows of the log are those that came since."""
    pg.sql(SQL)
    mount = make_mount(layout=layout())
    disk = tmp_path / "disk"
    disk.mkdir()
    rows = "copytruncate" in words
    for path in (disk / "bars.csv", mount.at("plain.log"), *([mount.at("bars.csv")] if rows else [])):
        path.touch()
        rotate_three_times(path, rotate, *words)
    want = read_all(disk / "bars.csv")
    assert len(want) == 4 and want["bars.csv"] == "A,6,z\n"
    assert list(read_all(mount.at("plain.log")).values()) == list(want.values())
    if rows:
        assert read_all(mount.at("bars.csv")) == want
        assert numbers(pg) == [6]
    assert mount.errors() == []


def test_create_leaves_a_rows_file_as_it_is(make_mount, pg, rotate):
    """A rows file cannot be renamed to a plain name: plain files live as long as the mount."""
    pg.sql(SQL)
    mount = make_mount(layout=layout())
    mount.append("bars.csv", "A,1,x\nA,2,y\n")
    done = rotate(mount.at("bars.csv"), "create 0644 root root", ok=False)
    assert done.returncode != 0 and "cross-device" in done.stderr
    assert mount.read("bars.csv") == HEADER + "A,1,x\nA,2,y\n" and numbers(pg) == [1, 2]
    assert not mount.exists("bars.csv.1")


@pytest.mark.parametrize("words", [("create 0644 root root",), ("copytruncate",)])
def test_ingest_files(make_mount, pg, tmp_path, rotate, words):
    """Rotated names are on a route of their own. The bytes are where a disk has them; with `create` each row stays one row."""
    pg.sql(SQL)
    mount = make_mount(layout=layout())
    disk = tmp_path / "disk"
    disk.mkdir()
    for path in (disk / "bars.csv", mount.at("in/bars.csv")):
        path.touch()
        rotate_three_times(path, rotate, *words)
    assert read_all(mount.at("in/bars.csv")) == read_all(disk / "bars.csv")
    assert sorted(numbers(pg)) == list(range(7))
    assert mount.errors() == []


@pytest.mark.parametrize("words", [("create 0644 root root",), ("copytruncate",)])
@pytest.mark.parametrize("keeps", [{"truncate": "refuse"}, {"remove": "refuse"}, {"truncate": "refuse", "remove": "refuse"}])
def test_a_log_whose_lines_the_layout_keeps(make_mount, pg, rotate, words, keeps):
    """The rotation fails before the older files have moved, and no row is gone."""
    pg.sql(SQL)
    mount = make_mount(layout=layout(**keeps))
    mount.append("bars.csv", "A,1,x\nA,2,y\n")
    for k in (1, 2):
        mount.write(f"bars.csv.{k}", f"older {k}\n")
    done = rotate(mount.at("bars.csv"), *words, ok=False)
    assert done.returncode != 0 and "Operation not permitted" in done.stderr
    assert {k: mount.read(f"bars.csv.{k}") for k in (1, 2)} == {1: "older 1\n", 2: "older 2\n"}
    assert mount.read("bars.csv") == HEADER + "A,1,x\nA,2,y\n" and numbers(pg) == [1, 2]
    mount.write("bars.csv.9", "mine\n")
    run("mv", mount.at("bars.csv.9"), mount.at("other"))  # any other name is free
    assert mount.read("other") == "mine\n"
