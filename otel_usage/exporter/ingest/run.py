"""One run of `otel-usage ingest`: files into the journal, the journal into the store, and what there is to say of it.

Decides what is read and when. How it is read and kept is `file_intake`'s and `following`'s.
"""

import contextlib
import os
import stat
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from otel_usage.errors import JournalUnavailableError, OTLPDecodeError, StoreError
from otel_usage.exporter import reading
from otel_usage.exporter.duckdb_errors import mapped_errors
from otel_usage.exporter.ingest.file_intake import FileIntake, Say, Totals
from otel_usage.exporter.ingest.following import MAX_OPEN, Place
from otel_usage.exporter.ingest.otlp_file import OTLPFile
from otel_usage.exporter.ingest.positions import Positions
from otel_usage.exporter.paths import StorePaths
from otel_usage.exporter.recorder import Recorder
from otel_usage.exporter.store import connect_read_only
from otel_usage.settings import Settings

STANDARD_INPUT: Final = "-"
_STANDARD_INPUT_FD: Final = 0
_LOOK_SECONDS: Final = 0.5
_STORE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked of a run.

    Attributes:
        files: Files, folders, or "-" for standard input.
        follow: Go on until `ended` is set.
        timeout_seconds: Longest wait for room in the journal, and for the commit in the end.
        say: Takes a line for whoever looks on.
        progress: Called with bytes that were dealt with, bytes there are.
        ended: Set from outside.
    """

    files: Sequence[str]
    follow: bool
    timeout_seconds: float
    say: Say
    progress: Callable[[int, int], None]
    ended: threading.Event


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did.

    Attributes:
        totals: What became of the files.
        duplicates: Requests that the store had already, those of other processes meanwhile included; None if the store
            could not be asked.
        remaining: Records that are not committed yet.
    """

    totals: Totals
    duplicates: int | None
    remaining: int

    @property
    def is_whole(self) -> bool:
        """Whether everything there was is in the store, or will be read by the next run."""
        totals = self.totals
        return not (totals.bad or totals.unreadable or totals.cut_off or totals.taken.rejected or self.remaining)


def run(settings: Settings, wishes: Wishes) -> Outcome:
    """Keep the requests of files, and have them committed into the store, which is made if it is missing.

    Raises:
        StoreError: They cannot be kept or committed.
    """
    paths = StorePaths.of(settings.database)
    was_there = paths.database.exists()
    before = _standing(paths)
    recorder = Recorder(settings)
    reader = _Reader(settings, recorder, wishes, before)
    try:
        reader.read()
    finally:
        recorder.remove()
    remaining = 0
    if paths.segments():
        remaining = reading.sync(settings, timeout_seconds=wishes.timeout_seconds, progress=wishes.progress).remaining
    after = _standing(paths)
    reader.belongs_to(after)
    return Outcome(reader.intake.totals, _met(before, after, was_there), remaining)


class _Reader:
    """Reads the files of one run, one after the other."""

    def __init__(self, settings: Settings, recorder: Recorder, wishes: Wishes, store: "_Standing | None") -> None:
        self._wishes = wishes
        self._size = 0
        self.intake = FileIntake(
            settings,
            recorder,
            say=wishes.say,
            is_ended=wishes.ended.is_set,
            patience_seconds=float("inf") if wishes.follow else wishes.timeout_seconds,
            on_progress=lambda done: wishes.progress(done, self._size),
        )
        paths = StorePaths.of(settings.database)
        made_at = store.made_at if store is not None else None
        self._places: dict[str, tuple[Place, Positions]] = {}
        names = [name for name in dict.fromkeys(wishes.files) if wishes.follow or _is_lasting(name)]
        for name in names:
            path = Path(name).absolute()
            positions = Positions(paths, path, store=made_at)
            place = Place(path, self.intake, positions, follows=wishes.follow, max_open=MAX_OPEN // len(names))
            self._places[name] = place, positions

    def read(self) -> None:
        """Read what there is; where files are followed, until it is ended."""
        self._size = sum(map(self._size_of, self._wishes.files))
        try:
            for name in dict.fromkeys(self._wishes.files):
                if name in self._places:
                    self._look(name)
                else:
                    self._read_once(name)
            while self._wishes.follow and not self._wishes.ended.wait(_LOOK_SECONDS):
                for name in self._places:
                    self._look(name)
        except JournalUnavailableError:
            if not self._wishes.ended.is_set():
                raise
        for place, _ in self._places.values():
            place.close()

    def belongs_to(self, store: "_Standing | None") -> None:
        """What was read is in this store."""
        for _, positions in self._places.values():
            positions.save(store.made_at if store is not None else None)

    def _size_of(self, name: str) -> int:
        with contextlib.suppress(OSError):
            return self._places[name][0].size() if name in self._places else Path(name).stat().st_size
        return 0

    def _look(self, name: str) -> None:
        try:
            self._places[name][0].look()
        except OSError as error:
            self.intake.cannot_read(name, error)

    def _read_once(self, name: str) -> None:
        try:
            fd = _STANDARD_INPUT_FD if name == STANDARD_INPUT else os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            self.intake.cannot_read(name, error)
            return
        try:
            self._read_all(fd, name)
        except (OTLPDecodeError, OSError) as error:
            self.intake.cannot_read(name, error)
        finally:
            if fd != _STANDARD_INPUT_FD:
                os.close(fd)

    def _read_all(self, fd: int, name: str) -> None:
        """Read what nobody can read again: a pipe, a device, standard input."""
        self.intake.totals.files += 1
        is_regular = stat.S_ISREG(os.fstat(fd).st_mode)
        shown = name if name == STANDARD_INPUT else str(Path(name).absolute())
        file, before = OTLPFile(fd, waits=not is_regular), -1
        while file.read > before:  # once for a file; a pipe is at its end when it is ready and says nothing
            before = file.read
            self.intake.read(file, shown)
        self.intake.finish(file, shown, is_complete=not is_regular, is_awaited=False)


def _is_lasting(name: str) -> bool:
    """Whether it is a folder or a regular file, so that the next run can read on."""
    if name == STANDARD_INPUT:
        return False
    try:
        mode = Path(name).stat().st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) or stat.S_ISREG(mode)


@dataclass(frozen=True, slots=True)
class _Standing:
    """A store at one moment: when it was made, which tells it from others, and how many duplicates it has met."""

    made_at: str
    duplicates: int


def _standing(paths: StorePaths) -> _Standing | None:
    """None if there is no store, or it cannot be asked now."""
    try:
        with (
            mapped_errors(paths.database),
            connect_read_only(paths.database, wait_seconds=_STORE_SECONDS) as connection,
        ):
            row = connection.execute(
                "SELECT min(applied_at)::VARCHAR, (SELECT value::BIGINT FROM store_info WHERE name = 'duplicate')"
                " FROM schema_migrations"
            ).fetchone()
    except StoreError:
        return None
    return _Standing(*row) if row is not None else None


def _met(before: _Standing | None, after: _Standing | None, was_there: bool) -> int | None:
    """Duplicates between two moments; None if one of them could not be asked."""
    if after is None or (before is None and was_there):
        return None
    return after.duplicates - (before.duplicates if before is not None else 0)
