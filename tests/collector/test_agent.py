"""What leaves the agent: the same rows as without it, nothing raw, nothing that is not on its list, and all of it."""

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_usage import attributes as key
from otel_usage.enrichment.privacy import REDACTED, fingerprint, redact_query
from otel_usage.exporter.losses import NOT_A_REQUEST
from otel_usage.exporter.otlp.decoding import ScopeSpans, decode_json, decode_protobuf
from otel_usage.exporter.otlp.intake import Intake
from otel_usage.settings import load
from tests.collector.collectors import AGENT, ROOT, TOKEN_KEY, agent, clean_environment, request_of, sink, span_of
from tests.collector.credentials import MARK, basic
from tests.collector.passage import Passage, check_raw
from tests.integration.site import wait_for

RECORDED = sorted((ROOT / "tests" / "data" / "recorded").glob("*.before.jsonl"))
NOBODY = "http://127.0.0.1:9"
# Of every credential in them, plain and in base64.
RECORDED_SECRETS = (b"rec-token", b"rec-password", b"rec-cookie", b"YWxpY2U6cmVj", b"cmVjLXRva2Vu")
# Read so that they are left out, not so that they are kept.
NEVER_KEPT = {*key.FORWARDED_HEADERS, *key.HEADER_PREFIXES}


@pytest.fixture(scope="module")
def passage(collector_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Passage]:
    """An agent that sends to a sink."""
    with sink() as out, agent(collector_binary, tmp_path_factory.mktemp("agent"), out.endpoint) as collector:
        yield Passage(collector, out)
        check_raw(collector.queue(), collector.log.encode())


def allowed() -> set[str]:
    """The attributes that the agent lets through."""
    return set(yaml.safe_load(AGENT.read_text())["processors"]["redaction/allow"]["allowed_keys"])


def test_every_attribute_that_we_read_is_allowed() -> None:
    """The list at the end of the agent has every key of attributes.py, and no header with secrets."""
    read = {
        name
        for title, value in vars(key).items()
        if title.isupper() and not title.startswith("_")
        for name in (value if isinstance(value, tuple) else (value,))
        if isinstance(name, str) and name != key.OTHER_METHOD
    }
    assert not read - allowed() - NEVER_KEPT
    headers = {name for name in allowed() if ".header." in name}
    assert headers == {
        "http.request.header.referer",
        "http.request.header.range",
        "http.response.header.content-disposition",
        "http.response.header.content-range",
    }


def test_the_list_comes_last() -> None:
    """Nothing is done to a span after the list was applied."""
    pipelines = yaml.safe_load(AGENT.read_text())["service"]["pipelines"]
    assert [each["processors"][-1] for each in pipelines.values()] == ["redaction/allow"]


def rows(scopes: list[ScopeSpans]) -> list[dict[str, Any]]:
    """The records that the receiver keeps of these spans, without the attributes that have no column."""
    kept = Kept()
    taken = Intake(load(strict=True), kept).take(scopes)  # type: ignore[arg-type]
    assert taken.requests == len(kept.lines)
    found = [json.loads(line) for line in kept.lines]
    return sorted(({**row, "attributes": None} for row in found), key=lambda row: int(row["span_id"]))


