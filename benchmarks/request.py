"""What one request costs the thread that serves it. Target: at most 15 us over OpenTelemetry with a batch processor.

Each way runs in a process of its own, in turns: python -m benchmarks.request WAY runs one round.
"""

import io
import os
import subprocess
import sys
import tempfile
import time

WAYS = ("bare", "opentelemetry", "otel-usage")
ROUNDS = 5
REQUESTS = 2000


def run() -> None:
    """Print microseconds a request, the best of several interleaved rounds."""
    best = dict.fromkeys(WAYS, float("inf"))
    for _ in range(ROUNDS):
        for way in WAYS:
            best[way] = min(best[way], _round_in_a_process(way))
    for way in WAYS:
        print(f"{way:14} {best[way]:6.1f} us, {best[way] / best['opentelemetry']:.2f} of OpenTelemetry alone")


def _round_in_a_process(way: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        path = os.pathsep.join([os.getcwd(), *filter(None, [environment.get("PYTHONPATH")])])
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.request", way],
            cwd=folder,
            env={**environment, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        )
        return float(done.stdout)


def _set_up(way: str) -> None:
    if way == "bare":
        return
    from opentelemetry import trace
    from opentelemetry.instrumentation.flask import FlaskInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        def export(self, spans: object) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    trace.set_tracer_provider(provider)
    if way == "opentelemetry":
        provider.add_span_processor(BatchSpanProcessor(Nowhere(), max_queue_size=100_000))
    else:
        import otel_usage

        otel_usage.install()
    FlaskInstrumentor().instrument()


def _environ() -> dict[str, object]:
    path = "/organizations/acme/datasets/42"
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "RAW_URI": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "HTTP_AUTHORIZATION": "Bearer tok-0123456789abcdefghij",
        "HTTP_USER_AGENT": "benchmark",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.url_scheme": "http",
    }


def _measure(way: str) -> float:
    _set_up(way)
    from flask import Flask

    app = Flask("benchmark")

    @app.get("/organizations/<org>/datasets/<int:dataset_id>")
    def dataset(org: str, dataset_id: int) -> dict[str, int]:
        return {org: dataset_id}

    def request() -> None:
        body = app(_environ(), lambda status, headers, exc_info=None: None)
        for _ in body:
            pass
        body.close()

    for _ in range(500):
        request()
    start = time.thread_time()
    for _ in range(REQUESTS):
        request()
    return (time.thread_time() - start) / REQUESTS * 1e6


if __name__ == "__main__":
    print(_measure(sys.argv[1]))
