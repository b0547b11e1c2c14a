"""The ways in which a request is recorded, or not; and what belongs to none of the frameworks in setting them up.

A way's name is also what `BENCHMARK_WAY` says to the process that is measured.
"""

import os
from collections.abc import Callable
from typing import Any, Final

BARE: Final = "bare"
ALONE: Final = "OpenTelemetry"
EMPTY: Final = "empty middleware"
EMPTY_BASE: Final = "empty BaseHTTPMiddleware"
BATCH: Final = "OpenTelemetry + batch"
OURS: Final = "OpenTelemetry + otel-usage"
BOTH: Final = "OpenTelemetry + batch + otel-usage"
API_ANALYTICS: Final = "api-analytics"
APITALLY: Final = "apitally"
DRF_TRACKER: Final = "drf-tracker"

COMMON: Final = (BARE, EMPTY, BATCH, OURS, BOTH, API_ANALYTICS, APITALLY)
WAYS: Final = {
    "fastapi": (BARE, EMPTY, EMPTY_BASE, *COMMON[2:]),
    "flask": COMMON,
    "django": (*COMMON, DRF_TRACKER),
}
INSTRUMENTED: Final = (ALONE, BATCH, OURS, BOTH)
# As a write token of Apitally has to look.
APITALLY_TOKEN: Final = f"apt_{'0' * 24}"


def begin(way: str) -> None:
    """Set up what must be there before the application: tracer provider, exporter and ours."""
    if way in (ALONE, BATCH, BOTH):
        _trace(is_exported=way != ALONE)
    if way in (OURS, BOTH):
        import otel_usage

        otel_usage.install()
    if way == APITALLY:
        from apitally.shared import export

        # Its queue drops what does not fit, sooner than requests in a loop are encoded: it would do less work.
        export.BATCH_MAX_QUEUE_SIZE = 100_000


def _trace(*, is_exported: bool) -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider()
    if is_exported:
        provider.add_span_processor(_batch_processor())
    trace.set_tracer_provider(provider)


def _batch_processor() -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # The queue as Apitally's above; everything else is the default.
    return BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{sink()}/v1/traces"), max_queue_size=100_000)


def sink() -> str:
    """Where everything is sent: the address of the benchmark's own HTTP server."""
    return os.environ["BENCHMARK_SINK"]


def flush(way: str) -> None:
    """Send or commit everything now, so that work in the background is counted whole and nothing of it twice."""
    _FLUSHES.get(way, _nothing)()


def _nothing() -> None:
    """A way that records nothing has nothing to send."""


def _flush_opentelemetry() -> None:
    from opentelemetry import trace

    trace.get_tracer_provider().force_flush(30_000)  # type: ignore[attr-defined]  # the SDK's


def _flush_api_analytics() -> None:
    """What its next request would do in a thread once sixty seconds are over."""
    from api_analytics import core

    waiting, core._requests = core._requests, []
    core._post_requests("key", waiting, "benchmark", 0, sink())


def _flush_apitally() -> None:
    """What its thread does every fifteen seconds."""
    from apitally.shared import activation

    activation.export_worker.run_cycle(None)


def _flush_drf_tracker() -> None:
    """What its thread does every ten seconds."""
    from drf_user_activity_tracker_mongodb.start_logger_when_server_starts import LOGGER_THREAD

    LOGGER_THREAD._start_bulk_insertion()


_FLUSHES: Final[dict[str, Callable[[], None]]] = {
    **dict.fromkeys(INSTRUMENTED, _flush_opentelemetry),
    API_ANALYTICS: _flush_api_analytics,
    APITALLY: _flush_apitally,
    DRF_TRACKER: _flush_drf_tracker,
}
