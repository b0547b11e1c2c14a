"""Encoding a record and appending it to the journal. Target: at least 200,000 records a second."""

import json
import logging
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec

from benchmarks import records
from benchmarks.measuring import Options, Sample, at_least, conditions, interleaved, publish, sample, table
from otel_usage.exporter.encoding import encode_line
from otel_usage.exporter.journal import Journal
from otel_usage.exporter.paths import StorePaths
from otel_usage.exporter.record import UsageRecord

_COUNT: Final = 30_000
_ROUNDS: Final = 7


def run(options: Options) -> None:
    """Print microseconds a record, beside what an application might do by itself."""
    count = _COUNT // 10 if options.quick else _COUNT
    started = conditions("journal")
    made = records.make(count)
    ways = {"journal": _journal, "`logging.FileHandler`, JSON": _logging, "SQLite, WAL, a commit each": _sqlite}

    def measure(way: str) -> float:
        with tempfile.TemporaryDirectory() as folder:
            start = time.process_time()
            ways[way](Path(folder), made)
            return (time.process_time() - start) / count * 1e6

    results = interleaved(list(ways), 1 if options.quick else _ROUNDS, measure)
    found = {way: sample(values) for way, values in results.items()}
    publish("journal", f"{started}\n{_table(found)}", update=options.update_docs)


def _table(found: dict[str, Sample]) -> str:
    ours = found["journal"].median
    lines = [
        [way, each.text(1), f"{1e6 / each.median:,.0f}", f"{each.median / ours:.1f}"] for way, each in found.items()
    ]
    columns = ["way", "us of processor time a record", "records a second", "of the journal"]
    return table(columns, lines) + "\n" + at_least("the journal", 1e6 / ours, 200_000, "records a second")


def _journal(folder: Path, made: list[UsageRecord]) -> None:
    journal = Journal(StorePaths.of(folder / "usage.duckdb"), max_bytes=1 << 40)
    for record in made:
        journal.append(encode_line(record, journal.count) or b"")
    journal.close()


def _logging(folder: Path, made: list[UsageRecord]) -> None:
    """What an access log of JSON lines costs: a formatted line, a handler that flushes."""
    logger = logging.Logger("access")
    handler = logging.FileHandler(folder / "access.log")
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    for record in made:
        logger.info(json.dumps(msgspec.structs.asdict(record)))
    handler.close()


def _sqlite(folder: Path, made: list[UsageRecord]) -> None:
    """What a middleware with a database of its own costs at best: no server, no waiting for the disk."""
    connection = sqlite3.connect(folder / "usage.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = OFF")
    names = [name for name in UsageRecord.__struct_fields__ if name != "attributes"]
    connection.execute(f"CREATE TABLE requests ({', '.join(names)})")
    insert = f"INSERT INTO requests VALUES ({', '.join('?' * len(names))})"
    for record in made:
        values = [getattr(record, name) for name in names]
        values[3] >>= 1  # SQLite's integers have a sign
        connection.execute(insert, values)
    connection.close()
