"""Flask with flask-login, served by gunicorn under the launcher."""

import pytest

from tests.integration import cases, known
from tests.integration.frameworks.common import FrameworkTests, ResetTests, SessionTests
from tests.integration.site import serve

COMMAND = ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "--threads", "2", "flask_app:app"]


@pytest.fixture(scope="module", params=["", "http"], ids=["old-names", "stable-names"])
def site(request, tmp_path_factory):
    """The application after all cases, once with each generation of HTTP names."""
    directory = tmp_path_factory.mktemp("flask")
    with serve(directory, "flask_app.py", COMMAND, OTEL_SEMCONV_STABILITY_OPT_IN=request.param) as site:
        site.label = "Flask"
        cases.drive(site)
        cases.sign_in(site)
        cases.reset(site)
        cases.collect(site)
        yield site


class TestFlask(FrameworkTests, SessionTests, ResetTests):
    """What holds of every framework with sessions, and of this one."""

    routes = {
        "view": "/organizations/<org>/datasets/<int:dataset_id>",
        "download": "/datasets/<dataset_id>/download",
        "anonymous": "/datasets",
    }
    operations = {
        "view": "dataset",
        "missing": "dataset",
        "anonymous": "datasets",
        "create": "create",
        "refused": "private",
        "download": "download",
        "boom": "boom",
        "nowhere": None,
        "reset-redirected": None,
        "walk-away": "download",
    }
    more_requests = 6
    session_user = ("bob", "bob@portal")

    def test_user_is_flask_logins(self, site):
        """The user is the one flask-login loaded, with its name and where it came from."""
        row = site.row_of("view")
        assert (row["user_id"], row["user_name"], row["user_source"]) == ("alice", "alice@portal", "framework")

    def test_library_is_documented(self, site, update_docs):
        """The table of the documentation says what flask-login tells."""
        known.check_libraries(site, "Flask", {"flask-login": "view"}, update=update_docs)

    def test_who_signs_in(self, site):
        """The request that signs in is by the user it signed in."""
        assert site.row_of("login")["user_id"] == "bob"
