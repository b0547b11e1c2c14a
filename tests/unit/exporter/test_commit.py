"""One turn of the commit: rows, duplicates, bad lines, losses, and files that misbehave."""

import datetime
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import duckdb
import pytest

from otel_usage.errors import StoreError
from otel_usage.exporter import commit
from otel_usage.exporter.commit import CommitSummary, commit_turn
from otel_usage.exporter.committer import drain
from otel_usage.exporter.journal import Journal
from otel_usage.exporter.losses import JOURNAL_FULL, REJECTED, TORN_LINE, VALUE_TRUNCATED
from otel_usage.exporter.paths import StorePaths
from otel_usage.exporter.store import key_check
from tests.unit.exporter.support import (
    FIRST_MICROSECOND,
    line,
    losses,
    numbers,
    paths_of,
    python,
    query,
    totals,
)


def write(folder: Path, *lines: bytes, counted: dict[str, int] | None = None) -> Path:
    """One finished segment with these lines and losses."""
    paths = paths_of(folder)
    before = set(paths.segments())
    journal = Journal(paths, max_bytes=1 << 30)
    for each in lines:
        journal.append(each)
    for reason, n in (counted or {}).items():
        journal.count(reason, n)
    journal.close()
    (path,) = set(paths.segments()) - before
    return path


def test_every_column_arrives(tmp_path: Path) -> None:
    """Text, numbers at their bounds, NULL, a map and odd characters come out as they went in."""
    big = (1 << 64) - 1
    fields = {
        "user_name": 'Zo\u00eb "\\\u0000\n',
        "span_id": big,
        "attributes": {"k": "v", "": "\u2603"},
        "sampled": False,
    }
    write(tmp_path, line(7, **fields, trace_id="0" * 31 + "f", parent_span_id=255, status_code=None))
    assert commit_turn(paths_of(tmp_path)) == CommitSummary(segments=1, lines=1, inserted=1)
    columns = "start_time, user_name, span_id, attributes, sampled, status_code, host"
    start = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=FIRST_MICROSECOND + 7000)
    assert query(tmp_path, f"SELECT {columns} FROM requests") == [
        (start, fields["user_name"], big, fields["attributes"], False, None, None)
    ]
    view = query(tmp_path, "SELECT trace_id, span_id, parent_span_id, duration_ms, is_error, day FROM usage")
    assert view == [("0" * 31 + "f", "f" * 16, "0" * 14 + "ff", 1.5, False, start.date())]


def test_is_error_of_the_view(tmp_path: Path) -> None:
    """An error is a status of 400 or more, or an error type where there is no status."""
    cases = [(399, None), (399, "X"), (400, None), (None, None), (None, "X")]
    write(tmp_path, *(line(n, status_code=s, error_type=e) for n, (s, e) in enumerate(cases)))
    commit_turn(paths_of(tmp_path))
    rows = query(tmp_path, "SELECT is_error FROM usage ORDER BY start_time")
    assert rows == [(False,), (False,), (True,), (False,), (True,)]


def test_of_copies_the_first_stays(tmp_path: Path) -> None:
    """A key is taken once: within a segment, between segments of a turn, and against the store."""
    first = write(tmp_path, line(1, path="first"), line(1, path="second"), line(2))
    os.utime(first, (1, 1))
    write(tmp_path, line(2), line(3))
    assert commit_turn(paths_of(tmp_path)) == CommitSummary(segments=2, lines=5, inserted=3, duplicate=2)
    write(tmp_path, line(1, path="third"), line(4))
    assert commit_turn(paths_of(tmp_path)) == CommitSummary(segments=1, lines=2, inserted=1, duplicate=1)
    assert numbers(tmp_path) == [1, 2, 3, 4]
    assert query(tmp_path, "SELECT path FROM requests WHERE span_id = 1") == [("first",)]
    assert totals(tmp_path) == {"lines": 7, "inserted": 4, "duplicate": 3, "rejected": 0}


def test_each_part_of_the_key_tells_rows_apart(tmp_path: Path) -> None:
    """Rows that differ in one of the four are different requests: span ids repeat where `random` is seeded."""
    same: dict[str, Any] = {"start_time": 5, "duration_ns": 5, "trace_id": "5" * 32, "span_id": 5}
    others: list[dict[str, Any]] = [{"start_time": 6}, {"duration_ns": 6}, {"trace_id": "6" * 32}, {"span_id": 6}]
    write(tmp_path, line(5, **same), *(line(5, **{**same, **other}) for other in others))
    assert commit_turn(paths_of(tmp_path)).inserted == 5


