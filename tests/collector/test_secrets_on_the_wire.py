"""A credential that an application was sent is nowhere after the agent; its id is that of a Python application."""

import base64
import contextlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.collector.collectors import TOKEN_KEY, agent, gateway, request_of, sink, span_of
from tests.collector.pipeline import Pipeline, Receiver, node_application, receiver, token_id
from tests.collector.wire import tapped
from tests.integration import cases
from tests.integration.faults.surroundings import held
from tests.integration.site import Site, serve, wait_for

BASIC_TOKEN = "bsc-7777777777cccccccccc"
COOKIE = "cki-8888888888dddddddddd"
SIGNATURE = "sgn-9999999999eeeeeeeeee"
JWT = f"{cases.CLAIMS.rpartition('.')[0]}.{SIGNATURE}"


def basic(user: str, password: str = "") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# User agent -> target, headers.
ASKED: dict[str, tuple[str, dict[str, str]]] = {
    "bearer": ("/claims/1", {"Authorization": f"Bearer {cases.TOKEN}"}),
    "bare": ("/claims/2", {"Authorization": cases.TOKEN}),
    "key": ("/claims/3", {"X-API-Key": cases.API_KEY}),
    "query": (f"/datasets?q=rain&api_key={cases.QUERY_KEY}", {}),
    "quoted": (f"/datasets?access_token={quote(cases.QUERY_KEY + '/+', safe='')}", {}),
    "password": ("/claims/4", {"Authorization": basic("dave", cases.PASSWORD)}),
    "basic": ("/claims/5", {"Authorization": basic(BASIC_TOKEN)}),
    "jwt": ("/claims/6", {"Authorization": f"Bearer {JWT}"}),
    "cookie": ("/claims/7", {"Cookie": f"sid={COOKIE}"}),
    "referrer": ("/claims/8", {"Referer": f"http://portal.example/?token={cases.QUERY_KEY}"}),
    "several": ("/claims/9?token=" + cases.QUERY_KEY, {"X-API-Key": cases.API_KEY, "Authorization": "Bearer null"}),
}
SECRETS = (cases.TOKEN, cases.API_KEY, cases.QUERY_KEY, cases.PASSWORD, BASIC_TOKEN, COOKIE, SIGNATURE)
# An instrumentation that is told to capture them all.
CAPTURED = {"OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST": ".*"}
FLASK = ["gunicorn", "--bind", "127.0.0.1:{port}", "flask_app:app"]


def spellings(secret: str) -> Iterator[bytes]:
    """The secret as it is, in hexadecimal, and in base64 wherever it begins in what is encoded."""
    raw = secret.encode()
    yield raw
    yield raw.hex().encode()
    for before in range(3):
        encoded = base64.b64encode(b"x" * before + raw).rstrip(b"=")
        # The first characters hold some of what stands before, the last some of what follows.
        yield encoded[4 if before else 0 : -1]


def check_nothing_raw(where: str, *kept: bytes, secrets: tuple[str, ...] = SECRETS) -> None:
    """No secret is in there, in no spelling."""
    for content in kept:
        found = [secret for secret in secrets for spelling in spellings(secret) if spelling in content]
        assert not found, f"{where} holds {len(found)} raw credentials"


def test_the_check_sees_secrets() -> None:
    """What the other tests look with would find a credential, whatever stands around it."""
    for secret in SECRETS:
        for around in ("", "a", "ab", "abc"):
            encoded = base64.b64encode(f"{around}{secret}{around}".encode())
            for content in (secret.encode(), encoded, secret.encode().hex().encode()):
                with pytest.raises(AssertionError, match="raw credentials"):
                    check_nothing_raw("it", b"x" + content + b"y")


def ask(site: Site) -> None:
    """Everything that is asked, and a link with a credential in its path."""
    for name, (target, headers) in ASKED.items():
        site.ask("GET", target, {"User-Agent": name, **headers})
    cases.reset(site)


