"""What doctor finds, each fault made for real."""

import os
import re
import sys
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path

import duckdb
import pytest

from otel_usage import settings
from otel_usage.cli import diagnostics
from otel_usage.cli.diagnostics import ATTENTION, NOTE, OK, Finding, probe
from otel_usage.cli.diagnostics.store import _MEANINGS
from otel_usage.exporter.committer import drain
from otel_usage.exporter.journal import Journal
from otel_usage.exporter.losses import LOST, REASONS
from otel_usage.exporter.paths import StorePaths
from otel_usage.exporter.store import key_check
from tests.golden import store

KEY = "k" * 32


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The little store, without its losses."""
    path = store.make(tmp_path / "usage.duckdb")
    change(path, "DELETE FROM losses")
    return path


def change(database: Path, statement: str, *values: object) -> None:
    with duckdb.connect(str(database)) as connection:
        connection.execute(statement, list(values))


def examine(database: Path, check: str, **environ: str) -> list[Finding]:
    chosen = settings.load(environ, strict=False, database=database)
    return [finding for finding in diagnostics.examine(chosen) if finding.check == check]


def install(folder: Path, **versions: str) -> None:
    """Put the metadata of distributions into a folder, as pip would."""
    for name, version in versions.items():
        metadata = folder / f"{name}-{version}.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n")


def test_a_framework_without_instrumentation_is_named_with_the_pip_line(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instrumented one is fine; one that is not installed is not mentioned."""
    install(tmp_path, pip="26.1", flask="3.1", django="5.2", opentelemetry_instrumentation_django="0.66b1")
    monkeypatch.setattr(probe, "distributions", lambda: distributions(path=[str(tmp_path)]))
    found = examine(database, "framework")
    assert [(each.status, each.message.split()[0], each.remedy) for each in found] == [
        (OK, "django", ""),
        (ATTENTION, "flask", f"{sys.executable} -m pip install 'otel-usage[flask]'"),
    ]


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ({"aiohttp": "3.14", "tornado": "6.5"}, [(NOTE, "aiohttp"), (NOTE, "tornado")]),
        ({"fastapi": "0.115.0", "starlette": "1.0"}, [(ATTENTION, "fastapi")]),
        ({"fastapi": "0.142.0", "starlette": "1.0"}, [(OK, "fastapi")]),
        ({"starlette": "1.0"}, [(NOTE, "starlette")]),
        ({"quart": "0.22", "Bottle": "0.13"}, [(OK, "bottle"), (OK, "quart")]),
    ],
    ids=str,
)
def test_what_only_other_packages_may_need_is_noted(
    database: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    versions: dict[str, str],
    expected: list[tuple[str, str]],
) -> None:
    """A framework without instrumentation needs attention, unless it may be there for another, or needs none."""
    install(tmp_path, **versions)
    monkeypatch.setattr(probe, "distributions", lambda: distributions(path=[str(tmp_path)]))
    assert [(each.status, each.message.split()[0]) for each in examine(database, "framework")] == expected


