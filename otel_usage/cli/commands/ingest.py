"""`otel-usage ingest`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from otel_usage.cli.options import Database

if TYPE_CHECKING:
    from threading import Event

    from otel_usage.exporter.ingest.run import Outcome


def ingest(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="Files of the Collector's file exporter, folders of them, or - for standard input."
        ),
    ],
    database: Database = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is written, as `tail -F` does, until interrupted.")
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0, help="Give up waiting for room or the commit after so long."),
    ] = 60.0,
) -> None:
    """Keep the requests in files that a Collector has written: OTLP as JSON lines or protobuf, also compressed.

    Reading a file twice adds nothing. Exits with 1 if anything could not be read; everything else is kept all the same.
    """
    from otel_usage import settings
    from otel_usage.cli import output, session
    from otel_usage.exporter import store
    from otel_usage.exporter.ingest import run as ingesting

    if follow and ingesting.STANDARD_INPUT in files:
        raise typer.BadParameter("--follow needs files or folders, and standard input is neither")
    # Whatever applications on this machine do with their records: these go into the store.
    chosen = replace(settings.load(strict=True, database=database), exporter="duckdb", is_exporter_set=True)
    store.require_usable(chosen.database)
    with _until_interrupted(follow) as ended, session.store_errors(chosen.database), output.working("Ingesting") as bar:
        progress = (lambda _done, _total: None) if follow else bar
        wishes = ingesting.Wishes(files, follow, timeout, output.announce, progress, ended)
        outcome = ingesting.run(chosen, wishes)
    output.write_lines([_summary(outcome)])
    if outcome.remaining:
        output.announce(f"{outcome.remaining} records are not committed yet. `otel-usage doctor` looks for the cause.")
    if not outcome.is_whole:
        raise typer.Exit(1)


@contextmanager
def _until_interrupted(follow: bool) -> "Iterator[Event]":
    """What an interrupt and a termination set, where they are the way to end."""
    import signal
    from threading import Event

    ended = Event()
    if not follow:
        yield ended
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda _number, _frame: ended.set()) for number in numbers]
    try:
        yield ended
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _summary(outcome: "Outcome") -> str:
    totals, taken = outcome.totals, outcome.totals.taken
    parts = [
        f"{totals.files} files, {taken.spans} spans: {taken.requests} requests kept",
        f"{taken.skipped} skipped",
        f"{'?' if outcome.duplicates is None else outcome.duplicates} duplicates",
        f"{taken.rejected} rejected",
        f"{totals.bad} bad lines",
    ]
    if taken.left_out:
        parts.insert(2, f"{taken.left_out} left out")
    if totals.unfinished:
        parts.append(f"{totals.unfinished} unfinished")
    if totals.other_signals:
        parts.append(f"{totals.other_signals} messages of logs, metrics or profiles")
    return ", ".join(parts)
