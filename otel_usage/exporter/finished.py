"""Which segments are finished, and what is in them by their bytes alone. Looks at files; knows no DuckDB."""

import contextlib
import fcntl
import os
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from otel_usage.exporter.header import MAX_HEADER_BYTES, Header, parse
from otel_usage.exporter.paths import NEW, READY, StorePaths

MAX_SEGMENTS: Final = 256
MAX_BYTES: Final = 64 * 1024 * 1024
# Between making a segment and opening it pass microseconds; its owner may be stopped there for a while.
_NEW_IS_STALE_SECONDS: Final = 60.0
_CHUNK_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Contents:
    """What the bytes of a segment say.

    Attributes:
        header: Its first line, None where that is none.
        lines: Complete lines after the header.
        ends_clean: Whether the last line has its newline.
    """

    header: Header | None
    lines: int
    ends_clean: bool


def inspect(path: Path) -> Contents:
    """Count the lines of a segment and read its header.

    Raises:
        OSError: It is gone or cannot be read.
    """
    with path.open("rb") as file:
        header = parse(file.readline(MAX_HEADER_BYTES))
        file.seek(0)
        newlines, last = 0, b"\n"
        while chunk := file.read(_CHUNK_BYTES):
            newlines += chunk.count(b"\n")
            last = chunk[-1:]
    if header is not None and not newlines:  # its owner had no time to end it, nor to begin a line
        return Contents(header, 0, True)
    return Contents(header, newlines - (header is not None), last == b"\n")


@contextlib.contextmanager
def finished_segments(paths: StorePaths, but: Collection[Path] = ()) -> Iterator[list[Path]]:
    """The finished segments, oldest first, as many as fit into one turn; those of the dead are locked meanwhile.

    A segment that disappears or cannot be looked at is passed over.

    Args:
        paths: Of the journal.
        but: Those that the leader has not done with, and has no need to look at.
    """
    with contextlib.ExitStack() as locks:
        yield _first_that_fit([path for path in paths.segments() if path not in but], locks)


def _first_that_fit(found: list[Path], locks: contextlib.ExitStack) -> list[Path]:
    """Look at the oldest first and stop at the bounds: each segment of the dead takes a descriptor of this process."""
    chosen: list[Path] = []
    room = MAX_BYTES
    for _, size, path in sorted(_aged(found)):
        if len(chosen) == MAX_SEGMENTS or (chosen and room < size):
            break
        if os.access(path, os.R_OK) and path.is_file() and _is_finished(path, locks):
            chosen.append(path)
            room -= size
    return chosen


def _aged(found: list[Path]) -> Iterator[tuple[int, int, Path]]:
    for path in found:
        with contextlib.suppress(OSError):  # it is gone
            status = path.stat()
            yield status.st_mtime_ns, status.st_size, path


def _is_finished(path: Path, locks: contextlib.ExitStack) -> bool:
    if path.suffix == READY:
        return True
    try:
        if path.suffix == NEW and time.time() - path.stat().st_mtime < _NEW_IS_STALE_SECONDS:
            return False
        return _lock(path, locks)
    except OSError:
        return False


def _lock(path: Path, locks: contextlib.ExitStack) -> bool:
    """Lock the segment of a dead owner. A living owner has it locked, or has renamed it by now.

    Raises:
        OSError: It is locked, gone or not readable.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(fd), path.stat()):
            raise FileNotFoundError(path)
    except OSError:
        os.close(fd)
        raise
    locks.callback(os.close, fd)
    return True
