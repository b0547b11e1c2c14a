"""Every report in every format, compared as bytes with `expected/`. Read the difference before updating it."""

import csv
import io
import json
from pathlib import Path

import pytest

from otel_usage.exporter.store import connect_read_only
from otel_usage.reports import formats, query
from otel_usage.reports.catalogue import REPORTS
from otel_usage.reports.table import Table
from otel_usage.reports.values import text, visible

EXPECTED = Path(__file__).parent / "expected"
SUFFIXES = {"table": "txt", "markdown": "md"}


class Nothing:
    """A journal in which three records wait and two were lost."""

    records = 3
    lost = 2


def answer(store: Path, report: str, timezone: str = "Europe/Berlin") -> Table:
    with connect_read_only(store) as connection:
        return query.run(connection, query.question(report, timezone=timezone), Nothing())


def written(format_name: str, table: Table) -> str:
    stream = io.StringIO()
    formats.write(format_name, table, stream)
    return stream.getvalue()


@pytest.mark.parametrize("format_name", formats.FORMATS)
@pytest.mark.parametrize("report", REPORTS)
def test_output_is_as_expected(
    little_store: Path, report: str, format_name: str, request: pytest.FixtureRequest
) -> None:
    """The bytes of a report in a format are those of the file kept for it."""
    file = EXPECTED / f"{report}.{SUFFIXES.get(format_name, format_name)}"
    found = written(format_name, answer(little_store, report)).encode()
    if request.config.getoption("--update-golden", default=False):
        file.write_bytes(found)
    assert found == file.read_bytes()


@pytest.mark.parametrize("report", REPORTS)
def test_table_and_csv_agree_cell_for_cell(little_store: Path, report: str) -> None:
    """What a table shows is what CSV holds, with invisible characters made visible."""
    answered = answer(little_store, report).for_reading()
    cells = list(csv.reader(io.StringIO(written("csv", answered), newline="")))
    lines = [line for line in written("table", answered).splitlines() if line.startswith("│")]
    shown = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]
    assert shown == [[visible(cell).strip() for cell in row] for row in cells]


@pytest.mark.parametrize("report", REPORTS)
def test_json_and_csv_agree_cell_for_cell(little_store: Path, report: str) -> None:
    """The values of JSON, as text, are the cells of CSV; no value is lost by quoting."""
    answered = answer(little_store, report)
    objects = json.loads(written("json", answered))
    cells = list(csv.reader(io.StringIO(written("csv", answered), newline="")))
    assert [[text(value) for value in row.values()] for row in objects] == cells[1:]
    assert [list(row) for row in objects] == [cells[0]] * len(objects)


@pytest.mark.parametrize("report", REPORTS)
def test_json_lines_hold_the_same_objects_as_json(little_store: Path, report: str) -> None:
    """jsonl is json without the brackets."""
    answered = answer(little_store, report)
    lines = written("jsonl", answered).splitlines()
    assert [json.loads(line) for line in lines] == json.loads(written("json", answered))


@pytest.mark.parametrize("report", REPORTS)
def test_an_empty_answer_is_still_of_its_format(report: str) -> None:
    """Without rows there is a header, or an empty array, or nothing."""
    empty = Table(REPORTS[report].columns, (), shown=REPORTS[report].shown)
    assert written("csv", empty) == ",".join(REPORTS[report].columns) + "\n"
    assert written("json", empty) == "[]\n"
    assert written("jsonl", empty) == ""
    assert len(written("table", empty).splitlines()) == 4
    assert len(written("markdown", empty).splitlines()) == 2


def test_no_format_for_people_lets_a_value_steer_the_terminal(little_store: Path) -> None:
    """Escape sequences, text direction and line ends in values are shown, not obeyed."""
    for format_name in ("table", "markdown"):
        output = written(format_name, answer(little_store, "users"))
        assert "\\x1b[31mred" in output.replace("\\\\", "\\")
        assert not {"\x1b", "\u202e", "\t"} & set(output)
