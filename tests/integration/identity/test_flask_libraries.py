"""Flask's identity libraries side by side in one application, which says nothing of its users by itself."""

import re
from hashlib import md5

import jwt
import pytest

from tests.integration import cases, known
from tests.integration.cases import API_KEY, BASIC, NOBODY, PASSWORD, Case
from tests.integration.identity.kept import check_not_kept
from tests.integration.site import Site, serve, wait_for

COMMAND = ["gunicorn", "--bind", "127.0.0.1:{port}", "identity_flask:app"]
SECRET = "only for tests, signs nothing of value"
ROW = "row-3141592653589793238"
CLAIMS = {"sub": "ivy", "jti": "j-77", "exp": 4102444800, "name": "Ivy Only", "client_id": "portal", "grant_type": "x"}
JWT = jwt.encode(CLAIMS, SECRET, algorithm="HS256")
WRONG = jwt.encode(CLAIMS, SECRET[::-1], algorithm="HS256")


def bearer(token: str) -> dict[str, str]:
    """The header of a Bearer token."""
    return {"Authorization": f"Bearer {token}"}


def user(user_id: str, name: str | None = None, token_name: str | None = None) -> dict[str, str | None]:
    """The columns of a user that the framework told."""
    return {"user_id": user_id, "user_name": name, "user_source": "framework", "token_name": token_name}


HENRY = {**user("henry"), "token_hint": "…tsrq"}
IVY = {**user("ivy", "ivy", "j-77"), "token_scheme": "bearer"}
REFUSED = {"user_id": None, "user_name": None, "user_source": None, "token_name": None}

CASES = [
    Case("httpauth-basic", "GET", "/httpauth/basic", {"Authorization": f"Basic {BASIC}"}, row=user("11", "dave")),
    Case("httpauth-basic-refused", "GET", "/httpauth/basic", status=401, row=NOBODY),
    Case("httpauth-token", "GET", "/httpauth/token", bearer(API_KEY), row=HENRY, token=API_KEY),
    Case("httpauth-token-wrong", "GET", "/httpauth/token", bearer(ROW), status=401, row=REFUSED, token=ROW),
    Case("httpauth-anonymous", "GET", "/httpauth/optional", row=NOBODY),
    Case("httpauth-mistaken", "GET", "/httpauth/optional", bearer(ROW), row=REFUSED, token=ROW),
    Case("httpauth-header", "GET", "/httpauth/header", {"X-Portal-Key": API_KEY}, row=HENRY, token=API_KEY),
    Case("httpauth-echo", "GET", "/httpauth/echo", {"X-Portal-Key": ROW}, row=REFUSED, token=ROW),
    Case(
        "httpauth-key",
        "GET",
        "/httpauth/key",
        {"Authorization": f"ApiKey {API_KEY}"},
        row=user("13", "kate", "Weekly mirror"),
        token=API_KEY,
    ),
    Case("authlib-row", "GET", "/authlib/row", bearer(ROW), row=user("12", None, "nightly-export"), token=ROW),
    Case("authlib-row-wrong", "GET", "/authlib/row", bearer(API_KEY), status=401, row=REFUSED, token=API_KEY),
    Case("authlib-claims", "GET", "/authlib/claims", bearer(JWT), row=user("ivy", "Ivy Only", "j-77")),
    Case("authlib-claims-wrong", "GET", "/authlib/claims", bearer(WRONG), status=401, row=REFUSED),
    Case("pyjwt", "GET", "/pyjwt/claims", bearer(JWT), row=IVY),
    Case("pyjwt-wrong", "GET", "/pyjwt/claims", bearer(WRONG), status=401, row=REFUSED),
    Case("pyjwt-boom", "GET", "/pyjwt/boom", bearer(JWT), status=500, row={**IVY, "error_type": "RuntimeError"}),
    Case("pyjwt-streamed", "GET", "/pyjwt/streamed", bearer(JWT), row={**IVY, "response_bytes": 5000}),
    Case("principal", "GET", "/principal", row=user("judy")),
    # Last, since the application lets exceptions through from there on.
    Case("propagated", "GET", "/pyjwt/propagated", bearer(JWT), status=500, row={**IVY, "error_type": "RuntimeError"}),
]


