"""CSV after RFC 4180, with "\\n" as the line end; a missing value and an empty text are both an empty cell."""

import csv
from typing import TextIO

from otel_usage.reports.table import Table
from otel_usage.reports.values import text


def write(table: Table, stream: TextIO) -> None:
    writer = csv.writer(_LineFeeds(stream))
    writer.writerow(table.columns)
    writer.writerows([text(value) for value in row] for row in table.rows)


class _LineFeeds:
    """Ends lines with a line feed. The writer itself must not know: it quotes only characters of its line end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        self._stream.write(line.removesuffix("\r\n") + "\n")
