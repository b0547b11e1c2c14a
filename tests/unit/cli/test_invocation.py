"""Which interpreter a command runs in, with scripts as installers really write them."""

import sys
from pathlib import Path

import pytest

from otel_usage.cli.diagnostics import invocation
from otel_usage.errors import ConfigurationError

PYTHON = sys.executable


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an interpreter in it, the only one on PATH."""
    (tmp_path / "python").symlink_to(PYTHON)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def script(folder: Path, name: str, *lines: str) -> Path:
    path = folder / name
    path.write_text("\n".join(lines))
    path.chmod(0o755)
    return path


def read(folder: Path, *command: str) -> invocation.Invocation:
    return invocation.read(command, {"PATH": str(folder), "KEPT": "1"})


@pytest.mark.parametrize(
    ("lines", "options"),
    [
        (["#!{folder}/python"], ()),
        (["#!{folder}/python -sP"], ("-sP",)),
        (["#! /usr/bin/env python"], ()),
        (["#!/usr/bin/env -S python -I"], ("-I",)),
        (["#!/bin/sh", """'''exec' "{folder}/python" "$0" "$@"
' '''"""], ()),
        (["#!/bin/sh", """'''exec' "$(dirname -- "$(realpath -- "$0")")"/'python' "$0" "$@"
' '''"""], ()),
    ],
)  # fmt: skip
def test_the_first_lines_of_a_script_name_its_interpreter(
    folder: Path, lines: list[str], options: tuple[str, ...]
) -> None:
    """Directly, by `env`, or through a shell where the path was too long or may move."""
    program = script(folder, "gunicorn", *(line.replace("{folder}", str(folder)) for line in lines))
    found = read(folder, "gunicorn", "-w", "4", "portal:app")
    assert (found.program, found.python, found.python_options) == (program, folder / "python", options)
    assert found.arguments == ("-w", "4", "portal:app")


@pytest.mark.parametrize(
    ("command", "options", "arguments"),
    [
        ("python -m gunicorn portal:app", (), ("-m", "gunicorn", "portal:app")),
        ("python -I -X dev -W error serve.py --port", ("-I", "-X", "dev", "-W", "error"), ("serve.py", "--port")),
        ("python -IS -c pass", ("-IS",), ("-c", "pass")),
        ("python - x", (), ("-", "x")),
    ],
)  # fmt: skip
def test_an_interpreter_keeps_its_options(
    folder: Path, command: str, options: tuple[str, ...], arguments: tuple[str, ...]
) -> None:
    """They decide whether the launcher has an effect."""
    found = read(folder, *command.split())
    assert (found.python, found.python_options, found.arguments) == (folder / "python", options, arguments)


def test_the_launcher_and_what_stands_before_it_are_taken_off(folder: Path) -> None:
    """Variables of `env` and options of the launcher are known, wherever they stand."""
    launcher = script(folder, "opentelemetry-instrument", f"#!{folder}/python")
    script(folder, "gunicorn", f"#!{folder}/python")
    words = (
        "nohup env -u KEPT A=1 opentelemetry-instrument --usage_database=/x --excluded_urls health env B=2 gunicorn a:b"
    )
    found = read(folder, *words.split())
    assert (found.launcher, found.name, found.arguments) == (launcher, "gunicorn", ("a:b",))
    assert found.launcher_options == ("--usage_database=/x", "--excluded_urls", "health")
    assert dict(found.environ) == {"PATH": str(folder), "A": "1", "B": "2"}
    assert found.settings_environ["OTEL_USAGE_DATABASE"] == "/x"
    assert found.settings_environ["OTEL_PYTHON_EXCLUDED_URLS"] == "health"


@pytest.mark.parametrize(
    ("command", "asked", "rest"),
    [
        ("uv run --extra web gunicorn a:b", "run --no-sync --offline --extra web python -c", ("a:b",)),
        ("uv run -- gunicorn a:b", "run --no-sync --offline python -c", ("a:b",)),
        ("poetry run gunicorn a:b", "run python -c", ("a:b",)),
        ("uv run -m gunicorn a:b", "run --no-sync --offline python -c", ("-m", "gunicorn", "a:b")),
    ],
)
def test_a_tool_that_chooses_the_environment_is_asked(
    folder: Path, command: str, asked: str, rest: tuple[str, ...]
) -> None:
    """It says where a program is in its environment, and is asked to change nothing."""
    inside = folder / "inside"
    inside.mkdir()
    (inside / "python").symlink_to(PYTHON)
    script(inside, "gunicorn", f"#!{inside}/python")
    tool = '#!/bin/sh\nexport PATH=INSIDE\necho "$@" > ASKED\nwhile [ $1 != python ]; do shift; done\nexec "$@"\n'
    script(folder, command.split()[0], tool.replace("INSIDE", str(inside)).replace("ASKED", str(folder / "asked")))
    found = read(folder, *command.split())
    assert (found.python, found.arguments) == (inside / "python", rest)
    assert (folder / "asked").read_text().startswith(asked)


def test_a_tool_that_fails_is_wrong_usage(folder: Path) -> None:
    """With what it said."""
    script(folder, "uv", "#!/bin/sh\necho no such project >&2\nexit 2\n")
    with pytest.raises(ConfigurationError, match="no such project"):
        read(folder, "uv", "run", "gunicorn")


@pytest.mark.parametrize("command", [("nothing-here",), ("shell",), ("binary",), ("env", "A=1"), ("env",)])
def test_what_no_python_runs_is_wrong_usage(tmp_path: Path, command: tuple[str, ...]) -> None:
    """A missing program, a shell script, a program of another kind, no program at all."""
    script(tmp_path, "shell", "#!/bin/sh", "exec gunicorn a:b")
    script(tmp_path, "binary", "\x7fELF")
    with pytest.raises(ConfigurationError):
        read(tmp_path, *command)


def test_a_server_with_python_built_in_runs_in_its_environment(folder: Path) -> None:
    """The one that it is installed in, unless it is told another."""
    script(folder, "uwsgi", "\x7fELF")
    other = folder / "other" / "bin"
    other.mkdir(parents=True)
    (other / "python").symlink_to(PYTHON)
    assert read(folder, "uwsgi", "-w", "a:b").python == folder / "python"
    assert read(folder, "uwsgi", "-H", "other", "-w", "a:b").python == other / "python"
