"""Runs the benchmarks that are named, or all: python -m benchmarks [request] [journal] [commit]."""

import sys

from benchmarks import commit, journal, request

BENCHMARKS = {"request": request.run, "journal": journal.run, "commit": commit.run}


def main() -> None:
    """Run them in the order given."""
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        sys.exit(f"There is no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}.")
    for name in names:
        print(f"== {name}", flush=True)
        BENCHMARKS[name]()


main()
