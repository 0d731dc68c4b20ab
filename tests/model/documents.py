"""What documents and columns must hold. The state is a list of the values that the promise allows, nearly always one.

Each open file has a twin of its own in a plain directory, which began with the same bytes: what the twin says at fsync or close is the document."""
import errno
import json
import time

from world import Found

MOMENTS = 3.0  # seconds


class Refuse(Exception):
    """The database, or rowfs, refuses the value."""


def parse(data):
    """The value of JSON bytes; ValueError if they are none."""
    return json.loads(data.decode("utf-8"))


def parse_once(data):
    """As parse(), but a key that stands twice in one object is refused (2.6, 18.6)."""
    def once(pairs):
        if len(dict(pairs)) != len(pairs):
            raise Refuse
        return dict(pairs)
    return json.loads(data.decode("utf-8"), object_pairs_hook=once)


def is_json(data):
    try:
        parse(data)
        return True
    except ValueError:
        return False


class Document:
    """Common to row documents, table documents and columns: .alts are the allowed values."""

    rests_at = 0.0  # what is committed shortly after a call has come by then

    def __init__(self, play, path):
        self.play, self.path = play, path

    def text_of(self, opened):
        """What a program's writes have made of its file so far."""
        return (self.play.world.twin / opened.twin).read_bytes()

    def head_of(self, opened, data):
        """DATA is no document, but what was written from the start on is one by itself: that (a program that writes, syncs, and cuts the old
        rest off after). None if it is not so."""
        head = data[:opened.from_start]
        return head if self.has_heads(opened) and not is_json(data) and is_json(head) and isinstance(parse(head), (dict, list)) else None

    def has_heads(self, opened):
        return True

    def acknowledged(self, opened, error, call, last):
        if not opened.writes or not (opened.dirty or opened.cut):
            if error and not opened.tainted:
                raise Found("failed without cause", f"{call} of {self.path}, where nothing was written: errno {error}; {self.play.sentence()}")
            return
        data = self.text_of(opened)
        if not opened.dirty and call != "fsync" and not last:
            # a truncation waits for the next write, fsync or release; but behind a text that was refused it may have made it whole
            if opened.refused and not error:
                self.alts = merge(self.alts, self.outcomes(opened, data)[0])
            return
        head = self.head_of(opened, data)
        good, bad = self.outcomes(opened, data if head is None else head)
        if opened.recut:  # a cut to the length that the file has is none (3.6): then it was appended
            opened.recut = False
            good = merge(good, self.outcomes(opened, data)[0])
        if head is not None and (call != "fsync" or opened.passes > 1):
            bad = merge(bad, self.alts)  # only fsync of what was written in one go is sure to take it so
        if opened.tainted or not opened.dirty:
            self.alts, self.rests_at = merge(self.alts, good), time.monotonic() + MOMENTS
        elif error:
            if not bad:
                raise Found("failed without cause", f"{call} of {self.path} with {data[:200]!r}: errno {error}; {self.play.sentence()}")
            self.narrow(bad)
        else:
            if not good:
                raise Found("took what it must refuse", f"{call} of {self.path} with {data[:200]!r} said 0")
            self.alts = good
            self.is_stored(f"{call} of {self.path} with {data[:100]!r}")
        opened.dirty = opened.cut = False
        opened.refused = error != 0
        opened.done()

    def narrow(self, bad):
        """It was refused: only those values remain from which it must be."""
        self.alts = bad

    def outcomes(self, opened, data):
        """(the values that DATA makes of the allowed ones, the allowed ones from which it must be refused)."""
        good, bad = [], []
        for alt in self.alts:
            try:
                good = merge(good, [self.apply(opened, data, alt)])
            except (Refuse, ValueError):
                bad = merge(bad, [alt])
        return good, bad

    def put(self, opened, data, error, what):
        """The whole content was replaced in one step (a rename, or removal and creation)."""
        good, bad = self.outcomes(opened, data)
        if error and not bad:
            raise Found("refused without cause", f"{what} of {self.path} with {data[:200]!r}: errno {error}; {self.play.sentence()}")
        if not error and not good:
            raise Found("took what it must refuse", f"{what} of {self.path} with {data[:200]!r} said 0")
        self.alts = bad if error else good
        if not error:
            self.is_stored(f"{what} of {self.path} with {data[:100]!r}")

    def is_stored(self, after):
        have = self.have()
        if have not in self.alts:
            raise Found("acknowledged document lost", f"{after}: the table has {have}, allowed {self.alts}")
        if time.monotonic() > self.rests_at:  # nothing is to come that was closed before
            self.alts = [have]

    def killed(self, opened):
        """The kernel closes what a killed program had open: what it wrote is committed, or refused, shortly after."""
        if opened.writes and (opened.dirty or opened.cut):
            data, self.rests_at = self.text_of(opened), time.monotonic() + MOMENTS
            self.alts = merge(self.alts, merge(self.outcomes(opened, data)[0], self.outcomes(opened, self.head_of(opened, data) or data)[0]))

    crashed = None

    def judge(self):
        have = self.have()
        if have not in self.alts:
            return "document differs", f"{self.path}: the table has {have}, allowed {self.alts}"
        if time.monotonic() > self.rests_at:
            self.alts = [have]
        return self.judge_files(have)

    def read(self, path):
        before, data, after = self.play.world.slurp(path)
        if any(o.writes and (o.dirty or o.cut or o.refused) for o in self.play.opens_of(self)):
            return data  # stat shows the size of the text that an open file has and the table has not (14.4)
        if before != len(data) or before != after:
            raise ValueError(f"{path}: st_size {before}, read {len(data)}, then {after}")  # or a change was committed between the two
        return data


