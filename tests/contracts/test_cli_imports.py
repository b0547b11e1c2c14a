"""What the command line imports before it is asked for anything, in a process of its own."""

import subprocess
import sys

import pytest

PROBE = """
import sys
from otel_usage.cli.main import run
try:
    run({arguments!r})
except SystemExit as exit:
    assert exit.code == {code}, exit.code
heavy = {{name.partition('.')[0] for name in sys.modules}} & {{'duckdb', 'opentelemetry', 'rich', 'msgspec'}}
assert not heavy, heavy
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--help"], 0), (["--version"], 0), (["report", "--help"], 0), (["doctor", "--help"], 0), (["report"], 2)],
)
def test_help_imports_nothing_heavy(arguments: list[str], code: int) -> None:
    """Start-up is felt: help, version and wrong usage need neither DuckDB, OpenTelemetry nor rich."""
    probe = PROBE.format(arguments=arguments, code=code)
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_reading_does_not_import_instrumentation() -> None:
    """A report needs the store, not OpenTelemetry."""
    probe = "import sys, otel_usage.cli.session, otel_usage.reports.query; assert 'opentelemetry' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
