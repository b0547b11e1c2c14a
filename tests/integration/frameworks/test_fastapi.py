"""FastAPI with dependencies and routers, served by two uvicorn workers under the launcher."""

import base64
import json

import pytest
from itsdangerous import TimestampSigner

from tests.integration import cases
from tests.integration.frameworks.common import FrameworkTests, ResetTests, SessionTests, check_websocket
from tests.integration.site import serve

COMMAND = ["uvicorn", "fastapi_app:app", "--port", "{port}", "--workers", "2", "--no-access-log"]


def signed_earlier() -> str:
    """The session that signing in makes, as Starlette signs it at another time; it does so whenever it renews one."""
    payload = base64.b64encode(json.dumps({"user": "bob"}).encode("utf-8"))

    class Earlier(TimestampSigner):
        def get_timestamp(self) -> int:
            return super().get_timestamp() - 5

    return f"session={Earlier('only for tests, signs nothing of value').sign(payload).decode()}"


@pytest.fixture(scope="module", params=["", "http"], ids=["old-names", "stable-names"])
def site(request, tmp_path_factory):
    """The application after all cases, once with each generation of HTTP names."""
    directory = tmp_path_factory.mktemp("fastapi")
    with serve(directory, "fastapi_app.py", COMMAND, OTEL_SEMCONV_STABILITY_OPT_IN=request.param) as site:
        cases.drive(site)
        cases.sign_in(site, signed_earlier())
        cases.feed(site)
        site.ask("GET", f"/keyed/3?k={cases.OWN_KEY}&page=2", {"User-Agent": "keyed"})
        site.ask("GET", "/v1/acme/datasets/7", {"User-Agent": "mounted"})
        site.ask("GET", "/v1/acme/crash", {"User-Agent": "mounted-crash"})
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
    }
    more_requests = 10
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

    def test_websocket(self, site):
        """A WebSocket is one row."""
        check_websocket(site)
