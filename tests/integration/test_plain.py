"""Names that no route knows: plain files for the life of the mount."""
import errno
import json
import os
import stat

import pytest

from kit import append, get, put, refused, run, sh, until
from mountkit import Mount
from shop import LAYOUT


def test_a_plain_file_is_a_file(shop):
    path = shop.m.at("notes.txt")
    body = os.urandom(300_000)
    put(path, body)
    assert get(path) == body and os.stat(path).st_size == 300_000
    append(path, b"tail")
    assert get(path) == body + b"tail"
    fd = os.open(path, os.O_RDWR)
    os.pwrite(fd, b"HEAD", 0)
    os.ftruncate(fd, 10)
    assert os.pread(fd, 100, 0) == b"HEAD" + body[4:10]
    os.pwrite(fd, b"far", 100_000)
    os.close(fd)
    assert get(path) == b"HEAD" + body[4:10] + b"\0" * (100_000 - 10) + b"far"
    put(path, "short")
    assert get(path) == b"short"
    with refused(errno.EEXIST):
        os.open(path, os.O_CREAT | os.O_EXCL)
    os.unlink(path)
    assert not shop.m.exists("notes.txt")


def test_names_anywhere_in_the_tree(shop):
    shop.add("bolt")
    shop.add("nut")
    names = [".item.json.swp", "4913", "item.json~", "sedAbC123", "日本語.txt", "a b", "x%y", "né"]
    for where in ("", "items/bolt/", "flat/", "book/"):
        for name in names:
            put(shop.m.at(where + name), where + name)
        assert set(names) <= set(shop.m.ls(where or "."))
        for name in names:
            assert shop.m.read(where + name) == where + name
    assert not set(names) & set(shop.m.ls("items/nut"))
    assert shop.sql("select name from items order by 1") == [("bolt",), ("nut",)]
    for name in names:
        os.unlink(shop.m.at("items/bolt/" + name))
    assert not set(names) & set(shop.m.ls("items/bolt"))


def test_plain_directories(shop):
    os.makedirs(shop.m.at("work/deep/deeper"))
    put(shop.m.at("work/deep/a.txt"), "a")
    assert shop.m.ls("work") == ["deep"] and shop.m.ls("work/deep") == ["a.txt", "deeper"]
    with refused(errno.ENOTEMPTY):
        os.rmdir(shop.m.at("work"))
    os.rename(shop.m.at("work/deep"), shop.m.at("moved"))
    assert shop.m.read("moved/a.txt") == "a" and shop.m.ls("work") == []
    with refused(errno.EEXIST):
        os.mkdir(shop.m.at("work"))
    sh("rm -r work moved", cwd=shop.m.path)
    assert not shop.m.exists("moved")


def test_plain_rename_and_replace(shop):
    put(shop.m.at("a"), "a")
    put(shop.m.at("b"), "b")
    os.rename(shop.m.at("a"), shop.m.at("b"))
    assert shop.m.read("b") == "a" and not shop.m.exists("a")
    shop.m.mkdir("d")
    with refused(errno.EISDIR):
        os.rename(shop.m.at("b"), shop.m.at("d"))
    os.rename(shop.m.at("b"), shop.m.at("d/b"))
    assert shop.m.read("d/b") == "a"


def test_mv_without_overwriting(shop):
    put(shop.m.at("a"), "a")
    put(shop.m.at("b"), "b")
    run("mv", "-n", shop.m / "a", shop.m / "b")
    assert shop.m.read("b") == "b" and shop.m.read("a") == "a"


def test_metadata_of_plain_files(shop):
    path = shop.m.at("f")
    put(path, "x", mode=0o640)
    os.chmod(path, 0o600)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    os.utime(path, (1_000_000, 2_000_000))
    assert int(os.stat(path).st_mtime) == 2_000_000


def test_an_unlinked_open_file_lives_until_close(shop):
    fd = os.open(shop.m.at("f"), os.O_RDWR | os.O_CREAT)
    os.write(fd, b"still here")
    os.unlink(shop.m.at("f"))
    assert not shop.m.exists("f")
    assert os.pread(fd, 100, 0) == b"still here"
    os.close(fd)