def merge(a, b):
    return a + [x for x in b if x not in a]


class Parent(Document):
    """A row with its document, the text column note.txt and the jsonb column meta.json. The value: {title, qty, note, meta}, or None: no row."""

    left = False  # files may be there without the row: a program has made them (2.7), or a crash has left them
    KEYS = {"title", "qty"}

    def __init__(self, play, name):
        super().__init__(play, f"p/{name}")
        self.name, self.alts = name, [None]

    def has_heads(self, opened):
        return opened.view != "note.txt"

    def apply(self, opened, data, row):
        view = opened.view
        if view == "row.json":
            return self.apply_document(parse_once(data), row)
        if row is None and not (opened.tainted or self.is_kept()):
            raise Refuse
        if row is None:  # its directory waits, also for what is still open below it; a column that is enough inserts the row (7.2, 7.3)
            row = {"title": "none", "qty": 0, "note": None, "meta": {}}
        if view == "meta.json":
            return {**row, "meta": parse(data)}
        if b"\0" in data:
            raise Refuse
        if opened.appends and not opened.recut:
            return {**row, "note": (row["note"] or "") + opened.appended.decode()}
        return {**row, "note": data.decode()}

    def apply_document(self, said, row):
        if not isinstance(said, dict) or set(said) - self.KEYS - {"name"} or said.get("name", self.name) != self.name:
            raise Refuse
        new = dict(row or {"title": "none", "qty": 0, "note": None, "meta": {}})
        new.update((k, said[k]) for k in self.KEYS if k in said)
        if not isinstance(new["title"], str) or type(new["qty"]) is not int or not 0 <= new["qty"] < 2**31:
            raise Refuse
        new["title"] = through_trigger(new["title"], self.play.asked)
        return new

    def have(self):
        got = self.play.world.sql("select title, qty, note, meta from parents where name = %s", self.name)
        return dict(zip(("title", "qty", "note", "meta"), got[0])) if got else None

    def judge_files(self, row):
        path = f"{self.path}/row.json"
        if self.play.exists(path) != (row is not None) and not (self.left and row is None):
            return "name", f"{path} {'does not exist' if row else 'exists'}, its row {'does' if row else 'does not'}"
        if row is None:
            return None
        shown = parse(self.read(path))
        if shown != {"name": self.name, "title": row["title"], "qty": row["qty"]}:
            return "file differs from table", f"{path} says {shown}, the table {row}"
        note = f"{self.path}/note.txt"
        # a file that was made is there before its column (1.2), and what a crash left is there again (6.2)
        made = self.left or any(o.view == "note.txt" and o.writes for o in self.play.opens_of(self))
        if self.play.exists(note) != (row["note"] is not None) and not (made and row["note"] is None):
            return "name", f"{note} {'exists' if row['note'] is None else 'does not exist'}, the column is {row['note']!r}"
        if row["note"] is not None and self.read(note) != row["note"].encode():
            return "file differs from table", f"{note} says {self.read(note)!r}, the table {row['note']!r}"
        if parse(self.read(f"{self.path}/meta.json")) != row["meta"]:
            return "file differs from table", f"{self.path}/meta.json says {self.read(f'{self.path}/meta.json')!r}, the table {row['meta']!r}"
        return None

    def is_kept(self):
        """A plain file is in the directory, and keeps it there when the row is gone."""
        return any(f.path.startswith(f"{self.path}/") and f.bytes() is not None for f in self.play.files.values())

    def made(self, error):
        """mkdir answered ERROR."""
        if error and self.left:
            return  # a directory that a crash left is in the way (6.2)
        if self.is_kept():
            if error != errno.EEXIST:  # a plain file outlives its row and keeps the directory there (7.3)
                raise Found("took what it must refuse", f"mkdir {self.path}, in which there is a plain file: errno {error}")
            return
        for alt in self.alts:
            if (alt is None) == (error == 0):
                break
        else:
            raise Found("failed without cause" if error else "took what it must refuse", f"mkdir {self.path}: errno {error}; allowed {self.alts}")
        if not error:
            self.alts = [{"title": "none", "qty": 0, "note": None, "meta": {}}]

    def removed(self, error, call):
        if not error:
            # its directory stays, also when the plain file goes: a column may make the row again; and so it does below an open column
            self.left = self.left or self.is_kept() or any(o.writes and o.view == "note.txt" for o in self.play.opens_of(self))
            self.alts = [None]
        elif call == "unlink" and all(a is not None for a in self.alts):
            raise Found("failed without cause", f"{call} {self.path}: errno {error}; {self.play.sentence()}")

    def column_removed(self, view, error):
        """rm of a column file: NULL."""
        column = view.partition(".")[0]
        can = [a for a in self.alts if a is not None and a[column] is not None]
        if error and len(can) == len(self.alts):
            raise Found("failed without cause", f"unlink {self.path}/{view}: errno {error}; {self.play.sentence()}")
        if not error:
            self.alts = merge([], [a if a is None else {**a, column: None} for a in self.alts])

    def crashed(self):
        """What was not acknowledged may be there."""
        for o in self.play.opens_of(self):
            self.left = self.left or o.view == "note.txt" and o.writes
            self.killed(o)


