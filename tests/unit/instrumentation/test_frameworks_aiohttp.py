"""What handlers, users and sessions of aiohttp.web may be."""

import asyncio
from functools import partial
from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from aiohttp.web_urldispatcher import UrlMappingMatchInfo

from otel_usage.enrichment.facts import FrameworkUser
from otel_usage.instrumentation.frameworks import aiohttp as aiohttp_file
from otel_usage.instrumentation.frameworks.aiohttp import exchange
from otel_usage.instrumentation.state import RequestState


async def index(request):
    """A plain handler."""


class Page(web.View):
    """A handler that is a class."""


class Pages:
    """Handlers that are methods, and one that is an object."""

    async def edit(self, request):
        """One of them."""

    async def __call__(self, request):
        """The object itself."""


def facts(route, app, said=None):
    """What is read of a request for a route; `said` is what the application has put into it."""
    request = make_mocked_request("GET", "/")
    request._match_info = UrlMappingMatchInfo({}, route)
    request._match_info.add_app(app)
    request._state.update(said or {})
    return aiohttp_file.read_facts(RequestState(aiohttp_file.read_facts, request, counted=True))


@pytest.mark.parametrize(
    ("handler", "operation"),
    [
        (index, "index"),
        (Page, "Page"),
        (Pages().edit, "Pages.edit"),
        (partial(index), "index"),
    ],
    ids=["function", "view", "method", "partial"],
)
def test_operation(handler, operation):
    """A route without a name has its handler's."""
    app = web.Application()
    assert facts(app.router.add_route("GET", "/", handler), app).operation == operation


# Older versions of aiohttp have text keys only.
KEYS = ["user", *([web.RequestKey("user", str)] if hasattr(web, "RequestKey") else [])]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_user_under_a_key(key):
    """The user is found under text and under the typed key that aiohttp recommends."""
    app = web.Application()
    assert facts(app.router.add_get("/", index), app, {key: "alice"}).user == FrameworkUser("alice")


@pytest.mark.parametrize(("identity", "names"), [("c0ffee", ("SID",)), (None, ())], ids=["server", "cookie"])
def test_session(identity, names):
    """The cookie of a session that the server keeps is its token; one that is the session itself is none."""
    app = web.Application()
    said = {
        "aiohttp_session": SimpleNamespace(identity=identity),
        "aiohttp_session_storage": SimpleNamespace(cookie_name="SID"),
    }
    assert facts(app.router.add_get("/", index), app, said).session_cookie_names == names


async def instrumentation(request, handler):
    """As OpenTelemetry's middleware: it answers by itself."""
    return "in a span"


instrumentation.__module__ = "opentelemetry.instrumentation.aiohttp_server"


@pytest.mark.parametrize("entries", [[(instrumentation, True), (index, True)], [instrumentation, index]], ids=[3, 4])
def test_middlewares_of_every_version(entries):
    """aiohttp 3 lists a middleware with its style, aiohttp 4 as it is; only the instrumentation's is changed."""
    first, second = aiohttp_file._instrument_once(lambda self: iter(entries))(None)
    assert second == entries[1]
    middleware = first[0] if isinstance(first, tuple) else first
    assert middleware is not instrumentation
    assert asyncio.run(middleware(None, index)) == "in a span"


class Slotted:
    """A writer that nothing can be hung on."""

    __slots__ = ()


@pytest.mark.parametrize("request_", [SimpleNamespace(_payload_writer=Slotted()), SimpleNamespace()])
def test_another_writer(request_):
    """A request whose writer is not as it was known is answered all the same."""

    async def handle(self, request):
        return "answer"

    assert asyncio.run(exchange._serve(aiohttp_file.read_facts, handle)(None, request_)) == "answer"


@pytest.mark.parametrize("see", [exchange._see_received, exchange._see_sent, exchange._see_close])
def test_another_websocket(see):
    """A WebSocket that has none of the private names goes on as it would."""

    async def original(self, *arguments):
        return "done"

    arguments = ["text"] if see is exchange._see_sent else []
    answer = asyncio.run(see(original)(SimpleNamespace(), *arguments))
    assert answer == (None if see is exchange._see_sent else "done")
