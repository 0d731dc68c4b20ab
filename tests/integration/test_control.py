"""/.rowfs: what the mount tells of itself."""
import errno
import json
import os
import re
import time

import pytest

from kit import append, get, put, refused, run, sh, until
from mountkit import rowfs_binary, sanitizer_env
from shop import LAYOUT


def test_listing(mount):
    assert mount.ls(".rowfs") == sorted(["status.json", "health", "config.json", "layout.json", "metrics", "errors.jsonl", "rejected"])
    assert ".rowfs" in mount.ls() and os.path.isdir(mount.at(".rowfs/rejected"))
    for name in ("status.json", "health", "config.json", "layout.json", "metrics"):
        body = mount.bytes(f".rowfs/{name}")
        assert body.endswith(b"\n") and len(body) > 1, name


def test_sizes_serve_cat_cp_tail_and_wc(mount):
    for name in ("config.json", "layout.json", "status.json", "metrics", "health"):
        for argv in (["cat"], ["tail", "-n", "1000"], ["head", "-n", "1000"]):
            out = run(*argv, mount / ".rowfs" / name).stdout
            assert out.endswith("\n"), (name, argv)
            if name in ("config.json", "layout.json"):
                assert out == mount.read(f".rowfs/{name}")
    assert os.stat(mount / ".rowfs/config.json").st_size == len(mount.bytes(".rowfs/config.json"))


def test_status(shop):
    shop.add("bolt", qty=1)
    shop.m.read("items/bolt/qty")
    status = shop.m.status()
    version = run(rowfs_binary(), "--version", env=sanitizer_env()).stdout
    assert status["version"] in version
    assert status["uptime_seconds"] >= 0 and status["database"] and status["pool"]["max"] == 10 and status["counters"]


def test_status_counts(shop):
    shop.add("bolt", qty=1)

    def queries():
        return json.dumps(shop.m.status())
    first = queries()
    shop.m.read("items/bolt/qty")
    assert queries() != first


def test_health_follows_the_database(shop_pg, make_mount, server):
    m = make_mount(layout=LAYOUT, options={"retry_attempts": 1, "retry_delay": "0.1", "health_check_interval": 1, "connection_timeout": 2})
    assert m.read(".rowfs/health").startswith("ok")
    server.stop("immediate")
    until(lambda: not m.read(".rowfs/health").startswith("ok"), "health says so", timeout=15)
    m.status()  # answers all the same
    server.start()
    until(lambda: m.read(".rowfs/health").startswith("ok"), "health is ok again", timeout=15)
    m.expect(r"rowfs error .*")


def test_metrics_are_prometheus_text(shop):
    shop.add("bolt")
    shop.m.read("items/bolt/qty")
    samples = {}
    for line in shop.m.read(".rowfs/metrics").splitlines():
        if line.startswith("#"):
            assert re.match(r"# (HELP|TYPE) rowfs_[a-z0-9_]+ .+", line), line
        else:
            m = re.fullmatch(r'(rowfs_[a-z0-9_]+(?:\{[^}]*\})?) (-?[0-9.e+]+|NaN|\+Inf)', line)
            assert m, line
            samples[m[1]] = m[2]
    assert len(samples) >= 5
    assert all(f"# TYPE {name.split('{')[0].removesuffix('_bucket').removesuffix('_sum').removesuffix('_count')}" in
               shop.m.read(".rowfs/metrics") for name in samples)


def test_a_write_resets_counters(shop):
    shop.add("bolt")
    for _ in range(5):
        shop.m.read("items/bolt/qty")

    def counted():
        found = re.search(r"^rowfs_(?:db_)?queries(?:_total)? (\d+)", shop.m.read(".rowfs/metrics"), re.M)
        assert found, shop.m.read(".rowfs/metrics")
        return int(found[1])
    before = counted()
    assert before > 0
    put(shop.m.at(".rowfs/metrics"), "reset\n")
    assert counted() < before


