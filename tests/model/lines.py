"""What rows files must hold: a slice of a table (all of it, a group, the rows of a parent row), written by lines.

Each line has a number, so the state of the whole is a state for each line (class Line). A program's open file is an Open; both files of one slice
(kids.csv and kids.jsonl) share the slice. Sentences of docs/SEMANTICS.md: 1, 4, 8; of what rowfs is free to do nothing is demanded."""
import csv
import io
import json
import time
from collections import Counter

import records
from world import Found

# What may be said of a line:
WAITS, IN, OUT, FREE, LOOSE = "waits", "in", "out", "free", "loose"
# WAITS  written, not acknowledged: in the table once, or not yet
# IN     must be there as its verdict says: once in the table, or in rejected/, or (skipped by a trigger) nowhere
# OUT    must not be in the table
# FREE   once in the table, or not at all: the promise leaves it open
# LOOSE  a quote was open: a row, or a part of another row's text, or in rejected/; waits only while nobody said that all is well


MOMENTS = 3.0  # seconds


class Line:
    def __init__(self, n, w, cls, verdict, memo, opened):
        self.n, self.w, self.cls, self.verdict, self.memo, self.opened = n, w, cls, verdict, memo, opened
        self.state, self.was, self.told, self.prefix = WAITS, None, False, False

    def __repr__(self):
        return f"line t{self.n} ({self.cls}, {self.state})"


class Writer:
    """What an open rows file has to remember beside play.Open: .lines in the order of writing, .rest of a line that is cut, and so on."""

    def __init__(self):
        self.lines, self.piece, self.rest, self.cut_line = [], b"", b"", None
        self.quote_open = self.quote_told = self.tainted = False
        self.replacing, self.had_rows, self.since, self.cut_once = False, False, [], False
        self.wrote = False  # since the file was cut or replaced
        self.early = 0  # the number of a line that a close has committed before its newline came

    def is_in_field(self):
        """The piece ends inside a quoted field that has a line end: fsync and close say that it is open."""
        return b"\n" in self.piece


