"""From the object that an authentication library made of a token to the token's own name, without waking it up.

The raw token is in such objects too: only what is named below is read.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from otel_usage.enrichment.facts import FrameworkUser
from otel_usage.instrumentation.users import awake, framework_user, loaded, scalar

_TOKEN_NAMES: Final = ("name", "label", "title", "description")
_TOKEN_OWNERS: Final = ("application", "client")
_CLAIMS: Final = frozenset(("iss", "sub", "exp", "jti"))
_TOKEN_IDS: Final = ("jti", "client_id", "azp")
# What only somebody who signs in has.
_LOGINS: Final = ("username", "user_name", "preferred_username", "login", "email")
_HOLDERS: Final = ("owner", "user")
_HOLDER_IDS: Final = ("owner_id", "user_id")
_NAMED_AS_TOKEN: Final = re.compile(r"(?:Token|Key)(?![a-z])(?!.*User)")


def token_name(token: Any) -> str | None:
    """What an application calls a token, by the object that its authentication library made of it.

    Args:
        token: A row of a token table with a name, or with the application or client it was issued to; the claims of
            a JWT, whose name is its `jti` (RFC 7519, 4.1.7); None.

    Only loaded values are read; whoever keeps the name must hold it against the raw credential.
    """
    token = awake(token)
    if token is None:
        return None
    values = _loaded(token)
    # The `name` among claims is the user's (OpenID Connect Core, 5.1).
    name = _first(values, _TOKEN_NAMES) if _CLAIMS.isdisjoint(values) else None
    if name is not None:
        return name
    for owner in _TOKEN_OWNERS:
        name = _first(_loaded(_related(values, owner)), _TOKEN_NAMES)
        if name is not None:
            return name
    return _first(values, _TOKEN_IDS)


def identity(subject: Any) -> tuple[FrameworkUser | None, str | None]:
    """The user and the token's name by what an authentication dependency returned: a user, claims, or a token's row.

    A row of a token table has an owner and nothing to sign in with, or is called so and has a name ("ApiKey"): it is
    nobody itself, so its own id is no user's.
    """
    subject = awake(subject)
    if subject is None:
        return None, None
    values = _loaded(subject)
    if not _CLAIMS.isdisjoint(values):
        return framework_user(subject), _first(values, _TOKEN_IDS)
    if _first(values, _LOGINS) is not None:
        return framework_user(subject), None
    is_token = _NAMED_AS_TOKEN.search(type(subject).__name__) is not None
    holder = _holder(values, with_ids=is_token)
    name = token_name(subject) if is_token or values.get("owner") is not None else None
    if holder is None and name is None:
        return framework_user(subject), None
    return holder, name


def _holder(values: Mapping[str, Any], *, with_ids: bool) -> FrameworkUser | None:
    holders = [_related(values, name) for name in _HOLDERS]
    if with_ids:
        holders += [values.get(name) for name in _HOLDER_IDS]
    return next((user for holder in holders if (user := framework_user(holder)) is not None), None)


def _loaded(value: Any) -> Mapping[str, Any]:
    values = loaded(value)
    # simplejwt keeps the claims of its tokens there; claims themselves are a mapping.
    payload = None if values is value else values.get("payload")
    return payload if isinstance(payload, Mapping) else values


def _related(values: Mapping[str, Any], name: str) -> Any:
    """A related object as far as it is loaded: Django keeps it in its own place, and would query for another."""
    state = values.get("_state")
    return awake(getattr(state, "fields_cache", {}).get(name) if state is not None else values.get(name))


def _first(values: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    for name in names:
        text = scalar(values.get(name))
        if text is not None:
            return text
    return None
