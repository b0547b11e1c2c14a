"""Formats: their names, and what a terminal too narrow for a table shows."""

import io

import pytest

from otel_usage.errors import InvalidFilterError
from otel_usage.reports import formats
from otel_usage.reports.formats.table import write_to_terminal
from otel_usage.reports.table import Table

TABLE = Table(("token_id", "requests", "views", "last_used"), (("tok_1", 5, 3, "2026-01-01"), (None, 1, 0, None)))


def shown(width: int, table: Table = TABLE) -> tuple[str, tuple[str, ...]]:
    stream = io.StringIO()
    left_out = write_to_terminal(table, stream, width)
    return stream.getvalue(), left_out


@pytest.mark.parametrize(
    ("width", "left_out"),
    [(44, ()), (43, ("views",)), (35, ("views", "last_used")), (12, ("requests", "views", "last_used"))],
)
def test_a_narrow_terminal_shows_fewer_columns(width: int, left_out: tuple[str, ...]) -> None:
    """Whole columns go, the least missed first, and are named; no cell is cut, no line broken."""
    text, gone = shown(width)
    assert gone == left_out
    assert "tok_1" in text and max(map(len, text.splitlines())) <= width


def test_dimensions_go_before_the_count() -> None:
    """However narrow, a report says at least who or what, and how often."""
    table = Table(
        ("resource_type", "resource_id", "resource_parent_id", "requests", "errors"),
        (("dataset", "a-long-identifier", "another-long-one", 7, 0),),
    )
    assert shown(40, table)[1] == ("resource_id", "resource_parent_id", "errors")


def test_wide_characters_are_measured_in_cells() -> None:
    """Chinese characters take two cells each."""
    assert shown(10, Table(("a",), (("数据集",),)))[0].splitlines()[-2] == "│ 数据集 │"


def test_the_last_column_is_folded_rather_than_cut() -> None:
    """Nothing of the first column is ever lost."""
    text, _ = shown(10, Table(("a",), (("abcdefghijkl",),)))
    assert "".join(line.strip("│ ") for line in text.splitlines()[3:-1]) == "abcdefghijkl"


def test_markup_of_the_library_is_not_obeyed() -> None:
    """A value is text, not a style."""
    assert "[red]x[/red]" in shown(80, Table(("a",), (("[red]x[/red]",),)))[0]


def test_one_row_is_read_downwards() -> None:
    """Where the report says so."""
    stream = io.StringIO()
    formats.write("markdown", Table(("a", "b"), ((1, None),), downwards=True), stream)
    assert stream.getvalue() == "| column | value |\n| --- | --: |\n| a | 1 |\n| b |  |\n"


@pytest.mark.parametrize(("name", "hint"), [("jsn", "json"), ("TABLE", "table"), ("", "table"), ("../csv", "csv")])
def test_an_unknown_format_is_refused(name: str, hint: str) -> None:
    """With the closest names; no module is imported by a name from outside."""
    with pytest.raises(InvalidFilterError) as refused:
        formats.write(name, TABLE, io.StringIO())
    assert hint in refused.value.hint


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("csv", 'a,"b,""c""",true,0.1,"{""k"": [1, null]}","x\ry",'),
        ("tsv", 'a\tb,"c"\ttrue\t0.1\t{"k": [1, null]}\tx\\ry\t'),
        ("jsonl", '{"1": "a", "2": "b,\\"c\\"", "3": true, "4": 0.1, "5": {"k": [1, null]}, "6": "x\\ry", "7": null}'),
        ("markdown", '| a | b,"c" | true | 0.1 | {"k": [1, null]} | x<br>y |  |'),
    ],
)
def test_every_kind_of_value_is_written(name: str, line: str) -> None:
    """Text, text to be quoted, truth, number, map, line end, missing."""
    stream = io.StringIO()
    row = ("a", 'b,"c"', True, 0.1, {"k": [1, None]}, "x\ry", None)
    formats.write(name, Table(("1", "2", "3", "4", "5", "6", "7"), (row,)), stream)
    assert stream.getvalue().split("\n")[-2] == line