def test_symlinks_work_or_say_eperm(shop):
    put(shop.m.at("f"), "x")
    try:
        os.symlink("f", shop.m.at("l"))
    except OSError as e:
        assert e.errno in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
    else:
        assert shop.m.read("l") == "x" and os.readlink(shop.m.at("l")) == "f"
    with refused(errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK):
        os.link(shop.m.at("log.csv"), shop.m.at("hard"))


def test_plain_files_are_on_disk_not_in_memory(shop):
    from kit import rss_kib
    before = rss_kib(shop.m.process.pid)
    with open(shop.m.at("big"), "wb") as f:
        for _ in range(100):
            f.write(b"x" * (1 << 20))
    assert rss_kib(shop.m.process.pid) - before < 40_000
    held = sum(os.stat(os.path.join(b, f)).st_blocks * 512 for b, _, fs in os.walk(shop.m.options["state_dir"]) for f in fs)
    assert held >= 100 << 20


def test_a_limit_that_says_enospc(shop_pg, make_mount):
    m = make_mount(layout=LAYOUT, options={"plain_max": "1M"})
    put(m.at("a"), b"x" * 500_000)
    with refused(errno.ENOSPC):
        put(m.at("b"), b"y" * 700_000)
    with refused(errno.ENOSPC):
        append(m.at("a"), b"y" * 700_000)
    assert m.bytes("a")[:500_000] == b"x" * 500_000
    with refused(errno.ENOSPC):
        os.truncate(m.at("a"), 5 << 20)
    os.unlink(m.at("a"))
    if m.exists("b"):
        os.unlink(m.at("b"))
    put(m.at("c"), b"z" * 900_000)  # removing gives the room back
    put(m.at("c"), b"z" * 900_000)  # and so does truncating


def test_gone_after_a_clean_unmount(shop):
    put(shop.m.at("left"), "secret plain bytes")
    state = shop.m.options["state_dir"]
    shop.m.umount()
    left = [os.path.join(b, f) for b, _, fs in os.walk(state) for f in fs]
    assert not any(b"secret plain bytes" in open(f, "rb").read() for f in left), left
    shop.m.start()
    assert not shop.m.exists("left")


def test_two_mounts_do_not_share_plain_files(shop_pg, make_mount):
    one, two = make_mount(layout=LAYOUT), make_mount(layout=LAYOUT)
    put(one.at("f"), "one")
    put(two.at("f"), "two")
    assert one.read("f") == "one" and two.read("f") == "two"


def test_two_mounts_with_one_state_dir(shop_pg, make_mount):
    one = make_mount(layout=LAYOUT)
    two = make_mount(layout=LAYOUT, options={"state_dir": one.options["state_dir"]})
    put(one.at("f"), "one")
    put(two.at("f"), "two")
    two.umount()
    assert one.read("f") == "one"
    put(one.at("g"), "g")
    assert one.read("g") == "g"


def test_rename_plain_onto_a_route_commits(shop):
    shop.add("bolt", qty=1, note="old")
    for name, body, column, want in (("item.json", '{"qty": 2}', "qty", 2), ("note.txt", "new", "note", "new"),
                                     ("blob.bin", b"\0\1", "encode(blob, 'hex')", "0001"), ("mood", "bad\n", "mood::text", "bad")):
        put(shop.m.at("items/bolt/tmp"), body)
        os.replace(shop.m.at("items/bolt/tmp"), shop.m.at(f"items/bolt/{name}"))
        assert shop.item(column) == want
        assert not shop.m.exists("items/bolt/tmp")
    assert shop.m.read("items/bolt/note.txt") == "new"
    put(shop.m.at("rows.tmp"), "src,n,amount,text\na,1,,\n")
    os.replace(shop.m.at("rows.tmp"), shop.m.at("log.csv"))
    assert shop.sql("select src, n from log") == [("a", 1)]


