"""A small Sanic application, as the integration tests drive it."""

from types import SimpleNamespace

from sanic import Sanic, exceptions, response

from otel_usage import identify, record_access

app = Sanic("portal")
followers = set()


@app.on_request
async def look_at_user(request):
    if request.headers.get("Authorization", "").startswith("Bearer tok"):
        request.ctx.user = SimpleNamespace(id="alice", username="alice@portal")


@app.get("/organizations/<org:str>/datasets/<dataset_id:int>")
async def dataset(request, org: str, dataset_id: int):
    if dataset_id == 404:
        raise exceptions.NotFound
    return response.json({"org": org, "id": dataset_id})


@app.get("/datasets", name="all_datasets")
async def datasets(request):
    return response.json(["a", "b"])


@app.post("/datasets")
async def create(request):
    return response.json({"bytes": len(request.body)}, status=201)


@app.get("/datasets/<dataset_id>/download")
async def download(request, dataset_id: str):
    answer = await request.respond(headers={"Content-Disposition": "attachment; filename=a.csv"})
    for _ in range(int(request.args.get("chunks", 5))):
        await answer.send(b"x" * 1000)
    await answer.eof()


@app.route("/files/<file_id:int>", methods=["GET", "HEAD"])
async def cached(request, file_id: int):
    if request.headers.get("If-None-Match") == '"1"':
        return response.empty(status=304, headers={"ETag": '"1"'})
    return response.text("" if request.method == "HEAD" else "content", headers={"ETag": '"1"'})


@app.get("/private/<item_id:int>")
async def private(request, item_id: int):
    raise exceptions.Unauthorized


@app.get("/claims/<claim_id:int>")
async def claims(request, claim_id: int):
    return response.json({"id": claim_id})


@app.get("/boom")
async def boom(request):
    raise RuntimeError("boom on purpose")


@app.get("/said")
async def said(request):
    identify(user_id="u-7", user_name="Grace", token_name="nightly export")
    record_access("report", "r-1", name="Yearly", parent=("project", "p-9"), action="render")
    record_access("report", "r-2")
    return response.text("said")


@app.get("/reset/<token>/", strict_slashes=True)
async def reset(request, token: str):
    return response.text("new password?")


@app.websocket("/feeds/<feed_id:int>")
async def feed(request, socket, feed_id: int):
    await socket.send(await socket.recv() * 2)


@app.websocket("/followed")
async def followed(request, socket):
    """Is told what others broadcast, and hears its own last word."""
    followers.add(socket)
    await socket.send("hello")
    await socket.send(await socket.recv())
    followers.remove(socket)


@app.post("/broadcast")
async def broadcast(request):
    for socket in followers:
        await socket.send("x" * 1000)
    return response.text(str(len(followers)))
