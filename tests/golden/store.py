"""One little store with fixed ids and clock: named and unnamed, anonymous and failed, long ago and hostile."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from otel_usage.exporter.paths import StorePaths
from otel_usage.exporter.workbench import attached, workbench

START = datetime(2026, 3, 28, 22, 30)  # UTC, half an hour before Berlin's 29 March, which has 23 hours
ALICE = {"token_id": "tok_00000000000000a1", "token_scheme": "bearer", "token_hint": "gho_…wxyz", "user_id": "u1"}
BOB = {"token_id": "tok_00000000000000b2", "token_scheme": "api_key", "user_id": "u2"}
AIR = {"resource_type": "dataset", "resource_id": "air", "resource_parent_type": "organization"}
WATER = {"resource_type": "dataset", "resource_id": "water", "resource_name": 'Water | "fresh", <b>'}
VIEW = {"operation": "show dataset", "route": "/dataset/{id}", "action": "view", "response_bytes": 1000}
GET = {"operation": "get file", "route": "/file/{id}", "action": "download", "response_bytes": 500_000}
HOSTILE = "\x1b[31mred\x1b[0m\t[bold]x[/bold]\n=1+1 \\ \u202eeman"

REQUESTS: tuple[dict[str, Any], ...] = (
    {**ALICE, **AIR, **VIEW, "token_name": "laptop", "user_name": "Alice"},
    {**ALICE, **AIR, **VIEW, "resource_parent_id": "eu", "resource_name": "Air, old"},
    {**ALICE, **AIR, **GET, "resource_parent_id": "eu", "resource_name": "Air", "token_name": "notebook"},
    {**ALICE, **WATER, **GET, "status_code": 404, "response_bytes": 12},
    {**BOB, **WATER, **VIEW, "request_bytes": 10, "sampled": True},
    {**BOB, **WATER, **VIEW, "status_code": 500, "request_bytes": 5},
    {**BOB, "status_code": None, "error_type": "ConnectionResetError", "route": "/search", "action": "search"},
    {"user_id": "u2", "user_name": HOSTILE, "method": "POST", "action": "login", "route": "/login"},
    {**WATER, **VIEW},
    {"route": None, "path": HOSTILE, "attributes": {"zone": "eu", "quote": '"'}},
)


def make(database: Path) -> Path:
    """Make the store there, as a leader would, and put the requests and some losses in."""
    paths = StorePaths.of(database)
    with workbench(paths) as connection, attached(connection, paths, to_write=True):
        for number, request in enumerate(REQUESTS):
            row = {**_common(number), **request}
            columns = ", ".join(row)
            values = ", ".join(f"${column}" for column in row)
            connection.execute(f"INSERT INTO requests ({columns}) VALUES ({values})", row)
        for records, reason in ((3, "torn_line"), (4, "journal_full"), (20, "anonymous_left_out")):
            connection.execute("INSERT INTO losses VALUES (?, ?, ?, NULL, NULL)", [START, records, reason])
    return database


def _common(number: int) -> dict[str, Any]:
    return {
        "start_time": START + timedelta(minutes=40 * number, microseconds=number),
        "duration_ns": 1_000_000 * (number + 1) + 500,
        "trace_id": f"00000000-0000-4000-8000-{number:012d}",
        "span_id": number + 1,
        "service_name": "portal",
        "method": "GET",
        "path": "/",
        "status_code": 200,
        "segment_id": "00000000-0000-4000-9000-000000000000",
    }
