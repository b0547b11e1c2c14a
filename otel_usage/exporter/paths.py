"""Where everything of one store lives, and how segment files are named. What is in them is not known here."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# The life of a segment: made and locked, written by its owner, finished.
NEW: Final = ".new"
OPEN: Final = ".open"
READY: Final = ".ready"
SEGMENT_SUFFIXES: Final = (NEW, OPEN, READY)


@dataclass(frozen=True, slots=True)
class StorePaths:
    """The absolute paths of one store.

    Attributes:
        database: The DuckDB file.
        journal: The folder of the segments of every process.
        rejected: Lines that could not become rows, a file for each segment.
        lock: The leader's lock file.
        temporary: Working files of the leader; nobody else's, so it may sweep it.
    """

    database: Path
    journal: Path
    rejected: Path
    lock: Path
    temporary: Path

    @classmethod
    def of(cls, database: Path) -> "StorePaths":
        """Derive every path from that of the database."""
        # Two spellings of one folder are one store, with one leader.
        database = database.parent.resolve() / database.name
        journal = Path(f"{database}.journal")
        return cls(database, journal, journal / "rejected", Path(f"{database}.lock"), journal / "temporary")

    @property
    def write_ahead_log(self) -> Path:
        """The file DuckDB keeps beside the database while it writes."""
        return Path(f"{self.database}.wal")

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that belong to the store besides the journal's."""
        return (self.database, self.write_ahead_log, self.lock)

    def segments(self) -> list[Path]:
        """Every segment file there is, in no order; empty where there is no journal."""
        try:
            with os.scandir(self.journal) as entries:
                return [Path(entry.path) for entry in entries if entry.name.endswith(SEGMENT_SUFFIXES)]
        except FileNotFoundError:
            return []


def segment_id(path: Path) -> str:
    """The id in the name of a segment file, the same through all its suffixes."""
    return path.stem


def make_private_folder(folder: Path) -> None:
    """Make a folder and the missing ones above it, for this user alone (0700)."""
    if folder.is_dir():
        return
    make_private_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
