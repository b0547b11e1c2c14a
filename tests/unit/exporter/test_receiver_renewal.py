"""Files that are replaced while the receiver runs; the receiver itself is in tests/integration/collect."""

import os

import pytest

from otel_usage.errors import ConfigurationError
from otel_usage.exporter.receiver import bearer
from otel_usage.exporter.receiver.renewal import Renewed


class Tokens(Renewed[tuple[str, ...]]):
    """A token file."""

    def __init__(self, path) -> None:
        super().__init__("tokens", [path], lambda: bearer.read_tokens(path))


def test_a_file_that_does_not_change(tmp_path):
    """It is read once, and nothing is told; asked for, it is read again."""
    (tmp_path / "tokens").write_text("one")
    reads = []
    renewed = Renewed("tokens", [tmp_path / "tokens"], lambda: reads.append(1))
    assert [renewed.look() for _ in range(3)] == [None] * 3
    assert len(reads) == 1
    assert renewed.look(is_asked=True) == "tokens was loaded again."
    assert len(reads) == 2


def test_a_pipe(tmp_path):
    """Nobody may ever write into it: what was loaded stays in use, and that is told once."""
    (tmp_path / "tokens").write_text("one")
    renewed = Tokens(tmp_path / "tokens")
    (tmp_path / "tokens").unlink()
    os.mkfifo(tmp_path / "tokens")
    told = [line for line in (renewed.look() for _ in range(4)) if line is not None]
    assert told == [f"{tmp_path / 'tokens'} is a pipe, and is read at the start alone."]
    assert renewed.value == ("one",)


def test_at_the_start_it_must_be_good(tmp_path):
    """Then somebody is there to read it."""
    with pytest.raises(ConfigurationError, match="No such file"):
        Tokens(tmp_path / "tokens")


def replaced_by_another(path) -> None:
    (path.parent / "new").write_text("two")
    (path.parent / "new").replace(path)


def written_in_place(path) -> None:
    path.write_text("two")


def behind_another_link(path) -> None:
    """As Kubernetes mounts secrets: the file is a link to one in a folder that is a link itself."""
    (path.parent / "b").mkdir()
    (path.parent / "b" / "tokens").write_text("two")
    (path.parent / "later").symlink_to("b")
    (path.parent / "later").replace(path.parent / "data")


@pytest.mark.parametrize("change", [replaced_by_another, written_in_place, behind_another_link])
def test_a_file_that_changes(tmp_path, change):
    """However it does, what it says counts two looks later, and is told once."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "tokens").write_text("one")
    (tmp_path / "data").symlink_to("a")
    (tmp_path / "tokens").symlink_to("data/tokens")
    path = tmp_path / "tokens"
    if change is not behind_another_link:
        path.unlink()
        path.write_text("one")
    tokens = Tokens(path)
    change(path)
    assert (tokens.look(), tokens.value) == (None, ("one",))
    assert (tokens.look(), tokens.value) == ("tokens was loaded again.", ("two",))
    assert tokens.look() is None


def test_what_is_replaced_in_two_steps(tmp_path):
    """A key that comes a moment after its certificate is no trouble."""
    parts = [tmp_path / "certificate", tmp_path / "key"]

    def load() -> str:
        found = {path.read_text() for path in parts}
        if len(found) > 1:
            raise ConfigurationError("They do not belong together.")
        return found.pop()

    for path in parts:
        path.write_text("one")
    renewed = Renewed("both", parts, load)
    parts[0].write_text("two")
    assert renewed.look() is None
    parts[1].write_text("two")
    assert renewed.look() is None
    assert (renewed.look(), renewed.value) == ("both was loaded again.", "two")


def test_a_bad_file(tmp_path):
    """What it held before stays; each reason is told once, without the content, and again where somebody asks."""
    path = tmp_path / "tokens"
    path.write_text("one")
    tokens = Tokens(path)
    path.write_text("a secret\n")
    assert tokens.look() is None
    told = tokens.look()
    assert told is not None
    assert str(path) in told
    assert "stays in use" in told
    assert "secret" not in told
    assert [tokens.look() for _ in range(3)] == [None] * 3
    assert tokens.look(is_asked=True) == told
    path.unlink()
    assert tokens.look() is None
    assert "No such file" in (tokens.look() or "")
    assert tokens.look() is None
    assert tokens.value == ("one",)
    path.write_text("two")
    assert [tokens.look() for _ in range(3)] == [None, "tokens was loaded again.", None]
    assert tokens.value == ("two",)


def test_a_file_that_comes_back(tmp_path):
    """One that was away for a while and is the same again is no news; that it is away once more is."""
    path, aside = tmp_path / "tokens", tmp_path / "aside"
    path.write_text("one")
    os.link(path, aside)
    tokens = Tokens(path)
    for _ in range(2):
        path.unlink()
        assert [bool(tokens.look()) for _ in range(3)] == [False, True, False]
        os.link(aside, path)
        tokens.look()
        tokens.look()
        assert tokens.look() is None
    assert tokens.value == ("one",)
