"""Request spans of ours: they answer as the SDK's do, and what is exported of them is the same."""

import functools
import json
import subprocess
import sys
from threading import Thread
from types import FunctionType

import pytest
from opentelemetry import propagate, trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk import trace as sdk_trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanLimits, SpanProcessor, Tracer, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased as Ratio
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from otel_usage.instrumentation import light_spans
from otel_usage.instrumentation.light_spans import LightSpan
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.processor import UsageSpanProcessor
from otel_usage.instrumentation.providers import Followed

ATTRIBUTES = {"http.request.method": "GET", "server.port": 80}
ELSEWHERE = SpanContext(7, 7, is_remote=True, trace_flags=TraceFlags(1))


class Counting(RandomIdGenerator):
    """Ids that two providers make alike."""

    def __init__(self):
        self.last = 0

    def generate_span_id(self):
        self.last += 1
        return self.last

    def generate_trace_id(self):
        return self.generate_span_id()


@pytest.fixture
def kept():
    """The requests that were kept."""
    return []


@pytest.fixture
def patches(kept):
    """Every provider is followed, until they are undone."""
    patches = Patches()
    processor = UsageSpanProcessor(kept.append, lambda: None, lambda _: True, lambda: None, is_alone=lambda: True)
    Followed(processor, all_requests=True).begin(patches)
    yield patches
    patches.undo()


def provider(**options):
    return TracerProvider(shutdown_on_exit=False, **options)


def start(tracer, attributes=ATTRIBUTES, **options):
    return tracer.start_span("GET", kind=SpanKind.SERVER, attributes=attributes, **options)


def known(tracer):
    """The tracer after its first request, whose span is the SDK's."""
    start(tracer).end()
    return tracer


def told(span):
    """All that a span tells but its times and ids."""
    events = [(event.name, dict(event.attributes)) for event in span.events]
    for _, attributes in events:
        attributes.pop("exception.stacktrace", None)
    return {
        "name": span.name,
        "kind": span.kind,
        "attributes": dict(span.attributes),
        "events": events,
        "links": [(link.context, dict(link.attributes)) for link in span.links],
        "status": (span.status.status_code, span.status.description),
        "dropped": (span.dropped_attributes, span.dropped_events, span.dropped_links),
        "recording": span.end_time is None,
        "scope": span.instrumentation_scope,
        "parent": span.parent,
        "json": json.loads(span.to_json()).keys() if b"b" not in span.attributes.values() else None,
    }


class Odd:
    """No attribute value, but with a text."""

    def __str__(self):
        return "odd"


def many(span):
    for number in range(200):
        span.set_attribute(f"a{number}", number)
        span.add_event(f"e{number}")


def fail(span):
    with pytest.raises(ValueError, match="wrong"), trace.use_span(span, end_on_exit=True):
        raise ValueError("wrong")


