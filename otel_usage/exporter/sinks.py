"""Where the leader takes finished segments: into the store, or to an endpoint.

A process that never leads imports neither DuckDB nor an HTTP client.
"""

import contextlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from otel_usage.errors import MissingExtraError
from otel_usage.exporter import leadership
from otel_usage.exporter.commit import CommitSummary, commit_turn
from otel_usage.exporter.forwarder import state as forwarding_state
from otel_usage.exporter.paths import StorePaths
from otel_usage.settings import Settings

if TYPE_CHECKING:
    from otel_usage.exporter.forwarder.forwarder import Forwarder


class Sink(Protocol):
    """What a leader asks, turn by turn."""

    def turn(self, go_on: Callable[[], bool]) -> CommitSummary:
        """Take finished segments away, as many as fit into one turn; `go_on` says whether to take long.

        Raises:
            OtelUsageError: They wait in the journal.
        """

    def retry_in(self) -> float:
        """Seconds until a turn that failed is worth repeating, infinite if the next regular one will do."""

    def retire(self) -> None:
        """Another process leads."""


class StoreSink:
    """Into the store.

    Args:
        paths: Of the store.
        token_key: Gives the deployment key, if this process knows it.
    """

    def __init__(self, paths: StorePaths, token_key: Callable[[], bytes | None]) -> None:
        self._paths = paths
        self._token_key = token_key
        self._is_ours = False

    def turn(self, _go_on: Callable[[], bool]) -> CommitSummary:
        """Commit."""
        with leadership.turn():
            if not self._is_ours:
                with contextlib.suppress(OSError):
                    forwarding_state.end(self._paths)
                    self._is_ours = True
            return commit_turn(self._paths, self._token_key())

    def retry_in(self) -> float:
        """A commit costs little where the store is locked."""
        return math.inf

    def retire(self) -> None:
        """Nothing is begun."""
        self._is_ours = False


class EndpointSink:
    """To an endpoint.

    Args:
        settings: Which.
        paths: Of the journal.
    """

    def __init__(self, settings: Settings, paths: StorePaths) -> None:
        self._settings = settings
        self._paths = paths
        self._forwarder: Forwarder | None = None
        self._is_missing = False

    def turn(self, go_on: Callable[[], bool]) -> CommitSummary:
        """Forward."""
        if self._is_missing:
            return CommitSummary()
        if self._forwarder is None:
            try:
                # A child that is forked amid the first import would wait for that for ever.
                with leadership.turn():
                    self._forwarder = forwarder(self._settings, self._paths)
            except MissingExtraError:  # what is installed later is there for the next start
                self._is_missing = True
                raise
        return self._forwarder.turn(go_on)

    def retry_in(self) -> float:
        """As the forwarder says."""
        return math.inf if self._forwarder is None else self._forwarder.retry_in()

    def retire(self) -> None:
        """Forget what was begun."""
        if self._forwarder is not None:
            self._forwarder.retire()


def sink_of(settings: Settings, paths: StorePaths, token_key: Callable[[], bytes | None]) -> Sink:
    """The sink that the settings name; makes nothing."""
    if settings.exporter == "otlp":
        return EndpointSink(settings, paths)
    return StoreSink(paths, token_key)


def forwarder(settings: Settings, paths: StorePaths) -> "Forwarder":
    """The forwarder of a journal.

    Raises:
        MissingExtraError: protobuf is not installed.
    """
    try:
        from otel_usage.exporter.forwarder.forwarder import Forwarder
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "OTEL_USAGE_EXPORTER=otlp needs the package opentelemetry-proto.", "Run: pip install 'otel-usage[otlp]'"
        ) from error
    return Forwarder(settings, paths)
