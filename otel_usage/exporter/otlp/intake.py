"""Spans that were received -> records in the journal: which are requests, what they lack, what is counted.

The one way in for spans of other processes, through the receiver or from files. What a record is, is `record`'s; how
it was sent, `decoding`'s.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from otel_usage import attributes as key
from otel_usage.enrichment.describe import describe
from otel_usage.enrichment.privacy import fingerprint
from otel_usage.enrichment.resources import Templates
from otel_usage.enrichment.span_attributes import facts_of
from otel_usage.enrichment.spans import describe_span
from otel_usage.errors import OtelUsageError
from otel_usage.exporter.encoding import encode_clean_line
from otel_usage.exporter.keeping import is_anonymous
from otel_usage.exporter.losses import ANONYMOUS_LEFT_OUT, NOT_A_REQUEST, REJECTED, TOKEN_UNIDENTIFIED
from otel_usage.exporter.otlp.decoding import ScopeSpans, SpanData
from otel_usage.exporter.record import Service, from_span, service_of
from otel_usage.exporter.recorder import Recorder
from otel_usage.settings import Settings

# Of the spans that our own applications send besides their traces.
SCOPE_NAME: Final = "otel_usage"
_TOKEN_ID: Final = re.compile("tok_[0-9a-f]{16}")
_TOKEN_HINT: Final = re.compile("[a-z0-9_-]{0,24}…[ -~]{4}")
_MAX_SERVICES: Final = 256
# Of one request of a sender: a body at its bound makes less, unless it is made to make more.
MAX_LINES_BYTES: Final = 256 * 1024 * 1024


class TooMuchError(OtelUsageError):
    """What one request holds would take more of the journal than its size explains."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of spans: spans = requests + skipped + left_out + rejected.

    Attributes:
        requests: Their records are in the journal.
        skipped: They are no HTTP requests, or their applications send the records of them besides.
        left_out: Anonymous ones, where the settings leave these out.
        rejected: They can never be kept: ids of a wrong length, or a record that cannot be encoded.
    """

    spans: int = 0
    requests: int = 0
    skipped: int = 0
    left_out: int = 0
    rejected: int = 0

    def __add__(self, other: "Taken") -> "Taken":
        return Taken(
            self.spans + other.spans,
            self.requests + other.requests,
            self.skipped + other.skipped,
            self.left_out + other.left_out,
            self.rejected + other.rejected,
        )


class Intake:
    """Keeps the requests among received spans in one store.

    Args:
        settings: Which requests are kept, and how much of them.
        recorder: Where they go.
    """

    def __init__(self, settings: Settings, recorder: Recorder) -> None:
        self._settings = settings
        self._recorder = recorder
        self._templates: dict[str | None, Templates] = {}

    def take(self, scopes: Iterable[ScopeSpans], is_awaited: Callable[[], bool] = lambda: True) -> Taken:
        """Keep the requests among these spans; when this returns they are in the journal.

        Args:
            scopes: The spans.
            is_awaited: Whether the sender still waits for an answer. If not it comes again, with the same spans: they
                are counted then, as their records have keys.

        Raises:
            JournalUnavailableError: They are not, or not all: the sender must come again with all of them.
            TooMuchError: Nothing of them is, and never will be.
        """
        batch = _Batch(self._settings, self._recorder.token_key(), self._templates)
        for scope in scopes:
            batch.add(scope)
        self._recorder.write_all(batch.lines)
        # Only now: a sender that comes again must not have its spans counted twice.
        if is_awaited():
            for reason, n in batch.counts.items():
                self._recorder.count(reason, n)
        return batch.taken()


class _Batch:
    """The lines of one request of a sender, and what is to be counted once they are kept."""

    def __init__(self, settings: Settings, token_key: bytes | None, templates: dict[str | None, Templates]) -> None:
        self.lines: list[bytes] = []
        self.counts: Counter[str] = Counter()
        self._settings = settings
        self._token_key = token_key
        self._templates = templates
        self._spans = 0
        self._copied = 0
        self._bytes = 0

    def add(self, scope: ScopeSpans) -> None:
        self._spans += len(scope.spans) + scope.others + scope.invalid
        self._count(NOT_A_REQUEST, scope.others)
        self._count(REJECTED, scope.invalid)
        if not scope.spans:
            return
        service = service_of(scope.otel_resource)
        is_ours = scope.scope_name == SCOPE_NAME
        templates = self._templates_of(service)
        for span in scope.spans:
            self._add(span, service, None if is_ours else templates)

    def taken(self) -> Taken:
        counts = self.counts
        left_out, skipped = counts[ANONYMOUS_LEFT_OUT], counts[NOT_A_REQUEST] + self._copied
        requests = len(self.lines)
        return Taken(self._spans, requests, skipped, left_out, self._spans - requests - skipped - left_out)

    def _templates_of(self, service: Service) -> Templates:
        """What one service's routes say of its paths says nothing of another's."""
        if service.name not in self._templates and len(self._templates) >= _MAX_SERVICES:
            return {}
        return self._templates.setdefault(service.name, {})

    def _add(self, span: SpanData, service: Service, templates: Templates | None) -> None:
        """Take one span; without `templates` an application of ours has made it a record."""
        if templates is not None and span.attributes.get(key.FORWARDED) is True:
            # Whichever came first would be kept, and the application's own record knows more.
            self._copied += 1
            return
        attributes, secrets = (span.attributes, ()) if templates is None else self._described(span, templates)
        token_id = attributes.get(key.TOKEN_ID)
        if token_id is not None and not (isinstance(token_id, str) and _TOKEN_ID.fullmatch(token_id)):
            attributes, secrets = self._identified(attributes, str(token_id), secrets)
        record = from_span(span, attributes, service, privacy_level=self._settings.privacy_level, count=self._count)
        if record is None:
            self._count(NOT_A_REQUEST, 1)
            return
        if not self._settings.anonymous and is_anonymous(record):
            self._count(ANONYMOUS_LEFT_OUT, 1)
            return
        if record.token_scheme is not None and record.token_id is None:
            self._count(TOKEN_UNIDENTIFIED, 1)
        if record.token_hint is not None and not _TOKEN_HINT.fullmatch(record.token_hint):
            record.token_hint = None
        line = encode_clean_line(record, self._count, secrets)
        if line is not None:
            self.lines.append(line)
            self._bytes += len(line)
            if self._bytes > MAX_LINES_BYTES:
                raise TooMuchError("These spans would take too much of the journal.", "Send fewer at once.")

    def _described(self, span: SpanData, templates: Templates) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The span's attributes with what follows from them, and the credentials that it carried.

        What the span says itself wins. Where an application of ours has described its request already, nothing is
        added: it knew more.
        """
        said = span.attributes
        if key.SAMPLED in said:
            attributes, secrets = (
                said,
                describe(facts_of(said, span.name), self._token_key, templates=templates).secrets,
            )
        else:
            found = describe_span(said, span.name, self._token_key, templates)
            attributes, secrets = found.attributes, found.secrets
            # Exporters that know nothing of trace flags send none at all.
            if span.flags & 0xFF:
                attributes[key.SAMPLED] = bool(span.flags & 1)
        return attributes, secrets

    def _identified(
        self, attributes: dict[str, Any], credential: str, secrets: tuple[str, ...]
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Somebody may have put a credential itself where its fingerprint belongs."""
        token_key = self._token_key
        fingerprinted = None if token_key is None else fingerprint(token_key, credential)
        known = {name: value for name, value in attributes.items() if name not in (key.TOKEN_ID, key.TOKEN_HINT)}
        return {**known, key.TOKEN_ID: fingerprinted}, (*secrets, credential)

    def _count(self, reason: str, n: int = 1) -> None:
        if n:
            self.counts[reason] += n
