"""Sentences of docs/SEMANTICS.md and docs/OPERATIONS.md that no other test shows; each test names its sentence."""
import contextlib
import errno
import json
import os
import re
import subprocess

import psycopg2
import pytest

from kit import ROOT, get, put, refused, run, until
from mountkit import install
from shop import LAYOUT as SHOP

COLUMNS = "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount"
START = 1758326400000000  # 2025-09-20
DAY = "orderbook/x/Y/2025-09-20.csv"
INGEST = "collector/Y_orderbook_20250920_100000.csv"
IMPATIENT = {"retry_attempts": 1, "retry_delay": "0.1", "retry_backoff": "1.0", "connection_timeout": 2}
APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND


def line(i):
    return f"x,Y,{START + i},{i},1,2,3,4\n".encode()


def lines(first, end):
    return b"".join(line(i) for i in range(first, end))


def rows(pg):
    return [r[0] for r in pg.sql("select local_timestamp from orderbook_data order by local_timestamp, id")]


def open_day(mount, flags=APPEND):
    mount.at(DAY).parent.mkdir(parents=True, exist_ok=True)
    return os.open(mount.at(DAY), flags, 0o644)


def kept_texts(mount):
    """The lines in rejected/, as texts."""
    return [json.loads(entry)["text"] for name, body in mount.rejected().items() if name.endswith(".jsonl") for entry in body.splitlines()]


def operations(title):
    """The section TITLE of OPERATIONS.md."""
    page = (ROOT / "docs/OPERATIONS.md").read_text(encoding="utf-8")
    return page.split(f"## {title}\n")[1].split("\n## ")[0]


# -- 1: when something is committed -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ingest", [False, True])
def test_lines_are_committed_after_flush_interval(make_mount, pg, ingest):
    """1.5, 6.7: nobody calls fsync or close."""
    mount = make_mount(options={"flush_interval": "0.05"})
    fd = os.open(mount.at(INGEST), APPEND, 0o644) if ingest else open_day(mount)
    os.write(fd, line(1) + line(2)[:9])
    until(lambda: rows(pg) == [1], "the line is there")
    os.write(fd, line(2)[9:])
    until(lambda: rows(pg) == [1, 2], "the other half has come")
    os.close(fd)


def test_lines_are_committed_when_batch_size_are_there(make_mount, pg):
    """1.5: long before flush_interval, over several writers."""
    mount = make_mount(options={"flush_interval": "3600", "batch_size": "10"})
    fds = [open_day(mount), open_day(mount)]
    for i in range(9):
        os.write(fds[i % 2], line(i))
    assert rows(pg) == []
    os.write(fds[0], line(9))
    until(lambda: rows(pg) == list(range(10)), "the batch is committed")
    for fd in fds:
        os.close(fd)


# -- 4: rows files ----------------------------------------------------------------------------------------------------


def test_an_edit_that_is_refused_keeps_what_was_appended(mount, pg):
    """4.5, 4.12: whole lines that were appended before the edit are committed, and the text with the half line is kept."""
    fd = open_day(mount)
    os.write(fd, line(0))
    os.close(fd)
    size = os.stat(mount.at(DAY)).st_size
    fd = os.open(mount.at(DAY), os.O_WRONLY)
    os.lseek(fd, 0, os.SEEK_END)
    os.write(fd, line(1) + b"x,Y,17")
    os.pwrite(fd, b"binance", 0)
    with contextlib.suppress(OSError):
        os.close(fd)
    until(lambda: rows(pg) == [0, 1], "the whole line is there")
    until(lambda: any("x,Y,17" in t for t in [*kept_texts(mount), *map(str, mount.kept())]), "half a line is kept")
    with refused(errno.EINVAL):
        os.truncate(mount.at(DAY), size - 3)
    assert rows(pg) == [0, 1]


