"""One reading of the store: settings, what is pending, a read-only connection held no longer than needed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from otel_usage.cli import output
from otel_usage.errors import StoreError
from otel_usage.exporter import reading, store
from otel_usage.reports.table import Table
from otel_usage.settings import Settings

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from otel_usage.exporter.pending import Pending

Ask = Callable[["DuckDBPyConnection", "Pending"], Table]


def print_answer(chosen: Settings, ask: Ask, format_name: str, file: Path | None) -> None:
    """Ask the store and print what it answers; commits nothing where a living process does."""
    output.check(format_name, file, chosen)
    with output.working("Reading"), store_errors(chosen.database):
        reading.prepare_to_read(chosen, announce=output.announce)
        with store.connect_read_only(chosen.database, on_wait=output.announce) as connection:
            pending = reading.uncommitted(connection, chosen)
            table = ask(connection, pending)
    output.write(table, format_name, file)
    if pending.records:
        output.announce(
            f"{pending.records} records are not committed yet; they come within"
            f" {chosen.commit_interval_seconds:g} seconds. `otel-usage sync` waits for them."
        )


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
