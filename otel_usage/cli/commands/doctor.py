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
            metavar="COMMAND",
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
    endpoint: Annotated[
        list[str] | None,
        typer.Option(
            "--endpoint",
            metavar="URL",
            help="Where applications send OTLP over HTTP: a trial request goes in there, and its row is waited for. "
            "Repeat it for the hops behind, in their order.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        int,
        typer.Option(
            min=1, metavar="SECONDS", help="How long the application's interpreter, or a trial request, may take."
        ),
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

    With --endpoint it sends trial requests into a pipeline of Collectors and `otel-usage collect`, and says whether
    their rows come, or between which hops they are lost. The rows are removed.

    Exits with 1 if something needs attention.
    """
    from otel_usage.cli import output
    from otel_usage.cli.diagnostics import ATTENTION
    from otel_usage.reports import formats
    from otel_usage.reports.table import Table

    if format_name is not None:
        formats.check(format_name)
    if endpoint:
        if command or app is not None:
            raise typer.BadParameter(
                "--endpoint is for a pipeline, COMMAND and --app for an application: one at a time"
            )
        findings = _pipeline(endpoint, timeout, database)
    else:
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


def _pipeline(endpoints: list[str], timeout: int, database: Path | None) -> "list[Finding]":
    import os
    from dataclasses import replace

    from otel_usage import settings
    from otel_usage.cli import output
    from otel_usage.cli.diagnostics import hops, pipeline

    chosen = settings.load(strict=True, database=database)
    # Strict about how endpoints are spoken to, whatever the applications of this machine do with their records.
    spoken = settings.load({**os.environ, "OTEL_USAGE_EXPORTER": "otlp"}, strict=True, database=database).transport
    named = [_base("--endpoint", url) for url in endpoints]
    told = {name: _base(name, os.environ[name]) for name in hops.VARIABLES if os.environ.get(name)}
    is_named = database is not None or (chosen.exporter != "otlp" and bool(os.environ.get("OTEL_USAGE_DATABASE")))
    with output.working("Waiting"):
        return pipeline.examine(
            hops.of(named, told),
            replace(chosen, transport=spoken),
            health=os.environ.get(pipeline.HEALTH),
            seconds=timeout,
            must_exist=is_named,
        )


def _base(name: str, url: str) -> str:
    """The base endpoint, without what every sender appends to it."""
    import re

    from otel_usage import settings
    from otel_usage.errors import ConfigurationError

    if not url.strip():
        raise ConfigurationError(f"{name} is empty.", "It must be an http:// or https:// address.")
    try:
        checked = settings.load({"OTEL_USAGE_ENDPOINT": url}, strict=True).endpoint
    except ConfigurationError as error:  # it names another variable; the remedy is the same
        # What is no plain address may hold a credential.
        shown = f" {url}" if re.fullmatch(r"[\w.:/-]+", url) else ""
        raise ConfigurationError(f"{name}{shown} cannot be used.", error.hint) from None
    return checked.removesuffix(settings.TRACES_PATH)
