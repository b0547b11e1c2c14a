"""Any ASGI application behind OpenTelemetry's ASGI middleware, or in `wrap_asgi`, which puts it there."""

import logging
from copy import copy
from itertools import islice
from types import ModuleType
from typing import Any, Final
from weakref import WeakValueDictionary

from otel_usage.enrichment.facts import RequestFacts
from otel_usage.enrichment.resources import know_templates
from otel_usage.instrumentation import asgi_exchange, asgi_scope, fastapi_gaps, headers
from otel_usage.instrumentation.middleware import ASGIInstrumentation
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import RequestState
from otel_usage.instrumentation.tokens import identity
from otel_usage.instrumentation.unseen import is_seen_by_us_alone
from otel_usage.instrumentation.users import session_user

_logger = logging.getLogger("otel_usage")

_MAX_ROUTES: Final = 4096
# Where a middleware keeps its copy that makes no spans of messages.
_QUIET: Final = "_otel_usage_quiet"


def patch(patches: Patches, module: ModuleType) -> None:
    """Count what passes the middleware."""
    patches.replace(module.OpenTelemetryMiddleware, "__call__", _serve)


def patch_wrapped(patches: Patches, module: ModuleType) -> None:
    """Give the requests of wrapped applications their spans."""
    serve = ASGIInstrumentation(patches, "asgi").serve

    def serving(original: Any) -> Any:
        async def __call__(self: Any, scope: Any, receive: Any, send: Any) -> None:
            await serve(original.__get__(self), scope, receive, send, read_facts)

        return __call__

    patches.replace(module.WrappedASGI, "__call__", serving)


def patch_fastapi(patches: Patches, module: ModuleType) -> None:
    """Count what passes a FastAPI application that makes its own request spans."""
    if fastapi_gaps.makes_spans():
        patches.replace(module.FastAPI, "__call__", _serve_fastapi)


def _serve_fastapi(original: Any) -> Any:
    async def __call__(self: Any, scope: Any, receive: Any, send: Any) -> None:
        fastapi_gaps.stand_back(scope)
        await asgi_exchange.serve(original.__get__(self), scope, receive, send, _read_fastapi)

    return __call__


def _read_fastapi(state: RequestState) -> RequestFacts:
    fastapi_gaps.complete_span(state)
    return read_facts(state)


def _serve(original: Any) -> Any:
    async def __call__(self: Any, scope: Any, receive: Any, send: Any) -> None:
        middleware = _without_message_spans(self) if is_seen_by_us_alone(getattr(self, "tracer", None)) else self
        await asgi_exchange.serve(original.__get__(middleware), scope, receive, send, read_facts)

    return __call__


def _without_message_spans(middleware: Any) -> Any:
    """The same without a span for each message received and sent: half its cost, where nobody would see them."""
    quiet = vars(middleware).get(_QUIET)
    if quiet is None:
        quiet = vars(middleware)[_QUIET] = copy(middleware)
        quiet.exclude_receive_span = quiet.exclude_send_span = True
    return quiet


def read_facts(state: RequestState) -> RequestFacts:
    """The facts that an ASGI scope states, with what routers and authentication leave in it."""
    scope = state.native
    # The outermost router: a mounted application puts itself in the place of the `app` around it.
    _know(scope.get("router", scope.get("app")))
    path_params = scope.get("path_params")
    route = asgi_scope.template(scope) if asgi_scope.is_routed(scope) else _route(scope, state)
    user, token = identity(scope.get("user"))
    return RequestFacts(
        method=scope.get("method", "GET").upper(),
        path=scope.get("path", ""),
        query=(scope.get("query_string") or b"").decode("latin-1"),
        route=route,
        path_params=None if path_params is None else {name: str(value) for name, value in path_params.items()},
        headers=headers.of_scope(scope),
        session_cookie_names=asgi_scope.session_cookies(scope),
        status=state.status,
        content_disposition=state.content_disposition,
        content_range=state.content_range,
        token_name=state.token_name or token or identity(scope.get("auth"))[1],
        refused=state.refused,
        operation=state.operation or asgi_scope.operation(scope, state.status),
        user=state.user or user or session_user(scope.get("session")),
        credential=state.credential,
        websocket=scope["type"] == "websocket",
        plain=path_params is None and route is None and "router" not in scope,
    )


# Routers and applications whose routes are known, by their id: Starlette's routers have no hash.
_known: "WeakValueDictionary[int, Any]" = WeakValueDictionary()


def _know(app: Any) -> None:
    """Learn the templates of a Starlette application, which has `routes`; another's may be anything."""
    try:
        if app is None or _known.get(id(app)) is app:
            return
        _known[id(app)] = app
        know_templates(islice(asgi_scope.templates(app.routes), _MAX_ROUTES))
    except Exception:
        _logger.debug("The routes of an ASGI application cannot be read.", exc_info=True)


def _route(scope: Any, state: RequestState) -> str | None:
    """The template that another router left in the scope, or the instrumentation on the span."""
    route = getattr(scope.get("route"), "path", None)
    if route is None and state.span is not None and state.span.attributes:
        route = state.span.attributes.get("http.route")
    return route if isinstance(route, str) else None


HOOKS = {
    "opentelemetry.instrumentation.asgi": patch,
    "otel_usage.wrap": patch_wrapped,
    "fastapi.applications": patch_fastapi,
}
