"""UsageSpanProcessor: sees a request span start, describes it at its end, and hands the request on to be kept.

`Span.end` is overridden on the instance of each SERVER span: the one place that every instrumentation passes while
the span is still writable and the user is known (`_on_ending` comes after the attributes are frozen). What a
record is, and where it goes, is not known here.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from time import time_ns
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanKind

from otel_usage import attributes as key
from otel_usage.enrichment.describe import describe
from otel_usage.enrichment.facts import RequestFacts
from otel_usage.enrichment.privacy import redact_parameter
from otel_usage.instrumentation.state import RequestState, activate, current

_logger = logging.getLogger("otel_usage")


@dataclass(slots=True)
class FinishedRequest:
    """A request whose answer is complete.

    Attributes:
        span: Its SERVER span, ended or about to end.
        end_time_ns: When the span has ended or will have.
        overlay: Attributes to lay over the span's: what is known of the request itself.
        secrets: The raw credentials it carried, which must not be found in anything that is kept.
    """

    span: ReadableSpan
    end_time_ns: int
    overlay: Mapping[str, Any]
    secrets: tuple[str, ...] = field(repr=False)


# What only the record needs: the span has them under the names of its instrumentation, or must not have them.
_RECORD_ONLY = frozenset((key.HTTP_ROUTE, key.REFERER))

_APPLICATION_MAY_SET = frozenset(
    (key.USER_ID, key.USER_NAME, key.TOKEN_NAME, key.ACTION, key.OPERATION, *key.RESOURCE_KEYS)
)


class UsageSpanProcessor(SpanProcessor):
    """Gives request spans their usage attributes.

    Args:
        keep: Called once a request.
        token_key: Returns the deployment key, or None where there is none.
        flush: Called by `force_flush`.
        close: Called by `shutdown`.
        lost: Called for a request that could not be kept.
        is_alone: Whether nobody else gets to see the spans; then they are not given their attributes.
        is_forwarded: Whether the request is also sent as a usage copy; whoever receives both is told by an attribute.
    """

    def __init__(
        self,
        keep: Callable[[FinishedRequest], None],
        token_key: Callable[[], bytes | None],
        flush: Callable[[int], bool],
        close: Callable[[], None],
        lost: Callable[[], None] = lambda: None,
        is_alone: Callable[[], bool] = lambda: False,
        *,
        is_forwarded: bool = False,
    ) -> None:
        self._keep = keep
        self._token_key = token_key
        self._flush = flush
        self._close = close
        self._lost = lost
        self._is_alone = is_alone
        self._span_only = {key.FORWARDED: True} if is_forwarded else {}
        self._warned = False
        self.active = True

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - the API's
        """Bind a SERVER span to the state of its request, made here if no protocol wrap has made it."""
        if span.kind is not SpanKind.SERVER or not self.active:
            return
        state = current()
        if state is None or state.span is not None:
            outer, state = state, RequestState(None, None, counted=False)
            # A second SERVER span inside a request is on its own, and the request stays the current one.
            if outer is None or not outer.counted:
                activate(state)
        state.span = span
        state.keeper = self
        span.end = partial(self._end, state, span)  # type: ignore[method-assign]  # on this span only

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Finish what this process has written, so that the next commit takes it."""
        return self._flush(timeout_millis)

    def shutdown(self) -> None:
        """Finish what was written; what comes later is kept too, and committed by another process or the next."""
        self._close()

    def describe(self, state: RequestState) -> None:
        """Read the facts and put what follows from them on the span; the application must not notice a failure."""
        try:
            self._describe(state)
        except Exception:
            self._warn("A request could not be described; it is recorded without token, user and resource.")

    def keep(self, state: RequestState) -> None:
        """Make the record, described once more if the answer or the application said more since."""
        state.kept = True
        span = state.span
        if span is None:
            return
        try:
            if state.described != _seen(state):
                self.describe(state)
            end_time_ns = state.end_time_ns or span.end_time or time_ns()
            self._keep(FinishedRequest(span, end_time_ns, _overlay(state), state.secrets))
        except Exception:
            self._warn("A request could not be kept.")
            self._lost()
        finally:
            state.native = state.user = state.facts = state.read_facts = None

    def _end(self, state: RequestState, span: Span, end_time: int | None = None) -> None:
        # Without the override the class's own method is found again, and the reference cycle is gone.
        span.__dict__.pop("end", None)
        if not state.kept:
            self.describe(state)
        try:
            span.end(end_time if state.end_time_ns is None else state.end_time_ns)
        finally:
            state.ended = True
            if not state.counted:
                state.complete()

    def _describe(self, state: RequestState) -> None:
        span = state.span
        if span is None:
            return
        if state.error_type is None:
            state.error_type = _recorded_exception(span)
        state.described = _seen(state)
        state.facts = facts = _facts(state)
        description = describe(facts, self._token_key(), state.word)
        found: dict[str, Any] = description.attributes
        found[key.SAMPLED] = bool(span.context is not None and span.context.trace_flags.sampled)
        _let_the_application_win(found, span.attributes or {}, state.overlay)
        state.overlay, state.secrets = found, description.secrets
        if span.is_recording() and not self._is_alone():
            sizes = _sizes(state) if state.counted and state.end_time_ns is not None else {}
            told = {**found, **sizes, **self._span_only}
            for name in _RECORD_ONLY:
                told.pop(name, None)
            span.set_attributes(told)

    def _warn(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            _logger.warning("%s Further ones are not logged.", message, exc_info=True)


def _facts(state: RequestState) -> RequestFacts:
    if state.read_facts is not None:
        return state.read_facts(state)
    return RequestFacts(method="", path="", status=state.status)


def _seen(state: RequestState) -> tuple[object, ...]:
    """What a description depends on and the answer or the application may still change."""
    return (state.status_code(), state.content_disposition, state.content_range, state.refused, state.revision)


def _recorded_exception(span: Span) -> str | None:
    """Type of the last exception that the instrumentation recorded on the span."""
    for event in reversed(span.events):
        if event.name == "exception" and event.attributes:
            return str(event.attributes.get("exception.type") or "") or None
    return None


def _let_the_application_win(found: dict[str, Any], said: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """What the application has put on the span by itself stays; `ours` is what an earlier description put there."""
    if _APPLICATION_MAY_SET.isdisjoint(said):
        return
    for name in said.keys() & _APPLICATION_MAY_SET:
        if said[name] == ours.get(name):
            continue
        if name == key.USER_ID and found.get(name) != said[name]:
            found.pop(key.USER_NAME, None)
            found[name], found[key.USER_SOURCE] = said[name], "application"
        else:
            found[name] = said[name]


def _query(facts: RequestFacts) -> str:
    if facts.credential is None or facts.credential.parameter is None:
        return facts.query
    return redact_parameter(facts.query, facts.credential.parameter)


def _sizes(state: RequestState) -> dict[str, int]:
    # Whatever an application sends in such an answer, the server keeps back (RFC 9110, 6.4.1).
    bodyless = state.status in (204, 304) or (state.facts is not None and state.facts.method == "HEAD")
    return {
        key.HTTP_REQUEST_BODY_SIZE: state.request_bytes,
        key.HTTP_RESPONSE_BODY_SIZE: 0 if bodyless else state.response_bytes,
    }


def _overlay(state: RequestState) -> dict[str, Any]:
    """What the record takes from the request itself rather than from the span's attributes."""
    overlay = dict(state.overlay)
    facts = state.facts
    if facts is not None and facts.method:
        overlay[key.METHOD_KEYS[0]] = facts.method
        overlay[key.PATH_KEY] = facts.path
        overlay[key.QUERY_KEY] = _query(facts)
        if "referer" in facts.headers:
            overlay[key.REFERER] = facts.headers["referer"]
        # What the instrumentation takes for the route may be the raw path, or a mount's where nothing in it was met.
        overlay[key.HTTP_ROUTE] = facts.route or overlay.get(key.HTTP_ROUTE) or ""
    status = state.status_code()
    if status is not None:
        overlay[key.HTTP_STATUS_CODE] = status
    if state.error_type is not None:
        overlay[key.ERROR_TYPE] = state.error_type
    if state.counted:
        overlay.update(_sizes(state))
    return overlay
