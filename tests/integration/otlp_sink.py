"""A loopback OTLP/HTTP sink: takes what is posted, or does what a test wants, and remembers every arrival."""

import gzip
import http.server
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_usage.exporter.otlp.decoding import ScopeSpans, SpanData, decode_protobuf


@dataclass(frozen=True)
class Arrival:
    """One request: what it asked for, what came with it, and when."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float

    @property
    def scopes(self) -> list[ScopeSpans]:
        """What was sent."""
        is_gzip = self.headers.get("content-encoding") == "gzip"
        return decode_protobuf(gzip.decompress(self.body) if is_gzip else self.body)

    @property
    def spans(self) -> list[SpanData]:
        """The SERVER spans of all scopes."""
        return [span for scope in self.scopes for span in scope.spans]


@dataclass(frozen=True)
class Reply:
    """What the sink does with a request.

    Attributes:
        status: Of the answer; 0 resets the connection, -1 never answers.
        is_kept: Whether it counts as arrived; by default if the status is 2xx.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_kept: bool | None = None


TAKEN, RESET, HANG = Reply(), Reply(0), Reply(-1)


def partly(rejected: int, reason: str) -> Reply:
    """All taken but some."""
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = rejected
    answer.partial_success.error_message = reason
    return Reply(200, {"Content-Type": "application/x-protobuf"}, answer.SerializeToString())


class Sink:
    """Listens on a port of the loopback interface.

    Attributes:
        reply: Decides what to do with a request.
        arrivals: Every request, whatever became of it.
        kept: Those that were taken.
    """

    def __init__(self, port: int = 0, reply: Callable[[Arrival], Reply] = lambda _: TAKEN) -> None:
        self.reply = reply
        self.arrivals: list[Arrival] = []
        self.kept: list[Arrival] = []
        self.ending = threading.Event()
        self._server = _Server(("127.0.0.1", port), self)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """Its base endpoint."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def spans(self) -> list[SpanData]:
        """All that was taken, requests that came twice included."""
        return [span for arrival in list(self.kept) for span in arrival.spans]

    def agents(self) -> Counter[str]:
        """How often each user agent was taken, by distinct keys of spans: a copy of one counts once."""
        keys = {_key(span): str(span.attributes.get("user_agent.original")) for span in self.spans}
        return Counter(keys.values())

    def wait_for_spans(self, count: int, seconds: float = 30) -> list[SpanData]:
        """Wait until so many were taken."""
        until = time.monotonic() + seconds
        while len(self.spans) < count:
            assert time.monotonic() < until, f"{len(self.spans)} of {count} spans arrived"
            time.sleep(0.01)
        return self.spans

    def use_tls(self, context: ssl.SSLContext) -> None:
        """Speak TLS on connections from now on."""
        self._server.tls = context

    def close(self) -> None:
        """Stop listening."""
        self.ending.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _key(span: SpanData) -> tuple[int, int, int, int]:
    return span.start_time_ns // 1000, span.end_time_ns - span.start_time_ns, span.trace_id, span.span_id


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], sink: Sink) -> None:
        self.sink = sink
        self.tls: ssl.SSLContext | None = None
        super().__init__(address, _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.tls is None:
            super().finish_request(request, client_address)
            return
        with self.tls.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed amid a request are what these tests are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        """Take one request."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if len(body) < int(self.headers["Content-Length"]):
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        arrival = Arrival(self.path, headers, body, time.monotonic())
        reply = self.server.sink.reply(arrival)
        is_kept = 200 <= reply.status < 300 if reply.is_kept is None else reply.is_kept
        if is_kept:
            self.server.sink.kept.append(arrival)
        self.server.sink.arrivals.append(arrival)
        if reply.status > 0:
            self._answer(reply)
            return
        if reply.status < 0:
            self.server.sink.ending.wait(60)
        # A connection that is closed so is reset.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def _answer(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's
        """Say nothing."""


@contextmanager
def sink(port: int = 0, reply: Callable[[Arrival], Reply] = lambda _: TAKEN) -> Iterator[Sink]:
    """A sink for the time of a `with` block."""
    found = Sink(port, reply)
    try:
        yield found
    finally:
        found.close()
