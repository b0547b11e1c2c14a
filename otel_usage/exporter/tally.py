"""What one process can tell of its records: plain numbers. Who tells them to whom is `metrics`'s."""

import os
from collections import deque
from typing import Final

from otel_usage.exporter.losses import LOST

_MAX_COMMITS: Final = 256


class Tally:
    """Numbers of this process, read without a lock by whoever measures.

    `written` and the losses of requests change under the journal's lock, everything else in the committer's thread.

    Attributes:
        pid: Of this process; a forked child has a tally of its own.
        written: Records that are in the journal.
        dropped: Records lost, by reason of `losses.LOST`.
        waiting: Records in the journal of the whole store after the leader's last turn; None where this process does
            not lead, or nobody has asked yet.
        is_asked: Whether somebody measures. Counting what waits means to read segments, so it is not done for nobody.
        commits: Seconds of the last commits and the class of the error that each ended with, until somebody has taken
            them.
        is_told: False once nobody is to be told.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.written = 0
        self.dropped: dict[str, int] = dict.fromkeys(sorted(LOST), 0)
        self.waiting: int | None = None
        self.is_asked = False
        self.commits: deque[tuple[float, type[Exception] | None]] = deque(maxlen=_MAX_COMMITS)
        self.is_told = True

    def drop(self, reason: str, n: int) -> None:
        """Count records as lost, unless the reason is none of a loss."""
        if reason in LOST:
            self.dropped[reason] += n
