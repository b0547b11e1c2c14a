"""The wall clock jumps back and forth while applications serve: rotation and commits go on, each request is one row."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from otel_usage.exporter.pending import pending
from tests.integration.faults.surroundings import ask, ask_at_once, asked, committed, lost, paths
from tests.integration.site import Site, serve, wait_for

FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
JUMPS = ["-2h", "+3d", "-30d", "+0"]

pytestmark = pytest.mark.skipif(
    FAKETIME is None, reason="libfaketime is not installed: apt-get install faketime (scripts/install-test-tools)"
)


def clock(folder: Path, offset: str) -> None:
    """From now on the servers' wall clock is so far from the machine's; their monotonic clock goes on."""
    draft = folder / "clock.draft"
    draft.write_text(offset)
    draft.rename(folder / "clock")


def at_its_mercy(folder: Path, interval: str) -> dict[str, str]:
    """The environment of a site with a clock of its own."""
    return {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(folder / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
        "OTEL_USAGE_COMMIT_INTERVAL": interval,
    }


# Python's sleep, which gunicorn's master needs, fails under libfaketime; waitress drops who waits when the clock jumps.
COMMAND = ["uvicorn", "--port", "{port}", "--log-level", "warning", "fastapi_app:app"]


@contextmanager
def two_processes(folder: Path, interval: str) -> Iterator[tuple[Site, Site]]:
    """Two servers of one store whose clock can be set; in the end the first one's rows can be read."""
    variables = at_its_mercy(folder, interval)
    (folder / "clock").write_text("+0")
    with (
        serve(folder / "one", "fastapi_app.py", COMMAND, **variables) as one,
        serve(folder / "two", "fastapi_app.py", COMMAND, OTEL_USAGE_DATABASE=str(one.store), **variables) as two,
    ):
        yield one, two


def stop(*sites: Site) -> None:
    """End them; whoever reads afterwards has the machine's clock."""
    for site in sites:
        site.stop()
        del site.environment["LD_PRELOAD"]


def test_the_clock_jumps_between_requests(tmp_path):
    """After each jump, of hours or days, back or forth, what is asked is committed by itself."""
    with two_processes(tmp_path, "0.5") as (one, two):
        for number, offset in enumerate(["+0", *JUMPS]):
            clock(tmp_path, offset)
            ask_at_once(one, range(number * 50, number * 50 + 25))
            ask_at_once(two, range(number * 50 + 25, number * 50 + 50))
            wait_for(lambda: not pending(paths(one)).records)
            wait_for(lambda expected=number * 50 + 50: committed(one) == expected)
        stop(one, two)
        rows = one.read_rows()
        assert lost(one) == {}
    assert asked(rows) == list(range(250))
    now = datetime.now(UTC).replace(tzinfo=None)
    away = {round((row["start_time"] - now) / timedelta(hours=1)) for row in rows}
    assert away == {-720, -2, 0, 72}


def test_the_clock_jumps_amid_requests_and_commits(tmp_path):
    """Jumps while requests are served and commits run lose and double nothing; no duration is negative."""
    with two_processes(tmp_path, "0.1") as sites:
        with ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(ask, sites[number % 2], number) for number in range(240)]

            def answered() -> int:
                return sum(each.done() for each in asking)

            for jump in range(12):
                clock(tmp_path, JUMPS[jump % len(JUMPS)])
                wait_for(lambda so_far=jump: answered() >= 20 * so_far)
            for each in asking:
                each.result()
        wait_for(lambda: not pending(paths(sites[0])).records)
        stop(*sites)
        rows = sites[0].read_rows()
        assert set(lost(sites[0])) <= {"number_clamped"}
    assert asked(rows) == list(range(240))
    assert min(row["duration_ns"] for row in rows) >= 0
