"""Tornado under the launcher: one process and several, with a Flask application behind some of its rules."""

import socket
import time

import pytest
from tornado.web import create_signed_value

from tests.integration import cases
from tests.integration.frameworks.common import FrameworkTests, ResetTests, SessionTests, check_websocket
from tests.integration.site import Site, serve

COMMANDS = {
    "one": ["python", "tornado_app.py", "{port}"],
    "forked": ["python", "tornado_app.py", "{port}", "2"],
}


def signed(**values: str) -> str:
    """Cookies as the application signed them some time ago."""
    secret, earlier = "only for tests, signs nothing of value", time.time() - 60
    made = {name: create_signed_value(secret, name, value, clock=lambda: earlier) for name, value in values.items()}
    return "; ".join(f"{name}={value.decode()}" for name, value in made.items())


def leave(site: Site, request: bytes) -> None:
    """Send this much of a request and close the connection."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as client:
        client.sendall(request)


LEFT = {
    "left-upload": b"PUT /uploads/7 HTTP/1.1\r\nHost: x\r\nUser-Agent: left-upload\r\nContent-Length: 5000\r\n\r\n"
    + b"x" * 100,
    "left-waiting": b"GET /later?never=1 HTTP/1.1\r\nHost: x\r\nUser-Agent: left-waiting\r\n\r\n",
}


@pytest.fixture(
    scope="module",
    params=[("one", ""), ("one", "http"), ("forked", "http")],
    ids=["one-old-names", "one-stable-names", "forked-stable-names"],
)
def site(request, tmp_path_factory):
    """The application after all cases, by one process and by two, and with each generation of HTTP names."""
    processes, names = request.param
    directory = tmp_path_factory.mktemp("tornado")
    with serve(directory, "tornado_app.py", COMMANDS[processes], OTEL_SEMCONV_STABILITY_OPT_IN=names) as site:
        site.label = "Tornado"
        cases.drive(site)
        cases.sign_in(site, signed(visitor="bob"))
        cases.feed(site)
        cases.reset(site)
        for name in ("ann", "eve"):
            site.ask("GET", "/datasets", {"User-Agent": name, "Cookie": signed(theme="dark", visitor=name)})
        for name, method, target, headers, body in (
            ("own", "GET", "/own/acme/datasets/7", {}, None),
            ("later", "GET", "/later", {}, None),
            ("upload", "PUT", "/uploads/7", {}, b"x" * 300_000),
            ("file", "GET", "/static/tornado_app.py", {}, None),
            ("part", "GET", "/static/tornado_app.py", {"Range": "bytes=10-29"}, None),
            ("compressed", "GET", "/static/tornado_app.py", {"Accept-Encoding": "gzip"}, None),
            ("flask", "GET", "/flask/datasets/7", {}, None),
            ("flask-threads", "GET", "/threads/datasets/7", {}, None),
            ("torn", "GET", "/torn", {}, None),
            ("malformed", "POST", "/datasets", {"Content-Type": "multipart/form-data"}, b"no boundary"),
            ("not-allowed", "DELETE", "/datasets", {}, None),
        ):
            site.answers[name] = site.ask(method, target, {"User-Agent": name, **headers}, body)
        for request in LEFT.values():
            leave(site, request)
        cases.collect(site)
        yield site


class TestTornado(FrameworkTests, SessionTests, ResetTests):
    """What holds of every framework with signed cookies, and of this one."""

    routes = {
        "view": "/organizations/{org}/datasets/{dataset_id}",
        "download": "/datasets/{dataset_id}/download",
        "anonymous": "/datasets",
        "feed": "/feeds/{feed_id}",
        "file": "/static/{path}",
        "flask": "/<mount>/datasets/<int:dataset_id>",
        "flask-threads": "/<mount>/datasets/<int:dataset_id>",
    }
    operations = {
        "view": "DatasetHandler.get",
        "create": "DatasetsHandler.post",
        "feed": "FeedHandler",
        "nowhere": None,
        "not-allowed": None,
    }
    more_requests = 22
    session_user = ("bob", None)

    def test_user_is_the_handlers(self, site):
        """The user is the handler's current user."""
        row = site.row_of("view")
        assert (row["user_id"], row["user_name"], row["user_source"]) == ("alice", "alice@portal", "framework")

    def test_cookie_of_the_user_among_others(self, site):
        """Of two signed cookies the token is the one that says who it is, whichever was read first."""
        rows = [site.row_of(name) for name in ("ann", "eve")]
        assert [(row["user_id"], row["token_scheme"]) for row in rows] == [("ann", "session"), ("eve", "session")]
        assert rows[0]["token_id"] != rows[1]["token_id"]

    @pytest.mark.parametrize("name", ["file", "part", "compressed", "later", "own"])
    def test_bytes_that_were_sent(self, site, name):
        """What was sent counts: of a file, a part of it, compressed, and where the answer comes later."""
        answer = site.answers[name]
        assert site.row_of(name)["response_bytes"] == len(answer.body) > 0
        assert answer.status == (206 if name == "part" else 200)
        assert (name == "compressed") == ("content-encoding" in answer.headers)

    def test_request_that_the_instrumentation_does_not_see(self, site):
        """A request refused before `prepare`, or whose handler never calls its parent's, is a row like any other."""
        row = site.row_of("own")
        assert (row["operation"], row["resource_id"], row["status_code"]) == ("OwnPrepareHandler.get", "7", 200)
        row = site.row_of("malformed")
        # Older versions of Tornado let the body through.
        status = site.answers["malformed"].status
        assert (row["operation"], row["request_bytes"], row["status_code"]) == ("DatasetsHandler.post", 11, status)

    def test_upload_as_it_comes(self, site):
        """The bytes that a streaming handler received count."""
        assert site.row_of("upload")["request_bytes"] == 300_000

    @pytest.mark.parametrize(("name", "received"), [("left-upload", 100), ("left-waiting", 0)])
    def test_client_that_goes_away_before_the_answer(self, site, name, received):
        """An upload that is never finished, and an answer that nobody waits for any more, are rows that say so."""
        row = site.row_of(name)
        assert (row["request_bytes"], row["response_bytes"]) == (received, 0)
        assert row["error_type"] == "client_disconnected"

    @pytest.mark.parametrize("name", ["flask", "flask-threads"])
    def test_wsgi_application_behind_a_handler(self, site, name):
        """A Flask application in Tornado's WSGIContainer is described as Flask is, in one row."""
        row = site.row_of(name)
        assert (row["resource_type"], row["resource_id"], row["status_code"]) == ("dataset", "7", 200)
        assert row["response_bytes"] == len(site.answers[name].body)

    def test_exception_after_the_answer_has_begun(self, site):
        """An exception in the middle of an answer is the row's error, beside the status that the client was sent."""
        row = site.row_of("torn")
        assert (row["status_code"], row["error_type"], row["response_bytes"]) == (200, "LookupError", 10)

    def test_client_that_goes_away_is_no_error_of_the_application(self, site):
        """What Tornado raises for it is known to be the client's doing."""
        assert site.row_of("walk-away")["error_type"] == "client_disconnected"

    def test_websocket(self, site):
        """A WebSocket is one row."""
        check_websocket(site)