CALLS = {
    "nothing": lambda span: None,
    "attribute": lambda span: span.set_attribute("a", "b"),
    "attribute twice": lambda span: (span.set_attribute("a", "b"), span.set_attribute("a", 2)),
    "attributes": lambda span: span.set_attributes({"a": 1, "b": True, "c": 1.5, "d": "e"}),
    "equal values of other types": lambda span: span.set_attributes({"server.port": 80.0}),
    "attributes of odd names": lambda span: span.set_attributes({7: 1, "": 2, "a": "b"}),
    "attributes of odd values": lambda span: span.set_attributes({"a": ["b"], "c": None, "d": "e"}),
    "too many attributes": lambda span: span.set_attributes({f"a{number}": number for number in range(200)}),
    "list": lambda span: span.set_attribute("a", ["b", "c"]),
    "None": lambda span: span.set_attribute("a", None),
    "bytes": lambda span: span.set_attribute("a", b"b"),
    "odd": lambda span: span.set_attribute("a", Odd()),
    "empty name": lambda span: span.set_attribute("", 1),
    "odd name": lambda span: span.set_attribute(7, 1),
    "odd, then plain": lambda span: (span.set_attribute("a", ["b"]), span.set_attribute("c", "d")),
    "renamed": lambda span: [span.set_attribute(f"new.{name}", value) for name, value in span.attributes.items()],
    "named": lambda span: [span.set_attribute(f"new.{name}", 1) for name in span.attributes],
    "keys": lambda span: [span.set_attribute(f"new.{name}", 1) for name in span.attributes.keys()],  # noqa: SIM118
    "values": lambda span: [span.set_attribute(f"new.{value}", 1) for value in span.attributes.values()],
    "copied": lambda span: span.set_attributes({f"new.{name}": 1 for name in span.attributes.copy()}),
    "event": lambda span: span.add_event("e", {"a": ["b"]}),
    "exception": lambda span: span.record_exception(ValueError("wrong"), {"a": 1}),
    "link": lambda span: span.add_link(ELSEWHERE, {"a": 1}),
    "invalid link": lambda span: span.add_link(trace.INVALID_SPAN_CONTEXT),
    "status": lambda span: span.set_status(Status(StatusCode.ERROR, "wrong")),
    "status after OK": lambda span: (span.set_status(StatusCode.OK), span.set_status(StatusCode.ERROR)),
    "name": lambda span: span.update_name("other"),
    "started again": lambda span: span.start(),
    "end": lambda span: span.end(),
    "end twice": lambda span: (span.end(17), span.end(18)),
    "after the end": lambda span: (span.end(), span.set_attribute("a", 1), span.add_event("e"), span.update_name("x")),
    "many": many,
    "as a context manager": lambda span: span.__exit__(None, None, None),
    "failing in it": lambda span: span.__exit__(ValueError, ValueError("wrong"), None),
    "failing around it": fail,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_answers_as_the_sdks(call, patches):
    """Whatever is done to it, what it tells is what a span of the SDK tells."""
    ours = start(known(provider().get_tracer("requests")))
    patches.undo()
    theirs = start(provider().get_tracer("requests"))
    assert type(ours) is LightSpan
    assert isinstance(ours, Span)
    call(ours)
    call(theirs)
    assert told(ours) == told(theirs)


@pytest.mark.parametrize(
    "attributes",
    [None, {}, {"a": ["b"]}, {"a": None}, {"": 1}, {7: 1}, {"a": Odd()}, {f"a{i}": i for i in range(200)}],
    ids=["none", "empty", "list", "None", "no-name", "odd-name", "odd", "many"],
)
def test_first_attributes(attributes, patches):
    """Attributes that a span starts with are kept, cleaned and limited as the SDK does."""
    ours = start(known(provider().get_tracer("requests")), attributes)
    patches.undo()
    assert told(ours) == told(start(provider().get_tracer("requests"), attributes))


def test_its_attributes_are_its_own(patches):
    """Instrumentations go on with the dictionary that they gave."""
    given = dict(ATTRIBUTES)
    span = start(known(provider().get_tracer("requests")), given)
    given["later"] = 1
    assert dict(span.attributes) == ATTRIBUTES


@pytest.mark.parametrize("limit", [0, 2, 5, None])
def test_count_limits(limit, patches, monkeypatch):
    """`OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT` and the other counts are kept to."""
    for name in ("SPAN_ATTRIBUTE", "SPAN_EVENT", "SPAN_LINK", "EVENT_ATTRIBUTE"):
        monkeypatch.setenv(f"OTEL_{name}_COUNT_LIMIT", "" if limit is None else str(limit))
    ours = start(known(provider().get_tracer("requests")))
    patches.undo()
    theirs = start(provider().get_tracer("requests"))
    for span in (ours, theirs):
        for number in range(9):
            span.set_attribute(f"a{number}", number)
            span.set_attribute("server.port", 80)
            span.add_event("e", {f"a{number}": number for number in range(9)})
            span.add_link(ELSEWHERE)
    assert told(ours) == told(theirs)


def test_where_values_are_limited_spans_are_the_sdks(patches):
    """`OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT` is the SDK's to keep to."""
    tracer = known(provider(span_limits=SpanLimits(max_attribute_length=3)).get_tracer("requests"))
    span = start(tracer, {"a": "abcdef"})
    assert type(span) is not LightSpan
    assert span.attributes["a"] == "abc"


PARENTS = {
    "none": None,
    "sampled": SpanContext(7, 9, is_remote=True, trace_flags=TraceFlags(1)),
    "not sampled": SpanContext(7, 9, is_remote=True, trace_flags=TraceFlags(0)),
    "random": SpanContext(7, 9, is_remote=True, trace_flags=TraceFlags(3)),
    "with state": SpanContext(7, 9, True, TraceFlags(1), trace.TraceState([("vendor", "x")])),
    "invalid": trace.INVALID_SPAN_CONTEXT,
}
SAMPLERS = {
    "on": ALWAYS_ON,
    "off": ALWAYS_OFF,
    "parent": ParentBased(ALWAYS_ON),
    "half": Ratio(0.5),
    "parent, none": ParentBased(Ratio(0.0)),
    "parent, other way round": ParentBased(ALWAYS_ON, ALWAYS_OFF, ALWAYS_ON),
}


@pytest.mark.parametrize("parent", PARENTS.values(), ids=PARENTS)
@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_what_is_sent_on(sampler, parent, patches):
    """The outgoing headers and the parent are those of the SDK's span."""
    context = None if parent is None else trace.set_span_in_context(NonRecordingSpan(parent))
    ours = known(provider(sampler=sampler, id_generator=Counting()).get_tracer("requests"))
    mine = start(ours, context=context)
    patches.undo()
    theirs = start(known(provider(sampler=sampler, id_generator=Counting()).get_tracer("requests")), context=context)
    assert type(mine) is LightSpan
    assert headers(mine) == headers(theirs)
    assert mine.parent == (parent if parent is not None and parent.is_valid else None)


def headers(span):
    sent = {}
    propagate.inject(sent, trace.set_span_in_context(span))
    return sent


def test_its_times(patches):
    """The times that an instrumentation gives are its own."""
    span = start(known(provider().get_tracer("requests")), start_time=11)
    span.end(12)
    span.end(13)
    assert (span.start_time, span.end_time) == (11, 12)


def test_the_record_has_it_all(kept, patches):
    """What is kept is the span itself."""
    span = start(known(provider().get_tracer("requests")))
    span.set_attribute("tenant", "north")
    span.end()
    assert kept[-1].span is span
    assert span.attributes["tenant"] == "north"


def test_a_processor_that_comes_later(patches):
    """From then on it is shown every span, from its start to its end."""
    own = provider()
    tracer = known(own.get_tracer("requests"))
    watching = Watching()
    own.add_span_processor(watching)
    span = start(tracer, context=Context({"a": "b"}))
    span.end()
    assert watching.started == [(span, {"a": "b"})]
    assert [each.name for each in watching.ended] == ["GET"]


class Watching(SpanProcessor):
    """Notes what it is shown."""

    def __init__(self):
        self.started = []
        self.ended = []

    def on_start(self, span, parent_context=None):
        self.started.append((span, parent_context))

    def on_end(self, span):
        self.ended.append(span)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_is_exported(call, patches):
    """Whatever was done to it, a processor gets what it would get from a span of the SDK."""
    watching = Watching()
    own = provider()
    own.add_span_processor(watching)
    ours = start(known(own.get_tracer("requests")))
    patches.undo()
    theirs = start(own.get_tracer("requests"))
    assert type(ours) is LightSpan
    for span in (ours, theirs):
        call(span)
        span.end()
    mine, sdks = watching.ended[-2:]
    assert type(mine) is type(sdks)
    assert told(mine) == told(sdks)
    assert mine.attributes.keys() == sdks.attributes.keys()


def test_a_processor_that_changes_spans_when_they_start(patches):
    """What it does to the first span is done to each that it is shown, and by it alone."""

    class Changing(SpanProcessor):
        count = 0

        def on_start(self, span, parent_context=None):
            Changing.count += 1
            if Changing.count == 1:
                span.set_status(StatusCode.ERROR, "first")
                span.update_name("first")
                span.add_event("first")
                span._resource = Resource({"first": True})
            span.set_attribute("number", Changing.count)

    own = provider()
    own.add_span_processor(Changing())
    second = start(known(own.get_tracer("requests")))
    patches.undo()
    third = start(own.get_tracer("requests"))
    assert type(second) is LightSpan
    assert second.attributes["number"] == 2
    third.set_attribute("number", 2)
    assert told(second) == told(third)
    assert second.resource is third.resource


def test_a_processor_that_fails(patches):
    """What it raises when a span starts reaches the application, as from the SDK."""

    class Failing(SpanProcessor):
        def on_start(self, span, parent_context=None):
            raise ValueError("mine")

    own = provider()
    tracer = known(own.get_tracer("requests"))
    own.add_span_processor(Failing())
    with pytest.raises(ValueError, match="mine"):
        start(tracer)


def test_an_sdk_that_ends_its_spans_otherwise(patches, monkeypatch):
    """An SDK that asks more of a span's attributes than ours can do keeps its own."""
    other = FunctionType((lambda self, end_time=None: self._attributes._frozen()).__code__, vars(sdk_trace))
    other.__defaults__ = (None,)
    monkeypatch.setattr(Span, "end", other)
    monkeypatch.setattr(BoundedAttributes, "_frozen", lambda self: None, raising=False)
    own = provider()
    own.add_span_processor(Watching())
    span = start(known(own.get_tracer("requests")))
    assert type(span) is not LightSpan
    span.end()


@pytest.mark.parametrize("name", ["__init__", "start", "end", "set_attribute", "set_attributes"])
def test_somebody_who_has_wrapped_the_spans_of_the_sdk(name, patches, monkeypatch):
    """He sees each as before: it is the SDK's."""
    wrapped, seen = vars(Span)[name], []
    monkeypatch.setattr(
        Span, name, functools.wraps(wrapped)(lambda *args, **kw: seen.append(1) or wrapped(*args, **kw))
    )
    tracer = known(provider().get_tracer("requests"))
    del seen[:]
    span = start(tracer)
    span.set_attribute("a", 1)
    span.set_attributes({"a": 2})
    span.end()
    assert type(span) is not LightSpan
    assert seen


def test_somebody_who_has_wrapped_the_tracer_before_us(monkeypatch):
    """What he puts on the spans that he gets is on each of them, those inside a request among them."""
    starts = Tracer.start_span

    @functools.wraps(starts)
    def wrap(*args, **kwargs):
        span = starts(*args, **kwargs)
        span.set_attribute("vendor", "v")
        return span

    monkeypatch.setattr(Tracer, "start_span", wrap)
    patches = Patches()
    processor = UsageSpanProcessor(lambda _: None, lambda: None, lambda _: True, lambda: None, is_alone=lambda: True)
    Followed(processor, all_requests=True).begin(patches)
    try:
        tracer = known(provider().get_tracer("requests"))
        span = start(tracer)
        assert span.attributes["vendor"] == "v"
        assert tracer.start_span("inside", trace.set_span_in_context(span)).attributes["vendor"] == "v"
    finally:
        patches.undo()


def test_a_name_that_is_none_at_all(patches):
    """What the SDK makes of it, which differs by version, is made of it."""
    ours = start(known(provider().get_tracer("requests")))
    patches.undo()
    assert outcome(ours) == outcome(start(provider().get_tracer("requests")))


def outcome(span):
    try:
        span.set_attribute(["a"], 1)
    except TypeError:
        return "refused"
    return told(span)


def test_a_processor_that_comes_amid_a_request(patches):
    """It is told the end of a request as by the SDK, with all that it consists of."""
    own = provider()
    span = start(known(own.get_tracer("requests")))
    exporter = InMemorySpanExporter()
    own.add_span_processor(SimpleSpanProcessor(exporter))
    span.set_attribute("tenant", "north")
    span.end()
    (exported,) = exporter.get_finished_spans()
    assert exported.attributes.items() >= {**ATTRIBUTES, "tenant": "north"}.items()
    assert not span.is_recording()


class Adding(Sampler):
    """An application's own, which adds an attribute."""

    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None):
        return SamplingResult(Decision.RECORD_AND_SAMPLE, {**attributes, "sampled.by": "rule"})

    def get_description(self):
        return "Adding"


