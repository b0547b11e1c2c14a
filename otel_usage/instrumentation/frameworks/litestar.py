"""Litestar, whose spans we make unless its own OpenTelemetry plugin does; the user of its authentication."""

from collections.abc import Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any, Final

from otel_usage.enrichment.facts import RequestFacts
from otel_usage.enrichment.resources import know_templates
from otel_usage.instrumentation import headers
from otel_usage.instrumentation.middleware import ASGIInstrumentation, has_instrumentation
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import RequestState, bind
from otel_usage.instrumentation.tokens import token_name
from otel_usage.instrumentation.users import framework_user

_PATH: Final = "otel_usage.path"
_SESSION_COOKIE: Final = "otel_usage.session_cookie"


def patch(patches: Patches, module: ModuleType) -> None:
    """Serve every Litestar application in a span."""
    serve = ASGIInstrumentation(patches, "litestar", elsewhere=has_instrumentation("litestar")).serve

    def serving(original: Any) -> Any:
        async def __call__(self: Any, scope: Any, receive: Any, send: Any) -> None:
            async def application(scope: Any, receive: Any, send: Any) -> None:
                bind(read_facts, scope)
                # Litestar normalises the path in place.
                scope.setdefault(_PATH, scope.get("path"))
                await original(self, scope, receive, send)

            await serve(application, scope, receive, send, read_facts, inside=self.asgi_handler)

        return __call__

    patches.replace(module.Litestar, "__call__", serving)


def patch_session(patches: Patches, module: ModuleType) -> None:
    """Learn the name of the session cookie; one that holds the whole session is another with every answer."""

    def noting(original: Any) -> Any:
        def get_session_id(self: Any, connection: Any) -> Any:
            connection.scope[_SESSION_COOKIE] = self.config.key
            return original(self, connection)

        return get_session_id

    patches.replace(module.ServerSideSessionBackend, "get_session_id", noting)


def read_facts(state: RequestState) -> RequestFacts:
    """The facts that an ASGI scope states, with what Litestar's router and authentication leave in it."""
    scope = state.native
    _know(scope.get("litestar_app"))
    handler, session_cookie = scope.get("route_handler"), scope.get(_SESSION_COOKIE)
    return RequestFacts(
        method=scope.get("method", "GET").upper(),
        path=scope.get(_PATH) or "",
        query=(scope.get("query_string") or b"").decode("latin-1"),
        route=_route(scope, handler),
        path_params={name: str(value) for name, value in (scope.get("path_params") or {}).items()},
        headers=headers.of_scope(scope),
        session_cookie_names=() if session_cookie is None else (session_cookie,),
        status=state.status,
        content_disposition=state.content_disposition,
        content_range=state.content_range,
        token_name=state.token_name or _token_name(scope),
        operation=state.operation or _operation(handler),
        user=state.user or framework_user(scope.get("user")),
        websocket=scope["type"] == "websocket",
    )


def _route(scope: Mapping[str, Any], handler: Any) -> str | None:
    if handler is None:
        return None
    # Below a mount the template is that of the root.
    template = min(handler.paths) if getattr(handler, "is_mount", False) else scope.get("path_template")
    return None if template is None else f"{scope.get('root_path', '')}{template}"


def _operation(handler: Any) -> str | None:
    """Its operation id where one is said; one that is made is made of the path."""
    said = getattr(handler, "operation_id", None)
    return said if isinstance(said, str) else getattr(handler, "name", None) or getattr(handler, "handler_name", None)


def _token_name(scope: Mapping[str, Any]) -> str | None:
    # Where a session signs in, `auth` is the session, whose names are the user's.
    auth = scope.get("auth")
    return None if auth is scope.get("session") else token_name(auth)


@lru_cache(maxsize=16)
def _know(app: Any) -> None:
    know_templates(route.path for route in getattr(app, "routes", ()))


HOOKS = {"litestar.app": patch, "litestar.middleware.session.server_side": patch_session}
