"""A server is waited for, and nothing of it stays."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from otel_usage.demo import server
from otel_usage.errors import OtelUsageError

# A supervisor with a worker that ignores SIGTERM; says what uvicorn says.
STUBBORN = """
import os, signal, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pause()
print(f"Uvicorn running on http://127.0.0.1:{listener.getsockname()[1]}")
print("Application startup complete.\\n" * 2, flush=True)
signal.pause()
"""


def python(program: str) -> list[str]:
    """A command that runs this program."""
    return [sys.executable, "-c", program]


def is_closed(port: int) -> bool:
    """Whether, within ten seconds, the last process that listens there is gone."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        # Reset is what a connection gets that meets the very end of the listener.
        with contextlib.suppress(ConnectionResetError):
            try:
                socket.create_connection((server.HOST, port)).close()
            except ConnectionRefusedError:
                return True
    return False


def test_a_worker_that_ignores_the_signal_is_ended_too(tmp_path: Path) -> None:
    """The whole process group is gone after the block, also when an interrupt ended it."""
    with (
        pytest.raises(KeyboardInterrupt),
        server.running(python(STUBBORN), environ=os.environ, log=tmp_path / "log") as port,
    ):
        assert port > 0
        raise KeyboardInterrupt
    assert is_closed(port)


def test_a_server_that_dies_is_an_error_that_names_its_log(tmp_path: Path) -> None:
    """The wait ends at once, not after its bound."""
    log = tmp_path / "log"
    with pytest.raises(OtelUsageError, match=str(log)), server.running(python("1/0"), environ=os.environ, log=log):
        pass
    assert "ZeroDivisionError" in log.read_text()


def test_an_interrupt_while_the_process_starts_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt inside Popen is held until somebody knows the process."""
    started = []
    popen = subprocess.Popen

    def interrupted(command: list[str], **options: Any) -> Any:
        process = popen(command, **options)
        started.append(process)
        signal.raise_signal(signal.SIGINT)
        return process

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with (
        pytest.raises(KeyboardInterrupt),
        server.running(python(STUBBORN), environ=os.environ, log=tmp_path / "log"),
    ):
        pass
    assert started[0].poll() is not None


def test_the_access_log_is_off() -> None:
    """It would hold query strings, hence tokens sent as api_key."""
    assert "--no-access-log" in server.arguments("app:app", Path("/examples"))
