"""The store: opens the DuckDB file, makes and migrates it, says who holds it.

duckdb is imported inside functions only: a process that neither commits nor reads must not pay for it. What its errors
mean is `duckdb_errors`'s, what is committed, and how, is `commit`'s.

Never open the database file with anything but DuckDB while DuckDB has it open in this process: closing it would
drop DuckDB's lock (POSIX locks belong to the process).
"""

import contextlib
import hashlib
import hmac
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from otel_usage.errors import (
    SchemaVersionError,
    StoreCorruptError,
    StoreError,
    StoreLockedError,
    StoreMissingError,
)
from otel_usage.exporter.duckdb_errors import mapped_errors, ours
from otel_usage.exporter.paths import StorePaths, make_private_folder
from otel_usage.exporter.statements import Migration, migrations

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_OUR_TABLES: Final = {"requests", "journal_segments", "losses", "schema_migrations", "store_info"}
_RETRY_SECONDS: Final = 0.005
_TELL_AFTER_SECONDS: Final = 0.5
_ABANDONED_SECONDS: Final = 24 * 3600.0
_KEY_CHECK_TEXT: Final = b"otel-usage deployment key"


class RefusedLinesError(Exception):
    """DuckDB does not take these journal lines. Never leaves the exporter."""


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
    connection = _connect_waiting(database, _common_config(database), wait_seconds, on_wait)
    try:
        _require_ours(connection, database)
        if not external_access:  # not in the configuration, where it would forbid to name the temporary folder
            connection.execute("SET enable_external_access = false")
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_commit(paths: StorePaths) -> "DuckDBPyConnection":
    """Open the store to write, made and migrated where that is needed. For the leader only.

    Raises:
        StoreLockedError: Someone holds it, be it to read; says who.
        SchemaVersionError: It was written by a newer version of this package or of DuckDB.
        StoreCorruptError: It is damaged or not a store of this package.
        StoreError: It cannot be made here.
    """
    if "?" in str(paths.database):
        raise StoreError(
            f"DuckDB cannot write to {paths.database}: it has a question mark in its path.",
            "Name another file in OTEL_USAGE_DATABASE.",
        )
    _sweep(paths)
    if not paths.database.exists():
        _create(paths)
    connection = _connect(paths.database, _commit_config(paths))
    try:
        with mapped_errors(paths.database):
            if _tables(connection):
                _require_ours(connection, paths.database)
            _migrate(connection)
            _begin_private_log(connection, paths)
    except BaseException:
        connection.close()
        raise
    return connection


def load_lines(connection: "DuckDBPyConnection", sql: str, files: list[Path]) -> None:
    """Run the statement that reads journal files, given as `$files`.

    Raises:
        RefusedLinesError: At least one line is no row; nothing was read.
        StoreError: The lines are not to blame: a file is gone, memory or disk is full. Nothing was read.
    """
    import duckdb

    try:
        connection.execute(sql, {"files": [_without_patterns(file) for file in files]})
    except (duckdb.DataError, duckdb.IntegrityError, duckdb.ProgrammingError) as error:
        raise RefusedLinesError(str(error).partition("\n")[0]) from error
    except duckdb.Error as error:
        raise ours(error, Path(str(files[0]))) from error


@contextlib.contextmanager
def transaction(connection: "DuckDBPyConnection") -> Iterator[None]:
    """Everything inside, or nothing."""
    connection.execute("BEGIN TRANSACTION")
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):  # DuckDB has rolled back by itself after some errors
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def now() -> datetime:
    """The time in UTC as DuckDB's TIMESTAMP takes it."""
    return datetime.now(UTC).replace(tzinfo=None)


def _common_config(database: Path) -> dict[str, Any]:
    config: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    paths = StorePaths.of(database)
    if paths.journal.is_dir():  # private, unlike the folder that DuckDB makes beside the database
        config["temp_directory"] = str(paths.journal / f"spill-{os.getpid()}")
    return config


def _commit_config(paths: StorePaths) -> dict[str, Any]:
    import duckdb

    config = {
        **_common_config(paths.database),
        "threads": 1,
        "memory_limit": "256MB",
        "temp_directory": str(paths.temporary / "spill"),
        "storage_compatibility_version": "v1.5.0",
    }
    if int(duckdb.__version__.partition(".")[0]) >= 2:
        config["async_threads"] = 0
    return config


