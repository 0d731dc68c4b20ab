"""What the linker and the compiler have made of the hardening that meson.build asks for, by what readelf says of the program."""
import re
import subprocess
from pathlib import Path

import pytest

import mountkit
from kit import until

ROOT = Path(__file__).resolve().parents[2]


def run(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def readelf(program, *words):
    return run("readelf", "-W", *words, program)


def built(name):
    """Without sanitizers, which have ways of their own; tests/run makes it."""
    program = ROOT / "build-clang" / name
    if not program.exists():
        pytest.skip(f"{program} is not built")
    return program


@pytest.mark.parametrize("name", ["fs/rowfs", "mount-helpers/mount.rowfs"])
def test_the_program_is_hardened(name):
    program = built(name)
    headers, dynamic, symbols = readelf(program, "-l"), readelf(program, "-d"), readelf(program, "--dyn-syms")
    assert "Elf file type is DYN (Position-Independent Executable file)" in headers
    assert "GNU_RELRO" in headers
    assert re.search("BIND_NOW|FLAGS.* NOW", dynamic)
    assert re.search(r"GNU_STACK +(\S+ +){5}RW ", headers)
    assert "__stack_chk_fail" in symbols
    assert re.search(r"__\w+_chk@", symbols.replace("__stack_chk_fail", ""))
    if "X86-64" in readelf(program, "-h"):  # the note that says it for the whole program needs a C library that is built so
        assert "endbr64" in run("objdump", "-d", "--disassemble=main", program)


def test_nobody_reads_the_memory_of_a_mount(pg):
    """Not even another program of the same user, with the same capabilities: the password is in it."""
    words = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"]
    m = mountkit.Mount(pg.conninfo, start=False)
    m.argv[0] = str(built("fs/rowfs"))
    m.argv = [*words, *m.argv]
    try:
        m.start()
        with subprocess.Popen([*words, "sleep", "100"]) as sleeper:
            until(lambda: Path(f"/proc/{sleeper.pid}/comm").read_text(encoding="ascii") == "sleep\n", "it sleeps")
            opens = [subprocess.run([*words, "sh", "-c", f": </proc/{pid}/mem"], stderr=subprocess.DEVNULL, check=False).returncode == 0
                     for pid in (sleeper.pid, m.process.pid)]
            sleeper.kill()
        if not opens[0]:
            pytest.skip("this kernel lets no process read another one's memory (Yama)")
        assert not opens[1]
        m.umount()
    finally:
        m.destroy()
