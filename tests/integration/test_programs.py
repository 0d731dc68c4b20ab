"""Old programs, unchanged."""
import json
import os

import pytest

from kit import get, run, sh

SCHEMA = "insert into users (hardware_id_hash, metadata) values (%s, %s) returning id::text"


@pytest.fixture
def filled(mount, pg):
    """The default layout with a few users, sessions, commands and answers, and some order book."""
    for n in range(3):
        user = pg.one(SCHEMA, f"user{n}", json.dumps({"name": f"Ünï {n}", "n": 12345678901234567890}))
        pg.sql("update users set short_term_memory = %s where id = %s", f"remember {n}\n", user)
        for _ in range(2):
            session = pg.one("insert into sessions (user_id) values (%s) returning id::text", user)
            command = pg.one("insert into commands (session_id, prompt) values (%s, %s) returning id::text", session, "what's \"up\"?\n日本")
            pg.sql("insert into llm_answers (command_id, prompt, response) values (%s, 'p', 'r')", command)
            pg.sql("insert into screenshots (session_id, file_path) values (%s, '/tmp/x.png')", session)
            pg.sql("insert into performance_metrics (session_id, metric_type, metric_value) values (%s, 'cpu', '{\"v\": 0.1}')", session)
    pg.sql("insert into orderbook_data (exchange, symbol, timestamp, local_timestamp, ask_price) select 'ex', s, 1709164800000000 + g * 60000000::bigint, 1, "
           "g / 8.0 from generate_series(1, 100) g, unnest(array['BTC', 'ETH']) s")
    return mount


def counts(pg):
    return [pg.one(f"select count(*) from {t}") for t in ("users", "sessions", "commands", "llm_answers", "screenshots", "performance_metrics",
                                                          "orderbook_data")]


def dump(pg, ids=True):
    """Everything that the files carry, with what the server sets left out."""
    return [pg.sql(q) for q in (
        f"select {'id' if ids else '1'}, hardware_id_hash, metadata, short_term_memory, long_term_memory, created_at from users order by 1, 2",
        f"select s.id, {'user_id' if ids else 'hardware_id_hash'}, start_time, end_time, s.metadata, status, s.created_at from sessions s "
        "join users u on u.id = user_id order by 1", "select * from commands order by id",
        "select * from llm_answers order by id", "select * from screenshots order by id", "select * from performance_metrics order by id",
        "select exchange, symbol, timestamp, local_timestamp, ask_amount, ask_price, bid_price, bid_amount from orderbook_data order by 1, 2, 3")]


def test_jq(filled, pg):
    assert run("jq", "-r", ".metadata.name", filled / "users/user1/user.json").stdout == "Ünï 1\n"
    sh('jq ".metadata.name = \\"jq\\"" user.json > tmp && mv tmp user.json', cwd=filled / "users/user1")
    assert pg.one("select metadata->>'name' from users where hardware_id_hash = 'user1'") == "jq"
    assert run("jq", "-s", "length", filled / "users/user1/sessions.jsonl").stdout == "2\n"


@pytest.mark.parametrize("options", ["", "set nobackup nowritebackup", "set backup", "set backupcopy=yes", "set backupcopy=no"])
def test_vim_saves_twice(filled, pg, options):
    path = filled / "users/user1/user.json"
    ids = pg.sql("select id from sessions order by id")
    ex = "\n".join([options, "%s/Ünï 1/first/", "write", "%s/first/second/", "write", "quit"]) + "\n"
    done = run("vim", "-es", "-u", "NONE", "-c", "set encoding=utf-8 fileencodings=utf-8", path, stdin=ex, ok=False, env={"TERM": "dumb", "HOME": "/nonexistent"})
    assert pg.one("select metadata->>'name' from users where hardware_id_hash = 'user1'") == "second", done
    assert pg.sql("select id from sessions order by id") == ids
    assert [n for n in os.listdir(path.parent) if n.endswith((".swp", "4913"))] == []


