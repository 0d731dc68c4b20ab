"""Lines on their way to the database: what becomes of each, whatever happens to the file, the server or the network meanwhile."""
import os

from kit import until
from shop import LAYOUT as SHOP


def lines_of(low, high, text="x"):
    return "".join(f"s,{n},,{text}\n" for n in range(low, high)).encode()


def numbers(pg):
    return [n for n, in pg.sql("select n from log order by id")]


def test_a_refused_line_of_a_file_that_was_cut(make_mount, shop_pg):
    """The line is told of after its handle is closed: what it belongs to must still be there."""
    m = make_mount(layout=SHOP)
    for last in (b"", lines_of(7, 8)):
        fd = os.open(m.at("log.csv"), os.O_WRONLY | os.O_APPEND)
        os.write(fd, lines_of(1, 3) + b"s,-1,,refused\n")
        os.ftruncate(fd, 0)
        os.write(fd, last)
        os.close(fd)
    until(lambda: numbers(shop_pg)[-1:] == [7], "the last line is a row")
    with open(m.at("log.csv"), "ab") as f:  # a batch behind all those
        f.write(lines_of(8, 9))
    assert numbers(shop_pg)[-1] == 8
