"""The OTLP sink: finished segments -> a Collector or `otel-usage collect`, each record at least once.

The journal is the retry queue: a segment is removed when everything in it has its answer. So a crash anywhere sends
again, and whoever receives knows a record by its key. Who forwards, and how often it is asked to, is the committer's.
Imports protobuf, so only whoever forwards imports this.
"""

import contextlib
import math
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from otel_usage.errors import ForwardingError
from otel_usage.exporter.commit import CommitSummary
from otel_usage.exporter.finished import finished_segments
from otel_usage.exporter.forwarder import state as forwarding_state
from otel_usage.exporter.forwarder.endpoint import Endpoint, EndpointError, Verdict
from otel_usage.exporter.forwarder.outgoing import Batch, OutgoingRecord, OutgoingSegment
from otel_usage.exporter.forwarder.state import Forwarding
from otel_usage.exporter.paths import StorePaths, segment_id
from otel_usage.exporter.warner import Warner
from otel_usage.settings import Settings

MAX_SPANS: Final = 512
MAX_REQUEST_BYTES: Final = 4 * 1024 * 1024

_FIRST_DELAY_SECONDS: Final = 0.5
_MAX_DELAY_SECONDS: Final = 30.0
# What does not pass by itself may be put right at the other end.
_HELP_DELAY_SECONDS: Final = 60.0
# One record that the other side cannot stand must not hold up the others; several in a row, and it is not the records.
_PUT_OFF_SECONDS: Final = 30.0
_MAX_PUT_OFF_IN_A_ROW: Final = 3
_MIN_RETRY_AFTER_SECONDS: Final = 0.1
_MAX_RETRY_AFTER_SECONDS: Final = 3600.0
# Of its own: an application that seeds the common one must not align its processes.
_chance: Final = random.Random()  # noqa: S311 - chooses a time


