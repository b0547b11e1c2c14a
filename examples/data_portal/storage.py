"""Where the portal keeps things: one SQLite file and one folder of files, shared by all workers."""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

DIRECTORY_VARIABLE = "DATA_PORTAL_DIRECTORY"
BUSY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Storage:
    """The portal's directory."""

    directory: Path

    @property
    def database(self) -> Path:
        return self.directory / "portal.sqlite"

    def content(self, file_id: str) -> Path:
        """Where the bytes of a file lie."""
        return self.directory / "files" / file_id

    def write(self, file_id: str, content: bytes) -> None:
        """Keep the bytes of a file; who reads meanwhile sees all of them or none."""
        draft = self.content(f"{file_id}.{os.getpid()}")
        draft.write_bytes(content)
        draft.replace(self.content(file_id))

    def connect(self) -> sqlite3.Connection:
        return connect(self.database)


def from_environment() -> Storage:
    """The directory DATA_PORTAL_DIRECTORY names, else one in the temporary folder that survives a restart."""
    default = Path(tempfile.gettempdir()) / f"data-portal-{os.getuid()}"
    directory = Path(os.environ.get(DIRECTORY_VARIABLE) or default)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Storage(directory)


def connect(database: Path) -> sqlite3.Connection:
    # FastAPI may run the dependency and the route that uses it in two threads, one after the other.
    connection = sqlite3.connect(database, timeout=BUSY_SECONDS, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def get_storage(request: Request) -> Storage:
    storage: Storage = request.app.state.storage
    return storage


def get_database(storage: Annotated[Storage, Depends(get_storage)]) -> Iterator[sqlite3.Connection]:
    connection = storage.connect()
    try:
        yield connection
    finally:
        connection.close()


CurrentStorage = Annotated[Storage, Depends(get_storage)]
Database = Annotated[sqlite3.Connection, Depends(get_database)]
