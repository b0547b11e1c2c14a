"""Clients that ask without pause while something happens to the server, and what became of their requests."""

import http.client
import itertools
import re
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from otel_usage.exporter.paths import StorePaths
from tests.integration.servers import Server, start
from tests.integration.site import Site

CLIENTS, ANSWERS = 4, 40
ASKED: list[tuple[str, str, bytes | None]] = [
    ("GET", "/claims/7", None),
    ("POST", "/datasets", b"x" * 3000),
    ("GET", "/datasets/d-9/download", None),
    ("GET", "/files/3", None),
]
INSTRUMENTATIONS = {"aiohttp-server", "django", "falcon", "fastapi", "flask", "pyramid", "starlette", "tornado"}
# What a signal raises wherever the program happens to be.
BY_SIGNAL = ("KeyboardInterrupt", "SystemExit")
TRACEBACK = re.compile(r"^Traceback \(most recent call last\):\n((?:[ \t].*\n)+)(\S.*)$", re.MULTILINE)


def start_quickly(server: Server, directory: Path) -> AbstractContextManager[Site]:
    """The server with one framework's instrumentation, since importing all takes longest; commits come often."""
    framework = server.app.removesuffix("_app.py")
    unused = ",".join(sorted(name for name in INSTRUMENTATIONS if name.removesuffix("-server") != framework))
    return start(server, directory, OTEL_USAGE_COMMIT_INTERVAL="0.5", OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=unused)


class Load:
    """Clients that ask while the `with` block runs, half of them on connections that they keep.

    Attributes:
        answered: User agents of the requests whose whole answer came, in that order; each request has its own.
        unanswered: Those of the others.
        is_ending: Whether the server is about to go, so that the end of a connection says nothing.
    """

    def __init__(self, site: Site, label: str) -> None:
        self.answered: list[str] = []
        self.unanswered: list[str] = []
        self.is_ending = False
        self._site = site
        self._label = label
        self._over = threading.Event()
        self._numbers = itertools.count()
        self._told = threading.Condition()
        self._threads = [threading.Thread(target=self._ask_on, args=(number % 2 == 0,)) for number in range(CLIENTS)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for thread in self._threads:
            thread.join()

    def stop(self) -> None:
        """No further requests; those in flight go on."""
        self._over.set()

    def wait_for_answers(self, count: int, and_also: Callable[[], bool] = lambda: True) -> None:
        """Go on with the first answer from the `count`-th on that finds the condition true."""
        with self._told:
            done = self._told.wait_for(lambda: len(self.answered) >= count and and_also(), 60)
        assert done, f"{self._label}: {len(self.answered)} answers, server log:\n{self._site.log[-3000:]}"

    def _ask_on(self, keep: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._site.port, timeout=30)
        while not self._over.is_set():
            number = next(self._numbers)
            name = f"{self._label}-{number}"
            whole = self._ask(connection, name, *ASKED[number % len(ASKED)])
            if not (whole and keep):
                connection.close()
            self._note(name, whole)
        connection.close()

    def _ask(
        self, connection: http.client.HTTPConnection, name: str, method: str, target: str, body: bytes | None
    ) -> bool:
        """Whether the application's whole answer came."""
        try:
            connection.request(method, target, body, {"User-Agent": name})
            answer = connection.getresponse()
            is_delimited = answer.chunked or answer.length is not None
            answer.read()
        except (OSError, http.client.HTTPException):
            return False
        # An answer that is as long as its connection looks whole wherever a dying server ends it.
        return answer.status in (200, 201) and (is_delimited or not self.is_ending)

    def _note(self, name: str, whole: bool) -> None:
        with self._told:
            (self.answered if whole else self.unanswered).append(name)
            self._told.notify_all()
        if not whole:
            # A server that starts again needs the processor more than clients that are refused.
            self._over.wait(0.02)


class Outcome:
    """What became of the requests of some loads on one store.

    Args:
        site: Stopped.
    """

    def __init__(self, site: Site) -> None:
        self._rows = Counter(row["user_agent"] for row in site.read_rows())

    def of(self, names: list[str]) -> tuple[int, int, int]:
        """Sent, stored, twice."""
        stored = [self._rows[name] for name in names]
        return len(names), sum(count > 0 for count in stored), sum(count > 1 for count in stored)

    def check(self, load: Load) -> None:
        """Every answered request has one row, any other at most one."""
        lost = [name for name in load.answered if self._rows[name] == 0]
        twice = [name for name in (*load.answered, *load.unanswered) if self._rows[name] > 1]
        assert not lost and not twice, f"lost {lost}, twice {twice}"


def have_all_answered(site: Site, processes: int) -> bool:
    """Whether so many processes have records in segments of their own that are not finished."""
    return len(list(StorePaths.of(site.store).journal.glob("*.open"))) >= processes


def complaints(log: str) -> list[str]:
    """What a server's log says of us: tracebacks that end in our code, and our own warnings."""
    if "Starting uWSGI" in log:
        # It runs the destructors of libraries before it ends Python: a commit at that moment fails or crashes.
        return []
    tracebacks = [found[0] for found in TRACEBACK.finditer(log) if _is_ours(*found.groups())]
    return tracebacks + re.findall(r"^.*(?:usage record|committer of).*$", log, re.MULTILINE | re.IGNORECASE)


def _is_ours(frames: str, error: str) -> bool:
    files = re.findall(r'^ *File "(.*)", line', frames, re.MULTILINE)
    return "/otel_usage/" in files[-1] and not error.startswith(BY_SIGNAL)
