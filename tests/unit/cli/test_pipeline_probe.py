"""What the hops of a pipeline answer, and what is made of it; which hops there are; what a trial request is."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from otel_usage import settings
from otel_usage.cli.diagnostics import hops, pipeline
from otel_usage.cli.diagnostics.hops import Heard, Hop
from otel_usage.enrichment.privacy import fingerprint
from otel_usage.errors import ConfigurationError
from otel_usage.exporter import trial
from otel_usage.exporter.otlp import decoding as otlp
from otel_usage.exporter.otlp.intake import SCOPE_NAME
from otel_usage.exporter.trial import Trial

GATEWAY, COLLECT = "http://gateway:4328", "http://collect:4320"
BOTH = {"OTEL_USAGE_GATEWAY_ENDPOINT": GATEWAY, "OTEL_USAGE_COLLECT_ENDPOINT": COLLECT}
FULL = {"status": "unavailable", "journal_bytes": 1000, "journal_max_bytes": 1000}
FINE = {"status": "ok", "journal_bytes": 0, "journal_max_bytes": 1000}


@pytest.mark.parametrize(
    ("endpoints", "environ", "expected"),
    [
        (["http://a"], {}, [("endpoint", "http://a")]),
        (["http://a"], BOTH, [("endpoint", "http://a"), ("gateway", GATEWAY), ("collect", COLLECT)]),
        ([GATEWAY], BOTH, [("gateway", GATEWAY), ("collect", COLLECT)]),
        ([COLLECT], BOTH, [("collect", COLLECT)]),
        (["http://a", "http://b"], BOTH, [("endpoint", "http://a"), ("hop 2", "http://b")]),
        (["http://a", COLLECT], BOTH, [("endpoint", "http://a"), ("collect", COLLECT)]),
    ],
    ids=str,
)
def test_hops_are_those_named_else_those_behind_the_first(
    endpoints: list[str], environ: dict[str, str], expected: list[tuple[str, str]]
) -> None:
    """Several that are named are all there are; behind a single one come those that the variables tell."""
    assert hops.of(endpoints, environ) == [Hop(*each) for each in expected]


@contextlib.contextmanager
def answering(
    status: int, body: bytes = b"", health: dict[str, Any] | int | None = None, **headers: str
) -> Iterator[tuple[str, list[Any]]]:
    """A server that answers every POST with this; its base URL, and the headers and bodies that came.

    Args:
        status: Of the answers.
        body: Of the answers.
        health: What it tells of it; a status where it tells nothing in JSON.
        headers: Of the answers.
    """
    came: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.answer(status, body, headers)

        def do_GET(self) -> None:
            asked, told = 404 if health is None else 200, json.dumps(health).encode()
            if isinstance(health, int):
                asked, told = health, b"<html>"
            self.answer(asked, told, headers)

        def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", came
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def saying(data: bytes | None) -> Iterator[str]:
    """A server that says this to whoever comes, and goes; None says nothing and stays."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    if data is None:
                        held.append(connection)
                        continue
                    with connection:
                        connection.recv(65536)
                        connection.sendall(data)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in held:
                connection.close()


def ask(*urls: str, seconds: float = 5, **environ: str) -> list[Heard]:
    transport = settings.load({"OTEL_USAGE_EXPORTER": "otlp", **environ}, strict=True).transport
    return hops.ask(hops.of(urls, {}), transport, seconds)


@pytest.mark.parametrize(
    ("status", "body", "health"),
    [
        (200, b"{}", None),
        (200, b"", None),
        (202, b"{}", None),
        (200, b'{"partialSuccess":{}}', None),
        (200, b'{"partialSuccess":{"rejectedSpans":"0"}}', FINE),
        (200, b"{}", {"status": "ok"}),
        *((200, b"{}", asked) for asked in (200, 302, 401, 403, 404, 405, 429, 500, 503)),
    ],
)
def test_what_takes_a_trial_request(status: int, body: bytes, health: dict[str, Any] | int | None) -> None:
    """The answers of OTLP receivers; one of ours is known by its health. What another says of its health is no matter.

    The receiver of a Collector has none: it answers 404, and notes nothing.
    """
    with answering(status, body, health) as (url, came):
        (heard,) = ask(url)
    assert (heard.trouble, heard.is_collect) == (None, health is FINE)
    (headers, content), *more = came
    assert headers["Content-Type"] == "application/json"
    assert more == []
    assert heard.trial.key.trace_id.encode() in content


@pytest.mark.parametrize(
    ("status", "body", "health", "message", "remedy"),
    [
        (200, b'{"status":"Server available"}', None, "200 OK, but not as an OTLP receiver", "base endpoint"),
        (200, b"<html>welcome", None, "not as an OTLP receiver", "base endpoint"),
        (200, b'{"partialSuccess":{"rejectedSpans":"1"}}', None, "rejects the span", "limits"),
        (302, b"", None, "302 Found", "redirect"),
        (307, b"", None, "307 Temporary Redirect", "redirect"),
        (401, b"", None, "401 Unauthorized", "OTEL_EXPORTER_OTLP_HEADERS"),
        (403, b"", None, "403 Forbidden", "OTEL_EXPORTER_OTLP_HEADERS"),
        (404, b"", None, "404 Not Found", "/v1/traces"),
        (400, b"Client sent an HTTP request to an HTTPS server.\n", None, "speaks TLS", "https://"),
        (415, b"", None, "415 Unsupported Media Type", "OTLP/HTTP receiver"),
        (500, b"", None, "500 Internal Server Error", "drops"),
        (503, b"", None, "503 Service Unavailable", "queue"),
        (503, b"", FULL, "its journal is full, 1000 of 1000 bytes", "otel-usage doctor there"),
        (503, b"", FINE, "503 Service Unavailable", "disk"),
    ],
)
def test_what_does_not_take_it_and_what_to_do(
    status: int, body: bytes, health: dict[str, Any] | None, message: str, remedy: str
) -> None:
    """Every kind of answer has a remedy of its own."""
    with answering(status, body, health, Location="/elsewhere") as (url, _):
        (heard,) = ask(url)
    assert heard.trouble is not None
    assert message in heard.trouble.message
    assert remedy in heard.trouble.remedy


