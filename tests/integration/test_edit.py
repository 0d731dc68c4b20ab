"""Rows files that are changed in their middle: what the file says at fsync or close is what the rows are. The same calls on a plain file say
what the file must then have in it."""
import errno
import json
import os
import pty
import time

import pytest

from kit import refused, run, sh, until

SQL = """
create table bars (id bigserial primary key, sym text not null, n bigint not null check (n >= 0), memo text, hidden text default 'h');
create table notes (id bigint primary key, text text, hidden text default 'h');
create table refers (note bigint references notes);
create table quotes (id bigserial primary key, sym text, n bigint);
create table kept (id bigserial primary key, n bigint);
create table writes (op text, n bigint);
create function note_write() returns trigger language plpgsql as
    $$ begin insert into writes values (tg_op, coalesce(new.n, old.n)); return coalesce(new, old); end $$;
create trigger note_write before insert or update or delete on bars for each row execute function note_write();
"""
LAYOUT = {"routes": [
    {"path": "/bars.csv", "rows": "bars", "columns": ["sym", "n", "memo"], "order": ["id"]},
    {"path": "/by/{sym}.csv", "rows": "bars", "columns": ["sym", "n", "memo"], "order": ["id"]},
    {"path": "/notes.jsonl", "rows": "notes", "columns": ["id", "text"], "order": ["id"]},
    {"path": "/notes.csv", "rows": "notes", "columns": ["id", "text"], "order": ["id"]},
    {"path": "/quotes.csv", "rows": "quotes", "columns": ["sym", "n"], "order": ["id"]},
    {"path": "/kept.csv", "rows": "kept", "columns": ["n"], "order": ["id"], "truncate": "refuse"},
]}
HEADER = "sym,n,memo\n"


@pytest.fixture
def files(pg, make_mount):
    pg.sql(SQL)
    return make_mount(layout=LAYOUT)


@pytest.fixture
def plain(tmp_path):
    (tmp_path / "by").mkdir()
    return tmp_path


def bars(n, sym="A"):
    return HEADER + "".join(f"{sym},{i},line {i}\n" for i in range(n))


def begin(files, plain, name, text):
    """The same text in both places, and rows of it."""
    files.write(name, text)
    (plain / name).write_text(text)
    assert files.read(name) == text


def both(files, plain, name, change):
    """Makes CHANGE to both files; they must read the same afterwards, whatever the order of the lines."""
    for path in (plain / name, files.at(name)):
        change(path)
    first, *rest = (plain / name).read_text().splitlines()
    got = files.read(name).splitlines()
    assert (got[0], sorted(got[1:])) == (first, sorted(rest))
    assert files.errors() == []


