"""Bottle, served by gunicorn under the launcher; nobody else makes its spans."""

import pytest

from tests.integration import cases
from tests.integration.frameworks.common import FrameworkTests, ResetTests
from tests.integration.site import serve

COMMAND = ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "--threads", "2", "bottle_app:app"]


@pytest.fixture(scope="module", params=["", "http"], ids=["old-names", "stable-names"])
def site(request, tmp_path_factory):
    """The application after all cases, once with each generation of HTTP names."""
    directory = tmp_path_factory.mktemp("bottle")
    with serve(directory, "bottle_app.py", COMMAND, OTEL_SEMCONV_STABILITY_OPT_IN=request.param) as site:
        site.label = "Bottle"
        cases.drive(site)
        cases.reset(site)
        cases.collect(site)
        yield site


class TestBottle(FrameworkTests, ResetTests):
    """What holds of every framework, and of this one."""

    routes = {
        "view": "/organizations/<org>/datasets/<dataset_id>",
        "download": "/datasets/<dataset_id>/download",
        "anonymous": "/datasets",
    }
    operations = {"view": "dataset", "anonymous": "all-datasets", "nowhere": None}
    more_requests = 3

    def test_user_is_the_applications(self, site):
        """The user is the one the application has put on the request, with its name and where it came from."""
        row = site.row_of("view")
        assert (row["user_id"], row["user_name"], row["user_source"]) == ("alice", "alice@portal", "framework")
