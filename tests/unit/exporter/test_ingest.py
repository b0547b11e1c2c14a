"""One run over files and folders: every span once, what is wrong told and counted, nothing of it repeated."""

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from otel_usage.exporter.committer import Leadership, drain
from otel_usage.exporter.ingest import following
from otel_usage.exporter.ingest.file_intake import FileIntake
from otel_usage.exporter.ingest.following import Place
from otel_usage.exporter.ingest.positions import Position, Positions
from otel_usage.exporter.ingest.rotation import in_order, is_rotated, origin
from otel_usage.exporter.ingest.run import Outcome, Wishes, run
from otel_usage.exporter.journal import Journal
from otel_usage.exporter.recorder import Recorder
from tests.unit.exporter.exported import FORMATS, TOKEN, WHOLE, frames, line, lines
from tests.unit.exporter.support import line as journal_line
from tests.unit.exporter.support import losses, numbers, paths_of, query, settings_of, wait_until

ACTIVE = "spans.jsonl"


def rotated(second: int) -> str:
    """The name of a file that was rotated then."""
    return f"spans-2026-11-21T09-26-{second:02d}.501-size.jsonl"


class Said(list[str]):
    """What was said on the way."""

    def __call__(self, text: str) -> None:
        self.append(text)


def ingest(folder: Path, *files: object, said: Said | None = None, journal_max_bytes: int = 1 << 30) -> Outcome:
    """A run over these files, into the store of this folder."""
    wishes = Wishes(
        files=[str(file) for file in files],
        follow=False,
        timeout_seconds=30,
        say=said if said is not None else Said(),
        progress=lambda _done, _total: None,
        ended=threading.Event(),
    )
    return run(replace(settings_of(folder), journal_max_bytes=journal_max_bytes), wishes)


def told(outcome: Outcome) -> tuple[int, int, int | None, int]:
    """Files, requests, those of them that the store had already, bad messages."""
    totals = outcome.totals
    return totals.files, totals.taken.requests, outcome.rows and outcome.rows.known, totals.bad