def php_save(path, text):
    """fopen($f, 'c+'): no truncation; the text, and then the cut to its length."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    os.read(fd, 1 << 20)
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, text.encode())
    os.ftruncate(fd, os.lseek(fd, 0, os.SEEK_CUR))
    os.close(fd)


def test_lines_that_stay_keep_their_rows(files, plain, pg):
    begin(files, plain, "bars.csv", bars(6))
    pg.sql("update bars set hidden = 'mine'; truncate writes")
    before = dict(pg.sql("select n, id from bars"))
    text = bars(6).replace("A,2,line 2\n", "").replace("line 4", "changed and longer") + "A,77,new\n"
    both(files, plain, "bars.csv", lambda path: php_save(path, text))
    assert sorted(pg.sql("select op, n from writes")) == [("DELETE", 2), ("INSERT", 77), ("UPDATE", 4)]
    after = dict(pg.sql("select n, id from bars"))
    assert {n: after[n] for n in (0, 1, 3, 4, 5)} == {n: before[n] for n in (0, 1, 3, 4, 5)}
    assert pg.one("select count(*) from bars where hidden = 'mine'") == 5
    pg.sql("truncate writes")
    both(files, plain, "bars.csv", lambda path: php_save(path, path.read_text()))
    assert pg.sql("select * from writes") == []


def test_rows_with_a_key_are_updated_by_it(files, plain, pg):
    for name, line in (("notes.jsonl", '{{"id":{},"text":"{}"}}\n'), ("notes.csv", "{},{}\n")):
        pg.sql("delete from refers; delete from notes")
        head = "id,text\n" if name.endswith("csv") else ""
        begin(files, plain, name, head + "".join(line.format(i, f"t{i}") for i in range(1, 6)))
        pg.sql("insert into refers values (2); update notes set hidden = 'mine'")
        text = head + "".join(line.format(i, t) for i, t in ((1, "t1"), (2, "other"), (4, "t4"), (5, "t5"), (9, "new")))
        for path in (plain / name, files.at(name)):
            php_save(path, text)
        assert files.read(name) == (plain / name).read_text()
        assert pg.sql("select id, text, hidden from notes order by id") == [
            (1, "t1", "mine"), (2, "other", "mine"), (4, "t4", "mine"), (5, "t5", "mine"), (9, "new", "h")]
    with refused(errno.ENOENT):  # a row that others refer to
        php_save(files.at("notes.csv"), "id,text\n1,t1\n")
    assert pg.one("select count(*) from notes") == 5


def test_equal_lines(files, plain, pg):
    begin(files, plain, "bars.csv", HEADER + "A,1,x\n" * 5 + "B,2,y\n")
    both(files, plain, "bars.csv", lambda path: php_save(path, HEADER + "A,1,x\n" * 3 + "B,2,y\n" * 2))
    assert pg.sql("select sym, count(*) from bars group by 1 order by 1") == [("A", 3), ("B", 2)]


def patch(path, at, data, flags=os.O_RDWR):
    fd = os.open(path, flags)
    try:
        os.pwrite(fd, data, at)
    finally:
        os.close(fd)


def test_bytes_in_the_middle(files, plain, pg):
    begin(files, plain, "bars.csv", bars(5))

    def at(path, text):
        """Where it is: a line that was inserted before is read last."""
        return path.read_text().index(text)
    both(files, plain, "bars.csv", lambda path: patch(path, at(path, "line 3"), b"LINE"))
    both(files, plain, "bars.csv", lambda path: run("dd", f"of={path}", "bs=1", f"seek={at(path, 'LINE')}", "conv=notrunc", stdin="dd"))
    both(files, plain, "bars.csv", lambda path: run("sed", "-i", "s/dd/sed/;/line 1/d", path))
    files.at("by").joinpath("Q.csv").write_text("Q,1,x\n")
    (plain / "by/Q.csv").write_text(HEADER + "Q,1,x\n")
    both(files, plain, "by/Q.csv", lambda path: patch(path, len(HEADER), b"Q,2,y\nQ,3,z\n"))
    assert pg.sql("select n from bars where sym = 'Q' order by n") == [(2,), (3,)]


def test_read_write_and_append_through_one_handle(files, plain, pg):
    """What one handle writes in the middle and at the end is read by it, and committed together; then it goes on."""
    def change(path):
        with open(path, "r+", encoding="utf-8") as f:
            f.seek(len(HEADER))
            f.write("Z")
            f.seek(0, os.SEEK_END)
            f.write("B,50,x\n")
            f.flush()
            f.seek(0)
            assert f.read() == HEADER + "Z" + bars(4)[len(HEADER) + 1:] + "B,50,x\n"
            os.fsync(f.fileno())
            f.seek(0, os.SEEK_END)
            f.write("C,51,y\n")
            f.flush()
            os.fsync(f.fileno())
            f.seek(len(HEADER))
            f.write("Y")
    begin(files, plain, "bars.csv", bars(4))
    change(plain / "bars.csv")
    change(files.at("bars.csv"))
    assert sorted(files.read("bars.csv").splitlines()) == sorted((plain / "bars.csv").read_text().splitlines())
    assert files.errors() == []


def test_an_edit_takes_along_what_its_handle_had_appended(files, plain, pg):
    def change(path):
        fd = os.open(path, os.O_RDWR)
        os.lseek(fd, 0, os.SEEK_END)
        os.write(fd, b"B,8,x\nB,9,")
        os.pwrite(fd, b"Z", len(HEADER))
        os.write(fd, b"y\n")
        os.close(fd)
    begin(files, plain, "bars.csv", bars(3))
    both(files, plain, "bars.csv", change)


def test_lines_that_others_append_meanwhile_stay(files, plain, pg):
    """On a plain file, too, two programs that change different lines lose nothing."""
    def change(path):
        fd, other = os.open(path, os.O_RDWR), os.open(path, os.O_WRONLY | os.O_APPEND)
        os.pwrite(fd, b"Z", len(HEADER))
        os.write(other, b"B,60,other\n")
        os.close(other)
        os.close(fd)
    begin(files, plain, "bars.csv", bars(3))
    both(files, plain, "bars.csv", change)
    begin(files, plain, "notes.csv", "id,text\n1,a\n2,b\n")
    fd = os.open(files.at("notes.csv"), os.O_RDWR)
    os.pwrite(fd, b"c", len("id,text\n1,"))
    pg.sql("insert into notes values (3, 'sql')")
    os.close(fd)
    assert pg.sql("select id, text from notes order by id") == [(1, "c"), (2, "b"), (3, "sql")]


def test_an_offset_that_was_the_end(files, pg):
    """Two writers that have gone to the end by seeking, not by O_APPEND: none writes over the other's lines."""
    files.write("bars.csv", bars(2))
    fds = [os.open(files.at("bars.csv"), os.O_RDWR) for _ in range(2)]
    for fd in fds:
        os.lseek(fd, 0, os.SEEK_END)
    for i, fd in enumerate(fds):
        os.write(fd, f"W,{10 + i},x\n".encode())
        os.fsync(fd)
    for i, fd in enumerate(fds):
        os.write(fd, f"W,{20 + i},x\n".encode())
        os.close(fd)
    assert [n for (n,) in pg.sql("select n from bars order by n")] == [0, 1, 10, 11, 20, 21]


