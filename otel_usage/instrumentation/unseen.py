"""Who sees the spans of a tracer, and what stands for those that nobody would see.

A child span of a request that is ours alone is not recorded. Whatever leaves the process (ids, flags, trace state) is
as the SDK would have it.
"""

from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import NonRecordingSpan

from otel_usage.instrumentation.processor import UsageSpanProcessor
from otel_usage.instrumentation.sampler import children_follow

_SHUTDOWN_MILLISECONDS: Final = 5000


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
    return gives_to_us_alone(getattr(tracer, "span_processor", None))


def gives_to_us_alone(multi: Any) -> bool:
    """Whether nobody else is behind what a provider's tracers give their spans to."""
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
