"""Beside other tools that trace, patch or configure, every request has its row, and they get what they would get."""

import json
import shutil
from collections import Counter

import pytest

from tests.integration import company_environment
from tests.integration import site as site_module
from tests.integration.site import APPS, serve

GUNICORN = ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "company_flask:app"]
UVICORN = ["uvicorn", "--port", "{port}", "company_fastapi:app"]
SERVERS = {"flask": ("company_flask.py", GUNICORN), "fastapi": ("company_fastapi.py", UVICORN)}
ROUTES = {"flask": "/datasets/<int:dataset_id>", "fastapi": "/datasets/{dataset_id}"}
REQUESTS = 6
# opentelemetry-distro is in the environment: this is as if it were not.
NO_DISTRO = {"OTEL_PYTHON_DISTRO": "none", "OTEL_PYTHON_CONFIGURATOR": "none"}


@pytest.fixture(scope="module", autouse=True)
def programs():
    """The environment with all of them in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site_module, "BIN", company_environment.make())
        yield


def ask(directory, framework, company, *, prefix=(), prepare=None, **more):
    """The site after its requests; its rows are read, and `seen` is what the other tool got."""
    app, server = SERVERS[framework]

    def put_beside(site):
        shutil.copy(APPS / "company_tools.py", directory)
        if prepare is not None:
            prepare(site)

    with serve(directory, app, [*prefix, *server], prepare=put_beside, COMPANY=company, **more) as site:
        for number in range(REQUESTS - 2):
            answer = site.ask("GET", f"/datasets/{number}", {"X-API-Key": "key-of-company-1"})
            assert (answer.status, answer.body) == (200, b"a dataset"), site.log
        assert site.ask("GET", "/nowhere").status == 404
        assert site.ask("GET", "/boom").status == 500
        site.stop()
        site.seen = seen(directory)
        if (directory / "usage.duckdb.journal").exists():
            site.read_rows()
    return site


def seen(directory):
    """How many of each kind the other tool got."""
    path = directory / "seen"
    return Counter(map(json.loads, path.read_text().splitlines())) if path.exists() else Counter()


def check(site, framework):
    """A row for each request, with everything in it."""
    told = [
        (row["path"], row["route"], row["status_code"], row["token_scheme"], row["user_id"], row["response_bytes"])
        for row in site.rows
        if row["path"] not in ("/nowhere", "/boom")
    ]
    expected = [
        (f"/datasets/{number}", ROUTES[framework], 200, "api_key", "alice", 9) for number in range(REQUESTS - 2)
    ]
    assert told == expected, site.log
    assert [(row["path"], row["status_code"], row["error_type"]) for row in site.rows[-2:]] == [
        ("/nowhere", 404, None),
        ("/boom", 500, "RuntimeError"),
    ]


@pytest.mark.parametrize("framework", SERVERS)
@pytest.mark.parametrize("company", ["none", "logfire", "sentry"])
def test_distro(framework, company, tmp_path):
    """opentelemetry-distro, also beside an OTLP exporter that is not the one it asks for: here logfire's."""
    site = ask(tmp_path, framework, company)
    check(site, framework)
    if company == "sentry":
        assert site.seen["transaction"] == REQUESTS


@pytest.mark.parametrize("framework", SERVERS)
def test_logfire_under_the_launcher(framework, tmp_path):
    """logfire's provider becomes the global one as it would without us, and sees every request."""
    site = ask(tmp_path, framework, "logfire", **NO_DISTRO)
    check(site, framework)
    assert site.seen["SERVER"] == REQUESTS
    assert "Overriding" not in site.log


@pytest.mark.parametrize("framework", SERVERS)
@pytest.mark.parametrize("company", ["install, logfire", "logfire, install"])
def test_logfire_without_the_launcher(framework, company, tmp_path):
    """Set up in code, in either order."""
    site = ask(tmp_path, framework, company, launcher=False)
    check(site, framework)
    assert site.seen["SERVER"] == REQUESTS


