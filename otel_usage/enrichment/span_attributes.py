"""Reading a span's attributes, whatever generation of names and whatever language wrote them.

The facts of a request can be had from these alone: that is how spans are enriched that no processor of ours saw.
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from otel_usage import attributes as key
from otel_usage.enrichment.facts import WANTED_HEADERS, RequestFacts


def facts_of(attributes: Mapping[str, Any]) -> RequestFacts:
    """The facts that a SERVER span states by itself, with the request headers it captured."""
    path, query = path_and_query(attributes)
    route = text(attributes.get(key.HTTP_ROUTE))
    status = first(attributes, key.STATUS_KEYS)
    return RequestFacts(
        method=(text(first(attributes, key.METHOD_KEYS)) or "").upper(),
        path=path or "",
        query=query or "",
        route=route,
        headers=_captured_headers(attributes),
        status=status if isinstance(status, int) else None,
        plain=route is None,
    )


def _captured_headers(attributes: Mapping[str, Any]) -> dict[str, str]:
    """WANTED_HEADERS among the captured ones: arrays or text, with hyphens or underscores."""
    found: dict[str, str] = {}
    for name in WANTED_HEADERS:
        captured = f"http.request.header.{name}"
        value = text(attributes.get(captured)) or text(attributes.get(captured.replace("-", "_")))
        if value is not None:
            found[name] = value
    return found


def first(attributes: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    """The first value that is present under `keys`."""
    for name in keys:
        value = attributes.get(name)
        if value is not None:
            return value
    return None


def text(value: Any) -> str | None:
    """An attribute's value as text; None where it is absent or empty."""
    if value is None or value.__class__ is str:
        return value or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if value.__class__ is int:
        return str(value)
    if isinstance(value, (list, tuple)):
        return text(value[0]) if len(value) == 1 else json.dumps(list(value), default=str, ensure_ascii=False)
    if isinstance(value, Mapping):
        return json.dumps(dict(value), default=str, ensure_ascii=False)
    if isinstance(value, bytes):
        return value.hex() or None
    return str(value) or None


def path_and_query(attributes: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Path and raw query, from the newest names to the oldest: the old ones hold both in one value."""
    path = text(attributes.get(key.PATH_KEY))
    query = text(attributes.get(key.QUERY_KEY))
    if path is not None and attributes.get(key.QUERY_KEY) is not None:
        return path, query
    if path is None:
        target = text(first(attributes, key.TARGET_KEYS))
        if target is not None:
            path, _, target_query = target.partition("?")
            query = query or target_query
    url = text(first(attributes, key.URL_KEYS)) if path is None or query is None else None
    if url is not None:
        try:
            parts = urlsplit(url)
        except ValueError:
            return path, query
        path = path or parts.path
        query = query or parts.query
    return path or None, query or None
