"""Tornado, with its WebSockets and signed cookies."""

import json
from types import ModuleType
from typing import Any
from urllib.parse import unquote

from otel_usage.enrichment.facts import WANTED_HEADERS, FrameworkUser, RequestFacts
from otel_usage.instrumentation.frameworks.tornado import exchange
from otel_usage.instrumentation.frameworks.tornado.gaps import Route, route_of
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import RequestState
from otel_usage.instrumentation.tokens import identity

_COOKIE = "_otel_usage_cookie"


def patch(patches: Patches, module: ModuleType) -> None:
    """Count what passes handlers, and see which signed cookie an application takes its user from."""
    exchange.patch(patches, read_facts)
    for name in ("get_signed_cookie", "get_secure_cookie"):
        if name in vars(module.RequestHandler):
            patches.replace(module.RequestHandler, name, _note_cookie)


def _note_cookie(original: Any) -> Any:
    def get_signed_cookie(self: Any, name: str, value: str | None = None, *arguments: Any, **named: Any) -> Any:
        found = original(self, name, value, *arguments, **named)
        # The last that is read before the user is known is the one that says who it is.
        if value is None and found is not None and isinstance(name, str) and "_current_user" not in vars(self):
            vars(self)[_COOKIE] = name
        return found

    return get_signed_cookie


def read_facts(state: RequestState) -> RequestFacts:
    """The facts that a RequestHandler states, with the rule that has led to it."""
    from tornado.web import FallbackHandler

    handler = state.native
    request = handler.request
    is_fallback = isinstance(handler, FallbackHandler)
    route = None if is_fallback else route_of(handler)
    user, token_name = _identity(handler)
    status = state.status_code()
    cookie = vars(handler).get(_COOKIE) if user is not None else None
    return RequestFacts(
        method=(request.method or "GET").upper(),
        path=unquote(request.path),
        query=request.query or "",
        route=None if route is None else route.template,
        path_params={} if route is None else _path_params(handler, route),
        headers=_headers(request, cookie),
        session_cookie_names=() if cookie is None else (cookie,),
        status=status,
        content_disposition=state.content_disposition,
        content_range=state.content_range,
        token_name=state.token_name or token_name,
        operation=None if route is None or status == 405 else _operation(handler, status),
        user=user,
        websocket=status == 101,
        plain=is_fallback,
    )


def _path_params(handler: Any, route: Route) -> dict[str, str]:
    seen = vars(handler)
    values = seen.get("path_kwargs") or zip(route.parameters, seen.get("path_args") or (), strict=False)
    return {name: str(value) for name, value in dict(values).items() if name and value is not None}


def _operation(handler: Any, status: int | None) -> str:
    """The handler's class, and the method of it that has answered."""
    name = type(handler).__name__
    return name if status == 101 else f"{name}.{handler.request.method.lower()}"


def _identity(handler: Any) -> tuple[FrameworkUser | None, str | None]:
    """The user as far as the application has looked: a signed cookie is bytes, and often those of a JSON object."""
    user = vars(handler).get("_current_user")
    if isinstance(user, (bytes, str)) and user[:1] in (b"{", "{"):
        try:
            return identity(json.loads(user))
        except ValueError:
            return None, None
    return identity(user.decode("utf-8", "replace") if isinstance(user, bytes) else user)


def _headers(request: Any, cookie: str | None) -> dict[str, str]:
    found = {name: value for name in WANTED_HEADERS if (value := request.headers.get(name)) is not None}
    if cookie is not None and cookie in request.cookies:
        found["cookie"] = f"{cookie}={_constant(request.cookies[cookie].value)}"
    return found


def _constant(signed: str) -> str:
    """What stays the same of a signed cookie when it is renewed: neither its time nor its signature."""
    fields = signed.split("|")
    return fields[4] if fields[0] == "2" and len(fields) > 4 else fields[0]


HOOKS = {
    "tornado.web": patch,
    "tornado.websocket": exchange.patch_websocket,
    "tornado.wsgi": exchange.patch_wsgi,
}
