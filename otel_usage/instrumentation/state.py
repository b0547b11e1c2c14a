"""The state of the request being served: what was seen of it so far, reachable from anywhere in it.

Filled by the protocol and framework files, read once by the processor. No rules and no I/O here.
"""

import os
import sys
from collections.abc import Callable, MutableMapping
from contextvars import ContextVar, Token
from time import time_ns
from typing import TYPE_CHECKING, Any, Final, Protocol

from otel_usage import attributes as key
from otel_usage.enrichment.facts import ApplicationWord, FrameworkCredential, FrameworkUser, RequestFacts

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Span

CLIENT_DISCONNECTED: Final = "client_disconnected"
# Where the state of a request stands in its environ or scope.
MARK: Final = "otel_usage.request"


class Keeper(Protocol):
    """Who describes and keeps a request: the processor that saw its span start."""

    def describe(self, state: "RequestState") -> None:
        """Put the usage attributes on the span, which is still writable."""

    def keep(self, state: "RequestState") -> None:
        """Make the request a record."""


class RequestState:
    """One request, from its first byte to its last.

    Attributes:
        read_facts: Reads the facts from `native`; a framework puts its own reader in the protocol's place.
        native: The framework's request object, or the protocol's environ or scope.
        counted: Whether the bytes pass through us, so that the end of the answer will be seen.
        facts, overlay, secrets, described: What the last description was made of, found, and saw.
        status: HTTP status of the answer once it has begun.
        request_bytes, response_bytes: Bytes of the bodies that have passed; meaningless unless `counted`.
        expected_bytes: The answer's Content-Length, or None.
        user, credential: Who a framework said it was, and the credential it found in a place of the application's own,
            while they could be seen.
        refused: Whether a framework said that the credential is not valid, whatever the answer's status.
        token_name, operation: What a framework called the token and the route, while it could be seen.
        error_type: Qualified name of the exception that ended the request, or CLIENT_DISCONNECTED.
        end_time_ns: When the answer was complete, if that was before its span ended.
        word, revision: What the application said, and how often it spoke.
        ended: Whether the span has ended.
        kept: Whether the record is made.
    """

    __slots__ = (
        "content_disposition",
        "content_range",
        "counted",
        "credential",
        "described",
        "end_time_ns",
        "ended",
        "error_type",
        "expected_bytes",
        "facts",
        "keeper",
        "kept",
        "native",
        "operation",
        "overlay",
        "read_facts",
        "refused",
        "request_bytes",
        "response_bytes",
        "revision",
        "secrets",
        "span",
        "status",
        "token_name",
        "user",
        "word",
    )

    def __init__(
        self, read_facts: "Callable[[RequestState], RequestFacts] | None", native: Any, *, counted: bool
    ) -> None:
        self.read_facts = read_facts
        self.native = native
        self.counted = counted
        self.span: Span | None = None
        self.keeper: Keeper | None = None
        self.facts: RequestFacts | None = None
        self.overlay: dict[str, Any] = {}
        self.secrets: tuple[str, ...] = ()
        self.described: tuple[object, ...] | None = None
        self.user: FrameworkUser | None = None
        self.credential: FrameworkCredential | None = None
        self.token_name: str | None = None
        self.operation: str | None = None
        self.refused = False
        self.word: ApplicationWord | None = None
        self.revision = 0
        self.status: int | None = None
        self.content_disposition: str | None = None
        self.content_range: str | None = None
        self.expected_bytes: int | None = None
        self.request_bytes = 0
        self.response_bytes = 0
        self.error_type: str | None = None
        self.end_time_ns: int | None = None
        self.ended = False
        self.kept = False

    def status_code(self) -> int | None:
        """HTTP status of the answer, by its own word or else by the instrumentation's; None while unknown."""
        if self.status is not None or self.span is None:
            return self.status
        attributes = self.span.attributes or {}
        for name in key.STATUS_KEYS:
            value = attributes.get(name)
            if isinstance(value, int):
                return value
        return None

    def failed(self, error: BaseException) -> None:
        """An exception left the application: a server answers 500 if nothing was answered yet."""
        self.error_type = qualified_name(error)
        if self.status is None and isinstance(error, Exception):
            self.status = 500

    def complete(self) -> None:
        """The answer is complete, or will never be: make the record now, before the client can have it all.

        The span may end later; it then ends with the time taken here, so that record and span agree.
        """
        if self.kept:
            return
        if self.keeper is None:
            # No span, no row; and whatever starts in this context from here on is another request.
            self.kept = True
            return
        if self.error_type is None and self.status is not None and self.status >= 500:
            # Middlewares answer for the exception that they are handling, and let it go on afterwards.
            error = sys.exc_info()[1]
            self.error_type = None if error is None else qualified_name(error)
        if not self.ended:
            self.end_time_ns = time_ns()
            self.keeper.describe(self)
        self.keeper.keep(self)

    def abandon(self) -> None:
        """The server let go of the answer: end a span that nobody else will end, and make the record."""
        self.complete()
        if self.span is not None and not self.ended:
            self.span.end()


_current: ContextVar[RequestState | None] = ContextVar("otel_usage_request", default=None)

activate = _current.set


def deactivate(token: Token[RequestState | None]) -> None:
    """Undo `activate`; in another context, where a server closes what it let go of, there is nothing to undo."""
    try:  # noqa: SIM105 - contextlib.suppress costs several times as much, four times in each request
        _current.reset(token)
    except ValueError:
        pass


def current() -> RequestState | None:
    """The request being served here, or None outside one."""
    state = _current.get()
    return None if state is None or state.kept else state


def _leave_to_parent() -> None:
    """A request that is served while its process forks stays the parent's: the child makes no record of it."""
    state = _current.get()
    if state is not None:
        state.kept = True


os.register_at_fork(after_in_child=_leave_to_parent)


def counting(carrier: MutableMapping[str, Any]) -> bool:
    """Whether an outer wrap of this very request already counts its bytes.

    Known by a mark in its environ or scope, which middlewares copy: a request that an application makes to another in
    its own process is another request.
    """
    state = carrier.get(MARK)
    return isinstance(state, RequestState) and not state.kept


def begin(read_facts: Callable[[RequestState], RequestFacts], carrier: MutableMapping[str, Any]) -> RequestState:
    """The state of a request whose bytes will be counted, marked in its environ or scope."""
    state = carrier[MARK] = RequestState(read_facts, carrier, counted=True)
    return state


def bind(read_facts: Callable[[RequestState], RequestFacts], native: Any) -> None:
    """A framework has taken the current request: from now on its reader states the facts."""
    state = current()
    if state is not None and state.read_facts is not read_facts:
        state.read_facts, state.native = read_facts, native


def qualified_name(error: BaseException) -> str:
    """`error.type` of an exception: its fully qualified class name, as the semantic conventions say."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
