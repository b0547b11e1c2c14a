"""From an application's own user object to an id and a name, without waking it up.

Instance dictionaries are read before attributes are: an ORM object may answer an attribute with a query.
"""

from collections.abc import Mapping
from typing import Any, Final

from otel_usage.enrichment.facts import FrameworkUser

_IDS: Final = ("id", "pk", "user_id", "uid", "sub", "identity", "username", "user_name", "email", "name")
_NAMES: Final = ("username", "user_name", "preferred_username", "login", "display_name", "name", "email")
_SESSION_USERS: Final = ("user", "user_id")


def framework_user(user: Any) -> FrameworkUser | None:
    """Who `user` is; None for nobody, for anonymous users, and for objects that tell no id.

    Args:
        user: A user object of any library, a mapping (JWT claims), text or a number.
    """
    user = awake(user)
    if user is None or _is_anonymous(user):
        return None
    if isinstance(user, (str, int)) and not isinstance(user, bool):
        return FrameworkUser(str(user)) if user != "" else None
    user_id = _look_up(user, _IDS) or (_row_key(user) if _is_row(user) else _get_id(user))
    if user_id is None:
        return None
    return FrameworkUser(user_id, _look_up(user, _NAMES))


def session_user(session: Any) -> FrameworkUser | None:
    """Who a session was made for, by the names that Authlib's documentation and most applications give the user there.

    Args:
        session: The session as the framework has loaded it; anything but a dictionary may be lazy and is left alone.
    """
    if not issubclass(type(session), dict) or not dict.__len__(session):
        return None
    return next((user for name in _SESSION_USERS if (user := framework_user(session.get(name))) is not None), None)


def awake(value: Any) -> Any:
    """The value; of a lazy object what it holds, None while it sleeps: it would wake up if asked only for its class."""
    if value is None:
        return None
    kind = type(value)
    # werkzeug's LocalProxy does not keep what it has found.
    if hasattr(kind, "_get_current_object"):
        return None
    if hasattr(kind, "_setup") and hasattr(kind, "_wrapped"):
        # Django's LazyObject holds a bare object while it sleeps.
        return None if type(value._wrapped) is object else value._wrapped
    return value


def loaded(value: Any) -> Mapping[str, Any]:
    """What lies in a mapping or in an object itself, which is awake, without asking its attributes."""
    if isinstance(value, Mapping):
        return value
    try:
        return getattr(value, "__dict__", None) or {}
    except Exception:  # an object without a dictionary may answer with anything
        return {}


def _is_row(value: Any) -> bool:
    """Whether it is a row of Django's or SQLAlchemy's: an attribute that is not loaded would be a query."""
    if isinstance(value, Mapping):
        return False
    values = loaded(value)
    return "_sa_instance_state" in values or type(values.get("_state")).__name__ == "ModelState"


def _row_key(row: Any) -> str | None:
    """The primary key, which a row knows also where its values are deferred or expired."""
    state = vars(row).get("_sa_instance_state")
    if state is None:
        return scalar(row.pk)
    identity = getattr(state, "identity", None)
    return scalar(identity[0]) if identity and len(identity) == 1 else None


def _is_anonymous(user: Any) -> bool:
    try:
        # A row is somebody; whether it is active may be a column that is not loaded.
        return not _is_row(user) and getattr(user, "is_authenticated", True) is False
    except Exception:  # a property of the application's own may raise anything
        return False


def _look_up(user: Any, names: tuple[str, ...]) -> str | None:
    values = loaded(user)
    for name in names:
        text = scalar(values.get(name))
        if text is not None:
            return text
    if isinstance(user, Mapping) or _is_row(user):
        return None
    for name in names:
        try:
            text = scalar(getattr(user, name, None))
        except Exception:  # noqa: S112 - a property of the application's own may raise anything
            continue
        if text is not None:
            return text
    return None


def _get_id(user: Any) -> str | None:
    """The id by flask-login's own method."""
    try:
        method = getattr(user, "get_id", None)
        return scalar(method()) if callable(method) else None
    except Exception:
        return None


def scalar(value: Any) -> str | None:
    """A value as text where it is one that names something: text, a number, an id of its own type."""
    kind = type(value)
    if issubclass(kind, (str, int)):
        return None if value == "" or kind is bool else str(value)
    # UUIDs and other ids of their own type have a text; containers and methods are no ids, lazy objects stay asleep.
    return str(value) if kind.__name__ in ("UUID", "ObjectId", "ULID") else None
