"""`otel-usage doctor --endpoint` as a process, what it found, and what it left in the store."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from tests.integration.site import BIN

SERVICE_NAME = "otel-usage-doctor"


@dataclass
class Found:
    """The findings of one run.

    Attributes:
        code: Its exit code.
        findings: Each its check, its status, and what it says.
    """

    code: int
    findings: list[tuple[str, str, str]]

    def said(self, check: str, status: str) -> str:
        """What one check found with one status, as one text."""
        return "\n".join(text for its, found, text in self.findings if (its, found) == (check, status))

    @property
    def verdict(self) -> tuple[str, str]:
        """Status and text of the last finding."""
        check, status, text = self.findings[-1]
        assert check == "pipeline"
        return status, text


def doctor(endpoints: list[str], database: Path | None, *, seconds: int = 20, **environment: str) -> Found:
    """Ask the doctor of a pipeline.

    Args:
        endpoints: Its hops, first one first.
        database: The store; None leaves it to the environment.
        seconds: What `--timeout` says.
        environment: Further variables.
    """
    named = [part for url in endpoints for part in ("--endpoint", url)]
    store = [] if database is None else ["--database", str(database)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [BIN / "otel-usage", "doctor", "--format", "json", "--timeout", str(seconds), *named, *store],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert done.stderr == ""
    said: list[dict[str, Any]] = json.loads(done.stdout)
    findings = [(each["check"], each["status"], f"{each['message']} {each['remedy'] or ''}".strip()) for each in said]
    assert done.returncode == any(status == "attention" for _, status, _ in findings), done.stdout
    return Found(done.returncode, findings)


def trial_rows(database: Path) -> int:
    """How many rows of trial requests a store holds; one that cannot be read now holds none."""
    try:
        with duckdb.connect(str(database), read_only=True) as connection:
            counted = connection.execute("SELECT count(*) FROM requests WHERE service_name = ?", [SERVICE_NAME])
            row = counted.fetchone()
            return 0 if row is None else int(row[0])
    except duckdb.Error:  # the leader has it, or has not made it yet
        return 0
