"""Where the credential of a request is found."""

import base64
import json

import pytest
from django.core import signing
from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import TimestampSigner

from otel_usage.enrichment.credentials import basic_user, find_credential, find_credentials
from otel_usage.enrichment.facts import CREDENTIAL_HEADERS, RequestFacts
from otel_usage.enrichment.identity import token_of

ANY_TEXT = st.text(st.characters(exclude_categories=[]))

# Last access, creation, content.
SEEN = [1795267200.1, 1795267100, {"user": "1"}]


def request(
    authorization: str | None = None, *, query: str = "", cookie: str | None = None, **headers: str
) -> RequestFacts:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if authorization is not None:
        named["authorization"] = authorization
    if cookie is not None:
        named["cookie"] = cookie
    return RequestFacts("GET", "/", query, headers=named, session_cookie_names=("session", "sessionid"))


def found(facts: RequestFacts) -> tuple[str, str] | None:
    credential = find_credential(facts)
    return (credential.scheme, credential.text) if credential else None


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Bearer abc", ("bearer", "abc")),
        ("bearer   abc  ", ("bearer", "abc")),
        ("BEARER abc", ("bearer", "abc")),
        ("Token abc", ("token", "abc")),
        ('Token token="abc", email="x"', ("token", "abc")),
        ("Token token=abc", ("token", "abc")),
        ('Bearer "abc"', ("bearer", "abc")),
        ("ApiKey abc", ("api_key", "abc")),
        ("Api-Key abc", ("api_key", "abc")),
        ("abc", ("token", "abc")),
        ('"abc"', ("token", "abc")),
        ("3f2504e0-4f89-11d3-9a0c-0305e82c3301", ("token", "3f2504e0-4f89-11d3-9a0c-0305e82c3301")),
        (basic("abc:"), ("basic", "abc")),
        (basic("abc"), ("basic", "abc")),
        (basic("abc:x-oauth-basic"), ("basic", "abc")),
        (basic("abc:api_token"), ("basic", "abc")),
        (basic("abc:x-oauth-basic2"), None),
        (basic("abc:API_TOKEN"), None),
        (basic(":api_token"), None),
        (basic("alice:pw"), None),
        (basic(":pw"), None),
        (basic(":"), None),
        ("Basic", None),
        ("Basic !", None),
        ("Basic A", None),
        ("Bearer", None),
        ("Bearer ", None),
        ('Token token=""', None),
        ("Token", None),
        ("Digest username=x, realm=y", None),
        ("Negotiate abc", None),
        ("NTLM abc", None),
        ("AWS4-HMAC-SHA256 Credential=a/b, Signature=c", None),
        ("AWS4-HMAC-SHA256", None),
        ("Signature keyId=a", None),
        ("Digest", None),
        ("null", None),
        ("undefined", None),
        ("Bearer undefined", None),
        ("Token None", None),
        ("a b", None),
        ("", None),
        ("  ", None),
        ("Bearer t\xc3\xb6ken", ("bearer", "töken")),
        ("Bearer t\xf6ken", ("bearer", "töken")),
    ],
)
def test_authorization(value: str, expected: tuple[str, str] | None) -> None:
    """Every spelling of Authorization gives the bare token and its scheme, or nothing."""
    assert found(request(value)) == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (request("Bearer a", x_api_key="b", query="token=c", cookie="session=d"), ("bearer", "a")),
        (request(x_api_key="b", x_auth_token="c", query="token=d", cookie="session=e"), ("api_key", "b")),
        (request(x_auth_token="c", api_key="d", x_ckan_api_key="e"), ("api_key", "c")),
        (request(api_key="d", x_ckan_api_key="e"), ("api_key", "d")),
        (request(x_ckan_api_key=" e "), ("api_key", "e")),
        (request(x_api_key=" ", x_ckan_api_key="e"), ("api_key", "e")),
        (request(query="a=1&token=d", cookie="session=e"), ("api_key", "d")),
        (request(cookie="session=e"), ("session", "e")),
        (request("Bearer", query="token=d"), ("api_key", "d")),
        (request("Digest a=b", x_api_key="b"), ("api_key", "b")),
        (request(basic("alice:pw"), x_api_key="b"), ("api_key", "b")),
        (request(basic("alice:pw"), cookie="session=e"), None),
        (request(), None),
    ],
    ids=range(13),
)
def test_precedence(facts: RequestFacts, expected: tuple[str, str] | None) -> None:
    """Authorization comes first, then the key headers in their order, then the query, then the session cookie."""
    assert found(facts) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("api_key=a", ("api_key", "a")),
        ("apikey=a", ("api_key", "a")),
        ("token=a", ("api_key", "a")),
        ("access_token=a", ("bearer", "a")),
        ("API_KEY=a", ("api_key", "a")),
        ("x=1;token=a", ("api_key", "a")),
        ("token=a%2Fb%3D%3d", ("api_key", "a/b==")),
        ("token=a+b", ("api_key", "a+b")),
        ("token=t%C3%B6ken", ("api_key", "töken")),
        ("token=%", ("api_key", "%")),
        ("token=&api_key=b", ("api_key", "b")),
        ("token=REDACTED", None),
        ("token=", None),
        ("mytoken=a", None),
        ("page_token=a", None),
        ("token", None),
    ],
)
def test_query(query: str, expected: tuple[str, str] | None) -> None:
    """The four query parameters carry a token, percent-decoded; an empty or redacted one is none."""
    assert found(request(query=query)) == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (request(basic("alice:pw")), "alice"),
        (request(basic("alice:p:w")), "alice"),
        (request(basic("jörg:pw")), "jörg"),
        (request(basic("alice:")), None),
        (request(basic(":pw")), None),
        (request(basic("token:x-oauth-basic")), None),
        (request(basic("token:api_token")), None),
        (request(basic("alice:api_token:")), "alice"),
        (request("Bearer abc"), None),
        (request(), None),
    ],
    ids=range(10),
)
def test_basic_user(facts: RequestFacts, expected: str | None) -> None:
    """A Basic credential with a password names a user."""
    assert basic_user(facts) == expected


