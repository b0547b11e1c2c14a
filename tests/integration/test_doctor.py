"""`otel-usage doctor -- COMMAND` says of real environments and applications what a request would show."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration import site as site_module
from tests.integration.site import APPS, BIN, clean_environment, serve, wait_for

ROOT = Path(__file__).parents[2]
GUNICORN = ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "doctored_own:app"]


def doctor(folder, *arguments, code, app="doctored_own.py", recorded=None, **environ):
    """The findings, each its check, its status and what it says; and what the verdict says."""
    folder.mkdir(exist_ok=True)
    if app:
        shutil.copy(APPS / app, folder)
    command = [BIN / "otel-usage", "doctor", "--format", "json", *map(str, arguments)]
    environment = clean_environment(folder, **environ)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr == ""
    found = [
        (each["check"], each["status"], f"{each['message']} {each['remedy'] or ''}") for each in json.loads(done.stdout)
    ]
    check, status, verdict = found[-1]
    assert (check, status) == ("verdict", "ok" if (code == 0 if recorded is None else recorded) else "attention")
    return found, verdict


def said(found, check, status="attention"):
    """What was found by one check with one status, as one text."""
    return "\n".join(text for each, its_status, text in found if (each, its_status) == (check, status))


def pip(environment, *arguments):
    subprocess.run(
        [environment / "bin" / "python", "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"],
        check=True,
        timeout=600,
    )


@pytest.fixture(scope="module")
def equipped(tmp_path_factory):
    """An application's environment with otel-usage, and with a distribution, as it may have one."""
    environment = tmp_path_factory.mktemp("equipped") / "venv"
    venv.create(environment, with_pip=True)
    pip(environment, "install", f"{ROOT}[flask]", "gunicorn", "opentelemetry-distro", "-c", ROOT / "constraints.txt")
    return environment


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """An application's environment before anybody has heard of otel-usage, without pip as uv makes them."""
    environment = tmp_path_factory.mktemp("bare") / "venv"
    venv.create(environment)
    install = ["-m", "pip", "--python", environment, "install", "--quiet", "flask", "-c", ROOT / "constraints.txt"]
    subprocess.run([sys.executable, *install], check=True, timeout=600)
    return environment


@contextmanager
def changed(environment, *undo) -> Iterator[None]:
    """Put an environment back as it was."""
    try:
        yield
    finally:
        pip(environment, "install", "--no-deps", *undo, "-c", ROOT / "constraints.txt")


def rows(environment, directory, monkeypatch):
    """How many rows ten requests to the application leave, under the launcher of this environment."""
    monkeypatch.setattr(site_module, "BIN", environment / "bin")
    with serve(directory, "doctored_own.py", GUNICORN) as site:
        for number in range(10):
            assert site.ask("GET", f"/datasets/{number}").status == 200, site.log
        site.stop()
        done = site.cli("report", "overview", "--format", "json")
        return json.loads(done.stdout)[0]["requests"] if done.returncode == 0 else 0


def test_what_is_said_to_be_recorded_is(equipped, tmp_path, monkeypatch):
    """Nothing needs attention, nothing is made, and ten requests are ten rows where the verdict says."""
    folder, gunicorn = tmp_path / "site", equipped / "bin" / "gunicorn"
    found, verdict = doctor(folder, "--", gunicorn, "-w", "2", "doctored_own:app", code=0, SITE_ASKS_ITSELF="1")
    assert f"Requests to doctored_own:app will be recorded in {folder / 'usage.duckdb'}." in verdict
    assert "flask 3" in said(found, "framework", "ok")
    assert {status for _, status, _ in found} == {"ok"}
    assert [path.name for path in folder.iterdir()] == ["doctored_own.py"]
    assert rows(equipped, folder, monkeypatch) == 10


def test_otel_usage_in_another_environment_only(bare, tmp_path):
    """The finding names the interpreter of the application and the line that installs into it."""
    command = [bare / "bin" / "flask", "--app", "doctored_own", "run"]
    found, verdict = doctor(tmp_path, "--", *command, code=1)
    assert "not installed in the interpreter that runs flask" in said(found, "installed")
    (python,) = re.findall(r"uv pip install --python (\S+) 'otel-usage\[flask\]'", verdict)
    assert Path(python).parent == bare / "bin"
    assert f"belongs to {BIN}" in said(found, "launcher")


def test_a_framework_without_its_instrumentation(equipped, tmp_path, monkeypatch):
    """The verdict is no, with the line that helps; and no request leaves a row."""
    package = "opentelemetry-instrumentation-flask"
    with changed(equipped, package):
        pip(equipped, "uninstall", "--yes", package)
        found, verdict = doctor(tmp_path / "site", "--", equipped / "bin" / "gunicorn", "doctored_own:app", code=1)
        assert "has no OpenTelemetry instrumentation" in said(found, "framework")
        assert "-m pip install 'otel-usage[flask]'" in verdict
        assert "make no spans" in said(found, "application")
        assert rows(equipped, tmp_path / "site", monkeypatch) == 0


