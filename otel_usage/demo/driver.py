"""One run of the demo, from an empty directory to a store whose rows are counted."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from otel_usage import settings
from otel_usage.demo import client, directory, portal, server, traffic
from otel_usage.demo.client import Tally
from otel_usage.exporter import reading, store
from otel_usage.reports import query

SYNC_SECONDS: Final = 60.0
_FOREIGN: Final = ("OTEL_", "UVICORN_", "DATA_PORTAL_")

# From what is being done to a context that gives what to call with how much of it is done.
Working = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was sent and what is in the store."""

    sent: Tally
    stored: int
    lost: int

    def problem(self) -> str | None:
        """Why this run does not prove that every request is stored once; None where it does."""
        if self.sent.failed:
            return f"{self.sent.failed} requests got no answer, so what should be stored is unknown."
        if self.stored != self.sent.answered or self.lost:
            return f"{self.sent.answered} requests were answered, {self.stored} are stored, {self.lost} lost."
        return None


def run(where: Path, requests: int, working: Working) -> Outcome:
    """Send so many requests to the portal, stop it, and count what is stored.

    Args:
        where: The demo's directory; it keeps the store and the server's log.
        working: Shows progress.

    Raises:
        ConfigurationError: The directory is not the demo's.
        MissingExtraError: The packages of the demo are not installed.
        OtelUsageError: The portal did not start, or the store cannot be read.
    """
    portal.require_extra()
    with _terminated_as_interrupted(), directory.claimed(where) as claimed:
        environ = environment(claimed)
        sent = _drive(claimed, environ, requests, working)
        return _count(sent, settings.load(environ, strict=True), working)


def environment(claimed: Path) -> dict[str, str]:
    """The environment of the server and of all that reads its store: nothing of the caller's own telemetry."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return environ | {
        "OTEL_SERVICE_NAME": "data-portal",
        "OTEL_USAGE_DATABASE": str(claimed / directory.DATABASE),
        "OTEL_USAGE_COMMIT_INTERVAL": "1",
        # An otel-usage.toml of the folder the demo is called from is not meant for it.
        "OTEL_USAGE_CONFIG": os.devnull,
        "DATA_PORTAL_DIRECTORY": str(claimed / directory.PORTAL),
    }


def _drive(claimed: Path, environ: Mapping[str, str], requests: int, working: Working) -> Tally:
    uvicorn = server.arguments(portal.APPLICATION, portal.examples_directory())
    command = [portal.script("opentelemetry-instrument"), portal.script("uvicorn"), *uvicorn]
    plans = traffic.plan(portal.example_data(), requests)
    with (
        server.running(command, environ=environ, log=claimed / directory.SERVER_LOG) as port,
        working("Sending requests") as progress,
    ):
        return client.send(server.HOST, port, plans, progress=lambda done: progress(done, requests))


def _count(sent: Tally, chosen: settings.Settings, working: Working) -> Outcome:
    with working("Committing") as progress:
        reading.sync(chosen, timeout_seconds=SYNC_SECONDS, progress=progress)
    reading.prepare_to_read(chosen, announce=lambda _: None)
    with store.connect_read_only(chosen.database) as connection:
        pending = reading.uncommitted(connection, chosen)
        table = query.run(connection, query.question("overview"), pending)
    overview = dict(zip(table.columns, table.rows[0], strict=True))
    return Outcome(sent=sent, stored=overview["requests"], lost=overview["lost"])


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM and a closed terminal unwind like Ctrl-C, so that the server ends with the demo."""

    def interrupt(_number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    # What is ignored stays ignored: `nohup` means it.
    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
