"""What Django and its identity libraries leave on an HttpRequest: its user, its token's name, its view's name.

Only what is loaded is read: a lazy user nobody looked at stays asleep, and a row is not asked for its relations.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from otel_usage.enrichment.facts import FrameworkUser
from otel_usage.instrumentation.tokens import token_name
from otel_usage.instrumentation.users import framework_user


def user_of(request: Any) -> FrameworkUser | None:
    """The user as far as the application has looked: Django's `user`, else the owner of an OAuth token."""
    seen = vars(request)
    auth = seen.get("auth")
    for user in (_awake_user(seen), seen.get("resource_owner"), auth if _is_user(auth) else None):
        found = framework_user(user)
        if found is not None:
            return FrameworkUser(found.id, found.name or _declared_name(user))
    return None


def token_name_of(request: Any) -> str | None:
    """The name of the token: REST framework keeps it in `auth`, django-oauth-toolkit's middleware in `access_token`."""
    seen = vars(request)
    auth = seen.get("auth")
    return (None if _is_user(auth) else token_name(auth)) or token_name(seen.get("access_token"))


def operation_of(request: Any) -> str | None:
    """REST framework's ViewSet and action ("v1:DatasetViewSet.list"), else Django's view name ("v1:dataset-list").

    A ViewSet's url name is the same for all its actions on a path. Without a url name the view name is the view's
    qualified name; without a route there is none.
    """
    match = request.resolver_match
    if match is None:
        return None
    actions, view = getattr(match.func, "actions", None), getattr(match.func, "cls", None)
    action = actions.get((request.method or "").lower()) if isinstance(actions, Mapping) else None
    if action is None or view is None:
        return str(match.view_name)
    return ":".join((*match.namespaces, f"{view.__name__}.{action}"))


def _awake_user(seen: Mapping[str, Any]) -> Any:
    if "user" not in seen:
        return _cached_user(seen)
    user, lazy = seen["user"], _lazy()
    # Not isinstance(): asked for its class, a lazy object wakes up.
    if not issubclass(type(user), lazy.LazyObject):
        return user
    wrapped = getattr(user, "_wrapped", lazy.empty)
    return wrapped if wrapped is not lazy.empty else _cached_user(seen)


@cache
def _lazy() -> Any:
    """Where Django's lazy objects are; an import statement in each request would cost several times as much."""
    from django.utils import functional

    return functional


def _cached_user(seen: Mapping[str, Any]) -> Any:
    return seen.get("_cached_user", seen.get("_acached_user"))


def _is_user(value: Any) -> bool:
    """Whether it is a user that an authentication class returned in the place of a token."""
    return hasattr(type(value), "is_authenticated")


def _declared_name(user: Any) -> str | None:
    """The field that a user model of the application's own signs in with."""
    field = getattr(type(user), "USERNAME_FIELD", None)
    name = getattr(user, "__dict__", {}).get(field)
    return name if isinstance(name, str) and name else None
