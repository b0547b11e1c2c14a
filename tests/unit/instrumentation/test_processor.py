"""UsageSpanProcessor: every request is kept once, whatever its span's life was."""

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind

from otel_usage.enrichment.facts import FrameworkUser, RequestFacts
from otel_usage.instrumentation.state import RequestState, activate, current, deactivate
from tests.unit.instrumentation.harness import Kept

FACTS = RequestFacts(
    method="GET",
    path="/datasets/7",
    route="/datasets/{id}",
    path_params={"id": "7"},
    headers={"authorization": "Bearer tok-0123456789abcdefghij"},
    user=FrameworkUser("7", "Grace"),
)


@pytest.fixture
def state():
    """A request whose bytes are counted by an outer wrap."""
    state = RequestState(lambda _: FACTS, None, counted=True)
    token = activate(state)
    yield state
    deactivate(token)


def test_a_span_without_a_wrap_is_kept_when_it_ends():
    """A request span of an instrumentation we do not know is kept at its end."""
    kept = Kept()
    kept.start().end()
    assert len(kept) == 1
    assert kept.overlay["usage.sampled"] is True


def test_other_kinds_are_not_touched():
    """Only SERVER spans are requests."""
    kept = Kept()
    span = kept.tracer.start_span("work", kind=SpanKind.INTERNAL)
    assert "end" not in vars(span)
    span.end()
    assert kept == []


def test_unsampled_requests_are_kept():
    """A sampler that drops everything drops no request; the record says it was not sampled."""
    kept = Kept(sampler=ALWAYS_OFF)
    kept.start().end()
    assert kept.overlay["usage.sampled"] is False


@pytest.mark.parametrize("is_forwarded", [True, False])
def test_the_span_tells_of_a_usage_copy(is_forwarded):
    """Where the request is sent besides, its ordinary span says so, and the copy does not."""
    kept = Kept(is_forwarded=is_forwarded)
    kept.start().end()
    assert kept[0].span.attributes.get("usage.forwarded", False) is is_forwarded
    assert "usage.forwarded" not in kept.overlay


def test_attributes_are_on_the_span(state):
    """What was found is on the ended span, under the documented names."""
    kept = Kept()
    kept.start().end()
    state.complete()
    attributes = dict(kept[0].span.attributes)
    assert attributes["user.id"] == "7"
    assert attributes["usage.user.source"] == "framework"
    assert (attributes["usage.resource.type"], attributes["usage.resource.id"]) == ("dataset", "7")
    assert attributes["usage.action"] == "view"
    assert attributes["usage.token.id"].startswith("tok_")
    assert not any("0123456789" in str(value) for value in attributes.values())


def test_counted_request_waits_for_its_last_byte(state):
    """A span that ends before the body has left is kept only when the answer is complete, with all its bytes."""
    kept = Kept()
    span = kept.start()
    span.end()
    assert kept == []
    state.response_bytes = 9
    state.complete()
    assert kept.overlay["http.response.body.size"] == 9
    assert kept[0].end_time_ns == kept[0].span.end_time


def test_answer_complete_before_the_span_ends(state):
    """The record is made when the answer is complete, and the span then ends with the very same time."""
    kept = Kept()
    span = kept.start()
    state.complete()
    (request,) = kept
    span.end()
    assert len(kept) == 1
    assert span.end_time == request.end_time_ns
    assert span.attributes["usage.action"] == "view"


def test_ending_twice_keeps_once(state):
    """However often a span is ended or an answer completed, the request is one."""
    kept = Kept()
    span = kept.start()
    for _ in range(2):
        span.end()
        state.complete()
    assert len(kept) == 1


def test_abandoned_answer_ends_the_span(state):
    """A span that nobody ended because its body was never read is ended with its request."""
    kept = Kept()
    span = kept.start()
    state.abandon()
    assert not span.is_recording()
    assert len(kept) == 1


def test_failing_reader_keeps_the_request(state, caplog):
    """A bug in reading a framework costs the details, not the row and not the request; it is logged once."""

    def fail(_):
        raise RuntimeError("another version of the framework")

    kept = Kept()
    for _ in range(2):
        state = RequestState(fail, None, counted=True)
        token = activate(state)
        kept.start().end()
        state.complete()
        deactivate(token)
    assert len(kept) == 2
    assert caplog.text.count("could not be described") == 1


def test_failing_store_does_not_reach_the_application(caplog):
    """Whatever keeping raises stays here."""

    def fail(_):
        raise OSError("no space")

    kept = Kept(keep=fail)
    kept.start().end()
    assert "could not be kept" in caplog.text


def test_described_again_when_the_answer_says_more(state):
    """A header that is known only after the span has ended still counts for the row."""
    kept = Kept()
    kept.start().end()
    state.content_disposition = "attachment; filename=a.csv"
    state.read_facts = lambda state: RequestFacts(
        method="GET", path="/datasets/7", route="/datasets/{id}", content_disposition=state.content_disposition
    )
    state.complete()
    assert kept.overlay["usage.action"] == "download"


def test_the_applications_own_attributes_win(state):
    """What application code has put on the span by itself is not overwritten."""
    kept = Kept()
    span = kept.start()
    span.set_attributes({"user.id": "mine", "usage.action": "render", "usage.operation": "Yearly report"})
    state.complete()
    assert kept.overlay["user.id"] == "mine"
    assert kept.overlay["usage.user.source"] == "application"
    assert kept.overlay["usage.action"] == "render"
    assert "user.name" not in kept.overlay
    assert span.attributes["usage.operation"] == "Yearly report"


def test_error_type_is_the_recorded_exception(state):
    """The exception that an instrumentation recorded on the span names the error."""
    kept = Kept()
    span = kept.start()
    span.record_exception(KeyError("x"))
    state.complete()
    assert kept.overlay["error.type"] == "KeyError"


def test_requests_do_not_see_each_other():
    """Without a wrap the state of an ended request is not that of the next in the same context."""
    kept = Kept()
    kept.start().end()
    assert current() is None
    kept.start().end()
    assert len(kept) == 2


def test_inactive_processor_binds_nothing():
    """After `uninstall()` spans are left alone."""
    kept = Kept()
    kept.processor.active = False
    kept.start().end()
    assert kept == []


def test_second_server_span_inside_a_request(state):
    """A SERVER span that the application makes inside a request does not take the request's place."""
    kept = Kept()
    outer = kept.start()
    kept.start().end()
    assert current() is state
    outer.end()
    state.complete()
    assert len(kept) == 2
