"""Every way to start a Python web server gives the same rows, and one of its processes commits them."""

import contextlib
import http.client
import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from otel_usage.exporter.journal import Journal
from otel_usage.exporter.leadership import leader_pid
from otel_usage.exporter.paths import StorePaths
from tests.integration import cases
from tests.integration.servers import FLASK, SERVERS, WSGI, start
from tests.integration.site import Answer, Site, serve, wait_for
from tests.unit.exporter.support import line

MANY = range(24)


def ask_many(site: Site) -> None:
    """Six clients at a time, each request with a user and a body of its own."""

    def ask(number: int) -> Answer:
        headers = {"User-Agent": f"many-{number}", "Authorization": f"Bearer {cases.jwt(iss='i', sub=f'u-{number}')}"}
        return site.ask("POST", "/datasets", headers, b"x" * number * 100)

    with ThreadPoolExecutor(6) as pool:
        for number, answer in zip(MANY, pool.map(ask, MANY), strict=True):
            site.answers[f"many-{number}"] = answer


def is_committed(site: Site, case: str) -> bool:
    """Whether the row of this request is in the store; False also while somebody commits."""
    with contextlib.suppress(duckdb.Error), duckdb.connect(str(site.store), read_only=True) as connection:
        return connection.execute("FROM requests WHERE user_agent = ?", [case]).fetchone() is not None
    return False


@pytest.fixture(scope="module", params=SERVERS)
def site(request, tmp_path_factory):
    """The server after forty requests and SIGTERM to the process that was started."""
    with start(SERVERS[request.param], tmp_path_factory.mktemp("server"), OTEL_USAGE_COMMIT_INTERVAL="1") as site:
        site.label = request.param
        cases.drive(site)
        wait_for(lambda: is_committed(site, "walk-away"))
        site.leader = leader_pid(StorePaths.of(site.store))
        ask_many(site)
        site.process.terminate()
        site.process.wait(20)
        site.stop()
        site.read_rows()
        yield site


def test_every_request_has_its_row(site):
    """Each row says what its request was, and there is none besides."""
    different = SERVERS[site.label].different
    for case in cases.CASES:
        cases.check(site, cases.with_row(case, **different.get(case.name, {})))
    assert len(site.rows) == len(cases.CASES) + 1 + len(MANY)


def test_concurrent_requests_are_told_apart(site):
    """Of requests that come together each has its own user and its own sizes."""
    for number in MANY:
        row, answer = site.row_of(f"many-{number}"), site.answers[f"many-{number}"]
        told = (row["user_id"], row["request_bytes"], row["response_bytes"], row["status_code"])
        assert told == (f"u-{number}", number * 100, len(answer.body), 201)


def test_client_that_goes_away(site):
    """A client that goes away has its row, and that says so where the server tells the application."""
    cases.check_walk_away(site, told=SERVERS[site.label].told)


def test_a_process_that_serves_commits(site):
    """One process leads while the server runs, and it is none that only supervises."""
    assert site.leader is not None
    assert (site.leader != site.process.pid) is SERVERS[site.label].supervised


@pytest.mark.parametrize("name", ["uvicorn-reload", "flask-run-debug", "django-runserver"])
def test_reloading(name, tmp_path):
    """After its application was changed the server's new process records as the old one did."""
    with start(SERVERS[name], tmp_path) as site:
        application = tmp_path / SERVERS[name].app
        site.ask("GET", "/claims/7", {"User-Agent": "before"})
        application.write_text(application.read_text().replace('"content"', '"changed"'))
        asked = itertools.count()
        wait_for(lambda: is_changed(site, application, next(asked)))
        site.process.terminate()
        site.process.wait(20)
        site.stop()
        site.read_rows()
    for name in ("before", *site.answers):
        assert site.row_of(name)["status_code"] == 200


def is_changed(site: Site, application: Path, number: int) -> bool:
    """Whether the changed application answers; a server that is being changed may refuse."""
    if number % 100 == 0:
        # A reloader that has not looked at the file before takes the change for what was there.
        application.touch()
    with contextlib.suppress(OSError, http.client.HTTPException):
        answer = site.answers[f"after-{number}"] = site.ask("GET", "/files/3", {"User-Agent": f"after-{number}"})
        return b"changed" in answer.body
    return False


def test_gevent_serves_while_it_commits(tmp_path):
    """The thread that commits many records holds up no greenlet for long."""
    paths = StorePaths.of(tmp_path / "usage.duckdb")
    journal = Journal(paths, max_bytes=1 << 30)
    for number in range(150_000):
        journal.append(line(number))
    journal.close()
    backlog = paths.segments()
    command = ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "1", "-k", "gevent", WSGI]
    with serve(tmp_path, FLASK, command) as site:
        site.ask("GET", "/claims/1")
        wait_for(paths.database.exists)
        times = [time.monotonic()]
        while any(path.exists() for path in backlog):
            assert site.ask("GET", "/claims/2").status == 200
            times.append(time.monotonic())
        site.stop()
        assert len(site.read_rows()) == 150_000 + len(times)
    assert len(times) > 20
    assert max(after - before for before, after in itertools.pairwise(times)) < (times[-1] - times[0]) / 2