def ask_by_digest(site: Site) -> None:
    """Answer the challenge of HTTP Digest (RFC 7616), whose nonce is in the session."""
    refused = site.ask("GET", "/httpauth/digest", {"User-Agent": "digest-refused"})
    said = dict(re.findall(r'(\w+)="([^"]*)"', refused.headers["www-authenticate"]))
    first = md5(f"dave:{said['realm']}:{PASSWORD}".encode(), usedforsecurity=False).hexdigest()
    second = md5(b"GET:/httpauth/digest", usedforsecurity=False).hexdigest()
    counted = f"{said['nonce']}:00000001:c:auth:{second}"
    response = md5(f"{first}:{counted}".encode(), usedforsecurity=False).hexdigest()
    answer = f'username="dave", realm="{said["realm"]}", nonce="{said["nonce"]}", uri="/httpauth/digest"'
    answer += f', opaque="{said["opaque"]}", qop=auth, nc=00000001, cnonce="c", response="{response}"'
    cookie = refused.headers["set-cookie"].partition(";")[0]
    headers = {"User-Agent": "digest", "Authorization": f"Digest {answer}", "Cookie": cookie}
    site.answers["digest"] = site.ask("GET", "/httpauth/digest", headers)


LIBRARIES = {
    "Flask-HTTPAuth (Basic)": "httpauth-basic",
    "Flask-HTTPAuth (token)": "httpauth-token",
    "Flask-HTTPAuth (token, a row with a name)": "httpauth-key",
    "Flask-HTTPAuth (Digest)": "digest",
    "Authlib ResourceProtector (token row)": "authlib-row",
    "Authlib ResourceProtector (JWT)": "authlib-claims",
    "PyJWT with `g`": "pyjwt",
    "a user in the session (Flask)": "session",
}


@pytest.fixture(scope="module", params=["", "http"], ids=["old-names", "stable-names"])
def site(request, tmp_path_factory):
    """The application after all cases, once with each generation of HTTP names."""
    directory = tmp_path_factory.mktemp("flask-libraries")
    environment = {"OTEL_SEMCONV_STABILITY_OPT_IN": request.param, "SITE_PASSWORD": PASSWORD}
    with serve(directory, "identity_flask.py", COMMAND, **environment) as site:
        site.label = "Flask, identity libraries"
        ask_by_digest(site)
        cookie = site.ask("POST", "/session/login", {"User-Agent": "session-login"}).headers["set-cookie"]
        headers = {"User-Agent": "session", "Cookie": cookie.partition(";")[0]}
        site.answers["session"] = site.ask("GET", "/session/page", headers)
        for case in CASES:
            headers = {"User-Agent": case.name, **case.headers}
            site.answers[case.name] = site.ask(case.method, case.target, headers)
        wait_for(lambda: len(site.read_rows()) == len(CASES) + 4)
        site.stop()
        yield site


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_row(site, case):
    """The row has the user and the token's name that the library knows, and no user where it was refused."""
    cases.check(site, case)


def test_digest(site):
    """The user of HTTP Digest is known, and whoever did not answer the challenge is nobody."""
    assert site.answers["digest"].status == 200
    assert site.row_of("digest")["user_id"] == "dave"
    assert site.row_of("digest-refused")["user_id"] is None


def test_session(site):
    """Whom the application has put into the session is its user, and the page is no other for our looking."""
    row = site.row_of("session")
    assert (row["user_id"], row["user_name"], row["token_scheme"]) == ("liam", "Liam", "session")
    assert site.row_of("session-login")["user_id"] == "liam"
    assert "vary" not in site.answers["session"].headers


def test_an_error_page_is_no_other(site):
    """A failed page whose session nobody looked at does not vary by cookie for our looking."""
    assert "vary" not in site.answers["pyjwt-boom"].headers


@pytest.mark.parametrize("case", ["pyjwt", "pyjwt-wrong", "pyjwt-boom", "propagated", "pyjwt-streamed"])
def test_route_and_operation_do_not_depend_on_how_it_ended(site, case):
    """Answered, aborted before the view, failed, failed into the server, streamed: the route has its name."""
    row = site.row_of(case)
    names = {"pyjwt": "by_pyjwt", "pyjwt-wrong": "by_pyjwt", "pyjwt-boom": "boom", "pyjwt-streamed": "streamed"}
    assert row["operation"] == f"site.{names.get(case, case)}"
    assert row["route"] == row["path"]


def test_no_credential_is_kept(site):
    """No raw credential is found anywhere afterwards."""
    cases.check_secrets(site)
    check_not_kept(site, ROW, JWT, WRONG)


def test_what_is_known_is_documented(site, update_docs):
    """The table of the documentation says what the rows say."""
    known.check_libraries(site, "Flask", LIBRARIES, update=update_docs)
