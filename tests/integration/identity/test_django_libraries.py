"""Django's identity libraries side by side in one site, which says nothing of its users by itself."""

import json
import subprocess
import sys

import jwt
import pytest

from tests.integration import cases, known
from tests.integration.cases import API_KEY, BASIC, NOBODY, PASSWORD, TOKEN, Case
from tests.integration.identity.kept import check_not_kept
from tests.integration.site import Site, serve, wait_for

SERVERS = {
    "wsgi": ["gunicorn", "--bind", "127.0.0.1:{port}", "identity_django:wsgi"],
    "asgi": ["uvicorn", "identity_django:asgi", "--port", "{port}", "--no-access-log"],
}
SECRET = "only for tests, signs nothing of value"
OAUTH = "oauth-2718281828459045"
MACHINE = "machine-1618033988749894"
CLAIMS = {"token_type": "access", "exp": 4102444800, "jti": "j-99", "user_id": "2", "name": "Bob Only"}
JWT = jwt.encode(CLAIMS, SECRET, algorithm="HS256")
WRONG = jwt.encode(CLAIMS, SECRET[::-1], algorithm="HS256")


def sending(scheme: str, text: str) -> dict[str, str]:
    """The header of a credential."""
    return {"Authorization": f"{scheme} {text}"}


def user(user_id: str, name: str | None, token_name: str | None = None) -> dict[str, str | None]:
    """The columns of a user that the framework told."""
    return {"user_id": user_id, "user_name": name, "user_source": "framework", "token_name": token_name}


ALICE, BOB, DAVE = ("1", "alice"), ("2", "bob"), ("3", "dave")
OF_TOKEN = {**user(*ALICE), "token_scheme": "token"}
OF_SESSION = {**user(*BOB), "token_scheme": "session"}
REFUSED = {"user_id": None, "user_name": None, "user_source": None, "token_name": None}
WITH_TOKEN = sending("Token", TOKEN)

CASES = [
    Case("drf-token", "GET", "/drf/token", WITH_TOKEN, row=OF_TOKEN, token=TOKEN),
    Case("drf-token-wrong", "GET", "/drf/token", sending("Token", OAUTH), status=401, row=REFUSED, token=OAUTH),
    Case("drf-forbidden", "GET", "/drf/admin", WITH_TOKEN, status=403, row=OF_TOKEN, token=TOKEN),
    Case("drf-anonymous", "GET", "/drf/any", row=NOBODY),
    Case("drf-basic", "GET", "/drf/basic", sending("Basic", BASIC), row=user(*DAVE)),
    Case("drf-basic-wrong", "GET", "/drf/basic", sending("Basic", "ZGF2ZTp3cm9uZw=="), status=401, row=REFUSED),
    Case("drf-key", "GET", "/drf/key", {"X-API-Key": API_KEY}, row=user(*ALICE, "Weekly mirror"), token=API_KEY),
    Case("drf-key-wrong", "GET", "/drf/key", {"X-API-Key": OAUTH}, status=401, row=REFUSED, token=OAUTH),
    Case("simplejwt", "GET", "/drf/jwt", sending("Bearer", JWT), row=user(*BOB, "j-99")),
    Case("simplejwt-wrong", "GET", "/drf/jwt", sending("Bearer", WRONG), status=401, row=REFUSED),
    Case("stateless", "GET", "/drf/stateless", sending("Bearer", JWT), row=user("2", "Bob Only", "j-99")),
    Case("oauth", "GET", "/drf/oauth", sending("Bearer", OAUTH), row=user(*ALICE, "Nightly export"), token=OAUTH),
    Case("oauth-wrong", "GET", "/drf/oauth", sending("Bearer", TOKEN), status=401, row=REFUSED, token=TOKEN),
    Case(
        "oauth-machine",
        "GET",
        "/drf/machine",
        sending("Bearer", MACHINE),
        row={**REFUSED, "token_name": "Nightly export"},
        token=MACHINE,
    ),
    Case("oauth-resource", "GET", "/oauth/resource", sending("Bearer", OAUTH), row=user(*ALICE), token=OAUTH),
    Case("oauth-middleware", "GET", "/oauth/middleware", sending("Bearer", OAUTH), row=user(*ALICE), token=OAUTH),
    Case("own-lazy", "GET", "/own-lazy", {"X-Name": "dave"}, row=user("3", None)),
    Case("viewset-list", "GET", "/v1/datasets/", WITH_TOKEN, row=OF_TOKEN),
    Case("viewset-create", "POST", "/v1/datasets/", WITH_TOKEN, status=201, row=OF_TOKEN),
    Case("viewset-retrieve", "GET", "/v1/datasets/42/", WITH_TOKEN, row=OF_TOKEN),
    Case("viewset-head", "HEAD", "/v1/datasets/42/", WITH_TOKEN, row=OF_TOKEN),
    Case("viewset-refused", "GET", "/v1/datasets/42/", status=401, row=REFUSED),
    Case("viewset-no-action", "DELETE", "/v1/datasets/42/", WITH_TOKEN, status=405, row=OF_TOKEN),
    Case(
        "viewset-boom",
        "GET",
        "/v1/datasets/0/",
        WITH_TOKEN,
        status=500,
        row={**OF_TOKEN, "error_type": "RuntimeError"},
    ),
]
WITH_SESSION = [
    Case("drf-session", "GET", "/drf/session", row=OF_SESSION),
    Case("streamed", "GET", "/streamed", row={**OF_SESSION, "response_bytes": 5000}),
    # By design: only the application's own look asks the database who it is.
    Case("asleep", "GET", "/asleep", row={**REFUSED, "token_scheme": "session"}),
]
OPERATIONS = {
    "viewset-list": "v1:Datasets.list",
    "viewset-create": "v1:Datasets.create",
    "viewset-retrieve": "v1:Datasets.retrieve",
    "viewset-head": "v1:Datasets.retrieve",
    "viewset-refused": "v1:Datasets.retrieve",
    "viewset-boom": "v1:Datasets.retrieve",
    "viewset-no-action": "v1:dataset-detail",
    "drf-token": "token",
    "oauth-resource": "resource",
    "streamed": "identity_django.streamed",
}


