"""Starlette with mounts, hosts and middlewares, served by two uvicorn workers under the launcher."""

import base64
import json

import pytest
from itsdangerous import TimestampSigner

from tests.integration import cases
from tests.integration.frameworks.common import FrameworkTests, ResetTests, SessionTests, check_websocket
from tests.integration.site import serve

COMMAND = ["uvicorn", "starlette_app:app", "--port", "{port}", "--workers", "2", "--no-access-log"]
BEARER = {"Authorization": f"Bearer {cases.TOKEN}"}


def signed_earlier() -> str:
    """The session that signing in makes, as Starlette signs it at another time; it does so whenever it renews one."""
    payload = base64.b64encode(json.dumps({"user": "bob"}).encode("utf-8"))

    class Earlier(TimestampSigner):
        def get_timestamp(self) -> int:
            return super().get_timestamp() - 5

    return f"portal={Earlier('only for tests, signs nothing of value').sign(payload).decode()}"


@pytest.fixture(scope="module", params=["", "http"], ids=["old-names", "stable-names"])
def site(request, tmp_path_factory):
    """The application after all cases, once with each generation of HTTP names."""
    directory = tmp_path_factory.mktemp("starlette")
    with serve(directory, "starlette_app.py", COMMAND, OTEL_SEMCONV_STABILITY_OPT_IN=request.param) as site:
        site.label = "Starlette"
        cases.drive(site)
        cases.sign_in(site, signed_earlier())
        cases.feed(site)
        cases.reset(site)
        more(site)
        cases.collect(site)
        yield site


def more(site):
    """Requests of this framework alone."""
    asked = {
        "mounted": ("GET", "/v1/acme/deep/g-1/datasets/7", BEARER),
        "mounted-nowhere": ("GET", "/v1/acme/deep/g-1/nowhere", {}),
        "static": ("GET", "/static/style.css", {}),
        "static-nowhere": ("GET", "/static/wp-login.php", {}),
        "whole": ("GET", "/whole", {}),
        "part": ("GET", "/whole", {"Range": "bytes=10-19"}),
        "tenant": ("GET", "/tables/9", {"Host": "acme.portal.example"}),
        "tenant-nowhere": ("GET", "/tables/9/10", {"Host": "acme.portal.example"}),
        "looked": ("GET", "/looked/datasets/d-1/download", BEARER),
        "looked-crash": ("GET", "/looked/crash", BEARER),
        "looked-stopped": ("GET", "/looked/stopped", {}),
        "mounted-secret": ("GET", f"/looked/restore/{cases.RESET}/", {}),
        "not-allowed": ("DELETE", "/datasets", BEARER),
        "refused-by-backend": ("GET", "/datasets", {"Authorization": "Bearer broken"}),
    }
    for name, (method, target, headers) in asked.items():
        site.answers[name] = site.ask(method, target, {"User-Agent": name, **headers})
    site.answers["looked-echo"] = site.ask("POST", "/looked/echo", {"User-Agent": "looked-echo"}, b"y" * 3000)


class TestStarlette(FrameworkTests, SessionTests, ResetTests):
    """What holds of every framework with sessions, and of this one."""

    routes = {
        "view": "/organizations/{org}/datasets/{dataset_id:int}",
        "download": "/datasets/{dataset_id}/download",
        "anonymous": "/datasets",
        "feed": "/feeds/{feed_id:int}",
        "mounted": "/v1/{org}/deep/{group}/datasets/{dataset_id:int}",
        "static": "/static",
        "tenant": "/tables/{table_id}",
        "looked": "/looked/datasets/{dataset_id}/download",
    }
    operations = {
        "view": "organization-dataset",
        "missing": "organization-dataset",
        "anonymous": "Datasets",
        "create": "Datasets",
        "download": "download",
        "boom": "boom",
        "feed": "feed",
        "mounted": "v1:deep:dataset",
        "tenant": "table",
        "static": "static",
        "nowhere": None,
        "mounted-nowhere": None,
        "static-nowhere": None,
        "not-allowed": None,
        "refused-by-backend": None,
    }
    more_requests = 22
    session_user = ("bob", None)

    def test_user_is_the_middlewares(self, site):
        """The user is the one that AuthenticationMiddleware found, in mounted applications too."""
        for name in ("view", "mounted", "looked", "looked-crash"):
            row = site.row_of(name)
            assert (row["user_id"], row["user_name"], row["user_source"]) == ("alice", "alice@portal", "framework")

    def test_refused_by_the_backend(self, site):
        """Whoever the backend refuses has a row and no user."""
        row = site.row_of("refused-by-backend")
        assert (row["status_code"], row["user_id"], row["token_scheme"]) == (400, None, "bearer")

    def test_nested_mounts(self, site):
        """The parameters of mounts are the parents of what is inside."""
        row = site.row_of("mounted")
        resource = (row["resource_type"], row["resource_id"], row["resource_parent_type"], row["resource_parent_id"])
        assert resource == ("dataset", "7", "deep", "g-1")

    def test_files(self, site):
        """Bytes of files are counted whoever sends them, whole and in part."""
        sizes = {name: site.row_of(name)["response_bytes"] for name in ("static", "whole", "part")}
        # An old Starlette answers the whole file where a part is asked for.
        assert sizes == {"static": 300, "whole": 300, "part": len(site.answers["part"].body)}

    def test_what_passes_a_base_http_middleware(self, site):
        """A BaseHTTPMiddleware runs the endpoint in another task: the bytes are right all the same."""
        assert site.answers["looked"].headers["x-looked"] == "1"
        assert site.row_of("looked")["response_bytes"] == 5000
        row = site.row_of("looked-echo")
        assert (row["request_bytes"], row["response_bytes"]) == (3000, 3000)

    def test_errors_through_a_base_http_middleware(self, site):
        """An exception behind it and one in it are the errors of their requests."""
        errors = {name: site.row_of(name)["error_type"] for name in ("looked-crash", "looked-stopped")}
        assert errors == {"looked-crash": "RuntimeError", "looked-stopped": "KeyError"}

    def test_secret_of_a_mounted_template(self, site):
        """The templates of mounts are known before they are met."""
        row = site.row_of("mounted-secret")
        assert (row["status_code"], row["path"]) == (307, "/looked/restore/REDACTED/")

    def test_websocket(self, site):
        """A WebSocket is one row."""
        check_websocket(site)
