"""st_mtime of documents and columns whose time no column tells: programs that compare sizes and times see each change, also one that keeps the
length."""
import os

import pytest

from kit import rm, run, sh, until

DOCUMENTS = ["items/bolt/item.json", "items/bolt/note.txt", "items/bolt/meta.json", "flat/1.json", "tabs.json"]


@pytest.fixture
def tree(shop_pg, make_mount):
    """The shop's documents without their column of the time, and a table as one document."""
    routes = [{"path": "/items/{items.name}/item.json", "row": "items", "columns": ["name", "qty"]},
              {"path": "/items/{items.name}/note.txt", "column": "items.note"},
              {"path": "/items/{items.name}/meta.json", "column": "items.meta"},
              {"path": "/flat/{flat.id}.json", "row": "flat"},
              {"path": "/tabs.json", "rows": "days", "as": "array"},
              {"path": "/view.json", "query": "item_names", "as": "array"}]
    shop_pg.sql("insert into items (name, qty, note, meta) values ('bolt', 1, 'aaa', '{\"k\": 1}'); insert into flat values (1, 'aaa');"
                "insert into days values ('2025-01-01', 'aaa')")
    return make_mount(layout={"routes": routes})


def times(mount, names):
    return {n: os.stat(mount.at(n)).st_mtime_ns for n in names}


def earlier(mount, names):
    """The times of NAMES, all of them before what happens next: the clock of a disk has steps."""
    found = times(mount, names)
    until(lambda: max(found.values()) < os.stat(touched(mount)).st_mtime_ns, "the clock goes on")
    return found


def touched(mount):
    mount.write("now", "")
    return mount.at("now")


EDIT = 's/\\(qty\\|k\\)": 1/\\1": 2/; s/aaa/bbb/'  # of the same length; a key stays


@pytest.mark.parametrize("how", ["sed -i '@' $f", "sed '@' $f >$f.new; cat $f.new >$f; rm $f.new",
                                 "sed '@' $f >$T/new; cp --remove-destination $T/new $f"])
def test_what_this_mount_writes_has_a_new_time(tree, tmp_path, how):
    """Whatever it was written by: a rename onto the name, in place, or unlink and create."""
    before = earlier(tree, DOCUMENTS)
    sizes = {n: os.stat(tree.at(n)).st_size for n in DOCUMENTS}
    sh(f"for f in {' '.join(DOCUMENTS)}; do {how.replace('@', EDIT)}; done", cwd=tree.path, T=tmp_path)
    after = times(tree, DOCUMENTS)
    assert {n: os.stat(tree.at(n)).st_size for n in DOCUMENTS} == sizes
    assert [n for n in DOCUMENTS if after[n] <= before[n]] == []
    assert times(tree, DOCUMENTS) == after


def test_what_others_change_has_a_new_time(tree, pg):
    before = earlier(tree, DOCUMENTS)
    pg.sql("update items set qty = 2, note = 'bbb', meta = '{\"k\": 2}'; update flat set title = 'bbb'; update days set text = 'bbb'")
    until(lambda: all(t > before[n] for n, t in times(tree, DOCUMENTS).items()), "new times")
    after = times(tree, DOCUMENTS)
    assert times(tree, DOCUMENTS) == after


def test_a_time_does_not_go_back(tree, pg):
    """First another's change, then one of this mount's, then a new row and its removal."""
    before = earlier(tree, ["flat/1.json"])
    pg.sql("update flat set title = 'bbb'")
    until(lambda: times(tree, before)["flat/1.json"] > before["flat/1.json"], "a new time")
    between = earlier(tree, ["flat/1.json"])
    run("sed", "-i", "s/bbb/ccc/", tree.at("flat/1.json"))
    assert times(tree, between)["flat/1.json"] > between["flat/1.json"]
    mark = os.stat(touched(tree)).st_mtime_ns
    tree.write("flat/2.json", '{"title": "new"}')
    assert os.stat(tree.at("flat/2.json")).st_mtime_ns >= mark
    rm(tree.at("flat/2.json"))
    mark = os.stat(touched(tree)).st_mtime_ns
    tree.write("flat/2.json", '{"title": "wen"}')
    assert os.stat(tree.at("flat/2.json")).st_mtime_ns >= mark


def test_what_is_not_changed_keeps_its_time(tree):
    tree.write("flat/2.json", '{"title": "x"}')
    names = [*DOCUMENTS, "view.json"]
    before = times(tree, names)
    tree.write("flat/2.json", '{"title": "y"}')
    for name in names:
        tree.bytes(name)
    assert times(tree, names) == before


def test_git_sees_a_change_of_the_same_length(tree, tmp_path):
    """Without a look into the file: git goes by size and time. What it restores is what was committed."""
    names = DOCUMENTS[:4]
    env = {"GIT_DIR": str(tmp_path / "git"), "GIT_WORK_TREE": str(tree.path), "HOME": str(tmp_path), "EMAIL": "a@example.org"}

    def git(*words):
        return run("git", "-c", "user.name=a", *words, env=env, cwd=tree.path).stdout
    git("init", "-q")
    earlier(tree, names)  # otherwise git looks into the files, since its index is no younger than they are
    git("add", *names)
    git("commit", "-q", "-m", "one")
    was = {n: tree.bytes(n) for n in names}
    run("sed", "-i", EDIT, *[tree.at(n) for n in names])
    assert all(tree.bytes(n) != was[n] for n in names)
    assert git("status", "--porcelain", "-uno").split() == [w for n in sorted(names) for w in ("M", n)]
    git("checkout", "-q", "--", ".")
    assert {n: tree.bytes(n) for n in names} == was


def test_rsync_copies_a_change_of_the_same_length(tree, tmp_path):
    run("rsync", "-a", "--exclude", ".rowfs", f"{tree.path}/", tmp_path / "copy")
    before = int(max(times(tree, DOCUMENTS).values()) / 1e9)
    until(lambda: os.stat(touched(tree)).st_mtime >= before + 1, "the next second: rsync compares whole ones")
    run("sed", "-i", "s/aaa/bbb/", tree.at("items/bolt/note.txt"), tree.at("flat/1.json"))
    run("rsync", "-a", "--exclude", ".rowfs", f"{tree.path}/", tmp_path / "copy")
    assert (tmp_path / "copy/items/bolt/note.txt").read_text() == "bbb"
    assert "bbb" in (tmp_path / "copy/flat/1.json").read_text()
