"""Fixtures. `pg`: a fresh database with the schema deployed; `mount`: it, mounted with the default layout; `make_mount`: mounts
with a layout and options of the test's own; `empty_pg`: a database without the schema; `server`: the PostgreSQL that holds them."""
import itertools
import os
import random
import shlex
import sys

import pytest

sys.path[:0] = [os.path.join(os.path.dirname(__file__), name) for name in ("integration", "writers")]

import kit  # noqa: E402
import mountkit  # noqa: E402
import shop as shop_kit  # noqa: E402

numbers = itertools.count(1)


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="the long forms: a minute of collectors, a hundred kills")


def pytest_configure(config):
    config.addinivalue_line("markers", "threads: many threads in the daemon; run under ThreadSanitizer too")
    config.addinivalue_line("markers", "root: needs root")
    config.addinivalue_line("markers", "bare: pg has the schema, and no triggers of the built-in layout")
    mountkit.clean_stale()


def pytest_report_header(config):
    return f"rowfs: {mountkit.rowfs_binary()}"


def pytest_runtest_setup(item):
    if item.get_closest_marker("root") and not kit.IS_ROOT:
        pytest.skip("needs root")


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item):
    """A test that mounted by hand under its tmp_path and failed leaves no mount behind."""
    top = getattr(item, "funcargs", {}).get("tmp_path")
    for path, fstype in mountkit.mountinfo() if top else ():
        if fstype.startswith("fuse") and path.startswith(f"{top}/"):
            mountkit.lazy_umount(path)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Under a failure: how to run just this test again, what rowfs said, what the server said."""
    report = (yield).get_result()
    if not report.failed:
        return
    python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
    seed = f"ROWFS_SEED={item.user_seed} " if hasattr(item, "user_seed") else ""
    test = shlex.quote(f"{item.fspath}::{item.nodeid.split('::', 1)[1]}")
    report.sections.append(("reproduce", f"{seed}ROWFS_BIN={shlex.quote(str(mountkit.rowfs_binary()))} {python} -m pytest {test}"))
    for mount in getattr(item, "mounts", []):
        report.sections.append(("rowfs", mount.story()))
    pg = item.funcargs.get("server") if hasattr(item, "funcargs") else None
    if pg is not None:
        report.sections.append(("PostgreSQL", pg.log_tail()))


@pytest.fixture
def long(request):
    return request.config.getoption("--long")


@pytest.fixture
def seed(request):
    """What a test takes its chances from; printed when it fails, and given again by ROWFS_SEED=N."""
    request.node.user_seed = int(os.environ.get("ROWFS_SEED", random.SystemRandom().randrange(10**6)))
    return request.node.user_seed


@pytest.fixture(scope="session")
def server():
    pg = kit.Postgres()
    yield pg
    pg.destroy()


@pytest.fixture(scope="session")
def bare_template(server):
    database = server.create_database("bare")
    database.admin("create extension pg_stat_statements")
    kit.deploy(database)
    database.close()
    return database


@pytest.fixture(scope="session")
def packs_template(server, template):
    """It, with all other packs, too."""
    database = server.create_database("packs", template.name)
    for name in ("partitioned", "neurograph", "shrinkage"):
        kit.sqitch(database, "deploy", project=f"schema/{name}")
    database.close()
    return database


@pytest.fixture(scope="session")
def template(server, bare_template):
    """The database that every test's own is a copy of: with the triggers that the built-in layout needs."""
    database = server.create_database("tmpl", bare_template.name)
    if mountkit.rowfs_binary().exists():
        mountkit.install(database.conninfo)
    database.close()
    return database


@pytest.fixture
def pg(request, server, bare_template):
    if not server.running():
        server.start()  # an earlier test failed while it was down
    bare = request.node.get_closest_marker("bare")
    database = server.create_database(f"t{next(numbers)}", (bare_template if bare else request.getfixturevalue("template")).name)
    yield database
    if not server.running():
        server.start()
    database.drop()


@pytest.fixture
def empty_pg(server):
    database = server.create_database(f"t{next(numbers)}")
    yield database
    database.drop()


@pytest.fixture
def fuse():
    """Skips the test where nothing can be mounted."""
    if not mountkit.rowfs_binary().exists():
        pytest.fail(f"{mountkit.rowfs_binary()} is not built (set ROWFS_BIN)")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("/dev/fuse is not there, or not ours to open")


@pytest.fixture
def make_mount(request, pg, fuse):
    """make_mount(layout=…, options=…): a Mount of pg; unmounted, and judged, when the test ends."""
    mounts = request.node.mounts = []

    def make(layout=None, conninfo=None, **kw):
        mount = mountkit.Mount(conninfo if conninfo is not None else pg.conninfo, layout=layout, start=False, **kw)
        mounts.append(mount)
        mount.start()
        return mount
    yield make
    try:
        for mount in mounts:
            mount.umount()
    finally:
        for mount in mounts:
            mount.destroy()


@pytest.fixture
def mount(make_mount):
    return make_mount()


@pytest.fixture
def shop_pg(pg):
    """The database of shop.py, not mounted."""
    pg.sql(shop_kit.SQL)
    return pg


@pytest.fixture
def shop(shop_pg, make_mount):
    """The database of shop.py, mounted with its layout. Nothing is remembered (ttl=0), so that changes by SQL show at once; test_cache.py
    has the mount as it is by default."""
    return shop_kit.Shop(make_mount(layout=shop_kit.LAYOUT, options={"coherence": "ttl=0"}), shop_pg)


@pytest.fixture
def two(shop_pg, make_mount):
    """Two mounts of the shop that are told of changes."""
    shops = [shop_kit.Shop(make_mount(layout=shop_kit.LAYOUT), shop_pg) for _ in range(2)]
    for s in shops:
        assert s.m.json(".rowfs/status.json")["coherence"]["mode"] == "notify"
    return shops


@pytest.fixture(scope="session")
def old_kernel(tmp_path_factory):
    """What makes a daemon see an older kernel: its environment."""
    library = tmp_path_factory.mktemp("kernel") / "old_kernel.so"
    kit.run("cc", "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", library,
            os.path.join(os.path.dirname(__file__), "integration/old_kernel.c"))
    return {"LD_PRELOAD": str(library), "ASAN_OPTIONS": mountkit.sanitizer_env()["ASAN_OPTIONS"] + ":verify_asan_link_order=0"}