def forget(folder: Path) -> None:
    """Lose what is remembered of files."""
    for path in (paths_of(folder).journal / "ingested").glob("*"):
        path.unlink()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The folder that a Collector writes to."""
    folder = tmp_path / "exported"
    folder.mkdir()
    return folder


def test_every_format_gives_the_same_rows_once(tmp_path: Path, source: Path) -> None:
    """The same spans in every format and compression are rows of the first file and duplicates of all others."""
    files = []
    for kind, make in FORMATS.items():
        for whole, pack in WHOLE.items():
            files.append(source / f"{kind}, {whole}".replace(" ", "_"))
            files[-1].write_bytes(pack(make(range(1, 21))))
    outcome = ingest(tmp_path, *files)
    assert told(outcome) == (12, 240, 220, 0)
    assert outcome.is_whole
    assert numbers(tmp_path) == list(range(1, 21))
    assert told(ingest(tmp_path, files[0])) == (0, 0, 0, 0)
    assert numbers(tmp_path) == list(range(1, 21))


def test_rows_are_enriched_and_without_secrets(tmp_path: Path, source: Path) -> None:
    """A token of a captured header is an id in the row, and is found in no file of ours."""
    (source / ACTIVE).write_bytes(lines([1]) + line(2)[:-30] + b"\n")
    said = Said()
    ingest(tmp_path, source / ACTIVE, said=said)
    ((token_id, path),) = query(tmp_path, "SELECT token_id, path FROM requests")
    assert token_id.startswith("tok_") and path == "/datasets/1"
    kept = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file() and source not in file.parents]
    assert len(kept) > 2
    assert TOKEN not in "".join(said) and not any(TOKEN.encode() in content for content in kept)


def test_bad_lines_are_told_counted_and_noted_once(tmp_path: Path, source: Path) -> None:
    """File and line on the way, a note without content, a loss, however often the file is read; the rest is kept."""
    path = source / ACTIVE
    path.write_bytes(lines([1]) + b"no json\n" + lines([2]) + b"{}\n")
    for _ in range(2):
        forget(tmp_path)
        said = Said()
        outcome = ingest(tmp_path, path, said=said)
        assert outcome.totals.bad == 2 and not outcome.is_whole
        assert [text.split(": ")[0] for text in said] == [f"{path}:2", f"{path}:4"]
    assert numbers(tmp_path) == [1, 2]
    assert losses(tmp_path) == {"rejected": 2}
    (notes,) = paths_of(tmp_path).rejected.iterdir()
    assert notes.stat().st_mode & 0o777 == 0o600
    found = [json.loads(each) for each in notes.read_text().splitlines()]
    assert [(each["file"], each["line_number"], each["offset"], each["length"]) for each in found] == [
        (str(path), 2, len(lines([1])), 7),
        (str(path), 4, len(lines([1])) + 8 + len(lines([2])), 2),
    ]
    with path.open("rb") as file:
        file.seek(found[0]["offset"])
        assert file.read(found[0]["length"]) == b"no json"


def test_other_signals_are_counted(tmp_path: Path, source: Path) -> None:
    """Logs and metrics in the same file are no mistakes."""
    (source / ACTIVE).write_bytes(b'{"resourceLogs":[]}\n' + lines([1]) + b'{ "resourceMetrics": [{}]}\n')
    outcome = ingest(tmp_path, source / ACTIVE)
    assert (outcome.totals.other_signals, outcome.totals.bad, outcome.is_whole) == (2, 0, True)


def test_what_cannot_be_read_holds_up_nothing(tmp_path: Path, source: Path) -> None:
    """A missing file, a file of something else, damaged compression: each is told, all others are read."""
    (source / "other").write_bytes(b"something else")
    (source / "damaged").write_bytes(WHOLE["gzip"](lines([1])) + b"no gzip any more")
    (source / "good").write_bytes(lines([2]))
    (source / "empty").touch()
    said = Said()
    names = ["missing", "other", "damaged", "empty", "good"]
    outcome = ingest(tmp_path, *(source / name for name in names), said=said)
    assert outcome.totals.unreadable == 3 and not outcome.is_whole
    assert [Path(text.split(": ")[0]).name for text in said] == ["missing", "other", "damaged"]
    assert numbers(tmp_path) == [1, 2]


def test_nothing_to_read_is_nothing(tmp_path: Path, source: Path) -> None:
    """An empty folder and an empty file make no store."""
    (source / ACTIVE).touch()
    outcome = ingest(tmp_path, source, source / ACTIVE)
    assert (outcome.totals.taken.spans, outcome.is_whole) == (0, True)
    assert not paths_of(tmp_path).database.exists()


def test_a_torn_end_is_unfinished_where_it_may_be_written_on(tmp_path: Path, source: Path) -> None:
    """In a folder the next run takes what has become of it; of a file alone that is nobody's promise."""
    path = source / ACTIVE
    path.write_bytes(lines([1]) + line(2)[:-9])
    outcome = ingest(tmp_path, source)
    assert (outcome.totals.unfinished, outcome.totals.bad, outcome.is_whole) == (1, 0, True)
    alone = ingest(tmp_path, path)
    assert (alone.totals.unfinished, alone.totals.bad, alone.is_whole) == (1, 0, False)
    path.write_bytes(lines([1, 2]))
    assert told(ingest(tmp_path, source)) == (1, 1, 0, 0)
    assert numbers(tmp_path) == [1, 2]


def test_a_torn_end_of_a_complete_file_is_bad(tmp_path: Path, source: Path) -> None:
    """Nobody will write on in a file that was rotated."""
    (source / rotated(1)).write_bytes(lines([1]) + line(2)[:-9])
    outcome = ingest(tmp_path, source)
    assert (outcome.totals.unfinished, outcome.totals.bad, outcome.is_whole) == (0, 1, False)
    assert losses(tmp_path) == {"rejected": 1}
    assert told(ingest(tmp_path, source)) == (0, 0, 0, 0)


def test_a_last_line_without_newline_is_kept(tmp_path: Path, source: Path) -> None:
    """Line and newline are two writes of the Collector; nothing is read twice for it in the end."""
    (source / ACTIVE).write_bytes(lines([1, 2])[:-1])
    assert told(ingest(tmp_path, source)) == (1, 2, 0, 0)
    (source / ACTIVE).write_bytes(lines([1, 2, 3]))
    ingest(tmp_path, source)
    assert numbers(tmp_path) == [1, 2, 3]
    assert told(ingest(tmp_path, source)) == (0, 0, 0, 0)


