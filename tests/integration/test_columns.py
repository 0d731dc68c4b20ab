"""Column files: one column of one row, as text, JSON or bytes."""
import errno
import os

import pytest

from kit import append, get, put, refused, rm, sh, until


def test_scalar_columns_read_with_one_newline(shop):
    shop.add("bolt", qty=3, price="1.5", active=False, mood="so-so", code="ab", born="2024-02-29")
    for name, text in {"qty": "3\n", "price": "1.50000000\n", "active": "false\n", "mood": "so-so\n", "code": "ab\n",
                       "born": "2024-02-29\n"}.items():
        assert shop.m.read(f"items/bolt/{name}") == text
        assert os.stat(shop.m.at(f"items/bolt/{name}")).st_size == len(text)


def test_echo_does_what_it_says(shop):
    shop.add("bolt")
    sh("echo 17 > qty; echo bad > mood; echo 2.25 > price; printf abc > code; echo 1999-12-31 > born; echo false > active",
       cwd=shop.m / "items/bolt")
    assert shop.sql("select qty, mood::text, price::text, code, born::text, active from items") == [
        (17, "bad", "2.25000000", "abc", "1999-12-31", False)]


def test_scalars_lose_exactly_one_newline(shop):
    shop.add("bolt")
    put(shop.m.at("items/bolt/code"), "ab\n\n")
    assert shop.item("code") == "ab\n"
    put(shop.m.at("items/bolt/code"), "ab")
    assert shop.item("code") == "ab"
    assert shop.m.read("items/bolt/code") == "ab\n"


@pytest.mark.parametrize("text", ["", "x", "x\n", "\n", "\n\n", " x ", "zwölf\r\n", "日本語\n🙂", "a" * 100_000, "\\n \\. \\", "\t"])
def test_text_is_exact(shop, text):
    """Truncating alone is committed when the file is released, just after close: the kernel flushes before a shell writes (dup)."""
    shop.add("bolt", note="old")
    put(shop.m.at("items/bolt/note.txt"), text)
    until(lambda: shop.item("note") == text, "committed", timeout=5 if text == "" else 0)
    assert get(shop.m.at("items/bolt/note.txt")) == text.encode()
    assert os.stat(shop.m.at("items/bolt/note.txt")).st_size == len(text.encode())


@pytest.mark.parametrize("body", [b"", b"\0", bytes(range(256)), b"\\x41", b"x\n", os.urandom(300_000)], ids=range(6))
def test_bytea_is_exact(shop, body):
    shop.add("bolt")
    put(shop.m.at("items/bolt/blob.bin"), body)
    until(lambda: shop.item("blob") is not None and bytes(shop.item("blob")) == body, "committed", timeout=5 if body == b"" else 0)
    assert get(shop.m.at("items/bolt/blob.bin")) == body
    assert os.stat(shop.m.at("items/bolt/blob.bin")).st_size == len(body)
    append(shop.m.at("items/bolt/blob.bin"), b"\xff\0end")
    assert bytes(shop.item("blob")) == body + b"\xff\0end"


def test_null(shop):
    """NULL is ENOENT for text and bytes, null for JSON; creating the file sets the column."""
    shop.add("bolt", meta=None)
    for name in ("note.txt", "price", "code", "blob.bin", "born"):
        with refused(errno.ENOENT):
            get(shop.m.at(f"items/bolt/{name}"))
        assert name not in shop.m.ls("items/bolt")
    assert shop.m.read("items/bolt/meta.json") == "null\n"
    put(shop.m.at("items/bolt/note.txt"), "now")
    assert shop.item("note") == "now"
    assert "note.txt" in shop.m.ls("items/bolt")
    put(shop.m.at("items/bolt/price"), "3\n")
    assert shop.m.read("items/bolt/price") == "3.00000000\n"


def test_rm_sets_null_truncate_sets_empty(shop):
    shop.add("bolt", note="n", blob=b"b")
    rm(shop.m.at("items/bolt/note.txt"))
    assert shop.item("note") is None
    assert not shop.m.exists("items/bolt/note.txt")
    put(shop.m.at("items/bolt/note.txt"), "again")
    os.truncate(shop.m.at("items/bolt/note.txt"), 0)
    assert shop.item("note") == ""
    assert shop.m.bytes("items/bolt/note.txt") == b""
    sh("echo x > note.txt; : > note.txt; : > blob.bin", cwd=shop.m / "items/bolt")
    until(lambda: shop.item("note") == "" and bytes(shop.item("blob")) == b"", "truncated")
    rm(shop.m.at("items/bolt/meta.json"))
    assert shop.item("meta") is None
    assert shop.m.read("items/bolt/meta.json") == "null\n"


