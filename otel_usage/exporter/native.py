"""Threads and locks of the operating system, also where gevent or eventlet has replaced Python's.

A greenlet that commits would stall the hub, and a replaced lock belongs to one hub: the journal is
written from request greenlets and from a native thread.
"""

import _thread
import sys
from collections.abc import Callable
from typing import Any


def _original(name: str) -> Any:
    """`_thread.<name>` as it was before any monkey patching."""
    if "gevent.monkey" in sys.modules:
        return sys.modules["gevent.monkey"].get_original("_thread", name)
    if "eventlet.patcher" in sys.modules:
        return getattr(sys.modules["eventlet.patcher"].original("_thread"), name)
    return getattr(_thread, name)


def new_lock() -> _thread.LockType:
    """A lock of the operating system, unlocked."""
    lock: _thread.LockType = _original("allocate_lock")()
    return lock


def start_thread(target: Callable[[], None]) -> None:
    """Run `target` in a thread of the operating system that does not keep the process alive.

    Raises:
        RuntimeError: Threads do not run here, or no more of them.
    """
    # Without threads uWSGI lets others run only while a request does: a commit would be left in its middle.
    if not getattr(sys.modules.get("uwsgi"), "has_threads", True):
        raise RuntimeError("uWSGI runs no threads of Python; start it with --enable-threads")
    _original("start_new_thread")(target, ())


def libraries_outlive_python() -> bool:
    """Whether a library of C++ can still be used where `atexit` is run.

    uWSGI ends Python in C's `exit`, after the destructors of everything that was loaded since it started.
    """
    return "uwsgi" not in sys.modules


class Event:
    """What `threading.Event` is, for native threads and one waiter: the waiter's wake-up call."""

    def __init__(self) -> None:
        self._lock = new_lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake the waiter now, or spare it its next wait."""
        try:
            self._lock.release()
        except RuntimeError:  # is set already
            return

    def wait(self, seconds: float) -> bool:
        """Wait until set, at most so long, and clear it again. True if it was set."""
        return self._lock.acquire(True, max(0.0, seconds))


class Gate:
    """What many threads wait at until it is opened, once and for all."""

    def __init__(self) -> None:
        self._event = Event()

    def open(self) -> None:
        """Let everybody through, now and later."""
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Wait until it is open, at most so long. True if it is."""
        if not self._event.wait(seconds):
            return False
        self._event.set()  # for the next one
        return True
