"""Segments and records on their way to an endpoint: what was read of them, and what of that has its answer.

Knows neither endpoint nor time.
"""

import contextlib
import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from otel_usage.exporter.commit import CommitSummary
from otel_usage.exporter.finished import inspect
from otel_usage.exporter.losses import LOST, REJECTED, TORN_LINE
from otel_usage.exporter.otlp import encoding as otlp_encoding
from otel_usage.exporter.paths import StorePaths, segment_id
from otel_usage.exporter.record import UsageRecord
from otel_usage.exporter.salvage import Rejections, good_lines

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

_decode: Final = msgspec.json.Decoder(UsageRecord).decode


class OutgoingSegment:
    """A segment on its way.

    Args:
        paths: Of the journal.
        path: The segment's file.

    Attributes:
        id: Its id.
        path: Its file.
        waiting: How many of its lines were read and have no answer.
        put_off: How many of these are put off.
    """

    def __init__(self, paths: StorePaths, path: Path) -> None:
        self.id = segment_id(path)
        self.path = path
        self.waiting = 0
        self.put_off = 0
        self._closing = contextlib.ExitStack()
        self._rejections = self._closing.enter_context(Rejections(paths, self.id))
        self._lines = good_lines(path, self._rejections)
        self._is_read = False
        self._acknowledged = 0
        self._refused = 0

    def read(self) -> Iterator["OutgoingRecord"]:
        """Its records that were not read yet; bad lines are put aside.

        Raises:
            OSError: The file is gone or cannot be read, or there is no room to put a line aside.
        """
        for number, line in self._lines:
            record = _decode(line)
            span = otlp_encoding.span_of(record)
            yield OutgoingRecord(self, number, line, otlp_encoding.service_of(record), span, span.ByteSize())
        self._is_read = True

    @property
    def is_done(self) -> bool:
        """Whether every line has its answer."""
        return self._is_read and not self.waiting

    @property
    def is_put_off(self) -> bool:
        """Whether all that has no answer is put off."""
        return self._is_read and 0 < self.waiting == self.put_off

    def acknowledge(self, *, is_refused: bool) -> None:
        """Count a record that the other side has, or one of those that it will never keep without saying which."""
        self._acknowledged += not is_refused
        self._refused += is_refused

    def reject(self, number: int, line: bytes, reason: str) -> None:
        """Put a line aside that the other side does not take.

        Raises:
            OSError: There is no room for it.
        """
        self._rejections.add(number, reason, line)

    def close(self) -> None:
        """Have what was put aside written."""
        self._closing.close()

    def account(self) -> tuple[CommitSummary, dict[str, int]]:
        """What became of its lines, and what is missing of them, by reason.

        Raises:
            OSError: The file is gone.
        """
        contents = inspect(self.path)
        header = contents.header
        losses = {} if header is None else {reason: n for reason, n in header.counts.items() if n > 0}
        rejected = self._rejections.count + self._refused
        seen = self._acknowledged + rejected
        # A last line without newline was kept if there are more lines than newlines.
        torn = int(header is not None and not contents.ends_clean and seen == contents.lines)
        for reason, n in ((TORN_LINE, torn), (REJECTED, rejected)):
            if n:
                losses[reason] = losses.get(reason, 0) + n
        lost = sum(n for reason, n in losses.items() if reason in LOST) - rejected
        summary = CommitSummary(1, seen, self._acknowledged, rejected=rejected, torn=torn, lost=lost)
        return summary, losses


@dataclass(frozen=True, slots=True)
class OutgoingRecord:
    """A record on its way: its line and the number of that, and the span that it becomes, of so many bytes."""

    segment: OutgoingSegment
    number: int
    line: bytes
    service: otlp_encoding.Service
    span: "Span"
    size: int

    def reject(self, reason: str) -> None:
        """Put its line aside.

        Raises:
            OSError: There is no room for it.
        """
        self.segment.reject(self.number, self.line, reason)


class Batch:
    """Records that were read and have no answer, oldest first; and those that are put off, until their time comes.

    Attributes:
        size: Bytes of the first.
    """

    def __init__(self) -> None:
        self.size = 0
        self._records: list[OutgoingRecord] = []
        self._put_off: list[tuple[float, OutgoingRecord]] = []

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: OutgoingRecord) -> None:
        """Add one more."""
        record.segment.waiting += 1
        self.size += record.size
        self._records.append(record)

    def first(self, most: int, most_bytes: int) -> list[OutgoingRecord]:
        """As many of the first as fit; one at least, if there is any."""
        sizes = itertools.accumulate(record.size for record in self._records[:most])
        count = sum(1 for _ in itertools.takewhile(lambda size: size <= most_bytes, sizes))
        return self._records[: max(1, count)]

    def drop(self, count: int) -> None:
        """Take the first away: they have their answer."""
        for record in self._records[:count]:
            record.segment.waiting -= 1
            self.size -= record.size
        del self._records[:count]

    @property
    def has_put_off(self) -> bool:
        """Whether any record is put off."""
        return bool(self._put_off)

    def put_off(self, until: float) -> None:
        """Step over the first record until then."""
        record = self._records.pop(0)
        self.size -= record.size
        record.segment.put_off += 1
        self._put_off.append((until, record))

    def take_up(self, now: float) -> bool:
        """Add one that was put off until now, behind all others; False if there is none."""
        due = next((position for position, (until, _) in enumerate(self._put_off) if until <= now), None)
        if due is not None:
            self._take_up(due)
        return due is not None

    def take_back(self, count: int) -> None:
        """Add those that were put off last, behind all others."""
        for left in range(min(count, len(self._put_off)), 0, -1):
            self._take_up(len(self._put_off) - left)

    def _take_up(self, position: int) -> None:
        _, record = self._put_off.pop(position)
        record.segment.put_off -= 1
        self._records.append(record)
        self.size += record.size

    def keep(self, segments: Collection[OutgoingSegment]) -> None:
        """Take away what is of no such segment."""
        self._records = [record for record in self._records if record.segment in segments]
        self._put_off = [(until, record) for until, record in self._put_off if record.segment in segments]
        self.size = sum(record.size for record in self._records)
