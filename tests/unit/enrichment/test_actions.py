"""What a request did."""

import pytest

from otel_usage.enrichment.actions import action_of
from otel_usage.enrichment.facts import RequestFacts
from otel_usage.enrichment.shapes import shape_of_template

ATTACHMENT = 'attachment; filename="a.csv"'
ITEM = "/datasets/{id}"
DOWNLOAD = "/datasets/{id}/download"


@pytest.mark.parametrize(
    ("method", "route", "expected"),
    [
        ("GET", "/datasets", "list"),
        ("GET", "/datasets/", "list"),
        ("GET", "/datasets.{format}", "list"),
        ("GET", "/people", "list"),
        ("GET", "/organizations/{org}/datasets", "list"),
        ("GET", ITEM, "view"),
        ("GET", "/{lang}", "view"),
        ("GET", "/datasets/{id}/versions/{version}", "view"),
        ("GET", "/status", "view"),
        ("GET", "/news", "view"),
        ("GET", "/robots.txt", "view"),
        ("GET", "/", "view"),
        ("GET", DOWNLOAD, "download"),
        ("GET", "/datasets/{id}/Download", "download"),
        ("GET", "/dataset/{id}/download/{filename}", "download"),
        ("GET", "/downloads", "list"),
        ("GET", "/datasets/search", "search"),
        ("GET", "/api/action/package_search", "search"),
        ("GET", "/research", "view"),
        ("GET", "/search/{index}", "view"),
        ("GET", "/logout", "logout"),
        ("GET", "/sign-out", "logout"),
        ("GET", "/login", "view"),
        ("POST", "/login", "login"),
        ("POST", "/log-in", "login"),
        ("POST", "/signin", "login"),
        ("POST", "/sign-in", "login"),
        ("POST", "/users/authenticate", "login"),
        ("POST", "/sessions", "create"),
        ("POST", "/token", "create"),
        ("POST", "/logout", "logout"),
        ("POST", "/signout", "logout"),
        ("POST", "/datasets/search", "search"),
        ("POST", "/query", "search"),
        ("POST", DOWNLOAD, "download"),
        ("POST", ITEM, "update"),
        ("POST", "/datasets", "create"),
        ("POST", "/organizations/{org}/datasets", "create"),
        ("POST", "/upload", "create"),
        ("POST", "/v{version}/upload", "create"),
        ("POST", "/", "create"),
        ("POST", "/datasets/{id}/publish", "update"),
        ("PUT", ITEM, "update"),
        ("PATCH", ITEM, "update"),
        ("DELETE", ITEM, "delete"),
        ("DELETE", "/sessions/{id}", "delete"),
        ("DELETE", "/session", "logout"),
        ("DELETE", "/sessions", "logout"),
        ("DELETE", "/login", "logout"),
        ("OPTIONS", ITEM, None),
        ("HEAD", ITEM, None),
        ("TRACE", ITEM, None),
        ("CONNECT", ITEM, None),
        ("PROPFIND", ITEM, None),
        ("", ITEM, None),
    ],
)
def test_method_and_route(method: str, route: str, expected: str | None) -> None:
    """The method and the shape of the route say what was done."""
    assert action_of(RequestFacts(method, "/"), shape_of_template(route)) == expected


@pytest.mark.parametrize(
    ("status", "disposition", "content_range", "asked", "route", "expected"),
    [
        (200, ATTACHMENT, None, None, ITEM, "download"),
        (200, " Attachment", None, None, "/datasets", "download"),
        (200, "inline", None, None, ITEM, "view"),
        (None, ATTACHMENT, None, None, ITEM, "download"),
        (404, None, None, None, DOWNLOAD, "download"),
        (304, None, None, None, DOWNLOAD, "view"),
        (304, ATTACHMENT, None, None, ITEM, "view"),
        (206, ATTACHMENT, "bytes 0-99/200", None, ITEM, "download"),
        (206, None, "bytes 0-99/*", None, DOWNLOAD, "download"),
        (206, ATTACHMENT, "bytes 100-199/200", None, ITEM, None),
        (206, None, "bytes 100-199/200", "bytes=0-", DOWNLOAD, None),
        (206, None, "bytes */200", None, DOWNLOAD, None),
        (206, None, None, "bytes=0-1,5-6", DOWNLOAD, "download"),
        (206, None, None, "bytes=5-6,8-9", DOWNLOAD, None),
        (206, None, None, None, DOWNLOAD, "download"),
        (206, None, "bytes 100-199/200", None, ITEM, None),
        (206, None, "bytes 0-99/200", None, ITEM, "view"),
    ],
)
def test_download(
    status: int | None,
    disposition: str | None,
    content_range: str | None,
    asked: str | None,
    route: str,
    expected: str | None,
) -> None:
    """An attachment is a download once: neither when nothing was sent nor when it is continued."""
    facts = RequestFacts(
        "GET",
        "/",
        status=status,
        content_disposition=disposition,
        content_range=content_range,
        headers={} if asked is None else {"range": asked},
    )
    assert action_of(facts, shape_of_template(route)) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("q=a", "search"),
        ("x=1&query=a", "search"),
        ("x=1;search=a", "search"),
        ("q=", "list"),
        ("q=&x=1", "list"),
        ("q", "list"),
        ("faq=a", "list"),
        ("page=2", "list"),
    ],
)
def test_search_by_query(query: str, expected: str) -> None:
    """A list asked with a term is a search."""
    assert action_of(RequestFacts("GET", "/", query), shape_of_template("/datasets")) == expected


def test_put_that_made_something() -> None:
    """A PUT answered 201 has created (RFC 9110, 9.3.4)."""
    assert action_of(RequestFacts("PUT", "/", status=201), shape_of_template(ITEM)) == "create"


def test_websocket() -> None:
    """A WebSocket is a view, whatever its route says."""
    assert action_of(RequestFacts("GET", "/", websocket=True), shape_of_template("/datasets")) == "view"
