"""Documents: one row as one JSON file; reading, creating, rewriting."""
import errno
import json
import os
import re
import threading

import pytest

from kit import get, put, refused, rm

UUID = "3e7a1fd2-93a5-4c1c-8d3c-0d4b0f6f0b11"


def test_read_is_pretty_exact_and_in_column_order(shop):
    shop.sql("""insert into items (name, qty, price, huge, big, ratio, note, meta, born, seen, tags, code) values ('bolt', 3, 1.5,
             12345678901234567890.12345678901234567890, 9007199254740993, 0.1, E'zwölf\n"x"', '{"a": [1, 2.50], "é": null}', '2024-02-29',
             '2024-02-29 12:00:00.123456+00', '{a,"b c"}', null)""")
    text = shop.m.read("items/bolt/item.json")
    assert text.startswith('{\n    "name": "bolt",\n    "qty": 3,\n    "price": 1.50000000,\n'
                           '    "huge": 12345678901234567890.12345678901234567890,\n    "big": 9007199254740993,\n    "ratio": 0.1,\n')
    assert '    "note": "zwölf\\n\\"x\\"",\n' in text
    assert '    "code": null,\n' in text
    assert text.endswith("\n}\n") and not text.endswith("\n\n")
    value = json.loads(text)
    assert list(value) == [r[0] for r in shop.sql("select attname::text from pg_attribute where attrelid = 'items'::regclass and attnum > 0 "
                                                  "order by attnum")]
    assert value["meta"] == {"a": [1, 2.5], "é": None} and value["tags"] == ["a", "b c"] and value["twice"] == 6
    shop.sql("set timezone = 'UTC'")
    assert shop.one("select to_jsonb(i) = %s::jsonb from items i", text)
    for line in text.splitlines()[1:-1]:
        assert re.match(r"^( {4})+[^ ]", line), line  # 4 spaces a level


def test_query_documents(shop):
    shop.add("bolt", qty=2)
    shop.add("nut", qty=5)
    shop.sql("insert into parts (item, label, weight) values ('bolt', 'a', 1.25), ('bolt', 'b', 2)")
    assert shop.m.read("items/bolt/summary.json") == ('{\n    "name": "bolt",\n    "qty": 2,\n    "parts": 2,\n'
                                                      '    "weight": 3.25000000\n}\n')
    assert sorted(shop.m.jsonl("names.jsonl"), key=lambda r: r["name"]) == [{"name": "bolt", "qty": 2}, {"name": "nut", "qty": 5}]
    assert sorted(shop.m.json("names.json"), key=lambda r: r["name"]) == [{"name": "bolt", "qty": 2}, {"name": "nut", "qty": 5}]
    assert shop.m.read("names.csv").splitlines()[0] == "name,qty"
    assert sorted(shop.m.read("names.csv").splitlines()[1:]) == ["bolt,2", "nut,5"]
    assert shop.m.json("sum/20+22.json") == {"total": 42}
    assert shop.m.json("sum/-1+1.json") == {"total": 0}
    for name in ("sum/x+1.json", "sum/1.json", "sum/1;2+3.json", "sum/99999999999+1.json"):
        with refused(errno.ENOENT, errno.EINVAL):
            get(shop.m.at(name))
    assert shop.m.ls("sum") == []  # parameters do not list


def test_an_empty_query_has_its_header(pg, make_mount):
    """Of a view, and of functions of all sorts, which are run once for a file and not for its header."""
    pg.sql("""create view none as select 1 as a, 'x'::text as "b,c", null::json as "d'" where false;
        create table calls (n serial);
        create function set_of(wanted int) returns table (n int, "t t" text) language plpgsql as $$ begin
            insert into calls default values; return query select i, 'x' from generate_series(1, wanted) i; end $$;
        create function scalars(wanted int) returns setof integer language sql as $$ select generate_series(1, wanted) $$""")
    m = make_mount(layout={"routes": [{"path": "/none.csv", "query": "none"}, {"path": "/set/{wanted}.csv", "query": "set_of"},
                                      {"path": "/scalars/{wanted}.csv", "query": "scalars"}, {"path": "/none.jsonl", "query": "none"}]})
    assert m.read("none.csv") == "a,\"b,c\",d'\n" and m.read("none.jsonl") == ""
    assert m.read("set/0.csv") == "n,t t\n"
    calls = pg.one("select count(*) from calls")
    assert m.read("set/2.csv") == "n,t t\n1,x\n2,x\n"
    assert pg.one("select count(*) from calls") <= 2 * calls  # nothing is run for the header alone
    assert (m.read("scalars/0.csv"), m.read("scalars/1.csv")) == ("scalars\n", "scalars\n1\n")


