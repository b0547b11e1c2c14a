"""What all benchmarks share: rounds taken in turns, medians with their spread, tables, the page they are kept in."""

import datetime
import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"

Way = TypeVar("Way")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Options:
    """How a benchmark is run.

    Attributes:
        quick: One small round, only to see that it works.
        update_docs: Whether the tables of the page of results are written anew.
        instructions: Whether instructions are counted where that is possible, instead of time.
        framework: The only one that is looked at, where there are several; None for all.
    """

    quick: bool = False
    update_docs: bool = False
    instructions: bool = False
    framework: str | None = None


@dataclass(frozen=True)
class Sample:
    """One quantity as all rounds have measured it."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """The width of the middle half of the rounds (interquartile range)."""
        if len(self.values) < 2:
            return 0.0
        lower, _, upper = statistics.quantiles(self.values, n=4, method="inclusive")
        return upper - lower

    def over(self, other: "Sample") -> "Sample":
        """How much more than `other`, round by round: what slows a whole round is in neither."""
        return Sample(tuple(mine - its for mine, its in zip(self.values, other.values, strict=True)))

    def text(self, digits: int = 0) -> str:
        """Median and spread, as tables show them."""
        return f"{self.median:,.{digits}f} ± {self.spread:,.{digits}f}"


def sample(values: Iterable[float]) -> Sample:
    """A sample of what may be computed on the way."""
    return Sample(tuple(values))


def interleaved(ways: Sequence[Way], rounds: int, measure: Callable[[Way], Result]) -> dict[Way, list[Result]]:
    """Measure every way once in each round, beginning with another way each time, and say how far it is."""
    results: dict[Way, list[Result]] = {way: [] for way in ways}
    for number in range(rounds):
        first = number * len(ways) // rounds
        for done, way in enumerate((*ways[first:], *ways[:first])):
            progress(f"round {number + 1} of {rounds}, {done + 1} of {len(ways)}: {way}")
            results[way].append(measure(way))
    progress("")
    return results


def progress(text: str) -> None:
    """Say on a terminal's one line what is being done."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose first column is text and whose others are numbers."""
    lines = [columns, ["---", *(["--:"] * (len(columns) - 1))], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def at_most(what: str, measured: float, limit: float, unit: str) -> str:
    """A target that is an upper bound, and whether it is met."""
    return _target(what, f"at most {limit:,g} {unit}", measured, unit, missed_by=measured - limit)


def at_least(what: str, measured: float, limit: float, unit: str) -> str:
    """A target that is a lower bound, and whether it is met."""
    return _target(what, f"at least {limit:,g} {unit}", measured, unit, missed_by=limit - measured)


def _target(what: str, bound: str, measured: float, unit: str, *, missed_by: float) -> str:
    verdict = "met" if missed_by <= 0 else f"missed by {missed_by:,.1f} {unit}"
    return f"- {what}: {bound}. Measured {measured:,.1f} {unit}: **{verdict}**.\n"


def conditions(command: str) -> str:
    """By which command, when and on what, and how busy that was: the sentence above every table, made beforehand."""
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    python = f"{platform.python_implementation()} {platform.python_version()}"
    machine = f"{_processor()}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}"
    return f"`python -m benchmarks {command}`, {day}, {machine}, {python}.\n"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def publish(name: str, text: str, *, update: bool) -> None:
    """Print a result, and put it into its place in the page of results if asked to."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    if update:
        start, end = f"<!-- table {name} -->\n", f"<!-- end of table {name} -->"
        before, found, rest = PAGE.read_text(encoding="utf-8").partition(start)
        _, ended, after = rest.partition(end)
        if not found or not ended:
            raise LookupError(f"{PAGE} has no place for {name}: {start.strip()} and {end}")
        PAGE.write_text(f"{before}{start}\n{text}\n{end}{after}", encoding="utf-8")
