"""`otel-usage sync`."""

from typing import Annotated

import typer

from otel_usage.cli.options import Database


def sync(
    database: Database = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="Give up after so many seconds.")] = 60.0,
) -> None:
    """Wait until everything written before now is committed, or forwarded, and say how much that was.

    Exits with 1 if the time ran out first.
    """
    from otel_usage import settings
    from otel_usage.cli import output, session
    from otel_usage.exporter import reading

    chosen = settings.load(strict=True, database=database)
    doing = "Forwarding" if chosen.exporter == "otlp" else "Committing"
    with output.working(doing) as progress, session.store_errors(chosen.database):
        result = reading.sync(chosen, timeout_seconds=timeout, progress=progress)
    done = "committed" if result.url is None else f"forwarded to {result.url}"
    output.write_lines([f"{result.records - result.remaining} records {done} in {result.seconds:.1f} s"])
    if result.remaining:
        cause = result.problem or "`otel-usage doctor` looks for the cause."
        output.announce(f"{result.remaining} records are not {done.split()[0]} yet. {cause}")
        raise typer.Exit(1)
