"""In whatever order an application, its instrumentation, its provider and `install()` come, the rows are the same."""

import json
import re
import shutil
import subprocess
import sys

import duckdb
import pytest

from otel_usage import settings
from otel_usage.exporter import reading
from tests.integration.site import APPS, BIN, clean_environment

# Steps of apps/ordered_app.py. The first is an application without us.
WITHOUT_US = {
    "class": "load provider instrument app",
    "application": "load provider app instrument_app",
}
ORDERS_BY_CLASS = {
    "install first": "install load provider instrument app",
    "install last": "load provider instrument app install",
    "install before the app": "load provider instrument install app",
    "install before the provider": "load install provider instrument app",
    "provider last": "load install instrument app provider",
    "provider last, install before": "load instrument app install provider",
    "everything before the provider but install": "load instrument app provider install",
    "twice": "install load install provider instrument app install",
    "again": "install load provider instrument app uninstall install",
    "again before the provider": "install load instrument uninstall app provider install",
    "again and the provider last": "install load instrument uninstall install app uninstall install provider",
    "provider of the instrumentation alone": "load install own_provider instrument app",
    "its provider and install last": "load own_provider instrument app install",
    "sampler set later": "load install plain_provider instrument app sampler",
    "sampler set before install": "load plain_provider instrument app sampler install",
}
ORDERS_BY_APPLICATION = {
    "install first": "install load provider app instrument_app",
    "install last": "load provider app instrument_app install",
    "install before the app": "load provider install app instrument_app",
    "install between": "load provider app install instrument_app",
    "provider last": "install load app instrument_app provider",
    "again": "install load provider app uninstall instrument_app install",
    "provider of the instrumentation alone": "load app own_provider install instrument_app",
    "its provider and install last": "load app own_provider instrument_app install",
}
# Django is instrumented by a setting, Falcon and Starlette by a class, as Flask and FastAPI are: what may differ there.
SOME_ORDERS = (
    "install first",
    "install last",
    "provider last",
    "again before the provider",
    "its provider and install last",
)
BY_CLASS = [(framework, order) for framework in ("Flask", "FastAPI") for order in ORDERS_BY_CLASS] + [
    (framework, order) for framework in ("Starlette", "Django", "Falcon") for order in SOME_ORDERS
]
BY_APPLICATION = [(framework, order) for framework in ("Flask", "FastAPI") for order in ORDERS_BY_APPLICATION] + [
    ("Starlette", order) for order in SOME_ORDERS if order in ORDERS_BY_APPLICATION
]

# The launcher has called install() and instrumented the classes; a second instrumentation does nothing, as its
# warning says, so that hooks and a provider of their own are only those of the launcher.
LAUNCHED = {
    "app": "load app",
    "app and instrument_app again": "load app instrument_app",
    "provider set by the application": "load provider app",
    "provider set last": "load app provider",
}

ROWS = [
    ("GET", "/datasets/1", 200, "bearer", None, 9, True),
    ("GET", "/datasets/2", 200, None, "alice", 9, True),
    ("GET", "/quiet/3", 200, "api_key", None, 5, False),
    ("GET", "/nowhere", 404, None, None, None, True),
]


