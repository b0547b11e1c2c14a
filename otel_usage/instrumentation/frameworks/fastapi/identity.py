"""What FastAPI's dependencies tell of a request: the user, the token's name, and a credential of a scheme.

The user is what a dependency returned that rests on a security scheme, or the scheme itself. How they are observed is
in `frameworks/fastapi`.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from otel_usage.enrichment.facts import FrameworkCredential, FrameworkUser
from otel_usage.instrumentation.state import RequestState
from otel_usage.instrumentation.tokens import identity

_logger = logging.getLogger("otel_usage")

_MAX_ROUTES: Final = 4096


@dataclass(slots=True)
class Calls:
    """What is looked at among the dependencies of one route.

    Attributes:
        schemes: Its security schemes.
        keys: Those that take an API key, with the query parameter that it stands in, if any.
        candidates: The dependencies whose results may be its user.
    """

    schemes: list[Callable[..., Any]]
    keys: list[tuple[Callable[..., Any], str | None]]
    candidates: list[Callable[..., Any]]


class Candidates:
    """For each route, its security schemes, and the dependencies whose results may be its user, schemes among them.

    The innermost comes first: it knows the user; those around it may return what the user may see, and those that need
    something of the path or the body do.
    """

    def __init__(self, security_base: type) -> None:
        self._security_base = security_base
        self._known: dict[int, tuple[Any, Calls]] = {}

    def of(self, dependant: Any) -> Calls:
        known = self._known.get(id(dependant))
        if known is None:
            if len(self._known) >= _MAX_ROUTES:
                self._known.clear()
            # The dependant is kept beside its answer, so that its id stays its own.
            known = self._known[id(dependant)] = (dependant, self._calls(dependant))
        return known[1]

    def has_scheme(self, dependant: Any) -> bool:
        """Whether a route rests on a security scheme: what its dependencies return may be anything else."""
        try:
            return dependant is not None and bool(self.of(dependant).schemes)
        except Exception:
            _logger.debug("The dependencies of a FastAPI route cannot be read.", exc_info=True)
            return False

    def _calls(self, dependant: Any) -> Calls:
        calls: list[Any] = [sub.call for sub in self._walk(dependant)]
        schemes: list[Any] = [call for call in calls if isinstance(call, self._security_base)]
        return Calls(schemes, list(_keys(schemes)), calls)

    def _walk(self, dependant: Any) -> Iterator[Any]:
        for sub in dependant.dependencies:
            yield from self._walk(sub)
            if isinstance(sub.call, self._security_base) or (self._is_secured(sub) and not self._is_asked_for(sub)):
                yield sub

    def _is_secured(self, dependant: Any) -> bool:
        return any(isinstance(sub.call, self._security_base) or self._is_secured(sub) for sub in dependant.dependencies)

    def _is_asked_for(self, dependant: Any) -> bool:
        return bool(dependant.path_params or dependant.body_params) or any(
            self._is_asked_for(sub) for sub in dependant.dependencies
        )


def look(state: RequestState, cache: Mapping[Any, Any], calls: Calls) -> None:
    """Who made the request, and the credential of an API key scheme, which is called whatever the application likes."""
    results = {key[0]: value for key, value in cache.items()}
    if all(results.get(scheme) is None for scheme in calls.schemes):
        return
    state.credential = _credential(results, calls)
    state.user, state.token_name = _identity(results.get(call) for call in calls.candidates)


def _keys(schemes: Iterable[Any]) -> Iterator[tuple[Callable[..., Any], str | None]]:
    for scheme in schemes:
        model: Any = getattr(scheme, "model", None)
        place = getattr(getattr(model, "in_", None), "value", None)
        if place is not None:
            yield scheme, model.name if place == "query" else None


def _credential(results: Mapping[Any, Any], calls: Calls) -> FrameworkCredential | None:
    for scheme, parameter in calls.keys:
        result = results.get(scheme)
        if isinstance(result, str) and result:
            return FrameworkCredential(result, parameter)
    return None


def _identity(results: Iterable[Any]) -> tuple[FrameworkUser | None, str | None]:
    """The first result that is somebody, with the name that a later one knows of the same; the first token's name."""
    user: FrameworkUser | None = None
    token_name: str | None = None
    for part in _parts(results):
        found, name = identity(part)
        token_name = token_name or name
        if found is not None and (user is None or (user.name is None and found.id == user.id)):
            user = found
    return user, token_name


def _parts(results: Iterable[Any]) -> Iterator[Any]:
    """What may be somebody: text may be the credential itself, and FastAPI's own objects are what the client claims."""
    for result in results:
        parts = result if type(result) is tuple else (result,)
        yield from (part for part in parts if not isinstance(part, (str, bytes)) and not _is_claim(part))


def _is_claim(value: Any) -> bool:
    return type(value).__module__.startswith("fastapi.security")
