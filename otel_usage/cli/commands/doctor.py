"""`otel-usage doctor`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otel_usage.cli import options

if TYPE_CHECKING:
    from otel_usage.cli.diagnostics import Finding


def doctor(
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COMMAND...",
            help="After `--`: what starts an application, such as `gunicorn portal:app`; it is not run.",
            show_default=False,
        ),
    ] = None,
    app: Annotated[
        str | None,
        typer.Option(
            "--app",
            metavar="MODULE:NAME",
            help="The application, where COMMAND does not name it. It is imported; no request is sent to it.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        int, typer.Option(min=1, metavar="SECONDS", help="How long the application's interpreter may take.")
    ] = 30,
    database: options.Database = None,
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="table, csv, tsv, json, jsonl or markdown; otherwise a line a finding.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Say what is installed, instrumented, pending, lost or locked, and what to do about it.

    With COMMAND or --app it starts the interpreter of that application as opentelemetry-instrument would, and says
    whether its requests will be recorded, and where.

    Exits with 1 if something needs attention.
    """
    from otel_usage.cli import output
    from otel_usage.cli.diagnostics import ATTENTION
    from otel_usage.reports import formats
    from otel_usage.reports.table import Table

    if format_name is not None:
        formats.check(format_name)
    findings = _findings(command, app, timeout, database)
    if format_name is None:
        output.write_lines(
            f"{each.status:<9}  {each.check:<13}  {each.message} {each.remedy}".rstrip() for each in findings
        )
    else:
        rows = tuple((each.status, each.check, each.message, each.remedy or None) for each in findings)
        output.write(Table(("status", "check", "message", "remedy"), rows), format_name, None)
    if any(each.status == ATTENTION for each in findings):
        raise typer.Exit(1)


def _findings(command: list[str] | None, app: str | None, timeout: int, database: Path | None) -> "list[Finding]":
    import os

    from otel_usage import settings
    from otel_usage.cli import diagnostics
    from otel_usage.cli.diagnostics import invocation, servers

    if not command and app is None:
        return diagnostics.examine(settings.load(strict=False, database=database), os.environ)
    if database is not None:
        raise typer.BadParameter("--database is not for an application: its own settings say where it records.")
    invoked = invocation.read(command, os.environ) if command else invocation.of_this_interpreter(os.environ)
    wanted = (
        servers.application(invoked.name, invoked.arguments, invoked.environ) if app is None else servers.named(app)
    )
    chosen = settings.load(invoked.settings_environ, strict=False)
    return diagnostics.examine_application(invoked, wanted, chosen, seconds=timeout)
