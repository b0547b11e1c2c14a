"""Servers replace their processes while clients ask: nobody's answer is without its row, and no row is there twice."""

import itertools
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.integration import known
from tests.integration.faults.load import ANSWERS, Load, Outcome, complaints, have_all_answered, start_quickly
from tests.integration.servers import SERVERS, Server
from tests.integration.site import Site, wait_for


@dataclass(frozen=True)
class Event:
    """What happens to a server.

    Attributes:
        server: A name in `SERVERS`.
        what: As the page says it.
        happen: Makes it happen and returns when it has.
        options: What the server needs for it.
    """

    server: str
    what: str
    happen: Callable[[Site], None]
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.server}, {self.what}"

    def started(self) -> Server:
        """The server with its options."""
        server = SERVERS[self.server]
        program, *arguments = server.command
        return replace(server, command=[program, *self.options, *arguments])


def workers(site: Site) -> set[int]:
    """The processes below the one that was started, without multiprocessing's own."""
    return {pid for pid in _descendants(site.process.pid) if b"resource_tracker" not in _read(pid, "cmdline")}


def _descendants(pid: int) -> set[int]:
    children = {int(child) for child in _read(pid, f"task/{pid}/children").split()}
    return children.union(*map(_descendants, children))


def _read(pid: int, name: str) -> bytes:
    """A file of a process; nothing once it has ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def recycle(site: Site) -> None:
    """The server replaces its processes by itself."""
    before = workers(site)
    wait_for(lambda: not before & workers(site))


def hang_up(site: Site) -> None:
    """SIGHUP: the same server, other processes."""
    before = workers(site)
    os.kill(site.process.pid, signal.SIGHUP)
    wait_for(lambda: not before & workers(site))


def edit(site: Site) -> None:
    """The application is changed until the reloader has seen it: not what it had not looked at before."""
    before, polls = workers(site), itertools.count()
    application = next(site.directory.glob("*_app.py"))

    def is_reloaded() -> bool:
        if next(polls) % 100 == 0:
            application.touch()
        return not before & workers(site)

    wait_for(is_reloaded)


def grow_and_shrink(site: Site) -> None:
    """SIGTTIN and SIGTTOU: one process more, and one fewer."""
    os.kill(site.process.pid, signal.SIGTTIN)
    wait_for(lambda: len(workers(site)) == 3)
    os.kill(site.process.pid, signal.SIGTTOU)
    wait_for(lambda: len(workers(site)) == 2)


def upgrade(site: Site) -> None:
    """SIGUSR2 starts the program anew beside the old one, which is ended when both serve."""
    before = workers(site)
    os.kill(site.process.pid, signal.SIGUSR2)
    wait_for(lambda: len(workers(site) - before) == 3)
    wait_for(lambda: have_all_answered(site, 4))
    site.process.terminate()
    site.process.wait(90)


MOST = ("--max-requests", "20")
RSS = ("--workers-max-rss", "1", "--rss-sample-interval", "1", "--respawn-interval", "0.1")
EVENTS = [
    Event("gunicorn", "`--max-requests`", recycle, MOST),
    Event("gunicorn-preload", "`--max-requests`", recycle, MOST),
    Event("gunicorn-gthread", "`--max-requests`", recycle, MOST),
    Event("gunicorn-gevent", "`--max-requests`", recycle, MOST),
    Event("gunicorn-tornado", "`--max-requests`", recycle, MOST),
    Event("gunicorn-asgi", "`--max-requests`", recycle, MOST),
    Event("gunicorn-uvicorn", "`--max-requests`", recycle, MOST),
    Event("uvicorn-workers", "`--limit-max-requests`", recycle, ("--limit-max-requests", "20")),
    Event("hypercorn-workers", "`--max-requests`", recycle, MOST),
    Event("granian-asgi", "`--workers-max-rss`", recycle, RSS),
    Event("granian-wsgi", "`--workers-max-rss`", recycle, RSS),
    Event("uwsgi", "`--max-requests`", recycle, (*MOST, "--min-worker-lifetime", "1")),
    Event("uwsgi-lazy-apps", "`--max-requests`", recycle, (*MOST, "--min-worker-lifetime", "1")),
    Event("gunicorn", "SIGHUP", hang_up),
    Event("gunicorn-preload", "SIGHUP", hang_up),
    Event("gunicorn-uvicorn", "SIGHUP", hang_up),
    Event("uvicorn-workers", "SIGHUP", hang_up),
    Event("granian-asgi", "SIGHUP", hang_up, ("--respawn-interval", "0.1")),
    Event("granian-wsgi", "SIGHUP", hang_up, ("--respawn-interval", "0.1")),
    Event("uwsgi", "SIGHUP", hang_up),
    Event("uwsgi-lazy-apps", "SIGHUP", hang_up),
    Event("gunicorn", "SIGTTIN, SIGTTOU", grow_and_shrink),
    Event("uvicorn-workers", "SIGTTIN, SIGTTOU", grow_and_shrink),
    Event("gunicorn", "SIGUSR2, SIGTERM of the old", upgrade),
    Event("uvicorn-reload", "a changed file", edit),
    Event("flask-run-debug", "a changed file", edit),
    Event("django-runserver", "a changed file", edit),
]


@pytest.mark.parametrize("event", EVENTS, ids=str)
def test_each_answer_has_its_row(event, tmp_path, update_docs):
    """Every request whose whole answer came has exactly one row, any other at most one, and the page says so."""
    server = event.started()
    with start_quickly(server, tmp_path) as site:
        with Load(site, "asked") as load:
            load.wait_for_answers(ANSWERS, lambda: have_all_answered(site, server.workers))
            load.is_ending = True  # any process, at any time
            event.happen(site)
            last = load.answered[-ANSWERS:]
            load.wait_for_answers(len(load.answered) + ANSWERS)
        site.stop()
        outcome = Outcome(site)
    outcome.check(load)
    assert complaints(site.log) == []
    cells = [str(number) for number in outcome.of(last)]
    known.check("restarts", str(event), cells, update=update_docs, page=known.RELIABILITY)