@pytest.mark.parametrize(
    ("cookie", "expected"),
    [
        ("a=b; session=xyz; c=d", "xyz"),
        ("sessionid=xyz", "xyz"),
        ('session="xyz"', "xyz"),
        ("mysession=xyz", None),
        ("session=", None),
        ("session", None),
        ("a=session=xyz", None),
        ("", None),
        ("session=a.b.c", "a.b.c"),
        ("session=3f25:04e0", "3f25:04e0"),
    ],
)
def test_session_cookie(cookie: str, expected: str | None) -> None:
    """The framework's cookie among others is the credential, an opaque one as it is."""
    facts = request(cookie=cookie)
    assert found(facts) == (None if expected is None else ("session", expected))


def test_no_cookie_of_anybody_else() -> None:
    """Without a name stated by the framework no cookie is a credential."""
    assert find_credential(RequestFacts("GET", "/", headers={"cookie": "session=xyz"})) is None


def test_flask_session_stays_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flask signs a session anew with every answer; it stays one credential."""
    app = Flask(__name__)
    app.secret_key = "test"
    serializer = SecureCookieSessionInterface().get_signing_serializer(app)
    assert serializer is not None
    cookies = set()
    for seconds in (1_800_000_000, 1_800_000_777):
        monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda self, seconds=seconds: seconds)
        cookies.add(serializer.dumps({"user": "1"}))
    assert len(cookies) == 2
    assert len({found(request(cookie=f"session={cookie}")) for cookie in cookies}) == 1


def test_django_signed_session_stays_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Django signs a session anew with every answer; it stays one credential."""
    signer = signing.TimestampSigner(
        key="test", fallback_keys=[], salt="django.contrib.sessions.backends.signed_cookies"
    )
    cookies = set()
    for timestamp in ("1vLABC", "1vLABD"):
        monkeypatch.setattr(signer, "timestamp", lambda timestamp=timestamp: timestamp)
        cookies.add(signer.sign_object({"user": "1"}, compress=True))
    assert len(cookies) == 2
    assert len({found(request(cookie=f"sessionid={cookie}")) for cookie in cookies}) == 1