class Kept:
    """A Recorder of lines in memory."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def token_key(self) -> bytes:
        """The deployment key, here as in the agent."""
        return TOKEN_KEY.encode()

    def write_all(self, lines: list[bytes]) -> None:
        """Keep them."""
        self.lines += lines

    def count(self, reason: str, n: int) -> None:
        """Nothing may be lost of a request."""
        assert reason == NOT_A_REQUEST


@pytest.mark.parametrize("recorded", RECORDED, ids=[path.name.removesuffix(".before.jsonl") for path in RECORDED])
def test_recorded_spans(passage: Passage, recorded: Path) -> None:
    """Requests to services in Java, Node and Python make the same rows with the agent as without it."""
    request = json.loads(recorded.read_text())
    passage.send(request)
    before, after = (rows(scopes) for scopes in (decode_json(recorded.read_bytes()), decode_protobuf(passage.raw)))
    assert len(before) == 17
    assert sum("token_id" in row for row in before) == 12
    assert after == before
    assert not [secret for secret in RECORDED_SECRETS if secret in passage.raw]


# Every attribute that the processor in an application sets, in one request.
ENRICHED = {
    **{name: f"{name} of the application" for name in (*key.RESOURCE_KEYS, key.TOKEN_NAME, key.USER_ID, key.USER_NAME)},
    key.TOKEN_ID: "tok_0123456789abcdef",
    key.TOKEN_SCHEME: "session",
    key.TOKEN_HINT: "ghp_…wxyz",
    key.USER_SOURCE: "framework",
    key.SESSION_ID: "sess_1",
    key.ACTION: "download",
    key.OPERATION: "get_file",
    key.COUNTRY: "DE",
    key.SAMPLED: True,
}


def test_described_by_the_application(passage: Passage) -> None:
    """What an application under otel-usage says of its request stays, whatever else is on the span."""
    span = span_of({**ENRICHED, "http.request.header.authorization": f"Bearer {MARK}", "url.query": f"token={MARK}"})
    [left] = passage.through([span])
    assert ENRICHED.items() <= left["attributes"].items()
    check_raw(passage.raw)


def test_described_without_a_token(passage: Passage) -> None:
    """An application that knew no token of a request is believed."""
    span = span_of({key.SAMPLED: False, "http.request.header.authorization": f"Bearer {MARK}"})
    [left] = passage.through([span])
    assert not {key.TOKEN_ID, key.TOKEN_SCHEME, key.USER_ID} & left["attributes"].keys()


@pytest.mark.parametrize("enriched", [{}, {key.SAMPLED: True}], ids=["plain", "enriched"])
def test_a_credential_where_its_id_belongs(passage: Passage, enriched: dict[str, Any]) -> None:
    """What stands under our names and is not of their form leaves as a fingerprint, or not at all."""
    ours = {key.TOKEN_ID: MARK, key.TOKEN_SCHEME: MARK, key.TOKEN_HINT: MARK, key.USER_SOURCE: MARK, "~token": MARK}
    [left] = passage.through([span_of({**ours, **enriched, "~credential": MARK, "~user": MARK})])
    assert left["attributes"].pop(key.TOKEN_ID) == fingerprint(TOKEN_KEY.encode(), MARK)
    assert left["attributes"].keys() <= {key.SAMPLED, "http.request.method"}
    check_raw(passage.raw)


def test_a_credential_in_any_attribute(passage: Passage) -> None:
    """No attribute that leaves is left out when the credential is looked for: each that is on the list."""
    names = sorted(allowed() - {key.TOKEN_ID, key.TOKEN_SCHEME, key.TOKEN_HINT, key.USER_SOURCE})
    token = f"{MARK}-0123456789"
    header = {"http.request.header.authorization": f"Bearer {token}"}
    left = passage.through([span_of({**header, name: f"x{token}"}) for name in names])
    check_raw(passage.raw)
    for name, span in zip(names, left, strict=True):
        if not name.startswith(("http.request.method", "http.method")):
            assert span["attributes"][name] == f"x{REDACTED}"


NOT_A_NUMBER = {"key": "my.own", "value": {"doubleValue": "NaN"}}


@pytest.mark.parametrize("content", [f"token={MARK}", "é", "漢字", "0123456789"])
@pytest.mark.parametrize("others", [[], [NOT_A_NUMBER]], ids=["", "with NaN"])
def test_values_of_other_types(passage: Passage, content: str, others: list[dict[str, Any]]) -> None:
    """Bytes leave under no name, whatever else is in the span; text, numbers and truth values do."""
    scalars = {"http.request.method": "GET", "url.path": "/a", "server.port": 80, key.SAMPLED: True, "request_size": ""}
    small = {"key": "client.port", "value": {"doubleValue": -1.5e-30}}
    raw = {"bytesValue": base64.b64encode(content.encode()).decode()}
    span = span_of(scalars)
    span["attributes"] += [small, *others]
    span["attributes"] += [{"key": name, "value": raw} for name in allowed() - scalars.keys() - {"client.port"}]
    [left] = passage.through([span])
    assert left["attributes"] == {**scalars, "client.port": -1.5e-30}
    check_raw(passage.raw)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        (f"GET /a?b\npassword={MARK}", "GET /a"),
        (f"GET /a;jsessionid={MARK}", "GET /a"),
        (f"GET https://alice:{MARK}@h/a", "GET https://REDACTED@h/a"),
    ],
)
@pytest.mark.parametrize("kind", [2, 3])
def test_names_of_spans(passage: Passage, name: str, kept: str, kind: int) -> None:
    """A name that is a URL loses what may be secret in it."""
    [left] = passage.through([span_of({}, kind=kind, name=name)])
    assert left["name"] == kept
    check_raw(passage.raw)


def test_what_is_around_a_span(passage: Passage) -> None:
    """Of events, the scope and the OTel resource only what names code or service leaves, though more is on the list."""
    raw = base64.b64encode(MARK.encode()).decode()
    secrets = [{"key": name, "value": {"stringValue": f"http://h/{MARK}?password={MARK}"}} for name in allowed()]
    service = ("service.", "deployment.", "telemetry.", "k8s.", "host.name", "exception.type")
    secrets = [each for each in secrets if not each["key"].startswith(service)]
    error = {"key": "exception.type", "value": {"stringValue": "java.lang.Foo$Bar"}}
    events = [
        {"name": "exception", "timeUnixNano": "1", "attributes": [error, *secrets]},
        {"name": f"a?b\n{MARK}", "timeUnixNano": "1", "attributes": secrets},
        {"name": "message", "timeUnixNano": "1", "attributes": [{**error, "value": {"bytesValue": raw}}]},
    ]
    request = request_of(span_of({}, events=events), **{"host.name": "h", "service.version": ["1", MARK]})
    [spans] = request["resourceSpans"]
    spans["resource"]["attributes"] += [*secrets, {"key": "service.namespace", "value": {"bytesValue": raw}}]
    spans["schemaUrl"] = f"https://h/{MARK}"
    [scope] = spans["scopeSpans"]
    scope["schemaUrl"] = "https://opentelemetry.io/schemas/1.21.0"
    scope["scope"] = {"name": "io.opentelemetry.tomcat-10.0", "version": MARK, "attributes": secrets}
    passage.send(request)
    [after] = ExportTraceServiceRequest.FromString(passage.raw).resource_spans
    assert {each.key: each.value.string_value for each in after.resource.attributes} == {
        "service.name": "portal",
        "host.name": "h",
    }
    assert after.schema_url == ""
    [kept] = after.scope_spans
    assert (kept.scope.name, kept.scope.version, len(kept.scope.attributes)) == ("io.opentelemetry.tomcat-10.0", "", 0)
    assert kept.schema_url == "https://opentelemetry.io/schemas/1.21.0"
    [span] = kept.spans
    assert [event.name for event in span.events] == ["exception", "event", "message"]
    assert [each.value.string_value for event in span.events for each in event.attributes] == ["java.lang.Foo$Bar"]
    check_raw(passage.raw)


def test_a_scope_named_as_the_credential(passage: Passage) -> None:
    """The name of a scope keeps no credential of a span in it."""
    header = {"http.request.header.authorization": f"Bearer {MARK}-0123456789"}
    passage.send(request_of(span_of(header), scope=f"{MARK}-0123456789"))
    check_raw(passage.raw)


ELSEWHERE = {"key": "x", "value": {"stringValue": MARK}}


def test_nothing_else_leaves(passage: Passage) -> None:
    """Names that are on no list, values of other types, events, links, states and the OTel resource are clean."""
    attributes = {
        "http.request.header.authorization": [{"a": MARK}, f"Bearer {MARK}"],
        "http.request.header.x-api-key": {"a": MARK},
        "http.request.header.cookie": [f"a={MARK}", MARK],
        "http.response.header.set-cookie": MARK,
        "http.request.header.Authorization": MARK,
        "url.query": [f"a={MARK}"],
        "url.full": {"a": MARK},
        "http.url": f"https://alice:{MARK}@h/a?b=c",
        "http.target": f"/a;jsessionid={MARK}?sig={MARK}",
        "http.request.header.referer": [f"https://u:{MARK}@h/a?b=c&access_token={MARK}"],
        "server.address": f"http://{MARK}@h",
        "db.statement": MARK,
        "my.own": MARK,
    }
    event = {"name": f"GET /?token={MARK}", "timeUnixNano": "1", "attributes": [ELSEWHERE]}
    link = {"traceId": "0" * 31 + "1", "spanId": "0" * 15 + "1", "attributes": [ELSEWHERE], "traceState": f"a={MARK}"}
    rest = {
        "name": f"GET /a?token={MARK}",
        "traceState": f"a={MARK}",
        "status": {"code": 2, "message": MARK},
        "events": [event],
        "links": [link],
    }
    spans = [
        span_of(attributes, **rest),
        span_of(attributes, kind=3, **rest),
        span_of({**attributes, **ENRICHED}, **rest),
    ]
    request = request_of(*spans, **{"process.command_args": MARK, "my.own": {"a": MARK}})
    request["resourceSpans"][0]["scopeSpans"][0]["scope"]["attributes"] = [ELSEWHERE]
    passage.send(request)
    assert len(passage.spans()) == 3
    check_raw(passage.raw)


def test_all_kinds_of_spans_leave(passage: Passage) -> None:
    """The agent drops no span: traces stay whole, and only spans of requests have tokens."""
    header = {"http.request.header.authorization": f"Bearer {MARK}"}
    spans = [span_of(header, kind=kind) for kind in range(6)]
    left = passage.through(spans)
    assert [key.TOKEN_ID in span["attributes"] for span in left] == [False, False, True, False, False, False]


def test_headers_that_tell_what_was_accessed(passage: Passage) -> None:
    """Referer, Range and the answer's Content-Disposition and Content-Range leave as text, in the newest spelling."""
    span = span_of(
        {
            "http.request.header.referer": ["https://h/a?b=c&token=d"],
            "http.request.header.range": ["bytes=0-1"],
            "http.response.header.content_disposition": ["attachment"],
            "http.response.header.content-range": "bytes 0-1/2",
        }
    )
    [left] = passage.through([span])
    assert {name: value for name, value in left["attributes"].items() if ".header." in name} == {
        "http.request.header.referer": "https://h/a?b=c&token=REDACTED",
        "http.request.header.range": "bytes=0-1",
        "http.response.header.content-disposition": "attachment",
        "http.response.header.content-range": "bytes 0-1/2",
    }


