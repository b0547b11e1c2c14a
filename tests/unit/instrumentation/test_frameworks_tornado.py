"""What Tornado's rules, handlers and cookies may be."""

import asyncio
from types import SimpleNamespace

import pytest
import tornado.web
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.web import Application, RequestHandler, create_signed_value

from otel_usage.instrumentation.frameworks import tornado as tornado_file
from otel_usage.instrumentation.frameworks.tornado import exchange
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import RequestState


class Connection:
    """As much of a connection as a handler asks for without a server."""

    def set_close_callback(self, callback):
        """Nobody goes away."""


class Handler(RequestHandler):
    def get(self, organization, dataset):
        """Has names for the groups of its rule."""


class Anything(RequestHandler):
    def get(self, *values):
        """Has no names for the groups of its rule."""


def facts(rule, path, handler_class=Handler, user=None, cookies=None, asked=None):
    """What is read of a request that a rule has led to its handler."""
    application = Application([(rule, handler_class)], cookie_secret="only for tests")
    line = RequestStartLine("GET", path, "HTTP/1.1")
    headers = HTTPHeaders({"Host": "x", "Cookie": cookies or ""})
    request = HTTPServerRequest(start_line=line, headers=headers, connection=Connection())
    handler = handler_class(application, request)
    handler.path_args = list(application.wildcard_router.rules[0].matcher.regex.match(path).groups())
    handler.current_user = user
    if asked is not None:
        vars(handler)["_otel_usage_cookie"] = asked
    return tornado_file.read_facts(RequestState(tornado_file.read_facts, handler, counted=True))


@pytest.mark.parametrize(
    ("rule", "handler_class", "route", "params"),
    [
        (r"/([a-z]+)/(\d+)", Handler, "/{organization}/{dataset}", {"organization": "acme", "dataset": "42"}),
        (r"/([a-z]+)/(\d+)", Anything, "/{}/{}", {}),
        (r"/(?:v1/)?([a-z]+)/(\d+)", Handler, r"/(?:v1/)?([a-z]+)/(\d+)$", {"organization": "acme", "dataset": "42"}),
    ],
    ids=["named by the method", "without names", "not reversible"],
)
def test_template(rule, handler_class, route, params):
    """Groups without names are named by the handler's method; what Tornado cannot reverse stays an expression."""
    found = facts(rule, "/acme/42", handler_class)
    assert (found.route, found.path_params) == (route, params)


@pytest.mark.parametrize(
    ("user", "user_id"),
    [(b"bob", "bob"), (b'{"id": 7, "access_token": "x"}', "7"), ("{no json", None), ({"id": 7}, "7"), (None, None)],
)
def test_user(user, user_id):
    """The user may be what a signed cookie has: bytes, or a JSON object of which only the id is taken."""
    found = facts(r"/([a-z]+)/(\d+)", "/acme/42", user=user).user
    assert (found and found.id) == user_id


@pytest.mark.parametrize("version", [1, 2])
def test_session_cookie(version):
    """What stays the same of a signed cookie is the same whenever it was signed, and another user's is another."""
    seen = []
    for user, at in (("bob", 1), ("bob", 2), ("eve", 2)):
        signed = create_signed_value("only for tests", "visitor", user, version=version, clock=lambda at=at: at)
        cookies = f"other=1; visitor={signed.decode()}"
        found = facts(r"/([a-z]+)/(\d+)", "/acme/42", user=user, cookies=cookies, asked="visitor")
        assert found.session_cookie_names == ("visitor",)
        seen.append(found.headers["cookie"])
    assert seen[0] == seen[1] != seen[2]


def test_cookie_of_nobody():
    """A signed cookie that has led to no user is no session."""
    found = facts(r"/([a-z]+)/(\d+)", "/acme/42", cookies="seen=1", asked="seen")
    assert found.session_cookie_names == ()


SECRET = "only for tests"


@pytest.fixture
def look():
    """What `install()` does to handlers; undone afterwards."""
    patches = Patches()
    tornado_file.patch(patches, tornado.web)
    yield
    patches.undo()


class Themed(RequestHandler):
    """Reads other signed cookies before and after the one that says who it is."""

    def initialize(self):
        self.get_signed_cookie("theme")

    def get_current_user(self):
        return self.get_signed_cookie("visitor")

    def get(self, *values):
        """Answers nothing."""


def test_session_cookie_among_others(look):
    """Of several signed cookies the session is the one that was read for the user."""
    signed = {name: create_signed_value(SECRET, name, "x").decode() for name in ("theme", "visitor", "seen")}
    application = Application([("/", Themed)], cookie_secret=SECRET)
    headers = HTTPHeaders({"Host": "x", "Cookie": "; ".join(f"{name}={value}" for name, value in signed.items())})
    line = RequestStartLine("GET", "/", "HTTP/1.1")
    handler = Themed(application, HTTPServerRequest(start_line=line, headers=headers, connection=Connection()))
    assert handler.current_user == b"x" == handler.get_signed_cookie("seen")
    found = tornado_file.read_facts(RequestState(tornado_file.read_facts, handler, counted=True))
    assert found.session_cookie_names == ("visitor",)


async def original(*arguments):
    """What Tornado does."""
    return "done"


def test_another_websocket():
    """A WebSocket without the counts that are known ends as it would, and its request is over all the same."""
    connection = SimpleNamespace()
    handler = SimpleNamespace(request=SimpleNamespace(connection=connection, body=b"", method="GET"))
    connection._otel_usage = exchange._Exchange(tornado_file.read_facts, handler, counted=True)
    connection._otel_usage.state.kept = True
    asyncio.run(exchange._see_websocket(original)(SimpleNamespace(), handler))
    assert vars(connection) == {}


def test_another_request():
    """A handler and a delegate that have nothing of what is known go on as they would."""
    asyncio.run(exchange._serve(tornado_file.read_facts, original)(SimpleNamespace()))
    assert exchange._see_received(lambda self, data: data)(SimpleNamespace(), b"x") == b"x"
