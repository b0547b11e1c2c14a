"""One request or WebSocket of Tornado as it passes: its bytes are counted and its end is seen.

Tornado is neither WSGI nor ASGI: a request begins where its handler is executed, and what passes is seen in its own
connection. Routes and users are not known here.
"""

import logging
from collections.abc import Callable, MutableMapping
from functools import partial
from time import time_ns
from types import ModuleType
from typing import Any, Final

from otel_usage.enrichment.facts import RequestFacts
from otel_usage.instrumentation.frameworks.tornado.gaps import span_of_unseen
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import CLIENT_DISCONNECTED, MARK, RequestState, activate, deactivate

_logger = logging.getLogger("otel_usage")

_EXCHANGE: Final = "_otel_usage"
_SWITCHING_PROTOCOLS: Final = 101
_STREAM_CLOSED: Final = "tornado.iostream.StreamClosedError"
_EMPTY_ANSWERS: Final = frozenset((204, 304))

ReadFacts = Callable[[RequestState], RequestFacts]


def patch(patches: Patches, read_facts: ReadFacts) -> None:
    """Count what passes between handlers and their connections.

    Args:
        patches: Takes the replacements.
        read_facts: Reads the facts of a request from its `tornado.web.RequestHandler`.
    """
    from tornado.http1connection import HTTP1Connection
    from tornado.web import RequestHandler, _HandlerDelegate

    patches.replace(RequestHandler, "_execute", partial(_serve, read_facts))
    patches.replace(_HandlerDelegate, "data_received", _see_received)
    patches.replace(HTTP1Connection, "write_headers", _see_start)
    patches.replace(HTTP1Connection, "write", _see_write)
    patches.replace(HTTP1Connection, "finish", _see_end)
    patches.replace(HTTP1Connection, "_on_connection_close", _see_close)


def patch_websocket(patches: Patches, module: ModuleType) -> None:
    """Count the messages of WebSockets."""
    patches.replace(module.WebSocketProtocol13, "_accept_connection", _see_websocket)


def patch_wsgi(patches: Patches, module: ModuleType) -> None:
    """Let a WSGI application behind a handler be part of the handler's request."""
    patches.replace(module.WSGIContainer, "environ", _see_environ)


class _Exchange:
    """What passes between one client and one handler; it hangs on the connection."""

    __slots__ = ("_environ", "_head", "_returned", "_started_ns", "state")

    def __init__(self, read_facts: ReadFacts, handler: Any, *, counted: bool) -> None:
        self.state = RequestState(read_facts, handler, counted=counted)
        self.state.request_bytes = len(handler.request.body or b"")
        self._head = handler.request.method == "HEAD"
        self._environ: MutableMapping[str, Any] | None = None
        self._returned = False
        self._started_ns = time_ns()

    def received(self, _connection: Any, data: bytes) -> None:
        self.state.request_bytes += len(data)

    def started(self, connection: Any, start_line: Any, headers: Any, chunk: bytes | None) -> None:
        state = self.state
        state.status = start_line.code
        state.content_disposition = headers.get("Content-Disposition")
        state.content_range = headers.get("Content-Range")
        length = headers.get("Content-Length") or ""
        if self._head or state.status in _EMPTY_ANSWERS:
            state.expected_bytes = 0
        else:
            state.expected_bytes = int(length) if length.isdigit() else None
        self.chunk(connection, chunk or b"")

    def chunk(self, connection: Any, chunk: bytes) -> None:
        if connection.stream.closed():
            return
        self.state.response_bytes += len(chunk)
        if self.state.response_bytes == self.state.expected_bytes:
            self._complete(connection)

    def finished(self, connection: Any) -> None:
        """The answer is complete; that to the handshake of a WebSocket is only its beginning."""
        if self.state.status != _SWITCHING_PROTOCOLS:
            self._lose_client(connection)
            self._complete(connection)

    def closed(self, connection: Any) -> None:
        """The client has gone; a handler that still runs may yet say more."""
        if self._returned:
            self.returned(connection)

    def returned(self, connection: Any) -> None:
        """The handler has returned: without the end of an answer another task may send it, unless nobody listens."""
        self._returned = True
        if connection.stream is None or connection.stream.closed():
            self._lose_client(connection)
            self._complete(connection)

    def framed(self, connection: Any, protocol: Any) -> None:
        """A WebSocket has ended; Tornado has counted the bytes of its messages."""
        try:
            self.state.request_bytes = protocol._message_bytes_in
            self.state.response_bytes = protocol._message_bytes_out
        finally:
            self._complete(connection)

    def handed_over(self, _connection: Any, environ: MutableMapping[str, Any]) -> None:
        """A WSGI application answers: as part of this request, or in a thread where it is one of its own."""
        if environ["wsgi.multithread"]:
            self._environ = environ
        else:
            environ[MARK] = self.state
            # The handler's span has ended before the application has begun: what it is about is read once more.
            self.state.described = None

    def _complete(self, connection: Any) -> None:
        vars(connection).pop(_EXCHANGE, None)
        inner = None if self._environ is None else self._environ.get(MARK)
        if isinstance(inner, RequestState) and inner.keeper is not None:
            self.state.kept = True
        if self.state.keeper is None and not self.state.kept:
            self._start_missing_span()
        self.state.complete()

    def _start_missing_span(self) -> None:
        token = activate(self.state)
        try:
            span_of_unseen(self.state.native, self.state.status, self._started_ns)
        finally:
            deactivate(token)

    def _lose_client(self, connection: Any) -> None:
        stream = connection.stream
        if stream is not None and stream.closed() and self.state.error_type in (None, _STREAM_CLOSED):
            self.state.error_type = CLIENT_DISCONNECTED


