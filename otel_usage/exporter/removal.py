"""Single rows by their keys: looked for, and taken out of the store, also beside a living leader.

The store's own count of removed rows explains the difference: rows = inserted - removed. Which rows these are, and why
they go, is the caller's.
"""

import contextlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otel_usage.errors import StoreError, StoreMissingError
from otel_usage.exporter.duckdb_errors import mapped_errors
from otel_usage.exporter.paths import StorePaths
from otel_usage.exporter.record import KEY
from otel_usage.exporter.store import common_config, connect
from otel_usage.exporter.workbench import attached, transaction

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MATCHES: Final = "start_time = make_timestamp(?) AND duration_ns = ? AND trace_id = ?::UUID AND span_id = ?"


class RowKey(NamedTuple):
    """What tells one row from all others (`record.KEY`)."""

    start_time: int  # microseconds since 1970, UTC
    duration_ns: int
    trace_id: str  # 32 lower-case hexadecimal digits
    span_id: int


def find(connection: "DuckDBPyConnection", key: RowKey) -> dict[str, Any] | None:
    """The row of `requests` with this key, by column; None if there is none."""
    result = connection.execute(f"SELECT * FROM requests WHERE {_MATCHES}", list(key))
    row = result.fetchone()
    names = [column[0] for column in result.description or ()]
    return None if row is None else dict(zip(names, row, strict=True))


def keys_of(connection: "DuckDBPyConnection", condition: str, values: Sequence[object]) -> list[RowKey]:
    """The keys of the rows that a condition holds for."""
    start_time, *others = KEY
    columns = f"epoch_us({start_time}), {', '.join(others)}"
    rows = connection.execute(f"SELECT {columns} FROM requests WHERE {condition}", list(values)).fetchall()
    return [RowKey(start, duration, trace_id.hex, span_id) for start, duration, trace_id, span_id in rows]


def remove(paths: StorePaths, keys: Sequence[RowKey], *, wait_seconds: float) -> int:
    """Take rows out of the store, all in one transaction, and count them in `store_info`.

    The store is held for a moment, as a leader does; a leader meanwhile waits, or comes again.

    Args:
        paths: Of the store.
        keys: Of the rows; one without a row is passed over.
        wait_seconds: How long to wait for others who have the store open.

    Returns:
        How many rows went.

    Raises:
        StoreMissingError: There is no store.
        StoreError: It is another user's, held by somebody, newer, damaged or not ours; nothing was removed.
    """
    if not keys:
        return 0
    _require_own(paths)
    # Not the workbench: it sweeps the working files of a leader, who may live.
    bench = connect(":memory:", {**common_config(paths.database), "threads": 1})
    with (
        contextlib.closing(bench) as connection,
        mapped_errors(paths.database),
        attached(connection, paths, to_write=True, wait_seconds=wait_seconds),
        transaction(connection),
    ):
        removed = sum(_delete(connection, key) for key in keys)
        _count(connection, removed)
    return removed


def _require_own(paths: StorePaths) -> None:
    """DuckDB's log beside the store would belong to this user; should we be killed, its owner could not open the store.

    Raises:
        StoreError: The store is another user's, or is not there.
    """
    try:
        owner = paths.database.stat().st_uid
    except FileNotFoundError:
        raise StoreMissingError(f"There is no store {paths.database}.") from None
    if owner != os.geteuid():
        raise StoreError(f"{paths.database} belongs to another user.", "Run this as that user.")


def _delete(connection: "DuckDBPyConnection", key: RowKey) -> int:
    row = connection.execute(f"DELETE FROM requests WHERE {_MATCHES}", list(key)).fetchone()
    return 0 if row is None else int(row[0])


def _count(connection: "DuckDBPyConnection", removed: int) -> None:
    connection.execute(
        "INSERT INTO store_info SELECT 'removed', '0' WHERE NOT EXISTS (FROM store_info WHERE name = 'removed')"
    )
    connection.execute("UPDATE store_info SET value = (value::BIGINT + ?)::VARCHAR WHERE name = 'removed'", [removed])
