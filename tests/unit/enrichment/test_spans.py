"""Spans that nobody has described: their own words stay, what follows from them is added, nothing raw is kept."""

import base64
import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_usage import attributes as key
from otel_usage.enrichment.describe import describe
from otel_usage.enrichment.span_attributes import facts_of
from otel_usage.enrichment.spans import describe_span
from otel_usage.exporter.encoding import encode_clean_line
from otel_usage.exporter.record import SpanFacts, UsageRecord, from_span, service_of

KEY = b"k" * 32
REQUEST = {"http.request.method": "GET", "url.path": "/items/7", "http.route": "/items/{id}"}
TOKEN = "s3cr3t-token-of-somebody"
SPAN = SpanFacts(1, 2, None, 1_790_000_000_000_000_999, 1_790_000_000_000_002_000)


def described(name: str = "GET", /, **attributes: Any) -> dict[str, Any]:
    """What is known of a request for an item with these attributes besides; two underscores are a dot."""
    besides = {name.replace("__", "."): value for name, value in attributes.items()}
    return describe_span({**REQUEST, **besides}, name, KEY).attributes


def record_of(attributes: dict[str, Any], name: str = "GET") -> tuple[UsageRecord | None, bytes]:
    """The record of a span and its line in the journal."""
    found = describe_span(attributes, name, KEY)
    record = from_span(SPAN, found.attributes, service_of({}), privacy_level=0, count=lambda *_: None)
    line = None if record is None else encode_clean_line(record, lambda *_: None, found.secrets)
    return record, line or b""


def test_what_follows_is_added() -> None:
    """Resource and action, beside everything that the span says."""
    told = described(server__address="shop.example", custom="1")
    assert told[key.RESOURCE_TYPE], told[key.RESOURCE_ID] == ("item", "7")
    assert told[key.ACTION] == "view"
    assert (told["server.address"], told["custom"]) == ("shop.example", "1")


def test_an_own_resource_has_no_parent_of_the_route() -> None:
    """An application that names what was accessed says all of it."""
    attributes = {"url.path": "/shops/3/items/7", "http.route": "/shops/{shop}/items/{item}"}
    assert describe_span(attributes, "", KEY).attributes[key.RESOURCE_PARENT_TYPE] == "shop"
    told = describe_span({**attributes, key.RESOURCE_TYPE: "thing", key.RESOURCE_ID: "x"}, "", KEY).attributes
    assert (told[key.RESOURCE_TYPE], told[key.RESOURCE_ID]) == ("thing", "x")
    assert key.RESOURCE_PARENT_TYPE not in told


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"user.id": "alice"}, ("alice", None, "application")),
        ({"enduser.id": "alice"}, ("alice", None, "application")),
        ({"user.id": "alice", "enduser.id": "bob"}, ("alice", None, "application")),
        ({"user.name": "Alice"}, (None, "Alice", "application")),
        ({"user.id": "alice", "user.name": "Alice", "usage.user.source": "jwt"}, ("alice", "Alice", "jwt")),
        ({"user.id": TOKEN}, (None, None, None)),
        ({"user.id": TOKEN, "user.name": "Alice"}, (None, "Alice", "application")),
        ({}, (None, None, None)),
    ],
    ids=str,
)
def test_user(attributes: dict[str, Any], expected: tuple[str | None, ...]) -> None:
    """As the application says, but never the credential itself."""
    told = describe_span({**attributes, "http.request.header.authorization": f"Bearer {TOKEN}"}, "", KEY).attributes
    assert tuple(told.get(name) for name in (key.USER_ID, key.USER_NAME, key.USER_SOURCE)) == expected
    assert key.ENDUSER_ID not in told


def test_an_application_knows_its_user_better_than_a_header() -> None:
    """Basic names the user only where the application does not."""
    basic = "Basic " + base64.b64encode(b"alice:password").decode()
    attributes = {"http.request.header.authorization": [basic]}
    assert describe_span(attributes, "", KEY).attributes[key.USER_ID] == "alice"
    assert describe_span({**attributes, "enduser.id": "bob"}, "", KEY).attributes[key.USER_ID] == "bob"


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"http.response.status_code": 503}, "503"),
        ({"http.status_code": "503"}, "503"),
        ({"http.response.status_code": 503, "error.type": "IOException"}, "IOException"),
        ({"http.response.status_code": 404}, None),
        ({"error.type": "timeout"}, "timeout"),
    ],
    ids=str,
)
def test_error_type(attributes: dict[str, Any], expected: str | None) -> None:
    """The status, where it is an error of the server and nothing else is said."""
    assert describe_span(attributes, "", KEY).attributes.get(key.ERROR_TYPE) == expected


def test_envoy_without_an_answer() -> None:
    """A status of 0 is none."""
    record, _ = record_of({"http.method": "GET", "http.url": "http://h/a", "http.status_code": "0"})
    assert record is not None
    assert record.status_code is None


def test_host_and_scheme_of_a_url() -> None:
    """They are taken where nothing else says them, without its port and its user."""
    record, line = record_of({"http.method": "GET", "http.url": f"https://me:{TOKEN}@[2001:db8::1]:8443/items/7?a=b"})
    assert record is not None
    assert (record.host, record.scheme, record.path, record.query) == ("2001:db8::1", "https", "/items/7", "a=b")
    assert TOKEN.encode() not in line
    kept, _ = record_of({"http.method": "GET", "http.url": "https://a/", "http.host": "b:1", "http.scheme": "http"})
    assert kept is not None
    assert (kept.host, kept.scheme) == ("b", "http")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:50100", "203.0.113.7"),
        ("[2001:db8::1]:50100", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
    ],
)
def test_addresses_with_ports(address: str, expected: str) -> None:
    """The port is not part of who it was."""
    record, _ = record_of({"http.method": "GET", "peer.address": address})
    assert record is not None
    assert record.client_address == expected


