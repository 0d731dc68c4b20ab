"""Files of many rows: CSV and JSON Lines, read whole and appended to."""
import csv
import errno
import io
import json
import os
import random
import threading

import pytest

from kit import append, get, put, refused, rm, rss_kib, run, sh, until
from mountkit import sanitizer_env
from shop import LAYOUT, Shop, without

HEADER = "src,n,amount,text\n"


def lines(shop):
    return shop.sql("select src, n, amount::text, text from log order by id")


def test_csv_reads_as_sql_says(shop):
    shop.sql("""insert into log (src, n, amount, text) values ('a', 1, 1.50000000, 'plain'), ('a', 2, 100, 'with "quotes", commas'),
             ('b', 3, 0.00000001, E'two\nlines'), ('b', 4, null, null), ('b', 5, 0, ''), ('b', 9007199254740993, 123456789012.12345678, 'é')""")
    text = shop.m.read("log.csv")
    assert text.startswith(HEADER) and text.endswith("\n")
    rows = list(csv.reader(io.StringIO(text)))[1:]
    assert rows == [["a", "1", "1.5", "plain"], ["a", "2", "100", 'with "quotes", commas'], ["b", "3", "0.00000001", "two\nlines"],
                    ["b", "4", "", ""], ["b", "5", "0", ""], ["b", "9007199254740993", "123456789012.12345678", "é"]]
    assert 'b,4,,\n' in text and 'b,5,0,""\n' in text  # NULL is an empty field, an empty string is quoted
    assert len(shop.m.bytes("log.csv")) == os.stat(shop.m.at("log.csv")).st_size


def test_jsonl_reads_as_sql_says(shop):
    shop.sql("insert into log (src, n, amount, text) values ('a', 9007199254740993, 1.5, E'x\ny é'), ('b', 2, null, null)")
    text = shop.m.read("log.jsonl")
    first, second = text.splitlines()
    assert json.loads(first) == {"id": 1, "src": "a", "n": 9007199254740993, "amount": 1.5, "text": "x\ny é"}
    assert list(json.loads(first)) == ["id", "src", "n", "amount", "text"]
    assert "1.50000000" in first and "9007199254740993" in first and "é" in first
    assert json.loads(second) == {"id": 2, "src": "b", "n": 2, "amount": None, "text": None}
    assert os.stat(shop.m.at("log.jsonl")).st_size == len(text.encode())


def test_files_without_rows(shop):
    shop.add("bolt")
    assert shop.m.read("log.csv") == HEADER
    assert shop.m.read("log.jsonl") == ""
    assert shop.m.read("items/bolt/parts.csv") == "label,weight\n"
    assert os.stat(shop.m.at("log.csv")).st_size == len(HEADER)
    with refused(errno.ENOENT):
        get(shop.m.at("items/none/parts.csv"))
    with refused(errno.ENOENT):
        get(shop.m.at("book/ex/SYM/2024-02-29.csv"))


@pytest.mark.parametrize("text", [
    HEADER + "a,1,1.5,x\nb,2,,\n", "a,1,1.5,x\nb,2,,\n", (HEADER + "a,1,1.5,x\nb,2,,\n").replace("\n", "\r\n"), "a,1,1.5,x\r\nb,2,,\r\n",
    "a,1,1.5,x\nb,2,,", HEADER + "a,1,1.5,x\r\nb,2,,", '"a","1","1.5","x"\n"b",2,,\n'])
def test_csv_dialects(shop, text):
    append(shop.m.at("log.csv"), text)
    want = [("a", 1, "1.50000000", "x"), ("b", 2, None, None)]
    if not text.endswith("\n"):  # a line without its end is one only when the last descriptor is closed, a moment after close()
        until(lambda: lines(shop) == want, "the last line is committed")
    assert lines(shop) == want


