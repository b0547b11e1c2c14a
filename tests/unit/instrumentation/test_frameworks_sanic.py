"""Sanic's own server: what is not as it is known changes nothing, and whose a message is."""

import asyncio
from contextlib import contextmanager
from types import SimpleNamespace

from otel_usage.instrumentation.frameworks.sanic import server
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import RequestState, activate, deactivate


class Socket:
    """As much of a WebSocket as is seen."""

    @server._telling_of_frame
    async def send(self, message):
        """Sends it."""

    @server._counting_frame
    async def recv(self):
        return "12345"


@contextmanager
def handling():
    """A request that is being handled; what is told of it, and its state."""
    told, state = [], RequestState(None, None, counted=True)

    async def send(message):
        told.append(message)

    tokens = server._told.set(send), activate(state)
    yield told, state
    server._told.reset(tokens[0])
    deactivate(tokens[1])


@server._telling_of_acceptance
async def accept(socket):
    """What the server does at the handshake of a WebSocket."""
    return socket


def test_message_is_the_websockets():
    """Whichever request sends to a WebSocket or receives from it, the bytes are those of the WebSocket's own."""

    async def broadcast():
        with handling() as (told_of_feed, feed):
            socket = await accept(Socket())
        with handling() as (told_of_broadcast, other):
            await socket.send("to all")
            assert await socket.recv() == "12345"
        assert told_of_feed == [{"type": "websocket.accept"}, {"type": "websocket.send", "text": "to all"}]
        assert (told_of_broadcast, feed.request_bytes, other.request_bytes) == ([], 5, 0)

    asyncio.run(broadcast())


def test_another_websocket():
    """A WebSocket that nothing can be hung on sends as it would, and its messages are nobody's."""

    async def send(self, message):
        """Sends it."""

    async def talk():
        socket = object()
        with handling() as (told, _):
            assert await accept(socket) is socket
            await server._telling_of_frame(send)(socket, "x")
        assert told == [{"type": "websocket.accept"}]

    asyncio.run(talk())


def test_another_protocol():
    """A connection whose handler is not where it is known to be is set up as it would."""

    class Protocol:
        def _setup(self):
            self.handler = "its own"

    patches = Patches()
    server.patch(patches, SimpleNamespace(HttpProtocolMixin=Protocol), lambda *_: None)
    protocol = Protocol()
    protocol._setup()
    assert vars(protocol) == {"handler": "its own"}
    patches.undo()
