"""A mount of rowfs for a test: started in the foreground, watched, and unmounted with exit status 0 and a clean log."""
import contextlib
import errno
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

from kit import IS_ROOT, PREFIX, ROOT, get, put, run, scratch, until

STRAY = re.compile(r"rowfs error \[|\bERROR\b|\bBUG\b|Sanitizer|runtime error|\bleak")
HUNG_AFTER = 150  # seconds: a mount that lives longer than this in one test is killed, its stacks printed


def rowfs_binary():
    """The program under test: $ROWFS_BIN, else the newest that a usual build directory has."""
    named = os.environ.get("ROWFS_BIN")
    if named:
        return Path(named)
    found = [p for d in ("build-test", "build") for p in (ROOT / d / "rowfs", ROOT / d / "fs/rowfs") if p.is_file()]
    return found[0] if found else ROOT / "build-test/rowfs"


def sanitizer_env():
    lsan = ROOT / "tests/integration/lsan.supp"
    return {"ASAN_OPTIONS": "halt_on_error=1:abort_on_error=0:detect_stack_use_after_return=1:detect_leaks=1",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1", "TSAN_OPTIONS": "halt_on_error=0:second_deadlock_stack=1",
            "LSAN_OPTIONS": f"suppressions={lsan}:print_suppressions=0" if lsan.exists() else "print_suppressions=0"}


