"""OTLP in protobuf, read by a schema that leaves each attribute as its bytes.

The same attributes come again in span after span: their bytes are looked up, and decoded where they are new. Types
and field numbers are those of opentelemetry-proto; what the spans mean is `decoding`'s.
"""

import contextlib
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2 as trace

from otel_usage import attributes as key
from otel_usage.enrichment.privacy import is_sensitive_key
from otel_usage.errors import OTLPDecodeError
from otel_usage.exporter.otlp.decoding import (
    KIND_SERVER,
    MAX_DEPTH,
    MAX_NAME_LENGTH,
    SPAN_ID_BYTES,
    TRACE_ID_BYTES,
    BadSpanError,
    ScopeSpans,
    SpanData,
    complete,
)

_PACKAGE: Final = "otel_usage.wire"
_MAX_KNOWN: Final = 1 << 15
_MAX_KNOWN_BYTES: Final = 256
_MAX_RESOURCES: Final = 256
_MAX_RESOURCE_BYTES: Final = 4096
# They may hold credentials, which do not outlive their request; or are another one each time.
_NOT_REMEMBERED: Final = frozenset(
    (
        key.PATH_KEY,
        key.QUERY_KEY,
        *key.TARGET_KEYS,
        *key.URL_KEYS,
        *key.CLIENT_PORT_KEYS,
        *key.REQUEST_BYTES_KEYS,
        *key.RESPONSE_BYTES_KEYS,
    )
)

# What is read of each message, and which of it stays bytes until it is needed. Text does too: it may be no UTF-8.
_READ: Final[dict[type[Any], dict[str, bool]]] = {
    ExportTraceServiceRequest: {"resource_spans": False},
    trace.ResourceSpans: {"resource": True, "scope_spans": False},
    trace.ScopeSpans: {"scope": False, "spans": False},
    trace.Span: {
        "trace_id": False,
        "span_id": False,
        "parent_span_id": False,
        "name": True,
        "kind": False,
        "start_time_unix_nano": False,
        "end_time_unix_nano": False,
        "attributes": True,
        "events": True,
        "status": False,
        "flags": False,
    },
    trace.Span.Event: {"name": True, "attributes": True},
    trace.Status: {"code": False},
    InstrumentationScope: {"name": True},
    Resource: {"attributes": True},
    KeyValue: {"key": True, "value": False},
    ArrayValue: {"values": False},
    KeyValueList: {"values": True},
    AnyValue: {
        "string_value": True,
        "bool_value": False,
        "int_value": False,
        "double_value": False,
        "array_value": False,
        "kvlist_value": False,
        "bytes_value": False,
    },
}


def _make_classes() -> dict[type[Any], Any]:
    file = FileDescriptorProto(name="otel_usage/wire.proto", package=_PACKAGE, syntax="proto3")
    for message, fields in _READ.items():
        _describe(file.message_type.add(), message.DESCRIPTOR, fields)
    pool = DescriptorPool()
    pool.Add(file)
    return {
        message: GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{message.DESCRIPTOR.name}"))
        for message in _READ
    }


def _describe(described: DescriptorProto, message: Descriptor, fields: dict[str, bool]) -> None:
    described.name = message.name
    for name, stays_bytes in fields.items():
        official = message.fields_by_name[name]
        copy = described.field.add(name=name, number=official.number)
        copy.label = (
            FieldDescriptorProto.LABEL_REPEATED if official.is_repeated else FieldDescriptorProto.LABEL_OPTIONAL
        )
        _set_type(copy, official, stays_bytes)
        if official.containing_oneof is not None:
            if not described.oneof_decl:
                described.oneof_decl.add(name=official.containing_oneof.name)
            copy.oneof_index = 0


def _set_type(copy: FieldDescriptorProto, official: FieldDescriptor, stays_bytes: bool) -> None:
    if stays_bytes:
        copy.type = FieldDescriptorProto.TYPE_BYTES
    elif official.message_type is not None:
        copy.type, copy.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{_PACKAGE}.{official.message_type.name}"
    elif official.enum_type is not None:
        copy.type = FieldDescriptorProto.TYPE_INT32
    else:
        copy.type = official.type  # type: ignore[assignment]  # the same numbers


_CLASSES: Final = _make_classes()
# Tags of fields that are length-delimited (protobuf.dev, "Encoding"): number << 3 | 2.
_KEY: Final = KeyValue.KEY_FIELD_NUMBER << 3 | 2
_VALUE: Final = KeyValue.VALUE_FIELD_NUMBER << 3 | 2
_INT: Final = AnyValue.INT_VALUE_FIELD_NUMBER << 3
_STRING: Final = AnyValue.STRING_VALUE_FIELD_NUMBER << 3 | 2
_parse_request: Final = _CLASSES[ExportTraceServiceRequest].FromString
_parse_resource: Final = _CLASSES[Resource].FromString
_parse_event: Final = _CLASSES[trace.Span.Event].FromString
_parse_pair: Final = _CLASSES[KeyValue].FromString


