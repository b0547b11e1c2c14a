"""aiohttp.web, with its WebSockets."""

import functools
from collections.abc import Iterator
from types import ModuleType
from typing import Any
from weakref import WeakValueDictionary

from otel_usage.enrichment.facts import RequestFacts
from otel_usage.enrichment.resources import know_templates
from otel_usage.instrumentation import headers
from otel_usage.instrumentation.frameworks.aiohttp import exchange, identity
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import RequestState, current


def patch(patches: Patches, _module: ModuleType) -> None:
    """Count what passes aiohttp's servers, and have one span for each request."""
    from aiohttp.web_app import Application

    exchange.patch(patches, read_facts)
    patches.replace(Application, "_prepare_middleware", _instrument_once)


def _instrument_once(original: Any) -> Any:
    """An application inside another has the instrumentation's middleware too, which starts a second SERVER span."""

    def _prepare_middleware(self: Any) -> Iterator[Any]:
        for entry in original(self):
            # aiohttp 3 adds whether a middleware is of the new style; aiohttp 4 has no other.
            yield (_outermost(entry[0]), *entry[1:]) if isinstance(entry, tuple) else _outermost(entry)

    return _prepare_middleware


def _outermost(middleware: Any) -> Any:
    if getattr(middleware, "__module__", None) != "opentelemetry.instrumentation.aiohttp_server":
        return middleware

    @functools.wraps(middleware)
    async def outermost(request: Any, handler: Any) -> Any:
        state = current()
        if state is not None and state.span is not None:
            return await handler(request)
        return await middleware(request, handler)

    return outermost


def read_facts(state: RequestState) -> RequestFacts:
    """The facts that an `aiohttp.web.Request` states, with what its router and middlewares leave in it."""
    request = state.native
    match = request._match_info
    if match is not None:
        _know(match.apps[0])
    resource = None if match is None else match.route.resource
    user, token_name = identity.identity_in(request)
    return RequestFacts(
        method=request.method.upper(),
        path=request.path,
        query=request.rel_url.raw_query_string,
        route=None if resource is None else resource.canonical,
        path_params=None if match is None else {name: str(value) for name, value in match.items()},
        headers=headers.of_scope({"headers": [(name.lower(), value) for name, value in request.raw_headers]}),
        session_cookie_names=identity.session_cookies(request),
        status=state.status_code(),
        content_disposition=state.content_disposition,
        content_range=state.content_range,
        token_name=state.token_name or token_name,
        operation=None if resource is None else _operation(match.route),
        user=state.user or user,
        websocket=state.status == 101,
    )


# Applications whose routes are known; they have no hash.
_known: "WeakValueDictionary[int, Any]" = WeakValueDictionary()


def _know(app: Any) -> None:
    if _known.get(id(app)) is not app:
        _known[id(app)] = app
        know_templates(route.resource.canonical for route in app.router.routes() if route.resource is not None)


def _operation(route: Any) -> str | None:
    """The route's own name, else its handler's; not that of a handler of aiohttp's."""
    if route.name:
        return str(route.name)
    handler = getattr(route.handler, "func", route.handler)
    named = handler if hasattr(handler, "__qualname__") else type(handler)
    name: str = named.__qualname__.rpartition("<locals>.")[2]
    return None if named.__module__.startswith("aiohttp.") else name


HOOKS = {"aiohttp.web": patch, "aiohttp_security.api": identity.patch_security}
