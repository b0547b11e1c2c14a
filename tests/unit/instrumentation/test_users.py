"""Which id and name a framework's user object tells."""

import dataclasses
import uuid

import pytest
from django.utils.functional import SimpleLazyObject
from werkzeug.local import LocalProxy

from otel_usage.enrichment.facts import FrameworkUser
from otel_usage.instrumentation.users import framework_user, session_user


class Plain:
    def __init__(self, **values):
        self.__dict__.update(values)


class Mixin(Plain):
    is_authenticated = True

    def get_id(self):
        return f"by-method-{self.number}"


class Lazy(Plain):
    @property
    def id(self):
        raise AssertionError("an attribute was woken up")


class Failing:
    @property
    def id(self):
        raise RuntimeError("no session")

    username = "grace"


@dataclasses.dataclass(slots=True)
class Slotted:
    user_id: int
    username: str


CASES = [
    (None, None),
    ("", None),
    ("alice", FrameworkUser("alice")),
    (7, FrameworkUser("7")),
    (True, None),
    (Plain(id=7, username="grace"), FrameworkUser("7", "grace")),
    (Plain(pk=7), FrameworkUser("7")),
    (Plain(id=0), FrameworkUser("0")),
    (Plain(id=uuid.UUID(int=5)), FrameworkUser(str(uuid.UUID(int=5)))),
    (Plain(id=[1], username="grace"), FrameworkUser("grace", "grace")),
    (Plain(is_authenticated=False, id=1), None),
    ({"sub": "s-1", "preferred_username": "grace"}, FrameworkUser("s-1", "grace")),
    ({"scope": "read"}, None),
    (Plain(id=7, email="grace@portal.example"), FrameworkUser("7", "grace@portal.example")),
    (Mixin(number=3), FrameworkUser("by-method-3")),
    (Slotted(5, "grace"), FrameworkUser("5", "grace")),
    (Failing(), FrameworkUser("grace", "grace")),
    (object(), None),
]


@pytest.mark.parametrize(
    ("user", "expected"), CASES, ids=[f"{number}-{type(user).__name__}" for number, (user, _) in enumerate(CASES)]
)
def test_framework_user(user, expected):
    """Id and name by the names that libraries use; nobody where there is no id."""
    assert framework_user(user) == expected


def test_instance_values_are_read_before_attributes():
    """What lies in the instance's dictionary is taken without asking a property, which might query a database."""
    assert framework_user(Lazy(username="grace", pk=4)) == FrameworkUser("4", "grace")


class Hostile:
    """Nothing about it can be asked."""

    def __getattr__(self, name):
        raise LookupError(name)

    def __bool__(self):
        raise LookupError("truth")


def test_hostile_objects_are_nobody():
    """Whatever an application's object raises, the request does not notice."""
    assert framework_user(Hostile()) is None


class ModelState:
    """What Django keeps of a row beside its values."""


class DjangoRow(Lazy):
    pk = 5


class Expired(Lazy):
    """A row of SQLAlchemy's after a commit: each of its attributes would be a query."""

    is_active = is_authenticated = username = property(lambda self: Lazy.id.fget(self))

    def get_id(self):
        return str(self.id)


ROWS = {
    "django-deferred": (DjangoRow(_state=ModelState()), FrameworkUser("5")),
    "django-loaded": (DjangoRow(_state=ModelState(), id=6, username="grace"), FrameworkUser("6", "grace")),
    "expired": (Expired(_sa_instance_state=Plain(identity=(7,))), FrameworkUser("7")),
    "expired-composite": (Expired(_sa_instance_state=Plain(identity=(7, 8))), None),
    "not-stored": (Expired(_sa_instance_state=Plain(identity=None)), None),
}


@pytest.mark.parametrize("case", ROWS)
def test_rows_are_not_woken(case):
    """Of a database row only what is loaded is read, and the primary key it always knows."""
    row, expected = ROWS[case]
    assert framework_user(row) == expected


def woken():
    """What a lazy object would ask the database."""
    pytest.fail("a lazy object was woken up")


@pytest.mark.parametrize("kind", [LocalProxy, SimpleLazyObject])
def test_lazy_objects_stay_asleep(kind):
    """A user that nobody has looked at is not fetched for our sake, and is nobody."""
    assert framework_user(kind(woken)) is None
    assert framework_user({"id": kind(woken), "username": "grace"}) == FrameworkUser("grace", "grace")
    assert session_user(kind(woken)) is None
    assert session_user({"user": kind(woken), "user_id": 7}) == FrameworkUser("7")


def test_what_a_lazy_object_holds():
    """A lazy user that the application has looked at is that user."""
    lazy = SimpleLazyObject(lambda: Plain(id=7, username="grace"))
    assert lazy.id == 7
    assert framework_user(lazy) == FrameworkUser("7", "grace")


class LazySession:
    """A session that is fetched when it is asked."""

    def get(self, name):
        raise AssertionError("a session was woken up")


SESSIONS = [
    (None, None),
    ({}, None),
    ({"user": None, "cart": [1]}, None),
    ({"user": {"sub": "s-1", "name": "Grace"}}, FrameworkUser("s-1", "Grace")),
    ({"user": "grace"}, FrameworkUser("grace")),
    ({"user_id": 7}, FrameworkUser("7")),
    (LazySession(), None),
]


@pytest.mark.parametrize(("session", "expected"), SESSIONS, ids=[str(number) for number in range(len(SESSIONS))])
def test_session_user(session, expected):
    """A session has its user under the names that are usual; one that is not loaded is left alone."""
    assert session_user(session) == expected
