"""The framing of protobuf messages: fields and where they are, whatever is in them (protobuf.dev, "Encoding")."""

from collections.abc import Iterator
from typing import Final

from otel_usage.errors import OTLPDecodeError

_LENGTH_DELIMITED: Final = 2
_FIXED_BYTES: Final = {1: 8, 5: 4}


def fields(data: bytes | bytearray, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Number of each field of a message, where its tag begins, and where its content begins and ends.

    Raises:
        OTLPDecodeError: These bytes are no message.
    """
    while position < end:
        begin = position
        tag, position = _varint(data, position)
        match tag & 7:
            case 0:
                start, (_, position) = position, _varint(data, position)
            case 2:
                length, start = _varint(data, position)
                position = start + length
            case kind if kind in _FIXED_BYTES:
                start, position = position, position + _FIXED_BYTES[kind]
            case _:
                raise _malformed()
        if position > end or tag < 8:  # no field has the number 0
            raise _malformed()
        yield tag >> 3, begin, start, position


def length_delimited(number: int, content: bytes) -> bytes:
    """A field with this content."""
    return varint(number << 3 | _LENGTH_DELIMITED) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """A number that is not negative, seven bits a byte."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _varint(data: bytes | bytearray, position: int) -> tuple[int, int]:
    """A number, and where it ends."""
    value = shift = 0
    try:
        while True:
            byte = data[position]
            position += 1
            if byte < 0x80:
                return value | byte << shift, position
            value |= (byte & 0x7F) << shift
            shift += 7
            if shift > 63:
                raise _malformed()
    except IndexError:
        raise _malformed() from None


def _malformed() -> OTLPDecodeError:
    return OTLPDecodeError("This is no OTLP trace data in protobuf.")
