"""Forwarding while everything fails: workers and leaders are killed, the endpoint refuses, resets, hangs, is away."""

import contextlib
import os
import random
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from otel_usage.exporter.forwarder import state as forwarding_state
from otel_usage.exporter.leadership import leader_pid
from otel_usage.exporter.paths import StorePaths
from otel_usage.exporter.pending import pending
from tests.integration.faults.killing import KILLED, handlers
from tests.integration.faults.load import INSTRUMENTATIONS, Load
from tests.integration.otlp_sink import HANG, RESET, TAKEN, Arrival, Reply, Sink, sink
from tests.integration.servers import start
from tests.integration.site import Site, free_port, wait_for

KILLS = {"gunicorn": 12, "gunicorn-gthread": 10, "uvicorn-workers": 8}
GUNICORN = "gunicorn"
# Longer than most headers, so that few requests fill a journal of the least size; servers take up to 8190 bytes.
LONG = "x" * 6000


def started(server: str, directory: Path, endpoint: str, **settings: str) -> AbstractContextManager[Site]:
    """The server, forwarding often, with one framework's instrumentation so that its processes are soon back."""
    unused = ",".join(sorted(INSTRUMENTATIONS - {KILLED[server].app.removesuffix("_app.py")}))
    environment = {
        "OTEL_USAGE_EXPORTER": "otlp",
        "OTEL_USAGE_ENDPOINT": endpoint,
        "OTEL_USAGE_COMMIT_INTERVAL": "0.1",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "0.5",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": unused,
    }
    return start(KILLED[server], directory, **environment | settings)


def moody(chance: random.Random) -> Callable[[Arrival], Reply]:
    """Every second request has its trouble, and two of five troubles come after it was kept."""
    troubles = [
        Reply(503, {"Retry-After": "0"}),
        RESET,
        HANG,
        Reply(0, is_kept=True),
        Reply(-1, is_kept=True),
    ]
    lock = threading.Lock()

    def reply(_: Arrival) -> Reply:
        with lock:
            return chance.choice(troubles) if chance.random() < 0.5 else TAKEN

    return reply


def kill(site: Site, found: Sink, load: Load, number: int, chance: random.Random) -> None:
    """Kill the leader every second time, which then has just sent something, else any process that serves."""
    load.wait_for_answers(len(load.answered) + chance.randrange(40))
    arrived = len(found.arrivals) + chance.randrange(3)
    wait_for(lambda: len(found.arrivals) > arrived)
    paths = StorePaths.of(site.store)
    if number % 2:
        pid = wait_for(lambda: (leader := leader_pid(paths)) in handlers(site) and leader)
    else:
        pid = chance.choice(wait_for(lambda: handlers(site)))
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("server", KILLS)
def test_killed_while_the_endpoint_fails(server, tmp_path):
    """What a client was answered arrives, whoever is killed and whatever the endpoint does; and once by its key."""
    chance = random.Random(server)
    with sink(reply=moody(chance)) as found:
        with started(server, tmp_path, found.endpoint) as site, Load(site, server) as load:
            load.is_ending = True  # at any time
            for number in range(KILLS[server]):
                kill(site, found, load, number, chance)
            load.stop()
            site.stop(signal.SIGKILL)
        found.reply = lambda _: TAKEN
        done = site.cli("sync")
        assert done.returncode == 0, done.stderr
        arrived = found.agents()
    assert set(load.answered) - arrived.keys() == set()
    assert {name: times for name, times in arrived.items() if times > 1} == {}
    assert arrived.keys() <= {*load.answered, *load.unanswered}
    assert len(found.kept) < len(found.arrivals)
    assert losses(site).keys() <= {"torn_line"}


def losses(site: Site) -> dict[str, int]:
    """What the journal says is lost."""
    state = forwarding_state.load(StorePaths.of(site.store))
    return {} if state is None else {reason: noted.records for reason, noted in state.losses.items()}


