"""Who FastAPI's identity libraries say it was, with no word of the application."""

import json
import time
from urllib.parse import urlencode

import jwt
import pytest

from tests.integration import cases, known
from tests.integration.identity.kept import check_not_kept
from tests.integration.site import serve

COMMAND = ["uvicorn", "identity_fastapi:app", "--port", "{port}", "--no-access-log"]
KEY = "only for tests, signs nothing of value"
NIGHTLY, MACHINE = "key-nightly-0123456789abcdef", "key-machine-0123456789abcdef"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ALICE_ID = "00000000-0000-0000-0000-000000000005"


def token(subject: str, **claims: object) -> str:
    """A JSON Web Token that the application accepts."""
    lasting = {"iss": "https://id.example", "sub": subject, "exp": int(time.time()) + 3600}
    return jwt.encode({**lasting, **claims}, KEY, algorithm="HS256")


LIBRARIES = {
    "PyJWT (dependency)": "user",
    "PyJWT (subclass of HTTPBearer)": "scheme",
    "python-jose (dependency)": "jose",
    "APIKeyHeader with a row for the key": "key",
    "fastapi-users (Bearer)": "member",
    "fastapi-users (cookie)": "member-cookie",
    "Authlib client, user in the session": "oauth",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The application after one request or more of each library."""
    directory = tmp_path_factory.mktemp("identity_fastapi")
    secrets = {"NIGHTLY_KEY": NIGHTLY, "MACHINE_KEY": MACHINE, "PASSWORD": cases.PASSWORD}
    with serve(directory, "identity_fastapi.py", COMMAND, **secrets) as site:
        site.credentials = drive(site)
        site.stop()
        site.read_rows()
        yield site


def drive(site) -> list[str]:
    """Ask for everything; returns the raw credentials that were sent."""
    claims = token("carol", jti="nightly-7", name="Carol")
    jose = token("judy", scopes=["read"])
    weak = token("judy", scopes=[])
    form = urlencode({"username": "alice@portal.example", "password": cases.PASSWORD}).encode()
    member = json.loads(site.ask("POST", "/auth/jwt/login", {**FORM, "User-Agent": "jwt-login"}, form).body)
    cookie = site.ask("POST", "/auth/cookie/login", {**FORM, "User-Agent": "cookie-login"}, form).headers["set-cookie"]
    cookie = cookie.partition(";")[0]
    session = site.ask("GET", "/oauth/callback", {"User-Agent": "oauth-callback"}).headers["set-cookie"].partition(";")
    access = member["access_token"]
    asked = {
        "claims": ("/pyjwt/claims/1", bearer(claims)),
        "user": ("/pyjwt/user/1", bearer(claims)),
        "dataset": ("/pyjwt/datasets/1", bearer(claims)),
        "dataset-anonymous": ("/pyjwt/datasets/1", {}),
        "scheme": ("/pyjwt/scheme/1", bearer(claims)),
        "forbidden": ("/pyjwt/admin/1", bearer(claims)),
        "anonymous": ("/pyjwt/user/1", {}),
        "refused": ("/pyjwt/user/1", bearer(cases.CLAIMS)),
        "jose": ("/jose/read/1", bearer(jose)),
        "jose-scopes": ("/jose/read/1", bearer(weak)),
        "key": ("/api/keys/things/1", {"X-Portal-Key": NIGHTLY}),
        "machine": ("/api/keys/things/1", {"X-Portal-Key": MACHINE}),
        "unknown-key": ("/api/keys/things/1", {"X-Portal-Key": cases.OWN_KEY}),
        "basic-refused": ("/basic/1", {"Authorization": f"Basic {cases.BASIC}"}),
        "member": ("/members/1", bearer(access)),
        "member-cookie": ("/members/1", {"Cookie": cookie}),
        "member-token": ("/with-token/1", bearer(access)),
        "member-nobody": ("/members/1", {}),
        "member-forbidden": ("/superusers/1", bearer(access)),
        "visitor": ("/visitors/1", {"Cookie": cookie}),
        "visitor-anonymous": ("/visitors/1", {}),
        "oauth": ("/oauth/pages/1", {"Cookie": session[0]}),
        "oauth-anonymous": ("/oauth/pages/1", {}),
    }
    for name, (target, headers) in asked.items():
        site.answers[name] = site.ask("GET", target, {"User-Agent": name, **headers})
    return [claims, jose, weak, access, cookie.partition("=")[2], session[0].partition("=")[2], NIGHTLY, MACHINE]


def bearer(credential: str) -> dict[str, str]:
    """The header of a bearer token."""
    return {"Authorization": f"Bearer {credential}"}


SIGNED_IN = {
    "claims": ("carol", "Carol", "bearer", "nightly-7"),
    "user": ("carol", "Carol", "bearer", "nightly-7"),
    "dataset": ("carol", "Carol", "bearer", "nightly-7"),
    "scheme": ("carol", "Carol", "bearer", "nightly-7"),
    "forbidden": ("carol", "Carol", "bearer", "nightly-7"),
    "jose": ("judy", "judy@jose", "bearer", None),
    "key": ("alice", "alice@portal", "api_key", "nightly export"),
    "member": (ALICE_ID, "alice@portal.example", "bearer", None),
    "member-token": (ALICE_ID, "alice@portal.example", "bearer", None),
    "member-cookie": (ALICE_ID, "alice@portal.example", "api_key", None),
    "visitor": (ALICE_ID, "alice@portal.example", "api_key", None),
    "oauth": ("s-9", "Grace", "session", None),
}


@pytest.mark.parametrize("case", SIGNED_IN)
def test_signed_in(site, case):
    """Whoever signed in has id and name by the library's word, and a token with the name that the library knows."""
    row = site.row_of(case)
    told = (row["user_id"], row["user_name"], row["token_scheme"], row["token_name"])
    assert (told, row["user_source"]) == (SIGNED_IN[case], "framework")
    assert row["token_id"] is not None


NOBODY = ["anonymous", "dataset-anonymous", "visitor-anonymous", "member-nobody", "oauth-anonymous"]


@pytest.mark.parametrize("case", NOBODY)
def test_nobody(site, case):
    """Whoever did not sign in is a row without user and token."""
    row = site.row_of(case)
    assert (row["user_id"], row["token_id"], row["token_scheme"]) == (None, None, None)


@pytest.mark.parametrize("case", ["refused", "unknown-key", "jose-scopes", "basic-refused", "member-forbidden"])
def test_refused(site, case):
    """Who is refused before anybody said who it was is no user, whatever the credential claims."""
    row = site.row_of(case)
    assert site.answers[case].status in (401, 403)
    assert row["user_id"] is None


def test_refused_after_the_user_was_known(site):
    """A dependency that answers 403 to a known user takes nothing back."""
    assert site.row_of("forbidden")["status_code"] == 403


def test_a_key_that_belongs_to_nobody(site):
    """The row of a key is no user; its name is the token's."""
    row = site.row_of("machine")
    assert (row["user_id"], row["token_name"], row["token_scheme"]) == (None, "harvester", "api_key")


def test_tokens_stay_the_same(site):
    """A token is known by its fingerprint, a JWT that expires by issuer and subject: renewing it makes no other."""
    tokens = {name: site.row_of(name)["token_id"] for name in ("claims", "user", "scheme", "forbidden", "member")}
    assert len(set(tokens.values())) == 2
    assert site.row_of("key")["token_id"] == cases.token_id(site, NIGHTLY)
    assert site.row_of("member-cookie")["token_id"] == site.row_of("visitor")["token_id"]


def test_no_credential_is_kept(site):
    """No raw credential of any library is found anywhere afterwards."""
    cases.check_secrets(site)
    check_not_kept(site, *site.credentials)


def test_what_is_known_is_documented(site, update_docs):
    """The table of the documentation says what the rows say."""
    known.check_libraries(site, "FastAPI", LIBRARIES, update=update_docs)
