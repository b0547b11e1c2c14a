"""One turn: finished segments -> rows, all in one transaction, each line exactly once.

Owns the order that makes a crash anywhere harmless: load, one transaction, let go of the store, remove the files.
What the statements mean is in `sql/`; who may run a turn, and when, is the committer's.
"""

import contextlib
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otel_usage.errors import StoreError
from otel_usage.exporter import store
from otel_usage.exporter.finished import finished_segments, inspect
from otel_usage.exporter.header import Header
from otel_usage.exporter.loading import Loaded, load
from otel_usage.exporter.losses import LOST, REJECTED, TORN_LINE
from otel_usage.exporter.paths import StorePaths, segment_id
from otel_usage.exporter.statements import statement
from otel_usage.exporter.workbench import attached, transaction, workbench

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_HOUR_MICROSECONDS: Final = 3_600_000_000
_MAX_RANGES: Final = 32
# What was loaded waits so long for a reader to end.
_WAIT_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class CommitSummary:
    """What a turn, or several, did: lines = inserted + duplicate + rejected.

    Attributes:
        segments: How many segments are done with, those of an interrupted turn before included.
        torn: Last lines whose owner died while it wrote them.
        lost: Records that their processes counted as lost, torn lines included, rejected ones not.
    """

    segments: int = 0
    lines: int = 0
    inserted: int = 0
    duplicate: int = 0
    rejected: int = 0
    torn: int = 0
    lost: int = 0

    def __add__(self, other: "CommitSummary") -> "CommitSummary":
        return CommitSummary(
            self.segments + other.segments,
            self.lines + other.lines,
            self.inserted + other.inserted,
            self.duplicate + other.duplicate,
            self.rejected + other.rejected,
            self.torn + other.torn,
            self.lost + other.lost,
        )


def commit_turn(paths: StorePaths, token_key: bytes | None = None) -> CommitSummary:
    """Commit finished segments, as many as fit into one turn. For the leader only.

    Args:
        paths: Of the store, which is made if it is missing and there is anything to commit.
        token_key: The deployment key, if known: a store without a check value of its key gets one.

    Raises:
        StoreError: Every segment is still there; what of them was committed is known to the store.
    """
    with finished_segments(paths) as found:
        segments = _readable(found)
        if not segments:
            return CommitSummary()
        with workbench(paths) as connection:
            again, fresh = _commit(connection, paths, segments, token_key)
        return replace(_sum(fresh), segments=_remove([segment.path for segment in again + fresh]))


def _remove(done: list[Path]) -> int:
    """Remove committed files; one that stays is recorded as committed, so a later turn only tries again."""
    removed = 0
    for path in done:
        with contextlib.suppress(OSError):
            path.unlink()
            removed += 1
    return removed


def _readable(found: list[Path]) -> list[Loaded]:
    segments: dict[str, Loaded] = {}
    for path in found:
        with contextlib.suppress(OSError):  # it must not hold up the others
            segments.setdefault(segment_id(path), Loaded(path, inspect(path)))
    return list(segments.values())


def _commit(
    connection: "DuckDBPyConnection", paths: StorePaths, segments: list[Loaded], token_key: bytes | None
) -> tuple[list[Loaded], list[Loaded]]:
    """What a turn before has committed and could not remove, and what this one has."""
    # Whoever holds the store, or whatever is wrong with it, is met before any work is done.
    with attached(connection, paths, to_write=False):
        recorded = _recorded(connection)
    fresh = load(connection, paths, [segment for segment in segments if segment.id not in recorded])
    if fresh:
        with attached(connection, paths, to_write=True, wait_seconds=_WAIT_SECONDS), transaction(connection):
            _require_untouched(connection, fresh)
            summary = _insert(connection, fresh)
            _record(connection, paths, fresh)
            _add_totals(connection, summary)
            _record_key(connection, token_key)
    return [segment for segment in segments if segment.id in recorded], fresh


def _recorded(connection: "DuckDBPyConnection") -> set[str]:
    return {name for (name,) in connection.execute("SELECT segment_id FROM journal_segments").fetchall()}


def _require_untouched(connection: "DuckDBPyConnection", segments: list[Loaded]) -> None:
    """Nobody else has committed these segments since they were read.

    Raises:
        StoreError: Somebody has, who leads too: the lock file was removed meanwhile.
    """
    recorded = _recorded(connection)
    if any(segment.id in recorded or not segment.path.exists() for segment in segments):
        raise StoreError(
            "Segments of this commit were committed or removed by somebody else.", "Nothing is to be done."
        )


def _insert(connection: "DuckDBPyConnection", segments: list[Loaded]) -> CommitSummary:
    """Insert what is new.

    Raises:
        StoreError: The rows do not account for every line of the files.
    """
    connection.execute(statement("keep").replace("{known}", _known_keys(connection)))
    row = connection.execute(statement("insert")).fetchone()
    counts = {name: (loaded, inserted) for name, loaded, inserted in connection.execute(statement("count")).fetchall()}
    for segment in segments:
        loaded, segment.inserted = counts.get(segment.id, (0, 0))
        segment.duplicate = loaded - segment.inserted
    total = _sum(segments)
    whole = all(s.lines == s.inserted + s.duplicate + s.rejected for s in segments)
    if row is None or row[0] != total.inserted or not whole:
        raise StoreError(f"The rows of this commit do not account for its lines: {total}.")
    return total


