"""A store as it grows to 50 million rows: a commit into it, its size, reports from it.

Targets: 60 bytes a row; commits that take no longer in a large store; every report of the last 7 of 90 days below a
second at 10 million rows.
"""

import contextlib
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import duckdb

from benchmarks import records, rows
from benchmarks.measuring import Options, Sample, at_most, conditions, progress, publish, sample, table
from otel_usage.exporter import commit
from otel_usage.exporter.commit import commit_turn
from otel_usage.exporter.encoding import encode_line
from otel_usage.exporter.journal import Journal
from otel_usage.exporter.paths import StorePaths

_SIZES: Final = (0, 1_000_000, 10_000_000, 50_000_000)
_QUICK_SIZES: Final = (0, 100_000)
_BATCH: Final = 5000
_COMMITS: Final = 25
_REPORTS: Final = ("tokens", "users", "resources", "timeline")
_ROUNDS: Final = 5
_MEBIBYTE: Final = 1024 * 1024


def run(options: Options) -> None:
    """Let one store grow, and measure at each size."""
    sizes = _QUICK_SIZES if options.quick else _SIZES
    started = conditions("store")
    until = time.time()
    commits, reports = {}, {}
    with tempfile.TemporaryDirectory() as name:
        paths = rows.store_paths(Path(name))
        for smaller, size in zip((0, *sizes), sizes, strict=False):
            progress(f"{size:,} rows")
            if size:
                rows.fill(paths, smaller, size, of=sizes[-1], until=until)
                reports[size] = _reports(paths, size, until)
            commits[size] = _commits(paths)
        progress("")
    publish("commits-growth", f"{started}\n{_commit_table(commits)}", update=options.update_docs)
    publish("reports", f"{started}\n{_report_table(reports)}", update=options.update_docs)
    publish("size", f"{conditions('store')}\n{_sizes(sizes[1], until)}", update=options.update_docs)


def _commits(paths: StorePaths) -> tuple[Sample, Sample]:
    """Milliseconds of commits of 5,000 rows each, and those of them in which the store was held."""
    made = records.make(_BATCH)
    whole, held = [], []
    for number in range(_COMMITS):
        journal = Journal(paths, max_bytes=1 << 40)
        for record in made:
            record.start_time += 1 + number
            journal.append(encode_line(record, journal.count) or b"")
        journal.close()
        with timed_hold() as holds:
            start = time.perf_counter()
            inserted = commit_turn(paths).inserted
            whole.append((time.perf_counter() - start) * 1e3)
        if inserted != _BATCH:
            raise RuntimeError(f"{inserted} of {_BATCH} rows were inserted")
        held.append(sum(holds) * 1e3)
    return sample(whole), sample(held)


@contextlib.contextmanager
def timed_hold() -> Iterator[list[float]]:
    """Collect the seconds of each time that a commit holds the store."""
    real, holds = commit.attached, []

    @contextlib.contextmanager
    def attached(*arguments: Any, **named: Any) -> Iterator[None]:
        start = time.perf_counter()
        with real(*arguments, **named):
            yield
        holds.append(time.perf_counter() - start)

    commit.attached = attached
    try:
        yield holds
    finally:
        commit.attached = real


def _reports(paths: StorePaths, size: int, until: float) -> dict[str, Sample]:
    """Seconds of each report of the last 7 days of 90, of a process of its own, start included.

    The store is filled in the order of time, so its last row is as old as its size says: the days are the last of it.
    """
    with duckdb.connect(str(paths.database), read_only=True) as connection:
        first, last = connection.execute("SELECT min(start_time), max(start_time) FROM requests").fetchone()
    since = (last - (last - first) * 7 / 90).isoformat()
    found: dict[str, list[float]] = {name: [] for name in _REPORTS}
    for number in range(_ROUNDS):
        for name in _REPORTS:
            progress(f"{size:,} rows, round {number + 1} of {_ROUNDS}: {name}")
            command = ["report", name, "--database", str(paths.database), "--since", since, "--format", "csv"]
            start = time.perf_counter()
            subprocess.run([Path(sys.executable).parent / "otel-usage", *command], check=True, capture_output=True)
            found[name].append(time.perf_counter() - start)
    return {name: sample(seconds) for name, seconds in found.items()}


