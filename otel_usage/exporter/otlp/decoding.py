"""OTLP trace data -> spans: what a Collector or any exporter sends or has written, as protobuf or JSON.

Owns what a request span is on the wire and what of it is read; what becomes of a span is `intake`'s. Fields that are
not read are named, with the reason, in tests/unit/exporter/test_otlp_fields.py.
"""

import base64
import binascii
import contextlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeVar

import msgspec

from otel_usage import attributes as key
from otel_usage.errors import MissingExtraError, OTLPDecodeError
from otel_usage.exporter.record import SpanFacts

# SpanKind and StatusCode of opentelemetry/proto/trace/v1/trace.proto.
KIND_SERVER: Final = 2
STATUS_ERROR: Final = 2
# The semantic conventions' value of `error.type` where nothing more is known.
OTHER_ERROR: Final = "_OTHER"
TRACE_ID_BYTES: Final = 16
SPAN_ID_BYTES: Final = 8
# Lists and maps within each other in one attribute. Each level of a map in protobuf is bytes within bytes.
MAX_DEPTH: Final = 32
# Of characters; instrumentations have names of some thirty.
MAX_NAME_LENGTH: Final = 256

# In JSON a surrogate pair, or, as its group, half of one; a backslash before it is escaped itself.
_SURROGATES: Final = re.compile(
    rb"(?<!\\)(?:\\\\)*+(?:\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2}))"
)
# Of a body; one with more is not made by cutting text.
_MAX_REPAIRS: Final = 1 << 16
_NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_Message = TypeVar("_Message", bound=msgspec.Struct)


class SpanData(SpanFacts, gc=False):
    """A SERVER span as it was received.

    Attributes:
        name: Of the span.
        attributes: Their values as str, int, float, bool, bytes, list, dict or None.
        flags: The low byte holds the W3C trace flags, where it says anything.
    """

    name: str
    attributes: dict[str, Any]
    flags: int

    def __repr__(self) -> str:
        """Its ids: what it says may hold credentials."""
        return f"SpanData(trace_id={self.trace_id:032x}, span_id={self.span_id:016x})"


@dataclass(slots=True)
class ScopeSpans:
    """The spans of one instrumentation scope of one OTel resource.

    Attributes:
        otel_resource: The OTel resource's attributes.
        scope_name: Of the instrumentation scope.
        spans: Those of kind SERVER.
        others: How many there were of other kinds.
        invalid: How many SERVER spans can never be kept: their ids are not of 16 and 8 bytes, a value is none or is
            nested too deeply.
    """

    otel_resource: dict[str, Any]
    scope_name: str
    spans: list[SpanData]
    others: int = 0
    invalid: int = 0


def decode_protobuf(data: bytes) -> list[ScopeSpans]:
    """The spans of an ExportTraceServiceRequest, or of TracesData, in protobuf.

    Text that is no UTF-8 is kept with replacement characters: Collectors pass such text on, and a batch is not lost
    for it.

    Raises:
        OTLPDecodeError: It is none. The message says nothing of what is in it.
        MissingExtraError: protobuf is not installed.
    """
    try:
        from otel_usage.exporter.otlp import protobuf
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "OTLP in protobuf needs the package opentelemetry-proto.", "Run: pip install 'otel-usage[otlp]'"
        ) from error
    return protobuf.decode(data)


def decode_json(data: bytes) -> list[ScopeSpans]:
    """The spans of an ExportTraceServiceRequest in OTLP/JSON: hexadecimal ids, 64-bit integers as text or numbers.

    Text that is no UTF-8 is kept with replacement characters, as in protobuf.

    Raises:
        OTLPDecodeError: It is none. The message says where, and nothing of what is in it.
    """
    request = read_json(_decode_request, data)
    try:
        return [
            _scope_spans(otel_resource, scope)
            for of_resource in request.resource_spans or ()
            for otel_resource in (_attributes_of_resource(of_resource),)
            for scope in of_resource.scope_spans or ()
        ]
    except (RecursionError, ValueError, OverflowError) as error:
        raise _refusal(error) from None


def read_json(decode: Callable[[bytes], _Message], data: bytes) -> _Message:
    """A message in JSON, its text made readable where it is none.

    Raises:
        OTLPDecodeError: It is none. The message says where, and nothing of what is in it.
    """
    try:
        return decode(data)
    except _NOT_JSON as error:
        readable = _readable(data)
        if readable == data:
            raise _refusal(error) from None
    try:
        return decode(readable)
    except _NOT_JSON as error:
        raise _refusal(error) from None


def _readable(data: bytes) -> bytes:
    """Replacement characters for bytes that are no UTF-8, which Collectors write as they came, and for escaped halves
    of surrogate pairs, between which Node cuts text.
    """
    readable = bytearray(data)
    for found in islice(_SURROGATES.finditer(data), _MAX_REPAIRS):
        if found[1] is not None:
            readable[found.start(1) : found.end(1)] = rb"\ufffd"
    return readable.decode("utf-8", "replace").encode()


def _refusal(error: Exception) -> OTLPDecodeError:
    detail = str(error) if isinstance(error, msgspec.DecodeError) else type(error).__name__
    return OTLPDecodeError(f"This is no OTLP trace data in JSON: {detail}.")


def complete(attributes: dict[str, Any], status_code: int, exception_types: Iterable[str | None]) -> None:
    """Say what went wrong where no attribute does: the last recorded exception, or that something did."""
    if key.ERROR_TYPE in attributes:
        return
    kind = next((name for name in exception_types if name), None)
    if kind is not None:
        attributes[key.ERROR_TYPE] = kind
    elif status_code == STATUS_ERROR and not any(name in attributes for name in key.STATUS_KEYS):
        attributes[key.ERROR_TYPE] = OTHER_ERROR


