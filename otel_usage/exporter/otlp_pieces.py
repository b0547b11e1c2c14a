"""A large OTLP body as small ones that say the same, so that it is never all in memory as spans at once.

Two bytes of a body can stand for hundreds in memory. So a large one is cut between its spans, by its framing alone,
and each piece is decoded by itself. What is in a piece is `otlp`'s.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from otel_usage.errors import OTLPDecodeError
from otel_usage.exporter import otlp
from otel_usage.exporter.otlp_answers import JSON, PROTOBUF
from otel_usage.exporter.otlp_wire import fields, length_delimited
from otel_usage.exporter.request_body import BodyTooLargeError

PIECE_BYTES: Final = 1 << 20
# Spans, scopes and OTel resources of a body; sixty-four bytes each, at the default bound of a body.
MAX_MESSAGES: Final = 1 << 20
# A span without attributes is one object in JSON, with each attribute there are two more.
MAX_OBJECTS: Final = 4 << 20

_DECODERS: Final[dict[str, Callable[[bytes], list[otlp.ScopeSpans]]]] = {
    PROTOBUF: otlp.decode_protobuf,
    JSON: otlp.decode_json,
}


def decoded(content: bytes, media_type: str) -> Iterator[otlp.ScopeSpans]:
    """The spans of a body, piece by piece; one that is larger than a piece, and so than any record, is invalid.

    Args:
        content: An ExportTraceServiceRequest.
        media_type: How it is written.

    Raises:
        OTLPDecodeError: It is none. Pieces before the fault have been given by then.
        BodyTooLargeError: It has more messages than its size explains.
    """
    decode = _DECODERS[media_type]
    if len(content) <= PIECE_BYTES:
        yield from decode(content)
        return
    for piece in _protobuf_pieces(content) if media_type == PROTOBUF else _json_pieces(content):
        if isinstance(piece, bytes):
            yield from decode(piece)
        else:
            yield otlp.ScopeSpans({}, "", [], invalid=piece)


def _protobuf_pieces(content: bytes) -> Iterator[bytes | int]:
    """Requests of about a piece's size, or how many spans are in none."""
    room = MAX_MESSAGES
    for number, _, start, end in fields(content, 0, len(content)):
        room -= 1
        if room < 0:
            raise BodyTooLargeError
        if number != 1:
            continue
        of_resource, scopes = _split(content, start, end, room)
        room -= len(scopes)
        for scope_start, scope_end in scopes:
            of_scope, spans = _split(content, scope_start, scope_end, room)
            room -= len(spans)
            for piece in _gathered(length_delimited(2, content[first:last]) for first, last in spans):
                if isinstance(piece, list):
                    scope = length_delimited(2, of_scope + b"".join(piece))
                    yield length_delimited(1, of_resource + scope)
                else:
                    yield piece


def _split(content: bytes, start: int, end: int, room: int) -> tuple[bytes, list[tuple[int, int]]]:
    """Of a message whose parts are its field 2: everything else as it stands, and where the parts are.

    Raises:
        BodyTooLargeError: There are too many parts, or too much else.
    """
    others: list[bytes] = []
    parts: list[tuple[int, int]] = []
    size = 0
    for number, tag, first, last in fields(content, start, end):
        if number == 2:
            parts.append((first, last))
        else:
            size += last - tag
            others.append(content[tag:last])
        if len(parts) + len(others) > room or size > PIECE_BYTES:
            raise BodyTooLargeError
    return b"".join(others), parts


class _Scope(msgspec.Struct):
    scope: msgspec.Raw = msgspec.Raw(b"null")
    spans: list[msgspec.Raw] = []


class _OfResource(msgspec.Struct, rename="camel"):
    resource: msgspec.Raw = msgspec.Raw(b"null")
    scope_spans: list[_Scope] = []


class _Request(msgspec.Struct, rename="camel"):
    resource_spans: list[_OfResource] = []


_decode_request: Final = msgspec.json.Decoder(_Request).decode


def _json_pieces(content: bytes) -> Iterator[bytes | int]:
    """The same of a request in JSON."""
    if content.count(b"{") > MAX_OBJECTS:
        raise BodyTooLargeError
    try:
        request = _decode_request(content)
    except (msgspec.DecodeError, RecursionError) as error:
        detail = str(error) if isinstance(error, msgspec.DecodeError) else type(error).__name__
        raise OTLPDecodeError(f"This is no OTLP trace data in JSON: {detail}.") from None
    for of_resource in request.resource_spans:
        for scope in of_resource.scope_spans:
            if len(of_resource.resource) + len(scope.scope) > PIECE_BYTES:
                raise BodyTooLargeError
            for piece in _gathered(map(bytes, scope.spans)):
                if isinstance(piece, list):
                    yield b'{"resourceSpans":[{"resource":%b,"scopeSpans":[{"scope":%b,"spans":[%b]}]}]}' % (
                        of_resource.resource,
                        scope.scope,
                        b",".join(piece),
                    )
                else:
                    yield piece


def _gathered(spans: Iterable[bytes]) -> Iterator[list[bytes] | int]:
    """Spans in lists of about a piece's size; 1 for each that is larger itself."""
    gathered: list[bytes] = []
    size = 0
    for span in spans:
        if len(span) > PIECE_BYTES:
            yield 1
            continue
        if size + len(span) > PIECE_BYTES:
            yield gathered
            gathered, size = [], 0
        gathered.append(span)
        size += len(span)
    if gathered:
        yield gathered
