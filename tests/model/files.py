"""What files that are bytes must hold: plain files, and ingest files, whose lines are rows, too.

The bytes are those of the same file in a plain directory (the twin). The rows of an ingest file are what records.Read makes of these bytes: exactly so
after fsync and close; between them, anything that was true since the last one."""
import zlib
from collections import Counter

import records
from world import Found


class Plain:
    """A plain file: every call must answer as in a plain directory, and the bytes and sizes are the same at once."""

    form = None

    def __init__(self, play, path):
        self.play, self.path = play, path
        self.twin = path.replace("/", "%")

    def bytes(self):
        twin = self.play.world.twin / self.twin
        return twin.read_bytes() if twin.exists() else None

    def judge(self):
        want = self.bytes()
        if want is None:
            if self.play.exists(self.path):
                return "name", f"{self.path} exists, in a plain directory it does not"
            return None
        if not self.play.exists(self.path):
            return "file lost", f"{self.path} does not exist, in a plain directory it has {len(want)} bytes"
        before, data, after = self.play.world.slurp(self.path)
        if data != want:
            return "bytes differ", f"{self.path} has {len(data)} bytes {data[:60]!r}, a plain directory {len(want)}: {want[:60]!r}"
        if before != len(data) or after != before:
            return "st_size", f"{self.path}: st_size {before}, read {len(data)} bytes, then st_size {after}"
        return None


class Ingest(Plain):
    def __init__(self, play, path):
        super().__init__(play, path)
        self.gz = path.endswith(".gz")
        self.form = "jsonl" if path.endswith(".jsonl") else "csv"
        self.keep = ".csv." in path and not self.gz
        self.pool = play.pools["gzlines" if self.gz else "inlines"]
        self.damaged = False  # where a gzip member is damaged, its text may be lines that nobody wrote
        self.waits = False  # the piece at its end is that of a killed program, or of a mount that was: it waits for its rest (6.9)
        self.marks, self.loose, self.piece_counts, self.packer = set(), False, False, None
        self.was = self.read()
        self.views = [self.was]
        self.untold = False  # a line was refused, and the next fsync or close may say so, whichever open file it is of
        self.versions = []  # its bytes after each change since the last acknowledgement

    def read(self, last=False):
        data = self.bytes() or b""
        text, whole = records.inflated(data) if self.gz else (data, True)
        if whole is None:
            self.loose = self.damaged = True
        got = records.Read(self.form, text, self.play.asked)
        if got.open:
            self.loose = True
        got.whole = whole
        if self.loose:  # where one writer has written over the bytes of another, the text has numbers that nobody wrote
            self.marks |= {row.n for row in got.rows}
        return got.with_piece(self.form, self.play.asked) if last and whole and not self.waits else got

    def changed(self):
        """Bytes were written or cut: rows may follow at any time from now on."""
        self.views.append(self.read())
        self.versions.append(self.bytes() or b"")
        self.piece_counts = self.waits = False

    def packed(self, text, end):
        """TEXT as the next bytes of the gzip stream that all writers of the file write together; END: and the end of a member."""
        if not text and self.packer is None:
            return b""
        self.packer = self.packer or zlib.compressobj(6, zlib.DEFLATED, 31)
        data = self.packer.compress(text)
        if not end:
            return data + self.packer.flush(zlib.Z_SYNC_FLUSH)
        data, self.packer = data + self.packer.flush(), None
        return data

    def leave(self):
        """Its rows stay and are no file's any more."""
        self.given = self.low()  # unless it was for a truncation that is not committed before a crash
        self.pool.kept.update(self.given)
        self.pool.guess |= {row.n for row in self.high() - self.low()}  # the clock, a rename, or a close before a crash may have committed them

    def emptied(self):
        """Truncated to nothing: on a `keep` route the old rows stay."""
        self.packer = None
        if self.keep:
            self.leave()
            self.untold = self.untold or any(view.bad for view in self.views)
            self.was = records.Read(self.form, b"", self.play.asked)
            self.views = [self.was]
        self.changed()

    def acknowledged(self, opened, error, call, last):
        last = last and not any(o.writes for o in self.play.opens_of(self) if o is not opened)
        now = self.read(last)
        report = self.play.asked["options"].get("bad_lines") == "report"
        new = Counter(now.bad) - Counter(self.was.bad)
        half = bool(now.piece or not now.whole) and call != "fsync"
        if not (self.loose or half or opened.tainted or not opened.writes):
            if new and not error and not report and opened.dirty:
                raise Found("an error was not told", f"{call} of {self.path} said 0 although it must refuse {list(new)[:3]}")
            if error and not now.bad and not self.untold and not any(view.bad for view in self.views):
                raise Found("failed without cause", f"{call} of {self.path}: errno {error}; {self.play.sentence()}")
        if opened.writes:
            self.given = Counter()
            self.untold = not error and (self.untold or any(view.bad for view in self.views))
            self.was, self.views = now, [now]
            self.piece_counts = self.piece_counts or call != "fsync"
            opened.dirty = False
            if not opened.tainted and not self.loose:
                self.pool.acked_are_there(call, now.late)

    def killed(self, opened):
        if opened.dirty:
            self.was, self.waits = self.read(), True
            self.views = [self.was]

    def crashed(self):
        """The bytes are a beginning of what was written, with all that was acknowledged; so the twin gets the same."""
        want = self.bytes()
        if want is None:
            return
        _, data, _ = self.play.world.slurp(self.path)
        acked = self.acked_bytes
        # what the clock has committed meanwhile may be of a version that was cut away again, uncommitted
        if data != acked and not any(v.startswith(data) and (len(data) >= len(acked) or not v.startswith(acked)) for v in [want, *self.versions]):
            raise Found("bytes lost", f"{self.path} has {len(data)} bytes after the crash, {len(acked)} were acknowledged, {len(want)} written")
        if data and data == acked:
            self.pool.kept -= self.given
        self.given = Counter()
        (self.play.world.twin / self.twin).write_bytes(data)
        self.was = self.read()
        self.views = [self.was]
        self.piece_counts, self.packer, self.waits = True, None, True
        self.loose = self.loose or not self.was.whole

    acked_bytes, given = b"", Counter()

    def moved(self, path):
        fresh = Ingest.__new__(Ingest)
        fresh.__dict__.update(self.__dict__)
        self.path, self.twin, self.keep = path, path.replace("/", "%"), ".csv." in path and not self.gz
        return self

    def taken(self):
        """The file as a whole came to this name: its lines are rows, the last one, too, if it is whole (6.15)."""
        fresh = Ingest(self.play, self.path)
        fresh.was = fresh.read(last=True)
        fresh.views = [fresh.was]
        fresh.marks = {int(n) for n in records.MARK.findall((self.bytes() or b"").decode("latin-1"))}
        return fresh

    def low(self):
        out = Counter(self.views[0].rows)
        for view in self.views[1:]:
            out &= Counter(view.rows)
        return out

    def high(self):
        out = Counter()
        for view in self.views:
            more = Counter(view.rows)
            if view.piece:
                more.update(records.Read(self.form, view.piece + b"\n", self.play.asked).rows)
            out |= more
        return out