def test_vim_edits_a_csv(filled, pg):
    path = filled / "orderbook/ex/BTC/2024-02-29.csv"
    run("vim", "-es", "-u", "NONE", path, stdin="%s/,12.5,/,99.25,/\nwrite\nquit\n", ok=False, env={"TERM": "dumb", "HOME": "/nonexistent"})
    assert pg.one("select count(*) from orderbook_data where symbol = 'BTC'") == 100
    assert pg.one("select count(*) from orderbook_data where symbol = 'BTC' and ask_price = 99.25") == 1


def test_sed_i(filled, pg):
    run("sed", "-i", "s/remember 1/forget/", filled / "users/user1/memory/short.txt")
    run("sed", "-i", 's/"Ünï 1"/"sed"/', filled / "users/user1/metadata.json")
    assert pg.sql("select short_term_memory, metadata->>'name' from users where hardware_id_hash = 'user1'") == [("forget\n", "sed")]
    run("sed", "-i", "s/,12.5,/,99.25,/", filled / "orderbook/ex/BTC/2024-02-29.csv")
    assert pg.one("select count(*) from orderbook_data where symbol = 'BTC' and ask_price = 99.25") == 1


def test_python_os_replace(filled, pg):
    script = """
import json, os, sys, tempfile
path = sys.argv[1]
with open(path) as f: d = json.load(f)
d['metadata']['name'] = 'python'
fd, tmp = tempfile.mkstemp(dir=os.path.dirname(path))
with os.fdopen(fd, 'w') as f:
    json.dump(d, f, indent=2); f.flush(); os.fsync(f.fileno())
os.replace(tmp, path)
"""
    run("/usr/bin/python3", "-c", script, filled / "users/user1/user.json")
    assert pg.one("select metadata->>'name' from users where hardware_id_hash = 'user1'") == "python"


def test_find_grep_du_ls(filled):
    assert len(run("find", filled / "users", "-name", "session.json").stdout.splitlines()) == 6
    assert len(run("find", filled.path, "-type", "f", "-newermt", "2020-01-01", "-not", "-path", "*/.rowfs/*").stdout.splitlines()) > 50
    assert run("grep", "-rl", "Ünï 2", filled / "users").stdout.split() and "user2" in run("grep", "-rl", "Ünï 2", filled / "users").stdout
    assert run("grep", "-rc", "ex,BTC", filled / "orderbook").stdout.endswith(":100\n") or "BTC" in run("grep", "-rc", "ex,BTC", filled / "orderbook").stdout
    run("du", "-s", filled / "users")
    run("ls", "-laR", filled / "users")
    run("tree", filled / "users", ok=False) if os.path.exists("/usr/bin/tree") else None


def test_head_tail_wc_sort_cut(filled):
    book = filled / "orderbook/ex/BTC/2024-02-29.csv"
    assert run("wc", "-l", book).stdout.split()[0] == "101"
    assert run("head", "-n", "1", book).stdout == "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount\n"
    assert run("tail", "-n", "1", book).stdout == "ex,BTC,1709170800000000,1,,12.5,,\n"
    assert run("tail", "-c", "5", book).stdout == ",12.5,,\n"[-5:]
    assert sh("cut -d, -f6 2024-02-29.csv | sort -n | tail -n 1", cwd=book.parent).stdout == "12.5\n"
    assert run("tac", book).stdout.splitlines()[0] == "ex,BTC,1709170800000000,1,,12.5,,"


def test_touch_chmod_test(filled, pg):
    before = dump(pg)
    sh("touch user.json metadata.json; chmod 600 user.json; test -w user.json; [ -s user.json ]; stat -c %s user.json; cat < user.json",
       cwd=filled / "users/user1")
    assert dump(pg) == before


def test_cp_out_and_compare(filled, tmp_path):
    run("cp", "-r", filled / "users", tmp_path / "users")
    run("diff", "-r", filled / "users", tmp_path / "users")
    run("cp", "-a", filled / "orderbook", tmp_path / "orderbook")
    run("diff", "-r", filled / "orderbook", tmp_path / "orderbook")


def test_tar_out(filled, tmp_path):
    run("tar", "-C", filled.path, "-cf", tmp_path / "t.tar", "users", "memory", "orderbook")
    run("tar", "-C", tmp_path, "-xf", tmp_path / "t.tar")
    run("diff", "-r", filled / "users", tmp_path / "users")
    assert "changed" not in run("tar", "-C", filled.path, "-cf", "/dev/null", "users").stderr


