"""Encoding a record and appending it to the journal. Target: at least 200,000 records a second."""

import tempfile
import time
from pathlib import Path

from benchmarks import records
from otel_usage.exporter.encoding import encode_line
from otel_usage.exporter.journal import Journal
from otel_usage.exporter.paths import StorePaths

COUNT = 50_000
ROUNDS = 5


def run() -> None:
    """Print microseconds a record, the best of several rounds."""
    made = records.make(COUNT)
    with tempfile.TemporaryDirectory() as folder:
        rounds = [_round(Path(folder) / f"{number}.duckdb", made) for number in range(ROUNDS)]
    encode, append = (min(times) for times in zip(*rounds, strict=True))
    print(f"encode {encode:.2f} us, append {append:.2f} us: {1e6 / (encode + append):,.0f} records a second")


def _round(database: Path, made: list[records.UsageRecord]) -> tuple[float, float]:
    journal = Journal(StorePaths.of(database), max_bytes=1 << 40)
    start = time.perf_counter()
    lines = [encode_line(record, journal.count) for record in made]
    encoded = time.perf_counter()
    for line in lines:
        journal.append(line or b"")
    appended = time.perf_counter()
    journal.close()
    return (encoded - start) / COUNT * 1e6, (appended - encoded) / COUNT * 1e6
