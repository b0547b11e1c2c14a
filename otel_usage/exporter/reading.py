"""What a reader does before it opens the store: commit what nobody else will, and say what is not committed.

A reader never waits for living writers, except where there is no store yet. `sync` is the one that waits.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from otel_usage.errors import (
    ConfigurationError,
    ForwardingError,
    SchemaVersionError,
    StoreLockedError,
    StoreMissingError,
)
from otel_usage.exporter.committer import CommitSummary, drain
from otel_usage.exporter.forwarder import state as forwarding_state
from otel_usage.exporter.leadership import Leadership, leader_pid, process_name
from otel_usage.exporter.leadership import turn as leading_turn
from otel_usage.exporter.paths import StorePaths, segment_id
from otel_usage.exporter.pending import Pending, inspected, pending
from otel_usage.exporter.sinks import forwarder
from otel_usage.exporter.store import connect_read_only
from otel_usage.exporter.workbench import attached, workbench
from otel_usage.settings import Settings

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from otel_usage.exporter.forwarder.forwarder import Forwarder

_POLL_SECONDS: Final = 0.05
_GRACE_SECONDS: Final = 5.0
# A segment is begun, finished up to an interval later, and then committed.
_OVERDUE_INTERVALS: Final = 3


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What became of the records that were there when `sync` began.

    Attributes:
        records: How many there were.
        remaining: How many of them are not committed, or forwarded.
        seconds: How long it took.
        url: Where they are forwarded to; None if they are committed.
        problem: What last kept them from being forwarded; empty if nothing is known.
    """

    records: int
    remaining: int
    seconds: float
    url: str | None = None
    problem: str = ""


def prepare_to_read(settings: Settings, *, announce: Callable[[str], None]) -> None:
    """Make the store as complete as it can be without waiting for living writers.

    Args:
        settings: Names the store.
        announce: Takes a line for the person who waits.

    Raises:
        StoreMissingError: There is neither a store nor a journal; nothing is made.
        StoreError: The records of processes that are gone cannot be committed.
    """
    paths = StorePaths.of(settings.database)
    if (url := forwarding_state.destination(settings, paths)) is not None:
        _require_own_rows(paths, url, announce)
        return
    _require_something(paths)
    _commit_orphans(paths, settings.token_key, announce)
    if not paths.database.exists():
        _wait_for_store(paths, settings, announce)


def uncommitted(connection: "DuckDBPyConnection", settings: Settings) -> Pending:
    """What the journal holds and the store does not, seen while the store is open and so cannot change.

    A segment that is committed may still be there for a moment; the store knows its id. What is forwarded does not
    count.
    """
    if forwarding_state.destination(settings, StorePaths.of(settings.database)) is not None:
        return Pending()
    rows = connection.execute("SELECT segment_id FROM journal_segments").fetchall()
    return pending(StorePaths.of(settings.database), committed=frozenset(name for (name,) in rows))


def outlook(settings: Settings, found: Pending) -> str:
    """What a reader is told of records that are not committed yet: how many, and when they will be."""
    waiting = f"{found.records} records are not committed yet"
    try:
        leader = leader_pid(StorePaths.of(settings.database))
    except OSError:  # a store this user may only read
        return f"{waiting}."
    if leader is None:
        return f"{waiting}, and no process commits them now: `otel-usage sync` commits what is finished."
    if is_overdue(settings, found):
        return f"{waiting}; {process_name(leader)} should have done it by now: see `otel-usage doctor`."
    return (
        f"{waiting}; they come within {settings.commit_interval_seconds:g} seconds. `otel-usage sync` waits for them."
    )


def is_overdue(settings: Settings, found: Pending) -> bool:
    """Whether a process that leads would have dealt with all that waits, if it were well."""
    patience = _OVERDUE_INTERVALS * settings.commit_interval_seconds + _GRACE_SECONDS
    return found.oldest is not None and time.time() - found.oldest > patience


def sync(settings: Settings, *, timeout_seconds: float, progress: Callable[[int, int], None]) -> SyncResult:
    """Wait until everything written before now is committed, or forwarded; do it here where no leader lives.

    Args:
        settings: Names the store.
        timeout_seconds: Longest wait.
        progress: Called with records committed, records there were, as it goes on.

    Returns:
        How it went; `remaining` is 0 unless the time ran out.

    Raises:
        StoreMissingError: There is neither a store nor a journal.
        StoreError: The records cannot be committed.
        ForwardingError: The endpoint does not take the records, and will not by itself.
        MissingExtraError: What is needed to forward is not installed.
        ConfigurationError: The records are not for the store, and no endpoint is set.
    """
    paths = StorePaths.of(settings.database)
    if (url := forwarding_state.destination(settings, paths)) is not None:
        return _sync_forwarded(settings, paths, url, timeout_seconds, progress)
    _require_something(paths)
    orphans = partial(_commit_orphans, paths, settings.token_key, lambda _: None)
    result = _wait(paths, timeout_seconds, progress, orphans)
    _require_store(paths)
    return result


def _wait(
    paths: StorePaths, timeout_seconds: float, progress: Callable[[int, int], None], step: Callable[[], object]
) -> SyncResult:
    """Repeat `step` until the segments that are there now are gone."""
    start = time.monotonic()
    waiting = {
        segment_id(path): max(contents.lines, 0)
        for path, contents in inspected(paths)
        if contents.lines or (contents.header is not None and any(contents.header.counts.values()))
    }
    total = sum(waiting.values())
    while True:
        step()
        there = _segment_ids(paths)
        remaining = sum(lines for name, lines in waiting.items() if name in there)
        progress(total - remaining, total)
        seconds = time.monotonic() - start
        if not there & waiting.keys() or seconds >= timeout_seconds:
            return SyncResult(total, remaining, seconds)
        time.sleep(_POLL_SECONDS)


