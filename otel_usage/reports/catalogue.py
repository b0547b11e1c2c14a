"""The reports: what each answers and which columns it has. How they count is in the SQL file of the same name."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from typing import Final

from otel_usage.errors import UnknownReportError
from otel_usage.reports.columns import USAGE_COLUMNS
from otel_usage.reports.table import Table

MEASURES: Final = (
    "requests",
    "views",
    "downloads",
    "errors",
    "server_errors",
    "tokens",
    "users",
    "resources",
    "request_bytes",
    "response_bytes",
    "p50_ms",
    "p95_ms",
    "first_used",
    "last_used",
)
COMPLETENESS: Final = ("left_out", "anonymous", "without_resource", "lost", "uncommitted")
COUNTED: Final = frozenset((*MEASURES, *COMPLETENESS))
PERIODS: Final = ("hour", "day", "week", "month")


@dataclass(frozen=True, slots=True)
class Report:
    """A named query.

    Attributes:
        name: Also the name of its SQL file.
        answers: The question it answers, a sentence.
        dimensions: What its rows are about, the first columns.
        measures: What is counted, the columns after them.
        order: Columns that order it, and order its ties under another `--sort`.
        limit: Rows where no other limit is asked for; None is all.
        periods: What `--by` may say, the first of PERIODS it takes; empty where `--by` makes no sense.
        shown: The columns that the formats for reading show; empty is all.
        downwards: Whether its one row is read from top to bottom.
        parameters: What its SQL needs beside the period and the filters.
    """

    name: str
    answers: str
    dimensions: tuple[str, ...]
    measures: tuple[str, ...]
    order: tuple[str, ...]
    limit: int | None = None
    periods: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    downwards: bool = False
    parameters: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        return self.dimensions + self.measures

    @property
    def sql(self) -> str:
        """Its SQL, with the shared measures in their place."""
        return read_sql(self.name).replace("{measures}", read_sql("measures"))


def read_sql(name: str) -> str:
    """The text of one SQL file of this package."""
    return files(__package__).joinpath(f"{name}.sql").read_text(encoding="utf-8")


def _counted(name: str, answers: str, dimensions: tuple[str, ...], *without: str) -> Report:
    measures = tuple(measure for measure in MEASURES if measure not in without)
    return Report(name, answers, dimensions, measures, ("requests", *dimensions))


_RESOURCE: Final = (
    "resource_type",
    "resource_id",
    "resource_name",
    "resource_parent_type",
    "resource_parent_id",
)
_LATEST_SHOWN: Final = (
    "start_time",
    "service_name",
    "method",
    "path",
    "status_code",
    "duration_ms",
    "response_bytes",
    "token_id",
    "token_name",
    "user_id",
    "resource_type",
    "resource_id",
    "action",
)

_ALL: Final = (
    Report(
        "overview",
        "How much was used altogether, and how complete the record is.",
        (),
        (*MEASURES, *COMPLETENESS),
        (),
        downwards=True,
        parameters=("lost_reasons", "lost_pending", "uncommitted"),
    ),
    _counted(
        "tokens",
        "Which tokens are used, by how many users, for how many resources.",
        ("token_id", "token_name", "token_scheme", "token_hint"),
        "tokens",
    ),
    _counted(
        "users",
        "Which users are active, with how many tokens, for how many resources.",
        ("user_id", "user_name"),
        "users",
    ),
    _counted(
        "resources",
        "Which resources are accessed, by how many users and tokens.",
        _RESOURCE,
        "resources",
    ),
    _counted(
        "operations",
        "Which operations and routes are called, how fast, with how many errors.",
        ("operation", "method", "route"),
    ),
    Report(
        "latest",
        "Which requests came last: every column of the view `usage`, newest first.",
        tuple(USAGE_COLUMNS),
        (),
        ("start_time", "trace_id", "span_id"),
        limit=20,
        shown=_LATEST_SHOWN,
    ),
    Report(
        "timeline",
        "How use changes over time, by hour, day, week or month.",
        ("period",),
        MEASURES,
        ("period",),
        periods=PERIODS,
        parameters=("by",),
    ),
)

REPORTS: Final[Mapping[str, Report]] = {report.name: report for report in _ALL}


def find(name: str) -> Report:
    """The report of this name.

    Raises:
        UnknownReportError: There is none; the hint names the closest.
    """
    if name in REPORTS:
        return REPORTS[name]
    raise UnknownReportError(f"There is no report {name!r}.", closest(name, REPORTS))


def describe() -> Table:
    """The catalogue itself as a table."""
    rows = tuple((report.name, report.answers, list(report.columns)) for report in REPORTS.values())
    return Table(("name", "answers", "columns"), rows)


def closest(word: str, known: Mapping[str, object] | tuple[str, ...]) -> str:
    """A hint: the known words most like `word`, or all of them where none is like it."""
    near = get_close_matches(word, known, n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(known)}."
