"""Which of FastAPI's dependencies may be the user of a request, and what our looking at them must not change."""

import asyncio
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from fastapi import Body, Depends
from fastapi.dependencies.utils import get_dependant
from fastapi.security import OAuth2PasswordBearer
from fastapi.security.base import SecurityBase

from otel_usage.enrichment.facts import FrameworkUser
from otel_usage.instrumentation.frameworks import fastapi as fastapi_file
from otel_usage.instrumentation.frameworks.fastapi.identity import Candidates, look
from otel_usage.instrumentation.state import RequestState

scheme = OAuth2PasswordBearer("token", auto_error=False)


def get_user(token: Annotated[str, Depends(scheme)]) -> Any:
    """A user as an application finds one."""


def get_dataset(item_id: int, user: Annotated[Any, Depends(get_user)]) -> Any:
    """What a user may see, by its path."""


def get_file(dataset: Annotated[Any, Depends(get_dataset)]) -> Any:
    """What lies in it."""


def get_order(order: Annotated[dict, Body()], user: Annotated[Any, Depends(get_user)]) -> Any:
    """What a user has sent."""


def get_admin(user: Annotated[Any, Depends(get_user)]) -> Any:
    """A user once more."""


DATASET = SimpleNamespace(id=5, name="Air quality")
ALICE = SimpleNamespace(id=7, username="alice")
NAMELESS = SimpleNamespace(id=5)

CASES = {
    "user": ({get_user: ALICE}, FrameworkUser("7", "alice")),
    "made-further-out": ({get_user: None, get_admin: ALICE}, FrameworkUser("7", "alice")),
    "nobody": ({get_user: None, get_dataset: DATASET}, None),
    "text": ({get_user: "alice", get_dataset: DATASET}, None),
    "in-a-dataset": ({get_user: None, get_dataset: DATASET, get_file: DATASET}, None),
    "sent": ({get_user: None, get_order: DATASET}, None),
    "same-id": ({get_user: NAMELESS, get_dataset: DATASET}, FrameworkUser("5")),
}


@pytest.mark.parametrize("case", CASES)
def test_who_the_dependencies_name(case):
    """The user is who rests on a security scheme; what the path or the body asks for is not."""
    results, user = CASES[case]

    def page(asked: Annotated[Any, Depends(list(results)[-1])]) -> None:
        """The endpoint."""

    dependant = get_dependant(path="/items/{item_id}", call=page)
    state = RequestState(None, None, counted=False)
    cache = {(call, ()): result for call, result in {scheme: "garbage", **results}.items()}
    look(state, cache, Candidates(SecurityBase).of(dependant))
    assert state.user == user


@pytest.mark.parametrize("scope", [{}, {"fastapi": None}], ids=["none", "other"])
def test_routes_of_another_kind_are_served(scope):
    """A scope that says nothing of included routers, or in other words, is only described less."""
    called = []

    async def original(self, scope, receive, send):
        called.append(scope)

    asyncio.run(fastapi_file._noting_included(original)(object(), scope, None, None))
    assert called == [scope]
