"""What an application may say of the request it is serving; its word wins over everything derived.

Callable anywhere: in a view, a dependency, a thread that copied the context. Outside a request, or where nothing
is instrumented, each call does nothing.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from otel_usage.enrichment.facts import ApplicationWord
from otel_usage.instrumentation.state import current

_logger = logging.getLogger("otel_usage")


def identify(*, user_id: object = None, user_name: object = None, token_name: object = None) -> None:
    """Say who makes this request, in the application's own terms.

    Args:
        user_id: Stable id of the user; any object whose text is meant. None says nothing.
        user_name: Name of the user.
        token_name: The application's own name for the token ("nightly export"); never the token.
    """
    with _listening() as word:
        said = _text(user_id), _text(user_name), _text(token_name)
        if word is not None:
            word.user_id, word.user_name, word.token_name = (
                new if new is not None else old
                for new, old in zip(said, (word.user_id, word.user_name, word.token_name), strict=True)
            )


def record_access(
    type: str,  # noqa: A002 - the name that users read in reports
    id: object,  # noqa: A002 - likewise
    *,
    name: object = None,
    parent: tuple[str, object] | None = None,
    action: str | None = None,
) -> None:
    """Say which resource this request accesses; of several in one request the first is the row's.

    Args:
        type: Kind of resource, in the singular: "dataset".
        id: Its id.
        name: Its title.
        parent: Type and id of what contains it: ("organization", "7").
        action: What is done to it, where the derived action is not right.
    """
    with _listening() as word:
        said = (str(type), str(id)), _text(name), None if parent is None else (str(parent[0]), str(parent[1]))
        if word is not None and word.resource is None:
            word.resource, word.resource_name, word.parent = said
            word.action = _text(action)


@contextmanager
def _listening() -> Iterator[ApplicationWord | None]:
    """The word of the current request, None outside one; what cannot be said is logged, never raised."""
    try:
        state = current()
        if state is None:
            yield None
            return
        if state.word is None:
            state.word = ApplicationWord()
        state.revision += 1
        yield state.word
    except Exception:
        _logger.warning("What the application said of a request cannot be kept.", exc_info=True)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
