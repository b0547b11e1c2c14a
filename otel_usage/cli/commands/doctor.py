"""`otel-usage doctor`."""

from typing import Annotated

import typer

from otel_usage.cli import options


def doctor(
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

    Exits with 1 if something needs attention.
    """
    from otel_usage import settings
    from otel_usage.cli import diagnostics, output
    from otel_usage.reports import formats
    from otel_usage.reports.table import Table

    if format_name is not None:
        formats.check(format_name)
    findings = diagnostics.examine(settings.load(strict=False, database=database))
    if format_name is None:
        output.write_lines(
            f"{each.status:<9}  {each.check:<13}  {each.message} {each.remedy}".rstrip() for each in findings
        )
    else:
        rows = tuple((each.status, each.check, each.message, each.remedy or None) for each in findings)
        output.write(Table(("status", "check", "message", "remedy"), rows), format_name, None)
    if any(each.status == diagnostics.ATTENTION for each in findings):
        raise typer.Exit(1)
