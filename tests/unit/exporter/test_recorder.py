"""The recorder: nothing before the first record, nothing raised, keys, and what a process imports."""

import sys
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from otel_usage.exporter import recorder as module
from otel_usage.exporter.committer import drain
from otel_usage.exporter.losses import ENCODE_ERROR, TOKEN_UNIDENTIFIED
from otel_usage.exporter.pending import pending
from otel_usage.exporter.recorder import Recorder
from tests.unit.exporter.support import finish, losses, numbers, paths_of, python, record, settings_of


def test_making_one_touches_nothing(tmp_path: Path) -> None:
    """Before the first record there is no file and no thread; shutdown and flush have nothing to do."""
    recorder = Recorder(settings_of(tmp_path))
    assert recorder.force_flush(0)
    recorder.shutdown()
    assert not recorder.is_active()
    assert list(tmp_path.iterdir()) == []


def test_what_is_counted_reaches_the_store(tmp_path: Path) -> None:
    """Losses of a process without a single record are committed too, also of what could not be encoded."""
    recorder = Recorder(settings_of(tmp_path, interval=60))
    recorder.count(TOKEN_UNIDENTIFIED, 3)
    recorder.write(record(1, user_name=object()))
    recorder.write(record(2))
    assert recorder.force_flush(30_000)
    recorder.shutdown()
    assert losses(tmp_path) == {TOKEN_UNIDENTIFIED: 3, ENCODE_ERROR: 1}
    assert numbers(tmp_path) == [2]


def test_flushing_again_commits_again(tmp_path: Path) -> None:
    """Each flush of the leader waits for its own commit, not for the one before."""
    recorder = Recorder(settings_of(tmp_path, interval=3600))
    for number in range(5):
        recorder.write(record(number))
        assert recorder.force_flush(30_000)
        assert numbers(tmp_path) == list(range(number + 1))
    recorder.shutdown()


def test_many_threads_flush_at_once(tmp_path: Path) -> None:
    """Every one of several threads that flush is told when its records are committed."""
    recorder = Recorder(settings_of(tmp_path, interval=3600))
    recorder.write(record(0))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(recorder.force_flush, [30_000] * 24)) == [True] * 24
    assert numbers(tmp_path) == [0]
    recorder.shutdown()


def test_write_never_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if nothing works the application does not notice; it is logged."""
    recorder = Recorder(settings_of(tmp_path))

    def broken(*args: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(module, "_Process", broken)
    recorder.write(record(1))
    recorder.count(TOKEN_UNIDENTIFIED)
    recorder.shutdown()


def test_the_key_is_made_on_demand_only(tmp_path: Path) -> None:
    """The key file appears with the first token, and the environment's key wins over it."""
    recorder = Recorder(settings_of(tmp_path))
    assert recorder.known_token_key() is None
    assert list(tmp_path.iterdir()) == []
    key = recorder.token_key()
    assert key is not None
    assert recorder.token_key() == recorder.known_token_key() == key
    given = Recorder(settings_of(tmp_path, OTEL_USAGE_TOKEN_KEY="k" * 32))
    assert given.token_key() == b"k" * 32


def test_a_key_that_cannot_be_made_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without a key tokens stay unidentified; the log says it once, not for each request."""
    (tmp_path / "file").write_text("")
    recorder = Recorder(settings_of(tmp_path, OTEL_USAGE_TOKEN_KEY_FILE=str(tmp_path / "file" / "key")))
    assert [recorder.token_key() for _ in range(3)] == [None, None, None]
    assert len(caplog.messages) == 1


def test_shutdown_leaves_the_records_of_others(tmp_path: Path) -> None:
    """What is pending after a shutdown is at most what others write."""
    recorder = Recorder(settings_of(tmp_path, interval=60))
    recorder.write(record(1))
    recorder.shutdown()
    recorder.shutdown()
    assert pending(paths_of(tmp_path)).records == 0
    assert numbers(tmp_path) == [1]


def test_importing_the_recorder_imports_little() -> None:
    """A web worker imports neither DuckDB nor OpenTelemetry with it, and starts nothing."""
    code = (
        "import sys, otel_usage.exporter.recorder, otel_usage.exporter.reading, otel_usage.exporter.pending\n"
        "print([name for name in ('duckdb', 'opentelemetry', 'typer', 'rich') if name in sys.modules])"
    )
    assert finish(python(code)) == "[]\n"
    assert "duckdb" in sys.modules  # the test itself could see it


def test_the_first_requests_of_a_process_all_get_the_key(tmp_path: Path) -> None:
    """Threads that come at once wait for the one that makes the key: none of their tokens stays without an id."""
    for number in range(20):
        recorder = Recorder(settings_of(tmp_path / str(number)))
        with ThreadPoolExecutor(4) as pool:
            keys = set(pool.map(lambda _, recorder=recorder: recorder.token_key(), range(4)))
        assert len(keys) == 1
        assert None not in keys


@pytest.fixture
def threadless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread can be started."""

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("otel_usage.exporter.committer.start_thread", refuse)


@pytest.mark.usefixtures("threadless")
def test_without_a_thread_records_are_in_the_journal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where no thread can be started the records wait for another process; nothing is lost, and the log says so."""
    recorder = Recorder(settings_of(tmp_path, interval=3600))
    recorder.write(record(1))
    recorder.write(record(2))
    assert recorder.force_flush(0)
    assert pending(paths_of(tmp_path)).records == 2
    assert caplog.messages == [
        "Usage records wait for another process or a report to commit them: can't start new thread"
    ]
    recorder.shutdown()


@pytest.mark.usefixtures("threadless")
def test_without_a_thread_requests_finish_the_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first record can be committed at once, later ones an interval after, while the process lives."""
    now = 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    recorder = Recorder(settings_of(tmp_path, interval=5))
    committed = []
    for number, now in enumerate((1000.0, 1001.0, 1004.9, 1005.0, 1006.0, 2000.0)):  # noqa: B007 - read by the clock
        recorder.write(record(number))
        drain(paths_of(tmp_path))
        committed.append(numbers(tmp_path))
    assert committed == [[0], [0], [0], [0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3, 4, 5]]
    recorder.shutdown()


def test_under_uwsgi_the_last_records_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There Python ends after the destructors of DuckDB: the leader commits no more, and its records are finished."""
    monkeypatch.setitem(sys.modules, "uwsgi", types.ModuleType("uwsgi"))
    recorder = Recorder(settings_of(tmp_path, interval=3600))
    recorder.write(record(1))
    assert recorder.force_flush()
    recorder.write(record(2))
    recorder.shutdown()
    assert numbers(tmp_path) == [1]
    assert [path.suffix for path in paths_of(tmp_path).segments()] == [".ready"]


def test_nothing_is_drawn_on_standard_output(tmp_path: Path) -> None:
    """DuckDB takes `python -c` for an interactive program, and would draw a progress bar for a long commit."""
    code = """
import sys
import types
from otel_usage.exporter.store import connect
with connect(":memory:", {}) as connection:
    print(connection.execute("SELECT current_setting('enable_progress_bar')").fetchone()[0])
"""
    assert finish(python(code, tmp_path)).split() == ["False"]
