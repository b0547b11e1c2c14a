"""The command line from outside: what it prints where, and the code it exits with."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import msgspec
import pytest

from otel_usage.exporter.journal import Journal
from otel_usage.exporter.paths import StorePaths
from otel_usage.exporter.record import UsageRecord
from otel_usage.reports.catalogue import REPORTS
from tests.golden import store

PROGRAM = [sys.executable, "-m", "otel_usage.cli.main"]
HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The little store, in a folder of its own."""
    return store.make(tmp_path / "usage.duckdb")


def run(*arguments: object, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=folder,
        env={**inherited, **environment},
        timeout=120,
        check=False,
    )


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def assert_refused(done: subprocess.CompletedProcess[str], code: int, says: str) -> None:
    """One line on standard error, nothing on standard output, the right code, no traceback."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("otel-usage: error: ")
    assert says in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "Missing command"),
        (["repot"], 2, "No such command 'repot'"),
        (["report"], 2, "Missing argument 'NAME'"),
        (["report", "tokenz"], 2, "Did you mean tokens?"),
        (["report", "tokens", "users"], 2, "users"),
        (["report", "tokens", "--colour"], 2, "--colour"),
        (["report", "tokens", "--limit", "many"], 2, "--limit"),
        (["report", "tokens", "--limit", "0"], 2, "at least 1"),
        (["report", "tokens", "--since", "yesterdayish"], 2, "neither a date nor a time"),
        (["report", "tokens", "--until", "2026-02-30"], 2, "neither a date nor a time"),
        (["report", "tokens", "--since", "2026-02-02", "--until", "2026-02-01"], 2, "is not before"),
        (["report", "tokens", "--last", "30"], 2, "not a period"),
        (["report", "tokens", "--last", "30d", "--since", "2026-01-01"], 2, "cannot be combined"),
        (["report", "tokens", "--timezone", "Berlin"], 2, "Europe/Berlin"),
        (["report", "tokens", "--where", "colour=red"], 2, "no column 'colour'"),
        (["report", "tokens", "--where", "status_code=red"], 2, "whole number"),
        (["report", "tokens", "--where", "user_id"], 2, "no '='"),
        (["report", "tokens", "--sort", "reqests"], 2, "Did you mean requests"),
        (["report", "tokens", "--by", "day"], 2, "timeline"),
        (["report", "timeline", "--by", "minute"], 2, "hour or day or week or month"),
        (["report", "tokens", "--format", "jsn"], 2, "Did you mean json"),
        (["report", "tokens", "--output", "usage.duckdb"], 2, "belongs to the store"),
        (["report", "tokens", "--output", "no/folder/out.csv"], 1, "No such file or directory"),
        (["report", "tokens", "--output", "usage.duckdb/out.csv"], 1, "Not a directory"),
        (["report", "tokens", "--output", "."], 1, "cannot be written"),
        (["report", "tokens", "--database", "missing.duckdb"], 3, "There is no store"),
        (["report", "tokens", "--database", "usage.duckdb/x"], 3, "There is no store"),
        (["sql", "select nonsense"], 1, "nonsense"),
        (["sql", "drop table requests"], 1, "not a query"),
        (["sql", "select 1; select 2"], 1, "One query is expected"),
        (["sql", "select 1", "--format", "jsn"], 2, "Did you mean json"),
        (["sql", "select 1", "--timezone", "Mars"], 2, "no time zone"),
        (["sql", "select 1", "--database", "missing.duckdb"], 3, "There is no store"),
        (["reports", "--format", "jsn"], 2, "Did you mean json"),
        (["sync", "--database", "missing.duckdb"], 3, "There is no store"),
        (["sync", "--timeout", "soon"], 2, "--timeout"),
        (["doctor", "--format", "jsn"], 2, "Did you mean json"),
    ],
)
def test_wrong_usage_is_one_clear_line(database: Path, arguments: list[str], code: int, says: str) -> None:
    """Whatever is wrong is said in a line, and nothing is made or changed."""
    before = files(database.parent)
    assert_refused(run(*arguments, folder=database.parent), code, says)
    assert files(database.parent) == before


@pytest.mark.parametrize("command", [["report", "tokens"], ["sql", "select 1"]])
@pytest.mark.parametrize("kind", ["newer", "foreign", "garbage", "empty", "truncated", "folder"])
def test_a_store_that_cannot_be_used_is_said_so(database: Path, command: list[str], kind: str) -> None:
    """Newer, not ours, or damaged: exit code 3, and the file stays as it is."""
    path = _spoil(database, kind)
    before = files(database.parent)
    assert_refused(run(*command, "--database", path, folder=database.parent), 3, str(path))
    assert files(database.parent) == before


def _spoil(database: Path, kind: str) -> Path:
    path = database.with_name(f"{kind}.duckdb")
    if kind == "newer":
        with duckdb.connect(str(database)) as connection:
            connection.execute("INSERT INTO schema_migrations VALUES (999, 'future', now()::TIMESTAMP)")
        return database
    if kind == "foreign":
        with duckdb.connect(str(path)) as connection:
            connection.execute("CREATE TABLE requests (x INTEGER)")
    elif kind == "folder":
        path.mkdir()
    else:
        content = {"garbage": b"garbage" * 5000, "empty": b"", "truncated": database.read_bytes()[:9000]}
        path.write_bytes(content[kind])
    return path


def test_a_held_store_names_its_holder(database: Path) -> None:
    """While another process writes, a reader waits, says for whom, and gives up with exit code 3."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        done = run("report", "tokens", folder=database.parent)
        diagnosed = run("doctor", folder=database.parent)
        holder.communicate("")
    assert (done.returncode, done.stdout) == (3, "")
    assert f"PID {holder.pid}" in done.stderr and "Traceback" not in done.stderr
    assert diagnosed.returncode == 1 and f"PID {holder.pid}" in diagnosed.stdout