def test_csv_quoting_and_empty(shop):
    append(shop.m.at("log.csv"), '"a ""b"", c",1,,"two\nlines"\nx,2,,""\nx,3,, blank \n')
    assert lines(shop) == [('a "b", c', 1, None, "two\nlines"), ("x", 2, None, ""), ("x", 3, None, " blank ")]


def test_csv_header_in_another_order(shop):
    append(shop.m.at("log.csv"), "n,src\n1,a\n2,b\n")
    assert lines(shop) == [("a", 1, None, None), ("b", 2, None, None)]


def test_csv_header_again_by_each_writer(shop):
    """A writer that opens the file again may write the header again (pandas mode='a' does)."""
    append(shop.m.at("log.csv"), HEADER + "a,1,,\n")
    append(shop.m.at("log.csv"), HEADER + "a,2,,\n")
    assert [r[1] for r in lines(shop)] == [1, 2]


def test_jsonl_append(shop):
    append(shop.m.at("log.jsonl"), '{"n": 9007199254740993, "amount": 12345678901.12345678}\n{"src": "b", "n": 2, "text": null}\r\n{"n": 3}')
    assert lines(shop) == [("x", 9007199254740993, "12345678901.12345678", None), ("b", 2, None, None), ("x", 3, None, None)]
    sh('echo \'{"n": 4, "text": "é \\u00fc 🙂"}\' >> log.jsonl', cwd=shop.m.path)
    assert lines(shop)[3] == ("x", 4, None, "é ü 🙂")


@pytest.mark.parametrize("seed", range(6))
def test_append_in_any_cut(shop, seed):
    """The bytes of an append may be cut anywhere: in a line, in a quoted field, in a character, between CR and LF."""
    rng = random.Random(seed)
    want = []
    text = io.StringIO()
    out = csv.writer(text, lineterminator=rng.choice(["\n", "\r\n"]))
    for i in range(200):
        row = (rng.choice(["a", "b,c", 'q"q', "é🙂"]), i, f"{rng.randrange(10**6)}.{rng.randrange(10**8):08d}",
               rng.choice(["", "x", "two\nlines", "日本語", "\t", 'say "hi", ok']) or None)
        out.writerow(["" if v is None else v for v in row])
        want.append(row)
    body = text.getvalue().encode()
    fd = os.open(shop.m.at("log.csv"), os.O_WRONLY | os.O_APPEND)
    at = 0
    while at < len(body):
        step = rng.choice([1, 2, 3, 7, 50, 500, 4096])
        assert os.write(fd, body[at:at + step]) == len(body[at:at + step])
        at += step
    os.close(fd)
    assert lines(shop) == [(a, n, amount, t) for a, n, amount, t in want]


def test_fsync_means_committed(shop):
    fd = os.open(shop.m.at("log.csv"), os.O_WRONLY | os.O_APPEND)
    for i in range(5):
        os.write(fd, f"a,{i},,\n".encode())
        os.fsync(fd)
        assert len(lines(shop)) == i + 1
    os.write(fd, b"a,5,,\nhalf,")
    os.fsync(fd)
    assert len(lines(shop)) == 6  # the half line waits for its end
    os.write(fd, b"6,,\n")
    os.close(fd)
    assert lines(shop)[6] == ("half", 6, None, None)


def test_the_parent_comes_from_the_path(shop):
    shop.add("bolt")
    append(shop.m.at("items/bolt/parts.csv"), "head,1.5\nthread,\n")
    append(shop.m.at("items/bolt/parts.jsonl"), '{"label": "tip", "item": "bolt"}\n')
    assert shop.sql("select item, label, weight::text from parts order by label") == [
        ("bolt", "head", "1.50000000"), ("bolt", "thread", None), ("bolt", "tip", None)]
    assert [r["label"] for r in shop.m.jsonl("items/bolt/parts.jsonl")] == ["head", "thread", "tip"]
    with refused(errno.ENOENT):
        append(shop.m.at("items/none/parts.csv"), "x,1\n")


