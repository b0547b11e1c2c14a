"""Route templates of many frameworks, and routes derived from paths."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_usage.enrichment.routes import derive, fits, parse_path, parse_template, value_in, word

ANY_TEXT = st.text(st.characters(exclude_categories=[]))
TEMPLATE_TEXT = st.text(st.sampled_from("/{}<>():*?^$\\[].+|:-=_ aidP1"), max_size=60)
UUID = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"


def outline(route: str) -> list[str]:
    """Literals as they are, parameters in braces with a star where they take slashes, "" for presentation."""
    return [
        segment.literal if segment.parameter is None else f"{{{'*' if segment.greedy else ''}{segment.parameter}}}"
        for segment in parse_template(route)
    ]


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ("/datasets/{id}", ["datasets", "{id}"]),
        ("/datasets/{id:path}", ["datasets", "{*id}"]),
        ("/datasets/{id:int}", ["datasets", "{id}"]),
        (r"/datasets/{id:\d{4}}/x", ["datasets", "{id}", "x"]),
        ("/datasets/{id:[^/]+}/x", ["datasets", "{id}", "x"]),
        ("/datasets/{*rest}", ["datasets", "{*rest}"]),
        ("/datasets/<int:id>", ["datasets", "{id}"]),
        ("/datasets/<id>", ["datasets", "{id}"]),
        ("/datasets/<path:id>/x", ["datasets", "{*id}", "x"]),
        ("/<string(length=2):lang>/x/<any(a,b):kind>", ["", "x", "{kind}"]),
        ("/datasets/:id", ["datasets", "{id}"]),
        (r"/datasets/:id(\d+)/x", ["datasets", "{id}", "x"]),
        ("/datasets/:id?", ["datasets", "{id}"]),
        ("/static/*", ["static", "{*}"]),
        ("/**", ["{*}"]),
        ("/static/*path", ["static", "{*path}"]),
        ("api/datasets/<int:pk>/", ["api", "datasets", "{pk}"]),
        (r"^api/datasets/(?P<pk>[^/.]+)/$", ["api", "datasets", "{pk}"]),
        (r"^api/datasets/(?P<pk>[0-9a-f]{8}(-x)?)/(?:download/)?$", ["api", "datasets", "{pk}", "download"]),
        (r"api/^(?P<version>(v1|v2))/datasets/(\d+)/?\Z", ["api", "", "datasets", "{}"]),
        (r"^datasets/(?P<pk>[()/\]]+)\.(?P<format>[a-z0-9]+)/?$", ["datasets", "{pk}"]),
        (r"^datasets/(?P<pk>[^(]+)/x$", ["datasets", "{pk}", "x"]),
        (r"^files/(?P<path>.*)$", ["files", "{*path}"]),
        (r"^(?!admin)x\-y\.z/$", ["x_y.z"]),
        ("/{id}.{format}", ["{id}"]),
        ("/datasets.{format}", ["datasets"]),
        ("/datasets.json", ["datasets"]),
        ("/v{version}/datasets/", ["", "datasets"]),
        ("/@{user}/Sub-Things", ["{user}", "sub_things"]),
        ("/", []),
        ("", []),
        ("/a:b/c", ["a:b", "c"]),
        ("/datasets/<id:int>", ["datasets", "{id}"]),
        ("/datasets/<slug:slug>/<slug:str>", ["datasets", "{slug}", "{slug}"]),
        ("/datasets/<str:slug>/<uuid:uuid>", ["datasets", "{slug}", "{uuid}"]),
        ("/datasets/<hex:id>", ["datasets", "{id}"]),
        ("/files/<path:path>", ["files", "{*path}"]),
        ("/files/<name:path>", ["files", "{*name}"]),
        ("/files/<name:re:.+>", ["files", "{*name}"]),
        (r"/datasets/<id:[0-9]{4}>", ["datasets", "{id}"]),
        ("/files/<rest..>", ["files", "{*rest}"]),
        ("/datasets/{id...}", ["datasets", "{*id}"]),
        ("/datasets/{$}", ["datasets"]),
        ("/datasets/{id?}", ["datasets", "{id}"]),
        ("{controller=Home}/{action=Index}/{id?}", ["{controller}", "{action}", "{id}"]),
        ("/datasets/{**rest}", ["datasets", "{*rest}"]),
        ("/datasets/[id]/x", ["datasets", "{id}", "x"]),
        ("/datasets/[data-set]", ["datasets", "{data-set}"]),
        ("/datasets/[id=integer]", ["datasets", "{id}"]),
        ("/files/[...slug]", ["files", "{*slug}"]),
        ("/files/[[...slug]]", ["files", "{*slug}"]),
        ("/datasets/a[0]", ["datasets", "a[0]"]),
        ("/datasets/:id(.:format)", ["datasets", "{id}"]),
        ("/datasets(.:format)", ["datasets"]),
        ("/datasets/$id<[^/]+>", ["datasets", "{id}"]),
        ("/files/$path<.+>", ["files", "{*path}"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_parse_template(route: str, expected: list[str]) -> None:
    """A template in any spelling has the same segments."""
    assert outline(route) == expected


@pytest.mark.parametrize(
    ("route", "path", "index", "expected"),
    [
        ("/datasets/{id}", "/datasets/5", 1, "5"),
        ("/datasets/{id}/", "/datasets/5", 1, "5"),
        ("/datasets/{id}", "/mounted/here/datasets/5/", 1, "5"),
        ("/a/{x}/b/{y}", "/a/1/b/2", 1, "1"),
        ("/a/{x}/b/{y}", "/a/1/b/2", 3, "2"),
        ("/files/{p:path}", "/files/a/b/c", 1, "a/b/c"),
        ("/files/{p:path}/x/{y}", "/files/a/b/x/1", 1, "a/b"),
        ("/files/{p:path}/x/{y}", "/files/a/b/x/1", 3, "1"),
        ("/files/{n}/{p:path}", "/files/1/b/c", 1, "1"),
        ("/{id}.{format}", "/a.b.csv", 0, "a.b"),
        ("/@{user}", "/@alice", 0, "alice"),
        ("/v{version}/x/{id}", "/v2/x/5", 2, "5"),
        ("/Sub-Things.json/{id}", "/sub-things/5", 1, "5"),
        ("/{a}-{b}-{c}", "/1-2-3", 0, None),
        ("/@{user}", "/alice", 0, None),
        ("/datasets/{id}", "/others/5", 1, None),
        ("/datasets/{id}", "/datasets", 1, None),
        ("/datasets/{id}", "", 1, None),
        ("/files/{p:path}", "/files", 1, None),
    ],
)
def test_value_in(route: str, path: str, index: int, expected: str | None) -> None:
    """A parameter's value is found where path and template fit, and only there."""
    assert value_in(path, parse_template(route), index) == expected


