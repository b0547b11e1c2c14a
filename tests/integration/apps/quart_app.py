"""A small Quart application, as the integration tests drive it."""

from quart import Quart, Response, abort, g, request, session, websocket

from otel_usage import identify, record_access

app = Quart(__name__)
app.secret_key = "only for tests, signs nothing of value"


class User:
    def __init__(self, user_id: str) -> None:
        self.id = user_id
        self.username = f"{user_id}@portal"


@app.before_request
async def look_at_user() -> None:
    if request.headers.get("Authorization", "").startswith("Bearer tok"):
        g.user = User("alice")
    elif "user" in session:
        g.user = User(session["user"])


@app.get("/organizations/<org>/datasets/<int:dataset_id>")
async def dataset(org: str, dataset_id: int):
    if dataset_id == 404:
        abort(404)
    return {"org": org, "id": dataset_id}


@app.get("/datasets")
async def datasets():
    return ["a", "b"]


@app.post("/datasets")
async def create():
    return {"bytes": len(await request.get_data())}, 201


@app.get("/datasets/<dataset_id>/download")
async def download(dataset_id: str):
    count = int(request.args.get("chunks", 5))

    async def chunks():
        for _ in range(count):
            yield b"x" * 1000

    return Response(chunks(), headers={"Content-Disposition": "attachment; filename=a.csv"})


@app.get("/files/<int:file_id>")
async def cached(file_id: int):
    if request.headers.get("If-None-Match") == '"1"':
        return Response("", status=304, headers={"ETag": '"1"'})
    return Response("content", headers={"ETag": '"1"'})


@app.get("/private/<int:item_id>")
async def private(item_id: int):
    abort(401)


@app.get("/claims/<int:claim_id>")
async def claims(claim_id: int):
    return {"id": claim_id}


@app.get("/boom")
async def boom():
    raise RuntimeError("boom on purpose")


@app.get("/said")
async def said():
    identify(user_id="u-7", user_name="Grace", token_name="nightly export")
    record_access("report", "r-1", name="Yearly", parent=("project", "p-9"), action="render")
    record_access("report", "r-2")
    return "said"


@app.get("/reset/<token>/")
async def reset(token: str):
    return "new password?"


@app.post("/login")
async def sign_in():
    session["user"] = "bob"
    g.user = User("bob")
    return "in"


@app.websocket("/feeds/<int:feed_id>")
async def feed(feed_id: int):
    text = await websocket.receive()
    await websocket.send(text * 2)
