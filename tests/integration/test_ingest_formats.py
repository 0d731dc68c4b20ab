"""Ingest files that are compressed, or JSON Lines, or read in another way as their route says; and what a route must not say."""
import errno
import gzip
import io
import json
import os
import zlib

import pytest
from ingestkit import HEAD, NAME, check, lines, put, rows
from kit import run
from mountkit import clean_env, rowfs_binary

# -- gzip ------------------------------------------------------------------------------------------------------------------


GZ = NAME + ".gz"


def test_gzip_with_flushes(mount, pg):
    text, body = HEAD, io.BytesIO()
    path = mount.at(f"collector/{GZ}")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    with gzip.GzipFile("x.csv", "wb", 9, body) as f:
        f.write(HEAD)
        for i in range(5):
            f.write(lines(i * 1000, 1000))
            f.flush()
            text += lines(i * 1000, 1000)
            done = os.lseek(fd, 0, os.SEEK_CUR)
            os.write(fd, body.getvalue()[done:])
            os.fsync(fd)
            assert len(rows(pg)) == (i + 1) * 1000
    os.write(fd, body.getvalue()[os.lseek(fd, 0, os.SEEK_CUR):])
    os.close(fd)
    check(mount, pg, GZ, body.getvalue(), text)


@pytest.mark.parametrize("remount", [False, True])
def test_many_members(make_mount, pg, remount):
    mount, body = make_mount(), b""
    for i in range(30):
        piece = gzip.compress((HEAD if i == 0 else b"") + lines(i, 1))
        put(mount.at(f"collector/{GZ}"), piece[:20], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        put(mount.at(f"collector/{GZ}"), piece[20:], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        body += piece
        if remount and i % 10 == 5:
            mount.umount()
            mount = make_mount()
    check(mount, pg, GZ, body, lines(0, 30))


def test_gzip_without_a_trailer_and_byte_by_byte(mount, pg):
    c = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = c.compress(HEAD + lines(0, 50)) + c.flush(zlib.Z_SYNC_FLUSH)
    put(mount.at(f"collector/{GZ}"), body, cut=1)
    check(mount, pg, GZ, body, lines(0, 50))


def test_a_damaged_member_costs_only_its_rest(mount, pg):
    bad = bytearray(gzip.compress(os.urandom(2000).hex().encode()))
    bad[200:240] = b"\xff" * 40
    body = gzip.compress(HEAD + lines(0, 10)) + bytes(bad) + gzip.compress(lines(10, 5)) + b"\0" * 100 + gzip.compress(b"")
    with pytest.raises(OSError) as e:
        put(mount.at(f"collector/{GZ}"), body)
    assert e.value.errno == errno.EINVAL
    check(mount, pg, GZ, body, lines(0, 15))
    assert "damaged gzip" in " ".join(str(e) for e in mount.errors())


# -- JSON Lines --------------------------------------------------------------------------------------------------------------


def test_json_lines_with_fields(make_mount, pg):
    pg.sql("create table ticks (id bigserial primary key, timestamp bigint, price numeric(20,8), symbol text default 'none', rest jsonb)")
    mount = make_mount(layout={"routes": [{
        "path": "/t/{day}.jsonl", "file": True, "ingest": "ticks", "overflow": "rest",
        "fields": {"t": {"column": "timestamp", "from": "s", "to": "ms"}, "px": "price"}}]})
    body = b'{"t": 1700000000.123, "px": 1.10}\n{"px": 12345678.12345678, "t": 1700000001, "symbol": "X", "odd": [1]}\n{"t": "x"}\n{"px": 3}'
    with pytest.raises(OSError):
        put(mount.at("t/1.jsonl"), body, cut=5)
    assert mount.bytes("t/1.jsonl") == body
    assert pg.sql("select timestamp, price::text, symbol, rest::text from ticks order by ticks.price") == [
        (1700000000123, "1.10000000", "none", None), (None, "3.00000000", "none", None),
        (1700000001000, "12345678.12345678", "X", '{"odd": [1]}')]
    assert mount.kept() == [b'{"t": "x"}']


def test_csv_with_units(make_mount, pg):
    mount = make_mount(layout={"routes": [{
        "path": "/t/{day}.csv", "file": True, "ingest": "orderbook_data",
        "fields": {"ts": {"column": "timestamp", "from": "ms", "to": "us"}, "lts": {"column": "local_timestamp", "from": "ns", "to": "us"}}}]})
    put(mount.at("t/1.csv"), b"ts,lts,symbol\n1700000000000.5,1700000000000000000,A\n")
    assert pg.sql("select timestamp, local_timestamp, symbol from orderbook_data") == [(1700000000000500, 1700000000000000, "A")]


def test_mistakes_are_told(pg, tmp_path):
    pg.sql("create table nokey (a int)")
    for words, said in [({"ingest": "nokey"}, "integer column"), ({"ingest": "nothing"}, "does not exist"), ({"path": "/{d}/{n}.csv"}, "literal"),
                        ({"fields": {"x": "y"}}, 'column "y"'), ({"path": "/c/{n}.dat"}, "format"), ({"overflow": "symbol"}, "jsonb")]:
        path = tmp_path / "layout.json"
        path.write_text(json.dumps({"routes": [{"path": "/c/{n}.csv", "file": True, "ingest": "orderbook_data", **words}]}))
        done = run(rowfs_binary(), "check", path, pg.conninfo, ok=False, env=clean_env())
        assert done.returncode == 1 and said in done.stderr, done.stderr
