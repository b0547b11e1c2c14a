"""A FastAPI application with another tool beside us."""

from typing import Annotated

import company_tools
from fastapi import Depends, FastAPI
from fastapi.responses import PlainTextResponse
from fastapi.security import APIKeyHeader

company_tools.before()
app = FastAPI(default_response_class=PlainTextResponse)


def user(_key: Annotated[str, Depends(APIKeyHeader(name="X-API-Key"))]):
    return {"id": "alice"}


@app.get("/datasets/{dataset_id}")
def dataset(dataset_id: int, _user: Annotated[dict, Depends(user)]):
    return "a dataset"


@app.get("/boom")
def boom():
    raise RuntimeError("boom on purpose")


company_tools.after(app, "fastapi")
