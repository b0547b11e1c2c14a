"""Flask."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from types import ModuleType
from typing import Any
from weakref import WeakSet

from otel_usage.enrichment.facts import RequestFacts
from otel_usage.enrichment.resources import know_templates
from otel_usage.instrumentation import headers, wsgi_exchange
from otel_usage.instrumentation.frameworks.flask.identity import credential_in, identity_in, patch_httpauth
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import RequestState, current
from otel_usage.instrumentation.users import session_user

_logger = logging.getLogger("otel_usage")


def patch(patches: Patches, module: ModuleType) -> None:
    """Count what passes any Flask application, and look at each request while its context is there."""
    # The hook runs while the package `flask` itself is still being imported.
    from flask.signals import got_request_exception, request_finished

    def look(sender: Any, **said: Any) -> None:
        try:
            _look(sender, answered="response" in said)
        except Exception:
            # Flask answers 500 for what a receiver of its signals raises.
            _logger.debug("A Flask request cannot be looked at.", exc_info=True)

    patches.replace(module.Flask, "__call__", _serve)
    # An exception that Flask hands on to the server (PROPAGATE_EXCEPTIONS) finishes no request.
    for signal in (request_finished, got_request_exception):
        signal.connect(look, weak=False)
        patches.at_undo(partial(signal.disconnect, look))


@cache
def _flask() -> Any:
    """Where Flask's proxies are; an import statement in each request would cost several times as much."""
    from flask import globals as proxies

    return proxies


# Applications whose routes are known.
_known: "WeakSet[Any]" = WeakSet()


def _serve(original: Any) -> Any:
    def __call__(self: Any, environ: Any, start_response: Any) -> Any:
        return wsgi_exchange.serve(original.__get__(self), environ, start_response, read_facts)

    return __call__


def read_facts(state: RequestState) -> RequestFacts:
    """The facts of the request whose context is here; outside it, those seen when it was finished.

    The route begins with where the application is mounted (semantic conventions, `http.route`).
    """
    if not isinstance(state.native, _Seen) and _flask().request:
        _look(_flask().current_app._get_current_object(), answered=False)
    seen = state.native if isinstance(state.native, _Seen) else _Seen(state.native)
    environ = seen.environ
    return RequestFacts(
        method=environ.get("REQUEST_METHOD", "GET").upper(),
        path=headers.path_of_environ(environ),
        query=environ.get("QUERY_STRING") or "",
        route=None if seen.route is None else f"{environ.get('SCRIPT_NAME', '')}{seen.route}",
        path_params={name: str(value) for name, value in seen.view_args.items()},
        headers=headers.of_environ(environ),
        session_cookie_names=seen.session_cookies,
        status=state.status,
        content_disposition=state.content_disposition,
        content_range=state.content_range,
        token_name=state.token_name,
        operation=state.operation,
        user=state.user,
        credential=state.credential,
        remote_user=environ.get("REMOTE_USER"),
    )


@dataclass(slots=True)
class _Seen:
    """What must be read before Flask takes its context away."""

    environ: Mapping[str, Any]
    route: str | None = None
    view_args: Mapping[str, Any] = field(default_factory=dict)
    session_cookies: tuple[str, ...] = ()


def _look(app: Any, *, answered: bool) -> None:
    state = current()
    if state is None:
        return
    if app not in _known:
        _known.add(app)
        know_templates(rule.rule for rule in app.url_map.iter_rules())
    # A look through the proxy costs as much as all the rest.
    flask = _flask()
    request = flask.request._get_current_object()
    state.read_facts = read_facts
    state.operation = request.endpoint
    state.native = _Seen(
        request.environ,
        None if request.url_rule is None else request.url_rule.rule,
        request.view_args or {},
        (app.config["SESSION_COOKIE_NAME"],) if app.secret_key else (),
    )
    said = vars(flask.g._get_current_object())
    # Until the answer has its headers, a look at the session would put `Vary: Cookie` among them.
    in_session = session_user(flask.session._get_current_object()) if answered else None
    if said:
        user, state.token_name = identity_in(said)
        state.user = user or in_session or state.user
        state.credential = credential_in(said, request, app.config) or state.credential
    elif in_session is not None:
        state.user = in_session


HOOKS = {"flask.app": patch, "flask_httpauth": patch_httpauth}
