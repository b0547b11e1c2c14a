"""The accessed resource and what contains it."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_usage.enrichment.facts import RequestFacts
from otel_usage.enrichment.resources import Access, classify, know_templates, path_secrets

ANY_TEXT = st.text(st.characters(exclude_categories=[]))


def resource(access: Access) -> tuple[str | None, ...]:
    return access.type, access.id, access.parent_type, access.parent_id


NONE = (None, None, None, None)


@pytest.mark.parametrize(
    ("route", "path", "params", "expected"),
    [
        ("/datasets/{id}", "/datasets/5", {"id": "5"}, ("dataset", "5", None, None)),
        ("/datasets/{id}", "/datasets/5", None, ("dataset", "5", None, None)),
        ("/datasets/{id}", "/x", {"id": "5"}, ("dataset", "5", None, None)),
        ("/datasets/{id}/download", "/datasets/5/download", None, ("dataset", "5", None, None)),
        ("/datasets/{id}.{format}", "/datasets/5.csv", None, ("dataset", "5", None, None)),
        ("/datasets/{id}/{format}", "/datasets/5/csv", None, ("dataset", "5", None, None)),
        ("/datasets/{id}/versions/{version}", "/datasets/5/versions/2", None, ("dataset", "5", None, None)),
        ("/{lang}/datasets/<int:id>", "/en/datasets/5", None, ("dataset", "5", None, None)),
        (r"^api/datasets/(?P<pk>[^/.]+)/$", "/api/datasets/5/", {"pk": "5"}, ("dataset", "5", None, None)),
        (r"^api/datasets/(\d+)/$", "/api/datasets/5/", {}, ("dataset", "5", None, None)),
        (
            "/organizations/{org}/datasets/{id}",
            "/organizations/a/datasets/b",
            {"org": "a", "id": "b"},
            ("dataset", "b", "organization", "a"),
        ),
        ("/organizations/{org}/{dataset}", "/organizations/a/b", None, ("dataset", "b", "organization", "a")),
        ("/organizations/{org}/x/datasets/{id}", "/organizations/a/x/datasets/b", None, ("dataset", "b", None, None)),
        ("/a/{a}/b/{b}/c/{c}", "/a/1/b/2/c/3", None, ("c", "3", "b", "2")),
        ("/Sub-Categories/{id}", "/Sub-Categories/5", None, ("sub_category", "5", None, None)),
        ("/files/{name:path}", "/files/a/b.csv", None, ("file", "a/b.csv", None, None)),
        ("/files/*", "/files/a/b.csv", None, ("file", "a/b.csv", None, None)),
        ("/{org}/{repo}", "/a/b", None, ("repo", "b", "org", "a")),
        ("/{item_id}", "/5", None, ("item", "5", None, None)),
        ("/{itemId}", "/5", None, ("item", "5", None, None)),
        ("/{user_pk}", "/5", None, ("user", "5", None, None)),
        ("/{page_slug}", "/5", None, ("page", "5", None, None)),
        ("/api/{item_id}", "/api/5", None, ("item", "5", None, None)),
        ("/api/v1/{item_id}", "/api/v1/5", None, ("item", "5", None, None)),
        ("/{id}", "/5", None, NONE),
        ("/{pk}", "/5", None, NONE),
        ("/{slug}", "/5", None, NONE),
        ("/{path:path}", "/a/b", None, NONE),
        ("/**", "/a/b", None, NONE),
        ("/{version}", "/1", None, NONE),
        ("/datasets", "/datasets", None, NONE),
        ("/", "/", {}, NONE),
        ("/datasets/{id}", "/other", None, NONE),
        ("/datasets/{id}", "/datasets/", {"id": ""}, NONE),
        (
            "/dataset/{id}/resource/{rid}/download/{filename}",
            "/dataset/d/resource/r/download/f.csv",
            None,
            ("resource", "r", "dataset", "d"),
        ),
        ("/download/{file_id}", "/download/5", None, ("file", "5", None, None)),
        ("/download/{id}", "/download/5", None, ("download", "5", None, None)),
    ],
)
def test_resource(route: str, path: str, params: Mapping[str, str] | None, expected: tuple[str | None, ...]) -> None:
    """The last parameter is the resource, the literal before it its type, the pair before that the parent."""
    access = classify(RequestFacts("GET", path, route=route, path_params=params))
    assert resource(access) == expected
    assert access.route == route


@pytest.mark.parametrize(
    ("path", "status", "expected", "route"),
    [
        ("/datasets/5", 200, ("dataset", "5", None, None), "/datasets/{id}"),
        (
            "/organizations/1/datasets/2",
            200,
            ("dataset", "2", "organization", "1"),
            "/organizations/{id}/datasets/{id}",
        ),
        ("/datasets/5/download", None, ("dataset", "5", None, None), "/datasets/{id}/download"),
        ("/datasets/5", 404, ("dataset", "5", None, None), "/datasets/{id}"),
        ("/datasets", 200, NONE, "/datasets"),
        ("/wp-login.php", 404, NONE, None),
        ("/{id}/<int:x>", 200, NONE, "/{id}/<int:x>"),
        ("/a\ud800", 200, NONE, "/a?"),
        ("/" + "a" * 2000, 200, NONE, None),
    ],
    ids=range(9),
)
def test_plain(path: str, status: int | None, expected: tuple[str | None, ...], route: str | None) -> None:
    """Where no framework took part the route is derived from the path, but none of what scanners try."""
    access = classify(RequestFacts("GET", path, status=status, plain=True))
    assert resource(access) == expected
    assert access.route == route


@pytest.mark.parametrize(("method", "action"), [("GET", "view"), ("POST", "update"), ("DELETE", "delete")])
def test_no_route(method: str, action: str) -> None:
    """A request that met no route of its framework is about no resource, but has an action."""
    access = classify(RequestFacts(method, "/datasets/5", status=404))
    assert access == Access(None, None, None, None, action, None)


def test_ids_are_bounded() -> None:
    """An id is cut at 512 characters, and can be encoded."""
    access = classify(RequestFacts("GET", "/", route="/a/{id}", path_params={"id": "\udcff" + "a" * 600}))
    assert access.id == "?" + "a" * 511


def test_types_are_bounded() -> None:
    """A type is cut at 128 characters."""
    access = classify(RequestFacts("GET", f"/{'z' * 600}/5", plain=True))
    assert access.type == "z" * 128


@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE"]) | ANY_TEXT,
    ANY_TEXT,
    ANY_TEXT,
    st.none() | ANY_TEXT | st.text(st.sampled_from("/{}<>():*?^$\\[].+|:-=_ aidP1"), max_size=60),
    st.none() | st.dictionaries(ANY_TEXT, ANY_TEXT),
    st.none() | ANY_TEXT,
    st.none() | st.integers(),
    st.booleans(),
)
def test_any_request_is_classified(
    method: str,
    path: str,
    query: str,
    route: str | None,
    params: Mapping[str, str] | None,
    header: str | None,
    status: int | None,
    plain: bool,
) -> None:
    """No request makes it raise, and types and ids can be encoded."""
    access = classify(
        RequestFacts(
            method,
            path,
            query,
            route=route,
            path_params=params,
            status=status,
            content_disposition=header,
            content_range=header,
            plain=plain,
        )
    )
    "".join(map(str, resource(access))).encode()


@pytest.mark.parametrize("route", ["/files/{p:path}/x", "/{a}-{b}", "/a/{id}", None])
@pytest.mark.parametrize("path", ["/" * 200_000, "/a" * 100_000, "-" * 200_000])
def test_huge_paths_end(route: str | None, path: str) -> None:
    """A huge path takes time in proportion to its length."""
    classify(RequestFacts("GET", path, route=route, plain=route is None))


@pytest.mark.parametrize(
    ("route", "path", "secrets"),
    [
        ("/reset/{token}", "/reset/abcdefgh", ("abcdefgh",)),
        ("/users/<int:id>/confirm/<confirm_token>", "/users/7/confirm/abcdefgh", ("abcdefgh",)),
        ("/invitations/{invite-secret}/accept", "/invitations/abcdefgh/accept", ("abcdefgh",)),
        ("/objects/{key}", "/objects/abcdefgh", ()),
    ],
)
def test_credentials_in_the_path_are_no_resources(route: str | None, path: str, secrets: tuple[str, ...]) -> None:
    """A parameter that is named like a credential is one: never an id, and known so that it can be scrubbed."""
    facts = RequestFacts("GET", path, route=route)
    assert path_secrets(facts) == secrets
    assert not set(secrets) & {classify(facts).id, classify(facts).parent_id}


def test_secrets_of_known_templates_where_no_route_was_met() -> None:
    """A slash too many, another method, or the page that a request came from: the credential in it is known."""
    know_templates(["/only-here/{token}", "/datasets/{id}"])
    for path in ("/only-here/abcdefgh", "/only-here/abcdefgh/", "/mounted/only-here/abcdefgh"):
        assert path_secrets(RequestFacts("GET", path)) == ("abcdefgh",)
    referred = RequestFacts("GET", "/", headers={"referer": "http://portal.example/only-here/abcdefgh?x=1"})
    assert path_secrets(referred) == ("abcdefgh",)
    assert path_secrets(RequestFacts("GET", "/datasets/abcdefgh")) == ()
    assert path_secrets(RequestFacts("GET", "/", headers={"referer": "http://[broken/only-here/abcdefgh"})) == ()
