"""Random worlds and random lists of operations. A list is made of episodes: some twenty operations on files of one or two kinds, at whose end
everything is closed and judged."""
import json

import records

KINDS = ["rows", "jsonl", "group", "child", "ingest", "gz", "document", "table", "column", "plain"]
PATHS = {
    "rows": ["log.csv"], "jsonl": ["log.jsonl"], "group": ["g/x.csv", "g/y.csv"], "child": ["p/a/kids.csv", "p/a/kids.jsonl", "p/b/kids.csv"],
    "ingest": ["in/a.csv", "in/b.csv", "in/a.csv.1", "in/c.jsonl"], "gz": ["gz/a.csv.gz", "gz/b.csv.gz"],
    "document": ["p/a/row.json", "p/b/row.json"], "table": ["list.json", "settings.json"], "column": ["p/a/note.txt", "p/b/meta.json", "p/b/note.txt"],
    "plain": ["plain-a", "plain-b", "p/a/plain~"],
}
LINES = ["rows", "jsonl", "group", "child"]
PROCESSES = 3


def world(rng, classes=None):
    """What the database and the mount are like. Most worlds are ordinary in most respects."""
    out = {"trigger": rng.random() < 0.7, "policy": rng.random() < 0.15, "isolation": None, "encoding": "UTF8", "options": {}}
    if rng.random() < 0.25:
        out["isolation"] = rng.choice(["database serializable", "database repeatable read", "option serializable", "option repeatable read"])
    if rng.random() < 0.08:
        out["encoding"] = "LATIN1"
    if rng.random() < 0.4:
        out["options"]["batch_size"] = rng.choice([3, 10, 40])
    if rng.random() < 0.1:
        out["options"]["bad_lines"] = "report"
    if rng.random() < 0.2:
        out["options"]["coherence"] = rng.choice(["none", "ttl=0"])
    out["reader"] = rng.random() < 0.3
    return out


