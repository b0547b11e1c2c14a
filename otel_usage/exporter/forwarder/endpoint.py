"""An OTLP/HTTP endpoint: how spans are posted to it, and what its answers mean.

The OTLP specification decides it, except that nothing is ever dropped here: what the other side will not take now is
the sender's to keep. When it is sent again is the forwarder's.
"""

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from otel_usage.exporter.forwarder.posting import Answer, Poster, PostError
from otel_usage.exporter.forwarder.state import url_of
from otel_usage.exporter.otlp import encoding as otlp_encoding
from otel_usage.settings import TRACES_PATH, Settings

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

# The other side may take it in smaller parts, or without the record that it means.
_REFUSED: Final = frozenset((400, 413, 422))
# Like every 5xx they pass by themselves; OTLP names 429, 502, 503 and 504.
_TEMPORARY: Final = frozenset((408, 425, 429))
_HINTS: Final = {
    401: "Check OTEL_USAGE_HEADERS.",
    403: "Check OTEL_USAGE_HEADERS.",
    404: f"Check OTEL_USAGE_ENDPOINT, to which {TRACES_PATH} is appended.",
    405: f"Check OTEL_USAGE_ENDPOINT, to which {TRACES_PATH} is appended.",
    415: "Try OTEL_EXPORTER_OTLP_COMPRESSION=none.",
}
_OTHER_HINT: Final = "Check OTEL_USAGE_ENDPOINT: it must be an OTLP/HTTP receiver."
_REDIRECT_HINT: Final = "Redirects are not followed: set OTEL_USAGE_ENDPOINT to where it leads."
_EMPTY_SECONDS: Final = 5.0
_MAX_REASON: Final = 200
# A higher level makes requests of one application 4 % smaller, in twice the time (measured).
_GZIP_LEVEL: Final = 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the other side said of some spans.

    Attributes:
        is_taken: Whether it has them, except `rejected` of them; if not, they are to be sent in smaller parts.
        rejected: How many of them it will never keep; it does not say which.
        reason: Why they, or all, are not taken.
        is_too_large: Whether it is the size of the request that it does not take.
    """

    is_taken: bool
    rejected: int = 0
    reason: str = ""
    is_too_large: bool = False


class EndpointError(Exception):
    """The other side has not taken the spans, and does not say that it is for what they are.

    Args:
        message: Which, one line.
        hint: What to do about it; empty where it passes by itself.
        retry_after: Seconds that the other side wants to be left alone for, if it says so.
        may_be_one: Whether it may be for a single one of them, that the other side, or what stands before it, cannot
            stand: it resets, hangs, fails or forbids.
    """

    def __init__(
        self, message: str, hint: str = "", *, retry_after: float | None = None, may_be_one: bool = False
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.retry_after = retry_after
        self.may_be_one = may_be_one


class Endpoint:
    """What `OTEL_USAGE_ENDPOINT` names. For one thread.

    Args:
        settings: The address, and how it is spoken to.
    """

    def __init__(self, settings: Settings) -> None:
        transport = settings.transport
        self.url = url_of(settings)
        self._is_compressing = transport.compression == "gzip"
        headers = {**dict(transport.headers), "content-type": "application/x-protobuf"}
        if self._is_compressing:
            headers["content-encoding"] = "gzip"
        self._poster = Poster(
            self.url,
            headers,
            certificate=transport.certificate,
            client_certificate=transport.client_certificate,
            client_key=transport.client_key,
            timeout_seconds=transport.timeout_seconds,
        )

    def export(self, spans: "Sequence[tuple[otlp_encoding.Service, Span]]") -> Verdict:
        """Send these spans in one request.

        Args:
            spans: Each with the `otlp_encoding.service_of` its record.

        Raises:
            EndpointError: They are to be sent again, as they are.
        """
        answer = self._post(otlp_encoding.request_of(spans))
        if answer.status in _REFUSED:
            return Verdict(False, len(spans), answer.reason, answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        self._require_taken(answer)
        rejected, reason = _rejected(answer)
        return Verdict(True, min(rejected, len(spans)), reason)

    def check(self) -> None:
        """Send a request without spans, which every receiver takes.

        Raises:
            EndpointError: This one does not: there is something else at this address, or nothing.
        """
        self._require_taken(self._post(otlp_encoding.request_of(()), _EMPTY_SECONDS))

    def close(self) -> None:
        """Close the connection until the next request."""
        self._poster.close()

    def _post(self, request: bytes, timeout_seconds: float | None = None) -> Answer:
        body = gzip.compress(request, _GZIP_LEVEL, mtime=0) if self._is_compressing else request
        try:
            return self._poster.post(body, timeout_seconds)
        except PostError as error:
            raise EndpointError(f"{self.url}: {error}.", may_be_one=True) from error

    def _require_taken(self, answer: Answer) -> None:
        if 200 <= answer.status < 300:
            # Web servers that answer everything with a page would take everything for ever.
            if not answer.content_type.startswith("text/html"):
                return
            raise EndpointError(f"{self.url} answers with a page of HTML.", _OTHER_HINT)
        message = f"{self.url} answers {answer.reason}."
        if answer.status >= 500 or answer.status in _TEMPORARY:
            raise EndpointError(message, retry_after=answer.retry_after, may_be_one=answer.status >= 500)
        hint = _REDIRECT_HINT if 300 <= answer.status < 400 else _HINTS.get(answer.status, _OTHER_HINT)
        may_be_one = answer.status == HTTPStatus.FORBIDDEN
        raise EndpointError(message, hint, retry_after=answer.retry_after, may_be_one=may_be_one)


def _rejected(answer: Answer) -> tuple[int, str]:
    try:
        rejected, reason = otlp_encoding.rejected_spans(answer.body)
    except DecodeError:  # it has taken them, whatever else it says
        return 0, ""
    return max(0, rejected), reason[:_MAX_REASON]
