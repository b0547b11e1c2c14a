"""What a JSON Web Token (RFC 7519) says about itself, unverified.

Nothing is checked here: no signature, no expiry. Who may be believed when is decided in `identity`.
"""

import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Final

_PART: Final = re.compile(r"[A-Za-z0-9+/_-]+=*")
MAX_LENGTH: Final = 16 * 1024
_CACHE_SIZE: Final = 1024


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims that matter here.

    Attributes:
        identity: Text that stays the same when the token is renewed, or None where only the token itself will do.
        expires: Whether there is an `exp`.
        subject: `sub`, or None.
        username: `preferred_username`, or None.
    """

    identity: str | None
    expires: bool
    subject: str | None
    username: str | None


def read_claims(token: str) -> Claims | None:
    """The claims of a token, or None if it is no JWT (three base64url parts, two of them JSON objects).

    Cached by the token's digest, so that no raw token outlives its request.
    """
    if token.count(".") != 2 or len(token) > MAX_LENGTH or not token.isascii():
        return None
    digest = hashlib.sha256(token.encode("ascii")).digest()
    try:
        return _cache[digest]
    except KeyError:
        pass
    if len(_cache) >= _CACHE_SIZE:
        _cache.clear()
    claims = _cache[digest] = _parse(token)
    return claims


_cache: dict[bytes, Claims | None] = {}


def _parse(token: str) -> Claims | None:
    header, payload, _ = token.split(".")
    if _json_object(header) is None:
        return None
    claims = _json_object(payload)
    if claims is None:
        return None
    expires = claims.get("exp") is not None
    return Claims(_identity(claims, expires), expires, _text(claims, "sub"), _text(claims, "preferred_username"))


def _identity(claims: dict[str, Any], expires: bool) -> str | None:
    issuer = _text(claims, "iss") or ""
    if not expires:
        identifier = _text(claims, "jti")
        return None if identifier is None else "\n".join(("jwt", issuer, "jti", identifier))
    client = _text(claims, "azp") or _text(claims, "client_id") or _text(claims, "cid") or ""
    subject = _text(claims, "sub") or ""
    return "\n".join(("jwt", issuer, client, subject)) if client or subject else None


def _text(claims: dict[str, Any], name: str) -> str | None:
    value = claims.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


def _json_object(part: str) -> dict[str, Any] | None:
    if _PART.fullmatch(part) is None:
        return None
    try:
        text = binascii.a2b_base64(part.replace("-", "+").replace("_", "/") + "==").decode("utf-8")
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