@pytest.mark.parametrize(
    ("data", "message", "remedy"),
    [
        (b"", "no answer in HTTP", "4317"),
        (b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00@\x00", "no answer in HTTP", "gRPC"),
        (None, "no answer within 0.5 seconds", "firewalls"),
    ],
)
def test_what_gives_no_answer(data: bytes | None, message: str, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port of gRPC, and one that hangs."""
    monkeypatch.setattr(hops, "_HEALTH_SECONDS", 0.5)
    with saying(data) as url:
        (heard,) = ask(url, seconds=0.5)
    assert heard.trouble is not None
    assert message in heard.trouble.message
    assert remedy in heard.trouble.remedy


def test_http_behind_https() -> None:
    """Who speaks no TLS is named."""
    with answering(200) as (url, _):
        (heard,) = ask(url.replace("http:", "https:"))
    assert heard.trouble is not None
    assert "does not speak TLS" in heard.trouble.message


def test_a_certificate_file_that_is_not_there(tmp_path: Path) -> None:
    """It is a configuration that cannot be used, as everywhere; http:// needs none."""
    variable = {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(tmp_path / "none.pem")}
    with answering(200) as (url, came):
        with pytest.raises(ConfigurationError, match="OTEL_EXPORTER_OTLP_CERTIFICATE"):
            ask(url, url.replace("http:", "https:"), **variable)
        assert came == []
        assert ask(url, **variable)[0].trouble is None


def test_credentials_go_to_the_first_hop_only() -> None:
    """The configured headers do; the throw-away token goes besides to a receiver of ours, which hashes it itself."""
    headers = {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20s3cr3t"}
    with answering(200) as (first, one), answering(200) as (between, two), answering(200, health=FINE) as (last, three):
        heard = ask(first, between, last, **headers)
    assert [b"Authorization" in str(came[0][0]).title().encode() for came in (one, two, three)] == [True, False, False]
    tokens = [each.trial.token for each in heard]
    assert tokens[0] is not None
    assert tokens == [tokens[0], None, tokens[0]]
    assert [tokens[0].encode() in came[0][1] for came in (one, two, three)] == [True, False, True]
    assert tokens[0] not in repr(heard)


@pytest.mark.parametrize(
    ("status", "body", "expected"), [(200, b"{}", "ok"), (503, b"", "attention"), (404, b"", "note")]
)
def test_the_health_of_the_collector_of_this_machine(
    status: int, body: bytes, expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What it answers at the address that the variable says; nobody there needs attention too. 404 is no illness."""
    monkeypatch.setattr(hops, "health", lambda url, transport: (status, None) if url.endswith(":1") else None)
    chosen = settings.load({}, strict=True, database=tmp_path / "usage.duckdb")
    for address, wanted in (("127.0.0.1:1", expected), ("127.0.0.1:2", "attention")):
        with answering(200) as (url, _):
            found = pipeline.examine(hops.of([url], {}), chosen, health=address, seconds=1, must_exist=False)
        assert [each.status for each in found if each.check == "health"] == [wanted]


def test_a_trial_request_goes_the_way_of_requests() -> None:
    """It decodes to one SERVER span of a scope that is not ours, described by nobody yet."""
    one = Trial.new(5, token=trial.new_token())
    (scope,) = otlp.decode_json(one.body())
    (span,) = scope.spans
    assert scope.scope_name != SCOPE_NAME
    assert scope.otel_resource == {"service.name": trial.SERVICE_NAME}
    assert (scope.others, scope.invalid) == (0, 0)
    assert (span.attributes["http.request.method"], span.flags & 1) == ("GET", 1)
    assert not any(name.startswith("usage.") for name in span.attributes)
    key = one.key
    assert (span.start_time_ns // 1000, span.end_time_ns - span.start_time_ns) == (key.start_time, key.duration_ns)
    assert (f"{span.trace_id:032x}", span.span_id) == (key.trace_id, key.span_id)


def test_two_ids_of_one_token() -> None:
    """Whose key is another, is told by what the receiver itself makes of the token."""
    known, other = b"k" * 32, b"o" * 32
    ids = {key: fingerprint(key, "t") for key in (known, other)}
    cases = [
        (known, None, known, "ok", "the id that the deployment key gives"),
        (known, known, None, "ok", "the id that the deployment key gives"),
        (known, None, None, "note", "not known here"),
        (other, None, known, "attention", "The first hop"),
        (other, known, known, "attention", "The first hop"),
        (other, known, None, "attention", "The first hop"),
        (other, other, known, "attention", "The deployment key known here"),
    ]
    for found, by_collect, key, status, message in cases:
        finding = pipeline._identified(ids[found], "t", by_collect and ids[by_collect], key)
        assert (finding.status, message in finding.message) == (status, True), finding
