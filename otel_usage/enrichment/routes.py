"""Route templates in the spelling of any framework -> their segments, and routes derived from paths.

What the segments mean is in `shapes`. Everything here runs once per distinct route, not once per request, except
`derive` and `value_in`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_MARK: Final = "\0"
# What says how to show a resource, not which.
_PRESENTATION: Final = frozenset({"version", "ver", "v", "api_version", "format", "lang", "locale", "language"})
_FILLERS: Final = frozenset({*_PRESENTATION, "", "."})
_EXTENSION: Final = re.compile(r"\.(?:csv|geojson|html|jsonl?|jsonld|n3|nt|parquet|rdf|tsv|ttl|xlsx?|xml|ya?ml)?\Z")
_SECRET_NAME: Final = re.compile(r"(?:token|secret|password|passwd|jwt|api_?key)\Z")
_MAX_PARAMETERS: Final = 2
_MAX_MIXED_LENGTH: Final = 256

# "{id:path}" of Starlette, aiohttp, Spring, "{id...}" of Go; "<path:id>" of Werkzeug and Django,
# "<id:path>" of Sanic and Bottle; ":id" of Express, Rails, Gin, at the start of a segment; "[id]" and "[...id]" of
# Next.js; wildcards.
_PARAMETER: Final = re.compile(
    r"\{(?P<brace>[^{}:?=]*)(?P<kind>(?:[:?=][^{}]*(?:\{[^{}]*\}[^{}]*)*)?)\}"
    r"|<(?P<angle>[^<>:]*)(?::(?P<other>[^<>]*))?>"
    r"|(?:(?<=/)|\A):(?P<colon>[A-Za-z_]\w*)(?:\([^()]*\))?[?*+]?"
    r"|(?:(?<=/)|\A)\[{1,2}(?P<rest>\.{3})?(?P<bracket>[A-Za-z_][\w-]*)(?:=\w+)?\]{1,2}(?=/|\Z)"
    r"|\*{1,2}(?P<wild>\w*)"
)
_GREEDY_KINDS: Final = (":path", ":.*", ":.+")
_GREEDY_EXPRESSIONS: Final = ("re:.*", "re:.+", ".*", ".+")
# Types of a parameter between angle brackets; those that nobody names a parameter after.
_TYPES: Final = frozenset(
    (
        *("any", "default", "float", "int", "path", "re", "regex", "slug", "str", "string", "uuid"),
        *("alpha", "ext", "number", "strorempty", "ymd"),
    )
)
_NO_NAMES: Final = frozenset(("float", "int", "str"))
# "$id<[^/]+>" of Play.
_DOLLAR: Final = re.compile(r"\$(\w+)<([^<>]*)>")
# The end of a path in Go's patterns, and what Rails lets follow any path.
_NO_SEGMENTS: Final = ("{$}", "(.:format)")

_REGEX_ROUTE: Final = re.compile(r"\^|\$\Z|\\Z\Z|\(\?")
_GROUP_NAME: Final = re.compile(r"\(\?P?<(\w+)>")
_LOOKAROUND: Final = re.compile(r"\(\?<?[=!]")
_QUANTIFIER: Final = re.compile(r"(?:[?*+]|\{\d*,?\d*\})[?+]?")
_ANCHORS: Final = re.compile(r"[\^$]|\\[AZ]")

_DERIVED: Final = re.compile(r"[0-9]+|[0-9a-fA-F]{16,}|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_DERIVED_PARAMETER: Final = "{id}"


@dataclass(frozen=True, slots=True)
class Segment:
    """What stands between two slashes of a template; neither literal nor parameter: presentation only.

    Attributes:
        literal: Its fixed word (see `word`), or empty.
        parameter: The name of its parameter, empty where that has none, or None.
        greedy: Whether the parameter takes slashes too.
        secret: Whether its name says that its value is a credential: "/reset/{token}".
        pattern: Finds the parameter's value among fixed text or beside another parameter; None if it stands alone.
    """

    literal: str = ""
    parameter: str | None = None
    greedy: bool = False
    secret: bool = False
    pattern: re.Pattern[str] | None = None


def parse_template(route: str) -> tuple[Segment, ...]:
    """The segments of a route template in the spelling of any known framework, Django's expressions included."""
    template = route.replace(_MARK, "")
    if "$" in template:
        template = _DOLLAR.sub(r"{\1:\2}", template)
    for text in _NO_SEGMENTS:
        template = template.replace(text, "")
    if _REGEX_ROUTE.search(template):
        template = _without_expressions(template)
    parameters = [_name_and_greed(found) for found in _PARAMETER.finditer(template)]
    remaining = iter(parameters)
    parts = _PARAMETER.sub(_MARK, template).split("/")
    return tuple(_segment(part, remaining) for part in parts if part)