def test_lines_that_contradict_the_path(shop):
    shop.add("bolt")
    shop.add("nut")
    bad = '{"item": "nut", "label": "no"}'
    shop.m.refuses(lambda: append(shop.m.at("items/bolt/parts.jsonl"), '{"label": "yes"}\n' + bad + '\n{"label": "also"}\n'),
                   errno.EINVAL, path="items/bolt/parts.jsonl", keeps=bad)
    assert shop.sql("select item, label from parts order by label") == [("bolt", "also"), ("bolt", "yes")]
    day = "book/ex/SYM/2024-02-29.csv"
    os.makedirs(shop.m.at("book/ex/SYM"), exist_ok=True)
    shop.m.refuses(lambda: append(shop.m.at(day), "ex,SYM,1709164800000000,1\nex,OTHER,1709164800000000,2\nex,SYM,1709251200000000,3\n"),
                   errno.EINVAL, keeps="ex,OTHER,1709164800000000,2")
    assert shop.sql("select symbol, timestamp from book") == [("SYM", 1709164800000000)]
    assert any(b"1709251200000000" in body for body in shop.m.kept())


@pytest.mark.parametrize("bad, word", [
    ("a,x,,", "column n"), ("a,1", ""), ("a,1,,,,", ""), ("a,-1,,", "log_n_check"), ("a,99999999999999999999,,", ""), ("a,1,1e15,", ""),
    ('a,1,,"x"y', ""), ("\\.", ""), ("a,NaN,,", ""), ("a,,,", "n")])
def test_a_bad_csv_line_costs_only_itself(shop, bad, word):
    body = f"a,1,,\na,2,,\n{bad}\na,3,,\n"
    shop.m.refuses(lambda: append(shop.m.at("log.csv"), body), errno.EINVAL, word, path="log.csv", keeps=bad)
    assert [r[1] for r in lines(shop)] == [1, 2, 3]


@pytest.mark.parametrize("bad", ["{", "[1]", "3", '{"n": "x"}', '{"n": 1, "colour": "red"}', '{"n": 1} {"n": 2}', '{"src": "a"}',
                                 '{"n": 1, "n": 2}', '{"n": -1}', '{"n": 1, "text": "\\u0000"}', '{"n": null}', "x", ""])
def test_a_bad_json_line_costs_only_itself(shop, bad):
    body = f'{{"n": 1}}\n{bad}\n{{"n": 3}}\n'
    if bad == "":  # a blank line between JSON lines is no line
        append(shop.m.at("log.jsonl"), body)
    else:
        shop.m.refuses(lambda: append(shop.m.at("log.jsonl"), body), errno.EINVAL, path="log.jsonl", keeps=bad)
    assert [r[1] for r in lines(shop)] == [1, 3]


def test_bad_bytes_in_lines(shop):
    shop.m.refuses(lambda: append(shop.m.at("log.csv"), b"a,1,,\na,2,,\xff\xfe\na,3,,x\0y\na,4,,\n"), errno.EINVAL, keeps=b"\xff\xfe")
    assert [r[1] for r in lines(shop)] == [1, 4]
    assert any(b"x\0y" in body for body in shop.m.kept())


def test_many_bad_lines_among_many(shop):
    body = "".join(f"a,{'x' if i % 10 == 3 else i},,t{i}\n" for i in range(5000))
    shop.m.refuses(lambda: append(shop.m.at("log.csv"), body, chunk=8192), errno.EINVAL)
    assert [r[1] for r in lines(shop)] == [i for i in range(5000) if i % 10 != 3]
    kept = {body.rstrip(b"\r\n") for body in shop.m.kept()}
    assert all(f"a,x,,t{i}".encode() in kept for i in range(3, 5000, 10))


