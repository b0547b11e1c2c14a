"""Segments -> the working table `batch`: all at once, and where that fails with care, line by line.

A bad line neither blocks nor vanishes: it goes to the rejected ones. What becomes of the batch is the commit's.
"""

import contextlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from otel_usage.errors import StoreError
from otel_usage.exporter.finished import Contents
from otel_usage.exporter.paths import StorePaths, segment_id
from otel_usage.exporter.record import JOURNAL_COLUMNS, KEY
from otel_usage.exporter.salvage import Rejections, good_lines
from otel_usage.exporter.statements import statement
from otel_usage.exporter.workbench import RefusedLinesError, load_lines

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(slots=True)
class Loaded:
    """A segment on its way through a turn.

    Attributes:
        inserted: Rows of it that are new.
        duplicate: Rows of it that are in the batch or the store already.
        rejected: Lines of it that are no records.
        torn: 1 if its owner died within a line.
        kept_tail: 1 if the last line lacks only its newline.
    """

    path: Path
    contents: Contents
    inserted: int = 0
    duplicate: int = 0
    rejected: int = 0
    torn: int = 0
    kept_tail: int = 0

    @property
    def id(self) -> str:
        """The id of the segment."""
        return segment_id(self.path)

    @property
    def lines(self) -> int:
        """Lines to account for, counted from the bytes."""
        return self.contents.lines + self.kept_tail


def load(connection: "DuckDBPyConnection", paths: StorePaths, segments: list[Loaded]) -> list[Loaded]:
    """Fill `batch` with the lines of these segments.

    Returns:
        The segments that were read; a file that is gone is left out.

    Raises:
        StoreError: Something other than a line is wrong.
    """
    connection.execute(_create_sql())
    whole = [segment for segment in segments if segment.contents.ends_clean]
    if _load_all(connection, whole):
        careful = [segment for segment in segments if not segment.contents.ends_clean]
    else:
        careful = segments
    gone = [segment for segment in careful if not _load_carefully(connection, paths, segment)]
    return [segment for segment in segments if segment not in gone]


@cache
def _create_sql() -> str:
    types = {**JOURNAL_COLUMNS, "start_time": "TIMESTAMP", "segment_id": "VARCHAR"}
    columns = ", ".join(f"{name} {type_}{' NOT NULL' * (name in KEY)}" for name, type_ in types.items())
    return statement("create_batch").replace("{columns}", columns)


@cache
def _load_sql() -> str:
    columns = {"otel_usage_segment": "INTEGER", **JOURNAL_COLUMNS}
    return statement("load").replace("{columns}", str(columns))


def _load_all(connection: "DuckDBPyConnection", segments: list[Loaded]) -> bool:
    """Load whole segments; False, and none of them is loaded, if that does not give a row for each line."""
    with_lines = {segment.id: segment for segment in segments if segment.lines}
    if not with_lines:
        return True
    try:
        load_lines(connection, _load_sql(), [segment.path for segment in with_lines.values()])
    except RefusedLinesError:
        return False
    except StoreError:
        if len(segments) == 1:
            raise
        return False
    names = list(with_lines)
    rows = connection.execute(
        "SELECT segment_id, count(*) FROM batch WHERE segment_id IN (SELECT unnest(?)) GROUP BY ALL", [names]
    ).fetchall()
    if dict(rows) == {name: segment.lines for name, segment in with_lines.items()}:
        return True
    connection.execute("DELETE FROM batch WHERE segment_id IN (SELECT unnest(?))", [names])
    return False


def _load_carefully(connection: "DuckDBPyConnection", paths: StorePaths, segment: Loaded) -> bool:
    """Load one segment, if need be line by line; False if its file is gone."""
    if not segment.path.exists():
        return False
    if segment.contents.ends_clean and _load_all(connection, [segment]):
        return True
    with Rejections(paths, segment.id) as rejections:
        try:
            lines = list(good_lines(segment.path, rejections))
        except FileNotFoundError:
            return False
        _note_tail(segment, len(lines) + rejections.count)
        _load_good(connection, paths.temporary / f"{segment.id}.jsonl", lines, rejections)
        segment.rejected = rejections.count
    return True


def _note_tail(segment: Loaded, seen: int) -> None:
    """A last line without newline was kept if there are more lines than newlines."""
    if not segment.contents.ends_clean:
        segment.kept_tail = seen - segment.contents.lines
        segment.torn = 1 - segment.kept_tail if segment.contents.header is not None else 0


def _load_good(
    connection: "DuckDBPyConnection", draft: Path, lines: list[tuple[int, bytes]], rejections: Rejections
) -> None:
    """Load these lines; where DuckDB refuses, halve until the line it means is found and rejected."""
    if not lines:
        return
    draft.write_bytes(b"".join(line for _, line in lines))
    try:
        load_lines(connection, _load_sql(), [draft])
    except RefusedLinesError as error:
        if len(lines) == 1:
            rejections.add(lines[0][0], str(error), lines[0][1])
            return
        middle = len(lines) // 2
        _load_good(connection, draft, lines[:middle], rejections)
        _load_good(connection, draft, lines[middle:], rejections)
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
