"""Facts of a request -> the token it carried and the user it was made by.

Pure. Where credentials stand in a request is in `credentials`, what may be kept of them in `privacy`.
"""

import os
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from otel_usage.enrichment.credentials import Credential, basic_user, find_credential, find_credentials
from otel_usage.enrichment.facts import RequestFacts
from otel_usage.enrichment.jwt import read_claims
from otel_usage.enrichment.privacy import fingerprint, hint
from otel_usage.enrichment.text import bounded

__all__ = [
    "Credential",
    "Token",
    "User",
    "find_credential",
    "find_credentials",
    "token_in",
    "token_of",
    "user_of",
    "user_with",
]

MAX_USER_LENGTH: Final = 256
_CACHE_SIZE: Final = 8192
_DIGEST: Final = blake2b(digest_size=16, key=os.urandom(32))

_REFUSED: Final = (401, 403)
_SCHEMES_WITHOUT_HINT: Final = ("basic", "session")


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a credential.

    Attributes:
        id: The fingerprint, or None where there is no deployment key.
        scheme: bearer, token, api_key, basic or session.
        hint: What a person may see of it, or None.
    """

    id: str | None
    scheme: str
    hint: str | None


@dataclass(slots=True)
class User:
    """Who made the request.

    Attributes:
        id: The user's id, or None where only a name is known.
        name: The user's name, or None.
        source: framework, application, basic, header or jwt.
    """

    id: str | None
    name: str | None
    source: str


def token_of(facts: RequestFacts, key: bytes | None) -> Token | None:
    """The token a request carried, or None.

    A JWT that expires is known by its issuer, client and subject, so that renewing it makes no new token; it and
    Basic and session credentials have no hint, since that would change or show too much.

    Args:
        facts: The request.
        key: The deployment key; without it the token has no id.
    """
    credential = find_credential(facts)
    return None if credential is None else token_in(credential, key)


def token_in(credential: Credential, key: bytes | None) -> Token:
    """`token_of` a request whose credential is found already."""
    text = credential.text if credential.stable is None else f"{credential.text}\0{credential.stable}"
    digest = _DIGEST.copy()
    digest.update(text.encode("utf-8", "surrogatepass"))
    known_as = (digest.digest(), credential.scheme, key)
    token = _known.get(known_as)
    if token is None:
        if len(_known) >= _CACHE_SIZE:
            _known.clear()
        token = _known[known_as] = _token(credential, key)
    return token


# By a digest that nobody else can make: neither a credential nor what would confirm a guess outlives a request.
_known: dict[tuple[bytes, str, bytes | None], Token] = {}


def _token(credential: Credential, key: bytes | None) -> Token:
    text, scheme = credential.text, credential.scheme
    claims = read_claims(text)
    hidden = scheme in _SCHEMES_WITHOUT_HINT or (claims is not None and claims.expires)
    identity = (claims and claims.identity) or credential.stable or text
    return Token(None if key is None else fingerprint(key, identity), scheme, None if hidden else hint(text))


def user_of(facts: RequestFacts) -> User | None:
    """The user of a request: as the framework says, else of Basic, else REMOTE_USER, else the `sub` of a JWT.

    Basic and JWT are claims that nobody here verifies: they name a user only when the answer was neither 401 nor
    403, and no framework refused them. The framework and the server in front of it are believed always, but the
    credential's own text is never a user.
    """
    return user_with(facts, *find_credentials(facts))


def user_with(facts: RequestFacts, credential: Credential | None, credentials: tuple[str, ...]) -> User | None:
    """`user_of` a request whose credentials are found already: that of its token, and all of them."""
    believed = facts.status not in _REFUSED and not facts.refused
    user = facts.user
    found = _user(user.id, user.name, facts.user_source, credentials) if user else None
    if found is None and believed and (name := basic_user(facts)):
        found = _user(name, None, "basic", credentials)
    if found is None and facts.remote_user:
        found = _user(facts.remote_user, None, "header", credentials)
    if found is None and believed and credential is not None and (claims := read_claims(credential.text)):
        found = _user(claims.subject, claims.username, "jwt", credentials) if claims.subject else None
    return found


def _user(user_id: str | None, name: str | None, source: str, credentials: tuple[str, ...]) -> User | None:
    user_id, name = _kept(user_id, credentials), _kept(name, credentials)
    return User(user_id, name, source) if user_id or name else None


def _kept(text: str | None, credentials: tuple[str, ...]) -> str | None:
    # Servers and applications name the user after a token sent as the Basic user name, or as any other credential.
    return bounded(text, MAX_USER_LENGTH) if text and text not in credentials else None