def test_a_folder_is_read_in_order_and_remembered(tmp_path: Path, source: Path) -> None:
    """Rotated files by their time, then the one that is written; files of others are named; nothing is read twice."""
    (source / rotated(2)).write_bytes(lines([2]))
    (source / rotated(1)).write_bytes(lines([1]))
    (source / "spans-2026-11-21T09-26-03.501.pb").write_bytes(frames([3]))
    (source / ACTIVE).write_bytes(lines([4]))
    (source / "README").write_text("what this folder is for")
    (source / ".hidden").write_text("no matter")
    (source / "folder").mkdir()
    said = Said()
    assert told(ingest(tmp_path, source, said=said)) == (4, 4, 0, 0)
    assert [text.split(" is left alone")[0] for text in said] == [str(source / "README")]
    assert [span for (span,) in query(tmp_path, "SELECT span_id FROM requests")] == [1, 2, 3, 4]
    assert told(ingest(tmp_path, source)) == (0, 0, 0, 0)
    (source / ACTIVE).rename(source / rotated(9))
    with (source / rotated(9)).open("ab") as file:
        file.write(lines([5]))
    (source / ACTIVE).write_bytes(lines([6]))
    assert told(ingest(tmp_path, source)) == (2, 2, 0, 0)
    assert numbers(tmp_path) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("again", [[7], [7, 8, 9, 10]])
def test_a_file_written_anew_is_read_anew(tmp_path: Path, source: Path, again: list[int]) -> None:
    """A Collector without rotation truncates its file when it starts, and may have grown it beyond where it was."""
    path = source / ACTIVE
    path.write_bytes(lines([1, 2, 3]))
    ingest(tmp_path, source)
    path.write_bytes(lines(again))
    assert told(ingest(tmp_path, source)) == (1, len(again), 0, 0)
    assert numbers(tmp_path) == [1, 2, 3, *again]


def test_what_is_remembered_is_remembered_for_one_store(tmp_path: Path, source: Path) -> None:
    """Where the store was removed, everything is read again."""
    (source / ACTIVE).write_bytes(lines([1, 2]))
    ingest(tmp_path, source)
    paths_of(tmp_path).database.unlink()
    assert told(ingest(tmp_path, source)) == (1, 2, 0, 0)
    paths_of(tmp_path).database.unlink()
    (tmp_path / "another.jsonl").write_bytes(lines([9]))
    ingest(tmp_path, tmp_path / "another.jsonl")
    assert told(ingest(tmp_path, source)) == (1, 2, 0, 0)
    assert numbers(tmp_path) == [1, 2, 9]


def test_a_file_named_again_is_nothing_new(tmp_path: Path, source: Path) -> None:
    """Neither rows nor losses come twice; what it has grown by does come, and all of it where the store was removed."""
    path = source / ACTIVE
    other = line(2).replace(b'"kind":2', b'"kind":3')
    content = lines([1]) + b"no json\n" + line(3).replace(f"{3:032x}".encode(), b"ab") + b"\n" + other
    path.write_bytes(content)
    assert told(ingest(tmp_path, path)) == (1, 1, 0, 1)
    counted = losses(tmp_path)
    assert counted == {"rejected": 2, "not_a_request": 1}
    assert told(ingest(tmp_path, path)) == (0, 0, 0, 0)
    path.write_bytes(content + b"\n" + lines([4]))
    said = Said()
    assert told(ingest(tmp_path, path, said=said)) == (1, 1, 0, 0)
    assert (losses(tmp_path), said) == (counted, [])
    paths_of(tmp_path).database.unlink()
    assert told(ingest(tmp_path, path)) == (1, 2, 0, 1)
    assert numbers(tmp_path) == [1, 4]


