"""The files of one place (a folder, or a file with what it was rotated to), and how far each of them was read.

How a file is read is `otlp_files`'s, what becomes of it `file_intake`'s, what is remembered of it `positions`'s.
"""

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from otel_usage.errors import OTLPDecodeError
from otel_usage.exporter.file_intake import FileIntake
from otel_usage.exporter.otlp_files import OTLPFile, UnknownFormatError
from otel_usage.exporter.positions import Position, Positions, goes_on, position_of
from otel_usage.exporter.rotation import in_order, is_rotated, origin

_SAVE_SECONDS: Final = 1.0


@dataclass(slots=True)
class _Opened:
    file: OTLPFile
    path: Path
    known: int  # bytes that earlier runs have read


class Place:
    """Reads the files of a folder as far as they go, as often as it is asked to.

    Args:
        path: A folder; or a file, which stands for itself and what it was rotated to.
        intake: What keeps their spans.
        positions: Up to where they were read before.

    Attributes:
        intake: As given.
    """

    def __init__(self, path: Path, intake: FileIntake, positions: Positions) -> None:
        is_folder = path.is_dir()
        self._folder = path if is_folder else path.parent
        self._only = None if is_folder else path.name
        self.intake = intake
        self._positions = positions
        self._opened: dict[str, _Opened] = {}
        self._read: set[str] = set()
        self._left_alone: set[str] = set()
        self._save_at = 0.0

    def size(self) -> int:
        """Bytes of its files.

        Raises:
            OSError: The folder cannot be listed.
        """
        return sum(size for _, _, size in self._files())

    def look(self) -> None:
        """Read what is new.

        Raises:
            OSError: The folder cannot be listed.
            JournalUnavailableError: There was no room in the journal in time.
        """
        files = self._files()
        for path, key, size in files:
            if key not in self._left_alone:
                with self._leaving(path, key):
                    self._look_at(path, key, size)
        there = {key for _, key, _ in files}
        for key in self._opened.keys() - there:  # removed before it was rotated to a name we know
            with self._leaving(self._opened[key].path, key):
                self._read_on(key)
                self._finish(key)
        self._positions.forget_others(there)
        self._positions.save()

    def close(self, *, at_end: bool) -> None:
        """Let go of all files.

        Args:
            at_end: Look at what follows their last messages, too; else it is left to the next run.
        """
        for key, opened in list(self._opened.items()):
            if at_end:
                self.intake.finish(opened.file, str(opened.path), is_complete=False)
            self._drop(key)

    def _files(self) -> list[tuple[Path, str, int]]:
        """Path, identity and size of every file, in the order in which they are to be read."""
        found = []
        for name in in_order(name for name in _names(self._folder) if self._is_meant(name)):
            with contextlib.suppress(FileNotFoundError):  # rotated or removed meanwhile
                status = (self._folder / name).stat()
                if stat.S_ISREG(status.st_mode):
                    found.append((self._folder / name, f"{status.st_dev}:{status.st_ino}", status.st_size))
        return found

    def _is_meant(self, name: str) -> bool:
        return not name.startswith(".") if self._only is None else origin(name) == self._only

    def _look_at(self, path: Path, key: str, size: int) -> None:
        position = self._positions.of(key)
        if position is not None and position.is_done and position.read == size:
            self._pass_over(key, size)
            return
        opened = self._opened.get(key)
        if opened is not None and position is not None and not goes_on(opened.file.fd, position):
            self._finish(key)
        if key not in self._opened:
            self._opened[key] = _open(path, position)
        self._opened[key].path = path
        self._read_on(key)
        if is_rotated(path.name):
            self._finish(key)

    def _read_on(self, key: str) -> None:
        opened = self._opened[key]
        self.intake.read(opened.file, str(opened.path), lambda: self._remember(key, opened.file))
        if opened.file.read > opened.known and key not in self._read:
            self._read.add(key)
            self.intake.totals.files += 1

    def _pass_over(self, key: str, size: int) -> None:
        if key not in self._read:
            self._read.add(key)
            self.intake.pass_over(size)

    def _finish(self, key: str) -> None:
        """Nothing more comes in this file."""
        opened = self._opened[key]
        self.intake.finish(opened.file, str(opened.path), is_complete=True)
        self._positions.put(key, position_of(opened.file, is_done=True))
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
        except UnknownFormatError as error:
            self.intake.say(f"{path} is left alone: {error.message}")
        except (OTLPDecodeError, OSError) as error:
            self.intake.cannot_read(path, error)
        else:
            return
        self._left_alone.add(key)
        self._drop(key)


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _open(path: Path, position: Position | None) -> _Opened:
    """Open a file where it was left, or at its beginning if that is another one now."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        is_known = position is not None and goes_on(fd, position)
    except OSError:
        os.close(fd)
        raise
    if position is None or not is_known:
        return _Opened(OTLPFile(fd), path, 0)
    return _Opened(OTLPFile(fd, position.offset, position.line), path, position.read)
