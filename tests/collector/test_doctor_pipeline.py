"""`otel-usage doctor --endpoint` of real Collectors: whole, and with each hop broken in turn."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collector.collectors import TOKEN_KEY, Collector, agent, gateway
from tests.collector.doctor import SERVICE_NAME, Found, doctor, trial_rows
from tests.collector.pipeline import Pipeline, pipeline
from tests.integration.site import free_port, wait_for

KEY = {"OTEL_USAGE_TOKEN_KEY": TOKEN_KEY}


@pytest.fixture(scope="module")
def hops(collector_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """Agent, gateway and receiver."""
    with pipeline(collector_binary, tmp_path_factory.mktemp("hops")) as running:
        yield running


def ask(hops: Pipeline, *, seconds: int = 20, **environment: str) -> Found:
    """Ask the doctor of the pipeline from the agent on; the hops behind are told by the variables."""
    variables = {
        "OTEL_USAGE_GATEWAY_ENDPOINT": hops.gateway.endpoint,
        "OTEL_USAGE_COLLECT_ENDPOINT": hops.collect.endpoint,
    }
    return doctor([hops.agent.endpoint], hops.collect.store, seconds=seconds, **{**KEY, **variables, **environment})


def test_a_whole_pipeline(hops: Pipeline) -> None:
    """Every hop takes its trial request, their rows come and go, the agent's hash is that of the key known here."""
    found = ask(hops)
    assert [(check, status) for check, status, _ in found.findings] == [
        ("endpoint", "ok"),
        ("gateway", "ok"),
        ("collect", "ok"),
        ("token", "ok"),
        ("removal", "ok"),
        ("pipeline", "ok"),
    ], found
    assert "(3)" in found.said("removal", "ok")
    assert hops.collect.query("SELECT count(*) FROM requests") == [(0,)]


def test_the_tracing_backend_gets_it_without_its_token(hops: Pipeline) -> None:
    """It is an ordinary span; a credential is on none of the ways by which it gets there."""
    ask(hops)
    spans = wait_for(
        lambda: [each for each in hops.backend.spans() if each["resource"]["service.name"] == SERVICE_NAME]
    )
    assert not any("bearer" in str(each).lower().replace("'usage.token.scheme': 'bearer'", "") for each in spans)


def test_the_agent_is_down(hops: Pipeline) -> None:
    """Nothing gets in, and the rest is whole."""
    hops.agent.stop(signal.SIGKILL)
    try:
        found = ask(hops)
    finally:
        hops.agent.start()
    assert "refuses connections" in found.said("endpoint", "attention")
    assert found.verdict == (
        "attention",
        f"It ends where it begins, at {hops.agent.endpoint}. From {hops.gateway.endpoint} on it is whole.",
    )
    assert trial_rows(hops.collect.store) == 0


def test_the_gateway_is_down(hops: Pipeline) -> None:
    """The agent answers 200 and keeps it; its row comes once the gateway is back, and the next run removes it."""
    hops.gateway.stop(signal.SIGKILL)
    try:
        found = ask(hops, seconds=2)
    finally:
        hops.gateway.start()
    assert "took a trial request" in found.said("endpoint", "ok")
    assert "refuses connections" in found.said("gateway", "attention")
    assert f"It ends at {hops.gateway.endpoint}, which does not take" in found.verdict[1]
    wait_for(lambda: trial_rows(hops.collect.store) == 1, seconds=60)
    began = time.time()
    wait_for(lambda: time.time() > began + 3)
    again = ask(hops)
    assert "earlier trial requests (1)" in again.said("removal", "note"), again
    assert again.code == 0
    assert trial_rows(hops.collect.store) == 0


def test_only_the_first_hop_is_known(hops: Pipeline) -> None:
    """What helps then is to name the others."""
    hops.gateway.stop(signal.SIGKILL)
    try:
        found = doctor([hops.agent.endpoint], hops.collect.store, seconds=2, **KEY)
    finally:
        hops.gateway.start()
    assert found.verdict[0] == "attention"
    assert "did not come" in found.verdict[1]
    assert "Name the hops behind it too" in found.verdict[1]


def test_the_receiver_is_down(hops: Pipeline) -> None:
    """Both Collectors take it, and it is the receiver that does not."""
    hops.collect.stop(signal.SIGKILL)
    try:
        found = ask(hops, seconds=2)
    finally:
        hops.collect.start()
    assert "refuses connections" in found.said("collect", "attention")
    assert f"It ends at {hops.collect.endpoint}, which does not take what {hops.gateway.endpoint}" in found.verdict[1]


def test_a_gateway_that_sends_elsewhere(hops: Pipeline, collector_binary: Path, tmp_path: Path) -> None:
    """Every hop takes its own, and the gateway's does not come."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    with gateway(collector_binary, tmp_path, nowhere, hops.backend.endpoint) as lost:
        found = doctor([lost.endpoint, hops.collect.endpoint], hops.collect.store, seconds=3, **KEY)
    assert found.verdict[0] == "attention"
    assert f"{lost.endpoint} took a trial request whose row did not come within 3 s" in found.verdict[1]
    assert f"one sent to {hops.collect.endpoint} itself came" in found.verdict[1]
    assert f"Look at where {lost.endpoint} sends to" in found.verdict[1]


@pytest.fixture
def stranger(hops: Pipeline, collector_binary: Path, tmp_path: Path) -> Iterator[Collector]:
    """An agent before the same gateway with a deployment key of its own."""
    with agent(collector_binary, tmp_path, hops.gateway.endpoint, OTEL_USAGE_TOKEN_KEY="f" * 64) as running:
        yield running


def test_an_agent_with_another_key(hops: Pipeline, stranger: Collector) -> None:
    """The row comes, and its token has another id: by the key known here, or by that of the receiver."""
    for known in (KEY, {}):
        found = doctor([stranger.endpoint, hops.collect.endpoint], hops.collect.store, **known)
        assert found.code == 1
        assert "The first hop makes token ids with another deployment key" in found.said("token", "attention")
        assert found.verdict[0] == "ok"
        assert trial_rows(hops.collect.store) == 0
