"""The journal: segments, counters, rotation, the bound, forks, full disks."""

import json
import logging
import os
import stat
from pathlib import Path

import pytest

from otel_usage.exporter.finished import finished_segments, inspect
from otel_usage.exporter.journal import Journal
from otel_usage.exporter.losses import JOURNAL_FULL, REASONS, VALUE_TRUNCATED, WRITE_ERROR
from otel_usage.exporter.segment import Segment
from tests.unit.exporter.support import finish, line, paths_of, python


def journal_of(folder: Path, **options: int) -> Journal:
    return Journal(paths_of(folder), **{"max_bytes": 1 << 30, **options})


def only_segment(folder: Path) -> Path:
    (path,) = paths_of(folder).segments()
    return path


def counts(path: Path) -> dict[str, int]:
    header = inspect(path).header
    assert header is not None
    return {reason: n for reason, n in header.counts.items() if n}


def test_a_line_is_in_the_file_when_append_returns(tmp_path: Path) -> None:
    """Nothing waits in memory: what append took is readable by others at once."""
    journal = journal_of(tmp_path)
    journal.append(line(1))
    journal.append(line(2))
    lines = only_segment(tmp_path).read_bytes().splitlines(keepends=True)
    assert lines[1:] == [line(1), line(2)]
    assert json.loads(lines[0])["otel_usage_segment"] == 1
    assert json.loads(lines[0])["pid"] == os.getpid()
    assert tuple(json.loads(lines[0])["counts"]) == REASONS


def test_files_belong_to_their_user_alone(tmp_path: Path) -> None:
    """Segments are 0600 and folders 0700 under any umask, also those above that had to be made."""
    folder = tmp_path / "new" / "newer"
    before = os.umask(0)
    try:
        journal_of(folder).append(line(1))
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, paths_of(folder).journal)]
    assert modes == [0o700, 0o700]
    assert stat.S_IMODE(only_segment(folder).stat().st_mode) == 0o600


def test_counting_does_not_move_lines(tmp_path: Path) -> None:
    """The header has the same width whatever it counts, and lines stay whole around it."""
    journal = journal_of(tmp_path)
    journal.append(line(1))
    size = only_segment(tmp_path).stat().st_size
    for n in (1, 10**6, 10**9):
        journal.count(VALUE_TRUNCATED, n)
    assert only_segment(tmp_path).stat().st_size == size
    assert counts(only_segment(tmp_path)) == {VALUE_TRUNCATED: 1_001_000_001}
    assert inspect(only_segment(tmp_path)).lines == 1


def test_rotation_finishes_what_says_something_and_is_old_enough(tmp_path: Path) -> None:
    """Rotation makes `.ready` of a segment with lines, leaves young and empty ones alone."""
    journal = journal_of(tmp_path)
    journal.rotate()
    assert paths_of(tmp_path).segments() == []
    journal.append(line(1))
    journal.rotate(older_than_seconds=3600)
    assert only_segment(tmp_path).suffix == ".open"
    journal.rotate()
    assert sorted(path.suffix for path in paths_of(tmp_path).segments()) == [".open", ".ready"]
    journal.rotate()
    assert sorted(path.suffix for path in paths_of(tmp_path).segments()) == [".open", ".ready"]


def test_no_rotation_without_a_next_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no other segment can be made, the one in use stays, so that losses can still be counted in its header."""
    journal = journal_of(tmp_path)
    journal.append(line(1))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("otel_usage.exporter.journal.Segment", full)
    journal.rotate()
    journal.count(WRITE_ERROR)
    assert only_segment(tmp_path).suffix == ".open"
    assert counts(only_segment(tmp_path)) == {WRITE_ERROR: 1}


def test_a_segment_is_finished_by_size(tmp_path: Path) -> None:
    """A segment past its size is handed over, and the next line begins another."""
    journal = journal_of(tmp_path, max_segment_bytes=2000)
    for number in range(40):
        journal.append(line(number))
    segments = paths_of(tmp_path).segments()
    assert len(segments) > 2
    assert sum(inspect(path).lines for path in segments) == 40
    assert all(path.stat().st_size < 2000 + len(line(1)) for path in segments)


def test_close_leaves_no_empty_segment(tmp_path: Path) -> None:
    """A segment that says nothing is removed; closing twice, and writing after it, is fine."""
    journal = journal_of(tmp_path)
    journal.append(line(1))
    journal.close()
    journal.close()
    journal.append(line(2))
    journal.close()
    assert [path.suffix for path in paths_of(tmp_path).segments()] == [".ready", ".ready"]
    segment = Segment(paths_of(tmp_path).journal, {})
    segment.finish()
    assert len(paths_of(tmp_path).segments()) == 2


def test_past_the_bound_the_newest_are_dropped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Beyond its bound the journal keeps what it has, counts what it drops, and recovers once drained."""
    journal = journal_of(tmp_path, max_bytes=5000)
    for number in range(100):
        journal.append(line(number))
    kept = inspect(only_segment(tmp_path)).lines
    assert 0 < kept < 50
    assert counts(only_segment(tmp_path)) == {JOURNAL_FULL: 100 - kept}
    journal.rotate()
    journal.check_bound()
    journal.append(line(100))
    journal.rotate()
    dropped = [counts(path) for path in paths_of(tmp_path).segments() if path.suffix == ".open"]
    assert dropped in ([], [{JOURNAL_FULL: 1}])
    for path in paths_of(tmp_path).segments():
        path.unlink()
    journal.close()
    journal.check_bound()
    journal.append(line(101))
    assert inspect(only_segment(tmp_path)).lines == 1
    assert sum("reached its bound" in message for message in caplog.messages) == 1


