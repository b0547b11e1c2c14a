"""Questions and their answers: a report or a query, run on an open store, as a table.

Opening the store is the exporter's; how an answer is printed is the formats'.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from otel_usage.errors import InvalidFilterError, QueryError
from otel_usage.exporter.duckdb_errors import is_short_read
from otel_usage.exporter.losses import LOST
from otel_usage.reports import catalogue, filters, period, values
from otel_usage.reports.catalogue import Report
from otel_usage.reports.columns import INSTANT_TYPES, NUMBER_TYPES, USAGE_COLUMNS
from otel_usage.reports.table import Table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from otel_usage.exporter.pending import Pending

_ZONED = "TIMESTAMP WITH TIME ZONE"


@dataclass(frozen=True, slots=True)
class Question:
    """A report, and about which requests, in which order and how many rows it is asked."""

    report: Report
    period: period.Period
    filters: tuple[filters.Filter, ...]
    zone: ZoneInfo
    by: str
    sort: str | None
    limit: int | None


def question(
    name: str,
    *,
    last: str | None = None,
    since: str | None = None,
    until: str | None = None,
    by: str | None = None,
    where: Iterable[str] = (),
    limit: int | None = None,
    sort: str | None = None,
    timezone: str = "UTC",
    now: datetime | None = None,
) -> Question:
    """Read a question as the command line puts it; nothing is opened.

    Args:
        now: The end of `last`, aware; the present by default.

    Raises:
        UnknownReportError: No report has this name.
        InvalidPeriodError: `last`, `since` or `until` cannot be read.
        InvalidFilterError: `timezone`, `by`, `where`, `limit` or `sort` does not fit the report.
    """
    report = catalogue.find(name)
    zone = period.zone(timezone)
    return Question(
        report=report,
        period=period.parse(last, since, until, zone, now or datetime.now(UTC)),
        filters=filters.parse(where, zone),
        zone=zone,
        by=_by(report, by),
        sort=_sort(report, sort),
        limit=_limit(report, limit),
    )


def _by(report: Report, by: str | None) -> str:
    if by is None:
        return "day"
    if not report.periods:
        raise InvalidFilterError(f"The report {report.name} has no --by.", "It belongs to the report timeline.")
    if by not in report.periods:
        raise InvalidFilterError(f"--by {by!r} is no period.", f"It must be {' or '.join(report.periods)}.")
    return by


def _sort(report: Report, column: str | None) -> str | None:
    if column is not None and column not in report.columns:
        hint = catalogue.closest(column, report.columns)
        raise InvalidFilterError(f"The report {report.name} has no column {column!r} to sort by.", hint)
    return column


def _limit(report: Report, limit: int | None) -> int | None:
    if limit is not None and not 1 <= limit < 1 << 63:
        raise InvalidFilterError(f"--limit {limit} leaves no rows.", "It must be at least 1.")
    return limit or report.limit


def run(connection: "DuckDBPyConnection", asked: Question, pending: "Pending") -> Table:
    """Answer a question.

    Args:
        pending: What is not in the store yet: the overview counts it apart.

    Raises:
        QueryError: DuckDB cannot answer.
    """
    statement, parameters = compose(asked, pending)
    with _refusals():
        _secure(connection, asked.zone)
        rows = connection.execute(statement, parameters).fetchall()
    return Table(
        asked.report.columns,
        _plain(rows, asked.zone),
        shown=asked.report.shown,
        downwards=asked.report.downwards,
    )


def compose(asked: Question, pending: "Pending") -> tuple[str, dict[str, Any]]:
    """The SQL of a question, made of files and names of this package only, and its parameters."""
    condition, parameters = _condition(asked)
    known = {
        "by": asked.by,
        "lost_reasons": sorted(LOST),
        "lost_pending": pending.lost,
        "uncommitted": pending.records,
    }
    parameters |= {name: known[name] for name in asked.report.parameters}
    parts = [
        f"WITH selected AS NOT MATERIALIZED (SELECT * FROM usage WHERE {condition}),",
        f"answer AS (\n{asked.report.sql})",
        f"SELECT {', '.join(asked.report.columns)} FROM answer",
    ]
    if asked.report.order:
        parts.append(f"ORDER BY {', '.join(_order(asked))}")
    if asked.limit is not None:
        parts.append("LIMIT $limit")
        parameters["limit"] = asked.limit
    return "\n".join(parts), parameters


def _condition(asked: Question) -> tuple[str, dict[str, Any]]:
    conditions = ["true"]
    parameters: dict[str, Any] = {}
    for name, comparison in (("since", ">="), ("until", "<")):
        moment: datetime | None = getattr(asked.period, name)
        if moment is not None:
            conditions.append(f"start_time {comparison} ${name}")
            parameters[name] = moment.replace(tzinfo=None)
    for number, each in enumerate(asked.filters):
        condition, more = each.condition(number)
        conditions.append(condition)
        parameters |= more
    return " AND ".join(conditions), parameters


def _order(asked: Question) -> Iterator[str]:
    columns = asked.report.order if asked.sort is None else (asked.sort, *asked.report.order)
    for column in dict.fromkeys(columns):
        yield f"{column} {'DESC' if _descends(column) else 'ASC'} NULLS LAST"


def _descends(column: str) -> bool:
    if column in catalogue.COUNTED:
        return True
    return USAGE_COLUMNS.get(column) in NUMBER_TYPES | INSTANT_TYPES


def ask(connection: "DuckDBPyConnection", statement: str, zone: ZoneInfo) -> Table:
    """Answer a person's own query.

    Args:
        connection: A read-only one. From here on it can reach no file and no network, and that cannot be undone.

    Raises:
        QueryError: It is not exactly one query, or DuckDB refuses it.
    """
    with _refusals():
        _secure(connection, zone)
        statement = _single_query(connection, statement)
        cursor = connection.execute(statement)
        columns = [(column[0], str(column[1])) for column in cursor.description or ()]
        if any(kind == _ZONED for _, kind in columns):
            cursor = connection.execute(_without_zones(statement, [kind for _, kind in columns]))
        rows = cursor.fetchall()
    return Table(_distinct([name for name, _ in columns]), _plain(rows, zone))


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Names that are told apart, "a" and "a_1", as DuckDB does in tables: a JSON object has each name once."""
    distinct: dict[str, None] = {}
    for name in names:
        candidates = (f"{name}_{number}" if number else name for number in count())
        distinct[next(candidate for candidate in candidates if candidate not in distinct)] = None
    return tuple(distinct)