@pytest.mark.parametrize("flags", [os.O_TRUNC, 0])
def test_the_start_of_a_file_that_was_empty_is_its_end(files, pg, flags):
    """Another program has appended since it was opened."""
    with open(files.at("by/W.csv"), "ab") as first:
        fd = os.open(files.at("by/W.csv"), os.O_RDWR | flags)
        first.write(b"W,1,x\n")
        first.flush()
        os.fsync(first.fileno())
        os.write(fd, b"W,2,y\n")
        os.close(fd)
    assert [n for (n,) in pg.sql("select n from bars order by n")] == [1, 2]


@pytest.mark.parametrize("seek", [lambda f: f.seek(-len("W,1\n"), os.SEEK_END), lambda f: f.seek(os.fstat(f.fileno()).st_size - len("W,1\n"))])
def test_the_last_line_is_written_over(files, plain, pg, seek):
    """By a program that has just appended it, through another open file: where the file ended before that is not its end."""
    def change(path):
        for n in range(4):
            with open(path, "rb+") as f:
                f.seek(0, os.SEEK_END)
                f.write(b"W,1\n")
            with open(path, "rb+") as f:
                seek(f)
                f.write(f"X,{n}\n".encode())
    begin(files, plain, "quotes.csv", "sym,n\nA,0\n")
    both(files, plain, "quotes.csv", change)
    assert pg.sql("select sym, n from quotes order by id") == [("A", 0), ("X", 0), ("X", 1), ("X", 2), ("X", 3)]


def test_a_row_that_another_has_changed_meanwhile(files, pg):
    """Without a key in the file, a row is found by its line: not if somebody else has changed it since it was read."""
    files.write("bars.csv", bars(3))
    fd = os.open(files.at("bars.csv"), os.O_RDWR)
    os.pwrite(fd, b"B", len(HEADER))
    pg.sql("update bars set memo = 'by sql' where n = 0")
    with refused(errno.EBUSY):
        os.close(fd)
    assert pg.sql("select sym, n, memo from bars order by n") == [("A", 0, "by sql"), ("A", 1, "line 1"), ("A", 2, "line 2")]
    assert "read it again" in files.sentence()


def test_a_refused_edit_changes_nothing_and_can_be_mended(files, pg):
    files.write("bars.csv", bars(3))
    fd = os.open(files.at("bars.csv"), os.O_RDWR)
    at = bars(3).index("1,line 1")
    os.pwrite(fd, b"x", at)
    with refused(errno.EINVAL):
        os.fsync(fd)
    assert [n for (n,) in pg.sql("select n from bars order by n")] == [0, 1, 2]
    os.pwrite(fd, b"7", at)
    os.close(fd)
    assert [n for (n,) in pg.sql("select n from bars order by n")] == [0, 2, 7]


def test_cut_to_a_length(files, plain, pg):
    text = bars(6)
    begin(files, plain, "bars.csv", text)
    both(files, plain, "bars.csv", lambda path: os.truncate(path, text.index("A,5")))
    both(files, plain, "bars.csv", lambda path: run("truncate", "-s", str(text.index("A,4")), path))

    def cut_and_go_on(path):
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.write(fd, b"B,70,x\n")
        os.ftruncate(fd, text.index("3,line 3"))
        os.write(fd, b"71,y\n")
        os.close(fd)
    both(files, plain, "bars.csv", cut_and_go_on)
    assert [n for (n,) in pg.sql("select n from bars order by n")] == [0, 1, 2, 71]


