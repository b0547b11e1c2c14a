"""A FastAPI application whose views speak of their user from threads, tasks and processes."""

import asyncio
import multiprocessing
import os
import threading
from contextvars import copy_context

import httpx
from fastapi import BackgroundTasks, FastAPI, Request
from fastapi.responses import StreamingResponse
from opentelemetry import trace
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import ConcurrentMultiSpanProcessor, TracerProvider
from starlette.concurrency import run_in_threadpool

from otel_usage import identify, record_access

PROVIDER = os.environ.get("SITE_PROVIDER")

if PROVIDER == "concurrent":
    trace.set_tracer_provider(TracerProvider(active_span_processor=ConcurrentMultiSpanProcessor()))

app = FastAPI()
if PROVIDER == "second":
    FastAPIInstrumentor.instrument_app(app, tracer_provider=TracerProvider())


@app.middleware("http")
async def pass_on(request: Request, call_next):
    return await call_next(request)


def say(name: str) -> None:
    identify(user_id=name)


@app.get("/thread/{name}")
def view_in_thread(name: str):
    say(name)


@app.get("/copied/{name}")
def copied_context(name: str):
    thread = threading.Thread(target=copy_context().run, args=(say, name))
    thread.start()
    thread.join()


@app.get("/bare/{name}")
def thread_without_context(name: str):
    thread = threading.Thread(target=say, args=(name,))
    thread.start()
    thread.join()


@app.get("/to-thread/{name}")
async def to_thread(name: str):
    await asyncio.to_thread(say, name)


@app.get("/threadpool/{name}")
async def threadpool(name: str):
    await run_in_threadpool(say, name)


@app.get("/executor/{name}")
async def executor_without_context(name: str):
    await asyncio.get_running_loop().run_in_executor(None, say, name)


@app.get("/task/{name}")
async def task(name: str):
    await asyncio.create_task(asyncio.to_thread(say, name))


@app.get("/background/{name}")
async def background(name: str, tasks: BackgroundTasks):
    tasks.add_task(say, name)
    tasks.add_task(record_access, "report", name)


over = threading.Event()


@app.get("/later/{name}")
async def after_the_answer(name: str):
    def wait_and_say() -> None:
        over.wait(30)
        say(name)

    threading.Thread(target=copy_context().run, args=(wait_and_say,), daemon=True).start()


@app.post("/over")
def let_those_speak():
    over.set()


waiting: list[str] = []
everybody = asyncio.Event()


@app.get("/together/{name}")
async def together(name: str, parties: int):
    waiting.append(name)
    if len(waiting) == parties:
        everybody.set()
    await everybody.wait()
    await asyncio.to_thread(say, name)


@app.get("/timeout/{name}")
async def timeout(name: str):
    say(name)
    try:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()
    except TimeoutError:
        return "too long"


@app.get("/cancelled/{name}")
async def cancelled(name: str):
    say(name)
    raise asyncio.CancelledError


@app.get("/gone/{name}")
async def answer_nobody(name: str):
    say(name)
    print("somebody waits", flush=True)
    await asyncio.sleep(0.5)


@app.get("/stream/{name}")
async def stream(name: str):
    async def chunks():
        say(name)
        while True:
            yield b"x" * 1000
            await asyncio.sleep(0.001)

    return StreamingResponse(chunks())


@app.get("/calls/{name}")
async def call_itself(name: str):
    say(name)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://inside") as client:
        await client.get(f"/thread/{name}", headers={"User-Agent": f"inner-{name}"})


@app.get("/starts/{method}/{name}")
def start_a_process(method: str, name: str):
    child = multiprocessing.get_context(method).Process(target=say, args=("child",))
    child.start()
    child.join(60)
    say(name)
