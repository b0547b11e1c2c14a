"""From finished segments to rows. Target: at least 100,000 rows a second on two cores."""

import statistics
import tempfile
import time
from pathlib import Path

from benchmarks import records
from otel_usage.exporter.committer import drain
from otel_usage.exporter.encoding import encode_line
from otel_usage.exporter.journal import Journal
from otel_usage.exporter.paths import StorePaths

COUNT = 150_000
SMALL = 512
ROUNDS = 9


def run() -> None:
    """Print rows a second of a large drain, then the median of small commits into what it left."""
    made = records.make(COUNT)
    with tempfile.TemporaryDirectory() as folder:
        paths = StorePaths.of(Path(folder) / "usage.duckdb")
        wall, cpu = _drain(paths, made)
        print(f"{COUNT:,} rows: {COUNT / wall:,.0f} a second, {COUNT / cpu:,.0f} a processor second")
        small = [_drain(paths, _again(made[:SMALL], number))[0] * 1e3 for number in range(ROUNDS)]
        print(f"{SMALL} rows into {COUNT:,}: median {statistics.median(small):.0f} ms, {min(small):.0f} at best")


def _drain(paths: StorePaths, made: list[records.UsageRecord]) -> tuple[float, float]:
    journal = Journal(paths, max_bytes=1 << 40)
    for record in made:
        journal.append(encode_line(record, journal.count) or b"")
    journal.close()
    wall, cpu = time.perf_counter(), time.process_time()
    inserted = drain(paths).inserted
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if inserted != len(made):
        raise RuntimeError(f"{inserted} of {len(made)} rows were inserted")
    return wall, cpu


def _again(made: list[records.UsageRecord], number: int) -> list[records.UsageRecord]:
    """The same records as requests of their own."""
    for record in made:
        record.duration_ns += 1 + number
    return made
