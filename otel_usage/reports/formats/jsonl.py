"""JSON lines: an object a row."""

from typing import TextIO

from otel_usage.reports.table import Table
from otel_usage.reports.values import dumps


def write(table: Table, stream: TextIO) -> None:
    for row in table.rows:
        stream.write(dumps(dict(zip(table.columns, row, strict=True))) + "\n")
