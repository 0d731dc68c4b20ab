"""Writers and readers of old programs, unchanged: on the mount they do, and are told, what they are on a plain directory.

The writers are tests/writers/legacy.py. A file on an ingest route has the bytes that were written *and* its lines are rows; a plain name has
the bytes; a rows file has the rows. The model of the rows is a parse of the plain directory's files by Python's csv, json and gzip."""
import collections
import csv
import decimal
import errno
import io
import json
import os
import re
import signal
import shutil
import subprocess
import zlib

import pytest

from kit import ROOT, get, run, sh, until
from market import DAY, EXCHANGE, FIELDS

LEGACY = ROOT / "tests/writers/legacy.py"
INGEST = re.compile(r"collector/([^/]+_orderbook_[^/]+\.csv(\.gz)?|[^/]+_quotes_[^/]+_[^/]+\.(csv|jsonl)(\.gz)?)$")
KILLED = {"collector-killed", "collector-gz-killed"}
COLUMNS = ", ".join(FIELDS)
ROWS_FILE = f"{EXCHANGE}/BTCUSDT/{DAY}.csv"


def write(name, directory, seed, *words, status=0):
    """Runs a writer; returns what the system told it."""
    done = subprocess.run(["/usr/bin/python3", LEGACY, name, str(directory), "--seed", str(seed), *map(str, words)], capture_output=True, text=True,
                          timeout=100, check=False, env={**os.environ, "LC_ALL": "C.UTF-8"})
    assert done.returncode == status, f"{name}: exit {done.returncode}\n{done.stdout[-500:]}\n{done.stderr}"
    return done.stdout


# -- the model --------------------------------------------------------------------------------------------------------


def number(text):
    """A numeric(20,8) as the server keeps it."""
    if text is None or text == "":
        return None
    return decimal.Decimal(str(text)).quantize(decimal.Decimal("1e-8"), rounding=decimal.ROUND_HALF_UP)


def row(fields):
    return (fields[0], fields[1], int(fields[2]), int(fields[3]), *map(number, fields[4:]))


def inflated(data):
    """What can be had of a gzip file: all members, and of the last one what came before it was cut off."""
    out = b""
    while data:
        member = zlib.decompressobj(31)
        out += member.decompress(data)
        data = member.unused_data
    return out


def csv_rows(text):
    """The rows of CSV with or without a header; a last line that is cut short counts if it has all fields."""
    lines = list(csv.reader(io.StringIO(text.decode(), newline="")))
    return [row(f) for f in lines if f != FIELDS and len(f) == len(FIELDS) and all(f[:4])]


def jsonl_rows(text):
    lines = [json.loads(line, parse_float=str, parse_int=str) for line in text.decode().splitlines()]
    return [row([o[f] for f in FIELDS]) for o in lines]


def rows_of_file(name, data):
    if name.endswith(".gz"):
        name, data = name[:-3], inflated(data)
    return csv_rows(data) if name.endswith(".csv") else jsonl_rows(data)


def rows_of_tree(tree):
    """The rows that the ingest files of a plain tree stand for."""
    out = collections.Counter()
    for name, data in tree.items():
        if INGEST.search(name):
            out.update(rows_of_file(name, data))
    return out


def rows_by_sql(pg):
    return collections.Counter(pg.sql(f"select {COLUMNS} from orderbook_data"))


def differ(got, want):
    """Empty if equal; else what is too many and too few, the beginning of it."""
    more, less = got - want, want - got
    return {"more": (sum(more.values()), list(more)[:3]), "less": (sum(less.values()), list(less)[:3])} if more or less else {}


# -- writers ----------------------------------------------------------------------------------------------------------


def tree_of(top):
    """name → bytes of all files below; each one's size is how much of it can be read, and listing, stat and open agree."""
    out = {}
    for base, _, names in os.walk(top):
        for name in names:
            path = os.path.join(base, name)
            out[os.path.relpath(path, top)] = data = get(path)
            assert os.stat(path).st_size == len(data), path
    return out


