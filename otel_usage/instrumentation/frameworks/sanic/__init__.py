"""Sanic, under its own server and any ASGI server, whose spans we make: OpenTelemetry has no instrumentation of it."""

import re
from collections.abc import Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any, Final

from otel_usage.enrichment.facts import RequestFacts
from otel_usage.enrichment.resources import know_templates
from otel_usage.instrumentation import headers
from otel_usage.instrumentation.frameworks.sanic import server
from otel_usage.instrumentation.middleware import ASGIInstrumentation, has_instrumentation
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import RequestState, bind
from otel_usage.instrumentation.tokens import token_name
from otel_usage.instrumentation.users import framework_user

_TYPED: Final = re.compile(r"<(\w+):(\w*)[^<>]*>")


def patch(patches: Patches, module: ModuleType) -> None:
    """Serve every Sanic application in a span."""
    serve = _instrumentation(patches).serve

    def serving(original: Any) -> Any:
        async def __call__(self: Any, scope: Any, receive: Any, send: Any) -> None:
            await serve(original.__get__(self), scope, receive, send, read_unmet)

        return __call__

    patches.replace(module.Sanic, "__call__", serving)


def patch_asgi(patches: Patches, module: ModuleType) -> None:
    """Learn of each request as soon as Sanic has made it."""

    def binding(original: Any) -> Any:
        async def __call__(self: Any) -> None:
            bind(read_facts, (self.request, self.transport.scope))
            await original(self)

        return __call__

    patches.replace(module.ASGIApp, "__call__", binding)


def patch_server(patches: Patches, module: ModuleType) -> None:
    """Serve in a span what Sanic's own server handles."""
    instrumentation = _instrumentation(patches)

    async def serve(application: Any, request: Any, scope: Any, receive: Any, send: Any) -> None:
        async def bound(scope: Any, receive: Any, send: Any) -> None:
            bind(read_facts, (request, scope))
            await application(scope, receive, send)

        await instrumentation.serve(bound, scope, receive, send, read_unmet)

    server.patch(patches, module, serve)


def _instrumentation(patches: Patches) -> ASGIInstrumentation:
    return ASGIInstrumentation(patches, "sanic", elsewhere=has_instrumentation("sanic"))


def read_unmet(state: RequestState) -> RequestFacts:
    """The facts of a request that Sanic could not read."""
    return _facts(state, state.native)


def read_facts(state: RequestState) -> RequestFacts:
    """The facts that Sanic's request states once it is answered."""
    request, scope = state.native
    _know(request.app)
    route = request.route
    said = vars(request.ctx)
    return _facts(
        state,
        scope,
        route=None if route is None else _template(route.path),
        path_params={name: str(value) for name, value in (request.match_info or {}).items()},
        operation=None if route is None else request.name.removeprefix(f"{request.app.name}."),
        user=state.user or framework_user(said.get("user")),
        token_name=state.token_name or token_name(said.get("token")),
    )


def _facts(state: RequestState, scope: Mapping[str, Any], **met: Any) -> RequestFacts:
    return RequestFacts(
        method=scope.get("method", "GET").upper(),
        path=scope.get("path", ""),
        query=(scope.get("query_string") or b"").decode("latin-1"),
        headers=headers.of_scope(scope),
        status=state.status,
        content_disposition=state.content_disposition,
        content_range=state.content_range,
        websocket=scope["type"] == "websocket",
        **met,
    )


@lru_cache(maxsize=2048)
def _template(path: str) -> str:
    """Sanic's "<id:int>" as "<id>": elsewhere, what is behind the colon is the name."""
    template = _TYPED.sub(lambda found: f"<path:{found[1]}>" if found[2] == "path" else f"<{found[1]}>", path)
    return f"/{template}"


@lru_cache(maxsize=16)
def _know(app: Any) -> None:
    know_templates(_template(route.path) for route in app.router.routes)


HOOKS = {
    "sanic.app": patch,
    "sanic.asgi": patch_asgi,
    "sanic.server.protocols.http_protocol": patch_server,
    "sanic.response.types": server.patch_response,
    "sanic.server.protocols.websocket_protocol": server.patch_handshake,
    "sanic.server.websockets.impl": server.patch_frames,
}