def _begin(read_facts: ReadFacts, handler: Any) -> _Exchange | None:
    """An exchange, on the connection where that is Tornado's own; None where there can be none."""
    from tornado.http1connection import HTTP1Connection

    try:
        connection = handler.request.connection
        exchange = _Exchange(read_facts, handler, counted=isinstance(connection, HTTP1Connection))
        if exchange.state.counted:
            vars(connection)[_EXCHANGE] = exchange
    except Exception:
        _logger.debug("What passes Tornado cannot be counted.", exc_info=True)
        return None
    return exchange


def _tell(connection: Any, see: Callable[..., None], *seen: Any) -> None:
    """Let the exchange on this connection see something; a client's connection has none."""
    exchange = getattr(connection, "__dict__", {}).get(_EXCHANGE)
    if not isinstance(exchange, _Exchange):
        return
    try:
        see(exchange, connection, *seen)
    except Exception:
        _logger.debug("What passed Tornado could not be counted.", exc_info=True)


def _serve(read_facts: ReadFacts, original: Any) -> Any:
    async def _execute(self: Any, *arguments: Any, **named: Any) -> None:
        exchange = _begin(read_facts, self)
        if exchange is None:
            await original(self, *arguments, **named)
            return
        connection = self.request.connection
        token = activate(exchange.state)
        try:
            await original(self, *arguments, **named)
        finally:
            _tell(connection, _Exchange.returned)
            deactivate(token)

    return _execute


def _see_received(original: Any) -> Any:
    def data_received(self: Any, data: bytes) -> Any:
        _tell(getattr(self, "connection", None), _Exchange.received, data)
        return original(self, data)

    return data_received


def _see_start(original: Any) -> Any:
    def write_headers(self: Any, start_line: Any, headers: Any, chunk: bytes | None = None) -> Any:
        _tell(self, _Exchange.started, start_line, headers, chunk)
        return original(self, start_line, headers, chunk)

    return write_headers


def _see_write(original: Any) -> Any:
    def write(self: Any, chunk: bytes) -> Any:
        _tell(self, _Exchange.chunk, chunk)
        return original(self, chunk)

    return write


def _see_end(original: Any) -> Any:
    def finish(self: Any) -> None:
        _tell(self, _Exchange.finished)
        original(self)

    return finish


def _see_close(original: Any) -> Any:
    def _on_connection_close(self: Any) -> None:
        original(self)
        _tell(self, _Exchange.closed)

    return _on_connection_close


def _see_websocket(original: Any) -> Any:
    async def _accept_connection(self: Any, handler: Any) -> None:
        try:
            await original(self, handler)
        finally:
            _tell(handler.request.connection, _Exchange.framed, self)

    return _accept_connection


def _see_environ(original: Any) -> Any:
    # Before Tornado 6.3 it is a static method.
    is_static = isinstance(original, staticmethod)

    def environ(*arguments: Any) -> Any:
        made = original(*arguments[-1:]) if is_static else original(*arguments)
        _tell(arguments[-1].connection, _Exchange.handed_over, made)
        return made

    return environ