def compare(name, mount, pg, tmp_path, seed, *words, runs=1):
    """Writes the same to a plain directory and to the mount, and compares everything; returns the plain tree."""
    plain = tmp_path / "plain"
    plain.mkdir()
    status = -signal.SIGKILL if name in KILLED else 0
    for i in range(runs):
        told = [write(name, top / "collector", seed + i, *words, status=status) for top in (plain, mount.path)]
        assert told[1].splitlines() == told[0].splitlines()
    want, got = tree_of(plain), {f"collector/{n}": d for n, d in tree_of(mount / "collector").items()}
    assert sorted(got) == sorted(want)
    if name in KILLED:  # how much a program buffers behind its last flush is its own affair (st_blksize)
        flushed = {f"collector/{w[0]}": w[2] for w in map(json.loads, told[0].splitlines())}
        for file, size in flushed.items():
            n = min(len(want[file]), len(got[file]))
            assert n >= size > 0
            assert want[file][:n] == got[file][:n]
            want[file] = got[file]
    for file, data in want.items():
        assert got[file] == data, f"{file}: {len(got[file])} bytes, {len(data)} were written; the same up to {common(got[file], data)}"
    until(lambda: not differ(rows_by_sql(pg), rows_of_tree(want)) or name not in KILLED, "the last line of a killed writer", timeout=2)
    assert differ(rows_by_sql(pg), rows_of_tree(want)) == {}
    return want


def common(a, b):
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


@pytest.mark.parametrize("name", ["collector", "collector-gz", "collector-killed", "collector-gz-killed", "downloader", "restarted", "per-record",
                                  "capture", "frame", "synced-lines", "rotated", "events", "snapshots", "columnar", "config", "editor"])
def test_as_on_a_plain_directory(name, mount, pg, tmp_path, seed):
    """Also what every call answered: fstat's size right after write, lseek, TCGETS, errors."""
    if name in KILLED:
        mount.expect(r"rowfs error .*")  # its last line is cut
    want = compare(name, mount, pg, tmp_path, seed)
    assert want
    if name in ("collector", "collector-gz", "downloader", "frame", "synced-lines"):
        assert pg.one("select count(*) from orderbook_data") > 50


def test_members_become_rows(mount, pg, tmp_path, seed):
    """A gzip member for each record, a colon in the name, on a route."""
    compare("capture", mount, pg, tmp_path, seed, "--name", f"{EXCHANGE}_quotes_2025-09-20T10:49:51_BTCUSDT.jsonl.gz")
    assert pg.one("select count(*) from orderbook_data") == 200


@pytest.mark.parametrize("name", ["collector", "collector-gz", "downloader"])
def test_written_again_replaces_its_rows(name, mount, pg, tmp_path, seed):
    """O_TRUNC, or a rename over it: the rows that came from the old file go, the new ones come."""
    compare(name, mount, pg, tmp_path, seed, runs=2)


def test_a_stale_tail_is_part_of_the_file(mount, pg, tmp_path, seed):
    """Written over from offset 0 without O_TRUNC: the bytes are as on any file system. The line in which the new text ends has the old one's
    end, and is a row only if it is a line."""
    mount.expect(r"rowfs error .*")
    name = f"BTCUSDT_orderbook_{DAY}.csv"
    plain = tmp_path / "plain"
    write("stale-tail", plain, seed, "--name", name)
    try:
        write("stale-tail", mount / "collector", seed, "--name", name)
    except AssertionError as e:  # the torn line is refused at close, the others are not
        assert "Invalid argument" in str(e)
    assert get(mount / "collector" / name) == get(plain / name)
    assert differ(rows_by_sql(pg), collections.Counter(r for r in plain_lines(get(plain / name)) if r)) == {}


def plain_lines(data):
    """The row of each line that is one; None for the others."""
    for line in data.decode().splitlines()[1:]:
        fields = line.split(",")
        try:
            yield row(fields) if len(fields) == len(FIELDS) and all(fields[:4]) and len(fields[0]) <= 50 and len(fields[1]) <= 20 else None
        except (ValueError, decimal.InvalidOperation):
            yield None


# -- rows files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["collector-in-one-file", "frame", "per-record-csv"])
def test_rows_files(name, mount, pg, tmp_path, seed):
    """The same programs on a rows file: it shows numbers its own way and has a header, so the rows are compared."""
    for top in (tmp_path, mount.path):
        write(name, top / "orderbook", seed, "--name", ROWS_FILE)
    want = collections.Counter(csv_rows(get(tmp_path / "orderbook" / ROWS_FILE)))
    assert differ(rows_by_sql(pg), want) == {}
    shown = get(mount / "orderbook" / ROWS_FILE)
    assert differ(collections.Counter(csv_rows(shown)), want) == {}
    assert os.stat(mount / "orderbook" / ROWS_FILE).st_size == len(shown)
    assert os.listdir(mount / "orderbook" / EXCHANGE) == ["BTCUSDT"]
    assert os.listdir(mount / "orderbook" / EXCHANGE / "BTCUSDT") == [f"{DAY}.csv"]