@pytest.mark.parametrize("onto", ["names.jsonl", "items/bolt/summary.json"])
def test_rename_onto_a_query_is_refused(shop, onto):
    shop.add("bolt")
    put(shop.m.at("tmp"), "x")
    with refused(errno.EROFS, errno.EPERM, errno.EACCES):
        os.rename(shop.m.at("tmp"), shop.m.at(onto))
    assert shop.m.read("tmp") == "x"


def test_as_vim_does_route_to_backup_and_made_again(shop):
    """mv item.json item.json~; create item.json; write; rm item.json~: the row, its key and its children stay all the time."""
    shop.add("bolt", qty=1, note="n")
    shop.sql("insert into parts (item, label) values ('bolt', 'child')")
    old = shop.m.bytes("items/bolt/item.json")
    xmin = shop.item("ctid::text")
    os.rename(shop.m.at("items/bolt/item.json"), shop.m.at("items/bolt/item.json~"))
    assert shop.m.bytes("items/bolt/item.json~") == old
    assert shop.sql("select name from items") == [("bolt",)] and shop.one("select count(*) from parts") == 1
    fd = os.open(shop.m.at("items/bolt/item.json"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(fd, old.replace(b'"qty": 1', b'"qty": 2'))
    os.fsync(fd)
    os.close(fd)
    os.unlink(shop.m.at("items/bolt/item.json~"))
    assert shop.sql("select name, qty, note from items") == [("bolt", 2, "n")]
    assert shop.one("select count(*) from parts") == 1
    assert xmin != shop.item("ctid::text")


def test_backup_by_rename_of_a_column_and_a_flat_row(shop):
    shop.add("bolt", note="n")
    os.rename(shop.m.at("items/bolt/note.txt"), shop.m.at("items/bolt/note.txt~"))
    assert shop.m.read("items/bolt/note.txt~") == "n"
    put(shop.m.at("items/bolt/note.txt"), "m")
    assert shop.item("note") == "m"
    shop.m.write("flat/1.json", {"title": "one"})
    os.rename(shop.m.at("flat/1.json"), shop.m.at("flat/1.json.bak"))
    assert json.loads(shop.m.read("flat/1.json.bak"))["title"] == "one"
    shop.m.write("flat/1.json", {"title": "two"})
    assert shop.sql("select id, title from flat") == [(1, "two")]


def test_a_file_that_stays_open_over_its_rename(shop):
    shop.add("bolt", qty=1)
    fd = os.open(shop.m.at("items/bolt/tmp"), os.O_RDWR | os.O_CREAT)
    os.write(fd, b'{"qty": 5}')
    os.rename(shop.m.at("items/bolt/tmp"), shop.m.at("items/bolt/item.json"))
    assert shop.item("qty") == 5
    os.close(fd)
    assert shop.item("qty") == 5


def test_flock_and_exclusive_create_for_lock_files(shop):
    done = sh("exec 9> lock; flock -n 9; (exec 8> lock; flock -n 8) && exit 3 || exit 0", cwd=shop.m.path, ok=False)
    assert done.returncode == 0, done


def test_after_a_kill_the_state_is_no_obstacle(shop_pg, make_mount, request):
    m = Mount(shop_pg.conninfo, layout=LAYOUT)
    try:
        put(m.at("left"), "x" * 100_000)
        m.kill()
        m.process.wait()
        m._watch.cancel()
        with refused(errno.ENOTCONN):
            os.stat(m.path)
        from mountkit import lazy_umount
        lazy_umount(m.path)
        again = make_mount(layout=LAYOUT, options={"state_dir": m.options["state_dir"], "plain_max": "150K"})
        assert not again.exists("left")
        put(again.at("new"), "y" * 140_000)  # what the killed mount left counts for nothing, and goes
        until(lambda: sum(n not in ("streams", "notices") for _, _, f in os.walk(m.options["state_dir"]) for n in f) <= 3, "the killed mount's files are gone")
    finally:
        m.destroy()
