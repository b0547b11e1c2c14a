"""Whatever runs at the same time, or elsewhere than in the view: each request has one row, and nobody else's user."""

import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration import cases
from tests.integration.site import Site, serve, wait_for

FLASK = ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "1", "--threads", "16", "concurrent_app:app"]
FASTAPI = ["uvicorn", "--port", "{port}", "concurrent_asgi_app:app"]
SITES = {"flask": ("concurrent_app.py", FLASK), "fastapi": ("concurrent_asgi_app.py", FASTAPI)}

# Where a request's context is, the user is its own; where it is not, or is over, nobody is named.
NAMED = {"flask": ["thread", "copied"], "fastapi": ["thread", "copied", "to-thread", "threadpool", "task"]}
UNNAMED = {"flask": ["bare"], "fastapi": ["bare", "executor", "background", "later"]}
EACH = 20


def token_of(name: str) -> str:
    """A credential of its own for each name."""
    return f"tok-{name:-<20}"


def ask(site: Site, target: str, name: str) -> int:
    """One request, known by its user agent and with a token of its own."""
    headers = {"User-Agent": name, "Authorization": f"Bearer {token_of(name)}"}
    return site.ask("GET", target.format(name=name), headers).status


def who(site: Site, name: str) -> tuple[str | None, str]:
    """User and token of the one row of this name."""
    row = site.row_of(name)
    return row["user_id"], row["token_id"]


@pytest.fixture(
    scope="module", params=[(site, provider) for site in SITES for provider in ("", "concurrent", "second")]
)
def site(request, tmp_path_factory):
    """The application after its requests, under each kind of tracer provider."""
    framework, provider = request.param
    variables = {"SITE_PROVIDER": provider}
    if provider == "second":
        variables["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"] = "flask,fastapi"
    with serve(tmp_path_factory.mktemp("concurrent"), *SITES[framework], **variables) as site:
        site.label = framework
        names = [f"{place}-{number}" for number in range(EACH) for place in NAMED[framework] + UNNAMED[framework]]
        with ThreadPoolExecutor(16) as pool:
            statuses = pool.map(lambda name: ask(site, f"/{name.rpartition('-')[0]}/{{name}}", name), names)
            assert set(statuses) == {200}
        for target in ("/calls/calls", "/starts/fork/fork", "/starts/spawn/spawn"):
            assert ask(site, target, target.rpartition("/")[2]) == 200
        if framework == "fastapi":
            site.ask("POST", "/over", {"User-Agent": "over"})
        site.expected = {*names, "calls", "fork", "spawn"}
        site.stop()
        site.read_rows()
        yield site


def test_who_speaks_for_which_request(site):
    """A view's threads and tasks speak for its own request, as far as they have its context and it is not over."""
    for place in NAMED[site.label]:
        for name in (f"{place}-{number}" for number in range(EACH)):
            assert who(site, name) == (name, cases.token_id(site, token_of(name)))
    for place in UNNAMED[site.label]:
        for name in (f"{place}-{number}" for number in range(EACH)):
            assert who(site, name) == (None, cases.token_id(site, token_of(name)))


def test_each_request_has_one_row(site):
    """There is no row twice, and no request without one."""
    agents = [row["user_agent"] for row in site.rows]
    assert len(agents) == len(set(agents))
    assert site.expected <= set(agents)
    assert not {row["resource_id"] for row in site.rows if row["resource_type"] == "report"}


def test_a_request_to_oneself(site):
    """What a view asks its own application in process is part of its request: it has no span of a server."""
    assert who(site, "calls") == ("calls", cases.token_id(site, token_of("calls")))
    assert "inner-calls" not in {row["user_agent"] for row in site.rows}


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_that_a_view_starts(site, method):
    """A child cannot speak for the request it comes from, and makes no row of it."""
    assert who(site, method)[0] == method


def test_nothing_breaks(site):
    """Nothing of ours is in the log."""
    assert "otel_usage" not in site.log
    assert "usage" not in site.log.lower()


@contextlib.contextmanager
def asking(site: Site, name: str) -> Iterator[socket.socket]:
    """The connection of a request, closed in the end whether or not there was an answer."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as client:
        client.sendall(f"GET /{name}/{name} HTTP/1.1\r\nHost: x\r\nUser-Agent: {name}\r\n\r\n".encode())
        yield client


def test_two_hundred_at_once(tmp_path):
    """Of 200 requests that are all in the view at the same moment each row has its own user and its own token."""
    names = [f"n-{number}" for number in range(200)]
    with serve(tmp_path, *SITES["fastapi"]) as site:
        with ThreadPoolExecutor(200) as pool:
            target = "/together/{name}?parties=200"
            assert set(pool.map(lambda name: ask(site, target, name), names)) == {200}
        site.stop()
        site.read_rows()
    assert [who(site, name) for name in names] == [(name, cases.token_id(site, token_of(name))) for name in names]
    assert len(site.rows) == 200


def test_what_is_cancelled_has_one_row(tmp_path):
    """A request whose view runs into a time limit, is cancelled, or whose client leaves, before or in the answer."""
    with serve(tmp_path, *SITES["fastapi"], OTEL_USAGE_COMMIT_INTERVAL="0.5") as site:
        assert ask(site, "/timeout/{name}", "timeout") == 200
        assert ask(site, "/cancelled/{name}", "cancelled") == 500
        with asking(site, "stream") as client:
            assert client.recv(4096)
        with asking(site, "gone"):
            wait_for(lambda: "somebody waits" in site.log)
        wait_for(lambda: {"stream", "gone"} <= {row["user_agent"] for row in site.read_rows()})
        site.stop()
        site.read_rows()
    rows = {name: site.row_of(name) for name in ("timeout", "cancelled", "stream", "gone")}
    assert {name: row["user_id"] for name, row in rows.items()} == {name: name for name in rows}
    assert len(site.rows) == len(rows)
    assert {name: row["status_code"] for name, row in rows.items()} == {
        "timeout": 200,
        "cancelled": 500,
        "stream": 200,
        "gone": 200,
    }
    assert rows["stream"]["response_bytes"] > 0
    assert rows["stream"]["error_type"] == "client_disconnected"
