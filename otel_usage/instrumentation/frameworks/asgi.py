"""Any ASGI application behind OpenTelemetry's ASGI middleware."""

import logging
from types import ModuleType
from typing import Any
from weakref import WeakSet

from otel_usage.enrichment.facts import RequestFacts
from otel_usage.enrichment.resources import know_templates
from otel_usage.instrumentation import asgi_exchange, headers
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import RequestState
from otel_usage.instrumentation.users import framework_user

_logger = logging.getLogger("otel_usage")


def patch(patches: Patches, module: ModuleType) -> None:
    """Count what passes the middleware."""
    patches.replace(module.OpenTelemetryMiddleware, "__call__", _serve)


def _serve(original: Any) -> Any:
    async def __call__(self: Any, scope: Any, receive: Any, send: Any) -> None:
        await asgi_exchange.serve(original.__get__(self), scope, receive, send, read_facts)

    return __call__


def read_facts(state: RequestState) -> RequestFacts:
    """The facts that an ASGI scope states, with what routers and authentication leave in it."""
    scope = state.native
    _know(scope.get("app"))
    path_params = scope.get("path_params")
    route = _route(scope, _span_route(state))
    return RequestFacts(
        method=scope.get("method", "GET").upper(),
        path=scope.get("path", ""),
        query=(scope.get("query_string") or b"").decode("latin-1"),
        route=route,
        path_params=None if path_params is None else {name: str(value) for name, value in path_params.items()},
        headers=headers.of_scope(scope),
        session_cookie_names=("session",) if "session" in scope else (),
        status=state.status,
        content_disposition=state.content_disposition,
        content_range=state.content_range,
        token_name=state.token_name,
        operation=state.operation,
        user=state.user or framework_user(scope.get("user")),
        credential=state.credential,
        websocket=scope["type"] == "websocket",
        plain=path_params is None and route is None and "router" not in scope,
    )


# Applications whose routes are known.
_known: "WeakSet[Any]" = WeakSet()


def _know(app: Any) -> None:
    """Learn the templates of a Starlette application, which has `routes`; another's may be anything."""
    try:
        if app is None or app in _known:
            return
        _known.add(app)
        know_templates(path for route in app.routes if isinstance(path := getattr(route, "path", None), str))
    except Exception:
        _logger.debug("The routes of an ASGI application cannot be read.", exc_info=True)


def _route(scope: Any, span_route: str | None) -> str | None:
    """The whole template. A router knows the part below its mount, the instrumentation only that of the mount."""
    route = getattr(scope.get("route"), "path", None)
    if route is None or span_route is None or route.startswith(span_route):
        return route or span_route
    mounted = scope.get("root_path", "")[len(scope.get("app_root_path", "")) :]
    return f"{span_route.rstrip('/')}{route}" if mounted.count("/") == span_route.rstrip("/").count("/") else route


def _span_route(state: RequestState) -> str | None:
    attributes = state.span.attributes if state.span is not None else None
    route = attributes.get("http.route") if attributes else None
    return route if isinstance(route, str) else None


HOOKS = {"opentelemetry.instrumentation.asgi": patch}
