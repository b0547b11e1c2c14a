"""Requests with credentials: what Python says of them, and the spans that instrumentations make of them."""

import base64
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from otel_usage import attributes as key
from otel_usage.enrichment import identity
from otel_usage.enrichment.facts import RequestFacts
from tests.collector.collectors import TOKEN_KEY, span_of

# In every raw credential of these tests, plain and in the three ways in which base64 writes it: nothing of it may leave
# the agent.
MARK = "s3kReT"
MARKS = (MARK, *(base64.b64encode(b"x" * i + MARK.encode()).decode()[i + (i > 0) : 8] for i in range(3)))
TOLD = (key.TOKEN_ID, key.TOKEN_SCHEME, key.TOKEN_HINT, key.USER_ID, key.USER_NAME, key.USER_SOURCE)


@dataclass(frozen=True)
class Request:
    """A request as a web server sees it: header values as text of Latin-1 bytes, by lower-case name."""

    headers: dict[str, str] = field(default_factory=dict)
    query: str = ""
    status: int = 200

    def expected(self) -> dict[str, str | None]:
        """What a Python application would say of token and user."""
        facts = RequestFacts("GET", "/", self.query, headers=self.headers, status=self.status)
        token, user = identity.token_of(facts, TOKEN_KEY.encode()), identity.user_of(facts)
        told = (*((token and (token.id, token.scheme, token.hint)) or (None,) * 3),)
        return dict(zip(TOLD, (*told, *((user and (user.id, user.name, user.source)) or (None,) * 3)), strict=True))

    def spans(self) -> Iterator[dict[str, Any]]:
        """Its spans under every generation of names, headers captured as lists or text, with hyphens or underscores."""
        ways = itertools.product((False, True), (False, True))
        for (as_list, underscores), names in zip(ways, (_stable, _old, _old_url, _stable_url), strict=True):
            spelled = {n.replace("-", "_") if underscores else n: v for n, v in self.headers.items()}
            captured = {f"http.request.header.{n}": [v] if as_list else v for n, v in spelled.items()}
            yield span_of({**names(self), **captured})


def _stable(request: Request) -> dict[str, Any]:
    query = {"url.query": request.query} if request.query else {}
    return {"url.path": "/a", **query, "http.response.status_code": request.status}


def _stable_url(request: Request) -> dict[str, Any]:
    return {"url.full": f"http://h/a?{request.query}#end", "http.response.status_code": request.status}


def _old(request: Request) -> dict[str, Any]:
    return {**_OLD, "http.target": f"/a?{request.query}", "http.status_code": request.status}


def _old_url(request: Request) -> dict[str, Any]:
    return {**_OLD, "http.url": f"http://h:80/a?{request.query}", "http.status_code": request.status}


_OLD = {"http.request.method": None, "http.method": "GET"}


def basic(text: str, encoding: str = "utf-8") -> str:
    """An Authorization with a user name and, after a colon, a password."""
    return f"Basic {base64.b64encode(text.encode(encoding)).decode()}"


def jwt(header: Any = None, signature: str = f"{MARK}sig", **claims: Any) -> str:
    """A JSON Web Token with these claims."""
    return written_jwt(json.dumps(claims), json.dumps({"alg": "RS256"} if header is None else header), signature)


def written_jwt(claims: str, header: str = "{}", signature: str = f"{MARK}sig") -> str:
    """What looks like a JSON Web Token, with this text in its parts."""
    return f"{part(header)}.{part(claims)}.{signature}"


def part(text: str) -> str:
    """One part of a JSON Web Token."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def on_the_wire(text: str) -> str:
    """A header's text in UTF-8 as servers that read Latin-1 see it."""
    return text.encode().decode("latin-1")