def parse_path(path: str) -> tuple[Segment, ...]:
    """The segments of a path that `derive` has been over; nothing else in it is taken for a parameter."""
    parts = (part for part in path.split("/") if part)
    return tuple(
        Segment(parameter="id") if part == _DERIVED_PARAMETER else Segment(literal=word(part)) for part in parts
    )


def derive(path: str) -> str:
    """The route of a path where no framework states one: numbers, UUIDs and long hexadecimal become `{id}`."""
    return "/".join(_DERIVED_PARAMETER if _DERIVED.fullmatch(part) else part for part in path.split("/"))


def word(text: str) -> str:
    """A literal as it is compared: lower case, "_" for "-", without an extension such as ".json"."""
    return _EXTENSION.sub("", text.lower().replace("-", "_")) or text


def value_in(path: str, segments: Sequence[Segment], index: int) -> str | None:
    """What stands in a path at one parameter of its template, or None if the two do not fit.

    A path may have a prefix that the template lacks (a mounted application), unless a parameter takes slashes.
    """
    parts = _parts(path)
    extra = len(parts) - len(segments)
    if extra == 0:
        return _value(segments[index], parts[index]) if _fit(segments, parts) else None
    greedy = _greedy(segments)
    if extra < 0 or not _literals_fit(parts, segments, greedy, extra):
        return None
    if index == greedy:
        return "/".join(parts[index : index + extra + 1])
    position = index if index < greedy < len(segments) else index + extra
    return _value(segments[index], parts[position])


def fits(path: str, segments: Sequence[Segment]) -> bool:
    """Whether a path may have met this template."""
    parts = _parts(path)
    extra = len(parts) - len(segments)
    return extra >= 0 and _literals_fit(parts, segments, _greedy(segments), extra)


def _parts(path: str) -> list[str]:
    parts = path.strip("/").split("/")
    return [part for part in parts if part] if "" in parts else parts


def _greedy(segments: Sequence[Segment]) -> int:
    """The segment that takes slashes; behind the last where none does."""
    return next((i for i, segment in enumerate(segments) if segment.greedy), len(segments))


def _fit(segments: Sequence[Segment], parts: Sequence[str]) -> bool:
    for i, segment in enumerate(segments):
        literal = segment.literal
        if literal and literal != parts[i] and literal != word(parts[i]):
            return False
    return True


def _literals_fit(parts: list[str], segments: Sequence[Segment], greedy: int, extra: int) -> bool:
    if greedy == len(segments):
        return _fit(segments, parts[extra:])
    return _fit(segments[:greedy], parts) and _fit(segments[greedy + 1 :], parts[greedy + 1 + extra :])


def _value(segment: Segment, part: str) -> str | None:
    if segment.pattern is None:
        return part
    found = segment.pattern.fullmatch(part[:_MAX_MIXED_LENGTH])
    return found[1] if found else None


