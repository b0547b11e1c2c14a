"""Who may commit: the one process of a store that holds the lock on `<store>.lock`.

The only place that opens this file: whoever closes any descriptor of it drops the process's lock, so each process
opens it once and keeps it.
"""

import contextlib
import errno
import fcntl
import os
import struct
import sys
from collections.abc import Iterator
from typing import Final

from otel_usage.exporter.native import new_lock
from otel_usage.exporter.paths import StorePaths, make_private_folder

# struct flock, as fcntl(2) defines it on each system: the fields' order, and their layout on 64 bits.
_IS_LINUX: Final = sys.platform.startswith("linux")
_FLOCK: Final = "hhqqi4x" if _IS_LINUX else "qqihh"  # type, whence, start, length, pid; or pid, type, whence last


class _LockFile:
    """This process's one descriptor of a lock file, and whether it holds the lock."""

    def __init__(self, paths: StorePaths) -> None:
        self.pid = os.getpid()
        self.path = paths.lock
        self.mutex = new_lock()
        self.holder: Leadership | None = None
        self._fd = -1

    def acquire(self, holder: "Leadership") -> bool:
        """Take the lock if it is free.

        Raises:
            OSError: The file cannot be made or locked.
        """
        self.open()
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            return False
        self.holder = holder
        return True

    def release(self) -> None:
        self.holder = None
        fcntl.lockf(self._fd, fcntl.LOCK_UN)

    def open(self) -> None:
        """Open the file, again if another is there under its name now: a lock on that one is worth nothing."""
        if self._fd >= 0 and not self.is_current():
            self.close()
        if self._fd < 0:
            make_private_folder(self.path.parent)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def is_current(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._fd), self.path.stat())
        except OSError:
            return False

    def close(self) -> None:
        self.holder = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def owner(self) -> int | None:
        """The process that holds the lock, None if none does.

        Raises:
            OSError: The file cannot be opened.
        """
        if self.holder is not None and self.is_current():
            return self.pid
        self.open()
        lock = (fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0) if _IS_LINUX else (0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET)
        answer = fcntl.fcntl(self._fd, fcntl.F_GETLK, struct.pack(_FLOCK, *lock))
        fields = struct.unpack(_FLOCK, answer)
        kind, pid = (fields[0], fields[4]) if _IS_LINUX else (fields[3], fields[2])
        return None if kind == fcntl.F_UNLCK else int(pid)


_files: dict[StorePaths, _LockFile] = {}
# The processes that are, or were when this one was forked, amid a turn.
_amid_a_turn: Final[list[int]] = []


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """While DuckDB is at work here, or what forwards is imported: a child that is forked meanwhile never leads.

    It has an open store without the lock on it, and locks, those of imports too, of threads that it does not have.
    """
    pid = os.getpid()
    _amid_a_turn.append(pid)
    try:
        yield
    finally:
        _amid_a_turn.remove(pid)


def _file_of(paths: StorePaths) -> _LockFile:
    """This process's lock file; what it inherited over a fork is closed, which leaves the parent's lock alone."""
    file = _files.get(paths)
    if file is None or file.pid != os.getpid():
        if file is not None:
            file.close()
        file = _files[paths] = _LockFile(paths)
    return file


class Leadership:
    """The right to commit into one store, held at most once at a time by one process of a machine.

    Args:
        paths: Of the store.
    """

    def __init__(self, paths: StorePaths) -> None:
        self._paths = paths

    def try_acquire(self) -> bool:
        """Become, or stay, the leader if no other process is, and nobody else in this one.

        Raises:
            OSError: The lock file cannot be made; or nobody leads, and this process may not.
        """
        file = _file_of(self._paths)
        with file.mutex:
            if any(pid != os.getpid() for pid in _amid_a_turn):
                if file.owner() is None:
                    raise OSError("this process was forked amid a commit; its records wait for another, or a report")
                return False
            if file.holder is not None and not file.is_current():
                file.close()
            if file.holder is None:
                file.acquire(self)
            return file.holder is self

    def release(self) -> None:
        """Stop leading. Without effect for one that does not lead."""
        file = _file_of(self._paths)
        with file.mutex:
            if file.holder is self:
                file.release()


def process_name(pid: int) -> str:
    """How people are told of a process that `leader_pid` has found; the system tells 0 of another container's."""
    return f"process {pid}" if pid else "a process of another container"


def leader_pid(paths: StorePaths) -> int | None:
    """The process that commits into this store, 0 if it is in another PID namespace, None if none lives.

    Makes no file.

    Raises:
        OSError: The lock file cannot be opened.
    """
    if not paths.lock.exists():
        return None
    file = _file_of(paths)
    with file.mutex:
        return file.owner()
