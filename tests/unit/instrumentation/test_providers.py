"""Providers: whose spans are seen, and what is left of us in them."""

import gc
import weakref

import pytest
from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import ConcurrentMultiSpanProcessor, SynchronousMultiSpanProcessor, Tracer, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind

from otel_usage.instrumentation import providers
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.processor import UsageSpanProcessor
from otel_usage.instrumentation.providers import Followed, StandIn


class Kept(list):
    """What was kept, and how often it was flushed."""

    flushed = 0
    closed = 0

    def flush(self, _timeout):
        self.flushed += 1
        return True

    def close(self):
        self.closed += 1

    @property
    def processor(self):
        return UsageSpanProcessor(self.append, lambda: None, self.flush, self.close)


@pytest.fixture
def kept():
    return Kept()


@pytest.fixture
def patches():
    """Undone afterwards."""
    patches = Patches()
    yield patches
    patches.undo()


@pytest.fixture
def followed(kept, patches):
    """Every provider is followed."""
    followed = Followed(kept.processor, all_requests=True)
    followed.begin(patches)
    return followed


@pytest.fixture
def no_provider(monkeypatch):
    """The API as it is before anybody has set a provider, and afterwards as it was."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", type(trace._TRACER_PROVIDER_SET_ONCE)())


def provider(**options):
    return TracerProvider(shutdown_on_exit=False, **options)


def request(tracer):
    """One request span, from start to end."""
    span = tracer.start_span("GET", kind=SpanKind.SERVER, attributes={"http.request.method": "GET"})
    span.end()
    return span


def test_every_provider_is_followed(kept, followed):
    """Whoever made it and whatever for."""
    request(provider().get_tracer("one"))
    request(provider().get_tracer("two"))
    assert len(kept) == 2


def test_tracers_that_were_handed_over_before(kept, patches):
    """An instrumentation may hold its tracer since long before."""
    tracer = provider().get_tracer("early")
    Followed(kept.processor, all_requests=True).begin(patches)
    request(tracer)
    assert len(kept) == 1


@pytest.mark.parametrize("how", ["keyword", "positional", "as current"])
def test_every_way_to_start_a_span(kept, followed, how):
    """The kind of a span may be given by name or by place."""
    tracer = provider().get_tracer("any")
    attributes = {"http.request.method": "GET"}
    if how == "keyword":
        tracer.start_span(name="GET", kind=SpanKind.SERVER, attributes=attributes).end()
    elif how == "positional":
        tracer.start_span("GET", None, SpanKind.SERVER, attributes).end()
    else:
        with tracer.start_as_current_span("GET", kind=SpanKind.SERVER, attributes=attributes):
            pass
    assert len(kept) == 1


def test_other_spans_are_left_alone(followed):
    """A provider without request spans has nothing of us."""
    own = provider(sampler=ALWAYS_OFF)
    tracer = own.get_tracer("work")
    assert not tracer.start_span("work", kind=SpanKind.CLIENT).is_recording()
    assert tracer.sampler is ALWAYS_OFF
    assert own._active_span_processor._span_processors == ()


def test_the_providers_own_sampler_stays(kept, followed):
    """The tracers of requests have it wrapped; what the application reads on its provider is its own."""
    own = provider(sampler=ALWAYS_OFF)
    assert not request(own.get_tracer("requests")).context.trace_flags.sampled
    assert own.sampler is ALWAYS_OFF
    assert len(kept) == 1


def test_a_sampler_that_is_replaced_later(kept, followed):
    """A tracer that gets another sampler while requests come has all of them recorded nevertheless."""
    tracer = provider(sampler=ALWAYS_ON).get_tracer("requests")
    request(tracer)
    tracer.sampler = ALWAYS_OFF
    request(tracer)
    assert [request.span.context.trace_flags.sampled for request in kept] == [True, False]


def test_where_nothing_is_kept_no_sampler_is_wrapped(kept, patches):
    """Attributes are for those who sample."""
    Followed(kept.processor, all_requests=False).begin(patches)
    tracer = provider(sampler=ALWAYS_OFF).get_tracer("requests")
    tracer.start_span("GET", kind=SpanKind.SERVER).end()
    assert tracer.sampler is ALWAYS_OFF
    assert kept == []


def test_only_the_given_provider(kept, patches):
    """`install(tracer_provider=...)` leaves all others alone."""
    given, other = provider(sampler=ALWAYS_OFF), provider(sampler=ALWAYS_OFF)
    Followed(kept.processor, all_requests=True, only=given).begin(patches)
    request(given.get_tracer("requests"))
    assert not other.get_tracer("requests").start_span("GET", kind=SpanKind.SERVER).is_recording()
    assert len(kept) == 1


@pytest.mark.parametrize("multi", [SynchronousMultiSpanProcessor, lambda: ConcurrentMultiSpanProcessor(2)])
def test_one_multi_processor_for_two_providers(kept, followed, multi):
    """Providers that share their processors do not double the requests."""
    shared = multi()
    for name in ("one", "two"):
        request(provider(active_span_processor=shared).get_tracer(name))
    assert len(kept) == 2
    assert len(shared._span_processors) == 1
    shared.shutdown()


def test_is_alone(followed):
    """Attributes are only for others: as soon as anybody else looks at any provider's spans they are there."""
    first, second = provider(), provider()
    assert not followed.is_alone()
    request(first.get_tracer("requests"))
    request(second.get_tracer("requests"))
    assert followed.is_alone()
    second.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
    assert not followed.is_alone()


