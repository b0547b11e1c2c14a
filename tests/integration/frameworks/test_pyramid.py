"""Pyramid with sessions, routes and traversal, served by gunicorn under the launcher."""

import pytest

from tests.integration import cases
from tests.integration.frameworks.common import FrameworkTests, ResetTests, SessionTests
from tests.integration.site import serve

COMMAND = ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "--threads", "2", "pyramid_app:app"]
MORE = (
    "/lookup",
    "/lookup?hard=1",
    "/unavailable",
    "/inside",
    "/pages/a/b",
    "/folders/7",
    "/folders/7/download",
    "/folders/7/nothing",
    "/tree/folders/7",
)


@pytest.fixture(scope="module", params=["", "http"], ids=["old-names", "stable-names"])
def site(request, tmp_path_factory):
    """The application after all cases, once with each generation of HTTP names."""
    directory = tmp_path_factory.mktemp("pyramid")
    with serve(directory, "pyramid_app.py", COMMAND, OTEL_SEMCONV_STABILITY_OPT_IN=request.param) as site:
        site.label = "Pyramid"
        cases.drive(site)
        cases.sign_in(site)
        cases.reset(site)
        for target in MORE:
            site.ask("GET", target, {"User-Agent": target})
        site.ask("DELETE", "/datasets", {"User-Agent": "not-allowed"})
        cases.collect(site)
        yield site


class TestPyramid(FrameworkTests, SessionTests, ResetTests):
    """What holds of every framework with sessions, and of this one."""

    routes = {
        "view": "/organizations/{org}/datasets/{dataset_id}",
        "download": "/datasets/{dataset_id}/download",
        "anonymous": "/datasets",
        "cached": r"/files/{file_id:\d+}",
        "/pages/a/b": "/pages/*path",
        "/folders/7": "/folders/{id}",
        "/folders/7/nothing": None,
        "/tree/folders/7": "/tree/*traverse",
    }
    operations = {
        "view": "dataset",
        "missing": "dataset",
        "refused": "private",
        "boom": "boom",
        "nowhere": None,
        "not-allowed": None,
        "/folders/7": "Folder",
        "/folders/7/download": "Folder.download",
        "/folders/7/nothing": None,
        "/tree/folders/7": "tree.Folder",
    }
    more_requests = 6 + len(MORE) + 1
    session_user = ("bob", "bob@portal")

    def test_user_is_the_policys(self, site):
        """The user is the identity that the policy told the application."""
        row = site.row_of("view")
        assert (row["user_id"], row["user_name"], row["user_source"]) == ("alice", "alice@portal", "framework")

    def test_who_signs_in(self, site):
        """The request that signs in is by the user it signed in."""
        assert site.row_of("login")["user_id"] == "bob"

    def test_request_inside_a_request(self, site):
        """A subrequest is a part of its request: neither its route, nor its user, nor a row."""
        row = site.row_of("/inside")
        assert (row["status_code"], row["route"], row["operation"], row["user_id"]) == (200, "/inside", "inside", None)

    @pytest.mark.parametrize(
        ("target", "told"),
        [
            ("/lookup", (404, None)),
            ("/lookup?hard=1", (503, "LookupError")),
            ("/unavailable", (503, "pyramid.httpexceptions.HTTPServiceUnavailable")),
        ],
    )
    def test_exception_view(self, site, target, told):
        """The error is what was raised, where an exception view answers with a server's error."""
        row = site.row_of(target)
        assert (row["status_code"], row["error_type"]) == told

    def test_traversal(self, site):
        """Traversal has no templates: what looks like an id is one."""
        row = site.row_of("/folders/7")
        assert (row["resource_type"], row["resource_id"]) == ("folder", "7")

    def test_rest_of_the_path(self, site):
        """A parameter that takes the rest of the path is text with slashes."""
        row = site.row_of("/pages/a/b")
        assert (row["resource_type"], row["resource_id"]) == ("page", "a/b")
