"""Options, environment, secrets."""
import json
import os
import re
import stat

import pytest

from kit import get, run
from mountkit import clean_env, is_mounted, rowfs_binary
from shop import LAYOUT, SQL


def rowfs(*argv, **env):
    return run(rowfs_binary(), *argv, ok=False, env=clean_env(**env), timeout=60)


def test_help_and_version():
    done = rowfs("--help")
    assert done.returncode == 0 and done.stderr == ""
    for word in ("mount", "check", "--layout", "command_timeout", "max_document", "plain_max", "retry_attempts", "CONNINFO", "MOUNTPOINT"):
        assert word in done.stdout, word
    done = rowfs("--version")
    assert done.returncode == 0 and re.search(r"rowfs \d+\.\d+", done.stdout)
    assert len(done.stdout.splitlines()) <= 3


@pytest.mark.parametrize("argv", [[], ["mount"], ["frobnicate"], ["mount", "-x"], ["mount", "a", "b", "c"]])
def test_usage_mistakes(argv):
    done = rowfs(*argv)
    assert done.returncode not in (0, 1) or argv == [] and done.returncode == 1
    assert done.stderr.strip() and len(done.stderr.splitlines()) <= 12
    assert "Sanitizer" not in done.stderr


@pytest.mark.parametrize("option, words", [
    ("max_connections=many", ["max_connections", "many"]), ("max_connections=0", ["max_connections"]), ("command_timeout=-1", ["command_timeout"]),
    ("no_such_option=1", ["no_such_option"]), ("log_level=loud", ["log_level", "loud"]), ("max_document=1X", ["max_document", "1X"]),
    ("isolation_level=chaos", ["isolation_level", "chaos"]), ("retry_delay=1s", ["retry_delay"]), ("fetch_size=", ["fetch_size"]),
    ("config=/nonexistent", ["/nonexistent"]), ("min_connections=5,max_connections=2", ["min_connections"])])
def test_bad_options_are_one_sentence_and_exit_2(pg, tmp_path, option, words):
    done = rowfs("mount", "-o", option, pg.conninfo, tmp_path)
    assert done.returncode == 2, done
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr
    assert not is_mounted(tmp_path)


def serves(mount, pg):
    """True if it is PG that is mounted."""
    name = f"u{pg.one('select count(*) from users')}"
    mount.mkdir(f"users/{name}")
    return pg.one("select count(*) from users where hardware_id_hash = %s", name) == 1


def test_database_url(pg, make_mount):
    host = str(pg.server.dir).replace("/", "%2F")
    m = make_mount(conninfo="", env={"DATABASE_URL": f"postgresql://keeper@{host}/{pg.name}"})
    assert serves(m, pg)


def test_uri_on_the_command_line(pg, make_mount):
    m = make_mount(conninfo=f"postgresql:///{pg.name}?host={pg.server.dir}&user=keeper")
    assert serves(m, pg)


def test_db_variables(pg, make_mount):
    m = make_mount(conninfo="", env={"DB_HOST": str(pg.server.dir), "DB_PORT": "5432", "DB_NAME": pg.name, "DB_USER": "keeper", "DB_POOL_SIZE": "4",
                                     "DB_BATCH_SIZE": "77"})
    config = m.json(".rowfs/config.json")
    assert serves(m, pg)
    assert config["max_connections"] == 4 and config["batch_size"] == 77


def test_libpq_variables(pg, make_mount):
    m = make_mount(conninfo="", env={"PGHOST": str(pg.server.dir), "PGDATABASE": pg.name, "PGUSER": "keeper"})
    assert serves(m, pg)


def test_service_file(pg, make_mount, tmp_path):
    (tmp_path / "services").write_text(f"[shop]\nhost={pg.server.dir}\ndbname={pg.name}\nuser=keeper\n")
    m = make_mount(conninfo="service=shop", env={"PGSERVICEFILE": str(tmp_path / "services")})
    assert serves(m, pg)
    m = make_mount(conninfo="", env={"PGSERVICEFILE": str(tmp_path / "services"), "PGSERVICE": "shop"})
    assert serves(m, pg)


def test_command_line_beats_environment(pg, make_mount):
    m = make_mount(options={"max_connections": 3}, env={"DATABASE_URL": "postgresql://nobody@nowhere.invalid/none", "DB_POOL_SIZE": "9", "DB_NAME": "none"})
    assert serves(m, pg)
    assert m.json(".rowfs/config.json")["max_connections"] == 3


def test_config_file(pg, make_mount, tmp_path):
    (tmp_path / "c.json").write_text(json.dumps({
        "host": str(pg.server.dir), "database": "${THE_DB:none}", "username": "${NO_SUCH_VARIABLE:-keeper}", "max_connections": 6, "fetch_size": 123,
        "slow_query_threshold": 250, "log_queries": True}))
    m = make_mount(conninfo="", options={"config": tmp_path / "c.json", "fetch_size": 124}, env={"THE_DB": pg.name})
    config = m.json(".rowfs/config.json")
    assert config["max_connections"] == 6 and config["fetch_size"] == 124 and config["slow_query_threshold"] == 250
    assert serves(m, pg)


@pytest.mark.parametrize("text", ["{", "[]", '{"no_such_key": 1}', '{"max_connections": "many"}', '{"max_connections": -4}'])
def test_bad_config_files(pg, tmp_path, text):
    (tmp_path / "c.json").write_text(text)
    (tmp_path / "m").mkdir()
    done = rowfs("mount", "-o", f"config={tmp_path / 'c.json'}", pg.conninfo, tmp_path / "m")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "c.json" in done.stderr, done


