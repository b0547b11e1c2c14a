"""What a newcomer installs is enough: an empty virtual environment, an extra, the launcher, and nothing set."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.integration import site as site_module
from tests.integration.site import serve

ROOT = Path(__file__).parents[2]
FLASK_APP = """
from flask import Flask
app = Flask(__name__)

@app.get("/datasets/<int:dataset_id>")
def dataset(dataset_id):
    return {"id": dataset_id}
"""
FASTAPI_APP = """
from fastapi import FastAPI
app = FastAPI()

@app.get("/datasets/{dataset_id}")
def dataset(dataset_id: int):
    return {"id": dataset_id}
"""
GUNICORN = ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "own_app:app"]
UVICORN = ["uvicorn", "--port", "{port}", "--workers", "2", "own_app:app"]
NEWCOMERS = {
    "flask": (FLASK_APP, "flask", ["gunicorn"], GUNICORN),
    "fastapi": (FASTAPI_APP, "fastapi", ["uvicorn"], UVICORN),
    # A distribution asks for an OTLP exporter that is not installed.
    "distro": (FLASK_APP, "flask", ["gunicorn", "opentelemetry-distro"], GUNICORN),
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The package as it would be published."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, timeout=300)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.parametrize("newcomer", NEWCOMERS)
def test_newcomer(newcomer, wheel, tmp_path, monkeypatch):
    """50 requests to one's own application under the launcher are 50 in `otel-usage report resources`."""
    source, extra, packages, command = NEWCOMERS[newcomer]
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=True)
    install = [environment / "bin" / "pip", "install", "--quiet", f"{wheel}[{extra}]", *packages]
    subprocess.run([*install, "-c", ROOT / "constraints.txt"], check=True, timeout=600)
    apps = tmp_path / "apps"
    apps.mkdir()
    (apps / "own_app.py").write_text(source)
    monkeypatch.setattr(site_module, "BIN", environment / "bin")
    monkeypatch.setattr(site_module, "APPS", apps)
    with serve(tmp_path / "site", "own_app.py", command) as site:
        for number in range(50):
            assert site.ask("GET", f"/datasets/{number}").status == 200, site.log
        site.stop()
        report = site.cli("report", "resources", "--format", "csv")
    assert report.returncode == 0, report.stderr
    header, *lines = report.stdout.splitlines()
    requests = header.split(",").index("requests")
    assert sum(int(line.split(",")[requests]) for line in lines) == 50
    assert len(lines) == 50