class BadSpanError(Exception):
    """This span can never be kept; those beside it can. Never leaves the decoders."""


# Everywhere null stands for nothing, as protobuf's mapping to JSON has it.
class _Values(msgspec.Struct, rename="camel", gc=False):
    values: list["_AnyValue | None"] | None = None


class _Pairs(msgspec.Struct, rename="camel", gc=False):
    values: list["_KeyValue"] | None = None


class _AnyValue(msgspec.Struct, rename="camel", gc=False):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: int | str | None = None
    double_value: float | str | None = None
    array_value: _Values | None = None
    kvlist_value: _Pairs | None = None
    bytes_value: str | None = None


class _KeyValue(msgspec.Struct, rename="camel", gc=False):
    key: str | None = None
    value: _AnyValue | None = None


class _Event(msgspec.Struct, rename="camel", gc=False):
    name: str | None = None
    attributes: list[_KeyValue] | None = None


class _Status(msgspec.Struct, rename="camel", gc=False):
    code: int | str | None = None


class _Span(msgspec.Struct, rename="camel", gc=False):
    trace_id: str | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    flags: int | str | None = None
    name: str | None = None
    kind: int | str | None = None
    start_time_unix_nano: int | str | None = None
    end_time_unix_nano: int | str | None = None
    attributes: list[_KeyValue] | None = None
    events: list[_Event] | None = None
    status: _Status | None = None


class _Named(msgspec.Struct, rename="camel", gc=False):
    name: str | None = None


class _Scope(msgspec.Struct, rename="camel", gc=False):
    scope: _Named | None = None
    spans: list[_Span] | None = None


class _Attributed(msgspec.Struct, rename="camel", gc=False):
    attributes: list[_KeyValue] | None = None


class _OfResource(msgspec.Struct, rename="camel", gc=False):
    resource: _Attributed | None = None
    scope_spans: list[_Scope] | None = None


class _Request(msgspec.Struct, rename="camel", gc=False):
    resource_spans: list[_OfResource] | None = None


_decode_request: Final = msgspec.json.Decoder(_Request).decode
_SERVER_KINDS: Final = (KIND_SERVER, "SPAN_KIND_SERVER")
_ERROR_CODES: Final = (STATUS_ERROR, "STATUS_CODE_ERROR")


def _scope_spans(otel_resource: dict[str, Any], scope: _Scope) -> ScopeSpans:
    found = ScopeSpans(otel_resource, (scope.scope and scope.scope.name) or "", [])
    for span in scope.spans or ():
        if span.kind not in _SERVER_KINDS:
            found.others += 1
            continue
        try:
            found.spans.append(_span(span))
        except (BadSpanError, ValueError, OverflowError):
            found.invalid += 1
    return found


def _attributes_of_resource(of_resource: _OfResource) -> dict[str, Any]:
    """What of an OTel resource can be read; no span is lost for the rest."""
    found: dict[str, Any] = {}
    for pair in (of_resource.resource and of_resource.resource.attributes) or ():
        with contextlib.suppress(BadSpanError, ValueError, OverflowError):
            found.update(_mapping([pair]))
    return found


def _span(span: _Span) -> SpanData:
    """One span.

    Raises:
        BadSpanError: It can never be kept.
        ValueError, OverflowError: So it is with a number in it, or bytes.
    """
    trace_id = _id(span.trace_id, TRACE_ID_BYTES)
    span_id = _id(span.span_id, SPAN_ID_BYTES)
    attributes = _mapping(span.attributes)
    if span.status is not None or span.events:
        failed = span.status is not None and span.status.code in _ERROR_CODES
        complete(attributes, STATUS_ERROR if failed else 0, map(_exception_type, reversed(span.events or ())))
    return SpanData(
        trace_id,
        span_id,
        _parent(span.parent_span_id),
        int(span.start_time_unix_nano or 0),
        int(span.end_time_unix_nano or 0),
        span.name or "",
        attributes,
        int(span.flags or 0),
    )


def _id(text: str | None, size: int) -> int:
    """An id as a number: 0 for none at all."""
    if not text:
        return 0
    if len(text) != 2 * size:
        raise BadSpanError
    return int.from_bytes(binascii.unhexlify(text))


def _parent(text: str | None) -> int | None:
    if not text or len(text) != 2 * SPAN_ID_BYTES:
        return None
    try:
        return int.from_bytes(binascii.unhexlify(text)) or None
    except ValueError:
        return None


def _exception_type(event: _Event) -> str | None:
    if event.name != "exception":
        return None
    value = _mapping(event.attributes).get("exception.type")
    return value if isinstance(value, str) else None


def _mapping(pairs: list[_KeyValue] | None, depth: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs or ():
        value = pair.value
        if value is not None:
            text, name = value.string_value, pair.key or ""
            if len(name) > MAX_NAME_LENGTH:
                name = name[:MAX_NAME_LENGTH]
            found[name] = text if text is not None else _value(value, depth)
    return found


def _value(value: _AnyValue | None, depth: int) -> Any:
    if value is None:
        return None
    if value.string_value is not None:
        return value.string_value
    if value.int_value is not None:
        return int(value.int_value)
    if value.bool_value is not None:
        return value.bool_value
    if value.double_value is not None:
        return float(value.double_value)
    if depth >= MAX_DEPTH:
        raise BadSpanError
    if value.array_value is not None:
        return [_value(each, depth + 1) for each in value.array_value.values or ()]
    if value.kvlist_value is not None:
        return _mapping(value.kvlist_value.values, depth + 1)
    return base64.b64decode(value.bytes_value) if value.bytes_value is not None else None
