"""Falcon under WSGI by gunicorn and under ASGI by uvicorn, both under the launcher."""

import falcon
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.integration import cases
from tests.integration.frameworks.common import FrameworkTests, ResetTests, check_websocket
from tests.integration.site import serve

GUNICORN = ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "--threads", "2", "falcon_app:app"]
UVICORN = ["uvicorn", "falcon_asgi_app:app", "--port", "{port}", "--workers", "2", "--no-access-log"]


def ask_wsgi(site):
    """What only the application under WSGI answers: 8 requests."""
    for path in ("/datasets/d-9/file", "/sink/drain", "/static/page.txt", "/closed", "/handled", "/unavailable"):
        site.ask("GET", path, {"User-Agent": path})
    site.ask("DELETE", "/datasets", {"User-Agent": "not-allowed"})
    site.ask("OPTIONS", "/datasets", {"User-Agent": "options"})


def ask_asgi(site):
    """What only the application under ASGI answers: 3 requests."""
    cases.feed(site)
    site.ask("GET", "/feeds/5/events", {"User-Agent": "events"})
    url = f"ws://127.0.0.1:{site.port}/broken"
    with connect(url, user_agent_header="broken") as client, pytest.raises(ConnectionClosed):
        client.recv()


@pytest.fixture(scope="class", params=["", "http"], ids=["old-names", "stable-names"])
def site(request, tmp_path_factory):
    """The application of a class of tests after all cases, once with each generation of HTTP names."""
    tests = request.cls
    directory = tmp_path_factory.mktemp("falcon")
    with serve(directory, tests.app, tests.command, OTEL_SEMCONV_STABILITY_OPT_IN=request.param) as site:
        site.label = tests.label
        cases.drive(site)
        tests.ask(site)
        cases.reset(site)
        cases.collect(site)
        yield site


class Falcon(FrameworkTests, ResetTests):
    """What holds under both protocols."""

    routes = {
        "view": "/organizations/{org}/datasets/{dataset_id:int}",
        "download": "/datasets/{dataset_id}/download",
        "anonymous": "/datasets",
    }
    operations = {
        "view": "Dataset.on_get",
        "missing": "Dataset.on_get",
        "download": "Dataset.on_get_download",
        "create": "Datasets.on_post",
        "boom": "Trouble.on_get",
        "nowhere": None,
    }

    def test_user_is_the_contexts(self, site):
        """The user is the one in `req.context`."""
        row = site.row_of("view")
        assert (row["user_id"], row["user_name"], row["user_source"]) == ("alice", "alice@portal", "framework")


class TestWSGI(Falcon):
    """Falcon under WSGI, which OpenTelemetry instruments."""

    label, app, command, ask = "Falcon, WSGI", "falcon_app.py", GUNICORN, staticmethod(ask_wsgi)
    more_requests = 11

    def test_file_that_the_server_sends(self, site):
        """A stream of a known length that the server sends by itself counts with that length."""
        row = site.row_of("/datasets/d-9/file")
        assert (row["operation"], row["response_bytes"]) == ("Dataset.on_get_file", 70000)

    @pytest.mark.parametrize("path", ["/sink/drain", "/static/page.txt"])
    def test_without_route(self, site, path):
        """Sinks and static routes are neither routes nor operations."""
        row = site.row_of(path)
        assert (row["status_code"], row["route"], row["operation"], row["resource_type"]) == (200, None, None, None)

    def test_refused_by_a_middleware(self, site):
        """The user is known also where a middleware refuses before there is a route."""
        row = site.row_of("/closed")
        assert (row["status_code"], row["user_id"], row["user_name"]) == (403, "erin", "erin@portal")

    def test_error_type(self, site):
        """The error is what was raised, where the answer is a server's error."""
        row = site.row_of("/unavailable")
        assert (row["status_code"], row["error_type"]) == (503, "falcon.errors.HTTPServiceUnavailable")

    def test_exception_with_an_answer_of_its_own(self, site):
        """What the application's own handler answers has that status; the instrumentation takes it for a 500."""
        row = site.row_of("/handled")
        assert row["status_code"] == 404
        assert row["error_type"] in (None, "500")

    @pytest.mark.parametrize(("case", "status"), [("not-allowed", 405), ("options", 200)])
    def test_answered_by_falcon(self, site, case, status):
        """What Falcon answers by itself on a route of the application is no operation of it."""
        row = site.row_of(case)
        assert (row["status_code"], row["route"], row["operation"]) == (status, "/datasets", None)


class TestASGI(Falcon):
    """Falcon under ASGI, whose spans we make."""

    label, app, command, ask = "Falcon, ASGI", "falcon_asgi_app.py", UVICORN, staticmethod(ask_asgi)
    more_requests = 6
    routes = {**Falcon.routes, "feed": "/feeds/{feed_id:int}"}
    operations = {
        **Falcon.operations,
        "boom": "Boom.on_get",
        "feed": "Feed.on_websocket",
        "events": "Feed.on_get_events",
    }

    def is_told_who_left(self, site) -> bool:
        return False

    @pytest.mark.skipif(falcon.__version__ < "4", reason="Falcon 3 logs no exception under ASGI")
    def test_exception_reaches_the_log(self, site):
        """The unhandled exception arrives where it would without us."""
        super().test_exception_reaches_the_log(site)

    def test_websocket(self, site):
        """A WebSocket is one row."""
        check_websocket(site)

    def test_events(self, site):
        """Server-sent events are counted to the last."""
        row = site.row_of("events")
        assert (row["resource_id"], row["response_bytes"]) == ("5", len(b"data: news\n\n") * 3)

    def test_broken_websocket(self, site):
        """The exception that ends a WebSocket is its error."""
        assert site.row_of("broken")["error_type"] == "KeyError"
