"""The journal of this process: the segment in use, its rotation, the bound, and the losses.

Nothing here raises into the application. What a line says is `encoding`'s, what becomes of finished segments the
committer's.
"""

import contextlib
import time
from collections.abc import Sequence
from typing import Final

from otel_usage.errors import JournalUnavailableError
from otel_usage.exporter.losses import JOURNAL_FULL, WRITE_ERROR
from otel_usage.exporter.native import new_lock
from otel_usage.exporter.paths import StorePaths, make_private_folder
from otel_usage.exporter.segment import Segment
from otel_usage.exporter.tally import Tally
from otel_usage.exporter.warner import Warner

MAX_SEGMENT_BYTES: Final = 8 * 1024 * 1024
# Of one write: a batch of a Collector is seldom longer, and a segment is not much longer than it should be.
_BLOCK_LINES: Final = 2048
_RETRY_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 1.0


class Journal:
    """Append-only segments of one process; safe to use from any thread and greenlet.

    Args:
        paths: Of the store.
        max_bytes: Bound of the journal of the whole store: records beyond it are dropped and counted.
        max_segment_bytes: A segment is finished once it is longer.

    Attributes:
        tally: What this process has written and lost.
    """

    def __init__(self, paths: StorePaths, *, max_bytes: int, max_segment_bytes: int = MAX_SEGMENT_BYTES) -> None:
        self._paths = paths
        self._max_bytes = max_bytes
        self._max_segment_bytes = max_segment_bytes
        self.tally = Tally()
        self._lock = new_lock()
        self._segment: Segment | None = None
        self._homeless_counts: dict[str, int] = {}
        self._retry_at = 0.0
        self._room = max_bytes
        self._warner = Warner()

    def append(self, line: bytes) -> None:
        """Keep one line, newline included; what cannot be kept is counted. Never raises."""
        with self._lock:
            try:
                self._append(line)
            except Exception as error:
                self._count(WRITE_ERROR, 1)
                self._warner.later("write", "A usage record is not in %s: %s", self._paths.journal, error)
        if self._warner.waiting:
            self._warner.say()

    def append_all(self, lines: Sequence[bytes]) -> None:
        """Keep many lines, newlines included, for a sender that comes again if it is told to.

        Raises:
            JournalUnavailableError: Not all of them are kept; nothing is counted as lost.
        """
        with self._lock:
            for start in range(0, len(lines), _BLOCK_LINES):
                self._append_block(lines[start : start + _BLOCK_LINES])

    def count(self, reason: str, n: int = 1) -> None:
        """Count a reason of `losses.REASONS` in the header of the segment in use. Never raises."""
        with self._lock:
            self._count(reason, n)
        self._warner.say()

    def rotate(self, older_than_seconds: float = 0.0) -> None:
        """Finish the segment if it says anything and was made so long ago. Never raises.

        Losses that had no segment to be counted in are noted as soon as one can be made: no request need come.
        """
        with self._lock:
            self._note_homeless()
            if self._is_due(older_than_seconds):
                self._roll_over()
        self._warner.say()

    def check_bound(self) -> None:
        """Look how much room the journal of the whole store has left. Never raises."""
        room = self._max_bytes - self._bytes_of_all()
        with self._lock:
            self._room = room

    def close(self) -> None:
        """Finish the segment in use. A later append makes another. Never raises.

        Called from a signal handler that has interrupted an append it cannot get the lock: then the segment stays,
        and is found once this process is gone.
        """
        if not self._lock.acquire(True, _CLOSE_SECONDS):
            return
        try:
            self._retry_at = 0.0
            self._note_homeless()
            segment, self._segment = self._segment, None
            self._finish(segment)
        finally:
            self._lock.release()
        self._warner.say()

    def abandon(self) -> None:
        """Let go of what a forked child inherited: no lock is taken, no file lock released. Never raises."""
        segment, self._segment = self._segment, None
        if segment is not None:
            with contextlib.suppress(OSError):
                segment.abandon()

    def _note_homeless(self) -> None:
        if self._homeless_counts and self._segment is None:
            self._new_segment()

    def _is_due(self, older_than_seconds: float) -> bool:
        segment = self._segment
        if segment is None or segment.is_empty or segment.age_seconds() < older_than_seconds:
            return False
        # Its counters are all that can be written until there is room: a new segment for them would take some.
        return segment.lines > 0 or not self._is_full()

    def _append(self, line: bytes) -> None:
        segment = self._segment or self._new_segment()
        if segment is None:
            self._count(WRITE_ERROR, 1)
            return
        if len(line) > self._room:
            self._drop()
            return
        segment.append(line)
        self.tally.written += 1
        self._room -= len(line)
        if segment.size >= self._max_segment_bytes:
            self._roll_over()

    def _append_block(self, lines: Sequence[bytes]) -> None:
        block = b"".join(lines)
        try:
            segment = self._segment or self._new_segment()
            if segment is not None and len(block) <= self._room:
                segment.append(block, len(lines))
        except OSError as error:
            raise JournalUnavailableError(
                f"Nothing can be written to {self._paths.journal}: {error.strerror}.", "Check its disk."
            ) from error
        if segment is None:
            raise JournalUnavailableError(f"Nothing can be kept in {self._paths.journal}.", "Check its disk.")
        if len(block) > self._room:
            self._room = 0
            raise JournalUnavailableError(
                f"The journal {self._paths.journal} has reached its bound of {self._max_bytes} bytes.",
                "See who holds the store: otel-usage doctor.",
            )
        self.tally.written += len(lines)
        self._room -= len(block)
        if segment.size >= self._max_segment_bytes:
            self._roll_over()

    def _drop(self) -> None:
        self._room = 0  # until the bound is looked at again, so that the newest are dropped, not the longest
        self._count(JOURNAL_FULL, 1)
        self._warner.later(
            "full",
            "The journal %s has reached its bound of %d bytes: new usage records are dropped and counted.",
            self._paths.journal,
            self._max_bytes,
        )

    def _count(self, reason: str, n: int) -> None:
        self.tally.drop(reason, n)
        self._note(reason, n)

    def _note(self, reason: str, n: int) -> None:
        """Count in the header of the segment in use, or keep the number for the next one."""
        try:
            segment = self._segment or self._new_segment()
            if segment is not None:
                segment.count(reason, n)
                return
        except Exception as error:
            self._warner.later("count", "A loss could not be counted in %s: %s", self._paths.journal, error)
        self._homeless_counts[reason] = self._homeless_counts.get(reason, 0) + n

    def _new_segment(self) -> Segment | None:
        """A new segment, None where none could be made less than a second ago."""
        now = time.monotonic()
        if now < self._retry_at:
            return None
        try:
            make_private_folder(self._paths.journal)
            self._segment = Segment(self._paths.journal, self._homeless_counts)
        except OSError as error:
            self._retry_at = now + _RETRY_SECONDS
            self._warner.later("make", "No usage record can be kept in %s: %s", self._paths.journal, error)
            return None
        self._homeless_counts = {}
        return self._segment

    def _roll_over(self) -> None:
        """Finish the segment in use once the next one is there: on a full disk the old one goes on counting."""
        old, self._segment = self._segment, None
        if self._new_segment() is None:
            self._segment = old
        else:
            self._finish(old)

    def _finish(self, segment: Segment | None) -> None:
        if segment is None:
            return
        try:
            segment.finish()
        except FileNotFoundError:
            self._count(WRITE_ERROR, segment.lines)
            for reason, n in segment.counts.items():
                self._note(reason, n)
            self._warner.later("gone", "A segment in %s was removed with its usage records.", self._paths.journal)
        except OSError as error:
            self._warner.later("finish", "A segment in %s stays open: %s", self._paths.journal, error)

    def _is_full(self) -> bool:
        return self._room <= 0

    def _bytes_of_all(self) -> int:
        total = 0
        with contextlib.suppress(OSError):
            for path in self._paths.segments():
                with contextlib.suppress(OSError):  # committed meanwhile
                    total += path.stat().st_size
        return total
