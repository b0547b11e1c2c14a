"""One reading of the store: settings, what is pending, a read-only connection held no longer than needed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otel_usage.cli import output
from otel_usage.errors import StoreCorruptError, StoreError
from otel_usage.exporter import reading, store
from otel_usage.exporter.duckdb_errors import mapped_errors
from otel_usage.reports.table import Table
from otel_usage.settings import Settings

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from otel_usage.exporter.pending import Pending

_ATTEMPTS: Final = 3

Ask = Callable[["DuckDBPyConnection", "Pending"], Table]


def print_answer(chosen: Settings, ask: Ask, format_name: str, file: Path | None) -> None:
    """Ask the store and print what it answers; commits nothing where a living process does."""
    output.check(format_name, file, chosen)
    with output.working("Reading"), store_errors(chosen.database):
        reading.prepare_to_read(chosen, announce=output.announce)
        pending, table = _read(chosen, ask)
    output.write(table, format_name, file)
    if pending.records:
        output.announce(reading.outlook(chosen, pending))


def _read(chosen: Settings, ask: Ask) -> "tuple[Pending, Table]":
    """Ask on a connection of its own, and again on another if the file seemed too short for its data.

    Beside a process that commits without pause this was seen once in some thousand reads, and never twice.
    """
    attempts = _ATTEMPTS
    while True:
        attempts -= 1
        try:
            with (
                mapped_errors(chosen.database),
                store.connect_read_only(chosen.database, on_wait=output.announce) as connection,
            ):
                pending = reading.uncommitted(connection, chosen)
                return pending, ask(connection, pending)
        except StoreCorruptError:
            if not attempts:
                raise


@contextmanager
def store_errors(database: Path) -> Iterator[None]:
    """What the system refuses about the store's files is an error of the store.

    Raises:
        StoreError: Instead of any OSError.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"There is no store {database} that can be used: {error.filename}: {error.strerror}.",
            "Check the path and its permissions.",
        ) from error