def test_versions_that_were_not_released_together(equipped, tmp_path):
    """They need attention, and requests are recorded all the same."""
    with changed(equipped, "opentelemetry-util-http"):
        pip(equipped, "install", "--no-deps", "opentelemetry-util-http==0.65b0")
        command = ["--", equipped / "bin" / "gunicorn", "doctored_own:app"]
        found, verdict = doctor(tmp_path, *command, code=1, recorded=True)
    assert "opentelemetry-util-http 0.65b0" in said(found, "contrib")
    assert "-m pip install --upgrade opentelemetry-distro " in said(found, "contrib")
    assert "will be recorded" in verdict


def test_a_version_that_is_too_old(equipped, tmp_path):
    """What otel-usage itself requires of the framework is said, with the line that installs it."""
    with changed(equipped, "flask"):
        pip(equipped, "install", "--no-deps", "flask==2.1.3")
        found, _ = doctor(tmp_path, "--", equipped / "bin" / "gunicorn", "x:app", app="", code=1)
    assert "otel-usage needs flask>=2.2. " in said(found, "framework")
    assert "-m pip install 'flask>=2.2'" in said(found, "framework")


@pytest.mark.parametrize(
    ("environ", "check", "text"),
    [
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "launcher", "pip install opentelemetry-exporter-otlp-proto-grpc; or: "),
        ({"OTEL_SDK_DISABLED": "true"}, "configuration", "OTEL_SDK_DISABLED"),
        ({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "flask"}, "framework", "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"),
        ({"OTEL_USAGE_DATABASE": "/dev/null/usage.duckdb"}, "store", "/dev/null is no folder"),
    ],
    ids=["exporter", "sdk", "instrumentation", "store"],
)
def test_variables_that_keep_requests_from_being_recorded(equipped, tmp_path, environ, check, text):
    """Each is found, and is the reason that the verdict gives."""
    found, verdict = doctor(tmp_path, "--", equipped / "bin" / "gunicorn", "doctored_own:app", code=1, **environ)
    assert text in said(found, check) and text in verdict


def test_what_is_worth_knowing_is_noted(equipped, tmp_path):
    """Excluded URLs and samplers are notes; the options of the launcher count as variables do."""
    store = tmp_path / "own.duckdb"
    launcher = ["--", equipped / "bin" / "opentelemetry-instrument", "--usage_database", store, "--traces_sampler=x"]
    command = ["env", "OTEL_PYTHON_EXCLUDED_URLS=health", equipped / "bin" / "gunicorn", "doctored_own:create_app('x')"]
    found, verdict = doctor(tmp_path, *launcher, *command, code=0)
    assert "OTEL_PYTHON_EXCLUDED_URLS=health" in said(found, "configuration", "note")
    assert "OTEL_TRACES_SAMPLER=x" in said(found, "configuration", "note")
    assert f"create_app('x') will be recorded in {store}" in verdict


def test_an_option_that_the_launcher_does_not_know(equipped, tmp_path):
    """It ends the launcher, and so the server."""
    command = [equipped / "bin" / "opentelemetry-instrument", "--colour=red", equipped / "bin" / "gunicorn", "a:b"]
    found, _ = doctor(tmp_path, "--", *command, code=1)
    assert "unrecognized arguments: --colour=red" in said(found, "interpreter")


def test_no_exporter_means_no_row(equipped, tmp_path):
    """OTEL_USAGE_EXPORTER=none is a choice, so only the verdict is a warning."""
    _, verdict = doctor(
        tmp_path, "--", equipped / "bin" / "gunicorn", "doctored_own:app", code=1, OTEL_USAGE_EXPORTER="none"
    )
    assert "OTEL_USAGE_EXPORTER is none" in verdict


def test_an_isolated_interpreter(equipped, tmp_path):
    """`python -I` reads no PYTHONPATH: the launcher has no effect."""
    command = [equipped / "bin" / "python", "-I", "-m", "gunicorn", "doctored_own:app"]
    found, verdict = doctor(tmp_path, "--", *command, code=1)
    assert "-I, -E or -S" in said(found, "interpreter") and "-I, -E or -S" in verdict


LOOK = """
import json, sys
from otel_usage.cli.diagnostics import probe, servers
for name in sys.argv[1:]:
    print(json.dumps([name, probe.look_at(servers.named(name))]))
"""


def look(folder, *names):
    """What the probe says of applications, all in one launched interpreter: name -> (framework, whether seen)."""
    command = [BIN / "opentelemetry-instrument", sys.executable, "-c", LOOK, *names]
    done = subprocess.run(command, cwd=folder, env=clean_environment(folder), capture_output=True, timeout=120)
    answers = dict(map(json.loads, done.stdout.splitlines()))
    assert list(answers) == list(names), done.stderr
    return {name: (each["framework"], each["seen"], each["error"]) for name, each in answers.items()}


def test_applications_of_every_framework(tmp_path):
    """What the tests of the frameworks find recorded is seen."""
    frameworks = ["aiohttp", "asgi", "bottle", "falcon", "fastapi", "flask", "litestar", "pyramid", "quart", "sanic"]
    applications = {name: name for name in [*frameworks, "wsgi"]} | {"falcon_asgi": "falcon"}
    for name in applications:
        shutil.copy(APPS / f"{name}_app.py", tmp_path)
    found = look(tmp_path, *(f"{name}_app:app" for name in applications))
    assert found == {f"{name}_app:app": (framework, True, None) for name, framework in applications.items()}


