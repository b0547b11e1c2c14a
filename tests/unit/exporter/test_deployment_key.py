"""The deployment key file: made once, private, used as its text says."""

import stat
from pathlib import Path

import pytest

from otel_usage.errors import ConfigurationError
from otel_usage.exporter.deployment_key import load_or_create
from tests.unit.exporter.support import finish, python


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    """The first use makes a file of 0600; the second reads the same key; nothing else stays behind."""
    path = tmp_path / "folder" / "usage.duckdb.key"
    key = load_or_create(path)
    assert load_or_create(path) == key
    assert len(key) >= 32
    assert path.read_bytes() == key + b"\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_a_trailing_newline_is_not_part_of_it(tmp_path: Path, ending: bytes) -> None:
    """A key that an editor saved is the key that the environment would give."""
    path = tmp_path / "key"
    path.write_bytes("schlüssel ".encode() * 4 + ending)
    assert load_or_create(path) == "schlüssel ".encode() * 4


@pytest.mark.parametrize("content", [b"", b"too short\n", b"\xff" * 40])
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    """A short or undecodable key names the file and not the key."""
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=str(path)) as error:
        load_or_create(path)
    assert "too short" not in str(error.value)


def test_no_place_for_a_key(tmp_path: Path) -> None:
    """Where no file can be made the error says so."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be used"):
        load_or_create(tmp_path / "file" / "key")


def test_racing_processes_get_one_key(tmp_path: Path) -> None:
    """However many start at once, all have the key that is in the file."""
    code = (
        "import sys, pathlib; from otel_usage.exporter.deployment_key import load_or_create\n"
        "sys.stdin.read(); print(load_or_create(pathlib.Path(sys.argv[1])).decode())"
    )
    processes = [python(code, tmp_path / "key") for _ in range(6)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    keys = {finish(process) for process in processes}
    assert keys == {(tmp_path / "key").read_text()}
