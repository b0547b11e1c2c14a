"""From the messages of files to the journal, and what became of them. Which files there are is the caller's affair."""

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from otel_usage.errors import JournalUnavailableError, OTLPDecodeError
from otel_usage.exporter.ingest.bad_messages import BadMessages
from otel_usage.exporter.ingest.framing import Message
from otel_usage.exporter.ingest.otlp_file import OTLPFile
from otel_usage.exporter.ingest.unpacking import unpacked
from otel_usage.exporter.losses import REJECTED
from otel_usage.exporter.otlp.answers import JSON, PROTOBUF
from otel_usage.exporter.otlp.decoding import ScopeSpans
from otel_usage.exporter.otlp.intake import Intake, Taken
from otel_usage.exporter.otlp.pieces import PIECE_BYTES, decoded
from otel_usage.exporter.otlp.request_body import BodyTooLargeError
from otel_usage.exporter.paths import StorePaths
from otel_usage.exporter.recorder import Recorder
from otel_usage.settings import Settings

# What is kept at once: enough for its system call to cost nothing, and little in memory.
_BATCH: Final = 128  # messages and spans
_FLUSH_MILLISECONDS: Final = 30_000
_POLL_SECONDS: Final = 0.2
_UNFINISHED: Final = (
    "ends within a message. A Collector may still write it, then the next run reads on; or it was not copied whole."
)
_TRACES: Final = b'"resourceSpans"'
_OTHER_SIGNAL: Final = re.compile(rb'\s*\{\s*"resource(?:Logs|Metrics|Profiles)"')

Say = Callable[[str], None]


@dataclass(slots=True)
class Totals:
    """What became of what was read.

    Attributes:
        files: How many files were read, in full or in part.
        taken: What became of their spans.
        other_signals: Messages that are logs, metrics or profiles.
        bad: Messages, or stretches between them, that are no OTLP.
        unfinished: Files that end within a message, which their Collector may still be writing.
        cut_off: Those of them of which no more is awaited: each was named by itself, or is standard input.
        unreadable: Files that could not be read, or not to their end.
    """

    files: int = 0
    taken: Taken = field(default_factory=Taken)
    other_signals: int = 0
    bad: int = 0
    unfinished: int = 0
    cut_off: int = 0
    unreadable: int = 0


