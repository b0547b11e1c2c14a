"""Realistic spans as OTLP requests, the same in every run: three kinds of senders, batches of any size."""

import json
import random
import time
from collections.abc import Iterator, Mapping

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Value = str | int | bool

# What a sender is -> the instrumentation scope of its spans.
SENDERS = {
    "a service in another language": "io.opentelemetry.tomcat-10.0",
    "the same behind our agent": "io.opentelemetry.tomcat-10.0",
    "an application of ours": "otel_usage",
}


def batches(sender: str, spans: int, size: int) -> Iterator[ExportTraceServiceRequest]:
    """Requests of `size` request spans each, `spans` in all."""
    source = random.Random(20261121)
    started = time.time_ns()
    for first in range(0, spans, size):
        request = ExportTraceServiceRequest()
        of_resource = request.resource_spans.add()
        of_resource.resource.attributes.extend(_pairs({"service.name": "portal", "service.version": "1.2"}))
        scope = of_resource.scope_spans.add()
        scope.scope.name = SENDERS[sender]
        for number in range(first, min(first + size, spans)):
            scope.spans.append(_span(source, sender, number, started + number * 900_000))
        yield request


def to_json(request: ExportTraceServiceRequest) -> bytes:
    """The request as the Collector writes it: ids in hexadecimal, enums as numbers, on one line."""
    told = json_format.MessageToDict(request, use_integers_for_enums=True)
    spans = [span for of in told["resourceSpans"] for scope in of["scopeSpans"] for span in scope["spans"]]
    official = [span for of in request.resource_spans for scope in of.scope_spans for span in scope.spans]
    for span, original in zip(spans, official, strict=True):
        span["traceId"], span["spanId"] = original.trace_id.hex(), original.span_id.hex()
    return json.dumps(told, separators=(",", ":")).encode()


def _span(source: random.Random, sender: str, number: int, started: int) -> Span:
    return Span(
        trace_id=source.randbytes(16),
        span_id=source.randbytes(8),
        flags=257,
        name="GET /datasets/{id}",
        kind=Span.SPAN_KIND_SERVER,
        start_time_unix_nano=started,
        end_time_unix_nano=started + source.randrange(10**6, 10**8),
        attributes=_pairs(_attributes(source, sender, number)),
    )


def _attributes(source: random.Random, sender: str, number: int) -> Mapping[str, Value]:
    """Twelve of the instrumentation, and what the sender knows of the token, the user and the resource."""
    user = int(5000 * source.random() ** 3)
    dataset = int(7000 * source.random() ** 3)
    told: dict[str, Value] = {
        "http.request.method": "GET",
        "url.scheme": "https",
        "url.path": f"/datasets/{dataset}",
        "url.query": "page=3&size=10",
        "http.route": "/datasets/{id}",
        "http.response.status_code": 200 if number % 20 else 404,
        "server.address": "data.example.org",
        "server.port": 443,
        "client.address": f"192.0.{user % 8}.{user % 250}",
        "client.port": source.randrange(30_000, 60_000),
        "network.protocol.version": "1.1",
        "user_agent.original": f"python-requests/2.{20 + user % 12}.{user % 4}",
    }
    if sender == "a service in another language":
        return told | {"http.request.header.authorization": f"Bearer token-of-{user:020d}"}
    token: dict[str, Value] = {"usage.token.id": f"tok_{user:016x}", "usage.token.scheme": "bearer"}
    if sender == "the same behind our agent":
        return told | token
    del told["client.port"]
    known = {"user.id": str(user), "user.name": f"user{user}", "usage.user.source": "framework"}
    thing = {"usage.resource.type": "dataset", "usage.resource.id": str(dataset), "usage.action": "view"}
    sizes = {"http.request.body.size": 0, "http.response.body.size": source.randrange(10**6)}
    return told | token | known | thing | sizes | {"usage.sampled": True}


def _pairs(attributes: Mapping[str, Value]) -> list[KeyValue]:
    return [KeyValue(key=name, value=_value(value)) for name, value in attributes.items()]


def _value(value: Value) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    return AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=value)
