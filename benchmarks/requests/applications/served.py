"""The application that a server imports: framework and way are named by the environment."""

import os

from benchmarks.requests import applications

application = applications.make(os.environ["BENCHMARK_FRAMEWORK"], os.environ["BENCHMARK_WAY"])
