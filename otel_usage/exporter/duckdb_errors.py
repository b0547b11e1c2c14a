"""What duckdb's errors mean, in our own exceptions. duckdb has one class for most, so their text decides."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from otel_usage.errors import (
    SchemaVersionError,
    StoreCorruptError,
    StoreError,
    StoreLockedError,
    StoreMissingError,
)


@contextlib.contextmanager
def mapped_errors(database: Path) -> Iterator[None]:
    """Turn duckdb's errors into ours.

    Raises:
        StoreError: Instead of any `duckdb.Error`.
    """
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise ours(error, database) from error


def is_short_read(error: Exception) -> bool:
    """Whether DuckDB met the end of the file where it knows of more data."""
    return "Could not read enough bytes" in str(error)


def ours(error: Exception, database: Path) -> StoreError:
    """The error of ours that says what duckdb's means."""
    import duckdb

    text = str(error).partition("\n")[0]
    if "Could not set lock" in text:
        return StoreLockedError(f"{database} is held by {_holder(text)}.", "Close it there, or wait.")
    if "different configuration" in text or "already attached" in text:
        return StoreLockedError(f"{database} is held by this process.", "Close it there, or wait.")
    if "does not exist" in text and isinstance(error, duckdb.IOException):
        return StoreMissingError(f"There is no store {database}.", "Name the store of an application.")
    if "database file with version number" in text:
        return SchemaVersionError(f"{database} was written by a newer DuckDB: {text}", "pip install --upgrade duckdb")
    if is_short_read(error):
        return StoreCorruptError(f"{database} ends before its own data does: {text}", "Move it away if this stays so.")
    damaged = (duckdb.FatalException, duckdb.InternalException, duckdb.SerializationException)
    if isinstance(error, damaged) or "not a valid DuckDB" in text or "WAL" in text or "Corrupt" in text:
        return StoreCorruptError(f"{database} is not a store of otel-usage, or damaged: {text}", "Move it away.")
    return StoreError(f"{database} cannot be used: {text}", "")


def _holder(text: str) -> str:
    """Who holds a lock, from DuckDB's message."""
    found = re.search(r"PID (\d+)", text)
    if found is None:
        return "another process"
    with contextlib.suppress(OSError):
        name = Path(f"/proc/{found[1]}/comm").read_text(encoding="utf-8", errors="replace").strip()
        return f"{name} (PID {found[1]})"
    return f"process {found[1]}"
