"""What is killed in every phase: commits, writers, commands; and what must hold of their files afterwards."""

import os
import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from otel_usage.exporter.committer import drain
from otel_usage.exporter.deployment_key import load_or_create
from otel_usage.exporter.journal import Journal
from otel_usage.exporter.paths import NEW, OPEN
from otel_usage.exporter.store import connect_read_only
from tests.integration.faults.system_calls import Moment, killed_at, moments
from tests.integration.site import BIN, clean_environment
from tests.unit.exporter.support import line, losses, numbers, paths_of, totals

ROOT: Final = Path(__file__).parents[3]

DRAIN: Final = """
import sys
from pathlib import Path
from otel_usage.exporter.committer import drain
from otel_usage.exporter.paths import StorePaths
drain(StorePaths.of(Path(sys.argv[1]) / "usage.duckdb"))
"""

WRITE: Final = """
import os, sys
from pathlib import Path
from otel_usage.exporter.deployment_key import load_or_create
from otel_usage.exporter.journal import Journal
from tests.unit.exporter.support import line, paths_of
folder = Path(sys.argv[1])
load_or_create(folder / "usage.duckdb.key")
acknowledged = os.open(folder / "acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
journal = Journal(paths_of(folder), max_bytes=1 << 30)
for number in range(9):
    journal.append(line(number))
    os.write(acknowledged, b"%d\\n" % number)
    if number % 3 == 2:
        journal.count("value_truncated")
        journal.rotate()
journal.close()
"""

SERVE: Final = """
import os, sys
from pathlib import Path
from otel_usage.exporter.recorder import Recorder
from tests.unit.exporter.support import record, settings_of
folder = Path(sys.argv[1])
recorder = Recorder(settings_of(folder, interval=60))
recorder.token_key()
acknowledged = os.open(folder / "acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for number in range(9):
    recorder.write(record(number))
    os.write(acknowledged, b"%d\\n" % number)
    if number == 4:
        recorder.force_flush()
recorder.shutdown()
"""


@dataclass(frozen=True)
class Victim:
    """A process that is killed in every phase of what it does to a store.

    Attributes:
        command: What runs, with `{folder}` for that of the store.
        prepare: Makes that folder.
        check_killed: What must hold when it was killed.
        check_repaired: What must hold once somebody has committed what it left.
    """

    command: list[str]
    prepare: Callable[[Path], None]
    check_killed: Callable[[Path], None]
    check_repaired: Callable[[Path], None]

    def moments(self, folder: Path) -> list[Moment]:
        """Every moment to kill it at; it runs once, in this folder."""
        self.prepare(folder)
        found = moments(self._command(folder), folder / "strace.log", **self._options(folder))
        self.check_repaired(folder)
        return found

    def kill(self, folder: Path, moment: Moment) -> bool:
        """Kill it in this folder, which is prepared; whether the moment came."""
        killed = killed_at(moment, self._command(folder), folder / "strace.log", **self._options(folder))
        self.check_killed(folder)
        return killed

    def _command(self, folder: Path) -> list[str]:
        return [part.replace("{folder}", str(folder)) for part in self.command]

    def _options(self, folder: Path) -> dict[str, object]:
        database = str(folder / "usage.duckdb")
        environment = clean_environment(folder, PYTHONDONTWRITEBYTECODE="1", OTEL_USAGE_DATABASE=database)
        return {"cwd": ROOT, "env": environment}


def repair(victim: Victim, folder: Path) -> None:
    """Commit what is left, as the next leader does, and check."""
    drain(paths_of(folder))
    victim.check_repaired(folder)


OLD: Final = range(200)
FRESH: Final = range(150, 450)


def make_journal(folder: Path) -> None:
    """Three segments; the first has records that are also in the store where there is one."""
    journal = Journal(paths_of(folder), max_bytes=1 << 30)
    for number in FRESH:
        journal.append(line(number))
        if number % 100 == 0:
            journal.rotate()
    journal.close()


def make_store(folder: Path) -> None:
    """A store that has rows."""
    journal = Journal(paths_of(folder), max_bytes=1 << 30)
    for number in OLD:
        journal.append(line(number))
    journal.close()
    drain(paths_of(folder))


def damage_journal(folder: Path) -> None:
    """One segment with a line that is no record, one whose owner died while it wrote its second line."""
    journal = Journal(paths_of(folder), max_bytes=1 << 30)
    journal.append(b"no record\n")
    journal.rotate()
    journal.append(line(FRESH[-1]))
    with next(path for path in paths_of(folder).segments() if path.suffix == OPEN).open("ab") as segment:
        segment.write(line(451)[:50])
    journal.abandon()


