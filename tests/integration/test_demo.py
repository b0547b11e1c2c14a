"""`otel-usage demo` for real: the portal under the launcher, two workers, HTTP, DuckDB, reports."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import duckdb
import pytest

from otel_usage.demo import portal, traffic

REQUESTS = 600
DATA: ModuleType = portal.example_data()
BIN = Path(sys.executable).parent
ENVIRON = {
    **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
    "PATH": f"{BIN}:{os.environ['PATH']}",
}


@dataclass(frozen=True)
class Run:
    """A finished demo."""

    home: Path
    done: subprocess.CompletedProcess[str]

    @property
    def directory(self) -> Path:
        return self.home / "demo"

    def select(self, query: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.directory / "usage.duckdb"), read_only=True) as connection:
            return connection.execute(query).fetchall()


def demo(home: Path, **environ: str) -> Run:
    """Run the demo in the folder `demo` of `home`."""
    command = [str(BIN / "otel-usage"), "demo", "--requests", str(REQUESTS), "--directory", "demo"]
    done = subprocess.run(command, cwd=home, env={**ENVIRON, **environ}, capture_output=True, text=True, timeout=300)
    return Run(home, done)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A demo that ran twice in one directory: what holds for the second holds for both."""
    home = tmp_path_factory.mktemp("home")
    first = demo(home)
    assert first.done.returncode == 0, first.done.stderr
    # Settings of the caller's own application are none of the demo's business.
    (home / "otel-usage.toml").write_text('exporter = "none"\n')
    return demo(home, OTEL_USAGE_DATABASE="other.duckdb", OTEL_SERVICE_NAME="other", OTEL_SDK_DISABLED="true")


def credentials() -> set[str]:
    """Every credential the demo presented, right or wrong, with and without its scheme."""
    found: set[str] = set()
    for request in (request for visitor in traffic.plan(DATA, REQUESTS) for request in visitor):
        found.add(request.headers.get("X-API-Key", ""))
        found.add(request.headers.get("Authorization", "").partition(" ")[2])
        found.update(parse_qs(urlsplit(request.target).query).get("api_key", []))
        found.update(re.findall(r'"password": "(.*?)"', (request.body or b"").decode()))
    found.update(DATA.password(user.username) for user in DATA.USERS)
    return found - {""}


def test_it_ends_well_twice(run: Run) -> None:
    """The second demo in a directory replaces the first and says that nothing was lost."""
    assert run.done.returncode == 0, run.done.stderr
    assert f"Sent {REQUESTS} requests" in run.done.stdout
    assert f"Stored: {REQUESTS}\nlost: 0\n" in run.done.stdout


def test_every_request_is_one_row(run: Run) -> None:
    """As many rows as requests, no key twice, all of the portal's two workers."""
    key = "(start_time, duration_ns, trace_id, span_id)"
    assert run.select(f"SELECT count(*), count(DISTINCT {key}) FROM requests") == [(REQUESTS, REQUESTS)]
    assert run.select("SELECT DISTINCT service_name FROM requests") == [("data-portal",)]


def test_the_statuses_stored_are_those_received(run: Run) -> None:
    """What the client counted by class is what the store holds by class."""
    stored = run.select("SELECT status_code // 100, count(*) FROM requests GROUP BY ALL ORDER BY ALL")
    counted = ", ".join(f"{count} x {kind}xx" for kind, count in stored)
    assert f"Answered: {REQUESTS} ({counted})" in run.done.stdout


def test_only_the_portals_own_bug_is_a_server_error(run: Run) -> None:
    """Recording breaks nothing: every 500 is the preview that fails without it too."""
    routes = run.select("SELECT DISTINCT route FROM requests WHERE status_code >= 500")
    assert routes == [("/datasets/{dataset_id}/files/{file_id}/preview",)]


