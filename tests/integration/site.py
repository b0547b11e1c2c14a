"""A real server with a real application under the launcher, what is asked of it, and the rows it leaves."""

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

APPS = Path(__file__).parent / "apps"
BIN = Path(sys.executable).parent


@dataclass
class Answer:
    """What a client got: status, headers by lower-case name, and the body as it came."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Site:
    """A running server; after `stop`, its rows."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes]
    environment: dict[str, str]
    label: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def store(self) -> Path:
        return self.directory / "usage.duckdb"

    @property
    def log(self) -> str:
        return (self.directory / "server.log").read_text(errors="replace")

    def ask(self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, target, body=body, headers=headers or {})
            answer = connection.getresponse()
            content = answer.read()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, content)
        finally:
            connection.close()

    def stop(self, with_signal: int = signal.SIGTERM) -> None:
        """End the server and everything it started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, with_signal)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`otel-usage` in the site's folder, with its environment."""
        return subprocess.run(
            [BIN / "otel-usage", *arguments],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def read_rows(self) -> list[dict[str, Any]]:
        """Everything committed after `otel-usage sync`, oldest first, as the `usage` view shows it."""
        done = self.cli("sync")
        assert done.returncode == 0, done.stderr
        with duckdb.connect(str(self.store), read_only=True) as connection:
            cursor = connection.execute("from usage order by start_time, span_id")
            names = [column[0] for column in cursor.description or ()]
            self.rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return self.rows

    def row_of(self, case: str) -> dict[str, Any]:
        """The one row of the request whose user agent was `case`."""
        found = [row for row in self.rows if row["user_agent"] == case]
        assert len(found) == 1, f"{len(found)} rows of {case}, server log:\n{self.log[-3000:]}"
        return found[0]


def clean_environment(directory: Path, **more: str) -> dict[str, str]:
    """The environment of a newcomer: nothing of OpenTelemetry set but what a test asks for."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PYTHON", "DJANGO"))}
    return {**kept, "PATH": f"{BIN}:{os.environ['PATH']}", "SITE_DIRECTORY": str(directory), **more}


@contextlib.contextmanager
def serve(
    directory: Path,
    app: str,
    command: list[str],
    *,
    prepare: Callable[[Site], None] | None = None,
    launcher: bool = True,
    **environment: str,
) -> Iterator[Site]:
    """Run `command` under the launcher with `{port}` filled in, in a folder that holds the application.

    Args:
        directory: An empty folder; the store will be there.
        app: File name in `apps/`.
        command: Server and arguments.
        prepare: Called with the site before the server starts.
        launcher: False starts the server by itself.
        environment: Further variables.
    """
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copy(APPS / app, directory / app)
    port = free_port()
    parts = [part.replace("{port}", str(port)) for part in command]
    full = [str(BIN / "opentelemetry-instrument"), *parts] if launcher else [str(BIN / parts[0]), *parts[1:]]
    site = Site(directory, port, None, clean_environment(directory, **environment))  # type: ignore[arg-type]
    if prepare is not None:
        prepare(site)
    with (directory / "server.log").open("wb") as log:
        site.process = subprocess.Popen(
            full, cwd=directory, env=site.environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_for(lambda: listening(port) or site.process.poll() is not None)
        assert site.process.poll() is None, site.log
        yield site
    finally:
        site.stop(signal.SIGKILL)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def listening(port: int) -> bool:
    """Whether somebody accepts connections; no request is sent."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition: Callable[[], Any], *, seconds: float = 60) -> Any:
    """Wait until `condition` is true and return what it said; fail after `seconds`."""
    until = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < until, f"not within {seconds} s: {condition}"
        time.sleep(0.02)
