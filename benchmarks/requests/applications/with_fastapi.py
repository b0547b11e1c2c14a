"""The application in FastAPI."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.middleware.base import BaseHTTPMiddleware

from benchmarks.requests import applications, traffic, ways

_bearer = HTTPBearer()


async def user_of(credentials: Annotated[HTTPAuthorizationCredentials, Depends(_bearer)]) -> traffic.User:
    user = traffic.users().get(credentials.credentials)
    if user is None:
        raise HTTPException(401)
    return user


class EmptyMiddleware:
    """Pure ASGI, and does nothing."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


async def _empty_dispatch(request: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
    return await call_next(request)


def make(way: str) -> FastAPI:
    app = FastAPI()

    @app.get("/organizations/{organization}/datasets/{dataset_id}")
    async def dataset(organization: str, dataset_id: int, user: Annotated[traffic.User, Depends(user_of)]) -> Any:
        return traffic.answer(organization, dataset_id)

    @app.get("/settle")
    def settle() -> Any:
        return applications.settle(way)

    _record(app, way)
    return app


def _record(app: FastAPI, way: str) -> None:
    if way == ways.EMPTY:
        app.add_middleware(EmptyMiddleware)
    elif way == ways.EMPTY_BASE:
        app.add_middleware(BaseHTTPMiddleware, dispatch=_empty_dispatch)
    elif way in ways.INSTRUMENTED:
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

        FastAPIInstrumentor.instrument_app(app)
    elif way == ways.API_ANALYTICS:
        from api_analytics.fastapi import Analytics, Config

        app.add_middleware(Analytics, api_key="key", config=Config(server_url=ways.sink()))
    elif way == ways.APITALLY:
        import apitally

        apitally.init(app, write_token=ways.APITALLY_TOKEN)
