"""A provider whose requests end up in a list instead of a journal, and protocol wraps around it."""

from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import SpanKind

from otel_usage.instrumentation.processor import FinishedRequest, UsageSpanProcessor
from otel_usage.instrumentation.sampler import wrap_sampler

KEY = b"k" * 32


class Kept(list[FinishedRequest]):
    """What was kept, and the tracer that makes request spans."""

    def __init__(
        self,
        sampler: Sampler | None = None,
        keep: Callable[[FinishedRequest], Any] | None = None,
        *,
        is_forwarded: bool = False,
    ) -> None:
        super().__init__()
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        wrap_sampler(provider)
        self.processor = UsageSpanProcessor(
            keep or self.append, lambda: KEY, lambda _: True, lambda: None, is_forwarded=is_forwarded
        )
        provider.add_span_processor(self.processor)
        self.tracer = provider.get_tracer("test")

    def start(self, **attributes: Any) -> Any:
        """Start the SERVER span of a request."""
        named = {"http.request.method": "GET", **{name.replace("_", "."): value for name, value in attributes.items()}}
        return self.tracer.start_span("GET", kind=SpanKind.SERVER, attributes=named)

    @property
    def overlay(self) -> dict[str, Any]:
        """What is laid over the attributes of the one request."""
        (request,) = self
        return dict(request.overlay)
