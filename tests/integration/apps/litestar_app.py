"""A small Litestar application with authentication and sessions, as the integration tests drive it."""

from dataclasses import dataclass

from litestar import Litestar, Request, Response, WebSocket, get, head, post, websocket
from litestar.exceptions import NotAuthorizedException, NotFoundException
from litestar.logging import LoggingConfig
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.response import Stream
from litestar.stores.file import FileStore

from otel_usage import identify, record_access


@dataclass
class User:
    id: str
    username: str


@dataclass
class Token:
    name: str


class Authentication(AbstractAuthenticationMiddleware):
    async def authenticate_request(self, connection) -> AuthenticationResult:
        if connection.headers.get("Authorization", "").startswith("Bearer tok"):
            return AuthenticationResult(User("alice", "alice@portal"), Token("laptop"))
        name = (connection.scope.get("session") or {}).get("user")
        return AuthenticationResult(User(name, f"{name}@portal") if name else None, None)


@get("/organizations/{org:str}/datasets/{dataset_id:int}", operation_id="read_dataset")
async def dataset(org: str, dataset_id: int) -> dict[str, str]:
    if dataset_id == 404:
        raise NotFoundException
    return {"org": org, "id": str(dataset_id)}


@get("/datasets", name="all-datasets")
async def datasets() -> list[str]:
    return ["a", "b"]


@post("/datasets")
async def create(request: Request) -> dict[str, int]:
    return {"bytes": len(await request.body())}


@get("/datasets/{dataset_id:str}/download")
async def download(dataset_id: str, chunks: int = 5) -> Stream:
    async def body():
        for _ in range(chunks):
            yield b"x" * 1000

    return Stream(body(), headers={"Content-Disposition": "attachment; filename=a.csv"})


@get("/files/{file_id:int}")
async def cached(file_id: int, request: Request) -> Response:
    if request.headers.get("If-None-Match") == '"1"':
        return Response(None, status_code=304, headers={"ETag": '"1"'})
    return Response("content", headers={"ETag": '"1"'}, media_type="text/plain")


@head("/files/{file_id:int}")
async def looked_up(file_id: int) -> None:
    return None


@get("/private/{item_id:int}")
async def private(item_id: int) -> None:
    raise NotAuthorizedException


@get("/claims/{claim_id:int}")
async def claims(claim_id: int) -> dict[str, int]:
    return {"id": claim_id}


@get("/boom")
async def boom() -> None:
    raise RuntimeError("boom on purpose")


@get("/said")
async def said() -> str:
    identify(user_id="u-7", user_name="Grace", token_name="nightly export")
    record_access("report", "r-1", name="Yearly", parent=("project", "p-9"), action="render")
    record_access("report", "r-2")
    return "said"


@get("/reset/{token:str}/")
async def reset(token: str) -> str:
    return "new password?"


@post("/login")
async def sign_in(request: Request) -> str:
    request.set_session({"user": "bob"})
    request.scope["user"] = User("bob", "bob@portal")
    return "in"


@websocket("/feeds/{feed_id:int}")
async def feed(socket: WebSocket, feed_id: int) -> None:
    await socket.accept()
    await socket.send_text(await socket.receive_text() * 2)
    await socket.close()


app = Litestar(
    [dataset, datasets, create, download, cached, looked_up, private, claims, boom, said, reset, sign_in, feed],
    middleware=[ServerSideSessionConfig(key="portal").middleware, Authentication],
    # What the workers share.
    stores={"sessions": FileStore("sessions", create_directories=True)},
    logging_config=LoggingConfig(log_exceptions="always"),
)
