"""Fingerprints, hints, redaction, truncation, sensitive keys."""

import hashlib
import hmac
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_usage.enrichment import privacy
from otel_usage.enrichment.privacy import (
    fingerprint,
    hint,
    is_sensitive_key,
    redact_parameter,
    redact_query,
    redact_url,
    truncate_address,
)

KEY = b"0123456789abcdef0123456789abcdef"
ANY_TEXT = st.text(st.characters(exclude_categories=[]))
# Marked, so that no word of a result is one by chance.
TOKENS = st.text(string.ascii_letters + string.digits, min_size=4, max_size=80).map("Zq9x{}".format)


@given(st.binary(min_size=32, max_size=64), st.text())
def test_fingerprint_is_hmac_sha256(key: bytes, token: str) -> None:
    """The token id is what the standard library's HMAC makes of the token in UTF-8."""
    expected = hmac.new(key, token.encode(), hashlib.sha256).hexdigest()[:16]
    assert fingerprint(key, token) == f"tok_{expected}"


@given(ANY_TEXT)
def test_fingerprint_takes_any_text(token: str) -> None:
    """Even text that is no UTF-8 has a fingerprint."""
    assert len(fingerprint(KEY, token)) == len("tok_") + 16


A = "a" * 200


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("ghp_" + "A" * 32 + "wxyz", "ghp_…wxyz"),
        ("gho_" + "A" * 32 + "wxyz", "gho_…wxyz"),
        ("github_pat_" + "1" * 78 + "wxyz", "github_pat_…wxyz"),
        ("hf_" + "A" * 30 + "wxyz", "hf_…wxyz"),
        ("npm_" + "A" * 32 + "wxyz", "npm_…wxyz"),
        ("sk-" + "A" * 44 + "wxyz", "sk-…wxyz"),
        ("xoxb-" + "1" * 46 + "wxyz", "xoxb-…wxyz"),
        ("pypi-" + "A" * 150 + "wxyz", "pypi-…wxyz"),
        ("dop_v1_" + "0" * 60 + "wxyz", "dop_v1_…wxyz"),
        ("sk_live_" + "A" * 95 + "wxyz", "sk_live_…wxyz"),
        ("glpat-" + "A" * 50 + "wxyz", "glpat-…wxyz"),
        ("sk_live_" + "A" * 20 + "wxyz", "…wxyz"),
        ("sk_live_" + "A" * 47 + "wxyz", "…wxyz"),
        ("sk_live_" + "A" * 48 + "wxyz", "sk_live_…wxyz"),
        ("A" * 16 + "wxyz", "…wxyz"),
        ("A" * 15 + "wxyz", None),
        ("", None),
        ("a_" + "A" * 50 + "wxyz", "…wxyz"),
        ("secretwords_" + "A" * 80 + "wxyz", "…wxyz"),
        ("A" * 30 + "\x00xyz", None),
        ("A" * 30 + "é", None),
    ],
    ids=lambda value: repr(value)[:16],
)
def test_hint(token: str, expected: str | None) -> None:
    """A hint is a vendor's prefix where it is short enough, and the last four characters of a long token."""
    assert hint(token) == expected


@given(ANY_TEXT)
def test_hint_shows_a_fifth_at_most(token: str) -> None:
    """No more than a fifth of any token is shown."""
    shown = hint(token)
    assert shown is None or 5 * (len(shown) - 1) <= len(token)


@pytest.mark.parametrize(
    "name",
    [
        "api_key",
        "apikey",
        "api-key",
        "API_KEY",
        "apiKey",
        "access_token",
        "accessToken",
        "auth_token",
        "private_token",
        "refresh_token",
        "id_token",
        "token",
        "key",
        "jwt",
        "auth",
        "authorization",
        "password",
        "passwd",
        "pwd",
        "secret",
        "client_secret",
        "code",
        "session",
        "sessionid",
        "session_id",
        "sid",
        "sig",
        "signature",
        "AWSAccessKeyId",
        "X-Amz-Signature",
        "X-Amz-Credential",
        "X-Amz-Security-Token",
        "X-Goog-Signature",
        "X-Goog-Credential",
        "my_token",
        "subscription-key",
        "db_password",
        "app_secret",
        "user[password]",
        "%74oken",
        "api%5Fkey",
        "%61%70%69_key",
    ],
)
def test_redact_query_knows_the_name(name: str) -> None:
    """The value of a parameter that may be a credential is replaced, however its name is written."""
    assert redact_query(f"a=1&{name}=p4ss%20word&b=2") == f"a=1&{name}=REDACTED&b=2"


