"""Quart, served by two hypercorn workers under the launcher; nobody else makes its spans."""

import pytest

from tests.integration import cases
from tests.integration.frameworks.common import FrameworkTests, ResetTests, SessionTests, check_websocket
from tests.integration.site import serve

COMMAND = ["hypercorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "quart_app:app"]


@pytest.fixture(scope="module", params=["", "http"], ids=["old-names", "stable-names"])
def site(request, tmp_path_factory):
    """The application after all cases, once with each generation of HTTP names."""
    directory = tmp_path_factory.mktemp("quart")
    with serve(directory, "quart_app.py", COMMAND, OTEL_SEMCONV_STABILITY_OPT_IN=request.param) as site:
        site.label = "Quart"
        cases.drive(site)
        cases.sign_in(site)
        cases.feed(site)
        cases.reset(site)
        cases.collect(site)
        yield site


class TestQuart(FrameworkTests, SessionTests, ResetTests):
    """What holds of every framework with sessions, and of this one."""

    routes = {
        "view": "/organizations/<org>/datasets/<int:dataset_id>",
        "download": "/datasets/<dataset_id>/download",
        "anonymous": "/datasets",
        "feed": "/feeds/<int:feed_id>",
    }
    operations = {"view": "dataset", "anonymous": "datasets", "feed": "feed", "nowhere": None}
    more_requests = 7
    session_user = ("bob", "bob@portal")

    def is_told_who_left(self, site) -> bool:
        return False

    def test_user_is_the_applications(self, site):
        """The user is the one in `quart.g`, with its name and where it came from."""
        row = site.row_of("view")
        assert (row["user_id"], row["user_name"], row["user_source"]) == ("alice", "alice@portal", "framework")

    def test_websocket(self, site):
        """A WebSocket is one row."""
        check_websocket(site)
