"""Starlette, and FastAPI on top of it: which routes a request meets, mounts included, and which cookie its session has.

The rest of the request is read as any ASGI application's.
"""

import logging
from functools import partial
from types import ModuleType
from typing import Any

from otel_usage.instrumentation.asgi_scope import note_route, note_session_cookie
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import current

_logger = logging.getLogger("otel_usage")


def patch_routing(patches: Patches, module: ModuleType) -> None:
    """Note each route that a request is handed over to: the scope has only the innermost, older versions none."""
    for kind in (module.Route, module.WebSocketRoute, module.Mount, module.Host):
        patches.replace(kind, "handle", _noting_route)


def patch_sessions(patches: Patches, module: ModuleType) -> None:
    """Note the name of the session cookie, which only the middleware knows."""
    patches.replace(module.SessionMiddleware, "__call__", _noting_cookie)


def patch_authentication(patches: Patches, module: ModuleType) -> None:
    """Note that a credential was refused: the answer to that is 400 unless the application says otherwise."""
    module.AuthenticationMiddleware.on_error = _NotingRefusal()
    patches.at_undo(partial(delattr, module.AuthenticationMiddleware, "on_error"))


class _NotingRefusal:
    """`on_error` of a middleware: stays among its own values, so that nothing is left to undo there."""

    def __get__(self, middleware: Any, _: type) -> Any:
        answer = vars(middleware).get("on_error") if middleware is not None else None
        if answer is None:
            raise AttributeError("on_error")

        def on_error(*refused: Any, **named: Any) -> Any:
            state = current()
            if state is not None:
                state.refused = True
            return answer(*refused, **named)

        return on_error

    def __set__(self, middleware: Any, answer: Any) -> None:
        vars(middleware)["on_error"] = answer


def _noting_route(original: Any) -> Any:
    async def handle(self: Any, scope: Any, receive: Any, send: Any) -> None:
        note_route(scope, self)
        await original(self, scope, receive, send)

    return handle


def _noting_cookie(original: Any) -> Any:
    async def __call__(self: Any, scope: Any, receive: Any, send: Any) -> None:
        try:
            note_session_cookie(scope, self.session_cookie)
        except Exception:
            _logger.debug("The cookie of a session cannot be told.", exc_info=True)
        await original(self, scope, receive, send)

    return __call__


HOOKS = {
    "starlette.middleware.authentication": patch_authentication,
    "starlette.middleware.sessions": patch_sessions,
    "starlette.routing": patch_routing,
}