class Forwarder:
    """Posts finished segments; remembers what it is about, so that a request which failed is all that is repeated.

    Args:
        settings: Where to, and how.
        paths: Of the journal, under the name of its store.
    """

    def __init__(self, settings: Settings, paths: StorePaths) -> None:
        self._paths = paths
        self._endpoint = Endpoint(settings)
        self._warner = Warner()
        self._state = Forwarding()
        self._segments: dict[str, OutgoingSegment] = {}
        self._batch = Batch()
        self._most = MAX_SPANS
        self._most_bytes = MAX_REQUEST_BYTES
        self._failures = 0
        self._put_off_in_a_row = 0
        self._retry_at: float | None = None
        self._unsaid: ForwardingError | None = None

    def turn(self, go_on: Callable[[], bool] = lambda: True) -> CommitSummary:
        """Forward finished segments, as many as one turn takes; none before it is time to try again.

        Args:
            go_on: Asked after each request; False ends the turn early.

        Raises:
            ForwardingError: What has no answer waits in the journal.
            OSError: The same, for want of room or permission.
        """
        if self._unsaid is not None:
            failure, self._unsaid = self._unsaid, None
            raise failure
        if self._retry_at is not None and self._retry_at > time.monotonic():
            return CommitSummary()
        self._retry_at = None
        put_off = [segment.path for segment in self._segments.values() if segment.is_put_off]
        with finished_segments(self._paths, put_off) as found, contextlib.closing(self._endpoint):
            return self._turn(put_off + found, go_on)

    def retry_in(self) -> float:
        """Seconds until the next attempt after one that failed; infinite where there is none."""
        return math.inf if self._retry_at is None else max(0.0, self._retry_at - time.monotonic())

    def retire(self) -> None:
        """Forget what was begun: another process leads, or will."""
        self._take_over([])
        self._retry_at = self._unsaid = None

    def _turn(self, found: list[Path], go_on: Callable[[], bool]) -> CommitSummary:
        self._load()
        answered = [path for path in found if segment_id(path) in self._state.segments]
        self._take_over([path for path in found if path not in answered])
        failure: ForwardingError | None = None
        try:
            self._forward(go_on)
        except EndpointError as error:
            failure = self._failed(error)
        summary = self._finish() + CommitSummary(sum(map(_remove, answered)))
        if failure is not None and not summary.segments:
            raise failure
        self._unsaid = failure
        return summary

    def _load(self) -> None:
        self._state = forwarding_state.load(self._paths) or Forwarding()
        if self._state.url != self._endpoint.url:
            self._state.url = self._endpoint.url
            self._save()

    def _save(self) -> bool:
        try:
            forwarding_state.save(self._paths, self._state)
        except OSError as error:
            self._warner.warn("state", "The state of %s cannot be written: %s", self._paths.journal, error)
            return False
        return True

    def _take_over(self, found: list[Path]) -> None:
        """Go on with the segments that were begun, begin the others, forget those that are gone."""
        before, self._segments = self._segments, {}
        for path in found:
            name = segment_id(path)
            self._segments[name] = before.pop(name) if name in before else OutgoingSegment(self._paths, path)
        for segment in before.values():
            segment.close()
        self._batch.keep(self._segments.values())

    def _forward(self, go_on: Callable[[], bool]) -> None:
        """Send what is left of the last request, then what was not read yet, then what was put off for long enough.

        Raises:
            EndpointError: What was not answered for stays in the batch.
        """
        for segment in list(self._segments.values()):
            for record in self._read(segment):
                self._batch.add(record)
                if self._is_full() and not self._send(go_on):
                    return
        if self._send(go_on):
            self._try_again(go_on)

    def _try_again(self, go_on: Callable[[], bool]) -> None:
        """Send what was put off for long enough, one by one, until one of them fails again."""
        self._put_off_in_a_row = 0
        now = time.monotonic()
        while not self._put_off_in_a_row and self._batch.take_up(now):
            if not self._send(go_on):
                return

    def _read(self, segment: OutgoingSegment) -> Iterator[OutgoingRecord]:
        try:
            yield from segment.read()
        except OSError as error:  # it must not hold up the others; it is begun anew, if it is there at all
            if not isinstance(error, FileNotFoundError):
                self._warner.warn("read", "A segment in %s waits: %s", self._paths.journal, error)
            del self._segments[segment.id]

    def _is_full(self) -> bool:
        return len(self._batch) >= self._most or self._batch.size >= self._most_bytes

    def _send(self, go_on: Callable[[], bool]) -> bool:
        while records := self._batch.first(self._most, self._most_bytes):
            try:
                verdict = self._endpoint.export([(record.service, record.span) for record in records])
            except EndpointError as error:
                self._narrow_down(records, error)
            else:
                self._settle(records, verdict)
            if not go_on():
                return False
        return True

    def _narrow_down(self, records: list[OutgoingRecord], error: EndpointError) -> None:
        """Find the record that the other side cannot stand, and go on without it for a while.

        Raises:
            EndpointError: It is not known yet, or it is not for a record.
        """
        if not error.may_be_one:
            raise error
        if len(records) > 1:
            self._most, self._failures = len(records) // 2, 0
            raise EndpointError(error.message, retry_after=error.retry_after) from error
        asked = error.retry_after
        if asked is None:  # else it is to be left alone
            self._endpoint.check()
        self._batch.put_off(time.monotonic() + (_PUT_OFF_SECONDS if asked is None else _clamped(asked)))
        self._put_off_in_a_row += 1
        if self._put_off_in_a_row > _MAX_PUT_OFF_IN_A_ROW:
            self._batch.take_back(self._put_off_in_a_row)
            self._put_off_in_a_row = 0
        elif asked is None:
            self._note(error)
            self._warner.warn("put off", "A usage record waits, and others are forwarded before it: %s", error.message)
            return
        raise error

    def _settle(self, records: list[OutgoingRecord], verdict: Verdict) -> None:
        if not verdict.is_taken and len(records) > 1:
            if verdict.is_too_large:
                self._most_bytes = sum(record.size for record in records) // 2
            else:
                self._most = len(records) // 2
            return
        if verdict.is_taken:
            self._acknowledged(records, verdict)
        else:
            # Before one record is blamed, something that nobody can refuse must come through.
            self._endpoint.check()
            records[0].reject(f"{self._endpoint.url} answers {verdict.reason}")
            self._warner.warn(
                "refused", "A usage record is put aside: %s answers %s", self._endpoint.url, verdict.reason
            )
        self._batch.drop(len(records))
        self._most = min(2 * self._most, MAX_SPANS)
        self._failures = self._put_off_in_a_row = 0

    def _acknowledged(self, records: list[OutgoingRecord], verdict: Verdict) -> None:
        for position, record in enumerate(records):
            record.segment.acknowledge(is_refused=position < verdict.rejected)
        self._state.succeeded_at = time.time()
        if not self._batch.has_put_off:
            self._state.error, self._state.needs_help = None, False
        if verdict.rejected:
            message = "%s has rejected %d of %d usage records: %s"
            self._warner.warn("rejected", message, self._endpoint.url, verdict.rejected, len(records), verdict.reason)

    def _failed(self, error: EndpointError) -> ForwardingError:
        """Note why, and when to try again."""
        self._failures += 1
        if error.hint:
            delay = _HELP_DELAY_SECONDS
        else:
            delay = min(_FIRST_DELAY_SECONDS * 2 ** min(self._failures - 1, 16), _MAX_DELAY_SECONDS)
        delay *= _chance.uniform(0.5, 1.0)
        if error.retry_after is not None:
            delay = _clamped(error.retry_after) * _chance.uniform(1.0, 1.1)
        self._retry_at = time.monotonic() + delay
        self._note(error)
        return ForwardingError(error.message, error.hint)

    def _note(self, error: EndpointError) -> None:
        self._state.error = f"{error.message} {error.hint}".rstrip()
        self._state.failed_at, self._state.needs_help = time.time(), bool(error.hint)
        self._save()

    def _finish(self) -> CommitSummary:
        """Note what became of segments that have all their answers, then remove them."""
        total, accounts = CommitSummary(), {}
        for segment in [each for each in self._segments.values() if each.is_done]:
            segment.close()
            try:
                accounts[segment.id] = segment.account()
            except OSError:  # it is gone
                del self._segments[segment.id]
        if not accounts:
            return total
        for summary, losses in accounts.values():
            self._state.forwarded += summary.inserted
            self._state.note(losses)
        there = {segment_id(path) for path in self._paths.segments()}
        self._state.segments = [name for name in self._state.segments if name in there] + list(accounts)
        is_saved = self._save()
        for name, (summary, losses) in accounts.items():
            # On a full disk the removal makes room; only what must be told of a segment keeps it.
            if is_saved or not losses:
                _remove(self._segments.pop(name).path)
                total += summary
        return total


def _clamped(retry_after: float) -> float:
    return min(max(retry_after, _MIN_RETRY_AFTER_SECONDS), _MAX_RETRY_AFTER_SECONDS)


def _remove(path: Path) -> bool:
    """Remove a segment; one that stays is known to be answered for, so a later turn only tries again."""
    with contextlib.suppress(OSError):
        path.unlink()
        return True
    return False
