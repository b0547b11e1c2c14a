"""Spans of other languages and of proxies become the same rows: recorded ones, and hand-made ones by their sources."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_usage.enrichment.privacy import fingerprint
from otel_usage.exporter import committer
from otel_usage.exporter.otlp.decoding import ScopeSpans, SpanData, decode_json
from otel_usage.exporter.otlp.intake import Intake, Taken
from otel_usage.exporter.record import UsageRecord
from otel_usage.exporter.recorder import Recorder
from tests.integration import known
from tests.unit.exporter.foreign_spans import SPANS, TOKEN, ForeignSpan
from tests.unit.exporter.support import paths_of, query, settings_of

RECORDED = Path(__file__).parents[2] / "data" / "recorded"
PAGE = known.DOCS / "languages.md"
KEY = "k" * 40
LABELS = {
    "java-spring-tomcat": "Java: agent 2.33, Spring, Tomcat",
    "node-express-stable": "Node.js: http 0.223, Express",
    "python-fastapi-stable": "Python: FastAPI, stable names",
    "python-flask-oldnames": "Python: Flask, old names",
}
SECRETS = [*(f"rec-token-000{n}" for n in range(1, 9)), "rec-password-01", "rec-cookie-1"]
ENCODED = {"rec-token-0004": "cmVjLXRva2VuLTAwMDQ6", "rec-password-01": "YWxpY2U6cmVjLXBhc3N3b3JkLTAx"}

# Path -> what every language's row of this request says: method, status, token, its scheme, user, resource, action.
COLUMNS = ("method", "status_code", "token", "token_scheme", "user_id", "resource_type", "resource_id", "action")
REQUESTS = {
    "/items/0": ("GET", 200, None, None, None, "item", "0", "view"),
    "/items/1": ("GET", 200, "rec-token-0001", "bearer", None, "item", "1", "view"),
    "/items/2": ("GET", 200, "rec-token-0001", "bearer", None, "item", "2", "view"),
    "/items/3": ("GET", 200, "rec-token-0002", "token", None, "item", "3", "view"),
    "/items/4": ("GET", 200, "rec-token-0003", "api_key", None, "item", "4", "view"),
    "/items/5": ("GET", 200, None, None, "alice", "item", "5", "view"),
    "/items/6": ("GET", 200, "rec-token-0004", "basic", None, "item", "6", "view"),
    "/items/7": ("GET", 200, "rec-token-0005", "api_key", None, "item", "7", "view"),
    "/items/8": ("GET", 200, "rec-token-0006", "api_key", None, "item", "8", "view"),
    "/items/9": ("GET", 200, "rec-token-0007", "api_key", None, "item", "9", "search"),
    "/items/10": ("GET", 200, "rec-token-0008", "bearer", None, "item", "10", "view"),
    "/items": ("POST", 201, "rec-token-0001", "bearer", None, None, None, "create"),
    "/boom": ("GET", 500, "rec-token-0002", "bearer", None, None, None, "view"),
    "/nowhere/42": ("GET", 404, None, None, None, None, None, "view"),
    "/items/11": ("PROPFIND", 405, None, None, None, "item", "11", None),
    "/items/12": ("HEAD", 200, "rec-token-0001", "bearer", None, "item", "12", None),
    "/items/יוני": ("GET", 200, None, None, None, "item", "יוני", "search"),
}
# What the applications answered otherwise, and what the instrumentation did not tell.
DIFFERENT: dict[str, dict[str, dict[str, Any]]] = {
    "java-spring-tomcat": {"/items": {"status_code": 200}},
    "node-express-stable": {"/items/11": {"status_code": 404, "resource_type": None, "resource_id": None}},
    "python-fastapi-stable": {"/items/12": {"status_code": 405}},
    "python-flask-oldnames": {
        "/items/11": {"method": "_OTHER"},
        "/items/יוני": {"status_code": 404, "resource_type": None, "resource_id": None},
    },
}
# The spelling of each framework; its answer to an unknown method by the path, where it met no route.
ROUTES = {
    "java-spring-tomcat": ("/items/{id}", "/items/{id}"),
    "node-express-stable": ("/items/:id", None),
    "python-fastapi-stable": ("/items/{id}", "/items/{id}"),
    "python-flask-oldnames": ("/items/<int:id>", "/items/{id}"),
}
FOREIGN_ROW = {
    "method": "GET",
    "path": "/items/7",
    "query": "page=3",
    "route": "/items/{id}",
    "status_code": 200,
    "host": "shop.example",
    "scheme": "http",
    "protocol_version": "1.1",
    "client_address": "203.0.113.7",
    "user_agent": "curl/7.88.1",
    "request_bytes": None,
    "response_bytes": 1234,
    "token_id": fingerprint(KEY.encode(), TOKEN),
    "token_scheme": "bearer",
    "user_id": None,
    "resource_type": "item",
    "resource_id": "7",
    "action": "view",
    "error_type": None,
}


def kept(folder: Path, scopes: Iterable[ScopeSpans]) -> tuple[Taken, list[dict[str, Any]], str]:
    """What was taken, the rows, oldest first, and every byte of the journal."""
    settings = settings_of(folder, 3600, OTEL_USAGE_TOKEN_KEY=KEY, OTEL_USAGE_PRIVACY_LEVEL="0")
    recorder = Recorder(settings)
    taken = Intake(settings, recorder).take(scopes)
    journal = "".join(path.read_text() for path in paths_of(folder).segments())
    recorder.shutdown()
    committer.drain(paths_of(folder))
    rows = query(folder, f"SELECT {', '.join(UsageRecord.__struct_fields__)} FROM requests ORDER BY start_time")
    return taken, [dict(zip(UsageRecord.__struct_fields__, row, strict=True)) for row in rows], journal


class Recording:
    """The rows of one file of recorded spans."""

    def __init__(self, folder: Path, name: str) -> None:
        self.file = RECORDED / f"{name}.jsonl"
        self.scopes = [scope for line in self.file.read_bytes().splitlines() for scope in decode_json(line)]
        self.taken, self.rows, self.journal = kept(folder, self.scopes)

    def row(self, path: str) -> dict[str, Any]:
        """The one row of this path."""
        (row,) = (row for row in self.rows if row["path"] == path)
        return row

    def span(self, row: dict[str, Any]) -> SpanData:
        """The span that this row was made from."""
        (span,) = (span for scope in self.scopes for span in scope.spans if span.span_id == row["span_id"])
        return span


@pytest.fixture(scope="module", params=sorted(LABELS))
def name(request: pytest.FixtureRequest) -> str:
    """Which language."""
    return str(request.param)


@pytest.fixture(scope="module")
def before(name: str, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Its spans as its SDK sent them."""
    return Recording(tmp_path_factory.mktemp("before"), f"{name}.before")


