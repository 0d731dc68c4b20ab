"""Ingest files: the bytes are compared with a plain directory, the rows with a parse of the same bytes by Python."""
import contextlib
import errno
import os

import pytest
from ingestkit import HEAD, NAME, check, layout, lines, parse, put, rows
from kit import until


@pytest.mark.parametrize("cut", [1, 7, 8192, 1 << 20])
def test_csv_of_any_cut(mount, pg, cut):
    body = HEAD + lines(0, 20 if cut < 8 else 9000)
    put(mount.at(f"collector/{NAME}"), body, cut=cut)
    check(mount, pg, NAME, body)
    assert mount.ls("collector") == [NAME]


def test_append_by_record(mount, pg, tmp_path):
    for base in (mount.at("collector"), tmp_path):
        put(base / NAME, HEAD)
        for i in range(60):
            fd = os.open(base / NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            size = os.fstat(fd).st_size
            assert os.lseek(fd, 0, os.SEEK_END) == size
            os.write(fd, lines(i, 1))
            assert os.fstat(fd).st_size == size + len(lines(i, 1))
            os.close(fd)
    check(mount, pg, NAME, (tmp_path / NAME).read_bytes())


def test_size_and_bytes_before_commit(mount, pg):
    path = mount.at(f"collector/{NAME}")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.write(fd, HEAD)
    assert os.fstat(fd).st_size == len(HEAD) == path.stat().st_size
    assert os.pread(fd, 1000, 0) == HEAD == path.read_bytes()
    os.write(fd, lines(0, 3))
    os.fsync(fd)
    assert rows(pg) == parse(lines(0, 3))
    os.close(fd)


def test_an_unfinished_line_counts_and_is_replaced_when_it_goes_on(mount, pg):
    body = HEAD + lines(0, 3)
    put(mount.at(f"collector/{NAME}"), body[:-4])
    assert len(rows(pg)) == 3
    put(mount.at(f"collector/{NAME}"), body[-4:] + lines(3, 1), os.O_WRONLY | os.O_APPEND)
    check(mount, pg, NAME, body + lines(3, 1))


def test_write_anew_replaces_the_rows_and_only_those(mount, pg):
    put(mount.at(f"collector/ETHUSDT_orderbook_1.csv"), HEAD + lines(500, 2))
    put(mount.at(f"collector/{NAME}"), HEAD + lines(0, 100))
    put(mount.at(f"collector/{NAME}"), HEAD + lines(50, 10))
    assert rows(pg) == parse(lines(500, 2) + lines(50, 10))
    assert mount.bytes(f"collector/{NAME}") == HEAD + lines(50, 10)


def test_restart_from_offset_0_leaves_a_stale_tail(mount, pg, tmp_path):
    for base in (mount.at("collector"), tmp_path):
        put(base / NAME, HEAD + lines(0, 100))
        put(base / NAME, HEAD + lines(200, 10), os.O_WRONLY | os.O_CREAT)
    check(mount, pg, NAME, (tmp_path / NAME).read_bytes())


def test_the_same_bytes_again_are_no_change(mount, pg):
    body = HEAD + lines(0, 100)
    put(mount.at(f"collector/{NAME}"), body)
    ids = pg.sql("select array_agg(id order by id) from orderbook_data")
    put(mount.at(f"collector/{NAME}"), body + lines(100, 1), os.O_WRONLY | os.O_CREAT)
    check(mount, pg, NAME, body + lines(100, 1))
    assert pg.sql("select array_agg(id order by id) from (select id from orderbook_data order by id limit 100) x") == ids


def test_truncate(mount, pg, tmp_path):
    for base in (mount.at("collector"), tmp_path):
        put(base / NAME, HEAD + lines(0, 10))
        os.truncate(base / NAME, len(HEAD + lines(0, 4)))
    check(mount, pg, NAME, (tmp_path / NAME).read_bytes())
    os.truncate(mount.at(f"collector/{NAME}"), 0)
    check(mount, pg, NAME, b"")


def test_remove_keeps_the_rows(mount, pg):
    put(mount.at(f"collector/{NAME}"), HEAD + lines(0, 10))
    with open(mount.at(f"collector/{NAME}"), "rb") as still_open:
        os.unlink(mount.at(f"collector/{NAME}"))
        assert mount.ls("collector") == []
        assert still_open.read() == HEAD + lines(0, 10)
    assert rows(pg) == parse(lines(0, 10))
    until(lambda: pg.sql("select count(*) from rowfs.file") == [(0,)], "the record goes with the last handle")


def test_remove_and_replace_as_the_route_says(make_mount, pg):
    mount = make_mount(layout=layout(remove="rows", replace="keep"))
    put(mount.at("c/a.csv"), HEAD + lines(0, 10))
    put(mount.at("c/a.csv"), HEAD + lines(10, 10))
    assert rows(pg) == parse(lines(0, 20))
    os.unlink(mount.at("c/a.csv"))
    assert rows(pg) == parse(lines(0, 10))


def test_a_change_in_place_replaces_rows_whatever_the_route_says(make_mount, pg):
    """Of a file written anew the old rows stay; a byte that is changed, or an end that is cut off, doubles no line."""
    mount = make_mount(layout=layout(replace="keep"))
    body = HEAD + lines(0, 10)
    put(mount.at("c/a.csv"), body)
    changed = body.replace(b"BTCUSDT", b"BTCUSDX", 1)
    with open(mount.at("c/a.csv"), "r+b") as f:
        f.seek(body.index(b"BTCUSDT"))
        f.write(b"BTCUSDX")
    assert rows(pg) == parse(changed)
    os.truncate(mount.at("c/a.csv"), changed.index(lines(9, 1)))
    assert rows(pg) == parse(changed.replace(lines(9, 1), b""))
    with open(mount.at("c/a.csv"), "r+b") as f:  # written anew, and then changed in its middle
        f.truncate(0)
        f.write(lines(20, 2))
        f.flush()
        f.seek(0)
        f.write(lines(30, 1))
    assert rows(pg) == sorted(parse(changed.replace(lines(9, 1), b"")) + parse(lines(30, 1) + lines(21, 1)), key=repr)


def test_rename_onto_a_route_ingests(mount, pg):
    temp = mount.at(f"collector/{NAME}0123456789abcdef.unconfirmed")
    body = HEAD + lines(0, 9000)
    put(temp, body)
    assert rows(pg) == []
    os.rename(temp, mount.at(f"collector/{NAME}"))
    check(mount, pg, NAME, body)
    put(temp, HEAD + lines(0, 5))
    os.rename(temp, mount.at(f"collector/{NAME}"))
    check(mount, pg, NAME, HEAD + lines(0, 5))
    assert mount.ls("collector") == [NAME]


def test_rename_off_a_route_and_between_routes(mount, pg):
    body = HEAD + lines(0, 10)
    put(mount.at(f"collector/{NAME}"), body)
    other = "BTCUSDT_orderbook_2.csv"
    os.rename(mount.at(f"collector/{NAME}"), mount.at(f"collector/{other}"))
    check(mount, pg, other, body)
    os.rename(mount.at(f"collector/{other}"), mount.at("collector/kept.txt"))
    assert mount.bytes("collector/kept.txt") == body
    assert mount.ls("collector") == ["kept.txt"]
    assert rows(pg) == parse(body)


def test_a_chain_of_renames(make_mount, pg, tmp_path):
    mount = make_mount(layout=layout())
    for base in (mount.at("c"), tmp_path):
        for round in range(4):
            for k in (2, 1):
                if (base / f"r.csv.{k}").exists():
                    os.rename(base / f"r.csv.{k}", base / f"r.csv.{k + 1}")
            if (base / "r.csv").exists():
                os.rename(base / "r.csv", base / "r.csv.1")
            put(base / "r.csv", lines(round * 10, 10))
    assert mount.ls("c") == sorted(os.listdir(tmp_path))
    for name in os.listdir(tmp_path):
        assert mount.bytes(f"c/{name}") == (tmp_path / name).read_bytes()
    assert rows(pg) == parse(lines(0, 40))


def test_header_in_another_order_and_missing_columns(mount, pg):
    put(mount.at(f"collector/{NAME}"), b"symbol,timestamp,local_timestamp\nX,1,2\nY,3,4\n")
    assert pg.sql("select exchange, symbol, timestamp, local_timestamp from orderbook_data order by 2") == [
        ("binance-futures", "X", 1, 2), ("binance-futures", "Y", 3, 4)]


def test_bad_lines_cost_only_themselves(mount, pg):
    bad = [b"a,b,c\r\n", b"\\.\r\n", lines(900, 1).replace(b"5000.0", b"NaN"), lines(901, 1).replace(b"5000.0", b"x"),
           lines(902, 1).replace(b"BTC", b"\xff"), lines(903, 1).replace(b"BTC", b'B"TC'), lines(904, 1).replace(b"5000.0", b"1" * 20)]
    good = b"".join(lines(i, 1) for i in range(len(bad) + 1))
    body = HEAD + b"".join(lines(i, 1) + b for i, b in enumerate(bad)) + lines(len(bad), 1)
    path = mount.at(f"collector/{NAME}")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(fd, body)
    with pytest.raises(OSError) as e:
        os.fsync(fd)
    assert e.value.errno == errno.EINVAL
    os.close(fd)
    assert path.read_bytes() == body
    assert rows(pg) == parse(good)
    assert sorted(mount.kept()) == sorted(b.rstrip(b"\r\n") for b in bad)
    assert sum(e.get("lines", 1) for e in mount.errors()) == len(bad)  # lines with one cause, one behind the other, are one entry


def test_a_line_that_only_the_server_refuses(mount, pg):
    pg.sql("alter table orderbook_data add check (timestamp <> 1758365391602005)")
    with pytest.raises(OSError):
        put(mount.at(f"collector/{NAME}"), HEAD + lines(0, 10))
    assert rows(pg) == parse(lines(0, 5) + lines(6, 4))
    assert mount.bytes(f"collector/{NAME}") == HEAD + lines(0, 10)


def test_bad_lines_are_only_reported_if_the_option_says_so(make_mount, pg):
    mount = make_mount(options={"bad_lines": "report"})
    put(mount.at(f"collector/{NAME}"), HEAD + lines(0, 1) + b"bad\r\n" + lines(1, 1))
    assert rows(pg) == parse(lines(0, 2)) and mount.kept() == [b"bad"]


def test_two_mounts_append_to_one_file(make_mount, pg):
    one, two = make_mount(), make_mount()
    put(one.at(f"collector/{NAME}"), HEAD)
    for i in range(0, 40, 2):
        put(one.at(f"collector/{NAME}"), lines(i, 1), os.O_WRONLY | os.O_APPEND)
        put(two.at(f"collector/{NAME}"), lines(i + 1, 1), os.O_WRONLY | os.O_APPEND)
    assert one.bytes(f"collector/{NAME}") == two.bytes(f"collector/{NAME}") == HEAD + lines(0, 40)
    assert rows(pg) == parse(lines(0, 40))


def test_remount_goes_on(make_mount, pg):
    body = HEAD + lines(0, 10)
    mount = make_mount()
    put(mount.at(f"collector/{NAME}"), body[:-5])
    mount.umount()
    mount = make_mount()
    put(mount.at(f"collector/{NAME}"), body[-5:] + lines(10, 3), os.O_WRONLY | os.O_APPEND)
    check(mount, pg, NAME, body + lines(10, 3))


def test_kill_of_the_daemon_leaves_a_prefix(make_mount, pg):
    mount = make_mount()
    fd = os.open(mount.at(f"collector/{NAME}"), os.O_WRONLY | os.O_CREAT)
    body = HEAD + lines(0, 20000)
    for at in range(0, len(body) // 2, 8192):
        os.write(fd, body[at:at + 8192])
    mount.kill()
    mount.process.wait()
    with pytest.raises(OSError):
        os.write(fd, b"x")
    with contextlib.suppress(OSError):
        os.close(fd)
    mount.destroy()
    mount.process = None
    again = make_mount()
    kept = again.bytes(f"collector/{NAME}")
    assert body.startswith(kept) and len(kept) >= 256 << 10
    put(again.at(f"collector/{NAME}"), body[len(kept):], os.O_WRONLY | os.O_APPEND)
    check(again, pg, NAME, body)


def test_mode_and_time_are_kept(mount, pg):
    path = mount.at(f"collector/{NAME}")
    put(path, HEAD)
    os.chmod(path, 0o640)
    os.utime(path, ns=(10**18, 10**18))
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.stat().st_mtime_ns == 10**18


def test_many_names(mount, pg):
    names = [f"S{i:04}_orderbook_1.csv" for i in range(2300)]
    pg.sql("insert into rowfs.file (dir, name) select '/collector', format('S%s_orderbook_1.csv', lpad(i::text, 4, '0')) "
           "from generate_series(0, 2299) i")
    put(mount.at("collector/plain.txt"), b"x")
    assert mount.ls("collector") == sorted([*names, "plain.txt"])
