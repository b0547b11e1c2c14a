"""The columns of the view `usage`, with their DuckDB types and what each holds.

The view itself is made by the store's schema; a test keeps the two alike.
"""

from collections.abc import Mapping
from typing import Final

from otel_usage.exporter.record import JOURNAL_COLUMNS

_CHANGED: Final = {
    "start_time": "TIMESTAMP",
    "trace_id": "VARCHAR",
    "span_id": "VARCHAR",
    "parent_span_id": "VARCHAR",
}
_ADDED: Final = {
    "segment_id": "VARCHAR",
    "duration_ms": "DOUBLE",
    "is_error": "BOOLEAN",
    "day": "DATE",
    "hour": "TIMESTAMP",
}

USAGE_COLUMNS: Final[Mapping[str, str]] = {**JOURNAL_COLUMNS, **_CHANGED, **_ADDED}

NUMBER_TYPES: Final = frozenset({"SMALLINT", "BIGINT", "UBIGINT", "DOUBLE"})
INSTANT_TYPES: Final = frozenset({"TIMESTAMP", "DATE"})