def test_sanics_own_server(tmp_path):
    """Sanic's own command names its application, and what it serves is recorded."""
    found, verdict = doctor(tmp_path, "--", "sanic", "sanic_app:app", app="sanic_app.py", code=0)
    assert "sanic_app:app (sanic): its requests make spans" in said(found, "application", "ok")
    assert "Requests to sanic_app:app will be recorded" in verdict


def test_applications_are_looked_into(tmp_path):
    """Through what is wrapped around them; where it cannot be told, that is said."""
    shutil.copy(APPS / "doctored_unseen.py", tmp_path)
    expected = {
        "flask_app": ("flask", False),
        "fastapi_app": ("fastapi", False),
        "around_unseen": ("flask", False),
        "plain": (None, None),
        "wrapped": ("wsgi", True),
        "outside": ("wsgi", True),
        "around_seen": ("fastapi", True),
        "starlette_app": ("starlette", True),
        "plain_wrapped": ("wsgi", True),
        "tornado_app": ("tornado", True),
        "make_flask": ("flask", True),
    }
    found = look(tmp_path, *(f"doctored_unseen:{name}" for name in expected))
    assert found == {f"doctored_unseen:{name}": (*each, None) for name, each in expected.items()}


@pytest.mark.parametrize(
    ("name", "status", "text"),
    [
        ("flask_app", "attention", "(flask): its requests make no spans"),
        ("plain", "note", "(builtins.function): whether its requests make spans cannot be told"),
    ],
)
def test_an_application_that_is_not_seen(name, status, text, tmp_path):
    """No is the verdict where it is known; where it cannot be told, a way to find out."""
    code = 1 if status == "attention" else 0
    found, _ = doctor(tmp_path, "--app", f"doctored_unseen:{name}", app="doctored_unseen.py", code=code)
    assert text in said(found, "application", status)


def test_an_application_that_cannot_be_imported(tmp_path):
    """Its exception's type and line are said; its message, which may hold a password, is not."""
    found, verdict = doctor(tmp_path, "--app", "doctored_broken:app", app="doctored_broken.py", code=1)
    assert f"ValueError ({tmp_path / 'doctored_broken.py'}:3)" in said(found, "application")
    assert "hunter2" not in json.dumps(found) + verdict
    found, _ = doctor(tmp_path, "--app", "doctored_own:nothing", code=1)
    assert "AttributeError: module 'doctored_own' has no nothing" in said(found, "application")


@pytest.mark.parametrize("hangs", [True, False])
def test_nothing_that_was_started_survives(hangs, tmp_path):
    """Neither an application that hangs nor what it has started, however it ends."""
    environ = {"SITE_HANGS": "1"} if hangs else {}
    arguments = ["--timeout", "8", "--app", "doctored_slow:app"]
    found, verdict = doctor(tmp_path, *arguments, app="doctored_slow.py", code=1 if hangs else 0, **environ)
    assert ("did not answer in time" in said(found, "interpreter")) == ("did not answer in time" in verdict) == hangs
    for pid in (tmp_path / "pids").read_text().split():
        wait_for(lambda pid=pid: not is_running(pid))


def is_running(pid):
    """Whether there is such a process; one that is only waited for is not."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True)
    return bool(done.stdout.strip()) and not done.stdout.startswith("Z")


WSGI = "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n"


@pytest.mark.parametrize(
    ("settings", "arguments", "text"),
    [
        (None, ["--", sys.executable, "manage.py", "runserver"], "DJANGO_SETTINGS_MODULE is not set"),
        (None, ["--app", "site_wsgi:application"], "DJANGO_SETTINGS_MODULE is not set"),
        ("nowhere", ["--app", "site_wsgi"], "=nowhere cannot be imported"),
        ("django_app", ["--app", "site_wsgi"], ""),
    ],
)
def test_django_needs_its_settings_at_launch(settings, arguments, text, tmp_path):
    """Without them OpenTelemetry gives Django empty settings, and every answer is 500."""
    (tmp_path / "site_wsgi.py").write_text(WSGI)
    environ = {} if settings is None else {"DJANGO_SETTINGS_MODULE": settings}
    found, verdict = doctor(tmp_path, *arguments, app="django_app.py", code=1 if text else 0, **environ)
    assert text in said(found, "django") and text in verdict


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--", "no-such-program", "portal:app"], "There is no program no-such-program here."),
        (["--", "sh", "start.sh"], "is not run by a Python that can be told from it."),
        (["--database", "x.duckdb", "--app", "portal:app"], "--database"),
    ],
)
def test_wrong_usage(arguments, text, tmp_path):
    """A command that cannot be started is told from one that records nothing."""
    done = subprocess.run(
        [BIN / "otel-usage", "doctor", *arguments], cwd=tmp_path, env=os.environ, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "") and text in done.stderr
