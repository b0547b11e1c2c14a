"""FastAPI with dependencies and routers, served by two uvicorn workers under the launcher."""

import base64
import json

import pytest
from itsdangerous import TimestampSigner
from websockets.sync.client import connect

from tests.integration import cases
from tests.integration.site import serve, wait_for

ROUTES = {
    "view": "/organizations/{org}/datasets/{dataset_id}",
    "download": "/datasets/{dataset_id}/download",
    "anonymous": "/datasets",
}


def signed_again() -> str:
    """The same session as Starlette signs it at another time, which it does when an answer renews it."""
    payload = base64.b64encode(json.dumps({"user": "bob"}).encode("utf-8"))

    class Later(TimestampSigner):
        def get_timestamp(self) -> int:
            return super().get_timestamp() - 5

    return f"session={Later('only for tests, signs nothing of value').sign(payload).decode()}"


@pytest.fixture(scope="module", params=["", "http"], ids=["old-names", "stable-names"])
def site(request, tmp_path_factory):
    """The application after all cases, once with each generation of HTTP names."""
    command = ["uvicorn", "fastapi_app:app", "--port", "{port}", "--workers", "2", "--no-access-log"]
    directory = tmp_path_factory.mktemp("fastapi")
    with serve(directory, "fastapi_app.py", command, OTEL_SEMCONV_STABILITY_OPT_IN=request.param) as site:
        cases.drive(site)
        signed_in = site.ask("POST", "/login", {"User-Agent": "login"})
        cookies = [signed_in.headers["set-cookie"].partition(";")[0], signed_again()]
        assert cookies[0] != cookies[1]
        for cookie in cookies:
            site.ask("GET", "/datasets", {"User-Agent": "with-session", "Cookie": cookie})
        with connect(f"ws://127.0.0.1:{site.port}/feeds/5", user_agent_header="feed") as socket:
            socket.send("twice")
            assert socket.recv() == "twicetwice"
        cases.collect(site)
        yield site


@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: case.name)
def test_row(site, case):
    """Each request has one row, and it says what the request was."""
    cases.check(site, case)


def test_every_request_has_one_row(site):
    """As many rows as requests: the cases, one walked away from, the login, two with a session, one WebSocket."""
    assert len(site.rows) == len(cases.CASES) + 5


@pytest.mark.parametrize("name", ROUTES)
def test_route(site, name):
    """The route is the whole template, the router's prefix included."""
    assert site.row_of(name)["route"] == ROUTES[name]


def test_user_is_the_dependencys(site):
    """The user is what the dependency behind the security scheme returned."""
    row = site.row_of("view")
    assert (row["user_id"], row["user_name"], row["user_source"]) == ("alice", "alice@portal", "framework")


def test_session(site):
    """A session cookie is one token although it is signed anew on every answer."""
    rows = [row for row in site.rows if row["user_agent"] == "with-session"]
    assert {(row["user_id"], row["user_source"]) for row in rows} == {("bob", "application")}
    assert {row["token_scheme"] for row in rows} == {"session"}
    assert len({row["token_id"] for row in rows} - {None}) == 1


def test_login(site):
    """Signing in is the action login."""
    assert site.row_of("login")["action"] == "login"


def test_websocket(site):
    """A WebSocket is one row: its handshake's status, its frames' bytes, its route."""
    row = site.row_of("feed")
    told = {name: row[name] for name in ("method", "status_code", "request_bytes", "response_bytes", "route", "action")}
    assert told == {
        "method": "GET",
        "status_code": 101,
        "request_bytes": 5,
        "response_bytes": 10,
        "route": "/feeds/{feed_id}",
        "action": "view",
    }
    assert (row["resource_type"], row["resource_id"]) == ("feed", "5")


def test_client_that_goes_away(site):
    """A client that goes away in the middle of a download is in the rows with what had passed."""
    cases.check_walk_away(site)


def test_exception_reaches_the_server(site):
    """The unhandled exception arrives at uvicorn as without us."""
    wait_for(lambda: "RuntimeError: boom on purpose" in site.log, seconds=5)
    assert "Exception in ASGI application" in site.log


def test_no_credential_is_kept(site):
    """No raw credential is found anywhere afterwards."""
    cases.check_secrets(site)
