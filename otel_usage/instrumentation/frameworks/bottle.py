"""Bottle, whose spans we make: OpenTelemetry has no instrumentation of it."""

import re
from functools import lru_cache
from types import ModuleType
from typing import Any, Final

from otel_usage.enrichment.facts import RequestFacts
from otel_usage.enrichment.resources import know_templates
from otel_usage.instrumentation import headers
from otel_usage.instrumentation.middleware import WSGIInstrumentation, has_instrumentation
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import RequestState, bind, current, qualified_name
from otel_usage.instrumentation.users import framework_user

_PATH: Final = "otel_usage.path"
_FILTERED: Final = re.compile(r"<(\w*):(\w+)[^<>]*>")


def patch(patches: Patches, module: ModuleType) -> None:
    """Serve every Bottle application in a span."""
    serve = WSGIInstrumentation(patches, "bottle", elsewhere=has_instrumentation("bottle")).serve

    def serving(original: Any) -> Any:
        def __call__(self: Any, environ: Any, start_response: Any) -> Any:
            def application(environ: Any, start_response: Any) -> Any:
                bind(read_facts, environ)
                # Bottle decodes the path in place.
                environ.setdefault(_PATH, headers.path_of_environ(environ))
                return original(self, environ, _noting_exception(start_response))

            return serve(application, environ, start_response, read_facts)

        return __call__

    patches.replace(module.Bottle, "__call__", serving)


def _noting_exception(start_response: Any) -> Any:
    """Bottle answers 500 for an exception, lets it go no further, and tells the server of it (PEP 3333)."""

    def start(status: Any, response_headers: Any, exc_info: Any = None) -> Any:
        state = current()
        if state is not None and exc_info and exc_info[1] is not None:
            state.error_type = qualified_name(exc_info[1])
        return start_response(status, response_headers, *((exc_info,) if exc_info else ()))

    return start


def read_facts(state: RequestState) -> RequestFacts:
    """The facts that a WSGI environ states, with what Bottle's router and the application leave in it."""
    environ = state.native
    _know(environ.get("bottle.app"))
    route = environ.get("bottle.route")
    mount = environ.get("SCRIPT_NAME", "")
    return RequestFacts(
        method=environ.get("REQUEST_METHOD", "GET").upper(),
        path=environ.get(_PATH, ""),
        query=environ.get("QUERY_STRING") or "",
        route=None if route is None else f"{mount}{_template(route.rule)}",
        path_params={name: str(value) for name, value in (environ.get("route.url_args") or {}).items()},
        headers=headers.of_environ(environ),
        status=state.status,
        content_disposition=state.content_disposition,
        content_range=state.content_range,
        token_name=state.token_name,
        operation=None if route is None else route.name or getattr(route.callback, "__name__", None),
        user=state.user or framework_user(environ.get("bottle.request.ext.user")),
        remote_user=environ.get("REMOTE_USER"),
    )


@lru_cache(maxsize=16)
def _know(app: Any) -> None:
    know_templates(_template(route.rule) for route in getattr(app, "routes", ()))


@lru_cache(maxsize=2048)
def _template(rule: str) -> str:
    """Bottle's "<id:int>" as "<id>": elsewhere, what is behind the colon is the name."""
    return _FILTERED.sub(lambda found: f"<path:{found[1]}>" if found[2] == "path" else f"<{found[1]}>", rule)


HOOKS = {"bottle": patch}
