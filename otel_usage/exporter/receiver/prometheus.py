"""The receiver's metrics as text that Prometheus reads: names as OpenTelemetry's exporter for it would make them."""

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from otel_usage.exporter.receiver import metrics as columns
from otel_usage.exporter.receiver.numbers import Numbers

MEDIA_TYPE: Final = CONTENT_TYPE_LATEST
_GAUGES: Final = {
    "pending_records": ("otel_usage_records_pending", "Usage records in the journal that are not committed."),
    "journal_bytes": ("otel_usage_journal_size_bytes", "Size of the journal."),
    "journal_max_bytes": ("otel_usage_journal_limit_bytes", "Bound of the journal."),
}


def text(numbers: Numbers, health: Mapping[str, Any]) -> bytes:
    """All workers' metrics, and what is known of the store.

    Args:
        numbers: Of the workers.
        health: As `Health` tells it.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(numbers.sums(), health))
    return generate_latest(registry)


class _Collector:
    def __init__(self, sums: list[float], health: Mapping[str, Any]) -> None:
        self._sums = sums
        self._health = health

    def collect(self) -> Iterator[Metric]:
        sums = self._sums
        spans = CounterMetricFamily(
            "otel_usage_receiver_spans",
            "Spans that were received and answered 200, by what became of them.",
            labels=["otel_usage_span_outcome"],
        )
        for column, outcome in enumerate(columns.OUTCOMES):
            spans.add_metric([outcome], sums[column])
        yield spans
        yield self._durations()
        yield GaugeMetricFamily(
            "http_server_active_requests", "Number of active HTTP server requests.", sums[columns.ACTIVE_COLUMN]
        )
        yield GaugeMetricFamily(
            "otel_usage_receiver_connections", "Clients that are connected.", sums[columns.CONNECTIONS_COLUMN]
        )
        yield CounterMetricFamily(
            "otel_usage_receiver_connections_refused", "Connections beyond the limit.", sums[columns.REFUSED_COLUMN]
        )
        for name, (family, description) in _GAUGES.items():
            if name in self._health:
                yield GaugeMetricFamily(family, description, self._health[name])

    def _durations(self) -> Metric:
        family = HistogramMetricFamily(
            "http_server_request_duration_seconds",
            "Duration of HTTP server requests.",
            labels=["http_route", "http_response_status_code"],
        )
        bounds = [*map(str, columns.BUCKETS), "+Inf"]
        for status, first in columns.STATUS_COLUMNS.items():
            counts = list(accumulate(self._sums[first : first + len(bounds)]))
            if counts[-1]:
                labels = [columns.ROUTES[0], str(status)]
                buckets = list(zip(bounds, counts, strict=True))
                family.add_metric(labels, buckets, self._sums[first + len(bounds)])
        return family
