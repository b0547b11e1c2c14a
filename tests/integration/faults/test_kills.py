"""SIGKILL: at random moments of servers that serve, and in every phase of those who write and commit."""

import random

import pytest

from tests.integration.faults.killing import kill_at_random
from tests.integration.faults.phases import VICTIMS, kill_in_every_phase
from tests.integration.faults.system_calls import Moment, why_untraceable

KILLS = {"gunicorn": 20, "gunicorn-gthread": 25, "uvicorn-workers": 12}
# Of some 25 to 75, each of which takes half a second; `make soak` takes all.
MOMENTS = 6


@pytest.mark.parametrize("server", KILLS)
def test_killed_at_random(server, tmp_path):
    """Whoever is killed while clients ask, the store opens, and what they were answered is there once."""
    toll = kill_at_random(tmp_path, server, KILLS[server], random.Random(server))
    assert toll.missing == set()
    assert toll.twice == set()
    assert toll.adds_up, toll.totals
    assert toll.lost.keys() <= {"torn_line"}
    assert toll.kills.keys() == {"handler", "leader", "leader while it commits", "command"}


@pytest.fixture
def traceable():
    """Needs strace."""
    if reason := why_untraceable():
        pytest.skip(reason)


@pytest.mark.usefixtures("traceable")
@pytest.mark.parametrize("name", VICTIMS)
def test_killed_in_every_phase(name, tmp_path):
    """Whichever step a process is killed at, the store opens, and each record is there once when the next has come."""
    found = spread(VICTIMS[name].moments(tmp_path / "whole"), random.Random(name))
    assert kill_in_every_phase(VICTIMS[name], tmp_path, found) == len(found)


@pytest.mark.usefixtures("traceable")
def test_killed_while_repairing(tmp_path):
    """The same when the one that comes next is killed too."""
    victim, chance = VICTIMS["first commit of a damaged journal"], random.Random(5)
    found = spread(victim.moments(tmp_path / "whole"), chance)
    kill_in_every_phase(victim, tmp_path, found, again=chance)


def spread(found: list[Moment], chance: random.Random) -> list[Moment]:
    """Some of these moments, spread evenly."""
    step = len(found) / MOMENTS
    return [found[int((number + chance.random()) * step)] for number in range(MOMENTS)]
