"""Lines, and what becomes of them: a reader of records that was written from docs/SEMANTICS.md and shares no code with rowfs.

Each line has a number of its own in its last column, as the mark t17, and a class, which says what the database makes of it. So each line that is
missing, doubled, changed or swallowed by another one is known by its number."""
import errno
import json
import re
import zlib
from collections import namedtuple

MARK = re.compile(r"\bt(\d+)\b")

GOOD = ["good", "comma", "quote", "multi", "accent"]
SKIPPED = ["skip"]
CHANGED = ["change"]
SERVER = ["check", "range"]                       # refused by the server without any trigger
TRIGGER = ["raise", "custom", "priv", "nofun"]    # refused by a trigger, with different SQLSTATEs
LOCAL = ["fields", "word", "stray", "nul", "bytes"]  # no record, or no value of its type
OPEN = ["open"]                                   # a quoted field that does not close
ALL = GOOD + SKIPPED + CHANGED + SERVER + TRIGGER + ["policy", "outside"] + LOCAL + OPEN

BAD_INPUT = (0, errno.EINVAL, errno.EEXIST, errno.ENOENT, errno.EFBIG)  # 4.8

Row = namedtuple("Row", "w n memo")

TEXT = {"comma": "t{n}, comma", "quote": 't{n} "q"', "multi": "t{n} a\nb", "accent": "t{n} é", "outside": "t{n} 日", "stray": 't{n} a"b',
        "nul": "t{n} \0x", "fields": "t{n} x"}


def memo_of(n, cls):
    return TEXT.get(cls, "t{n} " + cls).format(n=n)


def verdict(cls, world):
    """row, none (a trigger skips it), bad (refused: it goes to rejected/) or open."""
    if cls in SKIPPED:
        return "none" if world["trigger"] else "row"
    if cls in TRIGGER:
        return "bad" if world["trigger"] else "row"
    if cls == "policy":
        return "bad" if world["policy"] else "row"
    if cls == "outside":
        return "bad" if world["encoding"] == "LATIN1" else "row"
    if cls in SERVER + LOCAL:
        return "bad"
    return "open" if cls in OPEN else "row"


def stored(memo, world):
    """What the table has of MEMO: the trigger may have changed it."""
    return memo + "d" if world["trigger"] and memo and memo.endswith(" change") else memo


def csv_line(w, n, cls):
    memo = memo_of(n, cls)
    if cls in ("comma", "quote", "multi"):
        memo = '"' + memo.replace('"', '""') + '"'
    if cls == "open":
        memo = '"' + memo
    line = f"{'x' if cls == 'word' else 99999999999 if cls == 'range' else w},{n},{memo}{',a,b' if cls == 'fields' else ''}"
    return line.encode() + (b" \xff" if cls == "bytes" else b"") + b"\n"


def json_line(w, n, cls):
    value = {"w": "x" if cls == "word" else 99999999999 if cls == "range" else w, "n": n, "memo": memo_of(n, cls)}
    if cls == "fields":
        value["nobody"] = 1
    text = json.dumps(value, ensure_ascii=False)
    if cls in ("stray", "open"):
        text = text[:-1]
    return text.encode() + (b" \xff" if cls == "bytes" else b"") + b"\n"


def line(form, w, n, cls):
    return (json_line if form == "jsonl" else csv_line)(w, n, cls)


def json_class(cls):
    """In JSON Lines each line stands for itself: no quote reaches into the next one."""
    return "stray" if cls == "open" else cls


def fields(text):
    """The fields of one CSV record without its line end; ValueError if it is none, EOFError if a quote is open at the end."""
    out, at = [], 0
    while True:
        if text[at:at + 1] == '"':
            field, at = "", at + 1
            while True:
                end = text.find('"', at)
                if end < 0:
                    raise EOFError
                field += text[at:end]
                at = end + 1
                if text[at:at + 1] != '"':
                    break
                field, at = field + '"', at + 1
            if at < len(text) and text[at] != ",":
                raise ValueError("text behind a closing quote")
        else:
            end = text.find(",", at)
            end = len(text) if end < 0 else end
            field, at = text[at:end], end
            if '"' in field or "\r" in field:
                raise ValueError("a stray quote")
            field = field or None
        out.append(field)
        if at >= len(text):
            return out
        at += 1


