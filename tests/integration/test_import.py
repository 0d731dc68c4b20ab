"""rowfs import: an old tree goes into a mount, is gone on with after an interruption, and is compared."""
import gzip
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import threading

import pytest

from kit import get, put, run, until
from mountkit import clean_env, rowfs_binary
from test_programs import counts, dump, filled, second, drop_second  # noqa: F401 fixtures

LINES = {"routes": [{"path": "/log.csv", "rows": "log", "columns": ["src", "n", "amount", "text"], "order": ["id"]},
                    {"path": "/log.jsonl", "rows": "log", "order": ["id"]},
                    {"path": "/items/{items.name}/item.json", "row": "items"},
                    {"path": "/items/{items.name}/parts.jsonl", "rows": "parts", "order": ["label", "id"]},
                    {"path": "/parts/{parts.id}.json", "row": "parts"},
                    {"path": "/names.csv", "query": "item_names"}]}


@pytest.fixture
def importer(tmp_path):
    """importer(OPTIONS…, TREE, MOUNT, status=…): runs it with a state directory of its own; the CompletedProcess."""
    def go(*words, status=0):
        done = run(rowfs_binary(), "import", *words, ok=False, timeout=300, env=clean_env(XDG_STATE_HOME=str(tmp_path / "state")))
        assert done.returncode == status, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
        return done
    return go


