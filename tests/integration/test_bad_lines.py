"""Bad lines cost only themselves: each kind in the middle of good ones, in a rows file of the order book."""
import errno
import json
import os
import random
from datetime import datetime, timezone

import pytest

from kit import get, until
from shop import LAYOUT as SHOP

START = 1758365391602000  # microseconds
DAY = datetime.fromtimestamp(START / 1e6, timezone.utc).strftime("%Y-%m-%d")
COLUMNS = "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount"
BLOCK = 15  # good lines before and after each bad one


def good(symbol, i):
    return f"binance-futures,{symbol},{START + i},{i},209.89,115660.1,{i}.5,".encode()


def bad(text):
    """A line that is a good one but for what stands in TEXT; the symbol is put in later."""
    return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text


def row(tail, symbol="%s", timestamp=START, local=7):
    return f"binance-futures,{symbol},{timestamp},{local},{tail}"


GARBAGE = bytes(b for b in random.Random(5).randbytes(3000) if b not in b"\n")

# name: (the line, a word of the sentence); %s is the symbol
BAD = {
    "too few fields": (row("1,2,3"), "7 fields"),
    "too many fields": (row("1,2,3,4,5"), "9 fields"),
    "not a number": (row("abc,2,3,4"), "ask_amount"),
    "a number with blanks": (row("1, 2,3,4"), "ask_price"),
    "no whole number": (row("1,2,3,4", local="1e3"), "local_timestamp"),
    "too large for numeric": (row("1,2,3,1000000000000"), "bid_amount"),
    "too large for bigint": (row("1,2,3,4", local=2**63), "local_timestamp"),
    "NaN": (row("NaN,2,3,4"), "ask_amount"),
    "Infinity": (row("1,2,3,-Infinity"), "bid_amount"),
    "empty where a value must be": (row("1,2,3,4", local=""), "local_timestamp"),
    "a text too long": (row("1,2,3,4", symbol="X" * 21), "symbol"),
    "another file's day": (row("1,2,3,4", timestamp=START + 86_400_000_000), "contradicts"),
    "another file's symbol": (row("1,2,3,4", symbol="DOGE"), "contradicts"),
    "not UTF-8": (b"binance\xfffutures,%s,1,2,3,4,5,6", "UTF-8"),
    "NUL": (b"binance\0futures,%s,1,2,3,4,5,6", "NUL"),
    "a byte order mark": ("\ufeff" + row("1,2,3,4"), "byte order mark"),
    "end of data": ("\\.", "end of data"),
    "a quote that does not end": (row('"1,2,3,4'), "quote"),
    "a quote that does not end, in a text": ('"' + row("1,2,3,4"), "quote"),
    "a quote in the middle": (row("1,2,3,4").replace("futures", 'fut"ures'), "quote"),
    "text behind a quote": ('"binance"' + row("1,2,3,4"), "quote"),
    "carriage returns for line ends": ("\r".join([row("1,2,3,4")] * 3), "carriage return"),
    "a header in the middle": (COLUMNS, "header"),
    "binary garbage": (GARBAGE, "byte"),
    "garbage with a quote": (b'"' + GARBAGE, "byte"),
}


def write(path, data, chunk, sync):
    """Writes DATA as a careful program does; returns the errno that fsync or close said, 0 for none."""
    said = 0
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for at in range(0, len(data), chunk):
        assert os.write(fd, data[at:at + chunk]) == len(data[at:at + chunk])
    if sync:
        try:
            os.fsync(fd)
        except OSError as e:
            said = e.errno
    try:
        os.close(fd)
    except OSError as e:
        said = said or e.errno
    return said


def rows_of(pg, symbol):
    return [r[0] for r in pg.sql("select local_timestamp from orderbook_data where symbol = %s order by id", (symbol,))]


def kept_lines(mount, symbol):
    """What rejected/ has of the symbol's file: {number: (bytes, sentence)}."""
    out = {}
    for name, body in mount.rejected().items():
        if symbol in name or symbol.encode() in body:
            for entry in body.decode("utf-8", "surrogateescape").splitlines():
                said = json.loads(entry)
                raw = said["text"].encode("utf-8", "surrogateescape") if "text" in said else bytes.fromhex(said["hex"])
                out[said["line"]] = (raw, json.dumps(said, ensure_ascii=False))
    return out


