"""Looks at a Python interpreter from inside: what is installed, what the launcher did, what the application is.

Gathers facts and judges nothing. `starting` runs this file's text in the interpreter of the application, which may be
old and may lack this package: so it imports only the standard library, and nothing of ours.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from importlib.metadata import Distribution, distributions
from typing import Any, TypedDict


class Instrumentor(TypedDict):
    """One package that instruments a framework.

    Attributes:
        required: The versions of the framework that it instruments, where the installed one is none of them.
        active: Whether the launcher has instrumented with it.
        error: Why it cannot be imported.
    """

    required: str | None
    active: bool
    error: str | None


class Installed(TypedDict):
    """What is installed in this interpreter.

    Attributes:
        python: Its version.
        executable: Its path.
        packages: Version of each distribution, by normalized name.
        unfit: What an extra of otel-usage ("" for none) requires of a package that is there in another version.
        instrumentors: By distribution, of those that were asked for.
    """

    python: list[int]
    executable: str
    packages: dict[str, str]
    unfit: dict[str, list[str]]
    instrumentors: dict[str, Instrumentor]


class Application(TypedDict):
    """What an application turned out to be.

    Attributes:
        kind: Its class.
        framework: Its name, "asgi" or "wsgi" where it is wrapped; None where it is unknown.
        seen: Whether its requests make spans; None where that cannot be told from it.
        settings: Django only: the settings module in use.
        error: Why it cannot be imported; then all else is empty.
    """

    kind: str
    framework: str | None
    seen: bool | None
    settings: str | None
    error: str | None


class Facts(TypedDict):
    """Everything that is known of a started interpreter.

    Attributes:
        installed: What is installed in it.
        application: The application, if one was asked for.
        launched: Whether OpenTelemetry's launcher has run in it.
        recording: Whether otel-usage was installed by the launcher.
        provider: Class of the tracer provider.
        attached: Whether a request span of that provider reaches otel-usage.
        takes_path: Whether the interpreter reads PYTHONPATH and `sitecustomize`, by which the launcher works.
    """

    installed: Installed
    application: Application | None
    launched: bool
    recording: bool
    provider: str
    attached: bool
    takes_path: bool


class Wanted(TypedDict):
    """The application to look at.

    Attributes:
        module: To import.
        names: What may be in it, the first that is there: dotted names, or calls of one as in "make('x')".
        factory: Whether to call it; None if it is a function that needs no argument.
        folders: To import from, before all others.
    """

    module: str
    names: list[str]
    factory: bool | None
    folders: list[str]


def main(descriptor: int, instrumentations: list[str], wanted: Wanted | None) -> None:
    """Write the facts to a file descriptor, and end at once: no exporter shall send anything."""
    _record_nothing()
    application = None if wanted is None else look_at(wanted)
    facts = {"installed": installed(instrumentations), "application": application, **_launch()}
    os.write(descriptor, json.dumps(facts).encode())
    os._exit(0)


def installed(instrumentations: Iterable[str]) -> Installed:
    """What is installed here; `instrumentations` are the distributions to look into."""
    found: dict[str, Distribution] = {}
    for each in distributions():
        # The first on the path is the one that is imported; one that was half removed has no name.
        if each.metadata["Name"]:
            found.setdefault(_normalized(each.metadata["Name"]), each)
    own = found.get("otel-usage")
    return {
        "python": list(sys.version_info[:3]),
        "executable": sys.executable,
        "packages": {name: each.version for name, each in found.items()},
        "unfit": {} if own is None else _unfit(own, found),
        "instrumentors": {name: _instrumentor(found[name]) for name in instrumentations if name in found},
    }


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _unfit(own: Distribution, found: dict[str, Distribution]) -> dict[str, list[str]]:
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return {}
    unfit: dict[str, list[str]] = {}
    extras = ["", *(own.metadata.get_all("Provides-Extra") or ())]
    for requirement in map(Requirement, own.requires or ()):
        there = found.get(_normalized(requirement.name))
        if there is not None and not requirement.specifier.contains(there.version, prereleases=True):
            marker = requirement.marker
            extra = next((each for each in extras if marker is None or marker.evaluate({"extra": each})), None)
            if extra is not None:
                unfit.setdefault(extra, []).append(f"{requirement.name}{requirement.specifier}")
    return unfit


def _instrumentor(package: Distribution) -> Instrumentor:
    answer: Instrumentor = {"required": None, "active": False, "error": None}
    try:
        from opentelemetry.instrumentation.dependencies import get_dist_dependency_conflicts

        conflict = get_dist_dependency_conflicts(package)
        if conflict is not None:
            required = [conflict.required] if conflict.required else conflict.required_any or ()
            answer["required"] = " or ".join(str(each).partition(";")[0].strip() for each in required)
        elif _is_launched():
            answer["active"] = all(each.is_instrumented_by_opentelemetry for each in _instrumentors(package))
    except Exception as error:
        answer["error"] = _said(error)
    return answer


def _instrumentors(package: Distribution) -> Iterator[Any]:
    """Each is one object for the process, however often it is made."""
    for entry in package.entry_points:
        if entry.group == "opentelemetry_instrumentor":
            yield entry.load()()


def _is_launched() -> bool:
    return "opentelemetry.instrumentation.auto_instrumentation" in sys.modules


def _launch() -> dict[str, Any]:
    own = _installation()
    trace: Any = sys.modules.get("opentelemetry.trace")
    provider = None if trace is None else trace.get_tracer_provider()
    return {
        "launched": _is_launched(),
        "recording": own is not None,
        "provider": "" if provider is None else _class_name(type(provider)),
        "attached": own is not None and trace is not None and _sees_spans(own, trace),
        "takes_path": not (sys.flags.ignore_environment or sys.flags.no_site),
    }


def _sees_spans(own: Any, trace: Any) -> bool:
    """Whether a SERVER span reaches otel-usage; this one is never ended, so that nobody exports it."""
    seen: list[Any] = []
    own._processor.on_start = lambda *span, **_: seen.extend(span)
    own._processor.active = True
    trace.get_tracer("otel_usage.doctor").start_span("doctor", kind=trace.SpanKind.SERVER)
    return bool(seen)


def _installation() -> Any:
    return getattr(sys.modules.get("otel_usage.bootstrap"), "_installed", None)


def _record_nothing() -> None:
    """Requests that an application asks of itself while it is imported here are nobody's use of it."""
    processor = getattr(_installation(), "_processor", None)
    if processor is not None:
        processor.active = False


