"""The options that several commands share: names, help and types, nothing else."""

from pathlib import Path
from typing import Annotated

import typer

Database = Annotated[
    Path | None,
    typer.Option(
        "--database",
        metavar="FILE",
        help="The store; otherwise OTEL_USAGE_DATABASE, the configuration file, or usage.duckdb.",
        show_default=False,
    ),
]
Timezone = Annotated[
    str,
    typer.Option(metavar="ZONE", help="An IANA time zone, for reading dates and for printing times."),
]
Format = Annotated[
    str,
    typer.Option("--format", metavar="FORMAT", help="table, csv, tsv, json, jsonl or markdown."),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write here instead of standard output, all at once or not at all.",
        show_default=False,
    ),
]