def test_config_without_secrets(pg, make_mount, server):
    server.admin("alter role keeper password 'sEcReT-pw'")
    m = make_mount(conninfo=f"{pg.conninfo} password=sEcReT-pw", options={"fetch_size": 500})
    assert m.json(".rowfs/config.json")["fetch_size"] == 500
    for base, _, names in os.walk(m.at(".rowfs")):
        for name in names:
            assert b"sEcReT" not in get(os.path.join(base, name)), name
    assert "sEcReT" not in m.output()


def test_layout_json_of_the_default(mount):
    layout = mount.json(".rowfs/layout.json")
    assert any(r["path"] == "/users/{users.hardware_id_hash}/user.json" for r in layout["routes"])


def test_control_files_cannot_be_damaged(mount):
    for name in ("status.json", "config.json", "layout.json", "health", "errors.jsonl"):
        with refused(errno.EROFS, errno.EACCES, errno.EPERM):
            os.unlink(mount.at(f".rowfs/{name}"))
        with refused(errno.EROFS, errno.EACCES, errno.EPERM, errno.EXDEV):
            os.rename(mount.at(f".rowfs/{name}"), mount.at("elsewhere"))
    for name in ("config.json", "layout.json"):
        with refused(errno.EROFS, errno.EACCES, errno.EPERM):
            put(mount.at(f".rowfs/{name}"), "{}")
    with refused(errno.EROFS, errno.EACCES, errno.EPERM):
        put(mount.at(".rowfs/new"), "x")
    with refused(errno.EROFS, errno.EACCES, errno.EPERM):
        os.mkdir(mount.at(".rowfs/dir"))


def test_errors_are_one_json_object_a_line(shop):
    shop.add("bolt", qty=3)
    with refused(errno.EINVAL):
        put(shop.m.at("items/bolt/qty"), "x\n")
    with refused(errno.EINVAL):
        put(shop.m.at("items/bolt/item.json"), '{"qty": 1,\n "colour": 2}')
    errors = shop.m.errors()
    assert len(errors) == 2
    assert errors[0]["path"].endswith("/items/bolt/qty") and errors[1]["path"].endswith("/items/bolt/item.json")
    for e in errors:
        assert "EINVAL" in json.dumps(e)
        assert any(k in e for k in ("time", "at", "when")), e
    assert "colour" in json.dumps(errors[1])


def test_errors_are_bounded(shop_pg, make_mount):
    m = make_mount(layout=LAYOUT, options={"errors_max": 20})
    m.mkdir("items/bolt")
    for i in range(50):
        with refused(errno.EINVAL):
            put(m.at("items/bolt/qty"), f"x{i}\n")
    errors = m.bytes(".rowfs/errors.jsonl").decode().splitlines()
    assert len(errors) == 20 and "x49" in errors[-1] and "x30" in errors[0]


def test_errors_can_be_followed(shop):
    """tail -f of errors.jsonl, or at least reading it again, shows the new line at once and whole."""
    shop.add("bolt")
    size = os.stat(shop.m.at(".rowfs/errors.jsonl")).st_size
    assert size == 0
    for i in range(3):
        with refused(errno.EINVAL):
            put(shop.m.at("items/bolt/qty"), f"x{i}\n")
        body = shop.m.bytes(".rowfs/errors.jsonl")
        assert body.count(b"\n") == i + 1
        assert run("tail", "-n", "1", shop.m / ".rowfs/errors.jsonl").stdout.encode() == body.splitlines(True)[-1]


def test_rejected_input_can_be_read_copied_and_removed(shop, tmp_path):
    shop.add("bolt", qty=3)
    with refused(errno.EINVAL):
        put(shop.m.at("items/bolt/item.json"), '{"qty": "many"}')
    kept = shop.m.rejected()
    assert b'{"qty": "many"}' in b"".join(shop.m.kept())
    run("cp", "-r", shop.m / ".rowfs/rejected", tmp_path / "kept")
    sh("find . -type f -delete", cwd=shop.m / ".rowfs/rejected")
    assert shop.m.rejected() == {}


def test_rejected_is_bounded(shop_pg, make_mount):
    m = make_mount(layout=LAYOUT, options={"rejected_max": "100K"})
    m.mkdir("items/bolt")
    for i in range(30):
        with refused(errno.EINVAL):
            put(m.at("items/bolt/item.json"), '{"qty": "x' + f"{i:05d}" * 2000 + '"}')
    kept = m.rejected()
    assert 0 < sum(map(len, kept.values())) <= 100 << 10
    m.expect("is not kept")  # what finds no room is said in the log