@pytest.mark.parametrize(
    "name",
    [
        "client.socket.address",
        "peer.ipv4",
        "http.request.header.x-forwarded-for",
        "http.request.header.x_real_ip",
        "http.request.header.cf-connecting-ip",
        "http.request.header.x_envoy_external_address",
    ],
)
def test_other_places_of_addresses(name: str) -> None:
    """Above level 0 no whole address is kept under another name."""
    found = describe_span({"http.method": "GET", name: ["203.0.113.7"]}, "", KEY)
    for level, kept in ((0, {name: "203.0.113.7"}), (1, None)):
        record = from_span(SPAN, found.attributes, service_of({}), privacy_level=level, count=lambda *_: None)
        assert record is not None
        assert record.attributes == kept


@pytest.mark.parametrize(
    ("attributes", "action"),
    [
        ({"http.response.header.content-disposition": ["attachment; filename=a"]}, "download"),
        ({"http.response.header.content_disposition": "attachment"}, "download"),
        ({"http.response.status_code": 101}, "view"),
        ({"http.response.status_code": 206, "http.response.header.content-range": ["bytes 5-9/10"]}, None),
        ({"http.response.status_code": 206, "http.request.header.range": ["bytes=0-4"]}, "view"),
    ],
    ids=str,
)
def test_actions(attributes: dict[str, Any], action: str | None) -> None:
    """What captured headers and the status say of what was done."""
    assert describe_span({**REQUEST, **attributes}, "", KEY).attributes.get(key.ACTION) == action


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=9)
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(), v, max_size=3))
NAMES = sorted(
    {
        *(name for names in vars(key).values() if isinstance(names, tuple) for name in names),
        *(name for name in vars(key).values() if isinstance(name, str) and "." in name and " " not in name),
        *(
            prefix + name
            for prefix in key.HEADER_PREFIXES
            for name in ("authorization", "x_api_key", "cookie", "range")
        ),
        "http.response.header.content-disposition",
        "custom",
    }
)
SPANS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=20)


@given(SPANS, st.text(max_size=20) | st.just("GET /items/{id}"))
def test_nothing_raises(attributes: dict[str, Any], name: str) -> None:
    """Whatever a span says, what follows from it is text."""
    found = describe(facts_of(attributes, name), KEY)
    assert all(isinstance(value, str) for value in found.attributes.values())
    record, line = record_of(attributes, name)
    assert (record is None) or json.loads(line)


SECRETS = st.text(string.ascii_letters + string.digits, min_size=24, max_size=40).map(lambda text: f"S3cr3t{text}")


def basic(text: str) -> str:
    """The encoded part of a Basic credential."""
    return base64.b64encode(text.encode()).decode()


@st.composite
def carrying(draw: st.DrawFn) -> tuple[dict[str, Any], set[str]]:
    """A request with a secret in many a place, and every text that must not be found."""
    secret = draw(SECRETS)
    encoded = [basic(f"{secret}:"), basic(f"alice:{secret}")]
    schemes = ("Bearer {}", "Token {}", "ApiKey {}", 'Token token="{}"', "{}", " bearer  {} ")
    authorizations = [*(scheme.format(secret) for scheme in schemes), *(f"Basic {text}" for text in encoded)]
    name = draw(st.sampled_from(["token", "api_key", "apikey", "access_token", "password", "sig", "X-Api-Key"]))
    query = draw(st.sampled_from(["{}={}", "a=b&{}={}", "{}={}&q=x", "a=b;{}={}#f"])).format(name, secret)
    places = {
        "http.request.header.authorization": draw(st.sampled_from(authorizations)),
        "http.request.header.x-api-key": secret,
        "http.request.header.x_auth_token": secret,
        "http.request.header.api_key": f" {secret} ",
        "http.request.header.cookie": f"session={secret}",
        "http.request.header.referer": f"http://h/?{query}",
        "http.response.header.set-cookie": f"session={secret}",
        "url.query": query,
        "url.path": f"/items/7?{query}",
        "http.target": f"/items/7?{query}",
        "url.full": f"http://h/items/7?{query}",
        "http.url": f"http://alice:{secret}@h/items/7?{query}",
        "custom.url": f"http://h/?{query}",
        "user.id": secret,
    }
    # A user who is named after a secret can only be known for one where it is the request's token.
    chosen = set(draw(st.lists(st.sampled_from(sorted(places)), min_size=1)))
    if "user.id" in chosen:
        chosen.add("http.request.header.x-api-key")
    planted = {place: value if draw(st.booleans()) else [value] for place in sorted(chosen) if (value := places[place])}
    besides = draw(st.dictionaries(st.sampled_from(NAMES), st.text("abc/?=", max_size=9), max_size=5))
    return {**besides, **planted, "http.request.method": "GET"}, {secret, *encoded}


@given(carrying())
def test_no_credential_survives(carried: tuple[dict[str, Any], set[str]]) -> None:
    """Not in what is described, and not in the line that is kept."""
    attributes, secrets = carried
    found = describe(facts_of(attributes), KEY).attributes
    _, line = record_of(attributes)
    assert line
    for secret in secrets:
        assert secret not in repr(found)
        assert secret.encode() not in line
