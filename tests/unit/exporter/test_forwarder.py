"""The forwarder: what is sent, what is sent again, and that nothing leaves the journal without an answer."""

import contextlib
import json
import math
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otel_usage import settings as settings_module
from otel_usage.errors import ForwardingError
from otel_usage.exporter import finished
from otel_usage.exporter.commit import CommitSummary
from otel_usage.exporter.committer import drain
from otel_usage.exporter.forwarder import forwarder, outgoing
from otel_usage.exporter.forwarder import state as forwarding_state
from otel_usage.exporter.forwarder.forwarder import Forwarder
from otel_usage.exporter.journal import Journal
from otel_usage.exporter.losses import JOURNAL_FULL, VALUE_TRUNCATED
from otel_usage.exporter.salvage import Rejections
from otel_usage.exporter.span_exporter import DuckDBSpanExporter
from tests.integration.otlp_sink import RESET, TAKEN, Arrival, Reply, Sink, partly, sink
from tests.unit.exporter.support import finish, line, paths_of, python
from tests.unit.exporter.support import numbers as committed

OTLP = {"OTEL_USAGE_EXPORTER": "otlp"}


@pytest.fixture
def found() -> Iterator[Sink]:
    with sink() as each:
        yield each


def chosen(folder: Path, endpoint: str, **more: str) -> settings_module.Settings:
    environ = {"OTEL_USAGE_DATABASE": str(folder / "usage.duckdb"), "OTEL_USAGE_ENDPOINT": endpoint, **OTLP, **more}
    return settings_module.load(environ, strict=True)


def forward_to(found: Sink, folder: Path, **more: str) -> Forwarder:
    return Forwarder(chosen(folder, found.endpoint, **more), paths_of(folder))


def write(folder: Path, *numbers: int, counts: dict[str, int] | None = None, raw: tuple[bytes, ...] = ()) -> None:
    """One finished segment of these records, losses and lines."""
    journal = Journal(paths_of(folder), max_bytes=1 << 30)
    for number in numbers:
        journal.append(line(number))
    for each in raw:
        journal.append(each)
    for reason, n in (counts or {}).items():
        journal.count(reason, n)
    journal.close()


def numbers(arrivals: list[Arrival]) -> list[int]:
    return [span.span_id for arrival in arrivals for span in arrival.spans]


def left(folder: Path) -> int:
    return len(paths_of(folder).segments())


def state_of(folder: Path) -> forwarding_state.Forwarding:
    state = forwarding_state.load(paths_of(folder))
    assert state is not None
    return state


def at_once(each: Forwarder) -> Forwarder:
    """The time to try again has come."""
    assert math.isfinite(each.retry_in())
    each._retry_at = 0.0
    return each


def test_segments_are_sent_and_removed(found, tmp_path):
    """Several small segments go in one request, and are gone once it is answered."""
    write(tmp_path, 1, 2)
    write(tmp_path, 3)
    assert forward_to(found, tmp_path).turn() == CommitSummary(2, lines=3, inserted=3)
    (arrival,) = found.arrivals
    assert sorted(numbers([arrival])) == [1, 2, 3]
    assert arrival.path == "/v1/traces"
    assert arrival.headers["content-type"] == "application/x-protobuf"
    assert arrival.headers["content-encoding"] == "gzip"
    assert {scope.scope_name for scope in arrival.scopes} == {"otel_usage"}
    assert left(tmp_path) == 0


def test_an_empty_journal_asks_nobody(found, tmp_path):
    """Nothing to send: no request."""
    assert forward_to(found, tmp_path).turn() == CommitSummary()
    assert found.arrivals == []


