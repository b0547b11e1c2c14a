"""What the exporter's tests share: records, stores, processes of their own, waiting for a condition."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from otel_usage import settings
from otel_usage.exporter.encoding import encode_line
from otel_usage.exporter.paths import StorePaths
from otel_usage.exporter.record import UsageRecord
from otel_usage.settings import Settings

FIRST_MICROSECOND = 1_790_000_000_000_000


def record(number: int, **fields: Any) -> UsageRecord:
    """A record whose key is its number."""
    return UsageRecord(
        **{
            "start_time": FIRST_MICROSECOND + number * 1000,
            "duration_ns": 1_500_000,
            "trace_id": f"{number:032x}",
            "span_id": number,
            "method": "GET",
            "path": f"/datasets/{number}",
            "status_code": 200,
            **fields,
        }
    )


def line(number: int, **fields: Any) -> bytes:
    """The journal line of that record."""
    encoded = encode_line(record(number, **fields), lambda reason, n: None)
    assert encoded is not None
    return encoded


def settings_of(folder: Path, interval: float = 0.2, **more: str) -> Settings:
    """Settings of a store in this folder."""
    environ = {
        "OTEL_USAGE_DATABASE": str(folder / "usage.duckdb"),
        "OTEL_USAGE_COMMIT_INTERVAL": str(interval),
        **more,
    }
    return settings.load(environ, strict=True)


def paths_of(folder: Path) -> StorePaths:
    """Paths of a store in this folder."""
    return StorePaths.of(folder / "usage.duckdb")


def wait_until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait until the condition is true and give what it gave; fail if it stays false."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.005)
    return answer


def query(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    """Rows of a query on the store, in a connection of its own."""
    with duckdb.connect(str(folder / "usage.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def numbers(folder: Path) -> list[int]:
    """The span ids in the store, in order."""
    return [number for (number,) in query(folder, "SELECT span_id FROM requests ORDER BY span_id")]


def losses(folder: Path) -> dict[str, int]:
    """Records in `losses`, by reason."""
    return dict(query(folder, "SELECT reason, sum(records)::BIGINT FROM losses GROUP BY ALL"))


def totals(folder: Path) -> dict[str, int]:
    """The totals that the store keeps."""
    names = "('lines', 'inserted', 'duplicate', 'rejected')"
    return dict(query(folder, f"SELECT name, value::BIGINT FROM store_info WHERE name IN {names}"))


def python(code: str, *args: object, **options: Any) -> "subprocess.Popen[str]":
    """A Python process that runs this code with these arguments, its standard streams piped."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finish(process: "subprocess.Popen[str]", stdin: str | None = None) -> str:
    """What the process printed; it must succeed."""
    stdout, stderr = process.communicate(stdin, timeout=60)
    assert process.returncode == 0, stderr
    return stdout
