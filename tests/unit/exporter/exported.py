"""What the Collector's file exporter would have written, in all of its formats."""

import gzip
import json
from collections.abc import Iterable
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.unit.exporter.support import FIRST_MICROSECOND

try:
    from compression import zstd
except ImportError:
    from backports import zstd

# As the tests look for it where it must not be.
TOKEN = "tokens-raw-never-kept-0123456789"


def request(*numbers: int, **attributes: str) -> ExportTraceServiceRequest:
    """A request span for each number, which is its span id."""
    made = ExportTraceServiceRequest()
    scope = made.resource_spans.add().scope_spans.add()
    for number in numbers:
        start = (FIRST_MICROSECOND + number * 1000) * 1000
        span = scope.spans.add(
            trace_id=number.to_bytes(16),
            span_id=number.to_bytes(8),
            kind=Span.SPAN_KIND_SERVER,
            start_time_unix_nano=start,
            end_time_unix_nano=start + 1_500_000,
        )
        told = {"http.request.method": "GET", "url.path": f"/datasets/{number}", **attributes}
        told["http.request.header.authorization"] = f"Bearer {TOKEN}"
        for key, value in told.items():
            span.attributes.add(key=key).value.string_value = value
    return made


def line(*numbers: int, **attributes: str) -> bytes:
    """The request as a line of JSON without its newline."""
    told: dict[str, Any] = json_format.MessageToDict(request(*numbers, **attributes), use_integers_for_enums=True)
    for span, number in zip(told["resourceSpans"][0]["scopeSpans"][0]["spans"], numbers, strict=True):
        span["traceId"], span["spanId"] = f"{number:032x}", f"{number:016x}"
    return json.dumps(told, separators=(",", ":")).encode()


def lines(numbers: Iterable[int]) -> bytes:
    """A file of JSON lines, a request each."""
    return b"".join(line(number) + b"\n" for number in numbers)


def frame(message: bytes) -> bytes:
    """A message with its length."""
    return len(message).to_bytes(4) + message


def frames(numbers: Iterable[int]) -> bytes:
    """A file of protobuf, a request each."""
    return b"".join(frame(request(number).SerializeToString()) for number in numbers)


def packed_lines(numbers: Iterable[int]) -> bytes:
    """JSON, each message compressed by itself."""
    return b"".join(frame(zstd.compress(line(number))) for number in numbers)


def packed_frames(numbers: Iterable[int]) -> bytes:
    """Protobuf, each message compressed by itself."""
    return b"".join(frame(zstd.compress(request(number).SerializeToString())) for number in numbers)


FORMATS = {"json": lines, "protobuf": frames, "json, zstd": packed_lines, "protobuf, zstd": packed_frames}
WHOLE = {"as it is": bytes, "gzip": gzip.compress, "zstd": zstd.compress}