def outgoing(tracer):
    """The `traceparent` that a call within a child span sends on, and whether the child is recorded."""
    carrier = {}
    with tracer.start_as_current_span("call", kind=SpanKind.CLIENT) as child:
        propagate.inject(carrier)
        return carrier["traceparent"], child.is_recording()


@pytest.mark.parametrize("sampler", [ALWAYS_ON, ALWAYS_OFF, TraceIdRatioBased(0.5)])
@pytest.mark.parametrize("name", ["requests", "calls"])
def test_children_that_nobody_sees(followed, sampler, name):
    """They are not recorded, whichever tracer makes them, and what goes out is sampled as ever."""
    own = provider(sampler=ParentBased(sampler))
    with own.get_tracer("requests").start_as_current_span("GET", kind=SpanKind.SERVER) as span:
        sent, recorded = outgoing(own.get_tracer(name))
    context = span.get_span_context()
    assert not recorded
    assert sent == f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def test_children_that_somebody_sees(followed):
    """As soon as there is another processor they are spans like any."""
    own, exporter = provider(), InMemorySpanExporter()
    tracer = own.get_tracer("requests")
    request(tracer)
    own.add_span_processor(SimpleSpanProcessor(exporter))
    with tracer.start_as_current_span("GET", kind=SpanKind.SERVER):
        outgoing(tracer)
    assert [span.name for span in exporter.get_finished_spans()] == ["call", "GET"]


class Unlike(ParentBased):
    """Decides of children by itself."""

    def __init__(self):
        super().__init__(ALWAYS_ON, local_parent_sampled=ALWAYS_OFF)


@pytest.mark.parametrize("sampler", [Unlike(), ALWAYS_ON])
def test_children_that_are_sampled_by_themselves(followed, sampler):
    """Where the decision may be another one than the request's, the sampler is asked."""
    own = provider(sampler=sampler)
    with own.get_tracer("requests").start_as_current_span("GET", kind=SpanKind.SERVER):
        sent, recorded = outgoing(own.get_tracer("requests"))
    assert recorded is (sampler is ALWAYS_ON)
    assert bool(int(sent[-2:], 16) & 1) is (sampler is ALWAYS_ON)


def test_work_that_is_no_requests(followed):
    """Outside a request, or in one of another process, spans are made as ever."""
    own = provider()
    request(own.get_tracer("requests"))
    assert own.get_tracer("work").start_span("nightly").is_recording()
    remote = trace.SpanContext(1, 2, is_remote=True, trace_flags=trace.TraceFlags(1))
    context = trace.set_span_in_context(trace.NonRecordingSpan(remote))
    assert own.get_tracer("work").start_span("message", context, kind=SpanKind.CONSUMER).is_recording()


