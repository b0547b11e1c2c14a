"""Many workers, one store: killed, watched while they serve, and light unless they lead."""

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.integration.site import Site, serve, wait_for

GUNICORN = ["gunicorn", "--bind", "127.0.0.1:{port}", "flask_app:app", "--workers"]


def ask_many(site: Site, count: int) -> None:
    """`count` requests from eight clients, each answered 200."""

    def ask(number: int) -> int:
        return site.ask("GET", f"/claims/{number}").status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(count))) == {200}


def children(pid: int) -> list[int]:
    """Process ids of the workers of a gunicorn."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def has_duckdb(pid: int) -> bool:
    """Whether DuckDB's library is mapped into a process."""
    return "duckdb" in Path(f"/proc/{pid}/maps").read_text()


def test_sigkill_of_all_workers_loses_nothing(tmp_path):
    """5,000 answered requests, then SIGKILL of everything: 5,000 rows; one worker at most had imported DuckDB."""
    with serve(tmp_path, "flask_app.py", [*GUNICORN, "4"]) as site:
        ask_many(site, 5000)
        workers = children(site.process.pid)
        assert len(workers) == 4
        wait_for(lambda: sum(map(has_duckdb, workers)) == 1)
        assert not has_duckdb(site.process.pid)
        site.stop(signal.SIGKILL)
        rows = site.read_rows()
    assert len(rows) == 5000
    assert {row["path"] for row in rows} == {f"/claims/{number}" for number in range(5000)}


def test_reports_and_sql_while_serving(tmp_path):
    """100 of 100 reports, and as many ad-hoc queries, succeed while four workers serve and commit."""
    commit_often = {"OTEL_USAGE_COMMIT_INTERVAL": "0.2"}
    with serve(tmp_path, "flask_app.py", [*GUNICORN, "4"], **commit_often) as site:
        site.ask("GET", "/claims/1")
        wait_for(lambda: site.cli("report", "overview", "--format", "json").returncode == 0)
        with ThreadPoolExecutor(1) as background:
            load = background.submit(ask_many, site, 3000)
            for _ in range(100):
                report = site.cli("report", "resources", "--format", "csv")
                assert report.returncode == 0, report.stderr
            load.result()
        query = "import duckdb, sys; print(len(duckdb.connect(sys.argv[1], read_only=True).sql('from usage')))"
        ad_hoc = ["python3", "-c", query, str(site.store)]
        # Unlike a report, DuckDB by itself does not wait for a commit to end.
        wait_for(lambda: subprocess.run(ad_hoc, capture_output=True, env=site.environment).returncode == 0)
        site.stop()
        assert len(site.read_rows()) == 3001


def test_a_new_leader_follows_a_killed_one(tmp_path):
    """When the leading worker is killed, another commits what it and the others have written."""
    with serve(tmp_path, "flask_app.py", [*GUNICORN, "2"], OTEL_USAGE_COMMIT_INTERVAL="0.5") as site:
        ask_many(site, 200)
        wait_for(lambda: any(map(has_duckdb, children(site.process.pid))))
        leader = next(pid for pid in children(site.process.pid) if has_duckdb(pid))
        os.kill(leader, signal.SIGKILL)
        ask_many(site, 200)
        wait_for(lambda: any(pid != leader and has_duckdb(pid) for pid in children(site.process.pid)))
        site.stop(signal.SIGKILL)
        assert len(site.read_rows()) == 400
