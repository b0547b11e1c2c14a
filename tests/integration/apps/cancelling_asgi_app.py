"""A FastAPI application one of whose requests cancels another, while its view or its answer waits."""

import asyncio

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

app = FastAPI()
tasks: dict[str, asyncio.Task] = {}


def stand(name: str) -> None:
    tasks[name] = asyncio.current_task()
    print(f"{name} waits", flush=True)


@app.get("/waits/{name}")
async def wait(name: str):
    stand(name)
    await asyncio.Event().wait()


@app.get("/streams/{name}")
async def stream(name: str):
    async def chunks():
        yield b"x" * 1000
        stand(name)
        await asyncio.Event().wait()

    return StreamingResponse(chunks())


@app.post("/cancels/{name}")
async def cancel(name: str):
    tasks[name].cancel()
