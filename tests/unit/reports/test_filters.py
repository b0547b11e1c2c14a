"""Filters: which clauses are understood, and that values only ever travel as parameters."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_usage.errors import InvalidFilterError
from otel_usage.reports import filters
from otel_usage.reports.columns import USAGE_COLUMNS

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("clause", "column", "value"),
    [
        ("user_id=u1", "user_id", "u1"),
        ("path=/a=b", "path", "/a=b"),
        ("status_code=404", "status_code", 404),
        ("duration_ms=1.5", "duration_ms", 1.5),
        ("is_error=TRUE", "is_error", True),
        ("sampled=false", "sampled", False),
        ("day=2026-03-29", "day", date(2026, 3, 29)),
        ("start_time=2026-03-29T08:30", "start_time", datetime(2026, 3, 29, 6, 30)),
        ("user_id=", "user_id", None),
        ("status_code=", "status_code", None),
    ],
)
def test_a_clause_becomes_a_value_of_its_column(clause: str, column: str, value: object) -> None:
    """The value has the column's type; nothing after "=" is a missing value."""
    assert filters.parse([clause], BERLIN) == (filters.Filter(column, None, (value,)),)


def test_the_same_column_again_is_one_filter() -> None:
    """Clauses of one column are alternatives, also "missing"; another column is another filter."""
    found = filters.parse(["user_id=a", "action=view", "user_id=b", "user_id="], BERLIN)
    assert found == (filters.Filter("user_id", None, ("a", "b", None)), filters.Filter("action", None, ("view",)))
    assert found[0].condition(7) == (
        "(user_id IS NULL OR user_id = $where_7_0 OR user_id = $where_7_1)",
        {"where_7_0": "a", "where_7_1": "b"},
    )


def test_a_key_of_the_map_is_a_parameter_too() -> None:
    """`attributes.KEY=value` asks for one key, whatever is in its name."""
    (found,) = filters.parse(["attributes.a'b.c=d"], BERLIN)
    assert found.condition(0) == (
        "(attributes[$where_0_key] = $where_0_0)",
        {"where_0_key": "a'b.c", "where_0_0": "d"},
    )


@pytest.mark.parametrize(
    ("clause", "says"),
    [
        ("user_id", "has no '='"),
        ("", "has no '='"),
        ("=x", "no column ''"),
        ("usr_id=x", "Did you mean user_id"),
        ("user_id OR 1=1", "no column 'user_id OR 1'"),
        ("user_id.x=1", "no column 'user_id.x'"),
        ("attributes=x", "needs a key"),
        ("attributes.=x", "needs a key"),
        ("status_code=ok", "whole number"),
        ("status_code=40000", "whole number"),
        ("request_bytes=9223372036854775808", "whole number"),
        ("duration_ms=nan", "a number"),
        ("is_error=1", "true or false"),
        ("day=today", "a date"),
        ("start_time=today", "a time"),
        ("user_id=\x00", "text"),
        ("user_id=\udcff", "text"),
    ],
)
def test_a_bad_clause_is_refused(clause: str, says: str) -> None:
    """The message names the clause, the hint what is right."""
    with pytest.raises(InvalidFilterError) as refused:
        filters.parse([clause], BERLIN)
    assert says in str(refused.value)


@settings(deadline=None)
@given(st.one_of(st.text(), st.builds("{}={}".format, st.sampled_from(list(USAGE_COLUMNS)), st.text())))
def test_no_text_reaches_the_sql(clause: str) -> None:
    """Whatever is written, the condition consists of known columns and parameters."""
    try:
        (found,) = filters.parse([clause], BERLIN)
    except InvalidFilterError:
        return
    condition, parameters = found.condition(0)
    subject = found.column if found.key is None else f"{found.column}[$where_0_key]"
    assert condition in (f"({subject} = $where_0_0)", f"({subject} IS NULL)")
    assert set(parameters) <= {"where_0_0", "where_0_key"}
