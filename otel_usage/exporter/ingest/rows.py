"""What became of the requests of a run in the store, as far as that follows from the store's own counts.

Those count what every process has committed. So what is this run's is known where nobody else's records came between,
or where all of them fared the same.
"""

from dataclasses import dataclass
from typing import Final

from otel_usage.errors import StoreError
from otel_usage.exporter.duckdb_errors import mapped_errors
from otel_usage.exporter.paths import StorePaths
from otel_usage.exporter.store import connect_read_only

_STORE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Rows:
    """What became of requests that are in the journal: requests = new + known + waiting.

    Attributes:
        new: They are rows by now.
        known: The store had them already.
        waiting: They are not committed yet.
    """

    new: int
    known: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What a store has met up to a moment.

    Attributes:
        made_at: When it was made, which tells it from others; None as long as there is none.
        inserted: Rows of all commits.
        duplicate: Records that it had already.
        rejected: Records that could not become rows.
    """

    made_at: str | None = None
    inserted: int = 0
    duplicate: int = 0
    rejected: int = 0


def standing(paths: StorePaths) -> Standing | None:
    """Where the store stands; None if it cannot be asked now."""
    if not paths.database.exists():
        return Standing()
    try:
        with (
            mapped_errors(paths.database),
            connect_read_only(paths.database, wait_seconds=_STORE_SECONDS) as connection,
        ):
            ((made_at,),) = connection.execute("SELECT min(applied_at)::VARCHAR FROM schema_migrations").fetchall()
            facts = dict(connection.execute("SELECT name, value FROM store_info").fetchall())
    except StoreError:
        return None
    return Standing(made_at, int(facts["inserted"]), int(facts["duplicate"]), int(facts["rejected"]))


def rows_between(before: Standing | None, after: Standing | None, requests: int, remaining: int) -> Rows | None:
    """What became of so many requests; None if it is not known.

    Args:
        before: Where the store stood before the first of them was written.
        after: And after the last.
        requests: Of one run.
        remaining: Records of anybody's that are not committed yet.
    """
    if not requests:
        return Rows(0, 0, 0)
    if before is None or after is None or before.made_at not in (None, after.made_at):
        return None
    inserted, known = after.inserted - before.inserted, after.duplicate - before.duplicate
    if after.rejected != before.rejected:
        return None
    if inserted + known + remaining == requests:  # nobody else's
        return Rows(inserted, known, remaining)
    if not (remaining or known):
        return Rows(requests, 0, 0)
    if not (remaining or inserted):
        return Rows(0, requests, 0)
    return None
