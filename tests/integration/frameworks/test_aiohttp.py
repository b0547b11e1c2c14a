"""aiohttp.web under the launcher, served by itself and by gunicorn's worker."""

import pytest

from tests.integration import cases
from tests.integration.frameworks.common import FrameworkTests, ResetTests, check_websocket
from tests.integration.site import serve

COMMANDS = {
    "run_app": ["python", "aiohttp_app.py", "{port}"],
    "gunicorn": [
        *("gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2"),
        *("--worker-class", "aiohttp.GunicornWebWorker", "aiohttp_app:app"),
    ],
}


@pytest.fixture(
    scope="module",
    params=[("run_app", ""), ("run_app", "http"), ("gunicorn", "http")],
    ids=["run_app-old-names", "run_app-stable-names", "gunicorn-stable-names"],
)
def site(request, tmp_path_factory):
    """The application after all cases, by both servers and with each generation of HTTP names."""
    server, names = request.param
    directory = tmp_path_factory.mktemp("aiohttp")
    with serve(directory, "aiohttp_app.py", COMMANDS[server], OTEL_SEMCONV_STABILITY_OPT_IN=names) as site:
        site.label = "aiohttp.web"
        cases.drive(site)
        cases.feed(site)
        cases.reset(site)
        site.ask("GET", "/v1/datasets/7", {"User-Agent": "inner"})
        site.ask("GET", "/v1/crash", {"User-Agent": "inner-crash"})
        for name, target, headers in (
            ("file", "/static/aiohttp_app.py", {}),
            ("part", "/static/aiohttp_app.py", {"Range": "bytes=10-29"}),
            ("compressed", "/datasets/d-9/download?compressed", {"Accept-Encoding": "gzip"}),
        ):
            site.answers[name] = site.ask("GET", target, {"User-Agent": name, **headers})
        with pytest.raises(Exception, match="IncompleteRead"):
            site.ask("GET", "/torn", {"User-Agent": "torn"})
        cases.collect(site)
        yield site


class TestAiohttp(FrameworkTests, ResetTests):
    """What holds of every framework, and of this one."""

    routes = {
        "view": "/organizations/{org}/datasets/{dataset_id}",
        "download": "/datasets/{dataset_id}/download",
        "anonymous": "/datasets",
        "feed": "/feeds/{feed_id}",
        "inner": "/v1/datasets/{dataset_id}",
        "file": "/static",
    }
    operations = {
        "view": "dataset",
        "create": "Datasets",
        "download": "download",
        "feed": "feed",
        "inner": "inner",
        "inner-crash": "crash",
        "file": "static",
        "nowhere": None,
    }
    more_requests = 10

    def test_user_is_the_requests(self, site):
        """The user is what a middleware has put into the request."""
        row = site.row_of("view")
        assert (row["user_id"], row["user_name"], row["user_source"]) == ("alice", "alice@portal", "framework")

    def test_application_inside_another(self, site):
        """A request to an application inside another is one row, although both have the instrumentation."""
        row = site.row_of("inner")
        assert (row["resource_type"], row["resource_id"], row["status_code"]) == ("dataset", "7", 200)
        crashed = site.row_of("inner-crash")
        assert (crashed["status_code"], crashed["error_type"]) == (500, "KeyError")

    @pytest.mark.parametrize("name", ["file", "part", "compressed"])
    def test_bytes_that_were_sent(self, site, name):
        """A file that the event loop sends, a part of it, and an answer compressed as it goes: what was sent counts."""
        answer = site.answers[name]
        assert site.row_of(name)["response_bytes"] == len(answer.body) > 0
        assert answer.status == (206 if name == "part" else 200)
        assert (name == "compressed") == ("content-encoding" in answer.headers)

    def test_exception_after_the_answer_has_begun(self, site):
        """An exception in the middle of an answer is the row's error, beside the status that the client was sent."""
        row = site.row_of("torn")
        assert (row["status_code"], row["error_type"], row["response_bytes"]) == (200, "LookupError", 10)

    def test_client_that_goes_away_is_no_error_of_the_application(self, site):
        """What aiohttp raises for it is known to be the client's doing."""
        assert site.row_of("walk-away")["error_type"] == "client_disconnected"

    def test_websocket(self, site):
        """A WebSocket is one row."""
        check_websocket(site)
