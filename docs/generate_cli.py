"""Writes docs/cli.md from the Typer app: `python docs/generate_cli.py`. A test compares the two."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from otel_usage.cli.main import app

REFERENCE = Path(__file__).with_name("cli.md")
HEAD = """# The command line

Made from the program by `python docs/generate_cli.py`.

Standard output carries data only; everything else goes to standard error.

| exit code | |
|---|---|
| 0 | done |
| 1 | the report, query or file failed; `doctor`: something needs attention; `sync`: the time ran out |
| 2 | wrong usage or configuration |
| 3 | the store cannot be opened: missing, locked, newer, damaged, not a store; reading makes nothing |
| 130, 141 | interrupted; whoever read the output went away |
"""


def reference() -> str:
    """The whole page."""
    root: Any = typer.main.get_command(app)
    parts = [HEAD, _command("otel-usage", root)]
    parts += [_command(f"otel-usage {name}", command) for name, command in root.commands.items()]
    return "\n".join(parts)


def _command(name: str, command: Any) -> str:
    lines = [f"## {name}", "", command.help.strip(), ""]
    options = list(_parameters(command))
    if options:
        lines += ["| | default | |", "|---|---|---|", *options, ""]
    return "\n".join(lines)


def _parameters(command: Any) -> Iterator[str]:
    for parameter in command.params:
        if parameter.name == "help":
            continue
        default = "" if parameter.default in (None, False) else f"`{parameter.default}`"
        text = (parameter.help or "").replace("|", "\\|")
        yield f"| `{_spelling(parameter)}` | {default} | {text} |"


def _spelling(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar)
    metavar = f" {parameter.metavar}" if parameter.metavar and not parameter.is_flag else ""
    return ", ".join(parameter.opts) + metavar


if __name__ == "__main__":
    REFERENCE.write_text(reference(), encoding="utf-8")