PROXIES: dict[str, dict[str, Any]] = {
    "nginx": {
        "http.method": "GET",
        "http.target": f"/items/7?token={MARK}",
        "http.route": "/items",
        "http.scheme": "http",
        "http.flavor": "1.1",
        "http.user_agent": "curl",
        "http.request_content_length": 0,
        "http.response_content_length": 9,
        "http.status_code": 200,
        "net.host.name": "h",
        "net.sock.peer.addr": "192.0.2.1",
        "http.request.header.authorization": f"Bearer {MARK}-1",
    },
    "traefik": {
        "http.request.method": "GET",
        "url.path": "/items/7",
        "url.query": "token=REDACTED",
        "http.request.body.size": -1,
        "http.response.status_code": 200,
        "server.address": "h",
        "http.request.header.authorization": [f"Bearer {MARK}-1"],
    },
    "envoy": {
        "http.method": "GET",
        "http.url": f"http://h:8080/items/7?token={MARK}",
        "http.protocol": "HTTP/1.1",
        "http.status_code": "200",
        "request_size": "0",
        "response_size": "9",
        "peer.address": "192.0.2.1",
        "user_agent": "curl",
        "http.request.header.authorization": f"Bearer {MARK}-1",
    },
}


@pytest.mark.parametrize("proxy", PROXIES)
def test_proxies(passage: Passage, proxy: str) -> None:
    """What nginx, Traefik and Envoy say of a request makes the same row with the agent as without it."""
    request = request_of(span_of({"http.request.method": None, **PROXIES[proxy]}))
    passage.send(request)
    [before], [after] = rows(decode_json(json.dumps(request).encode())), rows(decode_protobuf(passage.raw))
    assert after == before
    assert after["token_id"] == fingerprint(TOKEN_KEY.encode(), f"{MARK}-1")
    check_raw(passage.raw)