@pytest.mark.parametrize("seen", [lambda path: None, os.stat, get, lambda path: os.listdir(os.path.dirname(path))],
                         ids=["not seen", "stat", "read", "listed"])
@pytest.mark.parametrize("by", ["document", "renamed document", "SQL"])
def test_rm_of_a_column_that_became_null_finds_nothing(shop, seen, by):
    """As of a file that somebody else has removed meanwhile; also if the caller has just looked at it."""
    shop.add("bolt", note="n")
    document, note = shop.m.at("items/bolt/item.json"), shop.m.at("items/bolt/note.txt")
    seen(note)
    if by == "SQL":
        shop.sql("update items set note = null")
    elif by == "document":
        put(document, '{"note": null}')
    else:
        put(shop.m.at("tmpfile"), '{"note": null}')
        os.replace(shop.m.at("tmpfile"), document)
    with pytest.raises(FileNotFoundError):
        os.unlink(note)
    for _ in range(2):  # JSON has a file in any case
        rm(shop.m.at("items/bolt/meta.json"))


def test_rm_of_a_not_null_column_is_refused(shop):
    shop.add("bolt", qty=3)
    shop.m.refuses(lambda: os.unlink(shop.m.at("items/bolt/qty")), (errno.EINVAL, errno.EPERM), "qty", path="items/bolt/qty")
    assert shop.item("qty") == 3


def test_append(shop):
    shop.add("bolt", note="one\n")
    append(shop.m.at("items/bolt/note.txt"), "two\n")
    assert shop.item("note") == "one\ntwo\n"
    sh("echo three >> note.txt", cwd=shop.m / "items/bolt")
    assert shop.m.read("items/bolt/note.txt") == "one\ntwo\nthree\n"
    shop.sql("update items set note = null")
    append(shop.m.at("items/bolt/note.txt"), "first\n")  # to NULL: a new file
    assert shop.item("note") == "first\n"


def test_an_append_is_an_append(shop):
    """Two writers who opened the same text at the same time: neither loses what the other appended."""
    shop.add("bolt", note="0\n")
    path = shop.m.at("items/bolt/note.txt")
    one, two = os.open(path, os.O_WRONLY | os.O_APPEND), os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(one, b"1\n")
    os.write(two, b"2\n")
    os.close(one)
    os.close(two)
    assert sorted(shop.item("note").splitlines()) == ["0", "1", "2"]


@pytest.mark.parametrize("before", [None, ""])
def test_an_append_to_an_empty_column_is_an_append(shop, before):
    """Two writers who found nothing there."""
    shop.add("bolt", note=before)
    path = shop.m.at("items/bolt/note.txt")
    one, two = (os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT) for _ in range(2))
    anew = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_TRUNC)
    os.write(anew, b"0\n")
    os.close(anew)
    for fd, text in ((one, b"1\n"), (two, b"2\n")):
        os.write(fd, text)
        os.close(fd)
    assert shop.item("note") == "0\n1\n2\n"
    with open(path, "a", encoding="utf-8") as f:
        f.truncate(0)
        f.write("3\n")
    assert shop.item("note") == "3\n"


def test_truncate_in_the_middle_and_extend(shop):
    shop.add("bolt", note="abcdef", blob=b"abcdef")
    os.truncate(shop.m.at("items/bolt/note.txt"), 3)
    assert shop.item("note") == "abc"
    os.truncate(shop.m.at("items/bolt/blob.bin"), 8)
    assert bytes(shop.item("blob")) == b"abcdef\0\0"
    fd = os.open(shop.m.at("items/bolt/note.txt"), os.O_RDWR)
    os.pwrite(fd, b"X", 1)
    os.close(fd)
    assert shop.item("note") == "aXc"


def test_json_columns(shop):
    shop.add("bolt")
    put(shop.m.at("items/bolt/meta.json"), '{"b": [1, {"c": null}], "a": "ü"}')
    assert shop.item("meta") == {"a": "ü", "b": [1, {"c": None}]}
    assert shop.m.read("items/bolt/meta.json") == ('{\n    "a": "ü",\n    "b": [\n        1,\n        {\n            "c": null\n'
                                                   '        }\n    ]\n}\n')
    for text in ("[]", "3", '"s"', "null", "true"):
        put(shop.m.at("items/bolt/meta.json"), text)
        assert shop.m.json("items/bolt/meta.json") == __import__("json").loads(text)


@pytest.mark.parametrize("name, text, word", [
    ("qty", "x\n", "x"), ("qty", "", ""), ("qty", "1 2\n", ""), ("qty", "-1\n", "qty"), ("qty", "99999999999\n", "range"),
    ("qty", "1.5\n", ""), ("mood", "angry\n", "angry"), ("born", "2023-02-29\n", ""), ("active", "maybe\n", "maybe"),
    ("price", "1e13\n", ""), ("price", "1,5\n", ""), ("meta.json", "{\n", ""), ("meta.json", "", ""), ("meta.json", "{} {}", ""),
    ("note.txt", b"\xff\xfe", ""), ("note.txt", b"a\0b", "")])