def test_duplicates_are_found_at_the_ends_of_time(tmp_path: Path) -> None:
    """Rows from the first year to the last are compared, also when their hours are many and far apart."""
    starts = [-62_135_596_800_000_000, -1, 0, 1, 253_402_300_799_999_999]
    starts += [FIRST_MICROSECOND + n * 7_200_000_001 for n in range(100)]
    lines = [line(n, start_time=start) for n, start in enumerate(starts)]
    write(tmp_path, *lines)
    assert commit_turn(paths_of(tmp_path)).inserted == len(lines)
    write(tmp_path, *lines)
    assert commit_turn(paths_of(tmp_path)).duplicate == len(lines)


def test_hours_become_few_ranges() -> None:
    """Neighbouring hours are one range; of many gaps the widest are kept, so nothing between them is read."""
    hour = 3_600_000_000
    assert commit._ranges([]) == []
    assert commit._ranges([0, hour, 2 * hour]) == [(0, 3 * hour)]
    assert commit._ranges([-9 * hour, 0, hour]) == [(-9 * hour, -8 * hour), (0, 2 * hour)]
    sparse = commit._ranges([-(10**6) * hour, *(n * 2 * hour for n in range(1000))])
    assert len(sparse) == 32
    assert sparse[0] == (-(10**6) * hour, (-(10**6) + 1) * hour)
    assert sparse[-1][1] == 1999 * hour


GARBAGE = [
    b"garbage\n",
    b"\n",
    b"\x00\x00\x00\n",
    b"\xff\xfe\n",
    b"[1]\n",
    b'{"otel_usage_segment":1,"id":"again","pid":1,"started":"","counts":{}}\n',
    b'{"start_time":1}\n',
    line(900).replace(b'"status_code":200', b'"status_code":70000'),
    line(901).replace(b'"span_id":901', b'"span_id":18446744073709551616'),
    line(902).replace(b"}", b',"path":"twice"}'),
    line(903)[:-1] + line(904),
    line(905).replace(b"}", b',"unknown":1}'),
    b'{"path":"' + b"x" * 2_000_000 + b'"}\n',
]


@pytest.mark.parametrize("bad", GARBAGE, ids=range(len(GARBAGE)))
def test_a_bad_line_neither_blocks_nor_vanishes(tmp_path: Path, bad: bytes) -> None:
    """Each kind of bad line is rejected alone, is kept with its reason, and its neighbours become rows."""
    path = write(tmp_path, line(1), bad, line(2))
    write(tmp_path, line(3))
    summary = commit_turn(paths_of(tmp_path))
    accepted_as_it_is = b'"unknown"' in bad  # strict reading passes over unknown columns
    if accepted_as_it_is:
        assert numbers(tmp_path) == [1, 2, 3, 905]
        return
    assert summary == CommitSummary(segments=2, lines=4, inserted=3, rejected=1)
    assert numbers(tmp_path) == [1, 2, 3]
    assert losses(tmp_path) == {REJECTED: 1}
    assert paths_of(tmp_path).segments() == []
    kept = paths_of(tmp_path).rejected / f"{path.stem}.jsonl"
    (entry,) = map(json.loads, kept.read_text().splitlines())
    assert entry["line_number"] == 3
    assert entry["reason"]
    assert entry["line"] == bad[: 8 * 1024].decode(errors="replace")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_the_tail_of_a_dead_writer(tmp_path: Path) -> None:
    """A last line without newline is a row if it is whole, and else a counted loss, not a rejected line."""
    torn, whole = write(tmp_path, line(1), line(2)[:-9]), write(tmp_path, line(3), line(4)[:-1])
    os.utime(torn, (1, 1))
    summary = commit_turn(paths_of(tmp_path))
    assert summary == CommitSummary(segments=2, lines=3, inserted=3, torn=1, lost=1)
    assert numbers(tmp_path) == [1, 3, 4]
    assert query(tmp_path, "SELECT reason, records, segment_id FROM losses") == [(TORN_LINE, 1, torn.stem)]
    assert whole.stem in {name for (name,) in query(tmp_path, "SELECT segment_id FROM requests")}


