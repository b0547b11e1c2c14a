"""Servers of the loopback interface that take what the peers send, so that nothing leaves the machine.

One speaks HTTP: OTLP and API Analytics' own JSON. The other speaks as much of MongoDB's wire protocol as pymongo needs
to insert: it answers every command with ok, and counts the documents. Both say afterwards what has arrived.
"""

import contextlib
import gzip
import http.client
import http.server
import json
import socketserver
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, cast

from benchmarks import environment

_OP_REPLY: Final = 1
_OP_QUERY: Final = 2004
_OP_MSG: Final = 2013
_SERVER_KIND: Final = 2
# The only document that a client asks for: who is there, and how much it takes.
_HELLO: Final = {
    "ismaster": True,
    "helloOk": True,
    "maxBsonObjectSize": 16 * 1024**2,
    "maxMessageSizeBytes": 48_000_000,
    "maxWriteBatchSize": 100_000,
    "minWireVersion": 0,
    "maxWireVersion": 13,
    "readOnly": False,
    "ok": 1.0,
}


@dataclass(frozen=True)
class Sinks:
    """Where they listen."""

    http: int
    mongodb: int

    def variables(self) -> dict[str, str]:
        """What tells the measured process."""
        address = f"http://127.0.0.1:{self.http}"
        mongodb = f"mongodb://127.0.0.1:{self.mongodb}/"
        return {"BENCHMARK_SINK": address, "APITALLY_OTLP_ENDPOINT": address, "BENCHMARK_MONGODB": mongodb}

    def take(self) -> int:
        """How many requests have been told of since it was last asked."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", "/taken")
            return int(connection.getresponse().read())


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Sinks]:
    """Both sinks in a process of their own."""
    with (directory / "sinks.log").open("wb") as log:
        process = subprocess.Popen(
            [environment.programs() / "python", "-m", "benchmarks.requests.sinks"],
            cwd=directory,
            env=environment.variables(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        yield Sinks(**json.loads(cast("IO[bytes]", process.stdout).readline()))
    finally:
        process.terminate()
        process.wait(10)


class _Received:
    """What has arrived and was not counted yet; counting waits until nobody is measured."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._posts: list[tuple[str, bytes]] = []
        self._documents = 0

    def post(self, path: str, body: bytes) -> None:
        with self._lock:
            self._posts.append((path, body))

    def insert(self, documents: int) -> None:
        with self._lock:
            self._documents += documents

    def take(self) -> int:
        with self._lock:
            posts, self._posts = self._posts, []
            documents, self._documents = self._documents, 0
        return documents + sum(_requests_in(path, body) for path, body in posts)


def _requests_in(path: str, body: bytes) -> int:
    if path == "/api/log-request":
        return len(json.loads(body)["requests"])
    if path != "/v1/traces":
        return 0
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    message = ExportTraceServiceRequest.FromString(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
    spans = (span for of in message.resource_spans for scope in of.scope_spans for span in scope.spans)
    return sum(span.kind == _SERVER_KIND for span in spans)


class _HTTPHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    received: _Received

    def do_POST(self) -> None:
        self.received.post(self.path, self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(str(self.received.take()).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """A line for each post would cost the machine that is measured."""


class _MongoDBHandler(socketserver.StreamRequestHandler):
    received: _Received

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            while head := self.rfile.read(16):
                length, request, _, operation = struct.unpack("<iiii", head)
                message = self.rfile.read(length - 16)
                self.wfile.write(self._reply(request, operation, message))

    def _reply(self, request: int, operation: int, message: bytes) -> bytes:
        import bson

        if operation == _OP_QUERY:
            body = struct.pack("<iqii", 0, 0, 0, 1) + bson.encode(_HELLO)
            return struct.pack("<iiii", 16 + len(body), 0, request, _OP_REPLY) + body
        command, documents = _command(message)
        self.received.insert(documents)
        answer = {"ok": 1.0, "n": documents} if "insert" in command else _HELLO
        body = struct.pack("<iB", 0, 0) + bson.encode(answer)
        return struct.pack("<iiii", 16 + len(body), 0, request, _OP_MSG) + body


def _command(message: bytes) -> tuple[dict[str, Any], int]:
    """The command of an OP_MSG, and the number of documents in it: in the command, or in a sequence behind it."""
    import bson

    at, command, documents = 4, {}, 0
    while at < len(message):
        kind, length = message[at], struct.unpack_from("<i", message, at + 1)[0]
        section = message[at + 1 : at + 1 + length]
        if kind == 0:
            command = bson.decode(section)
            documents += len(command.get("documents", ()))
        else:
            documents += sum(1 for _ in bson.decode_iter(section[section.index(b"\0", 4) + 1 :]))
        at += 1 + length
    return command, documents


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64


def main() -> None:
    """Serve until the input ends, as it does when whoever started this is gone."""
    _HTTPHandler.received = _MongoDBHandler.received = _Received()
    servers = [_Server(("127.0.0.1", 0), handler) for handler in (_HTTPHandler, _MongoDBHandler)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    ports = (server.server_address[1] for server in servers)
    sys.stdout.write(json.dumps(dict(zip(("http", "mongodb"), ports, strict=True))) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
