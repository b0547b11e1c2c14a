"""What is written but not yet committed, by looking at files alone: no DuckDB, no lock."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from otel_usage.exporter.finished import Contents, inspect
from otel_usage.exporter.losses import LOST
from otel_usage.exporter.paths import StorePaths, segment_id


@dataclass(frozen=True, slots=True)
class Pending:
    """The journal of a store at one moment.

    Attributes:
        records: Lines that are not committed.
        bytes: Size of all segments.
        segments: Segments that hold a record or a loss.
        oldest: When the oldest of those was begun, in seconds since 1970; None if there is none.
        rejected: Lines ever kept in `rejected/`.
        lost: Records counted as lost by segments that are not committed.
    """

    records: int = 0
    bytes: int = 0
    segments: int = 0
    oldest: float | None = None
    rejected: int = 0
    lost: int = 0


def pending(paths: StorePaths, committed: frozenset[str] = frozenset()) -> Pending:
    """Look at the journal of a store; an empty answer where there is none.

    Args:
        paths: Of the store.
        committed: Ids of segments that are committed, whether or not their files are gone yet.
    """
    size = 0
    found: list[Contents] = []
    for path, contents in inspected(paths):
        with contextlib.suppress(OSError):
            size += path.stat().st_size
        if segment_id(path) not in committed and (contents.lines or _says_losses(contents)):
            found.append(contents)
    return Pending(
        records=sum(contents.lines for contents in found),
        bytes=size,
        segments=len(found),
        oldest=min((started for contents in found if (started := _started(contents))), default=None),
        rejected=_rejected_lines(paths),
        lost=sum(_lost(contents) for contents in found),
    )


def inspected(paths: StorePaths) -> Iterator[tuple[Path, Contents]]:
    """Every segment that can be read, with its contents."""
    for path in paths.segments():
        with contextlib.suppress(OSError):  # committed meanwhile
            yield path, inspect(path)


def _says_losses(contents: Contents) -> bool:
    return contents.header is not None and any(contents.header.counts.values())


def _lost(contents: Contents) -> int:
    if contents.header is None:
        return 0
    return sum(n for reason, n in contents.header.counts.items() if reason in LOST)


def _started(contents: Contents) -> float | None:
    try:
        return datetime.fromisoformat(contents.header.started).timestamp() if contents.header else None
    except ValueError:
        return None


def _rejected_lines(paths: StorePaths) -> int:
    total = 0
    with contextlib.suppress(OSError):
        for path in paths.rejected.glob("*.jsonl"):
            total += path.read_bytes().count(b"\n")
    return total
