"""Views that fork, also while their own process commits, and requests that are cancelled: each is kept once."""

import contextlib
import http.client
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.faults.surroundings import (
    GUNICORN,
    ask,
    asked,
    backlog,
    leader,
    overview,
    paths,
    totals,
)
from tests.integration.site import Site, clean_environment, serve, wait_for
from tests.unit.exporter.support import numbers, paths_of, python

ONE_WORKER = [part.replace("flask_app", "forking_app") for part in GUNICORN[:-1]] + ["1", "--timeout", "0"]
SEVERAL_INTERVALS = {"OTEL_USAGE_COMMIT_INTERVAL": "0.2"}


def agents(rows):
    """The user agents of these rows that are not the test's own client, in order."""
    return sorted(row["user_agent"] for row in rows if row["user_agent"] not in (None, "backlog"))


def fetch(site, target: str, name: str) -> str:
    """What a view answers to a request known by its user agent."""
    answer = site.ask("GET", target, {"User-Agent": name})
    assert answer.status == 200, site.log[-3000:]
    return answer.body.decode()


def test_a_view_forks(tmp_path):
    """However a child goes, whether it serves requests of its own or not, each request is one row, of its process."""
    ways = ["exits_at_once", "exits", "serves_and_exits_at_once", "serves_and_exits", "uses_processes"]
    with serve(tmp_path, "forking_app.py", ONE_WORKER, **SEVERAL_INTERVALS) as site:
        for way in ways:
            assert fetch(site, f"/forks/{way}/{way}-child", way) == "0", site.log[-3000:]
        assert "exits-child runs what was registered" in site.log
        assert leader(site) is not None
        site.stop()
        rows = site.read_rows()
    children = ["serves_and_exits-child", "serves_and_exits_at_once-child", "uses_processes-child"]
    assert agents(rows) == sorted([*ways, *children])


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_a_view_starts_processes(tmp_path, method):
    """Children of `multiprocessing` that serve requests keep them, also where they are not under the launcher."""
    with serve(tmp_path, "forking_app.py", ONE_WORKER, **SEVERAL_INTERVALS) as site:
        assert fetch(site, f"/children/{method}/{method}", "parent") == "0,0,0", site.log[-3000:]
        site.stop()
        rows = site.read_rows()
    assert agents(rows) == sorted([*(f"{method}-{number}" for number in range(3)), "parent"])


@pytest.mark.parametrize("way", ["exits", "serves_and_exits", "uses_processes", "exits_at_once"])
def test_a_view_forks_while_its_process_commits(tmp_path, way):
    """Children of a process amid a commit end as they would without us; the commit is whole, its leader the same."""
    rows = 150_000

    def prepare(site):
        backlog(paths(site), rows)

    with serve(tmp_path, "forking_app.py", ONE_WORKER, prepare=prepare, **SEVERAL_INTERVALS) as site:
        ask(site, 1)
        pid = wait_for(lambda: leader(site))
        codes = fetch(site, f"/forks-while/{way}/child?folder={paths(site).journal}", "parent").split(",")
        assert len(codes) >= 6
        assert set(codes) == {"0"}, site.log[-3000:]
        assert leader(site) == pid
        site.stop()
        site.read_rows()
    served = [f"child-{n}" for n in range(len(codes))] if way in ("serves_and_exits", "uses_processes") else []
    assert agents(site.rows) == sorted(["parent", *served])
    assert asked(site.rows) == [1] * (1 + len(served))
    assert len(site.rows) == rows + 2 + len(served)
    stored = totals(site.store)
    assert stored["inserted"] == stored["lines"] == len(site.rows)


def test_spans_whose_ids_repeat(tmp_path):
    """A view that seeds `random` makes the span ids of what follows repeat; every request has its row."""
    with serve(tmp_path, "forking_app.py", ONE_WORKER, **SEVERAL_INTERVALS) as site:
        for number in range(200):
            fetch(site, f"/seeded/{number}", f"n-{number}")
        site.stop()
        rows = site.read_rows()
    assert agents(rows) == sorted(f"n-{number}" for number in range(200))
    assert len({(row["trace_id"], row["span_id"]) for row in rows}) < 10


HEIRS = """
import atexit, os, signal, sys, time
from pathlib import Path
from otel_usage.exporter.recorder import Recorder
from tests.unit.exporter.support import paths_of, record, settings_of, wait_until
folder = Path(sys.argv[1])
recorder = Recorder(settings_of(folder, interval=0.5))
recorder.write(record(0))
log = paths_of(folder).write_ahead_log
wait_until(log.exists)
for heir in range(1, 4):
    if os.fork() == 0:
        break
    time.sleep(0.01)
else:
    (folder / "forked amid a commit").touch() if log.exists() else None
    os.kill(os.getpid(), signal.SIGKILL)
atexit.register(os.write, 1, b"ended\\n")
number = heir * 10**6
while not (folder / "over").exists():
    recorder.write(record(number))
    number += 1
    (folder / f"heir-{heir}").write_text(str(number))
    time.sleep(0.02)
"""


def test_children_of_a_leader_that_dies_amid_its_commit(tmp_path):
    """They have DuckDB's half-made state and not its lock: none of them leads, a reader commits all, none hangs."""
    rows = 150_000
    backlog(paths_of(tmp_path), rows)
    heirs = python(HEIRS, tmp_path)
    try:
        heirs.wait(60)
        assert (tmp_path / "forked amid a commit").exists()
        wait_for(lambda: all(_reached(tmp_path / f"heir-{n}", n * 10**6 + 100) for n in (1, 2, 3)))
        site = Site(tmp_path, 0, heirs, clean_environment(tmp_path))  # type: ignore[arg-type]
        assert leader(site) is None
        overview(site)
        assert set(range(rows + 1)) <= set(numbers(tmp_path))
    finally:
        (tmp_path / "over").touch()
        said, complaints = heirs.communicate(timeout=60)
    assert said.split() == ["ended"] * 3
    assert "forked amid a commit" in complaints
    assert overview(site)["uncommitted"] == 0
    written = [n for heir in (1, 2, 3) for n in range(heir * 10**6, int((tmp_path / f"heir-{heir}").read_text()))]
    assert numbers(tmp_path) == [*range(rows + 1), *written]


def _reached(path, number: int) -> bool:
    return path.exists() and int(path.read_text() or 0) >= number


UVICORN = ["uvicorn", "--port", "{port}", "--timeout-graceful-shutdown", "1", "cancelling_asgi_app:app"]


def test_requests_that_are_cancelled(tmp_path):
    """What another task cancels, in its view or its answer, and what the server cancels as it goes, is a row each."""
    names = ["waits", "streams", "waits-to-the-end"]
    with serve(tmp_path, "cancelling_asgi_app.py", UVICORN, **SEVERAL_INTERVALS) as site:

        def ask_for(name: str) -> None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                site.ask("GET", f"/{name.partition('-')[0]}/{name}", {"User-Agent": name})

        with ThreadPoolExecutor(3) as pool:
            waiting = [pool.submit(ask_for, name) for name in names]
            wait_for(lambda: all(f"{name} waits" in site.log for name in names))
            for name in names[:2]:
                assert site.ask("POST", f"/cancels/{name}", {"User-Agent": "canceller"}).status == 200
            for each in waiting[:2]:
                each.result()
            site.stop()
        rows = site.read_rows()
    assert agents(rows) == sorted([*names, "canceller", "canceller"])
    assert site.row_of("streams")["response_bytes"] == 1000
