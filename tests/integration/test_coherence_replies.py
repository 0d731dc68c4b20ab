"""A change that is told while the reply is still on its way that makes a file known to the kernel."""
import contextlib
import subprocess
import sys

from coherencekit import GATE, coherence, waits
from kit import until

FILES = 20
SHORT, LONG = len("t\nx\n"), len("t\nlonger\n")
LAYOUT = {"routes": [{"path": "/lines/{lines.file}.csv", "rows": "lines", "columns": ["t"], "order": ["n"]}]}

# Looks at each file when its name comes, and again, by what the kernel has of it, at an empty line. It seldom gets its processor, which others
# burn: so its part of the kernel's work on a reply is done long after rowfs has sent it.
LOOKER = """
import os, sys
os.sched_setaffinity(0, [0])
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
known = []
print("ready", flush=True)
for path in sys.stdin:
    if path.strip():
        known.append(os.open(path.strip(), os.O_PATH))
    for fd in known[-1:] if path.strip() else known:
        print(os.fstat(fd).st_size, flush=True)
"""
BURNER = "import os\nos.sched_setaffinity(0, [0])\nwhile True:\n    pass\n"


def test_a_reply_that_is_late_is_made_up_for(pg, make_mount):
    pg.sql("create table lines (file text not null, n integer not null, t text, primary key (file, n))")
    pg.sql("insert into lines select lpad(f::text, 3, '0'), 1, 'x' from generate_series(0, %s) f", FILES)
    m = make_mount(layout=LAYOUT)
    pg.sql(GATE.replace("TABLE", "rowfs.summary"))
    with contextlib.closing(pg.connect()) as holder, holder.cursor() as cur, contextlib.ExitStack() as programs:
        for _ in range(3):
            programs.callback(programs.enter_context(subprocess.Popen([sys.executable, "-c", BURNER])).kill)
        looker = programs.enter_context(
            subprocess.Popen([sys.executable, "-c", LOOKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1))
        programs.callback(looker.kill)
        assert looker.stdout.readline() == "ready\n"
        for i in range(FILES):
            cur.execute("select pg_advisory_lock(7)")
            looker.stdin.write(f"{m / f'lines/{i:03d}.csv'}\n")
            until(lambda: waits(pg), "the look-up waits", timeout=60)
            busy = pg.backends("wait_event = 'advisory'")
            cur.execute("select pg_advisory_unlock(7)")
            until(lambda: not pg.backends(f"pid = {busy[0]} and state = 'active'"), "it is answered", pause=0.0005)  # noqa: B023
            pg.admin("update lines set t = 'longer' where file = %s", f"{i:03d}")
            assert int(looker.stdout.readline()) in (SHORT, LONG)
        # not asked before: while the kernel evicts any inode, it trusts no reply that was on its way
        until(lambda: coherence(m)["heard"] >= FILES, "the notices")
        looker.stdin.write("\n")
        sizes = {i: int(looker.stdout.readline()) for i in range(FILES)}
    assert {i: size for i, size in sizes.items() if size != LONG} == {}
