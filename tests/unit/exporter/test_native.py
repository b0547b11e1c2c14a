"""Native threads and locks, also under monkey patching."""

import _thread
import sys
import types

import pytest

from otel_usage.exporter.committer import _until
from otel_usage.exporter.native import Event, new_lock, start_thread


def test_an_event_wakes_its_waiter_once() -> None:
    """Set before or during a wait ends it; setting twice counts once."""
    event = Event()
    assert not event.wait(0)
    event.set()
    event.set()
    assert event.wait(0)
    assert not event.wait(0)
    start_thread(event.set)
    assert event.wait(30)


def test_the_originals_are_used_under_gevent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where gevent has replaced them, the lock and the thread are those it keeps as the originals."""
    asked: list[tuple[str, str]] = []

    def get_original(module: str, name: str) -> object:
        asked.append((module, name))
        return getattr(_thread, name)

    fake = types.ModuleType("gevent.monkey")
    fake.get_original = get_original  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gevent.monkey", fake)
    assert not new_lock().locked()
    assert asked == [("_thread", "allocate_lock")]


@pytest.mark.parametrize("has_threads", [0, 1])
def test_no_thread_is_started_where_none_runs(has_threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """uWSGI says whether threads run; where they do not, starting one fails at once and says what to do."""
    fake = types.ModuleType("uwsgi")
    fake.has_threads = has_threads  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "uwsgi", fake)
    event = Event()
    if has_threads:
        start_thread(event.set)
        assert event.wait(30)
    else:
        with pytest.raises(RuntimeError, match="--enable-threads"):
            start_thread(event.set)


@pytest.mark.parametrize("now", [0.0, 3.0, 4.999, 1_790_000_000.123, -5.0])
def test_a_wait_is_never_longer_than_the_interval(now: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a clock jumps to, the next tick is at most one interval away, and on its multiple."""
    monkeypatch.setattr("otel_usage.exporter.committer.time.time", lambda: now)
    assert 0 <= _until(5) <= 5
    assert (now + _until(5)) % 5 == pytest.approx(0, abs=1e-6) or (now + _until(5)) % 5 == pytest.approx(5)
    assert (now + _until(5, -0.25)) % 5 == pytest.approx(4.75, abs=1e-6)
