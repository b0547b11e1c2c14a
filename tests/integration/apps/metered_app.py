"""An application with a meter provider of its own, which writes what it is told to a file of each process."""

import os
from pathlib import Path

from flask import Flask
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader

app = Flask(__name__)


@app.get("/datasets/<dataset_id>")
def dataset(dataset_id):
    return dataset_id[:8]


def set_provider():
    out = Path(f"metrics-{os.getpid()}.jsonl").open("w", buffering=1)  # noqa: SIM115 - as long as the process lives
    exporter = ConsoleMetricExporter(out=out, formatter=lambda data: data.to_json(indent=None) + "\n")
    metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(exporter, export_interval_millis=100)]))


set_provider()
