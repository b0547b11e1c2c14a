"""Any ASGI application behind OpenTelemetry's ASGI middleware."""

from types import ModuleType
from typing import Any

from otel_usage.enrichment.facts import RequestFacts
from otel_usage.instrumentation import asgi_exchange, headers
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import RequestState
from otel_usage.instrumentation.users import framework_user

MODULE = "opentelemetry.instrumentation.asgi"


def patch(patches: Patches, module: ModuleType) -> None:
    """Count what passes the middleware."""
    patches.replace(module.OpenTelemetryMiddleware, "__call__", _serve)


def _serve(original: Any) -> Any:
    async def __call__(self: Any, scope: Any, receive: Any, send: Any) -> None:  # noqa: N807
        await asgi_exchange.serve(original.__get__(self), scope, receive, send, read_facts)

    return __call__


def read_facts(state: RequestState) -> RequestFacts:
    """The facts that an ASGI scope states, with what routers and authentication leave in it."""
    scope = state.native
    path_params = scope.get("path_params")
    route = getattr(scope.get("route"), "path", None) or _span_route(state)
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
        user=state.user or framework_user(scope.get("user")),
        websocket=scope["type"] == "websocket",
        plain=path_params is None and route is None and "router" not in scope,
    )


def _span_route(state: RequestState) -> str | None:
    attributes = state.span.attributes if state.span is not None else None
    route = attributes.get("http.route") if attributes else None
    return route if isinstance(route, str) else None
