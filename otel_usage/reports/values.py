"""Values: from what DuckDB returns to what is printed, the same in every format."""

import json
import unicodedata
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

# Controls, invisible formatting (text direction among it), lone surrogates, line and paragraph separators.
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def plain(value: Any, zone: ZoneInfo) -> Any:
    """A value as JSON knows it: instants in ISO 8601 with the offset of `zone`; NaN and infinity are missing.

    The store's timestamps are UTC, so a timestamp without a zone is read as UTC.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if isfinite(value) else None
        case Decimal():
            return _number(value)
        case datetime():
            return _instant(value, zone)
        case date() | time():
            return value.isoformat()
        case _:
            return _other(value, zone)


def _number(value: Decimal) -> int | float | None:
    if not value.is_finite():
        return None
    return int(value) if value == value.to_integral_value() else float(value)


def _instant(value: datetime, zone: ZoneInfo) -> str:
    moment = value if value.tzinfo else value.replace(tzinfo=UTC)
    try:
        return moment.astimezone(zone).isoformat()
    except OverflowError:  # the first and last hours of the calendar, which `zone` shifts out of it
        return moment.isoformat()


def _other(value: Any, zone: ZoneInfo) -> Any:
    match value:
        case Mapping():
            return {str(plain(key, zone)): plain(item, zone) for key, item in value.items()}
        case list() | tuple() | set():
            return [plain(item, zone) for item in value]
        case bytes() | bytearray():
            return value.hex()
        case timedelta() | UUID():
            return str(value)
        case _:
            return str(value)


def text(value: Any) -> str:
    """A plain value as one cell: missing is empty, text is itself, everything else as in JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else dumps(value)


def dumps(value: Any) -> str:
    """A plain value as JSON on one line."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def visible(cell: str) -> str:
    """Text that is safe on a terminal: what would move the cursor or hide text is written as an escape."""
    if cell.isascii() and cell.isprintable():
        return cell
    return "".join(_escape(character) for character in cell)


def _escape(character: str) -> str:
    if unicodedata.category(character) not in _INVISIBLE:
        return character
    return character.encode("unicode_escape").decode("ascii")