def test_a_rows_file_written_again(mount, pg, tmp_path, seed):
    for top in (tmp_path, mount.path):
        for i in range(2):
            write("collector-in-one-file", top / "orderbook", seed + i, "--name", ROWS_FILE)
    assert differ(rows_by_sql(pg), collections.Counter(csv_rows(get(tmp_path / "orderbook" / ROWS_FILE)))) == {}


def test_events_become_commands(mount, pg, tmp_path, seed):
    """An event log onto a rows file of JSON Lines below a parent row."""
    pg.sql("insert into users (hardware_id_hash) values ('u')")
    session = pg.one("insert into sessions (user_id) select id from users returning id::text")
    write("events", tmp_path / "x", seed, "--name", "commands.jsonl")
    write("events", mount / f"sessions/{session}", seed, "--name", "commands.jsonl")
    want = [json.loads(line)["prompt"] for line in get(tmp_path / "x/commands.jsonl").decode().splitlines()]
    assert sorted(r[0] for r in pg.sql("select prompt from commands")) == sorted(want)
    assert sorted([o["prompt"] for o in mount.jsonl(f"sessions/{session}/commands.jsonl")]) == sorted(want)


def test_appending_from_a_shell(mount, pg):
    (mount / f"orderbook/{EXCHANGE}/BTCUSDT").mkdir(parents=True)
    sh('for i in $(seq 1 30); do echo "$E,BTCUSDT,$((1758326400000000 + i)),$i,0.5,1e-05,," >> "$F"; done', F=mount / "orderbook" / ROWS_FILE, E=EXCHANGE)
    assert pg.sql("select local_timestamp, ask_amount, ask_price from orderbook_data order by 1") == [
        (i, decimal.Decimal("0.5"), decimal.Decimal("0.00001")) for i in range(1, 31)]