def test_a_store_that_was_removed_before_it_was_known(tmp_path: Path, source: Path) -> None:
    """A run that was killed before the end has not said which store it was for: without one, all is read again."""
    (source / ACTIVE).write_bytes(lines([1, 2]))
    ingest(tmp_path, source)
    (remembered,) = (paths_of(tmp_path).journal / "ingested").iterdir()
    remembered.write_text(json.dumps({**json.loads(remembered.read_text()), "store": None}))
    assert told(ingest(tmp_path, source)) == (0, 0, 0, 0)
    remembered.write_text(json.dumps({**json.loads(remembered.read_text()), "store": None}))
    paths_of(tmp_path).database.unlink()
    assert told(ingest(tmp_path, source)) == (1, 2, 0, 0)


def test_the_inode_and_the_size_of_a_file_that_is_gone(tmp_path: Path, source: Path) -> None:
    """Rotated files are often as large as each other, and inodes are used again: what they say is compared."""
    path = source / rotated(1)
    path.write_bytes(lines([1, 2]))
    ingest(tmp_path, source)
    path.write_bytes(lines([3, 4]))
    path.rename(source / rotated(2))
    assert told(ingest(tmp_path, source)) == (1, 2, 0, 0)
    assert numbers(tmp_path) == [1, 2, 3, 4]


def test_a_line_larger_than_a_piece(tmp_path: Path, source: Path) -> None:
    """It is kept whole, or told as bad and nothing of it kept."""
    large = line(*range(1, 4001))
    (source / ACTIVE).write_bytes(large[:-2] + b"\n" + large + b"\n" + lines([5000]))
    assert told(ingest(tmp_path, source)) == (1, 4001, 0, 1)
    (source / ACTIVE).write_bytes(b'{"resourceSpans":[%b{}]}\n' % (b"{}," * (5 << 20)))
    assert told(ingest(tmp_path, source)) == (1, 0, 0, 1)
    assert len(numbers(tmp_path)) == 4001


def test_a_damaged_memory_is_no_memory(tmp_path: Path, source: Path) -> None:
    """Without what is remembered everything is read again and found to be known."""
    (source / ACTIVE).write_bytes(lines([1, 2]))
    ingest(tmp_path, source)
    (remembered,) = (paths_of(tmp_path).journal / "ingested").iterdir()
    assert remembered.stat().st_mode & 0o777 == 0o600
    remembered.write_bytes(remembered.read_bytes()[:-5])
    assert told(ingest(tmp_path, source)) == (1, 2, 2, 0)
    assert numbers(tmp_path) == [1, 2]


def test_room_in_a_full_journal_is_waited_for(tmp_path: Path, source: Path) -> None:
    """A journal at its bound is committed on the way; nothing is lost, however much there is to read."""
    (source / ACTIVE).write_bytes(b"".join(line(*range(n, n + 50)) + b"\n" for n in range(1, 3001, 50)))
    said = Said()
    outcome = ingest(tmp_path, source, said=said, journal_max_bytes=65536)
    assert told(outcome) == (1, 3000, 0, 0)
    assert numbers(tmp_path) == list(range(1, 3001))
    assert any("bound" in text for text in said)
    assert losses(tmp_path) == {}


def test_a_living_leader_commits(tmp_path: Path, source: Path) -> None:
    """Where another process leads, the run waits for it."""
    (source / ACTIVE).write_bytes(lines([1]))
    journal = Journal(paths_of(tmp_path), max_bytes=1 << 30)
    journal.append(journal_line(9))
    journal.close()
    leadership = Leadership(paths_of(tmp_path))
    assert leadership.try_acquire()
    result: list[Outcome] = []
    thread = threading.Thread(target=lambda: result.append(ingest(tmp_path, source)))
    thread.start()
    wait_until(lambda: len(list(paths_of(tmp_path).journal.glob("*.ready"))) == 2)
    drain(paths_of(tmp_path))
    thread.join(30)
    leadership.release()
    assert told(result[0]) == (1, 1, 0, 0)
    assert numbers(tmp_path) == [1, 9]


def test_names_of_rotated_files() -> None:
    """They are recognised, ordered by their time, and lead back to the file that was rotated."""
    names = [ACTIVE, rotated(5), "b.jsonl", rotated(1), "spans-2025-01-01T00-00-00.000.jsonl.gz"]
    assert in_order(names) == [names[4], rotated(1), rotated(5), "b.jsonl", ACTIVE]
    assert [is_rotated(name) for name in names] == [False, True, False, True, True]
    assert {origin(name) for name in (ACTIVE, rotated(5))} == {ACTIVE}


