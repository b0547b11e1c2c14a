"""FastAPI: the user is what a dependency returned that rests on a security scheme."""

import logging
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from otel_usage.enrichment.facts import FrameworkCredential, FrameworkUser
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import RequestState, current
from otel_usage.instrumentation.users import framework_user

_logger = logging.getLogger("otel_usage")

_MAX_ROUTES = 4096

_Calls = tuple[list[Callable[..., Any]], list[Callable[..., Any]]]


def patch(patches: Patches, module: ModuleType) -> None:
    """Look at the solved dependencies of each request; everything else is ASGI."""
    from fastapi.security.base import SecurityBase

    candidates = _Candidates(SecurityBase)

    def solving(original: Any) -> Any:
        async def solve_dependencies(*args: Any, **kwargs: Any) -> Any:
            state = current()
            if state is None or state.user is not None or "dependant" not in kwargs:
                return await original(*args, **kwargs)
            # FastAPI fills the cache as it goes: it tells the user also where a later dependency answers 403.
            cache = kwargs["dependency_cache"] = _Cache(kwargs.get("dependency_cache") or {})
            try:
                return await original(*args, **kwargs)
            finally:
                try:
                    _look(state, cache, candidates.of(kwargs["dependant"]))
                except Exception:
                    _logger.debug("The user of a FastAPI request cannot be told.", exc_info=True)

        return solve_dependencies

    patches.replace(module, "solve_dependencies", solving)


class _Cache(dict[Any, Any]):
    """True also when empty: older FastAPI puts a dictionary of its own in the place of a false one."""

    def __bool__(self) -> bool:
        return True


class _Candidates:
    """For each route, its security schemes, and the dependencies whose results may be its user: innermost first.

    The innermost knows the user; those around it may return what the user may see.
    """

    def __init__(self, security_base: type) -> None:
        self._security_base = security_base
        self._known: dict[int, tuple[Any, _Calls]] = {}

    def of(self, dependant: Any) -> _Calls:
        known = self._known.get(id(dependant))
        if known is None:
            if len(self._known) >= _MAX_ROUTES:
                self._known.clear()
            # The dependant is kept beside its answer, so that its id stays its own.
            known = self._known[id(dependant)] = (dependant, self._calls(dependant))
        return known[1]

    def _calls(self, dependant: Any) -> _Calls:
        calls: list[Any] = [sub.call for sub in self._walk(dependant)]
        schemes: list[Any] = [call for call in calls if isinstance(call, self._security_base)]
        return schemes, [call for call in calls if not isinstance(call, self._security_base)]

    def _walk(self, dependant: Any) -> Iterator[Any]:
        for sub in dependant.dependencies:
            yield from self._walk(sub)
            if isinstance(sub.call, self._security_base) or self._is_secured(sub):
                yield sub

    def _is_secured(self, dependant: Any) -> bool:
        return any(isinstance(sub.call, self._security_base) or self._is_secured(sub) for sub in dependant.dependencies)


def _look(state: RequestState, cache: Mapping[Any, Any], calls: _Calls) -> None:
    """Who made the request, and the credential of an API key scheme, which is called whatever the application likes."""
    results = {key[0]: value for key, value in cache.items()}
    schemes, candidates = calls
    if all(results.get(scheme) is None for scheme in schemes):
        return
    state.credential = next(filter(None, (_credential(scheme, results.get(scheme)) for scheme in schemes)), None)
    state.user = _user(results, candidates)


def _credential(scheme: Any, result: Any) -> FrameworkCredential | None:
    model: Any = getattr(scheme, "model", None)
    place = getattr(getattr(model, "in_", None), "value", None)
    if place is None or not isinstance(result, str) or not result:
        return None
    return FrameworkCredential(result, model.name if place == "query" else None)


def _user(results: Mapping[Any, Any], candidates: list[Callable[..., Any]]) -> FrameworkUser | None:
    """The first result that is somebody; text is not taken, since it may be the credential itself."""
    for call in candidates:
        result = results.get(call)
        user = None if isinstance(result, (str, bytes)) else framework_user(result)
        if user is not None:
            return user
    return None


HOOKS = {"fastapi.routing": patch}
