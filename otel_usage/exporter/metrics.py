"""The exporter's own metrics, told to the application's meter provider: what is written, dropped, waiting, and how long
commits take.

Knows OpenTelemetry's API alone: without a meter provider nothing comes of it. Numbers are noted where they arise
(`tally`) and handed over here, in callbacks of the application's metric readers: the locks of an SDK may be green
ones, which a native thread must not wait for, and a request waits for none of them.
"""

import logging
import os
from collections.abc import Iterable, Iterator
from typing import Final

from opentelemetry.metrics import CallbackOptions, Histogram, Observation, get_meter

from otel_usage import __version__
from otel_usage.exporter.losses import LOST
from otel_usage.exporter.tally import Tally

LOSS_REASON: Final = "otel_usage.loss.reason"
ERROR_TYPE: Final = "error.type"
# Those of the semantic conventions for durations of seconds.
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

_logger: Final = logging.getLogger("otel_usage")
_tallies: list[Tally] = []
_durations: list[Histogram] = []


def tell(tally: Tally) -> None:
    """Tell metric readers these numbers from now on, those of a provider that is set later too. Never raises."""
    _tallies.append(tally)
    if not _durations:
        try:
            _make_instruments()
        except Exception:  # the application's provider
            _logger.debug("There are no metrics of otel-usage.", exc_info=True)


def _make_instruments() -> None:
    """Once a process and its children: a second instrument of a name would be ignored, with its callbacks."""
    meter = get_meter("otel_usage", __version__)
    _durations.append(
        meter.create_histogram(
            "otel_usage.commit.duration",
            unit="s",
            description="Duration of commits of journal segments into the store.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
    )
    meter.create_observable_counter(
        "otel_usage.records.written",
        callbacks=[_written],
        unit="{record}",
        description="Usage records that this process has written to its journal.",
    )
    meter.create_observable_counter(
        "otel_usage.records.dropped",
        callbacks=[_dropped],
        unit="{record}",
        description="Usage records that are lost, by reason.",
    )
    meter.create_observable_up_down_counter(
        "otel_usage.records.pending",
        callbacks=[_pending],
        unit="{record}",
        description="Usage records in the journal of the store that are not committed.",
    )


def _of_this_process() -> list[Tally]:
    """Those of this process, the uninstalled ones too, so that counters never go back; none if all are uninstalled."""
    pid = os.getpid()
    mine = [tally for tally in _tallies if tally.pid == pid]
    return mine if any(tally.is_told for tally in mine) else []


def _written(_: CallbackOptions) -> Iterator[Observation]:
    """Each process its own: the sum over processes is what was written to the store's journal."""
    if mine := _of_this_process():
        yield Observation(sum(tally.written for tally in mine))


def _dropped(_: CallbackOptions) -> Iterator[Observation]:
    """Each process its own; what is found out while committing, by the leader that commits."""
    if mine := _of_this_process():
        for reason in sorted(LOST):
            yield Observation(sum(tally.dropped[reason] for tally in mine), {LOSS_REASON: reason})


def _pending(_: CallbackOptions) -> Iterable[Observation]:
    """The leader alone, for all processes of its store, as it was after its last turn: one record counts once."""
    mine = _of_this_process()
    for tally in mine:
        tally.is_asked = True
        _record_durations(tally)
    waiting = [tally.waiting for tally in mine if tally.waiting is not None]
    return [Observation(sum(waiting))] if waiting else []


def _record_durations(tally: Tally) -> None:
    while True:
        try:
            seconds, error = tally.commits.popleft()
        except IndexError:  # none left, or another reader was faster
            return
        for histogram in _durations:
            histogram.record(seconds, {ERROR_TYPE: _full_name(error)} if error is not None else {})


def _full_name(kind: type[Exception]) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
