"""Any WSGI application behind OpenTelemetry's WSGI middleware, or in `wrap_wsgi`, which puts it there."""

from types import ModuleType
from typing import Any

from otel_usage.enrichment.facts import RequestFacts
from otel_usage.instrumentation import headers, wsgi_exchange
from otel_usage.instrumentation.middleware import WSGIInstrumentation
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import RequestState


def patch(patches: Patches, module: ModuleType) -> None:
    """Count what passes the middleware."""
    patches.replace(module.OpenTelemetryMiddleware, "__call__", _serve)


def patch_wrapped(patches: Patches, module: ModuleType) -> None:
    """Give the requests of wrapped applications their spans."""
    serve = WSGIInstrumentation(patches, "wsgi").serve

    def serving(original: Any) -> Any:
        def __call__(self: Any, environ: Any, start_response: Any) -> Any:
            return serve(original.__get__(self), environ, start_response, read_facts)

        return __call__

    patches.replace(module.WrappedWSGI, "__call__", serving)


def _serve(original: Any) -> Any:
    def __call__(self: Any, environ: Any, start_response: Any) -> Any:
        return wsgi_exchange.serve(original.__get__(self), environ, start_response, read_facts)

    return __call__


def read_facts(state: RequestState) -> RequestFacts:
    """The facts that a WSGI environ states; the route is derived from the path."""
    environ = state.native
    return RequestFacts(
        method=environ.get("REQUEST_METHOD", "GET").upper(),
        path=headers.path_of_environ(environ),
        query=environ.get("QUERY_STRING") or "",
        headers=headers.of_environ(environ),
        status=state.status,
        content_disposition=state.content_disposition,
        content_range=state.content_range,
        token_name=state.token_name,
        operation=state.operation,
        user=state.user,
        remote_user=environ.get("REMOTE_USER"),
        plain=True,
    )


HOOKS = {"opentelemetry.instrumentation.wsgi": patch, "otel_usage.wrap": patch_wrapped}