def test_tokens_have_the_names_the_portal_gave_them(run: Run) -> None:
    """Each of the portal's tokens that was used is one fingerprint with its name."""
    rows = run.select(
        "SELECT token_name, count(DISTINCT token_id) FROM requests WHERE token_name IS NOT NULL GROUP BY ALL"
    )
    assert dict(rows) == dict.fromkeys(DATA.TOKENS, 1)


def test_users_are_users_of_the_portal(run: Run) -> None:
    """Nothing else that a dependency returns, a dataset say, is taken for a user."""
    names = {user.username for user in DATA.USERS}
    ids = {str(number) for number in range(1, len(DATA.USERS) + 1)}
    rows = run.select("SELECT DISTINCT user_id, user_name FROM requests WHERE user_id IS NOT NULL")
    assert {name for _, name in rows} - {None} == names
    assert {user_id for user_id, _ in rows} <= ids | names


def test_downloads_name_the_file_and_its_dataset(run: Run) -> None:
    """The portal's own word for a file is beside its id, and the dataset contains it."""
    rows = run.select(
        "SELECT DISTINCT resource_name, resource_id, resource_parent_type, resource_parent_id"
        " FROM requests WHERE action = 'download' AND resource_type = 'file'"
    )
    known = {
        (file.name, DATA.file_id(dataset.name, file.name), "dataset", dataset.name)
        for dataset in DATA.DATASETS
        for file in dataset.files
    }
    assert rows and set(rows) <= known


def test_no_credential_is_kept_or_shown(run: Run) -> None:
    """Neither in any file of the directory, nor in any cell of the store, nor in what the demo prints."""
    texts = [path.read_bytes() for path in run.directory.rglob("*") if path.is_file()]
    texts += [str(run.select("FROM usage")).encode(), run.done.stdout.encode(), run.done.stderr.encode()]
    leaked = sum(secret.encode() in text for secret in credentials() for text in texts)
    assert leaked == 0
    assert len(credentials()) > 20


def test_the_next_commands_work(run: Run) -> None:
    """Each command that the last lines propose can be typed as it stands."""
    _, _, proposed = run.done.stdout.partition("Next, try:")
    commands = [shlex.split(line) for line in proposed.splitlines() if line.startswith("  otel-usage")]
    assert len(commands) >= 5
    (run.home / "otel-usage.toml").unlink(missing_ok=True)
    for command in commands:
        done = subprocess.run(command, cwd=run.home, env=ENVIRON, capture_output=True, text=True, timeout=60)
        assert (done.returncode, bool(done.stdout.strip())) == (0, True), (command, done.stderr)


def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """Exit code 2, one line, and the store that is there is untouched."""
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "usage.duckdb").write_text("years of use")
    refused = demo(tmp_path).done
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "Choose another --directory" in refused.stderr
    assert (tmp_path / "demo" / "usage.duckdb").read_text() == "years of use"


@pytest.fixture
def started(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A long demo that is sending requests, and the port of its portal."""
    command = [str(BIN / "otel-usage"), "demo", "--requests", "1000000", "--directory", str(tmp_path / "demo")]
    process = subprocess.Popen(command, env=ENVIRON, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    log = tmp_path / "demo" / "server.log"
    try:
        found = _eventually(lambda: _served(log), 60)
        assert found is not None
        yield process, int(found[1])
    finally:
        process.terminate()
        process.communicate(timeout=60)


def _served(log: Path) -> re.Match[str] | None:
    """The address of a portal whose bug was already met: so requests are coming in."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return re.search(r"Uvicorn running on http://127\.0\.0\.1:(\d+)[\s\S]*UnicodeDecodeError", text)


def _eventually(look: Callable[[], Any], seconds: float) -> Any:
    """What `look` finds within so many seconds, else None."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
    return None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_demo_leaves_no_process(
    started: tuple[subprocess.Popen[bytes], int], number: signal.Signals
) -> None:
    """Ctrl-C, a supervisor's SIGTERM or a closed terminal ends the portal and its workers too."""
    process, port = started
    process.send_signal(number)
    assert process.wait(60) == 130
    assert _eventually(lambda: _is_closed(port), 10)


def _is_closed(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    return False
