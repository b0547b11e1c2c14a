"""Application -> agent -> gateway -> `otel-usage collect`: every request is one row, whatever language served it."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from otel_usage import attributes as key
from otel_usage.exporter.otlp.intake import SCOPE_NAME
from tests.collector.collectors import ROOT, SERVER, post, request_of, span_of
from tests.collector.pipeline import Pipeline, node_application, pipeline, token_id
from tests.integration import cases, known
from tests.integration.cases import Case
from tests.integration.site import Site, serve, wait_for

PAGE = known.DOCS / "collector.md"
RECORDED = ROOT / "tests" / "data" / "recorded"
# Besides the cases; the caller has sampled every second one, as its `traceparent` says.
LOAD = 60


@pytest.fixture(scope="module")
def through(collector_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """One pipeline for all applications of this file."""
    with pipeline(collector_binary, tmp_path_factory.mktemp("pipeline")) as started:
        yield started


@dataclass(frozen=True)
class Outcome:
    """What became of the requests of one application.

    Attributes:
        rows: As the `usage` view shows them.
        traced: What came to the tracing backend of its requests.
    """

    rows: list[dict[str, Any]]
    traced: list[dict[str, Any]]

    def check(self, label: str, asked: int, sampled: int, *, update: bool) -> None:
        """As many rows as are expected, each of another request, and as many traces; the page says so."""
        copies = sum(span["scope"] == SCOPE_NAME for span in self.traced)
        twice = len(self.rows) - len({(row["trace_id"], row["span_id"]) for row in self.rows})
        cells = [asked, sampled, len(self.rows), twice, len(self.traced), copies]
        known.check("pipeline", label, [f"{cell}" for cell in cells], update=update, page=PAGE)


def outcome(through: Pipeline, service: str, rows: int, traced: int) -> Outcome:
    """Wait until a service has so many rows and so many requests at the backend, and for all that came before now."""
    count = f"SELECT count(*) FROM requests WHERE service_name = '{service}'"
    wait_for(lambda: through.collect.query(count) >= [(rows,)])
    wait_for(lambda: len(_traced(through, service)) >= traced)
    last = span_of({})
    through.agent.send(request_of(last, **{key.SERVICE_NAME: f"after-{service}"}))
    wait_for(lambda: _traced(through, f"after-{service}"))
    found = [row for row in through.collect.read_rows() if row["service_name"] == service]
    return Outcome(found, _traced(through, service))


def _traced(through: Pipeline, service: str) -> list[dict[str, Any]]:
    return [
        span
        for span in through.backend.spans()
        if span["resource"][key.SERVICE_NAME] == service and span["kind"] == SERVER
    ]


# The token of a recorded request by its path, and how it came.
RECORDED_TOKENS = {
    "/items": ("rec-token-0001", "bearer"),
    "/items/1": ("rec-token-0001", "bearer"),
    "/items/2": ("rec-token-0001", "bearer"),
    "/items/3": ("rec-token-0002", "token"),
    "/items/4": ("rec-token-0003", "api_key"),
    "/items/6": ("rec-token-0004", "basic"),
    "/items/7": ("rec-token-0005", "api_key"),
    "/items/8": ("rec-token-0006", "api_key"),
    "/items/9": ("rec-token-0007", "api_key"),
    "/items/10": ("rec-token-0008", "bearer"),
    "/items/12": ("rec-token-0001", "bearer"),
    "/boom": ("rec-token-0002", "bearer"),
}
RECORDINGS = {
    "java-spring-tomcat": "Java, Spring, recorded",
    "node-express-stable": "Node, Express, recorded",
    "python-fastapi-stable": "Python, FastAPI without this package, recorded",
    "python-flask-oldnames": "Python, Flask without this package, recorded",
}


@pytest.mark.parametrize("recording", RECORDINGS)
def test_recorded(through: Pipeline, recording: str, update_docs: bool) -> None:
    """Each request that an application without this package has exported is one row, with the id of its token."""
    asked = set()
    for line in (RECORDED / f"{recording}.before.jsonl").read_text().splitlines():
        request = renamed(json.loads(line), recording)
        asked |= {span["spanId"] for span in spans_in(request) if span["kind"] == SERVER}
        assert post(through.agent.endpoint, json.dumps(request).encode()) == 200
    found = outcome(through, recording, len(asked), len(asked))
    assert {row["span_id"] for row in found.rows} == asked == {span["id"] for span in found.traced}
    for row in found.rows:
        token, scheme = RECORDED_TOKENS.get(row["path"], (None, None))
        assert (row["token_id"], row["token_scheme"]) == (token and token_id(token), scheme), row["path"]
        assert row["user_id"] == ("alice" if row["path"] == "/items/5" else None)
    found.check(RECORDINGS[recording], len(asked), len(asked), update=update_docs)


def renamed(request: dict[str, Any], service: str) -> dict[str, Any]:
    """The same request, of a service of another name."""
    for resource_spans in request["resourceSpans"]:
        attributes = resource_spans["resource"]["attributes"]
        kept = [each for each in attributes if each["key"] != key.SERVICE_NAME]
        resource_spans["resource"]["attributes"] = [*kept, {"key": key.SERVICE_NAME, "value": {"stringValue": service}}]
    return request


def spans_in(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The spans of a request in OTLP's JSON encoding."""
    for resource_spans in request["resourceSpans"]:
        for scope_spans in resource_spans["scopeSpans"]:
            yield from scope_spans["spans"]


