"""One round of one way through a real server with one worker: gunicorn's sync worker, or uvicorn."""

import contextlib
import os
import signal
import socket
import statistics
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import environment
from benchmarks.requests import traffic
from benchmarks.requests.client import Client, wait_until_listening

_APPLICATION: Final = "benchmarks.requests.applications.served:application"
_UVICORN: Final = ("uvicorn", "--no-access-log", "--log-level", "warning", "--port", "{port}", _APPLICATION)
_GUNICORN: Final = ("gunicorn", "--log-level", "warning", "--workers", "1", "--bind", "127.0.0.1:{port}", _APPLICATION)
SERVERS: Final = {"fastapi": _UVICORN, "flask": _GUNICORN, "django": _GUNICORN}
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Round:
    """What the client and /proc saw.

    Attributes:
        throughput: Requests a second while `at_once` are always under way.
        processor: Microseconds of processor time of the worker process for each request, sent and committed.
        median, slowest: Latency of one request at a time in milliseconds: median and 99th percentile.
    """

    throughput: float
    processor: float
    median: float
    slowest: float


@dataclass(frozen=True)
class Plan:
    """How many requests are made.

    Attributes:
        warm_up: Before anything is measured.
        alone: One at a time, for the latency.
        together: `at_once` at a time, for the throughput.
    """

    warm_up: int
    alone: int
    together: int
    at_once: int = 4


def measure(framework: str, way: str, plan: Plan, directory: Path, variables: dict[str, str]) -> Round:
    """Start the server, drive it as planned and stop it."""
    port = _free_port()
    with _serving(framework, way, port, directory, variables) as master:
        client = Client(port, traffic.visits(way), keep_alive=framework == "fastapi")
        with contextlib.closing(client):
            client.load(plan.warm_up, plan.at_once)
            client.get("/settle")
            worker = _worker_of(master)
            before = _processor_seconds(worker)
            alone = client.load(plan.alone, 1)
            together = client.load(plan.together, plan.at_once)
            client.get("/settle")
            used = _processor_seconds(worker) - before
    return Round(
        throughput=plan.together / together.seconds,
        processor=used / (plan.alone + plan.together) * 1e6,
        median=statistics.median(alone.latencies) * 1e3,
        slowest=statistics.quantiles(alone.latencies, n=100)[-1] * 1e3,
    )


@contextlib.contextmanager
def _serving(framework: str, way: str, port: int, directory: Path, variables: dict[str, str]) -> Iterator[int]:
    command = [part.replace("{port}", str(port)) for part in SERVERS[framework]]
    command[0] = str(environment.programs() / command[0])
    named = {"BENCHMARK_FRAMEWORK": framework, "BENCHMARK_WAY": way}
    log = directory / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment.variables(**variables, **named),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_until_listening(port)
        yield process.pid
    except (OSError, RuntimeError) as error:
        raise RuntimeError(f"{framework}, {way}: {error}\n{log.read_text()[-2000:]}") from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def _worker_of(master: int) -> int:
    """The process that answers: the only child of gunicorn's, or uvicorn itself."""
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return int(children[0]) if children else master


def _processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    user, system = fields[11], fields[12]
    return (int(user) + int(system)) / _TICKS


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
