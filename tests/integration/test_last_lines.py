"""A last line without a newline: whose close makes it a row. Rows files, files of a parent row, ingest files."""
import errno
import gzip
import os
import signal
import subprocess
import sys

import pytest

from kit import append, put, until
from test_records import CHILD, FLAT, LAYOUT, SQL, TAKEN

GZIPPED = {"path": "/gz/{name}.csv.gz", "file": True, "ingest": "taken", "columns": ["a", "b", "n"]}


@pytest.fixture
def m(pg, make_mount):
    pg.sql(SQL)
    return make_mount(layout={"routes": [*LAYOUT["routes"], GZIPPED]})


def files(mount, number):
    for name, query in ((f"flat/{number}.csv", FLAT), (f"parent/{number}/child.csv", CHILD), (f"in/{number}.csv", TAKEN)):
        mount.at(name).parent.mkdir(parents=True, exist_ok=True)
        yield name, query


def python(code, path):
    """Runs CODE with F, a descriptor of PATH."""
    code = f"import os, signal, subprocess, sys, threading; F = os.open({str(path)!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)\n{code}"
    return subprocess.run([sys.executable, "-c", code], check=False, timeout=60, stderr=subprocess.DEVNULL).returncode


# how the writer of "X,x,12" ends, and whether that is a row
OWN_WILL = {
    "close": "os.write(F, b'X,x,12'); os.close(F)",
    "exit without close": "os.write(F, b'X,x,12'); os._exit(0)",
    "exit with an error": "os.write(F, b'X,x,12'); os._exit(3)",
    "a child has a copy and is killed later": "os.write(F, b'X,x,12'); p = os.fork()\n"
                                              "if p == 0: signal.pause()\nos.close(F); os.kill(p, 9); os.waitpid(p, 0)",
    "a child has a copy and calls exec": "os.write(F, b'X,x,12'); subprocess.run(['/bin/true'], close_fds=False); os.close(F)",
    "exec": "os.write(F, b'X,x,12'); os.execv('/bin/true', ['true'])",
    "a thread ends the process": "os.write(F, b'X,x,12'); threading.Thread(target=lambda: os._exit(0)).start(); signal.pause()",
}
KILLED = {
    "SIGKILL": "os.write(F, b'X,x,12'); os.kill(os.getpid(), 9)",
    "SIGTERM": "os.write(F, b'X,x,12'); os.kill(os.getpid(), 15)",
    "SIGSEGV": "os.write(F, b'X,x,12'); os.kill(os.getpid(), 11)",
    "a thread wrote it": "t = threading.Thread(target=lambda: (os.write(F, b'X,x,12'), signal.pause())); t.start()\n"
                         "import time\nwhile not os.fstat(F): time.sleep(0.01)\ntime.sleep(0.2); os.kill(os.getpid(), 9)",
    "the parent has a copy": "p = os.fork()\nif p == 0: os.write(F, b'X,x,12'); os.kill(os.getpid(), 9)\nos.waitpid(p, 0); os._exit(0)",
}


def test_its_writer_closes_it_by_its_own_will(m, pg):
    for number, (how, code) in enumerate(OWN_WILL.items(), 1):
        for name, query in files(m, number):
            python(code, m.at(name))
            until(lambda: pg.sql(query) == [("X", "x", 12)] * number, f"{how}: {name}: a row")
    assert m.kept() == []


# each closes F in exec(): it was opened with O_CLOEXEC. The kernel holds a lock of the process meanwhile
IN_EXEC = {
    "its writer": "os.write(F, b'X,x,12'); os.execv('/bin/true', ['true'])",
    "a thread of its writer": "threading.Thread(target=signal.pause, daemon=True).start(); os.write(F, b'X,x,12')\n"
                              "threading.Thread(target=os.execv, args=('/bin/true', ['true'])).start(); signal.pause()",
    "a thread wrote it": "threading.Thread(target=lambda: (os.write(F, b'X,x,12'), os.execv('/bin/true', ['true']))).start()\n"
                         "signal.pause()",
    "a child that wrote it": "p = os.fork()\n"
                             "if p == 0: os.write(F, b'X,x,12'); os.execv('/bin/true', ['true'])\nos.waitpid(p, 0)",
    "a child that is started by vfork": "os.write(F, b'X,x,12'); os.posix_spawn('/bin/true', ['true'], {}); os.wait()",
}


