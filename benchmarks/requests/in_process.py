"""One round of one way in this process: python -m benchmarks.requests.in_process FRAMEWORK WAY WARM_UP REQUESTS.

The application is called as its server calls it, in a loop, and nothing is sent or parsed.
"""

import asyncio
import io
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.requests import applications, traffic, ways

Drive = Callable[[int], None]


def driver(framework: str, way: str) -> Drive:
    """Set everything up; what is returned makes as many requests as it is told."""
    app = applications.make(framework, way)
    visits = traffic.visits(way)
    return _asgi_driver(app, visits) if framework == "fastapi" else _wsgi_driver(app, visits)


def _wsgi_driver(app: Any, visits: list[traffic.Visit]) -> Drive:
    environs = [_environ(visit) for visit in visits]

    def start_response(status: str, headers: Any, exc_info: Any = None) -> None:
        _expect_success(status[:3])

    def drive(count: int) -> None:
        for number in range(count):
            body = app({**environs[number % len(environs)], "wsgi.input": io.BytesIO()}, start_response)
            for _ in body:
                pass
            if hasattr(body, "close"):
                body.close()

    return drive


def _environ(visit: traffic.Visit) -> dict[str, Any]:
    """As gunicorn makes it."""
    return {
        "wsgi.errors": sys.stderr,
        "wsgi.version": (1, 0),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        "wsgi.url_scheme": "http",
        "SERVER_SOFTWARE": "gunicorn/27",
        "REQUEST_METHOD": "GET",
        "QUERY_STRING": "",
        "RAW_URI": visit.path,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "data.example.org",
        "HTTP_USER_AGENT": visit.user_agent,
        "HTTP_ACCEPT": "application/json",
        "HTTP_ACCEPT_ENCODING": "gzip, deflate",
        "HTTP_AUTHORIZATION": f"Bearer {visit.token}",
        "HTTP_CONNECTION": "close",
        "REMOTE_ADDR": visit.address,
        "REMOTE_PORT": "51234",
        "SERVER_NAME": "data.example.org",
        "SERVER_PORT": "80",
        "PATH_INFO": visit.path,
        "SCRIPT_NAME": "",
    }


def _asgi_driver(app: Any, visits: list[traffic.Visit]) -> Drive:
    scopes = [_scope(visit) for visit in visits]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            _expect_success(str(message["status"]))

    async def loop(count: int) -> None:
        for number in range(count):
            scope = scopes[number % len(scopes)]
            await app({**scope, "headers": [*scope["headers"]], "state": {}}, receive, send)

    return lambda count: asyncio.run(loop(count))


def _scope(visit: traffic.Visit) -> dict[str, Any]:
    """As uvicorn makes it."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 80),
        "client": (visit.address, 51234),
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": visit.path,
        "raw_path": visit.path.encode(),
        "query_string": b"",
        "headers": [
            (b"host", b"data.example.org"),
            (b"user-agent", visit.user_agent.encode()),
            (b"accept", b"application/json"),
            (b"accept-encoding", b"gzip, deflate"),
            (b"authorization", f"Bearer {visit.token}".encode()),
        ],
    }


def _expect_success(status: str) -> None:
    if status != "200":
        raise RuntimeError(f"The application answered {status}")


def main(framework: str, way: str, warm_up: int, count: int) -> None:
    """Print what a request costs, in microseconds."""
    drive = driver(framework, way)
    drive(warm_up)
    ways.flush(way)
    thread, process = time.thread_time(), time.process_time()
    drive(count)
    thread = time.thread_time() - thread
    ways.flush(way)
    process = time.process_time() - process
    sys.stdout.write(json.dumps({"thread": thread / count * 1e6, "process": process / count * 1e6}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
