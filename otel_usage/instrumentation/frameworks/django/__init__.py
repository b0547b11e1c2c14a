"""Django and Django REST framework, under WSGI and ASGI."""

import sys
from time import time_ns
from types import ModuleType
from typing import Any

from otel_usage.enrichment.facts import RequestFacts
from otel_usage.instrumentation import asgi_exchange, headers, wsgi_exchange
from otel_usage.instrumentation.frameworks.django.gaps import know_routes, span_of_refused
from otel_usage.instrumentation.frameworks.django.identity import operation_of, token_name_of, user_of
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import RequestState, bind, current, qualified_name


def patch(patches: Patches, module: ModuleType) -> None:
    """Learn of each HttpRequest as soon as Django has made it."""
    from django.core.signals import got_request_exception

    got_request_exception.connect(_note_exception)
    patches.at_undo(lambda: got_request_exception.disconnect(_note_exception))
    patches.replace(module.BaseHandler, "get_response", _bind)
    patches.replace(module.BaseHandler, "get_response_async", _bind_async)


def patch_wsgi(patches: Patches, module: ModuleType) -> None:
    """Count what passes Django's WSGI application."""
    patches.replace(module.WSGIHandler, "__call__", _serve)


def patch_asgi(patches: Patches, module: ModuleType) -> None:
    """Count what passes Django's ASGI application."""
    patches.replace(module.ASGIHandler, "__call__", _serve_async)


def _note_exception(**_: Any) -> None:
    """Django answers 500 for an exception that it is handling, and lets it go no further."""
    state, error = current(), sys.exc_info()[1]
    if state is not None and error is not None:
        state.error_type = qualified_name(error)


def _bind(original: Any) -> Any:
    def get_response(self: Any, request: Any) -> Any:
        bind(read_facts, request)
        started = time_ns()
        response = original(self, request)
        span_of_refused(request, response, started)
        return response

    return get_response


def _bind_async(original: Any) -> Any:
    async def get_response_async(self: Any, request: Any) -> Any:
        bind(read_facts, request)
        started = time_ns()
        response = await original(self, request)
        span_of_refused(request, response, started)
        return response

    return get_response_async


def _serve(original: Any) -> Any:
    def __call__(self: Any, environ: Any, start_response: Any) -> Any:
        return wsgi_exchange.serve(original.__get__(self), environ, start_response, read_unbound)

    return __call__


def _serve_async(original: Any) -> Any:
    async def __call__(self: Any, scope: Any, receive: Any, send: Any) -> None:
        await asgi_exchange.serve(original.__get__(self), scope, receive, send, read_unbound)

    return __call__


def read_unbound(state: RequestState) -> RequestFacts:
    """The facts of a request that Django refused before it made an HttpRequest of it."""
    return RequestFacts(method="", path="", status=state.status)


def read_facts(state: RequestState) -> RequestFacts:
    """The facts that an HttpRequest states once it is answered."""
    know_routes()
    request = state.native
    match = request.resolver_match
    return RequestFacts(
        method=(request.method or "GET").upper(),
        path=request.path,
        query=request.META.get("QUERY_STRING") or "",
        route=getattr(match, "route", None) or None,
        path_params=None if match is None else {name: str(value) for name, value in match.kwargs.items()},
        headers=headers.of_environ(request.META),
        session_cookie_names=_session_cookies() if hasattr(request, "session") else (),
        status=state.status_code(),
        content_disposition=state.content_disposition,
        content_range=state.content_range,
        token_name=token_name_of(request),
        operation=operation_of(request),
        user=user_of(request),
        remote_user=request.META.get("REMOTE_USER"),
    )


def _session_cookies() -> tuple[str, ...]:
    from django.conf import settings

    return (settings.SESSION_COOKIE_NAME,)


HOOKS = {
    "django.core.handlers.base": patch,
    "django.core.handlers.wsgi": patch_wsgi,
    "django.core.handlers.asgi": patch_asgi,
}