def test_undo_leaves_nothing(kept, patches, followed):
    """Tracer, sampler and processors are what they were."""
    own = provider(sampler=ALWAYS_OFF)
    tracer = own.get_tracer("requests")
    request(tracer)
    patches.undo()
    assert tracer.sampler is ALWAYS_OFF
    assert own._active_span_processor._span_processors == ()
    assert "start_span" not in vars(tracer)
    assert not request(tracer).is_recording()
    assert len(kept) == 1
    assert not hasattr(Tracer.start_span, "__wrapped__")


def test_providers_are_not_kept_alive(kept, followed):
    """A test suite makes thousands; only the last request's may still be held, by the context it was served in."""
    own = [provider() for _ in range(5)]
    for each in own:
        request(each.get_tracer("requests"))
    gone = [weakref.ref(each._active_span_processor) for each in own]
    del own, each
    kept.clear()
    gc.collect()
    assert [multi() for multi in gone[:-1]] == [None] * 4
    request(provider().get_tracer("requests"))
    assert len(followed._multis) <= 2


def test_the_end_of_a_provider(kept, followed):
    """It finishes what was written; the process goes on, with another provider or this one."""
    own = provider()
    tracer = own.get_tracer("requests")
    request(tracer)
    assert own.force_flush()
    own.shutdown()
    assert (kept.flushed, kept.closed) == (2, 0)
    request(tracer)
    assert len(kept) == 2


def test_a_failure_of_ours_stays_ours(followed, monkeypatch, caplog):
    """The application gets its span whatever happens to us."""
    monkeypatch.setattr(followed, "_join", lambda _: 1 / 0)
    monkeypatch.setattr(followed._processor, "on_start", lambda *_: 1 / 0)
    assert request(provider().get_tracer("requests")).end_time is not None
    assert "ZeroDivisionError" in caplog.text


def test_stand_in_gives_way(no_provider, kept, patches, followed):
    """What the application sets is the global provider, and has the spans of tracers that were issued before."""
    providers.stand_in(patches)
    assert isinstance(trace.get_tracer_provider(), StandIn)
    early = trace.get_tracer("early")
    exported = InMemorySpanExporter()
    own = provider()
    own.add_span_processor(SimpleSpanProcessor(exported))
    trace.set_tracer_provider(own)
    assert trace.get_tracer_provider() is own
    request(early)
    request(trace.get_tracer("late"))
    assert [span.instrumentation_scope.name for span in exported.get_finished_spans()] == ["early", "late"]
    assert len(kept) == 2


def test_stand_in_gives_way_once(no_provider, patches, caplog):
    """The second provider that an application sets is refused, as by the API without us."""
    providers.stand_in(patches)
    own = provider()
    trace.set_tracer_provider(own)
    trace.set_tracer_provider(provider())
    assert trace.get_tracer_provider() is own
    assert "Overriding of current TracerProvider is not allowed" in caplog.text


def test_stand_in_gives_way_to_any_provider(no_provider, patches):
    """A provider need not be the SDK's."""
    providers.stand_in(patches)
    early = trace.get_tracer("early")
    trace.set_tracer_provider(trace.NoOpTracerProvider())
    assert not request(early).is_recording()


def test_stand_in_that_the_application_uses_stays(no_provider, patches, caplog):
    """Whoever adds a processor to it has the provider that it would have had to make, and is not left behind."""
    providers.stand_in(patches)
    exported = InMemorySpanExporter()
    taken = trace.get_tracer_provider()
    taken.add_span_processor(SimpleSpanProcessor(exported))
    trace.set_tracer_provider(provider())
    assert "Overriding of current TracerProvider is not allowed" in caplog.text
    patches.undo()
    assert trace.get_tracer_provider() is taken
    request(trace.get_tracer("any"))
    assert len(exported.get_finished_spans()) == 1


def test_stand_in_goes(no_provider, patches):
    """After `undo` the API has its proxy again, and what the application sets then is taken, also by early tracers."""
    providers.stand_in(patches)
    early = trace.get_tracer("early")
    patches.undo()
    assert providers.is_missing()
    assert not request(early).is_recording()
    exported = InMemorySpanExporter()
    own = provider()
    own.add_span_processor(SimpleSpanProcessor(exported))
    trace.set_tracer_provider(own)
    request(early)
    assert len(exported.get_finished_spans()) == 1
