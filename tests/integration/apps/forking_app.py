"""A Flask application whose views fork and start processes, which go on in every way a child may."""

import atexit
import multiprocessing
import os
import random
import sys
import time
from contextvars import Context
from pathlib import Path

from flask import Flask, request

app = Flask(__name__)


@app.get("/claims/<int:claim_id>")
def claims(claim_id: int):
    return {"id": claim_id}


@app.get("/seeded/<int:claim_id>")
def seeded(claim_id: int):
    random.seed(42)
    return {"id": claim_id}


def serve(name: str) -> None:
    """A request to this process, which has nothing to do with the one that is being served."""
    Context().run(app.test_client().get, "/claims/1", headers={"User-Agent": name})


def exits_at_once(name: str) -> None:
    os._exit(0)


def exits(name: str) -> None:
    atexit.register(print, f"{name} runs what was registered", flush=True)
    sys.exit(0)


def serves_and_exits_at_once(name: str) -> None:
    serve(name)
    os._exit(0)


def serves_and_exits(name: str) -> None:
    serve(name)
    sys.exit(0)


def uses_processes(name: str) -> None:
    child = multiprocessing.get_context("fork").Process(target=serve, args=(name,))
    child.start()
    child.join()
    sys.exit(child.exitcode)


WAYS = {way.__name__: way for way in (exits_at_once, exits, serves_and_exits_at_once, serves_and_exits, uses_processes)}


def be(way: str, name: str) -> None:
    """What the child does, which leaves the connection to its parent: a server answers 500 for what it meets."""
    os.dup2(os.open(os.devnull, os.O_RDWR), request.environ["gunicorn.socket"].fileno())
    WAYS[way](name)


def ended(pid: int) -> str:
    return str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


@app.get("/forks/<way>/<name>")
def fork(way: str, name: str):
    if (pid := os.fork()) == 0:
        be(way, name)
    return ended(pid)


@app.get("/forks-while/<way>/<name>")
def fork_while_the_backlog_lasts(way: str, name: str):
    """Up to eight children for as long as all segments of this folder are there; the answer says how each ended."""
    left = list(Path(request.args["folder"]).glob("*.ready"))
    pids: list[int] = []
    while len(pids) < 8 and all(path.exists() for path in left):
        if (pid := os.fork()) == 0:
            be(way, f"{name}-{len(pids)}")
        pids.append(pid)
        time.sleep(0.03)
    return ",".join(map(ended, pids))


@app.get("/children/<method>/<name>")
def children(method: str, name: str):
    context = multiprocessing.get_context(method)
    started = [context.Process(target=serve, args=(f"{name}-{number}",)) for number in range(3)]
    for child in started:
        child.start()
    for child in started:
        child.join(60)
    return ",".join(str(child.exitcode) for child in started)
