"""DuckDBSpanExporter: an OpenTelemetry span exporter that keeps request spans in the store.

For applications that build their own pipeline. With `install()`, or beside it, the processor keeps every request
itself, sampled or not; spans that it has kept are skipped here.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind

from otel_usage import attributes as key
from otel_usage import settings as settings_module
from otel_usage.enrichment.describe import usage_attributes
from otel_usage.enrichment.span_attributes import facts_of
from otel_usage.exporter.record import SpanFacts, UsageRecord, from_span, service_of
from otel_usage.exporter.recorder import Recorder

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
        database: The store; by default `OTEL_USAGE_DATABASE`.

    Raises:
        ConfigurationError: A setting cannot be used.
    """

    def __init__(self, database: str | Path | None = None) -> None:
        self._settings = settings_module.load(strict=True, database=None if database is None else Path(database))
        self._recorder = Recorder(self._settings)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write the request spans among `spans` to the journal; SUCCESS once they survive this process."""
        try:
            for span in spans:
                record = self._record(span)
                if record is not None:
                    self._recorder.write(record)
        except Exception:
            _logger.warning("Request spans could not be exported.", exc_info=True)
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Finish what was written, so that the next commit takes it."""
        return self._recorder.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """Nothing is written after this."""
        self._recorder.shutdown()

    def _record(self, span: ReadableSpan) -> UsageRecord | None:
        attributes = dict(span.attributes or {})
        if span.kind is not SpanKind.SERVER or span.context is None or span.start_time is None:
            return None
        if key.SAMPLED in attributes and self._settings.database in _kept_by_processor:
            return None
        if key.SAMPLED not in attributes:
            found = usage_attributes(facts_of(attributes), self._recorder.token_key())
            attributes = {**found, **attributes, key.SAMPLED: span.context.trace_flags.sampled}
        return from_span(
            SpanFacts(
                trace_id=span.context.trace_id,
                span_id=span.context.span_id,
                parent_span_id=span.parent.span_id if span.parent is not None else None,
                start_time_ns=span.start_time,
                end_time_ns=span.end_time or span.start_time,
            ),
            attributes,
            service_of(span.resource.attributes),
            privacy_level=self._settings.privacy_level,
            count=self._recorder.count,
        )