@pytest.mark.parametrize("sampler", [Adding(), ParentBased(Adding())], ids=["alone", "in ParentBased"])
def test_an_applications_own_sampler(sampler, patches):
    """What it adds is on the span, which is the SDK's."""
    span = start(known(provider(sampler=sampler).get_tracer("requests")))
    assert type(span) is not LightSpan
    assert span.attributes["sampled.by"] == "rule"


def test_a_sampler_that_is_replaced(patches):
    """The next request is decided by the new one."""
    tracer = known(provider(sampler=ALWAYS_ON).get_tracer("requests"))
    tracer.sampler = ALWAYS_OFF
    flags = [start(tracer).context.trace_flags.sampled for _ in range(3)]
    assert flags == [False, False, False]


def test_a_tracer_that_changes(patches):
    """What a tracer has been given since, as the resource after a fork, is what its spans have."""
    tracer = known(provider().get_tracer("requests"))
    tracer.resource = Resource({"service.name": "other"})
    tracer.id_generator = Counting()
    assert [start(tracer).resource.attributes["service.name"] for _ in range(3)] == ["other"] * 3
    assert start(tracer).context.span_id < 20


def test_links_are_the_sdks(patches):
    """Spans with links, and whatever else may be asked for, are made by the SDK."""
    span = start(known(provider().get_tracer("requests")), links=[Link(ELSEWHERE)])
    assert type(span) is not LightSpan
    assert len(span.links) == 1


