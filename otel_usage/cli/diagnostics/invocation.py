"""From the words of a command to the interpreter that runs it, as the shell, the launcher and tools like uv find it.

Which application a server command names is `servers`'. Only tools that choose an environment are started.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

from otel_usage.errors import ConfigurationError

LAUNCHER: Final = "opentelemetry-instrument"

# Tool -> what makes its `run` use the environment as it is.
_RUNNERS: Final = {"uv": ("--no-sync", "--offline"), "poetry": (), "pipenv": (), "pdm": (), "rye": ()}
_OPTIONS_OF_UV_WITH_VALUE: Final = frozenset(
    ("--directory", "--env-file", "--extra", "--group", "--index", "--only-group", "--package", "--project", "--python")
) | {"--with", "--with-editable", "--with-requirements", "-p"}
_RUNNER_SECONDS: Final = 60
_ASSIGNMENT: Final = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_PYTHON: Final = re.compile(r"(python|pypy)[\d.]*t?")
_PYTHON_OPTIONS_WITH_VALUE: Final = ("-W", "-X", "--check-hash-based-pycs")
_OPTIONS_OF_UWSGI: Final = ("-H", "--home", "--virtualenv", "--venv", "--pyhome")


@dataclass(frozen=True, slots=True)
class Invocation:
    """A command, taken apart.

    Attributes:
        program: The path of what it runs.
        arguments: Of the program; where that is an interpreter, what follows its own options.
        python: The interpreter that the program runs in.
        python_options: Given to it.
        launcher: The launcher that the command names.
        launcher_options: Given to the launcher.
        environ: The environment it is started with.
    """

    program: Path
    arguments: tuple[str, ...]
    python: Path
    python_options: tuple[str, ...]
    launcher: Path | None
    launcher_options: tuple[str, ...]
    environ: Mapping[str, str]

    @property
    def name(self) -> str:
        """What it runs, in a word."""
        return self.program.name

    @property
    def settings_environ(self) -> dict[str, str]:
        """The environment with the launcher's options, under each of the two names that an option may stand for."""
        environ = dict(self.environ)
        for option, value in _pairs(self.launcher_options):
            environ |= {f"OTEL_{option.upper()}": value, f"OTEL_PYTHON_{option.upper()}": value}
        return environ


def interpreter(program: Path, environ: Mapping[str, str]) -> Path | None:
    """The interpreter that a program names in its first line; None if it names none."""
    try:
        return _interpreter(program, _Words((str(program),), dict(environ)))[0]
    except (ConfigurationError, OSError):
        return None


def of_this_interpreter(environ: Mapping[str, str]) -> Invocation:
    """Where no command is named: the interpreter of the command line itself."""
    python = Path(sys.executable)
    return Invocation(python, (), python, (), None, (), environ)


def read(command: Sequence[str], environ: Mapping[str, str]) -> Invocation:
    """Take a command apart.

    Raises:
        ConfigurationError: There is no such program, or it is not run by a Python that can be told.
    """
    words = _Words(tuple(command), dict(environ))
    launcher: Path | None = None
    options: tuple[str, ...] = ()
    while True:
        words = words.without_wrapper()
        if Path(words.first).name != LAUNCHER:
            break
        launcher = words.find()
        count = _launcher_options(words.words)
        options, words = words.words[1:count], replace(words, words=words.words[count:])
    program = words.find()
    python, python_options = _interpreter(program, words)
    arguments = words.words[1:]
    if python == program:
        count = _python_options(arguments)
        python_options, arguments = arguments[:count], arguments[count:]
    return Invocation(program, arguments, python, python_options, launcher, options, words.environ)