def test_exec_and_the_mount_do_not_wait_for_each_other(m, pg):
    for number, (how, code) in enumerate(IN_EXEC.items(), 1):
        for name, query in files(m, number):
            code_of = f"import os, signal, threading; F = os.open({str(m.at(name))!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)\n{code}"
            writer = subprocess.Popen([sys.executable, "-c", code_of])
            try:
                until(lambda: writer.poll() is not None, f"{how}: {name}: the program ends", 20)
            except BaseException:
                m.kill(signal.SIGKILL)  # sets it free: nothing else does, and each `ps` would hang, too
                raise
            until(lambda: pg.sql(query) == [("X", "x", 12)] * number, f"{how}: {name}: a row")
    assert m.kept() == []


def test_opened_again_and_nothing_written(m, pg):
    """What a killed writer left in an ingest file waits for its rest, and not for just any close."""
    for name, query in files(m, 1):
        python(KILLED["SIGKILL"], m.at(name))
        until(lambda: any(name in e["path"] for e in m.errors()), f"{name}: is told")
        python("os.close(F)", m.at(name))
        assert pg.sql(query) == []
    m.umount()
    m.start()
    for name, query in files(m, 1):
        python("os.close(F)", m.at(name))
        assert pg.sql(query) == []


def test_its_writer_is_killed(m, pg):
    """No row: its price may be cut. rejected/ has the piece; an ingest file's waits for its rest, and becomes a row with it."""
    for number, (how, code) in enumerate(KILLED.items(), 1):
        for name, query in files(m, number):
            kept, told = len(m.kept()), len(m.errors())
            assert python(code, m.at(name)) in (0, -9, -15, -11)
            until(lambda: any(name in e["path"] for e in m.errors()[told:]), f"{how}: {name}: is told")
            if name.startswith("in/"):
                assert "waits for its rest" in m.sentence() and len(m.kept()) == kept
                assert pg.sql(query) == [("X", "x", 123)] * (number - 1), how
                append(m.at(name), b"3\n")
                assert pg.sql(query) == [("X", "x", 123)] * number
            else:
                assert m.kept()[kept:] == [b"X,x,12"], how
                assert "was ended by a signal" in m.sentence()
                append(m.at(name), b"3,3,3\n")
                assert pg.sql(query) == [("3", "3", 3)] * number


def test_a_shell_and_its_commands(m, pg):
    """What counts is the process that wrote the piece, not a shell that holds a copy."""
    path = m.at("flat/1.csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    env = {"F": str(path), "PY": sys.executable, "LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]}

    def bash(script):
        subprocess.run(["bash", "-c", script], env=env, check=False, timeout=60, stderr=subprocess.DEVNULL)
    good = ["printf 'A,a,1' >>$F", "( printf 'A,'; printf 'a,2' ) >>$F", "( /bin/echo -n 'A,'; /bin/echo -n 'a,3' ) >>$F",
            "exec 3>>$F; printf 'A,a' >&3; printf ',4\\n' >&3; printf 'A,a,5' >&3",
            "( /bin/echo -n 'A,a,6'; kill -9 $BASHPID ) >>$F"]
    for number, script in enumerate(good, 1):
        bash(script)
        want = [("A", "a", n) for n in range(1, number + 1)] if number < 4 else [("A", "a", n) for n in range(1, number + 2)]
        until(lambda: pg.sql(FLAT) == want, f"{script}: {want}, not {pg.sql(FLAT)}")
    assert m.kept() == []
    # the writer is killed; the shell goes on, and its next command's line is whole
    bash("( $PY -c 'import os; os.write(1, b\"A,a,7\"); os.kill(os.getpid(), 9)'; echo 'B,b,8' ) >>$F")
    until(lambda: pg.sql(FLAT)[6:] == [("B", "b", 8)], "the next line is a row")
    assert m.kept() == [b"A,a,7"]


