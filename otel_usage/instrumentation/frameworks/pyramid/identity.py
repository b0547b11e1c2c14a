"""Whom Pyramid's policies name, seen as the application asks them: asked by us, they might query its database."""

import logging
from collections.abc import Callable, Mapping
from types import FunctionType, ModuleType
from typing import Any, Final

from otel_usage.enrichment.facts import FrameworkUser
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import RequestState, current
from otel_usage.instrumentation.users import framework_user, scalar

_logger = logging.getLogger("otel_usage")

_MAX_TICKETS: Final = 16
_AUTHENTICATED: Final = "system.Authenticated"
# Cookie names of every AuthTktCookieHelper that was made.
_tickets: set[str] = set()


def patch_tickets(patches: Patches, module: ModuleType) -> None:
    """Learn under which name each AuthTktCookieHelper keeps its ticket."""

    def making(original: Any) -> Any:
        def made(self: Any, *args: Any, **kwargs: Any) -> None:
            original(self, *args, **kwargs)
            if len(_tickets) < _MAX_TICKETS:
                _tickets.add(self.cookie_name)

        return made

    patches.replace(module.AuthTktCookieHelper, "__init__", making)
    patches.at_undo(_tickets.clear)


def session_cookie_names(request: Any) -> tuple[str, ...]:
    """The cookie that signs this request in: a ticket if it has one, else that of Pyramid's own sessions."""
    from pyramid.interfaces import ISessionFactory

    cookies = request.environ.get("HTTP_COOKIE")
    if not cookies:
        return ()
    # A copy: another thread may be making a helper.
    tickets = tuple(name for name in tuple(_tickets) if f"{name}=" in cookies)
    session = getattr(request.registry.queryUtility(ISessionFactory), "_cookie_name", None)
    return tickets or ((session,) if isinstance(session, str) else ())


def watch(patches: Patches, registry: Any, watched: set[tuple[type, str]]) -> None:
    """See what an application's policies answer from now on.

    Args:
        patches: Replaces their methods.
        registry: The application's.
        watched: Classes and methods that are seen already; added to.
    """
    from pyramid.interfaces import IAuthenticationPolicy, ISecurityPolicy

    for interface, methods in ((ISecurityPolicy, _SECURITY), (IAuthenticationPolicy, _AUTHENTICATION)):
        policy = type(registry.queryUtility(interface))
        for name, see in methods.items():
            owner = next((kind for kind in policy.__mro__ if name in vars(kind)), None)
            if owner is None or (owner, name) in watched or not isinstance(vars(owner)[name], FunctionType):
                continue
            # Only of Pyramid's own policies is it known where among the principals the user is.
            if see is _see_principals and not owner.__module__.startswith("pyramid."):
                continue
            watched.add((owner, name))
            patches.replace(owner, name, see)


def _seeing(note: Callable[..., None]) -> Callable[[Any], Any]:
    """A replacement of a policy's method; `note` gets the state, the answer, and the arguments after the request."""

    def make(original: Any) -> Any:
        def method(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            answer = original(self, request, *args, **kwargs)
            try:
                state = current()
                # A subrequest may be made by another user.
                if state is not None and getattr(state.native, "request", None) is request:
                    note(state, answer, *args)
            except Exception:
                _logger.debug("The user of a Pyramid request cannot be told.", exc_info=True)
            return answer

        return method

    return make


@_seeing
def _see_identity(state: RequestState, identity: Any) -> None:
    """An identity is the user; what Pyramid's helpers, and applications after them, name `userid` is its id."""
    values = identity if isinstance(identity, Mapping) else getattr(identity, "__dict__", None) or {}
    user, userid = framework_user(identity), scalar(values.get("userid"))
    if userid is not None:
        user = FrameworkUser(userid, None if user is None else user.name)
    state.user = user or state.user


@_seeing
def _see_userid(state: RequestState, userid: Any) -> None:
    # Behind it is an identity most often, which tells more.
    state.user = state.user or framework_user(userid)


@_seeing
def _see_remembered(state: RequestState, _headers: Any, userid: Any = None) -> None:
    state.user = framework_user(userid) or state.user


@_seeing
def _see_principals(state: RequestState, principals: Any) -> None:
    if principals[1:2] == [_AUTHENTICATED]:
        state.user = state.user or framework_user(principals[2])


_SECURITY: Final = {
    "identity": _see_identity,
    "authenticated_userid": _see_userid,
    "remember": _see_remembered,
}
_AUTHENTICATION: Final = {"authenticated_userid": _see_userid, "effective_principals": _see_principals}
