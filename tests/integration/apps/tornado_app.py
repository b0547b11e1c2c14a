"""A small Tornado application with a WebSocket and Flask behind two rules, as the integration tests drive it."""

import asyncio
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flask import Flask
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.process import fork_processes
from tornado.web import Application, FallbackHandler, HTTPError, RequestHandler, StaticFileHandler, stream_request_body
from tornado.websocket import WebSocketHandler
from tornado.wsgi import WSGIContainer

from otel_usage import identify, record_access

# Tornado's own log has the paths of all that is not found, with the credentials in them.
logging.getLogger("tornado.access").setLevel(logging.ERROR)
flask = Flask(__name__)


class Handler(RequestHandler):
    def initialize(self):
        self.theme = self.get_signed_cookie("theme")

    def get_current_user(self):
        if self.request.headers.get("Authorization", "").startswith("Bearer tok"):
            return {"id": "alice", "username": "alice@portal"}
        return self.get_signed_cookie("visitor")


class DatasetHandler(Handler):
    def prepare(self):
        self.current_user  # noqa: B018 - what `tornado.web.authenticated` does

    def get(self, org, dataset_id):
        if dataset_id == "404":
            raise HTTPError(404)
        self.write({"org": org, "id": dataset_id})


class DatasetsHandler(Handler):
    def get(self):
        self.finish({"user": bool(self.current_user)})

    def post(self):
        self.set_status(201)
        self.write({"bytes": len(self.request.body)})


class DownloadHandler(Handler):
    async def get(self, dataset_id):
        self.set_header("Content-Disposition", "attachment; filename=a.csv")
        for _ in range(int(self.get_argument("chunks", "5"))):
            self.write(b"x" * 1000)
            await self.flush()


class FileHandler(Handler):
    def get(self, file_id):
        self.set_header("ETag", '"1"')
        if self.check_etag_header():
            self.set_status(304)
        else:
            self.write("content")

    head = get


class PrivateHandler(Handler):
    def get(self, item_id):
        raise HTTPError(401)


class ClaimHandler(Handler):
    def get(self, claim_id):
        self.write({})


class BoomHandler(Handler):
    def get(self):
        raise RuntimeError("boom on purpose")


class TornHandler(Handler):
    async def get(self):
        self.write("half of it")
        await self.flush()
        raise LookupError("torn on purpose")


class SaidHandler(Handler):
    def get(self):
        identify(user_id="u-7", user_name="Grace", token_name="nightly export")
        record_access("report", "r-1", name="Yearly", parent=("project", "p-9"), action="render")
        record_access("report", "r-2")
        self.write("said")


class ResetHandler(Handler):
    def get(self, token):
        self.write("new password?")


class LoginHandler(Handler):
    def post(self):
        self.set_signed_cookie("visitor", "bob")
        self.write("in")


@stream_request_body
class UploadHandler(Handler):
    def initialize(self):
        super().initialize()
        self.received = 0

    def data_received(self, chunk):
        self.received += len(chunk)

    def put(self, file_id):
        self.write(str(self.received))


class LaterHandler(Handler):
    """Answers after its method has returned, or never."""

    def get(self):
        self._auto_finish = False
        if self.get_argument("never", None) is None:
            asyncio.get_running_loop().call_soon(self.finish, "later")


class OwnPrepareHandler(DatasetHandler):
    """Its parent's `prepare` and `on_finish`, which the instrumentation has wrapped, are never called."""

    def prepare(self):
        pass

    def on_finish(self):
        pass


class FeedHandler(WebSocketHandler):
    def open(self, feed_id):
        pass

    def on_message(self, message):
        self.write_message(message * 2)
        self.close()


@flask.get("/<mount>/datasets/<int:dataset_id>")
def flask_dataset(mount, dataset_id):
    return {"id": dataset_id}


def make() -> Application:
    threads = ThreadPoolExecutor(2)
    return Application(
        [
            (r"/organizations/(?P<org>[^/]+)/datasets/(?P<dataset_id>[0-9]+)", DatasetHandler),
            (r"/own/([^/]+)/datasets/([0-9]+)", OwnPrepareHandler),
            (r"/datasets", DatasetsHandler),
            (r"/datasets/([^/]+)/download", DownloadHandler),
            (r"/files/([0-9]+)", FileHandler),
            (r"/private/([0-9]+)", PrivateHandler),
            (r"/claims/([0-9]+)", ClaimHandler),
            (r"/boom", BoomHandler),
            (r"/torn", TornHandler),
            (r"/said", SaidHandler),
            (r"/reset/([^/]+)/", ResetHandler),
            (r"/login", LoginHandler),
            (r"/uploads/([0-9]+)", UploadHandler),
            (r"/later", LaterHandler),
            (r"/feeds/([0-9]+)", FeedHandler),
            (r"/static/(.*)", StaticFileHandler, {"path": Path(__file__).parent}),
            (r"/flask/.*", FallbackHandler, {"fallback": WSGIContainer(flask)}),
            (r"/threads/.*", FallbackHandler, {"fallback": WSGIContainer(flask, threads)}),
        ],
        cookie_secret="only for tests, signs nothing of value",
        compress_response=True,
    )


async def main(sockets) -> None:
    HTTPServer(make()).add_sockets(sockets)
    await asyncio.Event().wait()


if __name__ == "__main__":
    listening = bind_sockets(int(sys.argv[1]), "127.0.0.1")
    if len(sys.argv) > 2:
        fork_processes(int(sys.argv[2]))
    asyncio.run(main(listening))
