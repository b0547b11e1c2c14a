"""Spans that nobody but us would see: what stands for them, at a part of their cost.

Most of what a span of the SDK costs is for exporters. Whatever leaves the process (ids, flags, trace state) is still
the SDK's, which is asked for a span that is not recorded; and as soon as somebody else gets spans, all are its own.
"""

import sys
import threading
from collections.abc import Callable, Mapping
from copy import copy
from functools import lru_cache
from time import time_ns
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor
from opentelemetry.trace import NonRecordingSpan, SpanKind

from otel_usage.instrumentation.processor import UsageSpanProcessor
from otel_usage.instrumentation.sampler import UnrecordingSampler, UsageSampler, children_follow, is_of_the_sdk

_SHUTDOWN_MILLISECONDS: Final = 5000

# What a span of the SDK consists of. Where a version's has anything else, its spans are left as they are.
_SPAN: Final = frozenset(
    (
        *("_attributes", "_context", "_end_time", "_events", "_instrumentation_info", "_instrumentation_scope"),
        *("_kind", "_limits", "_links", "_lock", "_name", "_parent", "_record_end_metrics", "_record_exception"),
        *("_resource", "_sampler", "_set_status_on_exception", "_span_processor", "_start_time", "_status"),
        "_trace_config",
    )
)
_NOTHING: Final = object()
_PLAIN_VALUES: Final = frozenset((str, int, bool, float))


class Ending(SpanProcessor):
    """What a provider has of us: its request spans are shown to our processor when they start.

    The end of one provider is not that of the process: others may go on, and applications replace theirs.
    """

    def __init__(self, processor: UsageSpanProcessor) -> None:
        self._processor = processor

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._processor.force_flush(timeout_millis)

    def shutdown(self) -> None:
        self._processor.force_flush(_SHUTDOWN_MILLISECONDS)


def is_seen_by_us_alone(tracer: Any) -> bool:
    """Whether nobody else gets the spans of a tracer, neither now nor when they end."""
    return _gives_to_us_alone(getattr(tracer, "span_processor", None))


def _gives_to_us_alone(multi: Any) -> bool:
    processors: tuple[Any, ...] = getattr(multi, "_span_processors", ())
    return len(processors) == 1 and isinstance(processors[0], Ending)


def unseen_child(tracer: Any, context: Context | None) -> NonRecordingSpan | None:
    """What stands for a span inside a request that nobody would see: it costs next to nothing.

    What the application sends on is the request span's own context, with the flags that the child would have had.
    """
    if not (is_seen_by_us_alone(tracer) and children_follow(getattr(tracer, "sampler", None))):
        return None
    parent = trace.get_current_span(context).get_span_context()
    return NonRecordingSpan(parent) if parent.is_valid and not parent.is_remote else None


# What a light span can be started with.
_OPTIONS: Final = frozenset(("attributes", "start_time"))


def start_unseen(
    start: Callable[..., Any], tracer: Any, name: str, context: Context | None, kind: SpanKind, options: dict[str, Any]
) -> Any:
    """A request's span that is ours alone, None where somebody else would see it or only the SDK can make it.

    Args:
        start: The SDK's `Tracer.start_span`.
        tracer: Whose span it is.
        name, context, kind: Of the span.
        options: The other arguments of `start`.
    """
    spans = getattr(tracer.sampler, "unseen", None)
    if (
        spans is None
        or not spans.usable
        or options.keys() - _OPTIONS
        or spans.tracer != vars(tracer)
        or not is_seen_by_us_alone(tracer)
    ):
        return None
    return spans.start(start, name, context, kind, **options)


def learn(tracer: Any, span: Any) -> None:
    """Look at a request's span that the SDK has made: the next ones of its tracer can be like it.

    Args:
        tracer: Of the span.
        span: One that has just been started.
    """
    sampler = tracer.sampler
    if not (isinstance(sampler, UsageSampler) and is_seen_by_us_alone(tracer)):
        return
    if sampler.unseen is None or sampler.unseen.tracer != vars(tracer):
        sampler.unseen = UnseenSpans(tracer, span)


