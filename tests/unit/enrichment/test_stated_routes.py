"""Which route a span states, in its attribute or in its name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_usage.enrichment.stated_routes import stated_route

ITEM = "/items/7"


@pytest.mark.parametrize(
    ("route", "path"),
    [
        ("/items/{id}", ITEM),
        ("/items/:id", ITEM),
        ("/items/<int:id>", ITEM),
        ("/items/[id]", ITEM),
        ("items/<int:pk>/", ITEM),
        (r"^items/(?P<pk>\d+)/$", ITEM),
        ("/items/*", ITEM),
        ("/{path:path}", ITEM),
        ("/{id}", ITEM),
        ("/{lang}/about", "/de/about"),
        ("/reset/{token}", "/reset/abc"),
        ("/items", "/items"),
        ("/items", "/items/"),
        ("/items/", "/items"),
        ("/items", "/mounted/items"),
        ("items/", "/api/items/"),
        ("/Items.json", "/items.json"),
        ("/", "/"),
        ("/error", "/error"),
    ],
)
def test_a_route_of_the_framework(route: str, path: str) -> None:
    """It is taken in the framework's own spelling."""
    assert stated_route(route, "GET", path) == route


@pytest.mark.parametrize(
    ("route", "path"),
    [
        ("/**", "/nowhere/42"),
        ("/*", ITEM),
        ("*", ITEM),
        ("/error", ITEM),
        ("/", ITEM),
        ("/items/", ITEM),
        ("/api", "/api/items/7"),
        ("@fallback", ITEM),
        ("app_item_show", ITEM),
        ("{controller=Home}/{action=Index}/{id?}", "/Items/Details/7"),
        ("", ITEM),
    ],
)
def test_what_is_no_route_of_what_was_asked_for(route: str, path: str) -> None:
    """A catch-all, a location, an error page or a name says nothing of the resource."""
    assert stated_route(route, f"GET {route}", path) is None


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        ("GET /items/{id}", ITEM, "/items/{id}"),
        ("GET GET /items/{id}", ITEM, "/items/{id}"),
        ("/items/{id}", ITEM, "/items/{id}"),
        ("GET /items/:id", ITEM, "/items/:id"),
        ("HTTP /items/{id}", ITEM, "/items/{id}"),
        ("GET /files/{path...}", "/files/a/b", "/files/{path...}"),
        ("GET /items/{id}", "/mounted/items/7", "/items/{id}"),
        ("GET", ITEM, None),
        ("", ITEM, None),
        ("GET /items/7", ITEM, None),
        ("GET /items", "/items", None),
        ("GET /", ITEM, None),
        ("GET /static/", "/static/a.js", None),
        ("GET /items/{id}", "/items/{id}", None),
        ("GET /items/{id}", "/others/7", None),
        ("GET /items/{id}?x={y}", ITEM, None),
        ("middleware /items/{id}", ITEM, None),
        ("GET /items/7 {id}", ITEM, None),
        ("request handler - /items/:id", ITEM, None),
        ("GET /a/*", "/a/*", None),
        ("GET /" + "{a}/" * 1000, "/a" * 1000, None),
    ],
)
def test_a_route_in_the_name(name: str, path: str, expected: str | None) -> None:
    """Only a template with a parameter, which fits the path and is not the path, is believed."""
    assert stated_route(None, name, path) == expected


@given(st.none() | st.text(), st.text("GET /{}<>:*[]id.\n", max_size=40), st.text("/id{}*:[]", max_size=20))
def test_nothing_raises(route: str | None, name: str, path: str) -> None:
    """Whatever is stated, it is a route or none; what the name alone states is never the path itself."""
    found = stated_route(route, name, path)
    assert found is None or found == route or found != path
