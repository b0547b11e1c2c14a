"""What is no HTTP request makes no row and is counted nowhere: gRPC servers, consumers of messages, jobs."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind

import otel_usage

GRPC = {"rpc.system": "grpc", "rpc.service": "Greeter", "rpc.method": "SayHello", "rpc.grpc.status_code": 0}
MESSAGE = {"messaging.system": "kafka", "messaging.operation.type": "process"}
NOT_REQUESTS = {
    "grpc": (SpanKind.SERVER, GRPC),
    "failing grpc": (SpanKind.SERVER, {**GRPC, "rpc.grpc.status_code": 13, "error.type": "INTERNAL"}),
    "nameless": (SpanKind.SERVER, {}),
    "consumer": (SpanKind.CONSUMER, MESSAGE),
    "consumer behind a webhook": (SpanKind.CONSUMER, {**MESSAGE, "http.request.method": "POST"}),
    "producer": (SpanKind.PRODUCER, MESSAGE),
    "call of another service": (SpanKind.CLIENT, {"http.request.method": "GET", "url.full": "http://x/"}),
    "part of a request": (SpanKind.INTERNAL, {"http.method": "GET"}),
}


@pytest.fixture
def tracer(tmp_path, monkeypatch):
    """A tracer of a provider that install() follows, in an empty folder; anonymous requests are left out."""
    monkeypatch.setenv("OTEL_USAGE_DATABASE", str(tmp_path / "usage.duckdb"))
    monkeypatch.setenv("OTEL_USAGE_ANONYMOUS", "false")
    provider = TracerProvider(shutdown_on_exit=False)
    otel_usage.install(provider)
    yield provider.get_tracer("test")
    otel_usage.uninstall()


@pytest.mark.parametrize("kind", NOT_REQUESTS)
def test_no_row_and_no_count(kind, tracer, tmp_path):
    """Nothing is written, neither a record nor a note of one that was left out."""
    span_kind, attributes = NOT_REQUESTS[kind]
    tracer.start_span(kind, kind=span_kind, attributes=attributes).end()
    assert not (tmp_path / "usage.duckdb.journal").exists()


def test_a_request_is_written(tracer, tmp_path):
    """The same folder has a journal as soon as there is a request: what the test above looks for is there."""
    tracer.start_span("GET", kind=SpanKind.SERVER, attributes={"http.request.method": "GET", "user.id": "7"}).end()
    assert (tmp_path / "usage.duckdb.journal").exists()
