"""Output formats: a file each, each with the same verb, `write(table, stream)`."""

from importlib import import_module
from typing import Final, TextIO

from otel_usage.errors import InvalidFilterError
from otel_usage.reports.catalogue import closest
from otel_usage.reports.table import Table

FORMATS: Final = ("table", "csv", "tsv", "json", "jsonl", "markdown")


def check(name: str) -> str:
    """`name`, if it is a format.

    Raises:
        InvalidFilterError: It is none; the hint names the closest.
    """
    if name not in FORMATS:
        raise InvalidFilterError(f"There is no format {name!r}.", closest(name, FORMATS))
    return name


def write(name: str, table: Table, stream: TextIO) -> None:
    """Write a table in the format of this name."""
    import_module(f"{__name__}.{check(name)}").write(table, stream)
