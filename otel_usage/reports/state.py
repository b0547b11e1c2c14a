"""What a store says about itself: the counts of its commits, what was lost, which deployment key it knows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from otel_usage.reports.catalogue import read_sql

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class Loss:
    """Records of one reason, and when the last of them was noticed, in UTC without an offset."""

    reason: str
    records: int
    noticed_at: datetime


@dataclass(frozen=True, slots=True)
class State:
    """What the tables beside `requests` hold."""

    info: Mapping[str, str]
    losses: tuple[Loss, ...]


def read(connection: "DuckDBPyConnection") -> State:
    """Read it."""
    losses = connection.execute(read_sql("losses")).fetchall()
    info = connection.execute(read_sql("store_info")).fetchall()
    return State(dict(info), tuple(Loss(reason, int(records), when) for reason, records, when in losses))
