"""What an authentication library's object tells: the token's own name, and whose token it is."""

import dataclasses

import pytest
from django.utils.functional import SimpleLazyObject
from werkzeug.local import LocalProxy

from otel_usage.enrichment.facts import FrameworkUser
from otel_usage.instrumentation.tokens import identity, token_name


class Row:
    """An object with these values."""

    def __init__(self, **values):
        self.__dict__.update(values)


class ApiKey(Row):
    pass


class TokenData(Row):
    pass


class TokenUser(Row):
    pass


class KeycloakUser(Row):
    pass


@dataclasses.dataclass
class Verified:
    """The token of a library that keeps the claims inside it."""

    payload: dict


ALICE = Row(id=7, username="alice")
CLAIMS = {"sub": "s-1", "name": "Grace", "jti": "nightly-7"}

NAMES = [
    (None, None),
    ("raw", None),
    (Row(key="secret", name="nightly export"), "nightly export"),
    (Row(application=Row(name="portal")), "portal"),
    (CLAIMS, "nightly-7"),
    (Verified(CLAIMS), "nightly-7"),
    ({"sub": "s-1", "azp": "portal"}, "portal"),
]

IDENTITIES = [
    (None, None, None),
    (ALICE, FrameworkUser("7", "alice"), None),
    (Row(id=7, username="alice", owner="bob"), FrameworkUser("7", "alice"), None),
    (Row(user_id=7, name="Alice"), FrameworkUser("7", "Alice"), None),
    (CLAIMS, FrameworkUser("s-1", "Grace"), "nightly-7"),
    (Row(user=ALICE, scopes=["read"]), FrameworkUser("7", "alice"), None),
    (Row(id=31, name="nightly", owner=ALICE), FrameworkUser("7", "alice"), "nightly"),
    ({"id": 31, "name": "nightly", "owner": "alice"}, FrameworkUser("alice"), "nightly"),
    (ApiKey(id=31, name="nightly", user_id=7), FrameworkUser("7"), "nightly"),
    (ApiKey(id=31, name="harvester"), None, "harvester"),
    (TokenData(id=7), FrameworkUser("7"), None),
    (TokenData(username="alice"), FrameworkUser("alice", "alice"), None),
    (TokenUser(id=7, name="Alice"), FrameworkUser("7", "Alice"), None),
    (KeycloakUser(id=7, name="Alice"), FrameworkUser("7", "Alice"), None),
]


def numbered(cases):
    """Names of cases by their place and kind; their values may be secret or long."""
    return [f"{number}-{type(case[0]).__name__}" for number, case in enumerate(cases)]


@pytest.mark.parametrize(("token", "expected"), NAMES, ids=numbered(NAMES))
def test_token_name(token, expected):
    """A token is called as its row is, as the client it was issued to, or as its claims number it."""
    assert token_name(token) == expected


@pytest.mark.parametrize(("subject", "user", "name"), IDENTITIES, ids=numbered(IDENTITIES))
def test_identity(subject, user, name):
    """A user is itself, a token's row belongs to somebody, and claims are both."""
    assert identity(subject) == (user, name)


class Hostile:
    """Nothing about it can be asked, not even its dictionary."""

    __slots__ = ()

    def __getattr__(self, name):
        raise LookupError(name)


def test_hostile_objects_are_nobody():
    """Whatever an application's object raises, the request does not notice."""
    assert identity(Hostile()) == (None, None)
    assert token_name(Hostile()) is None


def woken():
    """What a lazy object would ask the database."""
    pytest.fail("a lazy object was woken up")


@pytest.mark.parametrize("kind", [LocalProxy, SimpleLazyObject])
def test_lazy_objects_stay_asleep(kind):
    """Neither a lazy token, nor one that belongs to a lazy object, is fetched for our sake."""
    lazy = kind(woken)
    key = ApiKey(name="nightly", owner=lazy)
    assert (identity(lazy), token_name(lazy)) == ((None, None), None)
    assert identity(key) == (None, "nightly")
    assert token_name(Row(application=lazy, client_id="portal")) == "portal"
