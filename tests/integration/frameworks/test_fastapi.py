"""FastAPI with dependencies and routers, served by two uvicorn workers under the launcher."""

import base64
import json

import pytest
from itsdangerous import TimestampSigner

from otel_usage.instrumentation.fastapi_gaps import makes_spans
from tests.integration import cases
from tests.integration.frameworks.common import FrameworkTests, ResetTests, SessionTests, check_websocket
from tests.integration.site import serve

COMMAND = ["uvicorn", "fastapi_app:app", "--port", "{port}", "--workers", "2", "--no-access-log"]

MORE = {
    "mounted": ("GET", "/v1/acme/datasets/7"),
    "mounted-crash": ("GET", "/v1/acme/crash"),
    "included": ("GET", "/api/eu/stock/items/3"),
    "included-in-mounted": ("GET", "/v2/stock/items/4"),
    "own-unique-id": ("GET", "/api/eu/shelves/a/books/5"),
    "not-allowed": ("DELETE", "/api/eu/stock/items/3"),
    "invalid": ("GET", "/api/eu/stock/items/three"),
    "openapi": ("GET", "/openapi.json"),
    "included-secret": ("GET", f"/api/eu/stock/invitations/{cases.RESET}/"),
    "mounted-secret": ("GET", f"/v2/stock/invitations/{cases.RESET}/"),
}


def signed_earlier() -> str:
    """The session that signing in makes, as Starlette signs it at another time; it does so whenever it renews one."""
    payload = base64.b64encode(json.dumps({"user": "bob"}).encode("utf-8"))

    class Earlier(TimestampSigner):
        def get_timestamp(self) -> int:
            return super().get_timestamp() - 5

    return f"session={Earlier('only for tests, signs nothing of value').sign(payload).decode()}"


# Without its instrumentation FastAPI makes its request spans by itself.
OWN_SPANS = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "fastapi"}
SPANS = {
    "old-names": {"OTEL_SEMCONV_STABILITY_OPT_IN": ""},
    "stable-names": {"OTEL_SEMCONV_STABILITY_OPT_IN": "http"},
    "own-spans": OWN_SPANS,
}


NAMES = [
    *list(SPANS)[:2],
    pytest.param("own-spans", marks=pytest.mark.skipif(not makes_spans(), reason="FastAPI makes none before 0.142")),
]


@pytest.fixture(scope="module", params=NAMES)
def site(request, tmp_path_factory):
    """The application after all cases, once with each generation of HTTP names and once with spans of its own."""
    directory = tmp_path_factory.mktemp("fastapi")
    with serve(directory, "fastapi_app.py", COMMAND, **SPANS[request.param]) as site:
        site.label = "FastAPI"
        cases.drive(site)
        cases.sign_in(site, signed_earlier())
        cases.feed(site)
        site.ask("GET", f"/keyed/3?k={cases.OWN_KEY}&page=2", {"User-Agent": "keyed"})
        for name, (method, target) in MORE.items():
            site.ask(method, target, {"User-Agent": name})
        site.ask("PUT", "/api/eu/stock/items/3", {"User-Agent": "malformed", "Content-Type": "text/json"}, b"{")
        cases.reset(site)
        cases.collect(site)
        yield site


class TestFastAPI(FrameworkTests, SessionTests, ResetTests):
    """What holds of every framework with sessions, and of this one."""

    routes = {
        "view": "/organizations/{org}/datasets/{dataset_id}",
        "download": "/datasets/{dataset_id}/download",
        "anonymous": "/datasets",
        "feed": "/feeds/{feed_id}",
        "mounted": "/v1/{org}/datasets/{dataset_id}",
        "included": "/api/{region}/stock/items/{item_id}",
        "included-in-mounted": "/v2/stock/items/{item_id}",
        "own-unique-id": "/api/{region}/shelves/{shelf}/books/{book_id}",
    }
    operations = {
        "view": "dataset",
        "missing": "dataset",
        "feed": "feed",
        "head": "cached",
        "mounted": "dataset_of_version_1",
        "included": "getItem",
        "included-in-mounted": "getItem",
        "malformed": "Replace an item",
        "invalid": "getItem",
        "own-unique-id": "shelves-book",
        "openapi": "openapi",
        "not-allowed": None,
        "nowhere": None,
    }
    more_requests = 19
    session_user = ("bob", None)

    def test_user_is_the_dependencys(self, site):
        """The user is what the dependency behind the security scheme returned."""
        row = site.row_of("view")
        assert (row["user_id"], row["user_name"], row["user_source"]) == ("alice", "alice@portal", "framework")

    def test_key_under_a_name_of_its_own(self, site):
        """The key of an APIKeyQuery is a token, whatever its parameter is called, and is not in the query."""
        row = site.row_of("keyed")
        assert row["query"] == "k=REDACTED&page=2"
        assert (row["token_id"], row["token_scheme"]) == (cases.token_id(site, cases.OWN_KEY), "api_key")

    def test_mounted_application(self, site):
        """A mounted application's route begins with its mount, whose parameter is the parent's."""
        row = site.row_of("mounted")
        assert row["route"] == "/v1/{org}/datasets/{dataset_id}"
        assert (row["resource_type"], row["resource_id"]) == ("dataset", "7")
        crashed = site.row_of("mounted-crash")
        assert (crashed["status_code"], crashed["error_type"]) == (500, "KeyError")

    def test_secrets_of_included_and_mounted_templates(self, site):
        """The templates of included routers and mounted applications are known before they are met."""
        assert site.row_of("included-secret")["path"] == "/api/eu/stock/invitations/REDACTED/"
        assert site.row_of("mounted-secret")["path"] == "/v2/stock/invitations/REDACTED/"

    def test_client(self, site):
        """The address of the client is known whoever makes the span."""
        assert site.row_of("view")["client_address"] is not None

    def test_websocket(self, site):
        """A WebSocket is one row."""
        check_websocket(site)


def test_one_row_behind_another_middleware(tmp_path):
    """Where a middleware around the application makes the span, FastAPI's own is not a second request."""
    command = ["uvicorn", "fastapi_app:behind_middleware", "--port", "{port}", "--no-access-log"]
    with serve(tmp_path, "fastapi_app.py", command, **OWN_SPANS) as site:
        site.ask("GET", "/organizations/acme/datasets/42", {"User-Agent": "view"})
        site.ask("GET", "/v1/acme/datasets/7", {"User-Agent": "mounted"})
        site.stop()
        rows = site.read_rows()
    assert [(row["user_agent"], row["route"]) for row in rows] == [
        ("view", "/organizations/{org}/datasets/{dataset_id}"),
        ("mounted", "/v1/{org}/datasets/{dataset_id}"),
    ]
