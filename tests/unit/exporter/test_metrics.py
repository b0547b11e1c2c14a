"""What meter providers are told: by whom, before and after they are there, after forks, and when it ends."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Histogram, InMemoryMetricReader, Metric, Sum

from otel_usage.exporter import metrics
from otel_usage.exporter.header import new_header, render
from otel_usage.exporter.losses import JOURNAL_FULL, LOST, REJECTED, TORN_LINE, VALUE_TRUNCATED, WRITE_ERROR
from otel_usage.exporter.pending import Backlog
from otel_usage.exporter.recorder import Recorder
from tests.unit.exporter.support import finish, line, paths_of, python, record, settings_of

DOCUMENTED = Path(__file__).parents[3] / "docs" / "how-it-works.md"
WRITTEN = "otel_usage.records.written"
DROPPED = "otel_usage.records.dropped"
PENDING = "otel_usage.records.pending"
DURATION = "otel_usage.commit.duration"


class Reader:
    """The metric reader of an application."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader])

    def metrics(self) -> dict[str, Metric]:
        data = self._reader.get_metrics_data()
        resources = data.resource_metrics if data is not None else []
        return {m.name: m for r in resources for scope in r.scope_metrics for m in scope.metrics}

    def points(self, name: str) -> dict[str, Any]:
        """Data points by the text of their only attribute."""
        metric = self.metrics().get(name)
        return {"".join(map(str, p.attributes.values())): p for p in metric.data.data_points} if metric else {}

    def values(self, name: str) -> dict[str, Any]:
        return {attribute: point.value for attribute, point in self.points(name).items()}


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """A reader of a process in which nobody has told anything yet."""
    reader = Reader()
    monkeypatch.setattr(metrics, "_tallies", [])
    monkeypatch.setattr(metrics, "_durations", [])
    monkeypatch.setattr(metrics, "get_meter", reader.provider.get_meter)
    yield reader
    reader.provider.shutdown()


@pytest.fixture
def recorder(tmp_path: Path, reader: Reader) -> Iterator[Recorder]:
    """A recorder that commits when it is told to."""
    recorder = Recorder(settings_of(tmp_path, interval=3600))
    yield recorder
    recorder.remove()


HOLDER = """
import sys
import duckdb
with duckdb.connect(sys.argv[1] + "/usage.duckdb"):
    print("has it", flush=True)
    sys.stdin.read()
"""