def start(tmp_path, *words):
    return subprocess.Popen([str(rowfs_binary()), "import", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=clean_env(XDG_STATE_HOME=str(tmp_path / "state")))


@pytest.fixture
def tree(filled, tmp_path):  # noqa: F811
    """The voice assistant's tree and the order book's, copied out."""
    top = tmp_path / "tree"
    top.mkdir()
    for name in ("users", "sessions", "memory", "orderbook"):
        run("cp", "-r", filled / name, top / name)
    shutil.rmtree(top / "memory/active", ignore_errors=True)
    return top


def journals(tmp_path):
    return list((tmp_path / "state").rglob("*.journal"))


# -- all of it -----------------------------------------------------------------------------------------------------


def test_a_whole_tree(tree, second, pg, importer, tmp_path):  # noqa: F811
    """Rows are equal by SQL, ids and all; what a query makes is left out and told."""
    other, database = second
    done = importer("-q", "--verify", tree, other.path)
    assert dump(database) == dump(pg)
    assert counts(database) == counts(pg)
    assert " 0 refused" in done.stdout and "statistics.json: left out" in done.stdout
    assert "hold rows that documents beside them hold, too" in done.stdout
    assert done.stdout.endswith("0 files differ\n")
    assert journals(tmp_path) == []
    importer("-q", "--verify", tree, other.path)  # again: nothing is doubled
    assert dump(database) == dump(pg)


def test_a_part_of_the_mount(tree, second, pg, importer):  # noqa: F811
    other, database = second
    importer("-q", "--verify", tree / "users", other / "users")
    assert dump(database)[:-1] == dump(pg)[:-1]


def test_one_worker_and_many(tree, second, pg, importer):  # noqa: F811
    other, database = second
    importer("-q", "-j", "1", tree / "orderbook", other / "orderbook")
    importer("-q", "--jobs", "16", tree, other.path)
    assert dump(database) == dump(pg)


def test_dry_run(tree, second, pg, importer, tmp_path):  # noqa: F811
    other, database = second
    out = importer("-n", tree, other.path).stdout
    assert counts(database) == [0] * 7 and journals(tmp_path) == []
    for name, what in (("users/user1/user.json", "row document"), ("users/user1/memory/short.txt", "column"),
                       ("orderbook/ex/BTC/2024-02-29.csv", "rows"), ("users/user1/statistics.json", "left out")):
        assert re.search(f"^{re.escape(name)}: {what}", out, re.M), out
    files = sum(len(names) for _, _, names in os.walk(tree))
    assert len(out.splitlines()) == files


# -- order -----------------------------------------------------------------------------------------------------------


def test_parents_before_children(shop_pg, make_mount, importer, tmp_path):
    """The document of a part says which item it belongs to; nothing in its path does: it comes in with a later pass."""
    mount = make_mount(layout=LINES)
    part = "6b1f0d52-5a2c-4f1e-9f57-0f2f3a0f6f01"
    put_tree(tmp_path / "t", {"items/zinc/item.json": '{"qty": 3}', f"parts/{part}.json": '{"item": "zinc", "label": "p"}',
                              "parts/6b1f0d52-5a2c-4f1e-9f57-0f2f3a0f6f02.json": '{"item": "nobody", "label": "q"}'})
    done = importer("-q", tmp_path / "t", mount.path, status=1)
    assert shop_pg.sql("select id::text, item from parts") == [(part, "zinc")]
    assert "2 files are in, 1 refused" in done.stdout
    assert re.search(r"f02.json: refused: .*nobody", done.stdout), done.stdout
    put_tree(tmp_path / "t", {"items/nobody/item.json": "{}"})
    again = importer("-q", tmp_path / "t", mount.path)
    assert "4 files are in, 0 refused" in again.stdout
    assert shop_pg.one("select count(*) from parts") == 2


def put_tree(top, files):
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        put(top / name, text)


# -- interruption -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment(tree, second, pg, importer, tmp_path, seed):  # noqa: F811
    other, database = second
    rng = random.Random(seed)
    kills = 0
    for _ in range(40):
        process = start(tmp_path, "-q", "-j", rng.choice([1, 3]), tree, other.path)
        want = sum(counts(database)) + rng.randrange(1, 60)
        def there():
            return process.poll() is not None or sum(counts(database)) >= want  # noqa: B023
        until(there, "some rows", timeout=60, pause=0.001)
        if process.poll() is not None:
            break
        process.kill()
        kills += 1
        process.communicate()
    process.communicate()
    assert kills > 0
    importer("-q", "--verify", tree, other.path)
    assert dump(database) == dump(pg) and counts(database) == counts(pg)


def big_csv(path, lines, bad=()):
    """Lines with numbers in a legacy spelling, some of them twice; BAD ones are refused by a CHECK."""
    with open(path, "w", encoding="utf-8", newline="") as f:
        f.write("src,n,amount,text\r\n")
        for n in range(lines):
            f.write(f"s,{-n if n in bad else n // 2},{n // 2 % 97}.50,\"t, {n // 2}\"\r\n")


WANT = "select n, count(*), min(amount), min(text) from log group by n order by n"


def expected(shop_pg, lines, bad=()):
    from decimal import Decimal
    good = [n // 2 for n in range(lines) if n not in bad]
    return [(n, good.count(n) if lines < 3000 else 2, Decimal(n % 97) + Decimal("0.5"), f"t, {n}") for n in sorted(set(good))]


def test_big_rows_files_are_killed_and_gone_on_with(shop_pg, make_mount, importer, tmp_path):
    """A rows file that is larger than max_document goes in by pieces. Killed at any moment, it has each line once in the end."""
    mount = make_mount(layout=LINES, options={"max_document": "64K"})
    put_tree(tmp_path / "t", {"x": ""})
    lines = 40000
    big_csv(tmp_path / "t/log.csv", lines)
    rng, kills = random.Random(7), 0
    for _ in range(6):
        process = start(tmp_path, "-q", tmp_path / "t", mount.path)
        want = shop_pg.one("select count(*) from log") + rng.randrange(1, 8000)
        until(lambda: process.poll() is not None or shop_pg.one("select count(*) from log") >= want,  # noqa: B023
              "some rows", timeout=120, pause=0.001)
        if process.poll() is not None:
            break
        process.kill()
        kills += 1
        process.communicate()
        settle(shop_pg)
    process.communicate()
    assert kills > 1
    importer("-q", "--verify", tmp_path / "t", mount.path)
    assert shop_pg.sql(WANT) == expected(shop_pg, lines)


def settle(shop_pg):
    """Until the mount has committed what the killed process had written."""
    last = [-1, 0]

    def still():
        now = shop_pg.one("select count(*) from log")
        last[1] = last[1] + 1 if now == last[0] else 0
        last[0] = now
        return last[1] > 20
    until(still, "the mount is at rest", timeout=60)


def test_the_mount_dies(shop_pg, make_mount, importer, tmp_path):
    mount = make_mount(layout=LINES, options={"max_document": "64K"})
    lines = 40000
    put_tree(tmp_path / "t", {"items/a/item.json": "{}"})
    big_csv(tmp_path / "t/log.csv", lines)
    process = start(tmp_path, "-q", tmp_path / "t", mount.path)
    until(lambda: shop_pg.one("select count(*) from log") > 500, "some rows", timeout=60)
    mount.kill()
    mount.process.wait()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "the mount is gone" in err, (out, err)
    until(lambda: not shop_pg.backends(), "no backend works on")
    run("umount", "-l", mount.path, ok=False)
    mount.start()
    importer("-q", "--verify", tmp_path / "t", mount.path)
    assert shop_pg.sql(WANT) == expected(shop_pg, lines)


def test_big_rows_files_with_bad_lines(shop_pg, make_mount, importer, tmp_path):
    mount = make_mount(layout=LINES, options={"max_document": "4K"})
    bad = {10, 501, 1999}
    (tmp_path / "t").mkdir()
    big_csv(tmp_path / "t/log.csv", 2000, bad)
    done = importer("-q", tmp_path / "t", mount.path, status=1)
    assert re.search("log.csv: refused: .*log_n_check", done.stdout), done.stdout
    assert shop_pg.one("select count(*) from log") == 1997
    again = importer("-q", "--verify-only", tmp_path / "t", mount.path, status=1)
    assert sorted(int(m) for m in re.findall(r"^log.csv:(\d+): the row is not on the mount$", again.stdout, re.M)) == [n + 2 for n in sorted(bad)]


def test_big_rows_files_do_not_replace(shop_pg, make_mount, importer, tmp_path):
    shop_pg.sql("insert into log (n) values (1)")
    mount = make_mount(layout=LINES, options={"max_document": "4K"})
    (tmp_path / "t").mkdir()
    big_csv(tmp_path / "t/log.csv", 2000)
    done = importer("-q", tmp_path / "t", mount.path, status=1)
    assert "larger than max_document" in done.stdout
    assert shop_pg.one("select count(*) from log") == 1


def test_sigint(shop_pg, make_mount, importer, tmp_path):
    mount = make_mount(layout=LINES)
    put_tree(tmp_path / "t", {f"items/i{n}/item.json": '{"qty": 1}' for n in range(400)})
    process = start(tmp_path, "-q", "-j", 2, tmp_path / "t", mount.path)
    until(lambda: shop_pg.one("select count(*) from items") > 10, "some rows")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "the same command goes on from here" in err, (out, err)
    assert 10 < shop_pg.one("select count(*) from items where qty = 1") < 400
    importer("-q", "--verify", tmp_path / "t", mount.path)
    assert shop_pg.one("select count(*) from items where qty = 1") == 400


# -- comparing ---------------------------------------------------------------------------------------------------------


def test_verify_finds_differences(shop_pg, make_mount, importer, tmp_path):
    mount = make_mount(layout=LINES, options={"coherence": "ttl=0"})
    put_tree(tmp_path / "t", {
        "log.csv": "src,n,amount,text\na,1,5000.0,x\na,2,1e3,\na,2,1e3,\nb,3,0.10,\"q\"\"\"\n",
        "items/i/item.json": '{"qty": 7, "price": 1.50, "seen": "2025-01-31T12:00:00Z", "meta": {"b": 1.0, "a": [1, 2]}}',
        "plain.bin": "line 1\nline 2\n"})
    importer("-q", "--verify", tmp_path / "t", mount.path)

    def differences():
        done = importer("-q", "--verify-only", tmp_path / "t", mount.path, status=1)
        return sorted(done.stdout.splitlines()[:-1])
    shop_pg.sql("update log set amount = 5000.00000001 where n = 1")
    assert differences() == ["log.csv: line 2 of the mount is not in the old file", "log.csv:2: the row is not on the mount"]
    shop_pg.sql("update log set amount = 5000 where n = 1")
    shop_pg.sql("delete from log where id = (select max(id) from log where n = 2)")
    assert differences() == ["log.csv:4: the row is not on the mount"]
    shop_pg.sql("insert into log (src, n, amount) values ('a', 2, 1000), ('a', 9, 1)")
    assert differences() == ["log.csv: line 6 of the mount is not in the old file"]
    shop_pg.sql("delete from log where n = 9; update items set meta = '{\"b\": 2, \"a\": [1, 2]}', qty = 8")
    assert differences() == ['items/i/item.json: "meta" has another value', 'items/i/item.json: "qty" has another value']
    shop_pg.sql("delete from items")
    put(mount / "plain.bin", "line 1\nline 3\n")
    assert differences() == ["items/i/item.json: is not on the mount", "plain.bin:2: byte 12 differs"]


# -- what old trees have in them ------------------------------------------------------------------------------------------


def test_a_hostile_tree(shop_pg, make_mount, importer, tmp_path):
    mount = make_mount(layout=LINES)
    top = tmp_path / "t"
    put_tree(top, {"items/good/item.json": '{"qty": 1}', "items/bad/item.json": '{"qty": -1}', "items/broken/item.json": "{",
                   "names.csv": "name,qty\n", "a\nb\x1b[31m.txt": "x", "items/Ünï/item.json": '{"qty": 2}', ".rowfs/health": "no"})
    os.mkdir(top / "empty")
    os.symlink("/etc/passwd", top / "link")
    os.mkfifo(top / "pipe")
    with open(os.path.join(os.fsencode(top), b"\xff.bin"), "wb") as f:
        f.write(b"\x00\xff")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(top / "socket"))
    os.chmod(top / "items/good/item.json", 0o400)
    done = importer("-q", top, mount.path, status=1)
    assert shop_pg.sql("select name, qty from items order by qty, name") == [("bad", 0), ("broken", 0), ("good", 1), ("Ünï", 2)]  # mkdir makes rows
    for line in ("link: left out: a symbolic link", "pipe: left out: a pipe", "socket: left out: a socket", "names.csv: left out: a query",
                 "items/bad/item.json: refused: .*items_qty_check", "items/broken/item.json: refused: ."):
        assert re.search(f"^{line}", done.stdout, re.M), done.stdout
    assert "\x1b" not in done.stdout and "a%0Ab%1B[31m.txt" in importer("-n", top, mount.path).stdout
    assert re.search("2 of them are plain files", done.stdout), done.stdout
    assert get(mount / "a\nb\x1b[31m.txt") == b"x" and get(os.path.join(os.fsencode(mount.path), b"\xff.bin")) == b"\x00\xff"
    assert (mount / "empty").is_dir() and not mount.exists("link")


def test_unreadable_files(shop_pg, make_mount):
    """Run by somebody else than root, who may not read a file and a directory."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to be somebody else")
    mount = make_mount(layout=LINES, options={"allow_other": True, "uid": 65534, "gid": 65534})
    top = mount.dir / "t"
    put_tree(top, {"items/a/item.json": '{"qty": 1}', "items/b/item.json": '{"qty": 2}', "secret/x": "x"})
    os.chmod(top / "items/b/item.json", 0)
    os.chmod(top / "secret", 0)
    os.chmod(mount.dir, 0o755)
    state = mount.dir / "nobody"
    state.mkdir()
    os.chown(state, 65534, 65534)
    done = run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", rowfs_binary(), "import", "-q", top, mount.path, ok=False,
               env=clean_env(XDG_STATE_HOME=str(state)))
    assert done.returncode == 1, done
    assert re.search("^items/b/item.json: refused: the old file cannot be read", done.stdout, re.M), done
    assert re.search("^secret: refused: the old directory cannot be read", done.stdout, re.M), done
    assert shop_pg.sql("select name from items") == [("a",)], done.stdout


def test_usage(shop, importer, tmp_path):
    (tmp_path / "t").mkdir()
    for words in ([], [tmp_path / "t"], [tmp_path / "t", tmp_path], [tmp_path / "none", shop.m.path], ["-j", "0", tmp_path / "t", shop.m.path],
                  ["--what", tmp_path / "t", shop.m.path], [shop.m / "items", shop.m.path], ["/", shop.m.path]):
        assert importer(*words, status=2).stderr, words
    assert "OLD-TREE" in importer("--help").stdout
    importer("-q", "--journal", tmp_path / "j", tmp_path / "t", shop.m.path)
    put(tmp_path / "j", "rowfs-import 1 /elsewhere -> /there\n")
    assert "another import" in importer("--journal", tmp_path / "j", tmp_path / "t", shop.m.path, status=2).stderr


# -- progress -----------------------------------------------------------------------------------------------------------------


STATE = re.compile(r"(\w+) (\d+) of (\d+) files, (\d+) rows, ([\d.]+) (\w+) of ([\d.]+) (\w+), ([\d.]+) (\w+)/s(, ETA \d+:\d\d:\d\d)?")


def test_progress(shop_pg, make_mount, importer, tmp_path):
    mount = make_mount(layout=LINES)
    put_tree(tmp_path / "t", {"log.csv": "n\n1\n2\n", "items/a/item.json": "{}"})
    lines = importer("--verify", tmp_path / "t", mount.path).stderr.splitlines()
    last = {m[1]: m for m in map(STATE.fullmatch, lines) if m}
    assert last["copied"].group(2, 3, 4) == ("2", "2", "3") and last["compared"].group(2, 3) == ("2", "2"), lines
    assert importer("-q", tmp_path / "t", mount.path).stderr == ""


def test_progress_on_a_terminal(shop_pg, make_mount, tmp_path):
    mount = make_mount(layout=LINES)
    put_tree(tmp_path / "t", {f"items/i{n}/item.json": "{}" for n in range(50)})
    terminal, end = os.openpty()
    process = subprocess.Popen([str(rowfs_binary()), "import", str(tmp_path / "t"), str(mount.path)], stdout=subprocess.DEVNULL, stderr=end,
                               env=clean_env(XDG_STATE_HOME=str(tmp_path / "state")))
    os.close(end)
    said = []

    def drain():
        try:
            while part := os.read(terminal, 65536):
                said.append(part)
        except OSError:
            pass  # the other end is closed
    reader = threading.Thread(target=drain)
    reader.start()
    assert process.wait(60) == 0
    reader.join(10)
    os.close(terminal)
    states = b"".join(said).decode().split("\r")
    bar = re.compile(r"\[(#* *)\] " + STATE.pattern)
    found = [m for m in (bar.match(s) for s in states) if m]
    assert found and len(found[-1][1]) == 24 and found[-1][3] == "50", states


# -- ingest files --------------------------------------------------------------------------------------------------------------


HEADER = "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount\r\n"


def collected(top, files=6, lines=4000):
    """What a collector left: CSV and gzip, the dialect of Python's csv.DictWriter."""
    for n in range(files):
        text = HEADER + "".join(f"ex,S{n},{1758365391602000 + i},{i},1.0,{i % 7}.5,,\r\n" for i in range(lines))
        name = f"collector/S{n}_orderbook_20250920_101010.csv"
        put_tree(top, {name: text} if n % 2 else {f"{name}.gz": gzip.compress(text.encode(), 1)})
    return files * lines


BOOK = "select count(*), count(distinct (symbol, timestamp)) from orderbook_data"


def test_ingest_files(mount, pg, importer, tmp_path):
    rows = collected(tmp_path / "t")
    importer("-q", "--verify", tmp_path / "t", mount.path)
    assert pg.sql(BOOK) == [(rows, rows)]
    run("diff", "-r", tmp_path / "t/collector", mount / "collector")
    importer("-q", "--verify", tmp_path / "t", mount.path)  # again: nothing is doubled
    assert pg.sql(BOOK) == [(rows, rows)]
    name = "collector/S0_orderbook_20250920_101010.csv.gz"
    old = get(tmp_path / "t" / name)
    put(tmp_path / "t" / name, old[:100] + bytes([old[100] ^ 1]) + old[101:])
    done = importer("-q", "--verify-only", tmp_path / "t", mount.path, status=1)
    assert re.search(f"^{name}:[0-9]+: byte 100 differs\n1 files differ", done.stdout, re.M), done.stdout


def test_ingest_files_are_killed_and_gone_on_with(mount, pg, importer, tmp_path):
    rows = collected(tmp_path / "t", lines=20000)
    rng, kills = random.Random(11), 0
    for _ in range(5):
        process = start(tmp_path, "-q", "-j", 2, tmp_path / "t", mount.path)
        want = pg.one("select count(*) from orderbook_data") + rng.randrange(1, 20000)
        until(lambda: process.poll() is not None or pg.one("select count(*) from orderbook_data") >= want,  # noqa: B023
              "some rows", timeout=60, pause=0.001)
        kills += process.poll() is None
        process.kill()
        process.communicate()
    assert kills > 0
    importer("-q", "--verify", tmp_path / "t", mount.path)
    assert pg.sql(BOOK) == [(rows, rows)]


def test_ingest_files_with_bad_lines(mount, pg, importer, tmp_path):
    """Told with the reason; the bytes and the good lines are in, and neither a second pass nor a second run covers it up."""
    put_tree(tmp_path / "t", {"collector/A_orderbook_1.csv": HEADER + "ex,A,1,1,,,,\r\nx,y\r\nex,A,2,2,,,,\r\n",
                              "collector/B_orderbook_1.csv": HEADER + "ex,B,1,1,,,,\r\n"})
    done = importer("-q", "--verify", tmp_path / "t", mount.path, status=1)
    refusal = "collector/A_orderbook_1.csv: refused: its bytes are in, but 1 of 3 lines are no rows, see rejected/: 2 fields"
    differs = "collector/A_orderbook_1.csv: 1 of 3 lines are no rows, see rejected/\n1 files differ\n"
    assert refusal in done.stdout and "1 files are in, 1 refused" in done.stdout and done.stdout.endswith(differs)
    rows = [("A", 1), ("A", 2), ("B", 1)]
    for words in ([], ["--restart"], ["--verify-only"]):
        done = importer("-q", *words, tmp_path / "t", mount.path, status=1)
        assert differs in done.stdout if words == ["--verify-only"] else refusal in done.stdout
        assert pg.sql("select symbol, timestamp from orderbook_data order by 1, 2") == rows, words


def test_what_refused_the_lines_of_ingest_files_is_mended(mount, pg, importer, tmp_path):
    """The table has refused them: they are tried again with --restart, and not before."""
    name = "collector/A_orderbook_1.csv"
    put_tree(tmp_path / "t", {name: HEADER + "ex,A,1,1,,,,\r\nex,A,2,2,,,,\r\nex,A,3,3,,,,\r\n"})
    pg.sql("alter table orderbook_data add constraint not_two check (timestamp <> 2)")
    for _ in range(2):
        done = importer("-q", tmp_path / "t", mount.path, status=1)
        assert f"{name}: refused: its bytes are in, but 1 of 3 lines are no rows, see rejected/: " in done.stdout, done.stdout
    pg.sql("alter table orderbook_data drop constraint not_two")
    done = importer("-q", "--verify", "--restart", tmp_path / "t", mount.path)
    assert "1 files are in, 0 refused" in done.stdout and done.stdout.endswith("0 files differ\n")
    assert pg.sql("select timestamp from orderbook_data order by 1") == [(1,), (2,), (3,)]


def test_a_gzip_that_is_cut_short_is_not_in(mount, pg, importer, tmp_path):
    """It is told in every run, and --restart; the lines before its end are rows. Members and zero bytes behind each other are whole."""
    data = gzip.compress((HEADER + "".join(f"ex,A,{i},{i},,,,\r\n" for i in range(2000))).encode())
    name = "collector/A_orderbook_1.csv.gz"
    put_tree(tmp_path / "t", {name: data[:len(data) // 2],
                              "collector/B_orderbook_1.csv.gz": gzip.compress((HEADER + "ex,B,1,1,,,,\r\n").encode()) + gzip.compress(b"ex,B,2,2,,,,\r\n") + bytes(512),
                              "collector/C_orderbook_1.csv.gz": gzip.compress((HEADER + "ex,C,1,1,,,,\r\n").encode())[:-4]})
    for words in ([], [], ["--restart"], ["--verify"]):
        done = importer("-q", *words, tmp_path / "t", mount.path, status=1)
        for cut in (name, "collector/C_orderbook_1.csv.gz"):
            assert re.search(f"^{cut}: refused: its bytes are in, .* cut short", done.stdout, re.M), done.stdout
        assert "1 files are in, 2 refused" in done.stdout
        got = [n for n, in pg.sql("select timestamp from orderbook_data where symbol = 'A' order by 1")]
        assert got == list(range(len(got))) and 0 < len(got) < 2000
        assert pg.sql("select symbol, timestamp from orderbook_data where symbol <> 'A' order by 1, 2") == [("B", 1), ("B", 2), ("C", 1)]
    (tmp_path / "t" / name).write_bytes(data)
    (tmp_path / "t" / "collector/C_orderbook_1.csv.gz").unlink()
    importer("-q", "--verify", tmp_path / "t", mount.path)
    assert pg.one("select count(*) from orderbook_data where symbol = 'A'") == 2000


def test_verify_compares_the_rows_of_ingest_files(mount, pg, importer, tmp_path):
    """CSV, gzip and JSON Lines: rows that are gone, and rows that were changed; and those that an interrupted run has left out."""
    text = HEADER + "".join(f"ex,A,{i},{i},,,,\r\n" for i in range(5))
    put_tree(tmp_path / "t", {"collector/A_orderbook_1.csv": text, "collector/B_orderbook_1.csv.gz": gzip.compress(text.encode())})
    done = importer("-q", "--verify", tmp_path / "t", mount.path)
    assert done.stdout.endswith("0 files differ\n")
    pg.sql("delete from orderbook_data where id in (select min(id) from orderbook_data where timestamp = 1);"
           "update orderbook_data set ask_price = 7 where id in (select max(id) from orderbook_data where timestamp = 4)")
    done = importer("-q", "--verify-only", tmp_path / "t", mount.path, status=1)
    lines = sorted(line.split(": ", 1)[1] for line in done.stdout.splitlines()[:-1])
    assert lines == ["1 of 5 lines have no row", "1 of 5 rows say something else than its lines"], done.stdout
    assert re.search("compared 2 of 2 files, 9 rows", importer("--verify-only", tmp_path / "t", mount.path, status=1).stderr)


def test_counts_are_never_more_than_all(shop_pg, make_mount, importer, tmp_path):
    """Files without a newline at their end, and files that are tried again."""
    mount = make_mount(layout=LINES)
    part = "6b1f0d52-5a2c-4f1e-9f57-0f2f3a0f6f01"
    put_tree(tmp_path / "t", {"log.csv": "n\n1\n2", "parts/" + part + ".json": '{"item": "zinc", "label": "p"}', "items/zinc/item.json": "{}"})
    lines = importer("--verify", tmp_path / "t", mount.path).stderr.splitlines()
    seen = [m for m in map(STATE.fullmatch, lines) if m]
    assert {m[1] for m in seen} == {"copied", "compared"}
    for m in seen:
        assert float(m[5]) <= float(m[7]) and int(m[2]) <= int(m[3]), m[0]
    assert seen[-1].group(4) == "4", "rows that were compared: two lines and two documents"


def test_rows_files_do_not_undo_ingest_files(mount, pg, importer, tmp_path):
    """Both fill one table. Replacing the rows file would remove what the ingest file has brought: it is refused, with the reason."""
    day = "orderbook/ex/S/1970-01-01.csv"
    put_tree(tmp_path / "t", {"collector/S_orderbook_1.csv": HEADER + "ex,S,1,1,,,,\r\nex,S,2,2,,,,\r\n",
                              day: HEADER + "ex,S,3,3,,,,\r\n"})
    importer("-q", tmp_path / "t", mount.path)
    want = [(1,), (2,), (3,)]
    assert pg.sql("select timestamp from orderbook_data order by 1") == want
    done = importer("-q", tmp_path / "t", mount.path, status=1)
    assert re.search(f"^{day}: refused: ingest files bring rows of its table, too", done.stdout, re.M), done.stdout
    assert pg.sql("select timestamp from orderbook_data order by 1") == want


def test_a_file_that_grows_meanwhile(mount, pg, importer, tmp_path):
    """It is told, and the same command takes the rest: each line once."""
    name = "collector/A_orderbook_1.csv"
    body = HEADER + "".join(f"ex,A,{i},{i},,,,\r\n" for i in range(60000))
    put_tree(tmp_path / "t", {name: body})
    process = start(tmp_path, "-q", tmp_path / "t", mount.path)
    until(lambda: process.poll() is not None or pg.one("select count(*) from orderbook_data") > 0, "some rows", pause=0.001)
    with open(tmp_path / "t" / name, "a", newline="") as file:
        file.write("ex,A,60000,60000,,,,\r\n")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and f"{name}: refused: the old file was changed while it was copied" in out, out
    importer("-q", "--verify", tmp_path / "t", mount.path)
    assert pg.sql("select count(*), count(distinct timestamp) from orderbook_data") == [(60001, 60001)]


def test_names_that_cannot_be(mount, pg, importer, tmp_path):
    """On a route a name must be UTF-8; every other byte but the slash is good."""
    put_tree(tmp_path / "t", {"collector/-x_orderbook_1.csv": HEADER + "ex,A,1,1,,,,\r\n",
                              "collector/a\nb _orderbook_1.csv": HEADER + "ex,A,2,2,,,,\r\n"})
    with open(os.path.join(os.fsencode(tmp_path / "t/collector"), b"\xff_orderbook_1.csv"), "wb") as f:
        f.write(b"x")
    done = importer("-q", "--verify", tmp_path / "t", mount.path, status=1)
    assert "collector/%FF_orderbook_1.csv: refused: the name is no UTF-8" in done.stdout, done.stdout
    assert "collector/%FF_orderbook_1.csv: is not on the mount" in done.stdout and "2 files are in, 1 refused" in done.stdout
    assert pg.sql("select timestamp from orderbook_data order by 1") == [(1,), (2,)]
    assert mount.ls("collector") == ["-x_orderbook_1.csv", "a\nb _orderbook_1.csv"]
    assert mount.errors()[-1]["path"] == "/collector/%FF_orderbook_1.csv"


@pytest.mark.root
def test_a_source_that_cannot_be_written(mount, pg, importer, tmp_path):
    """Nothing is written there, no time moves."""
    rows = collected(tmp_path / "t", files=2, lines=10)
    run("mount", "--bind", tmp_path / "t", tmp_path / "t")
    try:
        run("mount", "-o", "remount,bind,ro", tmp_path / "t")
        before = {p: os.stat(p).st_mtime_ns for p in (tmp_path / "t").rglob("*")}
        importer("-q", "--verify", tmp_path / "t", mount.path)
        assert before == {p: os.stat(p).st_mtime_ns for p in (tmp_path / "t").rglob("*")}
    finally:
        run("umount", tmp_path / "t")
    assert pg.sql(BOOK) == [(rows, rows)]