def test_a_regular_file_for_its_writer(mount):
    """What lseek, fstat and ioctl answer for a rows file that grows."""
    (mount / f"orderbook/{EXCHANGE}/BTCUSDT").mkdir(parents=True)
    fd = os.open(mount / "orderbook" / ROWS_FILE, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        assert not os.isatty(fd)
        with pytest.raises(OSError) as e:
            os.ttyname(fd)
        assert e.value.errno == errno.ENOTTY
        for i in range(3):
            os.write(fd, f"{EXCHANGE},BTCUSDT,{1758326400000000 + i},{i},1,2,3,4\n".encode())
            os.fsync(fd)
            size = os.fstat(fd).st_size
            assert os.lseek(fd, 0, os.SEEK_END) == size == len(os.pread(fd, 1 << 20, 0))
    finally:
        os.close(fd)


# -- readers ----------------------------------------------------------------------------------------------------------

READERS = {
    "csv": """/usr/bin/python3 -c 'import csv, sys; print(*[len(list(csv.reader(open(f, newline="")))) for f in sys.argv[1:]])' *.csv""",
    "gzip": """/usr/bin/python3 -c 'import gzip, sys; print(*[len(gzip.open(f, "rt").readlines()) for f in sys.argv[1:]])' *.csv.gz""",
    "pandas": """/usr/bin/python3 -c 'import pandas, sys; print(*[len(pandas.read_csv(f)) for f in sys.argv[1:]])' *.csv *.csv.gz""",
    "tail": "for f in *; do tail -n 3 \"$f\"; tail -c 1000 \"$f\"; tail -n +2 \"$f\" | md5sum; done",
    "head": "for f in *; do (head -n 2; cat) < \"$f\" | md5sum; done",
    "wc": "wc *; wc -c *; wc -l < collector.log",
    "cp": "cp -r . \"$OUT/cp\"; cp --reflink=auto *.csv \"$OUT\"; cd \"$OUT\"; find . -type f -exec md5sum {} + | sort -k 2",
    "cp within": "cp *.parquet in.parquet; cp -n *.parquet in.parquet; cmp *quotes*.parquet in.parquet; rm in.parquet",
    "tar": "tar -cf \"$OUT/x.tar\" . && tar -xOf \"$OUT/x.tar\" --wildcards '*_orderbook_*' | wc -c; tar -df \"$OUT/x.tar\"",
    "rsync": "rsync -a ./ \"$OUT/r/\"; rsync -aic ./ \"$OUT/r/\"; rsync -ai ./ \"$OUT/r/\"; find \"$OUT/r\" -type f -printf '%P %s\\n' | sort",
    "grep": "grep -r -c BTCUSDT . | sort; grep -rl no-such-text . || echo none",
    "find": "touch \"$OUT/stamp\"; find . -type f -newer \"$OUT/stamp\"; touch -d '2001-01-01' \"$OUT/old\"; find . -type f -newer \"$OUT/old\" | sort",
    "zcat": "zcat *_orderbook_*.csv.gz | md5sum; gzip -t *.csv.gz; zgrep -c ETH *.gz",
    "jq": "jq -c .symbol *_quotes_*.jsonl | sort | uniq -c; jq -s length *_quotes_*.jsonl",
    "mv": "mv x.json y.json; mv -n y.json experience_events.jsonl; ls; mv y.json x.json; mv *_quotes_*.parquet p; mv p Q_quotes_D.parquet; ls",
    "touch": "touch x.json new.csv; stat -c %s x.json new.csv; touch -d '2020-01-01' x.json; stat -c %Y x.json; rm new.csv",
    "glob": "/usr/bin/python3 -c 'import glob; print(sorted(glob.glob(\"**\", recursive=True)), len(glob.glob(\"*_order*\")))'",
    "ls": "ls -A; stat -c '%n %s %F' *",
    "dd": "for f in *.gz; do dd if=\"$f\" bs=777 skip=3 status=none | md5sum; done",
    "split": "sort *_quotes_*.csv | md5sum; cut -d, -f3 *_orderbook_*.csv | paste -s | md5sum; diff -r . . && echo same",
}


def missing(reader):
    """Why a reader cannot run here; None if it can."""
    if reader == "pandas":
        return None if run("/usr/bin/python3", "-c", "import pandas", ok=False).returncode == 0 else "pandas is not installed"
    program = {"zcat": "zgrep"}.get(reader, reader if reader in ("tar", "rsync", "jq") else "ls")
    return None if shutil.which(program) else f"{program} is not installed"


@pytest.mark.parametrize("reader", READERS)
def test_readers(reader, mount, tmp_path, seed):
    """Programs that read say the same of what the writers left, here and there."""
    if missing(reader):
        pytest.skip(missing(reader))
    told = []
    for i, top in enumerate((tmp_path / "plain", mount.path)):
        top.mkdir(exist_ok=True)
        for name in ("collector", "collector-gz", "downloader", "frame", "synced-lines", "events", "columnar", "config"):
            write(name, top / "collector", seed, "--count", 60)
        out = tmp_path / f"out{i}"
        out.mkdir()
        done = sh(f"{{ {READERS[reader]} ; }} 2>&1 || echo exit $?", cwd=top / "collector", OUT=out)
        told.append(done.stdout.replace(str(out), "OUT").splitlines())
    assert told[0] and told[1] == told[0]
    if reader in ("tar", "rsync", "zcat", "jq", "csv", "gzip"):
        assert not any("exit" in line for line in told[1]), told[1]


@pytest.mark.parametrize("lines", [1, 1000])
def test_readers_of_rows_files(lines, mount, seed):
    """A rows file against its own copy on a plain disk."""
    write("frame", mount / "orderbook", seed, "--name", ROWS_FILE, "--count", lines)
    script = """cp "$F" "$OUT/copy.csv"; for p in "$F" "$OUT/copy.csv"; do
        { wc < "$p"; tail -n 1 "$p"; tail -n 400 "$p"; tail -c 5000 "$p"; head -n 3 "$p"; (head -n 2; cat) < "$p"; tac "$p"; dd if="$p" bs=333 skip=2 status=none
          tail -c +300 "$p"; grep -c BTC "$p"; sort "$p"; stat -c %s "$p"; tar -C "$(dirname "$p")" -cf - "$(basename "$p")" | tar -xOf -; } | md5sum; done"""
    out = sh(script, F=mount / "orderbook" / ROWS_FILE, OUT=mount.dir).stdout.splitlines()
    assert len(out) == 2 and out[0] == out[1]


def test_a_hundred_thousand_names(mount, long):
    """glob over very many names, in CI fewer."""
    n = 100_000 if long else 2000
    (mount / "collector").mkdir(exist_ok=True)
    for i in range(n):
        with open(mount / f"collector/snap_{i:06}.json", "wb") as file:
            file.write(b"{}")
    names = sorted(name for name in os.listdir(mount / "collector") if name.startswith("snap_"))
    assert names == [f"snap_{i:06}.json" for i in range(n)]
