"""Starts an interpreter as the launcher would and asks the probe in it. Nothing that is started here outlives it."""

import contextlib
import inspect
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Final

from otel_usage.cli.diagnostics import probe
from otel_usage.cli.diagnostics.invocation import LAUNCHER, Invocation
from otel_usage.cli.diagnostics.probe import Facts, Wanted

_CALL: Final = """
asked, sys.argv[:] = sys.argv[1:4], sys.argv[4:]
main(int(asked[0]), json.loads(asked[1]), json.loads(asked[2]))
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it.

    Attributes:
        facts: None if the probe did not get to answer.
        log: What was printed meanwhile, by whomever.
        launcher: The launcher that was used; None if there is none, then the interpreter was started without.
        timed_out: Whether it was ended because it took too long.
    """

    facts: Facts | None
    log: str
    launcher: Path | None
    timed_out: bool


def find_launcher(invocation: Invocation) -> Path | None:
    """The launcher: the one that the command names, else that of the interpreter, else the one on PATH."""
    if invocation.launcher is not None:
        return invocation.launcher
    beside = invocation.python.with_name(LAUNCHER)
    if beside.exists():
        return beside
    found = shutil.which(LAUNCHER, path=invocation.environ.get("PATH"))
    return None if found is None else Path(found).absolute()


def ask(invocation: Invocation, instrumentations: Iterable[str], wanted: Wanted | None, seconds: int) -> Answer:
    """Start the interpreter, let the probe look, and end it within `seconds`."""
    launcher = find_launcher(invocation)
    start = [] if launcher is None else [str(launcher), *invocation.launcher_options]
    python = [str(invocation.python), *invocation.python_options, "-c", inspect.getsource(probe) + _CALL]
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as log:
        question = [str(answer.fileno()), json.dumps(list(instrumentations)), json.dumps(wanted)]
        command = [*start, *python, *question, str(invocation.program), *invocation.arguments]
        timed_out = not _run(command, invocation, answer, log, seconds)
        said = _read(answer)
        facts: Facts | None = json.loads(said) if said and not timed_out else None
        return Answer(facts, _read(log), launcher, timed_out)


def _run(command: list[str], invocation: Invocation, answer: IO[bytes], log: IO[bytes], seconds: int) -> bool:
    """Run to its end, or to ours.

    Returns:
        False if it took too long.
    """
    process = subprocess.Popen(
        command,
        env={**invocation.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=(answer.fileno(),),
        start_new_session=True,
        # It ends also where this process is killed before it can end it.
        preexec_fn=partial(signal.alarm, seconds + 1),
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    finally:
        # What the application has started meanwhile is of the same group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return True


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")
