"""Django and Django REST framework under the launcher: WSGI by gunicorn, ASGI by uvicorn."""

import subprocess
import sys

import pytest

from tests.integration import cases
from tests.integration.site import Site, serve

COMMANDS = {
    "wsgi": ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "--threads", "2", "django_app:wsgi"],
    "asgi": ["uvicorn", "django_app:asgi", "--port", "{port}", "--workers", "2", "--no-access-log"],
}
ROUTES = {
    "view": "organizations/<str:org>/datasets/<int:dataset_id>",
    "download": "datasets/<str:dataset_id>/download",
    "anonymous": "datasets",
}


def prepare(site: Site) -> None:
    """Make the site's database; not under the launcher, so it leaves no rows."""
    environment = {**site.environment, "SITE_TOKEN": cases.TOKEN}
    subprocess.run([sys.executable, "django_app.py"], cwd=site.directory, env=environment, check=True, timeout=120)


@pytest.fixture(
    scope="module",
    params=[("wsgi", ""), ("wsgi", "http"), ("asgi", ""), ("asgi", "http")],
    ids=["wsgi-old-names", "wsgi-stable-names", "asgi-old-names", "asgi-stable-names"],
)
def site(request, tmp_path_factory):
    """The site after all cases, by both protocols and with each generation of HTTP names."""
    protocol, names = request.param
    with serve(
        tmp_path_factory.mktemp("django"),
        "django_app.py",
        COMMANDS[protocol],
        prepare=prepare,
        OTEL_SEMCONV_STABILITY_OPT_IN=names,
        DJANGO_SETTINGS_MODULE="django_app",
    ) as site:
        cases.drive(site)
        signed_in = site.ask("POST", "/login", {"User-Agent": "login"})
        cookie = signed_in.headers["set-cookie"].partition(";")[0]
        for _ in range(2):
            site.ask("GET", "/datasets", {"User-Agent": "with-session", "Cookie": cookie})
        cases.collect(site)
        yield site


@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: case.name)
def test_row(site, case):
    """Each request has one row, and it says what the request was."""
    if case.name in ("view", "missing"):
        # Django's ids of users are numbers.
        case = cases.with_row(case, user_id="2") if case.name == "view" else case
    cases.check(site, case)


def test_every_request_has_one_row(site):
    """As many rows as requests: the cases, the one walked away from, the login and two with a session."""
    assert len(site.rows) == len(cases.CASES) + 4


@pytest.mark.parametrize("name", ROUTES)
def test_route(site, name):
    """The route is Django's own, which has no leading slash."""
    assert site.row_of(name)["route"] == ROUTES[name]


def test_user_is_rest_frameworks(site):
    """The user is the one that REST framework's authentication found."""
    row = site.row_of("view")
    assert (row["user_id"], row["user_name"], row["user_source"]) == ("2", "alice", "framework")


def test_session(site):
    """A session cookie is a token of scheme session, and its user is Django's."""
    rows = [row for row in site.rows if row["user_agent"] == "with-session"]
    assert {(row["user_id"], row["user_name"], row["token_scheme"]) for row in rows} == {("1", "bob", "session")}
    assert len({row["token_id"] for row in rows} - {None}) == 1


def test_login(site):
    """Signing in is the action login, by the user who signed in."""
    row = site.row_of("login")
    assert (row["action"], row["user_name"]) == ("login", "bob")


def test_client_that_goes_away(site):
    """A client that goes away in the middle of a download is in the rows with what had passed."""
    cases.check_walk_away(site)


def test_exception_reaches_the_application_log(site):
    """The unhandled exception is logged by Django as without us."""
    assert "RuntimeError: boom on purpose" in site.log


def test_no_credential_is_kept(site):
    """No raw credential is found anywhere afterwards."""
    cases.check_secrets(site)
