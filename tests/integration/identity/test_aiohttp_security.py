"""aiohttp-security: the user that an application asked it for, by each kind of identity policy."""

import pytest

from tests.integration import cases, known
from tests.integration.apps.identity_aiohttp import token
from tests.integration.site import serve, wait_for

BOB = token("bob")


LIBRARIES = {
    "aiohttp-security (JWTIdentityPolicy)": "jwt",
    "aiohttp-security (CookiesIdentityPolicy)": "cookie",
    "aiohttp-security (a policy of one's own)": "key",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """One server after a few requests by each policy."""
    directory = tmp_path_factory.mktemp("aiohttp-security")
    with serve(directory, "identity_aiohttp.py", ["python", "identity_aiohttp.py", "{port}"]) as site:

        def ask(name, target, headers, status=200):
            answer = site.ask("POST" if target.endswith("login") else "GET", target, {"User-Agent": name, **headers})
            assert answer.status == status
            return answer

        bearer = {"Authorization": f"Bearer {BOB}"}
        ask("jwt", "/jwt/whoever", bearer)
        ask("jwt-anonymous", "/jwt/whoever", {})
        ask("jwt-refused", "/jwt/somebody", {}, 401)
        ask("jwt-forbidden", "/jwt/write", bearer, 403)
        cookie = ask("cookie-login", "/cookie/login", {}).headers["set-cookie"].partition(";")[0]
        ask("cookie", "/cookie/somebody", {"Cookie": cookie})
        ask("cookie-anonymous", "/cookie/whoever", {})
        ask("key", "/key/write", {"X-API-Key": cases.API_KEY})
        ask("key-refused", "/key/write", {"X-API-Key": "key-of-nobody-0123456789"}, 401)
        wait_for(site.store.exists)
        site.stop()
        site.read_rows()
        yield site


@pytest.mark.parametrize(
    ("name", "user", "scheme", "status"),
    [
        ("jwt", "u-bob", "bearer", 200),
        ("jwt-forbidden", "u-bob", "bearer", 403),
        ("cookie", "u-dave", None, 200),
        ("key", "u-carol", "api_key", 200),
    ],
)
def test_user(site, name, user, scheme, status):
    """The user is who the authorization policy said it is, also of a request that was forbidden."""
    row = site.row_of(name)
    assert (row["user_id"], row["user_source"], row["status_code"]) == (user, "framework", status)
    assert row["token_scheme"] == scheme


@pytest.mark.parametrize("name", ["jwt-anonymous", "jwt-refused", "cookie-login", "cookie-anonymous", "key-refused"])
def test_nobody(site, name):
    """Without an identity, or with one that is refused, there is no user."""
    row = site.row_of(name)
    assert (row["user_id"], row["user_name"], row["user_source"]) == (None, None, None)


def test_token(site):
    """The bearer's JWT and the key of an own policy are tokens, refused or not; what names the user is none."""
    assert site.row_of("jwt")["token_id"] == cases.token_id(site, BOB)
    assert site.row_of("key")["token_id"] == cases.token_id(site, cases.API_KEY)
    assert site.row_of("key-refused")["token_scheme"] == "api_key"
    assert {site.row_of(name)["token_id"] for name in ("cookie", "jwt-anonymous", "jwt-refused")} == {None}


def test_operation(site):
    """Functions that several applications share have one name."""
    assert {site.row_of(name)["operation"] for name in ("jwt", "cookie-anonymous")} == {"whoever"}


def test_every_request_has_one_row(site):
    """There are as many rows as requests."""
    assert len(site.rows) == 9


def test_no_credential_is_kept(site):
    """No token or key is found anywhere afterwards."""
    kept = [path.read_bytes() for path in site.directory.rglob("*") if path.is_file() and path.suffix != ".py"]
    for credential in (BOB, cases.API_KEY):
        assert not any(credential.encode() in data for data in kept)


def test_what_is_known_is_documented(site, update_docs):
    """The table of the documentation says what the rows say."""
    known.check_libraries(site, "aiohttp.web", LIBRARIES, update=update_docs)
