"""What the attributes of a span of any language state."""

from typing import Any

import pytest

from otel_usage.enrichment.facts import FrameworkUser
from otel_usage.enrichment.span_attributes import facts_of, path_and_query, status_of, text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "a"),
        ("", None),
        (None, None),
        (7, "7"),
        (True, "true"),
        (False, "false"),
        (1.5, "1.5"),
        (float("nan"), "nan"),
        (["a"], "a"),
        ([["a"]], "a"),
        ([], "[]"),
        ([""], None),
        (["a", 1], '["a", 1]'),
        (("a", "b"), '["a", "b"]'),
        ({"a": b"b"}, '{"a": "b\'b\'"}'),
        (b"ab", "6162"),
        (b"", None),
        (10**5000, None),
    ],
    ids=lambda value: "" if value.__class__ is int else str(value),
)
def test_text(value: Any, expected: str | None) -> None:
    """Any type of value that OTLP has becomes text, or nothing."""
    assert text(value) == expected


def test_text_of_what_is_nested_too_deeply() -> None:
    """It is nothing."""
    value: Any = "a"
    for _ in range(5000):
        value = {"a": value}
    assert text(value) is None


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"url.path": "/a", "url.query": "b=1"}, ("/a", "b=1")),
        ({"url.path": "/a", "url.query": ""}, ("/a", None)),
        ({"url.path": "/a"}, ("/a", None)),
        ({"http.target": "/a?b=1"}, ("/a", "b=1")),
        ({"http.target": "/a?b=1#c"}, ("/a", "b=1")),
        ({"http.target": "//a/b"}, ("//a/b", None)),
        ({"http.target": "http://h:1/a?b=1"}, ("/a", "b=1")),
        ({"http.target": "/a?next=http://h/b"}, ("/a", "next=http://h/b")),
        ({"http.target": "/a", "http.url": "http://h/ignored?b=1"}, ("/a", "b=1")),
        ({"url.path": "/a", "http.url": "http://h/ignored?b=1"}, ("/a", "b=1")),
        ({"http.url": "https://h/a?b=1"}, ("/a", "b=1")),
        ({"url.full": "https://h/a?b=1", "http.url": "https://h/c?d=1"}, ("/a", "b=1")),
        ({"http.url": "http://[malformed"}, (None, None)),
        ({"http.url": "/a?b=1"}, ("/a", "b=1")),
        ({"http.target": "*"}, ("*", None)),
        ({"url.path": ["/a"], "url.query": 7}, ("/a", "7")),
        ({"url.path": "", "http.target": "/a"}, ("/a", None)),
        ({}, (None, None)),
    ],
    ids=str,
)
def test_path_and_query(attributes: dict[str, Any], expected: tuple[str | None, str | None]) -> None:
    """The newest name that states them is believed, and older ones fill up what it leaves open."""
    assert path_and_query(attributes) == expected


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"http.response.status_code": 200}, 200),
        ({"http.status_code": 404}, 404),
        ({"http.response.status_code": 201, "http.status_code": 404}, 201),
        ({"http.status_code": "503"}, 503),
        ({"http.status_code": ["200"]}, 200),
        ({"http.status_code": "0"}, None),
        ({"http.status_code": 0}, None),
        ({"http.status_code": -1}, None),
        ({"http.status_code": "٢٠٠"}, 200),
        ({"http.status_code": "2e2"}, None),
        ({"http.status_code": "²00"}, None),
        ({"http.status_code": True}, None),
        ({"http.status_code": 99999}, None),
        ({"http.status_code": {"a": 1}}, None),
        ({"http.response.status_code": None, "http.status_code": 200}, 200),
        ({}, None),
    ],
    ids=str,
)
def test_status(attributes: dict[str, Any], expected: int | None) -> None:
    """Numbers and what Envoy writes; what is no HTTP status is none."""
    assert status_of(attributes) == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("authorization", ["Bearer a"], {"authorization": "Bearer a"}),
        ("authorization", "Bearer a", {"authorization": "Bearer a"}),
        ("authorization", ["Bearer a", "Basic b"], {"authorization": "Bearer a"}),
        ("authorization", ["", "Basic b"], {"authorization": "Basic b"}),
        ("authorization", [], {}),
        ("authorization", "", {}),
        ("authorization", None, {}),
        ("authorization", [None, {"a": 1}], {"authorization": '{"a": 1}'}),
        ("x-api-key", ["k"], {"x-api-key": "k"}),
        ("x_api_key", ["k"], {"x-api-key": "k"}),
        ("x_ckan_api_key", "k", {"x-ckan-api-key": "k"}),
        ("cookie", ["a=1", "b=2"], {"cookie": "a=1; b=2"}),
        ("range", ["bytes=0-"], {"range": "bytes=0-"}),
        ("accept", ["*/*"], {}),
    ],
    ids=str,
)
def test_captured_headers(name: str, value: Any, expected: dict[str, str]) -> None:
    """Arrays or text, hyphens or underscores; of several values the first, but every cookie."""
    assert facts_of({f"http.request.header.{name}": value}).headers == expected


