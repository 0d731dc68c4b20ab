"""Plays a list of operations in a world, asks the models what each must answer, and judges the whole at times.

Every list can be played: an operation on a file that is not open is left out. So a shorter list is a test, too, which shrinking lives on."""
import errno
import os
import time
import traceback

import records
from documents import Parent, Table
from files import Ingest, Plain, Pool
from lines import Slice
from world import FLUSH_INTERVAL, Found, World

BETWEEN = 2.1  # seconds after unlink in which the deletion may not be committed: 50 ms and 2 s that do not count (1.12)
SETTLED = 6.0  # seconds: what is committed "moments after" a call has come to rest


class Open:
    """An open file: one open(), any number of descriptors (keys)."""

    def __init__(self, key, process, path, target, how, view):
        self.keys, self.process, self.path, self.target, self.how, self.view = {key}, process, path, target, how, view
        self.form = "jsonl" if path.endswith(".jsonl") else "csv"
        self.writes, self.appends = how != "read", how == "append"
        self.model, self.w, self.twin = None, 0, None
        self.again = 0  # an error that the next fsync or close may say once more (1.2)
        self.told = b""  # errors.jsonl when it was opened, or synced or closed last
        self.dirty = self.cut = self.tainted = False
        self.recut = False  # an appending program has cut the file: its text counts, not what it has appended
        self.refused = False  # what it was to commit last: it still has that text
        self.from_start, self.passes, self.appended = 0, 0, b""  # bytes written from offset 0 on, how often; bytes behind the end
        self.last_text = 0

    def done(self):
        """What was written so far is committed, or refused."""
        self.appended, self.recut = b"", False


