"""UsageRecord -> OTLP: the records of a journal as spans of an ExportTraceServiceRequest.

The reverse of `decoding` and `record.from_span`: what is read from such a span is the same record, in every column.
Imports protobuf, so only whoever forwards imports this.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from google.protobuf.message import EncodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from otel_usage import __version__
from otel_usage import attributes as key
from otel_usage.exporter.otlp.decoding import OTHER_ERROR, SPAN_ID_BYTES, TRACE_ID_BYTES
from otel_usage.exporter.otlp.intake import SCOPE_NAME
from otel_usage.exporter.record import UsageRecord

# The attributes of an OTel resource that records tell, in the order of `SERVICE`.
Service = tuple[str | None, ...]

_MAX_NANOSECONDS: Final = (1 << 64) - 1
_SAMPLED_FLAG: Final = 1

# Column -> attribute of the span, under the newest name of the semantic conventions.
TEXTS: Final[Mapping[str, str]] = {
    "host": key.HOST_KEYS[0],
    "route": key.HTTP_ROUTE,
    "path": key.PATH_KEY,
    "query": key.QUERY_KEY,
    "scheme": key.SCHEME_KEYS[0],
    "protocol_version": key.PROTOCOL_VERSION_KEYS[0],
    "error_type": key.ERROR_TYPE,
    "client_address": key.CLIENT_ADDRESS_KEYS[0],
    "country": key.COUNTRY,
    "user_agent": key.USER_AGENT_KEYS[0],
    "referrer": key.REFERER,
    "token_id": key.TOKEN_ID,
    "token_name": key.TOKEN_NAME,
    "token_scheme": key.TOKEN_SCHEME,
    "token_hint": key.TOKEN_HINT,
    "user_id": key.USER_ID,
    "user_name": key.USER_NAME,
    "user_source": key.USER_SOURCE,
    "session_id": key.SESSION_ID,
    "resource_type": key.RESOURCE_TYPE,
    "resource_id": key.RESOURCE_ID,
    "resource_name": key.RESOURCE_NAME,
    "resource_parent_type": key.RESOURCE_PARENT_TYPE,
    "resource_parent_id": key.RESOURCE_PARENT_ID,
    "action": key.ACTION,
    "operation": key.OPERATION,
}
NUMBERS: Final[Mapping[str, str]] = {
    "status_code": key.HTTP_STATUS_CODE,
    "request_bytes": key.HTTP_REQUEST_BODY_SIZE,
    "response_bytes": key.HTTP_RESPONSE_BODY_SIZE,
}
# Column -> attribute of the OTel resource.
SERVICE: Final[Mapping[str, str]] = {
    "service_name": key.SERVICE_NAME,
    "service_namespace": key.SERVICE_NAMESPACE,
    "service_version": key.SERVICE_VERSION,
    "service_instance_id": key.SERVICE_INSTANCE_ID,
    "environment": key.ENVIRONMENT_KEYS[0],
}


def span_of(record: UsageRecord) -> Span:
    """The record as a SERVER span.

    Its end is its start, in whole microseconds, plus the duration: so the key is the record's own. A time before 1970
    or after 2554, which OTLP does not know, becomes the nearest that it knows.
    """
    start = min(max(record.start_time * 1000, 0), _MAX_NANOSECONDS)
    end = min(max(start + record.duration_ns, 0), _MAX_NANOSECONDS)
    # Whoever receives a span without a method takes it for no request.
    method = record.method or OTHER_ERROR
    return Span(
        trace_id=int(record.trace_id, 16).to_bytes(TRACE_ID_BYTES),
        span_id=record.span_id.to_bytes(SPAN_ID_BYTES),
        parent_span_id=record.parent_span_id.to_bytes(SPAN_ID_BYTES) if record.parent_span_id else b"",
        flags=_SAMPLED_FLAG if record.sampled else 0,
        name=f"{method} {record.route}" if record.route else method,
        kind=Span.SPAN_KIND_SERVER,
        start_time_unix_nano=start,
        end_time_unix_nano=end,
        attributes=_attributes(record, method),
        status=_STATUS_ERROR if _has_failed(record) else None,
    )


def service_of(record: UsageRecord) -> Service:
    """What of the record is of its OTel resource, in the order of `SERVICE`."""
    return tuple(getattr(record, column) for column in SERVICE)


def request_of(spans: Iterable[tuple[Service, Span]]) -> bytes:
    """An ExportTraceServiceRequest of these spans, each with its `service_of`; one ResourceSpans for each service.

    Raises:
        ValueError: It is too large for protobuf.
    """
    by_service: dict[Service, list[Span]] = defaultdict(list)
    for service, span in spans:
        by_service[service].append(span)
    request = ExportTraceServiceRequest(
        resource_spans=[_resource_spans(service, found) for service, found in by_service.items()]
    )
    try:
        return request.SerializeToString()
    except EncodeError as error:
        raise ValueError(str(error)) from error


def rejected_spans(answer: bytes) -> tuple[int, str]:
    """How many spans a receiver says it will never keep, and why, from the body of a 2xx in protobuf.

    Raises:
        DecodeError: The body is no ExportTraceServiceResponse.
    """
    partial = ExportTraceServiceResponse.FromString(answer).partial_success
    return partial.rejected_spans, partial.error_message


_SCOPE: Final = InstrumentationScope(name=SCOPE_NAME, version=__version__)
_STATUS_ERROR: Final = Status(code=Status.STATUS_CODE_ERROR)


def _has_failed(record: UsageRecord) -> bool:
    """As the semantic conventions set the status of a SERVER span: a client's error is none of the server's."""
    return record.status_code >= 500 if record.status_code is not None else record.error_type is not None


def _attributes(record: UsageRecord, method: str) -> list[KeyValue]:
    found = [_text(key.METHOD_KEYS[0], method)]
    found += [_text(name, value) for column, name in TEXTS.items() if (value := getattr(record, column)) is not None]
    found += [
        KeyValue(key=name, value=AnyValue(int_value=value))
        for column, name in NUMBERS.items()
        if (value := getattr(record, column)) is not None
    ]
    if record.sampled is not None:
        found.append(KeyValue(key=key.SAMPLED, value=AnyValue(bool_value=record.sampled)))
    if record.attributes:
        found += [_text(name, value) for name, value in record.attributes.items()]
    return found


# The same values come again in record after record.
@lru_cache(maxsize=1024)
def _text(name: str, value: str) -> KeyValue:
    return KeyValue(key=name, value=AnyValue(string_value=value))


def _resource_spans(service: Service, spans: list[Span]) -> ResourceSpans:
    described = [_text(name, value) for name, value in zip(SERVICE.values(), service, strict=True) if value is not None]
    return ResourceSpans(resource=Resource(attributes=described), scope_spans=[ScopeSpans(scope=_SCOPE, spans=spans)])
