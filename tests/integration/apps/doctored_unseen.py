"""Applications that work, seen by OpenTelemetry or not, by themselves and inside others."""

import flask
from fastapi import FastAPI
from fastapi.applications import FastAPI as PlainFastAPI
from flask.app import Flask
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from starlette.applications import Starlette
from tornado.web import Application

from otel_usage import wrap_wsgi

# Not from the package, where the instrumentation has put its own class.
flask_app = Flask(__name__)
fastapi_app = PlainFastAPI(telemetry={"tracing": False})


def plain(environ, start_response):
    """Nothing tells of it whether anybody sees it."""
    start_response("200 OK", [])
    return [b""]


class Around:
    """What a WSGI or ASGI middleware looks like."""

    def __init__(self, application):
        self.application = application

    def __call__(self, *request):
        return self.application(*request)


def outside(environ, start_response):
    """A middleware that is a function."""
    return wrapped(environ, start_response)


wrapped = Around(OpenTelemetryMiddleware(plain))
around_seen = Around(Around(FastAPI()))
around_unseen = Around(flask_app)
starlette_app = Starlette()
plain_wrapped = wrap_wsgi(plain)
tornado_app = Application()


def make_flask(name="made"):
    """A factory."""
    return flask.Flask(name)
