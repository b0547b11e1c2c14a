"""One request or WebSocket of aiohttp.web as it passes: its bytes are counted and its end is seen.

aiohttp.web is neither WSGI nor ASGI: what passes is seen in its own connection, answer and writer. Routes and users are
not known here.
"""

import logging
from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from otel_usage.enrichment.facts import RequestFacts
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import CLIENT_DISCONNECTED, RequestState, activate, deactivate

_logger = logging.getLogger("otel_usage")

_EXCHANGE: Final = "_otel_usage"
_SWITCHING_PROTOCOLS: Final = 101

ReadFacts = Callable[[RequestState], RequestFacts]


def patch(patches: Patches, read_facts: ReadFacts) -> None:
    """Count what passes aiohttp's servers, whoever runs them.

    Args:
        patches: Takes the replacements.
        read_facts: Reads the facts of a request from its `aiohttp.web.BaseRequest`.
    """
    from aiohttp.http_writer import StreamWriter
    from aiohttp.web_fileresponse import FileResponse
    from aiohttp.web_protocol import RequestHandler
    from aiohttp.web_response import StreamResponse
    from aiohttp.web_ws import WebSocketResponse

    patches.replace(RequestHandler, "_handle_request", partial(_serve, read_facts))
    patches.replace(StreamResponse, "_start", _see_start)
    patches.replace(StreamWriter, "enable_compression", _see_compression)
    patches.replace(StreamWriter, "write", _see_write)
    patches.replace(StreamWriter, "write_eof", _see_end)
    patches.replace(FileResponse, "_sendfile", _see_file)
    patches.replace(WebSocketResponse, "receive", _see_received)
    patches.replace(WebSocketResponse, "send_str", _see_sent)
    patches.replace(WebSocketResponse, "send_bytes", _see_sent)
    patches.replace(WebSocketResponse, "close", _see_close)


class _Exchange:
    """What passes between one client and one application; it hangs on the writer of the answer."""

    __slots__ = ("_file", "_request", "state")

    def __init__(self, read_facts: ReadFacts, request: Any) -> None:
        self.state = RequestState(read_facts, request, counted=True)
        self._request = request
        self._file: tuple[Any, int] | None = None

    def started(self, response: Any) -> None:
        state, headers = self.state, response.headers
        state.status = response.status
        state.content_disposition = headers.get("Content-Disposition")
        state.content_range = headers.get("Content-Range")
        length = headers.get("Content-Length")
        state.expected_bytes = int(length) if length and length.isdigit() else None

    def chunk(self, writer: Any, chunk: Any) -> None:
        """A chunk is about to leave; where it is compressed first, it is counted afterwards."""
        if writer._compress is not None or self.is_gone():
            return
        size = getattr(chunk, "nbytes", None) or len(chunk)
        # The writer cuts off what is more than the Content-Length.
        self.state.response_bytes += size if writer.length is None else min(size, writer.length)
        if self.state.response_bytes == self.state.expected_bytes:
            self.complete()

    def last(self, writer: Any, chunk: Any) -> None:
        self._add_file()
        if not self.is_gone():
            self.chunk(writer, chunk)
            if writer._compress is None:
                self.complete()

    def compressed(self, writer: Any) -> None:
        writer._compress = _CountedCompressor(writer._compress, self)

    def file(self, file: Any, offset: int) -> None:
        """The event loop may send this file by itself, past the writer."""
        self._file = (file, offset)

    def received(self, message: Any) -> None:
        """A message of a WebSocket, which may be one about the connection itself."""
        if isinstance(message.data, (str, bytes)) and message.type.name in ("TEXT", "BINARY"):
            self.state.request_bytes += _frame_bytes(message.data)

    def sent(self, data: Any) -> None:
        self.state.response_bytes += _frame_bytes(data)

    def closing(self, websocket: Any) -> None:
        if not websocket._closing:
            self.complete()

    def complete(self) -> None:
        state = self.state
        if state.status != _SWITCHING_PROTOCOLS:
            state.request_bytes = getattr(self._request.content, "total_bytes", 0)
        state.complete()

    def failed(self, error: BaseException) -> None:
        # Where an answer has begun, aiohttp raises an error of its own for the one it is handling.
        cause = error.__context__ or error
        if isinstance(cause, (OSError, CancelledError)) and self.is_gone():
            self.state.error_type = CLIENT_DISCONNECTED
        elif self.state.error_type is None:
            self.state.failed(error)

    def returned(self) -> None:
        """The connection is done with the request: an answer that begun and has no end lost its client."""
        state = self.state
        if not state.kept:
            self._add_file()
            if state.error_type is None and state.status not in (None, _SWITCHING_PROTOCOLS):
                state.error_type = CLIENT_DISCONNECTED
            self.complete()
        state.abandon()

    def is_gone(self) -> bool:
        transport = self._request.transport
        return transport is None or transport.is_closing()

    def _add_file(self) -> None:
        """`loop.sendfile` leaves the file behind the last byte that it has sent, also where it fails."""
        if self._file is not None and not self.state.response_bytes:
            file, offset = self._file
            self.state.response_bytes = max(file.tell() - offset, 0)