def clean_env(**more):
    """The environment without anything that would choose a database."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "DB_")) and k != "DATABASE_URL"}
    env.update(sanitizer_env(), LC_ALL="C.UTF-8", **more)
    return env


def mountinfo():
    """(mountpoint, file system type) of every mount, names decoded."""
    def plain(s):
        return re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), s)
    out = []
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        words = line.split(b" ")
        out.append((os.fsdecode(plain(words[4])), words[words.index(b"-") + 1].decode()))
    return out


def is_mounted(path):
    return any(m == str(path) and t.startswith("fuse") for m, t in mountinfo())


def lazy_umount(path):
    for argv in (["umount", "-l", "--", str(path)], ["fusermount3", "-u", "-z", "--", str(path)]):
        if subprocess.run(argv, capture_output=True, check=False).returncode == 0:
            return


def clean_stale():
    """Removes what earlier, killed sessions left under /tmp: mounts whose owner is gone, then their directories."""
    def dead(name):
        m = re.match(re.escape(PREFIX) + r"(\d+)-", name)
        return m and not Path(f"/proc/{m[1]}").exists()
    for path, fstype in mountinfo():
        parts = Path(path).parts
        if fstype.startswith("fuse") and len(parts) > 2 and parts[1] == "tmp" and dead(parts[2]):
            lazy_umount(path)
    for path in Path("/tmp").glob(f"{PREFIX}*"):
        if dead(path.name) and (IS_ROOT or path.owner() == Path("/proc/self").owner()):
            shutil.rmtree(path, ignore_errors=True)


def install(conninfo, layout=None, options=None, env=None, ok=True):
    """Installs the triggers that LAYOUT (a file; None: the built-in one) needs, as a user does. What it said."""
    opts = ",".join(k if v is True else f"{k}={v}" for k, v in (options or {}).items() if v is not None)
    argv = [rowfs_binary(), "check", "--install", "--layout", layout or "default",
            *(["-o", opts] if opts else []), *([conninfo] if conninfo else [])]
    return run(*argv, env=env or clean_env(), ok=ok, timeout=120).stdout


class Mount:
    """rowfs mounted at .path. LAYOUT is a file, a dict (written to a file), or None for the built-in one; OPTIONS a dict for -o. The first
    mount of a layout installs the triggers that it needs before it starts, as far as the role can, unless INSTALL is false. (Those of the
    built-in layout are in the database that each test's own is a copy of, unless the test is marked as bare.)"""
    installed = set()

    def __init__(self, conninfo, layout=None, options=None, env=None, mountpoint=None, words=(), start=True, log_level="info",
                 install=True):
        self.dir = scratch("mnt")
        self.path = Path(mountpoint) if mountpoint else self.dir / "m"
        self.path.mkdir(exist_ok=True)
        self.stderr = self.dir / "stderr"
        self.options = {"state_dir": self.dir / "state", "log_level": log_level, **(options or {})}
        if isinstance(layout, dict):
            text, layout = json.dumps(layout, ensure_ascii=False, indent=1), self.dir / "layout.json"
            layout.write_text(text, encoding="utf-8")
        opts = ",".join(k if v is True else f"{k}={v}" for k, v in self.options.items() if v is not None)
        self.argv = [str(rowfs_binary()), "mount", "-f", *map(str, words), *(["--layout", str(layout)] if layout else []),
                     "-o", opts, *([conninfo] if conninfo else []), str(self.path)]
        self.env = clean_env(**(env or {}))
        self.conninfo, self.layout = conninfo, layout
        self.install = install and layout is not None and os.path.isfile(layout) and "ro" not in self.options
        self.expected, self.process, self.hung = [], None, False
        self._watch = None
        if start:
            self.start()

    # -- life ---------------------------------------------------------------------------------------------------------

    def spawn(self):
        with open(self.stderr, "ab") as log:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env, cwd="/")
        if self._watch:
            self._watch.cancel()  # of one that was killed
        self._watch = threading.Timer(HUNG_AFTER, self._kill_hung)
        self._watch.daemon = True
        self._watch.start()

    def start(self, timeout=30):
        asked = (self.conninfo, Path(self.layout).read_bytes()) if self.install else None
        if asked and asked not in Mount.installed:
            install(self.conninfo, self.layout, self.options, self.env, ok=False)
            Mount.installed.add(asked)
        self.spawn()

        def answers():
            if self.process.poll() is not None:
                raise AssertionError(f"rowfs ended with {self.process.returncode} before it answered\n{self.story()}")
            return is_mounted(self.path) and (self.path / ".rowfs/status.json").exists()
        try:
            until(answers, f"{self.path} answers", timeout)
        except BaseException:
            self.destroy()
            raise

    def _kill_hung(self):
        """Runs in a timer's thread: a daemon that does not answer blocks the test itself, for good."""
        self.hung = True
        if shutil.which("gdb"):
            with contextlib.suppress(Exception):
                done = subprocess.run(["gdb", "-p", str(self.process.pid), "-batch", "-ex", "thread apply all bt 12"],
                                      capture_output=True, text=True, timeout=60, check=False)
                sys.stderr.write(f"\nhung rowfs {self.process.pid}:\n{done.stdout}\n")
        self.process.kill()

    def kill_and_spawn(self):
        """kill -9, and another daemon in its place, which may have to wait."""
        self.kill(signal.SIGKILL)
        self.process.wait()
        while is_mounted(self.path):
            lazy_umount(self.path)
        self._watch.cancel()
        self.spawn()

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def umount(self, timeout=60):
        """Unmounts as a user would; rowfs must end with 0 and must have said nothing bad."""
        if self.process is None:
            return
        if self.alive():
            until(self._try_umount, f"umount of {self.path}", timeout=15)
        status = self.wait(timeout)
        assert not self.hung, f"the mount hung and was killed\n{self.story()}"
        assert status == 0, f"rowfs ended with {status}\n{self.story()}"
        self.check_output()

    def _try_umount(self):
        argv = ["umount", "--", str(self.path)] if os.geteuid() == 0 else ["fusermount3", "-u", "--", str(self.path)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        return done.returncode == 0 or not is_mounted(self.path) or not self.alive()

    def wait(self, timeout=60):
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"rowfs did not end within {timeout} s\n{self.story()}") from None
        finally:
            if self._watch:
                self._watch.cancel()
        return status

    def kill(self, signum=signal.SIGKILL):
        self.process.send_signal(signum)

    def destroy(self):
        """Cleans up whatever is left, without judging."""
        if self._watch:
            self._watch.cancel()
        if self.alive():
            self.process.kill()
            self.process.wait()
        while is_mounted(self.path):
            lazy_umount(self.path)
        shutil.rmtree(self.dir, ignore_errors=True)

    # -- what it said ---------------------------------------------------------------------------------------------------

    def output(self):
        return self.stderr.read_text(errors="replace") if self.stderr.exists() else ""

    def story(self):
        return f"$ {shlex.join(self.argv)}\n{self.output()[-8000:]}"

    def expect(self, regex):
        """Lines that match REGEX may be in the output although they look bad."""
        self.expected.append(re.compile(regex))

    def check_output(self):
        stray = [line for line in self.output().splitlines()
                 if STRAY.search(line) and not any(e.search(line) for e in self.expected)]
        assert not stray, "rowfs said:\n" + "\n".join(stray[:60])

    # -- files ------------------------------------------------------------------------------------------------------------

    def __truediv__(self, name):
        return self.path / name

    def at(self, name):
        return self.path / str(name).lstrip("/")

    def bytes(self, name):
        return get(self.at(name))

    def read(self, name):
        return get(self.at(name)).decode("utf-8")

    def json(self, name):
        return json.loads(self.read(name))

    def jsonl(self, name):
        return [json.loads(line) for line in self.read(name).splitlines()]

    def write(self, name, data, **kw):
        if isinstance(data, (dict, list)):
            data = json.dumps(data, ensure_ascii=False)
        put(self.at(name), data, **kw)

    def append(self, name, data, **kw):
        put(self.at(name), data, flags=os.O_APPEND, **kw)

    def ls(self, name="."):
        return sorted(os.listdir(self.at(name)))

    def exists(self, name):
        return os.path.lexists(self.at(name))

    def mkdir(self, name):
        os.mkdir(self.at(name))

    # -- the control tree ---------------------------------------------------------------------------------------------------

    def errors(self):
        return [json.loads(line) for line in self.bytes(".rowfs/errors.jsonl").decode().splitlines()]

    def sentence(self):
        """The newest error as one string: everything that the user is told."""
        lines = self.bytes(".rowfs/errors.jsonl").decode().splitlines()
        return lines[-1] if lines else ""

    def status(self):
        return self.json(".rowfs/status.json")

    def rejected(self):
        """name → bytes of everything kept under /.rowfs/rejected, at any depth."""
        top, out = self.at(".rowfs/rejected"), {}
        for base, _, names in os.walk(top):
            for name in names:
                full = os.path.join(base, name)
                out[os.path.relpath(full, top)] = get(full)
        return out

    def kept(self):
        """The refused input as it was written: whole documents, and the text of each refused line."""
        out = []
        for name, body in self.rejected().items():
            if name.endswith(".rejected.jsonl"):
                for line in body.decode("utf-8", "surrogateescape").splitlines():
                    said = json.loads(line)  # what is no text is kept in hex
                    out.append(said["text"].encode("utf-8", "surrogateescape") if "text" in said else bytes.fromhex(said["hex"]))
            else:
                out.append(body)
        return out

    def refuses(self, action, number, *words, path=None, keeps=None):
        """ACTION must fail with errno NUMBER (one or several); a sentence that it brought must hold WORDS (any case) and PATH; KEEPS must be
        in a rejected file. Returns the sentence."""
        before = len(self.errors())
        numbers = number if isinstance(number, tuple) else (number,)
        try:
            action()
        except OSError as error:
            e = error
            got = errno.errorcode.get(e.errno, e.errno)
            assert e.errno in numbers, f"expected {[errno.errorcode[n] for n in numbers]}, got {got}; {self.sentence()}"
        else:
            raise AssertionError(f"expected {[errno.errorcode[n] for n in numbers]}, but it succeeded")
        after = self.errors()
        assert len(after) > before or len(after) >= 1000, f"{e}: no sentence in errors.jsonl: {after[-2:]}"
        # what becomes of the file when nobody has it open any more may have been told by now, too
        new = [json.dumps(one, ensure_ascii=False) for one in after[before if len(after) < 1000 else -10:] if str(path or "") in one.get("path", "")]
        fitting = [said for said in new if all(word.lower() in said.lower() for word in words)]
        assert fitting, f"{words} are in no sentence: {after[before:]}"
        said = fitting[-1]
        if keeps is not None:
            keeps = keeps.encode() if isinstance(keeps, str) else keeps
            kept = self.kept()
            assert any(keeps in body for body in kept), f"{keeps[:200]!r} is not kept in rejected/: {self.rejected().keys()}"
        return said


def at_once(mount):
    """Kills MOUNT, which has no time to tell anything, and takes its corpse away."""
    mount.kill()
    mount.wait()
    lazy_umount(mount.path)
    mount.process = None


def memory(mount):
    """KiB that the daemon has had at most."""
    with open(f"/proc/{mount.process.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM:"))
