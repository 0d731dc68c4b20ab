"""What any role that may connect to the database can send to its mounts, and hear of them. The role here has no other right at all. The name of
the mounts' channel is kept from it; where a test says so it has got to know it all the same, as a role of a mount does."""
import json
import os
import re

import psycopg2
import pytest

from coherencekit import coherence
from kit import get, put, until
from mountkit import at_once, memory
from shop import LAYOUT, SQL


@pytest.fixture
def stranger(pg):
    """notify(payload, ...): as a role that may only connect, by a channel that it knows."""
    pg.server.admin("create role stranger login")
    conn = psycopg2.connect(re.sub(r"user=\w+", "user=stranger", pg.conninfo))
    conn.autocommit = True

    def notify(*payloads, channel="rowfs"):
        with conn.cursor() as cur:
            cur.execute("select pg_notify(%s, x) from unnest(%s::text[]) x", (channel, list(payloads)))
    notify.conn = conn
    yield notify
    conn.close()
    pg.server.admin("drop role stranger")


MALFORMED = ['{"n":{},"s":[1]}', '{"n":[1]}', '{"s":[[]]}', '{"n":{"x":null}}', '{"n":{"7":3}}', '{"n":{"7":{"n":[1]}}}', '{"n":{"7":{"c":{}}}}',
             '{"n":{"7":{"n":[[1]]}}}', '{"n":{"7":{"x":[]}}}', '{"n":{"99999999999999999999":null}}', '{"n":{" 7":null}}', '{"m":1,"n":{}}',
             '{"n":{"7":[["a",{}]]}}', '{"all":false}', '{"all":1}', '{"n":{},"q":1}', "{}", "[]", "[1]", "null", "1", '"x"', "", " ", "{", '{"n":',
             '{"n":{"7":[[' + ",".join(["null"] * 500) + "]]}}", "[" * 3000, '{"n":' * 900, '{"bye":true}', '{"t":true}', "\x01" * 7000,
             '{"m": "' + "0" * 36 + '", "bye": "' + "0" * 64 + '"}', '{"m": "' + "0" * 36 + '", "bye": true}']


def test_a_stranger_hears_nothing(two, stranger):
    """Neither by the channel that it knows, nor by any that it can find out."""
    a, b = two
    stranger.conn.cursor().execute("listen rowfs")
    a.add("customer-4711", note="n")
    put(b.m.at("items/customer-4711/note.txt"), "x")
    a.pg.sql("update items set note = 'y'")
    until(lambda: get(b.m.at("items/customer-4711/note.txt")) == b"y", "the change is heard")
    with stranger.conn.cursor() as cur:
        cur.execute("select 1")
        assert stranger.conn.notifies == []
        for secret in ("select * from rowfs.secret", "select pg_notify('rowfs_x', channel) from rowfs.secret", "table rowfs.notice", "select rowfs.proof_hash()"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cur.execute(secret)
        channel = a.pg.channel()
        for public in ("select string_agg(prosrc, '') from pg_proc", "select string_agg(pg_get_triggerdef(oid), '') from pg_trigger",
                       "select string_agg(query, '') from pg_stat_activity", "select string_agg(c, '') from pg_listening_channels() c",
                       "select string_agg(pg_get_expr(adbin, adrelid), '') from pg_attrdef", "select string_agg(l::text, '') from pg_locks l",
                       "select string_agg(s::text, '') from pg_stats s"):
            cur.execute(public)
            assert channel not in (cur.fetchone()[0] or "")


def test_by_the_open_channel_only_anything_is_said(two, stranger):
    """That is what a trigger says that has lost the right to learn the other one."""
    shop, _ = two
    before = coherence(shop.m)
    for payload in ('{"m": null, "n": {}}', '{"m": "x", "all": true}', '{"m": null, "all": true} ', '{"m": "' + "0" * 36 + '", "t": true}'):
        stranger(payload)
    stranger('{"m": null, "all": true}')
    until(lambda: coherence(shop.m)["heard"] - before["heard"] >= 5, "the notices")
    assert coherence(shop.m)["malformed"] - before["malformed"] == 4 and coherence(shop.m)["peers"] == before["peers"]


def test_what_is_no_notice_is_dropped_and_counted(two, stranger):
    shop, _ = two
    shop.add("bolt", note="n")
    path = shop.m.at("items/bolt/note.txt")
    assert get(path) == b"n"
    before = coherence(shop.m)
    for payload in MALFORMED:
        stranger(payload, channel=shop.pg.channel())
    stranger('{"m": null, "n": {}}', channel=shop.pg.channel())  # well formed: it says nothing
    until(lambda: coherence(shop.m)["heard"] - before["heard"] > len(MALFORMED), "the notices")
    after = coherence(shop.m)
    assert after["malformed"] - before["malformed"] == len(MALFORMED)
    assert after["peers_lost"] == before["peers_lost"] and after["listening"]
    put(path, "m")
    assert get(path) == b"m" and shop.item("note") == "m"
    assert json.loads(get(shop.m.at("items/bolt/item.json")))["note"] == "m"


def test_many_notices_cost_no_memory(make_mount, pg, stranger, old_kernel):
    """Each says that anything may have changed; an older kernel is told name by name, and a list of all names for each notice would be gigabytes."""
    pg.sql(SQL)
    mount = make_mount(layout=LAYOUT, env=old_kernel)
    pg.sql("insert into flat select g, 't' from generate_series(1, 10000) g")
    assert len([os.stat(e.path) for e in os.scandir(mount / "flat")]) == 10000
    before, heard = memory(mount), coherence(mount)["heard"]
    stranger(*(f'{{"m": "{i}", "all": true}}' for i in range(5000)), channel=pg.channel())
    until(lambda: coherence(mount)["heard"] - heard >= 5000, "the notices", timeout=60)
    assert memory(mount) - before < 200 * 1024
    pg.sql("update flat set title = 'u' where id = 7")
    until(lambda: json.loads(get(mount / "flat/7.json"))["title"] == "u", "the change")


def test_a_farewell_in_the_name_of_another_mount_counts_for_nothing(two, stranger, pg):
    """A mount whose peer is killed forgets all, since the peer may not have told what it had changed; who says farewell in the peer's name
    cannot keep it from that."""
    a, b = two
    listener = psycopg2.connect(pg.conninfo)
    listener.autocommit = True
    listener.cursor().execute(f"listen {pg.channel()}")
    a.add("bolt", note="n")

    def names():
        put(b.m.at("items/bolt/note.txt"), "x")
        listener.cursor().execute("select 1")
        return {m for m in (json.loads(n.payload).get("m") for n in listener.notifies) if m}
    names = until(names, "a notice of the peer")
    listener.close()
    lost = coherence(a.m)["peers_lost"]
    for known in names:
        for channel in ("rowfs", pg.channel()):
            stranger(json.dumps({"m": known, "bye": True}), channel=channel)
            stranger(f'{{"m": "{known}", "bye": "{"0" * 64}"}}', channel=channel)
    at_once(b.m)
    until(lambda: coherence(a.m)["peers_lost"] == lost + 1, "the peer is missed")