def test_an_sdk_that_counts_its_spans(patches, monkeypatch):
    """`OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED`: each span is the SDK's, and counted."""
    monkeypatch.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true")
    assert type(start(known(provider().get_tracer("requests")))) is not LightSpan


def test_an_sdk_whose_spans_have_more(patches, monkeypatch):
    """Spans of a version that we do not know are left as they are."""
    monkeypatch.setattr(light_spans, "_SPAN", light_spans._SPAN - {"_links"})
    assert type(start(known(provider().get_tracer("requests")))) is not LightSpan


def test_a_tracer_that_is_switched_off(patches, kept):
    """It makes no spans, and its requests no rows."""
    tracer = known(provider().get_tracer("requests"))
    tracer._tracer_config = type(tracer._tracer_config)(is_enabled=False)
    del kept[:]
    for _ in range(3):
        span = start(tracer)
        assert not span.is_recording()
        span.end()
    assert kept == []


def test_a_failure_of_ours_is_not_the_applications(patches, monkeypatch, caplog):
    """The span is the SDK's then, and the request is kept."""
    tracer = known(provider().get_tracer("requests"))
    monkeypatch.setattr(light_spans, "LightSpan", None)
    span = start(tracer)
    assert type(span) is not LightSpan
    assert span.is_recording()
    assert "cannot be followed" in caplog.text


