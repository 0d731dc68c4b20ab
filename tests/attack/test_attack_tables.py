"""A role with the grants of OPERATIONS.md, or a hand at rowfs's own tables: what it writes there is no number, no length and no order that a mount
trusts. The constraints are taken off first: an older database has none."""
import errno
import os

import psycopg2
import pytest

from ingestkit import lines, put
from kit import get
from mountkit import memory

OTHER = "collector/other_orderbook_1.csv"
BODY = lines(0, 7000)  # two chunks


def changed_by_hand(mount, pg, table, changes):
    """A file for each of CHANGES, "SET … [WHERE …]" of its rows in TABLE, made while nothing is mounted; OTHER stays as it is."""
    names = [f"collector/f{i}_orderbook_1.csv" for i in range(len(changes))]
    for name in (*names, OTHER):
        put(mount / name, BODY)
    assert pg.one("select count(*) from rowfs.chunk where zlib and at > 0") >= len(names) + 1
    mount.umount()
    pg.sql("alter table rowfs.chunk drop constraint if exists chunk_at, drop constraint if exists chunk_len, drop constraint if exists chunk_data")
    pg.sql("alter table rowfs.file drop constraint if exists file_size, drop constraint if exists file_mode")
    for name, change in zip(names, changes):
        what, _, where = change.partition(" where ")
        own = "id" if table == "file" else "file"
        pg.sql(f"update rowfs.{table} set {what} where {where or 'true'} and {own} = (select id from rowfs.file where name = %s)",
               os.path.basename(name))
    mount.start()
    return dict(zip(names, changes))


def test_bytes_that_are_no_chunk(mount, pg):
    """EIO with a sentence; no crash, no memory, and the other files of the directory are as they were."""
    names = changed_by_hand(mount, pg, "chunk", [
        "len = -1", "len = -200000 where at > 0", "len = -2147483648", "len = 0", "len = 2147483647", "len = 2147483647 where at > 0", "len = len + 1",
        "len = len - 1", "len = 67108865", "at = at - 10000000", "zlib = not zlib", "zlib = not zlib where at > 0", "data = ''", "data = '\\x00'",
        "data = substr(data, 1, 100)", "data = substr(data, 100) || data", "data = substr(data, 100) where at > 0"])
    assert get(mount / OTHER) == BODY
    before = memory(mount)
    for name, change in names.items():
        try:
            mount.refuses(lambda: get(mount / name), errno.EIO, path=name)  # noqa: B023
        except AssertionError as e:
            raise AssertionError(f"{change}: {e}") from e
    assert memory(mount) < before + 200 * 1024
    assert get(mount / OTHER) == BODY
    assert sorted(os.listdir(mount / "collector")) == sorted(os.path.basename(name) for name in (*names, OTHER))


def test_numbers_of_a_file_that_are_none(mount, pg):
    """Each call works or says EIO (EFBIG, EINVAL where it writes); the mount serves on."""
    names = changed_by_hand(mount, pg, "file", [
        "size = -1", "size = 9223372036854775807", "mode = -1", "mode = 2147483647", "changed = 'infinity'", "changed = '-infinity'",
        "changed = '294270-01-01'", "state = '[]'", "state = '{\"order\": 1, \"tail\": []}'"])

    def append(name):
        with open(mount / name, "ab") as f:
            f.write(lines(0, 1))
    for name in names:
        for call in (os.stat, lambda _: os.listdir(mount / "collector"), get, append):
            try:
                call(mount / name) if call is not append else call(name)
            except OSError as e:
                assert e.errno in (errno.EIO, errno.EFBIG, errno.EINVAL)
    assert get(mount / OTHER) == BODY
    assert mount.status()["coherence"]


def test_the_tables_refuse_what_no_mount_writes(mount, pg):
    put(mount / OTHER, BODY)
    for table, change in (("chunk", "len = -1"), ("chunk", "len = 67108865"), ("chunk", "at = -1 - at"), ("chunk", "zlib = false"), ("file", "size = -1"),
                          ("file", "mode = 4096")):
        with pytest.raises(psycopg2.errors.CheckViolation):
            pg.sql(f"update rowfs.{table} set {change}")
