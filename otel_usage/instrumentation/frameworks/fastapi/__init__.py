"""FastAPI: the dependencies of a request, which tell its user, and the routes of included routers."""

import logging
from inspect import signature
from types import ModuleType
from typing import Any

from otel_usage.instrumentation.asgi_scope import note_route
from otel_usage.instrumentation.frameworks.fastapi.identity import Candidates, look
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import current

_logger = logging.getLogger("otel_usage")


def patch(patches: Patches, module: ModuleType) -> None:
    """Look at the solved dependencies of each request, and at its route in an included router."""
    from fastapi.security.base import SecurityBase

    candidates = Candidates(SecurityBase)

    def solving(original: Any) -> Any:
        async def solve_dependencies(*args: Any, **kwargs: Any) -> Any:
            state = current()
            if state is None or state.user is not None or not candidates.has_scheme(kwargs.get("dependant")):
                return await original(*args, **kwargs)
            # FastAPI fills the cache as it goes: it tells the user also where a later dependency answers 403.
            cache = kwargs["dependency_cache"] = _Cache(kwargs.get("dependency_cache") or {})
            try:
                return await original(*args, **kwargs)
            finally:
                try:
                    look(state, cache, candidates.of(kwargs["dependant"]))
                except Exception:
                    _logger.debug("The user of a FastAPI request cannot be told.", exc_info=True)

        return solve_dependencies

    if "dependency_cache" in signature(module.solve_dependencies).parameters:
        patches.replace(module, "solve_dependencies", solving)
    if "handle" in vars(module.APIRoute):
        patches.replace(module.APIRoute, "handle", _noting_included)


def _noting_included(original: Any) -> Any:
    """Since 0.137 the route of an included router is only a part: its whole path is in a context beside it."""

    async def handle(self: Any, scope: Any, receive: Any, send: Any) -> None:
        try:
            context = scope.get("fastapi", {}).get("effective_route_context")
            if getattr(context, "original_route", None) is self:
                note_route(scope, context)
        except Exception:
            _logger.debug("The route of an included router cannot be told.", exc_info=True)
        await original(self, scope, receive, send)

    return handle


class _Cache(dict[Any, Any]):
    """True also when empty: older FastAPI puts a dictionary of its own in the place of a false one."""

    def __bool__(self) -> bool:
        return True


HOOKS = {"fastapi.routing": patch}
