"""Pyramid: routes and traversal. Whom its policies name is in `identity`."""

import logging
from types import ModuleType
from typing import Any
from weakref import WeakSet

from otel_usage.enrichment.facts import RequestFacts
from otel_usage.enrichment.resources import know_templates
from otel_usage.instrumentation import headers, wsgi_exchange
from otel_usage.instrumentation.frameworks.pyramid import identity
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import RequestState, current, qualified_name

_logger = logging.getLogger("otel_usage")


def patch(patches: Patches, module: ModuleType) -> None:
    """Count what passes any Pyramid application, and see its requests and which views they meet."""
    known: WeakSet[Any] = WeakSet()
    watched: set[tuple[type, str]] = set()

    def learn(router: Any) -> None:
        known.add(router)
        try:
            routes = router.routes_mapper.get_routes() if router.routes_mapper is not None else ()
            know_templates(route.pattern for route in routes)
            identity.watch(patches, router.registry, watched)
        except Exception:
            _logger.debug("A Pyramid application cannot be read.", exc_info=True)

    def serving(original: Any) -> Any:
        def __call__(self: Any, environ: Any, start_response: Any) -> Any:
            if self not in known:
                learn(self)
            return wsgi_exchange.serve(original.__get__(self), environ, start_response, read_facts)

        return __call__

    patches.replace(module.Router, "__call__", serving)
    patches.replace(module.Router, "invoke_request", _see_request)
    patches.replace(module, "_call_view", _see_view)


class _Seen:
    """A request; whether it is over, and whether it has met a view."""

    __slots__ = ("met", "over", "request")

    def __init__(self, request: Any) -> None:
        self.request = request
        self.met = self.over = False


def _see_request(original: Any) -> Any:
    def invoke_request(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        state = current()
        if state is None or (isinstance(state.native, _Seen) and not state.native.over):
            # A request inside a request is a part of it.
            return original(self, request, *args, **kwargs)
        seen = state.native = _Seen(request)
        # pyramid_retry makes further requests of one that failed, each with a span: the last is the request's.
        earlier = state.span if state.ended else None
        if earlier is not None:
            state.span, state.ended, state.error_type = None, False, None
        try:
            return original(self, request, *args, **kwargs)
        finally:
            seen.over = True
            if state.span is None and earlier is not None:
                state.span, state.ended = earlier, True

    return invoke_request


def _see_view(original: Any) -> Any:
    from pyramid.exceptions import PredicateMismatch

    def _call_view(registry: Any, request: Any, context: Any, *args: Any, **kwargs: Any) -> Any:
        met = True
        try:
            response = original(registry, request, context, *args, **kwargs)
            met = response is not None
            return response
        except PredicateMismatch:
            met = False
            raise
        finally:
            state = current()
            if met and state is not None and getattr(state.native, "request", None) is request:
                state.native.met, state.operation = True, _operation(request, context)

    return _call_view


def _operation(request: Any, context: Any) -> str | None:
    """Names of the route, of what was traversed to (its class) and of the view, as far as there are such."""
    seen = vars(request)
    route = seen.get("matched_route")
    traversed = context is not seen.get("root") and (route is None or "traverse" in seen.get("matchdict", ()))
    names = (route and route.name, traversed and type(context).__name__, seen.get("view_name"))
    return ".".join(name for name in names if name) or None


def read_facts(state: RequestState) -> RequestFacts:
    """The facts that a request states; where traversal has found its view, the route is derived."""
    seen = state.native
    if not isinstance(seen, _Seen):
        # It was refused before Pyramid made a request of it.
        return RequestFacts(method="", path="", status=state.status)
    environ, attributes = seen.request.environ, vars(seen.request)
    route, params = attributes.get("matched_route"), attributes.get("matchdict")
    error, mount = attributes.get("exception"), environ.get("SCRIPT_NAME", "")
    status = state.status_code()
    if error is not None and (status or 0) >= 500:
        # An exception view answers for whatever the application raises, and lets it go no further.
        state.error_type = qualified_name(error)
    return RequestFacts(
        method=environ.get("REQUEST_METHOD", "GET").upper(),
        path=headers.path_of_environ(environ),
        query=environ.get("QUERY_STRING") or "",
        route=None if route is None else f"{mount}/{route.pattern.lstrip('/')}" if mount else route.pattern,
        path_params=None if params is None else {name: _text(value) for name, value in params.items()},
        headers=headers.of_environ(environ),
        session_cookie_names=identity.session_cookie_names(seen.request),
        status=status,
        content_disposition=state.content_disposition,
        content_range=state.content_range,
        token_name=state.token_name,
        operation=state.operation,
        user=state.user,
        remote_user=environ.get("REMOTE_USER"),
        plain=route is None and seen.met,
    )


def _text(value: Any) -> str:
    """A parameter's value; that of "*subpath" is a tuple."""
    return "/".join(value) if isinstance(value, tuple) else str(value)


HOOKS = {"pyramid.router": patch, "pyramid.authentication": identity.patch_tickets}
