"""Random operations against a model: a Python dict that does what the mount should do; rows and files are compared after each.

ROWFS_SEED=N repeats a run; the seed is printed."""
import errno
import json
import os
import random

import pytest

from kit import append, get, put, rm

OPERATIONS = 200
KEYS = ["bolt", "nut", "a b", "sl/ash", "per%CEnt", "日本", "quote'", "..", "-x"]
NAMES = {"sl/ash": "sl%2Fash", "per%CEnt": "per%25CEnt", "..": "%2E%2E"}


class Model:
    """items: name → {qty, note, code, meta}; parts: list of (item, label); flat: id → title; plain: path → bytes."""

    def __init__(self, shop, rng):
        self.shop, self.rng = shop, rng
        self.items, self.parts, self.flat, self.plain, self.log = {}, [], {}, {}, []
        self.made = set()  # flat rows whose document this process has made: a rename onto another row replaces it (SEMANTICS 8.6)

    # -- helpers ---------------------------------------------------------------------------------------------------------

    def at(self, key, name=""):
        return self.shop.m.at(f"items/{NAMES.get(key, key)}" + (f"/{name}" if name else ""))

    def try_it(self, action, *numbers):
        """Runs ACTION; NUMBERS are the errnos that the model expects, none for success."""
        try:
            action()
        except OSError as e:
            assert e.errno in numbers, f"expected {[errno.errorcode[n] for n in numbers] or 'success'}, got {e}"
            return False
        assert not numbers, f"expected {[errno.errorcode[n] for n in numbers]}, but it succeeded"
        return True

    def remove_from_nothing(self, action):
        """Unlinking in a directory whose row is gone succeeds where a listing had named the file (rm -r relies on it), else ENOENT."""
        try:
            action()
        except FileNotFoundError:
            pass

    def pick(self):
        return self.rng.choice(KEYS)

    def text(self):
        return "".join(self.rng.choice("ab é\n\"\\日🙂,") for _ in range(self.rng.randrange(1, 40)))

    # -- operations: each changes the mount and the model ------------------------------------------------------------------------

    def op_mkdir(self):
        k = self.pick()
        if self.try_it(lambda: os.mkdir(self.at(k)), *([errno.EEXIST] if k in self.items else [])):
            self.items[k] = {"qty": 0, "note": None, "code": None, "meta": {}}

    def op_rmdir(self):
        k = self.pick()
        full = any(p[0] == k for p in self.parts) or any(path.startswith(f"{k}/") for path in self.plain)
        if k not in self.items:
            self.remove_from_nothing(lambda: os.rmdir(self.at(k)))
        elif self.try_it(lambda: os.rmdir(self.at(k)), *([errno.ENOTEMPTY] if full else [])):
            del self.items[k]

    def op_unlink_document(self):
        k = self.pick()
        if any(path.startswith(f"{k}/") for path in self.plain):
            return
        if k not in self.items:
            self.remove_from_nothing(lambda: os.unlink(self.at(k, "item.json")))
        elif self.try_it(lambda: rm(self.at(k, "item.json"))):
            del self.items[k]
            self.parts = [p for p in self.parts if p[0] != k]

    def op_write_document(self):
        k, new = self.pick(), {}
        if self.rng.random() < 0.7:
            new["qty"] = self.rng.randrange(-2, 50)
        if self.rng.random() < 0.5:
            new["note"] = self.rng.choice([None, self.text()])
        if self.rng.random() < 0.3:
            new["code"] = self.rng.choice([None, "c1", "c2", "c3", "toolong"])
        if self.rng.random() < 0.3:
            new["meta"] = self.rng.choice([{}, {"a": [1, None, {"é": 2.5}]}, [1], "s", None])
        body = json.dumps(new, ensure_ascii=self.rng.random() < 0.5)
        wanted = []
        if k not in self.items:
            wanted = [errno.ENOENT]
        else:
            if new.get("code") == "toolong":
                wanted.append(errno.EFBIG)
            if new.get("qty", 0) < 0:
                wanted.append(errno.EINVAL)
            if not wanted and new.get("code") and any(v["code"] == new["code"] for o, v in self.items.items() if o != k):
                wanted.append(errno.EEXIST)
        if self.rng.random() < 0.5:
            done = self.try_it(lambda: put(self.at(k, "item.json"), body, chunk=self.rng.choice([None, 5])), *wanted)
        else:
            done = self.by_rename(k, "item.json", body, wanted)
        if done:
            self.items[k].update(new)

    def by_rename(self, k, name, body, wanted):
        tmp = self.shop.m.at("tmpfile")
        put(tmp, body)
        done = self.try_it(lambda: os.replace(tmp, self.at(k, name)), *wanted)
        if not done:
            assert get(tmp) == body.encode()
            os.unlink(tmp)
        return done

    def op_write_note(self):
        k, body = self.pick(), self.text()
        if self.rng.random() < 0.5:
            done = self.try_it(lambda: put(self.at(k, "note.txt"), body), *([] if k in self.items else [errno.ENOENT]))
        else:
            done = self.by_rename(k, "note.txt", body, [] if k in self.items else [errno.ENOENT])
        if done:
            self.items[k]["note"] = body

    def op_append_note(self):
        k, body = self.pick(), self.text()
        if self.try_it(lambda: append(self.at(k, "note.txt"), body), *([] if k in self.items else [errno.ENOENT])):
            self.items[k]["note"] = (self.items[k]["note"] or "") + body

    def op_unlink_note(self):
        k = self.pick()
        if k not in self.items:
            self.remove_from_nothing(lambda: os.unlink(self.at(k, "note.txt")))
        elif self.try_it(lambda: rm(self.at(k, "note.txt")), *([] if self.items[k]["note"] is not None else [errno.ENOENT])):
            self.items[k]["note"] = None

    def op_write_qty(self):
        k, body = self.pick(), self.rng.choice(["7\n", "8", "x", "-1\n", "2147483648"])
        wanted = [errno.ENOENT] if k not in self.items else [] if body.strip() in "78" else [errno.EINVAL]
        if self.try_it(lambda: put(self.at(k, "qty"), body), *wanted):
            self.items[k]["qty"] = int(body)

    def op_rename_item(self):
        k, new = self.pick(), self.pick()
        if any(path.startswith((f"{k}/", f"{new}/")) for path in self.plain) or k == new:
            return
        wanted = [errno.ENOENT] if k not in self.items else [errno.EEXIST, errno.ENOTEMPTY] if new in self.items else []
        if self.try_it(lambda: os.rename(self.at(k), self.at(new)), *wanted):
            self.items[new] = self.items.pop(k)
            self.parts = [(new if i == k else i, label) for i, label in self.parts]

    def op_append_parts(self):
        k, labels = self.pick(), [f"l{self.rng.randrange(1000)}" for _ in range(self.rng.randrange(1, 5))]
        csv = self.rng.random() < 0.5
        body = "".join(f"{x},1.5\n" if csv else json.dumps({"label": x}) + "\n" for x in labels)
        if self.try_it(lambda: append(self.at(k, "parts.csv" if csv else "parts.jsonl"), body, chunk=self.rng.choice([None, 3])),
                       *([] if k in self.items else [errno.ENOENT])):
            self.parts += [(k, x) for x in labels]

    def op_replace_parts(self):
        k, labels = self.pick(), [f"r{self.rng.randrange(1000)}" for _ in range(self.rng.randrange(3))]
        if self.try_it(lambda: put(self.at(k, "parts.csv"), "label,weight\n" + "".join(f"{x},\n" for x in labels)),
                       *([] if k in self.items else [errno.ENOENT])):
            self.parts = [p for p in self.parts if p[0] != k] + [(k, x) for x in labels]

    def op_flat(self):
        i, title = self.rng.randrange(5), self.rng.choice(["t1", "t2", "much too long"])
        if self.rng.random() < 0.3:
            if self.try_it(lambda: rm(self.shop.m.at(f"flat/{i}.json")), *([] if i in self.flat else [errno.ENOENT])):
                del self.flat[i]
                self.made.discard(i)
        elif self.try_it(lambda: put(self.shop.m.at(f"flat/{i}.json"), json.dumps({"title": title})), *([errno.EFBIG] if len(title) > 10 else [])):
            if i not in self.flat:
                self.made.add(i)
            self.flat[i] = title

    def op_rename_flat(self):
        i, j = self.rng.randrange(5), self.rng.randrange(5)
        if i != j and self.try_it(lambda: os.rename(self.shop.m.at(f"flat/{i}.json"), self.shop.m.at(f"flat/{j}.json")),
                                  *([errno.ENOENT] if i not in self.flat else [errno.EEXIST] if j in self.flat and i not in self.made else [])):
            self.flat[j] = self.flat.pop(i)
            self.made -= {i, j}

    def op_log(self):
        rows = [self.rng.randrange(100) for _ in range(self.rng.randrange(1, 30))]
        append(self.shop.m.at("log.csv"), "".join(f"m,{n},,\n" for n in rows), chunk=self.rng.choice([None, 4, 100]))
        self.log += rows

    def op_plain(self):
        k, name = self.pick(), self.rng.choice([".swp", "x~", "4913"])
        path, body = f"{k}/{name}", self.text().encode()
        if k not in self.items:
            return
        if path in self.plain and self.rng.random() < 0.6:
            os.unlink(self.at(k, name))
            del self.plain[path]
        else:
            put(self.at(k, name), body)
            self.plain[path] = body

    def op_sql(self):
        """Somebody else changes the row meanwhile."""
        k = self.pick()
        if k in self.items:
            self.shop.sql("update items set qty = 9 where name = %s", k)
            self.items[k]["qty"] = 9

    # -- comparison -------------------------------------------------------------------------------------------------------------------

    def compare_rows(self):
        assert {r[0]: {"qty": r[1], "note": r[2], "code": r[3], "meta": r[4]} for r in self.shop.sql(
            "select name, qty, note, code, meta from items")} == self.items
        assert sorted(self.shop.sql("select item, label from parts")) == sorted(self.parts)
        assert dict(self.shop.sql("select id, title from flat")) == self.flat
        assert [r[0] for r in self.shop.sql("select n from log order by id")] == self.log

    def compare_files(self):
        m = self.shop.m
        assert m.ls("items") == sorted(NAMES.get(k, k) for k in self.items)
        assert m.ls("flat") == sorted(f"{i}.json" for i in self.flat)
        for k, want in self.items.items():
            shown = json.loads(get(self.at(k, "item.json")))
            assert {c: shown[c] for c in ("name", *want)} == {"name": k, **want}
            if want["note"] is None:
                assert not os.path.lexists(self.at(k, "note.txt"))
            else:
                assert get(self.at(k, "note.txt")) == want["note"].encode()
            assert get(self.at(k, "qty")) == f"{want['qty']}\n".encode()
            assert sorted(x.split(b",")[0] for x in get(self.at(k, "parts.csv")).splitlines()[1:]) == sorted(
                label.encode() for item, label in self.parts if item == k)
        for path, body in self.plain.items():
            k, name = path.rsplit("/", 1)
            assert get(self.at(k, name)) == body


@pytest.mark.parametrize("run", range(3))
def test_random_operations(shop, request, run):
    seed = int(os.environ.get("ROWFS_SEED", random.SystemRandom().randrange(10**6)))
    request.node.user_seed = seed
    print(f"ROWFS_SEED={seed}")
    rng = random.Random(seed)
    model = Model(shop, rng)
    operations = sorted(name for name in dir(model) if name.startswith("op_"))
    history = []
    try:
        for i in range(OPERATIONS):
            op = rng.choice(operations)
            history.append(op)
            getattr(model, op)()
            model.compare_rows()
            if i % 10 == 9:
                model.compare_files()
        model.compare_files()
    except BaseException:
        print(f"operation {len(history)}: the last were {history[-6:]}")
        raise
