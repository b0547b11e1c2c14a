"""Somebody between agent and gateway who writes down all that passes."""

import contextlib
import http.client
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.collector.collectors import DECODERS


@dataclass
class Wire:
    """What has passed.

    Attributes:
        endpoint: Base URL of where to send instead.
        heads: The first line and the headers of each request.
        bodies: The bodies, decompressed.
    """

    endpoint: str
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def everything(self) -> bytes:
        """All of it."""
        return b"\n".join([*self.heads, *self.bodies])


@contextlib.contextmanager
def tapped(endpoint: str) -> Iterator[Wire]:
    """Pass every request on to this base URL, and its answer back."""
    to = urlsplit(endpoint).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            wire.heads.append(self.raw_requestline + bytes(self.headers))
            wire.bodies.append(DECODERS[self.headers["Content-Encoding"]](body))
            connection = http.client.HTTPConnection(to, timeout=60)
            try:
                connection.request("POST", self.path, body, dict(self.headers))
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException):
                self.close_connection = True  # as if it had met nobody
                return
            finally:
                connection.close()
            self.send_response(answer.status)
            for name in ("Content-Type", "Retry-After"):
                if answer.headers[name]:
                    self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    wire = Wire(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield wire
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
