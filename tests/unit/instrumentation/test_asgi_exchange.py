"""ASGI requests: bytes counted as they pass, the record made before the last of them leaves."""

import asyncio

import jwt
import pytest

from otel_usage.enrichment.facts import RequestFacts
from otel_usage.instrumentation import asgi_exchange
from tests.unit.instrumentation.harness import Kept


@pytest.fixture
def kept():
    """Where requests end up."""
    return Kept()


def read_facts(state):
    given = {name.decode(): value.decode() for name, value in state.native.get("headers") or ()}
    return RequestFacts(
        method=state.native.get("method", "GET"), path="/", headers=given, status=state.status, refused=state.refused
    )


def serve(kept, application, received=(), kind="http", on_send=None, **scope):
    """Run `application` as OpenTelemetry's middleware would, wrapped by ours; returns what the server was sent."""
    sent = []
    messages = iter(received)

    async def receive():
        return next(messages)

    async def send(message):
        sent.append(message)
        if on_send is not None:
            on_send(message)

    async def instrumented(scope, receive, send):
        span = kept.start()
        try:
            await application(scope, receive, send)
        finally:
            span.end()

    full_scope = {"type": kind, "headers": [], "path": "/", **scope}
    asyncio.run(asgi_exchange.serve(instrumented, full_scope, receive, send, read_facts))
    return sent


def answer(*messages):
    """An application that sends these messages."""

    async def application(scope, receive, send):
        for message in messages:
            await send(message)

    return application


START = {"type": "http.response.start", "status": 200, "headers": [(b"Content-Disposition", b"attachment")]}


def body(data, more=False):
    return {"type": "http.response.body", "body": data, "more_body": more}


def test_bytes_and_status(kept):
    """Bodies are counted both ways, and every message arrives as it was."""

    async def application(scope, receive, send):
        while (await receive())["more_body"]:
            pass
        await answer(START, body(b"123", True), body(b"45"))(scope, receive, send)

    received = [
        {"type": "http.request", "body": b"ab", "more_body": True},
        {"type": "http.request", "body": b"cde", "more_body": False},
    ]
    sent = serve(kept, application, received)
    assert sent == [START, body(b"123", True), body(b"45")]
    assert kept.overlay["http.request.body.size"] == 5
    assert kept.overlay["http.response.body.size"] == 5
    assert kept.overlay["http.response.status_code"] == 200


def test_kept_before_the_last_message_leaves(kept):
    """When the server gets the last message of the answer the record exists already, and not before."""
    seen = []
    serve(kept, answer(START, body(b"1", True), body(b"2")), on_send=lambda message: seen.append(len(kept)))
    assert seen == [0, 0, 1]


def test_trailers_end_the_answer(kept):
    """With trailers announced the answer ends with them."""
    seen = []
    start = {**START, "trailers": True}
    trailers = {"type": "http.response.trailers", "headers": [], "more_trailers": False}
    serve(kept, answer(start, body(b"1"), trailers), on_send=lambda message: seen.append(len(kept)))
    assert seen == [0, 0, 1]


def test_pathsend_counts_what_is_announced(kept):
    """A file that the server sends by itself counts with its Content-Length."""
    start = {**START, "headers": [(b"content-length", b"10")]}
    serve(kept, answer(start, {"type": "http.response.pathsend", "path": "/nowhere"}))
    assert kept.overlay["http.response.body.size"] == 10


def test_exception_before_the_answer_is_a_500_and_passes_untouched(kept):
    """The very exception reaches the server; the row says 500 and its type."""
    error = KeyError("secret")

    async def application(scope, receive, send):
        raise error

    with pytest.raises(KeyError) as raised:
        serve(kept, application)
    assert raised.value is error
    assert kept.overlay["http.response.status_code"] == 500
    assert kept.overlay["error.type"] == "KeyError"


def test_cancellation_is_named_and_has_no_status(kept):
    """A request that was cancelled before it answered has no status."""

    async def application(scope, receive, send):
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        serve(kept, application)
    assert "http.response.status_code" not in kept.overlay
    assert kept.overlay["error.type"] == "asyncio.exceptions.CancelledError"