def look_at(wanted: Wanted) -> Application:
    """Import the application as its server would, and say what it is; no request is sent to it."""
    answer: Application = {"kind": "", "framework": None, "seen": None, "settings": None, "error": None}
    sys.path[:0] = wanted["folders"]
    try:
        application = _import(wanted)
    except BaseException as error:
        answer["error"] = f"{_said(error)}{_where(error)}"
        return answer
    answer["kind"] = _class_name(type(application))
    _judge(application, answer)
    return answer


def _import(wanted: Wanted) -> Any:
    module = import_module(wanted["module"])
    for name in wanted["names"]:
        parsed = ast.parse(name, mode="eval").body
        call = parsed if isinstance(parsed, ast.Call) else None
        found: Any = module
        for part in ast.unparse(parsed if call is None else call.func).split("."):
            found = getattr(found, part, None)
        if found is None:
            continue
        if call is not None:
            named = {each.arg: ast.literal_eval(each.value) for each in call.keywords if each.arg}
            return found(*map(ast.literal_eval, call.args), **named)
        factory = _is_factory(found) if wanted["factory"] is None else wanted["factory"]
        return found() if factory else found
    raise AttributeError(f"module {wanted['module']!r} has no {' or '.join(wanted['names'])}")


def _is_factory(thing: Any) -> bool:
    """A function that needs no argument; one that is an application itself needs the request."""
    return inspect.isfunction(thing) and all(
        each.default is not each.empty or each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        for each in inspect.signature(thing).parameters.values()
    )


# Whose messages are made of names; another's may hold an address with its password.
_NAMES_ONLY = (ImportError, AttributeError, NameError, SyntaxError)


def _said(error: BaseException) -> str:
    shown = isinstance(error, _NAMES_ONLY) or type(error).__name__ == "ImproperlyConfigured"
    return type(error).__name__ + (f": {' '.join(str(error).split())[:300]}" if shown else "")


def _where(error: BaseException) -> str:
    """The last line that was reached, apart from those that import."""
    frames = [
        each
        for each in traceback.extract_tb(error.__traceback__)
        if not each.filename.startswith("<") and each.filename != inspect.getfile(import_module)
    ]
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def _class_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _judge(application: Any, answer: Application) -> None:
    for each in _layers(application):
        name = _known_class(each)
        if name is None:
            continue
        framework, is_seen = _CLASSES[name]
        answer["framework"] = answer["framework"] or framework
        answer["seen"] = is_seen(each)
        if framework == "django":
            answer["settings"] = getattr(_django_settings(), "SETTINGS_MODULE", None)
        if answer["seen"]:
            return