def test_query_files_are_read_only(shop):
    shop.add("bolt")
    for name in ("names.jsonl", "items/bolt/summary.json"):
        with refused(errno.EROFS, errno.EACCES):
            put(shop.m.at(name), "x")
        with refused(errno.EROFS):
            os.unlink(shop.m.at(name))
    with refused(errno.EROFS, errno.EXDEV):
        os.rename(shop.m.at("names.jsonl"), shop.m.at("x"))


def test_create_in_a_flat_directory(shop):
    shop.m.write("flat/1.json", {"id": 1, "title": "one"})
    assert shop.sql("select id, title, extra from flat") == [(1, "one", None)]
    shop.m.write("flat/2.json", {"title": "two"})  # the key comes from the path
    assert shop.one("select title from flat where id = 2") == "two"
    assert shop.m.ls("flat") == ["1.json", "2.json"]
    assert shop.m.json("flat/2.json") == {"id": 2, "title": "two", "extra": None}
    assert os.stat(shop.m.at("flat/2.json")).st_size == len(shop.m.bytes("flat/2.json"))


def test_create_exclusively(shop):
    with open(shop.m.at("flat/1.json"), "x", encoding="utf-8") as f:
        f.write('{"title": "one"}')
    assert shop.one("select title from flat") == "one"
    with refused(errno.EEXIST):
        open(shop.m.at("flat/1.json"), "x")  # noqa: SIM115


def test_create_in_a_rows_directory(shop):
    shop.m.mkdir("items/bolt")
    shop.m.write("items/bolt/item.json", {"qty": 4, "tags": ["x"], "mood": "bad"})
    assert shop.sql("select qty, tags, mood::text from items") == [(4, ["x"], "bad")]


def test_nested_document_takes_its_parent_from_the_path(shop):
    shop.add("bolt")
    shop.m.write(f"items/bolt/parts/{UUID}.json", {"label": "thread", "weight": 0.1})
    assert shop.sql("select id::text, item, label, weight::text from parts") == [(UUID, "bolt", "thread", "0.10000000")]
    shop.m.write(f"items/bolt/parts/{UUID}.json", {"id": UUID, "item": "bolt", "label": "t2"})
    assert shop.sql("select label, weight::text from parts") == [("t2", "0.10000000")]


def test_rewrite_keeps_what_is_left_out_and_nulls_what_is_null(shop):
    shop.add("bolt", qty=3, note="n", price=2)
    shop.m.write("items/bolt/item.json", {"name": "bolt", "note": None, "big": 5})
    assert shop.sql("select qty, note, price, big from items") == [(3, None, 2, 5)]
    shop.m.write("items/bolt/item.json", "{}")
    assert shop.sql("select qty, note, price, big from items") == [(3, None, 2, 5)]


def test_a_document_written_back_as_read_changes_nothing(shop):
    shop.sql("insert into items (name, huge, big, ratio, note, tags, seen) values ('bolt', 0.12345678901234567890, 9007199254740993, "
             "0.30000000000000004, 'x', '{}', now())")
    before = shop.sql("select i::text from items i")
    for _ in range(2):
        text = shop.m.read("items/bolt/item.json")
        shop.m.write("items/bolt/item.json", text)
        assert shop.sql("select i::text from items i") == before
        assert shop.m.read("items/bolt/item.json") == text


def test_generated_columns(shop):
    """A generated column is shown, and taken when it says what is so; the server's own value stays."""
    shop.add("bolt", qty=3)
    shop.m.write("items/bolt/item.json", {"qty": 4, "twice": 6})
    assert shop.sql("select qty, twice from items") == [(4, 8)]


@pytest.mark.parametrize("number, column, shown", [
    ("9007199254740993", "big", "9007199254740993"), ("-9223372036854775808", "big", "-9223372036854775808"),
    ("12345678901234567890", "huge", "12345678901234567890"), ("0.12345678901234567890", "huge", "0.12345678901234567890"),
    ("123456789012.12345678", "price", "123456789012.12345678"), ("1.50", "huge", "1.50"), ("1e3", "huge", "1000"),
    ("0.1", "ratio", "0.1"), ("1e-300", "ratio", "1e-300"), ("0.30000000000000004", "ratio", "0.30000000000000004")])
def test_numbers_are_exact(shop, number, column, shown):
    shop.add("bolt")
    shop.m.write("items/bolt/item.json", f'{{"{column}": {number}}}')
    assert shop.one(f"select {column} = {number}::{'numeric' if column != 'ratio' else 'float8'} from items")
    assert f'"{column}": {shown}' in shop.m.read("items/bolt/item.json").replace(",\n", "\n") or \
        shop.one(f"select {column}::text from items") != shown


