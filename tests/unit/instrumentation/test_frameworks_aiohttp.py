"""What handlers, users and sessions of aiohttp.web may be."""

from functools import partial
from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from aiohttp.web_urldispatcher import UrlMappingMatchInfo

from otel_usage.enrichment.facts import FrameworkUser
from otel_usage.instrumentation.frameworks import aiohttp as aiohttp_file
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
