"""SIGKILL under load: who is killed and when, and what the store then says of the requests that were answered.

Nothing here knows how records are kept: only that an answered request has one row, and no request has two.
"""

import contextlib
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from otel_usage.exporter.leadership import leader_pid
from otel_usage.exporter.paths import StorePaths
from otel_usage.exporter.store import connect_read_only
from tests.integration.faults.load import INSTRUMENTATIONS, Load
from tests.integration.servers import SERVERS, start
from tests.integration.site import BIN, Site, wait_for

UVICORN = SERVERS["uvicorn-workers"]
# Its supervisor kills workers that are silent for so long, which by default (5) a worker on a busy machine is while it
# imports; and where we kill one that it is just asking, it waits so long before it does anything else.
PATIENT = replace(UVICORN, command=[*UVICORN.command[:-1], "--timeout-worker-healthcheck", "15", UVICORN.command[-1]])
KILLED = {
    **{name: SERVERS[name] for name in ("gunicorn", "gunicorn-gthread", "gunicorn-preload", "gunicorn-uvicorn")},
    "uvicorn-workers": PATIENT,
}
# Between two kills: the servers also need to serve.
MAX_ANSWERS = 40
# A commit and a command need about so long; they are killed somewhere within.
COMMIT_SECONDS = 0.05
COMMAND_SECONDS = 1.0
COMMANDS = [["report", "latest"], ["report", "overview"], ["sync"]]
COMMANDS_KILLED_AT_THE_END = 4


@dataclass
class Toll:
    """What killing has cost one store: nothing, unless `missing` or `twice` say otherwise.

    Attributes:
        kills: How many of each kind.
        loads: The clients, a load for each start of the server.
        rows: Of each request.
        totals: What the store says of its lines: lines, inserted, duplicate, rejected.
        lost: What the store says is lost, by reason.
    """

    kills: Counter[str] = field(default_factory=Counter)
    loads: list[Load] = field(default_factory=list)
    rows: Counter[str] = field(default_factory=Counter)
    totals: dict[str, int] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)

    @property
    def answered(self) -> set[str]:
        """Requests whose whole answer came."""
        return {name for load in self.loads for name in load.answered}

    @property
    def sent(self) -> set[str]:
        """All requests."""
        return self.answered | {name for load in self.loads for name in load.unanswered}

    @property
    def missing(self) -> set[str]:
        """Requests that were answered and have no row."""
        return self.answered - self.rows.keys()

    @property
    def twice(self) -> set[str]:
        """Requests with more than one row, and rows that are of no request."""
        return {name for name, rows in self.rows.items() if rows > 1} | (self.rows.keys() - self.sent)

    @property
    def adds_up(self) -> bool:
        """Whether every line that was committed became a row, and only one."""
        rows = self.rows.total()
        return self.totals == {"lines": rows, "inserted": rows, "duplicate": 0, "rejected": 0}

    def read(self, database: Path) -> None:
        """Take over what the store says."""
        with connect_read_only(database) as store:
            self.rows = Counter(dict(store.execute("SELECT user_agent, count(*) FROM requests GROUP BY 1").fetchall()))
            self.lost = Counter(
                dict(store.execute("SELECT reason, sum(records)::BIGINT FROM losses GROUP BY 1").fetchall())
            )
            self.totals = dict(
                store.execute(
                    "SELECT name, value::BIGINT FROM store_info"
                    " WHERE name IN ('lines', 'inserted', 'duplicate', 'rejected')"
                ).fetchall()
            )


