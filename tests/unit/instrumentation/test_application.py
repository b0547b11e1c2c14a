"""identify() and record_access(): inside a request they are heard, outside they do no harm."""

import contextvars
import threading

import pytest

from otel_usage import identify, record_access
from otel_usage.instrumentation.state import RequestState, activate, current, deactivate


@pytest.fixture
def state():
    """A request being served."""
    state = RequestState(None, None, counted=True)
    token = activate(state)
    yield state
    deactivate(token)


def test_outside_a_request():
    """Without a request each call does nothing and raises nothing."""
    assert current() is None
    identify(user_id=1)
    record_access("dataset", 1)


def test_after_a_request(state):
    """Once a request is kept nobody is listening any more."""
    state.kept = True
    identify(user_id=1)
    assert state.word is None


def test_identify_adds_up(state):
    """Later calls add to earlier ones, None says nothing, and any object's text is taken."""
    identify(user_id=7, user_name="Grace")
    identify(token_name="export")
    identify(user_id=None)
    assert (state.word.user_id, state.word.user_name, state.word.token_name) == ("7", "Grace", "export")


def test_first_access_is_the_rows(state):
    """Of several resources in one request the first is the row's."""
    record_access("report", 1, name="Yearly", parent=("project", 9), action="render")
    record_access("report", 2)
    assert state.word.resource == ("report", "1")
    assert (state.word.resource_name, state.word.parent, state.word.action) == ("Yearly", ("project", "9"), "render")


def test_from_a_thread_that_copied_the_context(state):
    """A thread inside the request speaks for it when it runs in a copy of its context."""
    copied = contextvars.copy_context()
    thread = threading.Thread(target=lambda: copied.run(identify, user_id="from-thread"))
    thread.start()
    thread.join()
    assert state.word.user_id == "from-thread"


class Unspeakable:
    """Like a detached ORM object: it has no text any more."""

    def __str__(self):
        raise LookupError("detached")


@pytest.mark.parametrize(
    "call",
    [
        lambda: identify(user_id=Unspeakable()),
        lambda: record_access("dataset", Unspeakable()),
        lambda: record_access("dataset", 1, parent=5),
        lambda: record_access("dataset", 1, parent=("organization",)),
    ],
)
def test_what_cannot_be_said_is_logged(state, call, caplog):
    """A mistake in a call costs what it would have said, all of it, and never the request."""
    call()
    assert "cannot be kept" in caplog.text
    assert (state.word.user_id, state.word.resource) == (None, None)
