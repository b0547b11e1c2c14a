"""What is asked of every application: many tokens, many datasets, a few clients, and what they answer."""

import base64
import hashlib
import hmac
import json
import random
from dataclasses import dataclass
from functools import cache
from typing import Any

SIGNING_KEY = "signs nothing of value, only tokens of this benchmark"
_AGENTS = (
    "python-requests/2.32.3",
    "curl/8.10.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    "okhttp/4.12.0",
)
_ORGANIZATIONS = ("acme", "north", "harbour", "museum")


@dataclass(frozen=True)
class User:
    """Who a token belongs to."""

    id: int
    username: str


@dataclass(frozen=True)
class Visit:
    """One request of a client."""

    path: str
    token: str
    user_agent: str
    address: str


@cache
def tokens() -> tuple[str, ...]:
    """A hundred opaque tokens."""
    source = random.Random(20261121)
    return tuple(f"dp_{source.getrandbits(160):040x}" for _ in range(100))


@cache
def signed_tokens() -> tuple[str, ...]:
    """A hundred JWTs, for who records nothing without one."""
    return tuple(_signed({"user_id": number}) for number in range(100))


@cache
def users() -> dict[str, User]:
    """Whom the applications let in."""
    numbered = [*enumerate(tokens()), *enumerate(signed_tokens())]
    return {token: User(number, f"user{number}") for number, token in numbered}


def visits(way: str) -> list[Visit]:
    """A thousand requests, the same in every run."""
    source = random.Random(20261122)
    known = signed_tokens() if way == "drf-tracker" else tokens()
    return [
        Visit(
            path=f"/organizations/{source.choice(_ORGANIZATIONS)}/datasets/{source.randrange(250)}",
            token=source.choice(known),
            user_agent=source.choice(_AGENTS),
            address=f"198.51.100.{source.randrange(1, 255)}",
        )
        for _ in range(1000)
    ]


def answer(organization: str, dataset_id: int) -> dict[str, Any]:
    """The JSON of one dataset."""
    return {
        "id": dataset_id,
        "organization": organization,
        "title": f"Measurements of station {dataset_id}",
        "licence": "CC-BY-4.0",
        "keywords": ["water", "temperature", "daily"],
        "files": [{"id": number, "bytes": 10_000 * number, "format": "csv"} for number in range(1, 4)],
    }


def _signed(claims: dict[str, Any]) -> str:
    head = _base64(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    signed = f"{head}.{_base64(json.dumps(claims).encode())}"
    return f"{signed}.{_base64(hmac.digest(SIGNING_KEY.encode(), signed.encode(), hashlib.sha256))}"


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