@pytest.fixture(scope="module")
def known_in_python(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    """The ids that an application with a store of its own gives."""
    settings = {"OTEL_USAGE_TOKEN_KEY": TOKEN_KEY}
    with serve(tmp_path_factory.mktemp("python"), "flask_app.py", FLASK, **settings) as site:
        ask(site)
        site.stop()
        return {row["user_agent"]: row["token_id"] for row in site.read_rows()}


# How an application is started, and what may stand nowhere: a credential in a path is in ordinary spans.
APPLICATIONS = {
    "copies and traces": ({"OTEL_USAGE_EXPORTER": "otlp"}, SECRETS),
    "copies": ({"OTEL_USAGE_EXPORTER": "otlp", "OTEL_TRACES_EXPORTER": "none"}, (*SECRETS, cases.RESET)),
    "traces": ({"OTEL_USAGE_EXPORTER": "none"}, SECRETS),
    "node": ({}, SECRETS),
}


@pytest.mark.usefixtures("tracing_programs")
@pytest.mark.parametrize("app", APPLICATIONS)
def test_nothing_raw(
    collector_binary: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    known_in_python: dict[str, str | None],
    app: str,
) -> None:
    """While each hop in turn is away its sender's queue holds the requests and no credential; nor does the store."""
    packages = request.getfixturevalue("node_packages") if app == "node" else None
    ids = {name: found for name, found in known_in_python.items() if found}
    with (
        sink() as backend,
        receiver(tmp_path / "collect") as collect,
        gateway(collector_binary, tmp_path / "gateway", collect.endpoint, backend.endpoint) as second,
        tapped(second.endpoint) as wire,
        agent(collector_binary, tmp_path / "agent", wire.endpoint) as first,
    ):
        first.send(request_of(span_of({})))
        wait_for(collect.committed)  # there is a store to be held
        collect.stop()
        second.stop()
        through = Pipeline(first, second, collect, backend)
        with started(app, through, tmp_path / "app", packages) as site:
            ask(site)
            wait_for(lambda: holds_all(first.queue(), ids))
            site.stop()
        queues = [first.queue()]
        second.start()
        wait_for(lambda: holds_all(second.queue(), ids))
        queues.append(second.queue())
        with held(collect.store):
            collect.start()
            kept = wait_for(lambda: holds_all(journal(collect), ids) and journal(collect))
        collect.wait_for_rows(ids.keys())
        rows = collect.read_rows()
        logs = [each.log.encode() for each in (first, second, collect)]
        secrets = APPLICATIONS[app][1]
        check_nothing_raw("between applications and receiver", *queues, *wire.heads, *wire.bodies, secrets=secrets)
        check_nothing_raw("the tracing backend", *backend.bodies, secrets=secrets)
        everywhere = (*SECRETS, cases.RESET)
        check_nothing_raw("the receiver", kept, repr(rows).encode(), collect.store.read_bytes(), secrets=everywhere)
        check_nothing_raw("a log", *logs, secrets=everywhere)
    assert {row["user_agent"]: row["token_id"] for row in rows if row["token_id"]} == ids
    assert ids["bearer"] == token_id(cases.TOKEN)


@contextlib.contextmanager
def started(app: str, through: Pipeline, directory: Path, packages: Path | None) -> Iterator[Site]:
    """An application whose instrumentation captures headers."""
    if packages is not None:
        with node_application(through, directory, packages) as site:
            yield site
        return
    with serve(directory, "flask_app.py", FLASK, **{**through.environment(**CAPTURED), **APPLICATIONS[app][0]}) as site:
        yield site


def holds_all(content: bytes, ids: dict[str, str]) -> bool:
    """Whether all these ids are in there."""
    return all(each.encode() in content for each in ids.values())


def journal(collect: Receiver) -> bytes:
    """Every byte in the receiver's journal."""
    folder = collect.store.with_name(f"{collect.store.name}.journal")
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