NAMES = (
    *(
        "token",
        "api_key",
        "apiKey",
        "API-KEY",
        "access_token",
        "id_token",
        "password",
        "user[password]",
        "client_secret",
    ),
    *(
        "X-Amz-Credential",
        "X-Amz-Signature",
        "X-Amz-Security-Token",
        "AWSAccessKeyId",
        "x-goog-signature",
        "sig",
        "key",
    ),
    *("subscription-key", "sid", "session_id", "PHPSESSID", "jwt", "auth", "passphrase", "next", "q", "monkey", "keys"),
    *("codes", "page_token", "tokens", "author", "design", "passwords", "a.key", "code", "user%5Bpassword%5D"),
    *("to%6ben", "%74oken"),
)
URLS = {key.QUERY_KEY: "", "http.target": "/x?", "url.full": "http://h/x?", "http.url": "http://h/?"}


def test_queries(passage: Passage) -> None:
    """A parameter is redacted by its name as in a Python application, under every name of the URL."""
    queries = [f"a=1&{name}=value&b=2" for name in NAMES] + [f"{name}=x" for name in NAMES]
    queries += [f"next=/x%3F{name}%3Dvalue" for name in NAMES if "%" not in name]
    expected = [redact_query(query) for query in queries]
    assert {REDACTED in query for query in expected} == {True, False}
    for name, before in URLS.items():
        left = passage.through([span_of({name: f"{before}{query}"}) for query in queries])
        assert [span["attributes"][name].removeprefix(before) for span in left] == expected


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.lists(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from("&;")), min_size=1), min_size=1, max_size=20)
)
def test_any_query(passage: Passage, queries: list[list[tuple[str, str]]]) -> None:
    """Any sequence of parameters is redacted as in a Python application."""
    texts = ["".join(f"{name}=value{separator}" for name, separator in query) for query in queries]
    for name, before in URLS.items():
        left = passage.through([span_of({name: f"{before}{text}"}) for text in texts])
        assert [span["attributes"][name].removeprefix(before) for span in left] == [*map(redact_query, texts)]