def test_a_disabled_instrumentation_is_found(database: Path) -> None:
    """By its own name or by the star that stands for all."""
    for value in ("flask", "django , flask", "*"):
        found = diagnostics.examine(
            settings.load({}, strict=False, database=database), {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": value}
        )
        (flask,) = [each for each in found if each.message.startswith("flask ")]
        assert (flask.status, "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS" in flask.message) == (ATTENTION, True)


def test_mixed_contrib_versions_are_found(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The contrib packages are released together and work together only so."""
    install(tmp_path, opentelemetry_instrumentation="0.66b1", opentelemetry_util_http="0.63b0")
    monkeypatch.setattr(probe, "distributions", lambda: distributions(path=[str(tmp_path)]))
    (found,) = examine(database, "contrib")
    assert found.status == ATTENTION
    packages = "opentelemetry-instrumentation opentelemetry-util-http"
    assert found.remedy == f"uv pip install --python {sys.executable} --upgrade {packages}"


@pytest.mark.parametrize(("there", "status"), [(True, OK), (False, ATTENTION)])
def test_the_launcher_is_looked_for_on_path(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool, status: str
) -> None:
    """Without it nothing is instrumented."""
    launcher = tmp_path / "opentelemetry-instrument"
    if there:
        launcher.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "elsewhere" / "python"))
    assert [each.status for each in examine(database, "launcher")] == [status]


def test_a_good_store_is_fine(database: Path) -> None:
    """It opens, nobody leads, nothing waits."""
    assert [each.status for each in examine(database, "store")] == [OK]
    assert [each.message[:13] for each in examine(database, "journal")] == ["0 records wai"]
    assert examine(database, "leader")[0].message.startswith("No process commits")
    assert examine(database, "losses") == examine(database, "configuration") == []


@pytest.mark.parametrize("content", [None, b"garbage" * 1000])
def test_a_store_that_does_not_open_needs_attention(tmp_path: Path, content: bytes | None) -> None:
    """Missing or damaged; doctor makes nothing."""
    database = tmp_path / "usage.duckdb"
    if content is not None:
        database.write_bytes(content)
    before = list(tmp_path.iterdir())
    (found,) = examine(database, "store")
    assert found.status == ATTENTION and str(database) in found.message and found.remedy
    assert list(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("environ", "status"),
    [({"OTEL_USAGE_TOKEN_KEY": KEY}, OK), ({"OTEL_USAGE_TOKEN_KEY": "x" * 32}, ATTENTION), ({}, NOTE)],
)
def test_another_deployment_key_is_found(database: Path, environ: dict[str, str], status: str) -> None:
    """The store tells keys apart; a key that cannot be read is only noted. No key is ever shown."""
    change(database, "INSERT INTO store_info VALUES ('token_key_check', ?)", key_check(KEY.encode()))
    (found,) = examine(database, "key", **environ)
    assert found.status == status
    assert KEY not in found.message and "x" * 32 not in found.message


def test_the_key_file_is_read_without_its_last_newline(database: Path) -> None:
    """As the exporter reads it."""
    change(database, "INSERT INTO store_info VALUES ('token_key_check', ?)", key_check(KEY.encode()))
    Path(f"{database}.key").write_text(f"{KEY}\n")
    assert [each.status for each in examine(database, "key")] == [OK]


@pytest.mark.parametrize(
    ("reason", "noticed_at", "status"),
    [
        ("journal_full", datetime.now(UTC).replace(tzinfo=None), ATTENTION),
        ("journal_full", datetime(2020, 1, 1), NOTE),
        ("anonymous_left_out", datetime.now(UTC).replace(tzinfo=None), NOTE),
    ],
)
def test_what_was_lost_lately_needs_attention(database: Path, reason: str, noticed_at: datetime, status: str) -> None:
    """Old losses and what is left out on purpose are noted."""
    change(database, "INSERT INTO losses VALUES (?, 7, ?, NULL, NULL)", noticed_at, reason)
    (found,) = examine(database, "losses")
    assert (found.status, found.message.split(" (")[0]) == (status, f"7 {reason}")


@pytest.mark.parametrize(
    ("reason", "status", "has_remedy"),
    [
        *((reason, ATTENTION, True) for reason in sorted(LOST)),
        ("token_unidentified", NOTE, True),
        ("value_truncated", NOTE, False),
    ],
)
def test_every_loss_has_its_reason_time_and_remedy(database: Path, reason: str, status: str, has_remedy: bool) -> None:
    """While the journal alone knows of it, and once the store does."""
    journal = Journal(StorePaths.of(database), max_bytes=1 << 30)
    journal.count(reason, 5)
    journal.close()
    (found,) = examine(database, "losses")
    assert found.status == status and bool(found.remedy) == has_remedy
    assert re.match(rf"5 {reason} \([^)]+\), since {datetime.now(UTC):%Y}", found.message)
    drain(StorePaths.of(database))
    (stored,) = examine(database, "losses")
    assert (stored.status, stored.remedy) == (status, found.remedy)
    assert re.match(rf"5 {reason} \([^)]+\), last noticed {datetime.now(UTC):%Y}", stored.message)


def test_a_reason_of_another_version(database: Path) -> None:
    """What it means is not known here; it is told all the same."""
    change(database, "INSERT INTO losses VALUES (now()::TIMESTAMP, 7, 'eaten', NULL, NULL)")
    (found,) = examine(database, "losses")
    assert found.message.startswith("7 eaten, last noticed ")


def test_every_reason_has_a_meaning() -> None:
    """A name is for whoever queries the store, not for whoever reads this."""
    assert _MEANINGS.keys() == set(REASONS)


def test_a_journal_half_full_needs_attention(database: Path) -> None:
    """Long before records are dropped."""
    journal = Journal(StorePaths.of(database), max_bytes=1 << 30)
    journal.append(b"x" * (600 * 1024) + b"\n")
    try:
        (found,) = examine(database, "journal", OTEL_USAGE_JOURNAL_MAX_BYTES=str(1 << 20))
    finally:
        journal.close()
    assert found.status == ATTENTION and found.message.startswith("1 record waits, the oldest since 20")


def test_rejected_lines_and_where_they_lie_are_said(database: Path) -> None:
    """So that a person can look at them."""
    rejected = StorePaths.of(database).rejected
    rejected.mkdir(parents=True)
    (rejected / "one.jsonl").write_text("{}\n{}\n")
    found = examine(database, "journal")
    assert found[-1].status == ATTENTION and found[-1].message == f"2 rejected lines lie in {rejected}."
    (rejected / "one.jsonl").write_text("{}\n")
    assert examine(database, "journal")[-1].message == f"1 rejected line lies in {rejected}."


def test_what_the_system_refuses_is_a_finding(tmp_path: Path) -> None:
    """A path through a file is no path; doctor goes on all the same."""
    (tmp_path / "file").touch()
    (found,) = examine(tmp_path / "file" / "usage.duckdb", "journal")
    assert found.status == ATTENTION and "Not a directory" in found.message


def test_bad_settings_are_found(database: Path) -> None:
    """Every problem that an application would only log, and a switch that turns all off."""
    found = examine(database, "configuration", OTEL_USAGE_PRIVACY_LEVEL="9", OTEL_SDK_DISABLED="true")
    assert [each.status for each in found] == [ATTENTION, ATTENTION]
    assert "OTEL_USAGE_PRIVACY_LEVEL" in found[0].message


def test_the_leader_is_named(database: Path) -> None:
    """By the process that holds the lock."""
    from otel_usage.exporter.leadership import Leadership

    leadership = Leadership(StorePaths.of(database))
    assert leadership.try_acquire()
    try:
        (found,) = examine(database, "leader")
    finally:
        leadership.release()
    assert found.message.startswith(f"Process {os.getpid()} commits")
