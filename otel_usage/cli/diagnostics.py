"""What `otel-usage doctor` looks at: small checks, each giving findings. Changes nothing, commits nothing."""

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Final

from otel_usage.errors import OtelUsageError
from otel_usage.exporter import deployment_key, leadership, losses, pending, store
from otel_usage.exporter.paths import StorePaths
from otel_usage.reports import state
from otel_usage.settings import Settings

OK: Final = "ok"
NOTE: Final = "note"
ATTENTION: Final = "attention"

_PACKAGES: Final = ("otel-usage", "duckdb", "opentelemetry-sdk", "opentelemetry-instrumentation")
_FRAMEWORKS: Final = ("flask", "django", "fastapi")
_CONTRIB: Final = "opentelemetry-instrumentation"
_RELEASED_TOGETHER: Final = ("opentelemetry-util-http", "opentelemetry-distro")
_RECENT: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        status: "ok", "note" (worth knowing), or "attention".
        check: What was looked at.
        message: What was found, one line.
        remedy: What to do about it; empty where there is nothing to do.
    """

    status: str
    check: str
    message: str
    remedy: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Every finding of every check, in a fixed order."""
    return [finding for check in _CHECKS for finding in _findings(check, settings)]


def _findings(check: "_Check", settings: Settings) -> Iterator[Finding]:
    """What a check finds; that the system does not let it look is a finding too."""
    try:
        yield from check(settings)
    except OSError as error:
        message = f"{error.filename}: {error.strerror}."
        yield Finding(ATTENTION, check.__name__.strip("_"), message, "Check the path, its owner and permissions.")


def _installed(_settings: Settings) -> Iterator[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    versions = ", ".join(f"{name} {found}" for name in _PACKAGES if (found := _version(name)))
    yield Finding(OK, "installed", f"Python {python}, {versions}.")


def _frameworks(_settings: Settings) -> Iterator[Finding]:
    for name in _FRAMEWORKS:
        if (found := _version(name)) is None:
            continue
        if instrumented := _version(f"{_CONTRIB}-{name}"):
            yield Finding(OK, "framework", f"{name} {found} is instrumented by {_CONTRIB}-{name} {instrumented}.")
        else:
            remedy = f"pip install 'otel-usage[{name}]'"
            yield Finding(ATTENTION, "framework", f"{name} {found} has no OpenTelemetry instrumentation.", remedy)


def _contrib_versions(_settings: Settings) -> Iterator[Finding]:
    found = {
        name: each.version
        for each in distributions()
        if (name := (each.name or "").lower().replace("_", "-")).startswith(_CONTRIB) or name in _RELEASED_TOGETHER
    }
    if len(set(found.values())) > 1:
        listed = ", ".join(f"{name} {number}" for name, number in sorted(found.items()))
        remedy = f"pip install --upgrade {' '.join(sorted(found))}"
        yield Finding(ATTENTION, "contrib", f"Versions that are not released together: {listed}.", remedy)


def _launcher(_settings: Settings) -> Iterator[Finding]:
    beside = Path(sys.executable).with_name("opentelemetry-instrument")
    launcher = beside if beside.exists() else shutil.which(beside.name)
    if launcher is not None:
        yield Finding(OK, "launcher", f"{launcher}.")
        return
    remedy = "Activate the environment of the application, or install opentelemetry-instrumentation in it."
    yield Finding(ATTENTION, "launcher", "opentelemetry-instrument is neither beside this command nor on PATH.", remedy)


def _configuration(settings: Settings) -> Iterator[Finding]:
    for problem in settings.problems:
        yield Finding(ATTENTION, "configuration", problem, "The default is used instead.")
    if settings.sdk_disabled:
        yield Finding(ATTENTION, "configuration", "OTEL_SDK_DISABLED is true: nothing is recorded.", "Unset it.")


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
    inserted = found.info.get("inserted", "0")
    yield Finding(OK, "store", f"{settings.database} opens: {inserted} requests committed so far, {size} bytes.")
    yield from _key(settings, found)
    yield from _losses(found)


def _key(settings: Settings, found: state.State) -> Iterator[Finding]:
    known = found.info.get("token_key_check")
    key = _read_key(settings)
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


def _read_key(settings: Settings) -> bytes | None:
    if settings.token_key is not None:
        return settings.token_key
    try:
        return deployment_key.read(settings.token_key_file)
    except OSError:
        return None


def _losses(found: state.State) -> Iterator[Finding]:
    recent = datetime.now(UTC).replace(tzinfo=None) - _RECENT
    for loss in found.losses:
        lost = loss.reason in losses.LOST
        message = f"{loss.records} {loss.reason}, last noticed {loss.noticed_at:%Y-%m-%d %H:%M} UTC."
        remedy = _LOSS_REMEDIES.get(loss.reason, "") if lost else ""
        yield Finding(ATTENTION if lost and loss.noticed_at >= recent else NOTE, "losses", message, remedy)


_LOSS_REMEDIES: Final = {
    losses.JOURNAL_FULL: "Raise OTEL_USAGE_JOURNAL_MAX_BYTES, or find what kept the store from being committed to.",
    losses.WRITE_ERROR: "Check the disk of the journal: space, permissions.",
    losses.ENCODE_ERROR: "Look for otel_usage in the log of the application.",
    losses.TORN_LINE: "A process or machine died while it wrote a record.",
    losses.REJECTED: "The lines and reasons are in the journal's folder rejected.",
}


def _journal(settings: Settings) -> Iterator[Finding]:
    paths = StorePaths.of(settings.database)
    waiting = pending.pending(paths)
    bound = settings.journal_max_bytes
    oldest = "" if waiting.oldest is None else f", the oldest since {_time(waiting.oldest)}"
    message = f"{waiting.records} records wait{oldest}; {waiting.bytes} of {bound} bytes."
    if waiting.bytes * 2 >= bound:
        yield Finding(ATTENTION, "journal", message, "Close whatever holds the store; then: otel-usage sync")
    else:
        yield Finding(OK, "journal", message)
    if waiting.lost:
        message = f"{waiting.lost} records were lost and are not in the store's count yet."
        yield Finding(ATTENTION, "journal", message, "otel-usage sync, then otel-usage doctor, says why.")
    if waiting.rejected:
        message = f"{waiting.rejected} rejected lines lie in {paths.rejected}."
        yield Finding(ATTENTION, "journal", message, "Look at the reasons in them; delete the files when done.")


def _leader(settings: Settings) -> Iterator[Finding]:
    pid = leadership.leader_pid(StorePaths.of(settings.database))
    if pid is None:
        yield Finding(OK, "leader", "No process commits now; reports and otel-usage sync commit what is pending.")
    else:
        yield Finding(OK, "leader", f"Process {pid} commits every {settings.commit_interval_seconds:g} seconds.")


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


_Check = Callable[[Settings], Iterator[Finding]]
_CHECKS: Final[tuple[_Check, ...]] = (
    _installed,
    _frameworks,
    _contrib_versions,
    _launcher,
    _configuration,
    _store,
    _journal,
    _leader,
)
