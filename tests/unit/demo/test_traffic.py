"""What the demo sends is decided before it is sent."""

import json
from collections import Counter
from types import ModuleType

import pytest

from otel_usage.demo import portal, traffic
from otel_usage.demo.kinds import KINDS
from otel_usage.demo.visitor import PlannedRequest


@pytest.fixture(scope="module")
def data() -> ModuleType:
    """The names and credentials of the example portal."""
    return portal.example_data()


def planned(data: ModuleType, requests: int) -> list[PlannedRequest]:
    """All requests of all visitors."""
    return [request for visitor in traffic.plan(data, requests) for request in visitor]


@pytest.mark.parametrize("requests", [1, 3, 4, 5, 600, 3000])
def test_a_plan_has_exactly_as_many_requests_as_asked(data: ModuleType, requests: int) -> None:
    """Whatever the number of visitors, the total is the number asked for."""
    assert len(planned(data, requests)) == requests


def test_a_plan_is_the_same_every_time(data: ModuleType) -> None:
    """The draw is seeded, so two plans agree request by request."""
    assert planned(data, 200) == planned(data, 200)


def test_a_short_plan_meets_every_kind(data: ModuleType) -> None:
    """As many requests as there are kinds are enough to see each once."""
    kinds = Counter(request.kind for request in planned(data, len(KINDS)))
    assert kinds == {kind.name: 1 for kind in KINDS}


def test_common_kinds_stay_common(data: ModuleType) -> None:
    """In a long plan reading is frequent and failing rare, as their shares say."""
    kinds = Counter(request.kind for request in planned(data, 3000))
    assert kinds["download a file"] > 10 * kinds["run into the portal's bug"] > 0


def test_credentials_are_presented_in_every_way(data: ModuleType) -> None:
    """Bearer, Basic, X-API-Key, api_key and nothing at all occur."""
    seen = Counter(_way(request) for request in planned(data, 600))
    assert set(seen) == {"Bearer", "Basic", "X-API-Key", "api_key", "nothing"}
    assert min(seen.values()) > 10


def _way(request: PlannedRequest) -> str:
    if "Authorization" in request.headers:
        return request.headers["Authorization"].split()[0]
    if "X-API-Key" in request.headers:
        return "X-API-Key"
    return "api_key" if "api_key=" in request.target else "nothing"


def test_a_planned_request_shows_no_credential(data: ModuleType) -> None:
    """Its repr, which a log or a failing test may print, holds no token and no password."""
    shown = " ".join(map(repr, planned(data, 600)))
    secrets = [data.token_secret(name) for name in data.TOKENS] + [data.password("analyst")]
    assert not any(secret in shown for secret in secrets)


def test_visitors_create_datasets_of_their_own(data: ModuleType) -> None:
    """No two visitors create, and so none deletes, the same dataset."""
    created = [
        json.loads(request.body or b"")["id"] for request in planned(data, 3000) if request.kind == "create a dataset"
    ]
    assert len(created) == len(set(created)) > 0