def test_hyphens_before_underscores() -> None:
    """Where both spellings are there, the newer one is taken."""
    attributes = {"http.request.header.x_api_key": "old", "http.request.header.x-api-key": "new"}
    assert facts_of(attributes).headers == {"x-api-key": "new"}
    assert facts_of(dict(reversed(attributes.items()))).headers == {"x-api-key": "new"}


def test_headers_of_the_answer() -> None:
    """They say what a download is, and which part of one."""
    facts = facts_of(
        {
            "http.response.header.content-disposition": ["attachment"],
            "http.response.header.content_disposition": ["inline"],
            "http.response.header.content_range": ["bytes 0-1/2"],
        }
    )
    assert (facts.content_disposition, facts.content_range) == ("attachment", "bytes 0-1/2")


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"http.request.method": "GET"}, "GET"),
        ({"http.method": "post"}, "POST"),
        ({"http.request.method": "_OTHER", "http.request.method_original": "PROPFIND"}, "PROPFIND"),
        ({"http.request.method": "GET", "http.request.method_original": "get"}, "GET"),
        ({"http.request.method": "_OTHER"}, "_OTHER"),
        ({"http.request.method": ["PUT"]}, "PUT"),
        ({}, ""),
    ],
    ids=str,
)
def test_method(attributes: dict[str, Any], expected: str) -> None:
    """What the client sent, if it is told."""
    assert facts_of(attributes).method == expected


@pytest.mark.parametrize(
    ("stated", "path", "query"),
    [
        ("/items/%C3%A9%E2%82%AC", "/items/é€", ""),
        ("/items/a b", "/items/a b", ""),
        ("/items/a%2Fb%2fc", "/items/a%2Fb%2fc", ""),
        ("/items/%FF", "/items/%FF", ""),
        ("/items/100%", "/items/100%", ""),
        ("/items/7;jsessionid=ABC/x", "/items/7/x", ""),
        ("/items/7;v=1", "/items/7;v=1", ""),
        ("/items/7?token=a", "/items/7", "token=a"),
    ],
)
def test_path_as_it_was_meant(stated: str, path: str, query: str) -> None:
    """Decoded, with the same segments, and without what is no path."""
    facts = facts_of({"url.path": stated})
    assert (facts.path, facts.query) == (path, query)


def test_the_user_whom_the_application_names() -> None:
    """`user.id` before `enduser.id`; the source is the application."""
    facts = facts_of({"user.id": "alice", "enduser.id": "other", "user.name": "Alice"})
    assert (facts.user, facts.user_source) == (FrameworkUser("alice", "Alice"), "application")
    assert facts_of({"enduser.id": 7}).user == FrameworkUser("7", None)
    assert facts_of({"enduser.id": ""}).user is None


def test_a_websocket() -> None:
    """An answer of 101 is one."""
    assert facts_of({"http.request.method": "GET", "http.response.status_code": 101}).websocket


def test_without_a_route() -> None:
    """One is derived from the path, unless the answer says that there was none."""
    assert facts_of({"url.path": "/items/7"}).plain
    assert not facts_of({"url.path": "/items/7", "http.response.status_code": 404}).plain
    assert not facts_of({"url.path": "/items/7", "http.route": "/items/{id}"}).plain
    assert not facts_of({"url.path": "/items/7"}, "GET /items/{id}").plain