class Slice:
    def __init__(self, play, table, where="true"):
        self.play, self.table, self.where = play, table, where
        self.lines, self.exists = {}, True
        self.late = []  # (when, line): what a last close said of it comes moments after (1.2), if rowfs lives so long

    # -- what programs do ------------------------------------------------------------------------------------------------------------

    def writer(self, opened):
        if opened.model is None:
            opened.model = Writer()
        return opened.model

    def compose(self, opened, wanted, cut):
        """The bytes of WANTED ([n, class] each) behind what is left of the last line, CUT bytes of the last line held back. Notes the lines."""
        w, form = self.writer(opened), opened.form
        data, w.rest = w.rest, b""
        w.wrote = w.wrote or bool(data or wanted)
        if w.cut_line is not None and data:
            self.note(opened, w.cut_line)
            if w.early == w.cut_line.n and (data != b"\n" or w.cut_line.verdict == "bad"):
                w.cut_line.state = FREE  # the rest is a line of its own; and what was refused has been told
            w.cut_line, w.piece = None, b""
        for n, cls in wanted:
            cls = records.json_class(cls) if form == "jsonl" else cls
            text = records.line(form, opened.w, n, cls)
            memo = records.stored(records.memo_of(n, cls), self.play.asked)
            line = Line(n, opened.w, cls, records.verdict(cls, self.play.asked), memo, opened)
            data += text
            if cut and [n, cls] == list(wanted[-1]):
                hold = min(cut, len(text) - 1)
                data, w.rest, w.piece, w.cut_line = data[:-hold], text[-hold:], text[:-hold], line
            else:
                self.note(opened, line)
        return data

    def note(self, opened, line):
        w = self.writer(opened)
        line.state = WAITS
        if line.verdict == "open":
            w.quote_open = True
        if w.quote_open:
            line.state = LOOSE
        if w.tainted:
            line.state = FREE
        self.lines[line.n] = line
        w.lines.append(line)
        if w.replacing:
            w.since.append(line)

    def cut_all(self, state, path=None):
        """All that is there or under way is cut away (by truncation, removal, replacement): STATE now. Half lines of others are anybody's guess.
        PATH: only this file is cut; what waits in another one that shows the same rows may follow."""
        for line in self.lines.values():
            if line.state == FREE and self.still_open(line):
                continue  # its writer may have it under way
            if line.state in (WAITS, LOOSE) and path is not None and line.opened is not None and line.opened.path != path:
                line.state = FREE
            elif line.state in (IN, WAITS, LOOSE, FREE):
                line.was, line.state = line.state, state
        for o in self.play.opens_of(self):
            if o.model is not None:
                o.model.wrote = False
                o.model.tainted = o.model.tainted or bool(o.model.piece)

    def truncated(self, opened):
        """ftruncate(0), or O_TRUNC: committed with what comes next."""
        w = self.writer(opened)
        others = [o for o in self.play.opens_of(self) if o is not opened and o.model is not None]
        w.had_rows = True if self.certain() else None  # without rows it may be a replacement or an append
        w.replacing, w.since, w.piece, w.rest, w.cut_line = True, [], b"", b"", None
        w.quote_open, w.cut_once = False, True
        for line in self.lines.values():
            if line.state in (WAITS, LOOSE, FREE) and self.still_open(line) and line.opened.path != opened.path:
                line.state = FREE
            elif line.state in (IN, WAITS, LOOSE, FREE):
                line.was, line.state, line.cut_by = line.state, FREE, opened
        w.wrote = False
        for o in others:
            o.model.wrote = False
            o.model.tainted = o.model.tainted or bool(o.model.piece) or o.model.replacing or o.model.quote_open
        w.tainted = w.tainted or any(o.model.replacing for o in others)

    def certain(self):
        """The file surely has rows."""
        return any(x.state == IN and x.verdict == "row" for x in self.lines.values())

    def perhaps_replaces(self, opened):
        """OPENED has created the name behind an unlink, or another program has opened it to write: the file is written anew as after O_TRUNC if the
        removal was not committed (1.10, 1.11), else OPENED appends."""
        w = self.writer(opened)
        w.tainted = w.replacing = w.cut_once = True

    def truncated_by_path(self, path):
        self.cut_all(OUT, path)
        for o in self.play.opens_of(self):
            if o.model is not None:
                o.model.cut_once = True
            if o.model is not None and (o.model.replacing or o.model.quote_open):
                o.model.tainted = True

    def edited(self, n, certain):
        """Line N was taken out of the file in place, and nothing else was changed. Not CERTAIN: there was no other."""
        line = self.lines.get(n)
        if line is not None:
            line.was, line.state = line.state, OUT if certain else FREE

    def gone(self):
        """The file is another one now. What writers of the old one have under way may still become rows: no line is lost by it."""
        self.cut_all(OUT)
        for line in self.lines.values():
            if line.was in (WAITS, LOOSE) and line.state == OUT:
                line.state, line.was = FREE, None

    def removed(self):
        self.gone()
        for o in self.play.opens_of(self):
            self.writer(o).tainted = self.writer(o).cut_once = True

    def replaced(self, wanted, form, w, error, in_time=True):
        """The content was put in place as a whole, by a rename or by removal and creation."""
        world = self.play.asked
        new = [Line(n, w, cls, records.verdict(cls, world), records.stored(records.memo_of(n, cls), world), None) for n, cls in wanted]
        bad = [x for x in new if x.verdict in ("bad", "open")]
        certain = self.certain()
        possible = any(x.state in (IN, WAITS, LOOSE, FREE) for x in self.lines.values())
        if bad and (possible or error):
            if not error and certain and world["options"].get("bad_lines") != "report":
                raise Found("took a bad line", f"a replacement with {bad} succeeded")
            for x in new:
                x.state = FREE
            for x in self.lines.values():  # a record that is not whole is dropped when the file is emptied, also if the new content is refused
                x.state = FREE if x.state == LOOSE else x.state
            if not (certain and in_time and error):
                for x in self.lines.values():
                    x.state = FREE if x.state in (IN, WAITS, LOOSE) else x.state
        else:
            if error and not bad:
                raise Found("refused without cause", f"a replacement by good lines: errno {error}")
            self.gone()
            for x in new:
                x.state = FREE if x.verdict == "open" else IN
        self.lines.update((x.n, x) for x in new)
        for o in self.play.opens_of(self):
            if o.writes and self.writer(o).replacing:  # of two who write the file anew the last one wins
                self.free_all()
            self.writer(o).tainted = True

    # -- what they are told -----------------------------------------------------------------------------------------------------------

    def acknowledged(self, opened, error, call, last):
        """fsync, flush or close of OPENED answered ERROR (0: all is well)."""
        w = self.writer(opened)
        whole = opened.form == "jsonl" and w.cut_line is not None and records.is_object(w.piece)
        if whole and call != "fsync":
            w.early, w.cut_line.state, w.cut_line.prefix = w.cut_line.n, FREE, True
            self.lines[w.early] = w.cut_line
        if last and w.piece and (w.tainted or w.replacing):
            self.free_piece(w)
        if w.tainted:
            if w.replacing:  # of two who write the file anew the last one wins
                self.free_all()
            return self.set_free(w)
        if w.replacing and call != "fsync" and not last and (w.piece and not whole or not w.since and not w.piece):  # it waits for the first line, and for a line's end (1.6)
            perhaps_appended = w.had_rows is None and (any(x.verdict in ("bad", "open") for x in w.since) or w.is_in_field())
            return None if perhaps_appended else self.must(error == 0, "failed without cause", call, error)
        if w.replacing and self.settle_replacement(opened, error, call, last):
            return None
        owed = [x for x in w.lines if x.verdict == "bad" and x.state == WAITS]
        report = self.play.asked["options"].get("bad_lines") == "report"
        again = error != 0 and error == opened.again
        if not again and not w.quote_open and not w.is_in_field() and not (w.piece and call != "fsync"):
            if owed and not report:
                self.must(error != 0, "an error was not told", call, f"0 although {owed[:5]} must be refused")
            elif not any(x.verdict == "bad" and not x.told and x.state in (FREE, OUT) for x in w.lines):  # what was cut may be judged, too
                self.must(error == 0, "failed without cause", call, f"errno {error}; {self.play.sentence()}")
        for x in w.lines:
            x.told = True
            if x.state == WAITS:
                x.state = IN
        if w.quote_open:
            self.quote(opened, error, call)
        self.acked_are_there(w, call)
        if last and w.cut_line not in w.lines:
            self.last_piece(opened)  # committed shortly after the call has returned
        return None

    def quote(self, opened, error, call):
        """A quote is open. 0 means that every line so far is a row or was refused, and told."""
        w = opened.model
        if error:
            w.quote_told = True
            return
        waiting = [x for x in w.lines if x.state == LOOSE and x.verdict != "none" and not self.accounted(x)]
        self.must(not waiting, "fsync lied", call, f"0 while {waiting[:5]} of {len(waiting)} are neither rows nor refused")
        self.must(w.quote_told or self.play.asked["options"].get("bad_lines") == "report", "an error was not told", call,
                  "a quote is open, and nobody was told")

    def settle_replacement(self, opened, error, call, last):
        """True if nothing more is to be said of the call."""
        w = opened.model
        bad = [x for x in w.since if x.verdict in ("bad", "open")]
        guess = (w.piece and (last or opened.form == "jsonl")) or (w.had_rows is None and bad) or (error and w.is_in_field())
        if guess or (bad and w.had_rows and (error or self.play.asked["options"].get("bad_lines") == "report")):
            for x in self.lines.values():
                if getattr(x, "cut_by", None) is opened and x.state == FREE and x.was == IN and not guess and error:
                    x.state = IN  # a refused replacement leaves the old rows
            if guess:
                self.others_are_free(opened)
            self.set_free(w)
            w.tainted, w.replacing = True, False
            return True
        if bad and w.had_rows:
            self.must(False, "took a bad line", call, f"a replacement with {bad[:5]} succeeded")
        if error and not bad:
            self.must(False, "failed without cause", call, f"a replacement: errno {error}; {self.play.sentence()}")
        for x in self.lines.values():
            if getattr(x, "cut_by", None) is opened and x.state == FREE:
                x.state = OUT
                if last:
                    self.late.append((time.monotonic(), x))
        self.others_are_free(opened)
        w.replacing = False
        return False

    def others_are_free(self, opened):
        """OPENED has replaced the rows, or may have: what others wrote meanwhile is gone with the old rows, or there beside the new."""
        for x in self.lines.values():
            if x.opened is not opened and x.state in (IN, WAITS, LOOSE):
                x.state = FREE

    def last_piece(self, opened):
        """The last descriptor is closed by its program's own will: a last line without a newline counts if it is whole."""
        w, line = opened.model, opened.model.cut_line
        if not w.piece or line is None:
            return
        self.lines[line.n] = line
        w.lines.append(line)
        self.late.append((time.monotonic(), line))
        if w.rest == b"\n" and line.verdict in ("row", "none", "bad"):
            line.state = IN
        else:
            line.state, line.prefix = FREE, True
        w.piece = b""

    def refused_write(self, opened):
        """Others have written or cut the file since: it depends on the moment which lines were taken."""
        w = opened.model
        if len([o for o in self.play.opens_of(self) if o.writes]) == 1 and not w.cut_once:
            raise Found("write failed", f"at the end of {self.table}, where nobody else writes; {self.play.sentence()}")
        self.set_free(w, LOOSE)
        w.tainted = True

    def free_piece(self, w):
        line = w.cut_line
        line.state, line.prefix = FREE, True
        self.lines[line.n] = line
        w.lines.append(line)

    def killed(self, opened):
        """The program was killed: whole lines that `write` took are committed, a piece of a line is no row."""
        w = self.writer(opened)
        if w.replacing:
            self.free_all()
        if w.tainted or w.replacing or w.quote_open:
            self.set_free(w, LOOSE)
        for x in w.lines:
            if x.state == WAITS:
                x.state = IN
        self.piece_ends(w)

    def piece_ends(self, w):
        """The end of a line is never written: it is no row, if it was none before (an object of JSON is one without its newline)."""
        line = w.cut_line
        if not w.piece or line is None:
            return
        self.lines[line.n] = line
        line.state = FREE if w.early == line.n else OUT
        if line.state == OUT:
            line.cut_piece = w.piece

    def crashed(self):
        """rowfs was killed: what nobody acknowledged may be there or not."""
        for when, line in self.late:
            if time.monotonic() < when + MOMENTS:
                line.state = FREE
        for x in self.lines.values():
            if x.state in (WAITS, LOOSE):
                x.state = FREE
        for o in self.play.opens_of(self):
            if o.model is not None:
                self.piece_ends(o.model)

    # -- judging ------------------------------------------------------------------------------------------------------------------------

    def must(self, true, what, call, seen):
        if not true:
            raise Found(what, f"{call} on {self.table}: {seen}")

    @staticmethod
    def set_free(w, *more):
        for x in w.lines:
            if x.state in (WAITS, *more):
                x.state = FREE

    def free_all(self):
        for x in self.lines.values():
            if x.state in (IN, WAITS, LOOSE):
                x.state = FREE

    def rows(self):
        return self.play.world.sql(f"select w, n, memo from {self.table} where {self.where} order by id")

    def accounted(self, line):
        rows = self.rows()
        mark = f"t{line.n}"
        return any(n == line.n for _, n, _ in rows) or any(mark in (m or "").replace("\n", " ").replace(",", " ").split() for _, _, m in rows) \
            or self.in_rejected(line.n)

    def in_rejected(self, n):
        return f"t{n}".encode() in records.re.findall(rb"t\d+", self.play.world.rejected())

    def acked_are_there(self, w, call):
        have = Counter(n for _, n, _ in self.rows())
        gone = [x for x in w.lines if x.state == IN and x.verdict == "row" and have[x.n] == 0]
        if call == "fsync" and w.cut_line is not None and have[w.cut_line.n] and w.early != w.cut_line.n:
            raise Found("half a line is a row", f"{call} on {self.table}: {w.cut_line} has no newline yet")
        if gone:
            raise Found("acknowledged line lost", f"{call} on {self.table} was answered; {len(gone)} lines are not there: {gone[:5]}")

    def judge(self):
        """None, or what is wrong: (kind of fault, what was seen)."""
        rows = self.rows()
        have = Counter(n for _, n, _ in rows)
        for w, n, memo in rows:
            line = self.lines.get(n)
            if line is None:
                return "row from nowhere", f"{self.table} has ({w}, {n}, {memo!r})"
            if line.state == OUT:
                return "what was cut away came back" if not hasattr(line, "cut_piece") else "half a line is a row", \
                    f"{self.table} has ({w}, {n}, {memo!r}): {line}"
            if have[n] > 1:
                return "line doubled", f"{line} is {have[n]} times in {self.table}"
            if line.verdict in ("bad", "none") and line.state != LOOSE and not line.prefix:
                return "took a bad line", f"{self.table} has ({w}, {n}, {memo!r}): {line}"
            exact = memo == line.memo and w == line.w
            if not exact and line.state != LOOSE and line.verdict != "open" and not (line.prefix and line.memo.startswith(memo or "")):
                return "line falsified", f"{self.table} has ({w}, {n}, {memo!r}), written was ({line.w}, {n}, {line.memo!r})"
        wrong = self.missing(rows, have)
        return wrong or self.disorder(rows)

    def missing(self, rows, have):
        inside = set(records.re.findall(r"\bt(\d+)\b", " ".join(m or "" for _, _, m in rows)))
        refused = {int(x[1:]) for x in records.re.findall(rb"t\d+", self.play.world.rejected())} \
            if any(x.verdict in ("bad", "open") or x.state == LOOSE for x in self.lines.values()) else set()
        for line in self.lines.values():
            if line.state == IN and line.verdict == "row" and not have[line.n]:
                return "line lost", f"{line} is not in {self.table}"
            if line.state == IN and line.verdict == "bad" and line.n not in refused:
                return "refused line not kept", f"{line} is not in rejected/"
            # its memo, not its mark: a cut line and what follows it may look like one
            if line.state == IN and line.verdict == "row" and line.n in refused and line.memo.encode() in self.play.world.rejected():
                return "committed line in rejected/", f"{line} is in {self.table} and in rejected/"
            if line.state == LOOSE and line.verdict != "none" and not self.still_open(line) and not (have[line.n] or str(line.n) in inside or line.n in refused):
                return "line lost", f"{line} is neither in {self.table} nor in rejected/, its file is closed"
        return None

    def still_open(self, line):
        return line.opened is not None and line.opened in self.play.opens_of(self)

    def disorder(self, rows):
        last = {}
        for _, n, _ in rows:
            line = self.lines.get(n)
            if line is None or line.opened is None or line.state in (LOOSE, FREE):
                continue
            place = line.opened.model.lines.index(line)
            before = last.get(id(line.opened), -1)
            if place < before:
                return "order", f"{line} was written before a line that stands before it in {self.table}"
            last[id(line.opened)] = place
        return None

    def judge_file(self, path, form):
        """The file that shows the slice, compared with SQL; None or what is wrong."""
        want = self.rows()
        if not self.exists and not want:
            return None
        before, data, after = self.play.world.slurp(path)
        if before != len(data) or after != before:
            return "st_size", f"{path}: st_size {before}, read {len(data)} bytes, then st_size {after}"
        if form == "jsonl":
            got = [json.loads(x) for x in data.decode().splitlines()]
            got = [(x["w"], x["n"], x["memo"]) for x in got]
        else:
            text = list(csv.reader(io.StringIO(data.decode(), newline="")))
            got = [(int(w), int(n), m or None) for w, n, m in text[1:]]
        if got != [(w, n, m or None) for w, n, m in want]:
            return "file differs from table", f"{path} has {got[-5:]}, {self.table} has {want[-5:]}"
        return None
