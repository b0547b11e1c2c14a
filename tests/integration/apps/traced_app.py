"""A Flask application that exports its own traces beside us and calls others, as the sampling tests drive it."""

import json
import os
from pathlib import Path

from flask import Flask
from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

EXPORTED = Path(os.environ["SITE_DIRECTORY"]) / "exported.jsonl"


class FileExporter(SpanExporter):
    """What a tracing backend would get: one line a span."""

    def export(self, spans):
        with EXPORTED.open("a") as file:
            for span in spans:
                file.write(json.dumps({"trace": f"{span.context.trace_id:032x}", "kind": span.kind.name}) + "\n")
        return SpanExportResult.SUCCESS


provider = trace.get_tracer_provider()
if not isinstance(provider, TracerProvider):
    provider = TracerProvider()
    trace.set_tracer_provider(provider)
if "SITE_EXPORTS_NOTHING" not in os.environ:
    provider.add_span_processor(SimpleSpanProcessor(FileExporter()))
tracer = trace.get_tracer(__name__)
app = Flask(__name__)


@app.get("/calls/<int:number>")
def call(number: int):
    carrier: dict[str, str] = {}
    with tracer.start_as_current_span("outgoing", kind=trace.SpanKind.CLIENT):
        propagate.inject(carrier)
    return carrier
