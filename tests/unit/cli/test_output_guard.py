"""What --output may not write over."""

import pytest

from otel_usage.cli.output import check
from otel_usage.errors import InvalidFilterError
from otel_usage.settings import load


@pytest.mark.parametrize(
    "name",
    [
        "usage.duckdb",
        "usage.duckdb.wal",
        "usage.duckdb.key",
        "usage.duckdb.lock",
        "usage.duckdb.journal",
        "usage.duckdb.journal/x.ready",
        "link",
    ],
)
def test_files_of_the_store_are_refused(tmp_path, name):
    """Neither the store nor its key, lock, log or journal, under whatever name."""
    (tmp_path / "link").symlink_to(tmp_path / "usage.duckdb.key")
    settings = load({}, strict=True, database=tmp_path / "usage.duckdb")
    with pytest.raises(InvalidFilterError, match="belongs to the store"):
        check("csv", tmp_path / name, settings)


@pytest.mark.parametrize("name", ["users.csv", "usage.duckdb.csv"])
def test_other_files_are_fine(tmp_path, name):
    """Any other file, also beside the store."""
    check("csv", tmp_path / name, load({}, strict=True, database=tmp_path / "usage.duckdb"))
