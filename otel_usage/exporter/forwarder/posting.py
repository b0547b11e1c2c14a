"""One HTTP/1.1 client for one address: POST a body, read the answer, within a time.

Built on the operating system's own sockets. What replaces or traces Python's (gevent, eventlet, instrumentations of
`http.client` and above) neither sees a request nor runs in the thread that waits for its answer. It follows no
redirect and asks no proxy. What is posted, and what an answer means, is the forwarder's.
"""

import _socket
import email.utils
import http.client
import io
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from otel_usage import __version__

_MAX_ANSWER_BYTES: Final = 64 * 1024
_CHUNK_BYTES: Final = 64 * 1024
_USER_AGENT: Final = f"otel-usage/{__version__}"

_T = TypeVar("_T")


class PostError(Exception):
    """There is no answer: nobody listens, the connection broke, the time ran out, it is no HTTP. Says which."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the other side said.

    Attributes:
        status: HTTP status.
        content_type: In lower case, empty where it says nothing.
        retry_after: Seconds from now, as Retry-After says in seconds or as a date; None where it says nothing.
        body: At most its first 64 KiB.
    """

    status: int
    content_type: str = ""
    retry_after: float | None = None
    body: bytes = b""

    @property
    def reason(self) -> str:
        """Status and phrase; the other side's own words may be anything."""
        try:
            return f"{self.status} {HTTPStatus(self.status).phrase}"
        except ValueError:
            return str(self.status)


@dataclass(slots=True)
class _Connection:
    stream: "_Stream"
    is_used: bool = False