def test_what_a_process_counted_becomes_losses(tmp_path: Path) -> None:
    """Header counters are rows of `losses`, once, also of a segment without lines."""
    write(tmp_path, line(1), counted={JOURNAL_FULL: 7, VALUE_TRUNCATED: 2})
    write(tmp_path, counted={JOURNAL_FULL: 1})
    summary = commit_turn(paths_of(tmp_path))
    assert summary == CommitSummary(segments=2, lines=1, inserted=1, lost=8)
    assert losses(tmp_path) == {JOURNAL_FULL: 8, VALUE_TRUNCATED: 2}


def test_a_segment_left_after_its_commit_is_only_removed(tmp_path: Path) -> None:
    """A crash between commit and removal repeats nothing, neither rows nor losses nor totals."""
    path = write(tmp_path, line(1), b"bad\n", counted={JOURNAL_FULL: 1})
    copy = tmp_path / "copy"
    shutil.copy(path, copy)
    commit_turn(paths_of(tmp_path))
    before = [losses(tmp_path), totals(tmp_path), numbers(tmp_path)]
    shutil.copy(copy, path)
    assert commit_turn(paths_of(tmp_path)) == CommitSummary(segments=1)
    assert paths_of(tmp_path).segments() == []
    assert [losses(tmp_path), totals(tmp_path), numbers(tmp_path)] == before
    write(tmp_path, line(2))
    commit_turn(paths_of(tmp_path))
    assert path.stem not in {name for (name,) in query(tmp_path, "SELECT segment_id FROM journal_segments")}


def test_a_failed_transaction_leaves_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the rows do not account for the lines nothing is committed, and the next turn has it all."""
    write(tmp_path, line(1), line(2))
    with monkeypatch.context() as patch:
        patch.setattr(commit, "statement", lambda name: _without_first(name))
        with pytest.raises(StoreError, match="do not account"):
            commit_turn(paths_of(tmp_path))
    assert numbers(tmp_path) == []
    assert len(paths_of(tmp_path).segments()) == 1
    commit_turn(paths_of(tmp_path))
    assert numbers(tmp_path) == [1, 2]


def _without_first(name: str) -> str:
    from otel_usage.exporter.statements import statement

    return statement(name) + (" WHERE batch.rowid > 0" if name == "insert" else "")


def test_a_turn_is_bounded_and_drain_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn takes so many segments or bytes, at least one; drain takes turns until nothing is left."""
    from otel_usage.exporter import finished

    monkeypatch.setattr(finished, "MAX_SEGMENTS", 3)
    for number in range(8):
        write(tmp_path, line(number))
    assert commit_turn(paths_of(tmp_path)).segments == 3
    monkeypatch.setattr(finished, "MAX_BYTES", 1)
    assert commit_turn(paths_of(tmp_path)).segments == 1
    assert drain(paths_of(tmp_path)).segments == 4
    assert numbers(tmp_path) == list(range(8))


def test_a_file_that_disappears_does_not_hold_up_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment that goes between being looked at and being read is passed over."""
    gone = write(tmp_path, line(1))
    write(tmp_path, line(2))
    real = commit.workbench

    def and_remove(paths: StorePaths) -> object:
        gone.unlink()
        return real(paths)

    monkeypatch.setattr(commit, "workbench", and_remove)
    assert commit_turn(paths_of(tmp_path)).inserted == 1
    assert numbers(tmp_path) == [2]


def test_a_path_with_patterns_and_quotes(tmp_path: Path) -> None:
    """DuckDB takes the names of segments literally."""
    folder = tmp_path / "it's [a] *"
    write(folder, line(1))
    assert commit_turn(paths_of(folder)).inserted == 1
    assert numbers(folder) == [1]


def test_the_store_and_its_log_are_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that holds requests is readable by others, under the loosest umask, while a commit runs or after."""
    modes: list[int] = []
    real = commit._record

    def look(*args: object) -> None:
        real(*args)  # type: ignore[arg-type]
        modes.extend(stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir())

    monkeypatch.setattr(commit, "_record", look)
    before = os.umask(0)
    try:
        write(tmp_path, line(1))
        commit_turn(paths_of(tmp_path))
        write(tmp_path, line(2))
        commit_turn(paths_of(tmp_path))
    finally:
        os.umask(before)
    assert len(modes) >= 5
    assert set(modes) <= {0o600, 0o700}
    assert stat.S_IMODE(paths_of(tmp_path).database.stat().st_mode) == 0o600


