"""Files of the Collector's file exporter into rows: spans a second of processor time, from the start of the command to
its end, commits included. Beside it the Collector while it writes such files, and DuckDB reading them in SQL.

Target: at least 100,000 spans a second of processor time.
"""

import gzip
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import duckdb

from benchmarks import collect, spans
from benchmarks.measuring import Options, Sample, at_least, conditions, interleaved, progress, publish, sample, table
from otel_usage import settings
from otel_usage.exporter.commit import commit_turn
from otel_usage.exporter.ingest.file_intake import decode
from otel_usage.exporter.ingest.otlp_file import OTLPFile
from otel_usage.exporter.otlp.intake import Intake
from otel_usage.exporter.paths import StorePaths
from otel_usage.exporter.recorder import Recorder

try:
    from compression import zstd
except ImportError:
    from backports import zstd

_SPANS: Final = 200_000
_ROUNDS: Final = 3
_BATCH, _SMALL_BATCH = 512, 10
_FOREIGN, _BEHIND_AGENT, _APPLICATION = spans.SENDERS
_KEY: Final = "k" * 40


@dataclass(frozen=True)
class Way:
    """Who reads or writes what.

    Attributes:
        program: What is measured.
        sender: Whose spans they are.
        format: Of the file.
        batch: Spans a message.
    """

    program: str
    sender: str
    format: str
    batch: int = _BATCH

    def __str__(self) -> str:
        return f"{self.program}, {self.sender}, {self.format}, {self.batch}"


_OURS: Final = "otel-usage ingest"
_SQL: Final = "DuckDB alone, in SQL: nothing enriched"
_PEER: Final = "Collector, while it writes the file"
WAYS: Final = (
    *(Way(_OURS, sender, kind) for kind in ("JSON", "protobuf") for sender in spans.SENDERS),
    *(Way(_OURS, _BEHIND_AGENT, kind) for kind in ("JSON, zstd a message", "protobuf, zstd a message")),
    *(Way(_OURS, _BEHIND_AGENT, kind) for kind in ("JSON.gz", "protobuf.zst")),
    *(Way(_OURS, _BEHIND_AGENT, kind, _SMALL_BATCH) for kind in ("JSON", "protobuf")),
    Way(_SQL, _BEHIND_AGENT, "JSON"),
    *(Way(_PEER, _BEHIND_AGENT, kind) for kind in ("JSON", "protobuf")),
)


def run(options: Options) -> None:
    """Print what each way costs, where the time goes, and whether the target is met."""
    started = conditions("ingest")
    count = _SPANS // 20 if options.quick else _SPANS
    ways = [way for way in WAYS if way.program != _PEER or collect._collector() is not None]
    with tempfile.TemporaryDirectory() as name:
        files = {way: _file(Path(name), way, count) for way in ways if way.program != _PEER}
        results = interleaved(ways, 1 if options.quick else _ROUNDS, lambda way: _measure(way, files.get(way), count))
        stages = [_stages(way, files[way], count) for way in WAYS[:6]]
    found = {way: sample(rates) for way, rates in results.items()}
    best = max(found[way].median for way in WAYS[:6])
    text = _table(found) + "\n" + at_least("the fastest of them", best, 100_000, "spans a second")
    columns = ["microseconds a span, in one process", "framing", "decoding", "enriching, journal", "commit"]
    publish("ingest", f"{started}\n{text}\n{table(columns, stages)}", update=options.update_docs)


def _table(found: dict[Way, Sample]) -> str:
    columns = ["program, what it reads or writes", "spans a message", "spans a second of processor time"]
    lines = [[f"{way.program}: {way.sender}, {way.format}", str(way.batch), rate.text()] for way, rate in found.items()]
    return table(columns, lines)


def _file(folder: Path, way: Way, count: int) -> Path:
    """The file of a way, made unless it is there."""
    path = folder / f"{way.sender}, {way.format}, {way.batch}".replace(" ", "_")
    if not path.exists():
        progress(f"making {path.name}")
        path.write_bytes(_WHOLE.get(way.format, bytes)(b"".join(_messages(way, count))))
    return path


def _messages(way: Way, count: int) -> Iterator[bytes]:
    for request in spans.batches(way.sender, count, way.batch):
        data = spans.to_json(request) if way.format.startswith("JSON") else request.SerializeToString()
        if way.format.endswith("message"):
            data = zstd.compress(data)
        is_line = way.format in ("JSON", "JSON.gz")
        yield data + b"\n" if is_line else len(data).to_bytes(4) + data


_WHOLE: Final[dict[str, Callable[[bytes], bytes]]] = {
    "JSON.gz": partial(gzip.compress, compresslevel=6),
    "protobuf.zst": zstd.compress,
}


