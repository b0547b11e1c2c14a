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
_NOT_ZERO: Final = re.compile(rb"[^\0]")
# So many fields in a row are a request, whatever follows.
_FIELDS_ENOUGH: Final = 64
# A tag and a length, at most.
_FIELD_HEAD_BYTES: Final = 11
# What searching may cost, in bytes that are read in vain: so much for each byte of a file, and some to begin with.
# Files of Collectors need a fraction of it; crafted ones, whose every byte begins what might be a message, need more.
_CREDIT_PER_BYTE: Final = 4
_CREDIT: Final = 2 * MAX_MESSAGE_BYTES
_FIELD_COST: Final = 256
_ENDS_WITHIN: Final = "ends within a message"
_NO_MESSAGE: Final = "no message"


class LengthPrefixed:
    """Four bytes of length, big-endian, and as many of a message, over and over.

    Once a message is none, its length was none either: the next frame is then looked for byte by byte. Where that costs
    too much, what is at hand is given up.

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

    def _fits(self, at: int) -> bool | None:
        """Whether the fields of a request fill the frame here exactly; None if that cannot be told yet."""
        data, start = self._data, at + LENGTH_BYTES
        end = start + int.from_bytes(data[at:start], "big")
        if end == start:  # zeros are in many messages
            return False
        is_whole = end <= len(data)
        if not data.startswith(ZSTD_MAGIC, start):
            known = start
            try:
                for _, tag, _, known in islice(fields(data, start, end), _FIELDS_ENOUGH):
                    self._credit -= _FIELD_COST
                    if not data.startswith(REQUEST_TAG, tag):
                        return False
                    if known >= len(data):
                        break
            except OTLPDecodeError:
                # It may only be cut off by the end of what is here.
                return False if is_whole or len(data) - known > _FIELD_HEAD_BYTES else None
        return True if is_whole else None
