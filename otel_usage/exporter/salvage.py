"""A segment that DuckDB does not take whole: its good lines apart from the others, and the others kept.

Decides by decoding into the typed record; how lines become rows is the commit's.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec

from otel_usage.exporter.header import parse
from otel_usage.exporter.paths import StorePaths, make_private_folder
from otel_usage.exporter.record import MAX_LINE_BYTES, UsageRecord

# A line of ours cannot be so long; one that is must not be held in memory.
MAX_READ_BYTES: Final = 4 * MAX_LINE_BYTES
_KEPT_TEXT_BYTES: Final = 8 * 1024
_SKIP_BYTES: Final = 64 * 1024

_decode: Final = msgspec.json.Decoder(UsageRecord).decode


class Rejections:
    """The rejected lines of one segment, in `rejected/<segment id>.jsonl`: written anew each time, so that a
    commit that is repeated after a crash says them once.
    """

    def __init__(self, paths: StorePaths, segment_id: str) -> None:
        self.count = 0
        self._path = paths.rejected / f"{segment_id}.jsonl"
        self._fd = -1

    def add(self, line_number: int, reason: str, line: bytes) -> None:
        """Keep one line and why it is no row."""
        if self._fd < 0:
            make_private_folder(self._path.parent)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
            self._fd = os.open(self._path, flags, 0o600)
        text = line[:_KEPT_TEXT_BYTES].decode(errors="replace")
        entry = {"line_number": line_number, "reason": reason, "line": text}
        os.write(self._fd, msgspec.json.encode(entry) + b"\n")
        self.count += 1

    def __enter__(self) -> "Rejections":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd >= 0:
            os.fsync(self._fd)
            os.close(self._fd)


def good_lines(path: Path, rejections: Rejections) -> Iterator[tuple[int, bytes]]:
    """The lines that are records, with their newline, and their numbers; others go to `rejections`.

    A last line without newline is what its owner was writing when it died: it is a record or is left out.

    Raises:
        OSError: The segment is gone or cannot be read.
    """
    for number, line, is_whole in _lines(path):
        if number == 1 and parse(line) is not None:
            continue
        if (reason := _why_not(line)) is None:
            yield number, line if line.endswith(b"\n") else line + b"\n"
        elif is_whole:
            rejections.add(number, reason, line)


def _why_not(line: bytes) -> str | None:
    if len(line) > MAX_READ_BYTES:
        return "line_too_long"
    try:
        _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return str(error)
    return None


def _lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """Number, bytes (only the first of an endless line) and whether it ends with a newline."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_READ_BYTES + 1):
            number += 1
            end = line
            while not end.endswith(b"\n") and (more := file.readline(_SKIP_BYTES)):
                end = more
            yield number, line, end.endswith(b"\n")