class _Known(dict[bytes, tuple[str, Any]]):
    """Attributes by their bytes; forgotten all at once when there are too many."""

    def __missing__(self, data: bytes) -> tuple[str, Any]:
        pair = _pair(data)
        name, value = pair
        if (
            len(data) <= _MAX_KNOWN_BYTES
            and value.__class__ in _UNCHANGING
            and name not in _NOT_REMEMBERED
            and not is_sensitive_key(name)
        ):
            if len(self) >= _MAX_KNOWN:
                self.clear()
            self[data] = pair
        return pair


_UNCHANGING: Final = frozenset((str, int, float, bool))
_known: Final = _Known()
_resources: Final[dict[bytes, dict[str, Any]]] = {}


def decode(data: bytes) -> list[ScopeSpans]:
    """`otlp.decode_protobuf`."""
    try:
        return [
            _scope_spans(otel_resource, scope)
            for of_resource in _parse_request(data).resource_spans
            for otel_resource in (_attributes_of_resource(of_resource.resource),)
            for scope in of_resource.scope_spans
        ]
    except (DecodeError, RecursionError):
        raise OTLPDecodeError("This is no OTLP trace data in protobuf.") from None


def _scope_spans(otel_resource: dict[str, Any], scope: Any) -> ScopeSpans:
    found = ScopeSpans(otel_resource, _text(scope.scope.name), [])
    spans = found.spans
    pair_of = _known.__getitem__
    for span in scope.spans:
        if span.kind != KIND_SERVER:
            found.others += 1
            continue
        trace_id, span_id, parent = span.trace_id, span.span_id, span.parent_span_id
        if len(trace_id) not in (TRACE_ID_BYTES, 0) or len(span_id) not in (SPAN_ID_BYTES, 0):
            found.invalid += 1
            continue
        try:
            attributes = dict(map(pair_of, span.attributes))
            if key.HTTP_STATUS_CODE not in attributes or span.events:
                complete(attributes, span.status.code, map(_exception_type, reversed(span.events)))
        except BadSpanError:
            found.invalid += 1
            continue
        spans.append(
            SpanData(
                int.from_bytes(trace_id),
                int.from_bytes(span_id),
                int.from_bytes(parent) or None if len(parent) == SPAN_ID_BYTES else None,
                span.start_time_unix_nano,
                span.end_time_unix_nano,
                _text(span.name),
                attributes,
                span.flags,
            )
        )
    return found


def _attributes_of_resource(data: bytes) -> dict[str, Any]:
    found = _resources.get(data)
    if found is None:
        found = {}
        for pair in _parse_resource(data).attributes:
            with contextlib.suppress(BadSpanError):  # no span is lost for it
                found.update([_pair(pair)])
        if len(data) <= _MAX_RESOURCE_BYTES:
            if len(_resources) >= _MAX_RESOURCES:
                _resources.clear()
            _resources[data] = found
    return found


def _exception_type(event: bytes) -> str | None:
    parsed = _parse_event(event)
    if parsed.name != b"exception":
        return None
    value = dict(map(_pair, parsed.attributes)).get("exception.type")
    return value if isinstance(value, str) else None


def _pair(data: bytes) -> tuple[str, Any]:
    size = len(data)
    if 6 <= size < 128 and data[0] == _KEY:
        # Nearly all are short texts under short names: each length is one byte, and parsing costs twice as much.
        value, text = data[1] + 2, data[1] + 6
        if text <= size and data[value] == _VALUE and data[value + 1] == size - value - 2:
            if data[value + 2] == _STRING and data[value + 3] == size - text:
                return data[2:value].decode("utf-8", "replace"), data[text:].decode("utf-8", "replace")
            if data[value + 2] == _INT and text + 3 > size:
                number = _short_varint(data, value + 3)
                if number is not None:
                    return data[2:value].decode("utf-8", "replace"), number
    return _parsed_pair(data)


def _short_varint(data: bytes, start: int) -> int | None:
    """The number of at most five bytes that is all the rest of the data, None where that is something else."""
    number = shift = 0
    last = len(data) - 1
    for position in range(start, last):
        byte = data[position]
        if byte < 0x80:
            return None
        number |= (byte & 0x7F) << shift
        shift += 7
    return number | data[last] << shift if data[last] < 0x80 else None


def _parsed_pair(data: bytes, depth: int = 0) -> tuple[str, Any]:
    pair = _parse_pair(data)
    value = pair.value
    # Nearly all are text: asked for first, without asking which kind it is.
    text = value.string_value
    return _text(pair.key)[:MAX_NAME_LENGTH], _text(text) if text else _value(value, depth)


def _value(value: Any, depth: int) -> Any:
    kind = value.WhichOneof("value")
    match kind:
        case None:
            return None
        case "string_value":
            return _text(value.string_value)
        case "array_value" | "kvlist_value" if depth >= MAX_DEPTH:
            raise BadSpanError
        case "array_value":
            return [_value(each, depth + 1) for each in value.array_value.values]
        case "kvlist_value":
            return dict(_parsed_pair(each, depth + 1) for each in value.kvlist_value.values)
        case _:
            return getattr(value, kind)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