@pytest.fixture
def password_server(pg):
    """The server asks for a password from now on, until the test ends."""
    hba = pg.server.data / "pg_hba.conf"
    old = hba.read_text()
    pg.server.admin("alter role keeper password 'sEcReT-pw'")
    hba.write_text("local all postgres trust\nlocal all keeper scram-sha-256\n")
    pg.server.admin("select pg_reload_conf()")
    pg.close()
    yield pg.server
    hba.write_text(old)
    pg.server.admin("select pg_reload_conf()")


def nowhere(mount, secret):
    """SECRET is in no place where others could read it."""
    pid = mount.process.pid
    places = {"argv": get(f"/proc/{pid}/cmdline"), "log": mount.output().encode(), "mounts": get("/proc/self/mountinfo")}
    for base, _, names in os.walk(mount.at(".rowfs")):
        places |= {name: get(os.path.join(base, name)) for name in names}
    for name, body in places.items():
        assert secret.encode() not in body, name


@pytest.mark.parametrize("way", ["conninfo", "uri", "env url", "DB_PASSWORD", "PGPASSWORD", "pgpass", "config"])
def test_passwords_work_and_show_nowhere(pg, make_mount, password_server, tmp_path, way):
    host, env, options = str(pg.server.dir), {}, {"log_level": "debug", "log_queries": "true"}
    conninfo = pg.conninfo
    if way == "conninfo":
        conninfo += " password=sEcReT-pw"
    elif way == "uri":
        conninfo = f"postgresql://keeper:sEcReT-pw@/{pg.name}?host={host}"
    elif way == "env url":
        conninfo, env = "", {"DATABASE_URL": f"postgresql://keeper:sEcReT-pw@/{pg.name}?host={host}"}
    elif way == "pgpass":
        (tmp_path / "pass").write_text(f"*:*:{pg.name}:keeper:sEcReT-pw\n")
        os.chmod(tmp_path / "pass", stat.S_IRUSR)
        env = {"PGPASSFILE": str(tmp_path / "pass")}
    elif way == "config":
        (tmp_path / "c.json").write_text(json.dumps({"host": host, "database": pg.name, "username": "keeper", "password": "sEcReT-pw"}))
        conninfo, options = "", {**options, "config": tmp_path / "c.json"}
    else:
        env = {way: "sEcReT-pw"}
    m = make_mount(conninfo=conninfo, env=env, options=options)
    m.ls("users")
    m.mkdir("users/h")
    nowhere(m, "sEcReT-pw")


def test_a_wrong_password_is_said_without_showing_it(pg, password_server, tmp_path):
    (tmp_path / "m").mkdir()
    done = rowfs("mount", "-o", f"state_dir={tmp_path / 'state'}", f"{pg.conninfo} password=WrOnG-pw", tmp_path / "m")
    assert done.returncode not in (0, 2) and "password" in done.stderr and "WrOnG" not in done.stderr
    assert not is_mounted(tmp_path / "m")


def test_schema_name_and_table_prefix(pg, make_mount):
    pg.sql("create schema app")
    pg.sql("create table app.my_items (name text primary key, qty integer default 0)")
    layout = {"routes": [{"path": "/items/{items.name}/qty", "column": "items.qty"}, {"path": "/items/{items.name}/item.json", "row": "items"}]}
    pg.sql("insert into app.my_items (name, qty) values ('bolt', 3)")
    m = make_mount(layout=layout, options={"schema_name": "app", "table_prefix": "my_"})
    assert m.read("items/bolt/qty") == "3\n"
    m.write("items/bolt/qty", "4\n")
    assert pg.sql("select qty from app.my_items") == [(4,)]


def test_log_queries_and_slow_queries(pg, make_mount):
    pg.sql(SQL)
    m = make_mount(layout=LAYOUT, options={"log_queries": "true", "log_slow_queries": "true", "slow_query_threshold": 100, "log_level": "debug"})
    m.read("slow/0.3.json")
    out = m.output()
    assert "slow_for" in out and re.search(r"slow", out, re.I)
    m.mkdir("items/bolt")
    m.write("items/bolt/note.txt", "PRIVATE-VALUE")
    assert "PRIVATE-VALUE" not in m.output()


def test_uid_gid_umask(pg, make_mount):
    m = make_mount(options={"uid": os.getuid(), "gid": os.getgid(), "umask": "077"})
    m.mkdir("users/h")
    st = os.stat(m.at("users/h/user.json"))
    assert stat.S_IMODE(st.st_mode) == 0o600 and stat.S_IMODE(os.stat(m.at("users/h")).st_mode) == 0o700


def test_without_prepared_statements(pg, make_mount):
    pg.sql(SQL)
    m = make_mount(layout=LAYOUT, options={"enable_prepared_statements": "false"})
    m.mkdir("items/bolt")
    m.write("items/bolt/item.json", {"qty": 3, "note": "n"})
    m.append("items/bolt/parts.csv", "a,1\n")
    assert m.json("items/bolt/item.json")["qty"] == 3 and m.ls("items") == ["bolt"]
    assert pg.one("select count(*) from pg_prepared_statements") == 0


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])
def test_isolation_levels(pg, make_mount, level):
    pg.sql(SQL)
    m = make_mount(layout=LAYOUT, options={"isolation_level": level})
    m.mkdir("items/bolt")
    m.write("items/bolt/qty", "3\n")
    m.append("log.csv", "a,1,,\na,2,,\n")
    assert pg.one("select count(*) from log") == 2
