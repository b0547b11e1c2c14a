"""A small Falcon application under WSGI, as the integration tests drive it."""

import io
from pathlib import Path

import falcon

from otel_usage import identify, record_access


class User:
    def __init__(self, user_id: str) -> None:
        self.id = user_id
        self.username = f"{user_id}@portal"


class Authentication:
    def process_request(self, req, resp):
        if (req.auth or "").startswith("Bearer tok"):
            req.context.user = User("alice")
        if req.path == "/closed":
            req.context["user"] = {"id": "erin", "username": "erin@portal"}
            raise falcon.HTTPForbidden


class Dataset:
    def on_get(self, req, resp, org, dataset_id):
        if dataset_id == 404:
            raise falcon.HTTPNotFound
        resp.media = {"org": org, "id": dataset_id}

    def on_get_download(self, req, resp, dataset_id):
        chunks = req.get_param_as_int("chunks", default=5)
        resp.stream = (b"x" * 1000 for _ in range(chunks))
        resp.downloadable_as = "a.csv"

    def on_get_file(self, req, resp, dataset_id):
        resp.set_stream(io.BytesIO(b"y" * 70000), 70000)


class Datasets:
    def on_get(self, req, resp):
        resp.media = ["a", "b"]

    def on_post(self, req, resp):
        resp.media = {"bytes": len(req.bounded_stream.read())}
        resp.status = falcon.HTTP_201


class File:
    def on_get(self, req, resp, file_id):
        resp.etag = "1"
        resp.text = "content"
        if req.if_none_match == ["1"]:
            resp.status = falcon.HTTP_304

    on_head = on_get


class Private:
    def on_get(self, req, resp, item_id):
        raise falcon.HTTPUnauthorized


class Claim:
    def on_get(self, req, resp, claim_id):
        resp.media = {"id": claim_id}


class Trouble:
    def on_get(self, req, resp):
        raise RuntimeError("boom on purpose")

    def on_get_handled(self, req, resp):
        raise LookupError("answered 404 by the application's own handler")

    def on_get_unavailable(self, req, resp):
        raise falcon.HTTPServiceUnavailable


class Said:
    def on_get(self, req, resp):
        identify(user_id="u-7", user_name="Grace", token_name="nightly export")
        record_access("report", "r-1", name="Yearly", parent=("project", "p-9"), action="render")
        record_access("report", "r-2")
        resp.text = "said"


class Reset:
    def on_get(self, req, resp, token):
        resp.text = "new password?"


def not_there(req, resp, error, params):
    raise falcon.HTTPNotFound


def sink(req, resp, name):
    resp.text = name


Path("static").mkdir(exist_ok=True)
Path("static/page.txt").write_text("static")

app = falcon.App(middleware=[Authentication()])
app.add_error_handler(LookupError, not_there)
app.add_route("/organizations/{org}/datasets/{dataset_id:int}", Dataset())
app.add_route("/datasets", Datasets())
app.add_route("/datasets/{dataset_id}/download", Dataset(), suffix="download")
app.add_route("/datasets/{dataset_id}/file", Dataset(), suffix="file")
app.add_route("/files/{file_id:int}", File())
app.add_route("/private/{item_id:int}", Private())
app.add_route("/claims/{claim_id:int}", Claim())
app.add_route("/boom", Trouble())
app.add_route("/handled", Trouble(), suffix="handled")
app.add_route("/unavailable", Trouble(), suffix="unavailable")
app.add_route("/said", Said())
app.add_route("/reset/{token}/", Reset())
app.add_sink(sink, r"/sink/(?P<name>\w+)")
app.add_static_route("/static", str(Path("static").resolve()))
