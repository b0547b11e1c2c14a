"""The receiver beside the Collector's own: spans a second of processor time, latency, memory.

Targets: at least 50,000 spans a second of processor time, sent as protobuf in batches of 512.
"""

import contextlib
import gzip
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import spans
from benchmarks.measuring import Options, at_least, conditions, interleaved, publish, sample, table
from otel_usage.exporter.leadership import Leadership
from otel_usage.exporter.paths import StorePaths

_SPANS: Final = 60_000
_ROUNDS: Final = 3
_CONNECTIONS: Final = 4
_SCRIPT: Final = Path(__file__).parents[1] / "scripts" / "install-collector"
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_COLLECTOR: Final = """
receivers: {{otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{port}"}}}}}}}}
exporters: {{file: {{path: "{folder}/spans", format: {format}}}}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{traces: {{receivers: [otlp], exporters: [file]}}}}
"""


@dataclass(frozen=True)
class Way:
    """What is measured: who receives, what is sent, and whether it is committed too."""

    receiver: str
    sender: str
    format: str
    batch: int
    committed: bool = False
    compression: str = "none"

    def __str__(self) -> str:
        return f"{self.receiver}, {self.sender}, {self.format}, {self.batch}"


@dataclass(frozen=True)
class Round:
    """One round of one way."""

    spans_a_second: float
    latency_ms: float
    slow_latency_ms: float
    memory_mib: float


_OURS: Final = "otel-usage collect"
_PEER: Final = "Collector, file exporter"
_FOREIGN, _BEHIND_AGENT, _APPLICATION = spans.SENDERS

WAYS: Final = (
    *(Way(_OURS, sender, "protobuf", 512) for sender in spans.SENDERS),
    Way(_OURS, _BEHIND_AGENT, "protobuf", 512, compression="gzip"),
    Way(_OURS, _BEHIND_AGENT, "protobuf", 512, committed=True),
    Way(_OURS, _BEHIND_AGENT, "protobuf", 10),
    Way(_OURS, _BEHIND_AGENT, "json", 512),
    Way(_OURS, _BEHIND_AGENT, "json", 10),
    *(Way(_PEER, _BEHIND_AGENT, kind, size) for kind in ("protobuf", "json") for size in (512, 10)),
)


def run(options: Options) -> None:
    """Print what each way costs, and whether the target is met."""
    started = conditions("collect")
    count = _SPANS // 10 if options.quick else _SPANS
    ways = [way for way in WAYS if way.receiver == _OURS or _collector() is not None]
    results = interleaved(ways, 1 if options.quick else _ROUNDS, lambda way: _measure(way, count))
    lines = [_line(way, results[way]) for way in ways]
    columns = [
        "receiver, what it is sent",
        "spans a batch",
        "spans a second of processor time",
        "latency of a batch, ms",
        "99 of 100 below, ms",
        "memory, MiB",
    ]
    target = _median(results[Way(_OURS, _BEHIND_AGENT, "protobuf", 512)])
    text = f"{started}\n{table(columns, lines)}\n{at_least('protobuf, 512 a batch', target, 50_000, 'spans a second')}"
    publish("collect", text, update=options.update_docs)


def _median(rounds: Sequence[Round]) -> float:
    return sample(each.spans_a_second for each in rounds).median


def _line(way: Way, rounds: Sequence[Round]) -> list[str]:
    compressed = f", {way.compression}" if way.compression != "none" else ""
    kept = ", committed" if way.committed else ""
    return [
        f"{way.receiver}: {way.sender}, {way.format}{compressed}{kept}",
        str(way.batch),
        sample(each.spans_a_second for each in rounds).text(),
        sample(each.latency_ms for each in rounds).text(1),
        sample(each.slow_latency_ms for each in rounds).text(1),
        sample(each.memory_mib for each in rounds).text(),
    ]


