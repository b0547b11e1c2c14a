"""What a check of `otel-usage doctor` gives: a finding. What is looked at is the other modules'."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

OK: Final = "ok"
NOTE: Final = "note"
ATTENTION: Final = "attention"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        status: "ok", "note" (worth knowing), or "attention".
        check: What was looked at.
        message: What was found, one line.
        remedy: What to do about it; empty where there is nothing to do.
        blocks: Whether, because of it, no request to the application is recorded.
    """

    status: str
    check: str
    message: str
    remedy: str = ""
    blocks: bool = False


def moment(seconds: float) -> str:
    """How a time since 1970 is told."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
