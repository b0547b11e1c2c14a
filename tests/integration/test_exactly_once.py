"""Each record becomes a row exactly once: processes killed at any moment, leaders that die, forks."""

import os
import random
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from otel_usage.exporter.committer import drain
from otel_usage.exporter.leadership import Leadership, leader_pid
from otel_usage.exporter.pending import pending
from tests.unit.exporter.support import (
    finish,
    numbers,
    paths_of,
    python,
    query,
    record,
    settings_of,
    totals,
    wait_until,
)

WRITER = """
import itertools, os, sys
from pathlib import Path
from otel_usage.exporter.recorder import Recorder
from tests.unit.exporter.support import record, settings_of
folder, first, acknowledged = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
recorder = Recorder(settings_of(folder, interval=0.1))
out = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for number in itertools.count(first):
    recorder.write(record(number))
    os.write(out, b"%d\\n" % number)
    if number % 200 == 0:
        os.sched_yield()
"""


class Writers:
    """Processes that write without end, and what each has been told is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made = 0
        self.living: dict[int, Path] = {}
        self._processes: dict[int, subprocess.Popen[str]] = {}

    def start(self) -> None:
        self.made += 1
        acknowledged = self.folder / f"acknowledged-{self.made}"
        process = python(WRITER, self.folder, self.made * 10**9, acknowledged)
        self.living[process.pid] = acknowledged
        self._processes[process.pid] = process

    def kill(self, pid: int) -> None:
        process = self._processes.pop(pid)
        process.kill()
        process.communicate()
        del self.living[pid]

    def written(self, pid: int) -> int:
        path = self.living[pid]
        return path.stat().st_size if path.exists() else 0

    def wait_for_more(self, pid: int, size: int) -> None:
        goal = self.written(pid) + size
        wait_until(lambda: self.written(pid) >= goal)

    def acknowledged(self) -> set[int]:
        files = self.folder.glob("acknowledged-*")
        return {int(number) for path in files for number in path.read_text().split()}


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[Writers]:
    writers = Writers(tmp_path)
    yield writers
    for pid in list(writers.living):
        writers.kill(pid)


def test_writers_and_leaders_killed_at_any_moment(writers: Writers) -> None:
    """After thirty kills, every second of the leader, what was acknowledged is there once, and nothing is torn
    apart or invented.
    """
    folder, paths = writers.folder, paths_of(writers.folder)
    chance = random.Random(20)
    for _ in range(3):
        writers.start()
    for kill in range(30):
        leader = wait_until(lambda: (pid := leader_pid(paths)) in writers.living and pid)
        victim = leader if kill % 2 else chance.choice(sorted(writers.living))
        writers.wait_for_more(victim, chance.randrange(10, 20_000))
        writers.kill(victim)
        writers.start()
    for pid in list(writers.living):
        writers.kill(pid)
    acknowledged = writers.acknowledged()
    drain(paths)
    stored = numbers(folder)
    assert len(stored) == len(set(stored))
    assert acknowledged <= set(stored)
    assert len(set(stored) - acknowledged) <= writers.made  # killed between write and acknowledgement
    found = totals(folder)
    assert found == {"lines": len(stored), "inserted": len(stored), "duplicate": 0, "rejected": 0}
    assert pending(paths).records == 0


def test_leadership_passes_on(writers: Writers) -> None:
    """When the leader is killed another living process leads and commits what the dead one left."""
    paths = paths_of(writers.folder)
    writers.start()
    writers.start()
    wait_until(lambda: all(writers.written(pid) for pid in writers.living))
    first = wait_until(lambda: leader_pid(paths))
    left = writers.living[first]
    writers.kill(first)
    second = wait_until(lambda: leader_pid(paths))
    assert second in writers.living
    last = int(left.read_text().split()[-1])
    wait_until(lambda: _is_stored(writers.folder, last))


def _is_stored(folder: Path, number: int) -> bool:
    import duckdb

    try:
        return bool(query(folder, f"SELECT 1 FROM requests WHERE span_id = {number}"))
    except duckdb.IOException:  # the leader has it
        return False


FOLLOWER = """
import sys
from otel_usage import settings
from otel_usage.exporter.record import UsageRecord
from otel_usage.exporter.recorder import Recorder
environ = {"OTEL_USAGE_DATABASE": f"{sys.argv[1]}/usage.duckdb", "OTEL_USAGE_COMMIT_INTERVAL": "0.1"}
recorder = Recorder(settings.load(environ, strict=True))
recorder.write(UsageRecord(start_time=1, duration_ns=1, trace_id="1" * 32, span_id=1))
print(recorder.force_flush(10_000), "duckdb" in sys.modules, flush=True)
sys.stdin.read()
"""


def test_who_does_not_lead_never_imports_duckdb(tmp_path: Path) -> None:
    """A process that only writes does not pay for DuckDB, and its records are committed all the same."""
    paths = paths_of(tmp_path)
    leadership = Leadership(paths)
    assert leadership.try_acquire()
    process = python(FOLLOWER, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline().split() == ["True", "False"]
    leadership.release()
    wait_until(lambda: leader_pid(paths) == process.pid)
    finish(process)
    assert numbers(tmp_path) == [1]


FORKER = """
import os, sys
from pathlib import Path
from otel_usage.exporter.recorder import Recorder
from tests.unit.exporter.support import record, settings_of
folder = Path(sys.argv[1])
recorder = Recorder(settings_of(folder, interval=0.1))
recorder.write(record(0))
children = []
for child in range(1, 4):
    if (pid := os.fork()) == 0:
        for number in range(child * 1000, child * 1000 + 200):
            recorder.write(record(number))
        if child > 1:
            recorder.shutdown()
        os._exit(0)
    children.append(pid)