def test_rsync_out_twice(filled, tmp_path):
    run("rsync", "-a", f"{filled / 'users'}/", tmp_path / "users/")
    run("diff", "-r", filled / "users", tmp_path / "users")
    again = run("rsync", "-a", "-i", f"{filled / 'users'}/", tmp_path / "users/").stdout
    assert not [x for x in again.splitlines() if x.startswith(">f")], again


@pytest.fixture
def second(server, template, make_mount):
    """Another, empty database with the same schema, mounted."""
    database = server.create_database("second", template.name)
    yield make_mount(conninfo=database.conninfo), database
    database.close()


@pytest.fixture(autouse=True)
def drop_second(server):
    yield
    server.admin('drop database if exists "second" with (force)')


def without_copies(tree):
    """Leaves out what says a second time what other files say: documents made by queries, and the collections' lines."""
    sh("find . \\( -name statistics.json -o -name transcript.json -o -name '*.jsonl' \\) -delete", cwd=tree)


def without_ids(tree):
    """Leaves out the ids that no path holds, those of users: the other database gives its own."""
    for path in tree.rglob("*.json"):
        value = json.loads(path.read_text(encoding="utf-8"))
        if path.name == "user.json":
            del value["id"]
        if path.name == "session.json":
            del value["user_id"]
        path.write_text(json.dumps(value, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")


@pytest.mark.parametrize("how", ["rsync", "rsync --inplace", "cp"])
def test_import_without_ids(filled, second, pg, tmp_path, how):
    """Programs that make directories before the files in them, in whatever order."""
    other, database = second
    tree = tmp_path / "tree"
    run("cp", "-r", filled / "users", tree)
    without_copies(tree)
    without_ids(tree)
    if how == "cp":
        # cp takes names as the source's directory has them: an answer that comes before its command's document is refused, and
        # there when all is copied once more.
        run("cp", "-r", *sorted(tree.iterdir()), other / "users", ok=False)
        run("cp", "-r", *sorted(tree.iterdir()), other / "users")
    else:
        run(*how.split(), "-a", f"{tree}/", f"{other / 'users'}/")
    assert dump(database, False)[:-1] == dump(pg, False)[:-1]
    run("cp", "-r", other / "users", tmp_path / "back")
    without_copies(tmp_path / "back")
    without_ids(tmp_path / "back")
    left = run("diff", "-r", tree, tmp_path / "back", ok=False).stdout
    changed = [x for x in left.splitlines() if x[:1] in "<>" and "updated_at" not in x]
    assert changed == [], left


def test_export_and_import(filled, second, pg, tmp_path):
    """A tree copied out and copied into another database's mount is the same rows and the same tree, ids and all. A user's id must be
    there before its sessions: the archive has the files of a directory in the order of their names, before the directories in it."""
    other, database = second
    tree = tmp_path / "tree"
    run("cp", "-r", filled / "users", tree)
    without_copies(tree)
    sh("find . -type d | sort > ../dirs; for d in $(cat ../dirs); do find $d -maxdepth 1 -type f | sort; done > ../files; "
       "tar --no-recursion -cf ../t.tar -T ../files", cwd=tree)
    run("tar", "-C", other / "users", "--overwrite", "-xf", tmp_path / "t.tar")
    assert dump(database)[:-1] == dump(pg)[:-1]
    run("cp", "-r", other / "users", tmp_path / "back")
    without_copies(tmp_path / "back")
    left = run("diff", "-r", tree, tmp_path / "back", ok=False).stdout
    changed = [x for x in left.splitlines() if x[:1] in "<>" and "updated_at" not in x]
    assert changed == [], left


def test_cp_r_in(filled, second, pg, tmp_path):
    other, database = second
    run("cp", "-r", filled / "orderbook", tmp_path / "orderbook")
    run("cp", "-r", tmp_path / "orderbook/ex", other / "orderbook")
    assert dump(database)[-1] == dump(pg)[-1]
    run("diff", "-r", filled / "orderbook", other / "orderbook")
    run("cp", "-r", tmp_path / "orderbook/ex", other / "orderbook")  # again: replaced, not doubled
    assert dump(database)[-1] == dump(pg)[-1]


def test_cp_r_in_of_documents(shop, tmp_path):
    """Directories whose rows wait for their document, and files whose names are keys."""
    shop.sql("insert into boxes select g, 'box ' || g, g from generate_series(1, 5) g; insert into flat select g, 't' || g from generate_series(1, 5) g;"
             "insert into pairs select 'a' || g, g, 'v' from generate_series(1, 5) g")
    want = [shop.sql(f"select * from {t} order by 1, 2") for t in ("boxes", "flat", "pairs")]
    for name in ("boxes", "flat", "pairs"):
        run("cp", "-r", shop.m / name, tmp_path / name)
    sh("find . -name label -delete; find . -name '*.jsonl' -delete", cwd=tmp_path)
    shop.sql("delete from boxes; delete from flat; delete from pairs")
    for name in ("boxes", "flat", "pairs"):
        run("cp", "-r", f"{tmp_path / name}/.", shop.m / name)
    assert [shop.sql(f"select * from {t} order by 1, 2") for t in ("boxes", "flat", "pairs")] == want


def test_tar_unpacks_over_what_is_there(shop, tmp_path):
    """tar opens with O_EXCL, removes what is in its way and tries again: this must come to an end."""
    shop.sql("insert into log (n) values (1), (2); insert into flat values (1, 'one')")
    run("tar", "-C", shop.m.path, "-cf", tmp_path / "t.tar", "log.csv", "flat")
    run("tar", "-C", shop.m.path, "-xf", tmp_path / "t.tar", timeout=20)
    assert shop.sql("select n from log order by 1") == [(1,), (2,)]
    assert shop.sql("select id, title from flat") == [(1, "one")]


def test_rsync_in_with_its_temp_files(filled, second, pg, tmp_path):
    other, database = second
    run("cp", "-r", filled / "orderbook", tmp_path / "orderbook")
    run("rsync", "-a", f"{tmp_path / 'orderbook'}/", f"{other / 'orderbook'}/")
    assert dump(database)[-1] == dump(pg)[-1]
    run("diff", "-r", filled / "orderbook", other / "orderbook")


def test_shell_loops_and_redirections(mount, pg):
    sh("""
mkdir users/h1 users/h2
echo '{"metadata": {"a": 1}}' > users/h1/user.json
for i in 1 2 3; do echo "line $i" >> users/h1/memory/long.txt; done
printf '{"metadata": {"n": %d}}\\n' 1 2 3 >> users/h1/sessions.jsonl
cat users/h1/memory/long.txt > users/h2/memory/long.txt
cp users/h1/metadata.json users/h2/metadata.json
tee users/h2/memory/short.txt <<< hello >/dev/null
dd if=users/h2/memory/short.txt of=users/h1/memory/short.txt status=none
""", cwd=mount.path)
    assert pg.sql("select hardware_id_hash, metadata, short_term_memory, long_term_memory from users order by 1") == [
        ("h1", {"a": 1}, "hello\n", "line 1\nline 2\nline 3\n"), ("h2", {"a": 1}, "hello\n", "line 1\nline 2\nline 3\n")]
    assert pg.sql("select (metadata->>'n')::int from sessions order by 1") == [(1,), (2,), (3,)]


def test_pandas_like_append(mount, pg):
    """to_csv(mode='a', header=not exists): stat says ENOENT before the first write and not after it."""
    path = mount.at("orderbook/ex/SYM/2024-02-29.csv")
    script = """
import csv, os, sys
os.makedirs(os.path.dirname(sys.argv[1]), exist_ok=True)
for i in range(3):
    new = not os.path.exists(sys.argv[1])
    with open(sys.argv[1], 'a', newline='') as f:
        w = csv.writer(f)
        if new: w.writerow('exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount'.split(','))
        w.writerow(['ex', 'SYM', 1709164800000000 + i, 1, 0.5, None, 1e-05, ''])
"""
    run("/usr/bin/python3", "-c", script, path)
    assert pg.sql("select timestamp - 1709164800000000, ask_amount::text, ask_price, bid_price::text from orderbook_data order by 1") == [
        (i, "0.50000000", None, "0.00001000") for i in range(3)]
    assert len(get(path).splitlines()) == 4
