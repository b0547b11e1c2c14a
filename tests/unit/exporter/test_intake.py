"""What becomes of received spans: every one is a record, or is counted as what it is."""

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import settings as bounds
from hypothesis import strategies as st

from otel_usage.enrichment.privacy import fingerprint
from otel_usage.errors import JournalUnavailableError
from otel_usage.exporter import committer
from otel_usage.exporter import record as record_module
from otel_usage.exporter.otlp import intake
from otel_usage.exporter.otlp.decoding import ScopeSpans, SpanData
from otel_usage.exporter.otlp.intake import SCOPE_NAME, Intake, Taken, TooMuchError
from otel_usage.exporter.recorder import Recorder
from tests.unit.exporter.support import losses, paths_of, query, settings_of

KEY = "k" * 40
TOKEN = "s3cr3t-token-of-somebody"
REQUEST = {"http.request.method": "GET", "url.path": "/datasets/7", "http.route": "/datasets/{id}"}


def span(number: int = 1, attributes: dict | None = None, *, name: str = "GET", flags: int = 0) -> SpanData:
    """A SERVER span; a request unless its attributes say otherwise."""
    started = 1_790_000_000_000_000_999 + number * 1_000_000
    said = REQUEST if attributes is None else attributes
    return SpanData(number, number, None, started, started + 2500, name, dict(said), flags)


def scope(*spans: SpanData, name: str = "tomcat", others: int = 0, invalid: int = 0) -> ScopeSpans:
    """Spans of one scope of one service."""
    return ScopeSpans({"service.name": "shop"}, name, list(spans), others, invalid)


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    """A recorder that commits only when it is told to."""
    recorder = Recorder(settings_of(tmp_path, 3600, OTEL_USAGE_TOKEN_KEY=KEY))
    yield recorder
    recorder.remove()


def lines(folder: Path) -> list[dict]:
    """The records in the journal."""
    segments = paths_of(folder).segments()
    return [json.loads(text) for path in segments for text in path.read_text().splitlines()[1:]]


def take(recorder: Recorder, folder: Path, *scopes: ScopeSpans, **more: str) -> Taken:
    """Take these spans with a store's settings."""
    return Intake(settings_of(folder, 3600, OTEL_USAGE_TOKEN_KEY=KEY, **more), recorder).take(scopes)


def test_in_the_journal_when_it_returns(recorder, tmp_path):
    """What was taken is in a file: the sender may forget it."""
    assert take(recorder, tmp_path, scope(span(1), span(2))) == Taken(2, 2)
    assert [line["span_id"] for line in lines(tmp_path)] == [1, 2]


def test_every_span_is_counted_as_what_it_is(recorder, tmp_path):
    """Spans = requests + skipped + left out + rejected; what is no row is in `losses`."""
    taken = take(
        recorder,
        tmp_path,
        scope(
            span(1, {**REQUEST, "user.id": "alice"}),
            span(2),
            span(3, {"rpc.system": "grpc"}),
            others=4,
            invalid=1,
        ),
        OTEL_USAGE_ANONYMOUS="false",
    )
    assert taken == Taken(spans=8, requests=1, skipped=5, left_out=1, rejected=1)
    recorder.shutdown()
    committer.drain(paths_of(tmp_path))
    assert losses(tmp_path) == {"not_a_request": 5, "anonymous_left_out": 1, "rejected": 1}


def test_nothing_is_counted_of_what_is_not_kept(tmp_path):
    """A sender that is told to come again has its spans counted once, when they are kept."""
    recorder = Recorder(settings_of(tmp_path, 3600, OTEL_USAGE_JOURNAL_MAX_BYTES=str(1 << 20)))
    try:
        big = {**REQUEST, **{f"a{i}": "x" * 8000 for i in range(20)}}
        for number in range(4):
            take(recorder, tmp_path, scope(span(number, big), others=1))
        with pytest.raises(JournalUnavailableError, match="has reached its bound"):
            take(recorder, tmp_path, scope(*[span(number, big) for number in range(4, 9)], others=100))
    finally:
        recorder.shutdown()
    committer.drain(paths_of(tmp_path))
    assert losses(tmp_path) == {"not_a_request": 4}
    assert query(tmp_path, "SELECT count(*) FROM requests") == [(4,)]


def test_a_journal_that_cannot_be_made(tmp_path):
    """The sender is told to come again, and why."""
    (tmp_path / "usage.duckdb.journal").write_text("in the way")
    recorder = Recorder(settings_of(tmp_path, 3600))
    try:
        with pytest.raises(JournalUnavailableError, match="journal"):
            take(recorder, tmp_path, scope(span()))
    finally:
        recorder.remove()


def test_described_as_in_an_application(recorder, tmp_path):
    """Token, user, resource and action follow from what the span carries; nothing of the credential is kept."""
    attributes = {**REQUEST, "http.request.header.authorization": [f"Bearer {TOKEN}"], "url.query": f"token={TOKEN}"}
    take(recorder, tmp_path, scope(span(1, attributes)))
    (record,) = lines(tmp_path)
    assert record["token_id"] == fingerprint(KEY.encode(), TOKEN)
    assert (record["resource_type"], record["resource_id"], record["action"]) == ("dataset", "7", "view")
    assert TOKEN not in json.dumps(lines(tmp_path))


