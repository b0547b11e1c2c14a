"""UsageSampler: what it changes of a decision, and what it must not."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind, TraceState

from otel_usage.instrumentation.sampler import UsageSampler, unwrap_sampler, wrap_sampler

STATE = TraceState([("vendor", "1")])


class Fixed(Sampler):
    """Decides the same every time, with attributes and state of its own."""

    def __init__(self, decision):
        self.decision = decision

    def should_sample(self, parent_context, trace_id, name, *rest, **more):
        return SamplingResult(self.decision, {"from": "sampler"}, STATE)

    def get_description(self):
        return "Fixed"


def test_dropped_request_is_recorded_with_its_attributes():
    """DROP of a SERVER span becomes RECORD_ONLY: not sampled, with the attributes the instrumentation gave."""
    result = UsageSampler(Fixed(Decision.DROP)).should_sample(
        None, 1, "GET /", SpanKind.SERVER, {"http.request.method": "GET"}
    )
    assert result.decision is Decision.RECORD_ONLY
    assert not result.decision.is_sampled()
    assert dict(result.attributes) == {"http.request.method": "GET"}
    assert result.trace_state is STATE


@pytest.mark.parametrize("kind", [None, SpanKind.INTERNAL, SpanKind.CLIENT, SpanKind.CONSUMER, SpanKind.PRODUCER])
def test_other_spans_stay_dropped(kind):
    """What is no request is dropped as before."""
    assert UsageSampler(Fixed(Decision.DROP)).should_sample(None, 1, "x", kind).decision is Decision.DROP


@pytest.mark.parametrize("decision", [Decision.RECORD_ONLY, Decision.RECORD_AND_SAMPLE])
def test_other_decisions_pass_untouched(decision):
    """Whatever is recorded anyway keeps the sampler's own result."""
    result = UsageSampler(Fixed(decision)).should_sample(None, 1, "x", SpanKind.SERVER)
    assert (result.decision, dict(result.attributes)) == (decision, {"from": "sampler"})


def test_wrap_is_put_once_and_undone():
    """A tracer's sampler is wrapped once, lets its other spans be dropped, and is back afterwards."""
    tracer = TracerProvider(sampler=ALWAYS_OFF).get_tracer("early")
    wrap_sampler(tracer)
    wrap_sampler(tracer)
    assert tracer.start_span("GET /", kind=SpanKind.SERVER).is_recording()
    assert not tracer.start_span("work").is_recording()
    unwrap_sampler(tracer)
    assert tracer.sampler is ALWAYS_OFF


def test_description_names_the_wrapped_sampler():
    """The description says what is inside."""
    assert UsageSampler(ALWAYS_ON).get_description() == "UsageSampler{AlwaysOnSampler}"
