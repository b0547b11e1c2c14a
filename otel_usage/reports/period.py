"""Periods: what `--last`, `--since`, `--until` and `--timezone` mean.

Instants are aware and in UTC here; only the store's columns are UTC without an offset.
"""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from otel_usage.errors import InvalidFilterError, InvalidPeriodError
from otel_usage.reports.catalogue import closest

_LAST: Final = re.compile(r"(\d{1,6})([hdwmy])", re.ASCII)
_MONTHS: Final = {"m": 1, "y": 12}
_DAYS: Final = {"d": 1, "w": 7}


@dataclass(frozen=True, slots=True)
class Period:
    """From `since`, included, until `until`, excluded, in UTC; None is without end."""

    since: datetime | None = None
    until: datetime | None = None


def zone(name: str) -> ZoneInfo:
    """The time zone of this name in the IANA database.

    Raises:
        InvalidFilterError: There is none; the hint names the closest.
    """
    known = available_timezones() - {"localtime"}  # whatever this machine is set to: DuckDB knows no such zone
    if name not in known:
        raise InvalidFilterError(f"There is no time zone {name!r}.", _closest_zone(name, sorted(known)))
    return ZoneInfo(name)


def _closest_zone(name: str, known: list[str]) -> str:
    cities = tuple(zone for zone in known if name and zone.lower().endswith(f"/{name.lower()}"))
    hint = closest(name, cities or tuple(known))
    return hint if hint.startswith("Did") or cities else "Names are like UTC or Europe/Berlin."


def parse(last: str | None, since: str | None, until: str | None, zone: ZoneInfo, now: datetime) -> Period:
    """The period that the options describe; all time where none is given.

    Args:
        last: A number and a unit, ending now: h is 60 minutes; d, w, m (months) and y are taken from the
            calendar of `zone`, so that a day across a change of clocks has 23 or 25 hours.
        since: A date (its first moment in `zone`) or a date and time of ISO 8601; included.
        until: The same; excluded.
        zone: The time zone of what is written without an offset.
        now: The end of `last`, aware.

    Raises:
        InvalidPeriodError: One of them cannot be read, both kinds are given, or the period is empty.
    """
    if last is not None and (since is not None or until is not None):
        raise InvalidPeriodError("--last cannot be combined with --since or --until.", "Use one or the other.")
    if last is not None:
        return Period(_ago(last, zone, now), now.astimezone(UTC))
    start = None if since is None else _instant("--since", since, zone)
    end = None if until is None else _instant("--until", until, zone)
    if start is not None and end is not None and start >= end:
        raise InvalidPeriodError(
            f"--since {since} is not before --until {until}.", "--until is the first moment left out."
        )
    return Period(start, end)


def instant(text: str, zone: ZoneInfo) -> datetime:
    """A date or a date and time of ISO 8601 as an instant in UTC.

    Raises:
        ValueError: It is neither, or lies outside the years 1 to 9999.
    """
    try:
        moment = datetime.combine(date.fromisoformat(text), time())
    except ValueError:
        moment = datetime.fromisoformat(text)
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from None


def _instant(option: str, text: str, zone: ZoneInfo) -> datetime:
    try:
        return instant(text, zone)
    except ValueError:
        raise InvalidPeriodError(
            f"{option} {text!r} is neither a date nor a time.",
            "Write 2026-01-31, 2026-01-31T08:30 or 2026-01-31T08:30:00+01:00.",
        ) from None


def _ago(last: str, zone: ZoneInfo, now: datetime) -> datetime:
    match = _LAST.fullmatch(last)
    if match is None or int(match[1]) == 0:
        raise InvalidPeriodError(
            f"--last {last!r} is not a period.",
            "Write a number and h, d, w, m or y: 12h, 30d, 4w, 3m (months), 1y.",
        )
    try:
        return _back(int(match[1]), match[2], zone, now)
    except (OverflowError, ValueError):
        raise InvalidPeriodError(f"--last {last!r} begins before the year 1.", "Leave it out for all time.") from None


def _back(count: int, unit: str, zone: ZoneInfo, now: datetime) -> datetime:
    if unit == "h":
        return now.astimezone(UTC) - timedelta(hours=count)
    local = now.astimezone(zone)
    if unit in _DAYS:
        return (local - timedelta(days=count * _DAYS[unit])).astimezone(UTC)
    return _months_before(local, count * _MONTHS[unit]).astimezone(UTC)


def _months_before(moment: datetime, months: int) -> datetime:
    year, month = divmod(moment.year * 12 + moment.month - 1 - months, 12)
    last_day = monthrange(year, month + 1)[1]
    return moment.replace(year=year, month=month + 1, day=min(moment.day, last_day))
