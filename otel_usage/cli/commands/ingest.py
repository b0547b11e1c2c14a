"""`otel-usage ingest`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from otel_usage.cli.options import Database
from otel_usage.cli.wording import counted

if TYPE_CHECKING:
    from threading import Event

    from otel_usage.exporter.ingest.run import Outcome


def ingest(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE", help="Files of the Collector's file exporter, folders of them, or - for standard input."
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
    from otel_usage.errors import JournalUnavailableError
    from otel_usage.exporter import store
    from otel_usage.exporter.ingest import run as ingesting
    from otel_usage.exporter.paths import StorePaths

    if follow:
        _require_lasting(files)
    # Whatever applications on this machine do with their records: these go into the store.
    chosen = replace(settings.load(strict=True, database=database), exporter="duckdb", is_exporter_set=True)
    store.require_usable(chosen.database)
    looking_on = _following() if follow else output.working("Ingesting")
    with _until_interrupted(follow) as ended, session.store_errors(chosen.database), looking_on as progress:
        wishes = ingesting.Wishes(files, follow, timeout, output.announce, progress, ended)
        outcome = ingesting.run(chosen, wishes)
    output.write_lines([_summary(outcome)])
    if outcome.totals.bad:
        rejected = StorePaths.of(chosen.database).rejected
        output.announce(f"Where bad messages stand is noted in {rejected}; their bytes are left in their files alone.")
    if outcome.remaining:
        waiting = "1 record is" if outcome.remaining == 1 else f"{outcome.remaining} records are"
        output.announce(f"{waiting} not committed yet. `otel-usage doctor` looks for the cause.")
    if outcome.trouble is not None:
        if isinstance(outcome.trouble, JournalUnavailableError):
            output.announce("There was no room for all of it; the next run reads on from there.")
        raise outcome.trouble
    if not outcome.is_whole:
        raise typer.Exit(1)


def _require_lasting(files: list[str]) -> None:
    """Refuse what cannot be read on where it was left; what is missing may become what can."""
    from pathlib import Path

    from otel_usage.exporter.ingest.run import STANDARD_INPUT

    for name in files:
        if name == STANDARD_INPUT:
            raise typer.BadParameter("--follow needs files or folders, and standard input is neither")
        path = Path(name)
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise typer.BadParameter(f"--follow needs files or folders, and {name} is neither; leave --follow out")


@contextmanager
def _following() -> "Iterator[Callable[[int, int], None]]":
    """What has no end has no progress; whoever sits before it learns that it goes on, and how to end it."""
    import sys

    from otel_usage.cli import output

    if sys.stderr.isatty():
        output.announce("Following; Ctrl+C ends it.")
    yield lambda _done, _total: None


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
    """What was read and what became of it, in numbers that add up."""
    totals, taken = outcome.totals, outcome.totals.taken
    read = f"{counted(totals.files, 'file')}, {counted(taken.spans, 'span')}"
    parts = [
        f"{counted(taken.requests, 'request')} ({_fate(outcome)})",
        counted(taken.skipped, "other span"),
        f"{taken.rejected} rejected",
    ]
    if taken.left_out:
        parts.insert(2, f"{taken.left_out} left out")
    if not (totals.files or taken.spans):
        parts = ["nothing new"]
    if totals.bad:
        parts.append(counted(totals.bad, "bad message"))
    if totals.unfinished:
        parts.append(counted(totals.unfinished, "unfinished file"))
    if totals.unreadable:
        parts.append(f"{totals.unreadable} not read")
    if totals.other_signals:
        parts.append(f"{counted(totals.other_signals, 'message')} of logs, metrics or profiles")
    return f"{read}: {', '.join(parts)}"


def _fate(outcome: "Outcome") -> str:
    rows = outcome.rows
    if rows is None:
        return "new or already there: not known"
    waiting = f", {rows.waiting} waiting to be committed" if rows.waiting else ""
    return f"{counted(rows.new, 'new row')}, {rows.known} already there{waiting}"
