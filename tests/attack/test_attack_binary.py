"""What the linker and the compiler have made of the hardening that meson.build asks for, by what readelf says of the program."""
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def readelf(program, *words):
    return run("readelf", "-W", *words, program)


@pytest.mark.parametrize("name", ["fs/rowfs", "mount-helpers/mount.rowfs"])
def test_the_program_is_hardened(name):
    program = ROOT / "build-clang" / name  # tests/run makes it: without sanitizers, which have ways of their own
    if not program.exists():
        pytest.skip(f"{program} is not built")
    headers, dynamic, symbols = readelf(program, "-l"), readelf(program, "-d"), readelf(program, "--dyn-syms")
    assert "Elf file type is DYN (Position-Independent Executable file)" in headers
    assert "GNU_RELRO" in headers
    assert re.search("BIND_NOW|FLAGS.* NOW", dynamic)
    assert re.search(r"GNU_STACK +(\S+ +){5}RW ", headers)
    assert "__stack_chk_fail" in symbols
    assert re.search(r"__\w+_chk@", symbols.replace("__stack_chk_fail", ""))
    if "X86-64" in readelf(program, "-h"):  # the note that says it for the whole program needs a C library that is built so
        assert "endbr64" in run("objdump", "-d", "--disassemble=main", program)