class Poster:
    """Posts to one address, over one connection as long as the other side keeps it. For one thread.

    Args:
        url: http:// or https://, without user and without query.
        headers: Of every request; one of ours gives way to one of the same name.
        certificate: PEM file of those who may have signed the other side's, None for the system's.
        client_certificate: PEM file of our own, if we have one.
        client_key: PEM file of its key, where that is another.
        timeout_seconds: Of a whole request, the connection included.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        timeout_seconds: float,
        certificate: Path | None = None,
        client_certificate: Path | None = None,
        client_key: Path | None = None,
    ) -> None:
        parts = urlsplit(url)
        self._is_tls = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._is_tls else 80)
        self._path = parts.path or "/"
        given = {name.lower(): value for name, value in headers.items()}
        self._headers = {"host": parts.netloc, "user-agent": _USER_AGENT, **given}
        self._certificate = certificate
        self._client_files = (client_certificate, client_key)
        self._timeout = timeout_seconds
        self._context: ssl.SSLContext | None = None
        self._connection: _Connection | None = None

    def post(self, body: bytes, timeout_seconds: float | None = None) -> Answer:
        """Send one request and read its answer.

        Args:
            body: Of the request.
            timeout_seconds: A shorter time than usual.

        Raises:
            PostError: There is no answer; whether the request has arrived is not known.
        """
        seconds = self._timeout if timeout_seconds is None else min(timeout_seconds, self._timeout)
        deadline = time.monotonic() + seconds
        request = self._head(len(body)) + body
        try:
            return self._exchange(request, deadline)
        except TimeoutError as error:
            self.close()
            raise PostError(f"no answer within {seconds:g} seconds") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise PostError(_what(error)) from error

    def close(self) -> None:
        """Close the connection; the next request makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.stream.close()

    def _head(self, length: int) -> bytes:
        fields = {**self._headers, "content-length": str(length)}
        lines = [f"POST {self._path} HTTP/1.1", *(f"{name.title()}: {value}" for name, value in fields.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _exchange(self, request: bytes, deadline: float) -> Answer:
        connection = self._connection or self._connect(deadline)
        connection.stream.deadline = deadline
        try:
            return self._answer(connection, request)
        except (ConnectionError, ssl.SSLEOFError, http.client.BadStatusLine):
            # It may have closed a connection that it was tired of, just when this was sent.
            if not connection.is_used:
                raise
        self.close()
        return self._answer(self._connect(deadline), request)

    def _answer(self, connection: _Connection, request: bytes) -> Answer:
        stream = connection.stream
        is_whole = _send(stream, request)
        # Typed for a socket, of which it takes the reader.
        response = http.client.HTTPResponse(stream, method="POST")  # type: ignore[arg-type]  # all it needs of one
        try:
            response.begin()
            body = response.read(_MAX_ANSWER_BYTES)
            if response.length and len(body) < _MAX_ANSWER_BYTES:
                raise http.client.IncompleteRead(body, response.length)
            is_over = is_whole and response.isclosed() and not response.will_close
        finally:
            response.close()
        connection.is_used = True
        if not is_over:
            self.close()
        kind = response.headers.get("Content-Type", "").lower()
        return Answer(response.status, kind, _retry_after(response.headers.get("Retry-After")), body)

    def _connect(self, deadline: float) -> _Connection:
        sock = _connected(self._host, self._port, deadline)
        try:
            stream = _TLSStream(sock, deadline, self._tls(), self._host) if self._is_tls else _Stream(sock, deadline)
        except BaseException:
            sock.close()
            raise
        self._connection = _Connection(stream)
        return self._connection

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = tls_context(self._certificate, *self._client_files)
        return self._context


def tls_context(certificate: Path | None, client_certificate: Path | None, client_key: Path | None) -> ssl.SSLContext:
    """How TLS is spoken with these files, as `Poster` takes them.

    Raises:
        OSError: They cannot be used.
    """
    context = ssl.create_default_context(cafile=certificate)
    if client_certificate is not None:
        context.load_cert_chain(client_certificate, client_key)
    return context


def _connected(host: str, port: int, deadline: float) -> _socket.socket:
    """A connection to the first address of the host that takes one; one that says nothing leaves time for the others.

    Raises:
        OSError: None does.
    """
    error: OSError = OSError(f"{host} has no address")
    # As text it would have a codec imported, amid which this process may be forked.
    found = _socket.getaddrinfo(host.encode("ascii"), port, 0, _socket.SOCK_STREAM)
    for remaining, (family, kind, protocol, _, address) in zip(range(len(found), 0, -1), found, strict=True):
        sock = _socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left(deadline) / remaining)
            sock.connect(address)
            sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            return sock
        except OSError as refused:
            sock.close()
            error = refused
    raise error


def _send(stream: "_Stream", request: bytes) -> bool:
    """Whether the other side took the whole request: one that refuses it by its size answers and closes before."""
    try:
        stream.sendall(request)
    except ConnectionError:
        return False
    return True


def _left(deadline: float) -> float:
    """Seconds until the deadline.

    Raises:
        TimeoutError: It has passed.
    """
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


class _Stream(io.RawIOBase):
    """A connected socket, of which everything that is read and written comes before the deadline."""

    def __init__(self, sock: _socket.socket, deadline: float) -> None:
        self.deadline = deadline
        self._sock = sock

    def makefile(self, _mode: str) -> io.BufferedReader:
        """A reader of one answer, whose end leaves the connection open."""
        return io.BufferedReader(_Borrowed(self))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.receive(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def receive(self, size: int) -> bytes:
        """Some bytes, none at the end of the connection."""
        self._sock.settimeout(_left(self.deadline))
        return self._sock.recv(size)

    def sendall(self, data: bytes) -> None:
        """All of the data."""
        view = memoryview(data)
        while view:
            self._sock.settimeout(_left(self.deadline))
            view = view[self._sock.send(view[:_CHUNK_BYTES]) :]

    def close(self) -> None:
        self._sock.close()
        super().close()


class _Borrowed(io.RawIOBase):
    """A stream to read from, that somebody else closes."""

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._stream.readinto(buffer)


class _TLSStream(_Stream):
    """The same over TLS, in memory: Python's own TLS sockets are among what gevent and eventlet replace."""

    def __init__(self, sock: _socket.socket, deadline: float, context: ssl.SSLContext, host: str) -> None:
        super().__init__(sock, deadline)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host.encode("ascii"))
        self._until_done(self._tls.do_handshake)

    def receive(self, size: int) -> bytes:
        try:
            return self._until_done(partial(self._tls.read, size))
        except ssl.SSLZeroReturnError:
            return b""

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._until_done(partial(self._tls.write, view[:_CHUNK_BYTES])) :]

    def _until_done(self, step: Callable[[], _T]) -> _T:
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                self._flush()
                self._incoming.write(data) if (data := super().receive(_CHUNK_BYTES)) else self._incoming.write_eof()
            else:
                self._flush()
                return done

    def _flush(self) -> None:
        if self._outgoing.pending:
            super().sendall(self._outgoing.read())


def _retry_after(value: str | None) -> float | None:
    """RFC 9110, 10.2.3: seconds, or a date."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        date = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time())


def _what(error: BaseException) -> str:
    """One line of what went wrong; an answer's first line is a stranger's and may be long."""
    if isinstance(error, (http.client.BadStatusLine, http.client.LineTooLong)):
        closed = isinstance(error, ConnectionError)
        return "the connection was closed before an answer came" if closed else "the answer is no HTTP"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error}"[:200]
