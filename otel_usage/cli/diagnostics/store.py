"""Where records go: the settings that say it, the store with its key and losses, the journal and its leader."""

import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from otel_usage.cli.diagnostics import forwarding
from otel_usage.cli.diagnostics.finding import ATTENTION, NOTE, OK, Finding, moment
from otel_usage.cli.wording import counted
from otel_usage.errors import OtelUsageError
from otel_usage.exporter import deployment_key, leadership, losses, pending, reading, store
from otel_usage.exporter.forwarder.state import destination
from otel_usage.exporter.forwarder.state import load as load_forwarding
from otel_usage.exporter.paths import StorePaths
from otel_usage.reports import state
from otel_usage.settings import Settings

_RECENT: Final = timedelta(days=7)


def examine(settings: Settings) -> list[Finding]:
    """Every finding about a store that should be there, unless records are forwarded."""
    found = [] if _is_forwarded(settings) and not settings.database.exists() else _looked(_store, settings)
    return [*found, *_waiting(settings)]


def examine_destination(settings: Settings) -> list[Finding]:
    """Every finding about a store or journal that an application is going to write; it may not be there yet."""
    if settings.exporter == "none":
        return []
    if settings.exporter == "otlp":
        return [*_looked(_folder, settings), *_waiting(settings)]
    found = [*_looked(_writable, settings), *(_looked(_store, settings) if settings.database.exists() else ())]
    return [*found, *_waiting(settings)]


def configuration(settings: Settings) -> Iterator[Finding]:
    """What of the settings cannot be used, or keeps requests from being recorded."""
    for problem in settings.problems:
        yield Finding(ATTENTION, "configuration", problem, "The default is used instead.")
    if settings.sdk_disabled:
        message = "OTEL_SDK_DISABLED is true: nothing is recorded."
        yield Finding(ATTENTION, "configuration", message, "Unset it.", blocks=True)
    if settings.exporter == "none":
        message = "OTEL_USAGE_EXPORTER is none: spans get attributes, and no request is kept."
        yield Finding(NOTE, "configuration", message, "Unset it to keep them.", blocks=True)
    if not settings.anonymous:
        message = "OTEL_USAGE_ANONYMOUS is false: requests with neither token nor user are left out."
        yield Finding(NOTE, "configuration", message)


def _waiting(settings: Settings) -> Iterator[Finding]:
    for check in (_endpoint, _journal, _leader):
        yield from _looked(check, settings)


def _is_forwarded(settings: Settings) -> bool:
    return destination(settings, StorePaths.of(settings.database)) is not None


_Check = Callable[[Settings], Iterator[Finding]]


def _looked(check: _Check, settings: Settings) -> Iterator[Finding]:
    """What a check finds; that the system does not let it look is a finding too."""
    try:
        yield from check(settings)
    except OSError as error:
        message = f"{error.filename}: {error.strerror}."
        yield Finding(ATTENTION, check.__name__.strip("_"), message, "Check the path, its owner and permissions.")


def _folder(settings: Settings) -> Iterator[Finding]:
    """Whether this user can make what is to be made beside the store, be it never made itself."""
    what = "journal" if settings.exporter == "otlp" else "store"
    there = next(path for path in settings.database.parents if os.path.lexists(path))
    if not there.is_dir():
        message, remedy = f"{there} is no folder, so no {what} can be made in it.", "Name another file."
        yield Finding(ATTENTION, what, message, f"OTEL_USAGE_DATABASE: {remedy}", blocks=True)
    elif not os.access(there, os.W_OK | os.X_OK):
        message = f"{there} cannot be written by this user, who would make the {what} there."
        yield Finding(ATTENTION, what, message, "Change its owner, or OTEL_USAGE_DATABASE.", blocks=True)