def run(directory, framework, steps, *, launched=False):
    """What the application saw of itself."""
    shutil.copy(APPS / "ordered_app.py", directory)
    launcher = [str(BIN / "opentelemetry-instrument")] if launched else []
    done = subprocess.run(
        [*launcher, sys.executable, "ordered_app.py", framework, *steps.split()],
        cwd=directory,
        env=clean_environment(directory),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "otel-usage" not in done.stderr and "otel_usage" not in done.stderr, done.stderr
    assert "Overriding" not in done.stderr, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def rows(directory):
    """The rows of a run; of "nowhere" the bytes are the framework's own error page."""
    database = directory / "usage.duckdb"
    reading.sync(settings.load(strict=True, database=database), timeout_seconds=30, progress=lambda *_: None)
    query = """select method, path, status_code, token_scheme, user_id,
                      case when status_code = 200 then response_bytes end, sampled
               from usage order by start_time"""
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute(query).fetchall()


def without_usage(spans, reference):
    """Spans as the application's exporter got them, less what we added to them."""
    assert len(spans) == len(reference)
    return [
        {name: span[name] for name in span if name in other or not name.startswith(("usage.", "user.", "http.re"))}
        for span, other in zip(spans, reference, strict=True)
    ]


def stable(spans):
    """Without the ports, which differ between two runs."""
    return [
        {name: re.sub(r":\d+", "", str(value)) for name, value in span.items() if not name.endswith(".port")}
        for span in spans
    ]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Each kind of application as it is without us, by framework and how it is instrumented."""
    seen = {}

    def ask(framework, how):
        if (framework, how) not in seen:
            directory = tmp_path_factory.mktemp("alone")
            seen[framework, how] = run(directory, framework, WITHOUT_US[how])
            assert not (directory / "usage.duckdb").exists()
        return seen[framework, how]

    return ask


def check(directory, told, reference):
    """Rows, answers, hooks and the application's own spans."""
    assert rows(directory) == ROWS
    assert told["answers"] == reference["answers"]
    assert told["hooks"] == reference["hooks"]
    assert without_usage(stable(told["spans"]), stable(reference["spans"])) == stable(reference["spans"])


@pytest.mark.parametrize(("framework", "order"), BY_CLASS)
def test_instrumented_by_class(framework, order, alone, tmp_path):
    """`instrument()`: the same rows in every order; hooks, sampler and exporter are as without us."""
    check(tmp_path, run(tmp_path, framework, ORDERS_BY_CLASS[order]), alone(framework, "class"))


@pytest.mark.parametrize(("framework", "order"), BY_APPLICATION)
def test_instrumented_by_application(framework, order, alone, tmp_path):
    """`instrument_app()`: the same rows in every order; hooks, sampler and exporter are as without us."""
    check(tmp_path, run(tmp_path, framework, ORDERS_BY_APPLICATION[order]), alone(framework, "application"))


@pytest.mark.parametrize("order", LAUNCHED)
@pytest.mark.parametrize("framework", ["Flask", "FastAPI"])
def test_under_the_launcher(framework, order, tmp_path):
    """Under the launcher the rows are the same whatever the application does besides."""
    run(tmp_path, framework, LAUNCHED[order], launched=True)
    told = rows(tmp_path)
    assert [row[:-1] for row in told] == [row[:-1] for row in ROWS]


@pytest.mark.parametrize(
    "order", ["install load provider app instrument_app wrap", "load provider app instrument_app wrap install"]
)
@pytest.mark.parametrize("framework", ["Flask", "FastAPI"])
def test_two_providers_see_a_request(framework, order, tmp_path):
    """A request whose outer span is of one provider and whose inner span is of another is one row."""
    run(tmp_path, framework, order)
    assert [row[:-1] for row in rows(tmp_path)] == [row[:-1] for row in ROWS]


def test_uninstall_puts_everything_back(tmp_path):
    """After uninstall() no attribute of any loaded module or class differs, and a request leaves no mark of ours."""
    shutil.copy(APPS / "ordered_app_put_back.py", tmp_path)
    done = subprocess.run(
        [sys.executable, "ordered_app_put_back.py"],
        cwd=tmp_path,
        env=clean_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert {
        "flask.app.Flask.__call__",
        "fastapi.routing.solve_dependencies",
        "django.core.handlers.base.BaseHandler.get_response",
        "falcon.request.Request.__init__",
        "opentelemetry.instrumentation.asgi.OpenTelemetryMiddleware.__call__",
        "opentelemetry.sdk.trace.Tracer.start_span",
        "opentelemetry.trace._TRACER_PROVIDER",
    } <= set(told["during"])
    assert any(name.startswith("receivers of") for name in told["during"])
    assert told["marks during"]
    assert (told["after"], told["marks after"]) == ([], [])
    assert (told["samplers"], told["processors"], told["alive"]) == (["StaticSampler"], 0, [])
    assert len(rows(tmp_path)) == 4
