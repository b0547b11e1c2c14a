"""Up to where the files of one place were read, remembered from one run to the next.

Never ahead of the journal: a position is set once everything before it is kept. A file is the same one if the bytes
before the position are the same, whatever it is called by now.
"""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Final

import msgspec

from otel_usage.exporter.ingest.otlp_file import OTLPFile
from otel_usage.exporter.paths import StorePaths, make_private_folder

_WITNESS_BYTES: Final = 4096


class Position(msgspec.Struct, frozen=True, omit_defaults=True):
    """Up to where one file was read.

    Attributes:
        read: How many bytes of the file, as it is on disk.
        witness: A digest of the last of those.
        offset: How much of its messages is dealt with, in bytes after decompression.
        line: How many lines that are.
        is_done: Whether it is complete, and dealt with to its end.
    """

    read: int
    witness: str
    offset: int
    line: int
    is_done: bool = False


class _State(msgspec.Struct):
    """The file: by device and inode; and which store it is about, None as long as there was none."""

    store: str | None = None
    files: dict[str, Position] = {}


_decode: Final = msgspec.json.Decoder(_State).decode


def position_of(file: OTLPFile, *, is_done: bool = False) -> Position:
    """Where the reading of a file is.

    Raises:
        OSError: It cannot be read.
    """
    return Position(file.read, _witness(file.fd, file.read), file.offset, file.line, is_done)


def goes_on(fd: int, position: Position) -> bool:
    """Whether the file still begins with what was read of it: not truncated, not another one.

    Raises:
        OSError: It cannot be read.
    """
    return os.fstat(fd).st_size >= position.read and _witness(fd, position.read) == position.witness


def _witness(fd: int, end: int) -> str:
    start = max(0, end - _WITNESS_BYTES)
    return hashlib.sha256(os.pread(fd, end - start, start)).hexdigest()[:32]


class Positions:
    """The positions in the files of one place, for one store.

    Args:
        paths: Of the store.
        place: The folder or file they are remembered for.
        store: Which store this is; None if that is not known.
    """

    def __init__(self, paths: StorePaths, place: Path, *, store: str | None) -> None:
        digest = hashlib.sha256(os.fsencode(place.resolve())).hexdigest()[:16]
        self._path = paths.journal / "ingested" / f"{digest}.json"
        self._state = self._load()
        known = self._state.store
        if paths.database.exists():
            is_kept = known is None or store in (None, known)
        else:
            is_kept = known is None and bool(paths.segments())  # by a run that had not made the store yet
        if not is_kept:
            self._state = _State()
        self._state.store = self._state.store or store
        self._saved: bytes | None = None

    def of(self, key: str) -> Position | None:
        """The position in a file, by its device and inode."""
        return self._state.files.get(key)

    def put(self, key: str, position: Position) -> None:
        """Everything before this position is kept."""
        self._state.files[key] = position

    def forget_others(self, keys: set[str]) -> None:
        """Only these files are there."""
        self._state.files = {key: position for key, position in self._state.files.items() if key in keys}

    def save(self, store: str | None = None) -> None:
        """Write everything, at once or not at all: what is not remembered is read again, and found to be known.

        Args:
            store: Which store it is about, if that is known only now.
        """
        self._state.store = self._state.store or store
        data = msgspec.json.encode(self._state)
        if data == self._saved:
            return
        draft = self._path.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):
            make_private_folder(self._path.parent)
            draft.unlink(missing_ok=True)
            draft.touch(0o600)
            draft.write_bytes(data)
            draft.replace(self._path)
            self._saved = data

    def _load(self) -> _State:
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            return _decode(self._path.read_bytes())
        return _State()
