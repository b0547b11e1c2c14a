"""The workers of a receiver: processes forked from one that does nothing else, each started again when it dies.

They end when it does, however it does. What a worker does is the caller's.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Final

from otel_usage.exporter.receiver.renewal import LOOK_SECONDS

_ENDING: Final = (signal.SIGTERM, signal.SIGINT)
_TOLD: Final = (signal.SIGCHLD, signal.SIGALRM)
_AWAITED: Final = (*_ENDING, *_TOLD, signal.SIGHUP)
# A worker that dies at once is started again, but not all the time.
_PAUSE_SECONDS: Final = 1.0
# Requests have ten to be answered, the last commit five: one that needs longer hangs. What it took is in the journal.
_PATIENCE_SECONDS: Final = 30


class Workers:
    """Keeps a number of workers running until it is told to end.

    Args:
        count: How many.
        work: Run in each, with its index and a descriptor that can be read once this process is gone; gives the
            worker's exit code.
        look: Called every few seconds and, with True, at SIGHUP, which each worker gets too.
        announce: Takes a line for whoever operates it.
    """

    def __init__(
        self,
        count: int,
        work: Callable[[int, int], int],
        look: Callable[[bool], None],
        announce: Callable[[str], None],
    ) -> None:
        self._count = count
        self._work = work
        self._look = look
        self._announce = announce
        self._workers: dict[int, tuple[int, float]] = {}
        self._ending: int | None = None
        self._kill_at = 0.0  # once it ends
        # Nobody writes into it: the end for reading is at its end once the other is closed by all who have it.
        self._gone, self._alive = os.pipe()

    def run(self) -> int:
        """Run them until SIGTERM; the exit code is 0.

        Raises:
            KeyboardInterrupt: It was SIGINT.
        """
        # Ignored ones would not be told of, and one that comes at the end must not end this process.
        handled = (*_TOLD, signal.SIGHUP)
        before = [signal.signal(number, lambda *_: None) for number in handled]
        signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
        try:
            for index in range(self._count):
                self._start(index)
            # Not `sigtimedwait`, which macOS has not.
            signal.setitimer(signal.ITIMER_REAL, LOOK_SECONDS, LOOK_SECONDS)
            while self._workers:
                self._await()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED)
            for number, handler in zip(handled, before, strict=True):
                signal.signal(number, handler)
        if self._ending == signal.SIGINT:
            raise KeyboardInterrupt
        return 0

    def _start(self, index: int, pause: float = 0.0) -> None:
        pid = os.fork()
        if pid:
            self._workers[pid] = (index, time.monotonic())
            return
        code = 1
        try:
            os.close(self._alive)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            for number in _TOLD:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED)
            time.sleep(pause)
            code = self._work(index, self._gone)
        except Exception as error:  # nothing of what this process has on its stack is the worker's
            self._announce(f"worker {os.getpid()} ends: {type(error).__name__}: {error}")
        finally:
            with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
                sys.stderr.flush()
            os._exit(code)

    def _await(self) -> None:
        number = signal.sigwait(_AWAITED)
        if number == signal.SIGHUP:
            self._look(True)
            self._send(signal.SIGHUP)
        elif number in _ENDING:
            if self._ending is None:
                self._ending = number
                self._kill_at = time.monotonic() + _PATIENCE_SECONDS
            self._send(signal.SIGTERM)
        elif number == signal.SIGALRM and self._ending is None:
            self._look(False)
        elif number == signal.SIGALRM and time.monotonic() >= self._kill_at:
            self._announce(f"{len(self._workers)} workers do not end, and are killed")
            self._send(signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):  # none is left
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self._bury(*ended)

    def _send(self, number: int) -> None:
        for pid in self._workers:
            os.kill(pid, number)

    def _bury(self, pid: int, status: int) -> None:
        index, started = self._workers.pop(pid)
        if self._ending is not None:
            return
        self._announce(f"worker {pid} ended with {os.waitstatus_to_exitcode(status)}; another takes its place")
        self._start(index, _PAUSE_SECONDS if time.monotonic() - started < _PAUSE_SECONDS else 0.0)
