"""Who Starlette's authentication and Authlib's client say it was, with no word of the application."""

import time

import jwt
import pytest

from tests.integration import cases, known
from tests.integration.identity.kept import check_not_kept
from tests.integration.site import serve

COMMAND = ["uvicorn", "identity_starlette:app", "--port", "{port}", "--no-access-log"]
KEY = "only for tests, signs nothing of value"
NIGHTLY = "key-nightly-0123456789abcdef"


LIBRARIES = {
    "AuthenticationMiddleware (JWT)": "bearer",
    "AuthenticationMiddleware (key)": "key",
    "Authlib client, user in the session (Starlette)": "oauth",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The application after one request or more of each way to sign in."""
    directory = tmp_path_factory.mktemp("identity_starlette")
    with serve(directory, "identity_starlette.py", COMMAND, NIGHTLY_KEY=NIGHTLY) as site:
        site.credentials = drive(site)
        site.stop()
        site.read_rows()
        yield site


def drive(site) -> list[str]:
    """Ask for everything; returns the raw credentials that were sent."""
    lasting = {"iss": "https://id.example", "exp": int(time.time()) + 3600}
    token = jwt.encode({**lasting, "sub": "carol", "jti": "nightly-7", "name": "Carol"}, KEY, algorithm="HS256")
    oauth = cookie_of(site.ask("GET", "/oauth/callback", {"User-Agent": "oauth-callback"}))
    begun = cookie_of(site.ask("GET", "/oauth/login", {"User-Agent": "oauth-login"}))
    session = cookie_of(site.ask("POST", "/login", {"User-Agent": "login"}))
    asked = {
        "bearer": ("GET", "/bearer/pages/1", {"Authorization": f"Bearer {token}"}),
        "simple": ("GET", "/bearer/pages/1", {"Authorization": f"Token {cases.TOKEN}"}),
        "key": ("GET", "/bearer/pages/1", {"X-API-Key": NIGHTLY}),
        "anonymous": ("GET", "/bearer/open/1", {}),
        "forbidden": ("GET", "/bearer/pages/1", {}),
        "refused": ("GET", "/bearer/pages/1", {"Authorization": f"Bearer {cases.TOKEN}"}),
        "forged": ("GET", "/bearer/pages/1", {"Authorization": f"Bearer {cases.CLAIMS}"}),
        "oauth": ("GET", "/pages/1", {"Cookie": oauth}),
        "oauth-begun": ("GET", "/pages/1", {"Cookie": begun}),
        "session": ("GET", "/pages/1", {"Cookie": session}),
        "logout": ("POST", "/logout", {"Cookie": session}),
    }
    for name, (method, target, headers) in asked.items():
        site.answers[name] = site.ask(method, target, {"User-Agent": name, **headers})
    return [token, NIGHTLY, *(cookie.partition("=")[2] for cookie in (oauth, begun, session))]


def cookie_of(answer) -> str:
    """The cookie that an answer sets."""
    return answer.headers["set-cookie"].partition(";")[0]


SIGNED_IN = {
    "bearer": ("carol", "Carol", "bearer", "nightly-7"),
    "simple": ("grace", "grace", "token", None),
    "key": ("alice", None, "api_key", "nightly export"),
    "oauth": ("s-9", "Grace", "session", None),
    "session": ("7", None, "session", None),
}


@pytest.mark.parametrize("case", SIGNED_IN)
def test_signed_in(site, case):
    """Whoever signed in has id and name by the library's word, and a token with the name that the library knows."""
    row = site.row_of(case)
    told = (row["user_id"], row["user_name"], row["token_scheme"], row["token_name"])
    assert (told, row["user_source"]) == (SIGNED_IN[case], "framework")
    assert row["token_id"] is not None


@pytest.mark.parametrize("case", ["anonymous", "forbidden", "refused", "forged", "oauth-begun", "logout"])
def test_nobody(site, case):
    """Whoever did not sign in, was refused, or has just left is a row without user."""
    row = site.row_of(case)
    assert (row["user_id"], row["user_name"], row["user_source"]) == (None, None, None)


def test_refused(site):
    """The backend's refusal is answered, and recorded, as one."""
    refused = {name: site.row_of(name)["status_code"] for name in ("forbidden", "refused", "forged")}
    assert refused == {"forbidden": 403, "refused": 400, "forged": 400}


def test_no_credential_is_kept(site):
    """No raw credential is found anywhere afterwards."""
    cases.check_secrets(site)
    check_not_kept(site, *site.credentials)


def test_what_is_known_is_documented(site, update_docs):
    """The table of the documentation says what the rows say."""
    known.check_libraries(site, "Starlette", LIBRARIES, update=update_docs)
