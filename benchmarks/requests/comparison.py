"""Runs all ways in turns, and lays their results beside each other and beside the targets."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb

from benchmarks import environment, measuring
from benchmarks.measuring import Options, Sample, sample
from benchmarks.requests import instructions, sinks, through_server, ways
from benchmarks.requests.through_server import Plan, Round

_TARGET_MICROSECONDS: Final = 15.0
_NAMES: Final = {"fastapi": "FastAPI", "flask": "Flask", "django": "Django"}
_VERSIONS: Final = (
    *("fastapi", "starlette", "flask", "django", "uvicorn", "uvloop", "httptools", "gunicorn"),
    *("opentelemetry-sdk", "opentelemetry-instrumentation", "opentelemetry-exporter-otlp-proto-http"),
    *("api-analytics", "apitally", "drf-user-activity-tracker-mongodb"),
)

Way = tuple[str, str]


@dataclass(frozen=True)
class _Size:
    """How much is measured."""

    rounds: int
    warm_up: int
    count: int
    server_rounds: int
    plan: Plan


_FULL: Final = _Size(5, 300, 1500, 3, Plan(warm_up=200, alone=300, together=1200))
_QUICK: Final = _Size(1, 100, 300, 1, Plan(warm_up=50, alone=100, together=200))


@dataclass(frozen=True)
class _InProcess:
    """Microseconds of processor time for each request, and the share of the requests that was recorded."""

    thread: float
    process: float
    recorded: float


class _Failed(str):
    """Why a way could not be measured."""


def run(options: Options) -> None:
    """Measure, print, and keep the tables if asked to."""
    frameworks = [options.framework] if options.framework else list(ways.WAYS)
    every = [(framework, way) for framework in frameworks for way in ways.WAYS[framework]]
    size = _QUICK if options.quick else _FULL
    versions = f"{environment.versions(*_VERSIONS)}.\n"
    head = f"{measuring.conditions('request')}\n{versions}\n"
    with tempfile.TemporaryDirectory() as folder, sinks.running(Path(folder)) as running:
        if options.instructions:
            _count_instructions(every, running, options)
            return
        inside = measuring.interleaved(every, size.rounds, _tried(lambda way: _in_process(way, running, size)))
        measuring.publish("request-in-process", head + _in_process_text(inside), update=options.update_docs)
        served = measuring.interleaved(
            every, size.server_rounds, _tried(lambda way: _through_server(way, running, size.plan))
        )
        measuring.publish("request-through-server", head + _through_server_text(served), update=options.update_docs)


def _tried(measure: Callable[[Way], Any]) -> Callable[[Way], Any]:
    """One way that cannot run is a line of the table, and the others go on."""

    def tried(way: Way) -> Any:
        try:
            return measure(way)
        except RuntimeError as error:
            return _Failed(str(error).strip().splitlines()[-1])

    return tried


def _in_process(way: Way, running: sinks.Sinks, size: _Size) -> _InProcess:
    with tempfile.TemporaryDirectory() as folder:
        counts = (str(size.warm_up), str(size.count))
        printed = environment.run(
            "benchmarks.requests.in_process", *way, *counts, directory=Path(folder), **running.variables()
        )
        arrived = _arrived(way[1], running.take(), Path(folder))
        return _InProcess(recorded=arrived / (size.warm_up + size.count), **json.loads(printed))


def _arrived(way: str, sent: int, directory: Path) -> int:
    """How many requests are recorded, in the place that has the fewest."""
    if way not in (ways.OURS, ways.BOTH):
        return sent
    with duckdb.connect(str(directory / "usage.duckdb"), read_only=True) as connection:
        found = connection.execute("select count(*) from requests").fetchone()
    rows = int(found[0]) if found else 0
    return min(rows, sent) if way == ways.BOTH else rows


def _through_server(way: Way, running: sinks.Sinks, plan: Plan) -> Round:
    with tempfile.TemporaryDirectory() as folder:
        measured = through_server.measure(*way, plan, Path(folder), running.variables())
        running.take()
        return measured


def _count_instructions(every: list[Way], running: sinks.Sinks, options: Options) -> None:
    if not instructions.available():
        raise SystemExit("Instructions are counted by valgrind, which is not installed.")
    text = f"{measuring.conditions('request --instructions')}\n"
    counted: dict[Way, Any] = measuring.interleaved(every, 1, _tried(lambda way: _instructions(way, running)))
    for framework, of in _by_framework(counted):
        good = {way: results[0] for way, results in of.items() if not isinstance(results[0], _Failed)}
        base = good.get(ways.BATCH, float("nan"))
        rows = [[way, f"{n:.3f}", f"{n - base:+.3f}", f"{n / base:.2f}"] for way, n in good.items()]
        columns = (_NAMES[framework], "million instructions", "over OpenTelemetry + batch", "ratio")
        text += f"{measuring.table(columns, rows)}{_failures(of)}\n"
    measuring.publish("request-instructions", text, update=options.update_docs)


def _instructions(way: Way, running: sinks.Sinks) -> float:
    with tempfile.TemporaryDirectory() as folder:
        counted = instructions.measure(*way, Path(folder), running.variables())
        running.take()
        return counted


def _in_process_text(results: dict[Way, list[Any]]) -> str:
    text, targets = "", ""
    for framework, of in _by_framework(results):
        good = _measured(of)
        thread = {way: sample(one.thread for one in rounds) for way, rounds in good.items()}
        rows = [_in_process_row(way, rounds, thread) for way, rounds in good.items()]
        columns = (
            *(_NAMES[framework], "serving thread, µs", "ratio", "over OpenTelemetry + batch, µs"),
            *("whole process, µs", "recorded"),
        )
        text += f"{measuring.table(columns, rows)}{_failures(of)}\n"
        targets += _targets(framework, thread)
    return f"{text}Targets, of the serving thread:\n\n{targets}"


def _in_process_row(way: str, rounds: list[_InProcess], thread: dict[str, Sample]) -> list[str]:
    process = sample(one.process for one in rounds)
    records = way not in (ways.BARE, ways.EMPTY, ways.EMPTY_BASE)
    return [
        way,
        thread[way].text(),
        *_beside_batch(way, thread),
        process.text(),
        f"{min(one.recorded for one in rounds):.0%}" if records else "-",
    ]


def _beside_batch(way: str, samples: dict[str, Sample]) -> tuple[str, str]:
    """Ratio and difference to what everything is compared with."""
    base = samples.get(ways.BATCH)
    if base is None:
        return "-", "-"
    return f"{samples[way].median / base.median:.2f}", samples[way].over(base).text()


def _targets(framework: str, thread: dict[str, Sample]) -> str:
    name, text = _NAMES[framework], ""
    for way, what in ((ways.OURS, "alone"), (ways.BOTH, "beside a batch processor")):
        if way in thread and ways.BATCH in thread:
            more = thread[way].over(thread[ways.BATCH]).median
            label = f"{name}, otel-usage {what}, over OpenTelemetry + batch"
            text += measuring.at_most(label, more, _TARGET_MICROSECONDS, "µs")
    for peer in (ways.API_ANALYTICS, ways.APITALLY):
        if framework == "fastapi" and peer in thread and ways.OURS in thread:
            label = f"{name}, OpenTelemetry + otel-usage in total, no more than {peer}"
            text += measuring.at_most(label, thread[ways.OURS].median, round(thread[peer].median, 1), "µs")
    return text


def _through_server_text(results: dict[Way, list[Any]]) -> str:
    text = ""
    for framework, of in _by_framework(results):
        good = _measured(of)
        processor = {way: sample(one.processor for one in rounds) for way, rounds in good.items()}
        rows = [_through_server_row(way, rounds, processor) for way, rounds in good.items()]
        server = through_server.SERVERS[framework][0]
        columns = (
            *(f"{_NAMES[framework]}, {server}", "processor time of the worker, µs", "ratio"),
            *("over OpenTelemetry + batch, µs", "requests/s", "median, ms", "99 %, ms"),
        )
        text += f"{measuring.table(columns, rows)}{_failures(of)}\n"
    return text


def _through_server_row(way: str, rounds: list[Round], processor: dict[str, Sample]) -> list[str]:
    return [
        way,
        processor[way].text(),
        *_beside_batch(way, processor),
        sample(one.throughput for one in rounds).text(),
        sample(one.median for one in rounds).text(2),
        sample(one.slowest for one in rounds).text(2),
    ]


def _by_framework(results: dict[Way, list[Any]]) -> list[tuple[str, dict[str, list[Any]]]]:
    frameworks = dict.fromkeys(framework for framework, _ in results)
    return [
        (framework, {way: rounds for (of, way), rounds in results.items() if of == framework})
        for framework in frameworks
    ]


def _measured(of: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The ways that ran in every round."""
    return {way: rounds for way, rounds in of.items() if not any(isinstance(one, _Failed) for one in rounds)}


def _failures(of: dict[str, list[Any]]) -> str:
    lines = ""
    for way, rounds in of.items():
        failed = [one for one in rounds if isinstance(one, _Failed)]
        if failed:
            lines += f"\n{way} could not be measured ({len(failed)} of {len(rounds)} rounds failed): `{failed[0]}`\n"
    return lines
