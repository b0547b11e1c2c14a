"""Values: the same plain value in every format."""

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_usage.reports import values

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        (True, True),
        (1 << 70, 1 << 70),
        (1.5, 1.5),
        (math.nan, None),
        (-math.inf, None),
        (Decimal("1.50"), 1.5),
        (Decimal("3"), 3),
        (Decimal("NaN"), None),
        (datetime(2026, 7, 1, 12), "2026-07-01T14:00:00+02:00"),
        (datetime(2026, 7, 1, 12, tzinfo=UTC), "2026-07-01T14:00:00+02:00"),
        (datetime.max, "9999-12-31T23:59:59.999999+00:00"),
        (date(2026, 7, 1), "2026-07-01"),
        (time(8, 30), "08:30:00"),
        (timedelta(hours=36), "1 day, 12:00:00"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"\x00\xff", "00ff"),
        ({"a": [math.nan, {date(2026, 1, 1): (1,)}]}, {"a": [None, {"2026-01-01": [1]}]}),
    ],
)
def test_values_become_plain(value: object, plain: object) -> None:
    """JSON can hold each; timestamps are UTC and printed in the zone."""
    assert values.plain(value, BERLIN) == plain


@pytest.mark.parametrize(
    ("value", "cell"),
    [(None, ""), ("", ""), ("a", "a"), (True, "true"), (0.1, "0.1"), ({"ä": None}, '{"ä": null}')],
)
def test_a_cell_is_text_or_json(value: object, cell: str) -> None:
    """Text is itself, missing is empty, the rest as in JSON."""
    assert values.text(value) == cell


@given(st.text(st.characters(exclude_categories=[])))
def test_no_text_can_steer_a_terminal(text: str) -> None:
    """Whatever a client sent, what is shown is printable and one line, and printable text is unchanged."""
    shown = values.visible(text)
    assert shown.isprintable() or not any(ord(character) < 32 for character in shown)
    assert len(shown.splitlines()) <= 1
    assert "\x1b" not in shown and "\u202e" not in shown and "\x9b" not in shown
    if text.isascii() and text.isprintable():
        assert shown == text
