"""Rows are taken out by their keys, exactly those, beside a living leader, and counted."""

import os
import sys
from pathlib import Path

import pytest

from otel_usage.errors import StoreError, StoreLockedError, StoreMissingError
from otel_usage.exporter import removal, store, trial
from otel_usage.exporter.committer import drain
from otel_usage.exporter.journal import Journal
from otel_usage.exporter.removal import RowKey, remove
from tests.unit.exporter.support import finish, line, numbers, paths_of, python, query, record, totals, wait_until

LEADER = """
import sys
from pathlib import Path
from otel_usage.exporter.recorder import Recorder
from tests.unit.exporter.support import record, settings_of
recorder = Recorder(settings_of(Path(sys.argv[1]), interval=0.1))
for number, _ in enumerate(sys.stdin):
    recorder.write(record(1000 + number))
    print(number, flush=True)
recorder.shutdown()
"""


def key_of(number: int, **fields: object) -> RowKey:
    made = record(number, **fields)
    return RowKey(made.start_time, made.duration_ns, made.trace_id, made.span_id)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a store with the rows 1 to 9."""
    commit(tmp_path, *map(line, range(1, 10)))
    return tmp_path


def commit(folder: Path, *lines: bytes) -> None:
    journal = Journal(paths_of(folder), max_bytes=1 << 30)
    for each in lines:
        journal.append(each)
    journal.close()
    drain(paths_of(folder))


def removed(folder: Path) -> int:
    rows = query(folder, "SELECT value::BIGINT FROM store_info WHERE name = 'removed'")
    return sum(number for (number,) in rows)


def test_a_row_goes_by_its_whole_key(folder: Path) -> None:
    """One that differs in any part of the key stays."""
    key = key_of(3)
    others = [
        key._replace(start_time=key.start_time + 1),
        key._replace(duration_ns=key.duration_ns + 1),
        key._replace(trace_id="f" * 32),
        key._replace(span_id=4),
    ]
    assert remove(paths_of(folder), others, wait_seconds=1) == 0
    assert numbers(folder) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert remove(paths_of(folder), [key, key_of(7)], wait_seconds=1) == 2
    assert numbers(folder) == [1, 2, 4, 5, 6, 8, 9]


def test_rows_are_those_inserted_less_those_removed(folder: Path) -> None:
    """The totals of all commits stay as they were; what was removed is counted beside them."""
    before = totals(folder)
    for number in (1, 2, 2):
        remove(paths_of(folder), [key_of(number)], wait_seconds=1)
    assert totals(folder) == before
    assert removed(folder) == 2
    assert len(numbers(folder)) == before["inserted"] - removed(folder)


def test_nothing_is_opened_for_nothing(tmp_path: Path) -> None:
    """Without keys there is nothing to do, and nothing is made."""
    assert remove(paths_of(tmp_path), [], wait_seconds=0) == 0
    with pytest.raises(StoreMissingError):
        remove(paths_of(tmp_path), [key_of(1)], wait_seconds=0)
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_somebody_reads(folder: Path) -> None:
    """It is waited for, and then said who holds it."""
    reader = python(
        "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True); print(1, flush=True); input()",
        folder / "usage.duckdb",
    )
    assert reader.stdout is not None
    reader.stdout.readline()
    with pytest.raises(StoreLockedError, match="held by"):
        remove(paths_of(folder), [key_of(1)], wait_seconds=0.1)
    finish(reader, "\n")
    assert remove(paths_of(folder), [key_of(1)], wait_seconds=1) == 1


def test_a_store_of_another_user(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left alone: DuckDB's log beside it would be ours, should we be killed."""
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(StoreError, match="another user"):
        remove(paths_of(folder), [key_of(1)], wait_seconds=0)
    assert len(numbers(folder)) == 9


def test_beside_a_leader_that_commits_without_pause(folder: Path) -> None:
    """Every row that is to stay stays, each that is to go goes, and no commit fails for it."""
    leader = python(LEADER, folder, cwd=Path.cwd(), env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert leader.stdin is not None
    assert leader.stdout is not None
    gone = []
    for number in range(40):
        leader.stdin.write("\n")
        leader.stdin.flush()
        leader.stdout.readline()
        if number % 10 == 5:
            key = key_of(1000 + number)
            wait_until(lambda key=key: seen(folder, key))
            assert remove(paths_of(folder), [key], wait_seconds=10) == 1
            gone.append(1000 + number)
    finish(leader, "")
    drain(paths_of(folder))
    assert numbers(folder) == [*range(1, 10), *(n for n in range(1000, 1040) if n not in gone)]
    assert totals(folder)["inserted"] == 49
    assert removed(folder) == len(gone) == 4


def seen(folder: Path, key: RowKey) -> bool:
    with store.connect_read_only(folder / "usage.duckdb") as connection:
        return removal.find(connection, key) is not None


def test_rows_of_trial_requests_that_nobody_waits_for(tmp_path: Path) -> None:
    """Known by service, path and duration, once their time is over; an application's own rows are not among them."""
    path = "/.otel-usage/doctor/{}/x"
    marks = {"service_name": trial.SERVICE_NAME, "duration_ns": 1_000_000}
    rows = [
        line(1, path=path.format(500), **marks),
        line(2, path=path.format(1500), **marks),
        line(3, path=path.format("later"), **marks),
        line(4, path="/doctor/500/x", **marks),
        line(5, path=path.format(500), service_name="portal", duration_ns=1_000_000),
        line(6, path=path.format(500), service_name=trial.SERVICE_NAME, duration_ns=7),
    ]
    commit(tmp_path, *rows)
    with store.connect_read_only(tmp_path / "usage.duckdb") as connection:
        late = trial.left_behind(connection, 1000.5)
    assert late == [key_of(1, **marks)]
    assert remove(paths_of(tmp_path), late, wait_seconds=1) == 1
    assert numbers(tmp_path) == [2, 3, 4, 5, 6]


def test_a_trial_request_in_the_journal(tmp_path: Path) -> None:
    """Its line is found while it waits, also among others, and not once it is committed."""
    one = trial.Trial.new(5, token=None)
    journal = Journal(paths_of(tmp_path), max_bytes=1 << 30)
    journal.append(line(1))
    assert one.journal_line(paths_of(tmp_path)) is None
    mine = line(2, trace_id=one.key.trace_id)
    journal.append(mine)
    journal.append(line(3))
    assert one.journal_line(paths_of(tmp_path)) == mine.removesuffix(b"\n")
    journal.close()
    drain(paths_of(tmp_path))
    assert one.journal_line(paths_of(tmp_path)) is None
