"""Clients that go on sending while something happens to whom they send, and what was acknowledged."""

import http.client
import itertools
import json
import threading
from collections.abc import Callable
from typing import Any

from tests.collector.collectors import Collector, post, request_of, span_of
from tests.collector.pipeline import Program

CLIENTS = 2
SPANS_IN_A_REQUEST = 5
USER_AGENT = "user_agent.original"
_PAUSE_SECONDS = 0.01


class Clients:
    """Send while the `with` block runs.

    Args:
        label: Begins the user agent of each request.
        send: Sends requests with these user agents, and tells whether they were acknowledged.
        each: How many go in one.

    Attributes:
        acknowledged: User agents of the requests that were.
        tried: Those of all.
    """

    def __init__(self, label: str, send: Callable[[list[str]], bool], each: int = 1) -> None:
        self.acknowledged: set[str] = set()
        self.tried: set[str] = set()
        self._label = label
        self._send = send
        self._each = each
        self._numbers = itertools.count()
        self._over = threading.Event()
        self._told = threading.Condition()
        self._threads = [threading.Thread(target=self._send_on) for _ in range(CLIENTS)]

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """What is in flight goes on to its end, nothing follows."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self, count: int = 20) -> None:
        """Wait until so many more are acknowledged."""
        with self._told:
            until = len(self.acknowledged) + count
            assert self._told.wait_for(lambda: len(self.acknowledged) >= until, 60), f"{self._label}: no answers"

    def _send_on(self) -> None:
        while not self._over.is_set():
            names = [f"{self._label}-{next(self._numbers)}" for _ in range(self._each)]
            self.tried.update(names)
            is_acknowledged = self._send(names)
            with self._told:
                if is_acknowledged:
                    self.acknowledged.update(names)
                self._told.notify_all()
            self._over.wait(_PAUSE_SECONDS)


def asking(site: Program, label: str) -> Clients:
    """Clients of an application; acknowledged is what they have the whole answer of."""

    def ask(names: list[str]) -> bool:
        try:
            return all(site.ask("GET", "/claims/7", {"User-Agent": name}).status == 200 for name in names)
        except (OSError, http.client.HTTPException):
            return False

    return Clients(label, ask)


def posting(agent: Collector, label: str, **attributes: Any) -> Clients:
    """Exporters that send to the agent; acknowledged is what it has answered 200 for."""

    def send(names: list[str]) -> bool:
        spans = [span_of({"url.path": "/claims/7", **attributes, USER_AGENT: name}) for name in names]
        try:
            return post(agent.endpoint, json.dumps(request_of(*spans)).encode()) == 200
        except (OSError, http.client.HTTPException):
            return False

    return Clients(label, send, SPANS_IN_A_REQUEST)