def ask(site: Site, first: int, count: int, suffix: str = "") -> list[str]:
    """So many requests, one after the other; their user agents."""
    names = [f"asked-{number}{suffix}" for number in range(first, first + count)]
    for name in names:
        assert site.ask("GET", "/claims/7", {"User-Agent": name}).status == 200
    return names


def test_away_and_back(tmp_path):
    """While nobody listens records wait; once somebody does they arrive by themselves."""
    port = free_port()
    with started(GUNICORN, tmp_path, f"http://127.0.0.1:{port}") as site:
        names = ask(site, 0, 20)
        wait_for(lambda: "Connection refused" in site.log)
        with sink(port) as found:
            found.wait_for_spans(20)
            names += ask(site, 20, 5)
            found.wait_for_spans(25)
        names += ask(site, 25, 5)
        with sink(port) as again:
            again.wait_for_spans(5)
            wait_for(lambda: not pending(StorePaths.of(site.store)).records)
            site.stop()
    assert found.agents() + again.agents() == dict.fromkeys(names, 1)


def test_retry_after(tmp_path):
    """A leader leaves the endpoint alone as long as it is asked to, though its intervals are shorter."""
    with (
        sink(reply=lambda _: Reply(503, {"Retry-After": "2"})) as found,
        started(GUNICORN, tmp_path, found.endpoint) as site,
    ):
        ask(site, 0, 5)
        wait_for(lambda: len(found.arrivals) == 1)
        found.reply = lambda _: TAKEN
        ask(site, 5, 5)
        found.wait_for_spans(10)
        site.stop()
    first, second = found.arrivals[:2]
    assert second.at - first.at >= 2


def test_a_wrong_endpoint_then_the_right_one(tmp_path):
    """What was answered with 404 is told in the log with what to do, and arrives after a restart that is set right."""
    with sink(reply=lambda _: Reply(404)) as found:
        with started(GUNICORN, tmp_path, f"{found.endpoint}/somewhere") as site:
            names = ask(site, 0, 10)
            wait_for(lambda: "404 Not Found. Check OTEL_USAGE_ENDPOINT" in site.log)
            site.stop()
        assert {arrival.path for arrival in found.arrivals} == {"/somewhere/v1/traces"}
        found.reply = lambda _: TAKEN
        with started(GUNICORN, tmp_path, found.endpoint) as site:
            names += ask(site, 10, 1)
            found.wait_for_spans(11)
            site.stop()
    assert found.agents() == dict.fromkeys(names, 1)


def test_a_journal_at_its_bound(tmp_path):
    """Past its bound the newest are dropped and counted, no answer suffers, and all others arrive."""
    with (
        sink(reply=lambda _: Reply(503)) as found,
        started(GUNICORN, tmp_path, found.endpoint, OTEL_USAGE_JOURNAL_MAX_BYTES=str(1 << 20)) as site,
    ):
        names = ask(site, 0, 260, LONG)
        wait_for(lambda: "has reached its bound" in site.log)
        done = site.cli("doctor")
        assert "journal_full" in done.stdout
        assert "503 Service Unavailable" in done.stdout
        found.reply = lambda _: TAKEN
        assert site.cli("sync").returncode == 0
        site.stop()
    lost = losses(site)
    assert lost.keys() == {"journal_full"}
    assert len(found.agents()) + lost["journal_full"] == len(names)
    assert found.agents().keys() < set(names)


def test_a_leader_that_ends_while_the_endpoint_hangs(tmp_path):
    """The end of a server waits for it no longer than some seconds; the records arrive with the next start."""
    with sink(reply=lambda _: HANG) as found:
        with started(GUNICORN, tmp_path, found.endpoint, OTEL_EXPORTER_OTLP_TIMEOUT="60") as site:
            names = ask(site, 0, 5)
            wait_for(lambda: found.arrivals)
            os.kill(site.process.pid, signal.SIGTERM)
            site.process.wait(15)
        found.reply = lambda _: TAKEN
        assert site.cli("sync").returncode == 0
    assert found.agents() == dict.fromkeys(names, 1)
