"""Warnings to the application's log, so seldom that they cannot flood it."""

import logging
import time
from typing import Final

logger: Final = logging.getLogger("otel_usage")
_EVERY_SECONDS: Final = 60.0


class Warner:
    """Logs a warning of each topic at most once a minute. Never raises."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}
        self.waiting: list[tuple[str, tuple[object, ...]]] = []

    def warn(self, topic: str, message: str, *args: object) -> None:
        """Log `message % args` unless this topic was warned of less than a minute ago."""
        self.later(topic, message, *args)
        self.say()

    def say(self) -> None:
        """Log what waits."""
        while self.waiting:
            try:
                message, args = self.waiting.pop()
                logger.warning(message, *args)
            except Exception:  # a handler of the application; another thread was faster
                return

    def later(self, topic: str, message: str, *args: object) -> None:
        """The same, but logged by the next `say`: a handler may do anything, so no lock may be held then."""
        now = time.monotonic()
        if now < self._next.get(topic, now):
            return
        self._next[topic] = now + _EVERY_SECONDS
        self.waiting.append((message, args))
