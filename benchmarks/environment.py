"""The virtual environment that the peers run in, and how a process is run there."""

import json
import os
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from tests import environments

PEERS = (
    "api-analytics==1.2.7",
    "apitally[django,fastapi,flask]==1.0.0",
    "drf-user-activity-tracker-mongodb==1.4.7",
    "opentelemetry-exporter-otlp-proto-http",
)
# The tracker imports the last two without asking for them.
REQUIREMENTS = (*PEERS, "Flask-HTTPAuth", "gunicorn", "httptools", "uvicorn", "uvloop", "djangorestframework", "PyJWT")


@cache
def programs() -> Path:
    """Make the environment unless it is there; returns its folder of programs."""
    return environments.make("benchmarks", "django,fastapi,flask", REQUIREMENTS)


def variables(**more: str) -> dict[str, str]:
    """The environment of what is measured: this checkout, and nothing set that changes OpenTelemetry or Python."""
    other = ("OTEL_", "PYTHON", "DJANGO", "APITALLY", "BENCHMARK")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(other)}
    path = os.pathsep.join([str(programs()), kept.get("PATH", "")])
    return {**kept, "PATH": path, "PYTHONPATH": str(environments.ROOT), **more}


def run(module: str, *arguments: str, directory: Path, **more: str) -> str:
    """Run a module of the benchmarks in a process of its own in there; returns what it printed.

    Raises:
        RuntimeError: It failed, with what it said about it.
    """
    done = subprocess.run(
        [programs() / "python", "-m", module, *arguments],
        cwd=directory,
        env=variables(**more),
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode:
        raise RuntimeError(f"{module} {' '.join(arguments)}: {done.stderr[-2000:]}")
    return done.stdout


def versions(*packages: str) -> str:
    """The versions that are installed there, as "name 1.2, name 3.4"."""
    script = "import importlib.metadata as m, json, sys; print(json.dumps([m.version(n) for n in sys.argv[1:]]))"
    done = subprocess.run([programs() / "python", "-c", script, *packages], capture_output=True, check=True, text=True)
    return ", ".join(_named(packages, json.loads(done.stdout)))


def _named(packages: Iterable[str], found: Iterable[str]) -> Iterable[str]:
    return (f"{name} {version}" for name, version in zip(packages, found, strict=True))