def test_fsync_reports_and_later_lines_go_on(shop):
    fd = os.open(shop.m.at("log.csv"), os.O_WRONLY | os.O_APPEND)
    with refused(errno.EINVAL):
        os.write(fd, b"a,x,,\n")
        os.fsync(fd)
    os.write(fd, b"a,2,,\n")
    os.fsync(fd)
    os.close(fd)
    assert [r[1] for r in lines(shop)] == [2]


def test_o_trunc_replaces_atomically(shop):
    shop.sql("insert into log (n) select g from generate_series(1, 1000) g")
    fd = os.open(shop.m.at("log.csv"), os.O_WRONLY | os.O_TRUNC)
    os.write(fd, b"a,1,,new\n")
    assert shop.one("select count(*) from log") == 1000  # until close the old rows stand
    os.write(fd, b"a,2,,new\n")
    os.close(fd)
    assert lines(shop) == [("a", 1, None, "new"), ("a", 2, None, "new")]
    sh(": > log.csv", cwd=shop.m.path)
    until(lambda: lines(shop) == [], "emptied when the file is released")


def test_a_refused_replacement_leaves_the_old_rows(shop):
    shop.sql("insert into log (n) values (1), (2)")
    shop.m.refuses(lambda: put(shop.m.at("log.csv"), "a,5,,\na,x,,\n"), errno.EINVAL, keeps="a,5,,\na,x,,\n")
    assert [r[1] for r in lines(shop)] == [1, 2]


def test_replacing_one_file_leaves_the_others_alone(shop):
    shop.add("bolt")
    shop.add("nut")
    shop.sql("insert into parts (item, label) values ('bolt', 'b1'), ('bolt', 'b2'), ('nut', 'n1')")
    ids = dict(shop.sql("select label, id::text from parts"))
    put(shop.m.at("items/bolt/parts.jsonl"), json.dumps({"id": ids["b1"], "label": "b1 new"}) + "\n" +
        json.dumps({"id": "00000000-0000-0000-0000-00000000000a", "label": "b3"}) + "\n")
    assert shop.sql("select item, label from parts order by 1, 2") == [("bolt", "b1 new"), ("bolt", "b3"), ("nut", "n1")]
    assert shop.one("select id::text from parts where label = 'b1 new'") == ids["b1"]  # updated by key, not deleted and inserted


def test_temp_and_rename_replaces_rows(shop):
    shop.sql("insert into log (n) values (1), (2)")
    run("sed", "-i", "s/^x,2,/y,7,/", shop.m / "log.csv")
    assert sorted((r[0], r[1]) for r in lines(shop)) == [("x", 1), ("y", 7)]


def test_refuse_options(shop):
    shop.m.mkdir("boxes/1")
    shop.m.write("boxes/1/box.json", {"label": "l"})
    append(shop.m.at("boxes/1/lids.jsonl"), '{"n": 1, "text": "a"}\n{"n": 2}\n')
    assert shop.sql("select box, n, text from lid order by n") == [(1, 1, "a"), (1, 2, None)]
    with refused(errno.EPERM):
        os.unlink(shop.m.at("boxes/1/lids.jsonl"))
    with refused(errno.EPERM):
        put(shop.m.at("boxes/1/lids.jsonl"), '{"n": 3}\n')
    with refused(errno.EPERM):
        os.truncate(shop.m.at("boxes/1/lids.jsonl"), 0)
    assert shop.one("select count(*) from lid") == 2


def test_rm_of_a_rows_file_deletes_its_rows(shop):
    shop.sql("insert into book (exchange, symbol, timestamp) values ('ex', 'A', 1709164800000000), ('ex', 'A', 1709251200000000)")
    rm(shop.m.at("book/ex/A/2024-02-29.csv"))
    assert shop.sql("select timestamp from book") == [(1709251200000000,)]
    assert shop.m.ls("book/ex/A") == ["2024-03-01.csv"]


