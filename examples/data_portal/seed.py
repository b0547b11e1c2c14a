"""Fills a new portal with `example_data`."""

import hashlib
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from .example_data import (
    DATASETS,
    ORGANIZATIONS,
    TOKENS,
    USERS,
    ExampleDataset,
    file_content,
    file_id,
    password,
    token_secret,
)
from .hashing import hash_password, hash_token
from .storage import Storage, connect

SCHEMA = Path(__file__).with_name("schema.sql")
CREATED_AT = "2025-01-01T00:00:00+00:00"


def seed(storage: Storage) -> None:
    """Make the portal's data unless they are there.

    All workers start at once: each makes a draft of its own and links it into place; the first link holds.
    """
    if storage.database.exists():
        return
    draft = storage.database.with_name(f"draft-{os.getpid()}.sqlite")
    draft.unlink(missing_ok=True)
    storage.content("").mkdir(exist_ok=True)
    with closing(connect(draft)) as database:
        _fill(database, storage)
        # Stays with the file: readers and a writer do not wait for each other.
        database.execute("PRAGMA journal_mode = WAL")
    with suppress(FileExistsError):
        os.link(draft, storage.database)
    draft.unlink()


def _fill(database: sqlite3.Connection, storage: Storage) -> None:
    database.executescript(SCHEMA.read_text(encoding="utf-8"))
    with database:
        database.executemany("INSERT INTO organizations VALUES (?, ?)", ORGANIZATIONS.items())
        for dataset in DATASETS:
            _add_dataset(database, storage, dataset)
        _add_users(database)
        _add_tokens(database)


def _add_users(database: sqlite3.Connection) -> None:
    database.executemany(
        "INSERT INTO users (username, role, organization_id, password_hash) VALUES (?, ?, ?, ?)",
        [(user.username, user.role, user.organization, hash_password(password(user.username))) for user in USERS],
    )


def _add_tokens(database: sqlite3.Connection) -> None:
    database.executemany(
        "INSERT INTO tokens (user_id, name, secret_hash, created_at) SELECT id, ?, ?, ? FROM users WHERE username = ?",
        [(name, hash_token(token_secret(name)), CREATED_AT, username) for name, username in TOKENS.items()],
    )


def _add_dataset(database: sqlite3.Connection, storage: Storage, dataset: ExampleDataset) -> None:
    database.execute(
        "INSERT INTO datasets (id, organization_id, title, private, updated_at) VALUES (?, ?, ?, ?, ?)",
        (dataset.name, dataset.organization, dataset.title, dataset.private, CREATED_AT),
    )
    for file in dataset.files:
        identifier, content = file_id(dataset.name, file.name), file_content(file)
        storage.write(identifier, content)
        database.execute(
            "INSERT INTO files (id, dataset_id, name, media_type, size, sha256) VALUES (?, ?, ?, ?, ?, ?)",
            (
                identifier,
                dataset.name,
                file.name,
                file.media_type,
                len(content),
                hashlib.sha256(content).hexdigest(),
            ),
        )
