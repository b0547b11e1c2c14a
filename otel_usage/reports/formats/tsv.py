r"""Tab-separated values: the format knows no quotes, so tab, line ends and backslash are \t, \n, \r and \\."""

from typing import Final, TextIO

from otel_usage.reports.table import Table
from otel_usage.reports.values import text

_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def write(table: Table, stream: TextIO) -> None:
    for row in (table.columns, *table.rows):
        stream.write("\t".join(text(value).translate(_ESCAPES) for value in row) + "\n")
