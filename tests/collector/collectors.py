"""A real Collector as a process, what it is sent, and what stands in the place of the next hop."""

import contextlib
import gzip
import json
import os
import random
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.integration.site import free_port, wait_for

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "collector-config"
AGENT, GATEWAY = CONFIG / "agent.yaml", CONFIG / "gateway.yaml"
# In hexadecimal, as otel-usage makes it.
TOKEN_KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f0" * 2
SERVER = 2

try:
    from compression import zstd
except ImportError:
    from backports import zstd


@dataclass
class Sink:
    """The next hop: keeps what it is sent as it was before compression, and answers as it is told.

    Attributes:
        endpoint: Its base URL.
        bodies: What came and was acknowledged.
        answer: The status of its answers.
    """

    endpoint: str
    bodies: list[bytes] = field(default_factory=list)
    answer: int = 200

    def spans(self) -> list[dict[str, Any]]:
        """Every span that came, with the name of its scope and its OTel resource."""
        return [span for body in self.bodies for span in read_spans(ExportTraceServiceRequest.FromString(body))]


@contextlib.contextmanager
def sink(port: int = 0) -> Iterator[Sink]:
    """An OTLP/HTTP receiver on a loopback port, a free one unless one is given."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/traces" and received.answer == 200:
                received.bodies.append(DECODERS[self.headers["Content-Encoding"]](body))
            self.send_response(received.answer)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A Collector that was killed resets its connections; anything else fails the test that waits for it."""

    server = Server(("127.0.0.1", port), Handler)
    received = Sink(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


DECODERS: Mapping[str | None, Callable[[bytes], bytes]] = {
    None: lambda body: body,
    "gzip": gzip.decompress,
    "zstd": zstd.decompress,
}


@dataclass
class Collector:
    """A Collector in a folder of its own: its queue is in `queue`, its log is `collector.log`.

    Attributes:
        directory: The folder.
        command: Program and arguments.
        variables: Of its environment, besides those that say where it listens.
        listen: The variable that says where it receives OTLP/HTTP.
        port: Where it does, once it was started; it stays the same.
    """

    directory: Path
    command: list[str]
    variables: dict[str, str]
    listen: str
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Base URL of its OTLP/HTTP receiver."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it said, of all its starts."""
        return (self.directory / "collector.log").read_text(errors="replace")

    def start(self) -> None:
        """Start it and wait until it takes spans; on other ports if somebody else was quicker."""
        for _ in range(5):
            if self._start(self.port or free_port()):
                return
            said = self.log[-2000:]
            if "address already in use" not in said:
                break
        raise AssertionError(said)

    def _start(self, port: int) -> bool:
        health = f"127.0.0.1:{free_port()}"
        environment = {
            **clean_environment(),
            self.listen: f"127.0.0.1:{port}",
            "OTEL_USAGE_AGENT_LISTEN_GRPC": f"127.0.0.1:{free_port()}",
            "OTEL_USAGE_HEALTH_LISTEN": health,
            "OTEL_USAGE_METRICS_PORT": str(free_port()),
            "OTEL_USAGE_QUEUE_DIRECTORY": str(self.directory / "queue"),
            **self.variables,
        }
        with (self.directory / "collector.log").open("ab") as log:
            process = subprocess.Popen(self.command, env=environment, stdout=log, stderr=log)
        wait_for(lambda: process.poll() is not None or answers(f"http://{health}/"))
        if process.poll() is not None:
            return False
        self.port, self.process = port, process
        return True

    def stop(self, with_signal: int = signal.SIGTERM) -> None:
        """End it; what it could not deliver stays in its queue."""
        if self.process is None:
            return
        self.process.send_signal(with_signal)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def kill(self) -> None:
        """SIGKILL: what was acknowledged must be on disk."""
        self.stop(signal.SIGKILL)

    def send(self, request: Mapping[str, Any]) -> int:
        """Post an ExportTraceServiceRequest in its JSON encoding; returns the answer's status."""
        return post(self.endpoint, json.dumps(request).encode())

    def queue(self) -> bytes:
        """Every byte in its queues' files."""
        files = (self.directory / "queue").rglob("*")
        return b"".join(file.read_bytes() for file in files if file.is_file())


@contextlib.contextmanager
def collector(
    binary: Path, directory: Path, configs: Sequence[Path], listen: str, **environment: str
) -> Iterator[Collector]:
    """A Collector on free ports, started.

    Args:
        binary: Its program.
        directory: Of its own.
        configs: Configuration files, later ones laid over earlier ones.
        listen: The variable that says where it receives OTLP/HTTP.
        environment: Further variables.
    """
    directory.mkdir(parents=True, exist_ok=True)
    running = Collector(directory, [str(binary), *(f"--config={config}" for config in configs)], environment, listen)
    running.start()
    try:
        yield running
    finally:
        running.stop(signal.SIGKILL)


def agent(
    binary: Path, directory: Path, gateway: str, *, overlay: str | None = None, **environment: str
) -> contextlib.AbstractContextManager[Collector]:
    """The Collector of agent.yaml, sending to `gateway`, with another file of its folder laid over it."""
    configs = [AGENT] if overlay is None else [AGENT, CONFIG / overlay]
    variables = {"OTEL_USAGE_TOKEN_KEY": TOKEN_KEY, "OTEL_USAGE_GATEWAY_ENDPOINT": gateway, **environment}
    return collector(binary, directory, configs, "OTEL_USAGE_AGENT_LISTEN", **variables)


def gateway(
    binary: Path, directory: Path, collect: str, backend: str, **environment: str
) -> contextlib.AbstractContextManager[Collector]:
    """The Collector of gateway.yaml, sending requests to `collect` and traces to `backend`."""
    variables = {"OTEL_USAGE_COLLECT_ENDPOINT": collect, "OTEL_TRACES_BACKEND_ENDPOINT": backend, **environment}
    return collector(binary, directory, [GATEWAY], "OTEL_USAGE_GATEWAY_LISTEN", **variables)


def clean_environment() -> dict[str, str]:
    """The environment without anything of OpenTelemetry's or of ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}


def answers(url: str) -> bool:
    """Whether a URL answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def post(endpoint: str, body: bytes) -> int:
    """Post an ExportTraceServiceRequest in JSON to a base URL; returns the answer's status."""
    request = urllib.request.Request(
        f"{endpoint}/v1/traces", data=body, headers={"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def request_of(*spans: Mapping[str, Any], scope: str = "test", **otel_resource: Any) -> dict[str, Any]:
    """An ExportTraceServiceRequest in its JSON encoding."""
    resource = {"attributes": _attributes({"service.name": "portal", **otel_resource})}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": scope}, "spans": [*spans]}]}]}


def span_of(attributes: Mapping[str, Any], *, kind: int = SERVER, name: str = "GET", **fields: Any) -> dict[str, Any]:
    """A span of a request in OTLP's JSON encoding, with ids of its own.

    Args:
        attributes: Of Python's types; on top of the method's.
        kind: 2 is SERVER.
        name: Of the span.
        fields: Further fields of the span, as they stand in JSON.
    """
    now = time.time_ns()
    return {
        "traceId": f"{random.getrandbits(128):032x}",
        "spanId": f"{random.getrandbits(64):016x}",
        "name": name,
        "kind": kind,
        "startTimeUnixNano": str(now),
        "endTimeUnixNano": str(now + 1000),
        "attributes": _attributes({"http.request.method": "GET", **attributes}),
        **fields,
    }


def _attributes(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in attributes.items() if value is not None]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(each) for each in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": _attributes(value)}}
    return {"stringValue": value}


def read_spans(request: ExportTraceServiceRequest) -> Iterator[dict[str, Any]]:
    """The spans of a request: id, name, kind, scope, attributes and those of the OTel resource."""
    for resource_spans in request.resource_spans:
        otel_resource = {each.key: read_value(each.value) for each in resource_spans.resource.attributes}
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield {
                    "id": span.span_id.hex(),
                    "name": span.name,
                    "kind": span.kind,
                    "scope": scope_spans.scope.name,
                    "resource": otel_resource,
                    "attributes": {each.key: read_value(each.value) for each in span.attributes},
                }


def read_value(value: Any) -> Any:
    """An AnyValue as a value of Python's."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [read_value(each) for each in value.array_value.values]
    return None if kind is None else getattr(value, kind)
