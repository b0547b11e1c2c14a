"""Runs the benchmarks that are named, or all: python -m benchmarks [--quick] [--update-docs] [NAME...]."""

import argparse
import sys
from collections.abc import Callable
from typing import Final

from benchmarks import collect, commit, ingest, journal, startup, store
from benchmarks.measuring import Options
from benchmarks.requests import comparison, ways

BENCHMARKS: Final[dict[str, Callable[[Options], None]]] = {
    "request": comparison.run,
    "startup": startup.run,
    "journal": journal.run,
    "commit": commit.run,
    "store": store.run,
    "collect": collect.run,
    "ingest": ingest.run,
}


def main() -> None:
    """Run them in the order given."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="one small round, only to see that it works")
    parser.add_argument("--update-docs", action="store_true", help="write the tables of docs/performance.md anew")
    parser.add_argument("--instructions", action="store_true", help="count instructions of requests by valgrind (slow)")
    parser.add_argument("--framework", choices=ways.WAYS, help="only this one of the frameworks")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    if arguments.update_docs and (arguments.quick or arguments.framework):
        parser.error("the tables are those of a whole run")
    options = Options(arguments.quick, arguments.update_docs, arguments.instructions, arguments.framework)
    for name in arguments.names or BENCHMARKS:
        sys.stdout.write(f"== {name}\n")
        sys.stdout.flush()
        BENCHMARKS[name](options)


main()
