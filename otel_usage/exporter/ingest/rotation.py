"""The names that the Collector gives to the files it has rotated, and what follows from them."""

import re
from collections.abc import Iterable
from typing import Final

_ROTATED: Final = re.compile(
    r"(?P<stem>.+)-(?P<time>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3})(?:-[a-z]+)?(?P<suffix>\.[^/]*)?"
)


def is_rotated(name: str) -> bool:
    """Whether a file of this name is complete: its Collector never writes it again."""
    return _ROTATED.fullmatch(name) is not None


def origin(name: str) -> str:
    """Under which name a file was written."""
    rotated = _ROTATED.fullmatch(name)
    return name if rotated is None else f"{rotated['stem']}{rotated['suffix'] or ''}"


def in_order(names: Iterable[str]) -> list[str]:
    """From the oldest file to those that are still written."""

    def age(name: str) -> tuple[bool, str, str]:
        rotated = _ROTATED.fullmatch(name)
        return rotated is None, rotated["time"] if rotated is not None else "", name

    return sorted(names, key=age)
