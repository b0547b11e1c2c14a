"""The pages about reading say what the program does: generated, compared or executed."""

import importlib.util
import re
from pathlib import Path

import pytest

from otel_usage.exporter.store import connect_read_only
from otel_usage.reports import formats, query
from otel_usage.reports.catalogue import COUNTED, REPORTS
from otel_usage.reports.columns import USAGE_COLUMNS
from otel_usage.reports.period import zone
from tests.golden import store

DOCS = Path(__file__).parents[2] / "docs"
SQL_PAGE = (DOCS / "sql.md").read_text(encoding="utf-8")
REPORTS_PAGE = (DOCS / "reports.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The little store of the golden files."""
    return store.make(tmp_path_factory.mktemp("docs") / "usage.duckdb")


def test_the_command_line_reference_is_up_to_date() -> None:
    """docs/cli.md is what `python docs/generate_cli.py` writes."""
    spec = importlib.util.spec_from_file_location("generate_cli", DOCS / "generate_cli.py")
    assert spec is not None and spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    assert (DOCS / "cli.md").read_text(encoding="utf-8") == generator.reference()


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_and_column_is_documented(name: str) -> None:
    """A report has its section, its dimensions are named in it, its measures in the table of measures."""
    section = re.search(rf"^### {name}\n(.*?)^##", REPORTS_PAGE, re.DOTALL | re.MULTILINE)
    assert section is not None
    if name != "latest":
        assert [column for column in REPORTS[name].dimensions if f"`{column}`" not in section[1]] == []
    assert [column for column in REPORTS[name].measures if f"| `{column}` | " not in REPORTS_PAGE] == []


def test_no_column_is_documented_that_is_none() -> None:
    """The tables of columns name nothing that no report has."""
    named = set(re.findall(r"^\| `(\w+)` \| ", REPORTS_PAGE, re.MULTILINE))
    assert named == COUNTED | set(formats.FORMATS)


def test_the_view_is_documented_column_by_column(database: Path) -> None:
    """Names, types and order are those of the store."""
    with connect_read_only(database) as connection:
        described = [(row[0], row[1]) for row in connection.execute("DESCRIBE usage").fetchall()]
    documented = re.findall(r"^\| `(\w+)` \| ([A-Z(), ]+) \| \S", SQL_PAGE, re.MULTILINE)
    assert documented == described == list(USAGE_COLUMNS.items())


@pytest.mark.parametrize("statement", re.findall(r"```sql\n(.*?)```", SQL_PAGE, re.DOTALL))
def test_every_query_of_the_page_is_answered(database: Path, statement: str) -> None:
    """As `otel-usage sql` runs it."""
    with connect_read_only(database) as connection:
        assert query.ask(connection, statement, zone("UTC")).columns
