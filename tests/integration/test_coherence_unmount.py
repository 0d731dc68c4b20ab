"""A mount that ends while it cannot tell the others: they miss it then, it need not wait."""
import time

from coherencekit import coherence
from kit import get, put, until
from shop import LAYOUT, Shop
from test_coherence_peers import no_notices, notice_waits, sessions


def test_who_cannot_tell_ends_all_the_same(shop_pg, make_mount):
    """Its sessions are gone and none can be made, and it is mounted to try for minutes."""
    a = Shop(make_mount(layout=LAYOUT, options={"retry_attempts": 60, "retry_delay": "2", "retry_backoff": "1.0"}), shop_pg)
    (own,) = sessions(shop_pg)
    b = Shop(make_mount(layout=LAYOUT), shop_pg)
    until(lambda: coherence(a.m)["peers"] == 1, "they know of each other")
    a.add("bolt", note="one")
    path = b.m.at("items/bolt/note.txt")
    until(lambda: get(path) == b"one", "the row")
    a.m.expect(r".*")
    with no_notices(shop_pg):
        put(a.m.at("items/bolt/note.txt"), "two")
        until(lambda: notice_waits(shop_pg), "it wants to tell")
        shop_pg.admin("alter role keeper connection limit 0")
        try:
            for pid in sessions(shop_pg)[own]:
                shop_pg.admin("select pg_terminate_backend(%s)", pid)
            began = time.monotonic()
            a.m.umount()
            assert time.monotonic() - began < 10
            until(lambda: get(path) == b"two", "the change that nobody told of")
        finally:
            shop_pg.admin("alter role keeper connection limit -1")