def test_a_failure_of_the_applications_is_its_own(patches):
    """What the SDK raises is raised."""
    tracer = known(provider().get_tracer("requests"))
    tracer.id_generator = None
    with pytest.raises(AttributeError):
        start(tracer)


def test_once_undone_spans_are_the_sdks(patches):
    """Nothing of us is left in a tracer."""
    tracer = known(provider().get_tracer("requests"))
    patches.undo()
    assert type(start(tracer)) is not LightSpan


def test_threads_that_set_attributes(patches):
    """Of what several threads set, some of it only the SDK's attributes can hold, nothing is missing."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        tracer = known(provider().get_tracer("x"))
        for _ in range(300):
            span = start(tracer, {f"k{number}": "v" for number in range(20)})
            assert type(span) is LightSpan
            plain = Thread(target=lambda span=span: [span.set_attribute(f"a{n}", str(n)) for n in range(40)])
            many = Thread(target=lambda span=span: span.set_attributes({f"b{n}": n for n in range(40)}))
            lists = Thread(target=span.set_attribute, args=("list", ["a", "b"]))
            for thread in (plain, many, lists):
                thread.start()
            for thread in (plain, many, lists):
                thread.join()
            assert len(span.attributes) == 101
    finally:
        sys.setswitchinterval(interval)


def test_the_first_spans_options_are_its_own(patches):
    """A span that was started in its own way is no model for the next."""
    tracer = provider().get_tracer("x")
    start(tracer, record_exception=False, set_status_on_exception=False).end()
    with pytest.raises(ValueError, match="told"), trace.use_span(start(tracer), end_on_exit=True) as span:
        assert type(span) is LightSpan
        raise ValueError("told")
    assert (len(span.events), span.status.status_code) == (1, StatusCode.ERROR)


GREENLETS = """
from otel_usage.instrumentation import providers
import gevent.monkey; gevent.monkey.patch_all()
import gevent, logging
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind
from otel_usage.instrumentation.light_spans import LightSpan
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.processor import UsageSpanProcessor

class Yielding(logging.Handler):
    def emit(self, record): gevent.sleep(0.01)

logging.getLogger().addHandler(Yielding())
processor = UsageSpanProcessor(lambda _: None, lambda: None, lambda _: True, lambda: None, is_alone=lambda: True)
providers.Followed(processor, all_requests=True).begin(Patches())
tracer = TracerProvider(shutdown_on_exit=False).get_tracer("x")
tracer.start_span("first", kind=SpanKind.SERVER).end()
span = tracer.start_span("second", kind=SpanKind.SERVER)
first = gevent.spawn(span.set_attribute, "odd", object())
second = gevent.spawn(span.set_attribute, "list", ["1"])
gevent.joinall([first, second])
print(type(span).__name__, span.attributes["list"])
"""


def test_greenlets_that_set_attributes():
    """A log handler that yields while an attribute is refused keeps no other greenlet, and so the hub, for ever."""
    done = subprocess.run([sys.executable, "-c", GREENLETS], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["LightSpan", "('1',)"], done.stderr