def _known_class(thing: Any) -> str | None:
    return next((name for base in type(thing).__mro__ if (name := _class_name(base)) in _CLASSES), None)


_MAX_LAYERS = 500


def _layers(application: Any) -> Iterator[Any]:
    """The application and what it wraps, outermost first."""
    waiting, met = [application], set[int]()
    while waiting and len(met) < _MAX_LAYERS:
        each = waiting.pop(0)
        if id(each) in met or not callable(each) or isinstance(each, type):
            continue
        met.add(id(each))
        yield each
        waiting += _inside(each)


# Where frameworks keep what they call; what else they hold may be another application's.
_CALLED = ("asgi_app", "wsgi_app", "asgi_handler", "wsgi")


def _inside(thing: Any) -> list[Any]:
    """What a thing may hand its requests on to; a proxy of something that is not there yet has nothing."""
    try:
        held = dict(vars(thing))
        if _known_class(thing) is not None:
            return [held[name] for name in _CALLED if name in held]
        if inspect.ismethod(thing):
            return [thing.__self__]
        if inspect.isfunction(thing):
            used = inspect.getclosurevars(thing)
            return [*held.values(), *used.nonlocals.values(), *used.globals.values()]
        return list(held.values())
    except Exception:
        return []


def _always(_application: Any) -> bool:
    return True


def _is_marked(application: Any) -> bool:
    """Whether OpenTelemetry's instrumentation has made this application, or was told of it."""
    return getattr(application, "_is_instrumented_by_opentelemetry", False) is True


def _is_ours(application: Any) -> bool:
    """Whether otel-usage is what makes the spans of applications of this class."""
    serve: Any = type(application).__call__
    name: str = getattr(serve, "__globals__", {}).get("__name__", "")
    return name.startswith("otel_usage.instrumentation.")


def _sees_falcon(application: Any) -> bool:
    instrumented = sys.modules["falcon"].App is not sys.modules["falcon.app"].App
    return _is_marked(application) or (instrumented and _is_ours(application))


def _sees_fastapi(application: Any) -> bool:
    """FastAPI makes spans by itself since 0.142."""
    own = getattr(application, "_native_telemetry", None)
    makes_spans = own is not None and own.enabled() and application._telemetry["tracing"]
    return _is_marked(application) or bool(makes_spans)


def _django_settings() -> Any:
    return sys.modules["django.conf"].settings


def _sees_django(_application: Any) -> bool:
    return any("opentelemetry" in name for name in _django_settings().MIDDLEWARE)


def _sees_aiohttp(application: Any) -> bool:
    return any("opentelemetry" in getattr(each, "__module__", "") for each in application.middlewares)


def _sees_tornado(_application: Any) -> bool:
    module: Any = sys.modules.get("opentelemetry.instrumentation.tornado")
    return module is not None and module.TornadoInstrumentor().is_instrumented_by_opentelemetry is True


def _sees_pyramid(application: Any) -> bool:
    interfaces: Any = sys.modules["pyramid.interfaces"]
    tweens = application.registry.queryUtility(interfaces.ITweens)
    return any("opentelemetry" in name for name, _ in tweens.explicit or tweens.implicit())


# Class of an application -> its framework, and what tells whether its requests make spans.
_CLASSES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "aiohttp.web_app.Application": ("aiohttp", _sees_aiohttp),
    "bottle.Bottle": ("bottle", _is_ours),
    "django.core.handlers.base.BaseHandler": ("django", _sees_django),
    "falcon.app.App": ("falcon", _sees_falcon),
    "falcon.asgi.app.App": ("falcon", _is_ours),
    "fastapi.applications.FastAPI": ("fastapi", _sees_fastapi),
    "flask.app.Flask": ("flask", _is_marked),
    "litestar.app.Litestar": ("litestar", _is_ours),
    "opentelemetry.instrumentation.asgi.OpenTelemetryMiddleware": ("asgi", _always),
    "opentelemetry.instrumentation.wsgi.OpenTelemetryMiddleware": ("wsgi", _always),
    "otel_usage.wrap.WrappedASGI": ("asgi", _is_ours),
    "otel_usage.wrap.WrappedWSGI": ("wsgi", _is_ours),
    "pyramid.router.Router": ("pyramid", _sees_pyramid),
    "quart.app.Quart": ("quart", _is_ours),
    "sanic.app.Sanic": ("sanic", _is_ours),
    "starlette.applications.Starlette": ("starlette", _is_marked),
    "tornado.web.Application": ("tornado", _sees_tornado),
}