def test_headers_and_compression(found, tmp_path):
    """What the variables say is sent; without compression the body is as it is."""
    write(tmp_path, 1)
    more = {"OTEL_USAGE_HEADERS": "authorization=Bearer%20secret", "OTEL_EXPORTER_OTLP_COMPRESSION": "none"}
    forward_to(found, tmp_path, **more).turn()
    (arrival,) = found.arrivals
    assert arrival.headers["authorization"] == "Bearer secret"
    assert "content-encoding" not in arrival.headers
    assert numbers([arrival]) == [1]


def test_requests_have_a_bound(found, tmp_path, monkeypatch):
    """At most 512 spans and so many bytes go in one request."""
    write(tmp_path, *range(1100))
    forward_to(found, tmp_path).turn()
    assert [len(arrival.spans) for arrival in found.arrivals] == [512, 512, 76]
    monkeypatch.setattr(forwarder, "MAX_REQUEST_BYTES", 1000)
    write(tmp_path, *range(20))
    found.arrivals.clear()
    forward_to(found, tmp_path).turn()
    assert len(found.arrivals) > 3
    assert numbers(found.arrivals) == list(range(20))


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_passes_is_sent_again(status, found, tmp_path):
    """The same request comes again, not before its time, and the segment stays until then."""
    write(tmp_path, 1)
    found.reply = lambda arrival: Reply(status)
    one = forward_to(found, tmp_path)
    for _ in range(2):
        with pytest.raises(ForwardingError, match=str(status)) as error:
            one.turn()
        assert not error.value.hint
        assert 0 < one.retry_in() < 2
        assert one.turn() == CommitSummary()
        at_once(one)
    found.reply = lambda _: TAKEN
    assert one.turn() == CommitSummary(1, lines=1, inserted=1)
    assert one.retry_in() == math.inf
    assert len({arrival.body for arrival in found.arrivals if arrival.spans}) == 1
    assert numbers(found.kept) == [1]


def test_delays_grow_to_a_bound(found, tmp_path):
    """With each failure the next attempt is later, up to half a minute, and never at a round time."""
    write(tmp_path, 1)
    found.reply = lambda _: Reply(503)
    one, delays = forward_to(found, tmp_path), []
    for _ in range(10):
        with pytest.raises(ForwardingError):
            one.turn()
        delays.append(one.retry_in())
        at_once(one)
    assert 0.2 < delays[0] <= 0.5
    assert 14 < delays[-1] <= 30
    assert len(set(delays[-4:])) == 4


@pytest.mark.parametrize(("value", "low", "high"), [("7", 6, 8), ("0", 0.05, 0.2), ("999999", 3500, 4000)])
def test_retry_after_is_honoured(value, low, high, found, tmp_path):
    """The other side says when; not at once all the same, and not never."""
    write(tmp_path, 1)
    found.reply = lambda _: Reply(429, {"Retry-After": value})
    one = forward_to(found, tmp_path)
    with pytest.raises(ForwardingError):
        one.turn()
    assert low < one.retry_in() < high


def test_a_broken_connection(found, tmp_path):
    """A reset is like an answer that says later."""
    write(tmp_path, 1, 2, 3)
    found.reply = lambda _: RESET if len(found.arrivals) < 1 else TAKEN
    one = forward_to(found, tmp_path)
    with pytest.raises(ForwardingError, match=r"reset|closed"):
        one.turn()
    at_once(one).turn()
    assert sorted(numbers(found.kept)) == [1, 2, 3]


@pytest.mark.parametrize("status", [301, 307, 401, 403, 404, 405, 406, 415])
def test_what_needs_help_keeps_everything(status, found, tmp_path):
    """What does not pass by itself is told with what to do, tried again seldom, and loses nothing."""
    write(tmp_path, 1)
    found.reply = lambda _: Reply(status, {"Location": "/elsewhere"})
    one = forward_to(found, tmp_path)
    with pytest.raises(ForwardingError, match=str(status)) as error:
        one.turn()
    assert "OTEL_" in error.value.hint
    assert 25 < one.retry_in() <= 60
    assert left(tmp_path) == 1
    assert {arrival.path for arrival in found.arrivals} == {"/v1/traces"}
    assert state_of(tmp_path).needs_help
    found.reply = lambda _: TAKEN
    at_once(one).turn()
    assert left(tmp_path) == 0
    assert (state_of(tmp_path).error, state_of(tmp_path).needs_help) == (None, False)


