"""A plain ASGI application behind OpenTelemetry's middleware, served by uvicorn under the launcher."""

import pytest
from websockets.sync.client import connect

from tests.integration import cases
from tests.integration.site import serve

ROUTES = {"view": "/organizations/acme/datasets/{id}", "claims": "/claims/{id}", "anonymous": "/datasets"}
# There is no template to read, so only what looks like an id is one, and what contains it must not be guessed.
DIFFERENT = {
    "view": {"resource_parent_type": None, "resource_parent_id": None, "user_source": "framework"},
    "api-key": {"resource_parent_type": None},
    "download": {"resource_type": None, "resource_id": None},
}


@pytest.fixture(scope="module", params=["", "http"], ids=["old-names", "stable-names"])
def site(request, tmp_path_factory):
    """The application after all cases, once with each generation of HTTP names."""
    command = ["uvicorn", "asgi_app:app", "--port", "{port}", "--workers", "2", "--no-access-log"]
    directory = tmp_path_factory.mktemp("asgi")
    with serve(directory, "asgi_app.py", command, OTEL_SEMCONV_STABILITY_OPT_IN=request.param) as site:
        cases.drive(site)
        with connect(f"ws://127.0.0.1:{site.port}/feeds/5", user_agent_header="feed") as socket:
            socket.send("twice")
            assert socket.recv() == "twicetwice"
        cases.collect(site)
        yield site


@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: case.name)
def test_row(site, case):
    """Each request has one row, and it says what the request was."""
    cases.check(site, cases.with_row(case, **DIFFERENT.get(case.name, {})))


def test_every_request_has_one_row(site):
    """As many rows as requests: the cases, the one walked away from and a WebSocket."""
    assert len(site.rows) == len(cases.CASES) + 2


@pytest.mark.parametrize("name", ROUTES)
def test_route(site, name):
    """The route is derived from the path: numbers are parameters."""
    assert site.row_of(name)["route"] == ROUTES[name]


def test_websocket(site):
    """A WebSocket is one row: its handshake's status and its frames' bytes."""
    row = site.row_of("feed")
    told = (row["method"], row["status_code"], row["request_bytes"], row["response_bytes"], row["resource_id"])
    assert told == ("GET", 101, 5, 10, "5")


def test_client_that_goes_away(site):
    """A client that goes away leaves a row; what the application handed to the server counts, as ASGI tells no more."""
    row = site.row_of("walk-away")
    assert (row["status_code"], row["action"]) == (200, "download")
    assert 0 < row["response_bytes"] <= 20_000_000


def test_exception_reaches_the_server(site):
    """The unhandled exception arrives at uvicorn as without us."""
    assert "RuntimeError: boom on purpose" in site.log


def test_no_credential_is_kept(site):
    """No raw credential is found anywhere afterwards."""
    cases.check_secrets(site)