def prepare(site: Site) -> None:
    """Make the site's database; not under the launcher, so it leaves no rows."""
    credentials = {"token": TOKEN, "key": API_KEY, "password": PASSWORD, "oauth": OAUTH, "machine": MACHINE}
    environment = {**site.environment, "SITE_CREDENTIALS": json.dumps(credentials)}
    subprocess.run([sys.executable, "identity_django.py"], cwd=site.directory, env=environment, check=True, timeout=120)


def drive(site: Site) -> None:
    """Ask all cases, the last with the session of who signed in."""
    for case in CASES:
        headers = {"User-Agent": case.name, **case.headers}
        site.answers[case.name] = site.ask(case.method, case.target, headers)
    cookie = site.ask("POST", "/login", {"User-Agent": "login"}).headers["set-cookie"].partition(";")[0]
    for case in WITH_SESSION:
        headers = {"User-Agent": case.name, "Cookie": cookie}
        site.answers[case.name] = site.ask(case.method, case.target, headers)


def serving(directory, protocol: str, **environment: str):
    """The site by one of its protocols."""
    environment["DJANGO_SETTINGS_MODULE"] = "identity_django"
    return serve(directory, "identity_django.py", SERVERS[protocol], prepare=prepare, **environment)


LIBRARIES = {
    "DRF TokenAuthentication": "drf-token",
    "DRF SessionAuthentication": "drf-session",
    "DRF BasicAuthentication": "drf-basic",
    "DRF, an authentication class with a row for the key": "drf-key",
    "simplejwt": "simplejwt",
    "simplejwt (stateless)": "stateless",
    "django-oauth-toolkit (DRF)": "oauth",
    "django-oauth-toolkit (middleware)": "oauth-middleware",
}


@pytest.fixture(scope="module", params=["wsgi", "asgi"], ids=["wsgi-old-names", "asgi-stable-names"])
def site(request, tmp_path_factory):
    """The site after all cases, by each protocol."""
    directory = tmp_path_factory.mktemp("django-libraries")
    names = {"wsgi": "", "asgi": "http"}[request.param]
    with serving(directory, request.param, OTEL_SEMCONV_STABILITY_OPT_IN=names) as site:
        site.label = f"Django, {request.param.upper()}, identity libraries"
        drive(site)
        wait_for(lambda: len(site.read_rows()) == len(CASES) + len(WITH_SESSION) + 1)
        site.stop()
        yield site


@pytest.mark.parametrize("case", CASES + WITH_SESSION, ids=lambda case: case.name)
def test_row(site, case):
    """The row has the user and the token's name that the library knows, and no user where it was refused."""
    cases.check(site, case)


def test_operation(site):
    """A ViewSet's action, else the url name, else the view's name; also where it was refused or failed."""
    assert {name: site.row_of(name)["operation"] for name in OPERATIONS} == OPERATIONS


def test_no_query_is_added(site, tmp_path):
    """The database gets the same statements in the same order whether the requests are recorded or not."""
    protocol = "wsgi" if "WSGI" in site.label else "asgi"
    with serving(tmp_path / "unrecorded", protocol, OTEL_SDK_DISABLED="true") as unrecorded:
        drive(unrecorded)
        unrecorded.stop()
    recorded = (site.directory / "queries.txt").read_text()
    assert recorded == (unrecorded.directory / "queries.txt").read_text()
    assert not unrecorded.store.exists()
    assert recorded.count("\n") > len(CASES) // 2


def test_no_credential_is_kept(site):
    """No raw credential is found anywhere afterwards."""
    cases.check_secrets(site)
    check_not_kept(site, OAUTH, MACHINE, JWT, WRONG)


def test_what_is_known_is_documented(site, update_docs):
    """The table of the documentation says what the rows say."""
    known.check_libraries(site, "Django", LIBRARIES, update=update_docs)
