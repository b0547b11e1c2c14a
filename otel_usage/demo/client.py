"""Sends planned requests over keep-alive connections and counts the answers; never sends one twice."""

import http.client
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from otel_usage.demo.visitor import PlannedRequest

TIMEOUT_SECONDS: Final = 30.0
# The kernel gives a connection to one worker for good; new ones now and then reach the others too.
REQUESTS_PER_CONNECTION: Final = 25
_REPORT_EVERY_SECONDS: Final = 0.1


@dataclass(slots=True)
class Tally:
    """What was sent and what came back.

    Attributes:
        kinds: Answered requests by kind.
        statuses: Answered requests by status.
        failed: Requests without an answer; whether the server saw them is unknown, so they are not sent again.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    failed: int = 0

    @property
    def answered(self) -> int:
        return self.statuses.total()

    def add(self, request: PlannedRequest, status: int | None) -> None:
        if status is None:
            self.failed += 1
            return
        self.kinds[request.kind] += 1
        self.statuses[status] += 1

    def status_classes(self) -> dict[str, int]:
        """Answers by class of status: {"2xx": 7, ...}, without classes that did not occur."""
        classes: Counter[str] = Counter()
        for status, count in self.statuses.items():
            classes[f"{status // 100}xx"] += count
        return dict(sorted(classes.items()))


def send(host: str, port: int, plans: Iterable[Iterator[PlannedRequest]], *, progress: Callable[[int], None]) -> Tally:
    """Send every plan on a thread of its own and count the answers of all.

    Args:
        progress: Called on this thread, several times a second, with the number of requests done.
    """
    stop = threading.Event()
    senders = [_Sender(host, port, plan, stop) for plan in plans]
    with ThreadPoolExecutor(max_workers=max(1, len(senders))) as pool:
        try:
            _watch([pool.submit(sender.run) for sender in senders], senders, progress)
        finally:
            stop.set()
    return _total(senders)


def _watch(running: list[Future[None]], senders: "list[_Sender]", progress: Callable[[int], None]) -> None:
    pending: Iterable[Future[None]] = running
    while pending:
        pending = wait(pending, timeout=_REPORT_EVERY_SECONDS).not_done
        progress(sum(sender.tally.answered + sender.tally.failed for sender in senders))
    for future in running:
        future.result()


def _total(senders: "list[_Sender]") -> Tally:
    total = Tally()
    for sender in senders:
        total.kinds.update(sender.tally.kinds)
        total.statuses.update(sender.tally.statuses)
        total.failed += sender.tally.failed
    return total


class _Sender:
    """One thread's connection, plan and count."""

    def __init__(self, host: str, port: int, plan: Iterator[PlannedRequest], stop: threading.Event) -> None:
        self.tally = Tally()
        self._connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
        self._plan = plan
        self._stop = stop

    def run(self) -> None:
        with closing(self._connection):
            for number, request in enumerate(self._plan, start=1):
                if self._stop.is_set():
                    return
                self.tally.add(request, self._answer(request))
                if number % REQUESTS_PER_CONNECTION == 0:
                    self._connection.close()

    def _answer(self, request: PlannedRequest) -> int | None:
        """The status of the answer, or None; a closed connection is opened again by `http.client`."""
        try:
            self._connection.request(request.method, request.target, request.body, dict(request.headers))
            with self._connection.getresponse() as response:
                response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return None
        # After an unhandled error uvicorn closes the connection without having said so.
        if response.status >= 500:
            self._connection.close()
        return response.status
