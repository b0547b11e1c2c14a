"""`wrap_wsgi` and `wrap_asgi` on real servers, without the launcher and under it."""

import shutil

import pytest

from tests.integration import cases
from tests.integration.frameworks.common import FrameworkTests, check_websocket
from tests.integration.site import APPS, serve

GUNICORN = ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "--threads", "2"]
UVICORN = ["uvicorn", "--port", "{port}", "--workers", "2", "--no-access-log"]
ONE_UVICORN = ["uvicorn", "--port", "{port}", "--no-access-log"]
HYPERCORN = ["hypercorn", "--bind", "127.0.0.1:{port}"]
GRANIAN = ["granian", "--port", "{port}", "--interface", "asgi"]


def plain_applications(site):
    """Put the applications that are wrapped beside the one that wraps them."""
    for name in ("wsgi_app.py", "asgi_app.py"):
        shutil.copy(APPS / name, site.directory / name)


def wrapped(directory, command, app, **options):
    """A server of one of the wrapped applications."""
    return serve(directory, "wrapped_app.py", [*command, f"wrapped_app:{app}"], prepare=plain_applications, **options)


class TestPlainWSGI(FrameworkTests):
    """A plain WSGI application that is wrapped, under gunicorn and nothing else."""

    routes = cases.DERIVED_ROUTES
    different = {**cases.DERIVED, "view": {**cases.DERIVED["view"], "user_source": "header"}}

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, tmp_path_factory):
        """The application after all cases, with the stable HTTP names."""
        names = {"OTEL_SEMCONV_STABILITY_OPT_IN": "http"}
        with wrapped(tmp_path_factory.mktemp("wsgi"), GUNICORN, "wsgi", launcher=False, **names) as site:
            site.label = "wrap_wsgi"
            cases.drive(site)
            cases.collect(site)
            yield site


class TestPlainASGI(FrameworkTests):
    """A plain ASGI application that is wrapped, under uvicorn and nothing else."""

    routes = cases.DERIVED_ROUTES
    different = {**cases.DERIVED, "view": {**cases.DERIVED["view"], "user_source": "framework"}}
    more_requests = 1

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, tmp_path_factory):
        """The application after all cases, with the old HTTP names."""
        names = {"OTEL_SEMCONV_STABILITY_OPT_IN": ""}
        with wrapped(tmp_path_factory.mktemp("asgi"), UVICORN, "asgi", launcher=False, **names) as site:
            site.label = "wrap_asgi"
            cases.drive(site)
            cases.feed(site)
            cases.collect(site)
            yield site

    def test_client_that_goes_away(self, site):
        """What the application handed to the server counts: ASGI does not tell it that nobody listens any more."""
        row = site.row_of("walk-away")
        assert (row["status_code"], row["action"]) == (200, "download")
        assert 0 < row["response_bytes"] <= 20_000_000

    def test_websocket(self, site):
        """A WebSocket is one row."""
        check_websocket(site)


@pytest.mark.parametrize(
    ("launcher", "command", "app", "route"),
    [
        (True, GUNICORN, "flask", "/datasets/<int:dataset_id>"),
        (True, GUNICORN, "wrapped_flask", "/datasets/<int:dataset_id>"),
        (False, GUNICORN, "wrapped_flask", "/datasets/<int:dataset_id>"),
        (True, ONE_UVICORN, "wrapped_fastapi", "/datasets/{dataset_id}"),
        (False, ONE_UVICORN, "wrapped_fastapi", "/datasets/{dataset_id}"),
        (False, HYPERCORN, "wrapped_fastapi", "/datasets/{dataset_id}"),
        (False, GRANIAN, "wrapped_fastapi", "/datasets/{dataset_id}"),
    ],
    ids=["flask-inside", "flask", "flask-alone", "uvicorn", "uvicorn-alone", "hypercorn-alone", "granian-alone"],
)
def test_one_row_a_request(launcher, command, app, route, tmp_path):
    """However often an application is wrapped, and instrumented or not: one row, with its framework's route."""
    with wrapped(tmp_path, command, app, launcher=launcher) as site:
        for number in range(3):
            assert site.ask("GET", f"/datasets/{number}").status == 200
        site.stop()
        site.read_rows()
    found = {(row["route"], row["resource_id"], row["status_code"]) for row in site.rows}
    assert found == {(route, str(number), 200) for number in range(3)}
    assert len(site.rows) == 3