def test_the_mount_ends_while_a_program_writes(m, pg):
    """Its half line is no row. An ingest file has the bytes, and the row when the rest has come."""
    programs = []
    for name, _ in files(m, 1):
        fd = os.open(m.at(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(fd, b"A,a,1\nX,x,12")
        programs.append(fd)
    m.kill(signal.SIGTERM)
    m.wait()
    for fd in programs:
        try:
            os.close(fd)
        except OSError as e:
            assert e.errno in (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO)
    m.start()
    for name, query in files(m, 1):
        assert pg.sql(query) == [("A", "a", 1)], name
    assert m.kept() == [b"X,x,12"] * 2
    assert m.bytes("in/1.csv") == b"A,a,1\nX,x,12"
    append(m / "in/1.csv", b"3\n")
    assert pg.sql(TAKEN) == [("A", "a", 1), ("X", "x", 123)]


REPLACING = {
    "emptied": "f = os.open({path!r}, os.O_WRONLY | os.O_TRUNC)",
    "unlinked and created": "os.unlink({path!r}); f = os.open({path!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)",
}


@pytest.mark.parametrize("how", REPLACING)
@pytest.mark.parametrize("end", ["os.write(f, b'Y,y,2'); os.kill(os.getpid(), 9)", "os.write(f, b'Y,y,z'); os.close(f)"],
                         ids=["its writer is killed", "its last line is bad"])
def test_a_replacement_that_ends_in_half_a_line(m, pg, how, end):
    """The old rows stay, and all that was written is kept, whole lines, too: they were to replace the file together."""
    os.makedirs(m / "new", exist_ok=True)
    put(m / "new/1.csv", b"OLD,b,1\n")
    code = REPLACING[how].format(path=str(m / "new/1.csv")) + "; os.write(f, b'X,x,1\\n'); " + end
    subprocess.run([sys.executable, "-c", "import os; " + code], check=False, timeout=60)
    until(lambda: m.kept() == [b"X,x,1\nY,y," + (b"2" if "kill" in end else b"z")], "it is kept")
    assert pg.sql(FLAT) == [("OLD", "b", 1)]


def test_status_says_what_decides(make_mount, pg):
    pg.sql(SQL)
    status = make_mount(layout=LAYOUT).status()
    assert status["last_line"] == "reject" and status["counters"]["writers_unknown_total"] == 0
    assert make_mount(layout=LAYOUT, options={"last_line": "accept"}).status()["last_line"] == "accept"


@pytest.mark.skipif(os.geteuid() != 0, reason="a PID namespace of the daemon's own needs root")
@pytest.mark.parametrize("word", ["accept", "reject"])
def test_the_option_decides_where_proc_does_not_tell(make_mount, pg, word):
    """The daemon is in a PID namespace of its own: it sees no writer."""
    pg.sql(SQL)
    m = make_mount(layout=LAYOUT, options={"last_line": word})
    m.umount()
    m.argv = ["unshare", "--pid", "--fork", "--kill-child", *m.argv]
    # LeakSanitizer finds its own threads by /proc, which is that of the outer namespace
    m.env = {**(m.env or os.environ), "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
    m.start()
    for name, query in files(m, 1):
        python(OWN_WILL["close"], m.at(name))
        if word == "accept":
            until(lambda: pg.sql(query) == [("X", "x", 12)], f"{name}: a row")
        else:
            until(lambda: any(name in e["path"] and "/proc does not tell" in e["message"] for e in m.errors()), f"{name}: is told")
            assert pg.sql(query) == []
    assert m.status()["counters"]["writers_unknown_total"] == 3
    assert m.kept() == ([] if word == "accept" else [b"X,x,12"] * 2)


# -- gzip ---------------------------------------------------------------------------------------------------------------


def test_a_gzip_that_is_cut_short_is_told(m, pg):
    """Written by a program, and by cp and mv of a file: errors.jsonl and a counter. Its half last line waits, and nothing is lost."""
    whole = gzip.compress(b"".join(b"A,a,%d\n" % i for i in range(2000)))
    for number, cut in enumerate((len(whole) // 2, len(whole) - 4), 1):
        path = m / f"gz/{number}.csv.gz"
        path.parent.mkdir(exist_ok=True)
        before = pg.one("select count(*) from taken")
        put(path, whole[:cut])
        until(lambda: "is cut short" in m.sentence() and path.name in m.sentence(), "it is told")
        assert m.status()["counters"]["gzip_cut_total"] == number
        rows = [r[0] for r in pg.sql("select n from taken order by id")][before:]
        assert rows == list(range(len(rows)))
        append(path, whole[cut:])
        rows = [r[0] for r in pg.sql("select n from taken order by id")][before:]
        assert rows == list(range(2000))
    put(m / "gz/x.tmp", whole[:-4])
    os.rename(m / "gz/x.tmp", m / "gz/3.csv.gz")
    assert "is cut short" in m.sentence() and "3.csv.gz" in m.sentence()
