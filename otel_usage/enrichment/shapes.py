"""The segments of a route -> what it is about: the resource, its parent, the last fixed word.

It depends on the route alone and is cached per route. Values are filled in by `resources`, methods are looked at in
`actions`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from otel_usage.enrichment.routes import Segment, parse_path, parse_template
from otel_usage.enrichment.text import bounded, is_plural, singular

# Longer ones are no routes, and what is cached must stay small.
MAX_ROUTE_LENGTH: Final = 1024
MAX_TYPE_LENGTH: Final = 128
_CACHE_SIZE: Final = 2048
MAX_WITH_SECRETS: Final = 64

_GENERIC: Final = frozenset({"", "id", "key", "name", "path", "pk", "slug", "uid", "uuid"})
_NAME_SUFFIX: Final = re.compile(r"_(?:id|pk|uuid|slug|name)\Z")
_WORD_START: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# "/api/{item_id}" and "/v2/{item_id}" hold items.
_NO_NOUN: Final = re.compile(r"api|v\d+(?:[._]\d+)*")
DOWNLOAD: Final = "download"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A path parameter that says which thing.

    Attributes:
        type: The thing's type.
        name: The parameter's name in the template; empty for wildcards and unnamed groups.
        index: Its segment.
    """

    type: str
    name: str
    index: int


@dataclass(frozen=True, slots=True)
class Shape:
    """What a route says about every request to it.

    Attributes:
        segments: Its segments in order.
        item: The resource, or None.
        parent: What directly contains the resource, or None.
        last_literal: Its last fixed word, or empty.
        last_word: The last part of `last_literal`: "search" of "package_search".
        is_list: Whether it ends in a plural.
        ends_in_literal: Whether a fixed word is the last segment.
        has_parameter: Whether a parameter says which thing.
        secrets: Names and segments of the parameters whose values are credentials.
    """

    segments: tuple[Segment, ...]
    item: Parameter | None
    parent: Parameter | None
    last_literal: str
    last_word: str
    is_list: bool
    ends_in_literal: bool
    has_parameter: bool
    secrets: tuple[tuple[str, int], ...]


_with_secrets: dict[str, Shape] = {}


@lru_cache(maxsize=_CACHE_SIZE)
def shape_of_template(route: str) -> Shape:
    """The shape of a route template of at most MAX_ROUTE_LENGTH characters."""
    shape = _shape(parse_template(route))
    if shape.secrets and len(_with_secrets) < MAX_WITH_SECRETS:
        _with_secrets[route] = shape
    return shape


def shapes_with_secrets() -> tuple[Shape, ...]:
    """The shapes of every template seen so far that has a credential in it."""
    return tuple(_with_secrets.values()) if _with_secrets else ()


@lru_cache(maxsize=_CACHE_SIZE)
def shape_of_path(path: str) -> Shape:
    """The shape of a derived route of at most MAX_ROUTE_LENGTH characters."""
    return _shape(parse_path(path))


def _shape(segments: tuple[Segment, ...]) -> Shape:
    nouns = [i for i, segment in enumerate(segments) if segment.literal or _names_a_thing(segment)]
    item, parent = _item_and_parent(segments, nouns)
    last_literal = next((segments[i].literal for i in reversed(nouns) if segments[i].literal), "")
    ends_in_literal = bool(segments) and segments[-1].literal != ""
    return Shape(
        segments=segments,
        item=item,
        parent=parent,
        last_literal=last_literal,
        last_word=last_literal.rpartition("_")[2],
        is_list=ends_in_literal and is_plural(last_literal),
        ends_in_literal=ends_in_literal,
        has_parameter=any(_names_a_thing(segment) for segment in segments),
        secrets=tuple((segment.parameter or "", i) for i, segment in enumerate(segments) if segment.secret),
    )


def _names_a_thing(segment: Segment) -> bool:
    return segment.parameter is not None and not segment.secret


def _item_and_parent(segments: Sequence[Segment], nouns: Sequence[int]) -> tuple[Parameter | None, Parameter | None]:
    """The last parameter and the one directly before its pair of literal and parameter."""
    places = [place for place, i in enumerate(nouns) if _names_a_thing(segments[i])]
    if len(places) > 1 and _literal_before(segments, nouns, places[-1]) == DOWNLOAD:
        places.pop()  # ".../files/{id}/download/{filename}" is about the file
    item = _parameter(segments, nouns, places[-1]) if places else None
    if item is None or len(places) < 2:
        return item, None
    directly_before = places[-1] - (2 if _literal_before(segments, nouns, places[-1]) else 1)
    return item, _parameter(segments, nouns, places[-2]) if places[-2] == directly_before else None


def _literal_before(segments: Sequence[Segment], nouns: Sequence[int], place: int) -> str:
    return segments[nouns[place - 1]].literal if place else ""


def _parameter(segments: Sequence[Segment], nouns: Sequence[int], place: int) -> Parameter | None:
    index = nouns[place]
    name = segments[index].parameter or ""
    literal = _literal_before(segments, nouns, place)
    if not literal or _NO_NOUN.fullmatch(literal):
        kind = _type_of_name(name)
    elif literal == DOWNLOAD:
        kind = _type_of_name(name) or literal
    else:
        kind = singular(literal)
    return Parameter(bounded(kind, MAX_TYPE_LENGTH), name, index) if kind else None


def _type_of_name(name: str) -> str | None:
    """The type a parameter's own name states: "item" of "item_id" and "itemId", nothing of "id"."""
    snake = _WORD_START.sub("_", name).lower().replace("-", "_")
    kind = _NAME_SUFFIX.sub("", snake)
    return None if kind in _GENERIC else singular(kind)
