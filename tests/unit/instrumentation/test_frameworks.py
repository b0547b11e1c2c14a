"""What frameworks and applications may be, and our looking at them must not change."""

import flask
import pytest

from otel_usage.instrumentation.frameworks import asgi
from otel_usage.instrumentation.frameworks import flask as flask_file
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import RequestState


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
