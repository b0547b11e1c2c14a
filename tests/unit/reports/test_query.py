"""Questions and answers, on the little store and on stores made for one rule."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from otel_usage.errors import InvalidFilterError, QueryError, UnknownReportError
from otel_usage.exporter.pending import Pending
from otel_usage.exporter.store import connect_read_only
from otel_usage.reports import query
from otel_usage.reports.catalogue import COMPLETENESS, REPORTS
from otel_usage.reports.columns import USAGE_COLUMNS
from otel_usage.reports.period import zone
from otel_usage.reports.table import Table
from tests.golden import store

Answer = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The little store."""
    return store.make(tmp_path_factory.mktemp("query") / "usage.duckdb")


@pytest.fixture
def report(database: Path) -> Answer:
    """Ask the little store for a report."""

    def answer(name: str, **options: Any) -> list[dict[str, Any]]:
        with connect_read_only(database) as connection:
            return objects(query.run(connection, query.question(name, **options), Pending()))

    return answer


@pytest.fixture
def sql(database: Path) -> Callable[[str], list[dict[str, Any]]]:
    """Ask the little store in SQL."""

    def answer(statement: str) -> list[dict[str, Any]]:
        with connect_read_only(database) as connection:
            return objects(query.ask(connection, statement, zone("Europe/Berlin")))

    return answer


