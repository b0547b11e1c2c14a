"""Which application a server's command names."""

from pathlib import Path

import pytest

from otel_usage.cli.diagnostics import servers


def found(command: str, **environ: str) -> tuple[str, list[str]] | None:
    name, *arguments = command.split()
    wanted = servers.application(name, arguments, environ)
    return None if wanted is None else (wanted["module"], wanted["names"])


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("gunicorn -w 4 -b 127.0.0.1:8000 portal:app", ("portal", ["app"])),
        ("gunicorn portal:app -k uvicorn.workers.UvicornWorker", ("portal", ["app"])),
        ("gunicorn -b unix:/run/portal portal.web:create_app('x')", ("portal.web", ["create_app('x')"])),
        ("gunicorn -k gevent --preload mysite.wsgi", ("mysite.wsgi", ["application"])),
        ("gunicorn mysite.wsgi --workers 2", ("mysite.wsgi", ["application"])),
        ("gunicorn -c gunicorn.conf.py", None),
        ("uvicorn --factory portal:make --port 80", ("portal", ["make"])),
        ("hypercorn portal:app", ("portal", ["app"])),
        ("granian --interface asgi portal:app", ("portal", ["app"])),
        ("waitress-serve --listen=127.0.0.1:80 portal:app", ("portal", ["app"])),
        ("sanic portal:app --workers 2", ("portal", ["app"])),
        ("python -m sanic --factory portal.web:make", ("portal.web", ["make"])),
        ("uwsgi --http :80 --module portal:app", ("portal", ["app"])),
        ("uwsgi -w portal --callable app", ("portal", ["app"])),
        ("flask --app portal:app run", ("portal", ["app"])),
        ("flask --app=portal run", ("portal", ["app", "application", "create_app()", "make_app()"])),
        ("python -m gunicorn portal:app", ("portal", ["app"])),
        ("python -m uvicorn portal:app", ("portal", ["app"])),
        ("python serve.py", None),
        ("celery worker", None),
    ],
)
def test_the_application_of_a_command(command: str, expected: tuple[str, list[str]] | None) -> None:
    """As each server reads its own command line; what is not known is not guessed."""
    assert found(command) == expected


def test_flask_reads_its_variable_and_its_usual_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FLASK_APP, then wsgi.py, then app.py."""
    monkeypatch.chdir(tmp_path)
    assert found("flask run", FLASK_APP="portal:site") == ("portal", ["site"])
    (tmp_path / "wsgi.py").touch()
    assert (found("flask run") or ("",))[0] == "wsgi"


def test_folders_to_import_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers can be told to import from elsewhere, and a path names its folder."""
    monkeypatch.chdir(tmp_path)
    for name, *arguments in (
        ["gunicorn", "--chdir", "src", "portal:app"],
        ["uvicorn", "--app-dir=src", "portal:app"],
        ["uwsgi", "--pp", "src", "-w", "portal:app"],
        ["flask", "--app", "src/portal.py:app", "run"],
    ):
        wanted = servers.application(name, arguments, {})
        assert wanted is not None and (wanted["module"], wanted["folders"]) == ("portal", [str(tmp_path / "src")])


@pytest.mark.parametrize(("options", "factory"), [([], None), (["--factory"], True)])
def test_sanic_calls_functions(options: list[str], factory: bool | None) -> None:
    """A function is called whether or not it is said to be a factory; what else may be one only if it is said."""
    wanted = servers.application("sanic", ["portal:app", *options], {})
    assert wanted is not None and wanted["factory"] is factory
