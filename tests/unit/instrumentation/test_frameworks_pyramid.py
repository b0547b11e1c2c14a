"""Pyramid: one row a request however often it is tried, and nothing of it changed."""

import warnings

import pytest
from opentelemetry.sdk.trace import TracerProvider

with warnings.catch_warnings():
    # Pyramid imports pkg_resources, which warns of itself.
    warnings.simplefilter("ignore")
    from opentelemetry.instrumentation.pyramid import PyramidInstrumentor
    from pyramid.authentication import AuthTktCookieHelper
    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response

from otel_usage import attributes as key
from otel_usage.instrumentation.frameworks import pyramid as pyramid_file
from otel_usage.instrumentation.patches import Patches
from tests.unit.instrumentation.harness import Kept


@pytest.fixture
def kept(monkeypatch):
    """Where the requests of the global provider end up."""
    kept = Kept()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(kept.processor)
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", provider)
    PyramidInstrumentor().instrument()
    yield kept
    PyramidInstrumentor().uninstrument()


@pytest.fixture
def patches(kept):
    """What `install()` does; undone afterwards."""
    patches = Patches()
    yield patches
    patches.undo()


@pytest.fixture
def look(patches):
    """Calls this to look at Pyramid from now on."""

    def look():
        for module, patch in pyramid_file.HOOKS.items():
            patches.on_import(module, patch)

    return look


def dataset(request):
    return Response("seven")


def make(view=dataset, **directives):
    """An application with one route, and whatever is set on its configurator."""
    with Configurator() as config:
        config.add_route("dataset", "datasets/{dataset_id}")
        config.add_view(view, route_name="dataset")
        for name, value in directives.items():
            getattr(config, name)(value)
    return config.make_wsgi_app()


def ask(app, path="/datasets/7", **environ):
    """One request; the text of its answer, read to the end as a server does."""
    return Request.blank(path, environ=environ).get_response(app).text


@pytest.mark.parametrize("made_first", [True, False])
def test_in_either_order(kept, look, made_first):
    """An application is seen whether it was made before or after the hooks were set."""
    app = make() if made_first else None
    look()
    assert ask(app or make()) == "seven"
    assert (kept.overlay[key.HTTP_ROUTE], kept.overlay[key.OPERATION]) == ("datasets/{dataset_id}", "dataset")
    assert kept.overlay[key.HTTP_RESPONSE_BODY_SIZE] == 5


def test_mounted(kept, look):
    """The route begins with where the application is mounted."""
    look()
    ask(make(), SCRIPT_NAME="/v1")
    assert kept.overlay[key.HTTP_ROUTE] == "/v1/datasets/{dataset_id}"


class TryAgainError(Exception):
    """What a view raises that wants to be tried again."""


def try_thrice(environ, router):
    """An execution policy, as pyramid_retry's."""
    for number in range(3):
        with router.request_context(dict(environ)) as request:
            request.number = number
            try:
                return router.invoke_request(request)
            except TryAgainError:
                if number == 2:
                    raise
    return None


def test_retried_request_is_one_row(kept, look):
    """A request that is tried again is one request, and says how it ended."""
    look()

    def view(request):
        if request.number == 0:
            raise TryAgainError
        return Response("second")

    assert ask(make(view, set_execution_policy=try_thrice)) == "second"
    assert kept.overlay[key.HTTP_STATUS_CODE] == 200
    assert key.ERROR_TYPE not in kept.overlay


def test_request_that_fails_each_time_is_one_row(kept, look):
    """A request that is given up has the last error."""
    look()

    def view(request):
        raise TryAgainError

    with pytest.raises(TryAgainError):
        ask(make(view, set_execution_policy=try_thrice))
    assert kept.overlay[key.ERROR_TYPE].endswith("TryAgainError")


def test_retry_that_has_no_span_of_its_own(kept, look):
    """Where a further try fails before it has a span, the row is that of the try before."""
    look()

    def view(request):
        raise TryAgainError

    def refuse_second(event):
        if event.request.number == 1:
            raise LookupError("before there is a span")

    with Configurator() as config:
        config.add_route("dataset", "datasets/{dataset_id}")
        config.add_view(view, route_name="dataset")
        config.set_execution_policy(try_thrice)
        config.add_subscriber(refuse_second, "pyramid.events.NewRequest")
    with pytest.raises(LookupError):
        ask(config.make_wsgi_app())
    assert kept.overlay[key.HTTP_ROUTE] == "datasets/{dataset_id}"


class Hostile:
    """An identity that answers nothing."""

    def __getattr__(self, name):
        raise LookupError(name)


class Policy:
    """A security policy that names whoever it is made with."""

    def __init__(self, identity):
        self.one = identity

    def identity(self, request):
        return self.one

    def authenticated_userid(self, request):
        return getattr(self.identity(request), "id", None)


class User:
    id = 5
    username = "eve"


@pytest.mark.parametrize(
    ("identity", "user"),
    [
        (User(), ("5", "eve")),
        ({"userid": "eve", "timestamp": 1}, ("eve", None)),
        (None, (None, None)),
        (Hostile(), (None, None)),
        (["eve"], (None, None)),
    ],
    ids=["object", "mapping", "nobody", "hostile", "list"],
)
def test_identity_of_any_kind(kept, look, identity, user):
    """Whom a policy names is found in objects and mappings; the application gets the very object."""
    look()

    def view(request):
        assert request.identity is identity
        return Response("seven")

    assert ask(make(view, set_security_policy=Policy(identity))) == "seven"
    assert (kept.overlay.get(key.USER_ID), kept.overlay.get(key.USER_NAME)) == user


def test_policy_is_left_as_it_was(look, patches):
    """Undone, a policy's class has its own methods again."""
    original = vars(Policy)["identity"]
    look()
    ask(make(set_security_policy=Policy(None)))
    assert vars(Policy)["identity"] is not original
    patches.undo()
    assert vars(Policy)["identity"] is original


def test_user_of_a_subrequest(kept, look):
    """Whom a request inside a request is made by is not who made the outer one."""
    look()

    def view(request):
        part = request.copy()
        part.registry = request.registry
        assert part.authenticated_userid == 5
        return Response("seven")

    ask(make(view, set_security_policy=Policy(User())))
    assert key.USER_ID not in kept.overlay


def test_tickets_are_forgotten(look, patches):
    """Undone, nothing is left of the helpers that were made."""
    look()
    AuthTktCookieHelper("only for tests", cookie_name="ticket")
    assert pyramid_file.identity._tickets == {"ticket"}
    patches.undo()
    assert pyramid_file.identity._tickets == set()
