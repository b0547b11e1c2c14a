"""What Flask's identity libraries leave in `flask.g`: the user of a request and the name of its token.

flask-login and what rests on it (Flask-Security), Flask-HTTPAuth, Flask-JWT-Extended, Authlib, Flask-Principal; and
the names under which applications themselves keep a user or a token there.
"""

import logging
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final

from otel_usage.enrichment.facts import FrameworkCredential, FrameworkUser
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import current
from otel_usage.instrumentation.tokens import identity, token_name
from otel_usage.instrumentation.users import framework_user

_logger = logging.getLogger("otel_usage")

_CLAIMS: Final = "_jwt_extended_jwt"
_CLAIMS_USER: Final = "_jwt_extended_jwt_user"
_CLAIMS_PLACE: Final = "_jwt_extended_jwt_location"
_HTTPAUTH: Final = "flask_httpauth_user"
_USERS: Final = ("_login_user", "user", "current_user", "identity")
_OWNED: Final = ("authlib_server_oauth2_token", _CLAIMS)
_TOKENS: Final = (*_OWNED, "token", "api_token", "api_key")


def identity_in(said: Mapping[str, Any]) -> tuple[FrameworkUser | None, str | None]:
    """The user among the values of `flask.g`, else the owner of a verified token there; and the token's name."""
    user, name = identity(said.get(_HTTPAUTH))
    return user or _user_in(said), name or _token_name_in(said)


def _user_in(said: Mapping[str, Any]) -> FrameworkUser | None:
    for name in _USERS:
        if name in said and (user := framework_user(said[name])) is not None:
            return user
    user = framework_user((said.get(_CLAIMS_USER) or {}).get("loaded_user"))
    return user or next((owner for name in _OWNED if (owner := _owner(said.get(name))) is not None), None)


def _token_name_in(said: Mapping[str, Any]) -> str | None:
    for kept in _TOKENS:
        if kept in said and (name := token_name(said[kept])) is not None:
            return name
    return None


def credential_in(said: Mapping[str, Any], request: Any, config: Mapping[str, Any]) -> FrameworkCredential | None:
    """The token that Flask-JWT-Extended took from a cookie or the query, under names that its settings give."""
    place = said.get(_CLAIMS_PLACE)
    if place == "cookies":
        text, parameter = request.cookies.get(config["JWT_ACCESS_COOKIE_NAME"]), None
    elif place == "query_string":
        parameter = config["JWT_QUERY_STRING_NAME"]
        text = request.args.get(parameter)
    else:
        return None
    return FrameworkCredential(text, parameter) if text else None


def patch_httpauth(patches: Patches, module: ModuleType) -> None:
    """Learn the token that Flask-HTTPAuth finds in a header of the application's own choice."""
    patches.replace(module.HTTPAuth, "get_auth", _noting_credential)


def _owner(token: Any) -> FrameworkUser | None:
    """Whose token it is: the subject of claims, or the user of a row, whose own id is the token's."""
    if token is None or isinstance(token, Mapping):
        return framework_user(token)
    values = getattr(token, "__dict__", {})
    return framework_user(values.get("user")) or framework_user(values.get("user_id"))


def _noting_credential(original: Any) -> Any:
    def get_auth(self: Any) -> Any:
        auth = original(self)
        try:
            state = current()
            token = getattr(auth, "token", None)
            if state is not None and self.header and isinstance(token, str) and token:
                state.credential = FrameworkCredential(token)
        except Exception:
            _logger.debug("A token of Flask-HTTPAuth cannot be told.", exc_info=True)
        return auth

    return get_auth