def test_nothing_raw_in_the_queue(collector_binary: Path, tmp_path: Path) -> None:
    """While the next hop is down everything waits on disk, hashed; a killed agent delivers it after its restart."""
    with sink() as out:
        out.answer = 503
        with agent(collector_binary, tmp_path, out.endpoint) as collector:
            spans = [
                span_of({"http.request.header.authorization": [value], "url.full": f"http://h/{i}?token={MARK}"})
                for value in (f"Bearer {MARK}", basic(f"{MARK}:"), basic(f"alice:{MARK}"), MARK)
                for i in range(50)
            ]
            for start in range(0, len(spans), 20):
                assert collector.send(request_of(*spans[start : start + 20])) == 200
            queue = collector.queue()
            assert queue.count(b"usage.token.id") >= 150
            check_raw(queue, collector.log.encode())
            collector.kill()
            check_raw(collector.queue())
            out.answer = 200
            collector.start()
            wait_for(lambda: len({span["id"] for span in out.spans()}) == len(spans))
            check_raw(*out.bodies, collector.log.encode())


@pytest.mark.parametrize("token_key", ["", "0123456789abcdef", None], ids=["empty", "short", "none"])
def test_no_key(collector_binary: Path, token_key: str | None) -> None:
    """Without a deployment key of 32 bytes the agent does not start."""
    environment = clean_environment()
    if token_key is not None:
        environment["OTEL_USAGE_TOKEN_KEY"] = token_key
    for command in ("validate", None):
        arguments = [collector_binary, *([command] if command else []), f"--config={AGENT}"]
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode != 0
        assert "hmac_key" in done.stderr


