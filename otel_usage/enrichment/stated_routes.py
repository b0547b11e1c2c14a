"""Which route a span of any language states, if any: in `http.route`, or in its name.

What a template means is in `routes` and `shapes`. A catch-all, a proxy's location or the name of an error page is not
the route of what was asked for.
"""

import re
from typing import Final

from otel_usage.enrichment.routes import fits
from otel_usage.enrichment.shapes import MAX_ROUTE_LENGTH, Shape, shape_of_template

# "GET /items/{id}" of Go; some name formatters put the method before a pattern that begins with it.
_NAME: Final = re.compile(r"(?:[A-Z_]+ ){0,2}(/[^\s?#]*)")
_MARKERS: Final = re.compile(r"/[{<:*\[]")


def stated_route(route: str | None, span_name: str, path: str) -> str | None:
    """The template that a request met, in the spelling of its framework.

    Args:
        route: `http.route`, or None.
        span_name: Looked at where there is no `http.route`: many put the raw path there.
        path: Decoded.
    """
    if route is not None:
        return route if route == path or _is_met(route, path) else None
    return _in_name(span_name, path)


def _is_met(route: str, path: str) -> bool:
    shape = shape_of_template(route[:MAX_ROUTE_LENGTH])
    if not _has_parameters(shape):
        # "/", "/api/" of nginx and Go's subtrees, "/error" of Spring, "@name", "app_item_show" of Symfony.
        return bool(shape.segments) and fits(path, shape.segments)
    first = shape.segments[0]
    if first.parameter == "controller":
        # "{controller=Home}/{action=Index}/{id?}" of ASP.NET is every route.
        return False
    # "/**" of Spring, "*" of Express.
    return len(shape.segments) > 1 or not first.greedy or first.parameter != ""


def _in_name(span_name: str, path: str) -> str | None:
    """A template with parameters that fits the path; a name without them may be the path itself, and tells no more."""
    if _MARKERS.search(span_name) is None:
        return None
    found = _NAME.fullmatch(span_name)
    if found is None or found[1] == path or len(found[1]) > MAX_ROUTE_LENGTH:
        return None
    shape = shape_of_template(found[1])
    return found[1] if _has_parameters(shape) and fits(path, shape.segments) else None


def _has_parameters(shape: Shape) -> bool:
    return shape.has_parameter or bool(shape.secrets)
