"""The gateway: which spans go where, and that neither way waits for the other."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.collector.collectors import Sink, gateway, request_of, sink, span_of
from tests.integration.site import wait_for

NOT_A_REQUEST = {"http.request.method": None}


def ids(out: Sink) -> Counter[str]:
    """How often each span came."""
    return Counter(span["id"] for span in out.spans())


def ids_of(*requests: dict[str, Any]) -> list[str]:
    """The ids of sent spans."""
    scopes = (scope for request in requests for each in request["resourceSpans"] for scope in each["scopeSpans"])
    return sorted(span["spanId"] for scope in scopes for span in scope["spans"])


def test_where_spans_go(collector_binary: Path, tmp_path: Path) -> None:
    """Requests go to both, usage copies only to the receiver, everything else only to the tracing backend."""
    requests = request_of(*(span_of({}) for _ in range(20)))
    old = request_of(*(span_of({**NOT_A_REQUEST, "http.method": "GET"}) for _ in range(20)), scope="nginx")
    copies = request_of(*(span_of({}) for _ in range(20)), scope="otel_usage")
    others = request_of(
        *(span_of({}, kind=kind) for kind in (0, 1, 3, 4, 5)),
        *(span_of(NOT_A_REQUEST, kind=kind) for kind in range(6)),
    )
    with (
        sink() as usage,
        sink() as backend,
        gateway(collector_binary, tmp_path, usage.endpoint, backend.endpoint) as running,
    ):
        for request in (requests, old, copies, others):
            assert running.send(request) == 200
        wait_for(lambda: len(usage.spans()) >= 60 and len(backend.spans()) >= 51)
        running.stop()
        assert sorted(ids(usage).elements()) == ids_of(requests, old, copies)
        assert sorted(ids(backend).elements()) == ids_of(requests, old, others)
        assert {span["scope"] for span in usage.spans()} == {"test", "nginx", "otel_usage"}


def test_of_an_application_that_sends_usage_copies(collector_binary: Path, tmp_path: Path) -> None:
    """Its ordinary spans are traces only, its copies requests only."""
    ordinary = request_of(*(span_of({"usage.forwarded": True}) for _ in range(20)))
    copies = request_of(*(span_of({}) for _ in range(20)), scope="otel_usage")
    with (
        sink() as usage,
        sink() as backend,
        gateway(collector_binary, tmp_path, usage.endpoint, backend.endpoint) as running,
    ):
        assert (running.send(ordinary), running.send(copies)) == (200, 200)
        wait_for(lambda: len(usage.spans()) >= 20 and len(backend.spans()) >= 20)
        running.stop()
        assert sorted(ids(usage).elements()) == ids_of(copies)
        assert sorted(ids(backend).elements()) == ids_of(ordinary)


def test_attributes_stay(collector_binary: Path, tmp_path: Path) -> None:
    """What the agent let through, the gateway passes on unchanged."""
    attributes = {"usage.token.id": "tok_0123456789abcdef", "usage.sampled": True, "http.response.status_code": 200}
    with (
        sink() as usage,
        sink() as backend,
        gateway(collector_binary, tmp_path, usage.endpoint, backend.endpoint) as running,
    ):
        assert running.send(request_of(span_of(attributes))) == 200
        for out in (usage, backend):
            [span] = wait_for(out.spans)
            assert span["attributes"] == {"http.request.method": "GET", **attributes}
            assert span["resource"] == {"service.name": "portal"}


def test_the_backend_is_down(collector_binary: Path, tmp_path: Path) -> None:
    """The tracing backend's queue is full and all is acknowledged: each request reaches the receiver, and once."""
    requests = [request_of(*(span_of({"url.path": "x" * 1000}) for _ in range(50))) for _ in range(100)]
    with sink() as usage, sink() as backend:
        backend.answer = 503
        bound = {"OTEL_TRACES_BACKEND_QUEUE_BYTES": "3000000"}
        with gateway(collector_binary, tmp_path, usage.endpoint, backend.endpoint, **bound) as running:
            assert {running.send(request) for request in requests} == {200}
            wait_for(lambda: len(usage.spans()) >= 5000)
            wait_for(lambda: "sending queue is full" in running.log)
            assert ids(usage) == Counter(ids_of(*requests))
            backend.answer = 200
            running.kill()
            running.start()
            wait_for(backend.spans)
            running.stop()
        assert len(backend.spans()) < 3000
        assert ids(usage) == Counter(ids_of(*requests))


@pytest.mark.parametrize("answer", [429, 502, 503, 504])
def test_the_receiver_is_down(collector_binary: Path, tmp_path: Path, answer: int) -> None:
    """What was acknowledged outlives the receiver's trouble and the gateway's death; traces go on meanwhile."""
    requests = [request_of(*(span_of({}) for _ in range(10))) for _ in range(20)]
    with sink() as usage, sink() as backend:
        usage.answer = answer
        with gateway(collector_binary, tmp_path, usage.endpoint, backend.endpoint) as running:
            assert {running.send(request) for request in requests} == {200}
            wait_for(lambda: len(backend.spans()) >= 200)
            running.kill()
            usage.answer = 200
            running.start()
            wait_for(lambda: len(ids(usage)) >= 200)
            assert sorted(ids(usage)) == ids_of(*requests)