@given(
    st.dictionaries(st.sampled_from([*CREDENTIAL_HEADERS, "cookie"]), ANY_TEXT),
    ANY_TEXT,
    st.sampled_from(["", "Bearer ", "Basic ", "token=", "Token token="]),
    st.lists(ANY_TEXT).map(tuple),
)
def test_any_request_is_read(headers: dict[str, str], query: str, before: str, names: tuple[str, ...]) -> None:
    """No header, query or cookie name makes it raise."""
    headers = {name: before + value for name, value in headers.items()}
    facts = RequestFacts("GET", "/", before + query, headers=headers, session_cookie_names=names)
    find_credential(facts)
    basic_user(facts)


def test_a_credential_is_not_shown() -> None:
    """The representation of a credential does not hold it."""
    assert "raw-secret" not in repr(find_credential(request("Bearer raw-secret")))


@pytest.mark.parametrize("text", [" " * 200_000, "a" * 200_000, "=" * 200_000, "a.a:" * 50_000, ";session=" * 20_000])
def test_huge_values_end(text: str) -> None:
    """Huge values take time in proportion to their length."""
    find_credential(request(f"Bearer{text}"))
    find_credential(request(f"Basic {text}"))
    find_credential(request(x_api_key=text, query=text))
    find_credential(request(query=text, cookie=f"session={text}"))


def test_pyramid_session_stays_the_same() -> None:
    """Pyramid's session cookie says when it was last used; its token is the same all the while, another's is not."""
    contents = (SEEN, [1795267201.9, *SEEN[1:]], [*SEEN[:2], {"user": "2"}])
    signed = [b"\xfb" * 64 + json.dumps(content).encode() for content in contents]
    cookies = [base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in signed]
    ids = [token_of(request(cookie=f"session={cookie}"), b"k" * 32) for cookie in cookies]
    assert ids[0] == ids[1] != ids[2]
    credential = find_credential(request(cookie=f"session={cookies[0]}"))
    assert credential is not None
    assert credential.text == cookies[0]


def test_pyramid_session_is_read_in_linear_time() -> None:
    """Whoever sends what looks like the beginning of many sessions does not keep the server busy."""
    forged = base64.urlsafe_b64encode(b"[1, 1, {}]}" * 100_000 + b"]x").decode()
    assert found(request(cookie=f"session={forged}")) == ("session", forged)


def test_find_credentials() -> None:
    """A request with several credentials has one token; all of them are secrets."""
    facts = request("Bearer first", x_api_key="second", query="token=third")
    first, every = find_credentials(facts)
    assert first == find_credential(facts)
    assert set(every) == {"first", "second", "third"}
    assert find_credentials(request("Bearer null", x_api_key="second")) == (None, ("second",))


def test_secrets_of_basic() -> None:
    """As it is sent, and its password; not a short one, a part of the user's name, nor a service's own word."""
    for text, secrets in (
        ("alice:p@ss!word", ["p@ss!word"]),
        (":p@ss!word", ["p@ss!word"]),
        ("alice:alice", []),
        ("alice:bob", []),
        ("alice-and-bob:alice-and", []),
        ("abcdefgh:x-oauth-basic", []),
        ("abcdefgh", []),
    ):
        first, every = find_credentials(request(basic(text)))
        expected = {basic(text).removeprefix("Basic ").rstrip("="), *secrets}
        assert set(every) == expected | ({first.text} if first is not None else set())
    first, every = find_credentials(request(basic("alice:password"), x_api_key="a key"))
    assert first is not None
    assert first.text == "a key"
    assert "password" in every
    assert find_credentials(request("Digest username=a")) == (None, ())