@pytest.mark.parametrize(
    "query",
    [
        "",
        "token",
        "a=1&b=2",
        "page=2&sort=name+desc",
        "monkey=1&tokens=2&keyword=x&author=y&encode=utf-8&design=1",
        "%zz=%&=&==&;;&a=%ff",
        "q=a%26b&&x=1;y=2",
        "été=1&\ud800=2&\x00=3",
    ],
)
def test_redact_query_leaves_the_rest(query: str) -> None:
    """What is no credential stays byte for byte."""
    assert redact_query(query) == query


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("token=a;key=b&x=c", "token=REDACTED;key=REDACTED&x=c"),
        ("token=", "token=REDACTED"),
        ("token=a=b==", "token=REDACTED"),
        ("a=1?token=x", "a=1?token=REDACTED"),
        ("next=/p?token=x&y=1", "next=/p?token=REDACTED&y=1"),
        ("next=http%3A%2F%2Fh%3Fa%3D1%26token%3Dx&y=1", "next=http%3A%2F%2Fh%3Fa%3D1%26token%3DREDACTED&y=1"),
    ],
)
def test_redact_query_keeps_separators(query: str, expected: str) -> None:
    """Separators stay as they are, and a URL inside a value is looked into."""
    assert redact_query(query) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://example.org/a?b=c", "https://example.org/a?b=c"),
        ("https://example.org/a?token=x&b=c", "https://example.org/a?token=REDACTED&b=c"),
        ("https://example.org/#access_token=x&state=1", "https://example.org/#access_token=REDACTED&state=1"),
        ("https://example.org/?token=x#part", "https://example.org/?token=REDACTED#part"),
        ("https://user:pw@example.org/a@b", "https://REDACTED@example.org/a@b"),
        ("//token@example.org/", "//REDACTED@example.org/"),
        ("GET /a?key=x HTTP/1.1", "GET /a?key=REDACTED HTTP/1.1"),
        ("two: http://a/?key=x http://b:c@d/?e=f", "two: http://a/?key=REDACTED http://REDACTED@d/?e=f"),
        ("api_key=x", "api_key=REDACTED"),
        ("mail someone@example.org", "mail someone@example.org"),
        ("http://h/;jsessionid=x", "http://h/;jsessionid=REDACTED"),
        ('http://h/?token="x"', "http://h/?token=REDACTED"),
        ("", ""),
    ],
)
def test_redact_url(text: str, expected: str) -> None:
    """Credentials in the query, the fragment and the userinfo of a URL in any text are replaced."""
    assert redact_url(text) == expected


@given(ANY_TEXT)
def test_redaction_takes_any_text(text: str) -> None:
    """Redaction never raises, and has nothing left to do on its own result."""
    for redact in (redact_query, redact_url):
        assert redact(redact(text)) == redact(text)


@given(ANY_TEXT, TOKENS, st.sampled_from(["token", "api_key", "access_token", "Password", "X-Amz-Signature"]))
def test_redaction_leaves_no_token(text: str, token: str, name: str) -> None:
    """No credential survives, whatever stands before it."""
    before = text.replace(token, "")
    assert token not in redact_query(f"{before}&{name}={token}&x=1")
    assert token not in redact_url(f"https://example.org/{before}?{name}={token}&x=1")


DASHES = "&".join(f"{number}{'-' * 110}.a=key" for number in range(3000))


@pytest.mark.parametrize(
    "text", ["a" * 200_000, "//" * 100_000, "%3D" * 50_000, "[" * 100_000 + "=", "@" * 100_000, DASHES]
)
def test_redaction_of_huge_text_ends(text: str) -> None:
    """Huge text takes time in proportion to its length."""
    assert redact_query(text) == text
    assert len(redact_url(text)) <= len(text)


