"""OTEL_USAGE_EXPORTER=otlp under real servers: what arrives at the endpoint, and what the command line says."""

import contextlib
import shutil
from pathlib import Path

import pytest

from otel_usage.exporter.forwarder import state as forwarding_state
from otel_usage.exporter.journal import Journal
from otel_usage.exporter.otlp.intake import Intake
from otel_usage.exporter.paths import StorePaths
from otel_usage.exporter.recorder import Recorder
from tests.integration.otlp_sink import TAKEN, Reply, Sink, sink
from tests.integration.servers import SERVERS, start
from tests.integration.site import APPS, Site, clean_environment, free_port, serve, wait_for
from tests.unit.exporter.support import line, query, settings_of

OTLP = {"OTEL_USAGE_EXPORTER": "otlp", "OTEL_USAGE_COMMIT_INTERVAL": "0.2"}


@pytest.mark.parametrize("server", ["gunicorn", "gunicorn-gevent", "uvicorn-workers"])
def test_every_request_arrives(server, tmp_path):
    """Requests of all workers arrive once each, and neither a store nor a record is left behind."""
    with sink() as found, start(SERVERS[server], tmp_path / "site", OTEL_USAGE_ENDPOINT=found.endpoint, **OTLP) as site:
        for number in range(40):
            assert site.ask("GET", "/claims/7", {"User-Agent": f"asked-{number}"}).status == 200
        found.wait_for_spans(40)
        done = site.cli("sync")
        assert (done.returncode, done.stdout.split(" in ")[0]) == (
            0,
            f"0 records forwarded to {found.endpoint}/v1/traces",
        )
        site.stop()
        assert "usage record" not in site.log
    assert found.agents() == {f"asked-{number}": 1 for number in range(40)}
    assert not site.store.exists()


SERVED = {
    "flask": ["gunicorn", "--bind", "127.0.0.1:{port}", "exporting_app:flask_app"],
    "fastapi": ["uvicorn", "--port", "{port}", "exporting_app:fastapi_app"],
}
ASKED, KINDS = 60, ("datasets", "streams", "broken")


@pytest.mark.parametrize("framework", SERVED)
def test_beside_ordinary_traces(framework, tmp_path):
    """The tracing backend gets the sampled spans and no other; the usage endpoint every request once; both streams
    together make one row a request, with the same start and duration."""
    with sink() as usage, sink() as tracing:
        settings = {
            "OTEL_TRACES_SAMPLER": "traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0.1",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{tracing.endpoint}/v1/traces",
            "OTEL_USAGE_ENDPOINT": usage.endpoint,
            **OTLP,
        }
        with serve(tmp_path / "site", "exporting_app.py", SERVED[framework], **settings) as site:
            for number in range(ASKED):
                kind = KINDS[number % len(KINDS)]
                site.ask("GET", f"/{kind}/{number}", {"User-Agent": f"asked-{number}"})
            usage.wait_for_spans(ASKED)
            sampled = [span for span in usage.spans if span.attributes["usage.sampled"]]
            tracing.wait_for_spans(len(sampled))
            site.stop()
    assert usage.agents() == {f"asked-{number}": 1 for number in range(ASKED)}
    assert 0 < len(sampled) < ASKED / 2
    assert {key(span) for span in tracing.spans} == {key(span) for span in sampled}
    assert all(span.attributes["usage.sampled"] for span in tracing.spans)
    assert rows(tmp_path / "received", tracing, usage) == ASKED
    assert rows(tmp_path / "reversed", usage, tracing) == ASKED


def key(span):
    return span.start_time_ns // 1000, span.end_time_ns - span.start_time_ns, span.trace_id, span.span_id


def rows(folder: Path, *sinks: Sink) -> int:
    """How many rows a receiver makes of all that these sinks were sent."""
    settings = settings_of(folder)
    recorder = Recorder(settings)
    intake = Intake(settings, recorder)
    for each in sinks:
        for arrival in each.kept:
            intake.take(arrival.scopes)
    recorder.shutdown()
    ((count, agents),) = query(folder, "SELECT count(*), count(DISTINCT user_agent) FROM requests")
    assert agents == count
    return int(count)


