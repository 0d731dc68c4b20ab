"""Removals of several processes at once, of rows that depend on each other (SEMANTICS 1.12)."""
import contextlib
import subprocess
import sys

import pytest

from kit import until

REMOVER = r"""
import os, sys
for line in sys.stdin:
    for name in line.split():
        os.unlink(name)
    print("done", flush=True)
"""


@contextlib.contextmanager
def remover(shop):
    """A process that unlinks the names that it is given, and does not end by that."""
    process = subprocess.Popen([sys.executable, "-S", "-E", "-c", REMOVER], cwd=shop.m.path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        def unlink(*names, wait=True):
            process.stdin.write(" ".join(names) + "\n")
            process.stdin.flush()
            if wait:
                assert process.stdout.readline() == "done\n"
        yield unlink
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


@pytest.mark.parametrize("number", [6, 5])
def test_a_removal_that_waits_for_another_one(shop, number):
    """One process removes several files; the time of the first one is over before that of the last one (of the last four, where they are five
    in all), whose DELETE is therefore run again. Meanwhile another process removes the row that the last one belongs to. All is committed as
    though each process were alone. (Which of the two comes first is chance: hence the rounds.)"""
    names = [f"item{i}" for i in range(number)]
    with remover(shop) as one, remover(shop) as two:
        for _ in range(5):
            for name in names:
                shop.add(name)
            shop.sql("insert into parts (item, label) select name, 'a' from items")
            one(*(f"items/{name}/parts.csv" for name in names))
            two(f"items/{names[-1]}/item.json")
            two(*(f"items/{name}/item.json" for name in names[:-1]))
            until(lambda: shop.sql("select item from parts union all select name from items") == [], "all removals", timeout=5)
    assert shop.m.errors() == []