def test_a_large_file_in_bounded_memory(shop_pg, make_mount):
    quarantine = sanitizer_env()["ASAN_OPTIONS"] + ":quarantine_size_mb=1"  # freed memory that ASan holds back is not the program's
    shop = Shop(make_mount(layout=LAYOUT, env={"ASAN_OPTIONS": quarantine}), shop_pg)
    shop.sql("insert into log (n, text) select g, repeat('x', 100) from generate_series(1, 100000) g")
    text = shop.m.bytes("log.csv")
    assert len(text) == os.stat(shop.m.at("log.csv")).st_size
    assert [int(line.split(b",")[1]) for line in text.splitlines()[1:]] == list(range(1, 100001))
    before = rss_kib(shop.m.process.pid)
    shop.sql("insert into log (n, text) select g, repeat('x', 100) from generate_series(100001, 1100000) g")
    assert run("wc", "-l", shop.m / "log.csv", timeout=120).stdout.split()[0] == "1100001"
    assert run("tail", "-n", "1", shop.m / "log.csv").stdout.startswith("x,1100000,")
    assert rss_kib(shop.m.process.pid) - before < 50_000  # ASan adds to each allocation; the file has 120 MB


def test_parallel_appenders(shop):
    """8 threads × 200 lines, each with its own descriptor: every line once, none torn."""
    failed = []

    def work(w):
        try:
            for i in range(0, 200, 20):
                append(shop.m.at("log.csv"), "".join(f"w{w},{j},,{'y' * 50}\n" for j in range(i, i + 20)), chunk=333)
        except OSError as e:
            failed.append(e)
    threads = [threading.Thread(target=work, args=(w,)) for w in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed, failed
    assert shop.sql("select src, count(*), count(distinct n), max(length(text)) from log group by src order by src") == [
        (f"w{w}", 200, 200, 50) for w in range(8)]


def test_appending_makes_the_file_of_a_new_group(mount, pg):
    head = "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount"
    os.makedirs(mount.at("orderbook/binance-futures/BTCUSDT"), exist_ok=True)
    path = "orderbook/binance-futures/BTCUSDT/2025-09-20.csv"
    put(mount.at(path), f"{head}\r\nbinance-futures,BTCUSDT,1758365391602000,1795223698250993,209.89,115660.1,,\r\n"
        "binance-futures,BTCUSDT,1758365391500000,1795223698250993,0.0,5000.0,1,2\r\n")
    assert pg.sql("select timestamp, ask_amount::text, bid_price::text from orderbook_data order by id") == [
        (1758365391602000, "209.89000000", None), (1758365391500000, "0.00000000", "1.00000000")]
    assert mount.read(path) == (f"{head}\nbinance-futures,BTCUSDT,1758365391500000,1795223698250993,0,5000,1,2\n"
                                "binance-futures,BTCUSDT,1758365391602000,1795223698250993,209.89,115660.1,,\n")
    assert mount.ls("orderbook/binance-futures") == ["BTCUSDT"]


def test_overflow_of_json_lines(shop_pg, make_mount):
    shop = Shop(make_mount(layout={"routes": [{"path": "/flat.jsonl", "rows": "flat", "overflow": "extra"}]}), shop_pg)
    append(shop.m.at("flat.jsonl"), '{"id": 1, "title": "a", "colour": "red"}\n{"id": 2, "title": "b"}\n')
    assert shop.sql("select id, title, extra from flat order by id") == [(1, "a", {"colour": "red"}), (2, "b", None)]


def test_columns_of_the_layout_are_the_header(shop_pg, make_mount):
    layout = without(**{"/log.csv": {"columns": ["text", "n"]}})
    assert layout != LAYOUT
    shop = Shop(make_mount(layout=layout), shop_pg)
    append(shop.m.at("log.csv"), "hello,5\n")
    assert lines(shop) == [("x", 5, None, "hello")]
    assert shop.m.read("log.csv") == "text,n\nhello,5\n"