def fill(directory: Path, endpoint: str, requests: int, **settings: str) -> Site:
    """What a server leaves that was killed with the records of so many requests in its journal."""
    journal = Journal(StorePaths.of(directory / "usage.duckdb"), max_bytes=1 << 30)
    for number in range(requests):
        journal.append(line(number, user_agent=f"asked-{number}"))
    journal.close()
    environment = clean_environment(directory, OTEL_USAGE_ENDPOINT=endpoint, **OTLP, **settings)
    return Site(directory, 0, None, environment)  # type: ignore[arg-type]  # no server


def test_sync_forwards_what_the_dead_have_left(tmp_path):
    """Where no process leads, `sync` forwards itself; a second one finds nothing."""
    port = free_port()
    site = fill(tmp_path, f"http://127.0.0.1:{port}", 5)
    with sink(port) as found:
        done = site.cli("sync")
        assert done.stdout.split(" in ")[0] == f"5 records forwarded to {found.endpoint}/v1/traces"
        assert (done.returncode, len(found.spans)) == (0, 5)
        assert site.cli("sync").stdout.startswith("0 records forwarded")
    assert not site.store.exists()


def test_sync_says_what_it_could_not_do(tmp_path):
    """What passes by itself is waited for; what does not is an error at once."""
    with sink(reply=lambda _: Reply(503)) as found:
        site = fill(tmp_path, found.endpoint, 3)
        done = site.cli("sync", "--timeout", "1")
        assert done.returncode == 1
        assert "3 records are not forwarded yet" in done.stderr
        assert "503 Service Unavailable" in done.stderr
        found.reply = lambda _: Reply(403)
        done = site.cli("sync")
        assert done.returncode == 1
        assert "403 Forbidden. Check OTEL_USAGE_HEADERS." in done.stderr
        found.reply = lambda _: TAKEN
        assert site.cli("sync").returncode == 0
    assert found.agents() == {f"asked-{number}": 1 for number in range(3)}


def test_readers_with_other_settings_commit_nothing(tmp_path):
    """Who has not set the exporter is told; the records stay for the endpoint, and no store is made."""
    with sink(reply=lambda _: Reply(503)) as found:
        site = fill(tmp_path, found.endpoint, 3)
        assert site.cli("sync", "--timeout", "0").returncode == 1
        url = f"{found.endpoint}/v1/traces"
        reports = {True: site.cli("report", "overview")}
        del site.environment["OTEL_USAGE_EXPORTER"]
        reports[False] = site.cli("report", "overview")
        for done in reports.values():
            assert done.returncode == 3
            assert f"records are forwarded to {url}" in done.stderr
        done = site.cli("sync")
        assert done.returncode == 2
        assert "OTEL_USAGE_EXPORTER=otlp" in done.stderr
        done = site.cli("doctor")
        assert f"note       endpoint       The applications of this journal forward to {url}" in done.stdout
        assert "3 records wait" in done.stdout
    assert not site.store.exists()


def test_doctor_tells_of_the_endpoint(tmp_path):
    """What waits, what was forwarded and when, what failed last, what was lost, and that no store is expected."""
    secret = "Bearer%20s3cr3t-value"
    with sink() as found:
        site = fill(tmp_path, found.endpoint, 3, OTEL_USAGE_HEADERS=f"authorization={secret}")
        assert site.cli("sync").returncode == 0
        done = site.cli("doctor")
        assert f"ok         endpoint       {found.endpoint}/v1/traces takes records." in done.stdout
        assert "3 records were forwarded from this journal, the last at 2" in done.stdout
        assert "No process forwards now" in done.stdout
        assert "store  " not in done.stdout
        paths = StorePaths.of(site.store)
        state = forwarding_state.load(paths)
        assert state is not None
        state.note({"journal_full": 7, "rejected": 2})
        forwarding_state.save(paths, state)
        found.reply = lambda _: Reply(401)
        done = site.cli("doctor")
        assert done.returncode == 1
        assert "attention  losses         7 journal_full" in done.stdout
        (told,) = [line for line in done.stdout.splitlines() if "2 rejected" in line]
        assert "Look at the application's log" in told
        assert "401 Unauthorized. Check OTEL_USAGE_HEADERS." in done.stdout
        assert "s3cr3t" not in done.stdout + done.stderr
        shutil.copy(APPS / "flask_app.py", tmp_path)
        done = site.cli("doctor", "--", "flask", "--app", "flask_app:app", "run")
        assert f"and forwarded to {found.endpoint}/v1/traces" in done.stdout


