"""An agent between what a test sends and what it looks at."""

from typing import Any

from tests.collector.collectors import Collector, Sink, request_of
from tests.collector.credentials import MARKS, TOLD, Request
from tests.integration.site import wait_for


class Passage:
    """An agent, and what comes out of it."""

    def __init__(self, collector: Collector, out: Sink) -> None:
        self.collector, self._out = collector, out

    def through(self, spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """These spans as they leave the agent, in their order."""
        self.send(request_of(*spans))
        left = {span["id"]: span for span in self.spans()}
        return [left[span["spanId"]] for span in spans]

    def send(self, request: dict[str, Any]) -> None:
        """Send this ExportTraceServiceRequest and wait for what comes of it."""
        self._out.bodies.clear()
        assert self.collector.send(request) == 200
        wait_for(lambda: len(self._out.bodies) > 0)

    def spans(self) -> list[dict[str, Any]]:
        """What came of the last request."""
        return self._out.spans()

    @property
    def raw(self) -> bytes:
        """What was on the wire for the last request."""
        return b"".join(self._out.bodies)

    def check(self, *requests: Request) -> None:
        """Token and user are those of a Python application, whatever saw the request, and nothing is raw."""
        asked = [(request, span) for request in requests for span in request.spans()]
        left = self.through([span for _, span in asked])
        for (request, span), after in zip(asked, left, strict=True):
            told = {name: after["attributes"].get(name) for name in TOLD}
            assert told == request.expected(), f"{request} seen as {span['attributes']}"
        check_raw(self.raw)


def check_raw(*kept: bytes) -> None:
    """None of the marks of a raw credential is in there."""
    for content in kept:
        assert not [mark for mark in MARKS if mark.encode() in content]
