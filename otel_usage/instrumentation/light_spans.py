"""Request spans as the SDK's, at a part of their cost.

Most of what a span of the SDK costs is that each of its attributes is looked at each time it is set. Here they are a
plain dictionary as long as nothing in them needs more; what is exported is the same. Whatever leaves the process (ids,
flags, trace state) is the SDK's, which is asked for a span that is not recorded.
"""

import sys
import threading
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from copy import copy
from functools import lru_cache
from time import time_ns
from types import FunctionType
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk import trace as sdk_trace
from opentelemetry.sdk.trace import Span, SpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

from otel_usage.instrumentation.sampler import UnrecordingSampler, UsageSampler, is_of_the_sdk
from otel_usage.instrumentation.unseen import gives_to_us_alone

# What a span of the SDK consists of. Where a version's has anything else, its spans are left as they are.
_SPAN: Final = frozenset(
    (
        *("_attributes", "_context", "_end_time", "_events", "_instrumentation_info", "_instrumentation_scope"),
        *("_kind", "_limits", "_links", "_lock", "_name", "_parent", "_record_end_metrics", "_record_exception"),
        *("_resource", "_sampler", "_set_status_on_exception", "_span_processor", "_start_time", "_status"),
        "_trace_config",
    )
)
# What ours do without.
_PASSED_OVER: Final = ("__init__", "start", "end", "set_attribute", "set_attributes")
_NOTHING: Final = object()
_PLAIN_VALUES: Final = frozenset((str, int, bool, float))
# The SDK's default. Where fewer are kept, which goes first depends on when each was set last, and that is not noted.
_MIN_ROOM: Final = 128
# What one can be started with.
_OPTIONS: Final = frozenset(("attributes", "start_time"))


def start_light(
    start: Callable[..., Any], tracer: Any, name: str, context: Context | None, kind: SpanKind, options: dict[str, Any]
) -> Any:
    """A request's span that no processor has been shown, None where only the SDK can make it.

    Args:
        start: The SDK's `Tracer.start_span` (`is_the_sdks`).
        tracer: Whose span it is.
        name, context, kind: Of the span.
        options: The other arguments of `start`.
    """
    spans = getattr(tracer.sampler, "light_spans", None)
    if spans is None or not spans.usable or options.keys() - _OPTIONS or spans.tracer != vars(tracer):
        return None
    return spans.start(start, name, context, kind, **options)


def learn(tracer: Any, span: Any) -> None:
    """Look at a request's span that the SDK has made: the next ones of its tracer can be like it.

    Args:
        tracer: Of the span.
        span: One that has just been started.
    """
    sampler = tracer.sampler
    if not isinstance(sampler, UsageSampler):
        return
    if sampler.light_spans is None or sampler.light_spans.tracer != vars(tracer):
        sampler.light_spans = LightSpans(tracer, span)


class LightSpans:
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
            and _room(span) >= _MIN_ROOM
            and all(is_the_sdks(vars(Span).get(name)) for name in _PASSED_OVER)
        )
        if not self.usable:
            return
        self._asked = copy(tracer)
        self._asked.sampler = UnrecordingSampler(own)
        # What a processor has already made of the first span is not the next one's.
        self._fields = dict(
            vars(span),
            _attributes=None,
            _context=None,
            _end_time=None,
            _events=(),
            _links=(),
            _parent=None,
            _resource=tracer.resource,
            _status=Status(StatusCode.UNSET),
        )
        self._fields |= {"_record_exception": True, "_set_status_on_exception": True}  # unless options say otherwise
        self._fields["_room"] = _room(span)
        self.usable = self._ends_as_the_sdks()

    def _ends_as_the_sdks(self) -> bool:
        """Whether this version of the SDK ends a span that has our attributes: rehearsed, not tried on a request."""
        rehearsed = _with({**self._fields, "_attributes": _Attributes(), "_span_processor": SpanProcessor()})
        try:
            rehearsed.end()
        except Exception:
            return False
        return True

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
        fields = self._fields.copy()
        span = _with(fields)
        fields["_name"] = name
        fields["_context"] = own
        fields["_parent"] = parent if parent.is_valid else None
        fields["_kind"] = kind
        fields["_lock"] = threading.Lock()  # gevent's where it has replaced Python's, as the SDK's
        fields["_start_time"] = time_ns() if start_time is None else start_time
        fields["_attributes"] = _Attributes(attributes) if attributes else _Attributes()
        if attributes and not _fits(attributes, fields["_room"]):
            span._bound()
        return span


def _room(span: Any) -> int:
    limit = span._limits.max_span_attributes
    return sys.maxsize if limit is None else int(limit)


def is_the_sdks(function: Any) -> bool:
    """Whether nobody has put another function in its place, which may want to see what the SDK's would."""
    return type(function) is FunctionType and function.__globals__ is vars(sdk_trace)


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


def _with(fields: dict[str, Any]) -> "LightSpan":
    span = object.__new__(LightSpan)
    span.__dict__ = fields
    return span


class _Attributes(dict[str, Any]):
    """A plain dictionary, which the SDK may mark as immutable when the span ends.

    As the SDK's it may be gone through while attributes are set: processors and hooks do, to rename some.
    """

    __slots__ = ("_immutable",)

    def __iter__(self) -> Iterator[str]:
        return iter(list(dict.__iter__(self)))

    def keys(self) -> Any:
        return KeysView(self)

    def values(self) -> Any:
        return ValuesView(self)

    def items(self) -> Any:
        return ItemsView(self)

    def copy(self) -> dict[str, Any]:
        # dict's own would look up each name.
        return dict(dict.items(self))


class LightSpan(Span):
    """A span as the SDK's: its attributes are a plain dictionary as long as nothing in them needs more.

    It is made by `LightSpans`, and has what a span of the SDK has.
    """

    _attributes: Any
    _events: Any
    _links: Any
    _room: int

    def set_attribute(self, key: str, value: Any) -> None:
        # Instrumentations set nearly all of them twice.
        if key.__class__ is str and self._end_time is None and value is self._attributes.get(key, _NOTHING):
            return
        if key.__class__ is str and key and value.__class__ in _PLAIN_VALUES:
            with self._lock:
                own = self._attributes
                if own.__class__ is _Attributes and self._end_time is None and (len(own) < self._room or key in own):
                    own[key] = value
                    return
        self._bound()
        super().set_attribute(key, value)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        with self._lock:
            own = self._attributes
            plain = own.__class__ is _Attributes and attributes.__class__ is dict and self._end_time is None
            if plain and _fits(attributes, self._room - len(own)):
                own.update(attributes)
                return
        self._bound()
        super().set_attributes(attributes)

    def end(self, end_time: int | None = None) -> None:
        if self._end_time is None and gives_to_us_alone(self._span_processor):
            with self._lock:
                if self._end_time is None:
                    self._end_time = time_ns() if end_time is None else end_time
                    return
        super().end(end_time)

    def _bound(self) -> None:
        """Let the attributes be the SDK's, which knows all rules and limits."""
        with self._lock:
            if self._attributes.__class__ is _Attributes:
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
