"""docs/VOICE-ASSISTANT.md: each block of the page is run as it stands, on a mount of the default layout; the rows are checked by SQL."""
import itertools
import json
import re
import shlex

import pytest

import mountkit
from kit import ROOT, dump, run, sh, until
from mountkit import clean_env, rowfs_binary

numbers = itertools.count(1)

IDS = {letter: f"{digit * 8}-{digit * 4}-4{digit * 3}-8{digit * 3}-{digit * 12}"
       for letter, digit in zip("SCAPM", "12345")}
H = "5f0c" * 16
PAGE = ROOT / "docs/VOICE-ASSISTANT.md"


@pytest.fixture(scope="module")
def adopted_template(server):
    """Tables that other scripts have made, taken over by rowfs init."""
    database = server.create_database("adopted")
    run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", ROOT / "tests/integration/data/other-assistant.sql", database.conninfo)
    database.admin('create extension "uuid-ossp"; create extension pg_stat_statements')
    database.before = dump(database)
    run(rowfs_binary(), "init", "--follow", "default", "voice-assistant", "orderbook", database.conninfo, env=clean_env(), timeout=120)
    database.close()
    return database


@pytest.fixture(params=["new", "adopted"])
def pg(request, server):
    name = request.getfixturevalue("template" if request.param == "new" else "adopted_template").name
    database = server.create_database(f"methods{next(numbers)}", name)
    yield database
    database.drop()


