"""The store as everyone meets it: opened to read, recognised as one of ours, waited for while somebody holds it.

duckdb is imported inside functions only: a process that neither commits nor reads must not pay for it. What its errors
mean is `duckdb_errors`'s, how the leader writes is `workbench`'s.

Never open the database file with anything but DuckDB while DuckDB has it open in this process: closing it would
drop DuckDB's lock (POSIX locks belong to the process).
"""

import contextlib
import hashlib
import hmac
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from otel_usage.errors import SchemaVersionError, StoreCorruptError, StoreLockedError, StoreMissingError
from otel_usage.exporter.duckdb_errors import mapped_errors
from otel_usage.exporter.paths import StorePaths
from otel_usage.exporter.statements import migrations

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_OUR_TABLES: Final = {"requests", "journal_segments", "losses", "schema_migrations", "store_info"}
_RETRY_SECONDS: Final = 0.005
_TELL_AFTER_SECONDS: Final = 0.5
_KEY_CHECK_TEXT: Final = b"otel-usage deployment key"

_T = TypeVar("_T")


def key_check(key: bytes) -> str:
    """What the store keeps to tell deployment keys apart: it does not help to find the key."""
    return hmac.new(key, _KEY_CHECK_TEXT, hashlib.sha256).hexdigest()[:8]


def connect_read_only(
    database: Path,
    *,
    wait_seconds: float = 10.0,
    on_wait: Callable[[str], None] | None = None,
    external_access: bool = False,
) -> "DuckDBPyConnection":
    """Open the store to read. Waits while a leader, or anyone else, holds it to write.

    Args:
        database: The DuckDB file; never made here.
        wait_seconds: How long to wait for the lock.
        on_wait: Called once, with who holds the store, if the wait is worth a word.
        external_access: Whether SQL may read and write other files.

    Returns:
        A connection, which is a context manager.

    Raises:
        StoreMissingError: There is no such file.
        StoreLockedError: It is still held after the wait; says by whom.
        SchemaVersionError: It was written by a newer version of this package or of DuckDB.
        StoreCorruptError: It is damaged or not a store of this package.
    """
    if not database.exists():
        raise StoreMissingError(
            f"There is no store {database}.", "Run an application with otel-usage, or name its store."
        )
    config = common_config(database)
    connection = waiting(lambda: connect(database, config, read_only=True), wait_seconds, on_wait)
    try:
        require_ours(connection, database)
        if not external_access:  # not in the configuration, where it would forbid to name the temporary folder
            connection.execute("SET enable_external_access = false")
    except BaseException:
        connection.close()
        raise
    return connection


def connect(database: Path | str, config: dict[str, Any], *, read_only: bool = False) -> "DuckDBPyConnection":
    """Open a DuckDB file now or not at all.

    Raises:
        StoreError: It cannot be opened; says why.
    """
    import duckdb

    with mapped_errors(Path(database)):
        connection = duckdb.connect(str(database), read_only=read_only, config=config)
        # DuckDB draws one on standard output where it takes the process for an interactive one, as with `python -c`.
        connection.execute("SET enable_progress_bar = false")
        return connection


def waiting(open_it: Callable[[], _T], wait_seconds: float, on_wait: Callable[[str], None] | None = None) -> _T:
    """Open something once others have closed it.

    Raises:
        StoreLockedError: They have not.
    """
    start = time.monotonic()
    while True:
        try:
            return open_it()
        except StoreLockedError as error:
            waited = time.monotonic() - start
            if waited >= wait_seconds:
                raise
            if on_wait is not None and waited >= _TELL_AFTER_SECONDS:
                on_wait(error.message)
                on_wait = None
        time.sleep(_RETRY_SECONDS)


def common_config(database: Path) -> dict[str, Any]:
    """DuckDB's settings for whoever opens a store."""
    config: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    paths = StorePaths.of(database)
    if paths.journal.is_dir():  # private, unlike the folder that DuckDB makes beside the database
        config["temp_directory"] = str(paths.journal / f"spill-{os.getpid()}")
    return config


def require_usable(database: Path) -> None:
    """Refuse a file that no commit could be made into; one that is missing or held may become, or be, a store.

    Raises:
        StoreError: It is damaged, another's or newer.
    """
    with contextlib.suppress(StoreLockedError, StoreMissingError):
        if database.exists():
            config = {**common_config(database), "threads": 1}
            with contextlib.closing(connect(database, config, read_only=True)) as connection:
                require_ours(connection, database, may_be_older=True)


def require_ours(connection: "DuckDBPyConnection", database: Path, *, may_be_older: bool = False) -> None:
    """Nothing but a store of this package, of the schema that this program knows, is read or written.

    Args:
        connection: With the store in use.
        database: Its file, for the error.
        may_be_older: Whether it is about to be migrated.

    Raises:
        StoreMissingError: It is an empty DuckDB file.
        StoreCorruptError: It is another's.
        SchemaVersionError: It was written by a newer version of this package, or is to be migrated first.
    """
    with mapped_errors(database):
        found = tables(connection)
        if not found:
            raise StoreMissingError(
                f"{database} is an empty DuckDB file.", "The first commit of an application makes a store of it."
            )
        applied = applied_migrations(connection)
    known = [(migration.version, migration.name) for migration in migrations()]
    if not applied or applied[: len(known)] != known[: len(applied)] or (applied == known and not found >= _OUR_TABLES):
        raise StoreCorruptError(
            f"{database} is not a store of otel-usage.", "Name another file in OTEL_USAGE_DATABASE."
        )
    if len(applied) > len(known):
        raise SchemaVersionError(
            f"{database} has schema {applied[-1][0]}; this otel-usage knows up to {known[-1][0]}.",
            "Install the newer version that wrote it: pip install --upgrade otel-usage",
        )
    if len(applied) < len(known) and not may_be_older:
        raise SchemaVersionError(
            f"{database} has schema {applied[-1][0]}; this otel-usage reads {known[-1][0]}.",
            "Start its application with this version, or migrate it: otel-usage sync",
        )


def applied_migrations(connection: "DuckDBPyConnection") -> list[tuple[int, str]]:
    """Number and name of each migration that the database in use has had, in their order; none if it is not ours."""
    import duckdb

    try:
        return connection.execute("SELECT version, name FROM schema_migrations ORDER BY version").fetchall()
    except (duckdb.CatalogException, duckdb.BinderException):  # no such table, or somebody else's
        return []


def tables(connection: "DuckDBPyConnection") -> set[str]:
    """Names of the tables of the database in use."""
    rows = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database() AND NOT temporary"
    ).fetchall()
    return {name for (name,) in rows}


def now() -> datetime:
    """The time in UTC as DuckDB's TIMESTAMP takes it."""
    return datetime.now(UTC).replace(tzinfo=None)
