"""What all tests share."""

import signal

import pytest
from hypothesis import HealthCheck, settings

# A background job of a shell ignores interrupts, one under nohup hang-ups, and so would every process that the tests
# start and then interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the tests that compare with what is written."""
    parser.addoption("--update-docs", action="store_true", help="write the tables of docs/ anew")


@pytest.fixture
def update_docs(pytestconfig: pytest.Config) -> bool:
    """Whether to write tables of the documentation instead of comparing with them."""
    return bool(pytestconfig.getoption("--update-docs"))


# How fast examples are made is the machine's affair: it has other things to do.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
