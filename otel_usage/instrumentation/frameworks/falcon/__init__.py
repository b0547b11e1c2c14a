"""Falcon: its route and parameters, and the user in `req.context`. The spans of ASGI are ours to make.

OpenTelemetry's instrumentation puts a class of its own in the place of `falcon.App`; it has none for `falcon.asgi.App`.
What Falcon does with a request is seen in `requests`.
"""

from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from otel_usage.enrichment.facts import FrameworkUser, RequestFacts
from otel_usage.instrumentation import headers, wsgi_exchange
from otel_usage.instrumentation.frameworks.falcon import requests
from otel_usage.instrumentation.frameworks.falcon.requests import Seen
from otel_usage.instrumentation.middleware import ASGIInstrumentation, WSGIInstrumentation
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import RequestState, current
from otel_usage.instrumentation.users import framework_user


def patch_instrumentation(patches: Patches, module: ModuleType) -> None:
    """Count what passes a Falcon application; one that was made of the class before gets its spans here."""
    import falcon
    from falcon.app import App

    serve_uninstrumented = WSGIInstrumentation(patches, "falcon").serve

    def serving(original: Any) -> Any:
        def __call__(self: Any, environ: Any, start_response: Any) -> Any:
            serve = original.__get__(self)
            if falcon.App is App or isinstance(self, module._InstrumentedFalconAPI):
                # Falcon is not instrumented, or no longer; or its instrumentation has left this request out.
                return serve(environ, start_response)
            return serve_uninstrumented(serve, environ, start_response, read_facts)

        return __call__

    patches.replace(module._InstrumentedFalconAPI, "__call__", _serve)
    patches.replace(App, "__call__", serving)


def patch_asgi_app(patches: Patches, module: ModuleType) -> None:
    """Serve every ASGI application in a span."""
    serve = ASGIInstrumentation(patches, "falcon").serve

    def serving(original: Any) -> Any:
        async def __call__(self: Any, scope: Any, receive: Any, send: Any) -> None:
            if isinstance(scope.get("headers"), Iterator):
                _settle(scope)
            await serve(original.__get__(self), scope, receive, send, read_facts)

        return __call__

    patches.replace(module.App, "__call__", serving)


def patch_request(patches: Patches, module: ModuleType) -> None:
    """Learn of each request as soon as Falcon has made it; WSGI and ASGI have a class each."""
    patches.replace(module.Request, "__init__", _bind)


def _settle(scope: Any) -> None:
    """Falcon's own test client gives iterators: OpenTelemetry's middleware would fail, or leave nothing of them."""
    scope["headers"] = [tuple(header) for header in scope["headers"]]
    for name in ("client", "server"):
        if scope.get(name) is not None:
            scope[name] = tuple(scope[name])


def _serve(original: Any) -> Any:
    def __call__(self: Any, environ: Any, start_response: Any) -> Any:
        return wsgi_exchange.serve(original.__get__(self), environ, start_response, read_facts)

    return __call__


def _bind(original: Any) -> Any:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        state = current()
        if state is not None and not isinstance(state.native, Seen):
            state.read_facts, state.native = read_facts, Seen(self)

    return __init__


def read_facts(state: RequestState) -> RequestFacts:
    """The facts that a Request states; the route begins with where the application is mounted."""
    seen = state.native
    if not isinstance(seen, Seen):
        # Falcon refused it before it made a Request of it.
        return RequestFacts(method="", path="", status=state.status)
    request = seen.request
    environ = getattr(request, "env", None) or {}
    scope = None if environ else request.scope
    websocket = scope is not None and scope["type"] == "websocket"
    if websocket or (state.status or 0) >= 500:
        # Falcon answers for whatever the application raises, and lets it go no further.
        state.error_type = state.error_type or seen.error_type
    return RequestFacts(
        method=request.method.upper(),
        path=headers.path_of_environ(environ) if scope is None else scope["path"],
        query=request.query_string,
        route=None if request.uri_template is None else f"{environ.get('SCRIPT_NAME', '')}{request.uri_template}",
        path_params={name: str(value) for name, value in seen.params.items()},
        headers=headers.of_environ(environ) if scope is None else headers.of_scope(scope),
        status=state.status,
        content_disposition=state.content_disposition,
        content_range=state.content_range,
        token_name=state.token_name,
        operation=state.operation,
        user=state.user or _user(request.context),
        remote_user=environ.get("REMOTE_USER"),
        websocket=websocket,
    )


def _user(context: Any) -> FrameworkUser | None:
    """The user in a context, which is an object or a mapping; falcon-auth2 keeps it in a mapping of its own."""
    values = context if isinstance(context, Mapping) else getattr(context, "__dict__", None) or {}
    auth = values.get("auth")
    return framework_user(values.get("user")) or framework_user(auth.get("user") if isinstance(auth, Mapping) else None)


HOOKS = {
    "opentelemetry.instrumentation.falcon": patch_instrumentation,
    "falcon.request": patch_request,
    "falcon.app": requests.patch,
    "falcon.asgi.request": patch_request,
    "falcon.asgi.app": patch_asgi_app,
}