def through_trigger(title, world):
    if world["trigger"] and title:
        last = title.rpartition(" ")[2]
        if last in ("raise", "custom", "priv", "nofun"):
            raise Refuse
        if last == "change":
            return title + "d"
    return title


class Table(Document):
    """list.json (an array by id) and settings.json (an object by name). The value: key → row."""

    def __init__(self, play, path):
        super().__init__(play, path)
        self.array, self.alts = path == "list.json", [{}]

    def apply(self, opened, data, rows):
        said = parse_once(data)
        if self.array:
            return self.apply_array(said, rows)
        if not isinstance(said, dict):
            raise Refuse
        out = {}
        for name, value in said.items():
            old = rows.get(name, {"v": None, "memo": None})
            if not isinstance(value, dict) or set(value) - {"v", "memo"}:
                raise Refuse
            out[name] = {**old, **value}
            if type(out[name]["v"]) is not int:
                raise Refuse
        return out

    def apply_array(self, said, rows):
        if not isinstance(said, list) or not all(isinstance(x, dict) and type(x.get("id")) is int and not set(x) - {"id", "title"} for x in said):
            raise Refuse
        if len({x["id"] for x in said}) != len(said):
            raise Refuse
        out = {}
        for x in said:
            old = rows.get(x["id"])
            new = {"title": x.get("title", old["title"] if old else None)}
            out[x["id"]] = old if old == new else {"title": through_trigger(new["title"], self.play.asked)}
        return out

    def have(self):
        if self.array:
            return {i: {"title": t} for i, t in self.play.world.sql("select id, title from list")}
        return {n: {"v": v, "memo": m} for n, v, m in self.play.world.sql("select name, v, memo from settings")}

    def judge_files(self, rows):
        shown = parse(self.read(self.path))
        want = [{"id": i, **rows[i]} for i in sorted(rows)] if self.array else rows
        if shown != want:
            return "file differs from table", f"{self.path} says {shown}, the table {want}"
        return None

    def removed(self, error, call):
        if error:
            raise Found("failed without cause", f"{call} {self.path}: errno {error}; {self.play.sentence()}")
        self.alts = [{}]

    def crashed(self):
        for o in self.play.opens_of(self):
            self.killed(o)
