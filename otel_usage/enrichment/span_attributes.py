"""Reading a span's attributes, whatever generation of names and whatever language wrote them.

The facts of a request can be had from these alone: that is how spans are described that no processor of ours saw.
Which route they state is in `stated_routes`, what is added to them in `spans`.
"""

import json
import re
from collections.abc import Mapping, Set
from contextlib import suppress
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from otel_usage import attributes as key
from otel_usage.enrichment.facts import WANTED_HEADERS, FrameworkUser, RequestFacts
from otel_usage.enrichment.stated_routes import stated_route

_REQUEST_HEADERS, _RESPONSE_HEADERS = key.HEADER_PREFIXES
# Attribute -> the header in it; older instrumentations write underscores for hyphens.
_CAPTURED: Final = {
    _REQUEST_HEADERS + spelling: name for name in WANTED_HEADERS for spelling in (name, name.replace("-", "_"))
}
_ANSWERED: Final = {
    _RESPONSE_HEADERS + spelling: name
    for name in ("content-disposition", "content-range")
    for spelling in (name, name.replace("-", "_"))
}
_USER: Final = frozenset((*key.USER_ID_KEYS, key.USER_NAME))
# Most spans have none of these, and all are looked for at once.
_SELDOM: Final = frozenset((*_CAPTURED, *_ANSWERED, *_USER))
_NO_HEADERS: Final[Mapping[str, str]] = {}
# Headers of which a request may have several, and how their values are joined (RFC 9113, 8.2.3).
_JOINED: Final = {"cookie": "; "}
_STATUS_CODES: Final = range(100, 1000)
# Java's servers put a session's id into the path, for clients without cookies.
_SESSION_IN_PATH: Final = re.compile(r";jsessionid=[^/;]*", re.IGNORECASE)
_NO_PLAIN_PATH: Final = re.compile(r"[%;?]")
_SLASH: Final = re.compile(r"%(2f)", re.IGNORECASE)


def facts_of(attributes: Mapping[str, Any], span_name: str = "") -> RequestFacts:
    """The facts that a SERVER span states by itself, with the headers it captured.

    Where it states no route one is derived from the path, as for an application without framework; not for a 404,
    which in nearly every framework is an answer to a request that met no route.

    Args:
        attributes: Of the span, of any type that OTLP has.
        span_name: Go's instrumentation says the route nowhere else.
    """
    path, query = path_and_query(attributes)
    if path is None:
        path = ""
    elif _NO_PLAIN_PATH.search(path) is not None:
        path, query = _meant(path, query)
    status = status_of(attributes)
    route = stated_route(text(attributes.get(key.HTTP_ROUTE)), span_name, path)
    facts = RequestFacts(
        _method(attributes),
        path,
        query or "",
        route,
        headers=_NO_HEADERS,
        status=status,
        websocket=status == 101,
        plain=route is None and status != 404,
    )
    if not _SELDOM.isdisjoint(attributes):
        _add_seldom(facts, attributes, _SELDOM.intersection(attributes))
    return facts


def status_of(attributes: Mapping[str, Any]) -> int | None:
    """The HTTP status; Envoy writes text, and 0 where there was no answer."""
    value = attributes.get(key.HTTP_STATUS_CODE)
    if value is None:
        value = first(attributes, key.STATUS_KEYS)
    if value.__class__ is not int:
        told = text(value)
        value = int(told) if told is not None and told.isdecimal() and len(told) == 3 else 0
    return value if value in _STATUS_CODES else None


def first(attributes: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    """The first value that is present under `keys`."""
    for name in keys:
        value = attributes.get(name)
        if value is not None:
            return value
    return None


def text(value: Any) -> str | None:
    """An attribute's value as text; None where it is absent, empty, or nothing that can be written."""
    if value is None or value.__class__ is str:
        return value or None
    try:
        return str(value) if value.__class__ is int else _text(value) or None
    except (TypeError, ValueError, RecursionError):
        return None


def path_and_query(attributes: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Path and raw query, from the newest names to the oldest: the old ones hold both in one value."""
    path = text(attributes.get(key.PATH_KEY))
    query = text(attributes.get(key.QUERY_KEY))
    if path is not None and attributes.get(key.QUERY_KEY) is not None:
        return path, query
    for name in (*key.TARGET_KEYS, *key.URL_KEYS):
        if path and query:
            break
        parts = split_url(attributes.get(name))
        if parts is not None:
            path = path or parts.path
            query = query or parts.query
    return path or None, query or None


def split_url(value: Any) -> SplitResult | None:
    """The parts of a URL or of a request's target, None where there is none or it is malformed."""
    told = text(value)
    if told is None:
        return None
    if "://" not in told.partition("?")[0]:
        path, _, query = told.partition("#")[0].partition("?")
        return SplitResult("", "", path, query, "")
    try:
        return urlsplit(told)
    except ValueError:
        return None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return text(value[0]) or "" if len(value) == 1 else json.dumps(list(value), default=str, ensure_ascii=False)
    if isinstance(value, Mapping):
        return json.dumps(dict(value), default=str, ensure_ascii=False)
    return value.hex() if isinstance(value, bytes) else str(value)


def _method(attributes: Mapping[str, Any]) -> str:
    method = attributes.get(key.METHOD_KEYS[0])
    if method.__class__ is not str:
        method = text(first(attributes, key.METHOD_KEYS)) or ""
    if method == key.OTHER_METHOD:
        method = text(attributes.get(key.HTTP_METHOD_ORIGINAL)) or method
    return method.upper()


def _meant(path: str, query: str | None) -> tuple[str, str | None]:
    """A path decoded, as Python's servers state it; not where that would make other segments of it, or no text."""
    # Some write the request's whole target where its path belongs, and a query may hold credentials.
    path, _, behind = path.partition("?")
    path = _SESSION_IN_PATH.sub("", path)
    with suppress(UnicodeDecodeError):
        path = unquote(_SLASH.sub(r"%25\1", path), errors="strict")
    return path, query or behind


def _add_seldom(facts: RequestFacts, attributes: Mapping[str, Any], names: Set[str]) -> None:
    headers: dict[str, str] = {}
    # Hyphens sort before underscores, and the first is kept.
    for name in sorted(names) if len(names) > 1 else names:
        if name in _CAPTURED:
            header = _CAPTURED[name]
            value = _header(header, attributes[name])
            if value is not None:
                headers.setdefault(header, value)
        elif name in _ANSWERED:
            _add_answered(facts, _ANSWERED[name], attributes[name])
    facts.headers = headers
    if _USER.isdisjoint(names):
        return
    user_id, user_name = text(first(attributes, key.USER_ID_KEYS)), text(attributes.get(key.USER_NAME))
    if user_id or user_name:
        facts.user, facts.user_source = FrameworkUser(user_id, user_name), "application"


def _add_answered(facts: RequestFacts, header: str, value: Any) -> None:
    if header == "content-range":
        facts.content_range = facts.content_range or _header(header, value)
    else:
        facts.content_disposition = facts.content_disposition or _header(header, value)


def _header(name: str, value: Any) -> str | None:
    """A captured header: an array, or text; of several values the first, but cookies are one."""
    if value.__class__ is str:
        return value or None
    if isinstance(value, (list, tuple)):
        values = [told for each in value if (told := text(each)) is not None]
        return (_JOINED[name].join(values) if name in _JOINED else values[0]) if values else None
    return text(value)