def blocks():
    """(method, number, script) of every sh block; the method is the first word of the heading that it stands under."""
    heading, found = None, []
    for match in re.finditer(r"^## ([^\n]+)$|^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S):
        if match[1]:
            heading, number = re.sub(r"\(.*", "", match[1].split(",")[0]), 0
        else:
            found.append((heading, number, match[2]))
            number += 1
    return found


class World:
    """The mount, the database, and the rows that a block expects to be there already."""

    def __init__(self, mount, pg):
        self.mount, self.pg = mount, pg
        self.sql, self.one = pg.sql, pg.one

    def run(self, script, ok=True):
        return sh(script, ok=ok, MNT=self.mount.path, H=H, **IDS)

    def user(self, **columns):
        columns["hardware_id_hash"] = H
        self.sql(f"insert into users ({', '.join(columns)}) values ({', '.join(['%s'] * len(columns))})", *columns.values())

    def session(self, **columns):
        if not self.sql("select from users where hardware_id_hash = %s", H):
            self.user()
        columns["id"] = IDS["S"]
        columns["user_id"] = self.one("select id from users where hardware_id_hash = %s", H)
        self.sql(f"insert into sessions ({', '.join(columns)}) values ({', '.join(['%s'] * len(columns))})", *columns.values())

    def command(self):
        self.session()
        self.sql("insert into commands (id, session_id, prompt) values (%s, %s, 'hello')", IDS["C"], IDS["S"])

    def screenshot(self):
        self.command()
        self.sql("insert into screenshots (id, session_id) values (%s, %s)", IDS["P"], IDS["S"])

    def memories(self):
        self.user(short_term_memory="short\n", long_term_memory="long\n")


CHECKS = {}


def check(method, number=0, before=None):
    """Registers the function that judges block NUMBER under METHOD; BEFORE makes the rows that the block needs."""
    def register(judge):
        CHECKS[method, number] = (before or (lambda w: None), judge)
        return judge
    return register


@check("create_user")
def create_user(w, out):
    assert w.sql("select hardware_id_hash, metadata from users") == [(H, {"name": "Anna Schäfer", "volume": 0.8})]
    again = w.run('mkdir "$MNT/users/$H"', ok=False)
    assert again.returncode != 0 and "File exists" in again.stderr


@check("get_user_by_hardware_id", before=lambda w: w.user(metadata='{"name": "Дмитрий"}'))
def get_user(w, out):
    w.sql("set timezone = 'UTC'")  # as the mount renders times
    assert json.loads(out) == w.one("select to_jsonb(u) from users u") and "Дмитрий" in out
    unknown = w.run('cat "$MNT/users/nobody/user.json"', ok=False)
    assert unknown.returncode != 0 and "No such file" in unknown.stderr


@check("create_session", before=World.user)
def create_session(w, out):
    assert w.sql("select id::text, metadata, status, user_id = (select id from users) from sessions") == [
        (IDS["S"], {"client": "2.4.1"}, "active", True)]


@check("create_session", 1, before=World.user)
def append_session(w, out):
    assert w.sql("select id::text, metadata, user_id = (select id from users) from sessions") == [(out.strip(), {"client": "2.4.1"}, True)]


@check("end_session", before=World.session)
def end_session(w, out):
    (status, end), = w.sql("select status, end_time from sessions")
    assert status == "ended" and end is not None
    w.run('echo ended >"$MNT/users/$H/sessions/$S/status"')
    assert w.sql("select status, end_time from sessions") == [("ended", end)]
    assert json.loads(w.mount.read(f"sessions/{IDS['S']}/session.json"))["end_time"] is not None


def one_command(w, out):
    assert w.sql("select session_id::text, prompt, language, metadata from commands") == [
        (IDS["S"], "Wie wird das Wetter?", "de", {})]


@check("create_command", before=World.session)
def create_command(w, out):
    one_command(w, out)
    assert w.one("select id::text from commands") == IDS["C"]


check("create_command", 1, before=World.session)(one_command)


@check("create_llm_answer", before=World.command)
def create_answer(w, out):
    assert w.sql("select id::text, command_id::text, prompt, response, model_info, performance_metrics from llm_answers") == [
        (IDS["A"], IDS["C"], "Wie wird das Wetter?", "Morgen 18 °C.", {"model": "demo-8b"}, {"latency_ms": 215})]


@check("create_llm_answer", 1, before=World.command)
def append_answer(w, out):
    assert w.sql("select command_id::text, response, model_info from llm_answers") == [(IDS["C"], "Morgen 18 °C.", {})]


@check("create_screenshot", before=World.session)
def create_screenshot(w, out):
    assert w.sql("select id::text, session_id::text, file_path, file_url, metadata from screenshots") == [
        (IDS["P"], IDS["S"], "/shots/1.png", None, {"width": 1920})]


@check("create_screenshot", 1, before=World.session)
def append_screenshot(w, out):
    assert w.sql("select session_id::text, file_path, file_url from screenshots") == [(IDS["S"], None, "https://example.org/1.png")]


@check("create_performance_metric", before=World.session)
def create_metric(w, out):
    assert w.sql("select id::text, session_id::text, metric_type, metric_value from performance_metrics") == [
        (IDS["M"], IDS["S"], "cpu", {"percent": 12.5})]


@check("create_performance_metric", 1, before=World.session)
def append_metric(w, out):
    assert w.sql("select session_id::text, metric_type, metric_value from performance_metrics") == [(IDS["S"], "cpu", {"percent": 12.5})]


def conversation(w):
    w.command()
    w.sql("insert into commands (session_id, prompt, created_at) values (%s, 'earlier', now() - interval '1 hour')", IDS["S"])
    for response in ("one", "two"):
        w.sql("insert into llm_answers (command_id, prompt, response, model_info) values (%s, 'hello', %s, '{\"m\": 1}')",
              IDS["C"], response)


@check("get_session_commands", before=conversation)
def transcript(w, out):
    rows = json.loads(out)
    assert [(r["prompt"], r["llm_response"], r["model_info"], r["performance_metrics"]) for r in rows] == [
        ("earlier", None, None, None), ("hello", "one", {"m": 1}, {}), ("hello", "two", {"m": 1}, {})]
    assert rows[1]["id"] == IDS["C"]


def busy_user(w):
    conversation(w)
    w.sql("insert into sessions (user_id, start_time, end_time, status)"
          " select id, '2025-01-01', '2025-01-01 00:01:30', 'ended' from users")
    w.sql("insert into screenshots (session_id) select id from sessions, generate_series(1, 3)")


@check("get_user_statistics", before=busy_user)
def user_statistics(w, out):
    assert json.loads(out) == {"total_sessions": 2, "total_commands": 2, "total_screenshots": 6, "avg_session_duration_seconds": 90}


@check("get_user_memory", before=World.memories)
def get_memory(w, out):
    assert out == "short\nlong\n"
    w.sql("update users set short_term_memory = null")
    gone = w.run('cat "$MNT/memory/$H/short.txt"', ok=False)
    assert gone.returncode != 0


def old_memories(w):
    w.memories()
    w.sql("update users set memory_updated_at = '2025-01-01'")


@check("update_user_memory", before=old_memories)
def update_memory(w, out):
    assert w.sql("select short_term_memory, long_term_memory, memory_updated_at > '2025-01-02' from users") == [
        ("asked about the weather\n", "long\nspeaks German\n", True)]
    full = w.run('head -c 10241 /dev/zero | tr "\\0" x | dd of="$MNT/users/$H/memory/short.txt" bs=16k iflag=fullblock', ok=False)
    assert full.returncode != 0 and "File too large" in full.stderr
    assert w.one("select short_term_memory from users") == "asked about the weather\n"


@check("update_user_memory", 1, before=World.memories)
def forget_memory(w, out):
    until(lambda: w.sql("select short_term_memory, long_term_memory from users") == [(None, "long\n")], "the memory is NULL", timeout=2)


def expired(w):
    w.memories()
    w.sql("insert into users (hardware_id_hash, short_term_memory) values ('fresh', 's')")
    w.sql("update users set memory_updated_at = now() - interval '49 hours' where hardware_id_hash = %s", H)


@check("cleanup_expired_short_term_memory", before=expired)
def cleanup(w, out):
    assert out == "1\n"
    assert w.sql("select short_term_memory from users order by 1 nulls first") == [(None,), ("s",)]
    assert w.sql("select hours_old, cleaned from memory_cleanups") == [(48, 1)]


@check("get_memory_statistics", before=expired)
def memory_statistics(w, out):
    got = json.loads(out)
    w.sql("set timezone = 'UTC'")  # as the mount renders times
    want = w.one("select to_jsonb(s) from get_memory_stats() s")
    assert got == want
    assert (got["total_users"], got["users_with_short_memory"], got["users_with_long_memory"]) == (2, 2, 1)
    assert (got["avg_short_memory_size"], got["avg_long_memory_size"]) == (3.5, 2.5)


@check("get_users_with_active_memory", before=expired)
def active(w, out):
    assert [json.loads(line)["hardware_id_hash"] for line in out.splitlines()] == ["fresh", H, "fresh"]


@check("execute_query: create")
def create(w, out):
    assert w.sql("select hardware_id_hash, metadata from users") == [(H, {})]


@check("execute_query: read", before=World.session)
def read(w, out):
    assert out == "active\n"


@check("execute_query: read", 1, before=World.session)
def read_filtered(w, out):
    name, line = out.splitlines()
    assert name == IDS["S"] and json.loads(line)["id"] == IDS["S"]


@check("execute_query: update", before=lambda w: w.session(start_time="2025-01-01"))
def update(w, out):
    assert w.sql("select status, metadata, start_time = '2025-01-01' from sessions") == [("timeout", {"reason": "idle"}, True)]


@check("execute_query: update", 1, before=World.command)
def update_by_sed(w, out):
    assert w.sql("select id::text, prompt, language from commands") == [(IDS["C"], "hello", "de")]


@check("execute_query: delete", before=World.screenshot)
def delete(w, out):
    assert w.sql("select from screenshots") == [] and w.one("select count(*) from sessions") == 1


@check("execute_query: delete", 1, before=World.screenshot)
def delete_all(w, out):
    assert w.sql("select id from sessions union all select id from commands union all select id from screenshots") == []
    assert w.one("select count(*) from users") == 1


@check("get_status")
def status(w, out):
    assert json.JSONDecoder().raw_decode(out)[0]["version"]
    assert re.search(r"^# TYPE ", out, re.M)


@check("health_check")
def health(w, out):
    assert out.startswith("ok")


@check("get_database_settings")
def settings(w, out):
    assert json.loads(out)["max_connections"] == 10


@check("reset_metrics")
def reset(w, out):
    assert w.mount.read(".rowfs/metrics")


@pytest.mark.parametrize(("method", "number", "script"), blocks(), ids=[f"{m}-{n}".replace(" ", "") for m, n, _ in blocks()])
def test_block(mount, pg, method, number, script):
    key = (method.split(" and ")[0].split(", ")[0], number)
    before, judge = CHECKS[key]
    world = World(mount, pg)
    before(world)
    out = world.run(script)
    assert out.stderr == ""
    judge(world, out.stdout)


def test_adopted_tables_are_given_back(server, adopted_template, fuse):
    """All methods, one after the other, and then rowfs init --remove: the other scripts' tables are as they were, with their rows."""
    pg = server.create_database("given_back", adopted_template.name)
    mount = mountkit.Mount(pg.conninfo)
    try:
        world = World(mount, pg)
        world.session()
        for method, number, script in blocks():
            world.run(script, ok=False)  # test_block judges each by itself
        mount.umount()
        users = pg.sql("select * from users order by id")
        assert users != []
        run(rowfs_binary(), "init", "--remove", "--with-data", pg.conninfo, env=clean_env(), timeout=120)
        assert pg.sql("select * from users order by id") == users
        assert dump(pg) == adopted_template.before
    finally:
        mount.destroy()
        pg.drop()


def test_every_check_has_its_block():
    assert {(m.split(" and ")[0], n) for m, n, _ in blocks()} == set(CHECKS)


def test_variables_survive_odd_mount_points():
    """Every variable of the page stands in double quotes."""
    for _, _, script in blocks():
        for word in shlex.split(re.sub(r"<<'END'.*?^END$", "", script, flags=re.M | re.S), posix=False):
            assert "$" not in re.sub(r'"[^"]*"|\'[^\']*\'', "", word), script
