"""Applications that nobody else instruments: one SERVER span a request, and nothing left after `uninstall()`."""

import asyncio
import copy
import inspect
import threading
from wsgiref.util import setup_testing_defaults

import bottle
import litestar.app
import pytest
import quart
from litestar.plugins.opentelemetry import OpenTelemetryConfig, OpenTelemetryPlugin
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, use_span

import otel_usage
from otel_usage import wrap
from otel_usage.enrichment.facts import RequestFacts
from otel_usage.instrumentation import middleware, wsgi_exchange
from otel_usage.instrumentation.frameworks import asgi, wsgi
from otel_usage.instrumentation.frameworks import bottle as bottle_file
from otel_usage.instrumentation.frameworks import litestar as litestar_file
from otel_usage.instrumentation.frameworks import quart as quart_file
from otel_usage.instrumentation.middleware import ASGIInstrumentation, WSGIInstrumentation
from otel_usage.instrumentation.patches import Patches
from tests.unit.instrumentation.harness import Kept


@pytest.fixture
def spans(monkeypatch):
    """The spans that end, of a provider that is the global one; what was kept is in `.kept`."""
    kept = Kept()
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(kept.processor)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", provider)
    exporter.kept = kept
    exporter.tracer = provider.get_tracer("test")
    return exporter


@pytest.fixture
def patches():
    """What install() puts in the place of wrapped applications' calls, taken away afterwards."""
    patches = Patches()
    yield patches
    patches.undo()


@pytest.fixture
def installed(spans, patches):
    """Wrapped applications are served as after install()."""
    wsgi.patch_wrapped(patches, wrap)
    asgi.patch_wrapped(patches, wrap)
    return spans


def read_facts(state):
    return RequestFacts(method="GET", path="/", status=state.status)


def hello_wsgi(environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]


async def hello_asgi(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def call_wsgi(application, path="/"):
    """What a server does with a WSGI application."""
    environ = {"PATH_INFO": path}
    setup_testing_defaults(environ)
    body = application(environ, lambda status, headers, exc_info=None: None)
    try:
        return b"".join(body)
    finally:
        getattr(body, "close", lambda: None)()


def call_asgi(application, **scope):
    """What a server does with an ASGI application; the types of the messages it got."""
    sent, received = [], [{"type": "http.request"}]

    async def send(message):
        sent.append(message["type"])

    async def receive():
        return received.pop() if received else await asyncio.Future()

    full = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b"", **scope}
    asyncio.run(application(full, receive, send))
    return sent


def kinds(spans):
    """The kinds of the spans that have ended."""
    return [span.kind for span in spans.get_finished_spans()]


def test_wrapped_twice_is_one_span(installed):
    """Whatever is wrapped within what is wrapped only passes on."""
    assert call_wsgi(wrap.WrappedWSGI(wrap.WrappedWSGI(hello_wsgi))) == b"hello"
    call_asgi(wrap.WrappedASGI(wrap.WrappedASGI(hello_asgi)))
    assert kinds(installed) == [SpanKind.SERVER] * 2
    assert len(installed.kept) == 2


def test_wrapped_around_an_instrumented_application(installed):
    """OpenTelemetry's own middleware within makes an INTERNAL span, which is no request."""
    call_asgi(wrap.WrappedASGI(OpenTelemetryMiddleware(hello_asgi, exclude_spans=["send", "receive"])))
    assert set(kinds(installed)) == {SpanKind.INTERNAL, SpanKind.SERVER}
    assert len(installed.kept) == 1


def test_wrapped_within_a_span_of_somebody_else(installed):
    """A request whose SERVER span an unknown instrumentation has made gets no other."""
    with use_span(installed.kept.start(), end_on_exit=True):
        call_wsgi(wrap.WrappedWSGI(hello_wsgi))
        assert kinds(installed) == []
    assert len(installed.kept) == 1


def test_after_a_span_that_nobody_ended(installed):
    """A SERVER span that was left behind takes no later request's place."""
    installed.kept.start()
    call_wsgi(wrap.WrappedWSGI(hello_wsgi))
    assert kinds(installed) == [SpanKind.SERVER]


def test_counted_but_without_a_span(installed):
    """Where ours counts a request already and nobody has made its span, it gets one."""
    inner = wrap.WrappedWSGI(hello_wsgi)
    call_wsgi(lambda environ, start: wsgi_exchange.serve(inner, environ, start, read_facts))
    assert kinds(installed) == [SpanKind.SERVER]
    assert installed.kept.overlay["http.response.body.size"] == 5


def test_uninstalled_passes_through(installed, patches):
    """After uninstall() a wrapped application is called as if it were not wrapped."""
    patches.undo()
    assert call_wsgi(wrap.WrappedWSGI(hello_wsgi)) == b"hello"
    assert call_asgi(wrap.WrappedASGI(hello_asgi)) == ["http.response.start", "http.response.body"]
    assert kinds(installed) == []


def test_undone_instrumentation_passes_through(spans, patches):
    """Where somebody still holds what we replaced, it only passes on once it is undone."""
    over_wsgi, over_asgi = WSGIInstrumentation(patches, "x"), ASGIInstrumentation(patches, "x")
    patches.undo()
    call_wsgi(lambda environ, start: over_wsgi.serve(hello_wsgi, environ, start, read_facts))
    call_asgi(lambda scope, receive, send: over_asgi.serve(hello_asgi, scope, receive, send, read_facts))
    assert kinds(spans) == []


