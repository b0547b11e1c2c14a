"""What Starlette's routers and session middlewares know of an ASGI request, noted in its scope for who reads its facts.

In the scope rather than in the request's state: a middleware may be around the one that makes the span.
"""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Final

_ROUTES: Final = "otel_usage.routes"
_SESSION_COOKIES: Final = "otel_usage.session_cookies"


def note_route(scope: MutableMapping[str, Any], route: Any) -> None:
    """A router hands the request over to `route`; those that it was handed to before contain it."""
    met = scope.get(_ROUTES, ())
    if not met or met[-1] is not route:
        scope[_ROUTES] = (*met, route)


def note_session_cookie(scope: MutableMapping[str, Any], name: str) -> None:
    """A session middleware keeps the session in the cookie `name`."""
    scope[_SESSION_COOKIES] = (*scope.get(_SESSION_COOKIES, ()), name)


def session_cookies(scope: Mapping[str, Any]) -> tuple[str, ...]:
    """The cookies of the request's sessions; where nobody told the name, the usual one."""
    return scope.get(_SESSION_COOKIES) or (("session",) if "session" in scope else ())


def is_routed(scope: Mapping[str, Any]) -> bool:
    """Whether a route was noted."""
    return _ROUTES in scope


def template(scope: Mapping[str, Any]) -> str | None:
    """The template of the whole path, mounts included; None where a mount was met and nothing inside it."""
    met = _met(scope)
    return "".join(getattr(route, "path", "") for route in met) or None


def operation(scope: Mapping[str, Any], status: int | None) -> str | None:
    """The route's name: what the OpenAPI description calls it where the application says so, else the router's own.

    A router's name goes as in its `url_for`: those of mounts before it, each with a colon. A request that no endpoint
    was there for has none: 405, and 404 of a mounted application such as static files.
    """
    met = _met(scope)
    if not met or status == 405 or (status == 404 and not hasattr(met[-1], "endpoint")):
        return None
    return _described(met[-1]) or ":".join(filter(None, (getattr(route, "name", None) for route in met))) or None


def _met(scope: Mapping[str, Any]) -> tuple[Any, ...]:
    """The routes that were met, outermost first; a mount or host whose own routes did not match is no answer."""
    met: tuple[Any, ...] = scope.get(_ROUTES, ())
    return () if met and getattr(met[-1], "routes", None) else met


def _described(route: Any) -> str | None:
    """FastAPI's operation id where it is the application's own (its default repeats path and method), or summary."""
    chosen = callable(getattr(route, "generate_unique_id_function", None))
    name = getattr(route, "unique_id" if chosen else "operation_id", None) or getattr(route, "summary", None)
    return name if isinstance(name, str) else None


def templates(routes: Iterable[Any], prefix: str = "") -> Iterator[str]:
    """The templates of an application's routes, those of mounted applications and included routers among them."""
    for route in routes:
        included = getattr(route, "effective_route_contexts", None)
        if callable(included):
            yield from templates((each.starlette_route or each for each in included()), prefix)
        elif isinstance(path := getattr(route, "path", ""), str):
            yield prefix + path
            yield from templates(getattr(route, "routes", ()), prefix + path)
