"""Messages, and how bytes in pieces of any size are told apart into them; here by lines.

Opens no file and decodes nothing: what looks like a message is found here, whoever decodes it says whether it was one.
"""

import re
from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024

BOM: Final = b"\xef\xbb\xbf"
TOO_LONG: Final = f"longer than {MAX_MESSAGE_BYTES} bytes"
# JSON strings hold no bare quotation marks: this is the beginning of a request wherever it stands.
_REQUEST: Final = re.compile(rb'\{\s*"resource(?:Spans|Logs|Metrics|Profiles)"')


class Message(NamedTuple):
    """One message of a file.

    Attributes:
        data: Its bytes; empty where they were not kept.
        offset: Where it begins in the file, in bytes after decompression.
        length: Of its bytes.
        line: Its line, from 1 on; 0 where messages are no lines.
        problem: Why it is none; empty if it may be one.
    """

    data: bytes
    offset: int
    length: int
    line: int
    problem: str = ""


class Framing(Protocol):
    """Tells the messages of one file apart while it is read.

    Attributes:
        offset: Up to here the file is dealt with.
        line: How many lines that are.
    """

    offset: int
    line: int

    def feed(self, block: bytes) -> Iterator[Message]:
        """The messages that are whole with this block, to be exhausted before the next."""

    def reject(self, message: Message, reason: str) -> None:
        """Say of the last one that it is none: what can be made of it comes next, the rest as a problem."""

    def end(self) -> Iterator[Message]:
        """What there is after the last newline or whole frame, where nothing more will come."""


class JSONLines:
    """A message a line. Blank lines, CRLF, a byte order mark and a missing last newline are nothing to speak of.

    Args:
        offset: Where the first block begins.
        line: How many lines are before it.
    """

    def __init__(self, offset: int = 0, line: int = 0) -> None:
        self.offset = offset
        self.line = line
        self._rest = bytearray()  # after the last newline
        self._skipped = 0
        self._again: deque[Message] = deque()

    def feed(self, block: bytes) -> Iterator[Message]:
        *lines, rest = block.split(b"\n")
        for data in lines:
            if self._rest:
                data = bytes(self._rest + data)
                self._rest.clear()
            length = self._skipped + len(data)
            if self._skipped or length > MAX_MESSAGE_BYTES:
                self._skipped = 0
                yield Message(b"", self.offset, length, self.line + 1, TOO_LONG)
            elif data and not data.isspace():
                yield self._message(data)
                while self._again:
                    yield self._again.popleft()
            self.offset += length + 1
            self.line += 1
        self._rest += rest
        if self._skipped or len(self._rest) > MAX_MESSAGE_BYTES:
            self._skipped += len(self._rest)
            self._rest.clear()

    def reject(self, message: Message, reason: str) -> None:
        """A line may be a torn request with another one glued to it, as after a restart of a Collector that appends."""
        starts = sorted({0, *(found.start() for found in _REQUEST.finditer(message.data))})
        if len(starts) == 1:
            self._again.append(message._replace(problem=reason))
            return
        for start, end in zip(starts, [*starts[1:], message.length], strict=True):
            piece = message._replace(data=message.data[start:end], offset=message.offset + start, length=end - start)
            self._again.append(piece)

    def end(self) -> Iterator[Message]:
        yield from self.feed(b"\n")
        # It may still come, and then ends this line and no other.
        self.offset -= 1
        self.line -= 1

    def _message(self, data: bytes) -> Message:
        if not self.offset:
            data = data.removeprefix(BOM)
        return Message(data, self.offset, len(data), self.line + 1)
