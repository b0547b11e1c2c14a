"""DuckDBSpanExporter: an OpenTelemetry span exporter that keeps request spans in the store.

For applications that build their own pipeline. With `install()`, or beside it, the processor keeps every request
itself, sampled or not; spans that it has kept are skipped here.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind

from otel_usage import attributes as key
from otel_usage import settings as settings_module
from otel_usage.enrichment.spans import describe_span
from otel_usage.exporter.keeping import Keeper, RequestSpan
from otel_usage.exporter.recorder import Recorder
from otel_usage.settings import Settings

_logger = logging.getLogger("otel_usage")

_kept_by_processor: set[Path] = set()


def leave_to_processor(database: Path) -> None:
    """From now on a processor in this process keeps the requests of this store."""
    _kept_by_processor.add(database)


def take_back(database: Path) -> None:
    """Undo `leave_to_processor`."""
    _kept_by_processor.discard(database)


class DuckDBSpanExporter(SpanExporter):
    """Keeps SERVER spans of HTTP requests as rows of a DuckDB store.

    Args:
        database: The store; by default `OTEL_USAGE_DATABASE`. What is kept under that name is forwarded where
            `OTEL_USAGE_EXPORTER` is otlp: one journal has one sink.

    Raises:
        ConfigurationError: A setting cannot be used.
    """

    def __init__(self, database: str | Path | None = None) -> None:
        self._settings = _settings(database)
        self._recorder = Recorder(self._settings)
        self._keeper = Keeper(self._settings, self._recorder)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write the request spans among `spans` to the journal; SUCCESS once they survive this process."""
        try:
            for span in spans:
                request = self._request(span)
                if request is not None:
                    self._keeper.keep(request)
        except Exception:
            _logger.warning("Request spans could not be exported.", exc_info=True)
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Finish what was written, so that the next commit takes it."""
        return self._recorder.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """Finish what was written; what comes later is kept too, and committed by another process or the next."""
        self._recorder.shutdown()

    def _request(self, span: ReadableSpan) -> RequestSpan | None:
        """The request that this span is, None if it is none or the processor has kept it."""
        if span.kind is not SpanKind.SERVER or span.context is None:
            return None
        attributes = dict(span.attributes or {})
        end_time_ns = span.end_time or span.start_time or 0
        if key.SAMPLED in attributes:
            kept = self._settings.database in _kept_by_processor
            return None if kept else RequestSpan(span, end_time_ns, attributes, ())
        found = describe_span(attributes, span.name, self._recorder.token_key())
        found.attributes[key.SAMPLED] = span.context.trace_flags.sampled
        return RequestSpan(span, end_time_ns, found.attributes, found.secrets)


def _settings(database: str | Path | None) -> Settings:
    common = settings_module.load(strict=True)
    if database is None:
        return common
    named = settings_module.load(strict=True, database=Path(database))
    return named if named.database == common.database else replace(named, exporter="duckdb")
