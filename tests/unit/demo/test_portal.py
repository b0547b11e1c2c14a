"""The example portal is found, and what it needs is named."""

import importlib.util

import pytest

from otel_usage.demo import portal
from otel_usage.errors import MissingExtraError


def test_the_portal_is_where_the_package_says() -> None:
    """In a checkout and in an installed package `main.py` is in the folder found."""
    assert (portal.examples_directory() / "data_portal" / "main.py").is_file()


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn", "opentelemetry.instrumentation.fastapi"])
def test_a_missing_package_is_answered_with_the_pip_line(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each package the demo needs, taken away, gives the same remedy."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find(name))
    with pytest.raises(MissingExtraError, match=missing) as refusal:
        portal.require_extra()
    assert refusal.value.hint == "pip install 'otel-usage[demo]'"


def test_a_missing_command_is_answered_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The launcher is a script: it may be missing though its package is there."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingExtraError, match="no-such-command"):
        portal.script("no-such-command")