def _measure(way: Way, file: Path | None, count: int) -> float:
    """Spans a second of processor time."""
    if file is None:
        kind = "json" if way.format == "JSON" else "protobuf"
        return collect._measure(collect.Way(collect._PEER, way.sender, kind, way.batch), count).spans_a_second
    return count / (_in_sql(file, count) if way.program == _SQL else _ingest(file, count))


def _ingest(file: Path, count: int) -> float:
    """Seconds of processor time of the command."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, "OTEL_USAGE_DATABASE": f"{folder}/usage.duckdb", "OTEL_USAGE_TOKEN_KEY": _KEY}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "otel_usage.cli.main", "ingest", str(file)]
        done = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if f" {count} requests ({count} new rows, 0 already there)" not in done.stdout:
        raise RuntimeError(done.stdout)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


_VALUE: Final = "STRUCT(stringValue VARCHAR, intValue BIGINT, boolValue BOOLEAN)"
_PAIRS: Final = f'STRUCT("key" VARCHAR, "value" {_VALUE})[]'
_SPAN: Final = (
    "STRUCT(traceId VARCHAR, spanId VARCHAR, name VARCHAR, kind INTEGER, startTimeUnixNano BIGINT,"
    f" endTimeUnixNano BIGINT, attributes {_PAIRS})"
)
_COLUMN: Final = f"STRUCT(resource STRUCT(attributes {_PAIRS}), scopeSpans STRUCT(spans {_SPAN}[])[])[]"
_KEPT: Final = {
    "method": "http.request.method",
    "route": "http.route",
    "path": "url.path",
    "query": "url.query",
    "scheme": "url.scheme",
    "host": "server.address",
    "client_address": "client.address",
    "user_agent": "user_agent.original",
    "status_code": "http.response.status_code",
    "protocol_version": "network.protocol.version",
    "token_id": "usage.token.id",
    "token_scheme": "usage.token.scheme",
}
_COLUMNS: Final = ", ".join(f"told['{name}'] AS {column}" for column, name in _KEPT.items())
# What SQL can do by itself: parse, take the attributes apart, name the columns. Rows that nobody enriched.
_READ: Final = f"""
CREATE TABLE requests AS
SELECT make_timestamp(span.startTimeUnixNano // 1000) AS start_time,
    span.endTimeUnixNano - span.startTimeUnixNano AS duration_ns, span.traceId::UUID AS trace_id,
    ('0x' || span.spanId)::UBIGINT AS span_id, {_COLUMNS}
FROM (
    SELECT span, map_from_entries(list_transform(span.attributes, lambda each: {{'k': each."key", 'v': coalesce(
        each."value".stringValue, each."value".intValue::VARCHAR, each."value".boolValue::VARCHAR)}})) AS told
    FROM (SELECT unnest(of.spans) AS span FROM (SELECT unnest(resource.scopeSpans) AS of
        FROM (SELECT unnest(resourceSpans) AS resource FROM read_json($file, format = 'newline_delimited',
            columns = {{'resourceSpans': '{_COLUMN}'}}, maximum_object_size = 67108864))))
)
"""


def _in_sql(file: Path, count: int) -> float:
    """Seconds of processor time of DuckDB."""
    with tempfile.TemporaryDirectory() as folder:
        before = time.process_time()
        with duckdb.connect(f"{folder}/usage.duckdb", config={"threads": 1}) as connection:
            connection.execute(_READ, {"file": str(file)})
            (found,) = connection.execute("SELECT count(*) FROM requests").fetchone() or (0,)
        used = time.process_time() - before
    if found != count:
        raise RuntimeError(f"{found} of {count} spans were read")
    return used


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.thread_time()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.thread_time() - start


def _stages(way: Way, file: Path, count: int) -> list[str]:
    """Where the time goes, step by step: in processor time a span."""
    progress(f"stages: {way}")
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, file.open("rb") as opened:
        environ = {"OTEL_USAGE_DATABASE": f"{folder}/usage.duckdb", "OTEL_USAGE_COMMIT_INTERVAL": "3600"}
        chosen = settings.load({**environ, "OTEL_USAGE_TOKEN_KEY": _KEY}, strict=True)
        recorder = Recorder(chosen)
        intake = Intake(chosen, recorder)
        began = time.process_time()
        with _timed(seconds, "all"):
            for message in OTLPFile(opened.fileno()).messages():
                with _timed(seconds, "decoding"):
                    scopes = decode(message) or []
                with _timed(seconds, "journal"):
                    intake.take(scopes)
        recorder.remove()
        while commit_turn(StorePaths.of(chosen.database)).segments:
            pass
        # The recorder's own thread commits too, while this one reads.
        seconds["commit"] = time.process_time() - began - seconds["all"]
    seconds["framing"] = seconds["all"] - seconds["decoding"] - seconds["journal"]
    progress("")
    return [
        f"{way.sender}, {way.format}",
        *(f"{seconds[name] / count * 1e6:.1f}" for name in ("framing", "decoding", "journal", "commit")),
    ]
