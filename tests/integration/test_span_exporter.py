"""DuckDBSpanExporter and install() in applications that set OpenTelemetry up themselves; each in its own process."""

import subprocess
import sys

import duckdb
import pytest

from tests.integration.site import BIN, clean_environment

REQUEST = """
def request(tracer, number):
    attributes = {"http.request.method": "GET", "url.path": f"/datasets/{number}", "http.response.status_code": 200,
                  "http.request.header.x-api-key": ["k" * 30]}
    tracer.start_span("GET", kind=trace.SpanKind.SERVER, attributes=attributes).end()
    tracer.start_span("work").end()
"""
HEAD = "from opentelemetry import trace\nfrom opentelemetry.sdk.trace import TracerProvider\n" + REQUEST
BATCH = (
    "from opentelemetry.sdk.trace.export import BatchSpanProcessor\n"
    "from otel_usage import DuckDBSpanExporter\n"
    "provider.add_span_processor(BatchSpanProcessor(DuckDBSpanExporter()))\n"
)
EXPORTER_ALONE = HEAD + "provider = TracerProvider()\n" + BATCH
INSTALL_ALONE = HEAD + "import otel_usage\nprovider = TracerProvider()\notel_usage.install(provider)\n"
INSTALL_SETS_PROVIDER = HEAD + "import otel_usage\notel_usage.install()\nprovider = trace.get_tracer_provider()\n"
BOTH = INSTALL_ALONE + BATCH
BOTH_BATCH_FIRST = HEAD + "import otel_usage\nprovider = TracerProvider()\n" + BATCH + "otel_usage.install(provider)\n"
TWICE = INSTALL_ALONE + "otel_usage.install(provider)\n"
END = "for number in range(30):\n    request(provider.get_tracer('app'), number)\nprovider.shutdown()\n"
SCRIPTS = {
    "exporter-alone": EXPORTER_ALONE,
    "install-alone": INSTALL_ALONE,
    "install-sets-the-provider": INSTALL_SETS_PROVIDER,
    "install-and-exporter": BOTH,
    "exporter-and-install": BOTH_BATCH_FIRST,
    "installed-twice": TWICE,
}


def run(directory, script, *launcher, **environment):
    """Run a script in `directory`; returns its rows after `otel-usage sync`."""
    (directory / "app.py").write_text(script)
    # Older versions of Pyramid, which the launcher imports, use what setuptools warns of.
    variables = clean_environment(directory, PYTHONWARNINGS="ignore:pkg_resources:UserWarning", **environment)
    done = subprocess.run(
        [*launcher, sys.executable, "app.py"], cwd=directory, env=variables, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    subprocess.run([BIN / "otel-usage", "sync"], cwd=directory, env=variables, check=True, capture_output=True)
    with duckdb.connect(str(directory / "usage.duckdb"), read_only=True) as connection:
        query = "select path, token_scheme, token_id, sampled from usage order by start_time"
        return connection.execute(query).fetchall()


@pytest.mark.parametrize("way", SCRIPTS)
def test_one_row_a_request(way, tmp_path):
    """By every way in, and by two at once, each request has one row, and other spans have none."""
    rows = run(tmp_path, SCRIPTS[way] + END)
    assert [path for path, *_ in rows] == [f"/datasets/{number}" for number in range(30)]
    assert {sampled for *_, sampled in rows} == {True}


def test_exporter_alone_enriches_from_captured_headers(tmp_path):
    """Without our processor the token comes from the header that the instrumentation captured."""
    rows = run(tmp_path, EXPORTER_ALONE + END)
    assert {scheme for _, scheme, _, _ in rows} == {"api_key"}
    assert len({token for _, _, token, _ in rows} - {None}) == 1


def test_launcher_with_our_exporter_named(tmp_path):
    """OTEL_TRACES_EXPORTER=duckdb beside the launcher's own install() stores nothing twice."""
    script = HEAD + "provider = trace.get_tracer_provider()\n" + END
    rows = run(tmp_path, script, str(BIN / "opentelemetry-instrument"), OTEL_TRACES_EXPORTER="duckdb")
    assert len(rows) == 30


def test_launcher_flags(tmp_path):
    """Settings are flags of the launcher too; the deployment key is not, since command lines are public."""
    script = HEAD + "provider = trace.get_tracer_provider()\n" + END
    launcher = str(BIN / "opentelemetry-instrument")
    flags = ["--usage_database", str(tmp_path / "usage.duckdb"), "--usage_privacy_level", "2"]
    assert len(run(tmp_path, script, launcher, *flags)) == 30
    told = subprocess.run([launcher, "--help"], capture_output=True, text=True, check=True).stdout
    assert "--usage_token_key_file" in told
    assert "--usage_token_key " not in told


OWN_PROVIDER = """
import json, pathlib
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

class ToFile(SpanExporter):
    def export(self, spans):
        with pathlib.Path("exported").open("a") as file:
            file.writelines(span.kind.name + "\\n" for span in spans)
        return SpanExportResult.SUCCESS

early = trace.get_tracer("held by an instrumentation")
provider = TracerProvider(sampler=TraceIdRatioBased(%s), resource=Resource.create({"service.name": "mine"}))
provider.add_span_processor(SimpleSpanProcessor(ToFile()))
trace.set_tracer_provider(provider)
assert trace.get_tracer_provider() is provider
for number in range(30):
    request(early if number %% 2 else trace.get_tracer("late"), number)
provider.shutdown()
"""


@pytest.mark.parametrize(("ratio", "exported"), [("1.0", 60), ("0.0", 0)])
def test_a_provider_that_the_application_sets_later(ratio, exported, tmp_path):
    """The application's own provider, exporter, sampler and resource are what they would be without us."""
    rows = run(tmp_path, HEAD + OWN_PROVIDER % ratio, str(BIN / "opentelemetry-instrument"))
    assert len(rows) == 30
    assert {sampled for *_, sampled in rows} == {ratio == "1.0"}
    path = tmp_path / "exported"
    assert len(path.read_text().splitlines() if path.exists() else []) == exported
    with duckdb.connect(str(tmp_path / "usage.duckdb"), read_only=True) as connection:
        assert connection.execute("select distinct service_name from usage").fetchall() == [("mine",)]


def test_uninstall(tmp_path):
    """After uninstall() nothing more is recorded, and what was is kept."""
    script = INSTALL_ALONE + "request(provider.get_tracer('app'), 0)\notel_usage.uninstall()\n" + END
    assert [path for path, *_ in run(tmp_path, script)] == ["/datasets/0"]


@pytest.mark.parametrize("variable", [{"OTEL_USAGE_EXPORTER": "none"}, {"OTEL_SDK_DISABLED": "true"}], ids=str)
def test_turned_off(variable, tmp_path):
    """Turned off, no file is made and no provider set."""
    script = "from opentelemetry import trace\nprint(type(trace.get_tracer_provider()).__name__)"
    (tmp_path / "app.py").write_text(script)
    done = subprocess.run(
        [BIN / "opentelemetry-instrument", sys.executable, "app.py"],
        cwd=tmp_path,
        env=clean_environment(tmp_path, **variable),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "ProxyTracerProvider", done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["app.py"]


def test_install_makes_nothing_before_the_first_request(tmp_path):
    """install() also runs in supervisors: no file, no thread."""
    script = (
        "import threading, pathlib, otel_usage\notel_usage.install()\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "assert [path.name for path in pathlib.Path().iterdir()] == ['app.py']\n"
    )
    (tmp_path / "app.py").write_text(script)
    subprocess.run([sys.executable, "app.py"], cwd=tmp_path, env=clean_environment(tmp_path), check=True, timeout=60)
