"""What the tests of a store's surroundings share: requests by number, who leads, who holds, segments made by hand."""

import json
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb

from otel_usage.exporter.header import new_header, render
from otel_usage.exporter.leadership import leader_pid
from otel_usage.exporter.paths import StorePaths
from tests.integration.site import Site
from tests.unit.exporter.support import finish, python

GUNICORN = ["gunicorn", "--bind", "127.0.0.1:{port}", "flask_app:app", "--workers", "2"]


def ask(site: Site, *numbers: int) -> None:
    """One request of each number, each answered 200."""
    for number in numbers:
        assert site.ask("GET", f"/claims/{number}").status == 200, site.log[-3000:]


def ask_at_once(site: Site, numbers: Iterable[int]) -> None:
    """The same from eight clients."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: ask(site, number), numbers))


def asked(rows: Iterable[dict[str, Any]]) -> list[int]:
    """The numbers of these rows, in order; one that is there twice is there twice."""
    return sorted(int(row["path"].rpartition("/")[2]) for row in rows if row["path"].startswith("/claims/"))


def paths(site: Site) -> StorePaths:
    """Of the site's store."""
    return StorePaths.of(site.store)


def leader(site: Site) -> int | None:
    """The process that commits into the site's store."""
    return leader_pid(paths(site))


def workers(site: Site) -> set[int]:
    """Process ids of the workers of a gunicorn."""
    pid = site.process.pid
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def overview(site: Site) -> dict[str, Any]:
    """The overview, which must come."""
    done = site.cli("report", "overview", "--format", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)[0]


def totals(database: Path) -> dict[str, int]:
    """The totals of a store: lines, inserted, duplicate, rejected."""
    names = "('lines', 'inserted', 'duplicate', 'rejected')"
    with duckdb.connect(str(database), read_only=True) as connection:
        rows = connection.execute(f"SELECT name, value::BIGINT FROM store_info WHERE name IN {names}").fetchall()
    return dict(rows)


def lost(site: Site) -> dict[str, int]:
    """Records of each reason in `losses`."""
    done = site.cli("sql", "select reason, sum(records) as n from losses group by all", "--format", "json")
    assert done.returncode == 0, done.stderr
    return {row["reason"]: int(row["n"]) for row in json.loads(done.stdout)}


def committed(site: Site) -> int:
    """Rows in the store, without committing anything; 0 while it cannot be read."""
    try:
        with duckdb.connect(str(site.store), read_only=True) as connection:
            (count,) = connection.execute("SELECT count(*) FROM requests").fetchone() or (0,)
            return int(count)
    except duckdb.Error:  # the leader has it, or has not made it yet
        return 0


def finished_segments(site: Site) -> int:
    """How many segments wait to be committed."""
    return sum(path.suffix == ".ready" for path in paths(site).segments())


HOLD = """
import sys, time, duckdb
while True:
    try:
        connection = duckdb.connect(sys.argv[1])
        break
    except duckdb.IOException:  # a commit is in there
        time.sleep(0.002)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(database: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another program has the store open for writing."""
    process = python(HOLD, database)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n", process.communicate()
    try:
        yield process
    finally:
        finish(process)


def segment(store: StorePaths, *lines: bytes, header: bytes | None = None, suffix: str = ".ready") -> Path:
    """A segment made by hand: these bytes after a header of ours, or another's."""
    store.journal.mkdir(mode=0o700, parents=True, exist_ok=True)
    head = render(new_header({}))[0] if header is None else header
    draft = store.journal / f"{uuid4()}.draft"
    draft.write_bytes(head + b"".join(lines))
    return draft.rename(draft.with_suffix(suffix))


def backlog(store: StorePaths, rows: int, each: int = 5000) -> None:
    """So many rows, told apart by their span ids 1 to `rows`, in segments of `each`."""
    for first in range(1, rows + 1, each):
        lines = (_backlog_line(number) for number in range(first, min(first + each, rows + 1)))
        segment(store, *lines)


def _backlog_line(number: int) -> bytes:
    return (
        b'{"start_time":%d,"duration_ns":1500000,"trace_id":"%032x","span_id":%d,"method":"GET",'
        b'"path":"/backlog/%d","status_code":200,"user_agent":"backlog"}\n'
    ) % (1_790_000_000_000_000 + number * 1000, number, number, number)
