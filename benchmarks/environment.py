"""The virtual environment that the peers run in, which do not belong among our own dependencies.

It is kept outside the tree and used again until something that it is made of changes.
"""

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PEERS = (
    "api-analytics==1.2.7",
    "apitally[django,fastapi,flask]==1.0.0",
    "drf-user-activity-tracker-mongodb==1.4.7",
    "opentelemetry-exporter-otlp-proto-http",
)
# The tracker imports the last two without asking for them.
REQUIREMENTS = (*PEERS, "Flask-HTTPAuth", "gunicorn", "httptools", "uvicorn", "uvloop", "djangorestframework", "PyJWT")
PROJECT = f"{ROOT}[django,fastapi,flask]"


def folder() -> Path:
    """Where the environment is: named after everything that it is made of."""
    parts = [sys.version, PROJECT, *REQUIREMENTS]
    parts += [(ROOT / name).read_text() for name in ("constraints.txt", "pyproject.toml")]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    cached = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cached / "otel-usage" / f"benchmarks-{digest}"


@cache
def programs() -> Path:
    """Make the environment unless it is there; returns its folder of programs."""
    environment = folder()
    environment.parent.mkdir(parents=True, exist_ok=True)
    with environment.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        complete = environment / "complete"
        if not complete.exists():
            venv.create(environment, with_pip=True, clear=True)
            pip = [environment / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run(
                [*pip, "--constraint", ROOT / "constraints.txt", "--editable", PROJECT, *REQUIREMENTS],
                check=True,
                timeout=900,
            )
            complete.touch()
    return environment / "bin"


def variables(**more: str) -> dict[str, str]:
    """The environment of what is measured: this checkout, and nothing set that changes OpenTelemetry or Python."""
    other = ("OTEL_", "PYTHON", "DJANGO", "APITALLY", "BENCHMARK")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(other)}
    path = os.pathsep.join([str(programs()), kept.get("PATH", "")])
    return {**kept, "PATH": path, "PYTHONPATH": str(ROOT), **more}


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
