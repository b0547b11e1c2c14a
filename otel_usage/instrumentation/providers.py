"""The tracer provider whose request spans are seen: the application's, or one made where there is none.

One that was made gives way to the application's own, whenever that comes. What is done with spans is the
processor's.
"""

from collections.abc import Callable
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.processor import UsageSpanProcessor
from otel_usage.instrumentation.sampler import unwrap_sampler, wrap_sampler


def is_sdk(provider: Any) -> bool:
    """Whether a provider makes spans that processors see; the API's proxy does not."""
    return hasattr(provider, "add_span_processor") and hasattr(provider, "sampler")


def make() -> TracerProvider:
    """Make the global provider, configured by the `OTEL_*` variables as the SDK does."""
    provider = TracerProvider()
    trace.set_tracer_provider(provider)
    return provider


def attach(provider: Any, processor: UsageSpanProcessor, *, all_requests: bool) -> None:
    """Show the provider's spans to the processor; `all_requests` also those that are not sampled."""
    if all_requests:
        wrap_sampler(provider)
    provider.add_span_processor(processor)


def detach(provider: Any, processor: UsageSpanProcessor) -> None:
    """Undo `attach`."""
    unwrap_sampler(provider)
    multi = getattr(provider, "_active_span_processor", None)
    processors = getattr(multi, "_span_processors", None)
    if multi is not None and processors is not None:
        multi._span_processors = tuple(other for other in processors if other is not processor)


def is_seen_by_one(provider: Any) -> bool:
    """Whether the provider has one processor only."""
    multi = getattr(provider, "_active_span_processor", None)
    return len(getattr(multi, "_span_processors", ())) == 1


def on_set(patches: Patches, made: TracerProvider | None, follow: Callable[[Any], None]) -> None:
    """Call `follow` with the SDK provider that the application sets, before its first span.

    Where ours was made and set before, the API would refuse the application's: it takes the place of ours, and the
    tracers that instrumentations hold already become its tracers.
    """

    def setting(original: Any) -> Any:
        def _set_tracer_provider(tracer_provider: Any, log: bool) -> None:
            replaces = made is not None and trace._TRACER_PROVIDER is made and is_sdk(tracer_provider)
            if replaces:
                trace._TRACER_PROVIDER = tracer_provider
            else:
                original(tracer_provider, log)
            if trace._TRACER_PROVIDER is tracer_provider and is_sdk(tracer_provider):
                follow(tracer_provider)
            if replaces:
                _hand_over(made, tracer_provider)
                patches.at_undo(lambda: unwrap_sampler(made))

        return _set_tracer_provider

    patches.replace(trace, "_set_tracer_provider", setting)


def _hand_over(made: Any, theirs: Any) -> None:
    """Make ours a front of theirs: for tracers that it has issued, and for those it may still issue."""
    made.sampler = theirs.sampler
    made._resource = theirs.resource
    made._active_span_processor = theirs._active_span_processor
    made.id_generator = theirs.id_generator
    for tracer in list(getattr(made, "_tracers", {}).values()):
        tracer.sampler = theirs.sampler
        tracer.resource = theirs.resource
        tracer.span_processor = theirs._active_span_processor
        tracer.id_generator = theirs.id_generator
