"""The line that `otel-usage ingest` ends with: numbers that add up, and none that is not known."""

import pytest

from otel_usage.cli.commands.ingest import _summary
from otel_usage.exporter.ingest.file_intake import Totals
from otel_usage.exporter.ingest.rows import Rows, Standing, rows_between
from otel_usage.exporter.ingest.run import Outcome
from otel_usage.exporter.otlp.intake import Taken

BEFORE = Standing("then", inserted=100, duplicate=10, rejected=1)


def said(totals: Totals, rows: Rows | None = None) -> str:
    """The summary of a run."""
    return _summary(Outcome(totals, rows, 0 if rows is None else rows.waiting))


def test_one_of_each() -> None:
    """What is one is no plural."""
    totals = Totals(1, Taken(4, 1, 1, 1, 1), other_signals=1, bad=1, unfinished=1, unreadable=1)
    assert said(totals, Rows(1, 0, 0)) == (
        "1 file, 4 spans: 1 request (1 new row, 0 already there), 1 other span, 1 left out, 1 rejected, 1 bad message,"
        " 1 unfinished file, 1 not read, 1 message of logs, metrics or profiles"
    )


def test_many_of_each() -> None:
    """What is many is; what may be passed over in silence is, where there is none."""
    totals = Totals(3, Taken(20, 10, 4, 3, 3), other_signals=2, bad=2, unfinished=2, unreadable=2)
    assert said(totals, Rows(5, 3, 2)) == (
        "3 files, 20 spans: 10 requests (5 new rows, 3 already there, 2 waiting to be committed), 4 other spans,"
        " 3 left out, 3 rejected, 2 bad messages, 2 unfinished files, 2 not read,"
        " 2 messages of logs, metrics or profiles"
    )
    assert said(Totals(2, Taken(7, 7)), Rows(7, 0, 0)) == (
        "2 files, 7 spans: 7 requests (7 new rows, 0 already there), 0 other spans, 0 rejected"
    )


def test_nothing_to_read() -> None:
    """What was read before is not read again, and then there is nothing to count; what is wrong is told."""
    assert said(Totals(), Rows(0, 0, 0)) == "0 files, 0 spans: nothing new"
    assert said(Totals(unreadable=1), Rows(0, 0, 0)) == "0 files, 0 spans: nothing new, 1 not read"


def test_what_is_not_known() -> None:
    """No number where there is none."""
    assert said(Totals(1, Taken(7, 7))) == (
        "1 file, 7 spans: 7 requests (new or already there: not known), 0 other spans, 0 rejected"
    )


@pytest.mark.parametrize(
    ("after", "remaining", "rows"),
    [
        (Standing("then", 105, 12, 1), 0, Rows(5, 2, 0)),
        (Standing("then", 103, 12, 1), 2, Rows(3, 2, 2)),
        (Standing("then", 199, 10, 1), 0, Rows(7, 0, 0)),
        (Standing("then", 100, 99, 1), 0, Rows(0, 7, 0)),
        (Standing("then", 106, 12, 1), 0, None),
        (Standing("then", 199, 10, 1), 1, None),
        (Standing("then", 105, 12, 2), 0, None),
        (Standing("now", 105, 12, 1), 0, None),
        (None, 0, None),
    ],
)
def test_what_became_of_seven_requests(after: Standing | None, remaining: int, rows: Rows | None) -> None:
    """Known where they explain all that the store has met, or where all of that fared the same."""
    assert rows_between(BEFORE, after, 7, remaining) == rows


def test_a_store_that_was_made_for_them() -> None:
    """It begins with nothing; where one is there and could not be asked, nothing is known but of no request."""
    assert rows_between(Standing(), Standing("now", 5, 2), 7, 0) == Rows(5, 2, 0)
    assert rows_between(Standing(), Standing(), 7, 7) == Rows(0, 0, 7)
    assert rows_between(None, BEFORE, 7, 0) is None
    assert rows_between(None, None, 0, 0) == Rows(0, 0, 0)
