"""The commands in the documents do what the documents say: they are taken from the page and run."""
import os
import re

import pytest

from kit import ROOT, run
from mountkit import clean_env, lazy_umount, mountinfo, rowfs_binary

TITLE = "Your own table as files in five minutes"


def section(page, title):
    """The part of PAGE under the heading TITLE (any level, any case), up to the next heading of that level."""
    lines, out, level = page.splitlines(), [], 0
    fence = False
    for line in lines:
        if line.startswith("```"):
            fence = not fence
        m = None if fence else re.match(r"(#+) +(.*)", line)
        if m and level and len(m[1]) <= level:
            break
        if m and not level and title.lower() in m[2].lower():
            level = len(m[1])
        elif level:
            out.append(line)
    return "\n".join(out)


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def test_the_tutorial(empty_pg, tmp_path, fuse):
    """Every ```sh block of the tutorial, one after the other in one shell, in an empty directory, with a database from the environment."""
    text = section((ROOT / "docs/LAYOUT.md").read_text(encoding="utf-8"), TITLE)
    if not text:
        pytest.fail(f"docs/LAYOUT.md has no section {TITLE!r}")
    scripts = blocks(text, "sh")
    assert scripts
    (tmp_path / "bin").mkdir()
    os.symlink(rowfs_binary(), tmp_path / "bin/rowfs")
    work = tmp_path / "work"
    work.mkdir()
    env = clean_env(PGHOST=str(empty_pg.server.dir), PGDATABASE=empty_pg.name, PGUSER="keeper", XDG_STATE_HOME=str(tmp_path / "state"),
                    HOME=str(tmp_path))
    env["PATH"] = f"{tmp_path / 'bin'}:{empty_pg.server.bin}:{os.environ['PATH']}"
    try:
        done = run("bash", "-euc", "\n".join(scripts), cwd=work, env=env, timeout=120, ok=False)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        for wanted in blocks(text, "text") + blocks(text, "output"):  # what the page says is printed
            for line in wanted.splitlines():
                assert line.strip() in done.stdout, f"{line!r} is not in:\n{done.stdout}"
    finally:
        for path, _ in mountinfo():
            if path.startswith(str(tmp_path)):
                lazy_umount(path)


def test_a_database_of_ones_own(empty_pg, tmp_path, fuse):
    """The three commands of README, in a home directory of their own; the database has the table that they name."""
    commands = re.findall(r"^    (.+)$", section((ROOT / "README.md").read_text(encoding="utf-8"), "Your own database"), re.M)
    assert len(commands) == 3
    pg = empty_pg
    pg.sql("create table customers (id int primary key, name text); insert into customers values (7, 'Anna')")
    (tmp_path / "bin").mkdir()
    os.symlink(rowfs_binary(), tmp_path / "bin/rowfs")
    env = clean_env(PGHOST=str(pg.server.dir), PGUSER="keeper", HOME=str(tmp_path), XDG_STATE_HOME=str(tmp_path / "state"))
    env["PATH"] = f"{tmp_path / 'bin'}:{pg.server.bin}:{os.environ['PATH']}"
    (tmp_path / "shop").mkdir()
    script = "\n".join(commands).replace("dbname=shop", f"dbname={pg.name}")
    try:
        run("bash", "-euc", script, cwd=tmp_path, env=env, timeout=120)
        document = tmp_path / "shop/customers/7.json"
        assert '"Anna"' in document.read_text()
        document.write_text('{"id": 7, "name": "Berta"}')
        assert pg.one("select name from customers") == "Berta"
        assert '"mode": "notify"' in (tmp_path / "shop/.rowfs/status.json").read_text()
    finally:
        for path, _ in mountinfo():
            if path.startswith(str(tmp_path)):
                lazy_umount(path)


def pages():
    return [p for p in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if p.exists()]


@pytest.mark.parametrize("page", pages(), ids=lambda p: p.name)
def test_links_between_the_documents_exist(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{page.name} points to {target}"


@pytest.mark.parametrize("page", pages(), ids=lambda p: p.name)
def test_files_named_in_the_documents_exist(page):
    """`fs/start/mount.c` in a page is a file of the project."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for name in re.findall(r"`((?:fs|db|schema|util|tests|docs|mount-helpers)/[A-Za-z0-9_./-]+)`", text):
        assert (ROOT / name).exists() or (ROOT / name.rstrip("/")).exists(), f"{page.name} names {name}"


@pytest.mark.parametrize("page", pages(), ids=lambda p: p.name)
def test_tests_named_in_the_documents_exist(page):
    tests = {name for path in (ROOT / "tests").glob("*/test_*.py")
             for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.M)}
    for name in re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8")):
        assert name in tests or list((ROOT / "tests").glob(f"*/{name}.*")), f"{page.name} names {name}"


def test_every_sentence_has_a_test():
    """Section 19 of SEMANTICS.md names a test for each sentence with a number."""
    text = (ROOT / "docs/SEMANTICS.md").read_text(encoding="utf-8")
    shown = set()
    for cell in re.findall(r"^\| ([\d., to]+) \|", section(text, "19. Which test shows it"), re.M):
        for part in cell.split(", "):
            first, last = (part.split(" to ") * 2)[:2]
            chapter = first.split(".")[0]
            shown |= {f"{chapter}.{n}" for n in range(int(first.split(".")[1]), int(last.split(".")[1]) + 1)}
    for chapter in map(str, range(1, 19)):
        body = re.search(rf"^## {chapter}\. .*?(?=^## )", text, re.M | re.S)[0]
        for n in re.findall(r"^(\d+)\. ", body, re.M):
            assert f"{chapter}.{n}" in shown, f"no test is named for {chapter}.{n}"
