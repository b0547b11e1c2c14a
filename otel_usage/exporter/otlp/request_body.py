"""The body of a request: decompressed within a bound, whatever its sender says of it.

A few kilobytes can stand for gigabytes: nothing is made beyond the bound. What the body means is `decoding`'s.
"""

from collections.abc import Callable
from typing import Final

from otel_usage.errors import OTLPDecodeError
from otel_usage.exporter.otlp.decompressors import DAMAGED, DECOMPRESSORS, Decompressor

_PIECE_BYTES: Final = 1 << 16
# Senders write one; each costs more than its bytes.
_MAX_MEMBERS: Final = 1024
ENCODINGS: Final = (*DECOMPRESSORS, "identity")


class BodyTooLargeError(Exception):
    """The body is larger than its bound. Never leaves the receiver."""


def decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """The content of a body.

    Args:
        body: As it came.
        encoding: One of `ENCODINGS`.
        max_bytes: Bound of the content.

    Raises:
        BodyTooLargeError: The content is larger, by how much is not known.
        OTLPDecodeError: It is not compressed so, is cut off, or something follows it.
    """
    if encoding == "identity":
        if len(body) > max_bytes:
            raise BodyTooLargeError
        return body
    try:
        return _content(memoryview(body), DECOMPRESSORS[encoding], max_bytes)
    except DAMAGED:
        raise OTLPDecodeError(f"The body is not compressed with {encoding}, or damaged.") from None


def _content(body: memoryview, make: Callable[[], Decompressor], max_bytes: int) -> bytes:
    made: list[bytes] = []
    room, members, member = max_bytes, 1, make()
    for start in range(0, len(body), _PIECE_BYTES):
        piece = bytes(body[start : start + _PIECE_BYTES])
        while True:
            # One byte more than there may be: a bound that is only reached is not passed.
            content = member.decompress(piece, room + 1)
            room -= len(content)
            if room < 0:
                raise BodyTooLargeError
            made.append(content)
            if not member.eof or not member.unused_data:
                break
            piece, member, members = member.unused_data, make(), members + 1
            if members > _MAX_MEMBERS:
                raise OTLPDecodeError("The body is compressed in too many parts.")
        if member.eof and start + _PIECE_BYTES < len(body):
            member, members = make(), members + 1
    if not member.eof:
        raise OTLPDecodeError("The body is cut off.")
    return b"".join(made)
