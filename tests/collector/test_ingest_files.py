"""`otel-usage ingest` on files that a real Collector writes: every format, rotated, killed and started again."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from otel_usage.exporter.store import connect_read_only
from tests.collector.collectors import Collector, clean_environment, collector, request_of, span_of
from tests.integration.site import wait_for

COMMAND = [sys.executable, "-m", "otel_usage.cli.main", "ingest"]
SECRET = "secret-token-of-somebody-0123456789"
EXPORTERS = {
    "json": "",
    "proto": "format: proto",
    "json_zstd": "compression: zstd",
    "proto_zstd": "format: proto, compression: zstd",
}
CONFIG = """
receivers: {{otlp: {{protocols: {{http: {{endpoint: "${{env:LISTEN}}"}}}}}}}}
extensions: {{health_check: {{endpoint: "${{env:OTEL_USAGE_HEALTH_LISTEN}}"}}}}
exporters: {{{exporters}}}
service:
  extensions: [health_check]
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{traces: {{receivers: [otlp], exporters: [{names}]}}}}
"""


@contextmanager
def writing(binary: Path, folder: Path, **exporters: str) -> Iterator[Collector]:
    """A Collector with a file exporter of each of these settings, by name."""
    told = ", ".join(f"file/{name}: {{{settings}}}" for name, settings in exporters.items())
    names = ", ".join(f"file/{name}" for name in exporters)
    folder.mkdir(exist_ok=True)
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(exporters=told, names=names))
    with collector(binary, folder, [config], "LISTEN") as running:
        yield running


def send(running: Collector, first: int, count: int, size: int = 10) -> list[str]:
    """Send so many requests in batches; returns their paths."""
    paths = [f"/things/{number}" for number in range(first, first + count)]
    for start in range(0, count, size):
        headers = {"http.request.header.authorization": [f"Bearer {SECRET}"], "user_agent.original": "client" * 60}
        spans = [span_of({"url.path": path, **headers}) for path in paths[start : start + size]]
        assert running.send(request_of(*spans)) == 200
    return paths


def ingest(folder: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """The command, run to its end."""
    database = folder / "usage.duckdb"
    return subprocess.run(
        [*COMMAND, *map(str, arguments), "--database", str(database)],
        capture_output=True,
        text=True,
        env=clean_environment(),
        timeout=120,
        check=False,
    )


def stored(folder: Path) -> list[str]:
    """The paths in the store."""
    if not (folder / "usage.duckdb").exists():
        return []
    with connect_read_only(folder / "usage.duckdb") as connection:
        return [path for (path,) in connection.execute("SELECT path FROM usage ORDER BY start_time").fetchall()]


def test_every_format_of_the_file_exporter(collector_binary: Path, tmp_path: Path) -> None:
    """The same spans come out of every file the Collector writes; a second look finds nothing new."""
    exporters = {name: f"path: {tmp_path}/{name}, {settings}" for name, settings in EXPORTERS.items()}
    with writing(collector_binary, tmp_path / "collector", **exporters) as running:
        sent = send(running, 0, 50)
        running.stop()
    for number, name in enumerate(EXPORTERS):
        done = ingest(tmp_path, tmp_path / name)
        assert (done.returncode, done.stderr) == (0, "")
        fate = "0 new rows, 50 already there" if number else "50 new rows, 0 already there"
        assert done.stdout == f"1 file, 50 spans: 50 requests ({fate}), 0 other spans, 0 rejected\n"
        assert sorted(stored(tmp_path)) == sorted(sent)
    with connect_read_only(tmp_path / "usage.duckdb") as connection:
        assert connection.execute("SELECT count(DISTINCT token_id), count(token_id) FROM usage").fetchone() == (1, 50)
    assert SECRET.encode() not in (tmp_path / "usage.duckdb").read_bytes()


@pytest.mark.parametrize("name", ["json", "proto"])
def test_a_folder_that_a_collector_rotates(collector_binary: Path, tmp_path: Path, name: str) -> None:
    """Followed while it is written and rotated, and the Collector is killed and started again: every span once."""
    folder = tmp_path / "exported"
    rotation = f"path: {folder}/spans.{name}, create_directory: true, rotation: {{max_megabytes: 1}}, {EXPORTERS[name]}"
    database = tmp_path / "usage.duckdb"
    folder.mkdir()
    with writing(collector_binary, tmp_path / "collector", rotated=rotation) as running:
        command = [*COMMAND, "--follow", str(folder), "--database", str(database)]
        follower = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment())
        try:
            sent = send(running, 0, 4000, 200)
            running.stop(signal.SIGKILL)
            running.start()
            sent += send(running, 4000, 1000, 200)
            wait_for(lambda: len(stored(tmp_path)) == len(sent))
            follower.terminate()
            stdout, stderr = follower.communicate(timeout=60)
        finally:
            follower.kill()
    assert follower.returncode == 0, stderr
    assert stdout.endswith(b"5000 requests (5000 new rows, 0 already there), 0 other spans, 0 rejected\n")
    assert len(list(folder.iterdir())) > 1
    assert sorted(stored(tmp_path)) == sorted(sent)
    assert ingest(tmp_path, folder).stdout == "0 files, 0 spans: nothing new\n"


@pytest.mark.parametrize("missing", [300, 4, 1])
@pytest.mark.parametrize("name", ["json", "proto"])
def test_a_collector_that_appends_after_it_was_killed(
    collector_binary: Path, tmp_path: Path, name: str, missing: int
) -> None:
    """Whatever was torn is told, and every whole request before and after it is a row."""
    path = tmp_path / "spans"
    settings = f"path: {path}, append: true, {EXPORTERS[name]}"
    with writing(collector_binary, tmp_path / "collector", appended=settings) as running:
        send(running, 0, 10)
        running.stop()
        # In JSON the last byte is the newline.
        torn = path.read_bytes()[: -missing - (name == "json")]
        path.write_bytes(path.read_bytes() + torn)
        running.start()
        send(running, 10, 10)
        running.stop()
    done = ingest(tmp_path, path)
    assert done.returncode == 1
    place = f"{path}:2" if name == "json" else f"{path}: byte {len(torn) + missing}"
    assert done.stderr.startswith(f"{place}: ") and SECRET not in done.stderr
    assert sorted(stored(tmp_path)) == sorted(f"/things/{number}" for number in range(20))
