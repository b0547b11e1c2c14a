"""From an application's own user object to an id and a name, without waking it up.

Instance dictionaries are read before attributes are: an ORM object may answer an attribute with a query.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from otel_usage.enrichment.facts import FrameworkUser

_IDS: Final = ("id", "pk", "user_id", "uid", "sub", "identity", "username", "user_name", "email", "name")
_NAMES: Final = ("username", "user_name", "preferred_username", "login", "display_name", "name", "email")
_SESSION_USERS: Final = ("user", "user_id")
_MAX_TYPES: Final = 256


def framework_user(user: Any) -> FrameworkUser | None:
    """Who `user` is; None for nobody, for anonymous users, and for objects that tell no id.

    Args:
        user: A user object of any library, a mapping (JWT claims), text or a number.
    """
    user = awake(user)
    if user is None:
        return None
    values = loaded(user)
    is_row = _is_row(user, values)
    # A row is somebody; whether it is active may be a column that is not loaded.
    if not is_row and _is_anonymous(user):
        return None
    if isinstance(user, (str, int)) and not isinstance(user, bool):
        return FrameworkUser(str(user)) if user != "" else None
    asked = None if is_row or values is user else user
    user_id = _look_up(values, asked, _IDS) or (_row_key(user) if is_row else _get_id(user))
    if user_id is None:
        return None
    return FrameworkUser(user_id, _look_up(values, asked, _NAMES))


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
    kind: type = type(value)
    if not _is_lazy(kind):
        return value
    # werkzeug's LocalProxy does not keep what it has found; Django's LazyObject holds a bare object while it sleeps.
    if hasattr(kind, "_get_current_object") or type(value._wrapped) is object:
        return None
    return value._wrapped


# Each type is asked once: what it has not costs an exception inside the interpreter.
@lru_cache(maxsize=_MAX_TYPES)
def _is_lazy(kind: type) -> bool:
    return hasattr(kind, "_get_current_object") or (hasattr(kind, "_setup") and hasattr(kind, "_wrapped"))


def loaded(value: Any) -> Mapping[str, Any]:
    """What lies in a mapping or in an object itself, which is awake, without asking its attributes."""
    if is_mapping(value.__class__):
        return value  # type: ignore[no-any-return]  # a mapping
    try:
        return getattr(value, "__dict__", None) or {}
    except Exception:  # an object without a dictionary may answer with anything
        return {}


@lru_cache(maxsize=_MAX_TYPES)
def is_mapping(kind: type) -> bool:
    """Whether objects of a class are mappings."""
    return issubclass(kind, Mapping)


def _is_row(value: Any, values: Mapping[str, Any]) -> bool:
    """Whether it is a row of Django's or SQLAlchemy's: an attribute that is not loaded would be a query."""
    if values is value:
        return False
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
        return getattr(user, "is_authenticated", True) is False
    except Exception:  # a property of the application's own may raise anything
        return False


def _look_up(values: Mapping[str, Any], asked: Any, names: tuple[str, ...]) -> str | None:
    """The first of these names that tells one: among loaded values, then as an attribute of who may be asked."""
    for name in names:
        text = scalar(values.get(name))
        if text is not None:
            return text
    if asked is None:
        return None
    for name in names:
        try:
            text = scalar(getattr(asked, name, None))
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
    if value is None:
        return None
    kind = type(value)
    if issubclass(kind, (str, int)):
        return None if value == "" or kind is bool else str(value)
    # UUIDs and other ids of their own type have a text; containers and methods are no ids, lazy objects stay asleep.
    return str(value) if kind.__name__ in ("UUID", "ObjectId", "ULID") else None