def test_numbers_in_json_columns_are_exact(shop):
    shop.add("bolt")
    shop.m.write("items/bolt/meta.json", '{"n": 12345678901234567890.123456789, "é": "ü", "s": "\\u00fc\\ud83d\\ude42"}')
    assert shop.one("select meta->>'n' from items") == "12345678901234567890.123456789"
    text = shop.m.read("items/bolt/meta.json")
    assert "12345678901234567890.123456789" in text and '"é": "ü"' in text and '"s": "ü🙂"' in text
    assert text.endswith("}\n") and '\n    "n"' in text


def test_overflow_column_takes_what_no_column_takes(shop):
    shop.m.write("flat/1.json", {"title": "one", "colour": "red", "deep": {"x": [1]}})
    assert shop.sql("select title, extra from flat") == [("one", {"colour": "red", "deep": {"x": [1]}})]
    shown = shop.m.json("flat/1.json")
    assert shown["title"] == "one"
    assert "red" in json.dumps(shown)
    shop.m.write("flat/1.json", shop.m.read("flat/1.json"))  # what is shown can be written back, and changes nothing
    assert shop.sql("select title, extra from flat") == [("one", {"colour": "red", "deep": {"x": [1]}})]
    shop.m.write("flat/1.json", '{"big": 12345678901234567890.5}')
    assert shop.one("select extra->>'big' from flat") == "12345678901234567890.5"


def test_document_that_contradicts_its_path(shop):
    shop.add("bolt", qty=1)
    shop.add("nut", qty=1)
    shop.m.refuses(lambda: shop.m.write("items/bolt/item.json", {"name": "nut", "qty": 9}), errno.EINVAL, "contradicts",
                   path="items/bolt/item.json", keeps='"nut"')
    shop.m.refuses(lambda: shop.m.write("flat/1.json", {"id": 2, "title": "x"}), errno.EINVAL, "contradicts")
    shop.m.refuses(lambda: shop.m.write(f"items/bolt/parts/{UUID}.json", {"item": "nut", "label": "x"}), errno.EINVAL, "contradicts")
    assert shop.sql("select name, qty from items order by 1") == [("bolt", 1), ("nut", 1)]
    assert shop.sql("select 1 from flat union all select 1 from parts") == []


def test_write_in_pieces_fsync_and_close(shop):
    shop.add("bolt")
    body = json.dumps({"qty": 5, "note": "x" * 200_000})
    shop.m.write("items/bolt/item.json", body, chunk=777)
    assert shop.sql("select qty, length(note) from items") == [(5, 200_000)]
    fd = os.open(shop.m.at("items/bolt/item.json"), os.O_WRONLY | os.O_TRUNC)
    os.write(fd, b'{"qty": 6}')
    os.fsync(fd)
    assert shop.item("qty") == 6  # fsync means committed
    os.close(fd)
    assert shop.item("qty") == 6


def test_partial_rewrite_by_pwrite(shop):
    shop.add("bolt", qty=3)
    path = shop.m.at("items/bolt/item.json")
    at = get(path).index(b'"qty": 3') + len('"qty": ')
    fd = os.open(path, os.O_RDWR)
    assert os.pread(fd, 1, at) == b"3"
    os.pwrite(fd, b"7", at)
    assert os.pread(fd, 1, at) == b"7"  # the writer reads what it wrote
    os.close(fd)
    assert shop.item("qty") == 7


def test_open_without_trunc_then_ftruncate(shop):
    shop.add("bolt", qty=3, note="long long note")
    fd = os.open(shop.m.at("items/bolt/item.json"), os.O_RDWR)
    body = b'{"qty": 8}\n'
    os.write(fd, body)
    os.ftruncate(fd, len(body))
    os.close(fd)
    assert shop.sql("select qty, note from items") == [(8, "long long note")]


def test_append_to_a_document_makes_the_whole_document(shop):
    shop.add("bolt", qty=3)
    path = "items/bolt/item.json"
    shop.m.refuses(lambda: shop.m.append(path, '{"qty": 4}'), errno.EINVAL, keeps='{"qty": 4}')  # two documents are not one
    assert shop.item("qty") == 3
    shop.m.append(path, "   \n")
    assert shop.item("qty") == 3


def test_truncating_a_document_to_nothing_is_refused(shop):
    shop.add("bolt", qty=3)
    with refused(errno.EINVAL):
        os.truncate(shop.m.at("items/bolt/item.json"), 0)
    assert shop.item("qty") == 3
    assert shop.m.json("items/bolt/item.json")["qty"] == 3


def test_shell_redirection_flushes_first(shop):
    """echo x > file sends a flush before the data: nothing may be committed or refused by that."""
    from kit import sh
    shop.add("bolt", qty=3)
    before = len(shop.m.errors())
    sh("echo '{\"qty\": 12}' > item.json", cwd=shop.m / "items/bolt")
    assert shop.item("qty") == 12
    assert len(shop.m.errors()) == before


