"""The committer: this process's background thread, which rotates its segments and, in the leader, commits.

When things happen is decided here. Where segments go is a sink's, what a commit does `commit`'s, who leads
`leadership`'s.
"""

import contextlib
import time
from collections.abc import Callable
from typing import Final

from otel_usage.errors import OtelUsageError, StoreLockedError
from otel_usage.exporter.commit import CommitSummary
from otel_usage.exporter.journal import Journal
from otel_usage.exporter.leadership import Leadership, leader_pid
from otel_usage.exporter.losses import REJECTED, TORN_LINE
from otel_usage.exporter.native import Event, Gate, libraries_outlive_python, start_thread
from otel_usage.exporter.paths import StorePaths
from otel_usage.exporter.pending import Backlog
from otel_usage.exporter.sinks import Sink, StoreSink
from otel_usage.exporter.warner import Warner

__all__ = ["CommitSummary", "Committer", "Leadership", "drain", "leader_pid"]

_FIRST_TICK_SECONDS: Final = 0.5
# Longer than a reader takes to notice that the store is free, also on a busy machine.
_PAUSE_SECONDS: Final = 0.05


def drain(
    paths: StorePaths,
    *,
    token_key: bytes | None = None,
    between_turns: Callable[[], bool] = lambda: True,
) -> CommitSummary:
    """Commit every finished segment, turn by turn. For the leader only.

    Args:
        paths: Of the store.
        token_key: The deployment key, if known.
        between_turns: Called while the store is closed; False ends it early.

    Raises:
        StoreError: A turn failed; what earlier turns committed stays committed.
    """
    sink = StoreSink(paths, lambda: token_key)
    return _drain(lambda: sink.turn(lambda: True), between_turns)


def _drain(turn: Callable[[], CommitSummary], between_turns: Callable[[], bool]) -> CommitSummary:
    total = CommitSummary()
    while True:
        summary = turn()
        total += summary
        if not summary.segments or not between_turns():
            return total


class Committer:
    """A native thread that ends with its process.

    Every process finishes its segment just before the leader commits: both go by the wall clock, so a record waits
    about one interval at most.

    Args:
        journal: Of this process.
        paths: Of the store.
        interval_seconds: Between two commits.
        token_key: Gives the deployment key, if this process knows it.
        sink: Where finished segments go; into the store if nothing is said.
    """

    def __init__(
        self,
        journal: Journal,
        paths: StorePaths,
        *,
        interval_seconds: float,
        token_key: Callable[[], bytes | None],
        sink: Sink | None = None,
    ) -> None:
        self._journal = journal
        self._tally = journal.tally
        self._backlog = Backlog(paths)
        self._paths = paths
        self._interval = interval_seconds
        self._ahead = min(0.25, interval_seconds / 10)
        self._sink = sink or StoreSink(paths, token_key)
        self._leadership = Leadership(paths)
        self._warner = Warner()
        self._wake = Event()
        self._ended = Gate()
        self._flush = Gate()
        self._stop_by: float | None = None
        self._was_locked = False
        self._flush_asked = False

    def start(self) -> None:
        """Start the thread."""
        start_thread(self._run)

    def stop(self, timeout_seconds: float) -> bool:
        """Finish the segment, commit once more if this process leads and still can; False if that took too long."""
        self._stop_by = time.monotonic() + timeout_seconds
        self._wake.set()
        return self._ended.wait(timeout_seconds)

    def flush(self, timeout_seconds: float) -> bool:
        """Finish the segment and, if this process leads, commit it now; False if that took too long."""
        # The flush that a tick has begun already may have missed what was written since.
        flushed = self._flush
        self._flush_asked = True
        self._wake.set()
        return flushed.wait(timeout_seconds)

    @property
    def _is_stopping(self) -> bool:
        return self._stop_by is not None

    def _run(self) -> None:
        try:
            self._pause(min(self._interval, _FIRST_TICK_SECONDS))
            self._tick(at_once=True)
            while not self._is_stopping:
                regular, again = _until(self._interval, -self._ahead), self._sink.retry_in()
                self._pause(min(regular, again))
                self._tick(at_once=again < regular)
            self._journal.close()
            if libraries_outlive_python():
                self._commit()
        except BaseException as error:  # nothing may reach the application's thread hooks
            self._warner.warn("thread", "The committer of %s ended: %r", self._paths.database, error)
        finally:
            self._give_up()
            self._flush.open()
            self._ended.open()

    def _give_up(self) -> None:
        self._tally.waiting = None
        with contextlib.suppress(OSError):
            self._leadership.release()

    def _pause(self, seconds: float) -> None:
        if not self._is_stopping and not self._flush_asked:
            self._wake.wait(seconds)

    def _tick(self, at_once: bool) -> None:
        """Rotate; then, if this process leads, wait until the others have rotated too, and commit."""
        if self._is_stopping:
            return
        # Whoever asks from here on waits at the next gate, and is seen by the next tick.
        flushing, self._flush_asked = self._flush_asked, False
        flush, self._flush = self._flush, Gate()
        try:
            self._journal.rotate()
            self._journal.check_bound()
            if self._leads():
                if not (at_once or flushing):
                    self._pause(_until(self._interval))
                self._commit()
        except Exception as error:  # the next tick may fare better
            self._warner.warn("tick", "The committer of %s goes on after: %r", self._paths.database, error)
        finally:
            flush.open()

    def _leads(self) -> bool:
        try:
            leads = self._leadership.try_acquire()
        except OSError as error:
            self._warner.warn("lead", "%s cannot be locked: %s", self._paths.lock, error)
            leads = False
        if not leads:
            self._tally.waiting = None
            self._sink.retire()
        return leads

    def _commit(self) -> None:
        if self._leads():
            self._commit_all()
            self._count_waiting()

    def _count_waiting(self) -> None:
        if self._tally.is_asked:
            with contextlib.suppress(OSError):
                self._tally.waiting = self._backlog.records()

    def _commit_all(self) -> None:
        try:
            _drain(self._turn, self._between_turns)
        except StoreLockedError as error:
            # A report holds the store for a moment; a person holds it for longer.
            if self._was_locked:
                self._warner.warn("locked", "Usage records wait in the journal: %s", error)
            self._was_locked = True
            return
        except (OtelUsageError, OSError) as error:
            self._warner.warn("commit", "Usage records wait in the journal: %s", error)
        except Exception as error:
            self._warner.warn("commit", "Usage records wait in the journal: %r", error)
        self._was_locked = False

    def _turn(self) -> CommitSummary:
        started = time.monotonic()
        try:
            summary = self._sink.turn(self._amid_turn)
        except Exception as error:
            self._tally.commits.append((time.monotonic() - started, type(error)))
            raise
        if summary.segments:
            self._tally.commits.append((time.monotonic() - started, None))
        self._tally.drop(REJECTED, summary.rejected)
        self._tally.drop(TORN_LINE, summary.torn)
        return summary

    def _between_turns(self) -> bool:
        """Let readers in, and keep this process's own records moving while a backlog is committed."""
        goes_on = self._amid_turn() and not self._is_stopping
        self._pause(_PAUSE_SECONDS)
        return goes_on and not self._is_stopping

    def _amid_turn(self) -> bool:
        """Keep this process's own records moving while a turn takes long; False once there is no time left."""
        if self._stop_by is not None:
            return time.monotonic() < self._stop_by
        self._journal.rotate(self._interval)
        self._journal.check_bound()
        return True


def _until(interval: float, offset: float = 0.0) -> float:
    """Seconds until the wall clock is next at a multiple of the interval plus the offset: never more than one."""
    return (offset - time.time()) % interval
