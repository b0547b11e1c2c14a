"""The workbench: a DuckDB in memory where the leader prepares a turn, and into which it takes the store for a moment.

Owns how the store is made, migrated and opened to write. While journal lines are read others may read the store: it
is held only as long as rows are compared and inserted. What a turn does is `commit`'s.
"""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from otel_usage.errors import StoreError
from otel_usage.exporter.duckdb_errors import mapped_errors, ours
from otel_usage.exporter.paths import StorePaths, make_private_folder
from otel_usage.exporter.statements import Migration, migrations
from otel_usage.exporter.store import applied_migrations, common_config, connect, now, require_ours, tables, waiting

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_ALIAS: Final = "otel_usage_store"
_ABANDONED_SECONDS: Final = 24 * 3600.0


class RefusedLinesError(Exception):
    """DuckDB does not take these journal lines. Never leaves the exporter."""


@contextlib.contextmanager
def workbench(paths: StorePaths) -> Iterator["DuckDBPyConnection"]:
    """A DuckDB in memory. For the leader only.

    Raises:
        StoreError: There is no place for its temporary files, or the store cannot be where it is to be.
    """
    if "?" in str(paths.database):
        raise StoreError(
            f"DuckDB cannot write to {paths.database}: it has a question mark in its path.",
            "Name another file in OTEL_USAGE_DATABASE.",
        )
    _sweep(paths)
    with contextlib.closing(connect(":memory:", _config(paths))) as connection, mapped_errors(paths.database):
        yield connection


@contextlib.contextmanager
def attached(
    connection: "DuckDBPyConnection", paths: StorePaths, *, to_write: bool, wait_seconds: float = 0.0
) -> Iterator[None]:
    """Take the store into a workbench: its tables go by their names, and nobody else has it until the end.

    It is made and migrated where that is needed.

    Args:
        connection: Of the workbench.
        paths: Of the store.
        to_write: Whether requests will be written.
        wait_seconds: How long to wait for others who have it open.

    Raises:
        StoreLockedError: Someone holds it, be it to read; says who.
        SchemaVersionError: It was written by a newer version of this package or of DuckDB.
        StoreCorruptError: It is damaged or not a store of this package.
        StoreError: It cannot be made here, or DuckDB could not finish: what was committed stays so.
    """
    if not paths.database.exists():
        _create(paths)
    _attach(connection, paths, wait_seconds)
    try:
        if _is_older(connection, paths.database):
            _detach(connection)
            _migrate_alone(paths)
            _attach(connection, paths, wait_seconds)
        if to_write:
            _begin_private_log(connection, paths)
        yield
    except BaseException:
        with contextlib.suppress(Exception):  # the first error says more
            _detach(connection)
        raise
    _detach(connection)


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


def _config(paths: StorePaths) -> dict[str, Any]:
    import duckdb

    config = {
        **common_config(paths.database),
        "threads": 1,
        "memory_limit": "256MB",
        "temp_directory": str(paths.temporary / "spill"),
        "storage_compatibility_version": "v1.5.0",
    }
    if int(duckdb.__version__.partition(".")[0]) >= 2:
        config["async_threads"] = 0
    return config


def _attach(connection: "DuckDBPyConnection", paths: StorePaths, wait_seconds: float) -> None:
    name = str(paths.database).replace("'", "''")

    def attach() -> None:
        with mapped_errors(paths.database):
            connection.execute(f"ATTACH '{name}' AS {_ALIAS}")

    waiting(attach, wait_seconds)
    connection.execute(f"USE {_ALIAS}")


def _detach(connection: "DuckDBPyConnection") -> None:
    """Let go of the store; DuckDB writes a checkpoint first."""
    connection.execute("USE memory")
    connection.execute(f"DETACH {_ALIAS}")


def _create(paths: StorePaths) -> None:
    """Make the store under another name first: nobody sees it half made, or readable by others."""
    if paths.write_ahead_log.exists():  # of a store that was removed; it fits no other
        paths.write_ahead_log.rename(f"{paths.write_ahead_log}.orphaned")
    draft = paths.temporary / "draft.duckdb"
    _migrate_alone(paths, draft)
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
    with transaction(connection):
        connection.execute("DELETE FROM store_info WHERE name = 'opened_at'")
        connection.execute("INSERT INTO store_info VALUES ('opened_at', ?::VARCHAR)", [now()])
    for path in (paths.database, paths.write_ahead_log):
        with contextlib.suppress(OSError):  # no log where DuckDB has just checkpointed; a file of another user
            path.chmod(0o600)
    # A transaction that ends in a checkpoint is written to the store alone, unless it is a small one: once, not twice.
    connection.execute("SET checkpoint_threshold = '1B'")


def _is_older(connection: "DuckDBPyConnection", database: Path) -> bool:
    """Whether the store lacks something of the newest schema; an empty file lacks all.

    Raises:
        StoreError: It is none of ours, or newer.
    """
    if not tables(connection):
        return True
    require_ours(connection, database, may_be_older=True)
    return len(applied_migrations(connection)) < len(migrations())


def _migrate_alone(paths: StorePaths, database: Path | None = None) -> None:
    """Apply what is missing, each migration in its own transaction, with nothing else open.

    In a workbench a view would keep the name that the store has there.

    Raises:
        StoreError: The failing migration is undone.
    """
    database = database or paths.database
    with contextlib.closing(connect(database, _config(paths))) as connection, mapped_errors(database):
        for migration in migrations()[len(applied_migrations(connection)) :]:
            _apply(connection, migration)


def _apply(connection: "DuckDBPyConnection", migration: Migration) -> None:
    with transaction(connection):
        connection.execute(migration.sql)
        connection.execute("INSERT INTO schema_migrations VALUES (?, ?, ?)", [migration.version, migration.name, now()])


def _without_patterns(path: Path) -> str:
    """The path as DuckDB takes it literally."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))