def _collector() -> str | None:
    done = subprocess.run([_SCRIPT], stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.strip() or None if not done.returncode else None


def _measure(way: Way, count: int) -> Round:
    bodies = [
        spans.to_json(request) if way.format == "json" else request.SerializeToString()
        for request in spans.batches(way.sender, count, way.batch)
    ]
    if way.compression == "gzip":
        bodies = [gzip.compress(body, 6) for body in bodies]
    with (
        tempfile.TemporaryDirectory() as folder,
        _nobody_commits(way, Path(folder)),
        _running(way, Path(folder)) as (
            process,
            port,
        ),
    ):
        _send(way, port, bodies[: max(1, len(bodies) // 10)])  # what is done once is done
        before = _cpu_seconds(process.pid)
        latencies = _send(way, port, bodies)
        if way.committed:
            _sync(Path(folder))
        used = _cpu_seconds(process.pid) - before
        memory = _memory_mib(process.pid)
    latencies.sort()
    return Round(
        count / used, latencies[len(latencies) // 2] * 1e3, latencies[int(len(latencies) * 0.99)] * 1e3, memory
    )


@contextlib.contextmanager
def _nobody_commits(way: Way, folder: Path) -> Iterator[None]:
    """Lead the store from here, and do nothing, where only what is acknowledged is to be measured."""
    leadership = Leadership(StorePaths.of(folder / "usage.duckdb"))
    if way.receiver == _OURS and not way.committed:
        leadership.try_acquire()
    yield
    leadership.release()


@contextlib.contextmanager
def _running(way: Way, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    environ = dict(os.environ)
    if way.receiver == _OURS:
        environ |= {
            "OTEL_USAGE_DATABASE": str(folder / "usage.duckdb"),
            "OTEL_USAGE_TOKEN_KEY": "k" * 40,
            "OTEL_USAGE_COMMIT_INTERVAL": "1",
        }
        command = [sys.executable, "-m", "otel_usage.cli.main", "collect", "--listen", f"127.0.0.1:{port}"]
    else:
        configuration = folder / "collector.yaml"
        configuration.write_text(
            _COLLECTOR.format(port=port, folder=folder, format="proto" if way.format == "protobuf" else "json")
        )
        command = [str(_collector()), "--config", str(configuration)]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, env=environ, stdout=log, stderr=log) as process:
        try:
            _wait_for(port, process, folder / "log")
            yield process, port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The receiver does not listen: {log.read_text()[-2000:]}") from None
            time.sleep(0.05)


def _send(way: Way, port: int, bodies: Sequence[bytes]) -> list[float]:
    """Send them over a few connections, as a Collector does; returns the seconds that each took to be answered."""
    headers = {"Content-Type": "application/json" if way.format == "json" else "application/x-protobuf"}
    if way.compression != "none":
        headers["Content-Encoding"] = way.compression
    latencies: list[float] = []
    failures: list[str] = []

    def send(mine: Sequence[bytes]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for body in mine:
            began = time.perf_counter()
            connection.request("POST", "/v1/traces", body, headers)
            answer = connection.getresponse()
            content = answer.read()
            latencies.append(time.perf_counter() - began)
            if answer.status != 200:
                failures.append(f"{answer.status}: {content[:200]!r}")
        connection.close()

    threads = [threading.Thread(target=send, args=[bodies[n::_CONNECTIONS]]) for n in range(_CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(f"{len(failures)} of {len(bodies)} batches were refused: {failures[0]}")
    return latencies


def _sync(folder: Path) -> None:
    environ = {**os.environ, "OTEL_USAGE_DATABASE": str(folder / "usage.duckdb")}
    subprocess.run([sys.executable, "-m", "otel_usage.cli.main", "sync"], env=environ, check=True, capture_output=True)


def _cpu_seconds(pid: int) -> float:
    """Processor time of a process and of those that it has started."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS + sum(map(_cpu_seconds, _children(pid)))


def _memory_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024 + sum(map(_memory_mib, _children(pid)))


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
