"""What our looking at Starlette's middlewares must not change."""

import asyncio

import pytest
from starlette.authentication import AuthenticationBackend, AuthenticationError
from starlette.middleware import authentication
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.responses import PlainTextResponse

from otel_usage.instrumentation.frameworks import starlette as starlette_file
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import RequestState, activate, deactivate


class Refusing(AuthenticationBackend):
    """Nobody's credential is valid."""

    async def authenticate(self, conn):
        raise AuthenticationError("no such token")


def answer(conn, error):
    """The application's own answer to a refusal."""
    return PlainTextResponse("refused", 400)


async def page(scope, receive, send):
    """An application that answers whoever was not refused."""
    await PlainTextResponse("fine")(scope, receive, send)


@pytest.fixture
def patches():
    """Starlette's authentication looked at as under install(), and left alone afterwards."""
    patches = Patches()
    starlette_file.patch_authentication(patches, authentication)
    yield patches
    patches.undo()


@pytest.fixture
def state():
    """The request being served."""
    state = RequestState(None, None, counted=False)
    token = activate(state)
    yield state
    deactivate(token)


def serve(application):
    """The status that an application answers with."""
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(application({"type": "http", "method": "GET", "path": "/", "headers": []}, None, send))
    return sent[0]["status"]


def test_a_refusal_is_noted(patches, state):
    """The backend's refusal is answered as the application says, and known."""
    middleware = AuthenticationMiddleware(page, Refusing(), answer)
    assert not state.refused
    assert serve(middleware) == 400
    assert state.refused


def test_asking_what_answers_a_refusal_is_none(patches, state):
    """A middleware of the application's own may hand its `on_error` around."""
    middleware = AuthenticationMiddleware(page, Refusing(), answer)
    assert callable(middleware.on_error)
    assert not state.refused


def test_nothing_is_left_behind(patches):
    """A middleware that was made under install() is as Starlette made it once that is undone."""
    middleware = AuthenticationMiddleware(page, Refusing(), answer)
    patches.undo()
    assert middleware.on_error is answer
    assert "on_error" not in vars(AuthenticationMiddleware)


def test_a_middleware_without_an_answer_starts(patches):
    """Where Starlette, or what is made of it, keeps its answer elsewhere, the application still starts."""

    class Other(AuthenticationMiddleware):
        def __init__(self, app):
            self.app = app

    assert not hasattr(Other(page), "on_error")


def test_sessions_of_another_kind_are_served():
    """A session middleware that calls its cookie otherwise is only described less."""
    called = []

    async def original(self, scope, receive, send):
        called.append(scope)

    asyncio.run(starlette_file._noting_cookie(original)(object(), {}, None, None))
    assert called == [{}]