def test_answer_without_end_is_a_client_that_went_away(kept):
    """An application that stops in the middle of its answer had nobody left to answer."""
    serve(kept, answer(START, body(b"1", True)))
    assert kept.overlay["error.type"] == "client_disconnected"
    assert kept.overlay["http.response.body.size"] == 1


def test_work_after_the_answer_is_not_the_requests(kept):
    """What a background task raises after the answer does not change the row."""

    async def application(scope, receive, send):
        await answer(START, body(b"1"))(scope, receive, send)
        raise RuntimeError("in the background")

    with pytest.raises(RuntimeError, match="background"):
        serve(kept, application)
    assert "error.type" not in kept.overlay


def test_lifespan_passes(kept):
    """What is neither a request nor a WebSocket is passed on as it is."""

    async def application(scope, receive, send):
        await send({"type": "lifespan.startup.complete"})

    async def run():
        await asgi_exchange.serve(application, {"type": "lifespan"}, None, send, read_facts)

    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(run())
    assert sent == [{"type": "lifespan.startup.complete"}]
    assert kept == []


def test_websocket(kept):
    """A WebSocket's frames are counted, text as UTF-8, and its status is 101."""

    async def application(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        await receive()
        await send({"type": "websocket.send", "text": "ä"})
        await send({"type": "websocket.send", "bytes": b"123"})
        await send({"type": "websocket.close"})

    received = [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": "ab"},
        {"type": "websocket.receive", "bytes": b"c"},
    ]
    serve(kept, application, received, kind="websocket")
    assert kept.overlay["http.response.status_code"] == 101
    assert kept.overlay["http.request.body.size"] == 3
    assert kept.overlay["http.response.body.size"] == 5


def test_refused_websocket_is_a_403(kept):
    """A handshake that is closed before it was accepted is answered 403 by the server."""
    serve(kept, answer({"type": "websocket.close"}), kind="websocket")
    assert kept.overlay["http.response.status_code"] == 403


@pytest.mark.parametrize(("code", "user"), [(None, "carol"), (1000, "carol"), (1008, None), (3000, None), (3003, None)])
def test_websocket_that_is_refused_once_accepted(kept, code, user):
    """Closing for who somebody is or says to be takes back what an unverified credential claims."""
    close = {"type": "websocket.close"} if code is None else {"type": "websocket.close", "code": code}
    application = answer({"type": "websocket.accept"}, close)
    forged = jwt.encode({"sub": "carol"}, "only for tests, signs nothing of value", algorithm="HS256")
    serve(kept, application, kind="websocket", headers=[(b"authorization", f"Bearer {forged}".encode())])
    assert kept.overlay.get("user.id") == user
    assert kept.overlay["http.response.status_code"] == 101


def test_malformed_message_is_the_servers_to_refuse(kept):
    """A message without what it needs reaches the server as it is."""
    broken = {"type": "http.response.start"}
    assert serve(kept, answer(broken)) == [broken]


def test_nested_call_counts_once(kept):
    """A wrap inside a wrap of the same request only passes on."""

    async def inner(scope, receive, send):
        await asgi_exchange.serve(answer(START, body(b"abc")), scope, receive, send, read_facts)

    serve(kept, inner)
    assert kept.overlay["http.response.body.size"] == 3


def test_request_that_starts_in_the_context_of_an_excluded_one(kept):
    """A request without a span is over when it is answered: the next one in its context is a request of its own."""

    async def excluded(scope, receive, send):
        await answer(START, body(b"ok"))(scope, receive, send)
        await asgi_exchange.serve(seen, {"type": "http", "path": "/next"}, receive, send, read_facts)

    async def seen(scope, receive, send):
        with kept.start():
            await answer(START, body(b"123"))(scope, receive, send)

    async def run():
        async def send(message):
            return None

        scope = {"type": "http", "path": "/health"}
        await asgi_exchange.serve(excluded, scope, None, send, read_facts)

    asyncio.run(run())
    assert kept.overlay["http.response.body.size"] == 3
