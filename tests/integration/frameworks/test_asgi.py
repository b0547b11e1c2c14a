"""A plain ASGI application behind OpenTelemetry's middleware, served by uvicorn under the launcher."""

import pytest

from tests.integration import cases
from tests.integration.frameworks.common import FrameworkTests, check_websocket
from tests.integration.site import serve

COMMAND = ["uvicorn", "asgi_app:app", "--port", "{port}", "--workers", "2", "--no-access-log"]


@pytest.fixture(scope="module", params=["", "http"], ids=["old-names", "stable-names"])
def site(request, tmp_path_factory):
    """The application after all cases, once with each generation of HTTP names."""
    directory = tmp_path_factory.mktemp("asgi")
    with serve(directory, "asgi_app.py", COMMAND, OTEL_SEMCONV_STABILITY_OPT_IN=request.param) as site:
        site.label = "ASGI"
        cases.drive(site)
        cases.feed(site)
        cases.collect(site)
        yield site


class TestASGI(FrameworkTests):
    """What holds of every framework; without a template only what looks like an id is one."""

    routes = cases.DERIVED_ROUTES
    operations = {"view": None, "nowhere": None}
    different = {**cases.DERIVED, "view": {**cases.DERIVED["view"], "user_source": "framework"}}
    more_requests = 1

    def is_told_who_left(self, site) -> bool:
        return False

    def test_websocket(self, site):
        """A WebSocket is one row."""
        check_websocket(site)
