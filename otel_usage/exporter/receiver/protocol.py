"""HTTP/1.1 on one connection, bounded in time and memory: what uvicorn's protocol leaves open.

uvicorn waits for ever for the first request and for a slow one, and keeps headers of any length. A client that is too
slow is disconnected without an answer: a Collector comes again after that, and drops what is answered 408.
"""

from asyncio import TimerHandle, Transport
from typing import Any, Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from otel_usage.exporter.receiver.limits import Limits
from otel_usage.exporter.receiver.metrics import ReceiverMetrics

_MAX_HEAD_BYTES: Final = 64 * 1024
# A body that is late is answered first; what comes after the answer is read for a while, so that it is seen.
_GRACE_SECONDS: Final = 5.0
_UPGRADE_HEADERS: Final = (b"upgrade", b"connection", b"http2-settings")
_REFUSED: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)
_TOO_LONG: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class ReceiverProtocol(HttpToolsProtocol):
    """One connection.

    Args:
        limits: How many there may be, and how long each may take.
        metrics: Counts them.
        options: uvicorn's.
    """

    def __init__(self, *, limits: Limits, metrics: ReceiverMetrics, **options: Any) -> None:
        super().__init__(**options)
        self._limits = limits
        self._metrics = metrics
        self._is_refused = False
        self._deadline: TimerHandle | None = None
        # Bytes that have become neither headers nor a part of a body: a head, or a trailer, that does not end.
        self._unparsed = 0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as in uvicorn
        if len(self.connections) >= self._limits.connections:
            self._is_refused = True
            self._metrics.refused()
            transport.write(_REFUSED)
            transport.close()
            return
        super().connection_made(transport)
        self._metrics.connected(1)
        self._expect_within(self._limits.client_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        if not self._is_refused:
            self._metrics.connected(-1)
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._unset_keepalive_if_required()
        if self._deadline is None:
            self._expect_within(self._limits.client_seconds)
        self._unparsed += len(data)
        self._feed(data)
        if self._unparsed > _MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LONG)
            self.transport.close()

    def on_headers_complete(self) -> None:
        if self._is_upgrade():
            return
        self._unparsed = 0
        self._expect_nothing()
        self._expect_within(self._limits.client_seconds + _GRACE_SECONDS)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._is_upgrade():
            return
        self._unparsed = 0
        self._expect_nothing()
        super().on_message_complete()

    def _feed(self, data: bytes) -> None:
        """Parse what has come.

        Java's own client offers HTTP/2 with each request on a new connection. The parser then takes the body for
        HTTP/2, and the request for one without any: it is parsed again without the offer, which nobody need accept.
        """
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            if not self._is_upgrade():
                self.send_400_response("This is no proxy.")
                return
            kept = [(name, value) for name, value in self.headers if name not in _UPGRADE_HEADERS]
            version = self.parser.get_http_version().encode()
            head = [self.parser.get_method(), b" ", self.url, b" HTTP/", version, b"\r\n"]
            for name, value in kept:
                head += [name, b": ", value, b"\r\n"]
            self.parser = HttpRequestParser(self)
            self._feed(b"".join([*head, b"\r\n", data[upgrade.args[0] :]]))
        except HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    def _is_upgrade(self) -> bool:
        return bool(self.parser.should_upgrade()) and self.parser.get_method() != b"CONNECT"

    def _expect_within(self, seconds: float) -> None:
        self._deadline = self.loop.call_later(seconds, self._expire)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expire(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.close()
