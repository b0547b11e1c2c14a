"""Whether a pipeline is whole, from where applications send their spans to the row in the store; and if not, where.

A trial request of its own goes into each hop that is known. Which of their rows come, tells between which two hops
spans are lost; a row that came is removed. What a hop answers is `hops`'s, how far a trial request comes `tracks`'s.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from otel_usage.cli.diagnostics import hops
from otel_usage.cli.diagnostics.finding import ATTENTION, NOTE, OK, Finding
from otel_usage.cli.diagnostics.hops import Hop
from otel_usage.cli.diagnostics.store import known_key
from otel_usage.cli.diagnostics.tracks import LOOK_SECONDS, Kept, Track, is_here, watch
from otel_usage.enrichment.privacy import fingerprint
from otel_usage.errors import StoreError, StoreMissingError
from otel_usage.exporter import leadership, removal, store, trial
from otel_usage.exporter.paths import StorePaths
from otel_usage.settings import Settings

HEALTH: Final = "OTEL_USAGE_HEALTH_LISTEN"
_REMOVE_SECONDS: Final = 10.0
_LATER: Final = "Its row, should it come later, is removed by the next `otel-usage doctor --endpoint`."


def examine(
    known: Sequence[Hop], settings: Settings, *, health: str | None, seconds: int, must_exist: bool
) -> list[Finding]:
    """Every finding about the hops, then about the way behind them; the verdict is the last.

    Args:
        known: The hops, first one first.
        settings: Name the store and say how endpoints are spoken to.
        health: Where the Collector of this machine tells its health, if that is known.
        seconds: How long to wait for the rows.
        must_exist: Whether a store that is not there is the wrong one, and not on another machine.

    Raises:
        ConfigurationError: The files for TLS cannot be used.
    """
    tracks = [Track(heard) for heard in hops.ask(known, settings.transport, seconds)]
    kept = Kept(StorePaths.of(settings.database), must_exist or is_here(settings))
    if kept.is_here:
        watch(tracks, kept)
    verdict = _verdict(tracks, kept, seconds)
    return [
        *_answers(tracks),
        *_health(settings, health),
        *_token(tracks, settings),
        *(_removed(tracks, kept) if kept.is_here else ()),
        verdict,
    ]


def _answers(tracks: list[Track]) -> Iterator[Finding]:
    """What each hop says of its trial request. What is not on the way of the first one's is not its trouble."""
    is_whole = tracks[0].has_come
    for track in tracks:
        heard = track.heard
        if heard.trouble is None:
            yield Finding(OK, heard.name, f"{track.url} took a trial request in {heard.seconds * 1000:.0f} ms.")
            continue
        status = NOTE if heard.is_credential or (is_whole and track is not tracks[0]) else ATTENTION
        yield Finding(status, heard.name, f"{track.url} {heard.trouble.message}.", heard.trouble.remedy)


def _health(settings: Settings, address: str | None) -> Iterator[Finding]:
    """What the Collector of this machine says of itself."""
    if not address:
        return
    told = hops.health(f"http://{address}", settings.transport)
    if told is None:
        remedy = f"Start it, or correct {HEALTH}; its log says why it ended."
        yield Finding(ATTENTION, "health", f"No Collector tells its health at {address}.", remedy)
    elif told[0] == HTTPStatus.SERVICE_UNAVAILABLE:
        message = f"The Collector at {address} says that it is not ready (503)."
        yield Finding(ATTENTION, "health", message, "Look at its log.")
    elif told[0] != HTTPStatus.OK:
        message = f"What listens at {address} answers {told[0]}: it tells no health of a Collector."
        yield Finding(NOTE, "health", message, f"Correct {HEALTH}, or the path of the extension health_check.")
    else:
        yield Finding(OK, "health", f"The Collector at {address} says that it is ready.")


def _token(tracks: list[Track], settings: Settings) -> Iterator[Finding]:
    """Whether the token of the trial request has become its fingerprint, the same as everywhere else."""
    track = tracks[0]
    token, row = track.heard.trial.token, track.row
    if row is None or token is None:
        return
    if token in str(row):
        remedy = "Find what copies request headers into other attributes: in applications, or in Collectors."
        yield Finding(ATTENTION, "token", "The row holds the token of the trial request itself.", remedy)
    elif row["token_id"] is None:
        yield _unidentified(row)
    else:
        yield _identified(row["token_id"], token, _by_collect(tracks), known_key(settings))


def _unidentified(row: Mapping[str, Any]) -> Finding:
    if row["token_scheme"] is None:
        remedy = "Put agent.yaml of collector-config before whatever drops request headers."
        return Finding(ATTENTION, "token", "The token of the trial request was dropped on its way.", remedy)
    remedy = "Let otel-usage collect read or make the deployment key: see OTEL_USAGE_TOKEN_KEY_FILE."
    return Finding(ATTENTION, "token", "The token of the trial request got no id.", remedy)


def _identified(found: str, token: str, by_collect: str | None, key: bytes | None) -> Finding:
    """Whether an id is that of the deployment key known here, else that which the receiver itself makes."""
    expected = by_collect if key is None else fingerprint(key, token)
    if expected is None:
        message = "The token of the trial request got an id; with which key is not known here."
        return Finding(NOTE, "token", message, "To compare, set OTEL_USAGE_TOKEN_KEY or OTEL_USAGE_TOKEN_KEY_FILE.")
    if found == expected:
        return Finding(OK, "token", "The token of the trial request got the id that the deployment key gives.")
    remedy = "Give the agent, otel-usage collect and every application the same key."
    if found == by_collect:
        message = "The deployment key known here is not that of the pipeline: one token gets two ids."
    else:
        message = "The first hop makes token ids with another deployment key: one token gets two ids."
    return Finding(ATTENTION, "token", message, remedy)