def test_rejected_outlives_the_mount(shop_pg, make_mount):
    m = make_mount(layout=LAYOUT)
    m.mkdir("items/bolt")
    with refused(errno.EINVAL):
        put(m.at("items/bolt/qty"), "no number\n")
    m.umount()
    held = [os.path.join(b, f) for b, _, fs in os.walk(m.options["state_dir"]) for f in fs]
    assert any(b"no number" in open(f, "rb").read() for f in held)
    m.start()
    assert any(b"no number" in body for body in m.kept())


@pytest.mark.parametrize("every", [1])
def test_timers_call_while_enabled(pg, make_mount, every):
    pg.sql("insert into users (hardware_id_hash, short_term_memory, memory_updated_at) values ('h', 'old', now())")
    pg.admin("alter table users disable trigger all")
    pg.sql("update users set memory_updated_at = now() - interval '2 days'")
    pg.admin("alter table users enable trigger all")
    make_mount(options={"enable_auto_cleanup": "true", "cleanup_interval": every})
    until(lambda: pg.one("select short_term_memory is null from users"), "the timer cleaned up", timeout=15)


def test_no_timer_unless_enabled(pg, make_mount):
    pg.sql("insert into users (hardware_id_hash, short_term_memory) values ('h', 'old')")
    m = make_mount(options={"cleanup_interval": 1})
    start = time.monotonic()
    until(lambda: time.monotonic() - start > 2.5, "two intervals are over")
    assert pg.sql("select short_term_memory from users") == [("old",)]
    append(m.at("users/h/memory/short.txt"), "er")
    assert pg.sql("select short_term_memory from users") == [("older",)]


@pytest.mark.root
@pytest.mark.parametrize("options", [{"allow_other": True}, {"allow_other": True, "umask": "0"}, {}])
def test_what_was_in_rows_is_for_the_owner_of_the_mount(shop_pg, make_mount, options):
    """Another user sees how the mount does, and neither refused input nor sentences about it; root sees all."""
    m = make_mount(layout=LAYOUT, options=options)
    m.mkdir("items/bolt")
    with refused(errno.EINVAL):
        m.write("items/bolt/qty", "secret")
    (name,) = m.rejected()
    secret = ["config.json", "errors.jsonl", f"rejected/{name}"]
    assert [os.stat(m.at(f".rowfs/{n}")).st_mode & 0o777 for n in [*secret, "rejected"]] == [0o400, 0o600, 0o400, 0o700]
    os.chmod(m.dir, 0o755)

    def other(script):
        return run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "bash", "-c", script, ok=False, cwd=m.path / "..")
    for path in secret:
        done = other(f"cat 'm/.rowfs/{path}'")
        assert done.returncode == 1 and "denied" in done.stderr and done.stdout == "", path
    for script in ("ls m/.rowfs/rejected", f"rm -f 'm/.rowfs/rejected/{name}'", ": >m/.rowfs/errors.jsonl", "tail -f m/.rowfs/errors.jsonl",
                   "truncate -s 0 m/.rowfs/errors.jsonl", "cp m/.rowfs/config.json /dev/null"):
        done = other(script)
        assert done.returncode != 0 and "denied" in done.stderr, script
    for path in ("status.json", "health", "layout.json", "metrics") if options else ():
        assert other(f"cat 'm/.rowfs/{path}'").stdout == m.read(f".rowfs/{path}") or path in ("status.json", "metrics"), path
    assert m.errors() and m.kept() == [b"secret"]


@pytest.mark.root
def test_a_mount_for_another_user_shows_it_to_him(shop_pg, make_mount):
    m = make_mount(layout=LAYOUT, options={"allow_other": True, "uid": 65534})
    os.chmod(m.dir, 0o755)
    for uid, can in ((65534, True), (65533, False)):
        done = run("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "cat", m.at(".rowfs/config.json"), ok=False)
        assert (done.returncode == 0) == can, uid
