"""Where a request carries its credential, by the rules the Collector configuration follows too.

Raw credentials exist only in `Credential`, in memory, for the time of one call. What is kept of them is decided
in `privacy`, whom they name in `identity`.
"""

import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from otel_usage.enrichment.facts import CREDENTIAL_HEADERS, RequestFacts
from otel_usage.enrichment.privacy import REDACTED
from otel_usage.enrichment.text import as_sent

# The white space of RE2, as in the Collector's expressions.
_SPACE: Final = r"[\t\n\f\r ]"
_WHITE: Final = "\t\n\f\r "
_SCHEME_AND_TOKEN: Final = re.compile(
    # Not all of it in any case: that would look at each character of the token three times.
    rf'{_SPACE}*((?i:bearer|token|apikey|api-key)){_SPACE}+(?i:token=)?"?([^\t\n\f\r ",]+)'
)
_BASIC: Final = re.compile(rf"{_SPACE}*basic{_SPACE}+([A-Za-z0-9+/_-]+)", re.IGNORECASE)
_BARE_TOKEN: Final = re.compile(r'"?([^\t\n\f\r ",]+)"?')
_SCHEMES: Final = {"bearer": "bearer", "token": "token", "apikey": "api_key", "api-key": "api_key"}
# What careless clients send where a token belongs.
_MISTAKES: Final = ("none", "null", "undefined")
_MAX_MISTAKE_LENGTH: Final = max(map(len, _MISTAKES))
# Registered authentication schemes (IANA), and words of ours.
_NO_TOKENS: Final = frozenset(
    (
        *("basic", "bearer", "concealed", "digest", "dpop", "gnap", "hawk", "hmac", "hoba", "kerberos", "mutual"),
        *("negotiate", "ntlm", "oauth", "privatetoken", "signature", "vapid", "token", "token=", "apikey", "api-key"),
        *_MISTAKES,
    )
)
_NO_TOKEN_BEGINNINGS: Final = ("aws4", "scram-")
# What GitHub and Toggl have clients send as the password, with the token as the user name.
_NO_PASSWORDS: Final = ("x-oauth-basic", "api_token")
# Shorter ones are words that occur by chance, as the name of another user.
_MIN_PASSWORD_LENGTH: Final = 8
_KEY_HEADERS: Final = CREDENTIAL_HEADERS[1:]
_QUERY_TOKEN: Final = re.compile(r"(?:^|[?&;])(api_key|access_token|token|apikey)=([^&;#]+)", re.IGNORECASE)
# payload, timestamp, signature: of itsdangerous (Flask, Starlette) and of django.core.signing.
_SIGNED: Final = re.compile(
    r"(.+)(?:\.[A-Za-z0-9_-]{4,8}\.[A-Za-z0-9_-]{27,86}|:[A-Za-z0-9]{4,8}:[A-Za-z0-9_-]{27,86})", re.DOTALL
)
# Behind the signature: [time of the last access, time of creation, content], as JSON (SignedCookieSessionFactory).
_PYRAMID_SESSION: Final = re.compile(rb".{16,64}?\[[0-9.]{1,32}, ([0-9.]{1,32}, \{.*\})\]\Z", re.DOTALL)


@dataclass(slots=True)
class Credential:
    """A raw credential; never kept, logged or shown.

    Attributes:
        text: What is fingerprinted: the bare token, the user name of a Basic credential without password, or the
            part of a session cookie that stays the same.
        scheme: bearer, token, api_key, basic or session.
        stable: What is fingerprinted instead, where the part that stays the same does not stand in the cookie as it is.
    """

    text: str = field(repr=False)
    scheme: str
    stable: str | None = field(default=None, repr=False)


def find_credential(facts: RequestFacts) -> Credential | None:
    """The first of: Authorization, the key headers, the query, a place of the application's own, the session cookie.

    Basic with a password is a user and no token (`basic_user`): the session cookie beside it is not looked at.
    """
    first = _first(facts)
    return None if first is None or _is_mistake(first) else first


def find_credentials(facts: RequestFacts) -> tuple[Credential | None, tuple[str, ...]]:
    """`find_credential`, and every raw credential that a request carries: none of them may be kept."""
    first = _first(facts)
    headers = facts.headers
    of_basic = _secrets_of_basic(headers["authorization"]) if "authorization" in headers else ()
    if first is None:
        return None, of_basic
    found = [first.text, *of_basic]
    if len(headers) > 1:
        found += [as_sent(text) for name in _KEY_HEADERS if name in headers and (text := headers[name].strip(_WHITE))]
    if facts.query and (of_query := _of_query(facts.query)) is not None:
        found.append(of_query.text)
    if facts.credential is not None:
        found.append(facts.credential.text)
    if _is_mistake(first):
        return None, tuple(found[1:])
    return first, tuple(found) if len(found) == 1 else tuple(dict.fromkeys(found))


