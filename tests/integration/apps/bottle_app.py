"""A small Bottle application, as the integration tests drive it."""

from types import SimpleNamespace

from bottle import Bottle, HTTPResponse, abort, request, response

from otel_usage import identify, record_access

app = Bottle()


@app.hook("before_request")
def look_at_user() -> None:
    if request.get_header("Authorization", "").startswith("Bearer tok"):
        request.user = SimpleNamespace(id="alice", username="alice@portal")


@app.get("/organizations/<org>/datasets/<dataset_id:int>")
def dataset(org: str, dataset_id: int):
    if dataset_id == 404:
        abort(404)
    return {"org": org, "id": dataset_id}


@app.get("/datasets", name="all-datasets")
def datasets():
    return "a, b"


@app.post("/datasets")
def create():
    response.status = 201
    return {"bytes": len(request.body.read())}


@app.get("/datasets/<dataset_id>/download")
def download(dataset_id: str):
    response.set_header("Content-Disposition", "attachment; filename=a.csv")
    return (b"x" * 1000 for _ in range(int(request.query.get("chunks", 5))))


@app.get("/files/<file_id:int>")
def cached(file_id: int):
    response.set_header("ETag", '"1"')
    if request.get_header("If-None-Match") == '"1"':
        return HTTPResponse(status=304, headers={"ETag": '"1"'})
    return "content"


@app.get("/private/<item_id:int>")
def private(item_id: int):
    abort(401)


@app.get("/claims/<claim_id:int>")
def claims(claim_id: int):
    return {"id": claim_id}


@app.get("/boom")
def boom():
    raise RuntimeError("boom on purpose")


@app.get("/said")
def said():
    identify(user_id="u-7", user_name="Grace", token_name="nightly export")
    record_access("report", "r-1", name="Yearly", parent=("project", "p-9"), action="render")
    record_access("report", "r-2")
    return "said"


@app.get("/reset/<token>/")
def reset(token: str):
    return "new password?"
