"""Facts of a request -> the accessed resource, what contains it, and the action.

Pure. What a route says is worked out once in `shapes`; this fills in the values of one request.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from otel_usage.enrichment.actions import action_of
from otel_usage.enrichment.facts import RequestFacts
from otel_usage.enrichment.routes import derive, value_in
from otel_usage.enrichment.shapes import (
    MAX_ROUTE_LENGTH,
    MAX_WITH_SECRETS,
    Parameter,
    Shape,
    shape_of_path,
    shape_of_template,
    shapes_with_secrets,
)
from otel_usage.enrichment.text import bounded

MAX_ID_LENGTH: Final = 512

# Route templates of one application that have a credential in them.
Templates = dict[str, Shape]


@dataclass(slots=True)
class Access:
    """What a request was about.

    Attributes:
        type: The resource's type, or None; then `id` and the parent are None too.
        id: The resource's id as it stands in the path.
        parent_type: The type of what contains the resource, or None.
        parent_id: The id of what contains it, or None.
        action: What was done, or None.
        route: The framework's route unchanged, or the one derived from the path where no framework took part.
    """

    type: str | None
    id: str | None
    parent_type: str | None
    parent_id: str | None
    action: str | None
    route: str | None


def classify(facts: RequestFacts) -> Access:
    """What a request was about and what it did, from the shape of its route.

    A request that met no route is about no resource, but has an action by its path. Where no framework took part
    (`facts.plain`) the route is derived; not for an answer 404 without parameter, since scanners would make endless
    routes.
    """
    route = facts.route
    if route is not None:
        shape = shape_of_template(route[:MAX_ROUTE_LENGTH])
        return _access(facts, shape, route)
    derived = derive(facts.path[:MAX_ROUTE_LENGTH])
    shape = shape_of_path(derived)
    if not facts.plain or len(facts.path) > MAX_ROUTE_LENGTH:
        return Access(None, None, None, None, action_of(facts, shape), None)
    unknown = facts.status == 404 and not shape.has_parameter
    return _access(facts, shape, None if unknown else bounded(derived, MAX_ROUTE_LENGTH))


def path_secrets(facts: RequestFacts, templates: Templates | None = None) -> tuple[str, ...]:
    """The credentials in a request's path: values of parameters that are named so, as in "/reset/{token}".

    A request that met no route (a slash too many, another method) is held against every such template that is known,
    and so is the page it came from.

    Args:
        facts: The request.
        templates: Those known of the application that was asked, to which its own is added; by default those of the
            application in this process.
    """
    found: list[str | None] = []
    if facts.route is not None:
        route = facts.route[:MAX_ROUTE_LENGTH]
        shape = shape_of_template(route)
        if shape.secrets:
            found = [_value(facts, shape, name, index) for name, index in shape.secrets]
            if templates is not None and len(templates) < MAX_WITH_SECRETS:
                templates[route] = shape
    known = shapes_with_secrets() if templates is None else templates.values()
    if known and facts.route is None:
        found += _secrets_in(facts.path, known)
    if known and "referer" in facts.headers:
        found += _secrets_in(_path_of(facts.headers["referer"]), known)
    return tuple(value for value in found if value) if found else ()


def know_templates(routes: Iterable[str]) -> None:
    """Learn an application's templates before any of them is met."""
    for route in routes:
        shape_of_template(route[:MAX_ROUTE_LENGTH])


def _secrets_in(path: str, shapes: Iterable[Shape]) -> Iterator[str | None]:
    for shape in shapes:
        for _, index in shape.secrets:
            yield value_in(path, shape.segments, index)


def _path_of(url: str) -> str:
    """The path of a URL as it is sent, and so as it is kept: not decoded."""
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def _access(facts: RequestFacts, shape: Shape, route: str | None) -> Access:
    action = action_of(facts, shape)
    item = _id(facts, shape, shape.item)
    if item is None or shape.item is None:
        return Access(None, None, None, None, action, route)
    parent = _id(facts, shape, shape.parent)
    if parent is None or shape.parent is None:
        return Access(shape.item.type, item, None, None, action, route)
    return Access(shape.item.type, item, shape.parent.type, parent, action, route)


def _id(facts: RequestFacts, shape: Shape, parameter: Parameter | None) -> str | None:
    """The value of a parameter as the framework states it, else as it stands in the path."""
    value = None if parameter is None else _value(facts, shape, parameter.name, parameter.index)
    return bounded(value, MAX_ID_LENGTH) if value else None


def _value(facts: RequestFacts, shape: Shape, name: str, index: int) -> str | None:
    values = facts.path_params
    value = values.get(name) if values else None
    return value_in(facts.path, shape.segments, index) if value is None else str(value)
