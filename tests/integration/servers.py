"""Every way to start a Python web server that the tests know, and the application that it serves."""

import shutil
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.frameworks.test_django import prepare as make_django_database
from tests.integration.site import APPS, Site, serve

FLASK, FASTAPI, DJANGO, STARTER = "flask_app.py", "fastapi_app.py", "django_app.py", "served_app.py"


@dataclass(frozen=True)
class Server:
    """How a server is started, and what is its own.

    Attributes:
        command: Under the launcher.
        app: File in `apps/`.
        supervised: Whether the process that was started starts others, and none of its own requests.
        told: Whether the application learns of a client that has left; other servers may take the whole answer.
        environment: What it needs.
        different: As in FrameworkTests.
    """

    command: list[str]
    app: str = FLASK
    supervised: bool = False
    told: bool = True
    environment: dict[str, str] = field(default_factory=dict)
    different: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def workers(self) -> int:
        """How many processes serve."""
        return 2 if {"--workers", "--processes", "2"} & set(self.command) else 1


PORT = ["--port", "{port}"]
WSGI, ASGI = "flask_app:app", "fastapi_app:app"
GUNICORN = ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2"]
UVICORN = "uvicorn.workers.UvicornWorker"
HYPERCORN = ["hypercorn", "--bind", "127.0.0.1:{port}"]
UWSGI = ["--master", "--processes", "2", "--die-on-term", "--home", sys.prefix, "--module", WSGI]
# It waits so long, with and without us: for connections that are long gone; for workers that it told too early
# (tornado), in the wrong moment (gthread), or by SIGQUIT, which UvicornWorker takes for nothing.
SHORT = ["--graceful-timeout", "1"]
# It keeps up to 16 MB of an answer, and looks for clients that have left every half a minute.
SMALL = ["--outbuf-high-watermark", "65536"]
ALICE_IN_DJANGO = {"view": {"user_id": "2", "user_name": "alice", "user_source": "framework"}}


def _python(server: str, **more: Any) -> Server:
    return Server(["python", STARTER, server, "{port}"], **more)


def _django(*options: str, supervised: bool = False) -> Server:
    command = ["python", "-m", "django", "runserver", *options, "127.0.0.1:{port}"]
    settings = {"DJANGO_SETTINGS_MODULE": "django_app"}
    return Server(command, DJANGO, supervised=supervised, environment=settings, different=ALICE_IN_DJANGO)


SERVERS = {
    "gunicorn": Server([*GUNICORN, WSGI], supervised=True),
    "gunicorn-gthread": Server([*GUNICORN, *SHORT, "-k", "gthread", "--threads", "4", WSGI], supervised=True),
    "gunicorn-gevent": Server([*GUNICORN, "-k", "gevent", WSGI], supervised=True),
    "gunicorn-tornado": Server([*GUNICORN, *SHORT, "-k", "tornado", WSGI], supervised=True, told=False),
    "gunicorn-preload": Server([*GUNICORN, "--preload", WSGI], supervised=True),
    "gunicorn-module": Server(["python", "-m", *GUNICORN, WSGI], supervised=True),
    "gunicorn-asgi": Server([*GUNICORN, *SHORT, "-k", "asgi", ASGI], FASTAPI, supervised=True, told=False),
    "gunicorn-uvicorn": Server([*GUNICORN, *SHORT, "-k", UVICORN, ASGI], FASTAPI, supervised=True),
    "uvicorn": Server(["uvicorn", *PORT, ASGI], FASTAPI),
    "uvicorn-module": Server(["python", "-m", "uvicorn", *PORT, ASGI], FASTAPI),
    "uvicorn-workers": Server(["uvicorn", *PORT, "--workers", "2", ASGI], FASTAPI, supervised=True),
    "uvicorn-reload": Server(["uvicorn", *PORT, "--reload", ASGI], FASTAPI, supervised=True),
    "uvicorn-wsgi": Server(["uvicorn", *PORT, "--interface", "wsgi", WSGI], told=False),
    "hypercorn": Server([*HYPERCORN, ASGI], FASTAPI, supervised=True),
    "hypercorn-workers": Server([*HYPERCORN, "--workers", "2", ASGI], FASTAPI, supervised=True),
    "granian-asgi": Server(["granian", "--interface", "asgi", *PORT, "--workers", "2", ASGI], FASTAPI, supervised=True),
    "granian-wsgi": Server(["granian", "--interface", "wsgi", *PORT, "--workers", "2", WSGI], supervised=True),
    "uwsgi": Server(["uwsgi", "--http-socket", "127.0.0.1:{port}", *UWSGI], supervised=True),
    "uwsgi-lazy-apps": Server(["uwsgi", "--http-socket", "127.0.0.1:{port}", "--lazy-apps", *UWSGI], supervised=True),
    "uwsgi-threads": Server(["uwsgi", "--http-socket", "127.0.0.1:{port}", "--threads", "2", *UWSGI], supervised=True),
    "waitress": Server(["waitress-serve", *SMALL, "--listen", "127.0.0.1:{port}", WSGI]),
    "flask-run": Server(["flask", "--app", WSGI, "run", *PORT]),
    "flask-run-debug": Server(["flask", "--app", WSGI, "--debug", "run", *PORT], supervised=True),
    "django-runserver": _django(supervised=True),
    "django-runserver-noreload": _django("--noreload"),
    "wsgiref": _python("wsgiref"),
    "werkzeug": _python("werkzeug"),
    "cheroot": _python("cheroot"),
    "gevent": _python("gevent"),
    "eventlet": _python("eventlet"),
}

# Each serves one framework only, whose own tests look at its rows.
FRAMEWORKS_SERVERS = {
    "aiohttp": Server(["python", "aiohttp_app.py", "{port}"], "aiohttp_app.py"),
    "gunicorn-aiohttp": Server([*GUNICORN, "-k", "aiohttp.GunicornWebWorker", "aiohttp_app:app"], "aiohttp_app.py"),
    "sanic": Server(["sanic", "sanic_app:app", "--host", "127.0.0.1", *PORT, "--workers", "2"], "sanic_app.py"),
    "tornado": Server(["python", "tornado_app.py", "{port}"], "tornado_app.py"),
    "tornado-forked": Server(["python", "tornado_app.py", "{port}", "2"], "tornado_app.py"),
}


def start(server: Server, directory: Path, **environment: str) -> AbstractContextManager[Site]:
    """The server with its application, in a new folder or one where such a server has ended."""

    def prepare(site: Site) -> None:
        shutil.copy(APPS / STARTER, site.directory)
        if server.app == DJANGO and not (directory / "site.sqlite3").exists():
            make_django_database(site)

    return serve(directory, server.app, server.command, prepare=prepare, **server.environment, **environment)