def test_a_bad_configuration_is_refused_but_diagnosed(database: Path) -> None:
    """Reports do not guess; doctor lists what is wrong."""
    refused = run("report", "tokens", folder=database.parent, OTEL_USAGE_PRIVACY_LEVEL="9")
    assert_refused(refused, 2, "OTEL_USAGE_PRIVACY_LEVEL")
    diagnosed = run("doctor", folder=database.parent, OTEL_USAGE_PRIVACY_LEVEL="9")
    assert diagnosed.returncode == 1
    assert "attention  configuration  OTEL_USAGE_PRIVACY_LEVEL" in diagnosed.stdout


def test_debug_adds_the_traceback(database: Path) -> None:
    """Only where it is asked for."""
    done = run("--debug", "report", "tokenz", folder=database.parent)
    assert done.returncode == 2
    assert "UnknownReportError" in done.stderr and "Traceback" in done.stderr


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_is_answered(database: Path, name: str) -> None:
    """From the store in the current folder, data on standard output, nothing on standard error."""
    done = run("report", name, "--format", "json", folder=database.parent)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(json.loads(done.stdout)[0]) == list(REPORTS[name].columns)


def test_options_reach_the_report(database: Path) -> None:
    """Period, filters, order, limit, zone and format together."""
    options = ["--since", "2026-03-29", "--timezone", "Europe/Berlin", "--where", "method=GET", "--sort", "user_id"]
    done = run("report", "users", *options, "--limit", "2", "--format", "csv", folder=database.parent)
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert [(row["user_id"], row["requests"]) for row in rows] == [("u1", "3"), ("u2", "3")]
    assert rows[0]["last_used"] == "2026-03-29T01:30:00.000003+01:00"


