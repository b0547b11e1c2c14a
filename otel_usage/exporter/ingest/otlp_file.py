"""One file of the Collector's file exporter, read as far as it has been written.

Its format is told from its content, never from its name. Where messages begin and end is `framing`'s, decompression
`unpacking`'s; which files are read and when, the caller's.
"""

import os
import re
import select
from collections.abc import Iterator
from typing import Final

from otel_usage.errors import OTLPDecodeError
from otel_usage.exporter.ingest.framing import BOM, MAX_MESSAGE_BYTES, Framing, JSONLines, Message
from otel_usage.exporter.ingest.length_prefixed import LENGTH_BYTES, REQUEST_TAG, ZSTD_MAGIC, LengthPrefixed
from otel_usage.exporter.ingest.unpacking import Unpacking

# Enough to tell the framings from each other: a length and what a message begins with.
DETECTION_BYTES: Final = 8
_BLOCK_BYTES: Final = 1024 * 1024
_NAME: Final = re.compile(rb'\s*\{\s*"(\w{0,8})')


class UnknownFormatError(OTLPDecodeError):
    """A file that is none of the Collector's."""


class OTLPFile:
    """A file as far as it was read. It may grow, and be read on.

    Args:
        fd: Open for reading, at the beginning.
        offset: Up to where, after decompression, an earlier reading has dealt with it; more than 0 only where `fd` can
            be moved.
        line: How many lines that were.
        waits: It is a pipe or the like: wait for something to read, and pause where there is no more for now.

    Attributes:
        fd: As given.
        read: How many bytes of the file were read.
    """

    def __init__(self, fd: int, offset: int = 0, line: int = 0, *, waits: bool = False) -> None:
        self.fd = fd
        self._waits = waits
        self.read = 0
        self._start = (offset, line)
        self._skip = offset
        self._head = b""
        self._unpacking: Unpacking | None = None
        self._framing: Framing | None = None

    @property
    def is_known(self) -> bool:
        """Whether it has said enough to be one of a Collector's."""
        return self._framing is not None

    @property
    def offset(self) -> int:
        """Up to here, after decompression, the file is dealt with."""
        return self._framing.offset if self._framing is not None else self._start[0]

    @property
    def line(self) -> int:
        """How many lines that are."""
        return self._framing.line if self._framing is not None else self._start[1]

    def messages(self) -> Iterator[Message]:
        """Those that are there and whole. To be asked for again when there may be more.

        Raises:
            UnknownFormatError: The file is none of the Collector's.
            OTLPDecodeError: It cannot be decompressed from here on.
            OSError: It cannot be read.
        """
        if self._waits:
            select.select([self.fd], [], [])
        while block := self._block():
            self.read += len(block)
            if self._unpacking is None:
                self._head = block = self._head + block
                if len(block) < DETECTION_BYTES:
                    continue
                self._unpacking, self._head = Unpacking(block), b""
            for data in self._unpacking.feed(block):
                yield from self._framed(data)

    def _block(self) -> bytes:
        is_ready = not self._waits or select.select([self.fd], [], [], 0)[0]
        return os.read(self.fd, _BLOCK_BYTES) if is_ready else b""

    def reject(self, message: Message, reason: str) -> None:
        """As `Framing.reject`."""
        if self._framing is not None:
            self._framing.reject(message, reason)

    def end(self) -> Iterator[Message]:
        """What follows the last whole message, where nothing more will come."""
        if self._head.strip():
            yield Message(self._head, 0, len(self._head), 1, "too short for a message")
        if self._framing is not None:
            yield from self._framing.end()
        if self._unpacking is not None and self._unpacking.is_amid:
            yield Message(b"", self.offset, 0, self.line, "the compressed data ends too early")

    def _framed(self, data: bytes) -> Iterator[Message]:
        if self._framing is None:
            self._head = data = self._head + data
            if len(data) < DETECTION_BYTES:
                return
            self._framing, self._head = self._detect(data), b""
            if self._go_on():
                return
        if self._skip:
            data, self._skip = data[self._skip :], max(0, self._skip - len(data))
        yield from self._framing.feed(data)

    def _detect(self, start: bytes) -> Framing:
        framing = detect(start)
        if framing is None:
            raise UnknownFormatError(
                "This is neither OTLP JSON lines nor protobuf with lengths, as the Collector's file exporter writes."
            )
        return framing(*self._start)

    def _go_on(self) -> bool:
        """Move to where an earlier reading ended, if one can: what is compressed is read from its beginning."""
        if not self._skip or self._unpacking is None or self._unpacking.is_packed:
            return False
        self.read = os.lseek(self.fd, self._skip, os.SEEK_SET)
        self._skip = 0
        return True


def detect(start: bytes) -> type[JSONLines] | type[LengthPrefixed] | None:
    """The framing of a file that begins with these bytes; None if it is none of the Collector's.

    Args:
        start: DETECTION_BYTES or more.
    """
    start = start.removeprefix(BOM)
    name = _NAME.match(start)
    if not start.strip(b" \t\r\n{") or (name is not None and b"resource".startswith(name[1])):
        return JSONLines
    is_message = start.startswith((REQUEST_TAG, b"{", ZSTD_MAGIC), LENGTH_BYTES)
    is_bounded = int.from_bytes(start[:LENGTH_BYTES], "big") <= MAX_MESSAGE_BYTES
    return LengthPrefixed if is_message and is_bounded else None
