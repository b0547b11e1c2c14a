"""The store beside other processes: held by a person, read while it is written, missing, foreign or newer."""

import logging
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb
import pytest

from otel_usage.errors import SchemaVersionError, StoreCorruptError, StoreLockedError, StoreMissingError
from otel_usage.exporter.commit import commit_turn
from otel_usage.exporter.journal import Journal
from otel_usage.exporter.leadership import Leadership, leader_pid
from otel_usage.exporter.pending import Pending, pending
from otel_usage.exporter.reading import prepare_to_read, sync, uncommitted
from otel_usage.exporter.recorder import Recorder
from otel_usage.exporter.store import connect_read_only
from tests.unit.exporter.support import (
    finish,
    line,
    numbers,
    paths_of,
    python,
    record,
    settings_of,
    wait_until,
)

HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "read")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(path: Path, how: str = "write") -> Iterator["subprocess.Popen[str]"]:
    """Another process has the store open."""
    process = python(HOLD, path, how)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n", process.communicate()
    try:
        yield process
    finally:
        finish(process)


def prepared(folder: Path) -> Pending:
    """What is not committed after a reader has prepared."""
    settings = settings_of(folder)
    prepare_to_read(settings, announce=print)
    with connect_read_only(settings.database) as connection:
        return uncommitted(connection, settings)


def committed(folder: Path, *numbers: int) -> None:
    """Put these records into the store."""
    write(folder, *numbers)
    commit_turn(paths_of(folder))


def write(folder: Path, *numbers: int) -> None:
    """Put these records into a finished segment."""
    journal = Journal(paths_of(folder), max_bytes=1 << 30)
    for number in numbers:
        journal.append(line(number))
    journal.close()


@pytest.mark.parametrize("how", ["read", "write"])
def test_a_commit_says_who_holds_the_store(tmp_path: Path, how: str) -> None:
    """Whoever has the store open is named, and the segments stay for the next turn."""
    committed(tmp_path, 1)
    write(tmp_path, 2)
    with held(paths_of(tmp_path).database, how) as process:
        with pytest.raises(StoreLockedError, match=rf"python\S* \(PID {process.pid}\)"):
            commit_turn(paths_of(tmp_path))
        assert pending(paths_of(tmp_path)).records == 1
    commit_turn(paths_of(tmp_path))
    assert numbers(tmp_path) == [1, 2]


