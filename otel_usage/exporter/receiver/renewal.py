"""Files that are replaced while the receiver runs, as certbot and Kubernetes do: what was last good of them is in use.

What they hold is the loader's to know, when it is time to look `serving`'s.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Generic, TypeVar

from otel_usage.errors import ConfigurationError

# How often it is worth a look.
LOOK_SECONDS: Final = 2

_Value = TypeVar("_Value")
# Of each file: device, inode, times and size, or that it is not there.
_Stamps = tuple[tuple[int, ...] | None, ...]


class Renewed(Generic[_Value]):
    """What some files hold together, loaded again once they have changed.

    Args:
        name: What they are called in the log.
        paths: Of the files; symbolic links are followed.
        load: Reads all of them.

    Attributes:
        value: What they held when they were last good.

    Raises:
        ConfigurationError: They cannot be used. Only now: later they are told of.
    """

    def __init__(self, name: str, paths: Sequence[Path], load: Callable[[], _Value]) -> None:
        self._name = name
        self._paths = paths
        self._load = load
        # Before they are read: who writes meanwhile is noticed at the next look.
        self._loaded = self._seen = self._stamps()
        self._complaint = ""
        self.value = load()

    def look(self, *, is_asked: bool = False) -> str | None:
        """Load them if they have changed, and not since the last look: what is written in two steps is then complete.

        Args:
            is_asked: Load them at once and in any case.

        Returns:
            What whoever operates the receiver is to be told, each trouble once; never what the files hold.
        """
        seen, before = self._stamps(), self._seen
        self._seen = seen
        if not is_asked and seen == self._loaded:
            self._complaint = ""
            return None
        if not is_asked and seen != before:
            return None
        pipe = next((path for path in self._paths if path.is_fifo()), None)
        if pipe is not None:  # to read it may take for ever
            return self._complain(f"{pipe} is a pipe, and is read at the start alone.", is_asked)
        try:
            self.value = self._load()
        except ConfigurationError as error:
            return self._complain(f"{error.message} What was loaded before stays in use. {error.hint}", is_asked)
        self._loaded, self._complaint = seen, ""
        return f"{self._name} was loaded again."

    def _complain(self, complaint: str, is_asked: bool) -> str | None:
        if complaint == self._complaint and not is_asked:
            return None
        self._complaint = complaint
        return complaint

    def _stamps(self) -> _Stamps:
        return tuple(map(_stamp, self._paths))


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
