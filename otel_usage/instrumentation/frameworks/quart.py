"""Quart, whose spans we make: OpenTelemetry has no instrumentation of it. quart-auth's and other users in `quart.g`."""

import logging
from collections.abc import Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any

from otel_usage.enrichment.facts import FrameworkUser, RequestFacts
from otel_usage.enrichment.resources import know_templates
from otel_usage.instrumentation import headers
from otel_usage.instrumentation.middleware import ASGIInstrumentation, has_instrumentation
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import RequestState, bind, current, qualified_name
from otel_usage.instrumentation.tokens import token_name
from otel_usage.instrumentation.users import framework_user

_logger = logging.getLogger("otel_usage")


def patch(patches: Patches, module: ModuleType) -> None:
    """Serve every Quart application in a span, and look at each request while its context is there."""
    serve = ASGIInstrumentation(patches, "quart", elsewhere=has_instrumentation("quart")).serve

    def serving(original: Any) -> Any:
        async def __call__(self: Any, scope: Any, receive: Any, send: Any) -> None:
            await serve(original.__get__(self), scope, receive, send, read_unmet, inside=self.asgi_app)

        return __call__

    patches.replace(module.Quart, "__call__", serving)
    for dispatch in ("full_dispatch_request", "full_dispatch_websocket"):
        patches.replace(module.Quart, dispatch, _looking)
    for handle in ("handle_exception", "handle_websocket_exception"):
        patches.replace(module.Quart, handle, _noting_exception)


def _looking(original: Any) -> Any:
    async def full_dispatch(self: Any, context: Any = None) -> Any:
        if context is not None:
            bind(read_facts, context)
        try:
            return await original(self, context)
        finally:
            _look()

    return full_dispatch


def _noting_exception(original: Any) -> Any:
    async def handle_exception(self: Any, error: Exception) -> Any:
        state = current()
        if state is not None:
            state.error_type = qualified_name(error)
        return await original(self, error)

    return handle_exception


def _look() -> None:
    """See the user, before Quart takes its context away."""
    try:
        from quart import g

        state = current()
        if state is not None:
            said = vars(g._get_current_object())
            state.user = (
                _of_quart_auth(said) or framework_user(said.get("_login_user")) or framework_user(said.get("user"))
            )
            state.token_name = token_name(said.get("token"))
    except Exception:
        _logger.debug("The user of a Quart request cannot be told.", exc_info=True)


def _of_quart_auth(said: Mapping[str, Any]) -> FrameworkUser | None:
    # Its `is_authenticated` would have to be awaited.
    user_id = getattr(said.get("_quart_auth_user"), "auth_id", None)
    return None if user_id is None else FrameworkUser(str(user_id))


def read_unmet(state: RequestState) -> RequestFacts:
    """The facts of a request that a middleware around Quart answered."""
    return _facts(state, state.native)


def read_facts(state: RequestState) -> RequestFacts:
    """The facts that Quart's context states; the route begins with where the application is mounted."""
    app, request = state.native.app, state.native.request_websocket
    _know(app)
    mount, rule = request.scope.get("root_path", ""), request.url_rule
    return _facts(
        state,
        request.scope,
        route=None if rule is None else f"{mount}{rule.rule}",
        path_params={name: str(value) for name, value in (request.view_args or {}).items()},
        operation=request.endpoint,
        session_cookie_names=_session_cookies(app),
    )


def _facts(state: RequestState, scope: Mapping[str, Any], **met: Any) -> RequestFacts:
    return RequestFacts(
        method=scope.get("method", "GET").upper(),
        path=scope.get("path", ""),
        query=(scope.get("query_string") or b"").decode("latin-1"),
        headers=headers.of_scope(scope),
        status=state.status,
        content_disposition=state.content_disposition,
        content_range=state.content_range,
        token_name=state.token_name,
        user=state.user,
        websocket=scope["type"] == "websocket",
        **met,
    )


def _session_cookies(app: Any) -> tuple[str, ...]:
    if not app.secret_key:
        return ()
    return (*(auth.cookie_name for auth in app.extensions.get("QUART_AUTH", ())), app.config["SESSION_COOKIE_NAME"])


@lru_cache(maxsize=16)
def _know(app: Any) -> None:
    know_templates(rule.rule for rule in app.url_map.iter_rules())


HOOKS = {"quart.app": patch}
