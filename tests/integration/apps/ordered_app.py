"""An application put together in the order of steps that the command line gives, then served, asked, and reported.

    python ordered_app.py FRAMEWORK STEP...

Prints as JSON what clients were answered, which hooks of the application were called, and what its own exporter got.
"""

import http.client
import json
import os
import sys
import threading
import wsgiref.simple_server

import uvicorn
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler

REQUESTS = [
    ("GET", "/datasets/1", {"Authorization": "Bearer tok-ordered-1"}),
    ("GET", "/datasets/2", {"Authorization": "Basic YWxpY2U6c2VjcmV0LXNlY3JldA=="}),
    ("GET", "/quiet/3", {"X-API-Key": "key-ordered-33333333"}),
    ("GET", "/nowhere", {}),
]
hooks: list[str] = []


class OwnSampler(Sampler):
    """Drops what is quiet."""

    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, *rest, **more):
        is_quiet = any("/quiet" in str(value) for value in (attributes or {}).values())
        return (ALWAYS_OFF if is_quiet else ALWAYS_ON).should_sample(
            parent_context, trace_id, name, kind, attributes, *rest, **more
        )

    def get_description(self):
        return "OwnSampler"


def request_hook(span, *_):
    hooks.append("request")
    if span.is_recording():
        span.set_attribute("hooked", True)


def response_hook(*_):
    hooks.append("response")


class Flask:
    both_hooks = {"request_hook": request_hook, "response_hook": response_hook}

    def load(self):
        import flask
        from opentelemetry.instrumentation.flask import FlaskInstrumentor
        from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware

        self.module, self.instrumentor, self.middleware = flask, FlaskInstrumentor, OpenTelemetryMiddleware

    def make(self):
        app = self.module.Flask("ordered")
        app.add_url_rule("/datasets/<int:dataset_id>", view_func=lambda dataset_id: "a dataset", endpoint="dataset")
        app.add_url_rule("/quiet/<int:dataset_id>", view_func=lambda dataset_id: "quiet", endpoint="quiet")
        return app

    def serve(self, app):
        return serve_wsgi(app)


class Django:
    both_hooks = Flask.both_hooks

    def load(self):
        from django.conf import settings
        from opentelemetry.instrumentation.django import DjangoInstrumentor

        self.instrumentor = DjangoInstrumentor
        settings.configure(ROOT_URLCONF="__main__", ALLOWED_HOSTS=["*"], MIDDLEWARE=[], SECRET_KEY="only for tests")

    def make(self):
        import django
        from django.core.handlers.wsgi import WSGIHandler
        from django.http import HttpResponse
        from django.urls import path

        global urlpatterns
        urlpatterns = [
            path("datasets/<int:dataset_id>", lambda request, dataset_id: HttpResponse("a dataset"), name="dataset"),
            path("quiet/<int:dataset_id>", lambda request, dataset_id: HttpResponse("quiet"), name="quiet"),
        ]
        django.setup()
        return WSGIHandler()

    def serve(self, app):
        return serve_wsgi(app)


class Falcon:
    both_hooks = Flask.both_hooks

    def load(self):
        import falcon
        from opentelemetry.instrumentation.falcon import FalconInstrumentor

        self.module, self.instrumentor = falcon, FalconInstrumentor

    def make(self):
        class Text:
            def __init__(self, text):
                self.text = text

            def on_get(self, request, response, dataset_id):
                response.text = self.text

        app = self.module.App()
        app.add_route("/datasets/{dataset_id:int}", Text("a dataset"))
        app.add_route("/quiet/{dataset_id:int}", Text("quiet"))
        return app

    def serve(self, app):
        return serve_wsgi(app)


class FastAPI:
    both_hooks = {"server_request_hook": request_hook, "client_response_hook": response_hook}

    def load(self):
        import fastapi
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

        self.module, self.instrumentor, self.middleware = fastapi, FastAPIInstrumentor, OpenTelemetryMiddleware

    def make(self):
        from starlette.responses import PlainTextResponse

        app = self.module.FastAPI(default_response_class=PlainTextResponse)
        app.get("/datasets/{dataset_id}")(lambda dataset_id: "a dataset")
        app.get("/quiet/{dataset_id}")(lambda dataset_id: "quiet")
        return app

    def serve(self, app):
        return serve_asgi(app)