def test_reports_lists_the_catalogue(tmp_path: Path) -> None:
    """The first word of a line is a report's name; JSON holds the columns. No store is needed."""
    lines = run("reports", folder=tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(REPORTS)
    objects = json.loads(run("reports", "--format", "json", folder=tmp_path).stdout)
    assert {each["name"]: tuple(each["columns"]) for each in objects} == {
        name: report.columns for name, report in REPORTS.items()
    }


def test_sql_is_answered_in_any_format(database: Path) -> None:
    """The same formats as reports."""
    done = run("sql", "select count(*) as n, 'a,b' as text from usage", "--format", "csv", folder=database.parent)
    assert (done.returncode, done.stdout) == (0, 'n,text\n10,"a,b"\n')


def test_output_replaces_a_file_at_once(database: Path) -> None:
    """The file has the new content whole and keeps its mode; nothing else is left in the folder."""
    out = database.with_name("out.csv")
    out.write_text("old")
    out.chmod(0o640)
    done = run("report", "users", "--format", "csv", "--output", out, folder=database.parent)
    assert (done.returncode, done.stdout) == (0, "")
    assert out.read_text(encoding="utf-8") == run("report", "users", "--format", "csv", folder=database.parent).stdout
    assert out.stat().st_mode & 0o777 == 0o640
    assert sorted(files(database.parent)) == [out, database]


def test_no_rows_is_said_on_standard_error(database: Path) -> None:
    """An empty answer is an answer: exit code 0, a header on standard output."""
    done = run("report", "users", "--where", "user_id=nobody", folder=database.parent)
    assert done.returncode == 0 and done.stderr == "(no rows)\n" and "user_id" in done.stdout
    done = run("report", "users", "--where", "user_id=nobody", "--format", "json", folder=database.parent)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_a_narrow_terminal_is_told_what_it_does_not_show(database: Path) -> None:
    """On a terminal a table fits, and standard error names the columns left out; a pipe gets all."""
    terminal, program = os.openpty()
    environment = {**os.environ, "COLUMNS": "100", "TERM": "dumb"}
    done = subprocess.run(
        [*PROGRAM, "report", "tokens"],
        stdout=program,
        stderr=subprocess.PIPE,
        text=True,
        cwd=database.parent,
        env=environment,
        timeout=60,
        check=False,
    )
    os.close(program)
    shown = os.read(terminal, 1 << 16).decode()
    os.close(terminal)
    assert done.returncode == 0 and done.stderr.startswith("Too narrow for: ")
    assert all(len(line) <= 100 for line in shown.splitlines())
    assert "notebook" in shown and "requests" in shown and "server_errors" not in shown


def test_output_is_utf_8_whatever_the_locale(database: Path) -> None:
    """Formats are files in transit: their encoding does not depend on the terminal."""
    done = run("report", "tokens", "--format", "json", folder=database.parent, PYTHONIOENCODING="latin-1", LC_ALL="C")
    assert json.loads(done.stdout)[0]["token_hint"] == "gho_…wxyz"


def test_a_reader_that_goes_away_is_no_error(database: Path) -> None:
    """As with `| head`: quiet, no traceback."""
    query = "select repeat('x', 1000) as x from range(5000)"
    reader, writer = os.pipe()
    with subprocess.Popen(
        [*PROGRAM, "sql", query, "--format", "csv"], stdout=writer, stderr=subprocess.PIPE, cwd=database.parent
    ) as process:
        os.close(writer)
        os.close(reader)
        _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (141, b"")


@pytest.fixture
def living(database: Path) -> Iterator[Journal]:
    """The journal of an application that runs: this process."""
    journal = Journal(StorePaths.of(database), max_bytes=1 << 20)
    yield journal
    journal.close()


def record(number: int) -> bytes:
    line = UsageRecord(start_time=number, duration_ns=1, trace_id=f"{number:032x}", span_id=1)
    return msgspec.json.encode(line) + b"\n"


def test_what_a_living_application_has_not_finished_is_said(database: Path, living: Journal) -> None:
    """The overview and standard error count what is not committed yet, and doctor shows it."""
    living.append(record(1))
    done = run("report", "overview", "--format", "json", folder=database.parent)
    (row,) = json.loads(done.stdout)
    assert (row["requests"], row["uncommitted"]) == (10, 1)
    assert done.stderr.startswith("1 records are not committed yet")
    findings = json.loads(run("doctor", "--format", "json", folder=database.parent).stdout)
    assert any(each["check"] == "journal" and each["message"].startswith("1 record waits") for each in findings)


def test_a_report_commits_what_nobody_else_will(database: Path, living: Journal) -> None:
    """Records of an application that has gone are in the report, and sync finds nothing left."""
    living.append(record(1))
    living.close()
    done = run("report", "overview", "--format", "json", folder=database.parent)
    (row,) = json.loads(done.stdout)
    assert (row["requests"], row["uncommitted"], done.stderr) == (11, 0, "")
    assert run("sync", folder=database.parent).stdout.startswith("0 records committed")


def test_sync_commits_and_says_how_much(database: Path, living: Journal) -> None:
    """Where no leader lives, sync is the one that commits."""
    living.append(record(1))
    living.append(record(2))
    living.close()
    done = run("sync", folder=database.parent)
    assert done.returncode == 0 and done.stdout.startswith("2 records committed")


def test_sync_says_when_time_runs_out(database: Path, living: Journal) -> None:
    """A record in a segment that stays open is not committed in no time: exit code 1."""
    living.append(record(1))
    done = run("sync", "--timeout", "0", folder=database.parent)
    assert done.returncode == 1 and "1 records are not committed yet" in done.stderr


def test_an_unwritable_folder_is_one_clear_line(database: Path, living: Journal) -> None:
    """Pending records that cannot be committed leave the report readable, or say why not; never a traceback."""
    living.append(record(1))
    living.close()
    database.parent.chmod(0o500)
    try:
        done = run("report", "overview", "--format", "json", folder=database.parent)
    finally:
        database.parent.chmod(0o700)
    assert done.returncode in (0, 3) and "Traceback" not in done.stderr


def test_doctor_is_content_with_a_good_store(database: Path) -> None:
    """Nothing needs attention where the launcher is on PATH and nothing was lost lately."""
    with duckdb.connect(str(database)) as connection:
        connection.execute("DELETE FROM losses")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = run("doctor", folder=database.parent, PATH=path)
    assert done.returncode == 0, done.stdout
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"ok"}
