"""Senders that give up by themselves, before they are answered: what they sent counts when they come again, once."""

import os
import re
import signal
import socket

import duckdb
import pytest

from otel_usage.exporter.losses import NOT_A_REQUEST, REJECTED
from tests.integration.collect.receiving import PROTOBUF, Receiving, body_of, receiving, request_of
from tests.integration.site import wait_for

# So many that they are worked on for longer than it takes to notice that nobody waits for them.
MANY, CLIENTS, BROKEN = 6000, 300, 20


def mixed_body() -> bytes:
    """Requests, spans of another kind, and spans that can never be kept."""
    request = request_of(range(MANY))
    spans = request.resource_spans[0].scope_spans[0].spans
    for number in range(CLIENTS):
        spans.add(trace_id=bytes(15) + b"x", span_id=number.to_bytes(8), kind=3)  # type: ignore[arg-type]  # CLIENT
    for _ in range(BROKEN):
        spans.add(trace_id=b"short", span_id=bytes(8), kind=2).attributes.add(key="http.request.method")
    return request.SerializeToString()


def leave(receiver: Receiving, body: bytes) -> None:
    """Send a whole request, and go."""
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=60) as client:
        head = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)


def counted(receiver: Receiving) -> dict[str, int]:
    """What the store says is missing, or was left out."""
    assert receiver.cli("sync").returncode == 0
    with duckdb.connect(str(receiver.store), read_only=True) as connection:
        return dict(connection.execute("SELECT reason, sum(records)::INTEGER FROM losses GROUP BY reason").fetchall())


def numbers(receiver: Receiving) -> dict[str, float]:
    """What the receiver tells Prometheus."""
    told = receiver.ask("GET", "/metrics").body.decode()
    return {name: float(value) for name, value in re.findall(r"^(\S+) (\S+)$", told, re.MULTILINE)}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_is_counted_once(tmp_path, workers):
    """Five times it does not wait for the answer, the sixth time it does."""
    body = mixed_body()
    with receiving(tmp_path, "--workers", workers) as receiver:
        for _ in range(5):
            leave(receiver, body)
        wait_for(lambda: numbers(receiver)["http_server_active_requests"] == 1)
        assert not any(value for name, value in numbers(receiver).items() if "receiver_spans" in name)
        assert not any(value for name, value in numbers(receiver).items() if 'status_code="503"' in name)
        assert receiver.post(body).status == 200
        receiver.stop()
        assert receiver.rows() == list(range(MANY))
        assert counted(receiver) == {NOT_A_REQUEST: CLIENTS, REJECTED: BROKEN}


def test_who_waits_for_nothing_waits_in_no_queue(tmp_path):
    """Requests of clients that have gone make no others wait: they are forgotten before their turn comes."""
    body = mixed_body()
    with receiving(tmp_path, "--max-requests", "8") as receiver:
        for _ in range(20):
            leave(receiver, body)
        wait_for(lambda: numbers(receiver)["http_server_active_requests"] == 1)
        assert receiver.post(body_of([1])).status == 200
        assert receiver.rows() == [1]


def test_what_is_given_up_at_the_end(tmp_path):
    """A receiver that ends with a request whose client has just gone keeps and counts nothing of it."""
    with receiving(tmp_path) as receiver:
        assert receiver.post(body_of([1])).status == 200
        leave(receiver, mixed_body())
        os.kill(receiver.process.pid, signal.SIGTERM)
        assert receiver.process.wait(60) == 0
        assert receiver.committed() == [1]
        assert counted(receiver) == {}