def _connect(database: Path, config: dict[str, Any], *, read_only: bool = False) -> "DuckDBPyConnection":
    import duckdb

    with mapped_errors(database):
        return duckdb.connect(str(database), read_only=read_only, config=config)


def _connect_waiting(
    database: Path, config: dict[str, Any], wait_seconds: float, on_wait: Callable[[str], None] | None
) -> "DuckDBPyConnection":
    start = time.monotonic()
    while True:
        try:
            return _connect(database, config, read_only=True)
        except StoreLockedError as error:
            waited = time.monotonic() - start
            if waited >= wait_seconds:
                raise
            if on_wait is not None and waited >= _TELL_AFTER_SECONDS:
                on_wait(error.message)
                on_wait = None
        time.sleep(_RETRY_SECONDS)


def _create(paths: StorePaths) -> None:
    """Make the store under another name first: nobody sees it half made, or readable by others."""
    if paths.write_ahead_log.exists():  # of a store that was removed; it fits no other
        paths.write_ahead_log.rename(f"{paths.write_ahead_log}.orphaned")
    draft = paths.temporary / "draft.duckdb"
    connection = _connect(draft, _commit_config(paths))
    try:
        with mapped_errors(draft):
            _migrate(connection)
    finally:
        connection.close()
    draft.chmod(0o600)
    try:
        os.link(draft, paths.database)
    except FileExistsError:  # someone else's; it is looked at like any other
        pass
    except OSError:  # a file system without hard links
        draft.rename(paths.database)
        return
    draft.unlink()


def _sweep(paths: StorePaths) -> None:
    """Remove what a killed leader, or long ago a killed reader, left behind."""
    shutil.rmtree(paths.temporary, ignore_errors=True)
    for folder in paths.journal.glob("spill-*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(folder)
    try:
        make_private_folder(paths.temporary)
    except OSError as error:
        raise StoreError(f"{paths.temporary} cannot be made: {error}.", "Make its folder writable.") from error


def _begin_private_log(connection: "DuckDBPyConnection", paths: StorePaths) -> None:
    """Make DuckDB begin its write-ahead log with something harmless, and close it to others, before requests go
    through it: DuckDB makes it readable for everyone and accepts none that is already there.
    """
    connection.execute("DELETE FROM store_info WHERE name = 'opened_at'")
    connection.execute("INSERT INTO store_info VALUES ('opened_at', ?::VARCHAR)", [now()])
    for path in (paths.database, paths.write_ahead_log):
        with contextlib.suppress(OSError):  # no log where DuckDB has just checkpointed; a file of another user
            path.chmod(0o600)


def _tables(connection: "DuckDBPyConnection") -> set[str]:
    rows = connection.execute("SELECT table_name FROM duckdb_tables() WHERE NOT temporary").fetchall()
    return {name for (name,) in rows}


def _require_ours(connection: "DuckDBPyConnection", database: Path) -> None:
    with mapped_errors(database):
        tables = _tables(connection)
        if not tables:
            raise StoreMissingError(
                f"{database} is an empty DuckDB file.", "The first commit of an application makes a store of it."
            )
        if not tables >= _OUR_TABLES:
            raise StoreCorruptError(
                f"{database} is not a store of otel-usage.", "Name another file in OTEL_USAGE_DATABASE."
            )
        version = _version(connection)
    if version > migrations()[-1].version:
        raise SchemaVersionError(
            f"{database} has schema {version}; this otel-usage knows up to {migrations()[-1].version}.",
            "Install the newer version that wrote it: pip install --upgrade otel-usage",
        )


def _version(connection: "DuckDBPyConnection") -> int:
    row = connection.execute("SELECT coalesce(max(version), 0) FROM schema_migrations").fetchone()
    return int(row[0]) if row else 0


def _migrate(connection: "DuckDBPyConnection") -> None:
    """Apply what is missing, each migration in its own transaction.

    Raises:
        duckdb.Error: The failing migration is undone.
    """
    version = _version(connection) if "schema_migrations" in _tables(connection) else 0
    for migration in migrations():
        if migration.version > version:
            _apply(connection, migration)


def _apply(connection: "DuckDBPyConnection", migration: Migration) -> None:
    with transaction(connection):
        connection.execute(migration.sql)
        connection.execute("INSERT INTO schema_migrations VALUES (?, ?, ?)", [migration.version, migration.name, now()])


def _without_patterns(path: Path) -> str:
    """The path as DuckDB takes it literally."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))
