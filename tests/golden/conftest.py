"""The little store, and the way to write the expected files anew: `pytest tests/golden --update-golden`."""

from pathlib import Path

import pytest

from tests.golden import store


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the expected files of tests/golden anew")


@pytest.fixture(scope="session")
def little_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store, made once: reports only read it."""
    return store.make(tmp_path_factory.mktemp("golden") / "usage.duckdb")
