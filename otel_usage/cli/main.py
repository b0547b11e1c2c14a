"""The Typer app and the console entry point. What a command does is in its own file.

Start-up is felt by whoever types: commands import what they need when they run.
"""

import sys
from dataclasses import dataclass
from typing import Annotated, NoReturn

import typer

from otel_usage import __version__
from otel_usage.cli import exits
from otel_usage.cli.commands.collect import collect
from otel_usage.cli.commands.demo import demo
from otel_usage.cli.commands.doctor import doctor
from otel_usage.cli.commands.ingest import ingest
from otel_usage.cli.commands.report import report
from otel_usage.cli.commands.reports import reports
from otel_usage.cli.commands.sql import sql
from otel_usage.cli.commands.sync import sync

app = typer.Typer(
    name="otel-usage",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


@dataclass(slots=True)
class _Debugging:
    """Whether a traceback is wanted; the root option sets it, the entry point reads it."""

    wanted: bool = False


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"otel-usage {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Print the traceback of an error too.")] = False,
) -> None:
    """Who uses this API, with which token, for which resource, how much."""
    if context.obj is not None:
        context.obj.wanted = debug


for _command in (demo, report, reports, sql, sync, ingest, collect, doctor):
    app.command()(_command)


def run(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code (docs/cli.md)."""
    debugging = _Debugging()

    def command() -> int | None:
        code: int | None = app(arguments, standalone_mode=False, obj=debugging)
        return code

    sys.exit(exits.guarded(command, lambda: debugging.wanted))


if __name__ == "__main__":
    run()
