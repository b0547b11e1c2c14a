"""A small Falcon application under ASGI, as the integration tests drive it."""

import asyncio

import falcon
import falcon.asgi

from otel_usage import identify, record_access


class User:
    def __init__(self, user_id: str) -> None:
        self.id = user_id
        self.username = f"{user_id}@portal"


class Authentication:
    async def process_request(self, req, resp):
        if (req.auth or "").startswith("Bearer tok"):
            req.context.user = User("alice")


class Dataset:
    async def on_get(self, req, resp, org, dataset_id):
        if dataset_id == 404:
            raise falcon.HTTPNotFound
        resp.media = {"org": org, "id": dataset_id}

    async def on_get_download(self, req, resp, dataset_id):
        chunks = req.get_param_as_int("chunks", default=5)

        async def stream():
            for _ in range(chunks):
                yield b"x" * 1000

        resp.stream = stream()
        resp.downloadable_as = "a.csv"


class Datasets:
    async def on_get(self, req, resp):
        resp.media = ["a", "b"]

    async def on_post(self, req, resp):
        resp.media = {"bytes": len(await req.stream.read())}
        resp.status = falcon.HTTP_201


class File:
    async def on_get(self, req, resp, file_id):
        resp.etag = "1"
        resp.text = "content"
        if req.if_none_match == ["1"]:
            resp.status = falcon.HTTP_304

    on_head = on_get


class Private:
    async def on_get(self, req, resp, item_id):
        raise falcon.HTTPUnauthorized


class Claim:
    async def on_get(self, req, resp, claim_id):
        resp.media = {"id": claim_id}


class Boom:
    async def on_get(self, req, resp):
        raise RuntimeError("boom on purpose")


class Said:
    async def on_get(self, req, resp):
        identify(user_id="u-7", user_name="Grace", token_name="nightly export")
        record_access("report", "r-1", name="Yearly", parent=("project", "p-9"), action="render")
        record_access("report", "r-2")
        resp.text = "said"


class Reset:
    async def on_get(self, req, resp, token):
        resp.text = "new password?"


class Feed:
    async def on_websocket(self, req, ws, feed_id):
        await ws.accept()
        text = await ws.receive_text()
        await ws.send_text(text * 2)
        await asyncio.sleep(0)
        await ws.close()

    async def on_websocket_broken(self, req, ws):
        await ws.accept()
        raise KeyError("on purpose")

    async def on_get_events(self, req, resp, feed_id):
        async def events():
            for _ in range(3):
                yield falcon.asgi.SSEvent(data=b"news")

        resp.sse = events()


app = falcon.asgi.App(middleware=[Authentication()])
app.add_route("/organizations/{org}/datasets/{dataset_id:int}", Dataset())
app.add_route("/datasets", Datasets())
app.add_route("/datasets/{dataset_id}/download", Dataset(), suffix="download")
app.add_route("/files/{file_id:int}", File())
app.add_route("/private/{item_id:int}", Private())
app.add_route("/claims/{claim_id:int}", Claim())
app.add_route("/boom", Boom())
app.add_route("/said", Said())
app.add_route("/reset/{token}/", Reset())
app.add_route("/feeds/{feed_id:int}", Feed())
app.add_route("/feeds/{feed_id:int}/events", Feed(), suffix="events")
app.add_route("/broken", Feed(), suffix="broken")
