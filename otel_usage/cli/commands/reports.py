"""`otel-usage reports`."""

from typing import Annotated

import typer

from otel_usage.cli.options import Output


def reports(
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="table, csv, tsv, json, jsonl or markdown; otherwise a line a report.",
            show_default=False,
        ),
    ] = None,
    file: Output = None,
) -> None:
    """List the reports: name, what each answers, its columns."""
    from otel_usage.cli import output
    from otel_usage.reports import catalogue, formats

    if format_name is not None or file is not None:
        output.write(catalogue.describe(), formats.check(format_name or "table"), file)
        return
    width = max(map(len, catalogue.REPORTS))
    output.write_lines(
        f"{report.name:<{width}}  {report.answers} Columns: {', '.join(report.columns)}."
        for report in catalogue.REPORTS.values()
    )
