"""From finished segments to rows, and how long the store is held for it.

Targets: at least 100,000 rows a second on two cores, end to end; at 1,000 requests a second the store is held at most
2 % of the time.
"""

import tempfile
import time
from pathlib import Path
from typing import Final

import duckdb

from benchmarks import records, rows
from benchmarks.measuring import (
    Options,
    Sample,
    at_least,
    at_most,
    conditions,
    interleaved,
    progress,
    publish,
    sample,
    table,
)
from benchmarks.store import timed_hold
from otel_usage.exporter import loading
from otel_usage.exporter.committer import Committer, drain
from otel_usage.exporter.encoding import encode_line
from otel_usage.exporter.journal import Journal
from otel_usage.exporter.paths import StorePaths
from otel_usage.exporter.record import UsageRecord

_COUNT: Final = 150_000
_ROUNDS: Final = 7
_A_SECOND: Final = 1000
_SECONDS: Final = 60
_INTERVAL: Final = 5.0
_OURS, _PEER = "a drain: rows compared, inserted, accounted for", "DuckDB alone: `INSERT ... FROM read_json(...)`"


def run(options: Options) -> None:
    """Print rows a second beside DuckDB alone, then the share of time in which the store is held."""
    count = _COUNT // 10 if options.quick else _COUNT
    started = conditions("commit")
    made = records.make(count)
    measures = {_OURS: _drain, _PEER: _read_json}
    results = interleaved(list(measures), 1 if options.quick else _ROUNDS, lambda way: measures[way](made))
    wall = {way: sample(count / seconds for seconds, _ in values) for way, values in results.items()}
    processor = {way: sample(count / seconds for _, seconds in values) for way, values in results.items()}
    text = _table(wall, processor)
    publish("commit", f"{started}\n{text}", update=options.update_docs)
    publish("lock", f"{conditions('commit')}\n{_lock(5 if options.quick else _SECONDS)}", update=options.update_docs)


def _table(wall: dict[str, Sample], processor: dict[str, Sample]) -> str:
    lines = [[way, wall[way].text(), processor[way].text()] for way in wall]
    text = table(["way", "rows a second", "rows a processor second"], lines)
    return text + "\n" + at_least("a drain", wall[_OURS].median, 100_000, "rows a second")


def _write(paths: StorePaths, made: list[UsageRecord]) -> None:
    journal = Journal(paths, max_bytes=1 << 40)
    for record in made:
        journal.append(encode_line(record, journal.count) or b"")
    journal.close()


def _drain(made: list[UsageRecord]) -> tuple[float, float]:
    """Wall and processor seconds."""
    with tempfile.TemporaryDirectory() as folder:
        paths = rows.store_paths(Path(folder))
        _write(paths, made)
        wall, cpu = time.perf_counter(), time.process_time()
        inserted = drain(paths).inserted
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if inserted != len(made):
        raise RuntimeError(f"{inserted} of {len(made)} rows were inserted")
    return wall, cpu


def _read_json(made: list[UsageRecord]) -> tuple[float, float]:
    """The same lines by DuckDB alone, with two threads: nothing compared, nothing counted."""
    with tempfile.TemporaryDirectory() as folder:
        paths = rows.store_paths(Path(folder))
        _write(paths, made)
        files = [str(path) for path in paths.segments()]
        wall, cpu = time.perf_counter(), time.process_time()
        with duckdb.connect(str(paths.database), config={"threads": 2}) as connection:
            connection.execute(loading._create_sql().replace("TEMP TABLE batch", "TABLE batch"))
            connection.execute(loading._load_sql(), {"files": files})
        return time.perf_counter() - wall, time.process_time() - cpu


def _lock(seconds: int) -> str:
    """A process that keeps 1,000 records a second, and its committer, on a store of a million rows."""
    with tempfile.TemporaryDirectory() as folder, timed_hold() as holds:
        paths = rows.store_paths(Path(folder))
        rows.fill(paths, 0, 1_000_000, of=1_000_000, until=time.time() - 3600)
        journal = Journal(paths, max_bytes=1 << 40)
        committer = Committer(journal, paths, interval_seconds=_INTERVAL, token_key=lambda: None)
        committer.start()
        made = records.make(seconds * _A_SECOND)
        start = time.perf_counter()
        for number, record in enumerate(made):
            if number % 100 == 0:
                progress(f"{number // _A_SECOND} of {seconds} s")
                time.sleep(max(0.0, start + number / _A_SECOND - time.perf_counter()))
            journal.append(encode_line(record, journal.count) or b"")
        committer.stop(30)
        took = time.perf_counter() - start
        progress("")
    share = sum(holds) / took * 100
    text = table(
        ["1,000 records a second, an interval of 5 s", ""],
        [
            ["seconds", f"{took:,.1f}"],
            ["times the store was taken", f"{len(holds)}"],
            ["longest, ms", f"{max(holds) * 1e3:,.0f}"],
        ],
    )
    return text + "\n" + at_most("share of the time in which the store is held", share, 2, "%")
