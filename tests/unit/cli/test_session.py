"""One reading of the store, and a second where the first found the file too short."""

import duckdb
import pytest

from otel_usage.cli.session import print_answer
from otel_usage.errors import StoreCorruptError
from otel_usage.exporter.recorder import Recorder
from otel_usage.reports.table import Table
from otel_usage.settings import load
from tests.unit.exporter.support import record, settings_of

SHORT = 'Could not read enough bytes from file "usage.duckdb": attempted to read 262144 bytes from location 1585152'


@pytest.fixture
def settings(tmp_path):
    """A store with a row."""
    recorder = Recorder(settings_of(tmp_path))
    recorder.write(record(1))
    recorder.shutdown()
    return load({}, strict=True, database=tmp_path / "usage.duckdb")


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_file_that_seemed_too_short_is_read_again(settings, times, capsys):
    """The answer comes from a connection of its own each time."""
    connections = []

    def ask(connection, pending):
        connections.append(connection)
        if len(connections) <= times:
            raise duckdb.IOException(SHORT)
        return Table(("a",), ((1,),))

    print_answer(settings, ask, "csv", None)
    assert capsys.readouterr().out == "a\n1\n"
    assert len({id(connection) for connection in connections}) == times + 1


def test_a_file_that_stays_too_short_is_damaged(settings):
    """After three readings it is an error of the store."""

    def ask(connection, pending):
        raise duckdb.IOException(SHORT)

    with pytest.raises(StoreCorruptError, match="ends before its own data"):
        print_answer(settings, ask, "csv", None)
