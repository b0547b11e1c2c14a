"""The receiver's processes: what is checked before they start, and uvicorn in each of them.

Which request is answered with what is the receiver's, what a process keeps the recorder's.
"""

import asyncio
import logging
import os
import signal
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any, Final

import uvicorn

from otel_usage.errors import StoreError
from otel_usage.exporter import deployment_key, reading, store
from otel_usage.exporter.otlp.intake import Intake
from otel_usage.exporter.paths import StorePaths, make_private_folder
from otel_usage.exporter.receiver import listening
from otel_usage.exporter.receiver import metrics as receiver_metrics
from otel_usage.exporter.receiver import telemetry as receiver_telemetry
from otel_usage.exporter.receiver.application import Receiver
from otel_usage.exporter.receiver.health import Health
from otel_usage.exporter.receiver.intake import ReceiverIntake
from otel_usage.exporter.receiver.limits import Limits
from otel_usage.exporter.receiver.metrics import ReceiverMetrics
from otel_usage.exporter.receiver.numbers import Numbers
from otel_usage.exporter.receiver.protocol import ReceiverProtocol
from otel_usage.exporter.receiver.renewal import LOOK_SECONDS, Renewed
from otel_usage.exporter.receiver.workers import Workers
from otel_usage.exporter.recorder import Recorder
from otel_usage.settings import Settings

# Longer than a Go client keeps an idle connection: the client closes it, never while it sends.
_KEEP_ALIVE_SECONDS: Final = 120
_GRACEFUL_SECONDS: Final = 10


@dataclass(frozen=True, slots=True)
class Serving:
    """How a receiver runs.

    Attributes:
        settings: Of its store.
        limits: Of each worker.
        workers: How many there are.
        tokens: Bearer tokens; None lets everybody in.
        tls: Its certificate and key; None for none.
        exporters: Of the receiver's own metrics.
        announce: Takes a line for whoever operates it.
    """

    settings: Settings
    limits: Limits
    workers: int
    tokens: Renewed[tuple[str, ...]] | None
    tls: Renewed[ssl.SSLContext] | None
    exporters: tuple[Callable[[], Any], ...]
    announce: Callable[[str], None]

    def look(self, is_asked: bool, *, silently: bool = False) -> None:
        """Load again what has been replaced of the files, or all of them where that is asked for."""
        for files in (self.tokens, self.tls):
            told = None if files is None else files.look(is_asked=is_asked)
            if told is not None and not silently:
                self.announce(told)

    def bearer_tokens(self) -> tuple[str, ...]:
        """Those of now."""
        return () if self.tokens is None else self.tokens.value


def check_store(settings: Settings) -> None:
    """Refuse at once what would have every request refused later, before any file is made.

    Raises:
        StoreError: The store is damaged, another's or newer; or its journal cannot be written.
        ConfigurationError: The deployment key cannot be used.
    """
    paths = StorePaths.of(settings.database)
    store.require_usable(paths.database)
    if settings.token_key is None:
        deployment_key.load_or_create(settings.token_key_file)
    try:
        make_private_folder(paths.journal)
    except OSError as error:
        raise StoreError(f"{paths.journal} cannot be made: {error.strerror}.", "Make its folder writable.") from error
    if not os.access(paths.journal, os.W_OK | os.X_OK):
        raise StoreError(f"{paths.journal} cannot be written.", "Make it writable for this user.")


def serve(serving: Serving, sockets: list[socket.socket]) -> int:
    """Serve until a signal ends it; the exit code is 0 after SIGTERM.

    Raises:
        KeyboardInterrupt: After SIGINT.
    """
    numbers = Numbers(serving.workers, receiver_metrics.COLUMNS)
    if serving.workers == 1:
        return _work(serving, sockets, numbers, 0, None)
    try:
        work = partial(_work, serving, sockets, numbers)
        return Workers(serving.workers, work, serving.look, serving.announce).run()
    finally:
        # A worker that ended while another led has left its last records to that one, which may have ended first.
        with suppress(StoreError, OSError):
            reading.sync(serving.settings, timeout_seconds=0, progress=lambda *_: None)


