"""What a request did to a resource, by its method, the shape of its route and its answer.

The words: view, download, list, search, create, update, delete, login, logout.
"""

import re
from typing import Final

from otel_usage.enrichment.facts import RequestFacts
from otel_usage.enrichment.shapes import DOWNLOAD, Shape

_LOGIN: Final = frozenset({"login", "log_in", "signin", "sign_in", "authenticate"})
_LOGOUT: Final = frozenset({"logout", "log_out", "signout", "sign_out"})
# What a DELETE takes away to log out.
_SESSION: Final = frozenset({"session", "sessions", "login"})
_SEARCH: Final = frozenset({"search", "query"})
_SEARCH_PARAMETER: Final = re.compile(r"(?:^|[&;])(?:q|query|search)=[^&;]")
_STARTS_AT_ZERO: Final = re.compile(r"\s*bytes[\s=]\s*0-", re.IGNORECASE)


def action_of(facts: RequestFacts, shape: Shape) -> str | None:
    """The action, or None where a request neither reads a representation nor changes one.

    OPTIONS, HEAD, TRACE, CONNECT and unknown methods have none. A WebSocket is a view.
    """
    if facts.websocket:
        return "view"
    match facts.method:
        case "GET":
            return _get(facts, shape)
        case "POST":
            return _post(shape)
        case "PUT":
            return "create" if facts.status == 201 else "update"
        case "PATCH":
            return "update"
        case "DELETE":
            return "logout" if shape.ends_in_literal and shape.last_literal in _SESSION else "delete"
        case _:
            return None


def _get(facts: RequestFacts, shape: Shape) -> str | None:
    if facts.status == 206 and not _starts_at_zero(facts):
        return None
    if shape.last_word == DOWNLOAD or _is_attachment(facts.content_disposition):
        # A 304 sends nothing.
        return "view" if facts.status == 304 else "download"
    if shape.ends_in_literal and shape.last_word == "search":
        return "search"
    # Every such parameter has one of these in its name; most queries have neither.
    if ("q" in facts.query or "search" in facts.query) and _SEARCH_PARAMETER.search(facts.query):
        return "search"
    if shape.is_list:
        return "list"
    if shape.ends_in_literal and shape.last_literal in _LOGOUT:
        return "logout"
    return "view"


def _starts_at_zero(facts: RequestFacts) -> bool:
    """Whether a 206 sends the beginning: the later ranges are the same view or download (RFC 9110, 14.4)."""
    # An answer of several ranges has no Content-Range: the request's Range says where it starts.
    sent = facts.content_range or facts.headers.get("range")
    return sent is None or _STARTS_AT_ZERO.match(sent) is not None


def _post(shape: Shape) -> str:
    if not shape.ends_in_literal:
        return "update" if shape.has_parameter else "create"
    if shape.last_literal in _LOGIN:
        return "login"
    if shape.last_literal in _LOGOUT:
        return "logout"
    if shape.last_word in _SEARCH:
        return "search"
    if shape.last_word == DOWNLOAD:
        return "download"
    return "create" if shape.is_list or not shape.has_parameter else "update"


def _is_attachment(content_disposition: str | None) -> bool:
    return content_disposition is not None and content_disposition.lstrip()[:10].lower() == "attachment"
