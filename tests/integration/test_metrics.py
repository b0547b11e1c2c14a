"""What an application's meter provider is told by real servers, while the store is free, held, and the journal full."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.site import serve, wait_for
from tests.integration.test_locks_and_reading import held

GUNICORN = ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "--limit-request-line", "0"]
SERVERS = {
    "sync": [*GUNICORN, "metered_app:app"],
    "gevent": [*GUNICORN, "-k", "gevent", "metered_app:app"],
}
SMALL = 1024 * 1024
LONG = "x" * 8000


def told(site):
    """The sum of what all processes have told last, by instrument and attribute; durations by their count."""
    sums = Counter()
    for path in site.directory.glob("metrics-*.jsonl"):
        lines = path.read_text().rpartition("\n")[0].splitlines()
        for metric in _metrics(json.loads(lines[-1])) if lines else ():
            for point in metric["data"]["data_points"]:
                value = point["count"] if "count" in point else point["value"]
                sums[metric["name"].removeprefix("otel_usage."), *point["attributes"].values()] += value
    return sums


def _metrics(data):
    return [
        metric
        for resource in data["resource_metrics"]
        for scope in resource["scope_metrics"]
        if scope["scope"]["name"] == "otel_usage"
        for metric in scope["metrics"]
    ]


def ask(site, times, name="a"):
    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(lambda _: site.ask("GET", f"/datasets/{name}").status, range(times)))
    assert answers == [200] * times


@pytest.mark.parametrize("command", SERVERS.values(), ids=SERVERS)
def test_metrics_agree_with_the_store(tmp_path, command):
    """Written is what was asked, pending what waits, dropped what the bound has cost; the store ends with the same."""
    environment = {"OTEL_USAGE_COMMIT_INTERVAL": "0.2", "OTEL_USAGE_JOURNAL_MAX_BYTES": str(SMALL)}
    with serve(tmp_path, "metered_app.py", command, **environment) as site:
        ask(site, 40)
        wait_for(lambda: told(site)["records.written",] == 40 and told(site)["commit.duration",])
        wait_for(lambda: ("records.pending",) in told(site) and told(site)["records.pending",] == 0)
        assert told(site)["records.dropped", "journal_full"] == 0
        with held(site.store):
            ask(site, 20)
            wait_for(lambda: told(site)["records.pending",] == 20)
            wait_for(lambda: told(site)["commit.duration", "otel_usage.errors.StoreLockedError"])
            ask(site, 200, LONG)
            wait_for(lambda: asked(site) == 260 and told(site)["records.pending",] == written(site) - 40)
            assert dropped(site) > 0
        wait_for(lambda: told(site)["records.pending",] == 0)
        ask(site, 1)
        wait_for(lambda: asked(site) == 261)
        numbers = written(site), dropped(site)
        site.stop()
        assert (len(site.read_rows()), overview(site)["lost"]) == numbers


def written(site):
    return told(site)["records.written",]


def dropped(site):
    return told(site)["records.dropped", "journal_full"]


def asked(site):
    return written(site) + dropped(site)


def overview(site):
    (row,) = json.loads(site.cli("report", "overview", "--format", "json").stdout)
    return row
