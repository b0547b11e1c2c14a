"""SERVER spans by OpenTelemetry's own middleware, for applications that no instrumentation of OpenTelemetry sees.

Which applications those are is the framework files' to say; whoever makes the span of a request already is left to
make it.
"""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from importlib.util import find_spec
from typing import Any, Final

from opentelemetry import trace

from otel_usage.instrumentation import asgi_exchange, wsgi_exchange
from otel_usage.instrumentation.headers import path_of_environ
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import counting, current

_APPLICATION: Final = "otel_usage.application"
_MAX_LAYERS: Final = 32


def has_instrumentation(framework: str) -> bool:
    """Whether an instrumentation of a framework is installed, under the name that OpenTelemetry would give it."""
    return find_spec(f"opentelemetry.instrumentation.{framework}") is not None


class WSGIInstrumentation:
    """OpenTelemetry's WSGI middleware, made once, around whatever application a request is for.

    Args:
        patches: Once they are undone, requests only pass.
        name: In `OTEL_PYTHON_<NAME>_EXCLUDED_URLS`, which says which requests get no span.
        elsewhere: Whether another instrumentation makes the spans; then requests are only counted.
    """

    def __init__(self, patches: Patches, name: str, *, elsewhere: bool = False) -> None:
        from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
        from opentelemetry.util.http import get_excluded_urls

        self._patches = patches
        self._elsewhere = elsewhere
        self._excluded = get_excluded_urls(name.upper())
        self._middleware = OpenTelemetryMiddleware(_call_wsgi, tracer_provider=patches.tracer_provider)

    def serve(
        self,
        application: Callable[..., Iterable[bytes]],
        environ: wsgi_exchange.Environ,
        start_response: Callable[..., Any],
        read_facts: wsgi_exchange.ReadFacts,
    ) -> Iterable[bytes]:
        """As `wsgi_exchange.serve`, in a span unless the request has one."""
        if not self._patches.active or _has_span(environ):
            return application(environ, start_response)
        if self._elsewhere or self._excluded.url_disabled(_url(environ)):
            return wsgi_exchange.serve(application, environ, start_response, read_facts)
        environ[_APPLICATION] = application
        return wsgi_exchange.serve(self._middleware, environ, start_response, read_facts)


class ASGIInstrumentation:
    """OpenTelemetry's ASGI middleware, made once, around whatever application a request is for.

    It makes no spans of single messages. Args: as for `WSGIInstrumentation`.
    """

    def __init__(self, patches: Patches, name: str, *, elsewhere: bool = False) -> None:
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
        from opentelemetry.util.http import get_excluded_urls

        self._patches = patches
        self._elsewhere = elsewhere
        self._kind = OpenTelemetryMiddleware
        self._middleware = OpenTelemetryMiddleware(
            _call_asgi,
            excluded_urls=get_excluded_urls(name.upper()),
            exclude_spans=["receive", "send"],
            tracer_provider=patches.tracer_provider,
        )

    async def serve(
        self,
        application: Callable[..., Awaitable[None]],
        scope: asgi_exchange.Scope,
        receive: asgi_exchange.Receive,
        send: asgi_exchange.Send,
        read_facts: asgi_exchange.ReadFacts,
        inside: Any = None,
    ) -> None:
        """As `asgi_exchange.serve`, in a span unless the request has one or will get it from a middleware `inside`."""
        if not self._patches.active or scope["type"] not in ("http", "websocket") or _has_span(scope):
            await application(scope, receive, send)
        elif self._elsewhere or self._is_in(inside):
            await asgi_exchange.serve(application, scope, receive, send, read_facts)
        else:
            scope[_APPLICATION] = application
            await asgi_exchange.serve(self._middleware, scope, receive, send, read_facts)

    def _is_in(self, layer: Any) -> bool:
        """Whether OpenTelemetry's middleware is among the middlewares around an application."""
        for _ in range(_MAX_LAYERS):
            if layer is None or isinstance(layer, self._kind):
                break
            # Litestar keeps it inside a middleware of its own.
            layer = getattr(layer, "open_telemetry_middleware", None) or getattr(layer, "app", None)
        return isinstance(layer, self._kind)


def _call_wsgi(environ: wsgi_exchange.Environ, start_response: Callable[..., Any]) -> Any:
    return environ.pop(_APPLICATION)(environ, start_response)


async def _call_asgi(scope: asgi_exchange.Scope, receive: asgi_exchange.Receive, send: asgi_exchange.Send) -> None:
    await scope.pop(_APPLICATION)(scope, receive, send)


def _url(environ: wsgi_exchange.Environ) -> str:
    return f"{environ.get('wsgi.url_scheme')}://{environ.get('HTTP_HOST')}{path_of_environ(environ)}"


def _has_span(carrier: MutableMapping[str, Any]) -> bool:
    """Whether this request has its SERVER span already, made by us or by an instrumentation that we do not know."""
    state = current()
    if state is None or state.span is None:
        return False
    if counting(carrier):
        return True
    return state.read_facts is None and trace.get_current_span().get_span_context().is_valid
