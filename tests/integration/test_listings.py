"""What the kernel is told beyond what it asks for: pages when a document is opened, and inode numbers by which large directories are walked."""
import os
import re
import threading

import pytest

from coherencekit import Notices
from kit import get, until

LAYOUT = {"routes": [{"path": "/names/{names.name}.txt", "column": "names.text"}]}


@pytest.fixture
def names(shop_pg):
    """A table of 5 000 documents, of 1 to 5 000 bytes."""
    shop_pg.sql("create table names (name text primary key, text text)")
    shop_pg.sql("insert into names select lpad(g::text, 5, '0'), repeat('x', g) || '!' from generate_series(0, 4999) g")
    return shop_pg


def reads(m):
    return int(re.search(rb"^rowfs_reads_total (\d+)$", get(m / ".rowfs/metrics"), re.M)[1])


def test_a_document_that_is_opened_can_be_read_without_a_request(names, make_mount):
    m = make_mount(layout=LAYOUT)
    text = dict(names.sql("select name, text from names where name < '00100' or name > '04990'"))
    reads(m)
    before = reads(m)
    alone = reads(m) - before  # what it takes to ask
    before = reads(m)
    for name in text:
        assert get(m / f"names/{name}.txt").decode() == text[name]
    assert reads(m) - before == alone


def test_pages_are_of_the_version_that_was_opened(names, make_mount):
    m = make_mount(layout=LAYOUT)
    path = m / "names/00007.txt"
    for i in range(1, 20):
        fd = os.open(path, os.O_RDONLY)
        old = names.one("select text from names where name = '00007'").encode()
        names.sql("update names set text = %s where name = '00007'", f"version {i} " + "y" * (7000 if i % 2 else 3))
        new = names.one("select text from names where name = '00007'").encode()
        until(lambda: get(path) == new, "the new version")  # noqa: B023
        assert os.pread(fd, 1 << 16, 0) == old
        os.close(fd)


@pytest.mark.parametrize("workers", [1, 2, 16])
def test_many_open_the_same_documents_at_once(names, make_mount, workers):
    """Who gives pages to the kernel may have to wait for a read of them, which wants a thread of the mount, too."""
    m = make_mount(layout=LAYOUT, options={"threads": workers})
    paths = [m / f"names/{i:05d}.txt" for i in range(4980, 5000)]
    wrong, notices = [], Notices(m)

    def read_all(want):
        for path in paths:
            data = get(path)
            if data != want[path.name[:5]]:
                wrong.append((path.name, data[:20]))

    for i in range(5):
        names.sql("update names set text = %s || text where name >= '04980'", f"{i} ")
        want = {name: text.encode() for name, text in names.sql("select name, text from names where name >= '04980'")}
        notices.wait()
        threads = [threading.Thread(target=read_all, args=(want,)) for _ in range(12)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert wrong == []


def test_inode_numbers_are_in_about_the_order_of_the_listing(names, make_mount):
    m = make_mount(layout=LAYOUT)
    listed = [(e.inode(), e.name) for e in os.scandir(m / "names")]
    assert [name[:5] for _, name in listed] == [name for (name,) in names.sql("select name from names order by name")]
    by_number = [name[:4] for _, name in sorted(listed)]
    assert by_number == [name[:4] for _, name in listed]
    assert len({number for number, _ in listed}) == 5000
    assert all(os.stat(m / "names" / name).st_ino == number for number, name in listed[::100])
