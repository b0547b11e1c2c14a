"""Sanic's own server: a request that it handles is told as ASGI messages, so that it is seen like any other.

Nothing here changes what the server does. Facts are read in `frameworks/sanic`.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from functools import partial
from types import ModuleType
from typing import Any, Final
from urllib.parse import unquote

from otel_usage.instrumentation.asgi_exchange import Message, Scope, Send
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import RequestState, current

_logger = logging.getLogger("otel_usage")

Serve = Callable[[Callable[..., Awaitable[None]], Any, Scope, Any, Send], Awaitable[None]]

# Who is told of the request that is being handled.
_told: ContextVar[Send | None] = ContextVar("otel_usage_sanic", default=None)
# Where a WebSocket keeps who is told of its request, and the request: another request may send to it too.
_OPENED_BY: Final = "_otel_usage"


def patch(patches: Patches, module: ModuleType, serve: Serve) -> None:
    """Let `serve(application, request, scope, receive, send)` handle each request of a connection."""

    def setting_up(original: Any) -> Any:
        def _setup(self: Any) -> None:
            original(self)
            try:
                self.request_handler = partial(_handle, self.request_handler, serve)
            except Exception:
                _logger.debug("What Sanic's own server handles cannot be seen.", exc_info=True)

        return _setup

    patches.replace(module.HttpProtocolMixin, "_setup", setting_up)


def patch_response(patches: Patches, module: ModuleType) -> None:
    """Tell of each part of an answer."""
    patches.replace(module.BaseHTTPResponse, "send", _telling)


def patch_handshake(patches: Patches, module: ModuleType) -> None:
    """Tell of each WebSocket that is accepted."""
    patches.replace(module.WebSocketProtocol, "websocket_handshake", _telling_of_acceptance)


def patch_frames(patches: Patches, module: ModuleType) -> None:
    """Tell of each message of a WebSocket."""
    patches.replace(module.WebsocketImplProtocol, "send", _telling_of_frame)
    patches.replace(module.WebsocketImplProtocol, "recv", _counting_frame)


async def _handle(handler: Callable[[Any], Awaitable[None]], serve: Serve, request: Any) -> None:
    async def application(_scope: Scope, _receive: Any, send: Send) -> None:
        token = _told.set(send)
        try:
            await handler(request)
        finally:
            _told.reset(token)

    try:
        scope = _scope(request)
    except Exception:
        _logger.debug("A request of Sanic's own server cannot be read.", exc_info=True)
        await handler(request)
        return
    await serve(application, request, scope, None, _discard)


async def _discard(_message: Message) -> None:
    """The server has sent it by itself."""


def _scope(request: Any) -> Scope:
    connection = request.conn_info
    secure, websocket = bool(connection.ssl), request.headers.getone("upgrade", "").lower() == "websocket"
    return {
        "type": "websocket" if websocket else "http",
        "http_version": request.version,
        "method": request.method,
        "scheme": ("ws" if websocket else "http") + ("s" if secure else ""),
        "path": unquote(request.path),
        "root_path": "",
        "query_string": request.query_string.encode("latin-1", "replace"),
        "headers": [_header(name, value) for name, value in request.headers.items()],
        "client": (connection.client_ip, connection.client_port),
        "server": (connection.server.rpartition(":")[0] or connection.server, connection.server_port),
    }


def _header(name: str, value: object) -> tuple[bytes, bytes]:
    return name.lower().encode("latin-1", "replace"), str(value).encode("utf-8", "surrogateescape")


async def _tell(send: Send | None, read: Callable[..., Iterable[Message]], *said: Any) -> None:
    if send is None:
        return
    try:
        for message in read(*said):
            await send(message)
    except Exception:
        _logger.debug("A message of Sanic's own server cannot be read.", exc_info=True)


def _telling(original: Any) -> Any:
    async def send(self: Any, data: Any = None, end_stream: bool | None = None) -> None:
        await _tell(_told.get(), _answer, self, data, end_stream)
        await original(self, data, end_stream)

    return send


def _answer(response: Any, data: Any, end_stream: bool | None) -> list[Message]:
    """What one call of `send` means: the first one sends the head too, and a body that was given before."""
    stream, state = response.stream, current()
    if getattr(stream, "send", None) is None:
        # The answer has ended already.
        return []
    if state is not None:
        state.request_bytes = (stream.request_bytes or 0) - (getattr(stream, "request_bytes_left", 0) or 0)
    body = data.encode() if isinstance(data, str) else data or b""
    ends = bool(end_stream) or (data is None and end_stream is None)
    messages: list[Message] = []
    if stream.stage.name == "HANDLER":
        headers = [_header(name, value) for name, value in response.headers.items()]
        messages.append({"type": "http.response.start", "status": response.status, "headers": headers})
        if not body and getattr(response, "body", None):
            body, ends = response.body, True
    return [*messages, {"type": "http.response.body", "body": body, "more_body": not ends}]


def _telling_of_acceptance(original: Any) -> Any:
    async def websocket_handshake(self: Any, *args: Any, **kwargs: Any) -> Any:
        websocket = await original(self, *args, **kwargs)
        send = _told.get()
        getattr(websocket, "__dict__", {})[_OPENED_BY] = send, current()
        await _tell(send, _acceptance)
        return websocket

    return websocket_handshake


def _telling_of_frame(original: Any) -> Any:
    async def send(self: Any, message: Any) -> None:
        await original(self, message)
        send, _ = _opened_by(self)
        await _tell(send, _frame, message)

    return send


def _opened_by(websocket: Any) -> tuple[Send | None, RequestState | None]:
    opened: tuple[Send, RequestState] | None = getattr(websocket, "__dict__", {}).get(_OPENED_BY)
    return opened or (None, None)


def _acceptance() -> list[Message]:
    return [{"type": "websocket.accept"}]


def _frame(message: Any) -> list[Message]:
    return [{"type": "websocket.send", "text" if isinstance(message, str) else "bytes": message}]


def _counting_frame(original: Any) -> Any:
    async def recv(self: Any, *args: Any, **kwargs: Any) -> Any:
        data = await original(self, *args, **kwargs)
        _, state = _opened_by(self)
        if state is not None and data is not None:
            state.request_bytes += len(data.encode("utf-8", "replace") if isinstance(data, str) else data)
        return data

    return recv
