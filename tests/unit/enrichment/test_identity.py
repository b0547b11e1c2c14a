"""The token and the user of a request."""

import base64
import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_usage.enrichment import identity
from otel_usage.enrichment.facts import CREDENTIAL_HEADERS, FrameworkUser, RequestFacts
from otel_usage.enrichment.identity import Token, User, token_of, user_of
from otel_usage.enrichment.privacy import fingerprint
from otel_usage.enrichment.resources import classify

KEY = b"0123456789abcdef0123456789abcdef"
LONG = "ghp_" + "A" * 32 + "wxyz"
ANY_TEXT = st.text(st.characters(exclude_categories=[]))
# Marked, so that no word of a result is one by chance.
TOKENS = st.text(string.ascii_letters + string.digits, min_size=4, max_size=80).map("Zq9x{}".format)


def request(authorization: str | None = None, *, query: str = "", **facts: Any) -> RequestFacts:
    headers = {} if authorization is None else {"authorization": authorization}
    return RequestFacts("GET", "/", query, headers=headers, **facts)


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


def jwt(**claims: object) -> str:
    parts = ({"alg": "HS256"}, claims)
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
    return ".".join((*encoded, "c2lnbmF0dXJl"))


EXPIRING = jwt(exp=1, iss="https://issuer", azp="client", sub="user-1", preferred_username="alice")


@pytest.mark.parametrize(
    ("facts", "text", "scheme", "hint"),
    [
        (request(f"Bearer {LONG}"), LONG, "bearer", "ghp_…wxyz"),
        (request("Bearer short"), "short", "bearer", None),
        (request(f"Token {LONG}"), LONG, "token", "ghp_…wxyz"),
        (request(query=f"api_key={LONG}"), LONG, "api_key", "ghp_…wxyz"),
        (request(basic(f"{LONG}:")), LONG, "basic", None),
        (request(f"Bearer {EXPIRING}"), "jwt\nhttps://issuer\nclient\nuser-1", "bearer", None),
        (request(f"Bearer {jwt(iss='i', jti='j')}"), "jwt\ni\njti\nj", "bearer", "…dXJl"),
        (request(f"Bearer {jwt(exp=1)}"), jwt(exp=1), "bearer", None),
        (request(f"Bearer {jwt(iss='i')}"), jwt(iss="i"), "bearer", "…dXJl"),
    ],
    ids=["long", "short", "token", "query", "basic", "expiring", "lasting", "expiring-nameless", "lasting-nameless"],
)
def test_token(facts: RequestFacts, text: str, scheme: str, hint: str | None) -> None:
    """A token is the fingerprint of what stays the same of it, its scheme, and a hint where that is safe."""
    assert token_of(facts, KEY) == Token(fingerprint(KEY, text), scheme, hint)
    assert token_of(facts, None) == Token(None, scheme, hint)


def test_session_token_has_no_hint() -> None:
    """A session is a token too, but nothing of it is shown."""
    facts = RequestFacts("GET", "/", headers={"cookie": f"session={LONG}"}, session_cookie_names=("session",))
    assert token_of(facts, KEY) == Token(fingerprint(KEY, LONG), "session", None)


@pytest.mark.parametrize("facts", [request(), request(basic("alice:pw")), request("Bearer ")], ids=range(3))
def test_no_token(facts: RequestFacts) -> None:
    """Without a credential, or with a user's password, there is no token."""
    assert token_of(facts, KEY) is None


FRAMEWORK = FrameworkUser("1", "alice")


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (request(basic("bob:pw"), user=FRAMEWORK, remote_user="carol"), User("1", "alice", "framework")),
        (request(user=FRAMEWORK, status=401), User("1", "alice", "framework")),
        (request(user=FrameworkUser(None, "alice")), User(None, "alice", "framework")),
        (request(user=FrameworkUser("", ""), remote_user="carol"), User("carol", None, "header")),
        (request(basic("bob:pw"), remote_user="carol"), User("bob", None, "basic")),
        (request(basic("bob:pw"), status=200), User("bob", None, "basic")),
        (request(basic("bob:pw"), status=404), User("bob", None, "basic")),
        (request(basic("bob:pw"), status=401), None),
        (request(basic("bob:pw"), status=403), None),
        (request(basic("token:")), None),
        (request(remote_user="carol", status=403), User("carol", None, "header")),
        (request(f"Bearer {EXPIRING}", remote_user="carol"), User("carol", None, "header")),
        (request(f"Bearer {EXPIRING}", status=200), User("user-1", "alice", "jwt")),
        (request(f"Bearer {EXPIRING}"), User("user-1", "alice", "jwt")),
        (request(f"Bearer {EXPIRING}", status=401), None),
        (request(f"Bearer {EXPIRING}", status=403), None),
        (request(f"Bearer {jwt(preferred_username='alice')}"), None),
        (request("Bearer abc"), None),
        (request(), None),
    ],
    ids=range(19),
)
def test_user(facts: RequestFacts, expected: User | None) -> None:
    """The framework comes first, then Basic, REMOTE_USER, and an unverified claim; refused claims name nobody."""
    assert user_of(facts) == expected


