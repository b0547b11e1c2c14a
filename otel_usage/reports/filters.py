"""Filters: what `--where column=value` means.

A column's name becomes SQL only after it was found among the columns of `usage`; a value is always a parameter.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from math import isfinite
from typing import Any, Final
from zoneinfo import ZoneInfo

from otel_usage.errors import InvalidFilterError
from otel_usage.reports.catalogue import closest
from otel_usage.reports.columns import USAGE_COLUMNS
from otel_usage.reports.period import instant

_MAP: Final = "attributes"
_BITS: Final = {"SMALLINT": 16, "BIGINT": 64}


@dataclass(frozen=True, slots=True)
class Filter:
    """One column's condition: any of `values`, where None is a missing value.

    Attributes:
        column: A column of `usage`.
        key: The key looked up, where the column is a map.
        values: Python values of the column's type.
    """

    column: str
    key: str | None
    values: tuple[Any, ...]

    def condition(self, number: int) -> tuple[str, Mapping[str, Any]]:
        """The condition in SQL, and its parameters, whose names begin with `where_<number>`."""
        name = f"where_{number}"
        parameters: dict[str, Any] = {}
        subject = self.column
        if self.key is not None:
            subject = f"{self.column}[${name}_key]"
            parameters[f"{name}_key"] = self.key
        alternatives = [f"{subject} IS NULL"] if None in self.values else []
        for index, value in enumerate(value for value in self.values if value is not None):
            alternatives.append(f"{subject} = ${name}_{index}")
            parameters[f"{name}_{index}"] = value
        return f"({' OR '.join(alternatives)})", parameters


def parse(clauses: Iterable[str], zone: ZoneInfo) -> tuple[Filter, ...]:
    """Read `column=value` clauses: the same column again is "or", different columns are "and".

    Args:
        clauses: Split at the first "="; nothing after it stands for a missing value. `attributes.KEY=value` asks
            for one key of the map.
        zone: The time zone of instants written without an offset.

    Raises:
        InvalidFilterError: A clause has no "=", names no column, or its value is not of the column's type.
    """
    values: dict[tuple[str, str | None], list[Any]] = {}
    for clause in clauses:
        name, separator, text = clause.partition("=")
        if not separator:
            raise InvalidFilterError(f"--where {clause!r} has no '='.", "Write column=value.")
        values.setdefault(_subject(name), []).append(_value(name, text, zone))
    return tuple(Filter(column, key, tuple(wanted)) for (column, key), wanted in values.items())


def _subject(name: str) -> tuple[str, str | None]:
    column, separator, key = name.partition(".")
    if column == _MAP:
        if not key:
            raise InvalidFilterError(f"--where {name} needs a key.", f"Write {_MAP}.KEY=value.")
        return column, key
    if separator or column not in USAGE_COLUMNS:
        raise InvalidFilterError(f"There is no column {name!r}.", closest(name, USAGE_COLUMNS))
    return column, None


def _value(name: str, text: str, zone: ZoneInfo) -> Any:
    if not text:
        return None
    kind = USAGE_COLUMNS.get(name, "VARCHAR")
    convert, wanted = _CONVERTERS.get(kind, (_text, "text without control code 0"))
    try:
        return convert(text, kind, zone)
    except (ValueError, OverflowError):
        raise InvalidFilterError(
            f"--where {name}={text}: the value does not fit the column.", f"It must be {wanted}."
        ) from None


def _text(text: str, _kind: str, _zone: ZoneInfo) -> str:
    text.encode("utf-8")  # an argument that is not UTF-8 arrives with surrogates, which DuckDB cannot take
    if "\x00" in text:
        raise ValueError(text)
    return text


def _integer(text: str, kind: str, _zone: ZoneInfo) -> int:
    value = int(text)
    bound = 1 << (_BITS[kind] - 1)
    if not -bound <= value < bound:
        raise ValueError(text)
    return value


def _number(text: str, _kind: str, _zone: ZoneInfo) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(text)
    return value


def _boolean(text: str, _kind: str, _zone: ZoneInfo) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _timestamp(text: str, _kind: str, zone: ZoneInfo) -> datetime:
    return instant(text, zone).replace(tzinfo=None)


def _date(text: str, _kind: str, _zone: ZoneInfo) -> date:
    return date.fromisoformat(text)


_Converter = Callable[[str, str, ZoneInfo], Any]
_CONVERTERS: Final[Mapping[str, tuple[_Converter, str]]] = {
    "SMALLINT": (_integer, "a whole number between -32768 and 32767"),
    "BIGINT": (_integer, "a whole number of 64 bits"),
    "DOUBLE": (_number, "a number"),
    "BOOLEAN": (_boolean, "true or false"),
    "TIMESTAMP": (_timestamp, "a time like 2026-01-31T08:30:00"),
    "DATE": (_date, "a date like 2026-01-31"),
}
