"""A small Flask application with flask-login, as the integration tests drive it."""

from flask import Flask, Response, abort, request
from flask_login import LoginManager, UserMixin, login_user

from otel_usage import identify, record_access

app = Flask(__name__)
app.secret_key = "only for tests, signs nothing of value"
login = LoginManager(app)


class User(UserMixin):
    def __init__(self, user_id: str) -> None:
        self.id = user_id
        self.username = f"{user_id}@portal"


@login.user_loader
def load(user_id: str) -> User:
    return User(user_id)


@login.request_loader
def of_token(incoming):
    return User("alice") if incoming.headers.get("Authorization", "").startswith("Bearer tok") else None


@app.before_request
def look_at_user() -> None:
    from flask_login import current_user

    current_user.is_authenticated  # noqa: B018 - what a login_required view does


@app.get("/organizations/<org>/datasets/<int:dataset_id>")
def dataset(org: str, dataset_id: int):
    if dataset_id == 404:
        abort(404)
    return {"org": org, "id": dataset_id}


@app.get("/datasets")
def datasets():
    return ["a", "b"]


@app.post("/datasets")
def create():
    return {"bytes": len(request.get_data())}, 201


@app.get("/datasets/<dataset_id>/download")
def download(dataset_id: str):
    chunks = (b"x" * 1000 for _ in range(int(request.args.get("chunks", 5))))
    return Response(chunks, headers={"Content-Disposition": "attachment; filename=a.csv"})


@app.get("/files/<int:file_id>")
def cached(file_id: int):
    if request.headers.get("If-None-Match") == '"1"':
        return Response(status=304, headers={"ETag": '"1"'})
    return Response("content", headers={"ETag": '"1"'})


@app.get("/private/<int:item_id>")
def private(item_id: int):
    abort(401)


@app.get("/claims/<int:claim_id>")
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


@app.post("/login")
def sign_in():
    login_user(User("bob"))
    return "in"
