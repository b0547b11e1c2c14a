"""What the tests of the pipeline start, built or installed once for all of them."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import environments
from tests.integration import site

SCRIPTS = Path(__file__).parents[2] / "scripts"
INSTALL, INSTALL_NODE_APP = SCRIPTS / "install-collector", SCRIPTS / "install-node-app"
NO_GO = NO_NODE = 69
# Applications whose ordinary traces are exported as the launcher does it: that takes the distribution.
TRACING = [
    "fastapi",
    "flask-login",
    "gunicorn",
    "opentelemetry-distro",
    "opentelemetry-exporter-otlp-proto-http",
    "uvicorn",
]


@pytest.fixture(scope="session")
def collector_binary() -> Path:
    """The program that `scripts/install-collector` builds; it takes two minutes where it has not been built before."""
    done = subprocess.run([INSTALL], capture_output=True, text=True, timeout=1800)
    if done.returncode == NO_GO:
        pytest.skip(f"{done.stderr.strip()}; then scripts/install-collector builds it for these tests")
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def node_packages() -> Path:
    """The folder of packages that `scripts/install-node-app` installs, in a quarter of a minute the first time."""
    done = subprocess.run([INSTALL_NODE_APP], capture_output=True, text=True, timeout=600)
    if done.returncode == NO_NODE:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip()) / "node_modules"


@pytest.fixture(scope="module")
def tracing_programs() -> Iterator[None]:
    """Applications are served from an environment in which the launcher exports their ordinary traces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site, "BIN", environments.make("tracing", "fastapi,flask", TRACING))
        yield