def test_refused_values(shop, name, text, word):
    shop.add("bolt", qty=3, note="n", price=1, born="2024-01-01")
    before = shop.sql("select i::text from items i")
    shop.m.refuses(lambda: put(shop.m.at(f"items/bolt/{name}"), text, sync=text == ""), errno.EINVAL, word, path=f"items/bolt/{name}", keeps=text or None)
    assert shop.sql("select i::text from items i") == before
    assert shop.m.exists(f"items/bolt/{name}")
    put(shop.m.at("items/bolt/qty"), "5\n")  # and the next write is as good as ever
    assert shop.item("qty") == 5


def test_refused_values_too_long_and_not_unique(shop):
    shop.add("bolt", code="aaa")
    shop.add("nut", code="bbb")
    shop.m.refuses(lambda: put(shop.m.at("items/bolt/code"), "toolong\n"), errno.EFBIG, "too long", keeps="toolong")
    said = shop.m.refuses(lambda: put(shop.m.at("items/bolt/code"), "bbb\n"), errno.EEXIST, "code", "bbb", path="items/bolt/code")
    assert "already exists" in said  # the detail of the server's message
    shop.m.refuses(lambda: put(shop.m.at("items/bolt/note.txt"), "fail please"), errno.EINVAL, "the trigger refused it", "something else")
    assert shop.item("code") == "aaa"


def test_column_of_a_missing_row(shop):
    for action in (lambda: get(shop.m.at("items/none/qty")), lambda: os.unlink(shop.m.at("items/none/qty")),
                   lambda: put(shop.m.at("items/none/qty"), "1\n")):
        with refused(errno.ENOENT):
            action()
    assert shop.sql("select 1 from items") == []


def test_columns_with_the_key_in_the_file_name(shop):
    shop.sql("insert into days values ('2024-02-29', 'leap')")
    assert shop.m.ls("days") == ["2024-02-29.txt"]
    assert shop.m.read("days/2024-02-29.txt") == "leap"
    put(shop.m.at("days/2024-02-29.txt"), "x")
    assert shop.one("select text from days") == "x"
    with refused(errno.EINVAL):  # a day out of range is a mistake, and no temporary name
        put(shop.m.at("days/2024-02-30.txt"), "x")
    with refused(errno.ENOENT):
        get(shop.m.at("days/2024-02-30.txt"))


def test_writing_one_column_leaves_the_others_alone(shop):
    shop.add("bolt", qty=3, note="n")
    other = shop.pg.connect()
    put(shop.m.at("items/bolt/qty"), "4\n")
    with other, other.cursor() as cur:
        cur.execute("update items set note = 'by sql'")
    other.close()
    put(shop.m.at("items/bolt/qty"), "5\n")
    assert shop.sql("select qty, note from items") == [(5, "by sql")]


def test_memory_of_the_default_layout(mount, pg):
    mount.mkdir("users/h")
    put(mount.at("users/h/memory/short.txt"), "remember\n")
    assert pg.sql("select short_term_memory, long_term_memory from users") == [("remember\n", None)]
    append(mount.at("users/h/memory/long.txt"), "line\n")
    append(mount.at("users/h/memory/long.txt"), "line\n")
    assert pg.sql("select short_term_memory, long_term_memory from users") == [("remember\n", "line\nline\n")]
    assert mount.read("memory/h/short.txt") == "remember\n"
    with refused(errno.EFBIG):
        put(mount.at("users/h/memory/short.txt"), "é" * 10_241)
    put(mount.at("users/h/memory/short.txt"), "é" * 10_240)


@pytest.mark.parametrize("flags", [os.O_CREAT, os.O_TRUNC])
@pytest.mark.parametrize("first", [0, 1])
def test_an_emptied_file_that_another_one_writes_has_what_it_wrote(shop, tmp_path, flags, first):
    """The program that has made or emptied it writes nothing. In whatever order they close it, nothing that was acknowledged is lost."""
    shop.add("bolt", note=None if flags == os.O_CREAT else "old")
    for path in (tmp_path / "note.txt", shop.m.at("items/bolt/note.txt")):
        fds = [os.open(path, os.O_RDWR | os.O_CREAT | flags), os.open(path, os.O_RDWR | os.O_TRUNC)]
        os.write(fds[1], b"yz\n")
        os.close(fds[first])
        os.close(fds[1 - first])
    shop.m.umount()  # also what is committed moments after close
    assert shop.item("note") == (tmp_path / "note.txt").read_text() == "yz\n"
