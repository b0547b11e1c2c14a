"""What an OTLP/HTTP client is answered, in its own content type (OTLP specification 1.x, "OTLP/HTTP Response").

Owns the bytes of answers and nothing else. When which is sent is the receiver's.
"""

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from otel_usage.exporter.otlp.wire import length_delimited, varint

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"

# google.rpc.Code, by the status it comes with.
_CODES: Final = {
    HTTPStatus.UNAUTHORIZED: 16,  # UNAUTHENTICATED
    HTTPStatus.NOT_FOUND: 12,  # UNIMPLEMENTED
    HTTPStatus.METHOD_NOT_ALLOWED: 12,
    HTTPStatus.SERVICE_UNAVAILABLE: 14,  # UNAVAILABLE
}
_INVALID_ARGUMENT: Final = 3
_REJECTED: Final = (
    "They have ids of a wrong length, values that are none, too many attributes or values nested too deeply, "
    "or are too large."
)


@dataclass(frozen=True, slots=True)
class Body:
    """The content of an answer and its content type."""

    content: bytes
    media_type: str


def media_type(content_type: str) -> str:
    """The content type without its parameters, lower-case."""
    return content_type.partition(";")[0].strip().lower()


def success(asked_in: str, rejected: int) -> Body:
    """An ExportTraceServiceResponse; `partial_success` only where spans can never be kept.

    Args:
        asked_in: Media type of the request.
        rejected: How many spans those are.
    """
    message = _REJECTED if rejected else ""
    if asked_in == JSON:
        told = {"partialSuccess": {"rejectedSpans": str(rejected), "errorMessage": message}} if rejected else {}
        return Body(json.dumps(told).encode(), JSON)
    if not rejected:
        return Body(b"", PROTOBUF)
    return Body(length_delimited(1, _number(1, rejected) + length_delimited(2, message.encode())), PROTOBUF)


def failure(asked_in: str, status: int, message: str) -> Body:
    """A google.rpc.Status, in JSON unless the client speaks protobuf.

    Args:
        asked_in: Media type of the request, whatever it is.
        status: The HTTP status that it comes with.
        message: For whoever operates the client.
    """
    code = _CODES.get(HTTPStatus(status), _INVALID_ARGUMENT)
    if asked_in == PROTOBUF:
        return Body(_number(1, code) + length_delimited(2, message.encode()), PROTOBUF)
    return Body(json.dumps({"code": code, "message": message}).encode(), JSON)


def _number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)