@dataclass(frozen=True, slots=True)
class _Words:
    """What is left of a command.

    Attributes:
        words: The words.
        environ: The environment that what came before them has made.
        runner: The tool in whose environment they are looked up, with its options.
    """

    words: tuple[str, ...]
    environ: dict[str, str]
    runner: tuple[str, ...] = ()

    @property
    def first(self) -> str:
        if not self.words:
            raise ConfigurationError("The command names no program.", "As in: otel-usage doctor -- gunicorn portal:app")
        return self.words[0]

    def without_wrapper(self) -> "_Words":
        """Without `env`, `uv run` and the like in front."""
        words, name = self, Path(self.first).name
        while True:
            if name in ("env", "nohup", "setsid"):
                words = words._without_env()
            elif name in _RUNNERS and words.words[1:2] == ("run",):
                words = words._without_runner(name)
            else:
                return words
            name = Path(words.first).name

    def _without_env(self) -> "_Words":
        rest, environ = list(self.words[1:]), dict(self.environ)
        while rest:
            if assignment := _ASSIGNMENT.fullmatch(rest[0]):
                environ[assignment[1]] = assignment[2]
            elif rest[0] in ("-i", "--ignore-environment", "-"):
                environ = {}
            elif rest[0] in ("-u", "--unset"):
                environ.pop(rest.pop(1) if len(rest) > 1 else "", None)
            elif rest[0] != "--":
                break
            del rest[0]
        return replace(self, words=tuple(rest), environ=environ)

    def _without_runner(self, name: str) -> "_Words":
        count = 2
        while count < len(self.words) and self.words[count].startswith("-"):
            if self.words[count] in ("-m", "--module") or self.words[count] == "--":
                break
            count += 2 if name == "uv" and self.words[count] in _OPTIONS_OF_UV_WITH_VALUE else 1
        runner, rest = (*self.words[:2], *_RUNNERS[name], *self.words[2:count]), self.words[count:]
        if rest[:1] == ("--",):
            rest = rest[1:]
        elif rest[:1] in (("-m",), ("--module",)):
            rest = ("python", "-m", *rest[1:])
        return replace(self, words=rest, runner=runner)

    def find(self, program: str | None = None) -> Path:
        """The path of the first word, or of `program`, as the shell or the runner finds it."""
        name = program or self.first
        path = self._ask_runner(name) if self.runner else shutil.which(name, path=self.environ.get("PATH"))
        if not path:
            raise ConfigurationError(
                f"There is no program {name} here.",
                "Activate the environment of the application, or write the program's whole path.",
            )
        return Path(path).absolute()

    def _ask_runner(self, program: str) -> str:
        script = "import shutil, sys; print(shutil.which(sys.argv[1]) or '')"
        question = [*self.runner, "python", "-c", script, program]
        try:
            answer = subprocess.run(
                question, env=self.environ, capture_output=True, text=True, timeout=_RUNNER_SECONDS, check=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            said = " ".join(str(getattr(error, "stderr", None) or error).split())[-200:]
            raise ConfigurationError(
                f"`{self.runner[0]} run` does not tell its environment: {said}.",
                "Name the program in that environment by its whole path.",
            ) from error
        return answer.stdout.strip()


def _launcher_options(words: Sequence[str]) -> int:
    """How many words the launcher and its options are; each option has a value."""
    count = 1
    while count < len(words) and words[count].startswith("--"):
        count += 1 if "=" in words[count] else 2
    return count


def _pairs(options: Sequence[str]) -> list[tuple[str, str]]:
    pairs, rest = [], list(options)
    while rest:
        name, equals, value = rest.pop(0).removeprefix("--").partition("=")
        pairs.append((name, value if equals or not rest else rest.pop(0)))
    return pairs


def _python_options(words: Sequence[str]) -> int:
    """How many words are the interpreter's own, before `-m`, `-c` or a script."""
    count = 0
    while count < len(words) and words[count].startswith("-") and words[count][:2] not in ("-m", "-c", "-"):
        count += 2 if words[count] in _PYTHON_OPTIONS_WITH_VALUE else 1
    return count


def _interpreter(program: Path, words: _Words) -> tuple[Path, tuple[str, ...]]:
    """The interpreter of a program, with the options that its first line gives."""
    if _PYTHON.fullmatch(program.name):
        return program, ()
    with program.open("rb") as file:
        lines = [line.decode("utf-8", "replace").strip() for line in file.read(4096).split(b"\n")]
    is_script = lines[0].startswith("#!")
    found = _of_script(program, lines, words) if is_script else _of_binary(program, words.words[1:])
    if found is None:
        raise ConfigurationError(
            f"{program} is not run by a Python that can be told from it.",
            "Name the command that it runs, or that runs the application: otel-usage doctor -- gunicorn portal:app",
        )
    return found


def _of_script(program: Path, lines: Sequence[str], words: _Words) -> tuple[Path, tuple[str, ...]] | None:
    first = lines[0][2:].split()
    if first and Path(first[0]).name == "env":
        first = [word for word in first[1:] if word != "-S"]
    if not first:
        return None
    if _PYTHON.fullmatch(Path(first[0]).name):
        return (Path(first[0]) if "/" in first[0] else words.find(first[0])), tuple(first[1:])
    # A path too long for the first line, or a folder that may be moved, is written by installers as a shell script.
    second = lines[1] if len(lines) > 1 else ""
    if second.startswith("'''exec'"):
        relative = "dirname" in second
        return (program.resolve().with_name("python") if relative else Path(shlex.split(second)[1])), ()
    return (program.with_name("python"), ()) if program.parent.name == "shims" else None


def _of_binary(program: Path, arguments: Sequence[str]) -> tuple[Path, tuple[str, ...]] | None:
    """A server that has Python built in, as uWSGI: its environment is named, or it is installed in it."""
    named = [value for option, value in pairwise(arguments) if option in _OPTIONS_OF_UWSGI]
    python = Path(named[0], "bin", "python").absolute() if named else program.with_name("python")
    return (python, ()) if os.access(python, os.X_OK) else None