@pytest.mark.parametrize(
    "facts",
    [
        request(basic(f"{LONG}:"), remote_user=LONG),
        request(f"Bearer {LONG}", user=FrameworkUser(LONG)),
        request(query=f"token={LONG}", user=FrameworkUser(LONG, LONG), remote_user=LONG),
    ],
    ids=["remote-user", "framework", "all"],
)
def test_a_token_is_no_user(facts: RequestFacts) -> None:
    """Where server or application name the user after the token, there is no user."""
    assert user_of(facts) is None


def test_users_are_bounded() -> None:
    """A user's id and name are cut at 256 characters, and can be encoded."""
    user = user_of(request(user=FrameworkUser("\ud800" + "a" * 300, "b" * 300)))
    assert user == User("?" + "a" * 255, "b" * 256, "framework")


@given(
    TOKENS,
    st.sampled_from(["Bearer {}", "Token {}", 'Token token="{}"', "ApiKey {}", "{}", "Basic"]),
    st.sampled_from([None, *CREDENTIAL_HEADERS[1:]]),
    st.sampled_from([None, 200, 401]),
)
def test_no_token_leaks(token: str, authorization: str, header: str | None, status: int | None) -> None:
    """However a token is sent, it is in nothing that is returned."""
    value = basic(f"{token}:") if authorization == "Basic" else authorization.format(token)
    headers = {header: token} if header else {"authorization": value}
    facts = RequestFacts(
        "GET", "/a/1", f"api_key={token}", headers=headers, status=status, remote_user=token, plain=True
    )
    returned = repr((token_of(facts, KEY), token_of(facts, None), user_of(facts), classify(facts)))
    assert token not in returned


@given(
    st.dictionaries(st.sampled_from([*CREDENTIAL_HEADERS, "cookie"]), ANY_TEXT),
    ANY_TEXT,
    st.none() | st.builds(FrameworkUser, st.none() | ANY_TEXT, st.none() | ANY_TEXT),
    st.none() | ANY_TEXT,
    st.none() | st.integers(),
)
def test_any_request_is_read(
    headers: dict[str, str], query: str, user: FrameworkUser | None, remote_user: str | None, status: int | None
) -> None:
    """No request makes it raise, and what is returned can be encoded."""
    facts = RequestFacts("GET", "/", query, headers=headers, user=user, remote_user=remote_user, status=status)
    token_of(facts, KEY)
    found = user_of(facts)
    if found is not None:
        f"{found.id}{found.name}".encode()


def test_no_credential_of_several_is_a_user() -> None:
    """A framework that names the user after a key that came beside the token names nobody."""
    headers = {"authorization": "Bearer first-token", "x-api-key": "second-key"}
    assert user_of(RequestFacts("GET", "/", headers=headers, user=FrameworkUser("second-key"))) is None


def test_a_token_met_again_is_the_same() -> None:
    """Its fingerprint is made once, for each key and scheme; the token itself is not remembered."""
    other = b"another-key-another-key-another-"
    bearer, api_key = request(f"Bearer {LONG}"), request(query=f"api_key={LONG}")
    first = [token_of(facts, key) for facts in (bearer, api_key) for key in (KEY, other, None)]
    again = [token_of(facts, key) for facts in (bearer, api_key) for key in (KEY, other, None)]
    assert first == again
    assert len({(token.id, token.scheme) for token in first if token is not None}) == 6
    assert LONG not in repr(identity._known)
    assert LONG.encode() not in b"".join(digest for digest, _, _ in identity._known)


def test_tokens_without_end() -> None:
    """What is remembered of them stays bounded."""
    for number in range(9000):
        token_of(request(f"Bearer token-number-{number}"), KEY)
    assert len(identity._known) <= identity._CACHE_SIZE