def test_a_file_without_lines_is_appended_to(mount, pg):
    """4.11: O_TRUNC of a file that has no lines yet: a bad line costs only itself."""
    fd = open_day(mount, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(fd, line(1) + b"nonsense\n" + line(2))
    with refused(errno.EINVAL):
        os.close(fd)
    assert rows(pg) == [1, 2]
    fd = open_day(mount, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)  # but now it has
    os.write(fd, line(3) + b"nonsense\n")
    with refused(errno.EINVAL):
        os.close(fd)
    assert rows(pg) == [1, 2]


def test_what_is_written_is_seen_when_it_is_committed(make_mount, pg):
    """4.14: by others, by stat, and by the same open file; not before."""
    mount = make_mount(options={"flush_interval": "3600", "coherence": "none"})
    fd = open_day(mount)
    os.write(fd, line(0))
    os.fsync(fd)
    os.close(fd)
    before = get(mount.at(DAY))
    fd = os.open(mount.at(DAY), os.O_RDWR | os.O_APPEND)
    os.write(fd, line(1))
    assert os.pread(fd, 1 << 16, 0) == get(mount.at(DAY)) == before
    assert os.fstat(fd).st_size == os.stat(mount.at(DAY)).st_size == len(before)
    os.fsync(fd)
    assert os.pread(fd, 1 << 16, 0) == get(mount.at(DAY)) == before + line(1)
    assert os.fstat(fd).st_size == os.stat(mount.at(DAY)).st_size == len(before + line(1))
    os.close(fd)


def test_directories_of_a_table_are_listed_in_the_order_of_bytes(make_mount, pg):
    """4.18: and are there while a file below them has rows."""
    mount = make_mount(options={"coherence": "none"})
    names = ["ä", "a", "Z", "z", "10", "9", "é", "a b", "😀", "日本"]
    for name in names:
        pg.sql(f"insert into orderbook_data ({COLUMNS}) values ('x', %s, {START}, 0, 1, 2, 3, 4)", (name,))
    assert os.listdir(mount.at("orderbook/x")) == sorted(names, key=str.encode)
    pg.sql("delete from orderbook_data where symbol <> 'z'")
    assert os.listdir(mount.at("orderbook/x")) == ["z"]
    pg.sql("delete from orderbook_data")
    assert not mount.exists("orderbook/x") and mount.ls("orderbook") == []


def test_a_uuid_key_that_is_left_out_is_given(shop_pg, make_mount):
    """4.10"""
    m = make_mount(layout=SHOP)
    shop_pg.sql("insert into items (name) values ('bolt')")
    put(m.at("items/bolt/parts.jsonl"), '{"label": "a"}\n{"label": "b"}\n', flags=os.O_APPEND)
    assert shop_pg.sql("select count(distinct id), count(*) from parts where item = 'bolt'") == [(2, 2)]


def test_what_fires_no_trigger_is_not_counted(make_mount, pg):
    """4.17, and the way out that it names."""
    mount = make_mount()
    fd = open_day(mount)
    os.write(fd, line(0))
    os.close(fd)
    size = os.stat(mount.at(DAY)).st_size
    mount.umount()
    conn = psycopg2.connect(pg.server.conninfo(pg.name, "postgres"))
    with conn, conn.cursor() as cur:
        cur.execute("set session_replication_role = replica")
        cur.execute(f"insert into orderbook_data ({COLUMNS}) values ('x', 'Y', {START + 1}, 1, 1, 2, 3, 4)")
    conn.close()
    body = f"{COLUMNS}\n".encode() + lines(0, 2)
    mount = make_mount()
    assert os.stat(mount.at(DAY)).st_size == size
    pg.sql("select rowfs.unwatch('orderbook_data')")
    mount.umount()
    install(pg.conninfo)
    mount = make_mount()
    assert os.stat(mount.at(DAY)).st_size == len(body) and get(mount.at(DAY)) == body


# -- 6: ingest files --------------------------------------------------------------------------------------------------


def test_a_long_line_of_an_ingest_file(mount, pg):
    """6.8, 6.11: more than 1 MiB is no line; the bytes are kept all the same."""
    body = line(1) + b"x,Y,\"" + b"z" * (1 << 20) + b"\"\n" + line(2)
    with refused(errno.EINVAL, errno.EFBIG):
        put(mount.at(INGEST), body, chunk=1 << 16)
    assert get(mount.at(INGEST)) == body
    assert rows(pg) == [1, 2]


def test_a_gap_is_nul_bytes(mount, tmp_path):
    """6.13, as on a plain directory."""
    (tmp_path / "f").touch()
    for path in (mount.at(INGEST), tmp_path / "f"):
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        os.write(fd, line(1))
        os.pwrite(fd, line(2), 1000)
        os.pwrite(fd, line(3), 3_000_000)  # far behind
        with contextlib.suppress(OSError):  # NUL bytes are no good line
            os.close(fd)
    assert get(mount.at(INGEST)) == (tmp_path / "f").read_bytes()


def test_a_removed_file_is_read_till_it_is_closed(mount, pg):
    """6.14"""
    put(mount.at(INGEST), lines(0, 500))
    fd = os.open(mount.at(INGEST), os.O_RDONLY)
    os.unlink(mount.at(INGEST))
    assert not mount.exists(INGEST)
    assert os.pread(fd, 1 << 20, 0) == lines(0, 500)
    os.close(fd)
    until(lambda: pg.sql("select count(*) from rowfs.chunk") == [(0,)], "its bytes are gone")
    assert rows(pg) == list(range(500))


# -- 12: outages, and "Collectors" in OPERATIONS ---------------------------------------------------------------------


@pytest.mark.parametrize("bad_lines", ["fail", "report"])
def test_rows_files_in_an_outage(make_mount, pg, server, bad_lines):
    """4.8: write takes lines; fsync says EIO; what could not be committed is kept, is not sent later, and later lines go on."""
    mount = make_mount(options={**IMPATIENT, "bad_lines": bad_lines})
    mount.expect(r"rowfs error .*")
    fd = open_day(mount)
    os.write(fd, line(0))
    os.fsync(fd)
    server.stop("immediate")
    os.write(fd, lines(1, 3))
    with refused(errno.EIO):
        os.fsync(fd)
    assert [t.encode() + b"\n" for t in kept_texts(mount)] == [line(1), line(2)]
    server.start()
    os.write(fd, line(3))
    os.fsync(fd)
    os.close(fd)
    assert rows(pg) == [0, 3]


def test_ingest_files_in_an_outage(make_mount, pg, server):
    """6.17: what write took stays with the open file; when much waits, write says EIO and takes nothing."""
    mount = make_mount(options=IMPATIENT)
    mount.expect(r"rowfs error .*")
    fd = os.open(mount.at(INGEST), os.O_WRONLY | os.O_CREAT, 0o644)
    os.write(fd, line(0))
    os.fsync(fd)
    server.stop("immediate")
    os.write(fd, line(1))
    with refused(errno.EIO):
        os.fsync(fd)
    done = 2
    with refused(errno.EIO):
        while done < 100_000:
            os.write(fd, lines(done, done + 1000))
            done += 1000
    assert len(lines(0, done)) >= 512 << 10
    server.start()
    os.fsync(fd)
    assert get(mount.at(INGEST)) == lines(0, done)
    os.write(fd, lines(done, done + 1000))
    os.close(fd)
    assert rows(pg) == list(range(done + 1000))
    assert not mount.rejected()


def test_a_line_is_brought_in_again_as_the_page_says(make_mount, pg):
    """The commands of "Collectors" for rejected/, as they stand there."""
    mount = make_mount()
    path = mount.at("orderbook/bybit/BTCUSDT/2025-09-20.csv")
    path.parent.mkdir(parents=True)
    wrong = f"bybit,BTCUSDT,{START},0,1,2,3,NaN"
    with refused(errno.EINVAL):
        put(path, f"{wrong}\nbybit,BTCUSDT,{START},1,1,2,3,4\n")
    commands = re.findall(r"^    (.+)$", operations("Collectors").split("**Bad lines**")[1].split("| in `status.json`")[0], re.M)
    assert len(commands) == 4
    script = "\n".join(commands).replace("/srv/va", str(mount.path))
    said = run("bash", "-euc", script).stdout
    assert said.startswith("1\tcolumn bid_amount")
    assert pg.sql("select local_timestamp, bid_amount from orderbook_data order by 1") == [(0, None), (1, 4)]
    assert not mount.rejected()


def test_what_is_to_be_watched_is_there(mount):
    """The table of figures in "Collectors"."""
    table = operations("Collectors").split("| in `status.json`")[1].split("\n\n")[0]
    status, metrics = mount.read(".rowfs/status.json"), mount.read(".rowfs/metrics")
    names = re.findall(r"`(\w+)`", "".join(row.split("|")[1] + row.split("|")[2] for row in table.splitlines()[2:]))
    assert len(names) > 10
    for name in names:
        assert f'"{name}"' in status or f"\n{name} " in metrics, name


def test_a_role_of_its_own(make_mount, pg):
    """The GRANTs of "The schema" are enough for everything, once the owner has made the triggers."""
    grants = re.findall(r"^    ((?:GRANT|SELECT rowfs\.allow).*;)$", operations("The schema"), re.M)
    assert len(grants) > 2
    make_mount().umount()  # the owner's
    pg.admin("drop role if exists somebody")
    pg.admin("create role somebody login")
    try:
        for grant in grants:
            pg.sql(grant)
        mount = make_mount(conninfo=pg.server.conninfo(pg.name, "somebody"))
        assert mount.status()["ledger"] is True
        assert set(mount.status()["summary"].values()) == {"kept"}
        fd = open_day(mount)
        for i in range(100):
            os.write(fd, line(i))
        os.fsync(fd)
        os.close(fd)
        put(mount.at(INGEST), lines(100, 200))
        mount.mkdir("users/berta")
        put(mount.at("users/berta/memory/short.txt"), "x")
        assert rows(pg) == list(range(200))
        assert get(mount.at(DAY)) == f"{COLUMNS}\n".encode() + lines(0, 200) and os.stat(mount.at(DAY)).st_size == len(get(mount.at(DAY)))
        os.unlink(mount.at(INGEST))
        run("rm", "-r", mount.at("users/berta"))
        mount.umount()
    finally:
        pg.admin("drop owned by somebody")
        pg.admin("drop role somebody")


# -- 18: rows as one document ----------------------------------------------------------------------------------------


@pytest.fixture
def notes(make_mount, pg):
    pg.sql("create table notes (id integer primary key, extra jsonb, " + ", ".join(f"c{i} text" for i in range(9)) + ")")
    return make_mount(layout={"routes": [{"path": "/notes.json", "rows": "notes", "as": "array"}]}, options={"max_document": "64K"})


def test_limits_of_a_table_document(notes, pg):
    """18.11: max_document bytes, and 256 different sets of keys."""
    def sets(n):
        return json.dumps([{"id": i, **{f"c{k}": "x" for k in range(9) if i >> k & 1}} for i in range(n)])
    put(notes.at("notes.json"), sets(256))
    assert pg.sql("select count(*) from notes") == [(256,)]
    with refused(errno.EINVAL):
        put(notes.at("notes.json"), sets(257))
    with refused(errno.EFBIG):
        put(notes.at("notes.json"), json.dumps([{"id": 1, "c0": "x" * 70000}]))
    assert pg.sql("select count(*) from notes") == [(256,)]


# -- manual pages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["rowfs.1", "rowfs-import.1", "mount.rowfs.8"])
def test_a_manual_page_renders(page):
    """Without warnings, and with every option that --help knows."""
    from mountkit import rowfs_binary  # pylint: disable=import-outside-toplevel
    built = rowfs_binary().resolve().parents[1] / "docs/man" / page
    if not built.exists():
        pytest.skip(f"{built} is not built")
    done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", str(built)], capture_output=True, text=True, check=False,
                          env={**os.environ, "MANWIDTH": "100", "LC_ALL": "C.UTF-8"})
    assert done.returncode == 0 and done.stderr == ""
    words = {"rowfs.1": ["--help"], "rowfs-import.1": ["import", "--help"]}.get(page)
    if words:
        said = run(rowfs_binary(), *words).stdout
        options = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", said)) - {"--help", "-h"}
        options |= set(re.findall(r"^  ([a-z_]+)=", said, re.M))
        assert len(options) > 5
        for option in options:
            assert option in done.stdout.replace("‐", "-"), option