class Killer:
    """Kills one process after the other of a site that serves.

    Args:
        site: Its server has a supervisor, which replaces whom we kill.
        load: The clients that ask it.
        toll: Counts the kills.
        chance: Decides who and when.
    """

    def __init__(self, site: Site, load: Load, toll: Toll, chance: random.Random) -> None:
        self._site = site
        self._load = load
        self._toll = toll
        self._chance = chance
        self._paths = StorePaths.of(site.store)

    def kill(self) -> None:
        """Kill somebody: the leader every second time, now and then a command, else any process that serves."""
        self._wait_for_some_answers()
        number = self._toll.kills.total()
        if number % 10 == 4:
            self._kill_a_command()
        elif number % 4 == 1:
            self._kill("leader", self._leader())
        elif number % 4 == 3:
            leader = self._leader()
            self._wait_for_a_commit()
            self._kill("leader while it commits", leader)
        else:
            self._kill("handler", self._chance.choice(wait_for(lambda: handlers(self._site))))
        connect_read_only(self._paths.database, wait_seconds=30).close()

    def _wait_for_some_answers(self) -> None:
        self._load.wait_for_answers(len(self._load.answered) + self._chance.randrange(MAX_ANSWERS))

    def _leader(self) -> int:
        return int(wait_for(lambda: (pid := leader_pid(self._paths)) in handlers(self._site) and pid))

    def _wait_for_a_commit(self) -> None:
        """Wait until somewhere within the next one, or to its end: its log is there until the store itself has it all.

        This is over in milliseconds, so it is looked at nearly without pause.
        """
        log, until = self._paths.write_ahead_log, time.monotonic() + 60
        while not log.exists():
            assert time.monotonic() < until, "nobody commits"
            time.sleep(0.0005)
        until = time.monotonic() + self._chance.uniform(0, COMMIT_SECONDS)
        while time.monotonic() < until and log.exists():
            pass

    def _kill(self, kind: str, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self._toll.kills[kind] += 1
        wait_for(lambda: not _is_alive(pid))

    def _kill_a_command(self) -> None:
        with _command(self._site, self._toll, self._chance):
            self._wait_for_some_answers()


def kill_at_random(
    directory: Path,
    server: str,
    kills: int,
    chance: random.Random,
    *,
    toll: Toll | None = None,
    go_on: Callable[[], bool] = lambda: True,
) -> Toll:
    """Start a server, ask and kill, kill all that is left, kill whoever commits that, and read the store.

    Args:
        directory: Of the store; one that was used before is used on.
        server: Of `KILLED`.
        kills: How many, besides the last ones.
        chance: Decides who and when.
        toll: Of this store before; added to.
        go_on: Called before each kill; False ends it early.

    Returns:
        The toll of this store.
    """
    toll = toll or Toll()
    until = toll.kills.total() + kills
    with _started(server, directory) as site:
        with Load(site, f"{server}-{len(toll.loads)}") as load:
            load.is_ending = True  # at any time
            toll.loads.append(load)
            wait_for(site.store.exists)
            killer = Killer(site, load, toll, chance)
            while toll.kills.total() < until and go_on():
                killer.kill()
            load.stop()
            site.stop(signal.SIGKILL)
        for _ in range(COMMANDS_KILLED_AT_THE_END):
            _kill_who_commits(site, toll, chance)
        done = site.cli("sync")
        assert done.returncode == 0, done.stderr
        toll.read(site.store)
    return toll


def _started(server: str, directory: Path) -> AbstractContextManager[Site]:
    """The server, with one framework's instrumentation, so that its processes are soon back; commits come often."""
    unused = ",".join(sorted(INSTRUMENTATIONS - {KILLED[server].app.removesuffix("_app.py")}))
    settings = {"OTEL_USAGE_COMMIT_INTERVAL": "0.1", "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": unused}
    return start(KILLED[server], directory, **settings)


def _kill_who_commits(site: Site, toll: Toll, chance: random.Random) -> None:
    """Let a command commit what the dead have left, and kill it on the way."""
    with _command(site, toll, chance) as process, contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(chance.uniform(0, COMMAND_SECONDS))
    connect_read_only(site.store).close()


@contextlib.contextmanager
def _command(site: Site, toll: Toll, chance: random.Random) -> Iterator["subprocess.Popen[bytes]"]:
    """A command that reads or commits; killed at the end, which counts unless it was faster."""
    arguments = [BIN / "otel-usage", *chance.choice(COMMANDS)]
    none = subprocess.DEVNULL
    with subprocess.Popen(arguments, cwd=site.directory, env=site.environment, stdout=none, stderr=none) as process:
        yield process
        process.kill()
        toll.kills["command"] += process.wait() == -signal.SIGKILL


def handlers(site: Site) -> list[int]:
    """The living processes that the site's server has started to serve requests."""
    children: list[int] = []
    for path in Path(f"/proc/{site.process.pid}/task").glob("*/children"):
        children += map(int, path.read_text().split())
    return [pid for pid in children if _is_alive(pid) and "resource_tracker" not in _command_line(pid)]


def _is_alive(pid: int) -> bool:
    """Whether this process runs: one that is dead may wait for its parent to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""
