"""Messages with their lengths before them, found again after one that is none.

Opens no file and decodes nothing. What a message is, is `framing`'s to say.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from otel_usage.errors import OTLPDecodeError
from otel_usage.exporter.ingest.framing import MAX_MESSAGE_BYTES, TOO_LONG, Message
from otel_usage.exporter.otlp.wire import fields

ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
LENGTH_BYTES: Final = 4
# Every export request is a sequence of its field 1, length-delimited.
REQUEST_TAG: Final = b"\x0a"
_FRAME: Final = re.compile(rb"(?s)(?=[\x00-\x03]...(?:\x0a|\x28\xb5\x2f\xfd))")
# One of less than 64 KiB: no text that a message ends with is longer.
_SHORT_FRAME: Final = re.compile(rb"(?s)\0(?=\0..(?:\x0a|\x28\xb5\x2f\xfd))")
_SHORT_BYTES: Final = LENGTH_BYTES + 0xFFFF
_NOT_ZERO: Final = re.compile(rb"[^\0]")
# What the content of a request's field 1, ResourceSpans, begins with: its fields 1, 2, 3, and 1000, which is no more.
_RESOURCE_SPANS_TAGS: Final = frozenset(b"\x0a\x12\x1a\xc2")
# So many fields in a row are a request, whatever follows.
_FIELDS_ENOUGH: Final = 64
# A tag and a length, at most.
_FIELD_HEAD_BYTES: Final = 11
# A length, a tag, a length and what follows: so much of a frame tells it from anything else.
_TELLING_BYTES: Final = 16
# What searching may cost, in bytes that are read in vain: so much for each byte of a file, and some to begin with.
# Files of Collectors need a fraction of it; crafted ones, whose every byte begins what might be a message, need more.
_CREDIT_PER_BYTE: Final = 4
_CREDIT: Final = 2 * MAX_MESSAGE_BYTES
_FIELD_COST: Final = 256
_ENDS_WITHIN: Final = "ends within a message"
_NO_MESSAGE: Final = "no message"
_TORN: Final = "a torn message: another one begins within it"


class LengthPrefixed:
    """Four bytes of length, big-endian, and as many of a message, over and over.

    Once a message is none, its length was none either: the next frame is then looked for byte by byte. Where that costs
    too much, what is at hand is given up. A torn message, whose writer went on with the next one after it, has a length
    that reaches into that, and may look whole: so it counts as one only if nothing begins within it that goes on behind
    it.

    Args:
        offset: Where the first block begins.
        line: Of no meaning here.
    """

    def __init__(self, offset: int = 0, line: int = 0) -> None:
        self.offset = offset
        self.line = line
        self._data = bytearray()
        self._data_offset = offset
        self._at = 0  # in _data
        self._lost = ""  # why what is between `offset` and _at is no message
        self._is_rejected = False
        self._is_at_end = False
        self._credit = _CREDIT

    def feed(self, block: bytes) -> Iterator[Message]:
        self._data += block
        self._credit = min(_CREDIT, self._credit + _CREDIT_PER_BYTE * len(block))
        while (message := self._next()) is not None:
            self._is_rejected = False
            if message.length:
                yield message
            if self._is_rejected:
                continue
            if self._lost:
                yield self._lost_until(message.offset)
                self._lost = ""
            self._at += LENGTH_BYTES + message.length
            self.offset = self._data_offset + self._at
        del self._data[: self._at]
        self._data_offset += self._at
        self._at = 0

    def reject(self, message: Message, reason: str) -> None:
        self._is_rejected = True
        self._credit -= message.length
        self._lose(reason)

    def end(self) -> Iterator[Message]:
        self._is_at_end = True
        yield from self.feed(b"")
        while _NOT_ZERO.search(self._data):
            self._lose(_ENDS_WITHIN)
            yield from self.feed(b"")
            if self._lost:
                yield self._lost_until(self._data_offset + len(self._data))
                return

    def _next(self) -> Message | None:
        """The frame at hand, if it is whole."""
        while not self._lost or self._find():
            start = self._at + LENGTH_BYTES
            length = int.from_bytes(self._data[self._at : start], "big")
            if length > MAX_MESSAGE_BYTES:
                self._lose(TOO_LONG)
                continue
            if len(self._data) < start + max(length, 1):
                return None
            if not length and not _FRAME.match(self._data, start):
                self._lose(_NO_MESSAGE)
                continue
            is_torn = self._is_torn(self._at, start + length)
            if is_torn is None:
                return None
            if is_torn:
                self._credit -= length
                self._lose(_TORN)
                continue
            data = bytes(self._data[start : start + length])
            return Message(data, self._data_offset + self._at, length, 0)
        return None

    def _lose(self, reason: str) -> None:
        self._lost = self._lost or reason
        self._at += 1

    def _lost_until(self, end: int) -> Message:
        return Message(b"", self.offset, end - self.offset, 0, self._lost)

    def _find(self) -> bool:
        """Go to the next whole frame, else to the first that may be one once there is more; False for that."""
        begin = self._at
        end = waiting = max(begin, len(self._data) - LENGTH_BYTES - len(ZSTD_MAGIC) + 1)
        for found in _FRAME.finditer(self._data, begin):
            at = found.start()
            fits = self._fits(at)
            if fits:
                self._at = at
                self._credit -= at - begin
                return True
            if self._credit < 0:
                waiting = end
                break
            if fits is None:
                waiting = min(waiting, at)
        self._at = waiting
        self._credit -= end - begin
        return False

    def _is_torn(self, at: int, end: int) -> bool | None:
        """Whether the frame here has taken others for its own end; None if that cannot be told yet."""
        if self._ends_with_others(at, end):
            return True
        goes_on = self._goes_on(end)
        if goes_on:
            return False
        within = self._begins_within(at, end)
        if within is None and self._is_at_end:
            return goes_on is not None
        return within

    def _ends_with_others(self, at: int, end: int) -> bool:
        """Whether it ends with a frame of just the size that was missing.

        That text says the same is likelier than such a chance; but text is UTF-8, and a frame seldom is.
        """
        for found in _SHORT_FRAME.finditer(self._data, max(at + LENGTH_BYTES, end - _SHORT_BYTES), end):
            if self._credit < 0:
                break
            start = found.start()
            if self._end_of(start) == end and self._fits(start) and not _is_text(self._data[start:end]):
                return True
        return False

    def _goes_on(self, at: int) -> bool | None:
        """Whether a frame begins here; None if that cannot be told yet."""
        begun = _NOT_ZERO.search(self._data, at)
        if begun is None:
            return None
        at += (begun.start() - at) // LENGTH_BYTES * LENGTH_BYTES  # messages without anything in them
        fits = self._fits(at)
        return True if fits is None and len(self._data) - at >= _TELLING_BYTES else fits

    def _begins_within(self, at: int, end: int) -> bool | None:
        """Whether frames that go on behind it begin within this one; None if that cannot be told yet."""
        told: bool | None = False
        for found in _FRAME.finditer(self._data, at + 1):
            if found.start() >= end or self._credit < 0:
                break
            reaches = self._reaches(found.start(), end)
            if reaches:
                return True
            if reaches is None:
                told = None
        self._credit -= end - at
        return told

    def _reaches(self, at: int, end: int) -> bool | None:
        """Whether frames follow each other from here to behind an end; None if that cannot be told yet."""
        while at < end:
            fits = self._fits(at)
            if not fits:
                return fits
            at = self._end_of(at)
        return at > end

    def _end_of(self, at: int) -> int:
        """Where the frame that begins here ends, by as much of its length as is here."""
        start = at + LENGTH_BYTES
        return start + int.from_bytes(self._data[at:start].ljust(LENGTH_BYTES, b"\0"), "big")

    def _fits(self, at: int) -> bool | None:
        """Whether the fields of a request fill the frame here exactly; None if that cannot be told yet."""
        data, start = self._data, at + LENGTH_BYTES
        end = self._end_of(at)
        if end - start > MAX_MESSAGE_BYTES:
            return False
        if start >= len(data):
            return None
        if end == start:  # zeros are in many messages
            return False
        is_whole = end <= len(data)
        if not data.startswith(ZSTD_MAGIC, start):
            known = start
            try:
                for _, tag, content, known in islice(fields(data, start, end), _FIELDS_ENOUGH):
                    self._credit -= _FIELD_COST
                    if not data.startswith(REQUEST_TAG, tag):
                        return False
                    if content < min(known, len(data)) and data[content] not in _RESOURCE_SPANS_TAGS:
                        return False
                    if known >= len(data):
                        break
            except OTLPDecodeError:
                # It may only be cut off by the end of what is here.
                return False if is_whole or len(data) - known > _FIELD_HEAD_BYTES else None
        return True if is_whole else None


def _is_text(data: bytearray) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