def test_what_the_span_says_itself_wins(recorder, tmp_path):
    """An application that names the resource knows better than its route."""
    take(recorder, tmp_path, scope(span(1, {**REQUEST, "usage.resource.type": "table", "usage.resource.id": "t"})))
    (record,) = lines(tmp_path)
    assert (record["resource_type"], record["resource_id"]) == ("table", "t")


def test_described_already(recorder, tmp_path):
    """To the ordinary span of an application of ours nothing is added, and its path's secrets are found."""
    attributes = {
        "http.request.method": "GET",
        "url.path": "/reset/0123456789abcdef0",
        "http.route": "/reset/{token}",
        "usage.sampled": False,
    }
    take(recorder, tmp_path, scope(span(1, attributes, flags=1)), scope(span(2, attributes), name=SCOPE_NAME))
    first, second = lines(tmp_path)
    assert (first["path"], first["sampled"]) == ("/reset/REDACTED", False)
    assert "resource_type" not in first
    assert "action" not in first
    assert second["path"] == "/reset/0123456789abcdef0", "the application has cleaned it by its own rules"


@pytest.mark.parametrize("is_first", [True, False])
def test_of_an_application_that_sends_usage_copies(recorder, tmp_path, is_first):
    """The copy is kept, whichever comes first, and the ordinary span is counted; without the mark both are."""
    ordinary = {"http.request.method": "GET", "usage.sampled": True}
    marked = scope(span(1, {**ordinary, "usage.forwarded": True}))
    copy = scope(span(1, {**ordinary, "http.response.body.size": 7}), name=SCOPE_NAME)
    others = scope(span(2, {**ordinary, "usage.forwarded": "true"}), span(3, ordinary))
    taken = take(recorder, tmp_path, *([marked, copy] if is_first else [copy, marked]), others)
    assert taken == Taken(spans=4, requests=3, skipped=1)
    assert [record.get("response_bytes") for record in lines(tmp_path)] == [7, None, None]
    assert "attributes" not in lines(tmp_path)[1]


@pytest.mark.parametrize(("flags", "expected"), [(0, None), (256, None), (257, True), (259, True), (258, False)])
def test_sampled(recorder, tmp_path, flags, expected):
    """The low byte of the flags says it, where any bit of it is set."""
    take(recorder, tmp_path, scope(span(flags=flags)))
    (record,) = lines(tmp_path)
    assert record.get("sampled") is expected


@pytest.mark.parametrize("said", [TOKEN, 7, ["a", "b"], "tok_0123", "tok_0123456789ABCDEF"])
def test_a_credential_where_its_fingerprint_belongs(recorder, tmp_path, said):
    """It is made one: whoever set the attribute meant the token, and it must not be kept."""
    take(recorder, tmp_path, scope(span(1, {**REQUEST, "usage.token.id": said, "note": f"by {said}"})))
    (record,) = lines(tmp_path)
    assert record["token_id"] == fingerprint(KEY.encode(), str(said))
    assert TOKEN not in json.dumps(record)


def test_fingerprints_are_taken_as_they_are(recorder, tmp_path):
    """A Collector with the deployment key has made them."""
    take(recorder, tmp_path, scope(span(1, {**REQUEST, "usage.token.id": "tok_0123456789abcdef"})))
    assert lines(tmp_path)[0]["token_id"] == "tok_0123456789abcdef"


KEYS = st.sampled_from(
    [
        "http.request.method",
        "http.method",
        "url.path",
        "url.query",
        "http.target",
        "http.url",
        "http.route",
        "http.status_code",
        "http.response.status_code",
        "http.request.body.size",
        "user.id",
        "usage.token.id",
        "usage.sampled",
        "usage.resource.id",
        "server.address",
        "client.address",
        "http.request.header.authorization",
        "http.request.header.x_api_key",
        "x",
    ]
)
SCALARS = st.text(max_size=12) | st.integers() | st.floats() | st.booleans() | st.binary(max_size=5) | st.none()
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=3), SCALARS, max_size=2)


@given(st.lists(st.dictionaries(KEYS, VALUES, max_size=8), max_size=6), st.integers(0, 3), st.integers(0, 3))
@bounds(max_examples=50, deadline=None)
def test_any_attributes(tmp_path_factory, spans, others, invalid):
    """Whatever attributes say, the numbers add up and each line is one the store takes."""
    folder = tmp_path_factory.mktemp("any")
    recorder = Recorder(settings_of(folder, 3600, OTEL_USAGE_TOKEN_KEY=KEY))
    try:
        sent = [span(number, attributes) for number, attributes in enumerate(spans)]
        taken = take(recorder, folder, scope(*sent, others=others, invalid=invalid))
    finally:
        recorder.remove()
    assert (
        taken.spans == taken.requests + taken.skipped + taken.left_out + taken.rejected == len(spans) + others + invalid
    )
    assert taken.rejected == invalid
    committer.drain(paths_of(folder))
    if taken.requests:
        assert query(folder, "SELECT count(*) FROM requests") == [(taken.requests,)]
        assert losses(folder).get("rejected", 0) == invalid


