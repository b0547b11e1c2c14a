"""`otel-usage report`."""

from typing import Annotated

import typer

from otel_usage.cli import options


def report(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of those that `otel-usage reports` lists.")],
    database: options.Database = None,
    last: Annotated[
        str | None,
        typer.Option(metavar="PERIOD", help="The last 12h, 30d, 4w, 3m (months) or 1y.", show_default=False),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="From this date or time on.", show_default=False),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Before this date or time.", show_default=False),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="PERIOD", help="timeline only: hour, day (default), week or month.", show_default=False),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=VALUE",
            help="Only these requests. Repeated: any value of one column, all of different columns."
            " No value: where it is missing.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", help="At most N rows; latest shows 20 if not told.", show_default=False),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Numbers and times descending, text ascending.", show_default=False),
    ] = None,
    timezone: options.Timezone = "UTC",
    format_name: options.Format = "table",
    file: options.Output = None,
) -> None:
    """Answer a named question about use, from all time unless a period is given."""
    from otel_usage import settings
    from otel_usage.cli import session
    from otel_usage.reports import query

    asked = query.question(
        name,
        last=last,
        since=since,
        until=until,
        by=by,
        where=where or (),
        limit=limit,
        sort=sort,
        timezone=timezone,
    )
    chosen = settings.load(strict=True, database=database)
    session.print_answer(chosen, lambda connection, pending: query.run(connection, asked, pending), format_name, file)
