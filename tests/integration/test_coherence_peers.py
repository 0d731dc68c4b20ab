"""Mounts that are gone: the others must not go on with what they remember. Expectations come from SQL."""
import mountkit
from coherencekit import coherence
from kit import until


def test_a_mount_that_was_killed_is_made_up_for(two):
    """What it had committed and not passed on yet, others find by its absence: then anything may have changed."""
    a, b = two
    assert coherence(a.m)["peers"] == coherence(b.m)["peers"] == 1
    a.m.kill()
    a.m.process.wait(30)
    mountkit.lazy_umount(a.m.path)
    until(lambda: coherence(b.m)["peers_lost"] >= 1 and coherence(b.m)["peers"] == 0, "the absence")
    lost = coherence(b.m)["peers_lost"]
    a.m.start()
    until(lambda: coherence(b.m)["peers"] == 1, "it is back")
    a.m.umount()
    until(lambda: coherence(b.m)["peers"] == 0, "it is gone")
    assert coherence(b.m)["peers_lost"] == lost  # it ended well