def test_a_web_page_is_no_receiver(found, tmp_path):
    """A web server that answers everything with a page would swallow everything."""
    write(tmp_path, 1)
    found.reply = lambda _: Reply(200, {"Content-Type": "text/html; charset=utf-8"}, b"<p>Welcome")
    with pytest.raises(ForwardingError, match="HTML"):
        forward_to(found, tmp_path).turn()
    assert left(tmp_path) == 1


def test_too_large_requests_are_split(found, tmp_path):
    """413 halves until it fits, and later requests begin with what fitted."""
    write(tmp_path, *range(100))
    found.reply = lambda arrival: Reply(413) if len(arrival.spans) > 10 else TAKEN
    assert forward_to(found, tmp_path).turn().inserted == 100
    assert numbers(found.kept) == list(range(100))
    assert sum(arrival not in found.kept for arrival in found.arrivals) < 10


def test_one_record_that_is_refused_is_put_aside(found, tmp_path):
    """400 is narrowed down to the record that it means; that is kept in `rejected/` with the reason, and counted."""
    write(tmp_path, *range(50))
    found.reply = lambda arrival: Reply(400) if 33 in numbers([arrival]) else TAKEN
    summary = forward_to(found, tmp_path).turn()
    assert summary == CommitSummary(1, lines=50, inserted=49, rejected=1)
    assert sorted(numbers(found.kept)) == [number for number in range(50) if number != 33]
    (file,) = paths_of(tmp_path).rejected.glob("*.jsonl")
    entry = json.loads(file.read_text())
    assert json.loads(entry["line"])["span_id"] == 33
    assert "400" in entry["reason"]
    assert state_of(tmp_path).losses["rejected"].records == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_an_endpoint_that_refuses_everything_blames_no_record(status, found, tmp_path):
    """Where even a request without spans is refused, there is something else at that address: all is kept."""
    write(tmp_path, *range(20))
    found.reply = lambda _: Reply(status)
    with pytest.raises(ForwardingError, match=str(status)) as error:
        forward_to(found, tmp_path).turn()
    assert error.value.hint
    assert left(tmp_path) == 1
    assert not paths_of(tmp_path).rejected.exists()


BAD = 33


def stumbling(reply: Reply) -> Callable[[Arrival], Reply]:
    """What stands before the endpoint cannot stand one record."""
    return lambda arrival: reply if BAD in numbers([arrival]) else TAKEN


def turns(one: Forwarder, count: int) -> None:
    """So many turns, whenever the time to try again has come."""
    for _ in range(count):
        with contextlib.suppress(ForwardingError):
            one.turn()
        if math.isfinite(one.retry_in()):
            at_once(one)


