"""A worker to be looked at: python -m benchmarks.requests.worker FRAMEWORK WAY REQUESTS.

It says when it is ready (its requests are served, everything is sent), and for each line that it reads then what
memory it has; it ends with its input.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.requests import in_process, ways

_TURNS: Final = 3
_MEASURES: Final = {"Rss": ("Rss",), "Pss": ("Pss",), "Uss": ("Private_Clean", "Private_Dirty")}


def main(framework: str, way: str, count: int) -> None:
    """Serve, then answer until nobody asks any more."""
    drive = in_process.driver(framework, way)
    if count:
        for _ in range(_TURNS):
            drive(count // _TURNS)
            ways.flush(way)
    _say({"processor": time.process_time()})
    for _ in sys.stdin:
        _say(memory())


def memory() -> dict[str, float]:
    """MiB of this process: resident, its share of what is shared, and what is its alone."""
    lines = (line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    kilobytes = {fields[0].removesuffix(":"): int(fields[1]) for fields in lines}
    return {name: sum(kilobytes[part] for part in parts) / 1024 for name, parts in _MEASURES.items()}


def _say(what: Any) -> None:
    sys.stdout.write(f"{json.dumps(what)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
