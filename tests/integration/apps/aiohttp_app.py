"""A small aiohttp.web application with an application inside it and a WebSocket, as the integration tests drive it."""

import sys
from pathlib import Path

from aiohttp import web

from otel_usage import identify, record_access

routes = web.RouteTableDef()
# Older versions of aiohttp have text keys only.
USER = web.RequestKey("user", dict) if hasattr(web, "RequestKey") else "user"


@web.middleware
async def look_at_user(request, handler):
    if request.headers.get("Authorization", "").startswith("Bearer tok"):
        request[USER] = {"id": "alice", "username": "alice@portal"}
    return await handler(request)


@routes.get("/organizations/{org}/datasets/{dataset_id:[0-9]+}", name="dataset")
async def dataset(request):
    if request.match_info["dataset_id"] == "404":
        raise web.HTTPNotFound
    return web.json_response({"org": request.match_info.get("org")})


@routes.view("/datasets")
class Datasets(web.View):
    async def get(self):
        return web.json_response(["a", "b"])

    async def post(self):
        return web.json_response({"bytes": len(await self.request.read())}, status=201)


@routes.get("/datasets/{dataset_id}/download")
async def download(request):
    response = web.StreamResponse(headers={"Content-Disposition": "attachment; filename=a.csv"})
    if "compressed" in request.query:
        response.enable_compression()
    await response.prepare(request)
    for _ in range(int(request.query.get("chunks", 5))):
        await response.write(b"x" * 1000)
    await response.write_eof()
    return response


@routes.get("/files/{file_id}")
async def cached(request):
    if request.headers.get("If-None-Match") == '"1"':
        return web.Response(status=304, headers={"ETag": '"1"'})
    return web.Response(text="content", headers={"ETag": '"1"'})


@routes.get("/private/{item_id}")
async def private(request):
    raise web.HTTPUnauthorized


@routes.get("/claims/{claim_id}")
async def claims(request):
    return web.json_response({})


@routes.get("/boom")
async def boom(request):
    raise RuntimeError("boom on purpose")


@routes.get("/torn")
async def torn(request):
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"half of it")
    raise LookupError("torn on purpose")


@routes.get("/said")
async def said(request):
    identify(user_id="u-7", user_name="Grace", token_name="nightly export")
    record_access("report", "r-1", name="Yearly", parent=("project", "p-9"), action="render")
    record_access("report", "r-2")
    return web.Response(text="said")


@routes.get("/reset/{token}/")
async def reset(request):
    return web.Response(text="new password?")


@routes.get("/feeds/{feed_id}")
async def feed(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str(await socket.receive_str() * 2)
    await socket.close()
    return socket


async def crash(request):
    raise KeyError("on purpose")


def make() -> web.Application:
    inner = web.Application()
    inner.add_routes([web.get("/datasets/{dataset_id}", dataset, name="inner"), web.get("/crash", crash)])
    app = web.Application(middlewares=[look_at_user])
    app.add_routes(routes)
    app.router.add_static("/static", Path(__file__).parent, name="static")
    app.add_subapp("/v1", inner)
    return app


if __name__ == "__main__":
    web.run_app(make(), host="127.0.0.1", port=int(sys.argv[1]))
else:
    app = make()
