"""The recorder: what a process uses to keep its records. One object, however often the process forks.

Everything it starts (journal, thread) belongs to one process id and begins with the first record in it: a server
may load the application, fork, and never run a fork hook.
"""

import atexit
import math
import os
import time
import weakref
from collections.abc import Sequence
from typing import Final

from otel_usage.errors import ConfigurationError
from otel_usage.exporter import deployment_key
from otel_usage.exporter.committer import Committer
from otel_usage.exporter.encoding import encode_clean_line
from otel_usage.exporter.journal import Journal
from otel_usage.exporter.native import new_lock
from otel_usage.exporter.paths import StorePaths
from otel_usage.exporter.record import UsageRecord
from otel_usage.exporter.sinks import sink_of
from otel_usage.exporter.warner import Warner
from otel_usage.settings import Settings

_SHUTDOWN_SECONDS: Final = 5.0
# What is left of it where the flush before has waited in vain: a provider flushes when it ends, then the process ends.
_LAST_SECONDS: Final = 0.5


class _Process:
    """What the recorder has in one process."""

    def __init__(self, recorder: "Recorder", settings: Settings, paths: StorePaths) -> None:
        self.pid = os.getpid()
        self.journal = Journal(paths, max_bytes=settings.journal_max_bytes)
        self.committer: Committer | None = Committer(
            self.journal,
            paths,
            interval_seconds=settings.commit_interval_seconds,
            token_key=recorder.known_token_key,
            sink=sink_of(settings, paths, recorder.known_token_key),
        )
        self.interval_seconds = settings.commit_interval_seconds
        self.patience_seconds = _SHUTDOWN_SECONDS
        # When a request is to finish the segment; never where a thread does.
        self.due = math.inf

    def finish_if_due(self) -> None:
        """Do a thread's part where none runs: what was written an interval ago can be committed by others."""
        now = time.monotonic()
        if now >= self.due:
            self.due = now + self.interval_seconds
            self.journal.close()
            self.journal.check_bound()


class Recorder:
    """Keeps records durably, and has them committed. Nothing in it raises into the application.

    Args:
        settings: Of the store; making a recorder touches no file.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._paths = StorePaths.of(settings.database)
        self._process: _Process | None = None
        # A lock for each process id: one inherited over a fork may be held for ever.
        self._locks = {os.getpid(): new_lock()}
        self._key_locks = {os.getpid(): new_lock()}
        self._token_key = settings.token_key
        self._token_key_asked_by = 0
        self._warner = Warner()
        _recorders.add(self)
        atexit.register(self.shutdown)

    def write(self, record: UsageRecord, secrets: tuple[str, ...] = ()) -> None:
        """Keep one record; what does not fit its column is made to fit in the record itself, and counted.

        Args:
            record: Changed where it must be.
            secrets: Raw credentials, which are not kept wherever in the record they stand.
        """
        try:
            process = self._current()
            journal = process.journal
            line = encode_clean_line(record, journal.count, secrets)
            if line is not None:
                journal.append(line)
            if process.committer is None:
                process.finish_if_due()
        except Exception as error:
            self._warner.warn("write", "A usage record is lost: %r", error)

    def write_all(self, lines: Sequence[bytes]) -> None:
        """Keep encoded records of a sender that comes again if it is told to.

        Raises:
            JournalUnavailableError: Not all of them are kept.
        """
        process = self._current()
        process.journal.append_all(lines)
        if process.committer is None:
            process.finish_if_due()

    def count(self, reason: str, n: int = 1) -> None:
        """Count a reason of `losses.REASONS`."""
        try:
            self._current().journal.count(reason, n)
        except Exception as error:
            self._warner.warn("count", "A loss of usage records is not counted: %r", error)

    def token_key(self) -> bytes | None:
        """The deployment key, made on first use; None where it cannot be read or made, which is logged once."""
        if self._token_key is None and self._token_key_asked_by != os.getpid():
            # The first requests of a process come at once: all of them wait for the one that reads or makes it.
            with self._key_locks.setdefault(os.getpid(), new_lock()):
                if self._token_key is None and self._token_key_asked_by != os.getpid():
                    self._load_token_key()
        return self._token_key

    def _load_token_key(self) -> None:
        try:
            self._token_key = deployment_key.load_or_create(self._settings.token_key_file)
        except ConfigurationError as error:
            self._warner.warn("key", "Tokens stay unidentified: %s", error)
        finally:
            self._token_key_asked_by = os.getpid()

    def known_token_key(self) -> bytes | None:
        """The deployment key if this process has needed it, else None; makes nothing."""
        return self._token_key

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Hand over what was written so far; in the leader, wait until it is committed.

        Elsewhere it is in the journal, which survives this process, and the leader has it within an interval.

        Returns:
            False if that took longer than `timeout_millis`.
        """
        process = self._process
        if process is None or process.pid != os.getpid() or process.committer is None:
            return True
        seconds = timeout_millis / 1000
        is_done = process.committer.flush(seconds)
        process.patience_seconds = _SHUTDOWN_SECONDS if is_done else max(_LAST_SECONDS, _SHUTDOWN_SECONDS - seconds)
        return is_done

    def shutdown(self) -> None:
        """Finish the segment; the leader commits once more. Idempotent, at most some five seconds.

        A record written afterwards is still kept, and committed by another process or the next start.
        """
        process = self._process
        if process is None or process.pid != os.getpid():
            return
        committer, process.committer = process.committer, None
        if committer is not None:
            committer.stop(process.patience_seconds)
        process.journal.close()

    def remove(self) -> None:
        """Shut down for good: nobody is told the numbers of this process any more."""
        self.shutdown()
        atexit.unregister(self.shutdown)
        process = self._process
        if process is not None:
            process.journal.tally.is_told = False

    def is_active(self) -> bool:
        """Whether this process has written anything yet and was not shut down."""
        process = self._process
        return process is not None and process.pid == os.getpid() and process.committer is not None

    def abandon_inherited(self) -> None:
        """In a forked child: let go of the parent's segment. Only an optimisation, `write` does it too."""
        process = self._process
        if process is not None and process.pid != os.getpid():
            self._process = None
            process.journal.abandon()

    def _current(self) -> _Process:
        process = self._process
        if process is not None and process.pid == os.getpid():
            return process
        return self._begin()

    def _begin(self) -> _Process:
        from otel_usage.exporter import metrics  # OpenTelemetry's API is not for those who record no request

        with self._locks.setdefault(os.getpid(), new_lock()):
            process = self._process
            if process is not None and process.pid == os.getpid():
                return process
            self.abandon_inherited()
            process = _Process(self, self._settings, self._paths)
            self._start(process)
            metrics.tell(process.journal.tally)
            self._process = process
            return process

    def _start(self, process: _Process) -> None:
        """Start the thread; without one the records are in the journal, and other processes commit them."""
        try:
            if process.committer is not None:
                process.committer.start()
        except Exception as error:  # a limit of the system, or the interpreter is ending
            process.committer = None
            process.due = 0.0
            self._warner.warn("thread", "Usage records wait for another process or a report to commit them: %s", error)


_recorders: "weakref.WeakSet[Recorder]" = weakref.WeakSet()


def _abandon_inherited() -> None:
    for recorder in list(_recorders):
        recorder.abandon_inherited()


os.register_at_fork(after_in_child=_abandon_inherited)
