"""A uvicorn server with several workers as a subprocess: started, waited for, stopped. Sends it no request."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from otel_usage.errors import OtelUsageError

HOST: Final = "127.0.0.1"
WORKERS: Final = 2
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 15.0

_LOOK_EVERY_SECONDS: Final = 0.05
_INTERRUPTS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LISTENING: Final = re.compile(rf"Uvicorn running on http://{re.escape(HOST)}:(\d+)")
_WORKER_READY: Final = "Application startup complete"


def arguments(application: str, app_directory: Path) -> list[str]:
    """What follows `uvicorn` on its command line.

    Port 0 lets the kernel choose, so that nobody else can take the port in between. The access log would show
    query strings, and those may carry tokens.
    """
    return [
        application,
        *("--app-dir", str(app_directory)),
        *("--host", HOST, "--port", "0"),
        *("--workers", str(WORKERS)),
        *("--no-access-log", "--no-use-colors"),
    ]


@contextmanager
def running(command: Sequence[str], *, environ: Mapping[str, str], log: Path) -> Iterator[int]:
    """The server, for as long as the block runs; gives the port it listens on.

    Args:
        command: Starts uvicorn with `arguments`.
        environ: All of the server's environment.
        log: Gets what the server prints; the server's working directory is the folder it lies in.

    Raises:
        OtelUsageError: The workers are not ready within START_SECONDS.
    """
    process: subprocess.Popen[bytes] | None = None
    try:
        with log.open("wb") as output, _interrupt_later():
            process = subprocess.Popen(
                command,
                cwd=log.parent,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        yield _port_when_ready(process, log)
    finally:
        if process is not None:
            _stop(process)


@contextmanager
def _interrupt_later() -> Iterator[None]:
    """An interrupt between the fork and the assignment would leave a process that nobody knows."""
    held: list[int] = []
    numbers = [number for number in _INTERRUPTS if signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, lambda got, _: held.append(got)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for got in held:
            signal.raise_signal(got)


def _port_when_ready(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        text = log.read_text(encoding="utf-8", errors="replace")
        listening = _LISTENING.search(text)
        if listening and text.count(_WORKER_READY) >= WORKERS:
            return _connectable(int(listening[1]))
        if process.poll() is not None:
            break
        time.sleep(_LOOK_EVERY_SECONDS)
    raise OtelUsageError("The portal's server did not start.", f"Its log says why: {log}")


def _connectable(port: int) -> int:
    with socket.create_connection((HOST, port), timeout=START_SECONDS):
        return port


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the supervisor, which ends its workers; then whatever is left of the process group."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        # PermissionError: macOS says so of a group of which only zombies are left.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
