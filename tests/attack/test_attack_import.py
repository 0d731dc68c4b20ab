"""Another account that may write to the old tree, or to the mount, while root imports: it chooses no file that is read or written
elsewhere."""
import contextlib
import os
import shutil
import subprocess

import pytest

from kit import get, run, until
from mountkit import clean_env, rowfs_binary
from test_import import LINES, put_tree

SECRET = "the-secret"
TEXTS = {"log.jsonl": f'{{"src": "{SECRET}", "n": 1}}\n', "item.json": f'{{"note": "{SECRET}"}}', "parts.jsonl": f'{{"label": "{SECRET}"}}\n',
         "notes": SECRET}


def start(tmp_path, *words):
    return subprocess.Popen([str(rowfs_binary()), "import", "-q", "-j", "1", *map(str, words)], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, env=clean_env(XDG_STATE_HOME=str(tmp_path / "state")))


@contextlib.contextmanager
def held(pg):
    """Nothing is inserted into the table log meanwhile."""
    with pg.connect() as conn, conn.cursor() as cur:
        cur.execute("lock table log in share mode")
        yield
        conn.rollback()


def waits(pg):
    return pg.one("select count(*) from pg_locks where relation = 'log'::regclass and not granted") > 0


def in_the_database(pg):
    return pg.one("select exists (select from log where log::text ~ %s) or exists (select from items where items::text ~ %s)"
                  " or exists (select from parts where parts::text ~ %s)", SECRET, SECRET, SECRET)


@pytest.mark.parametrize("words", [(), ("--verify",)])
def test_links_that_come_while_an_import_runs(shop_pg, make_mount, tmp_path, words):
    """After the tree was read: a file becomes a link, a directory becomes one, a file becomes a pipe. Only the first file, which waits, is
    in; nothing of what the links lead to is copied or shown."""
    mount = make_mount(layout=LINES)
    old, elsewhere = tmp_path / "old", tmp_path / "elsewhere"
    put_tree(old, {"log.csv": "x,1,1,a\n", "log.jsonl": '{"src": "y", "n": 2}\n', "notes": "0123456789", "pipe": "0123456789",
                   "deep/er/notes": "0123456789", "items/a/item.json": '{"qty": 3}', "items/b/item.json": '{"qty": 4}',
                   "items/b/parts.jsonl": '{"label": "p"}\n'})
    put_tree(elsewhere, TEXTS)
    with held(shop_pg):
        importer = start(tmp_path, *words, old, mount.path)
        until(lambda: waits(shop_pg), "the first file waits")
        for name in ("log.jsonl", "notes", "items/a/item.json"):
            (old / name).unlink()
            (old / name).symlink_to(elsewhere / os.path.basename(name))
        for name in ("items/b", "deep/er"):
            shutil.rmtree(old / name)
            (old / name).symlink_to(elsewhere)
        (old / "pipe").unlink()
        os.mkfifo(old / "pipe")
    out, _ = importer.communicate(timeout=60)
    assert importer.returncode == 1 and "1 files are in, 7 refused" in out, out
    assert SECRET not in out
    for name in ("log.jsonl", "notes", "pipe", "deep/er/notes", "items/a/item.json", "items/b/item.json"):
        assert f"{name}: refused: the old file cannot be read" in out, out
    assert shop_pg.sql("select src from log") == [("x",)] and not in_the_database(shop_pg)
    assert not (mount / "notes").exists() and not (mount / "deep").exists()


@pytest.mark.parametrize("words", [(), ("--verify-only",), ("--restart",)])
def test_links_on_the_mount(shop_pg, make_mount, tmp_path, words):
    """Who may write through the mount can put links where no route is: what they lead to is neither written, nor made, nor compared."""
    mount = make_mount(layout=LINES)
    old, elsewhere = tmp_path / "old", tmp_path / "elsewhere"
    put_tree(old, {"notes": "new", "made": "new", "deep/er/notes": "new", "items/a/item.json": '{"qty": 3}'})
    (old / "empty/below").mkdir(parents=True)
    put_tree(elsewhere, TEXTS)
    (mount / "notes").symlink_to(elsewhere / "notes")
    (mount / "made").symlink_to(elsewhere / "made")
    (mount / "deep").mkdir()
    (mount / "deep/er").symlink_to(elsewhere)
    (mount / "empty").symlink_to(elsewhere)
    before = sorted(os.listdir(elsewhere))
    out, _ = start(tmp_path, *words, old, mount.path).communicate(timeout=60)
    assert sorted(os.listdir(elsewhere)) == before
    assert {name: get(elsewhere / name).decode() for name in TEXTS} == TEXTS
    if words != ("--verify-only",):
        assert shop_pg.sql("select name, qty from items") == [("a", 3)]
        assert "1 files are in, 3 refused" in out, out
        assert "empty/below/: the empty directory: Not a directory" in out, out


def test_the_journal_is_the_users_own(shop_pg, make_mount, tmp_path):
    """A link, a link without a name, a file of somebody else, and a place where others may write: the journal is emptied, so none is
    used."""
    mount = make_mount(layout=LINES)
    old, victim, journal = tmp_path / "old", tmp_path / "victim", tmp_path / "x.journal"
    put_tree(old, {"notes": "new"})
    victim.write_text("without a newline")
    for plant in (os.symlink, os.link):
        plant(victim, journal)
        for words in ((), ("--restart",)):
            done = run(rowfs_binary(), "import", *words, "--journal", journal, old, mount.path, ok=False)
            assert done.returncode == 2 and str(journal) in done.stderr
        journal.unlink()
        assert victim.read_text() == "without a newline"
    if os.geteuid() == 0:
        journal.touch()
        os.chown(journal, 65534, 65534)
        assert run(rowfs_binary(), "import", "--journal", journal, old, mount.path, ok=False).returncode == 2
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    importer = start(tmp_path, old, mount.path)
    out, _ = importer.communicate(timeout=60)
    assert importer.returncode == 2 and f"{tmp_path}/state: others may write to it" in out


def test_a_tree_by_a_link_that_the_user_names(shop_pg, make_mount, tmp_path):
    """OLD-TREE and MOUNTPOINT may be links, as for every program; they are followed once, at the beginning."""
    mount = make_mount(layout=LINES)
    old = tmp_path / "old"
    put_tree(old, {"log.csv": "x,1,1,a\n", "items/a/item.json": '{"qty": 3}'})
    put_tree(tmp_path / "elsewhere", {"items/a/item.json": f'{{"note": "{SECRET}"}}'})
    (tmp_path / "link").symlink_to(old)
    (tmp_path / "mount").symlink_to(mount.path)
    with held(shop_pg):
        importer = start(tmp_path, tmp_path / "link", tmp_path / "mount")
        until(lambda: waits(shop_pg), "the first file waits")
        old.rename(tmp_path / "away")
        old.symlink_to(tmp_path / "elsewhere")
    out, _ = importer.communicate(timeout=60)
    assert importer.returncode == 0, out
    assert shop_pg.sql("select name, qty from items") == [("a", 3)] and not in_the_database(shop_pg)