@pytest.mark.parametrize("token_key", ["1" * 64, "1e" + "5" * 40, "0x" + "f" * 40, "null" * 8, "é" * 16])
def test_keys_are_text(collector_binary: Path, tmp_path: Path, token_key: str) -> None:
    """A key that looks like a number or a word of YAML is still the text that it is."""
    with sink() as out, agent(collector_binary, tmp_path, out.endpoint, OTEL_USAGE_TOKEN_KEY=token_key) as collector:
        [span] = Passage(collector, out).through([span_of({"http.request.header.authorization": "Bearer x"})])
        assert span["attributes"][key.TOKEN_ID] == fingerprint(token_key.encode(), "x")


def test_to_files(collector_binary: Path, tmp_path: Path) -> None:
    """The variant without network writes requests, and only those, to files that `otel-usage ingest` reads."""
    with agent(
        collector_binary, tmp_path, NOBODY, overlay="agent-files.yaml", OTEL_USAGE_FILES_DIRECTORY=str(tmp_path)
    ) as it:
        spans = [span_of({"http.request.header.authorization": f"Bearer {MARK}"}, kind=kind) for kind in (1, 2, 3, 2)]
        for _ in range(2):
            assert it.send(request_of(*spans)) == 200
            it.stop()
            it.start()
    written = (tmp_path / "spans.jsonl").read_bytes()
    kept = [row for line in written.splitlines() if line for row in rows(decode_json(line))]
    assert [row["token_id"] for row in kept] == [fingerprint(TOKEN_KEY.encode(), MARK)] * 4
    check_raw(written)


PATH_SECRET = "Zq9path0123456789"


@pytest.mark.parametrize(
    ("route", "path", "kept"),
    [
        ("/reset/{token}", f"/reset/{PATH_SECRET}", "/reset/REDACTED"),
        ("/reset/<token>/", f"/reset/{PATH_SECRET}/", "/reset/REDACTED/"),
        ("/reset/<string:reset_token>", f"/reset/{PATH_SECRET}", "/reset/REDACTED"),
        ("/users/:id/reset/:token", f"/users/7/reset/{PATH_SECRET}", "/users/7/reset/REDACTED"),
        ("reset/<uidb64>/<token>/", f"/reset/MQ/{PATH_SECRET}/", "/reset/MQ/REDACTED/"),
        ("/reset/{token}/confirm", f"/reset/{PATH_SECRET}/confirm", None),
        ("/files/{secret:path}", f"/files/a/{PATH_SECRET}", None),
        ("^reset/(?P<token>[a-z]+)/$", f"/reset/{PATH_SECRET}/", None),
        ("/tokens/{id}", "/tokens/17", "/tokens/17"),
        ("/datasets/{id}", "/datasets/17", "/datasets/17"),
    ],
)
@pytest.mark.parametrize("names", ["stable", "old", "name only"])
def test_credentials_in_paths(passage: Passage, route: str, path: str, kept: str | None, names: str) -> None:
    """What stands where the route says that a credential does is nowhere in what the agent sends."""
    # No instrumentation makes a span's name of an expression.
    stated = {} if names == "name only" and "(?" not in route else {"http.route": route}
    if names == "old":
        said = {"http.method": "GET", "http.target": f"{path}?a=1", "http.url": f"http://h{path}?a=1"}
    else:
        said = {"http.request.method": "GET", "url.path": path, "url.full": f"http://h{path}"}
    name = f"GET {route}" if names == "name only" else f"GET {path}"
    [left] = passage.through([{**span_of({**said, **stated}), "name": name}])
    target = left["attributes"].get("http.target", "").partition("?")[0]
    assert (left["attributes"].get("url.path") or target or None) == kept
    assert PATH_SECRET.encode() not in passage.raw