class Starlette:
    both_hooks = FastAPI.both_hooks

    def load(self):
        import starlette.applications
        from opentelemetry.instrumentation.starlette import StarletteInstrumentor

        self.module, self.instrumentor = starlette.applications, StarletteInstrumentor

    def make(self):
        from starlette.responses import PlainTextResponse
        from starlette.routing import Route

        async def dataset(request):
            return PlainTextResponse("a dataset")

        async def quiet(request):
            return PlainTextResponse("quiet")

        return self.module.Starlette(routes=[Route("/datasets/{dataset_id}", dataset), Route("/quiet/{id}", quiet)])

    def serve(self, app):
        return serve_asgi(app)


def serve_wsgi(app):
    class Quiet(wsgiref.simple_server.WSGIRequestHandler):
        def log_message(self, *_):
            pass

    server = wsgiref.simple_server.make_server("127.0.0.1", 0, app, handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def stop():
        server.shutdown()
        thread.join()
        server.server_close()

    return server.server_port, stop


def serve_asgi(app):
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    ready = threading.Event()
    startup = server.startup

    async def start(*args, **kwargs):
        await startup(*args, **kwargs)
        ready.set()

    server.startup = start
    thread = threading.Thread(target=server.run)
    thread.start()
    assert ready.wait(30)

    def stop():
        server.should_exit = True
        thread.join()

    return server.servers[0].sockets[0].getsockname()[1], stop


class Order:
    """The steps; each may come at any place that makes sense."""

    def __init__(self, framework):
        self.framework = framework
        self.exported = InMemorySpanExporter()
        self.keywords = dict(framework.both_hooks)

    def load(self):
        self.framework.load()

    def install(self):
        import otel_usage

        otel_usage.install()

    def uninstall(self):
        import otel_usage

        otel_usage.uninstall()

    def provider(self):
        """The application's provider is the global one."""
        self.own_provider(OwnSampler())
        del self.keywords["tracer_provider"]
        trace.set_tracer_provider(self.made)

    def own_provider(self, sampler=None):
        """The application's provider is known only to those that it is given to."""
        self.made = TracerProvider(sampler=sampler or OwnSampler())
        self.made.add_span_processor(SimpleSpanProcessor(self.exported))
        self.keywords["tracer_provider"] = self.made

    def plain_provider(self):
        """The global provider, whose sampler is put there by `sampler`."""
        self.own_provider(ALWAYS_ON)
        del self.keywords["tracer_provider"]
        trace.set_tracer_provider(self.made)

    def sampler(self):
        self.made.sampler = OwnSampler()
        for tracer in self.made._tracers.values():
            tracer.sampler = self.made.sampler

    def instrument(self):
        self.framework.instrumentor().instrument(**self.keywords)

    def app(self):
        self.application = self.framework.make()

    def instrument_app(self):
        self.framework.instrumentor().instrument_app(self.application, **self.keywords)

    def wrap(self):
        """A middleware with a provider of its own around it, so that two providers have spans of a request."""
        inside = self.application
        self.application = self.framework.middleware(inside, tracer_provider=TracerProvider())

    def ask(self):
        self.answers = ask(*self.framework.serve(self.application))


def ask(port, stop):
    answers = []
    for method, target, headers in REQUESTS:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request(method, target, headers={"User-Agent": "orders", **headers})
        answer = connection.getresponse()
        answers.append((answer.status, len(answer.read())))
        connection.close()
    stop()
    return answers


def main():
    framework, *steps = sys.argv[1:]
    order = Order(globals()[framework]())
    for step in steps:
        getattr(order, step.replace("-", "_"))()
    order.ask()
    spans = [
        {"name": span.name, "kind": span.kind.name, "has parent": span.parent is not None, **dict(span.attributes)}
        for span in order.exported.get_finished_spans()
    ]
    print(json.dumps({"answers": order.answers, "hooks": hooks, "spans": spans}, default=str), flush=True)


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = ""
    main()
