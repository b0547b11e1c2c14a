"""The receiver's own metrics: what it was sent, what it answered and how fast.

Each is noted twice: in numbers that all workers share, for whoever scrapes any of them, and with OpenTelemetry's
instruments, which do nothing unless a meter provider is configured. How the first are printed is `prometheus`'s.
"""

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.metrics import get_meter

from otel_usage import __version__
from otel_usage.exporter.otlp.intake import Taken
from otel_usage.exporter.receiver.numbers import Numbers
from otel_usage.settings import TRACES_PATH

SPANS: Final = "otel_usage.receiver.spans"
OUTCOME: Final = "otel_usage.span.outcome"
OUTCOMES: Final = ("accepted", "skipped", "left_out", "rejected")
DURATION: Final = "http.server.request.duration"
ACTIVE: Final = "http.server.active_requests"
ROUTES: Final = (TRACES_PATH, "/health", "/metrics")
STATUSES: Final = (200, 400, 401, 404, 405, 413, 415, 503)
# Those of the semantic conventions for durations of HTTP requests, in seconds.
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

# The columns of a worker's row: outcomes, gauges, then for each status its buckets, the last without end, and its sum.
ACTIVE_COLUMN: Final = len(OUTCOMES)
CONNECTIONS_COLUMN: Final = ACTIVE_COLUMN + 1
REFUSED_COLUMN: Final = CONNECTIONS_COLUMN + 1
STATUS_COLUMNS: Final = {
    status: REFUSED_COLUMN + 1 + number * (len(BUCKETS) + 2) for number, status in enumerate(STATUSES)
}
COLUMNS: Final = REFUSED_COLUMN + 1 + len(STATUSES) * (len(BUCKETS) + 2)


class ReceiverMetrics:
    """Notes what one worker does.

    Args:
        numbers: Shared by all workers.
        index: The worker's row. One that is started in place of another goes on counting where that one ended.
    """

    def __init__(self, numbers: Numbers, index: int = 0) -> None:
        self.numbers = numbers
        self._row = numbers.row(index)
        self._row[ACTIVE_COLUMN] = self._row[CONNECTIONS_COLUMN] = 0
        meter = get_meter("otel_usage", __version__)
        self._spans = meter.create_counter(
            SPANS, unit="{span}", description="Spans that were received and answered 200, by what became of them."
        )
        self._durations = meter.create_histogram(
            DURATION,
            unit="s",
            description="Duration of HTTP server requests.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        self._active = meter.create_up_down_counter(
            ACTIVE, unit="{request}", description="Number of active HTTP server requests."
        )

    def took(self, taken: Taken) -> None:
        """Count the spans of a request that is about to be answered 200."""
        for column, n in enumerate((taken.requests, taken.skipped, taken.left_out, taken.rejected)):
            if n:
                self._row[column] += n
                self._spans.add(n, {OUTCOME: OUTCOMES[column]})

    def begin(self, scope: Mapping[str, Any]) -> None:
        """A request has arrived."""
        self._row[ACTIVE_COLUMN] += 1
        self._active.add(1, _active_attributes(scope))

    def end(self, scope: Mapping[str, Any], status: int, seconds: float) -> None:
        """A request was answered; with status 0 its client went before it could be."""
        self._row[ACTIVE_COLUMN] -= 1
        self._active.add(-1, _active_attributes(scope))
        self._durations.record(seconds, _duration_attributes(scope, status))
        if scope["path"] == ROUTES[0] and status in STATUS_COLUMNS:
            first = STATUS_COLUMNS[status]
            self._row[first + bisect_left(BUCKETS, seconds)] += 1
            self._row[first + len(BUCKETS) + 1] += seconds

    def connected(self, change: int) -> None:
        """A client has connected (1) or is gone (-1)."""
        self._row[CONNECTIONS_COLUMN] += change

    def refused(self) -> None:
        """A connection was refused."""
        self._row[REFUSED_COLUMN] += 1


def _active_attributes(scope: Mapping[str, Any]) -> dict[str, str]:
    return {"http.request.method": _method(scope), "url.scheme": scope["scheme"]}


def _duration_attributes(scope: Mapping[str, Any], status: int) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {**_active_attributes(scope)}
    if scope["path"] in ROUTES:
        attributes["http.route"] = scope["path"]
    if status:
        attributes["http.response.status_code"] = status
    if status >= 500 or not status:
        attributes["error.type"] = str(status) if status else "disconnected"
    return attributes


def _method(scope: Mapping[str, Any]) -> str:
    """The method where it is one that is served: clients may make up others without end."""
    method: str = scope["method"]
    return method if method in ("GET", "HEAD", "POST") else "_OTHER"
