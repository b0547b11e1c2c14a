"""A plain WSGI application behind OpenTelemetry's middleware, served by gunicorn under the launcher."""

import pytest

from tests.integration import cases
from tests.integration.frameworks.common import FrameworkTests
from tests.integration.site import serve

COMMAND = ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "--threads", "2", "wsgi_app:app"]


@pytest.fixture(scope="module", params=["", "http"], ids=["old-names", "stable-names"])
def site(request, tmp_path_factory):
    """The application after all cases, once with each generation of HTTP names."""
    directory = tmp_path_factory.mktemp("wsgi")
    with serve(directory, "wsgi_app.py", COMMAND, OTEL_SEMCONV_STABILITY_OPT_IN=request.param) as site:
        site.label = "WSGI"
        cases.drive(site)
        cases.collect(site)
        yield site


class TestWSGI(FrameworkTests):
    """What holds of every framework; without a template only what looks like an id is one."""

    routes = cases.DERIVED_ROUTES
    different = {**cases.DERIVED, "view": {**cases.DERIVED["view"], "user_source": "header"}}
