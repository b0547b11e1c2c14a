"""Django and Django REST framework under the launcher: WSGI by gunicorn, ASGI by uvicorn."""

import subprocess
import sys

import django
import pytest

from tests.integration import cases
from tests.integration.frameworks.common import FrameworkTests, ResetTests, SessionTests
from tests.integration.site import Site, serve

COMMANDS = {
    "wsgi": ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "--threads", "2", "django_app:wsgi"],
    "asgi": ["uvicorn", "django_app:asgi", "--port", "{port}", "--workers", "2", "--no-access-log"],
}


def prepare(site: Site) -> None:
    """Make the site's database; not under the launcher, so it leaves no rows."""
    environment = {**site.environment, "SITE_TOKEN": cases.TOKEN}
    subprocess.run([sys.executable, "django_app.py"], cwd=site.directory, env=environment, check=True, timeout=120)


@pytest.fixture(
    scope="module",
    params=[("wsgi", ""), ("wsgi", "http"), ("asgi", ""), ("asgi", "http")],
    ids=["wsgi-old-names", "wsgi-stable-names", "asgi-old-names", "asgi-stable-names"],
)
def site(request, tmp_path_factory):
    """The site after all cases, by both protocols and with each generation of HTTP names."""
    protocol, names = request.param
    with serve(
        tmp_path_factory.mktemp("django"),
        "django_app.py",
        COMMANDS[protocol],
        prepare=prepare,
        OTEL_SEMCONV_STABILITY_OPT_IN=names,
        DJANGO_SETTINGS_MODULE="django_app",
    ) as site:
        site.label = f"Django, {protocol.upper()}"
        cases.drive(site)
        cases.sign_in(site)
        cases.reset(site)
        site.ask("GET", "/datasets", {"User-Agent": "refused-host", "Host": "scanner.example"})
        cases.collect(site)
        yield site


class TestDjango(FrameworkTests, SessionTests, ResetTests):
    """What holds of every framework with sessions, and of this one."""

    # Django's routes have no leading slash, its users' ids are numbers.
    routes = {
        "view": "organizations/<str:org>/datasets/<int:dataset_id>",
        "download": "datasets/<str:dataset_id>/download",
        "anonymous": "datasets",
    }
    operations = {
        "view": "organizations:dataset",
        "missing": "organizations:dataset",
        "anonymous": "datasets",
        "create": "datasets",
        "refused": "private",
        "download": "django_app.download",
        "boom": "django_app.boom",
        "nowhere": None,
        "refused-host": None,
        "reset-redirected": None,
    }
    different = {"view": {"user_id": "2", "user_name": "alice", "user_source": "framework"}}
    more_requests = 7
    session_user = ("1", "bob")

    def is_told_who_left(self, site) -> bool:
        return site.label == "Django, WSGI" or django.VERSION >= (5,)

    def test_refused_host(self, site):
        """A request whose Host is not in ALLOWED_HOSTS is a row too, although the instrumentation fails with it."""
        row = site.row_of("refused-host")
        assert (row["status_code"], row["method"], row["path"]) == (400, "GET", "/datasets")
        assert row["response_bytes"] > 0

    def test_who_signs_in(self, site):
        """The request that signs in is by the user it signed in."""
        assert site.row_of("login")["user_name"] == "bob"