def test_excluded_urls(spans, patches, monkeypatch):
    """OTEL_PYTHON_<NAME>_EXCLUDED_URLS says which requests have no span, and so no row."""
    monkeypatch.setenv("OTEL_PYTHON_BOTTLE_EXCLUDED_URLS", "health")
    serve = WSGIInstrumentation(patches, "bottle").serve
    for path in ("/health", "/other"):
        assert call_wsgi(lambda environ, start: serve(hello_wsgi, environ, start, read_facts), path) == b"hello"
    assert kinds(spans) == [SpanKind.SERVER]


def test_middleware_inside(spans, patches):
    """An application that brings OpenTelemetry's middleware itself is only counted."""
    serve = ASGIInstrumentation(patches, "x").serve

    class Around:
        app = OpenTelemetryMiddleware(hello_asgi, exclude_spans=["send", "receive"])

    call_asgi(lambda scope, receive, send: serve(Around.app, scope, receive, send, read_facts, inside=Around))
    assert kinds(spans) == [SpanKind.SERVER]
    assert spans.kept.overlay["http.response.body.size"] == 5


def test_instrumented_elsewhere(spans, patches):
    """A framework whose instrumentation is installed is left to it."""
    serve = WSGIInstrumentation(patches, "x", elsewhere=True).serve
    call_wsgi(lambda environ, start: serve(hello_wsgi, environ, start, read_facts))
    assert kinds(spans) == []
    assert middleware.has_instrumentation("flask")
    assert not middleware.has_instrumentation("nobody_has_this")


@pytest.mark.parametrize("bring", [True, False], ids=["its-own", "ours"])
def test_litestars_own_plugin(spans, patches, bring):
    """Litestar's plugin is left to make the span; where there is none, ours does."""
    litestar_file.patch(patches, litestar.app)
    plugin = OpenTelemetryPlugin(OpenTelemetryConfig(exclude_spans=["send", "receive"]))

    @litestar.get("/datasets/{number:int}")
    async def dataset() -> str:
        return "hello"

    app = litestar.Litestar([dataset], plugins=[plugin] if bring else [], openapi_config=None)
    call_asgi(app, path="/datasets/7")
    assert kinds(spans) == [SpanKind.SERVER]
    assert spans.kept.overlay["http.route"] == "/datasets/{number}"
    assert spans.kept.overlay["http.response.body.size"] == 5


@pytest.mark.parametrize("bring", [True, False], ids=["its-own", "ours"])
def test_quart_with_a_middleware_of_its_own(spans, patches, bring):
    """A middleware around Quart's `asgi_app` is left to make the span; where there is none, ours does."""
    quart_file.patch(patches, quart.app)
    app = quart.Quart("own")

    class AuthUser:
        """As quart-auth's, whose other property would have to be awaited."""

        auth_id = "7"

        @property
        def is_authenticated(self):
            raise AssertionError("not asked for")

    @app.get("/datasets/<int:number>")
    async def dataset(number):
        quart.g._quart_auth_user = AuthUser()
        return "hello"

    if bring:
        app.asgi_app = OpenTelemetryMiddleware(app.asgi_app, exclude_spans=["send", "receive"])
    call_asgi(app, path="/datasets/7", http_version="1.1", scheme="http", server=("localhost", 80))
    assert kinds(spans) == [SpanKind.SERVER]
    assert spans.kept.overlay["http.route"] == "/datasets/<int:number>"
    assert spans.kept.overlay["user.id"] == "7"


def test_bottle_below_a_mount(spans, patches):
    """A mounted Bottle is the same request, and its exception is named."""
    bottle_file.patch(patches, bottle)
    app, inner = bottle.Bottle(), bottle.Bottle()

    @inner.get("/datasets/<number:int>")
    def dataset(number):
        raise KeyError(number)

    app.mount("/v1/", inner)
    call_wsgi(app, "/v1/datasets/7")
    assert kinds(spans) == [SpanKind.SERVER]
    overlay = spans.kept.overlay
    assert (overlay["http.route"], overlay["url.path"]) == ("/v1/datasets/<number>", "/v1/datasets/7")
    assert (overlay["http.response.status_code"], overlay["error.type"]) == (500, "KeyError")


def test_lifespan_and_what_comes_later_pass(installed):
    """What is neither a request nor a WebSocket reaches the application as it is."""

    async def lifespan(scope, receive, send):
        await send({"type": f"{scope['type']}.startup.complete"})

    assert call_asgi(wrap.WrappedASGI(lifespan), type="lifespan") == ["lifespan.startup.complete"]
    assert kinds(installed) == []


def test_servers_see_what_they_look_for(installed):
    """The wrapped ASGI application is recognised as ASGI 3.0, and other attributes are the application's."""

    class Application:
        debug = True

        def __call__(self, environ, start_response):
            return []

    assert inspect.iscoroutinefunction(wrap.WrappedASGI(hello_asgi).__call__)
    wrapped = copy.copy(wrap.WrappedWSGI(Application()))
    assert wrapped.debug is True
    assert not hasattr(wrapped, "nothing")


def test_wrapping_installs_and_makes_nothing(tmp_path, monkeypatch):
    """Wrapping calls install(), and neither makes a file or a thread before the first request."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", TracerProvider(shutdown_on_exit=False))
    threads = threading.active_count()
    try:
        otel_usage.wrap_wsgi(hello_wsgi)
        otel_usage.wrap_asgi(hello_asgi)
        assert wrap.WrappedWSGI.__call__.__wrapped__
        assert threading.active_count() == threads
        assert list(tmp_path.iterdir()) == []
    finally:
        otel_usage.uninstall()
    assert not hasattr(wrap.WrappedWSGI.__call__, "__wrapped__")
