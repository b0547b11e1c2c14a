"""From the body of a request to the journal: read within bounds, then worked on in one thread beside the event loop.

One thread and not more: decoding holds the interpreter anyway, and so only one body at a time is in memory as spans.
Who is answered what, is the receiver's.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Final

from starlette.requests import ClientDisconnect, Request

from otel_usage.exporter.otlp.decoding import ScopeSpans
from otel_usage.exporter.otlp.intake import Intake, Taken
from otel_usage.exporter.otlp.pieces import decoded
from otel_usage.exporter.otlp.request_body import BodyTooLargeError, decompress
from otel_usage.exporter.receiver.limits import Limits, within

# A sender of ours or a Collector gives up after ten or thirty seconds, and comes again.
_PATIENCE_SECONDS: Final = 30.0


class BusyError(Exception):
    """The request may come again soon; says why. Never leaves the receiver."""


class ReceiverIntake:
    """Takes the bodies of one worker.

    Args:
        intake: Keeps the spans.
        limits: Of bodies and of how many there are at once.
    """

    def __init__(self, intake: Intake, limits: Limits) -> None:
        self._intake = intake
        self._limits = limits
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="otel-usage-intake")
        self._waiting = 0
        self._buffered = 0

    async def take(self, request: Request, media_type: str, encoding: str) -> Taken:
        """Keep what the body of a request holds; when this returns it is in the journal.

        Args:
            request: Its body is read here.
            media_type: Of the body.
            encoding: How it is compressed.

        Raises:
            BodyTooLargeError: It is beyond a bound, compressed or not.
            OTLPDecodeError: It is no OTLP.
            JournalUnavailableError: It cannot be kept at present.
            BusyError: There is too much to do, or the client or the disk is too slow.
            ClientDisconnect: The client has gone.
        """
        self._require_room()
        pieces: list[bytes] = []
        try:
            await self._read(request, pieces)
            # Only now: clients that are slow to send must not keep others out.
            self._require_room()
            return await self._work(request, pieces, media_type, encoding)
        finally:
            self._buffered -= sum(map(len, pieces))
            pieces.clear()  # work that was given up stays in the thread's queue

    def close(self) -> None:
        """End the thread once it has done what it was given."""
        self._thread.shutdown()

    def _require_room(self) -> None:
        if self._waiting >= self._limits.requests:
            raise BusyError("Too many requests at once.")

    async def _read(self, request: Request, pieces: list[bytes]) -> None:
        limits = self._limits
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limits.body_bytes:
            raise BodyTooLargeError
        size = 0
        try:
            async with asyncio.timeout(limits.client_seconds):
                async for piece in request.stream():
                    size += len(piece)
                    if size > limits.body_bytes:
                        raise BodyTooLargeError
                    pieces.append(piece)
                    self._buffered += len(piece)
                    if self._buffered > limits.buffered_bytes:
                        raise BusyError("Too many bodies at once.")
        except TimeoutError:
            raise BusyError("The body did not come in time.") from None
        if declared.isdecimal() and size != int(declared):
            raise BusyError("The body has not the length that it was to have.")

    async def _work(self, request: Request, pieces: list[bytes], media_type: str, encoding: str) -> Taken:
        # Whoever has it first decides: the thread that the spans are kept, or we that they are not.
        decision = Lock()
        loop = asyncio.get_running_loop()
        self._waiting += 1
        gone = asyncio.ensure_future(_gone(request))
        work = partial(self._keep, pieces, media_type, encoding, decision, lambda: not gone.done())
        keeping = loop.run_in_executor(self._thread, work)
        try:
            await asyncio.wait((keeping, gone), timeout=_PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not keeping.done() and decision.acquire(blocking=False):
                # Both come again, and what is counted of them is to be counted then.
                raise (
                    ClientDisconnect
                    if gone.done()
                    else BusyError("There is more to be kept than this machine can keep up with.")
                )
            taken = await keeping
            if gone.done():
                raise ClientDisconnect
            return taken
        finally:
            decision.acquire(blocking=False)  # also when the server cancels this, because it is to end
            keeping.cancel()
            gone.cancel()
            del keeping  # or its error would hold this frame, and with it the body, until the garbage is collected
            self._waiting -= 1

    def _keep(
        self, pieces: list[bytes], media_type: str, encoding: str, decision: Lock, is_awaited: Callable[[], bool]
    ) -> Taken:
        content = decompress(b"".join(pieces), encoding, self._limits.decompressed_bytes)
        scopes = _unless_given_up(within(decoded(content, media_type), self._limits), decision)
        return self._intake.take(scopes, is_awaited)


async def _gone(request: Request) -> None:
    """Wait until the client has gone, by itself or because it was told that its time is over."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _unless_given_up(scopes: Iterable[ScopeSpans], decision: Lock) -> Iterator[ScopeSpans]:
    """The same scopes. Nothing of them is kept before the last: whoever gives up until then gives up all of them.

    Raises:
        BusyError: Nobody waits for them any more.
    """
    for scope in scopes:
        if decision.locked():
            raise BusyError
        yield scope
    if not decision.acquire(blocking=False):
        raise BusyError