@pytest.mark.parametrize(
    ("route", "path", "expected"),
    [
        ("/datasets/{id}", "/datasets/5", True),
        ("/datasets/{id}", "/mounted/datasets/5/", True),
        ("/datasets", "/Datasets.json", True),
        ("/files/{p:path}/x", "/files/a/b/x", True),
        ("/files/{p:path}/x", "/mounted/files/a/x", False),
        ("/files/{p:path}/x", "/files/a/b/y", False),
        ("/datasets/{id}", "/others/5", False),
        ("/datasets/{id}", "/datasets", False),
        ("/", "/anything", True),
    ],
)
def test_fits(route: str, path: str, expected: bool) -> None:
    """Every fixed word stands where the template has it."""
    assert fits(path, parse_template(route)) is expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/datasets/5", "/datasets/{id}"),
        (f"/a/{UUID}/b", "/a/{id}/b"),
        (f"/a/{UUID.upper()}/", "/a/{id}/"),
        ("/a/0123456789abcdef", "/a/{id}"),
        ("/a/0123456789ABCDEF01", "/a/{id}"),
        ("/a/0123456789abcde", "/a/0123456789abcde"),
        ("/a/0123456789abcdeg", "/a/0123456789abcdeg"),
        ("/a/5x/v2", "/a/5x/v2"),
        ("/a/٣", "/a/٣"),
        ("/", "/"),
        ("", ""),
    ],
)
def test_derive(path: str, expected: str) -> None:
    """Numbers, UUIDs and long hexadecimal are parameters, anything else is fixed."""
    assert derive(path) == expected


def test_a_path_is_no_template() -> None:
    """What looks like a template in somebody's path is fixed text."""
    assert [segment.parameter for segment in parse_path("/{x}/<y>/:z/*/{id}")] == [None, None, None, None, "id"]


@pytest.mark.parametrize(("text", "expected"), [("A-b.JSON", "a_b"), ("robots.txt", "robots.txt"), (".json", ".json")])
def test_word(text: str, expected: str) -> None:
    """Literals are compared in lower case, with underscores, without the extension of a data format."""
    assert word(text) == expected


@given(ANY_TEXT | TEMPLATE_TEXT, ANY_TEXT)
def test_any_template_is_parsed(route: str, path: str) -> None:
    """No template and no path make it raise."""
    segments = parse_template(route)
    for index, segment in enumerate(segments):
        if segment.parameter is not None:
            value_in(path, segments, index)
    parse_path(derive(path))


@pytest.mark.parametrize("character", ["{", "<", "(", "/", "*", ":", "(?P<a>", "{a}", "{a}.", "(?:", "\\", "["])
def test_strange_templates_end(character: str) -> None:
    """A template of 1,024 strange characters is parsed in a moment, however they repeat."""
    route = (character * 1024)[:1024]
    segments = parse_template(route)
    assert len(segments) <= 1024
    if segments:
        value_in("a" * 5000 + "/b" * 5000, segments, 0)


@pytest.mark.parametrize("route", ["/{" + "a" * 1022, "/" + "{a" * 511, "/{a:" + "{b}" * 340, "/{a" + ":" * 1000])
def test_templates_that_do_not_end(route: str) -> None:
    """A brace that nothing closes is read once, not once for each character after it."""
    for _ in range(300):
        parse_template(route)