@pytest.mark.parametrize(
    ("address", "full", "truncated"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.0"),
        ("192.0.2.7:4711", "192.0.2.7", "192.0.2.0"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2:3::4", "2001:db8:1::"),
        ("[2001:db8:1:2::4]:443", "2001:db8:1:2::4", "2001:db8:1::"),
        ("[2001:db8:1:2::4]", "2001:db8:1:2::4", "2001:db8:1::"),
        ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.0"),
        ("[::ffff:192.0.2.7]:80", "192.0.2.7", "192.0.2.0"),
        ("fe80::1%eth0", "fe80::1%eth0", "fe80::"),
        ("::1", "::1", "::"),
        ("unix:", "unix:", None),
        ("testclient", "testclient", None),
        ("host.example.org:80", "host.example.org:80", None),
        ("192.0.2.700", "192.0.2.700", None),
        ("x" * 1000, "x" * 1000, None),
        ("", None, None),
    ],
    ids=lambda value: str(value)[:24],
)
def test_truncate_address(address: str, full: str | None, truncated: str | None) -> None:
    """Level 0 keeps an address without its port, level 1 only its network, level 2 nothing."""
    assert truncate_address(address, 0) == full
    assert truncate_address(address, 1) == truncated
    assert truncate_address(address, 2) is None


@given(ANY_TEXT, st.integers(-1, 3))
def test_truncate_address_takes_any_text(address: str, level: int) -> None:
    """No text makes it raise."""
    truncate_address(address, level)


@given(st.ip_addresses())
def test_a_truncated_address_is_truncated(address: object) -> None:
    """Truncating a truncated address changes nothing."""
    once = truncate_address(str(address), 1)
    assert once is not None
    assert truncate_address(once, 1) == once


@pytest.mark.parametrize(
    "name",
    [
        "http.request.header.authorization",
        "http.request.header.cookie",
        "http.response.header.set-cookie",
        "http.request.header.x_api_key",
        "http.request.header.x-api-key",
        "http.request.header.proxy-authorization",
        "http.request.header.X-Auth-Token",
        "http.request.header.key",
        "http.request.header.api-key",
        "http.request.header.mcp-session-id",
        "http.response.header.www-authenticate",
        "http.request.header.x-ckan-api-key",
        "db.password",
        "user.passwd",
        "app.secret",
        "enduser.credentials",
        "apikey",
        "my.api-key",
        "oauth.access_token",
        "ssh.private_key",
        "usage.token.secret",
        "a" * 300 + ".password",
    ],
    ids=lambda name: name[-40:],
)
def test_sensitive_keys(name: str) -> None:
    """Attributes that may hold a credential are known by their name."""
    assert is_sensitive_key(name)


@pytest.mark.parametrize(
    "name",
    [
        "usage.token.id",
        "usage.token.name",
        "usage.token.scheme",
        "usage.token.hint",
        "http.route",
        "url.path",
        "user.id",
        "session.id",
        "http.request.header.referer",
        "http.request.header.accept",
        "http.request.header.x-author",
        "http.request.method",
        "http.request.header.keep-alive",
        "db.system.name",
    ],
)
def test_other_keys(name: str) -> None:
    """What is kept on purpose is not taken for a credential."""
    assert not is_sensitive_key(name)


@given(ANY_TEXT)
def test_any_key_is_judged(name: str) -> None:
    """No name makes it raise."""
    is_sensitive_key(name)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("k=verysecret&a=1", "k=REDACTED&a=1"),
        ("a=k&k=x&k=y", "a=k&k=REDACTED&k=REDACTED"),
        ("%6B=verysecret", "%6B=REDACTED"),
        ("k", "k=REDACTED"),
        ("kk=1;k=2", "kk=1;k=REDACTED"),
    ],
)
def test_redact_parameter(query: str, expected: str) -> None:
    """A parameter that an application uses for its key is redacted, whatever it is called and however it is spelled."""
    assert redact_parameter(query, "k") == expected


NAMES = st.sampled_from(
    [
        *sorted(privacy._SECRET_PARAMETERS),
        *privacy._SECRET_PARAMETER_ENDINGS,
        "my_key",
        "page",
        "s",
        "%74oken",
        "\u212aey",
    ]
)


def spell(name: str, mark: str, position: int, upper: bool) -> str:
    """The name with a mark in it, perhaps in capitals."""
    marked = name[:position] + mark + name[position:]
    return marked.upper() if upper else marked


SPELLED = st.builds(spell, NAMES, st.sampled_from(["", "-", "_"]), st.integers(0, 9), st.booleans())


@given(st.lists(st.tuples(st.sampled_from(["", "&", ";", "x[", "user%5B"]), SPELLED, ANY_TEXT), max_size=4))
def test_a_glance_misses_no_secret(parameters: list[tuple[str, str, str]]) -> None:
    """What is not looked at more closely has nothing that a closer look would redact."""
    query = "".join(f"{before}{name}={value}" for before, name, value in parameters)
    assert redact_query(query) == privacy._QUERY_SEGMENT.sub(privacy._redact_segment, query)