def _by_collect(tracks: list[Track]) -> str | None:
    """The id that `otel-usage collect` itself makes of the token."""
    rows = (track.row for track in tracks if track.heard.is_collect and track.row is not None)
    return next((row["token_id"] for row in rows), None)


def _removed(tracks: list[Track], kept: Kept) -> Iterator[Finding]:
    """Remove the rows that came, and those that came after somebody had waited for them."""
    ours = [track.heard.trial.key for track in tracks if track.row is not None]
    try:
        with store.connect_read_only(kept.paths.database, wait_seconds=LOOK_SECONDS) as connection:
            late = trial.left_behind(connection, time.time())
        removed = removal.remove(kept.paths, [*ours, *late], wait_seconds=_REMOVE_SECONDS)
    except (StoreError, OSError) as error:
        if ours:
            message = f"Rows of trial requests ({len(ours)}) are not removed: {error}"
            yield Finding(NOTE, "removal", message, "The next `otel-usage doctor --endpoint` tries again.")
        return
    if ours:
        yield Finding(OK, "removal", f"The rows that came ({len(ours)}) are removed.")
    if removed > len(ours):
        message = f"Rows of earlier trial requests ({removed - len(ours)}), which came late, are removed."
        yield Finding(NOTE, "removal", message)


def _verdict(tracks: list[Track], kept: Kept, seconds: int) -> Finding:
    """Whether it is whole, and if not, between which two hops it ends."""
    first = tracks[0]
    if first.row is not None:
        return Finding(OK, "pipeline", f"It is whole: the row came after {first.seconds:.1f} s.")
    if kept.is_other:
        return _other_store(tracks, kept)
    come = next((n for n, track in enumerate(tracks) if track.has_come), None)
    before = tracks[:come]
    if not first.is_taken:
        return _not_let_in(first, None if come is None else tracks[come])
    if come == 0:
        return _in_journal(kept)
    closed = next((track for track in before if not track.is_taken and not track.heard.is_credential), None)
    if closed is not None:
        last = [track for track in before[: before.index(closed)] if track.is_taken][-1]
        message = f"It ends at {closed.url}, which does not take what {last.url} has taken."
        return Finding(ATTENTION, "pipeline", message, f"What waits before it comes by itself once it does. {_LATER}")
    return _lost(tracks, come, kept, seconds)


def _other_store(tracks: list[Track], kept: Kept) -> Finding:
    url = next(track.url for track in tracks if track.heard.is_collect)
    message = f"otel-usage collect at {url} keeps another store than {kept.paths.database}."
    remedy = "Name its store with --database, then the rows are removed too; it says at its start which it is."
    return Finding(ATTENTION, "pipeline", message, remedy)


def _not_let_in(first: Track, come: Track | None) -> Finding:
    behind = "" if come is None else f" From {come.url} on it is whole."
    return Finding(ATTENTION, "pipeline", f"It ends where it begins, at {first.url}.{behind}")


def _in_journal(kept: Kept) -> Finding:
    """The record is safe; why is it not a row?"""
    message = f"It is whole up to the journal of {kept.paths.database}, where the trial request waits"
    if kept.trouble is not None and not isinstance(kept.trouble, StoreMissingError):
        return Finding(ATTENTION, "pipeline", f"{message}. {kept.trouble.message}", f"{kept.trouble.hint} {_LATER}")
    try:
        pid = leadership.leader_pid(kept.paths)
    except OSError:  # another user's
        return Finding(
            ATTENTION, "pipeline", f"{message}.", f"Run otel-usage doctor as the user of the store. {_LATER}"
        )
    if pid is None:
        remedy = f"Run: otel-usage sync; and look at the log of otel-usage collect. {_LATER}"
        return Finding(ATTENTION, "pipeline", f"{message}: no process commits it.", remedy)
    message = f"{message} for {leadership.process_name(pid)} to commit it."
    return Finding(ATTENTION, "pipeline", message, f"Look at the log of that process, or raise --timeout. {_LATER}")


def _lost(tracks: list[Track], come: int | None, kept: Kept, seconds: int) -> Finding:
    """Everybody took it, and it did not come."""
    last = [track for track in tracks[:come] if track.is_taken][-1]
    if come is not None:
        message = (
            f"{last.url} took a trial request whose row did not come within {seconds} s;"
            f" one sent to {tracks[come].url} itself came after {tracks[come].seconds:.1f} s."
        )
        remedy = f"Look at where {last.url} sends to, at its queue and its log. {_LATER}"
        return Finding(ATTENTION, "pipeline", message, remedy)
    if not kept.is_here:
        message = f"Whether the row came cannot be seen from here: there is no store {kept.paths.database}."
        remedy = "Run this where the store is, or name it with --database: only so the row is removed, also later."
        return Finding(NOTE, "pipeline", message, remedy)
    if kept.trouble is not None and not isinstance(kept.trouble, StoreMissingError):
        message = f"Whether the row came cannot be seen. {kept.trouble.message}"
        return Finding(ATTENTION, "pipeline", message, f"{kept.trouble.hint} {_LATER}".strip())
    message = f"{last.url} took a trial request whose row did not come into {kept.paths.database} within {seconds} s."
    remedy = f"Look at where {last.url} sends to, at its queue and its log. {_LATER}"
    if last is tracks[-1]:
        remedy = f"Name the hops behind it too, in their order, to know where it is: --endpoint ... {_LATER}"
    return Finding(ATTENTION, "pipeline", message, remedy)