for number in range(1, 200):
    recorder.write(record(number))
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
"""


@pytest.mark.parametrize("hooks", ["with hooks", "without hooks"])
def test_forks(tmp_path: Path, hooks: str) -> None:
    """A recorder used before and after a fork keeps every record of every process, fork hooks or none."""
    code = FORKER if hooks == "with hooks" else f"import os\nos.register_at_fork = lambda **_: None\n{FORKER}"
    finish(python(code, tmp_path, env={**os.environ, "PYTHONWARNINGS": "ignore"}))
    drain(paths_of(tmp_path))
    expected = [*range(200), *(n for child in (1, 2, 3) for n in range(child * 1000, child * 1000 + 200))]
    assert numbers(tmp_path) == expected


EXIT = """
import sys
from pathlib import Path
from otel_usage.exporter.recorder import Recorder
from tests.unit.exporter.support import record, settings_of
recorder = Recorder(settings_of(Path(sys.argv[1]), interval=60))
recorder.write(record(1))
if sys.argv[2] == "shutdown":
    recorder.shutdown()
    recorder.shutdown()
    recorder.write(record(2))
"""


@pytest.mark.parametrize(("how", "stored", "left"), [("exit", [1], 0), ("shutdown", [1], 1)])
def test_a_leader_that_goes_commits_once_more(tmp_path: Path, how: str, stored: list[int], left: int) -> None:
    """At exit the last records are committed; one written after shutdown is kept for the next leader."""
    finish(python(EXIT, tmp_path, how))
    assert numbers(tmp_path) == stored
    assert pending(paths_of(tmp_path)).records == left
    assert {path.suffix for path in paths_of(tmp_path).segments()} <= {".ready"}


def test_records_are_committed_within_about_an_interval(tmp_path: Path) -> None:
    """The first record makes the store, and later ones follow, with nobody asking."""
    from otel_usage.exporter.recorder import Recorder

    recorder = Recorder(settings_of(tmp_path, interval=0.2))
    assert not recorder.is_active()
    for number in range(3):
        recorder.write(record(number))
        assert recorder.is_active()
        wait_until(partial(_is_there, tmp_path, number))
    recorder.shutdown()
    assert not recorder.is_active()


def _is_there(folder: Path, number: int) -> bool:
    try:
        return number in numbers(folder)
    except Exception:  # not made yet, or held by the leader in this process
        return False
