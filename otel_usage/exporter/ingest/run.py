"""One run of `otel-usage ingest`: files into the journal, the journal into the store, and what there is to say of it.

Decides what is read and when. How it is read and kept is `file_intake`'s and `following`'s.
"""

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from otel_usage.errors import JournalUnavailableError, OTLPDecodeError, StoreError
from otel_usage.exporter import reading
from otel_usage.exporter.ingest.file_intake import FileIntake, Say, Totals
from otel_usage.exporter.ingest.following import MAX_OPEN, Place
from otel_usage.exporter.ingest.otlp_file import OTLPFile
from otel_usage.exporter.ingest.positions import Positions
from otel_usage.exporter.ingest.rows import Rows, Standing, rows_between, standing
from otel_usage.exporter.paths import StorePaths
from otel_usage.exporter.pending import pending
from otel_usage.exporter.recorder import Recorder
from otel_usage.settings import Settings

STANDARD_INPUT: Final = "-"
_STANDARD_INPUT_FD: Final = 0
_LOOK_SECONDS: Final = 0.5


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
        rows: What became of their requests; None if the store could not be asked, or has also met records of other
            processes meanwhile, which it does not tell from these.
        remaining: Records in the journal that are not committed yet, those of other processes included.
        trouble: Why the run ended early, or the journal could not be committed.
    """

    totals: Totals
    rows: Rows | None
    remaining: int
    trouble: StoreError | None = None

    @property
    def is_whole(self) -> bool:
        """Whether everything there was is in the store, or will be read by the next run."""
        totals = self.totals
        return not (totals.bad or totals.unreadable or totals.cut_off or totals.taken.rejected or self.remaining)


def run(settings: Settings, wishes: Wishes) -> Outcome:
    """Keep the requests of files, and have them committed into the store, which is made if it is missing."""
    paths = StorePaths.of(settings.database)
    before = standing(paths)
    recorder = Recorder(settings)
    reader = _Reader(settings, recorder, wishes, before)
    trouble, remaining = None, 0
    try:
        try:
            reader.read()
        finally:
            recorder.remove()
        if paths.segments():
            synced = reading.sync(settings, timeout_seconds=wishes.timeout_seconds, progress=wishes.progress)
            remaining = synced.remaining
    except StoreError as error:
        trouble, remaining = error, pending(paths).records
    after = standing(paths)
    reader.belongs_to(after)
    totals = reader.intake.totals
    return Outcome(totals, rows_between(before, after, totals.taken.requests, remaining), remaining, trouble)


class _Reader:
    """Reads the files of one run, one after the other."""

    def __init__(self, settings: Settings, recorder: Recorder, wishes: Wishes, store: Standing | None) -> None:
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
        self._troubles: dict[str, OSError] = {}
        self._found: set[str] = set()
        self._places: dict[str, tuple[Place, Positions]] = {}
        self._names = list(_distinct(wishes.files, follow=wishes.follow))
        names = [name for name in self._names if wishes.follow or _is_lasting(name)]
        for name in names:
            path = Path(name).absolute()
            positions = Positions(paths, path, store=made_at)
            place = Place(path, self.intake, positions, follows=wishes.follow, max_open=MAX_OPEN // len(names))
            self._places[name] = place, positions

    def read(self) -> None:
        """Read what there is; where files are followed, until it is ended."""
        self._size = sum(map(self._size_of, self._names))
        try:
            for name in self._names:
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
        self.intake.totals.unreadable += sum(map(self._is_unread, self._troubles))

    def belongs_to(self, store: Standing | None) -> None:
        """What was read is in this store."""
        for _, positions in self._places.values():
            positions.save(store.made_at if store is not None else None)

    def _size_of(self, name: str) -> int:
        with contextlib.suppress(OSError):
            return self._places[name][0].size() if name in self._places else Path(name).stat().st_size
        return 0

    def _look(self, name: str) -> None:
        place, _ = self._places[name]
        try:
            place.look()
            if not place.is_there:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        except OSError as error:
            self._say(name, error)
            self._troubles[name] = error
        else:
            self._troubles.pop(name, None)
            self._found.add(name)

    def _say(self, name: str, error: OSError) -> None:
        """Say what is wrong with a place, once, and again only where something else is."""
        last = self._troubles.get(name)
        if last is not None and last.errno == error.errno:
            return
        if not self._wishes.follow:
            text = f"{name}: {error.strerror}"
        elif isinstance(error, FileNotFoundError):
            text = f"{name} is not there{' any more' * (name in self._found)}: it is read as soon as it is."
        else:
            text = f"{name}: {error.strerror}. It is read as soon as it can be."
        self._wishes.say(text)

    def _is_unread(self, name: str) -> bool:
        """Whether there is something of a place, or may have been, that was not read."""
        return name not in self._found or not isinstance(self._troubles[name], FileNotFoundError)

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


def _distinct(names: Iterable[str], *, follow: bool) -> Iterable[str]:
    """Every file once, whatever it is called; what is followed may be another file by another name later."""
    identity = os.path.abspath if follow else os.path.realpath
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(name if name == STANDARD_INPUT else identity(name), name)
    return found.values()


def _is_lasting(name: str) -> bool:
    """Whether it is a folder or a regular file, so that the next run can read on."""
    if name == STANDARD_INPUT:
        return False
    try:
        mode = Path(name).stat().st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) or stat.S_ISREG(mode)
