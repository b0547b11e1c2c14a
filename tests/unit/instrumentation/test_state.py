"""The state of a request: whose it is, and when it is over."""

import os

from otel_usage.instrumentation.state import RequestState, activate, current, deactivate


class Kept:
    """A keeper that writes a word for each record into a pipe."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()

    def describe(self, state: RequestState) -> None:
        """Nothing to find out."""

    def keep(self, state: RequestState) -> None:
        """Say that there is a record."""
        state.kept = True
        os.write(self.writing, b"kept ")

    def all(self) -> bytes:
        """What was written by all processes."""
        os.close(self.writing)
        return os.read(self.reading, 100)


def test_a_forked_child_makes_no_record_of_its_parents_request() -> None:
    """A child that leaves the request it was forked in, as one does that exits there, does not count it again."""
    keeper = Kept()
    state = RequestState(None, None, counted=True)
    state.keeper = keeper
    token = activate(state)
    try:
        child = os.fork()
        if child == 0:
            spoke = current() is not None
            state.failed(SystemExit())
            state.complete()
            os._exit(int(spoke))
        assert os.waitpid(child, 0)[1] == 0
        assert current() is state
        state.complete()
    finally:
        deactivate(token)
    assert keeper.all() == b"kept "
