"""From the object that an authentication library made of a token to the token's own name, without waking it up.

The raw token is in such objects too: only what is named below is read.
"""

from collections.abc import Mapping
from typing import Any, Final

from otel_usage.instrumentation.users import scalar

_TOKEN_NAMES: Final = ("name", "label", "title", "description")
_TOKEN_OWNERS: Final = ("application", "client")
_TOKEN_IDS: Final = ("jti", "client_id", "azp")


def token_name(token: Any) -> str | None:
    """What an application calls a token, by the object that its authentication library made of it.

    Args:
        token: A row of a token table with a name, or with the application or client it was issued to; the claims of
            a JWT, whose name is its `jti` (RFC 7519, 4.1.7); None.

    Only loaded values are read; whoever keeps the name must hold it against the raw credential.
    """
    values = _loaded(token)
    name = _first(values, _TOKEN_NAMES)
    if name is not None:
        return name
    for owner in _TOKEN_OWNERS:
        name = _first(_loaded(_related(values, owner)), _TOKEN_NAMES)
        if name is not None:
            return name
    return _first(values, _TOKEN_IDS)


def _loaded(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    # simplejwt keeps the claims of its tokens there.
    payload = getattr(value, "__dict__", {}).get("payload")
    return payload if isinstance(payload, Mapping) else getattr(value, "__dict__", None) or {}


def _related(values: Mapping[str, Any], name: str) -> Any:
    """A related object as far as it is loaded: Django keeps it in its own place, and would query for another."""
    state = values.get("_state")
    return getattr(state, "fields_cache", {}).get(name) if state is not None else values.get(name)


def _first(values: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((text for name in names if (text := scalar(values.get(name))) is not None), None)