LOCKER = """
import fcntl, sys
with open(sys.argv[1], "w") as lock:
    fcntl.lockf(lock, fcntl.LOCK_EX)
    print("has it", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def elsewhere(code: str, *args: object) -> Iterator[None]:
    """Another process that has taken something, and gives it back at the end."""
    process = python(code, *args)
    try:
        assert process.stdout is not None and process.stdout.readline() == "has it\n"
        yield
    finally:
        finish(process, "")


def test_instruments_are_named_as_the_conventions_say(reader: Reader, recorder: Recorder) -> None:
    """Counts of `{record}`, seconds; what goes up and down is no counter."""
    recorder.write(record(1))
    reader.metrics()
    assert recorder.force_flush()
    found = reader.metrics()
    assert {name: metric.unit for name, metric in found.items()} == {
        WRITTEN: "{record}",
        DROPPED: "{record}",
        PENDING: "{record}",
        DURATION: "s",
    }
    sums = {name: metric.data.is_monotonic for name, metric in found.items() if isinstance(metric.data, Sum)}
    assert sums == {WRITTEN: True, DROPPED: True, PENDING: False}
    assert isinstance(found[DURATION].data, Histogram)


def test_the_documentation_names_the_same(reader: Reader, recorder: Recorder) -> None:
    """The table in docs/how-it-works.md is that of the instruments, with their units."""
    table = re.findall(r"^\| `(otel_usage\.[\w.]+)` \| [\w -]+ \| `(\S+)` ", DOCUMENTED.read_text(), re.MULTILINE)
    recorder.write(record(1))
    reader.metrics()
    assert recorder.force_flush()
    assert sorted(table) == sorted((name, metric.unit) for name, metric in reader.metrics().items())


def test_nothing_is_told_before_the_first_record(reader: Reader, recorder: Recorder) -> None:
    """A supervisor that never answers a request has no numbers."""
    assert reader.metrics() == {}


def test_written_and_dropped_are_counted(reader: Reader, recorder: Recorder) -> None:
    """Each reason of a loss is told from the start; what is no loss of a record is not."""
    for number in range(3):
        recorder.write(record(number))
    recorder.count(JOURNAL_FULL, 2)
    recorder.count(VALUE_TRUNCATED, 9)
    recorder.write(record(4, user_name=object()))
    assert reader.values(WRITTEN) == {"": 3}
    assert reader.values(DROPPED) == {**dict.fromkeys(LOST, 0), JOURNAL_FULL: 2, "encode_error": 1}


def test_what_the_bound_drops_is_not_written(tmp_path: Path, reader: Reader) -> None:
    """The two counters share no record."""
    recorder = Recorder(settings_of(tmp_path, 3600, OTEL_USAGE_JOURNAL_MAX_BYTES="1048576"))
    asked = 1048576 // len(line(1)) + 100
    for number in range(asked):
        recorder.write(record(number))
    (written,), dropped = reader.values(WRITTEN).values(), reader.values(DROPPED)[JOURNAL_FULL]
    assert dropped > 0
    assert written + dropped == asked
    recorder.remove()


def test_what_waits_is_counted_for_who_asks(tmp_path: Path, reader: Reader, recorder: Recorder) -> None:
    """The leader counts what its turn has left behind, of all processes, once somebody has asked."""
    recorder.write(record(1))
    assert recorder.force_flush()
    assert reader.values(PENDING) == {}
    with elsewhere(HOLDER, tmp_path):
        (paths_of(tmp_path).journal / "another.ready").write_bytes(line(2) + line(3))
        recorder.write(record(4))
        assert recorder.force_flush()
        assert reader.values(PENDING) == {"": 3}
    recorder.write(record(5))
    assert recorder.force_flush()
    assert reader.values(PENDING) == {"": 0}
    assert reader.values(WRITTEN) == {"": 3}
    recorder.shutdown()
    assert PENDING not in reader.metrics()


def test_commits_are_measured_and_failures_named(tmp_path: Path, reader: Reader, recorder: Recorder) -> None:
    """Each commit counts once; one that failed says by which error; a turn with nothing to do is none."""
    recorder.write(record(1))
    assert recorder.force_flush()
    assert recorder.force_flush()
    with elsewhere(HOLDER, tmp_path):
        recorder.write(record(2))
        assert recorder.force_flush()
    for _ in range(2):
        points = reader.points(DURATION)
        assert {error: point.count for error, point in points.items()} == {
            "": 1,
            "otel_usage.errors.StoreLockedError": 1,
        }
    assert 0 < points[""].sum < 30
    assert points[""].explicit_bounds[0] == 0.005


def test_the_leader_counts_what_it_finds_lost(tmp_path: Path, reader: Reader, recorder: Recorder) -> None:
    """A line that is no record, or that its owner could not end, is a loss of whoever finds it out."""
    recorder.write(record(1))
    journal = paths_of(tmp_path).journal
    (journal / "another.ready").write_bytes(b"x\n{}\n" + line(2))
    header, _ = render(new_header({}))
    (journal / "torn.ready").write_bytes(header + line(3)[:40])
    assert recorder.force_flush()
    assert reader.values(DROPPED)[REJECTED] == 2
    assert reader.values(DROPPED)[TORN_LINE] == 1


def test_who_does_not_lead_tells_nothing_of_what_waits(tmp_path: Path, reader: Reader, recorder: Recorder) -> None:
    """Two processes that both told it would count a record twice."""
    with elsewhere(LOCKER, paths_of(tmp_path).lock):
        reader.metrics()
        recorder.write(record(1))
        assert recorder.force_flush()
        assert set(reader.metrics()) == {WRITTEN, DROPPED}


def test_removed_is_silent_and_again_goes_on(tmp_path: Path, reader: Reader) -> None:
    """After `remove` nothing is told; the next recorder's numbers are added, since a counter must not go back."""
    first, second = Recorder(settings_of(tmp_path, 3600)), Recorder(settings_of(tmp_path, 3600))
    first.write(record(1))
    first.remove()
    assert reader.metrics() == {}
    second.write(record(2))
    assert reader.values(WRITTEN) == {"": 2}
    measured = {name: point.count for name, point in reader.points(DURATION).items()}
    second.remove()
    assert set(reader.metrics()) == {DURATION}  # what an SDK was told once it tells for ever
    assert {name: point.count for name, point in reader.points(DURATION).items()} == measured


