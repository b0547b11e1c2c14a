"""A table for people: whole wherever it goes, except on a terminal too narrow for it.

There columns are left out rather than squeezed, and named by `left_out`.
"""

from typing import Final, TextIO

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from otel_usage.reports.table import Table
from otel_usage.reports.values import text, visible

_WHOLE: Final = 1_000_000
# What a reader misses least goes first; after these, columns go from the right; a report says at least who or what,
# and how often.
_LAST_TO_GO: Final = ("last_used", "requests")
_FIRST_TO_GO: Final = (
    "server_errors",
    "request_bytes",
    "p50_ms",
    "first_used",
    "downloads",
    "views",
    "resources",
    "p95_ms",
    "tokens",
    "users",
    "response_bytes",
)


def write(table: Table, stream: TextIO) -> None:
    _print(table.for_reading(), stream, _WHOLE)


def write_to_terminal(table: Table, stream: TextIO, width: int) -> tuple[str, ...]:
    """Write as many columns as `width` holds; the others are returned."""
    whole = table.for_reading()
    shown = _fitting(whole, width)
    _print(shown, stream, width)
    return tuple(column for column in whole.columns if column not in shown.columns)


def _fitting(table: Table, width: int) -> Table:
    widths = {column: _width(table, index) for index, column in enumerate(table.columns)}
    going: list[str] = [column for column in _FIRST_TO_GO if column in widths]
    going += [column for column in reversed(table.columns[1:]) if column not in (*going, *_LAST_TO_GO)]
    going += [column for column in _LAST_TO_GO if column in widths]
    kept = dict.fromkeys(table.columns)
    for column in going:
        if sum(widths[name] + 3 for name in kept) + 1 <= width:
            break
        del kept[column]
    return table if len(kept) == len(table.columns) else table.only(tuple(kept))


def _width(table: Table, index: int) -> int:
    cells = (visible(text(row[index])) for row in table.rows)
    return max([Text(table.columns[index]).cell_len, *(Text(cell).cell_len for cell in cells)])


def _print(table: Table, stream: TextIO, width: int) -> None:
    console = Console(file=stream, width=width, color_system=None, legacy_windows=False, soft_wrap=True)
    drawn = RichTable(box=box.SQUARE, show_edge=True)
    for index, column in enumerate(table.columns):
        numeric = any(type(row[index]) in (int, float) for row in table.rows)
        drawn.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(visible(text(value))) for value in row))
    console.print(drawn, crop=False)
