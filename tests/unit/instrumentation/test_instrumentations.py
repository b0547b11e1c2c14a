"""The table of what OpenTelemetry needs to see a framework, and the warning where it is missing."""

import importlib.util
import logging
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from otel_usage.instrumentation import frameworks
from otel_usage.instrumentation.patches import Patches

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("module", frameworks.INSTRUMENTATIONS)
def test_an_extra_installs_the_framework_and_its_instrumentation(module):
    """The pip line that is shown helps, and the module that is waited for is the framework's."""
    instrumentation, extra = frameworks.INSTRUMENTATIONS[module]
    package = instrumentation.replace(".", "-").replace("_", "-")
    installed = [requirement.partition(">")[0] for requirement in PROJECT["optional-dependencies"][extra]]
    assert {extra, package} <= set(installed)
    assert importlib.util.find_spec(module) is not None


def warn(monkeypatch, caplog, module, *missing):
    """What is logged when a module is imported while other modules are not there."""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else find_spec(name))
    caplog.set_level(logging.WARNING, "otel_usage")
    frameworks._warn_if_unseen(Patches(), ModuleType(module))
    return caplog.text


def test_an_unseen_framework_is_warned_of_with_the_pip_line(monkeypatch, caplog):
    """And one that is seen is not."""
    assert warn(monkeypatch, caplog, "flask.app") == ""
    logged = warn(monkeypatch, caplog, "flask.app", "opentelemetry.instrumentation.flask")
    assert "pip install 'otel-usage[flask]'" in logged


def test_starlette_below_fastapi_needs_no_instrumentation_of_its_own(monkeypatch, caplog):
    """FastAPI imports Starlette; by itself Starlette needs its own."""
    missing = "opentelemetry.instrumentation.starlette"
    monkeypatch.setitem(sys.modules, "fastapi", ModuleType("fastapi"))
    assert warn(monkeypatch, caplog, "starlette.applications", missing) == ""
    monkeypatch.delitem(sys.modules, "fastapi")
    assert "otel-usage[starlette]" in warn(monkeypatch, caplog, "starlette.applications", missing)


@pytest.mark.parametrize("makes_spans", [True, False])
def test_fastapi_that_makes_spans_needs_no_instrumentation(monkeypatch, caplog, makes_spans):
    """Older versions do."""
    monkeypatch.setattr(frameworks.fastapi_gaps, "makes_spans", lambda: makes_spans)
    logged = warn(monkeypatch, caplog, "fastapi.applications", "opentelemetry.instrumentation.fastapi")
    assert bool(logged) != makes_spans