def _secure(connection: "DuckDBPyConnection", zone: ZoneInfo) -> None:
    connection.execute("SET TimeZone = $zone", {"zone": zone.key})
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _single_query(connection: "DuckDBPyConnection", text: str) -> str:
    hint = "Write one SELECT, FROM, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN."
    statements = connection.extract_statements(text)
    if len(statements) != 1:
        raise QueryError(f"One query is expected, not {len(statements)}.", hint)
    if statements[0].type.name not in ("SELECT", "EXPLAIN"):
        kind = statements[0].type.name
        what = "This, which DuckDB runs as several statements," if kind == "MULTI" else kind
        raise QueryError(f"{what} is not a query: the store is only read.", hint)
    return statements[0].query.strip().rstrip(";")


def _without_zones(statement: str, kinds: Sequence[str]) -> str:
    """The same query with instants in UTC and without a zone: DuckDB's client needs pytz for those with one."""
    names = [f"c{number}" for number in range(len(kinds))]
    columns = (f"timezone('UTC', {n})" if kind == _ZONED else n for n, kind in zip(names, kinds, strict=True))
    return f"SELECT {', '.join(columns)} FROM (\n{statement}\n) AS answer({', '.join(names)})"


def _plain(rows: Iterable[Sequence[Any]], zone: ZoneInfo) -> tuple[tuple[Any, ...], ...]:
    return tuple(tuple(values.plain(value, zone) for value in row) for row in rows)


@contextmanager
def _refusals() -> Iterator[None]:
    """Turns what DuckDB refuses into a QueryError of one line; what is wrong with the file is the store's."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        if is_short_read(error):
            raise
        message = " ".join(str(error).split("\n\nLINE ")[0].split())
        raise QueryError(message) from error