def test_a_provider_that_fails_harms_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no instrument can be made, records are written all the same."""
    monkeypatch.setattr(metrics, "_durations", [])
    monkeypatch.setattr(metrics, "get_meter", lambda *_: 1 / 0)
    recorder = Recorder(settings_of(tmp_path, 3600))
    recorder.write(record(1))
    assert Backlog(paths_of(tmp_path)).records() == 1
    recorder.remove()


def test_a_segment_removed_under_its_writer_keeps_what_it_had_counted(reader: Reader, recorder: Recorder) -> None:
    """Its records are dropped now; what its header had counted is told once."""
    recorder.write(record(1))
    recorder.count(JOURNAL_FULL, 5)
    assert recorder._process is not None
    journal = recorder._process.journal
    assert journal._segment is not None
    journal._segment._path.unlink()
    journal.rotate()
    assert reader.values(DROPPED)[WRITE_ERROR] == 1
    assert reader.values(DROPPED)[JOURNAL_FULL] == 5
    assert journal._segment.counts == {WRITE_ERROR: 1, JOURNAL_FULL: 5}


def test_a_backlog_reads_finished_segments_once(tmp_path: Path) -> None:
    """A journal at its bound is not read again at every turn; segments that go are forgotten."""
    folder = paths_of(tmp_path).journal
    folder.mkdir()
    backlog = Backlog(paths_of(tmp_path))
    assert backlog.records() == 0
    ready, living = folder / "a.ready", folder / "b.open"
    ready.write_bytes(line(1) + line(2))
    living.write_bytes(line(3))
    assert backlog.records() == 3
    ready.write_bytes(b"")
    living.write_bytes(line(3) + line(4))
    assert backlog.records() == 4
    ready.unlink()
    assert backlog.records() == 2


SET_LATE_OR_EARLY = """
import os, sys
from pathlib import Path
from opentelemetry import metrics
from otel_usage.exporter.recorder import Recorder
from tests.unit.exporter.support import record, settings_of
from tests.unit.exporter.test_metrics import WRITTEN, Reader

reader, recorder = Reader(), Recorder(settings_of(Path(sys.argv[1]), interval=3600))
if sys.argv[2] == "early":
    metrics.set_meter_provider(reader.provider)
recorder.write(record(1))
if sys.argv[2] == "late":
    assert reader.metrics() == {}
    metrics.set_meter_provider(reader.provider)
recorder.write(record(2))
print(reader.values(WRITTEN)[""])
if (child := os.fork()) == 0:
    silent = reader.metrics() == {}
    recorder.write(record(3))
    os._exit(0 if silent and reader.values(WRITTEN)[""] == 1 else 1)
assert os.waitpid(child, 0)[1] == 0
recorder.remove()
print(reader.metrics())
"""


@pytest.mark.parametrize("when", ["early", "late"])
def test_a_provider_set_before_or_after(tmp_path: Path, when: str) -> None:
    """The API's own provider gets every number, whenever it is set; a forked child tells of its own records alone."""
    assert finish(python(SET_LATE_OR_EARLY, tmp_path, when)).splitlines() == ["2", "{}"]


NO_PROVIDER = """
import sys, threading
from pathlib import Path
from otel_usage import settings
from otel_usage.exporter.record import UsageRecord
from otel_usage.exporter.recorder import Recorder
recorder = Recorder(settings.load({"OTEL_USAGE_DATABASE": f"{sys.argv[1]}/usage.duckdb"}, strict=True))
for number in range(3):
    recorder.write(UsageRecord(start_time=1, duration_ns=1, trace_id="1" * 32, span_id=number))
assert recorder.force_flush()
tally = recorder._process.journal.tally
print("opentelemetry.sdk.metrics" in sys.modules, threading.active_count(), tally.written, tally.waiting)
"""


def test_without_a_provider_there_is_the_api_alone(tmp_path: Path) -> None:
    """No SDK of metrics is imported, no thread of Python's started, and nobody counts what waits."""
    assert finish(python(NO_PROVIDER, tmp_path)).split() == ["False", "1", "3", "None"]