def test_a_piece_of_a_line_is_no_row(files, pg):
    """A cut in the middle of a line would make another row of it, with a shorter memo. A line without its newline is whole."""
    text = bars(3)
    files.write("bars.csv", text)
    with refused(errno.EINVAL):
        os.truncate(files.at("bars.csv"), len(text) - 2)
    with refused(errno.EINVAL):
        os.truncate(files.at("bars.csv"), len(text) + 5)
    assert files.read("bars.csv") == text
    os.truncate(files.at("bars.csv"), len(text) - 1)
    assert files.read("bars.csv") == text


def test_limits_and_refusals_of_an_edit(pg, make_mount):
    pg.sql(SQL)
    mount = make_mount(layout=LAYOUT, options={"max_document": 4096})
    with refused(errno.EINVAL):
        patch(mount.at("bars.csv"), 500, b"A,1,x\n")  # a gap
    for i in range(3):
        mount.append("bars.csv", "".join(f"A,{j},{'x' * 90}\n" for j in range(i * 20, i * 20 + 20)))
    with refused(errno.EFBIG):
        patch(mount.at("bars.csv"), 20, b"x")
    with refused(errno.EFBIG):
        os.truncate(mount.at("bars.csv"), 300)
    assert pg.one("select count(*) from bars") == 60
    mount.append("kept.csv", "n\n1\n2\n")
    for change in (lambda p: patch(p, 3, b"7"), lambda p: os.truncate(p, 4)):
        with refused(errno.EPERM):
            change(mount.at("kept.csv"))
    mount.append("kept.csv", "3\n")
    assert pg.sql("select n from kept order by id") == [(1,), (2,), (3,)]


@pytest.mark.parametrize("words", [["--append"], ["--append-verify"], ["--inplace"], ["--inplace", "--no-whole-file"]])
def test_rsync(files, plain, pg, words):
    source = plain / "source.csv"
    begin(files, plain, "bars.csv", bars(300))
    source.write_text(bars(300) + "Z,1000,tail\n")
    both(files, plain, "bars.csv", lambda path: run("rsync", *words, source, path))
    if "--inplace" in words:
        source.write_text(bars(250).replace("line 7\n", "seven\n"))
        both(files, plain, "bars.csv", lambda path: run("rsync", *words, "-I", source, path))
    assert pg.one("select count(*) from bars") == len(source.read_text().splitlines()) - 1


def vi(path, keys):
    """Runs busybox vi at a terminal of its own, and types KEYS."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "vt100"
        os.execlp("busybox", "busybox", "vi", str(path))
    shown = b""
    try:
        os.set_blocking(fd, False)
        typed, deadline = 0, time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                shown += os.read(fd, 4096)
                if typed == 0 and shown:
                    typed = os.write(fd, keys.encode())
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:  # it has ended
                break
    finally:
        os.close(fd)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, shown


def test_busybox_vi(files, plain, pg):
    begin(files, plain, "bars.csv", bars(5))
    before = dict(pg.sql("select n, id from bars"))
    both(files, plain, "bars.csv", lambda path: vi(path, "4Gdd4G0rB:wq\r"))
    after = pg.sql("select n, id, sym from bars")
    assert sorted(sym for *_, sym in after) == ["A", "A", "A", "B"]
    assert all(before[n] == i for n, i, sym in after if sym == "A")


def test_json_lines_are_edited_by_scripts(files, plain, pg):
    def drop_second(path):
        with open(path, "r+", encoding="utf-8") as f:
            lines = [json.loads(line) for line in f]
            f.seek(0)
            f.writelines(json.dumps(x, separators=(",", ":")) + "\n" for x in lines if x["id"] != 2)
            f.truncate()
    begin(files, plain, "notes.jsonl", "".join(f'{{"id":{i},"text":"t{i}"}}\n' for i in range(1, 5)))
    for path in (plain / "notes.jsonl", files.at("notes.jsonl")):
        drop_second(path)
        sh(f"echo '{{\"id\":9,\"text\":\"x\"}}' >>{path}")
    assert files.read("notes.jsonl") == (plain / "notes.jsonl").read_text()
    until(lambda: pg.one("select count(*) from notes") == 4, "four notes")
