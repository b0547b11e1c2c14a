"""UsageSampler: a request that is not sampled is recorded all the same, and nothing else changes."""

from collections.abc import Sequence
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    StaticSampler,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, SpanKind, get_current_span
from opentelemetry.trace.span import TraceState


class UsageSampler(Sampler):
    """Turns DROP into RECORD_ONLY for SERVER spans.

    The sampled flag, and so the outgoing `traceparent`, stay what the wrapped sampler decided; exporters behind a
    batch or simple processor get only what it sampled (OpenTelemetry specification, SDK, Sampling).
    """

    def __init__(self, wrapped: Sampler) -> None:
        self.wrapped = wrapped
        # Of the tracer that it is of: `light_spans.LightSpans`.
        self.light_spans: Any = None

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Any = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """The wrapped sampler's decision; a dropped SERVER span keeps its attributes and is recorded."""
        result = self.wrapped.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)
        if result.decision is Decision.DROP and kind is SpanKind.SERVER:
            # A DROP result carries no attributes.
            return SamplingResult(Decision.RECORD_ONLY, attributes, result.trace_state)
        return result

    def get_description(self) -> str:
        """As the specification asks of a decorating sampler."""
        return f"UsageSampler{{{self.wrapped.get_description()}}}"


class UnrecordingSampler(Sampler):
    """Decides as another one, but that nothing is recorded: the sampled flag stays.

    Args:
        deciding: One of the SDK's own.
    """

    def __init__(self, deciding: Sampler) -> None:
        self._deciding = deciding
        # The default: a request that continues no trace is sampled.
        self._samples_roots = getattr(deciding, "_root", None) is ALWAYS_ON

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Any = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """The decision of the other sampler."""
        if self._samples_roots and not get_current_span(parent_context).get_span_context().is_valid:
            return SamplingResult(_SAMPLED_ALONE)
        result = self._deciding.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)
        if result.decision is Decision.RECORD_AND_SAMPLE:
            result.decision = _SAMPLED_ALONE
        return result

    def get_description(self) -> str:
        """As the specification asks of a decorating sampler."""
        return f"UnrecordingSampler{{{self._deciding.get_description()}}}"


class _SampledAlone:
    """Sampled and not recorded, which is no `Decision` of the SDK's, and answers as one."""

    def is_recording(self) -> bool:
        return False

    def is_sampled(self) -> bool:
        return True


_SAMPLED_ALONE: Final[Any] = _SampledAlone()


def is_of_the_sdk(sampler: Any) -> bool:
    """Whether a sampler, and each that it asks, is one of the SDK's: those add no attributes of their own."""
    decides = getattr(type(sampler), "should_sample", None)
    if decides is ParentBased.should_sample:
        return all(is_of_the_sdk(asked) for asked in vars(sampler).values())
    return decides in (StaticSampler.should_sample, TraceIdRatioBased.should_sample)


def children_follow(sampler: Any) -> bool:
    """Whether a sampler decides of a child of a span in this process as it was decided of that span."""
    own = sampler.wrapped if isinstance(sampler, UsageSampler) else sampler
    return (
        isinstance(own, ParentBased)
        and getattr(own, "_local_parent_sampled", None) is ALWAYS_ON
        and getattr(own, "_local_parent_not_sampled", None) is ALWAYS_OFF
    )


def wrap_sampler(owner: Any) -> None:
    """Put a UsageSampler around the sampler of a tracer, or of a provider and so of the tracers that it will make."""
    sampler = owner.sampler
    if not isinstance(sampler, UsageSampler):
        owner.sampler = UsageSampler(sampler)


def unwrap_sampler(owner: Any) -> None:
    """Undo `wrap_sampler`."""
    # Two threads may have wrapped it at once.
    while isinstance(owner.sampler, UsageSampler):
        owner.sampler = owner.sampler.wrapped