def path_of(mount, symbol):
    path = mount.at(f"orderbook/binance-futures/{symbol}/{DAY}.csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def in_the_middle(symbol, line, end=b"\n"):
    """Good lines, LINE, good lines; and what the good ones' rows are."""
    lines = [good(symbol, i) for i in range(BLOCK)] + [line] + [good(symbol, i) for i in range(BLOCK, 2 * BLOCK)]
    return end.join(lines) + end, list(range(2 * BLOCK))


WAYS = [("ONEPIECE", 1 << 30, True, b"\n"), ("BYTES", 1, False, b"\n"), ("CRLF", 777, True, b"\r\n")]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_costs_only_itself(mount, pg, name):
    text, word = BAD[name]
    for symbol, chunk, sync, end in WAYS:
        line = bad(text).replace(b"%s", symbol.encode())
        data, want = in_the_middle(symbol, line, end)
        assert write(path_of(mount, symbol), data, chunk, sync) in (errno.EINVAL, errno.EFBIG)
        assert rows_of(pg, symbol) == want
        newest = mount.errors()[-1]
        assert word in json.dumps(newest, ensure_ascii=False), newest
        kept = kept_lines(mount, symbol)
        assert list(kept) == [BLOCK + 1]
        assert kept[BLOCK + 1][0] == line and word in kept[BLOCK + 1][1]


def test_a_blank_line_is_told(mount, pg):
    for symbol, chunk, sync, end in WAYS:
        data, want = in_the_middle(symbol, b"", end)
        assert write(path_of(mount, symbol), data, chunk, sync) == errno.EINVAL
        assert rows_of(pg, symbol) == want
        assert "blank line" in mount.sentence()
        (number, (raw, said)), = kept_lines(mount, symbol).items()
        assert number == BLOCK + 1 and raw == b"" and "blank line" in said


def test_line_ends_may_be_mixed(mount, pg):
    lines = [good("MIXED", i) + (b"\r\n" if i % 3 else b"\n") for i in range(30)]
    assert write(path_of(mount, "MIXED"), COLUMNS.encode() + b"\r\n" + b"".join(lines), 50, True) == 0
    assert rows_of(pg, "MIXED") == list(range(30))


@pytest.mark.parametrize("filler", [b"x", b'"', b'""', b'a,"b'])
def test_a_line_of_ten_megabytes(mount, pg, filler):
    line = b'binance-futures,LONG,"' + filler * (10_000_000 // len(filler))
    data, want = in_the_middle("LONG", line)
    assert write(path_of(mount, "LONG"), data, 1 << 16, True) in (errno.EINVAL, errno.EFBIG)
    assert rows_of(pg, "LONG") == want


@pytest.mark.parametrize("filler", [b"x", b'""', b',"'])
def test_a_line_longer_than_any_may_be(make_mount, pg, filler):
    mount = make_mount(options={"max_document": "64K"})
    line = b'binance-futures,LONG,"' + filler * (300_000 // len(filler))
    data, want = in_the_middle("LONG", line)
    assert write(path_of(mount, "LONG"), data, 1 << 12, True) in (errno.EINVAL, errno.EFBIG)
    assert rows_of(pg, "LONG") == want


def test_a_last_line_that_is_cut_off(mount, pg):
    data = b"".join(good("CUT", i) + b"\n" for i in range(20)) + good("CUT", 20)[:40]
    write(path_of(mount, "CUT"), data, 1000, False)  # close() comes before the release that knows it was the last
    until(lambda: any(raw == good("CUT", 20)[:40] for raw, _ in kept_lines(mount, "CUT").values()), "the last line is kept")
    assert rows_of(pg, "CUT") == list(range(20))
    assert list(kept_lines(mount, "CUT")) == [21]


def test_a_byte_order_mark_before_the_header(mount, pg):
    data = b"\xef\xbb\xbf" + COLUMNS.encode() + b"\n" + b"".join(good("BOM", i) + b"\n" for i in range(10))
    assert write(path_of(mount, "BOM"), data, 1000, True) == errno.EINVAL
    assert rows_of(pg, "BOM") == list(range(10))
    (number, (raw, said)), = kept_lines(mount, "BOM").items()
    assert number == 1 and raw == data[:data.index(b"\n")] and "it was understood" in said


def test_many_bad_lines_of_all_kinds(mount, pg, seed):
    """A mix in a random order, written in random pieces: the good ones are there, in their order, and each bad one is kept."""
    rng = random.Random(seed)
    lines, wrong, want = [], [], []
    for i in range(600):
        if i > 0 and rng.random() < 0.3:  # a first line with all names is a header
            line = bad(BAD[rng.choice(list(BAD))][0]).replace(b"%s", b"MIX")
            wrong.append((len(lines) + 1, line))
            lines.append(line)
        else:
            want.append(i)
            lines.append(good("MIX", i))
    data = b"\n".join(lines) + b"\n"
    fd = os.open(path_of(mount, "MIX"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    at = 0
    while at < len(data):
        at += os.write(fd, data[at:at + rng.choice([1, 10, 100, 4096])])
    with pytest.raises(OSError):
        os.fsync(fd)
    os.fsync(fd)  # told once
    os.close(fd)
    assert rows_of(pg, "MIX") == want
    assert sorted((n, raw) for n, (raw, _) in kept_lines(mount, "MIX").items()) == wrong
    assert len(get(path_of(mount, "MIX")).splitlines()) == len(want) + 1


def test_reported_only(make_mount, pg):
    """With bad_lines=report nobody is told but errors.jsonl and rejected/, whatever is wrong."""
    mount = make_mount(options={"bad_lines": "report"})
    for i, (text, word) in enumerate([*BAD.values(), ("", "blank line")]):
        symbol = f"KIND{i}X"
        line = bad(text).replace(b"%s", symbol.encode())
        data, want = in_the_middle(symbol, line)
        assert write(path_of(mount, symbol), data, 4096, i % 2 == 0) == 0
        assert rows_of(pg, symbol) == want
        assert word in json.dumps(mount.errors()[-1], ensure_ascii=False)
        (number, (raw, said)), = kept_lines(mount, symbol).items()
        assert number == BLOCK + 1 and raw == line and word in said
    # a header with a byte order mark, a line longer than any may be, a last line that is cut off
    data = b"\xef\xbb\xbf" + COLUMNS.encode() + b"\n" + good("MARK", 0) + b"\n"
    assert write(path_of(mount, "MARK"), data, 1000, True) == 0
    assert rows_of(pg, "MARK") == [0] and list(kept_lines(mount, "MARK")) == [1]
    data, want = in_the_middle("CUT", good("CUT", 99))
    assert write(path_of(mount, "CUT"), data + good("CUT", 98)[:30], 1000, False) == 0
    until(lambda: list(kept_lines(mount, "CUT")) == [2 * BLOCK + 2], "the last line is kept")


def test_reported_only_in_json_lines(make_mount, shop_pg):
    mount = make_mount(layout=SHOP, options={"bad_lines": "report"})
    lines = [b'{"n":1}', b"{no", b'{"n":"x"}', b'{"n":-1}', b"[1]", b'{"m":1}', b'{"n":1,"n":2}', b'{"text":"\xff","n":1}', b"\xef\xbb\xbf{\"n\":1}", b'{"n":2}']
    assert write(mount.at("log.jsonl"), b"\n".join(lines) + b"\n", 7, True) == 0
    assert shop_pg.sql("select n from log order by id") == [(1,), (2,)]
    kept = kept_lines(mount, "log.jsonl")
    assert {n: raw for n, (raw, _) in kept.items()} == {i + 1: body for i, body in enumerate(lines) if 0 < i < len(lines) - 1}


def test_the_server_refuses_one(mount, pg):
    """What only the server can know, a CHECK here, costs only its line too."""
    pg.sql("alter table orderbook_data add check (ask_price <> 13)")
    data, want = in_the_middle("CHECKED", row("1,13,2,3", symbol="CHECKED").encode())
    assert write(path_of(mount, "CHECKED"), data, 100, True) == errno.EINVAL
    assert rows_of(pg, "CHECKED") == want
    assert list(kept_lines(mount, "CHECKED")) == [BLOCK + 1]