class Pool:
    """The table that several ingest files fill."""

    def __init__(self, play, table):
        self.play, self.table, self.kept, self.guess = play, table, Counter(), set()

    def files(self):
        return [f for f in self.play.files.values() if isinstance(f, Ingest) and f.pool is self]

    def have(self):
        return Counter(records.Row(*r) for r in self.play.world.sql(f"select w, n, memo from {self.table}"))

    def low(self):
        return sum((f.low() for f in self.files()), Counter(self.kept))

    def guessed(self):
        out = set(self.guess)
        for f in self.files():
            if f.loose:
                out |= f.marks
        return out

    def acked_are_there(self, call, late):
        guess = self.guessed()
        gone = [r for r in (self.low() - self.have()) if r.n not in guess and r not in late]
        if gone:
            raise Found("acknowledged line lost", f"{call} was answered; {len(gone)} rows are not in {self.table}: {gone[:5]}")

    def judge(self):
        have, low, guess = self.have(), self.low(), self.guessed()
        high = sum((f.high() for f in self.files()), Counter(self.kept))
        gone = [r for r in low - have if r.n not in guess]
        if gone:
            return "line lost", f"{gone[:5]} of {len(gone)} are not in {self.table}"
        damaged = any(f.damaged for f in self.files())
        more = [r for r in have - high if r.n not in guess and not (damaged and r.n not in self.play.classes)]
        if more:
            return "line doubled" if high[more[0]] else "row from nowhere", f"{more[:5]} of {len(more)} are in {self.table} and in no file"
        return self.refused(guess)

    def refused(self, guess):
        kept = None
        for f in self.files():
            if f.loose:
                have = {n for n in (r.n for r in self.have())}
                inside = " ".join(r.memo or "" for r in self.have())
                kept = self.play.world.rejected() if kept is None else kept
                text, whole = records.inflated(f.bytes() or b"") if f.gz else (f.bytes() or b"", True)
                text = text[:text.rfind(b"\n") + 1]  # a piece of a line waits for its rest
                lost = [n for n in f.marks if f"t{n}".encode() in records.re.findall(rb"t\d+", text) and n not in have and
                        f"t{n}" not in records.re.findall(r"t\d+", inside) and f"t{n}".encode() not in records.re.findall(rb"t\d+", kept)
                        and not self.skipped(n) and n not in self.guess]  # nor was the table emptied
                waits = f.waits or whole is False  # an open record at the end of a gzip that is cut short waits for its rest, too (6.10)
                if lost and not waits and not any(o.writes for o in self.play.opens_of(f)):
                    return "line lost", f"{f.path}: {lost[:5]} of {len(lost)} are neither rows nor in rejected/"
            elif f.was.bad:
                kept = self.play.world.rejected() if kept is None else kept
                for raw in f.was.bad:
                    if raw not in kept:
                        return "refused line not kept", f"{f.path}: {raw!r} is not in rejected/"
        return None

    def skipped(self, n):
        return self.play.classes.get(n) in records.SKIPPED
