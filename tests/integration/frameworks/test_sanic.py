"""Sanic, served by its own server and by uvicorn, two workers each, under the launcher; nobody else makes its spans."""

import pytest

from tests.integration import cases
from tests.integration.frameworks.common import FrameworkTests, ResetTests, check_websocket
from tests.integration.site import serve

UVICORN = ["uvicorn", "sanic_app:app", "--port", "{port}", "--workers", "2", "--no-access-log"]
OWN = ["sanic", "sanic_app:app", "--host", "127.0.0.1", "--port", "{port}", "--workers", "2"]
SITES = {
    "own-old-names": ("Sanic", OWN, ""),
    "own-stable-names": ("Sanic", OWN, "http"),
    "uvicorn-old-names": ("Sanic, ASGI", UVICORN, ""),
    "uvicorn-stable-names": ("Sanic, ASGI", UVICORN, "http"),
}


@pytest.fixture(scope="module", params=SITES)
def site(request, tmp_path_factory):
    """The application after all cases, once with each generation of HTTP names."""
    label, command, names = SITES[request.param]
    directory = tmp_path_factory.mktemp("sanic")
    with serve(directory, "sanic_app.py", command, OTEL_SEMCONV_STABILITY_OPT_IN=names) as site:
        site.label = label
        cases.drive(site)
        cases.feed(site)
        cases.reset(site)
        cases.collect(site)
        yield site


class TestSanic(FrameworkTests, ResetTests):
    """What holds of every framework, and of this one."""

    routes = {
        "view": "/organizations/<org>/datasets/<dataset_id>",
        "download": "/datasets/<dataset_id>/download",
        "anonymous": "/datasets",
        "feed": "/feeds/<feed_id>",
    }
    operations = {"view": "dataset", "anonymous": "all_datasets", "feed": "feed", "nowhere": None}
    more_requests = 4

    def is_told_who_left(self, site) -> bool:
        return site.label == "Sanic"

    def test_user_is_the_applications(self, site):
        """The user is the one in `request.ctx`, with its name and where it came from."""
        row = site.row_of("view")
        assert (row["user_id"], row["user_name"], row["user_source"]) == ("alice", "alice@portal", "framework")

    def test_websocket(self, site):
        """A WebSocket is one row."""
        check_websocket(site)
