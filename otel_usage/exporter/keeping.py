"""From a finished request span to the recorder: what is left out or counted on the way.

The one way into the journal for spans of this process, whoever hands them over. How a record is made is `record`'s.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from otel_usage.exporter.losses import ANONYMOUS_LEFT_OUT, TOKEN_UNIDENTIFIED
from otel_usage.exporter.record import Service, SpanFacts, UsageRecord, from_span, service_of
from otel_usage.exporter.recorder import Recorder
from otel_usage.settings import Settings


@dataclass(slots=True)
class RequestSpan:
    """A request as it is kept.

    Attributes:
        span: Its SERVER span.
        end_time_ns: When the span has ended or will have.
        attributes: The span's, with what else is known laid over them.
        secrets: The raw credentials it carried, which must not be found in anything that is kept.
    """

    span: ReadableSpan
    end_time_ns: int
    attributes: Mapping[str, Any]
    secrets: tuple[str, ...] = field(repr=False)


class Keeper:
    """Keeps request spans of this process in one store.

    Args:
        settings: Which requests are kept, and how much of them.
        recorder: Where they go.
    """

    def __init__(self, settings: Settings, recorder: Recorder) -> None:
        self._settings = settings
        self._recorder = recorder
        self._service: tuple[object, Service] | None = None

    def keep(self, request: RequestSpan) -> None:
        """Write the record of a request; what is left out on purpose is counted."""
        span, recorder = request.span, self._recorder
        context = span.context
        if context is None or span.start_time is None:
            return
        record = from_span(
            SpanFacts(
                trace_id=context.trace_id,
                span_id=context.span_id,
                parent_span_id=span.parent.span_id if span.parent is not None else None,
                start_time_ns=span.start_time,
                end_time_ns=request.end_time_ns,
            ),
            request.attributes,
            self._service_of(span),
            privacy_level=self._settings.privacy_level,
            count=recorder.count,
        )
        if record is None:
            return
        if not self._settings.anonymous and is_anonymous(record):
            recorder.count(ANONYMOUS_LEFT_OUT)
            return
        if record.token_scheme is not None and record.token_id is None:
            recorder.count(TOKEN_UNIDENTIFIED)
        recorder.write(record, request.secrets)

    def _service_of(self, span: ReadableSpan) -> Service:
        cached = self._service
        if cached is None or cached[0] is not span.resource:
            self._service = cached = (span.resource, service_of(span.resource.attributes))
        return cached[1]


def is_anonymous(record: UsageRecord) -> bool:
    """Whether a request has neither a token nor a user."""
    who = (record.token_scheme, record.token_id, record.user_id, record.user_name)
    return who == (None, None, None, None)