@pytest.fixture(scope="module")
def after(name: str, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Its spans as a Collector with the deployment key let them go."""
    return Recording(tmp_path_factory.mktemp("after"), f"{name}.after")


def expected(name: str, path: str) -> dict[str, Any]:
    """What the row of this request says in this language."""
    return {**dict(zip(COLUMNS, REQUESTS[path], strict=True)), **DIFFERENT[name].get(path, {})}


def test_every_request_is_a_row(name, before, after):
    """No request is missing or twice, and every other span is counted."""
    for recording in (before, after):
        assert sorted(row["path"] for row in recording.rows) == sorted(REQUESTS)
        spans = sum(len(scope.spans) + scope.others for scope in recording.scopes)
        assert recording.taken == Taken(spans, requests=len(REQUESTS), skipped=spans - len(REQUESTS))


@pytest.mark.parametrize("path", REQUESTS)
def test_a_row_says_the_same_in_every_language(name, before, path):
    """Method, path, status, token, user, resource and action do not depend on who served the request."""
    row, said = before.row(path), expected(name, path)
    token = said.pop("token")
    assert row["token_id"] == (fingerprint(KEY.encode(), token) if token else None)
    assert {column: row[column] for column in said} == said
    assert row["user_source"] == ("basic" if said["user_id"] else None)


@pytest.mark.parametrize("path", REQUESTS)
def test_what_an_agent_has_hashed_is_the_same_request(name, before, after, path):
    """Beside token and user nothing but what is not needed is missing after the agent."""
    ours = ("token_id", "token_scheme", "token_hint", "user_source", "attributes")
    first, second = before.row(path), after.row(path)
    assert {k: v for k, v in first.items() if k not in ours} == {k: v for k, v in second.items() if k not in ours}
    assert (first["token_id"] is None) == (second["token_id"] is None)


def test_one_token_has_one_id_after_the_agent(tmp_path_factory):
    """In all languages, and no two tokens share one."""
    ids: dict[str | None, set[str | None]] = {}
    for name in LABELS:
        for row in Recording(tmp_path_factory.mktemp("ids"), f"{name}.after").rows:
            ids.setdefault(expected(name, row["path"])["token"], set()).add(row["token_id"])
    assert ids.pop(None) == {None}
    assert all(len(of_token) == 1 for of_token in ids.values())
    assert len(set.union(*ids.values())) == len(ids) == 8


def test_routes_are_spelled_as_the_framework_does(name, before):
    """A page that is not there has no route, whatever an instrumentation calls it."""
    template, unknown_method = ROUTES[name]
    for path in REQUESTS:
        row = before.row(path)
        if row["status_code"] == 404:
            assert row["route"] is None
        elif path == "/items/11":
            assert row["route"] == unknown_method
        else:
            assert row["route"] == (path if path in ("/items", "/boom") else template)


def test_no_credential_is_kept(name, before, after):
    """Not in the journal, and so not in the store."""
    for recording in (before, after):
        assert [secret for secret in (*SECRETS, *ENCODED.values()) if secret in recording.journal] == []
    raw = before.file.read_text()
    assert [secret for secret in SECRETS if ENCODED.get(secret, secret) not in raw] == []


@pytest.mark.parametrize("foreign", SPANS, ids=lambda span: span.label)
def test_spans_made_by_their_sources(foreign, tmp_path):
    """One request through any library or proxy makes one row, as far as its span tells it."""
    _, (row,), journal = kept(tmp_path, scopes_of(foreign))
    said = {**FOREIGN_ROW, **foreign.different}
    assert {column: row[column] for column in said} == said
    assert TOKEN not in journal


def scopes_of(foreign: ForeignSpan) -> Iterator[ScopeSpans]:
    """The span as it is received."""
    started = 1_790_000_000_000_000_999
    yield ScopeSpans({}, "", [SpanData(1, 2, None, started, started + 2500, foreign.name, foreign.attributes, 0)])


def test_what_is_known_is_documented(name, before, update_docs):
    """The page's table says what the rows of the recorded spans say."""
    row, forwarded = before.row("/items/7"), before.row("/items/2")
    clients = {"203.0.113.7": "the first forwarded", "10.0.0.1": "the last forwarded", "127.0.0.1": "the peer"}
    told = [*cells(before.span(row), row), clients[forwarded["client_address"]]]
    known.check("recorded", LABELS[name], told, update=update_docs, page=PAGE)


@pytest.mark.parametrize("foreign", SPANS, ids=lambda span: span.label)
def test_what_sources_say_is_documented(foreign, tmp_path, update_docs):
    """The page's table says what the rows of the hand-made spans say."""
    (scope,) = scopes_of(foreign)
    _, (row,), _ = kept(tmp_path, [scope])
    known.check("sources", foreign.label, cells(scope.spans[0], row), update=update_docs, page=PAGE)


def cells(span: SpanData, row: dict[str, Any]) -> list[str]:
    """Names, route, captured headers, the answer's size."""
    attributes = span.attributes
    route = "derived"
    if row["route"] == attributes.get("http.route"):
        route = f"`{row['route']}`"
    elif row["route"] in span.name:
        route = f"`{row['route']}`, in the name"
    captured = sorted(name for name in attributes if name.startswith("http.request.header."))
    headers = "no"
    if captured:
        form = "an array" if isinstance(attributes[captured[-1]], list) else "text"
        headers = f"`{captured[-1].removeprefix('http.request.header.')}`: {form}"
    names = "stable" if "http.request.method" in attributes else "old"
    return [names, route, headers, "no" if row["response_bytes"] is None else "yes"]