def test_a_record_stays_small(recorder, tmp_path):
    """What stands in every record of a service is cut: a small body must not become a large journal."""
    many = ScopeSpans(
        dict.fromkeys(("service.name", "service.version", "service.instance.id"), "\x01" * 9000), "s", [span()]
    )
    take(recorder, tmp_path, many)
    assert len(lines(tmp_path)[0]["service_name"]) == 256


def test_more_than_its_size_explains(recorder, tmp_path, monkeypatch):
    """A request that would fill the journal is refused for good, and nothing of it is kept."""
    monkeypatch.setattr(intake, "MAX_LINES_BYTES", 1000)
    with pytest.raises(TooMuchError):
        take(recorder, tmp_path, scope(*map(span, range(20))))
    assert lines(tmp_path) == []


def test_templates_of_other_services(recorder, tmp_path):
    """What one service's route says of its paths is known of its later requests, and says nothing of another's."""
    link = {"http.request.method": "GET", "url.path": "/only-there/12345678"}
    told = span(1, {**link, "http.route": "/only-there/{token}"})
    others = ScopeSpans({"service.name": "other"}, "nginx", [span(3, link)])
    take(recorder, tmp_path, scope(told, span(2, link)), others)
    assert [line["path"] for line in lines(tmp_path)] == ["/only-there/REDACTED"] * 2 + ["/only-there/12345678"]


@pytest.mark.parametrize(
    ("attributes", "column", "kept"),
    [
        ({"http.target": "//u:pw123456@h/p"}, "path", "//REDACTED@h/p"),
        ({"url.path": "http://u:pw123456@h/p"}, "path", "http://REDACTED@h/p"),
        ({"url.path": "/p;token=pw123456"}, "path", "/p;token=REDACTED"),
        ({"url.path": "/p#access_token=pw123456"}, "path", None),
        ({"server.address": "u:pw123456@h:80"}, "host", "h"),
        ({"app.token": "pw123456"}, "attributes", None),
        ({"jwt": "pw123456"}, "attributes", None),
        ({"session_token": "pw123456"}, "attributes", None),
        ({"http.request.headers": {"authorization": "Bearer pw123456"}}, "attributes", None),
        ({"usage.token.hint": "pw123456"}, "token_hint", None),
    ],
)
@pytest.mark.parametrize("is_sampled", [True, False])
def test_credentials_in_odd_places(recorder, tmp_path, attributes, column, kept, is_sampled):
    """They are kept nowhere, whoever has described the request."""
    said = {"http.request.method": "GET", **attributes, **({"usage.sampled": True} if is_sampled else {})}
    take(recorder, tmp_path, scope(span(1, said)))
    (record,) = lines(tmp_path)
    assert "pw123456" not in json.dumps(record)
    if kept is not None and not (is_sampled and column == "path"):
        assert record[column] == kept


def test_a_wrong_fingerprint_of_a_usage_copy(recorder, tmp_path):
    """Whoever sends may say that it is one of ours."""
    take(recorder, tmp_path, scope(span(1, {**REQUEST, "usage.token.id": TOKEN}), name=SCOPE_NAME))
    assert TOKEN not in json.dumps(lines(tmp_path))


def test_many_names(recorder, tmp_path):
    """A span with hundreds of attributes is a record like others, and nothing of its names is remembered."""
    before = record_module._plan.cache_info().currsize
    take(recorder, tmp_path, scope(span(1, {**REQUEST, **{f"a{i}": "x" for i in range(500)}}), name=SCOPE_NAME))
    assert len(lines(tmp_path)[0]["attributes"]) == 500
    assert record_module._plan.cache_info().currsize == before


PASSWORD = "p@ss!word/of+alice"


def in_lower_case(text: str) -> str:
    """As JavaScript encodes, with small letters."""
    return re.sub("%..", lambda found: found[0].lower(), quote(text, safe="!'()*"))


@pytest.mark.parametrize("spell", [str, quote, in_lower_case])
@pytest.mark.parametrize("attribute", ["url.path", "url.query", "user_agent.original", "usage.resource.name"])
def test_a_password_that_stands_elsewhere(recorder, tmp_path, attribute, spell):
    """Basic with a password is no token, and a secret all the same: nothing of it is kept, wherever it stands."""
    encoded = b64encode(f"alice:{PASSWORD}".encode()).decode()
    for secret in (PASSWORD, encoded):
        said = {
            "http.request.method": "GET",
            "http.request.header.authorization": [f"Basic {encoded}"],
            attribute: f"/x?a={spell(secret)}&b",
        }
        take(recorder, tmp_path, scope(span(1, said)))
    for kept in lines(tmp_path):
        assert kept["user_id"] == "alice"
        assert "REDACTED" in json.dumps(kept)
        assert not [text for text in (PASSWORD, encoded.rstrip("=")) if spell(text) in json.dumps(kept)]
