"""The virtual environment with other people's tools in it, which do not belong among our own dependencies.

It is kept outside the tree and used again until something that it is made of changes.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
REQUIREMENTS = [
    "gunicorn",
    "logfire==5.2.0",
    "newrelic==14.1.0",
    "opentelemetry-configuration==0.66b1",
    "opentelemetry-distro==0.66b1",
    "sentry-sdk==2.75.0",
    "uvicorn",
]
PROJECT = f"{ROOT}[fastapi,flask]"


def folder() -> Path:
    """Where the environment is: named after everything that it is made of."""
    parts = [sys.version, PROJECT, *REQUIREMENTS]
    parts += [(ROOT / name).read_text() for name in ("constraints.txt", "pyproject.toml")]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "otel-usage" / f"company-{digest}"


def make() -> Path:
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


if __name__ == "__main__":
    sys.stdout.write(f"{make()}\n")
