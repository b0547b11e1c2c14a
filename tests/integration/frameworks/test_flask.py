"""Flask with flask-login, served by gunicorn under the launcher."""

import pytest

from tests.integration import cases
from tests.integration.site import serve

ROUTES = {
    "view": "/organizations/<org>/datasets/<int:dataset_id>",
    "download": "/datasets/<dataset_id>/download",
    "anonymous": "/datasets",
}


@pytest.fixture(scope="module", params=["", "http"], ids=["old-names", "stable-names"])
def site(request, tmp_path_factory):
    """The application after all cases, once with each generation of HTTP names."""
    command = ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "--threads", "2", "flask_app:app"]
    directory = tmp_path_factory.mktemp("flask")
    with serve(directory, "flask_app.py", command, OTEL_SEMCONV_STABILITY_OPT_IN=request.param) as site:
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
    cases.check(site, case)


def test_every_request_has_one_row(site):
    """As many rows as requests: the cases, the one walked away from, the login and two with a session."""
    assert len(site.rows) == len(cases.CASES) + 4


@pytest.mark.parametrize("name", ROUTES)
def test_route(site, name):
    """The route is Flask's own rule."""
    assert site.row_of(name)["route"] == ROUTES[name]


def test_user_is_flask_logins(site):
    """The user is the one flask-login loaded, with its name and where it came from."""
    row = site.row_of("view")
    assert (row["user_id"], row["user_name"], row["user_source"]) == ("alice", "alice@portal", "framework")


def test_session(site):
    """A session cookie is a token of scheme session, the same one for as long as the session is the same."""
    rows = [row for row in site.rows if row["user_agent"] == "with-session"]
    assert {row["user_id"] for row in rows} == {"bob"}
    assert {row["token_scheme"] for row in rows} == {"session"}
    assert len({row["token_id"] for row in rows} - {None}) == 1


def test_login(site):
    """Signing in is the action login, by the user who signed in."""
    row = site.row_of("login")
    assert (row["action"], row["user_id"]) == ("login", "bob")


def test_client_that_goes_away(site):
    """A client that goes away in the middle of a download is in the rows with what had passed."""
    cases.check_walk_away(site)


def test_exception_reaches_the_application_log(site):
    """The unhandled exception is logged by Flask as without us."""
    assert "RuntimeError: boom on purpose" in site.log


def test_no_credential_is_kept(site):
    """No raw credential is found anywhere afterwards."""
    cases.check_secrets(site)