@pytest.fixture
def place(tmp_path: Path, source: Path) -> Iterator[Place]:
    """The file that a Collector writes, followed; `tmp_path` is the store's folder."""
    recorder = Recorder(settings_of(tmp_path))
    intake = FileIntake(settings_of(tmp_path), recorder, say=Said(), is_ended=lambda: False, patience_seconds=10)
    positions = Positions(paths_of(tmp_path), source / ACTIVE, store=None)
    yield Place(source / ACTIVE, intake, positions, follows=True, max_open=2)
    recorder.remove()


def kept(place: Place) -> int:
    """How many requests were kept by the next look."""
    before = place.intake.totals.taken.requests
    place.look()
    return place.intake.totals.taken.requests - before


def test_following_goes_through_everything_a_collector_does(place: Place, source: Path) -> None:
    """A file that appears, grows, is torn for a moment, rotated, truncated, replaced, removed: every span once."""
    path = source / ACTIVE
    assert kept(place) == 0
    path.write_bytes(lines([1, 2]))
    assert kept(place) == 2
    with path.open("ab") as file:
        file.write(line(3)[:50])
        file.flush()
        assert kept(place) == 0
        file.write(line(3)[50:])
        file.flush()
        assert kept(place) == 0
        file.write(b"\n" + lines([4]))
        file.flush()
        assert kept(place) == 2
        file.write(lines([5]))
    path.rename(source / rotated(1))
    path.write_bytes(lines([6]))
    (source / "others.jsonl").write_bytes(lines([99]))
    assert kept(place) == 2
    path.write_bytes(lines([7]))
    assert kept(place) == 1
    path.write_bytes(lines([8, 9, 10]))
    assert kept(place) == 3
    with path.open("ab") as file:
        file.write(lines([11]))
    path.unlink()
    assert kept(place) == 1
    path.write_bytes(lines([12]))
    assert kept(place) == 1
    assert place.intake.totals.bad == 0
    place.close()


def test_following_lets_go_of_what_is_done(place: Place, source: Path) -> None:
    """Rotated files are closed, and are not opened again."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    for second in range(20):
        (source / rotated(second)).write_bytes(lines([second + 1]))
    assert kept(place) == 20
    assert kept(place) == 0
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 8
    place.close()


def test_following_keeps_few_files_open(tmp_path: Path, source: Path) -> None:
    """Beyond the bound those that have not grown for longest are closed, and opened again where they grow."""
    recorder = Recorder(settings_of(tmp_path))
    intake = FileIntake(settings_of(tmp_path), recorder, say=Said(), is_ended=lambda: False, patience_seconds=10)
    place = Place(source, intake, Positions(paths_of(tmp_path), source, store=None), follows=True, max_open=2)
    for number in range(20):
        (source / f"host{number:02d}.jsonl").write_bytes(lines([number + 1]))
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert kept(place) == 20
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 8
    for number in (3, 19):
        with (source / f"host{number:02d}.jsonl").open("ab") as file:
            file.write(lines([100 + number]) + line(200 + number)[:30])
    assert kept(place) == 2
    with (source / "host03.jsonl").open("ab") as file:
        file.write(line(203)[30:] + b"\n")
    (source / "host05.jsonl").write_bytes(lines([305]))
    assert kept(place) == 2
    with (source / "host03.jsonl").open("ab") as file:
        file.write(lines([403]))
    (source / "host03.jsonl").unlink()
    assert kept(place) == 1
    assert kept(place) == 0
    assert intake.totals.bad == 0
    place.close()
    recorder.remove()


def test_a_rotation_between_listing_and_opening(place: Place, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name that was listed is another file's by then: that one is not taken for the one that was rotated."""
    path = source / ACTIVE
    path.write_bytes(lines([1, 2]))
    open_ = following._open

    def rotate_and_open(*arguments: Any) -> Any:
        monkeypatch.setattr(following, "_open", open_)
        path.rename(source / rotated(1))
        path.write_bytes(lines([3]) + line(4)[:40])
        return open_(*arguments)

    monkeypatch.setattr(following, "_open", rotate_and_open)
    assert kept(place) == 0
    assert kept(place) == 3
    with path.open("ab") as file:
        file.write(line(4)[40:] + b"\n")
    assert kept(place) == 1
    assert place.intake.totals.bad == 0
    place.close()


