"""Falcon: one row a request in whatever order things are made, and nothing of it changed."""

import asyncio

import falcon
import falcon.app
import falcon.asgi
import pytest
from falcon import testing
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.falcon import FalconInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NoOpTracerProvider

from otel_usage import attributes as key
from otel_usage.instrumentation.frameworks import falcon as falcon_file
from otel_usage.instrumentation.patches import Patches
from tests.unit.instrumentation.harness import Kept


@pytest.fixture
def kept(monkeypatch):
    """Where the requests of the global provider end up."""
    kept = Kept()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(kept.processor)
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", provider)
    yield kept
    if FalconInstrumentor().is_instrumented_by_opentelemetry:
        FalconInstrumentor().uninstrument()


@pytest.fixture
def look(kept):
    """What `install()` does; undone afterwards."""
    patches = Patches()

    def look():
        for module, patch in falcon_file.HOOKS.items():
            patches.on_import(module, patch)

    yield look
    patches.undo()


class Dataset:
    def on_get(self, req, resp, dataset_id):
        resp.text = dataset_id


class AsyncDataset:
    async def on_get(self, req, resp, dataset_id):
        resp.text = dataset_id


def make(kind=falcon.app.App, **options):
    app = kind(**options)
    app.add_route("/datasets/{dataset_id}", Dataset())
    return app


def ask(app, path="/datasets/7", **options):
    """One request as a server makes it."""
    return testing.simulate_get(app, path, **options)


def check_one(kept):
    assert (kept.overlay[key.HTTP_ROUTE], kept.overlay[key.OPERATION]) == ("/datasets/{dataset_id}", "Dataset.on_get")
    assert kept.overlay[key.HTTP_RESPONSE_BODY_SIZE] == 1


@pytest.mark.parametrize("looked_first", [True, False])
def test_application_of_the_instrumented_class(kept, look, looked_first):
    """Its requests are kept once, whether we or the instrumentation came first."""
    steps = [look, FalconInstrumentor().instrument]
    for step in steps if looked_first else reversed(steps):
        step()
    app = make(falcon.App)
    assert ask(app).text == "7"
    check_one(kept)


@pytest.mark.parametrize("made_first", [True, False])
def test_application_of_the_class_as_it_was(kept, look, made_first):
    """Who imported the class before it was instrumented, or from elsewhere, has rows all the same."""
    app = make() if made_first else None
    FalconInstrumentor().instrument()
    look()
    assert ask(app or make()).text == "7"
    check_one(kept)


def test_not_instrumented(kept, look):
    """Where Falcon's instrumentation is not in use, nothing is recorded."""
    look()
    assert ask(make()).text == "7"
    assert kept == []


@pytest.mark.parametrize("instrumented", [True, False])
def test_excluded(kept, look, instrumented, monkeypatch):
    """What the instrumentation excludes is not recorded, whatever class the application has."""
    monkeypatch.setenv("OTEL_PYTHON_FALCON_EXCLUDED_URLS", "datasets")
    FalconInstrumentor().instrument()
    look()
    assert ask(make(falcon.App if instrumented else falcon.app.App)).text == "7"
    assert kept == []


def test_left_out_by_the_instrumentation(kept, look):
    """A request that the instrumentation made no recorded span of gets none from us."""
    FalconInstrumentor().instrument(tracer_provider=NoOpTracerProvider())
    look()
    assert ask(make(falcon.App)).text == "7"
    assert kept == []


def make_asgi():
    app = falcon.asgi.App()
    app.add_route("/datasets/{dataset_id}", AsyncDataset())
    return app


def test_asgi(kept, look):
    """An ASGI application has its rows without an instrumentation, also where Falcon's test client asks."""
    look()

    async def ask():
        async with testing.ASGIConductor(make_asgi()) as client:
            return await client.simulate_get("/datasets/7", headers={"X-API-Key": "none of ours"})

    assert asyncio.run(ask()).text == "7"
    assert kept.overlay[key.HTTP_ROUTE] == "/datasets/{dataset_id}"
    assert kept.overlay[key.OPERATION] == "AsyncDataset.on_get"
    assert kept.overlay[key.TOKEN_SCHEME] == "api_key"


def test_asgi_behind_the_middleware(kept, look):
    """Where OpenTelemetry's middleware is around the application, there is one row all the same."""
    look()
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http"}
    scope |= {"path": "/datasets/7", "query_string": b"", "headers": [], "server": ("127.0.0.1", 80)}

    async def receive():
        return {"type": "http.request"}

    async def send(message):
        pass

    asyncio.run(OpenTelemetryMiddleware(make_asgi())(scope, receive, send))
    assert kept.overlay[key.OPERATION] == "AsyncDataset.on_get"


def test_mounted(kept, look):
    """The route begins with where the application is mounted."""
    FalconInstrumentor().instrument()
    look()
    ask(make(falcon.App), root_path="/v1")
    assert kept.overlay[key.HTTP_ROUTE] == "/v1/datasets/{dataset_id}"


def test_responder_of_another_version(kept, look, monkeypatch):
    """What another version of Falcon finds of a request, and is asked for, passes as it is."""
    original = falcon.app.App._get_responder
    with monkeypatch.context() as patched:
        patched.setattr(falcon.app.App, "_get_responder", lambda self, req, more=(): (*original(self, req), *more))
        look()

        class Asking(falcon.app.App):
            def _get_responder(self, req):
                assert super()._get_responder(req, more=("more",))[4] == "more"
                return super()._get_responder(req)

        FalconInstrumentor().instrument()
        assert ask(make(Asking)).text == "7"
    check_one(kept)


class Slotted:
    """A context without a dictionary."""

    __slots__ = ("user",)


class MappingRequest(falcon.Request):
    context_type = dict


class SlottedRequest(falcon.Request):
    context_type = Slotted


@pytest.mark.parametrize(
    ("request_type", "said", "user_id"),
    [
        (falcon.Request, {"user": {"id": 5}}, "5"),
        (falcon.Request, {"auth": {"user": {"id": 5}, "backend": None}}, "5"),
        (MappingRequest, {"user": "eve"}, "eve"),
        (MappingRequest, {"auth": "none of ours"}, None),
        (SlottedRequest, {}, None),
    ],
)
def test_user_in_a_context_of_any_kind(kept, look, request_type, said, user_id):
    """The user is found in an object and in a mapping; what is neither changes nothing."""
    FalconInstrumentor().instrument()
    look()

    class Middleware:
        def process_resource(self, req, resp, resource, params):
            for name, value in said.items():
                req.context[name] = value

    assert ask(make(falcon.App, request_type=request_type, middleware=[Middleware()])).text == "7"
    assert kept.overlay.get(key.USER_ID) == user_id
    assert kept.overlay[key.HTTP_ROUTE] == "/datasets/{dataset_id}"
