"""Where things are printed: data on standard output or in a file, everything else on standard error."""

import io
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Final, TextIO
from uuid import uuid4

from otel_usage.cli.exits import OutputClosedError
from otel_usage.errors import InvalidFilterError, ReportError
from otel_usage.exporter.paths import StorePaths
from otel_usage.reports import formats
from otel_usage.reports.table import Table
from otel_usage.reports.values import visible
from otel_usage.settings import Settings

_FOR_READING: Final = ("table", "markdown")
_PATIENCE_SECONDS: Final = 1.0


def announce(text: str) -> None:
    """Say something that is not data."""
    sys.stderr.write(visible(text) + "\n")


def check(format_name: str, file: Path | None, chosen: Settings) -> None:
    """Refuse a bad format or file before any work is done for it.

    Raises:
        InvalidFilterError: There is no such format, or the file is the store or one that belongs to it.
    """
    formats.check(format_name)
    if file is None:
        return
    paths = StorePaths.of(chosen.database)
    target = Path(os.path.realpath(file))
    ours = {os.path.realpath(path) for path in (*paths.files, chosen.token_key_file)}
    if str(target) in ours or Path(os.path.realpath(paths.journal)) in (target, *target.parents):
        raise InvalidFilterError(f"--output {file} belongs to the store.", "Name another file.")


def write(table: Table, format_name: str, file: Path | None) -> None:
    """Print an answer."""
    if not table.rows and format_name in _FOR_READING:
        announce("(no rows)")
    if file is not None:
        _write_file(table, format_name, file)
        return
    with _standard_output() as stream:
        if format_name == "table" and stream.isatty():
            _write_terminal(table)
        else:
            formats.write(format_name, table, stream)


def write_lines(lines: Iterable[str]) -> None:
    """Print an answer that is lines of text."""
    with _standard_output() as stream:
        stream.writelines(f"{visible(line)}\n" for line in lines)


@contextmanager
def _standard_output() -> Iterator[TextIO]:
    """Standard output in UTF-8 with plain line ends, whatever the locale says: the formats ask for it.

    Raises:
        OutputClosedError: Nobody reads it any more.
    """
    if sys.stdout is None:
        raise OutputClosedError
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise OutputClosedError from error


def _write_terminal(table: Table) -> None:
    from otel_usage.reports.formats.table import write_to_terminal

    left_out = write_to_terminal(table, sys.stdout, shutil.get_terminal_size().columns)
    if left_out:
        announce(f"Too narrow for: {', '.join(left_out)}. A wider terminal or another --format shows them.")


def _write_file(table: Table, format_name: str, file: Path) -> None:
    try:
        with _replacing(file) as stream:
            formats.write(format_name, table, stream)
    except OSError as error:
        raise ReportError(f"--output {file} cannot be written: {error.strerror}.", "Name another file.") from error


@contextmanager
def _replacing(file: Path) -> Iterator[TextIO]:
    """Open a file that takes the place of `file` when it is complete; a device or pipe is written as it is."""
    # Before links are followed: what /dev/stdout leads to may have no path.
    mode = file.stat().st_mode if file.exists() else None
    if mode is not None and not stat.S_ISREG(mode):
        with file.open("w", encoding="utf-8", newline="\n") as stream:
            yield stream
        return
    target = Path(os.path.realpath(file))
    temporary = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        with temporary.open("x", encoding="utf-8", newline="\n") as stream:
            if mode is not None:
                temporary.chmod(stat.S_IMODE(mode))
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def working(description: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar for what takes longer than a second; none where standard error is no terminal.

    Yields:
        What to call with how much is done, and of how much.
    """
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    progress = Progress(console=Console(stderr=True), transient=True)
    task = progress.add_task(description, total=None)
    timer = Timer(_PATIENCE_SECONDS, progress.start)
    timer.start()
    try:
        yield lambda done, total: progress.update(task, completed=done, total=total)
    finally:
        timer.cancel()
        timer.join()
        progress.stop()
