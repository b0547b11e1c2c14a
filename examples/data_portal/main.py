"""The application: `uvicorn data_portal.main:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from . import storage
from .routers import activity, datasets, export, files, organizations, search, sessions, tokens, users
from .seed import seed


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.storage = storage.from_environment()
    seed(app.state.storage)
    yield


app = FastAPI(title="Data portal", lifespan=lifespan)
for module in (sessions, tokens, users, organizations, datasets, files, export, search, activity):
    app.include_router(module.router)


@app.get("/health", tags=["portal"])
async def health() -> dict[str, str]:
    return {"status": "ok"}