def check_committed_or_not(before: set[int]) -> Callable[[Path], None]:
    """The store opens, and has all of the journal or nothing of it."""

    def check(folder: Path) -> None:
        if paths_of(folder).database.exists():
            connect_read_only(paths_of(folder).database).close()
            assert set(numbers(folder)) in (before, before | set(FRESH))
        else:
            assert not before

    return check


def check_committed(before: range, damaged: bool) -> Callable[[Path], None]:
    """Each record is there once, each line is accounted for, nothing is left in the journal."""
    expected = sorted({*before, *FRESH})

    def check(folder: Path) -> None:
        paths = paths_of(folder)
        assert numbers(folder) == expected
        lines = len(before) + len(FRESH) + 2 * damaged
        duplicate = lines - len(expected) - damaged
        assert totals(folder) == {
            "lines": lines,
            "inserted": len(expected),
            "duplicate": duplicate,
            "rejected": int(damaged),
        }
        assert losses(folder) == ({"rejected": 1, "torn_line": 1} if damaged else {})
        assert sum(path.read_text().count("\n") for path in paths.rejected.glob("*")) == damaged
        assert paths.segments() == []

    return check


def committing(command: list[str], *, old: bool, damaged: bool) -> Victim:
    """Who commits a prepared journal into a store that is there, or not yet."""

    def prepare(folder: Path) -> None:
        folder.mkdir()
        if old:
            make_store(folder)
        make_journal(folder)
        if damaged:
            damage_journal(folder)

    before = OLD if old else range(0)
    return Victim(command, prepare, check_committed_or_not(set(before)), check_committed(before, damaged))


def check_opens(folder: Path) -> None:
    """The store opens, if there is one already."""
    if paths_of(folder).database.exists():
        connect_read_only(paths_of(folder).database).close()


def check_written(folder: Path) -> None:
    """Each acknowledged record is there once, and at most one besides; the key is a key."""
    paths = paths_of(folder)
    for path in paths.segments():  # what a minute does to a segment that was never opened
        if path.suffix == NEW:
            os.utime(path, (0, 0))
    drain(paths)
    acknowledged = _acknowledged(folder)
    stored = numbers(folder) if paths.database.exists() else []
    assert stored in (list(range(acknowledged)), list(range(acknowledged + 1)))
    if paths.database.exists():
        none = {"duplicate": 0, "rejected": 0}
        assert totals(folder) == {"lines": len(stored), "inserted": len(stored), **none}
        assert losses(folder).keys() <= {"value_truncated"}
    assert paths.segments() == []
    assert load_or_create(folder / "usage.duckdb.key") == load_or_create(folder / "usage.duckdb.key")


def _acknowledged(folder: Path) -> int:
    path = folder / "acknowledged"
    return path.read_text().count("\n") if path.exists() else 0


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code, "{folder}"]


REPORT: Final = [str(BIN / "otel-usage"), "report", "latest"]
SYNC: Final = [str(BIN / "otel-usage"), "sync"]
VICTIMS: Final = {
    "commit": committing(_python(DRAIN), old=True, damaged=False),
    "commit of a damaged journal": committing(_python(DRAIN), old=True, damaged=True),
    "first commit": committing(_python(DRAIN), old=False, damaged=False),
    "first commit of a damaged journal": committing(_python(DRAIN), old=False, damaged=True),
    "writer": Victim(_python(WRITE), Path.mkdir, check_opens, check_written),
    "writer that leads": Victim(_python(SERVE), Path.mkdir, check_opens, check_written),
    "report": committing(REPORT, old=True, damaged=False),
    "first report": committing(REPORT, old=False, damaged=False),
    "sync": committing(SYNC, old=True, damaged=False),
}


def kill_in_every_phase(victim: Victim, folder: Path, found: list[Moment], again: random.Random | None = None) -> int:
    """Kill it at each of these moments, each time in a folder of its own; give how many of them came.

    Args:
        victim: Who is killed.
        folder: For the folders.
        found: The moments.
        again: Chooses another moment each time, at which who comes after the killed one is killed too.
    """
    victim.prepare(folder / "prepared")
    came = 0
    for number, moment in enumerate(found):
        place = folder / str(number)
        shutil.copytree(folder / "prepared", place)
        try:
            came += victim.kill(place, moment)
            if again is not None:
                victim.kill(place, again.choice(found))
            repair(victim, place)
        except BaseException as error:
            error.add_note(f"killed at {moment}, in {place}")
            raise
        shutil.rmtree(place)
    shutil.rmtree(folder / "prepared")
    return came
