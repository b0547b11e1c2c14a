"""Compares everything that is loaded before install(), during it and after uninstall(), and prints what differs.

Every attribute of every module and class is compared by identity, whoever is thought to replace it; and how many
receivers each signal has.
"""

import asyncio
import gc
import importlib
import json
import sys
import types
import weakref
from wsgiref.util import setup_testing_defaults

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import otel_usage
from otel_usage import bootstrap
from otel_usage.instrumentation import frameworks

SCOPE = {"type": "http", "method": "GET", "path": "/datasets/1", "query_string": b"", "headers": [], "scheme": "http"}


def load_everything():
    names = [name for file in frameworks._FILES for name in file.HOOKS]
    names += [name for name, _ in frameworks.INSTRUMENTATIONS.values()]
    for name in names:
        importlib.import_module(name)


def owners():
    for name, module in list(sys.modules.items()):
        if isinstance(module, types.ModuleType):
            yield name, module
    for found in gc.get_objects():
        # isinstance() would ask the object, and wake the lazy ones.
        if type in type(found).__mro__:
            yield f"{found.__module__}.{found.__qualname__}", found


def receivers():
    for found in gc.get_objects():
        if type(found).__name__ in ("Signal", "NamedSignal") and "receivers" in vars(found):
            yield found, len(found.receivers)


def snapshot():
    attributes = {
        id(owner): (name, owner, dict(vars(owner)))
        for name, owner in owners()
        if name.partition(".")[0] not in ("otel_usage", "__main__", "__mp_main__")
    }
    return attributes, list(receivers())


def differences(before):
    attributes, signals = before
    found = []
    for name, owner, was in attributes.values():
        now = dict(vars(owner))
        found += [
            f"{name}.{key}"
            for key in was.keys() | now.keys()
            if was.get(key) is not now.get(key) and not isinstance(now.get(key), types.ModuleType)
        ]
    found += [f"receivers of {signal!r}" for signal, count in signals if len(signal.receivers) != count]
    return sorted(set(found))


def ask(flask_app, fastapi_app):
    """One request each; returns what of ours was left in its environ and scope."""
    environ, scope = {"PATH_INFO": "/datasets/1"}, dict(SCOPE)
    setup_testing_defaults(environ)
    b"".join(flask_app(environ, lambda *_: None))

    async def receive():
        return {"type": "http.request"}

    async def send(_message):
        pass

    asyncio.run(fastapi_app(scope, receive, send))
    return [name for name in (*environ, *scope) if name.startswith("otel_usage")]


def applications(provider):
    import fastapi
    import flask
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.instrumentation.flask import FlaskInstrumentor

    made = flask.Flask("put back"), fastapi.FastAPI()
    FlaskInstrumentor().instrument_app(made[0], tracer_provider=provider)
    FastAPIInstrumentor.instrument_app(made[1], tracer_provider=provider)
    return made


load_everything()
provider = TracerProvider(sampler=ALWAYS_OFF)
apps = applications(provider)
ask(*apps)
# What install() itself loads is there from now on.
otel_usage.install()
ask(*apps)
otel_usage.uninstall()
before = snapshot()
otel_usage.install()
gone = [weakref.ref(part) for part in (bootstrap._installed, bootstrap._installed._recorder, trace._TRACER_PROVIDER)]
told = {"during": differences(before), "marks during": ask(*apps)}
otel_usage.uninstall()
gc.collect()
told |= {
    "after": differences(before),
    "marks after": ask(*apps),
    "samplers": sorted({type(owner.sampler).__name__ for owner in (provider, *provider._tracers.values())}),
    "processors": len(provider._active_span_processor._span_processors),
    "alive": [part() for part in gone if part() is not None],
}
print(json.dumps(told, default=str))
