"""A small FastAPI application with dependencies and routers, as the integration tests drive it."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import Response, StreamingResponse
from fastapi.security import APIKeyQuery, HTTPAuthorizationCredentials, HTTPBearer
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from pydantic import BaseModel
from starlette.middleware.sessions import SessionMiddleware

from otel_usage import identify, record_access

app = FastAPI()
app.add_middleware(SessionMiddleware, secret_key="only for tests, signs nothing of value")
bearer = HTTPBearer(auto_error=False)


class User(BaseModel):
    id: str
    username: str


def user_of(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> User | None:
    if credentials is None or not credentials.credentials.startswith("tok"):
        return None
    return User(id="alice", username="alice@portal")


async def active_user(user: Annotated[User | None, Depends(user_of)]) -> User | None:
    return user


organizations = APIRouter(prefix="/organizations/{org}", dependencies=[Depends(active_user)])


@organizations.get("/datasets/{dataset_id}")
def dataset(org: str, dataset_id: int):
    if dataset_id == 404:
        raise HTTPException(404)
    return {"org": org, "id": dataset_id}


app.include_router(organizations)


@app.get("/datasets")
async def datasets(request: Request):
    if "user" in request.session:
        identify(user_id=request.session["user"])
    return ["a", "b"]


@app.post("/datasets", status_code=201)
async def create(request: Request):
    return {"bytes": len(await request.body())}


@app.get("/datasets/{dataset_id}/download")
def download(dataset_id: str, chunks: int = 5):
    body = (b"x" * 1000 for _ in range(chunks))
    return StreamingResponse(body, headers={"Content-Disposition": "attachment; filename=a.csv"})


@app.get("/files/{file_id}")
@app.head("/files/{file_id}")
async def cached(file_id: int, request: Request):
    if request.headers.get("If-None-Match") == '"1"':
        return Response(status_code=304, headers={"ETag": '"1"'})
    return Response("content", headers={"ETag": '"1"'})


@app.get("/private/{item_id}")
def private(item_id: int):
    raise HTTPException(401)


@app.get("/claims/{claim_id}")
async def claims(claim_id: int):
    return {"id": claim_id}


@app.get("/boom")
async def boom():
    raise RuntimeError("boom on purpose")


@app.get("/said")
def said():
    identify(user_id="u-7", user_name="Grace", token_name="nightly export")
    record_access("report", "r-1", name="Yearly", parent=("project", "p-9"), action="render")
    record_access("report", "r-2")
    return Response("said")


@app.get("/reset/{token}/")
def reset(token: str):
    return "new password?"


@app.get("/keyed/{item_id}")
def keyed(item_id: int, key: Annotated[str, Depends(APIKeyQuery(name="k"))]):
    return item_id


version_1 = FastAPI()


@version_1.get("/datasets/{dataset_id}")
def dataset_of_version_1(dataset_id: int):
    return dataset_id


@version_1.get("/crash")
def crash():
    raise KeyError("on purpose")


app.mount("/v1/{org}", version_1)

items = APIRouter()


@items.get("/items/{item_id}", operation_id="getItem")
def item(item_id: int):
    return item_id


@items.put("/items/{item_id}", summary="Replace an item")
def replace(item_id: int, body: dict[str, int]):
    return item_id


@items.get("/invitations/{token}")
def invitation(token: str):
    return "welcome"


shelves = APIRouter(prefix="/shelves/{shelf}", generate_unique_id_function=lambda route: f"shelves-{route.name}")
shelves.add_api_route("/books/{book_id}", lambda book_id: book_id, name="book")
inventory = APIRouter()
inventory.include_router(items, prefix="/stock")
inventory.include_router(shelves)
app.include_router(inventory, prefix="/api/{region}")
version_2 = FastAPI()
version_2.include_router(items, prefix="/stock")
app.mount("/v2", version_2)


@app.post("/login")
async def sign_in(request: Request):
    request.session["user"] = "bob"
    return "in"


@app.websocket("/feeds/{feed_id}")
async def feed(socket: WebSocket, feed_id: int):
    await socket.accept()
    text = await socket.receive_text()
    await socket.send_text(text * 2)
    await asyncio.sleep(0)
    await socket.close()


behind_middleware = OpenTelemetryMiddleware(app)