def _work(serving: Serving, sockets: list[socket.socket], numbers: Numbers, index: int, gone: int | None) -> int:
    """One worker, until a signal ends it or the process that it was forked from is gone."""
    recorder = Recorder(serving.settings)
    end_telemetry = receiver_telemetry.start(serving.exporters)
    intake = ReceiverIntake(Intake(serving.settings, recorder), serving.limits)
    metrics = ReceiverMetrics(numbers, index)
    receiver = Receiver(intake, serving.bearer_tokens, Health(serving.settings), metrics)
    # Where there are several the first process looks too, and tells it once.
    look = partial(serving.look, silently=gone is not None)
    try:
        _run(_Server(_config(serving, receiver, metrics), _tls(serving, metrics), gone, look), sockets)
    finally:
        intake.close()
        recorder.shutdown()
        end_telemetry()  # the last commit is told too
        recorder.remove()
    return 0


def _run(server: "_Server", sockets: list[socket.socket]) -> None:
    # uvicorn raises a signal again once it has ended: after SIGTERM there is something left to do. And one that
    # comes before uvicorn listens to signals must not be lost.
    before = signal.signal(signal.SIGTERM, lambda *_: server.end())
    signal.signal(signal.SIGHUP, lambda *_: server.look_soon())
    try:
        server.run(sockets)
    finally:
        # What is kept is still to be committed.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, before)


class _Server(uvicorn.Server):
    """A server that ends with the process that started it.

    Args:
        config: uvicorn's.
        tls: What `create_server` is told of TLS.
        gone: A descriptor that can be read once that process is gone; None where nothing started it.
        look: Looks whether files were replaced, or loads them because it is asked to.
    """

    def __init__(
        self, config: uvicorn.Config, tls: dict[str, Any], gone: int | None, look: Callable[[bool], None]
    ) -> None:
        super().__init__(config)
        self._tls = tls
        self._gone = gone
        self._look = look
        self._is_asked = False
        self._looking: asyncio.Future[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen as uvicorn does, which cannot be told how long a client may take for its part of TLS."""
        loop = asyncio.get_running_loop()
        if self._gone is not None:
            loop.add_reader(self._gone, self.end)
        protocol: Any = self.config.http_protocol_class
        connection = partial(protocol, config=self.config, server_state=self.server_state, app_state={})
        self.servers = [
            await loop.create_server(connection, sock=listener, backlog=self.config.backlog, **self._tls)
            for listener in sockets or ()
        ]
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: look at files now and then, beside the requests, since a disk may be slow."""
        is_due = self._is_asked or counter % (LOOK_SECONDS * 10) == 0
        if is_due and (self._looking is None or self._looking.done()):
            is_asked, self._is_asked = self._is_asked, False
            self._looking = asyncio.ensure_future(asyncio.to_thread(self._look, is_asked))
        return await super().on_tick(counter)

    def look_soon(self) -> None:
        """Load files again."""
        self._is_asked = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A terminal sends SIGINT to all processes: the one that started this one says when it is to end."""
        if self._gone is None or sig != signal.SIGINT:
            super().handle_exit(sig, frame)

    def end(self) -> None:
        """End once the requests that have begun are answered."""
        self.should_exit = True


def _config(serving: Serving, receiver: Receiver, metrics: ReceiverMetrics) -> uvicorn.Config:
    for name in ("uvicorn", "uvicorn.error", "asyncio"):
        # What clients do wrong is theirs to read; it must not fill our log.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    protocol: Any = partial(ReceiverProtocol, limits=serving.limits, metrics=metrics)
    return uvicorn.Config(
        receiver,
        http=protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACEFUL_SECONDS,
    )


def _tls(serving: Serving, metrics: ReceiverMetrics) -> dict[str, Any]:
    if serving.tls is None:
        return {}
    limits = serving.limits
    return {
        "ssl": listening.BoundedTLS.of(serving.tls, limits.connections, metrics.refused),
        "ssl_handshake_timeout": limits.client_seconds,
        "ssl_shutdown_timeout": limits.client_seconds,
    }
