"""What is known of a journal whose records are forwarded: one small file in its folder, which the leader writes.

It also tells readers that these records are not for the store. No secrets are in it; what is sent, and when, is the
forwarder's.
"""

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from otel_usage.exporter.paths import StorePaths, make_private_folder, segment_id
from otel_usage.settings import TRACES_PATH, Settings


class Noted(msgspec.Struct):
    """Records of one reason of `losses.REASONS`, and when the last of them was noticed, in seconds since 1970."""

    records: int
    noticed_at: float


class Forwarding(msgspec.Struct):
    """The state of a journal that is, or was, forwarded; times in seconds since 1970.

    Attributes:
        url: Where its records go; None once they go into the store again.
        forwarded: Records that were acknowledged there.
        succeeded_at: When the last of them were.
        error: What kept the last attempt from succeeding; None if nothing did.
        failed_at: When that was.
        needs_help: Whether that error will not pass by itself.
        losses: What segments that are done with have counted, by reason.
        segments: Ids of those of them whose files may still be there.
    """

    url: str | None = None
    forwarded: int = 0
    succeeded_at: float | None = None
    error: str | None = None
    failed_at: float | None = None
    needs_help: bool = False
    losses: dict[str, Noted] = {}
    segments: list[str] = []

    def note(self, losses: Mapping[str, int]) -> None:
        """Add what could not be kept, or only in part."""
        for reason, n in losses.items():
            before = self.losses.get(reason)
            self.losses[reason] = Noted(n + (before.records if before is not None else 0), time.time())


_decode: Final = msgspec.json.Decoder(Forwarding).decode


def load(paths: StorePaths) -> Forwarding | None:
    """The state of this journal; None where nothing was ever forwarded.

    Raises:
        OSError: It cannot be read.
    """
    try:
        return _decode(_file(paths).read_bytes())
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError):  # the machine stopped while it was written
        return Forwarding()


def save(paths: StorePaths, state: Forwarding) -> None:
    """Replace the state of this journal, whole or not at all. For the leader only.

    Raises:
        OSError: It is as before.
    """
    make_private_folder(paths.temporary)
    draft = paths.temporary / _file(paths).name
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(msgspec.json.encode(state))
        file.flush()
        os.fsync(fd)
    draft.replace(_file(paths))


def url_of(settings: Settings) -> str:
    """Where records are posted to: the base endpoint and what the OTLP exporter specification appends."""
    return f"{settings.endpoint}{TRACES_PATH}"


def destination(settings: Settings, paths: StorePaths) -> str | None:
    """Where the records of this journal are forwarded to, None if they go into the store.

    Whoever reads may have other settings than the applications; who says in so many words that they go into the
    store, is believed.
    """
    if settings.exporter == "otlp":
        return url_of(settings)
    if settings.is_exporter_set and settings.exporter == "duckdb":
        return None
    with contextlib.suppress(OSError):
        state = load(paths)
        return state.url if state is not None else None
    return None


def end(paths: StorePaths) -> None:
    """Note that the records of this journal go into the store from now on, and remove what has its answer already.

    For the leader only.

    Raises:
        OSError: It cannot be noted, or not be removed.
    """
    state = load(paths)
    if state is None or (state.url is None and not state.segments):
        return
    for path in paths.segments():
        if segment_id(path) in state.segments:
            path.unlink(missing_ok=True)
    state.url = state.error = None
    state.segments = []
    save(paths, state)


def _file(paths: StorePaths) -> Path:
    return paths.journal / "forwarding.json"