def test_a_file_with_the_inode_of_one_that_was_left_alone(place: Place, source: Path) -> None:
    """What was no file of a Collector is forgotten when it is gone."""
    place._left_alone.add("1:2")
    (source / ACTIVE).write_bytes(lines([1]))
    assert kept(place) == 1
    assert place._left_alone == set()
    place.close()


def test_files_are_counted_once(place: Place, source: Path) -> None:
    """Each file that said something, however often it was looked at, also after it was replaced or removed."""
    path = source / ACTIVE
    path.touch()
    assert kept(place) == 0
    path.write_bytes(lines([1]))
    assert kept(place) == 1
    with path.open("ab") as file:
        file.write(lines([2]))
    assert kept(place) == 1
    (source / "new").write_bytes(lines([3]))
    (source / "new").rename(path)
    assert kept(place) == 1
    path.unlink()
    assert kept(place) == 0
    assert not place.is_there
    assert place.intake.totals.files == 2
    place.close()


def test_a_folder_that_is_made_later(tmp_path: Path, source: Path) -> None:
    """What was followed as a file turns out to be a folder; one that is gone for a moment is not forgotten."""
    recorder = Recorder(settings_of(tmp_path))
    intake = FileIntake(settings_of(tmp_path), recorder, say=Said(), is_ended=lambda: False, patience_seconds=10)
    folder = source / "later"
    place = Place(folder, intake, Positions(paths_of(tmp_path), folder, store=None), follows=True)
    assert kept(place) == 0 and not place.is_there
    folder.mkdir()
    assert kept(place) == 0 and place.is_there
    (folder / ACTIVE).write_bytes(lines([1, 2]))
    assert kept(place) == 2
    folder.rename(source / "away")
    with pytest.raises(FileNotFoundError):
        place.look()
    (source / "away").rename(folder)
    with (folder / ACTIVE).open("ab") as file:
        file.write(lines([3]))
    assert kept(place) == 1
    place.close()
    recorder.remove()


def test_a_folder_that_is_removed(tmp_path: Path, source: Path) -> None:
    """What its files had got since the last look is read, as of a file that is removed."""
    recorder = Recorder(settings_of(tmp_path))
    intake = FileIntake(settings_of(tmp_path), recorder, say=Said(), is_ended=lambda: False, patience_seconds=10)
    folder = source / "exported"
    folder.mkdir()
    place = Place(folder, intake, Positions(paths_of(tmp_path), folder, store=None), follows=True)
    (folder / ACTIVE).write_bytes(lines([1]))
    assert kept(place) == 1
    with (folder / ACTIVE).open("ab") as file:
        file.write(lines([2, 3]))
    shutil.rmtree(folder)
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            place.look()
    assert intake.totals.taken.requests == 3
    place.close()
    recorder.remove()


def test_other_files_are_not_counted(tmp_path: Path, source: Path) -> None:
    """What is no file of a Collector's was looked at, and not read."""
    (source / "README").write_text("what this folder is for")
    assert ingest(tmp_path, source).totals.files == 0


def test_what_is_remembered_is_written_where_it_is_new(tmp_path: Path, source: Path) -> None:
    """Following thousands of files that say nothing new writes nothing."""
    positions = Positions(paths_of(tmp_path), source, store=None)
    positions.put("1:2", Position(1, "", 1, 0))
    positions.save()
    (saved,) = (paths_of(tmp_path).journal / "ingested").iterdir()
    before = saved.stat().st_ino, saved.stat().st_mtime_ns
    positions.save()
    assert (saved.stat().st_ino, saved.stat().st_mtime_ns) == before
    positions.put("1:2", Position(2, "", 1, 0))
    positions.save()
    assert b'"read":2' in saved.read_bytes()