class FileIntake:
    """Keeps what files say in the journal of one store.

    Args:
        settings: Of the store.
        recorder: Of this process.
        say: Takes a line for whoever looks on.
        is_ended: Whether to stop waiting for room in the journal.
        patience_seconds: How long to wait for room in the journal.
        on_progress: Called with the bytes of files that were dealt with.

    Attributes:
        totals: So far.
    """

    def __init__(
        self,
        settings: Settings,
        recorder: Recorder,
        *,
        say: Say,
        is_ended: Callable[[], bool],
        patience_seconds: float,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.totals = Totals()
        self.say = say
        self._paths = StorePaths.of(settings.database)
        self._recorder = recorder
        self._intake = Intake(settings, recorder)
        self._is_ended = is_ended
        self._patience_seconds = patience_seconds
        self._on_progress = on_progress
        self._bytes_done = 0
        self._scopes: list[ScopeSpans] = []
        self._size = 0

    def read(self, file: OTLPFile, name: str, on_kept: Callable[[], None] = lambda: None) -> None:
        """Keep everything that is there and whole; `on_kept` is called when all that was read so far is kept.

        Raises:
            OTLPDecodeError: The rest of the file cannot be read; what was before it is kept.
            OSError: The same.
            JournalUnavailableError: There was no room in the journal in time.
        """
        bad = BadMessages(self._paths, name)
        before = file.read
        try:
            for message in file.messages():
                if not self._add(file, message):
                    self._reject(bad, name, message)
                if self._size >= _BATCH:
                    self._keep()
                    on_kept()
                    self._on_progress(self._bytes_done + file.read - before)
        except (OTLPDecodeError, OSError):
            self._keep()
            on_kept()
            raise
        self._keep()
        on_kept()
        self.pass_over(file.read - before)

    def pass_over(self, count: int) -> None:
        """So many more bytes of files need no more to be dealt with."""
        self._bytes_done += count
        self._on_progress(self._bytes_done)

    def finish(
        self,
        file: OTLPFile,
        name: str,
        *,
        is_complete: bool,
        is_awaited: bool = True,
        on_kept: Callable[[], None] = lambda: None,
    ) -> None:
        """Keep what follows the last whole message, where it is one that only lacks its newline.

        Args:
            file: Read to its end.
            name: Of the file.
            is_complete: Nobody writes it any more: what is torn is bad, not unfinished.
            is_awaited: More of it may come, and be read on by a later run.
            on_kept: Called when the file is dealt with to its end.

        Raises:
            JournalUnavailableError: There was no room in the journal in time.
        """
        bad = BadMessages(self._paths, name)
        is_whole = True
        for message in file.end():
            if self._add(file, message):
                continue
            if is_complete:
                self._reject(bad, name, message)
            else:
                is_whole = False
                self.totals.unfinished += 1
                self.totals.cut_off += not is_awaited
                self.say(f"{where(name, message)}: {_UNFINISHED}")
        self._keep()
        if is_whole:
            on_kept()

    def cannot_read(self, path: object, error: Exception) -> None:
        """Say that a file could not be read, or not to its end."""
        self.totals.unreadable += 1
        reason = error.strerror if isinstance(error, OSError) else str(error)
        self.say(f"{path}: {reason}")

    def _add(self, file: OTLPFile, message: Message) -> bool:
        """Decode a message into the batch; False if it is none, and nothing can be made of it."""
        if message.problem:
            return False
        try:
            scopes = decode(message)
            if scopes is None:
                self.totals.other_signals += 1
            elif isinstance(scopes, list):
                self._scopes += scopes
                self._size += 1 + sum(len(scope.spans) for scope in scopes)
            else:
                self._keep()
                self.totals.taken += self._take(lambda: decode(message) or ())
        except OTLPDecodeError as error:
            file.reject(message, error.message)
        except BodyTooLargeError:
            file.reject(message, "has more parts than its size explains")
        return True

    def _reject(self, bad: BadMessages, name: str, message: Message) -> None:
        self.totals.bad += 1
        self.say(f"{where(name, message)}: {message.problem}")
        if bad.add(message):
            self._recorder.count(REJECTED)

    def _keep(self) -> None:
        if self._scopes:
            self.totals.taken += self._take(lambda: self._scopes)
        # Only now: until they are in the journal they are to be read again.
        self._scopes, self._size = [], 0

    def _take(self, scopes: Callable[[], Iterable[ScopeSpans]]) -> Taken:
        """Keep spans, however long the journal has no room for them.

        Raises:
            JournalUnavailableError: Longer than one can wait.
        """
        deadline = time.monotonic() + self._patience_seconds
        is_said = False
        while True:
            try:
                return self._intake.take(scopes())
            except JournalUnavailableError as error:
                if self._is_ended() or time.monotonic() >= deadline:
                    raise
                if not is_said:
                    self.say(f"Waiting: {error}")
                is_said = True
            self._recorder.force_flush(_FLUSH_MILLISECONDS)
            time.sleep(_POLL_SECONDS)


def decode(message: Message) -> Iterable[ScopeSpans] | None:
    """The spans of a message, None if it is of another signal; of a large one piece by piece, else a list.

    Raises:
        OTLPDecodeError: It is none; of a large one that may turn out later.
        BodyTooLargeError: The same, for having more parts than its size explains.
    """
    data = unpacked(message.data)
    is_json = message.line or data.startswith(b"{")
    if is_json and _OTHER_SIGNAL.match(data):
        return None
    if is_json and _TRACES not in data:
        raise OTLPDecodeError("This is no OTLP trace data in JSON: it has no resourceSpans.")
    scopes = decoded(data, JSON if is_json else PROTOBUF)
    return scopes if len(data) > PIECE_BYTES else list(scopes)


def where(name: str, message: Message) -> str:
    """How people find a message."""
    return f"{name}:{message.line}" if message.line else f"{name}: byte {message.offset}"
