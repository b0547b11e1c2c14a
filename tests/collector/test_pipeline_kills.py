"""SIGKILL to everything in turn, under load: what was acknowledged is one row when all is back."""

import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_usage.exporter.leadership import leader_pid
from otel_usage.exporter.paths import StorePaths
from tests.collector.clients import Clients, asking, posting
from tests.collector.collectors import Collector
from tests.collector.pipeline import Pipeline, Program, application, pipeline
from tests.integration import known
from tests.integration.faults.killing import handlers
from tests.integration.site import wait_for

PAGE = known.DOCS / "collector.md"
ROUNDS = 3


def restart(program: Program | Collector) -> None:
    """Kill all of it, and start it again."""
    program.stop(signal.SIGKILL)
    program.start()


def kill(pid: int) -> None:
    """Kill one process and wait until it is gone; another takes its place."""
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{pid}").exists())


def kill_a_worker(program: Program) -> None:
    """Kill one of those that serve."""
    kill(random.choice(wait_for(lambda: handlers(program))))
    wait_for(program.serves)


def kill_the_leader(program: Program) -> None:
    """Kill the one that commits or forwards."""
    kill(wait_for(lambda: leader_pid(StorePaths.of(program.store))))
    wait_for(program.serves)


def victims(through: Pipeline, site: Program) -> dict[str, Callable[[], None]]:
    """Who is killed, and how."""
    return {
        "`otel-usage collect`, all its processes": lambda: restart(through.collect),
        "`otel-usage collect`, a worker": lambda: kill_a_worker(through.collect),
        "`otel-usage collect`, the worker that commits": lambda: kill_the_leader(through.collect),
        "the gateway": lambda: restart(through.gateway),
        "the agent": lambda: restart(through.agent),
        "the application, all its processes": lambda: restart(site),
        "the application, a worker": lambda: kill_a_worker(site),
        "the application, the worker that forwards": lambda: kill_the_leader(site),
    }


@pytest.mark.usefixtures("tracing_programs")
def test_kills(collector_binary: Path, tmp_path: Path, update_docs: bool) -> None:
    """Three times each, in another order each time: what was acknowledged to anybody has one row, and only one."""
    with (
        pipeline(collector_binary, tmp_path / "pipeline", "--workers", "2") as through,
        application(through, tmp_path / "app") as site,
        asking(site, "asked") as asked,
        posting(through.agent, "posted") as posted,
    ):
        kills = kill_in_turn(through, site, [asked, posted], ROUNDS)
        settle(through, [asked, posted])
        site.stop()
        outcome = Outcome(through, [asked, posted])
    assert (outcome.missing, outcome.twice, outcome.unknown) == (set(), set(), set())
    for who, count in kills.items():
        cells = [count, len(outcome.missing), len(outcome.twice)]
        known.check("kills", who, [f"{cell}" for cell in cells], update=update_docs, page=PAGE)


def kill_in_turn(through: Pipeline, site: Program, clients: list[Clients], rounds: int) -> Counter[str]:
    """Kill each of them so many times, while requests are acknowledged before and after."""
    kills: Counter[str] = Counter()
    for _ in range(rounds):
        order = list(victims(through, site).items())
        random.shuffle(order)
        for who, kill_them in order:
            for each in clients:
                each.wait_for_more()
            kill_them()
            kills[who] += 1
            wait_for_a_way_through(through)
    return kills


def wait_for_a_way_through(through: Pipeline) -> None:
    """Wait for further rows: a Collector that is killed in its first second loses what it puts back into its queue."""
    before = wait_for(lambda: through.collect.committed().total())
    wait_for(lambda: through.collect.committed().total() > before, seconds=90)


def settle(through: Pipeline, clients: list[Clients]) -> None:
    """Send nothing more, and wait until all that was acknowledged has come."""
    for each in clients:
        each.stop()
    through.collect.wait_for_rows(set().union(*(each.acknowledged for each in clients)))


class Outcome:
    """What became of all requests.

    Attributes:
        acknowledged: User agents of those that were.
        missing: Acknowledged, and without a row.
        twice: With more than one row.
        unknown: Rows of no request that was sent.
    """

    def __init__(self, through: Pipeline, clients: list[Clients]) -> None:
        rows = Counter(row["user_agent"] for row in through.collect.read_rows())
        tried = set().union(*(each.tried for each in clients))
        self.acknowledged = set().union(*(each.acknowledged for each in clients))
        self.missing = self.acknowledged - rows.keys()
        self.twice = {name for name, count in rows.items() if count > 1}
        self.unknown = rows.keys() - tried
