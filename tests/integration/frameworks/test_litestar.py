"""Litestar, served by two uvicorn workers under the launcher; nobody else makes its spans."""

import pytest

from tests.integration import cases
from tests.integration.frameworks.common import FrameworkTests, ResetTests, SessionTests, check_websocket
from tests.integration.site import serve

COMMAND = ["uvicorn", "litestar_app:app", "--port", "{port}", "--workers", "2", "--no-access-log"]


@pytest.fixture(scope="module", params=["", "http"], ids=["old-names", "stable-names"])
def site(request, tmp_path_factory):
    """The application after all cases, once with each generation of HTTP names."""
    directory = tmp_path_factory.mktemp("litestar")
    with serve(directory, "litestar_app.py", COMMAND, OTEL_SEMCONV_STABILITY_OPT_IN=request.param) as site:
        site.label = "Litestar"
        cases.drive(site)
        cases.sign_in(site)
        cases.feed(site)
        cases.reset(site)
        cases.collect(site)
        yield site


class TestLitestar(FrameworkTests, SessionTests, ResetTests):
    """What holds of every framework with sessions, and of this one."""

    routes = {
        "view": "/organizations/{org}/datasets/{dataset_id}",
        "download": "/datasets/{dataset_id}/download",
        "anonymous": "/datasets",
        "feed": "/feeds/{feed_id}",
    }
    operations = {
        "view": "read_dataset",
        "anonymous": "all-datasets",
        "feed": "feed",
        "claims": "claims",
        "nowhere": None,
    }
    more_requests = 7
    session_user = ("bob", "bob@portal")

    def is_told_who_left(self, site) -> bool:
        return False

    def test_user_is_the_authentications(self, site):
        """User and token are what the authentication middleware answered, with their names."""
        row = site.row_of("view")
        assert (row["user_id"], row["user_name"], row["user_source"]) == ("alice", "alice@portal", "framework")
        assert row["token_name"] == "laptop"

    def test_websocket(self, site):
        """A WebSocket is one row."""
        check_websocket(site)
