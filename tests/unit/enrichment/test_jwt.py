"""Unverified JWT claims."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_usage.enrichment.jwt import MAX_LENGTH, Claims, read_claims


def encode(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def jwt(payload: object, signature: str = "c2lnbmF0dXJl") -> str:
    return f"{encode({'alg': 'HS256', 'typ': 'JWT'})}.{encode(payload)}.{signature}"


@pytest.mark.parametrize(
    ("payload", "identity"),
    [
        ({"exp": 1, "iss": "i", "sub": "s"}, "jwt\ni\n\ns"),
        ({"exp": 1, "iss": "i", "sub": "s", "azp": "a", "client_id": "c"}, "jwt\ni\na\ns"),
        ({"exp": 1, "iss": "i", "client_id": "c", "cid": "d"}, "jwt\ni\nc\n"),
        ({"exp": 1, "iss": "i", "cid": "d"}, "jwt\ni\nd\n"),
        ({"exp": 1, "sub": 7}, "jwt\n\n\n7"),
        ({"exp": 1, "iss": "i", "jti": "j"}, None),
        ({"exp": 1, "sub": True, "azp": ["a"]}, None),
        ({"iss": "i", "sub": "s", "jti": "j"}, "jwt\ni\njti\nj"),
        ({"jti": "j"}, "jwt\n\njti\nj"),
        ({"iss": "i", "sub": "s"}, None),
        ({}, None),
    ],
    ids=lambda value: str(value),
)
def test_identity(payload: object, identity: str | None) -> None:
    """A JWT that expires is its issuer, client and subject; one that does not is its `jti`; else it is itself."""
    claims = read_claims(jwt(payload))
    assert claims is not None
    assert claims.identity == identity


def test_the_same_claims_however_signed() -> None:
    """A renewed token has the same identity, and reading twice gives the same claims."""
    first = read_claims(jwt({"exp": 1, "sub": "s", "preferred_username": "n"}))
    assert first == Claims("jwt\n\n\ns", True, "s", "n")
    assert read_claims(jwt({"exp": 2, "sub": "s", "preferred_username": "n"}, "")) == first
    assert read_claims(jwt({"exp": 1, "sub": "s", "preferred_username": "n"})) is first


def _raw(payload: bytes) -> str:
    return f"{encode({})}.{base64.urlsafe_b64encode(payload).decode()}.x"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "..",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "eyJ.eyJ.x",
        f"{encode([])}.{encode({})}.x",
        f"{encode({})}.{encode([])}.x",
        f"{encode({})}.{encode('a')}.x",
        f"{encode({})}.é.x",
        jwt({"sub": "x" * 20_000}),
        _raw(b"[" * 5000),
        _raw(b'{"a":' * 1500),
        _raw(b'{"sub": ' + b"1" * 5000 + b"}"),
        _raw(b'{"sub": "\xff"}'),
    ],
    ids=range(15),
)
def test_no_jwt(text: str) -> None:
    """What is not three parts with two JSON objects, or is deeper, longer or larger than any JWT, is none."""
    assert read_claims(text) is None


@given(st.text(st.characters(exclude_categories=[])), st.binary(), st.binary())
def test_any_text_is_read(text: str, header: bytes, payload: bytes) -> None:
    """No text makes it raise."""
    read_claims(text)
    read_claims(f"{base64.urlsafe_b64encode(header).decode()}.{base64.urlsafe_b64encode(payload).decode()}.{text}")
    read_claims(_raw(payload))


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists))
def test_any_claims_are_read(value: object) -> None:
    """Claims of any type are read or ignored."""
    token = jwt(dict.fromkeys(("exp", "sub", "azp", "iss", "jti", "preferred_username"), value))
    assert (read_claims(token) is not None) == (len(token) <= MAX_LENGTH)
