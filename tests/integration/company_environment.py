"""The virtual environment with other people's tools in it."""

import sys
from pathlib import Path

from tests import environments

REQUIREMENTS = [
    "gunicorn",
    "logfire==5.2.0",
    "newrelic==14.1.0",
    "opentelemetry-configuration==0.66b1",
    "opentelemetry-distro==0.66b1",
    "sentry-sdk==2.75.0",
    "uvicorn",
]


def make() -> Path:
    """Make the environment unless it is there; returns its folder of programs."""
    return environments.make("company", "fastapi,flask", REQUIREMENTS)


if __name__ == "__main__":
    sys.stdout.write(f"{make()}\n")
