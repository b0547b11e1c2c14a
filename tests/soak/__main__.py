"""Kills servers, leaders and commands at random, then commits, writers and commands at every step they take.

What is killed, and what must hold, is in `tests/integration/faults/`; here is how much of it, and the table.
"""

import argparse
import itertools
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.faults.killing import KILLED, Toll, kill_at_random
from tests.integration.faults.phases import VICTIMS, kill_in_every_phase
from tests.integration.faults.system_calls import why_untraceable

KILLS_OF_A_ROUND = 50
# Its supervisor looks for the dead only now and then.
KILLS_OF_A_SLOW_ROUND = {"uvicorn-workers": 20}
TELL_EVERY = 100


@dataclass
class Soak:
    """The kills of a run, and when it stops all the same.

    Attributes:
        kills: How many there shall be at random.
        seconds: How long it may take.
        tolls: Of each server, whose store is used all the time.
        left_out: What was not done, and why.
    """

    kills: int
    seconds: float
    chance: random.Random
    started: float = field(default_factory=time.monotonic)
    tolls: dict[str, Toll] = field(default_factory=lambda: {server: Toll() for server in KILLED})
    told: int = 0
    left_out: list[str] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Kills so far."""
        return sum(toll.kills.total() for toll in self.tolls.values())

    @property
    def passed(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.started

    def go_on(self) -> bool:
        """Whether there are kills left and time for them; says at every hundredth where we are."""
        if self.done >= self.told + TELL_EVERY:
            self.told += TELL_EVERY
            answered = sum(len(load.answered) for toll in self.tolls.values() for load in toll.loads)
            print(f"{self.done:6} kills, {answered:8} requests answered, {self.passed:6.0f} s", flush=True)
        return self.done < self.kills and self.passed < self.seconds

    def kill_at_random(self, folder: Path) -> None:
        """Go from server to server, some kills each."""
        for server in itertools.cycle(KILLED):
            if not self.go_on():
                return
            kills = min(KILLS_OF_A_SLOW_ROUND.get(server, KILLS_OF_A_ROUND), self.kills - self.done)
            kill_at_random(folder / server, server, kills, self.chance, toll=self.tolls[server], go_on=self.go_on)

    def kill_in_every_phase(self, folder: Path) -> None:
        """Kill each victim at every step, and again at the step of the one that comes next."""
        if reason := why_untraceable():
            self.left_out.append(f"nobody is killed step by step: {reason}")
            return
        for name, victim in VICTIMS.items():
            if self.passed > self.seconds:
                self.left_out.append(f"no time to kill step by step: {name}")
                continue
            place = folder / name.replace(" ", "-")
            place.mkdir()
            moments = victim.moments(place / "whole")
            came = kill_in_every_phase(victim, place, moments)
            kill_in_every_phase(victim, place, moments, again=self.chance)
            steps = f"killed at each of {came} steps, and twice in a row from each"
            print(f"{name}: {steps}: every record there once ({self.passed:.0f} s)", flush=True)


def main() -> None:
    """Kill, and exit with 1 unless all was done and each answered request has exactly one row."""
    arguments = _arguments()
    print(f"seed {arguments.seed}, {arguments.kills} kills, at most about {arguments.minutes} minutes", flush=True)
    soak = Soak(arguments.kills, arguments.minutes * 60, random.Random(arguments.seed))
    with tempfile.TemporaryDirectory(prefix="otel-usage-soak-") as folder:
        try:
            soak.kill_at_random(Path(folder))
        finally:
            print(_table(soak.tolls), flush=True)
        soak.kill_in_every_phase(Path(folder))
    sys.exit(_verdict(soak))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=60, help="begin nothing new after so long")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    return parser.parse_args()


def _table(tolls: dict[str, Toll]) -> str:
    columns = {server: _numbers(toll) for server, toll in tolls.items()}
    columns["all"] = sum(columns.values(), Counter())
    width = max(map(len, columns)) + 2
    names = dict.fromkeys(name for column in columns.values() for name in column)
    lines = [("", *columns), *((name, *(column[name] for column in columns.values())) for name in names)]
    return "\n".join(f"{line[0]:30}" + "".join(f"{cell:>{width}}" for cell in line[1:]) for line in lines)


def _numbers(toll: Toll) -> Counter[str]:
    return Counter(
        {
            **{f"killed: {kind}": number for kind, number in sorted(toll.kills.items())},
            "killed": toll.kills.total(),
            "sent": len(toll.sent),
            "answered": len(toll.answered),
            "stored": toll.rows.total(),
            "missing": len(toll.missing),
            "twice": len(toll.twice),
            **{f"lost: {reason}": number for reason, number in sorted(toll.lost.items())},
        }
    )


def _verdict(soak: Soak) -> str | None:
    """What is wrong, None if nothing is."""
    wrong = {name for toll in soak.tolls.values() for name in toll.missing | toll.twice}
    if wrong:
        return f"answered and not stored once: {sorted(wrong)[:20]}"
    unequal = [server for server, toll in soak.tolls.items() if toll.rows and not toll.adds_up]
    if unequal:
        return f"the lines of these stores do not add up: {unequal}"
    if soak.done < soak.kills:
        return f"the time was over after {soak.done} of {soak.kills} kills"
    return "\n".join(soak.left_out) or None


if __name__ == "__main__":
    main()