def _sync_forwarded(
    settings: Settings, paths: StorePaths, url: str, timeout_seconds: float, progress: Callable[[int, int], None]
) -> SyncResult:
    if settings.exporter != "otlp":
        raise ConfigurationError(
            f"The records in {paths.journal} are forwarded to {url}, not committed.",
            "Set OTEL_USAGE_EXPORTER=otlp and what else the applications have; or duckdb, to commit them after all.",
        )
    orphans = _Orphans(settings, paths, time.monotonic() + timeout_seconds)
    try:
        result = _wait(paths, timeout_seconds, progress, orphans.forward)
    finally:
        orphans.leave()
    state = forwarding_state.load(paths)
    problem = (state.error or "") if state is not None and result.remaining else ""
    return replace(result, url=url, problem=problem)


class _Orphans:
    """Forwards what is there where no leader lives.

    Args:
        settings: Where to.
        paths: Of the journal.
        until: When to stop, on the monotonic clock.
    """

    def __init__(self, settings: Settings, paths: StorePaths, until: float) -> None:
        self._settings = settings
        self._paths = paths
        self._until = until
        self._leadership = Leadership(paths)
        self._forwarder: Forwarder | None = None

    def forward(self) -> None:
        """Forward once, if it is time to.

        Raises:
            ForwardingError: It needs somebody's help.
            MissingExtraError: protobuf is not installed.
        """
        if not self._leads() or not _segment_ids(self._paths):
            return
        if self._forwarder is None:
            self._forwarder = forwarder(self._settings, self._paths)
        try:
            self._forwarder.turn(lambda: time.monotonic() < self._until)
        except ForwardingError as error:
            if error.hint:
                raise

    def leave(self) -> None:
        """Let others lead."""
        with contextlib.suppress(OSError):
            self._leadership.release()

    def _leads(self) -> bool:
        try:
            return self._leadership.try_acquire()
        except OSError:  # a journal this user may only read
            return False


def _require_own_rows(paths: StorePaths, url: str, announce: Callable[[str], None]) -> None:
    """There is a store all the same: of before, or of what is received here.

    Raises:
        StoreMissingError: There is none.
    """
    if not paths.database.exists():
        raise StoreMissingError(
            f"There is no store {paths.database}: records are forwarded to {url}.",
            "Ask where they are received, or name another store (--database, OTEL_USAGE_DATABASE).",
        )
    announce(f"New records are forwarded to {url}, not committed into {paths.database}.")


def _require_store(paths: StorePaths) -> None:
    """What was committed is in a store of ours, of the newest schema.

    Raises:
        StoreError: The file under the store's name is none, or cannot be opened.
    """
    if not paths.database.exists():
        return
    try:
        connect_read_only(paths.database).close()
    except SchemaVersionError:
        if not _migrate(paths):
            raise


def _migrate(paths: StorePaths) -> bool:
    """Bring an older store to the newest schema; False if a living leader will.

    Raises:
        SchemaVersionError: It is newer.
    """
    leadership = Leadership(paths)
    if not leadership.try_acquire():
        return False
    try:
        with leading_turn(), workbench(paths) as connection, attached(connection, paths, to_write=False):
            return True
    finally:
        leadership.release()


def _require_something(paths: StorePaths) -> None:
    if not paths.database.exists() and not paths.segments():
        raise StoreMissingError(
            f"There is no store {paths.database}.",
            "Run an application with otel-usage first, or name its store (--database, OTEL_USAGE_DATABASE).",
        )


def _commit_orphans(paths: StorePaths, token_key: bytes | None, announce: Callable[[str], None]) -> CommitSummary:
    """Commit the segments that are there now, if no process is there to do it."""
    there = _segment_ids(paths)
    if not there or _leader_lives(paths):
        return CommitSummary()
    leadership = Leadership(paths)
    try:
        if not leadership.try_acquire():
            return CommitSummary()
    except OSError:  # a store this user may only read
        return CommitSummary()
    try:
        # Processes that cannot lead may write faster than their segments are committed.
        return drain(paths, token_key=token_key, between_turns=lambda: bool(there & _segment_ids(paths)))
    except StoreLockedError as error:  # what is not committed is said anyway; the read has its own wait
        announce(error.message)
        return CommitSummary()
    finally:
        leadership.release()


def _segment_ids(paths: StorePaths) -> set[str]:
    return {segment_id(path) for path in paths.segments()}


def _leader_lives(paths: StorePaths) -> bool:
    try:
        return leader_pid(paths) is not None
    except OSError:
        return True


def _wait_for_store(paths: StorePaths, settings: Settings, announce: Callable[[str], None]) -> None:
    """Wait for the first commit of a living process, two intervals and a little.

    Raises:
        StoreMissingError: It did not come.
    """
    announce(f"Waiting for the first commit into {paths.database} ...")
    deadline = time.monotonic() + 2 * settings.commit_interval_seconds + _GRACE_SECONDS
    while not paths.database.exists():
        if time.monotonic() >= deadline:
            raise StoreMissingError(
                f"There is no store {paths.database} yet; its records wait in {paths.journal}.",
                "Look at the log of the application that writes them.",
            )
        _commit_orphans(paths, settings.token_key, announce)
        time.sleep(_POLL_SECONDS)
