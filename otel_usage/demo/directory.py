"""The demo's directory: made, marked, emptied for the next run; a directory of somebody else is left alone."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from otel_usage.errors import ConfigurationError

MARKER: Final = ".otel-usage-demo"
DATABASE: Final = "usage.duckdb"
SERVER_LOG: Final = "server.log"
PORTAL: Final = "portal"


@contextmanager
def claimed(directory: Path) -> Iterator[Path]:
    """The directory, emptied of the last run and held against another until the block ends.

    Raises:
        ConfigurationError: It holds files and no demo made it, it cannot be made, or a demo runs in it.
    """
    directory = directory.expanduser().absolute()
    try:
        marker = _mark(directory)
    except OSError as error:
        raise ConfigurationError(
            f"{directory} cannot be used: {error.strerror}.", "Choose another --directory."
        ) from None
    with marker:
        _hold(marker, directory)
        _empty(directory)
        yield directory


def _mark(directory: Path) -> IO[bytes]:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    marker = directory / MARKER
    if not marker.exists() and any(directory.iterdir()):
        raise ConfigurationError(
            f"{directory} is not empty and was not made by the demo.",
            "Choose another --directory, or remove it.",
        )
    return marker.open("ab")


def _hold(marker: IO[bytes], directory: Path) -> None:
    try:
        fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigurationError(
            f"Another demo is running in {directory}.", "Wait for it, or choose another --directory."
        ) from None


def _empty(directory: Path) -> None:
    """Only what a demo leaves is removed: somebody may have put an analysis beside it."""
    for path in (*directory.glob(f"{DATABASE}*"), directory / SERVER_LOG, directory / PORTAL):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
