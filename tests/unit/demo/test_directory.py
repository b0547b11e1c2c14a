"""The demo empties what it made and nothing else."""

from pathlib import Path

import pytest

from otel_usage.demo import directory
from otel_usage.errors import ConfigurationError


def test_a_new_directory_is_made_and_private(tmp_path: Path) -> None:
    """The store holds who did what: only its owner may look."""
    with directory.claimed(tmp_path / "a" / "demo") as claimed:
        assert claimed == tmp_path / "a" / "demo"
        assert claimed.stat().st_mode & 0o777 == 0o700


def test_the_last_run_is_removed(tmp_path: Path) -> None:
    """Store, journal, key, log and the portal's files are gone at the next run."""
    with directory.claimed(tmp_path / "demo") as claimed:
        for name in ("usage.duckdb", "usage.duckdb.key", "usage.duckdb.lock", "server.log"):
            (claimed / name).write_text("old")
        for name in ("usage.duckdb.journal/rejected", "portal/files"):
            (claimed / name).mkdir(parents=True)
    with directory.claimed(tmp_path / "demo") as claimed:
        assert [path.name for path in claimed.iterdir()] == [directory.MARKER]


def test_what_somebody_put_beside_the_store_stays(tmp_path: Path) -> None:
    """A notebook in the demo's directory survives the next demo."""
    with directory.claimed(tmp_path / "demo") as claimed:
        (claimed / "notebook.py").write_text("mine")
    with directory.claimed(tmp_path / "demo") as claimed:
        assert (claimed / "notebook.py").read_text() == "mine"


def test_an_empty_directory_may_be_used(tmp_path: Path) -> None:
    """Somebody may make the directory first."""
    with directory.claimed(tmp_path) as claimed:
        assert (claimed / directory.MARKER).exists()


def test_a_directory_of_somebody_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    """A real store is never emptied, and the message says what to do."""
    (tmp_path / "usage.duckdb").write_text("years of use")
    with pytest.raises(ConfigurationError, match="Choose another --directory"), directory.claimed(tmp_path):
        pass
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("usage.duckdb", "years of use")]


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    """What cannot be a directory is wrong usage, not a crash."""
    (tmp_path / "demo").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be used"), directory.claimed(tmp_path / "demo"):
        pass


def test_two_demos_do_not_share_a_directory(tmp_path: Path) -> None:
    """The second is refused while the first runs, and allowed after it."""
    with (
        directory.claimed(tmp_path / "demo"),
        pytest.raises(ConfigurationError, match="Another demo"),
        directory.claimed(tmp_path / "demo"),
    ):
        pass
    with directory.claimed(tmp_path / "demo"):
        pass
