"""Whatever happens to a journal in whatever order, the store ends with the set of distinct spans and nothing else.

Hypothesis makes up sequences of what processes, leaders and people do. A model says, segment by segment, what must
become of it; after each commit it is compared with what the store says of itself.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NoReturn

import duckdb
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from otel_usage.exporter.commit import commit_turn
from otel_usage.exporter.committer import drain
from otel_usage.exporter.header import new_header, render
from otel_usage.exporter.journal import Journal
from otel_usage.exporter.leadership import Leadership, _file_of
from otel_usage.exporter.losses import ENCODE_ERROR, JOURNAL_FULL, REJECTED, TORN_LINE, VALUE_TRUNCATED
from otel_usage.exporter.paths import NEW, READY, StorePaths, segment_id
from tests.unit.exporter.support import line, paths_of

SEQUENCES = int(os.environ.get("TEST_SEQUENCES", "20"))
STEPS = 30
PROCESSES = 3
CRASHED, NO_LEADER = 9, 3

_ONE = line(3)
GARBAGE = (
    b"x\n",
    b"{}\n",
    b"\n",
    b"\r\n",
    b"null\n",
    _ONE[:40] + b"\n",
    _ONE[:-1] + _ONE,
    _ONE.replace(b"/datasets", b"/\xff\xfe"),
    _ONE.replace(b"/datasets", b"/\0"),
    _ONE.replace(b"200", b"70000"),
    _ONE.replace(b'"span_id":3', b'"span_id":36893488147419103232'),
    _ONE.replace(b'"span_id":3', b'"span_id":3,"span_id":4'),
    b'{"otel_usage_segment":1,' + _ONE[1:],
    render(new_header({}))[0],
    b'{"attributes":' + b"[" * 5000 + b"\n",
    b"y" * (2 << 20) + b"\n",
)
WHOLE = line(31)[:-1]
TORN = (b"{", b"{}", b"x", b'{"start_ti', WHOLE[:-1], WHOLE.replace(b"/datasets", b"/\xc3")[:-9], b"\0" * 100)
TAILS = (b"", WHOLE, *TORN)
NUMBERS = st.lists(st.integers(0, 30), max_size=8)
PROCESS = st.integers(0, PROCESSES - 1)


@dataclass
class Segment:
    """What was written to one segment: records by number, lines that are none, a torn last one, losses counted."""

    numbers: list[int] = field(default_factory=list)
    garbage: int = 0
    torn: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    content: bytes = b""


@dataclass
class Expected:
    """What the store must say."""

    numbers: set[int] = field(default_factory=set)
    lines: int = 0
    rejected: int = 0
    losses: Counter[str] = field(default_factory=Counter)

    def add(self, segment: Segment) -> None:
        """A segment was committed; all of it, and only once."""
        self.numbers |= set(segment.numbers)
        self.lines += len(segment.numbers) + segment.garbage
        self.rejected += segment.garbage
        self.losses += segment.counts + Counter({TORN_LINE: segment.torn, REJECTED: segment.garbage})


class Sequence(RuleBasedStateMachine):
    """Processes with a journal each, those they fork, leaders here and elsewhere, and people with a file manager."""

    def __init__(self, elsewhere: "Elsewhere") -> None:
        super().__init__()
        self.elsewhere = elsewhere
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self.temporary.name)
        self.paths = paths_of(self.folder)
        self.journals = [_journal(self.paths) for _ in range(PROCESSES)]
        self.segments: dict[str, Segment] = {}
        self.committed: list[str] = []
        self.recorded: set[str] = set()
        self.expected = Expected()
        self.leadership = Leadership(self.paths)
        self.leads = False
        self.sleepers: list[tuple[int, int]] = []

    # What processes do

    @rule(process=PROCESS, numbers=NUMBERS)
    def append(self, process: int, numbers: list[int]) -> None:
        """Some records, some of which were written before, here or by others."""
        for number in numbers:
            self.journals[process].append(line(number))
            self.segment_of(process).numbers.append(number)

    @rule(process=PROCESS, garbage=st.sampled_from(GARBAGE))
    def append_garbage(self, process: int, garbage: bytes) -> None:
        """A line that is no record."""
        self.journals[process].append(garbage)
        self.segment_of(process).garbage += 1

    @rule(process=PROCESS, reason=st.sampled_from([JOURNAL_FULL, ENCODE_ERROR, VALUE_TRUNCATED]), n=st.integers(1, 9))
    def count(self, process: int, reason: str, n: int) -> None:
        """A loss."""
        self.journals[process].count(reason, n)
        self.segment_of(process).counts[reason] += n

    @rule(process=PROCESS)
    def rotate(self, process: int) -> None:
        """The next segment."""
        self.journals[process].rotate()

    @rule(process=PROCESS)
    def end(self, process: int) -> None:
        """A process that goes and comes back."""
        self.journals[process].close()

    @rule(process=PROCESS, tail=st.sampled_from(TAILS))
    def kill(self, process: int, tail: bytes) -> None:
        """SIGKILL, perhaps within a line; the process comes back."""
        if self.journals[process]._segment is not None:
            _die(self.journals[process], tail)
            self.segment_of(process).numbers += [31] if tail == WHOLE else []
            self.segment_of(process).torn += tail in TORN
        self.journals[process].abandon()

    @rule(size=st.integers(0, 700))
    def kill_while_beginning(self, size: int) -> None:
        """SIGKILL, perhaps within the first line, some minutes ago."""
        path = self.new_path(NEW)
        path.write_bytes(render(new_header({}))[0][:size])
        os.utime(path, (0, 0))
        self.segments[segment_id(path)] = Segment()

    @rule(numbers=NUMBERS, tail=st.none() | st.sampled_from(TAILS), lets_go=st.booleans())
    def fork(self, numbers: list[int], tail: bytes | None, lets_go: bool) -> None:
        """A child writes and exits, or is killed; perhaps its fork hooks did not run."""
        before = set(self.paths.segments())
        if (child := _fork()) == 0:
            _in_child(partial(self.in_child, numbers, tail, lets_go))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == (0 if tail is None else -signal.SIGKILL)
        for path in set(self.paths.segments()) - before:
            more = [31] if tail == WHOLE else []
            self.segments[segment_id(path)] = Segment([*numbers, *more], torn=tail in TORN)

    def in_child(self, numbers: list[int], tail: bytes | None, lets_go: bool) -> None:
        if lets_go:
            for inherited in self.journals:
                inherited.abandon()
        journal = _journal(self.paths)
        for number in numbers:
            journal.append(line(number))
        if tail is not None:
            if journal._segment is not None:
                _die(journal, tail)
            os.kill(os.getpid(), signal.SIGKILL)
        journal.close()

    @precondition(lambda self: len(self.sleepers) < 2)
    @rule()
    def fork_and_stay(self) -> None:
        """A child that does nothing: the segments it inherited are locked as long as it lives."""
        ear, mouth = os.pipe()
        if (child := _fork()) == 0:
            os.close(mouth)
            _in_child(partial(os.read, ear, 1))
        os.close(ear)
        self.sleepers.append((child, mouth))

    @precondition(lambda self: self.sleepers)
    @rule()
    def wake(self) -> None:
        """The last such child ends."""
        child, mouth = self.sleepers.pop()  # the last: it has inherited the pipes of the others
        os.close(mouth)
        assert os.waitpid(child, 0)[1] == 0

    # What leaders do

    @rule(stays=st.booleans())
    def commit(self, stays: bool) -> None:
        """One turn in this process, which may go on leading."""
        assert self.leadership.try_acquire()
        self.before_commit()
        summary = commit_turn(self.paths)
        assert summary.lines == summary.inserted + summary.duplicate + summary.rejected
        self.leads = stays
        if not stays:
            self.leadership.release()
        self.after_commit(is_complete=True)

    @rule(removals=st.none() | st.integers(0, 3))
    def commit_elsewhere(self, removals: int | None) -> None:
        """One turn in another process, which may be killed when it has removed so many of the committed files."""
        self.before_commit()
        status = self.elsewhere.commit(self.folder, removals)
        if self.leads:
            assert status == NO_LEADER
        else:
            assert status == 0 or (status == CRASHED and removals is not None)
        self.after_commit(is_complete=status == 0)

    @rule()
    def give_up(self) -> None:
        """This process leads no more."""
        self.leadership.release()
        self.leads = False

    # What else happens to files

    @rule()
    def remove_the_lock_file(self) -> None:
        """Somebody tidies up: whoever led leads no more."""
        self.paths.lock.unlink(missing_ok=True)
        self.leads = False

    @precondition(lambda self: self.committed)
    @rule(data=st.data(), suffix=st.sampled_from([READY, ".open"]))
    def restore(self, data: st.DataObject, suffix: str) -> None:
        """A committed segment is there again, from a backup."""
        name = data.draw(st.sampled_from(self.committed))
        if not any(segment_id(path) == name for path in self.paths.segments()):
            (self.paths.journal / f"{name}{suffix}").write_bytes(self.segments[name].content)

    @precondition(lambda self: self.committed)
    @rule(data=st.data(), suffix=st.sampled_from([READY, ".open"]))
    def deliver_again(self, data: st.DataObject, suffix: str) -> None:
        """A copy of a committed segment, under another name."""
        original = self.segments[data.draw(st.sampled_from(self.committed))]
        path = self.new_path(suffix)
        path.write_bytes(original.content)
        self.segments[segment_id(path)] = original

    # What must hold

    def before_commit(self) -> None:
        for path in self.paths.segments():
            self.segments.setdefault(segment_id(path), Segment()).content = path.read_bytes()

    def after_commit(self, *, is_complete: bool) -> None:
        """The store knows what it knew, and each segment that this turn has committed."""
        if not self.paths.database.exists():
            assert not self.committed
            return
        with duckdb.connect(str(self.paths.database), read_only=True) as store:
            recorded = {name for (name,) in store.execute("SELECT segment_id FROM journal_segments").fetchall()}
            for name in sorted(recorded - self.recorded):
                self.expected.add(self.segments[name])
                self.committed.append(name)
            self.recorded = recorded
            assert not recorded & self.of_the_living()
            self.check(store)
        if is_complete:
            left = {segment_id(path) for path in self.paths.segments()}
            assert self.sleepers or left <= self.of_the_living()

    def check(self, store: duckdb.DuckDBPyConnection) -> None:
        expected = self.expected
        rows = store.execute("SELECT span_id FROM requests ORDER BY ALL").fetchall()
        assert [number for (number,) in rows] == sorted(expected.numbers)
        names = ["lines", "inserted", "rejected", "duplicate"]
        told = dict(store.execute("SELECT name, value::BIGINT FROM store_info WHERE name IN $1", [names]).fetchall())
        lines, inserted, rejected, duplicate = (told[name] for name in names)
        assert lines == inserted + duplicate + rejected
        assert (lines, inserted, rejected) == (expected.lines, len(expected.numbers), expected.rejected)
        losses = store.execute("SELECT reason, sum(records)::BIGINT FROM losses GROUP BY ALL").fetchall()
        assert dict(losses) == {reason: n for reason, n in expected.losses.items() if n}

    def teardown(self) -> None:
        """All end and all is committed: every span that anybody wrote is there, and no file is left."""
        while self.sleepers:
            self.wake()
        for journal in self.journals:
            journal.close()
        self.before_commit()
        drain(self.paths)
        self.after_commit(is_complete=True)
        assert self.paths.segments() == []
        assert self.expected.numbers == {number for segment in self.segments.values() for number in segment.numbers}
        _file_of(self.paths).close()
        self.temporary.cleanup()

    # The model's own

    def segment_of(self, process: int) -> Segment:
        segment = self.journals[process]._segment
        assert segment is not None
        return self.segments.setdefault(segment_id(segment._path), Segment())

    def of_the_living(self) -> set[str]:
        return {segment_id(journal._segment._path) for journal in self.journals if journal._segment is not None}

    def new_path(self, suffix: str) -> Path:
        self.paths.journal.mkdir(exist_ok=True)
        return self.paths.journal / f"{uuid.uuid4()}{suffix}"


def _journal(paths: StorePaths) -> Journal:
    return Journal(paths, max_bytes=1 << 40, max_segment_bytes=1 << 40)


def _die(journal: Journal, tail: bytes) -> None:
    assert journal._segment is not None
    with journal._segment._path.open("ab") as file:
        file.write(tail)


def _fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of threads, which children do not use
        return os.fork()


def _in_child(act: Callable[[], object]) -> NoReturn:
    """Never return into the test."""
    try:
        act()
        os._exit(0)
    finally:
        os._exit(1)


COMMITTER = """
import json, os, sys, traceback
from pathlib import Path
import duckdb
from otel_usage.exporter.commit import commit_turn
from otel_usage.exporter.leadership import Leadership
from tests.unit.exporter.support import paths_of

def die_at(removals, journal):
    left = [removals]
    def hook(event, args):
        if event == "os.remove" and Path(args[0]).parent == journal:
            if left[0] == 0:
                os._exit(9)
            left[0] -= 1
    sys.addaudithook(hook)

def commit(folder, removals):
    paths = paths_of(Path(folder))
    if not Leadership(paths).try_acquire():
        return 3
    if removals is not None:
        die_at(removals, paths.journal)
    commit_turn(paths)
    return 0

for order in sys.stdin:
    if (child := os.fork()) == 0:
        try:
            os._exit(commit(*json.loads(order)))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Elsewhere:
    """Forks a process for each commit; has DuckDB imported, since that takes longer than a commit."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", COMMITTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def commit(self, folder: Path, removals: int | None) -> int:
        """One turn; the exit status of who did it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(folder), removals]) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    elsewhere = Elsewhere()
    yield elsewhere
    elsewhere.close()


def test_any_sequence(elsewhere: Elsewhere) -> None:
    """The store is what the model says after each commit, and all that was written at the end."""
    run_state_machine_as_test(
        partial(Sequence, elsewhere), settings=settings(max_examples=SEQUENCES, stateful_step_count=STEPS)
    )
