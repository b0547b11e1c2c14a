"""Virtual environments of other people's packages, which do not belong among our own dependencies.

They are kept outside the tree and used again until something that they are made of changes.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


def make(name: str, extras: str, requirements: Sequence[str]) -> Path:
    """Make an environment with this checkout in it unless it is there; returns its folder of programs.

    Args:
        name: What it is called besides the digest of all that it is made of.
        extras: Of this project, separated by commas.
        requirements: As pip takes them; our constraints hold for them too.
    """
    project = f"{ROOT}[{extras}]"
    environment = _folder(name, project, requirements)
    environment.parent.mkdir(parents=True, exist_ok=True)
    with environment.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        complete = environment / "complete"
        if not complete.exists():
            venv.create(environment, with_pip=True, clear=True)
            pip = [environment / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run(
                [*pip, "--constraint", ROOT / "constraints.txt", "--editable", project, *requirements],
                check=True,
                timeout=900,
            )
            complete.touch()
    return environment / "bin"


def _folder(name: str, project: str, requirements: Sequence[str]) -> Path:
    parts = [sys.version, project, *requirements]
    parts += [(ROOT / file).read_text() for file in ("constraints.txt", "pyproject.toml")]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "otel-usage" / f"{name}-{digest}"
