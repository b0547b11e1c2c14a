"""What cannot be kept now is refused so that it comes again: from the receiver back to the application."""

import contextlib
import json
import shutil
import socket
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collector.clients import USER_AGENT, Clients, asking, posting
from tests.collector.collectors import request_of, sink, span_of
from tests.collector.pipeline import Pipeline, Receiver, application, pipeline
from tests.integration.faults.surroundings import held
from tests.integration.faults.test_stores import mounted, remount
from tests.integration.site import free_port, wait_for

LEAST_JOURNAL = {"OTEL_USAGE_JOURNAL_MAX_BYTES": str(1 << 20)}
# So that few requests fill what is small.
LONG = {"http.request.header.referer": "http://portal.example/" + "x" * 8000}
# Room for a few requests of an application, which are of 4 MiB at most.
SMALL_QUEUE = {"OTEL_USAGE_QUEUE_BYTES": "5000000"}
RETRY = "Will retry the request after interval"


def answer(collect: Receiver) -> tuple[int, str | None]:
    """What the receiver says to one more request: status and Retry-After."""
    body = json.dumps(request_of(span_of({USER_AGENT: "one more", **LONG}))).encode()
    request = urllib.request.Request(
        f"{collect.endpoint}/v1/traces", data=body, headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as told:
            return told.status, None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Retry-After"]


def wait_for_a_first_row(through: Pipeline) -> None:
    """Make the store."""
    through.agent.send(request_of(span_of({USER_AGENT: "first"})))
    through.collect.wait_for_rows({"first"})


def wait_until_refused(through: Pipeline) -> None:
    """Wait until the receiver says that nothing can be kept, and the gateway has heard it."""
    wait_for(lambda: answer(through.collect) == (503, "5"))
    wait_for(lambda: _is_told(through.gateway.log))


def _is_told(log: str) -> bool:
    return any(RETRY in line and "HTTP Status Code 503" in line for line in log.splitlines())


def check(through: Pipeline, *clients: Clients) -> None:
    """Each request that was acknowledged has one row, and none was counted as lost."""
    for each in clients:
        each.stop()
        through.collect.wait_for_rows(each.acknowledged)
    rows = Counter(row["user_agent"] for row in through.collect.read_rows())
    assert {name: count for name, count in rows.items() if count > 1 and name != "one more"} == {}
    assert rows.keys() - set().union(*(each.tried for each in clients)) <= {"first", "one more"}
    assert through.collect.query("SELECT reason, records FROM losses") == []


def test_the_store_is_held(collector_binary: Path, tmp_path: Path) -> None:
    """While somebody else has the store open everything is taken, and waits in the journal."""
    with pipeline(collector_binary, tmp_path) as through:
        wait_for_a_first_row(through)
        with held(through.collect.store), posting(through.agent, "held") as sent:
            sent.wait_for_more(200)
            sent.stop()
            wait_for(lambda: waiting(through.collect) >= len(sent.acknowledged))
            assert RETRY not in through.gateway.log
        check(through, sent)


def waiting(collect: Receiver) -> int:
    """Records in the journal, as the receiver says."""
    return int(json.loads(collect.ask("GET", "/health").body)["pending_records"])


def test_the_journal_is_full(collector_binary: Path, tmp_path: Path) -> None:
    """The gateway is told to come again and keeps what it has, the agent goes on taking; all of it is delivered."""
    with pipeline(collector_binary, tmp_path, "--workers", "2", **LEAST_JOURNAL) as through:
        wait_for_a_first_row(through)
        with posting(through.agent, "full", **LONG) as sent:
            with held(through.collect.store):
                wait_until_refused(through)
                sent.wait_for_more(200)
            check(through, sent)


def test_the_disk_is_full(collector_binary: Path, tmp_path: Path) -> None:
    """The same where the disk of the store has no room, until it has."""
    with mounted(tmp_path / "disk", "size=64m") as disk:
        store = str(disk / "usage.duckdb")
        with pipeline(collector_binary, tmp_path / "pipeline", OTEL_USAGE_DATABASE=store) as through:
            wait_for_a_first_row(through)
            remount(disk, f"size={shutil.disk_usage(disk).used + (64 << 10)}")
            with posting(through.agent, "disk", **LONG) as sent:
                wait_until_refused(through)
                sent.wait_for_more(200)
                remount(disk, "size=64m")
                check(through, sent)


def test_a_collector_is_full(collector_binary: Path, tmp_path: Path) -> None:
    """While the gateway is away the agent refuses what is beyond its queue; the application keeps it for later."""
    with (
        pipeline(collector_binary, tmp_path, collectors=SMALL_QUEUE) as through,
        application(through, tmp_path / "app") as site,
        asking(site, "asked") as asked,
    ):
        through.gateway.stop()
        with posting(through.agent, "posted", **LONG) as posted:
            wait_for(lambda: len(posted.tried) > len(posted.acknowledged) + 100)
            asked.wait_for_more(200)
            wait_for(lambda: "503" in site.log)
            through.gateway.start()
            check(through, posted, asked)


@contextlib.contextmanager
def silent() -> Iterator[str]:
    """The base URL of somebody who takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("backend", ["nobody listens", "nobody answers"])
def test_the_backend_is_down(collector_binary: Path, tmp_path: Path, backend: str) -> None:
    """Its queue runs over, and no request waits for it or comes twice; what was queued comes when it is back."""
    port = free_port()
    with contextlib.ExitStack() as stack:
        url = f"http://127.0.0.1:{port}" if backend == "nobody listens" else stack.enter_context(silent())
        small = {"OTEL_TRACES_BACKEND_QUEUE_BYTES": "2000000"}
        through = stack.enter_context(pipeline(collector_binary, tmp_path, backend=url, collectors=small))
        with posting(through.agent, "backend", **LONG) as sent:
            wait_for(lambda: "sending queue is full" in through.gateway.log)
            sent.wait_for_more(500)
            check(through, sent)
        assert sent.tried == sent.acknowledged
        assert through.collect.totals()["duplicate"] == 0
        if backend == "nobody listens":
            traces = stack.enter_context(sink(port))
            wait_for(traces.spans, seconds=90)
