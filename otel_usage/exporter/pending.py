"""What is written but not yet committed, by looking at files alone: no DuckDB, no lock."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from otel_usage.exporter.finished import Contents, inspect
from otel_usage.exporter.losses import LOST, REASONS
from otel_usage.exporter.paths import READY, StorePaths, segment_id


@dataclass(frozen=True, slots=True)
class PendingLoss:
    """What segments that are not committed have counted for one reason.

    Attributes:
        reason: One of `losses.REASONS`.
        records: How many records it concerns.
        since: When the oldest of those segments was begun, in seconds since 1970; None if none says so.
    """

    reason: str
    records: int
    since: float | None


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
        losses: What these segments have counted, also of records that are not lost, in the order of `losses.REASONS`.
    """

    records: int = 0
    bytes: int = 0
    segments: int = 0
    oldest: float | None = None
    rejected: int = 0
    lost: int = 0
    losses: tuple[PendingLoss, ...] = ()


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
    losses = tuple(_losses(found))
    return Pending(
        records=sum(contents.lines for contents in found),
        bytes=size,
        segments=len(found),
        oldest=_oldest(found),
        rejected=_rejected_lines(paths),
        lost=sum(loss.records for loss in losses if loss.reason in LOST),
        losses=losses,
    )


class Backlog:
    """How many records wait in the journal of a store, asked again and again: a finished segment is read once.

    Args:
        paths: Of the store.
    """

    def __init__(self, paths: StorePaths) -> None:
        self._paths = paths
        self._finished: dict[str, int] = {}

    def records(self) -> int:
        """Lines in all segments. What an interrupted commit has left behind counts until it is removed.

        Raises:
            OSError: The journal cannot be looked at.
        """
        finished, total = {}, 0
        for path in self._paths.segments():
            with contextlib.suppress(OSError):  # committed meanwhile
                name = path.name
                lines = self._finished[name] if name in self._finished else inspect(path).lines
                total += lines
                if path.suffix == READY:
                    finished[name] = lines
        self._finished = finished
        return total


def inspected(paths: StorePaths) -> Iterator[tuple[Path, Contents]]:
    """Every segment that can be read, with its contents."""
    for path in paths.segments():
        with contextlib.suppress(OSError):  # committed meanwhile
            yield path, inspect(path)


def _says_losses(contents: Contents) -> bool:
    return contents.header is not None and any(contents.header.counts.values())


def _losses(found: list[Contents]) -> Iterator[PendingLoss]:
    for reason in REASONS:
        counting = [c for c in found if c.header is not None and c.header.counts.get(reason, 0) > 0]
        if counting:
            records = sum(c.header.counts[reason] for c in counting if c.header is not None)
            yield PendingLoss(reason, records, _oldest(counting))


def _oldest(found: list[Contents]) -> float | None:
    return min((started for contents in found if (started := _started(contents))), default=None)


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
