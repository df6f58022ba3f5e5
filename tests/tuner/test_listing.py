from __future__ import annotations

from tests.tuner.drawing import drawn
from tuner.report.listing import Listing, Row

ROWS = (
    Row(("1", "12 ms", "-"), "precision=bf16, engine=compile-default", ("over: it is too large",)),
    Row(("2", "1.5 s", "")),
)
TABLE = Listing(ROWS, ("trial", "latency", "PSNR", "config"), ("trial", "latency"), "a caption")


def test_what_is_long_stands_beside_the_rest_where_it_can_be_read():
    assert drawn(TABLE, 80).splitlines() == [
        "trial  latency  config",
        "    1    12 ms  precision=bf16, engine=compile-default",
        "    over: it is too large",
        "    2    1.5 s",
        "a caption",
    ]


def test_otherwise_it_stands_below_and_breaks_at_its_commas():
    assert drawn(TABLE, 40).splitlines() == [
        "trial  latency",
        "    1    12 ms",
        "    precision=bf16,",
        "    engine=compile-default",
        "    over: it is too large",
        "    2    1.5 s",
        "a caption",
    ]


def test_where_nothing_else_helps_a_row_is_a_sentence():
    table = Listing((Row(("1", "9.99 s", "a long cell")),), ("trial", "latency", "outcome"))
    assert drawn(table, 24).splitlines() == ["trial 1, latency 9.99 s,", "outcome a long cell"]


def test_a_long_cell_of_several_lines_keeps_its_column():
    table = Listing((Row(("name",), "one two three four five six seven eight nine ten eleven"),))
    assert drawn(table, 50).splitlines() == [
        "name  one two three four five six seven eight nine",
        "      ten eleven",
    ]


def test_markup_in_what_is_told_is_text():
    assert drawn(Listing((Row(("[red]x[/red]",), "[/b]"),)), 80) == "[red]x[/red]  [/b]\n"


def test_a_path_that_is_longer_than_a_line_is_broken_and_keeps_its_column():
    path = "/a" * 60
    table = Listing((Row(("config",), "precision=bf16"), Row(("failure",), f"no {path} there")))
    first, *others = drawn(table, 80).splitlines()
    assert first == "config   precision=bf16"
    assert "".join(line[9:] for line in others).replace(" ", "") == f"no{path}there"
    assert all(len(line) <= 80 for line in others)