def basic_user(facts: RequestFacts) -> str | None:
    """The user name of a Basic credential (RFC 7617) that has a password too."""
    authorization = facts.headers.get("authorization")
    if not authorization or authorization.startswith("Bearer "):
        return None
    user, password = _basic(authorization)
    return user if user and password else None


def _first(facts: RequestFacts) -> Credential | None:
    headers = facts.headers
    authorization = headers.get("authorization")
    credential = _of_authorization(authorization) if authorization else None
    if credential is None:
        credential = _of_key_header(headers) or _of_query(facts.query) or _of_framework(facts)
    if credential is None and facts.session_cookie_names and basic_user(facts) is None:
        credential = _of_cookie(headers.get("cookie"), facts.session_cookie_names)
    return credential


def _is_mistake(credential: Credential) -> bool:
    return len(credential.text) <= _MAX_MISTAKE_LENGTH and credential.text.lower() in _MISTAKES


def _of_authorization(value: str) -> Credential | None:
    found = _SCHEME_AND_TOKEN.match(value)
    if found:
        scheme, text = found.groups()
        return None if text.lower() == "token=" else Credential(as_sent(text), _SCHEMES[scheme.lower()])
    user, password = _basic(value)
    if user:
        return None if password else Credential(user, "basic")
    return _bare_token(value)


def _bare_token(value: str) -> Credential | None:
    """CKAN takes a token without any scheme before it."""
    found = _BARE_TOKEN.fullmatch(value.strip(_WHITE))
    if found is None:
        return None
    word = found[1].lower()
    if word in _NO_TOKENS or word.startswith(_NO_TOKEN_BEGINNINGS):
        return None
    return Credential(as_sent(found[1]), "token")


def _of_key_header(headers: Mapping[str, str]) -> Credential | None:
    if not headers:
        return None
    for name in _KEY_HEADERS:
        value = headers.get(name)
        if value and (text := value.strip(_WHITE)):
            return Credential(as_sent(text), "api_key")
    return None


def _of_query(query: str) -> Credential | None:
    found = _QUERY_TOKEN.search(query) if query else None
    if found is None:
        return None
    text = as_sent(unquote(found[2], encoding="latin-1"))
    if text == REDACTED:
        return None
    return Credential(text, "bearer" if found[1].lower() == "access_token" else "api_key")


def _of_framework(facts: RequestFacts) -> Credential | None:
    return Credential(facts.credential.text, "api_key") if facts.credential is not None else None


def _of_cookie(header: str | None, names: tuple[str, ...]) -> Credential | None:
    found = _cookie_pattern(names).search(header) if header else None
    if found is None:
        return None
    raw = found[1]
    signed = _SIGNED.fullmatch(raw)
    return Credential(as_sent(signed[1] if signed else raw), "session", None if signed else _stable_part(raw))


def _stable_part(cookie: str) -> str | None:
    """When a session of Pyramid began, and what is in it: its cookie is made anew at almost every access."""
    try:
        decoded = binascii.a2b_base64(cookie.replace("-", "+").replace("_", "/") + "=" * (-len(cookie) % 4))
    except ValueError:
        return None
    found = _PYRAMID_SESSION.match(decoded)
    return found[1].decode("latin-1") if found else None


@lru_cache(maxsize=64)
def _cookie_pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf'(?:^|;)\s*(?:{"|".join(map(re.escape, names))})\s*=\s*"?([^;"\s]+)')


def _secrets_of_basic(authorization: str) -> tuple[str, ...]:
    """A Basic credential as it is sent, and its password, unless that is short or a part of the user's name."""
    found = None if authorization.startswith("Bearer ") else _BASIC.match(authorization)
    if found is None:
        return ()
    user, password = _basic(authorization)
    is_secret = len(password) >= _MIN_PASSWORD_LENGTH and password not in user
    return (found[1], password) if is_secret else (found[1],)


def _basic(value: str) -> tuple[str, str]:
    """The user name and the password behind "Basic"; empty where there is no such thing."""
    found = _BASIC.match(value)
    if found is None:
        return "", ""
    encoded = found[1].replace("-", "+").replace("_", "/")
    try:
        decoded = binascii.a2b_base64(encoded + "=" * (-len(encoded) % 4))
    except binascii.Error:
        return "", ""
    user, _, password = as_sent(decoded.decode("latin-1")).partition(":")
    return user, "" if password in _NO_PASSWORDS else password
