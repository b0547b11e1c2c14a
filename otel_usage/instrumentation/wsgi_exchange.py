"""One WSGI request (PEP 3333) as it passes: its bytes are counted and its end is seen.

Whatever speaks WSGI is wrapped with `serve`, outermost. Frameworks are not known here.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from otel_usage.enrichment.facts import RequestFacts
from otel_usage.instrumentation.state import (
    CLIENT_DISCONNECTED,
    RequestState,
    activate,
    begin,
    counting,
    deactivate,
)

Environ = dict[str, Any]
ReadFacts = Callable[[RequestState], RequestFacts]

_EMPTY_ANSWERS = frozenset((204, 304))
# Answers that were collected without having been closed.
_forgotten: deque[RequestState] = deque()


def serve(
    application: Callable[[Environ, Any], Iterable[bytes]],
    environ: Environ,
    start_response: Callable[..., Any],
    read_facts: ReadFacts,
) -> Iterable[bytes]:
    """Call a WSGI application and count what passes; an outer call of this for the same request only passes on.

    Args:
        application: Takes the environ and start_response.
        environ: The WSGI environ.
        start_response: The server's.
        read_facts: Reads the facts of a request from its environ.
    """
    while _forgotten:
        _forgotten.popleft().abandon()
    if counting(environ):
        return application(environ, start_response)
    state = begin(read_facts, environ)
    _count_input(environ, state)
    token = activate(state)
    try:
        body = application(environ, _counting_start_response(start_response, state))
    except BaseException as error:
        state.failed(error)
        state.complete()
        raise
    finally:
        deactivate(token)
    return _counted_body(body, environ, state)


def _count_input(environ: Environ, state: RequestState) -> None:
    stream = environ.get("wsgi.input")
    if stream is not None and (
        environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ
    ):
        environ["wsgi.input"] = _CountedInput(stream, state)


def _counting_start_response(start_response: Callable[..., Any], state: RequestState) -> Callable[..., Any]:
    def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
        _see_answer(state, status, headers)
        write = start_response(status, headers, *exc_info)
        return _counting_write(write, state) if write is not None else write

    return start


def _see_answer(state: RequestState, status: str, headers: list[tuple[str, str]]) -> None:
    try:
        state.status = int(status[:3])
        for name, value in headers:
            # Three header names are looked for; their lengths tell nearly all others apart.
            if len(name) in (13, 14, 19):
                _see_header(state, name.lower(), value)
    except Exception:
        # A malformed answer is the server's to refuse.
        return


def _see_header(state: RequestState, name: str, value: str) -> None:
    if name == "content-length":
        state.expected_bytes = int(value)
    elif name == "content-disposition":
        state.content_disposition = value
    elif name == "content-range":
        state.content_range = value


def _counting_write(write: Callable[[bytes], Any], state: RequestState) -> Callable[[bytes], Any]:
    def counted(data: bytes) -> Any:
        _passed(state, data)
        return write(data)

    return counted


def _passed(state: RequestState, data: bytes) -> bool:
    """Count a chunk that is about to leave; True if it completes the announced answer."""
    state.response_bytes += len(data)
    if state.expected_bytes is None or state.response_bytes < state.expected_bytes:
        return False
    state.complete()
    return True


def _counted_body(body: Iterable[bytes], environ: Environ, state: RequestState) -> Iterable[bytes]:
    wrapper = environ.get("wsgi.file_wrapper")
    handed_over = isinstance(wrapper, type) and isinstance(body, wrapper) and state.expected_bytes is not None
    if handed_over or not hasattr(body, "__iter__"):
        # The server sends the file by itself (sendfile); it sends what the header announces.
        state.response_bytes = state.expected_bytes or 0
        state.complete()
        return body
    return _CountedBody(body, environ.get("REQUEST_METHOD") == "HEAD", state)


class _CountedBody:
    """The answer's body: the record is made before the last chunk leaves."""

    __slots__ = ("_body", "_chunks", "_exhausted", "_head", "_state")

    def __init__(self, body: Iterable[bytes], head: bool, state: RequestState) -> None:
        self._body = body
        self._chunks: Iterator[bytes] | None = None
        self._exhausted = False
        self._head = head
        self._state = state

    def __iter__(self) -> "_CountedBody":
        return self

    def __next__(self) -> bytes:
        state = self._state
        token = activate(state)
        try:
            if self._chunks is None:
                self._chunks = iter(self._body)
            chunk = next(self._chunks)
        except BaseException as error:
            self._exhausted = True
            if not isinstance(error, StopIteration):
                state.failed(error)
            state.complete()
            raise
        finally:
            deactivate(token)
        self._exhausted = _passed(state, chunk)
        return chunk

    def close(self) -> None:
        """PEP 3333: called by the server whether or not it has read everything."""
        state = self._state
        token = activate(state)
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            deactivate(token)
            if not self._exhausted and not self._head and state.status not in _EMPTY_ANSWERS:
                state.error_type = state.error_type or CLIENT_DISCONNECTED
            state.abandon()

    def __del__(self) -> None:
        # A server that neither reads nor closes an answer breaks PEP 3333, but its requests count: the next request
        # does it, since a collection may come anywhere, also while the journal's lock is held.
        if not self._state.kept:
            _forgotten.append(self._state)


class _CountedInput:
    """The request's body; whatever a server adds to its stream stays reachable."""

    __slots__ = ("_state", "_stream")

    def __init__(self, stream: Any, state: RequestState) -> None:
        self._stream = stream
        self._state = state

    def read(self, *size: int) -> bytes:
        return self._passed(self._stream.read(*size))

    def read1(self, *size: int) -> bytes:
        return self._passed(self._stream.read1(*size))

    def readline(self, *size: int) -> bytes:
        return self._passed(self._stream.readline(*size))

    def readlines(self, *hint: int) -> list[bytes]:
        lines: list[bytes] = self._stream.readlines(*hint)
        self._state.request_bytes += sum(map(len, lines))
        return lines

    def __iter__(self) -> Iterator[bytes]:
        for line in self._stream:
            yield self._passed(line)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._stream, name)
        return self._counting_into(found) if name in ("readinto", "readinto1") else found

    def _counting_into(self, read: Callable[[Any], int]) -> Callable[[Any], int]:
        def read_into(buffer: Any) -> int:
            size = read(buffer)
            self._state.request_bytes += size or 0
            return size

        return read_into

    def _passed(self, data: bytes) -> bytes:
        self._state.request_bytes += len(data)
        return data
