"""Instructions of one request on the thread that serves it, as callgrind counts them: hardly any noise, and slow.

python -m benchmarks.requests.instructions FRAMEWORK WAY is what valgrind runs; it has itself counted only while it
serves, and ends without a word.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks import environment
from benchmarks.requests import in_process

# Caches are filled first.
_WARM_UP: Final = 200
_COUNT: Final = 200


def available() -> bool:
    """Whether valgrind is there."""
    return shutil.which("valgrind") is not None and shutil.which("callgrind_control") is not None


def measure(framework: str, way: str, directory: Path, variables: dict[str, str]) -> float:
    """Millions of instructions a request.

    Raises:
        RuntimeError: They could not be counted.
    """
    counts = directory / "counts"
    valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes"]
    done = subprocess.run(
        [
            *(*valgrind, f"--callgrind-out-file={counts}"),
            *(str(environment.programs() / "python"), "-m", __name__, framework, way),
        ],
        cwd=directory,
        env=environment.variables(**variables, PYTHONHASHSEED="0"),
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode:
        raise RuntimeError(f"{framework}, {way}: {done.stderr[-2000:]}")
    # The first thread is the one that serves.
    total = re.search(r"^totals: (\d+)", counts.with_name("counts-01").read_text(), re.MULTILINE)
    if total is None or total[1] == "0":
        raise RuntimeError(f"{framework}, {way}: callgrind has counted nothing")
    return int(total[1]) / _COUNT / 1e6


def _switch(state: str) -> None:
    control = shutil.which("callgrind_control") or "callgrind_control"
    subprocess.run([control, "-i", state, str(os.getpid())], check=True, capture_output=True)


def main(framework: str, way: str) -> None:
    """Make the requests, and leave what goes on in other threads undone."""
    drive = in_process.driver(framework, way)
    drive(_WARM_UP)
    _switch("on")
    drive(_COUNT)
    _switch("off")
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