def objects(table: Table) -> list[dict[str, Any]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_the_columns_of_usage_are_those_of_the_view(database: Path) -> None:
    """Names, types and order of USAGE_COLUMNS are the schema's."""
    with connect_read_only(database) as connection:
        described = connection.execute("DESCRIBE usage").fetchall()
    assert [(row[0], row[1]) for row in described] == list(USAGE_COLUMNS.items())


@pytest.mark.parametrize("name", REPORTS)
def test_every_sql_file_says_its_grain_and_columns(name: str) -> None:
    """The header names the grain and every dimension; no SQL is without it."""
    header = [line for line in REPORTS[name].sql.splitlines() if line.startswith("--")]
    assert header[0].startswith("-- Grain: ")
    assert any("-- Columns: " in line for line in header)


@pytest.mark.parametrize("name", sorted(set(REPORTS) - {"latest", "overview"}))
def test_no_request_is_dropped_or_counted_twice(report: Answer, name: str) -> None:
    """Rows of a report add up to the requests: what is not known is a row of its own."""
    assert sum(row["requests"] for row in report(name)) == len(store.REQUESTS)


def test_failed_views_and_downloads_are_errors_only(report: Answer) -> None:
    """A view that failed is no view; a request without status but with an error type is an error."""
    (row,) = report("overview")
    assert (row["views"], row["downloads"], row["errors"], row["server_errors"]) == (4, 1, 3, 1)


def test_overview_ends_with_how_complete_it_is(database: Path) -> None:
    """What is lost is the store's count and the journal's; left out on purpose is not lost."""
    with connect_read_only(database) as connection:
        table = query.run(connection, query.question("overview"), Pending(records=5, lost=2))
    (row,) = objects(table)
    assert table.columns[-5:] == COMPLETENESS
    assert [row[name] for name in COMPLETENESS] == [20, 2, 3, 3 + 4 + 2, 5]


def test_names_are_the_latest_known(report: Answer) -> None:
    """A later request without a name does not take it away."""
    rows = {row["token_id"]: row["token_name"] for row in report("tokens")}
    assert rows == {"tok_00000000000000a1": "notebook", "tok_00000000000000b2": None, None: None}


def test_since_is_included_and_until_excluded(report: Answer) -> None:
    """The first request at an instant belongs to the period that begins there, not to the one that ends."""
    first, second = "2026-03-28T22:30:00Z", "2026-03-28T23:10:00.000001Z"
    assert [row["start_time"] for row in report("latest", since=first, until=second)] == ["2026-03-28T22:30:00+00:00"]


def test_rows_are_sorted_by_requests_then_dimensions(report: Answer) -> None:
    """Ties go by the dimensions with the missing last, so that output never depends on chance."""
    rows = [(row["requests"], row["operation"], row["method"], row["route"]) for row in report("operations")]
    assert rows[2:] == [(1, None, "GET", "/search"), (1, None, "GET", None), (1, None, "POST", "/login")]


@pytest.mark.parametrize(
    ("name", "sort", "expected"),
    [
        ("users", "user_name", ["u2", "u1", None]),
        ("users", "response_bytes", ["u1", "u2", None]),
        ("users", "last_used", [None, "u2", "u1"]),
    ],
)
def test_sort_is_descending_for_numbers_and_times(
    report: Answer, name: str, sort: str, expected: list[str | None]
) -> None:
    """Text is ascending, "\\x1b..." before "Alice"; what is missing comes last."""
    assert [row["user_id"] for row in report(name, sort=sort)] == expected


def test_limit_keeps_the_first_rows(report: Answer) -> None:
    """After sorting."""
    assert [row["user_id"] for row in report("users", limit=1)] == ["u1"]


@pytest.mark.parametrize(
    ("where", "requests"),
    [
        (["user_id=u1"], 4),
        (["user_id=u1", "user_id=u2"], 8),
        (["user_id=u1", "action=view"], 2),
        (["user_id="], 2),
        (["user_id=", "user_id=u1"], 6),
        (["is_error=true"], 3),
        (["status_code=404"], 1),
        (["status_code="], 1),
        (["sampled=true"], 1),
        (["duration_ns=1000500"], 1),
        (["start_time=2026-03-28T22:30"], 1),
        (["day=2026-03-28"], 3),
        (["attributes.zone=eu"], 1),
        (["attributes.zone="], 9),
        (["trace_id=00000000000040008000000000000001"], 1),
        (["user_id=u1' OR '1'='1"], 0),
    ],
)
def test_where_counts_only_what_it_describes(report: Answer, where: list[str], requests: int) -> None:
    """Each type of column can be asked for, and so can its absence."""
    assert report("overview", where=where)[0]["requests"] == requests


def test_days_and_hours_are_those_of_the_zone(report: Answer) -> None:
    """Berlin's 29 March 2026 begins at 23:00 UTC and has no hour from 2 to 3."""
    days = [row["period"] for row in report("timeline", timezone="Europe/Berlin")]
    hours = [row["period"][11:] for row in report("timeline", by="hour", timezone="Europe/Berlin")]
    assert days == ["2026-03-28T00:00:00+01:00", "2026-03-29T00:00:00+01:00"]
    assert hours[:4] == ["23:00:00+01:00", "00:00:00+01:00", "01:00:00+01:00", "03:00:00+02:00"]


@pytest.mark.parametrize(
    ("by", "periods"),
    [("week", ["2026-03-23T00:00:00+00:00"]), ("month", ["2026-03-01T00:00:00+00:00"])],
)
def test_weeks_begin_on_monday_and_months_on_the_first(report: Answer, by: str, periods: list[str]) -> None:
    """28 March 2026 is a Saturday."""
    assert [row["period"] for row in report("timeline", by=by)] == periods


def test_an_hour_that_comes_twice_is_two_periods(tmp_path: Path) -> None:
    """When clocks go back, the hours before and after the change are told apart by their offset."""
    database = store.make(tmp_path / "usage.duckdb")
    with duckdb.connect(str(database)) as connection:
        connection.execute("UPDATE requests SET start_time = '2026-10-25 00:30' WHERE span_id < 3")
        connection.execute("UPDATE requests SET start_time = '2026-10-25 01:30' WHERE span_id >= 3")
    with connect_read_only(database) as connection:
        asked = query.question("timeline", by="hour", timezone="Europe/Berlin")
        rows = objects(query.run(connection, asked, Pending()))
    assert [(row["period"], row["requests"]) for row in rows] == [
        ("2026-10-25T02:00:00+02:00", 2),
        ("2026-10-25T02:00:00+01:00", 8),
    ]


@pytest.mark.parametrize(
    ("timezone", "period"),
    [("Asia/Kathmandu", "2026-03-29T04:00:00+05:45"), ("America/St_Johns", "2026-03-28T20:00:00-02:30")],
)
def test_hours_begin_where_the_zone_says(report: Answer, timezone: str, period: str) -> None:
    """Offsets of half and quarter hours move the beginning of an hour."""
    assert report("timeline", by="hour", timezone=timezone)[0]["period"] == period


def test_a_clock_that_was_wrong_does_not_break_the_timeline(tmp_path: Path) -> None:
    """Requests of the first and last year of the calendar are counted like others."""
    database = store.make(tmp_path / "usage.duckdb")
    with duckdb.connect(str(database)) as connection:
        connection.execute("UPDATE requests SET start_time = '0001-01-01 00:00:00' WHERE span_id = 1")
        connection.execute("UPDATE requests SET start_time = '9999-12-31 23:59:59' WHERE span_id = 2")
    for by in ("hour", "day", "week", "month"):
        with connect_read_only(database) as connection:
            asked = query.question("timeline", by=by, timezone="Asia/Tokyo")
            rows = objects(query.run(connection, asked, Pending()))
        assert sum(row["requests"] for row in rows) == len(store.REQUESTS)


@pytest.mark.parametrize(
    "options",
    [{"by": "day"}, {"sort": "reqests"}, {"limit": 0}, {"limit": -1}, {"limit": 1 << 63}, {"timezone": "Berlin"}],
)
def test_what_does_not_fit_the_report_is_refused(options: dict[str, Any]) -> None:
    """Before any store is opened."""
    with pytest.raises(InvalidFilterError):
        query.question("tokens", **options)


def test_an_unknown_report_is_refused_with_the_closest() -> None:
    """A slip of the finger is helped."""
    with pytest.raises(UnknownReportError, match="Did you mean tokens"):
        query.question("tokenz")


@pytest.mark.parametrize(
    "statement",
    [
        "select 1 as n",
        "select 1 as n; -- done",
        "from (select 1 as n) order by n",
        "with t as (select 1 as n) from t",
    ],
)
def test_sql_answers_one_query(sql: Callable[[str], list[dict[str, Any]]], statement: str) -> None:
    """In any of the ways DuckDB has to write one."""
    assert sql(statement) == [{"n": 1}]


@pytest.mark.parametrize("statement", ["describe usage", "summarize usage", "show tables", "explain select 1"])
def test_sql_describes(sql: Callable[[str], list[dict[str, Any]]], statement: str) -> None:
    """What a person looks at first works too."""
    assert sql(statement)


def test_sql_prints_instants_in_the_zone(sql: Callable[[str], list[dict[str, Any]]]) -> None:
    """With or without a zone of their own, in the order the query asks for, names as they were."""
    statement = "select start_time, timezone('UTC', start_time) as \"it's\" from usage order by start_time desc limit 2"
    assert [list(row.values()) for row in sql(statement)] == [
        ["2026-03-29T06:30:00.000009+02:00"] * 2,
        ["2026-03-29T05:50:00.000008+02:00"] * 2,
    ]


REFUSED = [
    "",
    "-- nothing",
    "select nonsense",
    "selct 1",
    "select 1; select 2",
    "select 1; drop table requests",
    "insert into requests select * from requests",
    "delete from requests",
    "update requests set user_id = 'x'",
    "create table x as select 1",
    "create temp table x as select 1",
    "drop view usage",
    "checkpoint",
    "vacuum",
    "set lock_configuration = false",
    "reset enable_external_access",
    "pragma enable_profiling",
    "attach 'x.duckdb'",
    "install httpfs",
    "load httpfs",
    "copy usage to 'out.csv'",
    "export database 'out'",
    "explain analyze delete from requests",
    "from read_csv('{secret}')",
    "from read_text('{secret}')",
    "from '{secret}'",
    "from glob('/*')",
    "from query('delete from requests')",
    "select * from read_parquet('http://127.0.0.1:9/x')",
]


@pytest.mark.parametrize("statement", REFUSED)
def test_sql_refuses_everything_else(tmp_path: Path, statement: str) -> None:
    """It changes no byte of the store, makes no file, and reads none but the store."""
    database = store.make(tmp_path / "usage.duckdb")
    secret = tmp_path / "secret.csv"
    secret.write_text("password\nswordfish\n")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with connect_read_only(database) as connection, pytest.raises(QueryError) as refused:
        query.ask(connection, statement.format(secret=secret), zone("UTC"))
    assert "\n" not in str(refused.value) and "swordfish" not in str(refused.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_end_of_last_is_now() -> None:
    """`now` can be given, so that a period can be computed again."""
    asked = query.question("overview", last="1h", now=datetime.fromisoformat("2026-03-28T23:00:00+00:00"))
    assert asked.period.since == datetime.fromisoformat("2026-03-28T22:00:00+00:00")


def test_sql_tells_columns_of_one_name_apart(sql: Callable[[str], list[dict[str, Any]]]) -> None:
    """An object has each name once, so no column is silently dropped."""
    assert sql("SELECT 1 AS a, 2 AS a, 3 AS a_1") == [{"a": 1, "a_1": 2, "a_1_1": 3}]
