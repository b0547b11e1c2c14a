"""WSGI requests: bytes counted as they pass, the record made before the last of them leaves."""

import io
from wsgiref.util import FileWrapper

import pytest

from otel_usage import identify
from otel_usage.enrichment.facts import RequestFacts
from otel_usage.instrumentation import wsgi_exchange
from tests.unit.instrumentation.harness import Kept


@pytest.fixture
def kept():
    """Where requests end up."""
    return Kept()


def read_facts(state):
    return RequestFacts(method=state.native["REQUEST_METHOD"], path="/", status=state.status)


def serve(kept, application, environ=None):
    """Call `application` as OpenTelemetry's middleware would, wrapped by ours; returns the body."""
    environ = {"REQUEST_METHOD": "GET", "wsgi.input": io.BytesIO(), **(environ or {})}

    def instrumented(environ, start_response):
        span = kept.start()
        try:
            return application(environ, start_response)
        finally:
            span.end()

    return wsgi_exchange.serve(instrumented, environ, lambda status, headers, *rest: None, read_facts)


def answer(chunks, headers=(), status="200 OK"):
    """An application that answers with these chunks."""

    def application(environ, start_response):
        start_response(status, list(headers))
        return chunks

    return application


def test_bytes_of_a_stream_are_counted_to_its_end(kept):
    """Without a Content-Length the request is kept when the body is exhausted."""
    body = serve(kept, answer(iter([b"12345", b"", b"678"])))
    assert next(body) == b"12345"
    assert kept == []
    assert list(body) == [b"", b"678"]
    assert kept.overlay["http.response.body.size"] == 8
    body.close()
    assert len(kept) == 1


def test_kept_before_the_last_announced_byte_leaves(kept):
    """With a Content-Length the record exists before the chunk that completes it is handed to the server."""
    body = serve(kept, answer([b"12345"], [("Content-Length", "5")]))
    iterator = iter(body)
    assert kept == []
    assert next(iterator) == b"12345"
    assert len(kept) == 1


def test_status_and_headers_are_seen(kept):
    """Status and the headers that matter are the application's."""
    body = serve(kept, answer([], [("content-disposition", "attachment")], "404 Not Found"))
    assert list(body) == []
    assert kept.overlay["http.response.status_code"] == 404


def test_exception_before_the_answer_is_a_500_and_passes_untouched(kept):
    """The very exception reaches the server; the row says 500 and its type."""
    error = KeyError("secret")

    def application(environ, start_response):
        raise error

    with pytest.raises(KeyError) as raised:
        serve(kept, application)
    assert raised.value is error
    assert kept.overlay["http.response.status_code"] == 500
    assert kept.overlay["error.type"] == "KeyError"


def test_exception_in_the_body_keeps_the_status_that_was_sent(kept):
    """When the body breaks, the client has got its status already."""

    def chunks():
        yield b"123"
        raise OSError("gone")

    body = serve(kept, answer(chunks()))
    next(body)
    with pytest.raises(OSError, match="gone"):
        next(body)
    assert kept.overlay["http.response.status_code"] == 200
    assert kept.overlay["error.type"] == "OSError"
    assert kept.overlay["http.response.body.size"] == 3


def test_closed_before_the_end_is_a_client_that_went_away(kept):
    """PEP 3333: close() without exhaustion; the original's close is called once."""
    closed = []

    class Body:
        def __iter__(self):
            yield b"123"
            yield b"456"

        def close(self):
            closed.append(True)

    body = serve(kept, answer(Body()))
    next(body)
    body.close()
    assert closed == [True]
    assert kept.overlay["error.type"] == "client_disconnected"
    assert kept.overlay["http.response.body.size"] == 3


def test_head_closed_unread_is_no_disconnect(kept):
    """A server may close the body of an answer to HEAD without reading it."""
    serve(kept, answer([b"abc"]), {"REQUEST_METHOD": "HEAD"}).close()
    assert "error.type" not in kept.overlay
    assert kept.overlay["http.response.body.size"] == 0


