"""The whole pipeline as processes: applications, agent, gateway and `otel-usage collect`, each of them to be killed."""

import contextlib
import hashlib
import hmac
import http.client
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from tests.collector.collectors import TOKEN_KEY, Collector, Sink, agent, gateway, sink
from tests.integration import site as site_module
from tests.integration.site import APPS, BIN, Site, clean_environment, free_port, listening, wait_for

NODE_APP = Path(__file__).parent / "apps" / "node" / "app.cjs"
SERVER = ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "flask_app:app"]
OFTEN = {"OTEL_USAGE_COMMIT_INTERVAL": "0.2"}


@dataclass
class Program(Site):
    """A server of any kind, which can be started again on the same port.

    Attributes:
        command: With its arguments.
    """

    command: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Start it and wait until it serves."""
        with (self.directory / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.directory, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        wait_for(lambda: self.serves() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log

    def serves(self) -> bool:
        """Whether it takes requests."""
        return listening(self.port)


@contextlib.contextmanager
def running(program: Program) -> Iterator[None]:
    """The program while the `with` block runs."""
    program.start()
    try:
        yield
    finally:
        program.stop(signal.SIGKILL)


@dataclass
class Receiver(Program):
    """A running `otel-usage collect` with a store of its own."""

    @property
    def endpoint(self) -> str:
        """Base URL of its OTLP/HTTP receiver."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def store(self) -> Path:
        """Where its rows are."""
        return Path(self.environment["OTEL_USAGE_DATABASE"])

    def serves(self) -> bool:
        """Whether it takes requests, and its journal has room."""
        try:
            return self.ask("GET", "/health").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """What is committed; nothing while the store cannot be read."""
        try:
            with duckdb.connect(str(self.store), read_only=True) as connection:
                return connection.execute(sql).fetchall()
        except duckdb.Error:  # the leader has it, or has not made it yet
            return []

    def committed(self) -> Counter[str]:
        """How many rows each user agent has."""
        return Counter(dict(self.query("SELECT user_agent, count(*) FROM requests GROUP BY ALL")))

    def wait_for_rows(self, names: Set[str], *, seconds: float = 90) -> Counter[str]:
        """Wait until each of these user agents has a row; returns how many rows each user agent has."""
        counts: Counter[str] = Counter()

        def all_there() -> bool:
            nonlocal counts
            counts = self.committed() or counts
            return names <= counts.keys()

        with contextlib.suppress(AssertionError):
            wait_for(all_there, seconds=seconds)
        missing = sorted(names - counts.keys())
        assert not missing, f"{len(missing)} of {len(names)} have no row: {missing[:5]}\n{self.log[-2000:]}"
        return counts

    def totals(self) -> dict[str, int]:
        """What the store says it has taken: lines, inserted, duplicate, rejected."""
        names = "('lines', 'inserted', 'duplicate', 'rejected')"
        return dict(wait_for(lambda: self.query(f"SELECT name, value::BIGINT FROM store_info WHERE name IN {names}")))


@contextlib.contextmanager
def receiver(directory: Path, *options: str, **environment: str) -> Iterator[Receiver]:
    """`otel-usage collect` on a free port, started.

    Args:
        directory: Of its own; the store is in it.
        options: Of the command.
        environment: Further variables.
    """
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [str(BIN / "otel-usage"), "collect", "--listen", f"127.0.0.1:{port}", *options]
    settings = {**OFTEN, "OTEL_USAGE_DATABASE": str(directory / "usage.duckdb"), **environment}
    variables = clean_environment(directory, OTEL_USAGE_TOKEN_KEY=TOKEN_KEY, **settings)
    unstarted: Any = None
    program = Receiver(directory, port, unstarted, variables, command=command)
    with running(program):
        yield program


@dataclass
class Pipeline:
    """Everything between the applications and the store, and what came to the tracing backend."""

    agent: Collector
    gateway: Collector
    collect: Receiver
    backend: Sink

    def environment(self, **more: str) -> dict[str, str]:
        """What an application is started with, so that its ordinary traces go to the agent."""
        return {
            **OFTEN,
            "OTEL_TRACES_EXPORTER": "otlp_proto_http",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.agent.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "OTEL_USAGE_ENDPOINT": self.agent.endpoint,
            "OTEL_USAGE_TOKEN_KEY": TOKEN_KEY,
            **more,
        }


@contextlib.contextmanager
def pipeline(
    binary: Path,
    directory: Path,
    *options: str,
    backend: str = "",
    collectors: Mapping[str, str] | None = None,
    **environment: str,
) -> Iterator[Pipeline]:
    """Agent, gateway and receiver on free ports, each sending to the next.

    Args:
        binary: The Collector's program.
        directory: Of its own.
        options: Of `otel-usage collect`.
        backend: Base URL of another tracing backend than the sink.
        collectors: Further variables of both Collectors.
        environment: Further variables of the receiver.
    """
    more = collectors or {}
    with (
        sink() as traces,
        receiver(directory / "collect", *options, **environment) as collect,
        gateway(binary, directory / "gateway", collect.endpoint, backend or traces.endpoint, **more) as second,
        agent(binary, directory / "agent", second.endpoint, **more) as first,
    ):
        yield Pipeline(first, second, collect, traces)


@contextlib.contextmanager
def application(through: Pipeline, directory: Path) -> Iterator[Program]:
    """An application that sends usage copies and ordinary traces, and can be started again."""
    told = through.environment(OTEL_USAGE_EXPORTER="otlp", OTEL_SERVICE_NAME="app")
    unstarted: Any = None
    directory.mkdir()
    shutil.copy(APPS / "flask_app.py", directory)
    site = Program(directory, free_port(), unstarted, clean_environment(directory, **told))
    server = [part.replace("{port}", str(site.port)) for part in SERVER]
    site.command = [str(site_module.BIN / "opentelemetry-instrument"), str(site_module.BIN / server[0]), *server[1:]]
    with running(site):
        yield site


@contextlib.contextmanager
def node_application(through: Pipeline, directory: Path, packages: Path, **environment: str) -> Iterator[Program]:
    """An Express application that knows nothing of this package, and exports its traces."""
    directory.mkdir()
    told = through.environment(NODE_PATH=str(packages), **environment)
    unstarted: Any = None
    site = Program(directory, free_port(), unstarted, clean_environment(directory, **told))
    site.command = ["node", str(NODE_APP), str(site.port)]
    with running(site):
        yield site


def token_id(token: str) -> str:
    """The fingerprint by its definition."""
    return "tok_" + hmac.new(TOKEN_KEY.encode(), token.encode(), hashlib.sha256).hexdigest()[:16]