class UnseenSpans:
    """Makes the request spans of one tracer as long as it stays as it is.

    Args:
        tracer: A tracer of the SDK.
        span: A span that the SDK has just made by it, which ours will be like.
    """

    def __init__(self, tracer: Any, span: Any) -> None:
        self.tracer = dict(vars(tracer))
        own = tracer.sampler.wrapped
        metrics = type(getattr(tracer, "_tracer_metrics", None)).__name__
        self.usable = (
            type(span).__module__ == Span.__module__
            and vars(span).keys() == _SPAN
            and is_of_the_sdk(own)
            and metrics == "NoOpTracerMetrics"
            and span._limits.max_span_attribute_length is None
        )
        if not self.usable:
            return
        self._asked = copy(tracer)
        self._asked.sampler = UnrecordingSampler(own)
        self._fields = dict(vars(span), _attributes=None, _events=(), _links=(), _context=None, _parent=None)
        self._fields |= {"_record_exception": True, "_set_status_on_exception": True}  # unless options say otherwise
        room = span._limits.max_span_attributes
        self._fields["_room"] = sys.maxsize if room is None else room

    def start(
        self,
        start: Callable[..., Any],
        name: str,
        context: Context | None,
        kind: SpanKind,
        attributes: Mapping[str, Any] | None = None,
        start_time: int | None = None,
    ) -> Any:
        """As `Tracer.start_span`."""
        unrecorded = start(self._asked, name, context, kind, attributes)
        own = unrecorded.get_span_context()
        parent = trace.get_current_span(context).get_span_context()
        if own is parent:
            # The tracer is switched off.
            return unrecorded
        span = object.__new__(UnseenSpan)
        fields = span.__dict__ = self._fields.copy()
        fields["_name"] = name
        fields["_context"] = own
        fields["_parent"] = parent if parent.is_valid else None
        fields["_kind"] = kind
        fields["_lock"] = threading.Lock()  # gevent's where it has replaced Python's, as the SDK's
        fields["_start_time"] = time_ns() if start_time is None else start_time
        fields["_attributes"] = dict(attributes) if attributes else {}
        if attributes and not _fits(attributes, fields["_room"]):
            span._bound()
        return span


def _fits(attributes: Mapping[str, Any], room: int) -> bool:
    """Whether the SDK would keep attributes as they are."""
    return (
        len(attributes) <= room
        and _are_names(tuple(attributes))
        and _PLAIN_VALUES.issuperset(map(type, attributes.values()))
    )


@lru_cache(maxsize=256)
def _are_names(names: tuple[Any, ...]) -> bool:
    return all(name.__class__ is str and name for name in names)


class UnseenSpan(Span):
    """A span as the SDK's: its attributes are a plain dictionary as long as nothing in them needs more.

    It is made by `UnseenSpans`, and has what a span of the SDK has.
    """

    _attributes: Any
    _events: Any
    _links: Any
    _room: int

    def set_attribute(self, key: str, value: Any) -> None:
        # Instrumentations set nearly all of them twice.
        if self._end_time is None and value is self._attributes.get(key, _NOTHING):
            return
        if key.__class__ is str and key and value.__class__ in _PLAIN_VALUES:
            with self._lock:
                own = self._attributes
                if own.__class__ is dict and self._end_time is None and (len(own) < self._room or key in own):
                    own[key] = value
                    return
        self._bound()
        super().set_attribute(key, value)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        with self._lock:
            own = self._attributes
            plain = own.__class__ is dict and attributes.__class__ is dict and self._end_time is None
            if plain and _fits(attributes, self._room - len(own)):
                own.update(attributes)
                return
        self._bound()
        super().set_attributes(attributes)

    def end(self, end_time: int | None = None) -> None:
        if self._end_time is None and _gives_to_us_alone(self._span_processor):
            with self._lock:
                if self._end_time is None:
                    self._end_time = time_ns() if end_time is None else end_time
                    return
        self._bound()
        super().end(end_time)

    def _bound(self) -> None:
        """Let the attributes be the SDK's, which knows all rules and limits."""
        with self._lock:
            if self._attributes.__class__ is dict:
                self._attributes = BoundedAttributes(
                    self._limits.max_span_attributes, self._attributes, immutable=False
                )

    def _add_event(self, event: Any) -> None:
        with self._lock:
            if self._events == ():
                self._events = self._new_events()  # type: ignore[no-untyped-call]  # the SDK's own
        super()._add_event(event)

    def _add_link(self, link: Any) -> None:
        with self._lock:
            if self._links == ():
                self._links = self._new_links(())
        super()._add_link(link)
