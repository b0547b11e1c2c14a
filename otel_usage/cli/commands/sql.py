"""`otel-usage sql`."""

from typing import Annotated

import typer

from otel_usage.cli import options


def sql(
    query: Annotated[str, typer.Argument(metavar="QUERY", help='One query, such as "from usage limit 5".')],
    database: options.Database = None,
    timezone: options.Timezone = "UTC",
    format_name: options.Format = "table",
    file: options.Output = None,
) -> None:
    """Answer one query in DuckDB's SQL; it can change nothing and reach no file and no network."""
    from otel_usage import settings
    from otel_usage.cli import session
    from otel_usage.reports import period
    from otel_usage.reports.query import ask

    zone = period.zone(timezone)
    chosen = settings.load(strict=True, database=database)
    session.print_answer(chosen, lambda connection, _pending: ask(connection, query, zone), format_name, file)
