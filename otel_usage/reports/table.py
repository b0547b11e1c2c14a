"""A table: what every report and query answers and every format writes. Values in it are plain (values.py)."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows.

    Attributes:
        columns: Their names.
        rows: Plain values: None, bool, int, float, str, list, dict.
        shown: The columns that a format for reading shows; empty is all.
        downwards: Whether a format for reading shows the one row from top to bottom.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    shown: tuple[str, ...] = ()
    downwards: bool = False

    def for_reading(self) -> "Table":
        """What a format for people shows of it."""
        if self.downwards and len(self.rows) == 1:
            return Table(("column", "value"), tuple(zip(self.columns, self.rows[0], strict=True)))
        return self.only(self.shown) if self.shown else self

    def only(self, columns: tuple[str, ...]) -> "Table":
        """The same rows with these columns."""
        kept = [self.columns.index(column) for column in columns]
        return Table(columns, tuple(tuple(row[index] for index in kept) for row in self.rows))