def _writable(settings: Settings) -> Iterator[Finding]:
    """Whether this user can make what belongs to a store, and the store itself."""
    if found := list(_folder(settings)):
        yield from found
    elif not settings.database.exists():
        yield Finding(OK, "store", f"{settings.database} is made by the first request.")
    elif not os.access(settings.database, os.W_OK):
        message = f"{settings.database} cannot be written by this user."
        yield Finding(ATTENTION, "store", message, "Change its owner, or OTEL_USAGE_DATABASE.", blocks=True)


def _store(settings: Settings) -> Iterator[Finding]:
    if not settings.database.exists():
        remedy = "Start an application with opentelemetry-instrument, or name its store with --database."
        yield Finding(ATTENTION, "store", f"There is no store {settings.database}.", remedy)
        return
    try:
        with store.connect_read_only(settings.database, wait_seconds=2.0) as connection:
            found = state.read(connection)
    except OtelUsageError as error:
        yield Finding(ATTENTION, "store", error.message, error.hint)
        return
    size = settings.database.stat().st_size
    inserted, removed = (int(found.info.get(name, "0")) for name in ("inserted", "removed"))
    message = f"{settings.database} opens: {counted(inserted - removed, 'request')} committed so far, {size} bytes."
    yield Finding(OK, "store", message)
    yield from _key(settings, found)
    yield from _losses(found)


def _key(settings: Settings, found: state.State) -> Iterator[Finding]:
    known = found.info.get("token_key_check")
    key = known_key(settings)
    if known is None:
        return
    if key is None:
        message = f"The deployment key {settings.token_key_file} cannot be read here."
        yield Finding(NOTE, "key", message, "Nothing to do, unless applications run as this user.")
    elif store.key_check(key) == known:
        yield Finding(OK, "key", "The deployment key is that of the store.")
    else:
        message = "The deployment key is not that of the store: one token gets two ids."
        yield Finding(ATTENTION, "key", message, "Give every application of this store the same key.")


def known_key(settings: Settings) -> bytes | None:
    """The deployment key, if it can be read here; makes nothing."""
    if settings.token_key is not None:
        return settings.token_key
    try:
        return deployment_key.read(settings.token_key_file)
    except OSError:
        return None


def _losses(found: state.State) -> Iterator[Finding]:
    for loss in found.losses:
        yield _loss(loss.reason, loss.records, loss.noticed_at, _LOSS_REMEDIES)


def _endpoint(settings: Settings) -> Iterator[Finding]:
    """Where records are forwarded to, and what never came as far: no store has counted it."""
    yield from forwarding.examine(settings)
    found = load_forwarding(StorePaths.of(settings.database))
    for reason, noted in ({} if found is None else found.losses).items():
        when = datetime.fromtimestamp(noted.noticed_at, UTC).replace(tzinfo=None)
        yield _loss(reason, noted.records, when, _FORWARDING_REMEDIES)


def _told(reason: str, records: int) -> str:
    """How many, and of what: the reasons are names for those who query the store."""
    meaning = _MEANINGS.get(reason)
    return f"{records} {reason}" + (f" ({meaning})" if meaning else "")


def _loss(reason: str, records: int, noticed_at: datetime, remedies: Mapping[str, str]) -> Finding:
    recent = datetime.now(UTC).replace(tzinfo=None) - _RECENT
    message = f"{_told(reason, records)}, last noticed {noticed_at:%Y-%m-%d %H:%M} UTC."
    status = ATTENTION if reason in losses.LOST and noticed_at >= recent else NOTE
    return Finding(status, "losses", message, remedies.get(reason, ""))


def _pending_losses(waiting: pending.Pending) -> Iterator[Finding]:
    for loss in waiting.losses:
        since = "" if loss.since is None else f", since {moment(loss.since)}"
        message = f"{_told(loss.reason, loss.records)}{since}, not in the store's count yet."
        status = ATTENTION if loss.reason in losses.LOST else NOTE
        yield Finding(status, "losses", message, _LOSS_REMEDIES.get(loss.reason, ""))


