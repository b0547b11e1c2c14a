"""What an application may say of the request it is serving; its word wins over everything derived.

Callable anywhere: in a view, a dependency, a thread that copied the context. Outside a request, or where nothing
is instrumented, each call does nothing.
"""

from otel_usage.enrichment.facts import ApplicationWord
from otel_usage.instrumentation.state import current


def identify(*, user_id: object = None, user_name: object = None, token_name: object = None) -> None:
    """Say who makes this request, in the application's own terms.

    Args:
        user_id: Stable id of the user; any object whose text is meant. None says nothing.
        user_name: Name of the user.
        token_name: The application's own name for the token ("nightly export"); never the token.
    """
    word = _word()
    if word is None:
        return
    if user_id is not None:
        word.user_id = str(user_id)
    if user_name is not None:
        word.user_name = str(user_name)
    if token_name is not None:
        word.token_name = str(token_name)


def record_access(
    type: str,  # noqa: A002 - the name that users read in reports
    id: object,  # noqa: A002
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
    word = _word()
    if word is None or word.resource is not None:
        return
    word.resource = (str(type), str(id))
    word.resource_name = None if name is None else str(name)
    word.parent = None if parent is None else (str(parent[0]), str(parent[1]))
    word.action = action


def _word() -> ApplicationWord | None:
    state = current()
    if state is None:
        return None
    if state.word is None:
        state.word = ApplicationWord()
    state.revision += 1
    return state.word
