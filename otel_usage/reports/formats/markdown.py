"""A table of GitHub Flavored Markdown, in which no value ends a cell, begins a line or opens a tag."""

from typing import Any, Final, TextIO

from otel_usage.reports.table import Table
from otel_usage.reports.values import text, visible

_ESCAPES: Final = str.maketrans({"|": "\\|", "\\": "\\\\", "<": "&lt;", "&": "&amp;", "`": "\\`"})


def write(table: Table, stream: TextIO) -> None:
    shown = table.for_reading()
    numeric = [_is_numeric(shown, index) for index in range(len(shown.columns))]
    _line(shown.columns, stream)
    stream.write(f"| {' | '.join('--:' if right else '---' for right in numeric)} |\n")
    for row in shown.rows:
        _line(row, stream)


def _line(row: tuple[Any, ...], stream: TextIO) -> None:
    stream.write(f"| {' | '.join(_cell(value) for value in row)} |\n")


def _cell(value: Any) -> str:
    lines = text(value).translate(_ESCAPES).splitlines()
    return "<br>".join(visible(line) for line in lines)


def _is_numeric(table: Table, index: int) -> bool:
    values = [row[index] for row in table.rows if row[index] is not None]
    return bool(values) and all(isinstance(value, (int, float)) and value is not True for value in values)
