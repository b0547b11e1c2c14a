"""The facts of one request, as every framework and every Collector can state them.

Data only: what follows from it is in `identity` and `resources`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

# Header names in lower case; nothing else of a request's headers is ever looked at.
CREDENTIAL_HEADERS: Final = ("authorization", "x-api-key", "x-auth-token", "api-key", "x-ckan-api-key")
WANTED_HEADERS: Final = frozenset((*CREDENTIAL_HEADERS, "cookie", "referer", "range"))


@dataclass(slots=True)
class FrameworkUser:
    """Who the web framework says the user is; either part may be unknown."""

    id: str | None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class FrameworkCredential:
    """A raw credential that stood in a place of the application's own choice, as the framework found it.

    Attributes:
        text: The credential; never kept.
        parameter: The query parameter it stood in, or None if it was none.
    """

    text: str = field(repr=False)
    parameter: str | None = None


@dataclass(slots=True)
class RequestFacts:
    """One request.

    Attributes:
        method: Upper-case HTTP method; "GET" for a WebSocket.
        path: Decoded path, without query.
        query: Raw query string without "?"; may hold credentials.
        route: Route template in the framework's own spelling, or None.
        path_params: Native path parameters in the order of the template, or None where the framework has none.
        headers: Raw values of WANTED_HEADERS that are present, by lower-case name; may hold credentials.
        session_cookie_names: Names under which the framework keeps its session cookie.
        status: HTTP status of the answer, None while unknown.
        content_disposition: The answer's header, or None.
        content_range: The answer's header, or None.
        user: The framework's user, or None.
        user_source: Who says so: "framework", or "application" of a span that names its user.
        credential: What the framework found where only the application looks for it, or None.
        remote_user: REMOTE_USER of WSGI, or None.
        token_name: The application's own name for the token, as its authentication library knows it, or None.
        operation: The route under the application's own human name, or None.
        refused: Whether the framework said that the credential is not valid, whatever the answer's status.
        websocket: Whether this is a WebSocket connection.
        plain: No framework took part: a route is derived from the path.
    """

    method: str
    path: str
    query: str = field(default="", repr=False)
    route: str | None = None
    path_params: Mapping[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    session_cookie_names: tuple[str, ...] = ()
    status: int | None = None
    content_disposition: str | None = None
    content_range: str | None = None
    user: FrameworkUser | None = None
    user_source: str = "framework"
    credential: FrameworkCredential | None = None
    remote_user: str | None = None
    token_name: str | None = None
    operation: str | None = None
    refused: bool = False
    websocket: bool = False
    plain: bool = False


@dataclass(slots=True)
class ApplicationWord:
    """What the application itself said of a request; it wins over everything derived.

    Attributes:
        resource: (type, id) of the first resource it named, with `resource_name` and `parent` (type, id).
    """

    user_id: str | None = None
    user_name: str | None = None
    token_name: str | None = None
    resource: tuple[str, str] | None = None
    resource_name: str | None = None
    parent: tuple[str, str] | None = None
    action: str | None = None