def row_of_csv(raw):
    """The Row of one record (bytes without the line end); ValueError, EOFError as in fields()."""
    text = raw.decode("utf-8")
    if "\0" in text:
        raise ValueError("NUL")
    got = fields(text)
    if len(got) != 3 or not all(f and re.fullmatch(r"-?\d+", f) for f in got[:2]):
        raise ValueError("no row")
    return Row(int(got[0]), int(got[1]), got[2])


def row_of_json(raw):
    value = json.loads(raw.decode("utf-8"))
    if not isinstance(value, dict) or set(value) - {"w", "n", "memo"} or not all(type(value.get(k)) is int for k in "wn"):
        raise ValueError("no row")
    if "\0" in (value.get("memo") or ""):
        raise ValueError("NUL")
    return Row(value["w"], value["n"], value.get("memo"))


def is_object(text):
    """True if TEXT is an object of JSON by itself."""
    try:
        return isinstance(json.loads(text.decode("utf-8")), dict)
    except ValueError:
        return False


def class_of(row):
    """The class that the text of a row that was put together from pieces has for the database."""
    if abs(row.w) >= 2**31 or abs(row.n) >= 2**63:
        return "range"
    m = re.search(r" (\w+)$", row.memo or "")
    if m and m[1] in SKIPPED + CHANGED + ["check"] + TRIGGER + ["policy"]:
        return m[1]
    return "outside" if "日" in (row.memo or "") else "good"


def split(form, data):
    """The records of what rowfs shows of a rows file, with their line ends, the header among them."""
    out, quotes = [], 0
    for line in data.splitlines(keepends=True):
        if form == "csv" and quotes % 2:
            out[-1] += line
        else:
            out.append(line)
            quotes = 0
        quotes += line.count(b'"')
    return out


def number_of(form, record):
    """The n of a record that rowfs shows."""
    text = record.decode().removesuffix("\n")
    return json.loads(text)["n"] if form == "jsonl" else int(fields(text)[1])


class Read:
    """What a file's text means: .rows (Row), .bad (bytes), .piece (behind the last line end), .open (a quote was not closed: what follows is left
    to rowfs, within limits)."""

    def __init__(self, form, text, world):
        self.rows, self.bad, self.open, self.piece = [], [], False, b""
        self.late = []  # of .rows, that of the last line without a newline: it comes moments after the last close (1.2)
        lines = text.split(b"\n")
        self.piece = lines.pop()
        row_of = row_of_json if form == "jsonl" else row_of_csv
        if form == "csv" and lines and lines[0] == b"w,n,memo":
            lines.pop(0)
        while lines:
            raw = lines.pop(0).removesuffix(b"\r")
            if form == "jsonl" and not raw:
                continue  # a blank line says nothing (4.7)
            try:
                row = row_of(raw)
            except EOFError:
                row = self.two_lines(raw, lines)
                if row is None:
                    self.open = True
                    break
            except ValueError:
                self.bad.append(raw)
                continue
            self.judge(row, raw, world)

    def two_lines(self, raw, lines):
        """A record of two lines, as line() makes it: the second is none by itself."""
        if not lines:
            return None
        try:
            row_of_csv(lines[0])
        except (ValueError, EOFError):
            try:
                row = row_of_csv(raw + b"\n" + lines[0])
            except (ValueError, EOFError):
                return None
            lines.pop(0)
            return row
        return None

    def judge(self, row, raw, world):
        said = verdict(class_of(row), world)
        if said == "row":
            self.rows.append(Row(row.w, row.n, stored(row.memo, world)))
        elif said == "bad":
            self.bad.append(raw)

    def with_piece(self, form, world):
        """The last writer has closed the file: its piece is a row if it is a whole line; its bytes are there in any case."""
        more = Read(form, self.piece + b"\n", world) if self.piece else None
        if more is not None:
            self.rows, self.late = self.rows + more.rows, more.rows
        return self


def before_damage(data):
    """The text of a damaged member up to the damage: the lines before it are rows (6.10). zlib gives no text with its error."""
    unzip, text = zlib.decompressobj(31), b""
    for i in range(len(data)):
        try:
            text += unzip.decompress(data[i:i + 1])
        except zlib.error:
            break
    return text


def inflated(data):
    """The text of gzip members, up to where one is damaged, and whether the last member is whole; None if a member is damaged."""
    text, whole = b"", True
    while data:
        unzip = zlib.decompressobj(31)
        try:
            text += unzip.decompress(data)
        except zlib.error:
            return text + before_damage(data), None
        whole, data = unzip.eof, unzip.unused_data
        if not unzip.eof:
            break
    return text, whole