def test_a_store_of_before_is_still_read(tmp_path):
    """Reports on rows that were committed before go on, and say where new ones go."""
    with serve(tmp_path, "flask_app.py", SERVERS["flask-run"].command, OTEL_USAGE_COMMIT_INTERVAL="0.2") as site:
        site.ask("GET", "/claims/7")
        wait_for(site.store.exists)
        site.stop()
    assert site.cli("sync").returncode == 0
    with sink() as found:
        site = fill(tmp_path, found.endpoint, 2)
        done = site.cli("report", "latest", "--format", "csv")
        assert (done.returncode, len(done.stdout.splitlines())) == (0, 2)
        assert f"New records are forwarded to {found.endpoint}/v1/traces" in done.stderr


def test_back_into_the_store(tmp_path):
    """Applications that are started with the store again commit what still waits for the endpoint, once."""
    with sink(reply=lambda _: Reply(503)) as found:
        site = fill(tmp_path, found.endpoint, 3)
        site.cli("sync", "--timeout", "0")
    with serve(tmp_path, "flask_app.py", SERVERS["flask-run"].command, OTEL_USAGE_COMMIT_INTERVAL="0.2") as site:
        site.ask("GET", "/claims/7", {"User-Agent": "asked-3"})
        wait_for(site.store.exists)
        site.stop()
    assert {row["user_agent"] for row in site.read_rows()} == {f"asked-{number}" for number in range(4)}


@pytest.mark.parametrize("command", [("sync",), ("report", "latest", "--format", "csv")], ids=lambda each: each[0])
def test_back_into_the_store_without_an_application(command, tmp_path):
    """Who says `duckdb` in so many words commits what the applications have left for an endpoint."""
    with sink(reply=lambda _: Reply(503)) as found:
        site = fill(tmp_path, found.endpoint, 3)
        site.cli("sync", "--timeout", "0")
        site.environment["OTEL_USAGE_EXPORTER"] = "duckdb"
        done = site.cli(*command)
        assert done.returncode == 0, done.stderr
    assert {row["user_agent"] for row in site.read_rows()} == {f"asked-{number}" for number in range(3)}


def test_without_the_extra(tmp_path):
    """Records stay in the journal, the log says once what to install, and so does `sync`."""
    package = tmp_path / "hidden" / "google" / "protobuf" / "__init__.py"
    package.parent.mkdir(parents=True)
    package.write_text("raise ModuleNotFoundError('No module named google.protobuf')\n")
    hidden = {"PYTHONPATH": str(tmp_path / "hidden")}
    with sink() as found:
        settings = {"OTEL_USAGE_ENDPOINT": found.endpoint, **OTLP, **hidden}
        with serve(
            tmp_path / "site", "flask_app.py", ["gunicorn", "-b", "127.0.0.1:{port}", "flask_app:app"], **settings
        ) as site:
            for _ in range(3):
                assert site.ask("GET", "/claims/7").status == 200
            wait_for(lambda: "pip install 'otel-usage[otlp]'" in site.log)
            site.stop()
        assert site.log.count("pip install") == 1
        done = site.cli("sync")
        assert done.returncode == 1
        assert "pip install 'otel-usage[otlp]'" in done.stderr
        del site.environment["PYTHONPATH"]
        assert site.cli("sync").stdout.startswith("3 records forwarded")
    assert len(found.spans) == 3


def test_neither_duckdb_nor_a_client_library_is_imported(tmp_path):
    """A leader that forwards imports no store, and no HTTP library but the standard one's parser of answers."""
    with sink() as found:
        settings = {"OTEL_USAGE_ENDPOINT": found.endpoint, **OTLP}
        with serve(
            tmp_path, "flask_app.py", ["gunicorn", "-b", "127.0.0.1:{port}", "flask_app:app"], **settings
        ) as site:
            site.ask("GET", "/claims/7")
            found.wait_for_spans(1)
            maps = [path.read_text() for path in Path("/proc").glob("*/maps") if is_of(path.parent, site)]
            site.stop()
    assert maps
    assert not any("duckdb" in each for each in maps)


def is_of(process: Path, site: Site) -> bool:
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int((process / "stat").read_text().rpartition(")")[2].split()[3]) == site.process.pid
    return False
