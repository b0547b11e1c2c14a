"""One segment file in the hands of its owner: made, appended to, counted in, finished.

Every write goes to an offset this process knows to be good, so what a failed write left behind is overwritten.
Which segment is in use, and when, is the journal's.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Mapping
from pathlib import Path

from otel_usage.exporter.header import new_header, render, render_counts
from otel_usage.exporter.paths import NEW, OPEN, READY


class Segment:
    """A file that only this process writes; not safe against threads.

    It is locked before it is seen under `.open`: a drainer that locks such a file knows its owner is dead.

    Args:
        folder: The journal, which exists.
        counts: What the header starts with: losses that had no segment to be counted in.

    Attributes:
        lines: How many records are in it.
        counts: What its header says is lost, by reason.

    Raises:
        OSError: No segment can be made here and now; nothing of it is left.
    """

    def __init__(self, folder: Path, counts: Mapping[str, int]) -> None:
        header = new_header(counts)
        line, self._counts_offset = render(header)
        self.counts = dict(counts)
        self._path = folder / f"{header.id}{NEW}"
        self._started = time.monotonic()
        self._size = len(line)
        self.lines = 0
        # No O_APPEND: with it Linux ignores the offset of pwrite.
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write_all(self._fd, line, 0)
            self._rename(OPEN)
        except OSError:
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(self._fd)
            raise

    @property
    def size(self) -> int:
        """Bytes written, header included."""
        return self._size

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing at all: no record, no loss."""
        return not self.lines and not self.counts

    def age_seconds(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._started

    def append(self, line: bytes, lines: int = 1) -> None:
        """Write a whole line, or several at once; as far as anyone can tell all of it or nothing.

        Raises:
            OSError: Nothing of it is in the segment.
        """
        try:
            if os.pwrite(self._fd, line, self._size) != len(line):
                _write_all(self._fd, line, self._size)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._size)
            raise
        self._size += len(line)
        self.lines += lines

    def count(self, reason: str, n: int) -> None:
        """Add to a counter of the header, in place.

        Raises:
            OSError: It is not counted.
        """
        counts = {**self.counts, reason: self.counts.get(reason, 0) + n}
        _write_all(self._fd, render_counts(counts), self._counts_offset)
        self.counts = counts

    def finish(self) -> None:
        """Hand it over to the leader, or remove it if it says nothing. Nothing may be written afterwards.

        Raises:
            FileNotFoundError: Someone has removed the file, and its records with it.
            OSError: It stays under its name; the leader finds it once it is closed.
        """
        try:
            if self.is_empty:
                self._path.unlink()
            else:
                self._rename(READY)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close the descriptor and touch nothing else: in a forked child the file and its lock are another's."""
        os.close(self._fd)

    def _rename(self, suffix: str) -> None:
        target = self._path.with_suffix(suffix)
        self._path.rename(target)
        self._path = target


def _write_all(fd: int, data: bytes, offset: int) -> None:
    """Write everything at `offset`; a short write is tried on until the system says why it is short."""
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written