def test_an_application_outlives_a_person_who_holds_the_store(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While the store is held records wait, which is logged once; afterwards they are committed by themselves."""
    caplog.set_level(logging.WARNING, "otel_usage")
    committed(tmp_path, 0)
    recorder = Recorder(settings_of(tmp_path, interval=0.1))
    with held(paths_of(tmp_path).database) as process:
        for number in range(1, 20):
            recorder.write(record(number))
            assert recorder.force_flush(20_000)
        assert pending(paths_of(tmp_path)).records == 19
        (message,) = caplog.messages
        assert f"PID {process.pid}" in message
    wait_until(lambda: not pending(paths_of(tmp_path)).records)
    recorder.shutdown()
    assert numbers(tmp_path) == list(range(20))


def test_a_reader_waits_for_a_writer(tmp_path: Path) -> None:
    """A reader says whom it waits for and gets in once it may."""
    committed(tmp_path, 1)
    process = python(HOLD, paths_of(tmp_path).database, "write")
    assert process.stdout is not None
    process.stdout.readline()
    said: list[str] = []

    def on_wait(message: str) -> None:
        said.append(message)
        finish(process)

    with connect_read_only(paths_of(tmp_path).database, wait_seconds=30, on_wait=on_wait) as connection:
        assert connection.execute("SELECT count(*) FROM usage").fetchone() == (1,)
    (message,) = said
    assert f"PID {process.pid}" in message


def test_a_reader_gives_up_and_says_who(tmp_path: Path) -> None:
    """After the bound the error names the holder."""
    committed(tmp_path, 1)
    with (
        held(paths_of(tmp_path).database) as process,
        pytest.raises(StoreLockedError, match=f"PID {process.pid}"),
    ):
        connect_read_only(paths_of(tmp_path).database, wait_seconds=0.05)


def test_a_reader_reads_and_nothing_else(tmp_path: Path) -> None:
    """SQL of a reader changes nothing, and reaches other files only if it was allowed to."""
    committed(tmp_path, 1)
    export = f"COPY requests TO '{tmp_path}/copy.parquet'"
    with connect_read_only(paths_of(tmp_path).database) as connection:
        for sql in ("DELETE FROM requests", export, "FROM read_text('/etc/hostname')", "INSTALL spatial"):
            with pytest.raises(duckdb.Error):
                connection.execute(sql)
    with connect_read_only(paths_of(tmp_path).database, external_access=True) as connection:
        connection.execute(export)
    assert (tmp_path / "copy.parquet").exists()


def test_nothing_there_makes_nothing(tmp_path: Path) -> None:
    """Reading a store that is not there fails and leaves the folder empty."""
    settings = settings_of(tmp_path)
    with pytest.raises(StoreMissingError):
        connect_read_only(settings.database)
    with pytest.raises(StoreMissingError):
        prepare_to_read(settings, announce=print)
    with pytest.raises(StoreMissingError):
        sync(settings, timeout_seconds=1, progress=lambda done, total: None)
    assert list(tmp_path.iterdir()) == []


def _text(path: Path) -> None:
    path.write_text("not a database")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _foreign(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE schema_migrations (version INTEGER)")


def _foreign_log(path: Path) -> None:
    committed(path.parent, 1)
    with duckdb.connect(str(path.parent / "other.duckdb")) as connection:
        connection.execute("CREATE TABLE t (i INTEGER)")
        shutil.copy(path.parent / "other.duckdb.wal", f"{path}.wal")


@pytest.mark.parametrize("make", [_text, _empty, _foreign, _foreign_log])
def test_what_is_no_store_of_ours_is_left_alone(tmp_path: Path, make: object) -> None:
    """Another file, another DuckDB, another's log: both reader and leader refuse, and change nothing."""
    paths = paths_of(tmp_path)
    make(paths.database)  # type: ignore[operator]
    before = paths.database.read_bytes()
    write(tmp_path, 2)
    with pytest.raises(StoreCorruptError):
        connect_read_only(paths.database)
    with pytest.raises(StoreCorruptError):
        commit_turn(paths)
    assert paths.database.read_bytes() == before
    assert pending(paths).records == 1


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    """A schema this program does not know is neither read nor written, and the remedy is said."""
    committed(tmp_path, 1)
    with duckdb.connect(str(paths_of(tmp_path).database)) as connection:
        connection.execute("INSERT INTO schema_migrations VALUES (9999, 'later', now())")
    write(tmp_path, 2)
    with pytest.raises(SchemaVersionError, match="pip install --upgrade otel-usage"):
        connect_read_only(paths_of(tmp_path).database)
    with pytest.raises(SchemaVersionError):
        commit_turn(paths_of(tmp_path))


def test_a_file_of_an_earlier_schema_is_migrated(tmp_path: Path) -> None:
    """An empty DuckDB file, as a curious person leaves it, becomes a store."""
    duckdb.connect(str(paths_of(tmp_path).database)).close()
    committed(tmp_path, 1)
    assert numbers(tmp_path) == [1]


def test_a_log_without_its_store_is_set_aside(tmp_path: Path) -> None:
    """Where someone removed the store and left its log, a new store begins."""
    paths = paths_of(tmp_path)
    paths.write_ahead_log.write_bytes(b"of another store")
    committed(tmp_path, 1)
    assert numbers(tmp_path) == [1]
    assert Path(f"{paths.write_ahead_log}.orphaned").read_bytes() == b"of another store"


def test_reading_commits_what_nobody_else_will(tmp_path: Path) -> None:
    """Segments of processes that are gone are committed by the reader, which then leads no more."""
    write(tmp_path, 1)
    journal = Journal(paths_of(tmp_path), max_bytes=1 << 30)
    journal.append(line(2))
    journal.abandon()
    assert prepared(tmp_path).records == 0
    assert numbers(tmp_path) == [1, 2]
    assert leader_pid(paths_of(tmp_path)) is None


LEAD = """
import sys
from pathlib import Path
from otel_usage.exporter.leadership import Leadership
from tests.unit.exporter.support import paths_of
leadership = Leadership(paths_of(Path(sys.argv[1])))
print(leadership.try_acquire(), flush=True)
sys.stdin.read()
"""


@contextmanager
def led(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process leads and commits nothing."""
    process = python(LEAD, folder)
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    try:
        yield process
    finally:
        finish(process)


def test_reading_leaves_the_commit_to_a_living_leader(tmp_path: Path) -> None:
    """Where a leader lives the reader does not wait for it, and says what is not committed."""
    committed(tmp_path, 1)
    write(tmp_path, 2, 3)
    with led(tmp_path) as process:
        assert leader_pid(paths_of(tmp_path)) == process.pid
        assert not Leadership(paths_of(tmp_path)).try_acquire()
        left = prepared(tmp_path)
        assert (left.records, left.segments, left.lost) == (2, 1, 0)
        assert left.oldest is not None
        result = sync(settings_of(tmp_path), timeout_seconds=0.2, progress=lambda done, total: None)
        assert (result.records, result.remaining) == (2, 2)
    assert leader_pid(paths_of(tmp_path)) is None
    assert prepared(tmp_path).records == 0


def test_the_leader_knows_itself(tmp_path: Path) -> None:
    """Asking who leads does not end the leadership of the process that asks, nor does a second asker get it."""
    leadership = Leadership(paths_of(tmp_path))
    assert leader_pid(paths_of(tmp_path)) is None
    assert leadership.try_acquire()
    assert leadership.try_acquire()
    assert leader_pid(paths_of(tmp_path)) == os.getpid()
    assert not Leadership(paths_of(tmp_path)).try_acquire()
    process = python(LEAD, tmp_path)
    assert finish(process) == "False\n"
    leadership.release()
    assert leader_pid(paths_of(tmp_path)) is None


def test_a_removed_lock_file_ends_leadership(tmp_path: Path) -> None:
    """A lock on a file that is no longer there keeps nobody out, so it is taken anew."""
    leadership = Leadership(paths_of(tmp_path))
    assert leadership.try_acquire()
    paths_of(tmp_path).lock.unlink()
    with led(tmp_path):
        assert not leadership.try_acquire()
    assert leadership.try_acquire()


def test_a_forked_child_does_not_lead(tmp_path: Path) -> None:
    """A child has no part in its parent's lock, and whatever it does leaves the parent the leader."""
    leadership = Leadership(paths_of(tmp_path))
    assert leadership.try_acquire()
    if (child := os.fork()) == 0:
        seen = [leader_pid(paths_of(tmp_path)) == os.getppid(), not leadership.try_acquire()]
        leadership.release()
        os._exit(0 if all(seen) else 1)
    assert os.waitpid(child, 0)[1] == 0
    process = python(LEAD, tmp_path)
    assert finish(process) == "False\n"
    leadership.release()


def test_reading_waits_for_the_first_commit(tmp_path: Path) -> None:
    """Where a living leader has not yet made the store, the reader waits for it and says so."""
    write(tmp_path, 1)
    said: list[str] = []
    with led(tmp_path) as process:

        def end(message: str) -> None:
            said.append(message)
            process.stdin.close()  # type: ignore[union-attr]
            process.stdin = None

        prepare_to_read(settings_of(tmp_path), announce=end)
    assert len(said) == 1
    assert numbers(tmp_path) == [1]


def test_sync_waits_for_what_was_written_before_it(tmp_path: Path) -> None:
    """Sync returns once everything written before is committed, and says how it went on."""
    recorder = Recorder(settings_of(tmp_path, interval=0.2))
    for number in range(50):
        recorder.write(record(number))
    steps: list[tuple[int, int]] = []
    result = sync(settings_of(tmp_path), timeout_seconds=30, progress=lambda done, total: steps.append((done, total)))
    recorder.shutdown()
    assert result.records in (0, 50)
    assert result.remaining == 0
    assert steps[-1] == (result.records, result.records)
    assert numbers(tmp_path) == list(range(50))


WRITER = """
import itertools, sys
from pathlib import Path
from otel_usage.exporter.recorder import Recorder
from tests.unit.exporter.support import record, settings_of
recorder = Recorder(settings_of(Path(sys.argv[1]), interval=0.1))
stop = False
import threading
def wait():
    global stop
    sys.stdin.read()
    stop = True
threading.Thread(target=wait).start()
first = int(sys.argv[2])
for number in itertools.count(first):
    if stop:
        break
    recorder.write(record(number))
    if number % 10 == 0:
        threading.Event().wait(0.01)
print(number - first)
"""


def test_a_hundred_reads_while_writers_commit(tmp_path: Path) -> None:
    """Every read gets in while processes write and commit, and sees a store that only grows."""
    committed(tmp_path, 0)
    writers = [python(WRITER, tmp_path, n * 10**9) for n in (1, 2, 3)]
    wait_until(lambda: leader_pid(paths_of(tmp_path)))
    seen = [0]
    for _ in range(100):
        prepare_to_read(settings_of(tmp_path, interval=0.1), announce=print)
        with connect_read_only(paths_of(tmp_path).database) as connection:
            (count,) = connection.execute("SELECT count(*) FROM usage").fetchone() or (-1,)
        assert count >= seen[-1]
        seen.append(count)
    written = sum(int(finish(writer)) for writer in writers)
    assert prepared(tmp_path).records == 0
    assert len(numbers(tmp_path)) == written + 1
    assert len(set(seen)) > 5


def test_reader_and_leader_in_one_process(tmp_path: Path) -> None:
    """An application that reads its own store while its thread commits waits like any other reader."""
    recorder = Recorder(settings_of(tmp_path, interval=0.1))
    recorder.write(record(0))
    assert recorder.force_flush(20_000)
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            with closing(connect_read_only(paths_of(tmp_path).database, wait_seconds=20)) as connection:
                connection.execute("SELECT count(*) FROM usage").fetchall()

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 30):
        recorder.write(record(number))
        recorder.force_flush(20_000)
    stop.set()
    reader.join()
    recorder.shutdown()
    prepare_to_read(settings_of(tmp_path), announce=print)
    assert numbers(tmp_path) == list(range(30))


def test_committed_segments_that_are_still_there_count_once(tmp_path: Path) -> None:
    """A segment whose file outlives its commit for a moment is not uncommitted."""
    write(tmp_path, 1, 2)
    (segment,) = paths_of(tmp_path).segments()
    content = segment.read_bytes()
    committed(tmp_path, 3)
    segment.write_bytes(content)
    assert pending(paths_of(tmp_path)).records == 2
    settings = settings_of(tmp_path)
    with connect_read_only(settings.database) as connection:
        assert uncommitted(connection, settings).records == 0


def test_sync_of_what_is_no_store(tmp_path: Path) -> None:
    """`sync` does not answer for a file that no record can be in."""
    settings_of(tmp_path).database.write_bytes(b"not a database, but of some length")
    with pytest.raises(StoreCorruptError):
        sync(settings_of(tmp_path), timeout_seconds=1, progress=lambda done, total: None)


def test_an_empty_database_is_no_store_yet(tmp_path: Path) -> None:
    """A file that a shell made before the first commit is told apart from somebody else's."""
    duckdb.connect(str(settings_of(tmp_path).database)).close()
    with pytest.raises(StoreMissingError, match="empty"):
        connect_read_only(settings_of(tmp_path).database)
