"""How far trial requests come: looked for in the journal and the store until all that can come have.

What that means is `pipeline`'s.
"""

import time
from dataclasses import dataclass, field
from typing import Any, Final

from otel_usage.cli.diagnostics.hops import Heard
from otel_usage.errors import StoreError, StoreMissingError
from otel_usage.exporter import removal, store
from otel_usage.exporter.forwarder import state as forwarding_state
from otel_usage.exporter.paths import StorePaths
from otel_usage.settings import Settings

LOOK_SECONDS: Final = 2.0
_MIN_PAUSE_SECONDS: Final = 0.1
_MAX_PAUSE_SECONDS: Final = 1.0


@dataclass(slots=True)
class Track:
    """How far one trial request has come.

    Attributes:
        heard: What its hop answered.
        line: Its line in the journal, if it was last seen there.
        row: Its row, by column, if it is in the store.
        seconds: When that was, since it was sent.
    """

    heard: Heard
    line: bytes | None = field(default=None, repr=False)
    row: dict[str, Any] | None = field(default=None, repr=False)
    seconds: float = 0.0

    @property
    def is_taken(self) -> bool:
        """Whether its hop took it."""
        return self.heard.trouble is None

    @property
    def has_come(self) -> bool:
        """Whether it is at least in the journal."""
        return self.row is not None or self.line is not None

    @property
    def url(self) -> str:
        """Where it was sent to."""
        return self.heard.hop.url


@dataclass(slots=True)
class Kept:
    """The store that is looked at.

    Attributes:
        is_here: Whether there is one, or its journal.
        is_other: Whether `otel-usage collect` has answered that it has kept a request, which is not in this one.
        trouble: Why it could not be looked at, the last time.
    """

    paths: StorePaths
    is_here: bool
    is_other: bool = False
    trouble: StoreError | None = None


def is_here(settings: Settings) -> bool:
    """Whether there is a store, or its journal; that of what an application forwards is none of a store."""
    paths = StorePaths.of(settings.database)
    return forwarding_state.destination(settings, paths) is None and (paths.database.exists() or paths.journal.is_dir())


def watch(tracks: list[Track], kept: Kept) -> None:
    """Look for the rows until all that can come have, or the time is over."""
    waited = [track for track in tracks if track.is_taken]
    pause = _MIN_PAUSE_SECONDS
    until = max((track.heard.trial.until for track in waited), default=0)
    while waited:
        for track in waited:
            _look(track, kept)
        if kept.is_other or all(track.row is not None for track in waited) or time.time() >= until:
            return
        time.sleep(pause)
        pause = min(pause * 1.5, _MAX_PAUSE_SECONDS)


def _look(track: Track, kept: Kept) -> None:
    """Look for one row: in the journal first, from which it goes to the store."""
    if track.row is not None:
        return
    was_there = track.has_come
    try:
        track.line = track.heard.trial.journal_line(kept.paths)
        with store.connect_read_only(kept.paths.database, wait_seconds=LOOK_SECONDS) as connection:
            track.row = removal.find(connection, track.heard.trial.key)
        kept.trouble = None
    except OSError as error:
        kept.trouble = StoreError(f"{error.filename}: {error.strerror}.", "Run this as the user of the store.")
        return
    except StoreMissingError as error:
        kept.trouble = error
    except StoreError as error:
        kept.trouble = error
        return
    if track.row is not None or not was_there:
        track.seconds = time.time() - track.heard.trial.start_time_ns / 1e9
    # It answers only once the record is in its journal.
    kept.is_other = kept.is_other or (track.heard.is_collect and not track.has_come)