def test_the_key_is_remembered_by_a_check_value(tmp_path: Path) -> None:
    """The first known key leaves its check value; a later, other one does not replace it."""
    for number, key in enumerate((None, b"a" * 32, b"b" * 32)):
        write(tmp_path, line(number))
        commit_turn(paths_of(tmp_path), key)
    sql = "SELECT value FROM store_info WHERE name = 'token_key_check'"
    assert query(tmp_path, sql) == [(key_check(b"a" * 32),)]


def test_nothing_to_commit_opens_nothing(tmp_path: Path) -> None:
    """Without a finished segment there is no store to make."""
    assert commit_turn(paths_of(tmp_path)) == CommitSummary()
    assert list(tmp_path.iterdir()) == []


def test_the_store_opens_in_the_oldest_duckdb(tmp_path: Path) -> None:
    """The file has the storage version of DuckDB 1.5, which later ones read too."""
    write(tmp_path, line(1))
    commit_turn(paths_of(tmp_path))
    with duckdb.connect(str(paths_of(tmp_path).database), read_only=True) as connection:
        tags = connection.execute("FROM duckdb_databases() WHERE database_name = 'usage'").fetchall()
    assert "v1.5.0" in str(tags)


def test_what_cannot_be_read_holds_up_nobody(tmp_path: Path) -> None:
    """More unreadable entries than a turn takes, all of them older, do not keep a good segment waiting."""
    journal = Journal(paths_of(tmp_path), max_bytes=1 << 30)
    for number in range(300):
        (paths_of(tmp_path).journal / f"{number:032d}.ready").mkdir(parents=True)
    journal.append(line(1))
    journal.close()
    assert drain(paths_of(tmp_path)).inserted == 1


def test_a_name_with_a_dot_is_a_segment_like_any_other(tmp_path: Path) -> None:
    """A restored or synchronised copy of a segment neither blocks the others nor makes its rows twice."""
    journal = Journal(paths_of(tmp_path), max_bytes=1 << 30)
    journal.append(line(1))
    journal.close()
    (segment,) = paths_of(tmp_path).segments()
    segment.with_name(f"{segment.stem}.conflict-1.ready").write_bytes(segment.read_bytes())
    summary = drain(paths_of(tmp_path))
    assert (summary.inserted, summary.duplicate, paths_of(tmp_path).segments()) == (1, 1, [])


MANY_ORPHANS = """
import resource, sys
from pathlib import Path
from otel_usage.exporter.committer import drain
from tests.unit.exporter.support import paths_of
resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))
print(drain(paths_of(Path(sys.argv[1]))).inserted)
"""


def test_many_segments_of_the_dead_need_few_descriptors(tmp_path: Path) -> None:
    """More orphans than a process may have files open are committed turn by turn."""
    for number in range(400):
        journal = Journal(paths_of(tmp_path), max_bytes=1 << 30)
        journal.append(line(number))
        journal.abandon()
    process = python(MANY_ORPHANS, tmp_path)
    assert process.communicate(timeout=120)[0].strip() == "400"


def test_two_leaders_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the lock file was removed amid a turn, and another leads too, one of them accounts for the segments."""
    write(tmp_path, line(1), b"garbage\n", counted={JOURNAL_FULL: 3})
    real = commit.load

    def and_lose_the_race(*arguments: Any) -> Any:
        loaded = real(*arguments)
        monkeypatch.setattr(commit, "load", real)
        assert commit_turn(paths_of(tmp_path)).inserted == 1
        return loaded

    monkeypatch.setattr(commit, "load", and_lose_the_race)
    with pytest.raises(StoreError, match="by somebody else"):
        commit_turn(paths_of(tmp_path))
    assert totals(tmp_path) == {"lines": 2, "inserted": 1, "duplicate": 0, "rejected": 1}
    assert losses(tmp_path) == {JOURNAL_FULL: 3, REJECTED: 1}
