"""Leaders that die, stop or are not there: somebody else commits, or a reader does, and every request is one row."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.integration.faults.surroundings import (
    GUNICORN,
    ask,
    ask_at_once,
    asked,
    backlog,
    committed,
    finished_segments,
    leader,
    overview,
    workers,
)
from tests.integration.site import Site, serve, wait_for


def stop(pid: int) -> None:
    """SIGSTOP, which has happened when this returns."""
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")


def test_a_new_leader_within_two_intervals(tmp_path):
    """Three seconds being the interval, six after the leader's death another leads; nothing of it is missing."""
    command = [*GUNICORN[:-1], "3"]
    with serve(tmp_path, "flask_app.py", command, OTEL_USAGE_COMMIT_INTERVAL="3") as site:
        ask_at_once(site, range(300))
        first = wait_for(lambda: (pid := leader(site)) in workers(site) and pid)
        wait_for(lambda: committed(site) >= 300)
        ask_at_once(site, range(300, 600))
        os.kill(first, signal.SIGKILL)
        died = time.monotonic()
        ask_at_once(site, range(600, 640))
        second = wait_for(lambda: (pid := leader(site)) not in (None, first) and pid)
        led = time.monotonic()
        assert second in workers(site)
        wait_for(lambda: committed(site) >= 640)
        site.stop(signal.SIGKILL)
        assert asked(site.read_rows()) == list(range(640))
    assert led - died <= 2 * 3


def test_the_leader_is_stopped(tmp_path):
    """While the leader stands still for many intervals the others serve and keep, a report says what is missing and
    doctor who should have committed it; once it goes on everything is committed, once.
    """
    command = [*GUNICORN, "--timeout", "0"]
    with serve(tmp_path, "flask_app.py", command, OTEL_USAGE_COMMIT_INTERVAL="0.1") as site:
        ask_at_once(site, range(100))
        pid = wait_for(lambda: leader(site))
        wait_for(lambda: committed(site) == 100)
        stop(pid)
        asking = 100
        while finished_segments(site) < 20:
            ask(site, asking)
            asking += 1
        done = site.cli("report", "overview", "--format", "json")
        assert done.returncode == 0, done.stderr
        assert "not committed yet" in done.stderr
        assert leader(site) == pid
        seen = overview(site)
        assert (seen["requests"], seen["uncommitted"]) == (100, asking - 100)
        wait_for(lambda: "should have done it by now" in site.cli("report", "overview").stderr)
        assert f"Process {pid} leads and should have committed" in site.cli("doctor").stdout
        os.kill(pid, signal.SIGCONT)
        wait_for(lambda: committed(site) == asking)
        assert leader(site) == pid
        site.stop()
        assert asked(site.read_rows()) == list(range(asking))


LEAD = """
import sys
from pathlib import Path
from otel_usage.exporter.recorder import Recorder
from tests.unit.exporter.support import record, settings_of
recorder = Recorder(settings_of(Path(sys.argv[1]), interval=0.1))
recorder.write(record(0))
print("leads", flush=True)
sys.stdin.read()
"""


def test_the_leader_is_stopped_within_a_commit(tmp_path):
    """Where a stopped leader has the store open, a report that waited in vain names it; afterwards all is there."""
    from tests.unit.exporter.support import finish, numbers, paths_of, python

    backlog(paths_of(tmp_path), 200_000)
    process = python(LEAD, tmp_path)
    site = Site(tmp_path, 0, process, dict(os.environ))  # type: ignore[arg-type]
    site.environment["OTEL_USAGE_DATABASE"] = str(site.store)
    wait_for(lambda: stopped_within_a_commit(site, process.pid))
    done = site.cli("report", "overview")
    assert done.returncode != 0
    assert f"PID {process.pid}" in done.stderr
    os.kill(process.pid, signal.SIGCONT)
    finish(process)
    overview(site)  # of a process that has ended amid its backlog, the rest is the reader's
    assert numbers(tmp_path) == list(range(200_001))


def stopped_within_a_commit(site: Site, pid: int) -> bool:
    """Stop it; if it does not hold the store right now, let it go on."""
    import duckdb

    if not site.store.exists():
        return False
    stop(pid)
    try:
        duckdb.connect(str(site.store), read_only=True).close()
    except duckdb.IOException as error:
        if f"PID {pid}" in str(error):
            return True
    os.kill(pid, signal.SIGCONT)
    return False


@pytest.mark.parametrize("which", ["killed", "idle"])
def test_nobody_leads_and_a_reader_comes(tmp_path, which):
    """Workers that have served nothing lead nothing: what their dead predecessors left is the reader's to commit."""
    with serve(tmp_path, "flask_app.py", GUNICORN, OTEL_USAGE_COMMIT_INTERVAL="3600") as site:
        ask_at_once(site, range(200))
        before = workers(site)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        if which == "idle":
            wait_for(lambda: len(workers(site)) == 2 and not workers(site) & before)
        else:
            site.stop(signal.SIGKILL)
        wait_for(lambda: leader(site) is None)
        seen = overview(site)
        assert (seen["requests"], seen["uncommitted"], seen["lost"]) == (200, 0, 0)
        assert leader(site) is None
        if which == "idle":
            ask(site, *range(200, 210))
            wait_for(lambda: leader(site) in workers(site))
        site.stop()
        assert asked(site.read_rows()) == list(range(210 if which == "idle" else 200))