def _begin(read_facts: ReadFacts, request: Any) -> Any:
    """The writer of the answer with an exchange on it, or None: aiohttp may come to have another."""
    try:
        writer = request._payload_writer
        vars(writer)[_EXCHANGE] = _Exchange(read_facts, request)
    except Exception:
        _logger.debug("What passes aiohttp cannot be counted.", exc_info=True)
        return None
    return writer


def _writer_of(message: Any) -> Any:
    return getattr(message, "_payload_writer", None)


def _exchange_of(writer: Any) -> _Exchange | None:
    found = getattr(writer, "__dict__", {}).get(_EXCHANGE)
    return found if isinstance(found, _Exchange) else None


def _tell(writer: Any, see: Callable[..., None], *seen: Any) -> None:
    """Let the exchange of this writer see something; a client's writer has none."""
    exchange = _exchange_of(writer)
    if exchange is None:
        return
    try:
        see(exchange, *seen)
    except Exception:
        _logger.debug("What passed aiohttp could not be counted.", exc_info=True)


def _serve(read_facts: ReadFacts, original: Any) -> Any:
    async def _handle_request(self: Any, request: Any, *arguments: Any, **named: Any) -> Any:
        writer = _begin(read_facts, request)
        exchange = _exchange_of(writer)
        if exchange is None:
            return await original(self, request, *arguments, **named)
        token = activate(exchange.state)
        try:
            return await original(self, request, *arguments, **named)
        except BaseException as error:
            _tell(writer, _Exchange.failed, error)
            raise
        finally:
            _tell(writer, _Exchange.returned)
            vars(writer).pop(_EXCHANGE, None)
            deactivate(token)

    return _handle_request


def _see_start(original: Any) -> Any:
    async def _start(self: Any, request: Any) -> Any:
        writer = await original(self, request)
        _tell(writer, _Exchange.started, self)
        return writer

    return _start


def _see_write(original: Any) -> Any:
    def write(self: Any, chunk: Any, **named: Any) -> Awaitable[Any]:
        _tell(self, _Exchange.chunk, self, chunk)
        written: Awaitable[Any] = original(self, chunk, **named)
        return written

    return write


def _see_end(original: Any) -> Any:
    def write_eof(self: Any, chunk: Any = b"") -> Awaitable[Any]:
        _tell(self, _Exchange.last, self, chunk)
        written: Awaitable[Any] = original(self, chunk)
        return written

    return write_eof


def _see_compression(original: Any) -> Any:
    def enable_compression(self: Any, *arguments: Any, **named: Any) -> None:
        original(self, *arguments, **named)
        _tell(self, _Exchange.compressed, self)

    return enable_compression


def _see_file(original: Any) -> Any:
    async def _sendfile(self: Any, request: Any, fobj: Any, offset: int, count: int) -> Any:
        _tell(_writer_of(request), _Exchange.file, fobj, offset)
        return await original(self, request, fobj, offset, count)

    return _sendfile


def _see_received(original: Any) -> Any:
    async def receive(self: Any, *arguments: Any, **named: Any) -> Any:
        message = await original(self, *arguments, **named)
        _tell(_writer_of(self), _Exchange.received, message)
        return message

    return receive


def _see_sent(original: Any) -> Any:
    async def send(self: Any, data: Any, *arguments: Any, **named: Any) -> None:
        await original(self, data, *arguments, **named)
        _tell(_writer_of(self), _Exchange.sent, data)

    return send


def _see_close(original: Any) -> Any:
    async def close(self: Any, **named: Any) -> bool:
        _tell(_writer_of(self), _Exchange.closing, self)
        closed: bool = await original(self, **named)
        return closed

    return close


def _frame_bytes(data: Any) -> int:
    if isinstance(data, str):
        return len(data) if data.isascii() else len(data.encode("utf-8", "replace"))
    return len(data)


class _CountedCompressor:
    """The compressor of an answer that is compressed as it goes: what comes out of it is what is sent."""

    __slots__ = ("_compressor", "_exchange")

    def __init__(self, compressor: Any, exchange: _Exchange) -> None:
        self._compressor = compressor
        self._exchange = exchange

    async def compress(self, data: Any) -> bytes:
        return self._count(await self._compressor.compress(data))

    def flush(self, *mode: int) -> bytes:
        """The last of it."""
        rest = self._count(self._compressor.flush(*mode))
        self._exchange.complete()
        return rest

    def __getattr__(self, name: str) -> Any:
        return getattr(self._compressor, name)

    def _count(self, data: bytes) -> bytes:
        self._exchange.state.response_bytes += len(data)
        return data
