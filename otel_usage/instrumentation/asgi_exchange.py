"""One ASGI request or WebSocket (ASGI 3.0) as it passes: its bytes are counted and its end is seen.

Whatever speaks ASGI is wrapped with `serve`, outermost. Frameworks are not known here.
"""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from otel_usage.enrichment.facts import RequestFacts
from otel_usage.instrumentation.state import (
    CLIENT_DISCONNECTED,
    RequestState,
    activate,
    begin,
    counting,
    deactivate,
)

_logger = logging.getLogger("otel_usage")

# Policy violation (RFC 6455, 7.4.1); unauthorized, forbidden (IANA, WebSocket Close Code Number Registry).
_REFUSALS: Final = (1008, 3000, 3003)

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ReadFacts = Callable[[RequestState], RequestFacts]


async def serve(
    application: Callable[[Scope, Receive, Send], Awaitable[None]],
    scope: Scope,
    receive: Receive,
    send: Send,
    read_facts: ReadFacts,
) -> None:
    """Call an ASGI application and count what passes; an outer call of this for the same request only passes on.

    Args:
        application: Takes scope, receive and send.
        scope: Of the connection; anything but "http" and "websocket" only passes on.
        receive: The server's.
        send: The server's.
        read_facts: Reads the facts of a request from its scope.
    """
    if scope["type"] not in ("http", "websocket") or counting(scope):
        await application(scope, receive, send)
        return
    exchange = _Exchange(begin(read_facts, scope), receive, send)
    token = activate(exchange.state)
    try:
        await application(scope, exchange.receive, exchange.send)
    except BaseException as error:
        exchange.state.failed(error)
        raise
    else:
        exchange.returned(scope)
    finally:
        exchange.state.abandon()
        deactivate(token)


class _Exchange:
    """What passes between one server and one application."""

    __slots__ = ("_receive", "_send", "_trailers", "state")

    def __init__(self, state: RequestState, receive: Receive, send: Send) -> None:
        self.state = state
        self._receive = receive
        self._send = send
        self._trailers = False

    async def receive(self) -> Message:
        message = await self._receive()
        kind = message["type"]
        if kind == "http.request":
            self.state.request_bytes += len(message.get("body") or b"")
        elif kind == "websocket.receive":
            self.state.request_bytes += _frame_bytes(message)
        elif kind == "http.disconnect" and not self.state.kept and self.state.error_type is None:
            # Frameworks that learn of it here may end the answer as if nothing had happened.
            self.state.error_type = CLIENT_DISCONNECTED
        return message

    async def send(self, message: Message) -> None:
        try:
            see = _SEEN.get(message["type"])
            if see is not None:
                see(self, message)
        except Exception:
            # A malformed message is the server's to refuse.
            _logger.debug("An ASGI message could not be read.", exc_info=True)
        await self._send(message)

    def returned(self, scope: Scope) -> None:
        """The application returned: if its answer had begun and has no end, the client had gone."""
        state = self.state
        if not state.kept and scope["type"] == "http" and state.status is not None and state.error_type is None:
            state.error_type = CLIENT_DISCONNECTED

    def started(self, message: Message) -> None:
        state = self.state
        state.status = message["status"]
        self._trailers = bool(message.get("trailers"))
        for name, value in message.get("headers") or ():
            # Three header names are looked for; their lengths tell nearly all others apart.
            if len(name) in (13, 14, 19):
                _see_header(state, bytes(name).lower(), bytes(value))

    def body(self, message: Message) -> None:
        self.state.response_bytes += len(message.get("body") or b"")
        if not message.get("more_body") and not self._trailers:
            self.state.complete()

    def trailers(self, message: Message) -> None:
        if not message.get("more_trailers"):
            self.state.complete()

    def file(self, message: Message) -> None:
        """The server sends the file by itself; it sends what the message or the header announces."""
        self.state.response_bytes += message.get("count") or self.state.expected_bytes or 0
        if not message.get("more_body"):
            self.state.complete()

    def accepted(self, _message: Message) -> None:
        self.state.status = 101

    def frame(self, message: Message) -> None:
        self.state.response_bytes += _frame_bytes(message)

    def closed(self, message: Message) -> None:
        if self.state.status is None:
            # A handshake that is not accepted is answered 403 (ASGI specification, WebSocket, Close).
            self.state.status = 403
        if message.get("code") in _REFUSALS:
            self.state.refused = True
        self.state.complete()


_SEEN: dict[str, Callable[[_Exchange, Message], None]] = {
    "http.response.start": _Exchange.started,
    "http.response.body": _Exchange.body,
    "http.response.trailers": _Exchange.trailers,
    "http.response.pathsend": _Exchange.file,
    "http.response.zerocopysend": _Exchange.file,
    "websocket.http.response.start": _Exchange.started,
    "websocket.http.response.body": _Exchange.body,
    "websocket.accept": _Exchange.accepted,
    "websocket.send": _Exchange.frame,
    "websocket.close": _Exchange.closed,
}


def _see_header(state: RequestState, name: bytes, value: bytes) -> None:
    if name == b"content-length":
        state.expected_bytes = int(value) if value.isdigit() else None
    elif name == b"content-disposition":
        state.content_disposition = value.decode("latin-1")
    elif name == b"content-range":
        state.content_range = value.decode("latin-1")


def _frame_bytes(message: Message) -> int:
    data = message.get("bytes")
    if data is not None:
        return len(data)
    return len((message.get("text") or "").encode("utf-8", "replace"))
