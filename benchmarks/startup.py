"""What recording adds to the start of a process, and to the memory of a worker that leads or does not.

Target: at most 5 MiB over OpenTelemetry for a worker that does not lead.
"""

import contextlib
import json
import math
import re
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, cast

from benchmarks import environment, measuring
from benchmarks.measuring import Options, Sample, sample
from benchmarks.requests import sinks, ways

_FRAMEWORKS: Final = {"flask": "Flask", "fastapi": "FastAPI"}
_REQUESTS: Final = 1000
_TARGET_MIB: Final = 5.0
_IMPORTED: Final = re.compile(r"import time:\s*(\d+) \|\s*\d+ \|\s*(\S+)")
_WORKER: Final = "benchmarks.requests.worker"


@dataclass(frozen=True)
class _Start:
    """A start: milliseconds on the clock and of processor time, and of every module that is imported."""

    wall: float
    processor: float
    modules: dict[str, float]


@dataclass(frozen=True)
class _Seat:
    """Which of two workers of one way is looked at: the first one leads."""

    way: str
    is_first: bool = False

    def __str__(self) -> str:
        if self.way not in (ways.OURS, ways.BOTH):
            return self.way
        return f"{self.way}, {'the leader' if self.is_first else 'not the leader'}"


_NOT_LEADING: Final = _Seat(ways.OURS)
_SEATS: Final = (
    *(_Seat(ways.BARE), _Seat(ways.ALONE), _Seat(ways.BATCH), _NOT_LEADING, _Seat(ways.OURS, is_first=True)),
    *(_Seat(ways.BOTH), _Seat(ways.API_ANALYTICS), _Seat(ways.APITALLY)),
)


def run(options: Options) -> None:
    """Measure, print, and keep the tables if asked to."""
    head = f"{measuring.conditions('startup')}\n"
    with tempfile.TemporaryDirectory() as folder, sinks.running(Path(folder)) as running:
        variables = environment.variables(**running.variables())
        for name, text_of, rounds in (("start", _start_text, 7), ("memory", _memory_text, 3)):
            of = [framework for framework in _FRAMEWORKS if options.framework in (None, framework)]
            texts = [text_of(framework, variables, 1 if options.quick else rounds) for framework in of]
            measuring.publish(name, head + "\n".join(texts), update=options.update_docs)


def _start_text(framework: str, variables: dict[str, str], rounds: int) -> str:
    """How long a process takes until its application is ready to serve."""
    compared = (ways.BARE, ways.ALONE, ways.BATCH, ways.OURS, ways.API_ANALYTICS, ways.APITALLY)
    starts = measuring.interleaved(compared, rounds, lambda way: _start(framework, way, variables))
    wall = {way: sample(start.wall for start in starts[way]) for way in compared}
    processor = {way: sample(start.processor for start in starts[way]) for way in compared}
    rows = [
        [
            way,
            wall[way].text(),
            processor[way].text(),
            processor[way].over(processor[ways.ALONE]).text(),
            f"{len(starts[way][0].modules):,}",
        ]
        for way in compared
    ]
    columns = (
        *(_FRAMEWORKS[framework], "start to ready, ms", "processor time, ms"),
        *("processor time over OpenTelemetry, ms", "modules"),
    )
    return f"{measuring.table(columns, rows)}\n{_came_with_us(starts[ways.ALONE], starts[ways.OURS])}"


def _start(framework: str, way: str, variables: dict[str, str]) -> _Start:
    """Start a worker, and another one with every import timed, which takes longer."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        with _worker(framework, way, 0, Path(folder), variables) as (_, ready):
            wall = time.perf_counter() - begun
        command = [environment.programs() / "python", "-X", "importtime", "-m", _WORKER, framework, way, "0"]
        done = subprocess.run(
            command, cwd=folder, env=variables, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
    modules = {module: int(microseconds) / 1e3 for microseconds, module in _IMPORTED.findall(done.stderr)}
    return _Start(wall * 1e3, ready["processor"] * 1e3, modules)


def _came_with_us(base: list[_Start], ours: list[_Start]) -> str:
    """What is imported only with us, by package, and what that took where nothing was in its way."""
    known = base[0].modules
    quickest = {
        module: min(start.modules.get(module, math.inf) for start in ours) for module in ours[0].modules.keys() - known
    }
    packages: defaultdict[str, float] = defaultdict(float)
    for module, milliseconds in quickest.items():
        packages[module.partition(".")[0]] += milliseconds
    slowest = sorted(packages, key=packages.__getitem__, reverse=True)[:4]
    named = ", ".join(f"`{name}` {packages[name]:.1f} ms" for name in slowest)
    return f"otel-usage imports {len(quickest)} modules more than OpenTelemetry: {named}, each module timed alone.\n"


def _memory_text(framework: str, variables: dict[str, str], rounds: int) -> str:
    """MiB of a worker after its requests, while another one of its kind runs beside it."""
    results = measuring.interleaved(_SEATS, rounds, lambda seat: _memory(framework, seat, variables))
    kinds = ("Uss", "Pss", "Rss")
    samples = {kind: {seat: sample(one[kind] for one in results[seat]) for seat in _SEATS} for kind in kinds}
    base = _Seat(ways.ALONE)
    rows = [
        [str(seat), *(cell for kind in kinds for cell in _beside(samples[kind][seat], samples[kind][base]))]
        for seat in _SEATS
    ]
    over = "over OpenTelemetry"
    columns = (_FRAMEWORKS[framework], "USS, MiB", over, "PSS, MiB", over, "RSS, MiB", over)
    added = samples["Uss"][_NOT_LEADING].over(samples["Uss"][base]).median
    label = f"{_FRAMEWORKS[framework]}, memory that a worker that does not lead has for itself, over OpenTelemetry"
    return f"{measuring.table(columns, rows)}\n{measuring.at_most(label, added, _TARGET_MIB, 'MiB')}"


def _beside(measured: Sample, base: Sample) -> tuple[str, str]:
    return measured.text(1), f"{measured.over(base).median:+.1f}"


def _memory(framework: str, seat: _Seat, variables: dict[str, str]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        two = [(framework, seat.way, _REQUESTS, Path(folder), variables)] * 2
        with _worker(*two[0]) as (first, _), _worker(*two[1]) as (second, _):
            return _ask(first if seat.is_first else second)


@contextlib.contextmanager
def _worker(
    framework: str, way: str, count: int, directory: Path, variables: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    """A worker that is ready, and what it said."""
    command = [environment.programs() / "python", "-m", _WORKER, framework, way, str(count)]
    with (directory / "worker.log").open("a") as log:
        process = subprocess.Popen(
            command, cwd=directory, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        yield process, _answer(process)
    finally:
        process.kill()
        process.communicate()


def _ask(process: subprocess.Popen[str]) -> dict[str, float]:
    asking = cast("IO[str]", process.stdin)
    asking.write("\n")
    asking.flush()
    memory: dict[str, float] = _answer(process)
    return memory


def _answer(process: subprocess.Popen[str]) -> Any:
    return json.loads(cast("IO[str]", process.stdout).readline())
