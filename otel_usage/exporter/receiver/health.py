"""What the receiver tells of its store: whether the journal has room, and what waits in it.

Looked at in the file system, so that every worker gives the same answer; not more often than once a second.
"""

import asyncio
import contextlib
import os
import time
from typing import Any, Final

from otel_usage.exporter.paths import StorePaths
from otel_usage.exporter.pending import Backlog
from otel_usage.settings import Settings

_FRESH_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 5.0
# Nobody may send to what says that it is unavailable: it says so for a while, and not until it has taken something.
_REFUSAL_SECONDS: Final = 5.0


class Health:
    """Looks at the journal of a store.

    Args:
        settings: Name the store, and the bound of its journal.
    """

    def __init__(self, settings: Settings) -> None:
        self._paths = StorePaths.of(settings.database)
        self._max_bytes = settings.journal_max_bytes
        self._backlog = Backlog(self._paths)
        self._told: dict[str, Any] = {}
        self._until = 0.0
        self._refused_until = 0.0
        self._looking = asyncio.Lock()

    def refused(self) -> None:
        """Records could not be kept just now."""
        self._until = 0.0
        self._refused_until = time.monotonic() + _REFUSAL_SECONDS

    async def look(self) -> dict[str, Any]:
        """`status` is "ok" where records can be kept, else "unavailable"."""
        async with self._looking:
            if time.monotonic() >= self._until:
                try:
                    self._told = await asyncio.wait_for(asyncio.to_thread(self._look), _PATIENCE_SECONDS)
                except (OSError, TimeoutError):
                    self._told = {"status": "unavailable"}
                self._until = time.monotonic() + _FRESH_SECONDS
            return self._told

    def _look(self) -> dict[str, Any]:
        size = 0
        for path in self._paths.segments():
            with contextlib.suppress(OSError):  # committed meanwhile
                size += path.stat().st_size
        folder = self._paths.journal if self._paths.journal.is_dir() else self._paths.database.parent
        has_room = size < self._max_bytes and os.access(folder, os.W_OK) and _has_free_blocks(str(folder))
        keeps = has_room and time.monotonic() >= self._refused_until
        return {
            "status": "ok" if keeps else "unavailable",
            "journal_bytes": size,
            "journal_max_bytes": self._max_bytes,
            "pending_records": self._backlog.records(),
        }


def _has_free_blocks(folder: str) -> bool:
    """Whether the disk has room for anybody but root; file systems without a size have."""
    disk = os.statvfs(folder)
    return disk.f_blocks == 0 or disk.f_bavail > 0
