"""The application in Flask."""

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask
from flask_httpauth import HTTPTokenAuth

from benchmarks.requests import applications, traffic, ways

_auth = HTTPTokenAuth("Bearer")
_auth.verify_token(lambda token: traffic.users().get(token))


class EmptyMiddleware:
    """WSGI, and does nothing."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self.app = app

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        return self.app(environ, start_response)


def make(way: str) -> Flask:
    app = Flask("datasets")

    @app.get("/organizations/<organization>/datasets/<int:dataset_id>")
    @_auth.login_required
    def dataset(organization: str, dataset_id: int) -> Any:
        return traffic.answer(organization, dataset_id)

    @app.get("/settle")
    def settle() -> Any:
        return applications.settle(way)

    _record(app, way)
    return app


def _record(app: Flask, way: str) -> None:
    if way == ways.EMPTY:
        app.wsgi_app = EmptyMiddleware(app.wsgi_app)
    elif way in ways.INSTRUMENTED:
        from opentelemetry.instrumentation.flask import FlaskInstrumentor

        FlaskInstrumentor().instrument_app(app)
    elif way == ways.API_ANALYTICS:
        from api_analytics.flask import Config, add_middleware

        add_middleware(app, "key", Config(server_url=ways.sink()))
    elif way == ways.APITALLY:
        import apitally

        apitally.init(app, write_token=ways.APITALLY_TOKEN)
