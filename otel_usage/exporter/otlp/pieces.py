"""A large OTLP body as small ones that say the same, so that it is never all in memory as spans at once.

Two bytes of a body can stand for hundreds in memory. So a large one is cut between its spans, by its framing alone,
and each piece is decoded by itself. What is in a piece is `decoding`'s.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

import msgspec

from otel_usage.exporter.otlp.answers import JSON, PROTOBUF
from otel_usage.exporter.otlp.decoding import KIND_SERVER, ScopeSpans, decode_json, decode_protobuf, read_json
from otel_usage.exporter.otlp.request_body import BodyTooLargeError
from otel_usage.exporter.otlp.wire import fields, length_delimited

PIECE_BYTES: Final = 1 << 20
# Spans, scopes and OTel resources of a body; sixty-four bytes each, at the default bound of a body.
MAX_MESSAGES: Final = 1 << 20
# A span without attributes is one object in JSON, with each attribute there are two more.
MAX_OBJECTS: Final = 4 << 20
# Of a large span that are looked at for its kind: links and events come after it.
MAX_FIELDS: Final = 1 << 16

_KIND: Final = 6  # of opentelemetry/proto/trace/v1/trace.proto
_DECODERS: Final[dict[str, Callable[[bytes], list[ScopeSpans]]]] = {
    PROTOBUF: decode_protobuf,
    JSON: decode_json,
}


def decoded(content: bytes, media_type: str) -> Iterator[ScopeSpans]:
    """The spans of a body, piece by piece; a request's that is larger than a piece, and so than any record, is invalid.

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
            yield piece


@dataclass(slots=True)
class _Room:
    """How many messages a body may still have."""

    left: int

    def take(self, messages: int) -> None:
        self.left -= messages
        if self.left < 0:
            raise BodyTooLargeError


def _protobuf_pieces(content: bytes) -> Iterator[bytes | ScopeSpans]:
    """Requests of about a piece's size, and the spans that are in none."""
    room = _Room(MAX_MESSAGES)
    for number, _, start, end in fields(content, 0, len(content)):
        room.take(1)
        if number != 1:
            continue
        of_resource, scopes = _split(content, start, end, room)
        for piece in _gathered(_protobuf_scopes(content, scopes, room)):
            yield length_delimited(1, of_resource + b"".join(piece)) if isinstance(piece, list) else piece


def _protobuf_scopes(content: bytes, scopes: list[tuple[int, int]], room: _Room) -> Iterator[bytes | ScopeSpans]:
    for start, end in scopes:
        of_scope, places = _split(content, start, end, room)
        spans = (content[first:last] for first, last in places)
        for piece in _gathered(_sorted_out(spans, _is_server_in_protobuf)):
            if isinstance(piece, list):
                yield length_delimited(2, of_scope + b"".join(length_delimited(2, span) for span in piece))
            else:
                yield piece


def _split(content: bytes, start: int, end: int, room: _Room) -> tuple[bytes, list[tuple[int, int]]]:
    """Of a message whose parts are its field 2: everything else as it stands, and where the parts are.

    Raises:
        BodyTooLargeError: There are too many parts, or too much else.
    """
    others: list[bytes] = []
    parts: list[tuple[int, int]] = []
    size, most = 0, room.left
    for number, tag, first, last in fields(content, start, end):
        if number == 2:
            parts.append((first, last))
        else:
            size += last - tag
            others.append(content[tag:last])
        if len(parts) + len(others) > most or size > PIECE_BYTES:
            raise BodyTooLargeError
    room.take(len(parts))
    return b"".join(others), parts


def _is_server_in_protobuf(span: bytes) -> bool:
    """Whether a span says so among its first fields; nobody writes them in another order than that of their numbers."""
    for number, _, start, end in islice(fields(span, 0, len(span)), MAX_FIELDS):
        if number == _KIND:
            return span[start:end] == bytes([KIND_SERVER])
    return False


class _Kind(msgspec.Struct):
    kind: int | str | None = None


# As for small bodies, null stands for nothing.
class _Scope(msgspec.Struct):
    scope: msgspec.Raw = msgspec.Raw(b"null")
    spans: list[msgspec.Raw] | None = None


class _OfResource(msgspec.Struct, rename="camel"):
    resource: msgspec.Raw = msgspec.Raw(b"null")
    scope_spans: list[_Scope] | None = None


class _Request(msgspec.Struct, rename="camel"):
    resource_spans: list[_OfResource] | None = None


_decode_request: Final = msgspec.json.Decoder(_Request).decode
_decode_kind: Final = msgspec.json.Decoder(_Kind).decode


def _is_server_in_json(span: bytes) -> bool:
    return read_json(_decode_kind, span).kind in (KIND_SERVER, "SPAN_KIND_SERVER")


def _json_pieces(content: bytes) -> Iterator[bytes | ScopeSpans]:
    """The same of a request in JSON."""
    if content.count(b"{") > MAX_OBJECTS:
        raise BodyTooLargeError
    for of_resource in read_json(_decode_request, content).resource_spans or ():
        if len(of_resource.resource) > PIECE_BYTES:
            raise BodyTooLargeError
        for piece in _gathered(_json_scopes(of_resource.scope_spans or ())):
            if isinstance(piece, list):
                scopes = b",".join(piece)
                yield b'{"resourceSpans":[{"resource":%b,"scopeSpans":[%b]}]}' % (of_resource.resource, scopes)
            else:
                yield piece


def _json_scopes(scopes: Iterable[_Scope]) -> Iterator[bytes | ScopeSpans]:
    for scope in scopes:
        if len(scope.scope) > PIECE_BYTES:
            raise BodyTooLargeError
        for piece in _gathered(_sorted_out(map(bytes, scope.spans or ()), _is_server_in_json)):
            yield b'{"scope":%b,"spans":[%b]}' % (scope.scope, b",".join(piece)) if isinstance(piece, list) else piece


def _sorted_out(spans: Iterable[bytes], is_server: Callable[[bytes], bool]) -> Iterator[bytes | ScopeSpans]:
    """The spans, those that are larger than a piece only as what is counted of them."""
    for span in spans:
        if len(span) <= PIECE_BYTES:
            yield span
        elif is_server(span):
            yield ScopeSpans({}, "", [], invalid=1)
        else:
            yield ScopeSpans({}, "", [], others=1)


def _gathered(parts: Iterable[bytes | ScopeSpans]) -> Iterator[list[bytes] | ScopeSpans]:
    """Messages in lists of about a piece's size, so that what they have in common is not read for each of them."""
    gathered: list[bytes] = []
    size = 0
    for part in parts:
        if not isinstance(part, bytes):
            yield part
            continue
        if gathered and size + len(part) > PIECE_BYTES:
            yield gathered
            gathered, size = [], 0
        gathered.append(part)
        size += len(part)
    if gathered:
        yield gathered