def test_body_neither_read_nor_closed_is_kept(kept):
    """A server that breaks PEP 3333 does not lose the request: the next one sees to it."""
    body = serve(kept, answer([b"abc"]))
    del body
    assert kept == []
    list(serve(kept, answer([b"abc"])))
    assert len(kept) == 2


def test_request_of_its_own_inside_a_request(kept):
    """A request that an application makes to another in its own process has its own state, and its word is its own."""

    def outer(environ, start_response):
        list(serve(Kept(), say_inner))
        return answer([b"outer"])(environ, start_response)

    def say_inner(environ, start_response):
        identify(user_id="inner")
        return answer([b"inner"])(environ, start_response)

    assert list(serve(kept, outer)) == [b"outer"]
    assert "user.id" not in kept.overlay
    assert kept.overlay["http.response.body.size"] == 5


def test_write_callable_is_counted(kept):
    """What goes through the old `write` callable counts."""

    def application(environ, start_response):
        start_response("200 OK", [])(b"12345")
        return []

    environ = {"REQUEST_METHOD": "GET", "wsgi.input": io.BytesIO()}
    sent = []

    def instrumented(environ, start_response):
        with kept.start():
            return application(environ, start_response)

    body = wsgi_exchange.serve(instrumented, environ, lambda status, headers: sent.append, read_facts)
    assert list(body) == []
    assert sent == [b"12345"]
    assert kept.overlay["http.response.body.size"] == 5


def test_file_wrapper_stays_the_servers(kept):
    """An answer in the server's own file wrapper is handed back as it is, so that sendfile still works."""
    file = FileWrapper(io.BytesIO(b"x" * 10))
    body = serve(kept, answer(file, [("Content-Length", "10")]), {"wsgi.file_wrapper": FileWrapper})
    assert body is file
    assert kept.overlay["http.response.body.size"] == 10


@pytest.mark.parametrize(
    "read",
    [
        lambda stream: stream.read(),
        lambda stream: [stream.read(3), stream.read(100)],
        lambda stream: list(stream),
        lambda stream: stream.readlines(),
        lambda stream: [stream.readline(), stream.readline(2), stream.read()],
        lambda stream: stream.readinto(bytearray(100)),
    ],
    ids=["read", "read-sized", "iterate", "readlines", "readline", "readinto"],
)
def test_request_bytes_by_every_way_of_reading(kept, read):
    """However the application reads the request's body, its bytes are counted once."""

    def application(environ, start_response):
        read(environ["wsgi.input"])
        start_response("200 OK", [])
        return []

    sent = {"wsgi.input": io.BytesIO(b"one\ntwo\nthree"), "CONTENT_LENGTH": "13"}
    list(serve(kept, application, sent))
    assert kept.overlay["http.request.body.size"] == 13


def test_nested_call_counts_once(kept):
    """A wrap inside a wrap of the same request only passes on."""

    def inner(environ, start_response):
        return wsgi_exchange.serve(answer([b"abc"]), environ, start_response, read_facts)

    assert list(serve(kept, inner)) == [b"abc"]
    assert len(kept) == 1
    assert kept.overlay["http.response.body.size"] == 3


def test_malformed_answer_is_the_servers_to_refuse(kept):
    """A status that is no status changes nothing for the application."""
    assert list(serve(kept, answer([b"a"], [("Content-Length", "many")], "fine"))) == [b"a"]
    assert len(kept) == 1


def test_write_callable_completes_the_announced_answer(kept):
    """The record exists before the last announced byte leaves by `write` too."""
    seen = []

    def application(environ, start_response):
        start_response("200 OK", [("Content-Length", "5")])(b"12345")
        return []

    def instrumented(environ, start_response):
        with kept.start():
            return application(environ, start_response)

    environ = {"REQUEST_METHOD": "GET", "wsgi.input": io.BytesIO()}
    wsgi_exchange.serve(instrumented, environ, lambda *_: lambda data: seen.append(len(kept)), read_facts)
    assert seen == [1]
