"""Periods: what the options mean, to the instant."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_usage.errors import InvalidFilterError, InvalidPeriodError
from otel_usage.reports import period

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 3, 29, 10, 30, tzinfo=UTC)  # the day on which Berlin's clocks go forward
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"])


def parse(
    last: str | None = None,
    since: str | None = None,
    until: str | None = None,
    zone: ZoneInfo = BERLIN,
) -> period.Period:
    return period.parse(last, since, until, zone, NOW)


def test_no_option_is_all_time() -> None:
    """Nothing bounds the period unless asked for."""
    assert parse() == period.Period(None, None)


@pytest.mark.parametrize(
    ("last", "since"),
    [
        ("12h", datetime(2026, 3, 28, 22, 30, tzinfo=UTC)),
        ("1d", datetime(2026, 3, 28, 11, 30, tzinfo=UTC)),  # 12:30 in Berlin both days: 23 hours
        ("2w", datetime(2026, 3, 15, 11, 30, tzinfo=UTC)),
        ("1m", datetime(2026, 2, 28, 11, 30, tzinfo=UTC)),  # there is no 29 February
        ("1y", datetime(2025, 3, 29, 11, 30, tzinfo=UTC)),
    ],
)
def test_last_counts_back_from_now(last: str, since: datetime) -> None:
    """Hours are 60 minutes; longer units keep the time of day of the zone."""
    assert parse(last) == period.Period(since, NOW)


@pytest.mark.parametrize("last", ["", "30", "d", "0d", "-1d", "1.5d", "30 d", "30D", "٣d", "1s", "9999y", "999999m"])
def test_what_is_no_period_is_refused(last: str) -> None:
    """Anything but a positive number and a known unit is refused, and what begins before the calendar."""
    with pytest.raises(InvalidPeriodError):
        parse(last)


def test_a_date_is_its_first_moment_in_the_zone() -> None:
    """--since and --until read dates in the time zone, also where the clocks change that day."""
    found = parse(since="2026-03-29", until="2026-03-30")
    assert found.since == datetime(2026, 3, 28, 23, tzinfo=UTC)
    assert found.until == datetime(2026, 3, 29, 22, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2026-03-29T08:30", "2026-03-29 06:30:00Z", "2026-03-29T08:30:00+02:00"])
def test_times_are_read_with_or_without_offset(text: str) -> None:
    """Without an offset a time is one of the zone."""
    assert parse(since=text).since == datetime(2026, 3, 29, 6, 30, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterdayish", "2026-02-30", "", "12:30", "0001-01-01", "2026-13-01T00:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """So is the first day of the calendar, which begins before it in Berlin."""
    with pytest.raises(InvalidPeriodError, match="neither a date nor a time"):
        parse(since=text)


@pytest.mark.parametrize(("since", "until"), [("2026-01-02", "2026-01-01"), ("2026-01-01", "2026-01-01")])
def test_an_empty_period_is_refused(since: str, until: str) -> None:
    """--until is excluded, so it must come after --since."""
    with pytest.raises(InvalidPeriodError, match="is not before"):
        parse(since=since, until=until)


def test_last_excludes_since_and_until() -> None:
    """Two ways to say a period are one too many."""
    with pytest.raises(InvalidPeriodError, match="cannot be combined"):
        parse("1d", since="2026-01-01")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Berlin", "Europe/Berlin"),
        ("europe/berlni", "Europe/Berlin"),
        ("somewhere else", "UTC"),
        ("", "UTC"),
        ("../x", "UTC"),
    ],
)
def test_an_unknown_zone_is_refused_with_the_closest(name: str, hint: str) -> None:
    """The hint shows how zones are named."""
    with pytest.raises(InvalidFilterError, match="no time zone") as refused:
        period.zone(name)
    assert hint in refused.value.hint


@settings(deadline=None)
@given(st.text(max_size=20), ZONES)
def test_any_text_is_read_or_refused(text: str, zone: str) -> None:
    """No text raises anything but InvalidPeriodError."""
    for option in ("last", "since", "until"):
        try:
            found = parse(**{option: text}, zone=ZoneInfo(zone))
        except InvalidPeriodError:
            continue
        assert found != period.Period()


@settings(deadline=None)
@given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)), ZONES)
def test_an_instant_survives_being_written_in_any_zone(moment: datetime, zone: str) -> None:
    """What is printed with an offset can be given back as a period, to the microsecond."""
    written = moment.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).isoformat()
    assert period.instant(written, BERLIN) == moment.replace(tzinfo=UTC)


@settings(deadline=None)
@given(st.integers(1, 200), st.sampled_from("hdwmy"), ZONES)
def test_last_is_about_as_long_as_it_says(count: int, unit: str, zone: str) -> None:
    """Every period ends now; its length is that of its units, give or take a change of clocks or calendar."""
    hours = {"h": 1, "d": 24, "w": 168, "m": 730.5, "y": 8766}[unit]
    found = parse(f"{count}{unit}", zone=ZoneInfo(zone))
    assert found.until == NOW and found.since is not None
    assert abs(NOW - found.since - timedelta(hours=count * hours)) <= timedelta(days=4)
