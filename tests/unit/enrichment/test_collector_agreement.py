"""The Collector configuration finds the same token as this package.

The reference below is the Collector's transform, statement by statement: its expressions, its order.
"""

import base64
import re
import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_usage.enrichment.credentials import basic_user, find_credential
from otel_usage.enrichment.facts import RequestFacts

# RE2's \s is [\t\n\f\r ] and its $ the end of the text.
SCHEME = re.compile(r'(?is)^[\t\n\f\r ]*(?:bearer|token|apikey|api-key)[\t\n\f\r ]+(?:token=)?"?(?P<t>[^\t\n\f\r ",]+)')
BASIC = re.compile(r"(?i)^[\t\n\f\r ]*basic[\t\n\f\r ]+(?P<b>[A-Za-z0-9+/_-]+)")
BASIC_TOKEN = re.compile(r"(?s)^(?P<u>[^:]+):?\Z")
BASIC_USER = re.compile(r"(?s)^(?P<u>[^:]+):.+\Z")
QUERY = re.compile(r"(?i)(?:^|[?&;])(?:api_key|access_token|token|apikey)=(?P<t>[^&;#]+)")
DECODED = {"2B": "+", "2F": "/", "3D": "=", "3A": ":", "7C": "|", "40": "@"}


def collector_basic(authorization: str) -> str | None:
    found = BASIC.match(authorization)
    if found is None:
        return None
    encoded = found["b"].replace("-", "+").replace("_", "/")
    try:
        decoded = base64.b64decode(encoded + "=" * (-len(encoded) % 4))
    except ValueError:
        return None
    try:
        return decoded.decode("utf-8")
    except UnicodeDecodeError:
        return decoded.decode("latin-1")


def collector_token(facts: RequestFacts) -> str | None:
    authorization = facts.headers.get("authorization")
    if authorization is not None:
        if found := SCHEME.match(authorization):
            return found["t"]
        if found := BASIC_TOKEN.match(collector_basic(authorization) or ""):
            return found["u"]
    for name in ("x-api-key", "x-auth-token", "api-key"):
        if name in facts.headers:
            return facts.headers[name].strip() or None
    found = QUERY.search(facts.query)
    if found is None:
        return None
    token = found["t"]
    for code, character in DECODED.items():
        token = re.sub(f"(?i)%{code}", character, token)
    return None if token == "REDACTED" else token


def collector_user(facts: RequestFacts) -> str | None:
    found = BASIC_USER.match(collector_basic(facts.headers.get("authorization", "")) or "")
    return found["u"] if found else None


def basic(text: str, encode: str = "b64encode") -> str:
    return getattr(base64, encode)(text.encode()).decode()


TOKENS = (
    "abc",
    "ghp_0123456789abcdefghijklmnopqrstuvwxyz",
    "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    "a/b+c==",
    "x.y_z~1-2",
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.",
)
AUTHORIZATIONS = [
    template.format(token)
    for token in TOKENS
    for template in (
        "Bearer {}",
        "bearer {}",
        "BEARER  {} ",
        " Bearer\t{}",
        "Token {}",
        "Token token={}",
        'Token token="{}"',
        'Token token="{}", nonce="def"',
        "ApiKey {}",
        "Api-Key {}",
        "apikey {},x",
    )
]
BASICS = [
    f"{word} {basic(text, encode).rstrip(end)}"
    for word in ("Basic", "basic", "  BASIC  ")
    for encode in ("b64encode", "urlsafe_b64encode")
    for end in ("", "=")
    for text in ("token:", "token", "alice:pw", "alice:p:w", ":pw", ":", "??>:", "a?>b:>>?")
]
OTHERS = ["Digest username=a", "Negotiate abc", "Basic", "Basic A", "Basic !!", "Bearer", "Bearer ", "Bearer ,", ""]


@pytest.mark.parametrize("authorization", AUTHORIZATIONS + BASICS + OTHERS)
def test_authorization(authorization: str) -> None:
    """The same Authorization is the same token and the same user at both ends."""
    facts = RequestFacts("GET", "/", headers={"authorization": authorization})
    credential = find_credential(facts)
    assert (credential.text if credential else None) == collector_token(facts)
    assert basic_user(facts) == collector_user(facts)


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("name", ["api_key", "apikey", "access_token", "token", "API_KEY"])
@pytest.mark.parametrize("query", ["{}={}", "a=1&{}={}", "a=1;{}={}&b=2", "a=1?{}={}", "{}=&{}={}"])
def test_query(query: str, name: str, token: str) -> None:
    """The same query is the same token at both ends, percent-encoded or not."""
    for value in (token, quote(token, safe="")):
        parts = (name, name, value) if query.count("{}") == 3 else (name, value)
        facts = RequestFacts("GET", "/", query.format(*parts))
        credential = find_credential(facts)
        assert credential is not None
        assert credential.text == collector_token(facts) == token


@pytest.mark.parametrize("authorization", [None, "Digest a=b", f"Basic {basic('alice:pw')}", "Bearer z"])
@pytest.mark.parametrize("query", ["", "token=q"])
@pytest.mark.parametrize("names", [("x-api-key",), ("x-auth-token",), ("api-key",), ("api-key", "x-api-key"), ()])
def test_precedence(authorization: str | None, query: str, names: tuple[str, ...]) -> None:
    """Of several credentials both ends take the same."""
    headers = {name: f" {name}-token " for name in names}
    if authorization is not None:
        headers["authorization"] = authorization
    facts = RequestFacts("GET", "/", query, headers=headers)
    credential = find_credential(facts)
    assert (credential.text if credential else None) == collector_token(facts)


@given(
    st.sampled_from(["Bearer", "token", "APIKEY", "api-key", "Basic"]),
    st.text(" \t", min_size=1),
    st.text(string.ascii_letters + string.digits + string.punctuation + " ", min_size=1),
)
def test_any_authorization(word: str, space: str, rest: str) -> None:
    """Whatever follows a known scheme is the same token at both ends; `token=` alone, and "null", are none here."""
    facts = RequestFacts("GET", "/", headers={"authorization": f"{word}{space}{rest}"})
    credential = find_credential(facts)
    expected = collector_token(facts)
    if (expected or "").lower() not in ("token=", "null", "none", "undefined"):
        assert (credential.text if credential else None) == expected