def pass_time(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """So much later it is, and stays."""
    later = time.monotonic() + seconds
    monkeypatch.setattr(time, "monotonic", lambda: later)


@pytest.mark.parametrize("reply", [Reply(500), Reply(502), Reply(403), RESET], ids=["500", "502", "403", "reset"])
def test_one_record_that_nobody_can_stand_holds_nothing_up(reply, found, tmp_path, monkeypatch, caplog):
    """All others go on, those that come later at once; its segment stays, and it is tried again by itself."""
    write(tmp_path, BAD, *range(BAD))
    found.reply = stumbling(reply)
    one = forward_to(found, tmp_path)
    turns(one, 10)
    assert sorted(numbers(found.kept)) == list(range(BAD))
    assert left(tmp_path) == 1
    assert "A usage record waits, and others are forwarded before it" in caplog.text
    found.arrivals.clear()
    write(tmp_path, *range(100, 200))
    assert one.turn().inserted == 100
    assert BAD not in numbers(found.arrivals)
    assert state_of(tmp_path).error is not None
    found.reply = lambda _: TAKEN
    pass_time(60, monkeypatch)
    assert one.turn() == CommitSummary(1, lines=BAD + 1, inserted=BAD + 1)
    assert numbers(found.kept)[-1] == BAD
    assert (left(tmp_path), state_of(tmp_path).error) == (0, None)


def test_many_records_that_nobody_can_stand(found, tmp_path, monkeypatch):
    """They hold nothing up either, also when all of them are due again: one at a time is tried."""
    write(tmp_path, *range(40))
    found.reply = lambda arrival: Reply(403) if any(number % 4 == 0 for number in numbers([arrival])) else TAKEN
    one = forward_to(found, tmp_path)
    turns(one, 60)
    assert sorted(numbers(found.kept)) == [number for number in range(40) if number % 4]
    pass_time(60, monkeypatch)
    found.arrivals.clear()
    write(tmp_path, 101, 102, 103)
    assert one.turn().inserted == 3
    assert [len(arrival.spans) for arrival in found.arrivals] == [3, 1, 0]
    found.reply = lambda _: TAKEN
    pass_time(60, monkeypatch)
    assert one.turn().inserted == 40
    assert left(tmp_path) == 0


def test_segments_that_wait_leave_room_for_others(found, tmp_path, monkeypatch):
    """However many have a record that nobody can stand, a turn takes as many others as ever."""
    monkeypatch.setattr(finished, "MAX_SEGMENTS", 2)
    for number in (BAD, 1, BAD, 2, BAD, 3, BAD, 4):
        write(tmp_path, number)
    found.reply = stumbling(Reply(500))
    turns(forward_to(found, tmp_path), 20)
    assert numbers(found.kept) == [1, 2, 3, 4]
    assert left(tmp_path) == 4


def test_one_record_for_which_it_asks_to_wait(found, tmp_path):
    """It is left alone as long as it asks, also by empty requests; then another record is tried before that one."""
    write(tmp_path, BAD, *range(3))
    found.reply = stumbling(Reply(503, {"Retry-After": "7"}))
    one = forward_to(found, tmp_path)
    for _ in range(3):
        before = len(found.arrivals)
        with pytest.raises(ForwardingError):
            one.turn()
        assert (len(found.arrivals) - before, 6 < one.retry_in() < 8) == (1, True)
        at_once(one)
    one.turn()
    assert sorted(numbers(found.kept)) == [0, 1, 2]


def test_an_endpoint_that_takes_nothing_but_empty_requests(found, tmp_path):
    """A Collector whose queue is full answers so: no record is blamed, it is left alone, and all arrive afterwards."""
    write(tmp_path, *range(100))
    found.reply = lambda arrival: Reply(503) if arrival.spans else TAKEN
    one = forward_to(found, tmp_path)
    turns(one, 10)
    found.arrivals.clear()
    with pytest.raises(ForwardingError, match="503"):
        one.turn()
    assert len(found.arrivals) < 10
    found.reply = lambda _: TAKEN
    turns(one, 10)
    assert sorted(numbers(found.kept)) == list(range(100))
    assert left(tmp_path) == 0


def test_partial_success_is_counted(found, tmp_path, caplog):
    """What the other side will never keep is a loss, told once; the rest is done with."""
    write(tmp_path, *range(10))
    found.reply = lambda _: partly(3, "ids of a wrong length")
    assert forward_to(found, tmp_path).turn() == CommitSummary(1, lines=10, inserted=7, rejected=3)
    assert state_of(tmp_path).losses["rejected"].records == 3
    assert "rejected 3 of 10 usage records: ids of a wrong length" in caplog.text
    assert left(tmp_path) == 0


def test_a_long_segment_is_not_begun_anew(found, tmp_path):
    """After a failure amid a segment only the request that failed comes again."""
    write(tmp_path, *range(2000))
    found.reply = lambda _: Reply(429) if len(found.arrivals) % 2 else TAKEN
    one, turns = forward_to(found, tmp_path), 0
    while left(tmp_path):
        with contextlib.suppress(ForwardingError):
            one.turn()
        if math.isfinite(one.retry_in()):
            at_once(one)
        turns += 1
        assert turns < 20
    assert numbers(found.kept) == list(range(2000))


def test_what_was_begun_is_forgotten_when_another_leads(found, tmp_path):
    """Whoever leads next sends all of an unfinished segment: twice is better than not at all."""
    write(tmp_path, *range(600))
    found.reply = lambda _: Reply(503) if len(found.arrivals) == 1 else TAKEN
    one = forward_to(found, tmp_path)
    with pytest.raises(ForwardingError):
        one.turn()
    one.retire()
    assert one.retry_in() == math.inf
    forward_to(found, tmp_path).turn()
    assert numbers(found.kept) == [*range(512), *range(600)]


def test_it_can_be_ended_between_two_requests(found, tmp_path):
    """What is left goes on where it was."""
    write(tmp_path, *range(1500))
    one = forward_to(found, tmp_path)
    assert one.turn(lambda: False) == CommitSummary()
    assert len(found.arrivals) == 1
    assert one.turn().inserted == 1500
    assert numbers(found.kept) == list(range(1500))


def test_bad_lines_are_put_aside(found, tmp_path):
    """As with a commit: good lines go, the others are kept with their reason, a torn one is counted."""
    write(tmp_path, 1, 2, raw=(b"no json\n", line(3)))
    (path,) = paths_of(tmp_path).segments()
    path.write_bytes(path.read_bytes() + line(4)[:-20])
    assert forward_to(found, tmp_path).turn() == CommitSummary(1, lines=4, inserted=3, rejected=1, torn=1, lost=1)
    assert numbers(found.kept) == [1, 2, 3]
    (file,) = paths_of(tmp_path).rejected.glob("*.jsonl")
    assert json.loads(file.read_text())["line"] == "no json\n"
    assert {name: loss.records for name, loss in state_of(tmp_path).losses.items()} == {"rejected": 1, "torn_line": 1}


def test_a_whole_last_line_without_its_newline(found, tmp_path):
    """It is a record, and nothing is torn."""
    write(tmp_path, 1)
    (path,) = paths_of(tmp_path).segments()
    path.write_bytes(path.read_bytes() + line(2)[:-1])
    assert forward_to(found, tmp_path).turn() == CommitSummary(1, lines=2, inserted=2)


def test_losses_outlive_their_segment(found, tmp_path):
    """What a process has counted is summed up in the state, with nothing to send too."""
    write(tmp_path, 1, counts={JOURNAL_FULL: 5})
    write(tmp_path, counts={JOURNAL_FULL: 2, VALUE_TRUNCATED: 1})
    summary = forward_to(found, tmp_path).turn()
    assert (summary.segments, summary.lost) == (2, 7)
    write(tmp_path, counts={JOURNAL_FULL: 1})
    forward_to(found, tmp_path).turn()
    state = state_of(tmp_path)
    assert {name: loss.records for name, loss in state.losses.items()} == {JOURNAL_FULL: 8, VALUE_TRUNCATED: 1}
    assert state.forwarded == 1


def test_a_crash_before_the_removal_counts_nothing_twice(found, tmp_path, monkeypatch):
    """A segment that is done with and still there is removed, not sent again."""
    write(tmp_path, 1, counts={JOURNAL_FULL: 5})
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_: (_ for _ in ()).throw(PermissionError()))
        forward_to(found, tmp_path).turn()
    assert left(tmp_path) == 1
    assert forward_to(found, tmp_path).turn() == CommitSummary(1)
    assert left(tmp_path) == 0
    assert numbers(found.kept) == [1]
    assert state_of(tmp_path).losses[JOURNAL_FULL].records == 5
    write(tmp_path, 2)
    forward_to(found, tmp_path).turn()
    assert len(state_of(tmp_path).segments) == 1


