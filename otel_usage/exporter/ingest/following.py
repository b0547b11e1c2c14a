"""The files of one place (a folder, or a file with what it was rotated to), and how far each of them was read.

How a file is read is `otlp_file`'s, what becomes of it `file_intake`'s, what is remembered of it `positions`'s.
"""

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from otel_usage.errors import OTLPDecodeError
from otel_usage.exporter.ingest.file_intake import FileIntake
from otel_usage.exporter.ingest.otlp_file import OTLPFile, UnknownFormatError
from otel_usage.exporter.ingest.positions import Position, Positions, goes_on, position_of
from otel_usage.exporter.ingest.rotation import in_order, is_rotated, origin

# Of all places of one process: half of what the smallest usual bound leaves to everything else.
MAX_OPEN: Final = 64
_SAVE_SECONDS: Final = 1.0


class _Found(NamedTuple):
    """A file as it was when the folder was listed."""

    path: Path
    key: str
    size: int
    mtime_ns: int


@dataclass(slots=True)
class _Opened:
    file: OTLPFile
    path: Path
    known: int  # bytes that earlier runs have read


class Place:
    """Reads the files of a folder as far as they go, as often as it is asked to.

    Args:
        path: A folder; or a file, which where it is followed stands for itself and what it was rotated to.
        intake: What keeps their spans.
        positions: Up to where they were read before.
        follows: There will be another look. If not, what follows the last whole message of a file is looked at, too.
        max_open: How many files are kept open between two looks, those that grew last. Only they are read to their end
            when they are removed.

    Attributes:
        intake: As given.
        is_there: Whether the last look has found anything: the folder, or a file.
    """

    def __init__(
        self, path: Path, intake: FileIntake, positions: Positions, *, follows: bool, max_open: int = MAX_OPEN
    ) -> None:
        is_folder = path.is_dir()
        self._folder = path if is_folder else path.parent
        self._only = None if is_folder else path.name
        self.intake = intake
        self.is_there = True
        self._positions = positions
        self._follows = follows
        self._max_open = max_open
        self._opened: dict[str, _Opened] = {}
        self._seen: dict[str, _Found] = {}
        self._read: set[str] = set()
        self._left_alone: set[str] = set()
        self._save_at = 0.0

    def size(self) -> int:
        """Bytes of its files.

        Raises:
            OSError: The folder cannot be listed.
        """
        return sum(found.size for found in self._files())

    def look(self) -> None:
        """Read what is new.

        Raises:
            OSError: The folder cannot be listed.
            JournalUnavailableError: There was no room in the journal in time.
        """
        try:
            files = self._files()
        except FileNotFoundError:  # the folder may come back: what is open stays so
            self._read_open()
            raise
        there = {found.key for found in files}
        self.is_there = bool(files) or self._only is None
        self._left_alone &= there  # a new file may have the inode of an old one
        try:
            for found in files:
                if found.key not in self._left_alone:
                    with self._leaving(found.path, found.key):
                        self._look_at(found)
            for key in self._opened.keys() - there:  # removed before it was rotated to a name we know
                with self._leaving(self._opened[key].path, key):
                    self._read_on(key)
                    self._finish(key)
            self._read &= there
            if self._lists:
                self._positions.forget_others(there)
        finally:
            self._positions.save()

    def close(self) -> None:
        """Let go of all files. What follows their last whole messages is left to the next run."""
        for key in list(self._opened):
            self._drop(key)

    @property
    def _lists(self) -> bool:
        """Whether more than one file is meant."""
        return self._only is None or self._follows

    def _files(self) -> list[_Found]:
        """Every file, in the order in which they are to be read."""
        if self._only is not None and (self._folder / self._only).is_dir():  # it was not there before
            self._folder, self._only = self._folder / self._only, None
        names = _names(self._folder) if self._lists else [self._only or ""]
        found = []
        for name in in_order(name for name in names if self._is_meant(name)):
            path = self._folder / name
            with contextlib.suppress(FileNotFoundError):  # rotated or removed meanwhile
                status = path.stat()
                if stat.S_ISREG(status.st_mode):
                    found.append(_Found(path, _key(status), status.st_size, status.st_mtime_ns))
        return found

    def _is_meant(self, name: str) -> bool:
        return not name.startswith(".") if self._only is None else origin(name) == self._only

    def _look_at(self, found: _Found) -> None:
        key, seen = found.key, self._seen.get(found.key)
        opened = self._opened.get(key)
        if opened is None and seen is not None and seen[2:] == found[2:]:
            return
        position = self._positions.of(key)
        if opened is not None and position is not None and not goes_on(opened.file.fd, position):
            self._finish(key)
        if key not in self._opened:
            opened = self._opened[key] = _open(found.path, key, position)
            if position is not None and position.is_done and opened.known == found.size:
                self._drop(key)
                self._pass_over(found)
                return
        self._opened[key].path = found.path
        self._read_on(key)
        self._seen[key] = found
        if is_rotated(found.path.name):
            self._finish(key)
        elif not self._follows:
            self._leave(key)
        elif len(self._opened) > self._max_open:
            self._drop(next(iter(self._opened)))

    def _read_on(self, key: str) -> None:
        opened = self._opened[key]
        before = opened.file.read
        try:
            self.intake.read(opened.file, str(opened.path), lambda: self._remember(key, opened.file))
        finally:
            if opened.file.read > opened.known and opened.file.is_known and key not in self._read:
                self._read.add(key)
                self.intake.totals.files += 1
        if opened.file.read > before:
            self._opened[key] = self._opened.pop(key)  # the last of all to be closed

    def _read_open(self) -> None:
        for key, opened in list(self._opened.items()):
            with self._leaving(opened.path, key):
                self._read_on(key)

    def _pass_over(self, found: _Found) -> None:
        self._seen[found.key] = found
        if found.key not in self._read:
            self._read.add(found.key)
            self.intake.pass_over(found.size)

    def _finish(self, key: str) -> None:
        """Nothing more comes in this file."""
        opened = self._opened[key]
        self.intake.finish(opened.file, str(opened.path), is_complete=True)
        self._positions.put(key, position_of(opened.file, is_done=True))
        self._drop(key)

    def _leave(self, key: str) -> None:
        """Close a file that may be read on by another run; nobody promised more of one that was named by itself."""
        opened = self._opened[key]
        self.intake.finish(
            opened.file,
            str(opened.path),
            is_complete=False,
            is_awaited=self._only is None,
            on_kept=lambda: self._positions.put(key, position_of(opened.file)),
        )
        self._drop(key)

    def _remember(self, key: str, file: OTLPFile) -> None:
        self._positions.put(key, position_of(file))
        if time.monotonic() >= self._save_at:
            self._positions.save()
            self._save_at = time.monotonic() + _SAVE_SECONDS

    def _drop(self, key: str) -> None:
        opened = self._opened.pop(key, None)
        if opened is not None:
            os.close(opened.file.fd)

    @contextlib.contextmanager
    def _leaving(self, path: Path, key: str) -> Iterator[None]:
        """What is wrong with one file is said, and holds up no other."""
        try:
            yield
        except FileNotFoundError:  # the next look finds it under another name, or not
            return
        except (OTLPDecodeError, OSError) as error:
            if isinstance(error, UnknownFormatError) and self._only is None:
                self.intake.say(f"{path} is left alone: {error.message}")
            else:
                self.intake.cannot_read(path, error)
        else:
            return
        self._left_alone.add(key)
        self._drop(key)


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _key(status: os.stat_result) -> str:
    return f"{status.st_dev}:{status.st_ino}"


def _open(path: Path, key: str, position: Position | None) -> _Opened:
    """Open a file where it was left, or at its beginning if that is another one now.

    Raises:
        FileNotFoundError: Another file has this name by now.
        OSError: It cannot be read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if _key(os.fstat(fd)) != key:
            raise FileNotFoundError
        is_known = position is not None and goes_on(fd, position)
    except OSError:
        os.close(fd)
        raise
    if position is None or not is_known:
        return _Opened(OTLPFile(fd), path, 0)
    return _Opened(OTLPFile(fd, position.offset, position.line), path, position.read)
