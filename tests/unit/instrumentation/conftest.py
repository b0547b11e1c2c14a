"""What the tests of the instrumentation share."""

import pytest

from otel_usage.instrumentation.state import activate


@pytest.fixture(autouse=True)
def no_request_of_another_test():
    """A request that a test leaves unfinished is still the current one afterwards."""
    activate(None)
    yield
    activate(None)
