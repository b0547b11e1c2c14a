"""`wrap_wsgi` and `wrap_asgi`: for applications that no instrumentation of OpenTelemetry sees, launcher or not.

Here is only what servers call; what happens around a call is put in its place by `install()`, as for any framework,
and taken away by `uninstall()`.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from otel_usage.bootstrap import install


def wrap_wsgi(app: Callable[..., Iterable[bytes]]) -> "WrappedWSGI":
    """Record the requests of a WSGI application; its requests get a SERVER span where they have none.

    Calls `install()`, so that it also works without the launcher: under plain gunicorn, uWSGI or mod_wsgi.

    Args:
        app: Any WSGI callable (PEP 3333), also a part of one: `app.wsgi_app = wrap_wsgi(app.wsgi_app)`.

    Returns:
        A WSGI callable; every other attribute is the application's. Wrapping twice, or what is instrumented already,
        makes one row a request all the same.
    """
    install()
    return WrappedWSGI(app)


def wrap_asgi(app: Callable[..., Awaitable[None]]) -> "WrappedASGI":
    """Record the requests and WebSockets of an ASGI application; they get a SERVER span where they have none.

    Calls `install()`, so that it also works without the launcher: under plain uvicorn, hypercorn or granian.

    Args:
        app: Any ASGI 3.0 callable, also a part of one: `app.asgi_app = wrap_asgi(app.asgi_app)`, or a
            middleware: `app.add_middleware(wrap_asgi)`.

    Returns:
        An ASGI 3.0 callable; every other attribute is the application's. Lifespan events pass through.
    """
    install()
    return WrappedASGI(app)


class _Wrapped:
    """An application, whose attributes servers and command lines may look for."""

    def __init__(self, app: Callable[..., Any]) -> None:
        self.app = app

    def __getattr__(self, name: str) -> Any:
        # Copying and unpickling look for such names before there is an application.
        if name == "app" or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(name)
        return getattr(self.app, name)


class WrappedWSGI(_Wrapped):
    """What `wrap_wsgi` returns."""

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        """The WSGI application (PEP 3333)."""
        return self.app(environ, start_response)


class WrappedASGI(_Wrapped):
    """What `wrap_asgi` returns."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The ASGI 3.0 application."""
        await self.app(scope, receive, send)
