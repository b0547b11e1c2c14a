"""What frameworks and applications may be, and our looking at them must not change."""

from types import SimpleNamespace

import flask
import pytest
from werkzeug.test import EnvironBuilder

from otel_usage.enrichment.facts import FrameworkCredential, FrameworkUser
from otel_usage.instrumentation import wsgi_exchange
from otel_usage.instrumentation.frameworks import asgi, wsgi
from otel_usage.instrumentation.frameworks import flask as flask_file
from otel_usage.instrumentation.frameworks.django import identity as django_identity
from otel_usage.instrumentation.frameworks.flask import identity as flask_identity
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import RequestState
from tests.unit.instrumentation.harness import Kept


class Hostile:
    """A user object that answers nothing."""

    def __getattr__(self, name):
        raise LookupError(name)

    def __bool__(self):
        raise LookupError("truth")


@pytest.fixture
def patches():
    """Flask looked at as under install(), and left alone afterwards."""
    patches = Patches()
    flask_file.patch(patches, flask.app)
    yield patches
    patches.undo()


def test_a_hostile_user_object_does_not_change_the_answer(patches):
    """Flask answers 500 for what a receiver of its signals raises, so ours raises nothing."""
    app = flask.Flask("hostile")

    @app.get("/")
    def page():
        flask.g.user = Hostile()
        return "fine"

    assert app.test_client().get("/").data == b"fine"


def test_an_exception_that_flask_lets_through_keeps_its_route(patches):
    """Where the span is of an outer middleware, and Flask finishes nothing, the route and its name are still known."""
    app, kept = flask.Flask("propagating"), Kept()
    app.config["PROPAGATE_EXCEPTIONS"] = True

    @app.get("/items/<int:item_id>")
    def item(item_id):
        raise RuntimeError("on purpose")

    def outer(environ, start_response):
        kept.start()
        return app(environ, start_response)

    environ = EnvironBuilder("/items/7").get_environ()
    with pytest.raises(RuntimeError, match="on purpose"):
        wsgi_exchange.serve(outer, environ, lambda *_: None, wsgi.read_facts)
    assert kept.overlay["http.route"] == "/items/<int:item_id>"
    assert kept.overlay["usage.operation"] == "item"


def test_an_error_page_has_the_headers_it_has_without_us(patches):
    """A session that the application did not look at makes no `Vary: Cookie`: our look comes after the answer."""
    app = flask.Flask("failing")
    app.secret_key = "only for tests"
    app.config["PROPAGATE_EXCEPTIONS"] = False

    @app.get("/")
    def page():
        raise RuntimeError("on purpose")

    answer = app.test_client().get("/")
    assert (answer.status_code, answer.headers.get("Vary")) == (500, None)


class Slotted:
    """An application that no weak reference can be made to."""

    __slots__ = ("routes",)


def test_an_application_of_any_kind_keeps_its_token():
    """Where the routes of an ASGI application cannot be learned, the rest of the request is still read."""
    app = Slotted()
    app.routes = []
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"x-api-key", b"key")], "app": app}
    facts = asgi.read_facts(RequestState(asgi.read_facts, scope, counted=True))
    assert facts.headers == {"x-api-key": "key"}


class Account:
    """A user of a model of the application's own, as Django's are."""

    USERNAME_FIELD = "email"
    is_authenticated = True

    def __init__(self):
        self.id = 7
        self.email = "grace@example.org"


class Named(SimpleNamespace):
    """A row of a token table."""


DJANGO = {
    "name-field": ({"user": Account()}, ("7", "grace@example.org"), None),
    "user-for-token": ({"auth": Account()}, ("7", "grace@example.org"), None),
    "signed-out": ({"user": SimpleNamespace(id=1, is_authenticated=False), "_cached_user": Account()}, None, None),
    "no-user": ({"user": None, "_cached_user": Account(), "auth": Named(name="mirror")}, None, "mirror"),
    "cached": ({"_cached_user": Account()}, ("7", "grace@example.org"), None),
    "awaited": ({"_acached_user": Account()}, ("7", "grace@example.org"), None),
    "raw-token": ({"auth": "tok-0123456789abcdefghij"}, None, None),
    "extra-token": ({"access_token": Named(application=Named(name="export"))}, None, "export"),
    "nothing": ({}, None, None),
}


@pytest.mark.parametrize("case", DJANGO)
def test_who_a_django_request_names(case):
    """Users and token names lie where Django and its libraries keep them; what they leave open stays open."""
    seen, user, name = DJANGO[case]
    request = SimpleNamespace(**seen)
    assert django_identity.user_of(request) == (None if user is None else FrameworkUser(*user))
    assert django_identity.token_name_of(request) == name


CLAIMS = {"sub": "carol", "jti": "j-1", "name": "Carol"}
FLASK = {
    "jwt-extended": ({"_jwt_extended_jwt": CLAIMS, "_jwt_extended_jwt_user": None}, ("carol", "Carol"), "j-1"),
    "jwt-extended-user": (
        {"_jwt_extended_jwt": CLAIMS, "_jwt_extended_jwt_user": {"loaded_user": Named(id=3)}},
        ("3", None),
        "j-1",
    ),
    "jwt-extended-optional": ({"_jwt_extended_jwt": {}, "_jwt_extended_jwt_user": {"loaded_user": None}}, None, None),
    "authlib-loaded": ({"authlib_server_oauth2_token": Named(id=9, user=Named(id=3))}, ("3", None), None),
    "authlib-machine": ({"authlib_server_oauth2_token": Named(id=9, client_id="export")}, None, "export"),
    "httpauth-failed": ({"flask_httpauth_user": False}, None, None),
    "own-key": ({"current_user": Named(id=3), "api_key": Named(name="mirror")}, ("3", None), "mirror"),
    "raw-token": ({"token": "tok-0123456789abcdefghij"}, None, None),
    "nothing": ({}, None, None),
}


@pytest.mark.parametrize("case", FLASK)
def test_who_flask_g_names(case):
    """Users and token names lie where Flask's libraries keep them; the id of a token's row is not its user's."""
    said, user, name = FLASK[case]
    assert flask_identity.identity_in(said) == (None if user is None else FrameworkUser(*user), name)


PLACES = {
    "cookies": FrameworkCredential("of-cookie"),
    "query_string": FrameworkCredential("of-query", "jwt"),
    "headers": None,
    "json": None,
    None: None,
}


@pytest.mark.parametrize("place", PLACES)
def test_where_flask_jwt_extended_found_the_token(place):
    """A token in a cookie or a parameter of the application's own choice is a token, and is not in the query."""
    config = {"JWT_ACCESS_COOKIE_NAME": "access", "JWT_QUERY_STRING_NAME": "jwt"}
    request = SimpleNamespace(cookies={"access": "of-cookie"}, args={"jwt": "of-query"})
    said = {"_jwt_extended_jwt_location": place}
    assert flask_identity.credential_in(said, request, config) == PLACES[place]
