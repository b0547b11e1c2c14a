"""One small application in three frameworks: a dataset behind a bearer token, recorded in a way that is asked for."""

from importlib import import_module
from typing import Any

from benchmarks.requests import ways


def make(framework: str, way: str) -> Any:
    """The application as a server takes it."""
    ways.begin(way)
    return import_module(f"benchmarks.requests.applications.with_{framework}").make(way)


def settle(way: str) -> dict[str, str]:
    """What the route /settle does: everything is sent before it answers."""
    ways.flush(way)
    return {"way": way}
