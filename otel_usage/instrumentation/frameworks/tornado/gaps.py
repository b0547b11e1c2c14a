"""What Tornado's instrumentation leaves out: requests whose `prepare` it does not see, and the templates of rules."""

import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry import trace
from opentelemetry.propagate import extract

from otel_usage import attributes as key
from otel_usage.enrichment.resources import know_templates


def span_of_unseen(handler: Any, status: int | None, started_ns: int) -> None:
    """A request that was refused before `prepare`, or whose handler keeps it from a wrapped parent, has no span."""
    instrumentation: Any = sys.modules.get("opentelemetry.instrumentation.tornado")
    is_seen = hasattr(handler, "_otel_state_key") or not getattr(handler, "_otel_patched_key", False)
    if instrumentation is None or is_seen or instrumentation._excluded_urls.url_disabled(handler.request.uri):
        return
    request = handler.request
    attributes: dict[str, Any] = {
        key.METHOD_KEYS[0]: request.method or "GET",
        key.SCHEME_KEYS[0]: request.protocol,
        key.CLIENT_ADDRESS_KEYS[0]: request.remote_ip or "",
        key.USER_AGENT_KEYS[0]: request.headers.get("User-Agent", ""),
    }
    if status is not None:
        attributes[key.HTTP_STATUS_CODE] = status
    trace.get_tracer("otel_usage").start_span(
        "HTTP",
        context=extract(request.headers),
        kind=trace.SpanKind.SERVER,
        attributes=attributes,
        start_time=started_ns,
    ).end()


@dataclass(frozen=True, slots=True)
class Route:
    """A rule with a handler class as its target.

    Attributes:
        regex: Matches the path of a request.
        template: The expression with its groups in braces.
        parameters: Names of the groups in their order, empty where a group has none.
    """

    regex: re.Pattern[str]
    template: str
    parameters: tuple[str, ...]


# The rules of each application by the handler class they lead to.
_known: "WeakKeyDictionary[Any, dict[type, list[Route]]]" = WeakKeyDictionary()


def route_of(handler: Any) -> Route | None:
    """The rule that has led to a handler, or None: to an error page, or past a router of the application's own."""
    routes = _known.get(handler.application)
    if routes is None:
        routes = _known[handler.application] = {}
        for target, route in _routes(handler.application.default_router):
            routes.setdefault(target, []).append(route)
        know_templates(route.template for found in routes.values() for route in found)
    path = handler.request.path
    return next((route for route in routes.get(type(handler), ()) if route.regex.match(path)), None)


def _routes(router: Any) -> Iterator[tuple[type, Route]]:
    from tornado.routing import PathMatches

    for rule in router.rules:
        if hasattr(rule.target, "rules"):
            yield from _routes(rule.target)
        elif isinstance(rule.target, type) and isinstance(rule.matcher, PathMatches):
            yield rule.target, _route(rule.matcher, rule.target)


def _route(matcher: Any, handler_class: type) -> Route:
    """The rule as Tornado would reverse it; an expression that it cannot reverse stays as it is."""
    regex = matcher.regex
    named = sorted(regex.groupindex, key=regex.groupindex.__getitem__)
    parameters = tuple(named) or _parameters(handler_class, regex.groups)
    try:
        return Route(regex, matcher._path % tuple(f"{{{name}}}" for name in parameters), parameters)
    except (TypeError, ValueError):
        return Route(regex, regex.pattern, parameters)


def _parameters(handler_class: Any, count: int) -> tuple[str, ...]:
    """The names that the handler's methods have for the groups of its rule."""
    for method in ("open", *map(str.lower, handler_class.SUPPORTED_METHODS)):
        function = getattr(handler_class, method, None)
        if callable(function):
            found = inspect.signature(function).parameters.values()
            names = [each.name for each in found if each.kind is each.POSITIONAL_OR_KEYWORD]
            if len(names) > count:
                return tuple(names[1 : count + 1])
    return ("",) * count