class Play:
    def __init__(self, server, asked, ops, patience=SETTLED):
        self.server, self.asked, self.ops, self.patience = server, asked, ops, patience
        self.opens, self.files, self.classes, self.counts = {}, {}, {}, {}
        self.number, self.told = 0, b""
        self.between = {}  # names that were unlinked just now: by which process, and until when it may not find them
        self.pending = {}  # rows files whose removal may not be committed: until when whoever opens the name to write replaces the file (1.10, 1.11)
        self.world = None

    # -- the whole -----------------------------------------------------------------------------------------------------------------

    def run(self):
        """Plays all; raises Found."""
        with World(self.server, self.asked) as self.world:
            self.pools = {t: Pool(self, t) for t in ("inlines", "gzlines")}
            self.slices = {p: Slice(self, t) for p, t in (("log.csv", "lines"), ("log.jsonl", "jlines"))}
            self.parents, self.tables = {}, {p: Table(self, p) for p in ("list.json", "settings.json")}
            for self.number, op in enumerate(self.ops):
                try:
                    self.step(op)
                    self.world.alive()
                except Found:
                    self.world.alive()  # a dead daemon is the reason, then
                    raise
                except Exception as e:  # of the judge itself, if the daemon lives
                    self.world.alive()
                    raise Found("judge", traceback.format_exc()) from e
            self.number = len(self.ops)
            self.finish()

    def finish(self):
        self.op_settle({})
        for w in self.world.workers:
            w.process.stdin.close()
            w.process.wait(60)
        self.settle_after_end()

    def settle_after_end(self):
        """Unmounted: all that was ever to come has come."""
        kept = self.world.rejected()
        self.world.rejected = lambda: kept
        self.world.workers = []
        self.world.end()
        self.judge(files=False)

    def step(self, op):
        self.counts[op["do"]] = self.counts.get(op["do"], 0) + 1
        getattr(self, f"op_{op['do']}")(op)

    # -- helpers ------------------------------------------------------------------------------------------------------------------------

    def target(self, path):
        """The model of PATH, and which view of it PATH is."""
        if path in self.slices:
            return self.slices[path], None
        if path in self.tables:
            return self.tables[path], None
        top, _, rest = path.partition("/")
        if top == "p":
            name, _, view = rest.partition("/")
            if name not in self.parents:
                self.parents[name] = Parent(self, name)
                self.slices[f"p/{name}/kids"] = Slice(self, "klines", f"parent = '{name}'")
            if view.startswith("kids"):
                return self.slices[f"p/{name}/kids"], view
            if view in ("row.json", "note.txt", "meta.json", ""):
                return self.parents[name], view
        if top == "g" and path.endswith(".csv"):
            made = Slice(self, "glines", f"g = '{rest[:-4]}'")
            made.exists = False
            return self.slices.setdefault(path, made), None
        if path not in self.files:
            self.files[path] = Ingest(self, path) if top in ("in", "gz") and ".csv" in rest + ".csv" * rest.endswith(".jsonl") else Plain(self, path)
        return self.files[path], None

    def opens_of(self, target):
        return [o for o in set(self.opens.values()) if o.target is target]

    def exists(self, path):
        return os.path.lexists(self.world.mount.path / path)

    def sentence(self):
        try:
            return self.world.mount.sentence()[:500]
        except OSError as e:
            return str(e)

    def call(self, process, *calls):
        """The answers of the worker; each call on a plain file must answer as its twin."""
        return self.world.workers[process].call(*calls)

    def twin_of(self, target, process):
        """The name of the twin for a new open file of TARGET; None if it has none."""
        if isinstance(target, Plain):
            return target.twin
        if isinstance(target, (Parent, Table)):
            self.twins = getattr(self, "twins", 0) + 1
            return f"twin{self.twins}"
        return None

    def told_why(self, op, error, opened=None):
        """An error of a call that changes something has a sentence. That of a line may be older than the call: it is told when the line is
        refused (by the clock, too), and then by the next fsync or close of the file. Lines with one cause are one entry, which is changed."""
        before = self.told if opened is None else opened.told
        if opened is not None and isinstance(opened.target, Ingest):
            before = b""  # its open files share what is to be told: the sentence may be older than any of them
        if error in (0, errno.ENOENT, errno.EEXIST, errno.EBADF, errno.ENOTCONN) and opened is None:
            return
        self.told = self.world.mount.bytes(".rowfs/errors.jsonl")
        if opened is not None:
            opened.told = self.told
        if error not in (0, errno.ENOENT, errno.EEXIST, errno.EBADF, errno.ENOTCONN) and self.told == before \
                and not (opened is not None and error == opened.again):
            raise Found("no sentence", f"{op['do']} said errno {error}, errors.jsonl has nothing new")

    def same(self, op, answer):
        """The call on a plain file answers as in a plain directory."""
        if len(answer) > 3 and answer[:2] != answer[3:5]:
            raise Found("answers differ", f"{op}: {str(answer[:2])[:200]}, in a plain directory {str(answer[3:5])[:200]}")

    def judge_now(self, opened_or_target):
        """Plain files and the bytes of ingest files are right at once."""
        target = getattr(opened_or_target, "target", opened_or_target)
        if isinstance(target, Plain):
            try:
                wrong = Plain.judge(target)
            except OSError as e:
                wrong = "file cannot be read", f"{target.path}: {e!r}; {self.sentence()}"
            if wrong:
                raise Found(*wrong)

    # -- open files -------------------------------------------------------------------------------------------------------------------------

    def op_open(self, op):
        path, how, p = op["path"], op["how"], op["p"]
        if op["key"] in self.opens:
            return
        target, view = self.target(path)
        if isinstance(target, Plain) and not self.exists(os.path.dirname(path)):
            return  # the twin has no directories
        twin = self.twin_of(target, p)
        own = twin is not None and not isinstance(target, Plain)
        if own and self.exists(path):
            (self.world.twin / twin).write_bytes(self.world.slurp(path)[1])
        told = self.world.mount.bytes(".rowfs/errors.jsonl")
        answer = self.call(p, ["open", op["key"], [path, twin], how])[0]
        if isinstance(target, Plain):
            self.same(op, answer)
        if answer[0]:
            if answer[0] not in (errno.ENOENT, errno.EEXIST):
                self.told_why(op, answer[0])
            self.open_failed(op, target, view, answer[0])
            return
        opened = self.opens[op["key"]] = Open(op["key"], p, path, target, how, view)
        opened.twin, opened.w, opened.told = twin, op.get("w", 0), told
        opened.tainted = own and self.rests(target)  # what is committed shortly after a close may have come between the twin's copy and the open
        if isinstance(target, Parent) and None in target.alts:
            opened.tainted = opened.tainted or target.left
            target.left = True
        if isinstance(target, Slice):
            target.exists = True
            if opened.writes:
                # a directory that a plain file has kept: without the parent row its lines are refused (4.9)
                target.writer(opened).tainted = bool(view) and None in self.parents[path.split("/")[1]].alts
            if how == "trunc":
                target.truncated(opened)
            if opened.writes and self.pending.pop(path, 0) > time.monotonic():
                target.perhaps_replaces(opened)
        elif isinstance(target, Ingest) and how == "trunc":
            opened.dirty = True
            target.emptied()
        elif not isinstance(target, Plain) and (how == "trunc" or not os.path.getsize(self.world.twin / twin)):
            opened.cut = how != "read"
        self.judge_now(opened)

    def open_failed(self, op, target, view, error):
        """Whether a name is there is known of all but those that come with rows."""
        gone = isinstance(target, Parent) and None in target.alts or isinstance(target, Slice) and (view or not target.exists) \
            or isinstance(target, Parent) and view == "note.txt" and op["how"] in ("read", "old") or isinstance(target, Plain)
        if not gone and not self.is_between(op, error) and not (error == errno.EEXIST and op["how"] == "excl"):
            raise Found("name" if error == errno.ENOENT else "failed without cause", f"{op}: errno {error}; {self.sentence()}")

    def op_dup(self, op):
        o = self.opens.get(op["key"])
        if o is not None and op["new"] not in self.opens and self.call(o.process, ["dup", op["key"], op["new"]])[0][0] == 0:
            o.keys.add(op["new"])
            self.opens[op["new"]] = o

    def op_lines(self, op):
        o = self.opens.get(op["key"])
        if o is None or not o.writes or not isinstance(o.target, (Slice, Ingest)):
            return
        self.classes.update((n, c) for n, c in op["lines"])
        data = self.data_of(o, op)
        self.write(op, o, data, op.get("pieces") or len(data) or 1)

    def data_of(self, o, op):
        if isinstance(o.target, Slice):
            return o.target.compose(o, op["lines"], op.get("cut"))
        o.target.marks.update(n for n, _ in op["lines"])
        form = o.target.form
        text = b"".join(records.line(form, o.w, n, records.json_class(c) if form == "jsonl" else c) for n, c in op["lines"])
        if op.get("cut") and text:
            text = text[:-min(op["cut"], len(text) - 1)]
        if not o.target.gz:
            return text
        return o.target.packed(text, op.get("member"))

    def write(self, op, o, data, pieces):
        if not data:
            return
        key = op["key"]
        calls = [["write", key, data[i:i + pieces].decode("latin-1")] for i in range(0, len(data), pieces)]
        for answer in self.call(o.process, *calls):
            self.same(op, answer)
            if answer[0] == errno.EINVAL and isinstance(o.target, Slice) and not o.appends:
                o.target.refused_write(o)  # its offset is not the end any more
            elif answer[0] and not (o.model and o.model.tainted):
                raise Found("write failed", f"{op}: errno {answer[0]}; {self.sentence()}")
        self.wrote(o)

    def wrote(self, o):
        o.dirty = True
        if isinstance(o.target, Ingest):
            o.target.changed()
        self.judge_now(o)

    def op_rest(self, op):
        self.op_lines({**op, "lines": []})

    def op_bytes(self, op):
        """Plain bytes at an offset (or, None, where the descriptor stands) of a plain file or a column."""
        o = self.opens.get(op["key"])
        if o is None or not o.writes or isinstance(o.target, (Slice, Table)) or o.view in ("row.json", "meta.json"):
            return
        if isinstance(o.target, Ingest) and o.target.gz:
            return
        data = op["data"] * op.get("times", 1)
        name = ["write", op["key"], data] if op["at"] is None or o.appends else ["pwrite", op["key"], data, op["at"]]
        answer = self.call(o.process, name)[0]
        self.same(op, answer)
        if answer[0]:
            raise Found("write failed", f"{op}: errno {answer[0]}; {self.sentence()}")
        o.appended += data.encode("latin-1")
        self.wrote(o)

    def op_text(self, op):
        """A document's text, written from offset 0."""
        o = self.opens.get(op["key"])
        if o is None or not o.writes or o.appends or not isinstance(o.target, (Parent, Table)) or o.view == "note.txt":
            return
        data, step = op["text"].encode().decode("latin-1"), op.get("pieces") or 10**6
        if not data:
            return  # nothing is written
        calls = [["pwrite", op["key"], data[i:i + step], i] for i in range(0, len(data), step)]
        for answer in self.call(o.process, *calls):
            if answer[0]:
                raise Found("write failed", f"{op}: errno {answer[0]}; {self.sentence()}")
        o.dirty, o.from_start, o.last_text, o.passes = True, len(data), len(data), o.passes + 1

    def op_cuttext(self, op):
        """ftruncate to the length of the document that was written last."""
        o = self.opens.get(op["key"])
        if o is not None and o.last_text and o.writes:
            self.ftruncate(op, o, o.last_text)

    def op_ftruncate(self, op):
        o = self.opens.get(op["key"])
        if o is not None and o.writes:
            self.ftruncate(op, o, op["size"])

    def ftruncate(self, op, o, size):
        if isinstance(o.target, Slice) and size != 0:
            if size != "same" or not o.model.wrote:
                return
            size = "end"  # for a writer, the file ends where its last write ended; stat says what is committed (4.12, 4.14)
        if isinstance(o.target, Ingest) and o.target.gz and size != 0:
            return
        if isinstance(o.target, (Parent, Table)) and size == "same" and len(self.opens_of(o.target)) > 1:
            return  # stat says what was changed last, through any open file (14.4)
        seek = [["seek", op["key"], 0]] if isinstance(o.target, Slice) and size == 0 and not o.appends else []  # what follows leaves no gap
        answer = self.call(o.process, *seek, ["ftruncate", op["key"], size])[-1]
        if isinstance(o.target, Plain):
            self.same(op, answer)
        if answer[0]:
            # A rows file shows its size when lines are committed: what its writer takes for "the same" may be another length.
            if not (o.tainted or o.model and o.model.tainted or isinstance(o.target, Slice) and size == "end"):
                raise Found("failed without cause", f"{op}: errno {answer[0]}; {self.sentence()}")
            return
        if isinstance(o.target, Slice) and size == 0:
            o.target.truncated(o)
        elif isinstance(o.target, Ingest) and size != "same":
            o.dirty = True
            if size == 0:
                o.target.emptied()
            else:
                o.target.changed()
        elif isinstance(o.target, (Parent, Table)) and size != "same":
            o.cut, o.dirty = True, o.dirty and size > 0
            if o.view == "note.txt" and o.appends:
                o.tainted = o.recut = True
            o.from_start, o.passes = min(o.from_start, size), 0
        self.judge_now(o)

    def op_truncate(self, op):
        target, view = self.target(op["path"])
        if isinstance(target, (Parent, Table)) or isinstance(target, Ingest) and self.opens_of(target):
            return
        if not self.exists(op["path"]):
            return
        answer = self.call(op["p"], ["truncate", [op["path"], target.twin if isinstance(target, Plain) else None], 0])[0]
        self.same(op, answer)
        if self.is_between(op, answer[0]):
            return
        if answer[0]:
            raise Found("failed without cause", f"{op}: errno {answer[0]}; {self.sentence()}")
        if isinstance(target, Slice):
            target.truncated_by_path(op["path"])
        elif isinstance(target, Ingest):
            target.emptied()
            target.was = target.read()
            target.views = [target.was]
        self.judge_now(target)

    def op_read(self, op):
        o = self.opens.get(op["key"])
        if o is None or not isinstance(o.target, Plain) or o.appends or o.how == "end":
            return
        for answer in self.call(o.process, ["size", op["key"]], ["pread", op["key"], 1 << 20, op.get("at", 0)]):
            self.same(op, answer)

    # -- acknowledgements --------------------------------------------------------------------------------------------------------------------

    def op_fsync(self, op):
        self.acknowledge(op, "fsync")

    def op_flush(self, op):
        self.acknowledge(op, "flush")

    def op_close(self, op):
        self.acknowledge(op, "close")

    def acknowledge(self, op, call):
        o = self.opens.get(op["key"])
        if o is None:
            return
        last = call == "close" and o.keys == {op["key"]}
        if last and op.get("member") and isinstance(o.target, Ingest) and o.target.packer is not None and o.writes:
            self.op_lines({"do": "lines", "key": op["key"], "lines": [], "member": True})
        answer = self.call(o.process, [call, op["key"]])[0]
        if type(o.target) not in (Plain, Orphan):
            self.told_why(op, answer[0], o)
        if call == "close":
            o.keys.discard(op["key"])
            del self.opens[op["key"]]
        self.acknowledged_by(o, answer[0], call, last)

    def acknowledged_by(self, o, error, call, last):
        if isinstance(o.target, Ingest) and (call == "fsync" or o.target.bytes()):  # a truncation alone comes moments after close (1.2)
            self.refresh_acked(o.target)
        if type(o.target) in (Plain, Orphan):
            if error:
                raise Found("failed without cause", f"{call} of {o.path}: errno {error}")
        elif o.writes or error:
            o.target.acknowledged(o, error, call, last)
        o.again = error if isinstance(o.target, Slice) and call != "fsync" and error not in records.BAD_INPUT else 0
        self.judge_now(o)

    @staticmethod
    def refresh_acked(target):
        target.acked_bytes, target.versions = target.bytes() or b"", []

    # -- names ------------------------------------------------------------------------------------------------------------------------------

    def op_mkdir(self, op):
        target, view = self.target(op["path"])
        if not isinstance(target, Parent) or view:
            return
        error = self.call(op["p"], ["mkdir", [op["path"], None]])[0][0]
        target.made(error)
        if not error:
            self.slices[f"{op['path']}/kids"].exists = True

    def op_unlink(self, op):
        target, view = self.target(op["path"])
        if isinstance(target, Ingest) and (self.opens_of(target) or target.loose):
            return
        answer = self.call(op["p"], ["unlink", [op["path"], target.twin if isinstance(target, Plain) else None]])[0]
        error = answer[0]
        if isinstance(target, Plain):
            self.same(op, answer)
        elif self.is_between(op, error, unlinks=True):
            return
        self.told_why(op, error)
        if isinstance(target, Slice):
            if error and target.exists and not view and not op["path"].startswith("g/"):
                raise Found("failed without cause", f"{op}: errno {error}; {self.sentence()}")
            if not error:
                if not target.certain():  # else it is seen to be committed: until_judged waits until the rows are gone
                    self.pending[op["path"]] = time.monotonic() + BETWEEN
                target.removed()
                target.exists = not op["path"].startswith("g/")
        elif isinstance(target, Parent) and view != "row.json":
            target.column_removed(view, error)
        elif isinstance(target, (Parent, Table)):
            target.removed(error, "unlink")
            if not error:
                self.row_is_gone(target)
        elif isinstance(target, Ingest) and not error:
            target.leave()
            del self.files[op["path"]]
        if not isinstance(target, Plain) and not error:
            self.between[op["path"]] = self.world.workers[op["p"]], time.monotonic() + BETWEEN
            self.until_judged(target)

    def is_between(self, op, error, unlinks=False):
        """The name was removed just now. The process that removed it does not find it; all others see it as it was, but cannot unlink it (1.11)."""
        process, until = self.between.get(op["path"], (None, 0))
        return error == errno.ENOENT and time.monotonic() < until and (unlinks or process is self.world.workers[op["p"]])

    def row_is_gone(self, target):
        for o in self.opens_of(target):
            o.tainted = True
        kids = self.slices.get(f"{target.path}/kids")
        if kids is not None:
            kids.removed()

    def op_rename(self, op):
        """Between plain names, and between ingest files of one table that nobody has open."""
        a, b = self.target(op["a"])[0], self.target(op["b"])[0]
        plain = type(a) is Plain and type(b) is Plain
        ingest = isinstance(a, Ingest) and isinstance(b, Ingest) and a.pool is b.pool and a.form == b.form and a is not b
        if not plain and type(a) in (Plain, Ingest) and type(b) in (Plain, Ingest) and type(a) is not type(b):
            return self.to_another_kind(op, a, b)
        if not plain and not (ingest and not self.opens_of(b) and not a.loose and not b.loose and self.exists(op["a"])):
            return
        if not all(self.exists(os.path.dirname(path)) for path in (op["a"], op["b"])):
            return  # the twin has no directories
        answer = self.call(op["p"], ["rename", [op["a"], a.twin], [op["b"], b.twin]])[0]
        self.same(op, answer)
        if answer[0] or a is b:
            return
        if ingest:
            if b.keep:
                b.leave()
            self.files[op["b"]] = a.moved(op["b"])
            del self.files[op["a"]]
        else:
            # The models of plain files are their names alone; who has a or b open goes on with that file.
            for o in [*self.opens_of(a), *self.opens_of(b)]:
                o.target = Orphan(self, o.target)
        self.judge_now(self.target(op["b"])[0])

    def to_another_kind(self, op, a, b):
        """A plain file to a name whose lines are rows, or the other way (6.15)."""
        busy = [*self.opens_of(a), *self.opens_of(b)]
        if busy or not self.exists(op["a"]) or (b if type(b) is Ingest else a).gz or any(getattr(f, "loose", False) for f in (a, b)):
            return None
        answer = self.call(op["p"], ["rename", [op["a"], a.twin], [op["b"], b.twin]])[0]
        self.same(op, answer)
        if answer[0]:
            raise Found("failed without cause", f"{op}: errno {answer[0]}; {self.sentence()}")
        del self.files[op["a"]]
        if type(a) is Ingest:  # its rows stay, and are no file's any more
            a.leave()
            self.files[op["b"]] = Plain(self, op["b"])
        else:
            if b.keep:
                b.leave()
            self.files[op["b"]] = b.taken()
        return self.judge_now(self.files[op["b"]])

    def op_restart_identity(self, op):
        """Somebody empties the table, and inserts rows of others, which get the ids that a file's rows had (6.18)."""
        target = self.target(op["path"])[0]
        if not isinstance(target, Ingest) or any(self.opens_of(f) or f.loose for f in target.pool.files()):
            return
        pool = target.pool
        self.world.sql(f"truncate {pool.table} restart identity")
        self.world.sql(f"insert into {pool.table} (w, n, memo) values " + ", ".join(f"(0, {n}, 't{n} {c}')" for n, c in op["lines"]))
        for f in pool.files():
            pool.guess |= {row.n for row in f.was.rows}
        pool.kept.clear()
        pool.kept.update(records.Row(0, n, f"t{n} {c}") for n, c in op["lines"])

    def op_edit(self, op):
        """An editor that reads a rows file, and writes it back in place without one of its lines (4.12). Nobody else has it open."""
        target, path = self.target(op["path"])[0], op["path"]
        if not isinstance(target, Slice) or self.opens_of(target) or not self.exists(path) or self.rests(target):
            return
        form = "jsonl" if path.endswith(".jsonl") else "csv"
        lines = records.split(form, self.world.slurp(path)[1])
        head = 1 if form == "csv" else 0
        if len(lines) <= head:
            return
        gone = lines.pop(head + op["leave_out"] % (len(lines) - head))
        text = b"".join(lines)
        calls = [["open", "tmp", [path, None], "old"], ["pwrite", "tmp", text.decode("latin-1"), 0], ["ftruncate", "tmp", len(text)],
                 *([["fsync", "tmp"]] if op.get("sync") else []), ["close", "tmp"]]
        answers = self.call(op["p"], *calls)
        if len(answers) == 1 and self.is_between(op, answers[0][0]):
            return
        if answers[-1][0] and len(lines) > head:
            raise Found("failed without cause", f"{op}: {calls[len(answers) - 1][0]} said errno {answers[-1][0]}; {self.sentence()}")
        target.edited(records.number_of(form, gone), len(lines) > head)
        self.until_judged(target)

    def op_rotate(self, op):
        """A log is rotated (8.7): its lines become a plain file, and their rows go. Nobody has it open."""
        target, path = self.target(op["path"])[0], op["path"]
        if not isinstance(target, Slice) or self.opens_of(target) or not self.exists(path) or self.rests(target):
            return
        if path.startswith("p/") and None in self.parents[path.split("/")[1]].alts:
            return
        text = self.world.slurp(path)[1] if target.rows() else b""  # a file that is made and has no lines is empty
        error = self.call(op["p"], ["rename", [path, None], [path + ".1", None]])[0][0]
        if self.is_between(op, error, unlinks=True):
            return
        if error:
            raise Found("failed without cause", f"{op}: errno {error}; {self.sentence()}")
        moved = self.world.slurp(path + ".1")[1]
        if text and moved != text:
            raise Found("bytes lost", f"{path}.1 has {len(moved)} bytes {moved[-60:]!r}, {path} had {len(text)}: {text[-60:]!r}")
        self.call(op["p"], ["unlink", [path + ".1", None]])
        target.gone()
        target.exists = not path.startswith("g/")
        self.until_judged(target)

    def rests(self, target):
        """Something may still be committed moments after the last close."""
        return time.monotonic() < getattr(target, "rests_at", 0.0)

    def content(self, op, target, view):
        """What a replacement writes: lines or a text. None: nothing that PATH could be."""
        if isinstance(target, Slice) and "lines" in op:
            form = "jsonl" if op["path"].endswith(".jsonl") else "csv"
            head = b"w,n,memo\n" if op.get("head") and form == "csv" else b""
            return head + b"".join(records.line(form, op["w"], n, records.json_class(c) if form == "jsonl" else c) for n, c in op["lines"])
        if isinstance(target, (Parent, Table)) and view != "" and "text" in op:
            return op["text"].encode()
        return None

    def op_save(self, op):
        """A temporary file, written and renamed onto the name."""
        self.replace_by(op, lambda path, temporary, data: [
            ["open", "tmp", [temporary, None], "trunc"], ["write", "tmp", data], *([["fsync", "tmp"]] if op.get("sync") else []),
            ["close", "tmp"], ["rename", [temporary, None], [path, None]]])

    def op_replace(self, op):
        """mv from another disk, tar x: unlink, create exclusively, write, close."""
        self.replace_by(op, lambda path, temporary, data: [
            ["unlink", [path, None]], ["open", "tmp", [path, None], "excl"], ["write", "tmp", data], ["close", "tmp"]])

    def replace_by(self, op, calls):
        path = op["path"]
        target, view = self.target(path)
        data = self.content(op, target, view)
        if not data or not self.exists(path):  # a file that is made and not written is told of later (1.2)
            return
        if path.startswith("p/") and None in self.parents[path.split("/")[1]].alts:
            return  # no row, which what is below it needs (4.9): the directory may be that of a plain file
        calls = calls(path, path + ".tmp~", data.decode("latin-1"))
        answers = self.call(op["p"], *calls)
        error, at = answers[-1][0], calls[len(answers) - 1][0]
        in_time = op["do"] == "save" or len(answers) > 1 and answers[1][2] < 40
        if at == "unlink" and self.is_between(op, error, unlinks=True):
            return
        if at not in ("rename", "close") and not (op["do"] == "replace" and at == "open" and not in_time):
            raise Found("failed without cause", f"{op}: {at} said errno {error}; {self.sentence()}")
        self.told_why(op, error)
        if op["do"] == "save" and error:
            self.call(op["p"], ["unlink", [path + ".tmp~", None]])
        self.replaced(op, target, view, data, error, in_time)

    def replaced(self, op, target, view, data, error, in_time):
        if isinstance(target, Slice):
            form = "jsonl" if op["path"].endswith(".jsonl") else "csv"
            lines = [[n, "stray" if form == "jsonl" and c == "open" else c] for n, c in op["lines"]]
            self.classes.update((n, c) for n, c in lines)
            target.replaced(lines, form, op["w"], error, in_time)
        else:
            if not in_time and op["do"] == "replace":
                kids = self.slices.get(f"{target.path}/kids")
                target.alts = [*target.alts, *([None] if isinstance(target, Parent) else [{}])]
                for line in kids.lines.values() if kids else ():
                    line.state = "free" if line.state in ("in", "waits") else line.state
            for o in self.opens_of(target):
                o.tainted = True
            target.put(Open("tmp", op["p"], op["path"], target, "trunc", view), data, error, op["do"])
        self.until_judged(target)

    # -- ends ------------------------------------------------------------------------------------------------------------------------------------

    def op_die(self, op):
        """A program is killed behind a write, in the middle of a line if it is so cut; or (amid) while it writes: then nobody knows."""
        o = self.opens.get(op["key"])
        if o is None or not o.writes or not isinstance(o.target, (Slice, Ingest)):
            return
        self.classes.update((n, c) for n, c in op["lines"])
        amid = op.get("amid") and isinstance(o.target, Slice)
        before = len(o.model.lines) if amid else 0
        data = self.data_of(o, op)
        calls = [["write", op["key"], data.decode("latin-1")], ["die"]]
        self.world.workers[o.process].send(calls[:1] if amid else calls)
        if amid:
            for line in o.model.lines[before:]:
                line.state = "free"
            self.world.workers[o.process].kill()
        self.bury(o.process, reaped=bool(amid))

    def op_kill(self, op):
        self.world.workers[op["p"]].kill()
        self.bury(op["p"], reaped=True)

    def bury(self, process, reaped=False):
        if not reaped:
            self.world.workers[process].reap()
        self.world.restart_worker(process)
        dead = {o for o in self.opens.values() if o.process == process}
        for o in dead:
            if isinstance(o.target, Ingest):
                o.dirty = True
                if o.writes:
                    o.target.changed()
        for o in dead:
            if hasattr(o.target, "killed"):
                o.target.killed(o)
        self.opens = {k: o for k, o in self.opens.items() if o not in dead}

    def op_crash(self, op):
        self.world.crash()
        for t in [*self.slices.values(), *self.parents.values(), *self.tables.values()]:
            t.crashed()
        for f in list(self.files.values()):
            if isinstance(f, Ingest):
                f.crashed()
        self.opens = {}
        self.told = b""

    def op_pause(self, op):
        """Longer than flush_interval: what rowfs commits by itself is committed."""
        time.sleep(1.5 * FLUSH_INTERVAL)

    def op_settle(self, op):
        """All programs close what they have; then everything must be right, and every file shows its table."""
        for key in list(self.opens):
            self.acknowledge({"do": "close", "key": key, "member": True}, "close")
        self.judge()

    def until_judged(self, target):
        """TARGET is right within the time that the promise gives."""
        end = time.monotonic() + self.patience
        while wrong := self.wrong_with(target):
            if time.monotonic() > end:
                raise Found(*wrong)
            time.sleep(0.02)

    def wrong_with(self, target):
        try:
            return target.judge()
        except FileNotFoundError as e:  # whatever was to be read exists: a name that exists is never ENOENT, not for a moment (8.4)
            raise Found("name", str(e)) from None
        except (OSError, ValueError) as e:
            return "file cannot be read", f"{target.__class__.__name__} {getattr(target, 'path', getattr(target, 'table', ''))}: {e!r}"

    def judge(self, files=True):
        everything = [*self.slices.values(), *self.pools.values(), *(self.files.values() if files else ())]
        if files:
            everything += [*self.parents.values(), *self.tables.values()]
        for target in everything:
            self.until_judged(target)
        if files:
            for path, s in self.slices.items():
                for shown in [path] if not path.endswith("/kids") else [f"{path}.csv", f"{path}.jsonl"]:
                    self.until_judged(Shown(self, s, shown))


class Orphan(Plain):
    """A plain file whose name went to another one: only the answers of calls on its descriptors are compared."""

    def __init__(self, play, plain):
        super().__init__(play, plain.path)

    def judge(self):
        return None


class Shown:
    """A file of a slice, to be compared with its table."""

    def __init__(self, play, s, path):
        self.play, self.slice, self.path = play, s, path

    def judge(self):
        parent = self.path.split("/")[1] if self.path.startswith("p/") else None
        if parent and self.play.parents[parent].have() is None or self.path.startswith("g/") and not self.slice.rows():
            return None
        try:
            return self.slice.judge_file(self.path, "jsonl" if self.path.endswith(".jsonl") else "csv")
        except FileNotFoundError:
            if self.path.startswith("g/") and not self.slice.rows():
                return None  # it went with its last line (4.4), as of a truncation that is committed moments after close (1.2)
            raise
