"""Messages with their lengths before them, found again after one that is none.

Opens no file and decodes nothing. What a message is, is `framing`'s to say.
"""

import re
from collections.abc import Iterator
from typing import Final

from otel_usage.exporter.framing import MAX_MESSAGE_BYTES, TOO_LONG, Message

ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
LENGTH_BYTES: Final = 4
# Every export request is a sequence of its field 1, length-delimited.
REQUEST_TAG: Final = b"\x0a"
_FRAME: Final = re.compile(rb"(?s)(?=[\x00-\x03]...(?:\x0a|\x28\xb5\x2f\xfd))")
_ENDS_WITHIN: Final = "ends within a message"
_NO_MESSAGE: Final = "no message"


class LengthPrefixed:
    """Four bytes of length, big-endian, and as many of a message, over and over.

    Once a message is none, its length was none either: the next frame is then looked for byte by byte.

    Args:
        offset: Where the first block begins.
        line: Of no meaning here.
    """

    def __init__(self, offset: int = 0, line: int = 0) -> None:
        self.offset = offset
        self.line = line
        self._data = b""
        self._data_offset = offset
        self._at = 0  # in _data
        self._lost = ""  # why what is between `offset` and _at is no message
        self._is_rejected = False

    def feed(self, block: bytes) -> Iterator[Message]:
        self._data += block
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
        self._data = self._data[self._at :]
        self._data_offset += self._at
        self._at = 0

    def reject(self, message: Message, reason: str) -> None:  # noqa: ARG002
        self._is_rejected = True
        self._lose(reason)

    def end(self) -> Iterator[Message]:
        while self._data.strip(b"\0"):
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
            data = self._data[start : start + length]
            if len(self._data) < start or len(data) < length or (not length and len(self._data) == start):
                return None
            if not length and not _FRAME.match(self._data, start):
                self._lose(_NO_MESSAGE)
                continue
            return Message(data, self._data_offset + self._at, length, 0)
        return None

    def _lose(self, reason: str) -> None:
        self._lost = self._lost or reason
        self._at += 1

    def _lost_until(self, end: int) -> Message:
        return Message(b"", self.offset, end - self.offset, 0, self._lost)

    def _find(self) -> bool:
        """Go to the next whole frame, else to the first that may be one once there is more; False for that."""
        waiting = max(self._at, len(self._data) - LENGTH_BYTES - len(ZSTD_MAGIC) + 1)
        for found in _FRAME.finditer(self._data, self._at):
            fits = self._fits(found.start())
            if fits:
                self._at = found.start()
                return True
            if fits is None:
                waiting = min(waiting, found.start())
        self._at = waiting
        return False

    def _fits(self, at: int) -> bool | None:
        """Whether the fields of a request fill the frame here exactly; None if that cannot be told yet."""
        start, data = at + LENGTH_BYTES, self._data
        end = start + int.from_bytes(data[at:start], "big")
        if not data.startswith(ZSTD_MAGIC, start):
            while start < min(end, len(data)):
                if not data.startswith(REQUEST_TAG, start):
                    return False
                start = _after_field(data, start + 1)
            if start > end:
                return False
        return None if end > len(data) else True


def _after_field(data: bytes, at: int) -> int:
    """Where a length-delimited field ends whose length, a varint, stands here."""
    length = shift = 0
    for number, byte in enumerate(data[at : at + LENGTH_BYTES + 1], start=1):
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return at + number + length
    return at + MAX_MESSAGE_BYTES + 1