def test_the_bound_is_of_the_whole_store(tmp_path: Path) -> None:
    """What other processes have in the journal takes room too."""
    other, journal = journal_of(tmp_path), journal_of(tmp_path, max_bytes=5000)
    for number in range(100):
        other.append(line(number))
    journal.check_bound()
    journal.append(line(1))
    assert {JOURNAL_FULL: 1} in [counts(path) for path in paths_of(tmp_path).segments()]


def test_no_place_to_write_is_survived_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without a folder losses wait in memory, nothing raises, and the next segment's header says them."""
    obstacle = paths_of(tmp_path).journal
    obstacle.write_text("a file where the folder should be")
    journal = journal_of(tmp_path)
    for number in range(5):
        journal.append(line(number))
    assert len(caplog.messages) == 1
    obstacle.unlink()
    journal._retry_at = 0.0
    journal.append(line(5))
    assert counts(only_segment(tmp_path)) == {WRITE_ERROR: 5}
    assert inspect(only_segment(tmp_path)).lines == 1


def test_a_segment_removed_under_its_writer_is_counted(tmp_path: Path) -> None:
    """Whoever removes the journal loses its records, but not silently."""
    journal = journal_of(tmp_path)
    journal.append(line(1))
    journal.append(line(2))
    only_segment(tmp_path).unlink()
    journal.rotate()
    assert counts(only_segment(tmp_path)) == {WRITE_ERROR: 2}


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from otel_usage.exporter.journal import Journal
from tests.unit.exporter.support import line, paths_of
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(paths_of(Path(sys.argv[1])), max_bytes=1 << 30)
journal.append(line(0))
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
for number in range(1, 50):
    journal.append(line(number))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append(line(50))
"""


def test_a_short_write_leaves_no_trace(tmp_path: Path) -> None:
    """Where the disk takes a part of a line, the part is cut off again, counted, and the next line is whole."""
    finish(python(FULL_DISK, tmp_path))
    path = only_segment(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)[1:]
    kept = len(lines) - 1
    assert 1 <= kept < 50
    assert lines == [*map(line, range(kept)), line(50)]
    assert counts(path) == {WRITE_ERROR: 50 - kept}


def test_a_forked_child_writes_its_own_segment(tmp_path: Path) -> None:
    """A child that abandons what it inherited leaves the parent's segment locked and whole."""
    journal = journal_of(tmp_path)
    journal.append(line(1))
    if (child := os.fork()) == 0:
        try:
            journal.abandon()
            mine = journal_of(tmp_path)
            mine.append(line(2))
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    with finished_segments(paths_of(tmp_path)) as finished:
        assert [path.suffix for path in finished] == [".open"]
        assert finished[0].read_bytes().endswith(line(2))
    journal.append(line(3))
    journal.close()
    assert sum(inspect(path).lines for path in paths_of(tmp_path).segments()) == 3


def test_a_living_owners_segment_is_not_finished(tmp_path: Path) -> None:
    """What can be locked belongs to nobody; what cannot be is somebody's, also in the same process."""
    journal = journal_of(tmp_path)
    journal.append(line(1))
    with finished_segments(paths_of(tmp_path)) as finished:
        assert finished == []
    journal.abandon()
    with finished_segments(paths_of(tmp_path)) as finished:
        assert [path.suffix for path in finished] == [".open"]
        with finished_segments(paths_of(tmp_path)) as again:
            assert again == []


def test_a_new_segment_is_finished_only_when_stale(tmp_path: Path) -> None:
    """A `.new` that nobody locked may be about to be: only after a minute is it a dead process's."""
    folder = paths_of(tmp_path).journal
    folder.mkdir()
    path = folder / "d9b2d63d-a233-4123-847a-7ac75a1a6f31.new"
    path.write_bytes(b"")
    with finished_segments(paths_of(tmp_path)) as finished:
        assert finished == []
    os.utime(path, (0, 0))
    with finished_segments(paths_of(tmp_path)) as finished:
        assert finished == [path]


def test_closing_within_an_append_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler that shuts down while it has interrupted an append does not wait for ever."""
    monkeypatch.setattr("otel_usage.exporter.journal._CLOSE_SECONDS", 0.01)
    journal = journal_of(tmp_path)
    journal.append(line(1))
    with journal._lock:
        journal.close()
    assert only_segment(tmp_path).suffix == ".open"


def test_a_log_handler_may_write_a_record(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No lock is held while a warning is logged: what a handler does may end in this journal again."""
    journal = journal_of(tmp_path, max_bytes=1000)

    class Handler(logging.Handler):
        def emit(self, entry: logging.LogRecord) -> None:
            journal.append(line(2))

    handler = Handler()
    logging.getLogger("otel_usage").addHandler(handler)
    try:
        for number in range(20):
            journal.append(line(number))
    finally:
        logging.getLogger("otel_usage").removeHandler(handler)
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("how", ["rotate", "close"])
def test_losses_are_told_without_another_record(tmp_path: Path, how: str) -> None:
    """What was lost where no segment could be made is counted once one can be, though nothing else is written."""
    obstacle = paths_of(tmp_path).journal
    obstacle.write_text("a file where the folder should be")
    journal = journal_of(tmp_path)
    for number in range(3):
        journal.append(line(number))
    obstacle.unlink()
    if how == "rotate":
        journal._retry_at = 0.0
        journal.rotate()
        journal._retry_at = float("inf")  # close has nothing left to tell
    journal.close()
    assert counts(only_segment(tmp_path)) == {WRITE_ERROR: 3}
    assert only_segment(tmp_path).suffix == ".ready"