class Generator:
    def __init__(self, rng, kinds=None, classes=None):
        self.rng, self.kinds, self.only = rng, kinds or KINDS, classes
        self.next_line, self.next_key, self.ops, self.made = 0, 0, [], set()

    def add(self, do, **words):
        self.ops.append({"do": do, **words})

    def episodes(self, n):
        for _ in range(n):
            self.episode()
        return self.ops

    def episode(self):
        rng = self.rng
        kinds = rng.sample(self.kinds, min(len(self.kinds), rng.choice([1, 1, 2, 3])))
        self.paths = [p for k in kinds for p in rng.sample(PATHS[k], min(len(PATHS[k]), rng.choice([1, 2, 3])))]
        self.classes = self.some_classes()
        self.many = rng.random() < 0.1
        self.kills = rng.random() < 0.3
        self.open = {}
        for path in self.paths:
            if path.startswith("p/") and (path[:3] not in self.made or rng.random() < 0.3):
                self.made.add(path[:3])
                self.add("mkdir", p=rng.randrange(PROCESSES), path=path[:3])
        for _ in range(rng.randrange(6, 24)):
            self.one()
        if rng.random() < 0.04:
            self.add("crash")
        if rng.random() < 0.2:
            self.add("pause")
        self.add("settle")

    def some_classes(self):
        """What the lines of an episode are like. A refused line hides what rowfs makes of the others of its batch, so some episodes have none."""
        rng, choice = self.rng, self.rng.random()
        if not self.only and choice < 0.2:
            return ["good"] * 3 + ["skip"] * 3 + ["change"]
        if not self.only and choice < 0.35:
            return ["good"] * 4 + ["open", "open", "multi"]
        classes = ["good"] * 4 + rng.sample(self.only or records.ALL, min(len(self.only or records.ALL), rng.choice([0, 1, 1, 2, 3]))) * 2
        return classes + ["open", "skip", "custom"] if not self.only and choice < 0.6 else classes

    def one(self):
        rng = self.rng
        path = rng.choice(self.paths)
        mine = [k for k, p in self.open.items() if p == path]
        if not mine or rng.random() < (0.25 if path in PATHS["plain"] else 0.12) and len(mine) < 3:
            return self.start(path)
        key = rng.choice(mine)
        for kind, paths in PATHS.items():
            if path in paths:
                return getattr(self, f"one_{kind}", self.one_lines)(path, key)
        return None

    def start(self, path):
        """Opens PATH, or does something to it as a whole."""
        rng, kind = self.rng, next(k for k, v in PATHS.items() if path in v)
        p = rng.randrange(PROCESSES)
        if rng.random() < 0.25 and kind != "plain":
            return self.whole(path, kind, p)
        key = f"k{self.next_key}"
        self.next_key += 1
        how = {"rows": ["append"] * 6 + ["end", "trunc"], "ingest": ["append"] * 5 + ["end", "trunc", "rw"], "gz": ["append"] * 5 + ["trunc"],
               "document": ["old"] * 3 + ["rw", "trunc"], "column": ["old", "rw", "append", "trunc"], "plain": ["rw"] * 3 + ["append", "trunc", "read", "end"],
               "table": ["old"] * 3 + ["trunc"]}.get(kind) or ["append"] * 6 + ["end", "trunc"]
        self.open[key] = path
        self.add("open", p=p, key=key, path=path, how=rng.choice(how), w=self.next_key)
        return None

    def whole(self, path, kind, p):
        do = self.rng.choice(["save", "save", "replace", "replace", "unlink", "truncate"] if kind not in ("document", "table") else
                             ["save", "save", "replace", "replace", "unlink"])
        words = {}
        if kind in LINES and self.rng.random() < 0.25:
            return self.add("edit", p=p, path=path, leave_out=self.rng.randrange(5), sync=self.rng.random() < 0.5)
        if kind in LINES and self.rng.random() < 0.1:
            return self.add("rotate", p=p, path=path)
        if kind in ("ingest", "gz") and self.rng.random() < 0.1:
            self.next_line += 2
            return self.add("restart_identity", path=path, lines=[[self.next_line - 1, "good"], [self.next_line, "good"]])
        if kind in ("document", "table", "column"):
            words["text"] = self.text(path)
        else:
            words["lines"], words["w"], words["head"] = self.lines(), 0, self.rng.random() < 0.3
        if kind in ("ingest", "gz") and do in ("save", "replace"):
            do = "rename"
            words = {"a": path, "b": self.rng.choice(PATHS[kind] + ["plain-a"] * (kind == "ingest"))}
        elif kind == "plain" and self.rng.random() < 0.2:
            do, words = "rename", {"a": path, "b": self.rng.choice(PATHS["ingest"])}
        self.add(do, p=p, path=path, **words)

    def lines(self):
        rng, out = self.rng, []
        for _ in range(rng.randrange(60, 200) if self.many else rng.choice([1, 1, 2, 3, 5])):
            self.next_line += 1
            out.append([self.next_line, rng.choice(self.classes)])
        return out

    def one_lines(self, path, key):
        rng, x = self.rng, self.rng.random()
        if x < 0.5:
            words = {"lines": self.lines()}
            if rng.random() < 0.25:
                words["cut"] = rng.choice([1, 1, 3, 8])
            if rng.random() < 0.3:
                words["pieces"] = rng.choice([1, 7, 40])
            if path.endswith(".gz") and rng.random() < 0.3:
                words["member"] = True
            self.add("lines", key=key, **words)
        elif x < 0.6:
            self.add("fsync", key=key)
        elif x < 0.64:
            self.add("flush", key=key)
        elif x < 0.72:
            self.add("close", key=key, member=rng.random() < 0.7)
            self.open.pop(key)
        elif x < 0.76:
            self.dup(key)
        elif x < 0.84:
            self.add("ftruncate", key=key, size=rng.choice([0, 0, "same"]) if not path.startswith("in/") else rng.choice([0, "same", 7, 30]))
        elif x < 0.88:
            self.add("rest", key=key)
        elif x < 0.90:
            self.add("truncate", p=rng.randrange(PROCESSES), path=path)
        elif x < 0.93 and path.startswith("in/"):
            self.add("bytes", key=key, data="9", at=rng.choice([None, 0, 4, 20]))
        elif x < 0.95:
            self.add("pause")
        elif x < 0.98 and self.kills:
            self.add("die", key=key, lines=self.lines()[:2], cut=rng.choice([0, 1, 5]), amid=rng.random() < 0.3)
            self.open.pop(key)
        else:
            self.whole(path, next(k for k, v in PATHS.items() if path in v), rng.randrange(PROCESSES))

    def dup(self, key):
        new = f"k{self.next_key}"
        self.next_key += 1
        self.open[new] = self.open[key]
        self.add("dup", key=key, new=new)

    def title(self):
        return " ".join(self.rng.choice(["ab", "x", "long " * self.rng.randrange(1, 9)]) for _ in range(2)) + \
            self.rng.choice([""] * 5 + [" change", " raise", " custom", " nofun"])

    def text(self, path):
        rng = self.rng
        if path.endswith("row.json"):
            value = {}
            if rng.random() < 0.8:
                value["title"] = self.title()
            if rng.random() < 0.6:
                value["qty"] = rng.choice([0, 1, 7, 12345, -1, 1.5])
            if rng.random() < 0.05:
                value["nobody"] = 1
        elif path == "list.json":
            value = [{"id": i, "title": self.title()} for i in sorted(rng.sample(range(8), rng.randrange(5)))]
            if value and rng.random() < 0.1:
                value.append(value[0])
        elif path == "settings.json":
            value = {k: {"v": rng.randrange(99), "memo": rng.choice([None, "m"])} for k in rng.sample("abcdef", rng.randrange(5))}
        elif path.endswith("meta.json"):
            value = {"a": [rng.randrange(9)] * rng.randrange(9), "b": {"c": None}}
        else:
            return "x" * rng.randrange(30) + "\n"
        text = json.dumps(value, indent=rng.choice([None, 2])) + rng.choice(["", "\n"])
        return text if rng.random() > 0.06 else text[:-2]

    def one_document(self, path, key):
        rng, x = self.rng, self.rng.random()
        if x < 0.4:
            self.add("text", key=key, text=self.text(path), **({"pieces": rng.choice([1, 9])} if rng.random() < 0.2 else {}))
        elif x < 0.58:
            self.add("fsync", key=key)
        elif x < 0.62:
            self.add("flush", key=key)
        elif x < 0.76:
            self.add("cuttext", key=key)
        elif x < 0.9:
            self.add("close", key=key)
            self.open.pop(key)
        elif x < 0.92:
            self.dup(key)
        elif x < 0.94 and self.kills:
            self.add("kill", p=rng.randrange(PROCESSES))
        else:
            self.whole(path, next(k for k, v in PATHS.items() if path in v), rng.randrange(PROCESSES))

    one_table = one_document

    def one_column(self, path, key):
        if path.endswith(".json") or self.rng.random() < 0.5:
            return self.one_document(path, key)
        if self.rng.random() < 0.3:
            self.add("ftruncate", key=key, size=self.rng.choice([0, "same", 5]))
        else:
            self.add("bytes", key=key, data=self.rng.choice(["x", "yz\n", "some words "]), at=self.rng.choice([None, None, 0, 3]))
        return None

    def one_plain(self, path, key):
        rng, x = self.rng, self.rng.random()
        if x < 0.45:
            self.add("bytes", key=key, data="".join(rng.choice("abcdef") for _ in range(5)), times=rng.choice([1, 2, 9, 1000]),
                     at=rng.choice([None, None, 0, 10, 90, 4096]))
        elif x < 0.6:
            self.add("read", key=key, at=rng.choice([0, 0, 40]))
        elif x < 0.7:
            self.add("ftruncate", key=key, size=rng.choice([0, "same", 3, 50, 6000]))
        elif x < 0.75:
            self.add("fsync", key=key)
        elif x < 0.83:
            self.add("close", key=key)
            self.open.pop(key)
        elif x < 0.86:
            self.dup(key)
        elif x < 0.9:
            self.add("truncate", p=rng.randrange(PROCESSES), path=path)
        elif x < 0.94:
            self.add("rename", p=rng.randrange(PROCESSES), a=path, b=rng.choice(PATHS["plain"] * 3 + PATHS["ingest"]))
        elif x < 0.97:
            self.add("unlink", p=rng.randrange(PROCESSES), path=path)
        elif self.kills:
            self.add("kill", p=rng.randrange(PROCESSES))
