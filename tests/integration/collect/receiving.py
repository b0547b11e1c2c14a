"""A receiver as a process of its own, what is sent to it, and the rows it leaves."""

import contextlib
import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.integration.site import BIN, Answer, clean_environment, wait_for

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
FIRST_NANOSECOND = 1_790_000_000_000_000_000


@dataclass
class Receiving:
    """A running receiver."""

    directory: Path
    process: subprocess.Popen[bytes]
    port: int
    environment: dict[str, str]
    context: ssl.SSLContext | None = None

    @property
    def store(self) -> Path:
        return Path(self.environment["OTEL_USAGE_DATABASE"])

    @property
    def log(self) -> str:
        return (self.directory / "receiver.log").read_text(errors="replace")

    def connect(self) -> http.client.HTTPConnection:
        """A connection that stays open."""
        if self.context is not None:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=self.context)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, method: str, target: str, body: bytes | None = None, **headers: str) -> Answer:
        """One request on a connection of its own; `Content_Type="..."` is a header."""
        with contextlib.closing(self.connect()) as connection:
            return ask(connection, method, target, body, **headers)

    def post(self, body: bytes, content_type: str = PROTOBUF, **headers: str) -> Answer:
        """Traces."""
        return self.ask("POST", "/v1/traces", body, Content_Type=content_type, **headers)

    def raw(self, *parts: bytes) -> bytes:
        """Bytes on a connection of its own, and everything that comes back until the receiver closes it."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as client:
            answer = b""
            with contextlib.suppress(ConnectionError):
                for part in parts:
                    client.sendall(part)
                while piece := client.recv(65536):
                    answer += piece
            return answer

    def workers(self) -> list[int]:
        """The processes that serve, the oldest first."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children]

    def resident_mebibytes(self) -> int:
        """Memory of the receiver."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) >> 10  # type: ignore[index]

    def peak_mebibytes(self) -> int:
        """The most memory that the receiver ever had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) >> 10  # type: ignore[index]

    def stop(self, with_signal: int = signal.SIGTERM) -> int:
        """End it and everything it started; its exit code."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, with_signal)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGABRT)  # each process says where it is
            self.process.wait(60)
            raise AssertionError(f"It does not end:\n{self.log}") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`otel-usage` with the receiver's settings."""
        return subprocess.run(
            [BIN / "otel-usage", *arguments],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def rows(self) -> list[int]:
        """The span ids of all rows, in order, once everything is committed."""
        done = self.cli("sync")
        assert done.returncode == 0, done.stderr
        return self.committed()

    def committed(self) -> list[int]:
        """The span ids of the rows that are there now."""
        return wait_for(self._committed)[0]

    def _committed(self) -> tuple[list[int]] | None:
        with contextlib.suppress(duckdb.IOException):  # a commit, which takes a moment
            with duckdb.connect(str(self.store), read_only=True) as connection:
                rows = connection.execute("SELECT span_id FROM requests ORDER BY span_id").fetchall()
            return ([number for (number,) in rows],)
        return None


def ask(
    connection: http.client.HTTPConnection, method: str, target: str, body: bytes | None = None, **headers: str
) -> Answer:
    """One request on an open connection."""
    connection.request(method, target, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    content = answer.read()
    return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, content)


def command(directory: Path, *options: str, **environment: str) -> tuple[list[str], dict[str, str]]:
    """How a receiver is started whose store is in this folder."""
    variables = {
        "OTEL_USAGE_DATABASE": str(directory / "usage.duckdb"),
        "OTEL_USAGE_COMMIT_INTERVAL": "0.2",
        "PYTHONFAULTHANDLER": "1",
    }
    return [str(BIN / "otel-usage"), "collect", *options], clean_environment(directory, **{**variables, **environment})


@contextlib.contextmanager
def receiving(
    directory: Path, *options: str, listen: str = "127.0.0.1:0", launcher: bool = False, **environment: str
) -> Iterator[Receiving]:
    """Run a receiver until the end of the block."""
    directory.mkdir(parents=True, exist_ok=True)
    arguments, variables = command(directory, "--listen", listen, *options, **environment)
    if launcher:
        arguments = [str(BIN / "opentelemetry-instrument"), *arguments]
    with (directory / "receiver.log").open("ab") as log:
        said_before = log.tell()
        process = subprocess.Popen(
            arguments, cwd=directory, env=variables, stdout=log, stderr=log, start_new_session=True
        )
    receiver = Receiving(directory, process, 0, variables)
    try:
        wait_for(lambda: "listening on" in receiver.log[said_before:] or process.poll() is not None)
        assert process.poll() is None, receiver.log
        receiver.port = int(re.findall(r"listening on http\S+:(\d+)", receiver.log)[-1])
        yield receiver
    finally:
        receiver.stop(signal.SIGKILL)


def request_of(numbers: range | list[int], **attributes: Any) -> ExportTraceServiceRequest:
    """Request spans with these numbers as their ids."""
    request = ExportTraceServiceRequest()
    of_resource = request.resource_spans.add()
    name = of_resource.resource.attributes.add(key="service.name")
    name.value.string_value = "portal"
    scope = of_resource.scope_spans.add()
    scope.scope.name = "tests"
    for number in numbers:
        span = scope.spans.add(
            trace_id=(number + 1).to_bytes(16),
            span_id=number.to_bytes(8),
            name="GET /datasets/{id}",
            kind=2,  # type: ignore[arg-type]  # SERVER
            start_time_unix_nano=FIRST_NANOSECOND + number * 1_000_000,
            end_time_unix_nano=FIRST_NANOSECOND + number * 1_000_000 + 1_500_000,
        )
        values = {"http.request.method": "GET", "url.path": f"/datasets/{number}", "http.route": "/datasets/{id}"}
        for key, value in {**values, **attributes}.items():
            span.attributes.add(key=key).value.string_value = value
        span.attributes.add(key="http.response.status_code").value.int_value = 200
    return request


def body_of(numbers: range | list[int], **attributes: Any) -> bytes:
    """The same in protobuf."""
    return request_of(numbers, **attributes).SerializeToString()


@dataclass
class Client:
    """Sends batches until it is stopped, each again until it is acknowledged, as a Collector would.

    Attributes:
        acknowledged: Numbers of the spans that were answered 200.
        statuses: Everything that was answered.
    """

    receiver: Receiving
    first: int
    batch: int = 20
    acknowledged: list[int] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)
    failure: Exception | None = None

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._send_all)

    def __enter__(self) -> "Client":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_for(self, more: int) -> None:
        """Wait until so many more are acknowledged."""
        enough = len(self.acknowledged) + more
        wait_for(lambda: len(self.acknowledged) > enough)

    def stop(self) -> None:
        """Give up what is not acknowledged."""
        self._stopping.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        assert self.failure is None, self.failure

    def _send_all(self) -> None:
        number = self.first
        try:
            with contextlib.closing(self.receiver.connect()) as connection:
                while not self._stopping.is_set():
                    numbers = list(range(number, number + self.batch))
                    if self._sent(connection, body_of(numbers)):
                        self.acknowledged += numbers
                    number += self.batch
        except Exception as error:
            self.failure = error

    def _sent(self, connection: http.client.HTTPConnection, body: bytes) -> bool:
        while not self._stopping.is_set():
            try:
                answer = ask(connection, "POST", "/v1/traces", body, Content_Type=PROTOBUF)
            except (OSError, http.client.HTTPException):
                connection.close()  # the next request opens it again
                self._stopping.wait(0.02)
                continue
            self.statuses.add(answer.status)
            if answer.status == 200:
                return True
            assert answer.status == 503, answer
            assert int(answer.headers["retry-after"]) > 0
            self._stopping.wait(0.05)
        return False