def ask(site: Site, asked: list[Case]) -> None:
    """Ask the cases, then much more, of which only every second request is sampled."""
    for case in asked:
        headers = {"User-Agent": case.name, **case.headers}
        site.answers[case.name] = site.ask(case.method, case.target, headers, case.body)
    for number in range(LOAD):
        flags = "01" if number % 2 else "00"
        parent = f"00-{random.getrandbits(128):032x}-{random.getrandbits(64):016x}-{flags}"
        headers = {"User-Agent": f"load-{number}", "traceparent": parent, "Authorization": f"Bearer {cases.TOKEN}"}
        assert site.ask("GET", f"/claims/{number}", headers).status == 200


def check_load(site: Site, expected: range) -> None:
    """Each of these requests has one row, no other has any, and it says whether it was sampled."""
    names = {row["user_agent"]: row for row in site.rows if row["user_agent"].startswith("load-")}
    assert set(names) == {f"load-{number}" for number in expected}
    for number in expected:
        row = names[f"load-{number}"]
        assert (row["resource_type"], row["resource_id"]) == ("claim", str(number))
        assert (row["token_id"], row["sampled"]) == (token_id(cases.TOKEN), number % 2 == 1)


def check_cases(site: Site, asked: list[Case], *, untold: frozenset[str] = frozenset()) -> None:
    """The row of each case says what it would say without a pipeline, except in columns that its span does not tell."""
    for case in asked:
        row = site.row_of(case.name)
        expected: dict[str, Any] = {"method": case.method, "status_code": case.status, "sampled": True}
        expected |= {"request_bytes": 0, "response_bytes": len(site.answers[case.name].body), **case.row}
        if case.token is not None:
            expected["token_id"] = token_id(case.token)
        if case.status == 500:
            # The server's own page, made after the exception has left the application.
            del expected["response_bytes"]
        told = expected.keys() - untold
        assert {name: row[name] for name in told} == {name: expected[name] for name in told}, case.name


PYTHON = {
    "flask": ("flask_app.py", ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "flask_app:app"]),
    "fastapi": ("fastapi_app.py", ["uvicorn", "--port", "{port}", "fastapi_app:app"]),
}
LABELS = {
    ("flask", "otlp"): "Python, Flask on gunicorn, `OTEL_USAGE_EXPORTER=otlp`",
    ("flask", "none"): "Python, Flask on gunicorn, `OTEL_USAGE_EXPORTER=none`",
    ("fastapi", "otlp"): "Python, FastAPI on uvicorn, `OTEL_USAGE_EXPORTER=otlp`",
    ("fastapi", "none"): "Python, FastAPI on uvicorn, `OTEL_USAGE_EXPORTER=none`",
}
# An ordinary span is not given a referrer or another type of error than its status; Flask's ends before its answer.
UNTOLD = {
    "flask": frozenset({"referrer", "request_bytes", "response_bytes", "error_type"}),
    "fastapi": frozenset({"referrer", "error_type"}),
}


@pytest.mark.usefixtures("tracing_programs")
@pytest.mark.parametrize("names", ["", "http"])
@pytest.mark.parametrize(("framework", "exporter"), LABELS)
def test_python(
    through: Pipeline, tmp_path: Path, framework: str, exporter: str, names: str, update_docs: bool
) -> None:
    """Usage copies beside ordinary traces, or ordinary traces alone: each request that is sent is one row, whole."""
    app, command = PYTHON[framework]
    service = f"{framework}-{exporter}-{names}"
    told = {"OTEL_SEMCONV_STABILITY_OPT_IN": names, "OTEL_USAGE_EXPORTER": exporter, "OTEL_SERVICE_NAME": service}
    with serve(tmp_path, app, command, **through.environment(**told)) as site:
        ask(site, cases.CASES)
        # Without usage copies what was not sampled is nowhere.
        expected = range(LOAD) if exporter == "otlp" else range(1, LOAD, 2)
        sampled = len(cases.CASES) + LOAD // 2
        found = outcome(through, service, len(cases.CASES) + len(expected), sampled)
        site.stop()
    site.rows = found.rows
    check_load(site, expected)
    check_cases(site, cases.CASES, untold=frozenset() if exporter == "otlp" else UNTOLD[framework])
    assert all(span["attributes"][key.SAMPLED] for span in found.traced)
    found.check(LABELS[framework, exporter], len(cases.CASES) + LOAD, sampled, update=update_docs)


# Of these an application in another language tells all but sizes; it knows no user of its own framework.
NODE_CASES = [
    cases.with_row(case, user_id=None) if case.name == "view" else case
    for case in cases.CASES
    if case.name in ("view", "anonymous", "api-key", "query-key", "basic", "claims", "refused", "nowhere")
]
UNTOLD_BY_NODE = frozenset({"referrer", "request_bytes", "response_bytes"})


def test_node(through: Pipeline, tmp_path: Path, node_packages: Path, update_docs: bool) -> None:
    """An application in another language that knows nothing of this package gives the same rows."""
    sampled = len(NODE_CASES) + LOAD // 2
    with node_application(through, tmp_path / "app", node_packages, OTEL_SERVICE_NAME="node") as site:
        ask(site, NODE_CASES)
        found = outcome(through, "node", sampled, sampled)
    site.rows = found.rows
    check_load(site, range(1, LOAD, 2))
    check_cases(site, NODE_CASES, untold=UNTOLD_BY_NODE)
    found.check("Node, Express", len(NODE_CASES) + LOAD, sampled, update=update_docs)
