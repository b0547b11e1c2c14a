"""JSON: one array, an object a row and a line."""

from typing import TextIO

from otel_usage.reports.table import Table
from otel_usage.reports.values import dumps


def write(table: Table, stream: TextIO) -> None:
    separator = "[\n"
    for row in table.rows:
        stream.write(separator + dumps(dict(zip(table.columns, row, strict=True))))
        separator = ",\n"
    stream.write("\n]\n" if table.rows else "[]\n")