def test_open_document_is_a_snapshot(shop):
    shop.add("bolt", note="a" * 300_000)
    fd = os.open(shop.m.at("items/bolt/item.json"), os.O_RDONLY)
    first = os.pread(fd, 1000, 0)
    shop.sql("update items set note = repeat('b', 300000), qty = 1")
    rest = os.pread(fd, 400_000, 1000)
    os.close(fd)
    assert b"b" * 10 not in first + rest and (first + rest).count(b"a") > 299_000


def test_replace_is_atomic_under_readers(shop):
    """Readers see one version or the other, never a mixture, however the file is replaced."""
    shop.add("bolt", qty=0, note="0" * 30_000)
    path, stop, bad, seen = shop.m.at("items/bolt/item.json"), threading.Event(), [], set()

    def reader():
        while not stop.is_set():
            try:
                value = json.loads(get(path))
                seen.add(value["qty"])
                if set(value["note"]) != {str(value["qty"] % 10)}:
                    bad.append(value["qty"])
            except (ValueError, OSError) as e:
                bad.append(e)
    readers = [threading.Thread(target=reader) for _ in range(4)]
    for r in readers:
        r.start()
    for i in range(1, 41):
        body = json.dumps({"qty": i, "note": str(i % 10) * 30_000})
        if i % 2:
            put(path, body, chunk=4096)
        else:
            put(shop.m.at("items/bolt/item.tmp"), body)
            os.replace(shop.m.at("items/bolt/item.tmp"), path)
    stop.set()
    for r in readers:
        r.join()
    assert not bad, bad[:5]
    assert len(seen) > 1
    assert shop.item("qty") == 40


def test_temp_file_and_rename(shop):
    shop.add("bolt", qty=3)
    put(shop.m.at("items/bolt/.item.json.tmp"), '{"qty": 5}')
    assert shop.item("qty") == 3
    os.rename(shop.m.at("items/bolt/.item.json.tmp"), shop.m.at("items/bolt/item.json"))
    assert shop.item("qty") == 5
    assert not shop.m.exists("items/bolt/.item.json.tmp")
    put(shop.m.at("flat/new"), '{"title": "n"}')
    os.rename(shop.m.at("flat/new"), shop.m.at("flat/9.json"))  # a rename onto a name without a row inserts
    assert shop.sql("select id, title from flat") == [(9, "n")]


def test_refused_rename_keeps_the_temp_file(shop):
    shop.add("bolt", qty=3)
    put(shop.m.at("items/bolt/tmp"), '{"qty": -5}')
    shop.m.refuses(lambda: os.rename(shop.m.at("items/bolt/tmp"), shop.m.at("items/bolt/item.json")), errno.EINVAL, "qty")
    assert shop.item("qty") == 3
    assert shop.m.read("items/bolt/tmp") == '{"qty": -5}'  # nothing is lost


def test_rename_of_a_row_document_changes_its_key(shop):
    shop.m.write("flat/1.json", {"title": "one"})
    os.rename(shop.m.at("flat/1.json"), shop.m.at("flat/5.json"))
    assert shop.sql("select id, title from flat") == [(5, "one")]
    assert shop.m.ls("flat") == ["5.json"]
    shop.m.write("flat/6.json", {"title": "six"})
    shop.m.refuses(lambda: os.rename(shop.m.at("flat/5.json"), shop.m.at("flat/6.json")), errno.EEXIST)
    assert shop.sql("select id, title from flat order by 1") == [(5, "one"), (6, "six")]
    shop.sql("insert into pairs values ('x', 1, 'v')")
    os.rename(shop.m.at("pairs/x/1.json"), shop.m.at("pairs/x/2.json"))
    assert shop.sql("select a, b, val from pairs") == [("x", 2, "v")]


def test_unlink_deletes_the_row(shop):
    shop.m.write("flat/1.json", {"title": "one"})
    rm(shop.m.at("flat/1.json"))
    assert shop.sql("select 1 from flat") == []
    assert not shop.m.exists("flat/1.json")
    with refused(errno.ENOENT):
        os.unlink(shop.m.at("flat/1.json"))


def test_metadata_calls_on_documents_do_nothing(shop):
    shop.add("bolt", qty=3)
    path = shop.m.at("items/bolt/item.json")
    before = shop.sql("select i::text, xmin::text from items i")
    os.chmod(path, 0o600)
    os.chown(path, os.getuid(), os.getgid())
    os.utime(path, (1, 1))
    assert shop.sql("select i::text, xmin::text from items i") == before


def test_a_reader_who_opened_for_writing_too_changes_nothing(shop):
    shop.add("bolt", qty=3)
    before = shop.sql("select xmin::text from items")
    fd = os.open(shop.m.at("items/bolt/item.json"), os.O_RDWR)
    assert json.loads(os.read(fd, 100_000))["qty"] == 3
    os.close(fd)
    assert shop.sql("select xmin::text from items") == before
