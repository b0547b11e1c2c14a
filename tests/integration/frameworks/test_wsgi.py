"""A plain WSGI application behind OpenTelemetry's middleware, served by gunicorn under the launcher."""

import pytest

from tests.integration import cases
from tests.integration.site import serve

ROUTES = {"view": "/organizations/acme/datasets/{id}", "claims": "/claims/{id}", "anonymous": "/datasets"}
# There is no template to read, so only what looks like an id is one, and what contains it must not be guessed.
DIFFERENT = {
    "view": {"resource_parent_type": None, "resource_parent_id": None, "user_source": "header"},
    "api-key": {"resource_parent_type": None},
    "download": {"resource_type": None, "resource_id": None},
}


@pytest.fixture(scope="module", params=["", "http"], ids=["old-names", "stable-names"])
def site(request, tmp_path_factory):
    """The application after all cases, once with each generation of HTTP names."""
    command = ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "--threads", "2", "wsgi_app:app"]
    directory = tmp_path_factory.mktemp("wsgi")
    with serve(directory, "wsgi_app.py", command, OTEL_SEMCONV_STABILITY_OPT_IN=request.param) as site:
        cases.drive(site)
        cases.collect(site)
        yield site


@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: case.name)
def test_row(site, case):
    """Each request has one row, and it says what the request was."""
    cases.check(site, cases.with_row(case, **DIFFERENT.get(case.name, {})))


def test_every_request_has_one_row(site):
    """As many rows as requests: the cases and the one walked away from."""
    assert len(site.rows) == len(cases.CASES) + 1


@pytest.mark.parametrize("name", ROUTES)
def test_route(site, name):
    """The route is derived from the path: numbers are parameters."""
    assert site.row_of(name)["route"] == ROUTES[name]


def test_client_that_goes_away(site):
    """A client that goes away in the middle of a download is in the rows with what had passed."""
    cases.check_walk_away(site)


def test_exception_reaches_the_server(site):
    """The unhandled exception arrives at gunicorn as without us."""
    assert "RuntimeError: boom on purpose" in site.log


def test_no_credential_is_kept(site):
    """No raw credential is found anywhere afterwards."""
    cases.check_secrets(site)
