"""Flask and FastAPI applications whose traces go to a backend over OTLP, as their own providers and samplers say."""

import asyncio
from collections.abc import AsyncIterator, Iterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from flask import Flask
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

provider = TracerProvider()  # its sampler is that of OTEL_TRACES_SAMPLER
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=200))
trace.set_tracer_provider(provider)
flask_app = Flask(__name__)
fastapi_app = FastAPI()


@flask_app.get("/datasets/<name>")
def dataset(name: str) -> str:
    return name


@flask_app.get("/streams/<name>")
def stream(name: str) -> Iterator[str]:
    yield from (name, name)


@flask_app.get("/broken/<name>")
def broken(name: str) -> str:
    raise ValueError(name)


@fastapi_app.get("/datasets/{name}")
async def async_dataset(name: str) -> str:
    return name


@fastapi_app.get("/streams/{name}")
async def async_stream(name: str) -> StreamingResponse:
    async def parts() -> AsyncIterator[str]:
        for _ in range(2):
            yield name
            await asyncio.sleep(0)

    return StreamingResponse(parts())


@fastapi_app.get("/broken/{name}")
async def async_broken(name: str) -> str:
    raise ValueError(name)
