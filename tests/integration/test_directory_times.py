"""st_mtime of directories: it moves when a name in them comes, goes or changes, by this mount, by SQL and by another mount, and never goes back.
Programs that go by it (make, Maildir readers, git's untracked cache) look at a directory again only then."""
import datetime
import os

import pytest
import shop as shop_kit

from coherencekit import Notices
from kit import put, rm, until


@pytest.fixture
def mount(shop_pg, make_mount):
    return make_mount(layout=shop_kit.LAYOUT)


def stamp(path):
    st = os.stat(path)
    assert st.st_ctime_ns == st.st_mtime_ns
    return st.st_mtime_ns


class Watch:
    """Whether the time of a directory has moved; it may never go back."""

    def __init__(self, path):
        self.path, self.last = path, stamp(path)

    def moved(self):
        before, self.last = self.last, stamp(self.path)
        assert self.last >= before, "it went back"
        return self.last > before


def test_names_that_this_mount_makes_and_removes(mount, shop_pg, tmp_path):
    """At once, as on a disk: of rows, of plain files beside them, and of a directory of plain files."""
    shop_pg.sql("insert into items (name) values ('bolt')")
    mount.mkdir("plain")
    until(lambda: mount.exists("items/bolt"), "the row is there")
    for top in (mount.at(""), mount / "items", mount / "items/bolt", mount / "plain"):
        watch = Watch(top)
        for act in (lambda: put(top / "x.tmp", "1"),  # noqa: B023
                    lambda: os.rename(top / "x.tmp", top / "y.tmp"),  # noqa: B023
                    lambda: os.unlink(top / "y.tmp"),  # noqa: B023
                    lambda: os.symlink("x", top / "link"),  # noqa: B023
                    lambda: os.unlink(top / "link")):  # noqa: B023
            act()
            assert watch.moved(), top
        assert not watch.moved()
        os.listdir(top)
        assert not watch.moved()
    watch = Watch(mount / "items")
    for act in (lambda: os.mkdir(mount / "items/nut"), lambda: os.rename(mount / "items/nut", mount / "items/screw"),
                lambda: os.rmdir(mount / "items/screw")):
        act()
        assert watch.moved()
    watch, other = Watch(mount / "flat"), Watch(mount / "items")
    mount.write("flat/7.json", '{"title": "x"}')
    assert watch.moved()
    rm(mount / "flat/7.json")
    assert watch.moved() and not other.moved()


def test_names_that_others_make_and_remove(mount, shop_pg):
    """One by one, and so many that the notice names no keys."""
    for sql in ("insert into items (name) values ('bolt')", "update items set name = 'nut'", "delete from items",
                "insert into items (name) select 'n' || g from generate_series(1, 3000) g", "delete from items"):
        watch = Watch(mount / "items")
        shop_pg.sql(sql)
        until(watch.moved, f"a new time after {sql}")


def test_a_row_that_only_changes_is_no_change_of_names(mount, shop_pg):
    notices = Notices(mount)
    shop_pg.sql("insert into flat values (1, 'aaa')")
    until(lambda: mount.exists("flat/1.json"), "the row is there")
    notices.wait()
    watch = Watch(mount / "flat")
    shop_pg.sql("update flat set title = 'bbb'")
    until(lambda: "bbb" in mount.read("flat/1.json"), "the new text")
    assert not watch.moved()


def test_what_the_kernel_has_forgotten(mount, shop_pg):
    """A change while nobody knows the directory is in its time when somebody asks, and the time is the same as before otherwise."""
    shop_pg.sql("insert into items (name) values ('bolt')")
    until(lambda: mount.exists("items/bolt"), "the row is there")
    mount.write("items/bolt/x.tmp", "1")
    before = {p: stamp(mount / p) for p in ("items", "items/bolt")}
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as drop:
        drop.write("2")
    assert {p: stamp(mount / p) for p in before} == before


def test_a_rows_directory_takes_the_layouts_time(shop_pg, make_mount):
    shop_pg.sql("alter table items add changed timestamptz; insert into items (name, changed) values ('bolt', '2020-02-03 04:05:06.789+00'), ('nut', null)")
    m = make_mount(layout={"tables": {"items": {"mtime": "changed"}},
                           "routes": [{"path": "/items/{items.name}/item.json", "row": "items"},
                                      {"path": "/items/{items.name}/days/{items.qty}.json", "row": "items"}]})
    when = datetime.datetime(2020, 2, 3, 4, 5, 6, 789000, datetime.timezone.utc)
    listed = {e.name: e.stat().st_mtime for e in os.scandir(m / "items")}
    assert listed["bolt"] == os.stat(m / "items/bolt").st_mtime == os.stat(m / "items/bolt/item.json").st_mtime == when.timestamp()
    assert os.stat(m / "items/nut").st_mtime > when.timestamp()
    shop_pg.sql("update items set changed = changed + interval '1 year' where name = 'bolt'")
    later = when.replace(year=2021).timestamp()
    until(lambda: os.stat(m / "items/bolt").st_mtime == later, "the new time")
    m.write("items/bolt/note.tmp", "a name in it")
    assert os.stat(m / "items/bolt").st_mtime > later