_MEANINGS: Final = {
    losses.JOURNAL_FULL: "records for which the journal had no room",
    losses.WRITE_ERROR: "records that could not be written",
    losses.ENCODE_ERROR: "records that could not be made",
    losses.TORN_LINE: "records whose process died while it wrote them",
    losses.REJECTED: "records, or what was to become one, that can never be rows",
    losses.ANONYMOUS_LEFT_OUT: "requests with neither token nor user, left out as OTEL_USAGE_ANONYMOUS says",
    losses.TOKEN_UNIDENTIFIED: "requests whose token got no id",
    losses.VALUE_TRUNCATED: "values that were too long, and cut",
    losses.TEXT_REPLACED: "values that were no text, with replacement characters",
    losses.NUMBER_CLAMPED: "numbers beyond their column, and clamped",
    losses.NOT_A_REQUEST: "received spans that are no HTTP requests",
}
_LOSS_REMEDIES: Final = {
    losses.JOURNAL_FULL: "Raise OTEL_USAGE_JOURNAL_MAX_BYTES, or find what kept records from leaving the journal.",
    losses.WRITE_ERROR: "Check the disk of the journal: space, permissions.",
    losses.ENCODE_ERROR: "Look for otel_usage in the log of the application, and for attributes that are no text.",
    losses.TORN_LINE: "Find out what killed a process, or the machine, while it wrote a record.",
    losses.REJECTED: "Look at the lines and reasons in the journal's folder rejected.",
    losses.TOKEN_UNIDENTIFIED: "Let the applications read or make the deployment key: see OTEL_USAGE_TOKEN_KEY_FILE.",
}
_FORWARDING_REMEDIES: Final = _LOSS_REMEDIES | {
    losses.REJECTED: "Look at the application's log for what the endpoint says. Only what it refuses with 400, 413 or"
    " 422 lies in the journal's folder rejected.",
}


def _journal(settings: Settings) -> Iterator[Finding]:
    paths = StorePaths.of(settings.database)
    waiting = pending.pending(paths)
    bound = settings.journal_max_bytes
    oldest = "" if waiting.oldest is None else f", the oldest since {moment(waiting.oldest)}"
    wait = "1 record waits" if waiting.records == 1 else f"{waiting.records} records wait"
    message = f"{wait}{oldest}; {waiting.bytes} of {bound} bytes."
    if waiting.bytes * 2 >= bound:
        remedy = "See what is said of the endpoint." if _is_forwarded(settings) else "Close whatever holds the store."
        yield Finding(ATTENTION, "journal", message, f"{remedy} Then: otel-usage sync")
    else:
        yield Finding(OK, "journal", message)
    if waiting.rejected:
        lie = "1 rejected line lies" if waiting.rejected == 1 else f"{waiting.rejected} rejected lines lie"
        message = f"{lie} in {paths.rejected}."
        yield Finding(ATTENTION, "journal", message, "Look at the reasons in them; delete the files when done.")
    yield from _pending_losses(waiting)


def _leader(settings: Settings) -> Iterator[Finding]:
    paths = StorePaths.of(settings.database)
    pid = leadership.leader_pid(paths)
    forwarded = _is_forwarded(settings)
    if pid is None:
        nobody = "No process commits now; reports and otel-usage sync commit what is pending."
        yield Finding(
            OK, "leader", "No process forwards now; otel-usage sync forwards what waits." if forwarded else nobody
        )
        return
    who = leadership.process_name(pid).capitalize()
    if not forwarded and reading.is_overdue(settings, pending.pending(paths)):
        message = f"{who} leads and should have committed by now what waits."
        remedy = "See its log. Where it is stopped: kill -CONT. Where it is hung, end it: another process leads then."
        yield Finding(ATTENTION, "leader", message, remedy)
    else:
        yield Finding(OK, "leader", f"{who} {'forwards' if forwarded else 'commits'}.")
