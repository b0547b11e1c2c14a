"""A small Starlette application with mounts, hosts and middlewares, as the integration tests drive it."""

import asyncio
import os
from pathlib import Path

from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, BaseUser
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Host, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from otel_usage import identify, record_access

PUBLIC = Path(os.environ["SITE_DIRECTORY"]) / "public"
PUBLIC.mkdir(exist_ok=True)
(PUBLIC / "style.css").write_bytes(b"p{}" * 100)


class User(BaseUser):
    def __init__(self, user_id: str) -> None:
        self.id = user_id
        self.username = f"{user_id}@portal"

    @property
    def is_authenticated(self) -> bool:
        return True


class Bearer(AuthenticationBackend):
    async def authenticate(self, conn):
        given = conn.headers.get("Authorization", "")
        if given == "Bearer broken":
            raise AuthenticationError("no such token")
        if given.startswith("Bearer tok"):
            return AuthCredentials(["authenticated"]), User("alice")
        return None


async def dataset(request):
    if request.path_params["dataset_id"] == 404:
        raise HTTPException(404)
    return JSONResponse({"org": request.path_params["org"], "id": request.path_params["dataset_id"]})


class Datasets(HTTPEndpoint):
    async def get(self, request):
        return JSONResponse(["a", "b"])

    async def post(self, request):
        return JSONResponse({"bytes": len(await request.body())}, 201)


def download(request):
    chunks = (b"x" * 1000 for _ in range(int(request.query_params.get("chunks", 5))))
    return StreamingResponse(chunks, headers={"Content-Disposition": "attachment; filename=a.csv"})


async def cached(request):
    if request.headers.get("If-None-Match") == '"1"':
        return Response(status_code=304, headers={"ETag": '"1"'})
    return PlainTextResponse("content", headers={"ETag": '"1"'})


async def private(request):
    raise HTTPException(401)


async def claims(request):
    return JSONResponse({"id": request.path_params["claim_id"]})


async def boom(request):
    raise RuntimeError("boom on purpose")


def said(request):
    identify(user_id="u-7", user_name="Grace", token_name="nightly export")
    record_access("report", "r-1", name="Yearly", parent=("project", "p-9"), action="render")
    record_access("report", "r-2")
    return PlainTextResponse("said")


async def reset(request):
    return PlainTextResponse("new password?")


async def sign_in(request):
    request.session["user"] = "bob"
    return PlainTextResponse("in")


async def whole_file(request):
    return FileResponse(PUBLIC / "style.css", filename="style.css")


async def echo(request):
    return PlainTextResponse(await request.body())


class Feed(WebSocketEndpoint):
    encoding = "text"

    async def on_receive(self, websocket, data):
        await websocket.send_text(data * 2)
        await asyncio.sleep(0)
        await websocket.close()


class Looking(BaseHTTPMiddleware):
    """Runs what is inside it in a task of its own, and passes its body on chunk by chunk."""

    async def dispatch(self, request, call_next):
        if request.url.path.endswith("/stopped"):
            raise KeyError("in the middleware")
        response = await call_next(request)
        response.headers["X-Looked"] = "1"
        return response


inner = Starlette(routes=[Route("/datasets/{dataset_id:int}", dataset, name="dataset")])
looked = [
    Route("/datasets/{dataset_id}/download", download, name="download"),
    Route("/echo", echo, methods=["POST"]),
    Route("/crash", boom),
    Route("/stopped", echo),
    Route("/restore/{token}", reset),
]
app = Starlette(
    routes=[
        Route("/organizations/{org}/datasets/{dataset_id:int}", dataset, name="organization-dataset"),
        Route("/datasets", Datasets),
        Route("/datasets/{dataset_id}/download", download),
        Route("/files/{file_id:int}", cached),
        Route("/private/{item_id:int}", private),
        Route("/claims/{claim_id:int}", claims),
        Route("/boom", boom),
        Route("/said", said),
        Route("/reset/{token}/", reset),
        Route("/login", sign_in, methods=["POST"]),
        Route("/whole", whole_file),
        Mount("/static", StaticFiles(directory=PUBLIC), name="static"),
        Mount("/v1/{org}", routes=[Mount("/deep/{group}", app=inner, name="deep")], name="v1"),
        Mount("/looked", routes=looked, middleware=[Middleware(Looking)]),
        Host("{tenant}.portal.example", app=Starlette(routes=[Route("/tables/{table_id}", cached, name="table")])),
        WebSocketRoute("/feeds/{feed_id:int}", Feed, name="feed"),
    ],
    middleware=[
        Middleware(SessionMiddleware, secret_key="only for tests, signs nothing of value", session_cookie="portal"),
        Middleware(AuthenticationMiddleware, backend=Bearer()),
    ],
)