@pytest.mark.parametrize("framework", SERVERS)
@pytest.mark.parametrize(
    "company", ["install, own provider", "own provider, install", "concurrent processors, install"]
)
def test_provider_of_the_instrumentation_alone(framework, company, tmp_path):
    """A provider that only `instrument_app` was told of, also one that runs its processors in threads."""
    site = ask(tmp_path, framework, company, launcher=False)
    check(site, framework)
    assert site.seen["SERVER"] == REQUESTS


@pytest.mark.parametrize("framework", SERVERS)
def test_sentry(framework, tmp_path):
    """Sentry wraps the same functions after us; it gets its transactions and the exception."""
    site = ask(tmp_path, framework, "sentry", **NO_DISTRO)
    check(site, framework)
    assert (site.seen["transaction"], site.seen["event"]) == (REQUESTS, 1)


def test_sentry_as_a_span_processor(tmp_path):
    """Sentry's integration for OpenTelemetry has a provider of its own, set after ours."""
    site = ask(tmp_path, "flask", "sentry opentelemetry", **NO_DISTRO)
    check(site, "flask")
    assert site.seen["transaction"] >= REQUESTS


@pytest.mark.parametrize("framework", SERVERS)
def test_uninstall_under_somebody_elses_wrap(framework, tmp_path):
    """Sentry keeps what it has wrapped: after `uninstall()` our part in it only passes requests on."""
    site = ask(tmp_path / "off", framework, "sentry, uninstall", **NO_DISTRO)
    assert site.rows == []
    assert site.seen["transaction"] == REQUESTS
    site = ask(tmp_path / "on", framework, "sentry, uninstall, install", **NO_DISTRO)
    check(site, framework)
    assert site.seen["transaction"] == REQUESTS


CONFIGURATION = """
file_format: "1.0"
propagator:
  composite:
    - tracecontext: {}
resource:
  attributes:
    - name: service.name
      value: configured
tracer_provider:
  processors:
    - simple:
        exporter:
          EXPORTER: {}
  sampler:
    always_off:
instrumentation/development:
  python:
    FRAMEWORK: {}
"""


@pytest.mark.parametrize("framework", SERVERS)
@pytest.mark.parametrize("exporter", ["console", "duckdb"])
def test_declarative_configuration(framework, exporter, tmp_path):
    """With OTEL_CONFIG_FILE the instrumentation runs before `install()`; its sampler decides what is sampled."""

    def configure(site):
        text = CONFIGURATION.replace("FRAMEWORK", framework).replace("EXPORTER", exporter)
        (site.directory / "otel.yaml").write_text(text)

    site = ask(tmp_path, framework, "none", prepare=configure, OTEL_CONFIG_FILE="otel.yaml")
    check(site, framework)
    assert {row["service_name"] for row in site.rows} == {"configured"}
    assert {row["sampled"] for row in site.rows} == {False}


NEW_RELIC = {
    "NEW_RELIC_LICENSE_KEY": "0" * 40,
    "NEW_RELIC_APP_NAME": "company",
    "NEW_RELIC_DEVELOPER_MODE": "true",
    "NEW_RELIC_MONITOR_MODE": "false",
    "NEW_RELIC_HOST": "127.0.0.1",
    "NEW_RELIC_LOG": "newrelic.log",
    "NEW_RELIC_LOG_LEVEL": "debug",
}


NEW_RELIC_PROGRAM = ["newrelic-admin", "run-program"]


@pytest.mark.parametrize("framework", SERVERS)
@pytest.mark.parametrize("order", ["inside", "outside"])
def test_new_relic(framework, order, tmp_path):
    """Its agent, inside the launcher and around it; around it, the launcher keeps it from starting in the server."""
    how = {
        "inside": {"prefix": NEW_RELIC_PROGRAM},
        "outside": {"launcher": False, "prefix": [*NEW_RELIC_PROGRAM, "opentelemetry-instrument"]},
    }
    site = ask(tmp_path, framework, "none", **how[order], **NEW_RELIC, **NO_DISTRO)
    check(site, framework)
    wrapped = {"flask": "flask.app", "fastapi": "starlette.routing"}[framework]
    is_there = f"instrument module ((<module '{wrapped}'" in (tmp_path / "newrelic.log").read_text()
    assert is_there is (order == "inside")
