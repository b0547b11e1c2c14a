"""Pyramid's security policies and the authentication policies of its first generation, under the launcher."""

import base64

import pytest

from tests.integration import cases, known
from tests.integration.site import serve

COMMAND = ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "--threads", "2", "identity_pyramid:app"]
# Policy -> who signs in by a cookie, and what its rows say of the user.
COOKIES = {
    "ticket": ("7", ("7", "heidi")),
    "helper": ("ivan", ("ivan", None)),
    "legacy-ticket": ("judy", ("judy", None)),
    "legacy-session": ("mallory", ("mallory", None)),
}


def basic(password: str) -> dict[str, str]:
    """The header of a user with a password."""
    return {"Authorization": f"Basic {base64.b64encode(f'dave:{password}'.encode()).decode()}"}


def ask(site, policy: str, case: str, path: str = "datasets/42", headers: dict[str, str] | None = None):
    """One request of an application, found again as "policy case"."""
    return site.ask("GET", f"/{policy}/{path}", {"User-Agent": f"{policy} {case}", **(headers or {})})


def sign_in(site, policy: str, user: str) -> str:
    """Sign in, look at something with the cookie and with a forged one, sign out; returns the cookie."""
    cookie = ask(site, policy, "login", f"login?user={user}").headers["set-cookie"].partition(";")[0]
    name, _, value = cookie.partition("=")
    for case in ("first", "second"):
        ask(site, policy, case, headers={"Cookie": f"theme=dark; {cookie}"})
    ask(site, policy, "forged", headers={"Cookie": f"{name}=0{value}"})
    ask(site, policy, "logout", "logout", {"Cookie": cookie})
    return value


LIBRARIES = {
    "SecurityPolicy with AuthTktCookieHelper": "ticket first",
    "AuthTktAuthenticationPolicy": "legacy-ticket first",
    "SessionAuthenticationPolicy": "legacy-session first",
    "BasicAuthAuthenticationPolicy": "legacy-basic first",
    "RemoteUserAuthenticationPolicy": "legacy-remote first",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """All applications after their requests; `secrets` are the cookies that were used."""
    with serve(tmp_path_factory.mktemp("policies"), "identity_pyramid.py", COMMAND) as site:
        site.secrets = [sign_in(site, policy, user) for policy, (user, _) in COOKIES.items()]
        for policy in (*COOKIES, "legacy-basic", "legacy-remote"):
            ask(site, policy, "anonymous")
        ask(site, "legacy-basic", "first", headers=basic(cases.PASSWORD))
        ask(site, "legacy-basic", "forged", headers=basic("wrong"))
        ask(site, "legacy-remote", "first", headers={"X-Signed-In": "olivia"})
        ask(site, "ticket", "unasked", "unasked", {"Cookie": f"ticket={site.secrets[0]}"})
        site.stop()
        site.read_rows()
        yield site


def user_of(row):
    return row["user_id"], row["user_name"], row["user_source"]


@pytest.mark.parametrize("policy", COOKIES)
class TestCookies:
    """Policies that keep a user in a cookie of theirs."""

    def test_signed_in(self, site, policy):
        """The user is whom the policy names, also where only its principals are asked for."""
        user = (*COOKIES[policy][1], "framework")
        assert {user_of(site.row_of(f"{policy} {case}")) for case in ("first", "second")} == {user}

    def test_token(self, site, policy):
        """The cookie is a token of scheme session, the same in both requests."""
        rows = [site.row_of(f"{policy} {case}") for case in ("first", "second")]
        assert {row["token_scheme"] for row in rows} == {"session"}
        assert len({row["token_id"] for row in rows} - {None}) == 1

    def test_login(self, site, policy):
        """Who signs in is remembered in the row of signing in."""
        row = site.row_of(f"{policy} login")
        assert (row["user_id"], row["status_code"]) == (COOKIES[policy][0], 200)

    def test_forged(self, site, policy):
        """A cookie that the policy does not believe names nobody."""
        row = site.row_of(f"{policy} forged")
        assert (row["status_code"], row["user_id"], row["token_scheme"]) == (403, None, "session")


@pytest.mark.parametrize("policy", [*COOKIES, "legacy-basic", "legacy-remote"])
def test_anonymous(site, policy):
    """Without a credential there is a row without user and token."""
    row = site.row_of(f"{policy} anonymous")
    assert (row["status_code"], row["user_id"], row["token_id"], row["operation"]) == (403, None, None, "dataset")
    assert row["route"] == f"/{policy}/datasets/{{dataset_id}}"


def test_basic(site):
    """A user whose password the policy has checked is the framework's, without a token."""
    row = site.row_of("legacy-basic first")
    assert (*user_of(row), row["token_id"]) == ("dave", None, "framework", None)
    assert site.row_of("legacy-basic forged")["user_id"] is None


def test_remote_user(site):
    """The user whom the server in front names is the policy's."""
    assert user_of(site.row_of("legacy-remote first")) == ("olivia", None, "framework")


def test_nobody_is_asked_by_us(site):
    """Whose ticket it is costs a query: the application makes it, where it asks, and we make none."""
    assert site.log.count("query for /ticket/datasets/42") == 2
    assert "query for /ticket/unasked" not in site.log
    assert (site.row_of("ticket unasked")["user_id"], site.row_of("ticket unasked")["token_scheme"]) == (
        None,
        "session",
    )


def test_no_credential_is_kept(site):
    """No cookie and no password is found anywhere afterwards."""
    kept = [path.read_bytes() for path in site.directory.rglob("*") if path.is_file() and path.suffix != ".py"]
    for secret in (*site.secrets, cases.PASSWORD, basic(cases.PASSWORD)["Authorization"].removeprefix("Basic ")):
        assert not any(secret.encode() in data for data in kept), "a raw credential is kept"


def test_what_is_known_is_documented(site, update_docs):
    """The table of the documentation says what the rows say."""
    known.check_libraries(site, "Pyramid", LIBRARIES, update=update_docs)
