"""What applications of aiohttp.web and their identity libraries know of a user: aiohttp-security, aiohttp-session."""

import logging
from types import ModuleType
from typing import Any

from otel_usage.enrichment.facts import FrameworkUser
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import current
from otel_usage.instrumentation.tokens import identity
from otel_usage.instrumentation.users import framework_user

_logger = logging.getLogger("otel_usage")


def patch_security(patches: Patches, module: ModuleType) -> None:
    """Learn of each user that an application asks aiohttp-security for."""
    patches.replace(module, "authorized_userid", _note_user)


def _note_user(original: Any) -> Any:
    async def authorized_userid(*arguments: Any, **named: Any) -> Any:
        user = await original(*arguments, **named)
        try:
            state = current()
            if state is not None:
                state.user = framework_user(user)
        except Exception:
            _logger.debug("The user of aiohttp-security cannot be told.", exc_info=True)
        return user

    return authorized_userid


def identity_in(request: Any) -> tuple[FrameworkUser | None, str | None]:
    """Who the application says it is under the key "user", be that text or an `aiohttp.web.RequestKey`."""
    for key, value in request.items():
        if key == "user" or getattr(key, "_name", "").endswith(".user"):
            return identity(value)
    return None, None


def session_cookies(request: Any) -> tuple[str, ...]:
    """The cookie of aiohttp-session where the session is kept by the server.

    A session that is kept in the cookie itself is encrypted anew whenever it changes: nothing of it stays the same.
    """
    if getattr(request.get("aiohttp_session"), "identity", None) is None:
        return ()
    return (request["aiohttp_session_storage"].cookie_name,)