def _name_and_greed(found: re.Match[str]) -> tuple[str, bool]:
    if found["brace"] is not None:
        name = found["brace"]
        greedy = name.startswith("*") or name.endswith("...") or found["kind"].startswith(_GREEDY_KINDS)
        return name.strip("* ").removesuffix("..."), greedy
    if found["angle"] is not None:
        return _between_angles(found["angle"], found["other"])
    if found["colon"] is not None:
        return found["colon"], found[0].endswith(("*", "+"))
    if found["bracket"] is not None:
        return found["bracket"], found["rest"] is not None
    return found["wild"], True


def _between_angles(first: str, second: str | None) -> tuple[str, bool]:
    """Werkzeug and Django write the type first, Sanic and Bottle the name; Rocket's "<path..>" takes slashes."""
    if second is None:
        return first.removesuffix(".."), first.endswith("..")
    is_type = second in _NO_NAMES or not second.isidentifier() or (second in _TYPES and first not in _TYPES)
    name, kind = (first, second) if is_type else (second, first)
    return name, kind == "path" or kind.startswith(_GREEDY_EXPRESSIONS)


def _segment(part: str, remaining: Iterator[tuple[str, bool]]) -> Segment:
    if _MARK not in part:
        return Segment(literal=word(part))
    parameters = [next(remaining) for _ in range(part.count(_MARK))]
    things = [i for i, (name, _) in enumerate(parameters) if name.lower() not in _PRESENTATION]
    if not things:
        fixed = word(part.replace(_MARK, ""))
        return Segment(literal="" if fixed in _FILLERS else fixed)
    name, greedy = parameters[things[-1]]
    secret = _SECRET_NAME.search(name.lower()) is not None
    if part == _MARK:
        return Segment(parameter=name, greedy=greedy, secret=secret)
    return Segment(parameter=name, secret=secret, pattern=_mixed_pattern(part, things[-1]))


def _mixed_pattern(part: str, wanted: int) -> re.Pattern[str] | None:
    texts = [re.escape(text) for text in part.split(_MARK)]
    if len(texts) - 1 > _MAX_PARAMETERS:
        return _NEVER
    groups = ["(.+)" if i == wanted else ".+" for i in range(len(texts) - 1)]
    return re.compile("".join(a + b for a, b in zip(texts, [*groups, ""], strict=True)), re.DOTALL)


_NEVER: Final = re.compile(r"(?!)()")


def _without_expressions(route: str) -> str:
    """Django's regular expressions as a template: groups become `{name}`, anchors and escapes go."""
    pieces: list[str] = []
    position = 0
    while position < len(route):
        text, position = _next_piece(route, position)
        pieces.append(text)
    return "".join(pieces)


def _next_piece(route: str, position: int) -> tuple[str, int]:
    anchor = _ANCHORS.match(route, position)
    if anchor:
        return "", anchor.end()
    character = route[position]
    if character == "\\":
        return route[position + 1 : position + 2], position + 2
    if character == ")" or route.startswith("(?:", position):
        return "", _after_quantifier(route, position + (1 if character == ")" else 3))
    if character == "(":
        return _group(route, position)
    if character in "?+":
        return "", position + 1
    return character, position + 1


def _group(route: str, position: int) -> tuple[str, int]:
    end = _after_quantifier(route, _group_end(route, position))
    if _LOOKAROUND.match(route, position):
        return "", end
    named = _GROUP_NAME.match(route, position)
    inside = route[named.end() if named else position + 1 : end]
    greedy = ":path" if inside.startswith((".*", ".+")) else ""
    return f"{{{named[1] if named else ''}{greedy}}}", end


def _group_end(route: str, position: int) -> int:
    """Behind the parenthesis that closes the group at `position`; the end where none does."""
    depth, in_class = 0, False
    while position < len(route):
        character = route[position]
        if character == "\\":
            position += 1
        elif in_class:
            in_class = character != "]"
        elif character == "[":
            in_class = True
        else:
            depth += (character == "(") - (character == ")")
            if depth == 0:
                return position + 1
        position += 1
    return len(route)


def _after_quantifier(route: str, position: int) -> int:
    found = _QUANTIFIER.match(route, position)
    return found.end() if found else position
