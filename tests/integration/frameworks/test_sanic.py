"""Sanic, served by its own server and by uvicorn, two workers each, under the launcher; nobody else makes its spans."""

import pytest
from websockets.sync.client import connect

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


def test_message_that_another_request_sends(tmp_path):
    """The bytes that a request sends to a WebSocket are the WebSocket's."""
    with serve(tmp_path, "sanic_app.py", [*OWN[:-1], "1"]) as site:
        with connect(f"ws://127.0.0.1:{site.port}/followed", user_agent_header="followed") as client:
            assert client.recv() == "hello"
            assert site.ask("POST", "/broadcast", {"User-Agent": "broadcast"}).body == b"1"
            assert client.recv() == "x" * 1000
            client.send("bye")
            assert client.recv() == "bye"
        site.stop()
        site.read_rows()
    sent = {name: site.row_of(name)["response_bytes"] for name in ("followed", "broadcast")}
    assert sent == {"followed": 1008, "broadcast": 1}
    assert site.row_of("followed")["request_bytes"] == 3
