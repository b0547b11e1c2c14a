"""A client that costs little: requests are bytes made beforehand, answers are read to their end and no further."""

import contextlib
import socket
import time
from collections import deque
from dataclasses import dataclass
from itertools import cycle
from typing import Final

from benchmarks.requests.traffic import Visit

_TIMEOUT_SECONDS: Final = 30


@dataclass(frozen=True)
class Load:
    """What a client has seen.

    Attributes:
        seconds: How long it took.
        latencies: From sending each request to the last byte of its answer, in seconds.
    """

    seconds: float
    latencies: tuple[float, ...]


class Client:
    """Asks one server for one visit after another.

    Args:
        port: Of the loopback interface.
        visits: Asked for again and again.
        keep_alive: Whether the server keeps connections open; one that does not gets a new one for each request.
    """

    def __init__(self, port: int, visits: list[Visit], *, keep_alive: bool) -> None:
        self._port = port
        self._keep_alive = keep_alive
        self._requests = cycle([_encoded(visit) for visit in visits])
        self._idle: list[socket.socket] = []

    def load(self, count: int, at_once: int) -> Load:
        """Make `count` requests, `at_once` of them under way at any time."""
        under_way: deque[tuple[socket.socket, float]] = deque()
        latencies = []
        start = time.perf_counter()
        for number in range(count + at_once):
            if number < count:
                under_way.append((self._ask(next(self._requests)), time.perf_counter()))
            if number >= at_once - 1 and under_way:
                connection, asked = under_way.popleft()
                self._finish(connection)
                latencies.append(time.perf_counter() - asked)
        return Load(time.perf_counter() - start, tuple(latencies))

    def get(self, path: str) -> None:
        """One request for something else."""
        self._finish(self._ask(f"GET {path} HTTP/1.1\r\nHost: data.example.org\r\n\r\n".encode()))

    def close(self) -> None:
        """Hang up."""
        for connection in self._idle:
            connection.close()

    def _ask(self, request: bytes) -> socket.socket:
        connection = self._idle.pop() if self._idle else self._connect()
        connection.sendall(request)
        return connection

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port), _TIMEOUT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _finish(self, connection: socket.socket) -> None:
        answer = _read(connection)
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"The application answered {answer[:200]!r}")
        if self._keep_alive:
            self._idle.append(connection)
        else:
            connection.close()


def wait_until_listening(port: int, seconds: float = 60) -> None:
    """Return once a server accepts connections.

    Raises:
        TimeoutError: None did.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise TimeoutError(f"Nobody listens on port {port}")


def _read(connection: socket.socket) -> bytes:
    answer = b""
    while (end := answer.find(b"\r\n\r\n")) < 0:
        answer += _more(connection)
    head = answer[:end].lower()
    at = head.index(b"content-length:") + 15
    length = end + 4 + int(head[at:].split(b"\r\n", 1)[0])
    while len(answer) < length:
        answer += _more(connection)
    return answer


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("The server hung up")
    return data


def _encoded(visit: Visit) -> bytes:
    lines = (
        f"GET {visit.path} HTTP/1.1",
        "Host: data.example.org",
        f"User-Agent: {visit.user_agent}",
        "Accept: application/json",
        "Accept-Encoding: gzip, deflate",
        f"Authorization: Bearer {visit.token}",
    )
    return "\r\n".join((*lines, "", "")).encode()
