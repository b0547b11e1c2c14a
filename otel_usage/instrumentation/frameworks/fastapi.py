"""FastAPI: the user is what a dependency returned that rests on a security scheme."""

import logging
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from otel_usage.enrichment.facts import FrameworkUser
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import current
from otel_usage.instrumentation.users import framework_user

_logger = logging.getLogger("otel_usage")

MODULE = "fastapi.routing"
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
                state.user = _looked_up(cache, candidates, kwargs["dependant"])

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


def _looked_up(cache: Mapping[Any, Any], candidates: _Candidates, dependant: Any) -> FrameworkUser | None:
    try:
        return _user(cache, candidates.of(dependant))
    except Exception:
        _logger.debug("The user of a FastAPI request cannot be told.", exc_info=True)
        return None


def _user(cache: Mapping[Any, Any], calls: _Calls) -> FrameworkUser | None:
    """The first result that is somebody, unless every scheme found nothing: then nobody signed in.

    Text is not taken, since it may be the credential itself.
    """
    results = {key[0]: value for key, value in cache.items()}
    schemes, candidates = calls
    if all(results.get(scheme) is None for scheme in schemes):
        return None
    for call in candidates:
        result = results.get(call)
        if isinstance(result, (str, bytes)):
            continue
        user = framework_user(result)
        if user is not None:
            return user
    return None