def _sum(segments: list[Loaded]) -> CommitSummary:
    return CommitSummary(
        lines=sum(segment.lines for segment in segments),
        inserted=sum(segment.inserted for segment in segments),
        duplicate=sum(segment.duplicate for segment in segments),
        rejected=sum(segment.rejected for segment in segments),
        torn=sum(segment.torn for segment in segments),
        lost=sum(n for segment in segments for reason, n, _ in _losses(segment) if reason in LOST - {REJECTED}),
    )


def _known_keys(connection: "DuckDBPyConnection") -> str:
    """A query for the keys that `requests` has in the hours of the batch.

    Literal bounds, a query for each range, let DuckDB skip everything else by its zone maps.
    """
    rows = connection.execute(
        "SELECT DISTINCT epoch_us(date_trunc('hour', start_time)) AS hour FROM batch ORDER BY hour"
    ).fetchall()
    keys = "SELECT start_time, duration_ns, trace_id, span_id FROM requests WHERE "
    return (
        " UNION ALL ".join(
            f"{keys} start_time >= make_timestamp({start}) AND start_time < make_timestamp({end})"
            for start, end in _ranges([hour for (hour,) in rows])
        )
        or keys + "false"
    )


def _ranges(hours: Sequence[int]) -> list[tuple[int, int]]:
    """Starts and ends, in microseconds, of the runs of hours; the widest gaps are kept where there are many."""
    gaps = [(b - a, a + _HOUR_MICROSECONDS, b) for a, b in itertools.pairwise(hours)]
    widest = sorted(gap for gap in gaps if gap[0] > _HOUR_MICROSECONDS)[-(_MAX_RANGES - 1) :]
    bounds = [bound for _, start, end in sorted(widest, key=lambda gap: gap[1]) for bound in (start, end)]
    if not hours:
        return []
    bounds = [hours[0], *bounds, hours[-1] + _HOUR_MICROSECONDS]
    return list(zip(bounds[::2], bounds[1::2], strict=True))


def _record(connection: "DuckDBPyConnection", paths: StorePaths, segments: list[Loaded]) -> None:
    """Note which segments these were and what is missing of them; forget those whose files are gone."""
    there = [segment_id(path) for path in paths.segments()]
    connection.execute("DELETE FROM journal_segments WHERE segment_id NOT IN (SELECT unnest(?::VARCHAR[]))", [there])
    now = store.now()
    _insert_rows(
        connection,
        "journal_segments",
        [(s.id, now, s.lines, s.inserted, s.duplicate, s.rejected) for s in segments],
    )
    noticed = [(now, n, reason, detail, s.id) for s in segments for reason, n, detail in _losses(s)]
    _insert_rows(connection, "losses", [row for row in noticed if row[2] in LOST])
    notes: Counter[str] = Counter()
    for _, n, reason, _, _ in noticed:
        if reason not in LOST:
            notes[reason] += n
    _add_notes(connection, notes)


def _add_notes(connection: "DuckDBPyConnection", notes: Mapping[str, int]) -> None:
    """Add to today's row of each reason that is no loss of a record; make it if there is none."""
    for reason, n in notes.items():
        connection.execute(
            "UPDATE losses SET records = records + $n, noticed_at = $now"
            " WHERE reason = $reason AND segment_id IS NULL AND noticed_at::DATE = $now::DATE",
            {"n": n, "now": store.now(), "reason": reason},
        )
        connection.execute(
            "INSERT INTO losses SELECT $now, $n, $reason, NULL, NULL WHERE NOT EXISTS"
            " (FROM losses WHERE reason = $reason AND segment_id IS NULL AND noticed_at::DATE = $now::DATE)",
            {"n": n, "now": store.now(), "reason": reason},
        )


def _losses(segment: Loaded) -> list[tuple[str, int, str | None]]:
    """Reason, number and detail of what is missing of a segment."""
    header: Header | None = segment.contents.header
    losses: list[tuple[str, int, str | None]] = []
    if header is not None:
        losses = [(reason, n, None) for reason, n in header.counts.items() if n > 0]
    if segment.torn:
        losses.append((TORN_LINE, segment.torn, None))
    if segment.rejected:
        losses.append((REJECTED, segment.rejected, f"rejected/{segment.id}.jsonl"))
    return losses


def _insert_rows(connection: "DuckDBPyConnection", table: str, rows: Sequence[tuple[object, ...]]) -> None:
    if rows:
        row = f"({', '.join('?' * len(rows[0]))})"
        values = [value for each in rows for value in each]
        connection.execute(f"INSERT INTO {table} VALUES {', '.join([row] * len(rows))}", values)


def _add_totals(connection: "DuckDBPyConnection", summary: CommitSummary) -> None:
    for name in ("lines", "inserted", "duplicate", "rejected"):
        connection.execute(
            "UPDATE store_info SET value = (value::BIGINT + ?)::VARCHAR WHERE name = ?",
            [getattr(summary, name), name],
        )


def _record_key(connection: "DuckDBPyConnection", token_key: bytes | None) -> None:
    if token_key is not None:
        connection.execute(
            "INSERT INTO store_info SELECT 'token_key_check', ?"
            " WHERE NOT EXISTS (FROM store_info WHERE name = 'token_key_check')",
            [store.key_check(token_key)],
        )
