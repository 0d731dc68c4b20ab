"""What any role that may connect to the database can send to its mounts: NOTIFY rowfs. The role here has no other right at all."""
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
    """notify(payload): as a role that may only connect."""
    pg.server.admin("create role stranger login")
    conn = psycopg2.connect(re.sub(r"user=\w+", "user=stranger", pg.conninfo))
    conn.autocommit = True

    def notify(*payloads):
        with conn.cursor() as cur:
            cur.execute("select pg_notify('rowfs', x) from unnest(%s::text[]) x", (list(payloads),))
    yield notify
    conn.close()
    pg.server.admin("drop role stranger")


MALFORMED = ['{"n":{},"s":[1]}', '{"n":[1]}', '{"s":[[]]}', '{"n":{"x":null}}', '{"n":{"7":3}}', '{"n":{"7":{"n":[1]}}}', '{"n":{"7":{"c":{}}}}',
             '{"n":{"7":{"n":[[1]]}}}', '{"n":{"7":{"x":[]}}}', '{"n":{"99999999999999999999":null}}', '{"n":{" 7":null}}', '{"m":1,"n":{}}',
             '{"n":{"7":[["a",{}]]}}', '{"all":false}', '{"all":1}', '{"n":{},"q":1}', "{}", "[]", "[1]", "null", "1", '"x"', "", " ", "{", '{"n":',
             '{"n":{"7":[[' + ",".join(["null"] * 500) + "]]}}", "[" * 3000, '{"n":' * 900, '{"bye":true}', '{"t":true}', "\x01" * 7000,
             '{"m": "' + "0" * 36 + '", "bye": "' + "0" * 64 + '"}', '{"m": "' + "0" * 36 + '", "bye": true}']


def test_what_is_no_notice_is_dropped_and_counted(two, stranger):
    shop, _ = two
    shop.add("bolt", note="n")
    path = shop.m.at("items/bolt/note.txt")
    assert get(path) == b"n"
    before = coherence(shop.m)
    for payload in MALFORMED:
        stranger(payload)
    stranger('{"m": null, "n": {}}')  # well formed: it says nothing
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
    stranger(*(f'{{"m": "{i}", "all": true}}' for i in range(5000)))
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
    listener.cursor().execute("listen rowfs")
    a.add("bolt", note="n")

    def names():
        put(b.m.at("items/bolt/note.txt"), "x")
        listener.cursor().execute("select 1")
        return {m for m in (json.loads(n.payload).get("m") for n in listener.notifies) if m}
    names = until(names, "a notice of the peer")
    listener.close()
    lost = coherence(a.m)["peers_lost"]
    for known in names:
        stranger(json.dumps({"m": known, "bye": True}))
        stranger(f'{{"m": "{known}", "bye": "{"0" * 64}"}}')
    at_once(b.m)
    until(lambda: coherence(a.m)["peers_lost"] == lost + 1, "the peer is missed")
