"""A Flask application whose views speak of their user from threads and processes."""

import multiprocessing
import os
import threading
from contextvars import copy_context

from flask import Flask
from opentelemetry import trace
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.trace import ConcurrentMultiSpanProcessor, TracerProvider

from otel_usage import identify

PROVIDER = os.environ.get("SITE_PROVIDER")

if PROVIDER == "concurrent":
    trace.set_tracer_provider(TracerProvider(active_span_processor=ConcurrentMultiSpanProcessor()))

app = Flask(__name__)
if PROVIDER == "second":
    FlaskInstrumentor().instrument_app(app, tracer_provider=TracerProvider())


def say(name: str) -> None:
    identify(user_id=name)


@app.get("/thread/<name>")
def view_in_thread(name: str):
    say(name)
    return name


@app.get("/copied/<name>")
def copied_context(name: str):
    thread = threading.Thread(target=copy_context().run, args=(say, name))
    thread.start()
    thread.join()
    return name


@app.get("/bare/<name>")
def thread_without_context(name: str):
    thread = threading.Thread(target=say, args=(name,))
    thread.start()
    thread.join()
    return name


def ask_itself(name: str) -> None:
    app.test_client().get(f"/thread/{name}", headers={"User-Agent": f"inner-{name}"})


@app.get("/calls/<name>")
def call_itself(name: str):
    say(name)
    ask_itself(name)
    return name


@app.get("/calls-in-thread/<name>")
def call_itself_in_a_thread(name: str):
    thread = threading.Thread(target=ask_itself, args=(f"{name}-inner",))
    thread.start()
    thread.join()
    say(name)
    return name


def say_and_ask() -> None:
    say("child")
    app.test_client().get("/thread/child", headers={"User-Agent": "child"})


@app.get("/starts/<method>/<name>")
def start_a_process(method: str, name: str):
    child = multiprocessing.get_context(method).Process(target=say_and_ask)
    child.start()
    child.join(60)
    say(name)
    return name