def _commit_table(commits: dict[int, tuple[Sample, Sample]]) -> str:
    first, last = min(commits), max(commits)
    lines = [[f"{size:,}", whole.text(), held.text()] for size, (whole, held) in commits.items()]
    ratio = commits[last][0].median / commits[first][0].median
    columns = ["rows in the store", f"commit of {_BATCH:,} rows, ms", "of it the store is held, ms"]
    return table(columns, lines) + "\n" + at_most(f"a commit into {last:,} rows, of one into none", ratio, 1.2, "times")


def _report_table(reports: dict[int, dict[str, Sample]]) -> str:
    lines = [[f"{size:,}", *(seconds.text(2) for seconds in each.values())] for size, each in reports.items()]
    columns = ["rows in the store", *(f"`{name}`, s" for name in _REPORTS)]
    judged = min(reports, key=lambda size: abs(size - 10_000_000))
    slowest = max(seconds.median for seconds in reports[judged].values())
    return table(columns, lines) + "\n" + at_most(f"the slowest report at {judged:,} rows", slowest, 1, "s")


def _sizes(count: int, until: float) -> str:
    """Bytes a row, as a leader leaves the store, as it is when written at once, and elsewhere."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = rows.store_paths(folder)
        progress("size: DuckDB, Parquet")
        rows.fill(paths, 0, count, of=count, until=until)
        with duckdb.connect(str(paths.database), read_only=True) as connection:
            parquet = folder / "usage.parquet"
            connection.execute(f"COPY requests TO '{parquet}' (FORMAT parquet, COMPRESSION zstd)")
            progress("size: SQLite")
            sqlite = _to_sqlite(connection, folder / "usage.sqlite")
        progress("size: commits of 5,000 rows")
        committed = _committed_in_batches(folder / "committed", min(count, 1_000_000), until)
        found = {
            "this store, written at once": paths.database.stat().st_size / count,
            f"this store after {min(count, 1_000_000) // _BATCH} commits of {_BATCH:,} rows": committed,
            "Parquet, zstd": parquet.stat().st_size / count,
            "SQLite": sqlite / count,
        }
        progress("")
    lines = [[name, f"{size:,.1f}"] for name, size in found.items()]
    text = table([f"{count:,} rows", "bytes a row"], lines)
    return text + "\n" + at_most("this store", next(iter(found.values())), 60, "bytes a row")


def _to_sqlite(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    """Size of the same rows in SQLite, in a table without an index."""
    cursor = connection.execute(
        "SELECT * REPLACE (epoch_us(start_time) AS start_time,"
        " from_hex(replace(trace_id::VARCHAR, '-', '')) AS trace_id, (span_id >> 1)::BIGINT AS span_id,"
        " (parent_span_id >> 1)::BIGINT AS parent_span_id, to_json(attributes)::VARCHAR AS attributes) FROM requests"
    )
    names = [column[0] for column in cursor.description or ()]
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute(f"CREATE TABLE requests ({', '.join(names)})")
        while batch := cursor.fetchmany(20_000):
            other.executemany(f"INSERT INTO requests VALUES ({', '.join('?' * len(names))})", batch)
        other.commit()
    return path.stat().st_size


def _committed_in_batches(folder: Path, count: int, until: float) -> float:
    """Bytes a row of a store that got its rows as a leader commits them."""
    folder.mkdir()
    paths = rows.store_paths(folder)
    for start in range(0, count, _BATCH):
        rows.fill(paths, start, start + _BATCH, of=count, until=until)
    return paths.database.stat().st_size / count