def test_a_state_that_cannot_be_written(found, tmp_path, monkeypatch):
    """On a full disk what says nothing of losses goes, which makes room; the rest waits and is not sent again."""
    write(tmp_path, 1)
    write(tmp_path, 2, counts={JOURNAL_FULL: 5})
    one = forward_to(found, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(
            forwarding_state, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
        )
        assert one.turn().inserted == 1
        assert one.turn() == CommitSummary()
    assert left(tmp_path) == 1
    assert one.turn() == CommitSummary(1, lines=1, inserted=1, lost=5)
    assert sorted(numbers(found.kept)) == [1, 2]
    assert state_of(tmp_path).losses[JOURNAL_FULL].records == 5


@pytest.mark.parametrize("room", [0, 20])
def test_a_state_for_which_there_is_little_room(room, found, tmp_path):
    """What could be written in part only is not published: it is as before, and what tells of losses waits."""
    write(tmp_path, 1, counts={JOURNAL_FULL: 5})
    forward_to(found, tmp_path).turn()
    before = state_of(tmp_path)
    write(tmp_path, 2, counts={JOURNAL_FULL: 2})
    code = """
import resource, signal, sys
from pathlib import Path
from otel_usage.exporter.forwarder.forwarder import Forwarder
from tests.unit.exporter.test_forwarder import chosen, paths_of
folder = Path(sys.argv[1])
one = Forwarder(chosen(folder, sys.argv[2]), paths_of(folder))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), -1))
summary = one.turn()
resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
print(summary.segments)
"""
    assert finish(python(code, tmp_path, found.endpoint, room)) == "0\n"
    assert (state_of(tmp_path), left(tmp_path)) == (before, 1)
    forward_to(found, tmp_path).turn()
    assert (state_of(tmp_path).losses[JOURNAL_FULL].records, left(tmp_path)) == (7, 0)


def test_no_room_to_put_a_line_aside(found, tmp_path, monkeypatch):
    """The segment waits, the others go."""
    write(tmp_path, 1, raw=(b"no json\n",))
    write(tmp_path, 2)
    with monkeypatch.context() as patch:
        patch.setattr(Rejections, "add", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        assert forward_to(found, tmp_path).turn().inserted == 1
    assert left(tmp_path) == 1
    assert forward_to(found, tmp_path).turn().rejected == 1
    assert set(numbers(found.kept)) == {1, 2}


def test_a_segment_that_disappears(found, tmp_path, monkeypatch):
    """Somebody removes it between two looks: the others go."""
    write(tmp_path, 1)
    write(tmp_path, 2)
    gone = min(paths_of(tmp_path).segments())
    original = outgoing.good_lines

    def removed(path, rejections):
        if path == gone:
            path.unlink(missing_ok=True)
        return original(path, rejections)

    monkeypatch.setattr(outgoing, "good_lines", removed)
    assert forward_to(found, tmp_path).turn().segments == 1
    assert left(tmp_path) == 0


def test_the_state_is_private_and_without_secrets(found, tmp_path):
    """Readable by its user alone; no header in it, nor in what is logged or shown."""
    write(tmp_path, 1)
    found.reply = lambda _: Reply(401)
    settings = chosen(tmp_path, found.endpoint, OTEL_USAGE_HEADERS="authorization=Bearer%20s3cr3t-value")
    with pytest.raises(ForwardingError) as error:
        Forwarder(settings, paths_of(tmp_path)).turn()
    file = paths_of(tmp_path).journal / "forwarding.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "s3cr3t" not in file.read_text() + str(error.value) + repr(settings)
    assert state_of(tmp_path).url == f"{found.endpoint}/v1/traces"


def test_a_damaged_state_holds_nothing_up(found, tmp_path):
    """The machine stopped while it was written: it begins anew."""
    write(tmp_path, 1)
    (paths_of(tmp_path).journal / "forwarding.json").write_bytes(b'{"url": "ht')
    assert forward_to(found, tmp_path).turn().inserted == 1


def test_a_journal_goes_into_the_store_again(found, tmp_path):
    """Applications that are set to commit again say so, and keep what was lost before."""
    write(tmp_path, 1, counts={JOURNAL_FULL: 5})
    forward_to(found, tmp_path).turn()
    forwarding_state.end(paths_of(tmp_path))
    state = state_of(tmp_path)
    assert (state.url, state.losses[JOURNAL_FULL].records) == (None, 5)


def test_what_is_answered_is_not_committed_too(found, tmp_path, monkeypatch):
    """A segment that has its answer and could not be removed is not for the store that follows."""
    write(tmp_path, 1)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_: (_ for _ in ()).throw(PermissionError()))
        forward_to(found, tmp_path).turn()
    write(tmp_path, 2)
    assert left(tmp_path) == 2
    assert drain(paths_of(tmp_path)).inserted == 1
    assert (committed(tmp_path), left(tmp_path)) == ([2], 0)
    assert (state_of(tmp_path).url, state_of(tmp_path).segments) == (None, [])


FORKED = """
import contextlib, os, sys, threading
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from otel_usage.errors import MissingExtraError
from otel_usage.exporter.leadership import Leadership
from otel_usage.exporter.sinks import sink_of
from tests.unit.exporter.support import paths_of, settings_of

folder = Path(sys.argv[1])
amid, go_on = threading.Event(), threading.Event()

class Slow(MetaPathFinder, Loader):
    def find_spec(self, name, path, target=None):
        return ModuleSpec(name, self) if name == "otel_usage.exporter.forwarder.endpoint" else None

    def exec_module(self, module):
        amid.set()
        go_on.wait(30)
        raise ModuleNotFoundError(module)

def forward():
    with contextlib.suppress(MissingExtraError):
        sink.turn(lambda: True)

sys.meta_path.insert(0, Slow())
settings = settings_of(folder, OTEL_USAGE_EXPORTER="otlp", OTEL_USAGE_ENDPOINT="http://127.0.0.1:1")
sink = sink_of(settings, paths_of(folder), lambda: None)
parent = Leadership(paths_of(folder))
assert parent.try_acquire()
leader = threading.Thread(target=forward)
leader.start()
assert amid.wait(30)
gone, ended = os.pipe()
pid = os.fork()
if not pid:
    os.read(gone, 1)
    try:
        leads = Leadership(paths_of(folder)).try_acquire()
    except OSError:
        leads = False
    os._exit(int(leads))
go_on.set()
leader.join()
parent.release()
os.write(ended, b"x")
print(os.waitpid(pid, 0)[1])
"""


def test_a_child_forked_amid_the_first_import_never_leads(tmp_path):
    """It would wait for ever for an import that nobody ends, and nobody else could lead."""
    assert finish(python(FORKED, tmp_path)) == "0\n"


def test_a_span_exporter_of_another_store_commits(tmp_path, monkeypatch):
    """A journal has one sink: that of the common store is the one that is set, any other store is a store."""
    monkeypatch.setenv("OTEL_USAGE_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_USAGE_DATABASE", str(tmp_path / "usage.duckdb"))
    exporters = {
        None: DuckDBSpanExporter(),
        "usage.duckdb": DuckDBSpanExporter(tmp_path / "usage.duckdb"),
        "other.duckdb": DuckDBSpanExporter(tmp_path / "other.duckdb"),
    }
    assert {name: each._settings.exporter for name, each in exporters.items()} == {
        None: "otlp",
        "usage.duckdb": "otlp",
        "other.duckdb": "duckdb",
    }
