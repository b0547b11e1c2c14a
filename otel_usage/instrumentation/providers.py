"""Which spans are seen: SERVER spans of every SDK tracer, whatever provider it is of, and whenever that came.

And the provider that is put where there is none, until the application sets its own. What is done with spans is the
processor's.
"""

import logging
import weakref
from collections.abc import Callable
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor, Tracer, TracerProvider
from opentelemetry.trace import SpanKind

from otel_usage.instrumentation.light_spans import is_the_sdks, learn, start_light
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.processor import UsageSpanProcessor
from otel_usage.instrumentation.sampler import UsageSampler, unwrap_sampler, wrap_sampler
from otel_usage.instrumentation.unseen import Ending, is_seen_by_us_alone, unseen_child

_logger = logging.getLogger("otel_usage")


class Followed:
    """The tracers whose SERVER spans are shown to a processor: each from its first SERVER span on.

    An application may make a provider for its instrumentation alone, replace the sampler of one, or hand over tracers
    long before `install()`: what they have in common is that a tracer starts a span.

    Args:
        processor: Shown the spans, in the thread that starts them and after all other processors.
        all_requests: Whether it is shown also those that are not sampled.
        only: The one provider that is followed; None for all.
    """

    def __init__(self, processor: UsageSpanProcessor, *, all_requests: bool, only: Any = None) -> None:
        self._processor = processor
        self._all_requests = all_requests
        self._only = getattr(only, "_active_span_processor", None)
        self._ours = (Ending(processor),)
        self._tracers: weakref.WeakSet[Tracer] = weakref.WeakSet()
        # Replaced, never changed: read by every request while another thread may add to it.
        self._multis: tuple[weakref.ref[Any], ...] = ()
        self._warned = False

    def begin(self, patches: Patches) -> None:
        """See every SERVER span from now on, until `patches` are undone."""
        patches.at_undo(self._leave)
        patches.replace(Tracer, "start_span", self._starting)

    def is_alone(self) -> bool:
        """Whether nobody else sees the spans of any followed provider."""
        for known in self._multis:
            multi = known()
            if multi is not None and getattr(multi, "_span_processors", None) != self._ours:
                return False
        return bool(self._multis)

    def _starting(self, original: Any) -> Any:
        # Who has wrapped it before us is shown every span, as by the SDK.
        is_the_sdks_own = is_the_sdks(original)

        def start_span(
            tracer: Any,
            name: str,
            context: Context | None = None,
            kind: SpanKind = SpanKind.INTERNAL,
            *args: Any,
            **kwargs: Any,
        ) -> Any:
            if kind is not SpanKind.SERVER:
                unseen = unseen_child(tracer, context) if is_the_sdks_own else None
                return unseen or original(tracer, name, context, kind, *args, **kwargs)
            if not self._follow(tracer):
                return original(tracer, name, context, kind, *args, **kwargs)
            span = None
            if is_the_sdks_own and not args:
                span = self._start_light(original, tracer, name, context, kind, kwargs)
            if span is None:
                span = original(tracer, name, context, kind, *args, **kwargs)
                self._learn(tracer, span)
            elif span.is_recording() and not is_seen_by_us_alone(tracer):
                tracer.span_processor.on_start(span, parent_context=context)
            self._show(span, context)
            return span

        return start_span

    def _start_light(self, *given: Any) -> Any:
        """A request span at a part of its cost; None where only the SDK can make it."""
        try:
            return start_light(*given)
        except Exception:
            self._warn()
            return None

    def _learn(self, tracer: Any, span: Any) -> None:
        try:
            learn(tracer, span)
        except Exception:
            self._warn()

    def _follow(self, tracer: Any) -> bool:
        try:
            multi = tracer.span_processor
            if not self._processor.active or (self._only is not None and multi is not self._only):
                return False
            if self._all_requests and not isinstance(tracer.sampler, UsageSampler):
                wrap_sampler(tracer)
                self._tracers.add(tracer)
            for known in self._multis:
                if known() is multi:
                    break
            else:
                self._join(multi)
        except Exception:
            self._warn()
        return True

    def _join(self, multi: Any) -> None:
        """Be told when the provider is flushed or shut down."""
        self._multis = (*(known for known in self._multis if known() is not None), weakref.ref(multi))
        if self._ours[0] not in getattr(multi, "_span_processors", ()):
            multi.add_span_processor(self._ours[0])

    def _show(self, span: Any, context: Context | None) -> None:
        try:
            if isinstance(span, Span) and span.is_recording():
                self._processor.on_start(span, context)
        except Exception:
            self._warn()

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            _logger.warning("A request span cannot be followed; further ones are not logged.", exc_info=True)

    def _leave(self) -> None:
        for multi in (known() for known in self._multis):
            if multi is not None:
                with multi._lock:
                    multi._span_processors = tuple(other for other in multi._span_processors if other not in self._ours)
        for tracer in list(self._tracers):
            unwrap_sampler(tracer)


def is_missing() -> bool:
    """Whether the global provider is still the API's proxy, which makes no spans."""
    return isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def stand_in(patches: Patches) -> None:
    """Put a provider in the place of the API's proxy, configured by the `OTEL_*` variables as the SDK does.

    The API takes a provider once only, and is not asked here: so what the application sets is taken as if there had
    been none. Tracers that instrumentations hold by then become its tracers.
    """
    standing = StandIn()

    def setting(original: Callable[..., None]) -> Callable[..., None]:
        def _set_tracer_provider(*args: Any, **kwargs: Any) -> None:
            original(*args, **kwargs)
            try:
                provider = trace._TRACER_PROVIDER
                if provider is not None and provider is not standing:
                    standing.give_way(provider)
            except Exception:
                _logger.warning("Tracers that were made before this provider was set stay without it.", exc_info=True)

        return _set_tracer_provider

    patches.at_undo(lambda: _take_away(standing))
    patches.replace(trace, "_set_tracer_provider", setting)
    trace._TRACER_PROVIDER = standing


def _take_away(standing: "StandIn") -> None:
    """Let the API have its proxy again, unless the application has made the stand-in or another provider its own."""
    if trace._TRACER_PROVIDER is standing and not standing.is_kept:
        trace._TRACER_PROVIDER = None
        standing.give_way(trace._PROXY_TRACER_PROVIDER)
        standing.shutdown()


class StandIn(TracerProvider):
    """The provider while the application has set none.

    Attributes:
        is_kept: Whether the application has made it its own by adding a processor: it gives way to nobody then.
    """

    is_kept = False

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """As any provider; from now on it is the application's, as if the application had set it."""
        super().add_span_processor(span_processor)
        if not self.is_kept and trace._TRACER_PROVIDER is self:
            self.is_kept = True
            trace._set_tracer_provider(self, log=False)

    def give_way(self, provider: Any) -> None:
        """Make every tracer that was issued here, or still will be, one of `provider`, which may be no SDK's."""
        self.get_tracer = provider.get_tracer  # type: ignore[method-assign]  # of this instance only
        for scope, tracer in list(self._tracers.items()):
            successor = provider.get_tracer(scope.name, scope.version, scope.schema_url, scope.attributes)
            tracer.start_span = _starting_by(successor)  # type: ignore[method-assign]  # likewise


def _starting_by(tracer: Any) -> Callable[..., Any]:
    """Looked up at each call: a bound method would keep the replacement of an installation that is over."""
    return lambda *args, **kwargs: tracer.start_span(*args, **kwargs)
